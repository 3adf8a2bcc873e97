"""The distinct states of a network: sequences that begin alike share the state after their common prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.signals import Signal


def grouped_prefixes(x: Tensor, starts: np.ndarray | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each step the first row that holds each distinct prefix, ascending, and each row's prefix by number.

    Args:
        x: inputs, (batch, time, input).
        starts: a number for each row; rows of other numbers share no prefix. None where all start alike.
    """
    values = x.detach().cpu().numpy()
    group = np.zeros(len(values), dtype=np.int64) if starts is None else starts
    found = []
    for step in range(values.shape[1]):
        keyed = np.column_stack([group, values[:, step]])
        _, first, inverse = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        group = np.argsort(order)[inverse.ravel()]
        found.append((first[order], group))
    return found


def prefix_groups(x: np.ndarray, lengths: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """Return which sequences have begun alike at each step, (sequence, step): a number for each distinct prefix.

    Args:
        x: the inputs, (sequence, step, feature).
        lengths: how many steps each sequence has; the number is -1 at padding.
        starts: a number for each sequence, below their count; sequences of other numbers share no prefix. None where
            all start alike.
    """
    found = np.full(x.shape[:2], -1)
    group = np.zeros(len(x), dtype=np.int64) if starts is None else starts.astype(np.int64)
    for step in range(x.shape[1]):
        here = np.flatnonzero(lengths > step)
        _, inverse = np.unique(np.column_stack([group[here], x[here, step]]), axis=0, return_inverse=True)
        group[here] = found[here, step] = inverse.ravel()
        if len(here) and inverse.max() + 1 == len(here):
            # From here on all prefixes differ.
            later = np.arange(x.shape[1]) > step
            return np.where(later & (np.arange(x.shape[1]) < lengths[:, None]), group[:, None], found)
    return found


def first_of_prefix(x: np.ndarray, lengths: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Return where a sequence is the first with its prefix, (sequence, step); False at padding.

    Args:
        x: the inputs, (sequence, step, feature).
        lengths: how many steps each sequence has.
        order: which sequence comes first, (sequence,); None for the order in which they stand.
    """
    if order is None:
        return first_of_group(prefix_groups(x, lengths))
    return first_of_group(prefix_groups(x[order], lengths[order]))[np.argsort(order)]


def first_of_group(groups: np.ndarray) -> np.ndarray:
    """Return where a sequence is the first of its group at a step, (sequence, step); False where the group is -1."""
    is_first = np.zeros(groups.shape, dtype=bool)
    for step, group in enumerate(groups.T):
        number, first = np.unique(group, return_index=True)
        is_first[first[number >= 0], step] = True
    return is_first


def turned(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return sequences from their ends, (sequence, step, ...); padding stays where it is."""
    steps = np.arange(values.shape[1])
    places = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return values[np.arange(len(values))[:, None], places]


def check_aligned(x: object, concept: object) -> None:
    """Refuse inputs and concepts that do not fit each other.

    Raises:
        ProbeError: the input is no tensor (batch, time, input) or empty, or the concept no tensor (batch, time)
            of numbers.
    """
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.shape[0] or not x.shape[1]:
        raise ProbeError(f"x is {_described(x)}; it must be a tensor (batch, time, input) with at least one of each.")
    if not isinstance(concept, Tensor) or concept.shape != x.shape[:2]:
        raise ProbeError(
            f"The concept is {_described(concept)}; it must be a tensor with one value for each sequence and step "
            f"of the input, {tuple(x.shape[:2])}."
        )
    wrong = (~torch.isfinite(concept)).nonzero().tolist()
    if wrong:
        row, step = wrong[0]
        raise ProbeError(
            f"The concept is {concept[row, step].item()} at row {row}, step {step}; every value must be finite. "
            "Leave such sequences out."
        )


def _described(value: object) -> str:
    kind = type(value).__name__
    return f"a {kind} of shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else f"a {kind}"


@dataclass(frozen=True, eq=False)
class StepStates:
    """The distinct states at one step.

    Attributes:
        step: which step, the first being 0.
        rows: a row of the batch for each distinct prefix.
        concept: the concept's value at each, (prefix,).
        states: each signal at each, (prefix, unit), float64.
        groups: the group of each one's sequence, (prefix,); None where none were given.
    """

    step: int
    rows: np.ndarray
    concept: np.ndarray
    states: Mapping[Signal, np.ndarray]
    groups: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Pooled:
    """The distinct states of all steps together; every step has the same total weight.

    Attributes:
        step: the step of each state, (state,).
        concept: the concept's value at each, (state,).
        states: each signal at each, (state, unit).
        weight: weight of each, (state,); they sum to 1.
        groups: the group of each, (state,); None where none were given.
    """

    step: np.ndarray
    concept: np.ndarray
    states: Mapping[Signal, np.ndarray]
    weight: np.ndarray
    groups: np.ndarray | None = None


def pool(steps: list[StepStates]) -> Pooled:
    """Return the states of all steps together."""
    sizes = [len(item.rows) for item in steps]
    groups = [item.groups for item in steps if item.groups is not None]
    return Pooled(
        np.repeat([item.step for item in steps], sizes),
        np.concatenate([item.concept for item in steps]),
        {
            signal: np.concatenate([item.states[signal] for item in steps])
            for signal in (steps[0].states if steps else {})
        },
        np.repeat([1 / (size * len(sizes)) for size in sizes], sizes),
        np.concatenate(groups) if groups else None,
    )
