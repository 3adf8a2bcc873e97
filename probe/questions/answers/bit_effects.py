"""What does one more input do to the answer, and is it the same at every step?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.machines import Machine
from ...methods.probing.prefixes import check_aligned, distinct_prefixes
from ...plots.style import ROLE_STYLE, axes_or_new
from ...recurrent.signals import as_indices, within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "bit_effects"
#: How many steps are looked at by default: the last ones.
LATE = 5
#: The most amounts by which a concept may grow; of more, hardly two contexts would be alike.
MOST_AMOUNTS = 12


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    steps: Iterable[int] | None = None,
) -> pd.DataFrame:
    """Measure how the expected answer changes on an input, by how much the input adds to the concept.

    The expected answer y is read off the state before and after each step, as the answer to the sequence so far.
    The contexts of a step are its distinct prefixes; pooled over steps, every step has the same total weight.

    Metrics (`units` holds the amount added, such as 0 or 1): `effect_at_step` and `effect_sd_at_step`, the mean
    change of y and its sd over the contexts of a step; `effect` and `effect_sd`, the same over all of them;
    `largest_effect_sd`, one value a network, the largest over the amounts.

    Args:
        networks: what is measured.
        x: inputs of equal length.
        concept: (batch, time).
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers, (batch).
        layer: the layer's name, or None for the only one.
        steps: on which steps' inputs, each with one before it; None for the last five.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), grows by more than 12 different amounts, or a step
            or layer does not exist.

    Reference:
        Weiss et al. 2018, On the practical computational power of finite precision RNNs, section 4 (what a counting
        cell does on each symbol); docs/science.md, claim 16.
    """
    check_aligned(x, concept)
    length = x.shape[1]
    chosen = as_indices("steps", range(max(1, length - LATE), length) if steps is None else steps)
    wanted = within("steps", chosen, length, "the input's time axis")
    if 0 in wanted:
        raise ProbeError(f"steps={chosen} holds the first one, before which no answer stands; choose later steps.")
    prefixes = distinct_prefixes(x)
    grown = concept.double().diff(dim=1).numpy()
    amounts = np.unique(np.concatenate([grown[prefixes[step], step - 1] for step in wanted]))
    if len(amounts) > MOST_AMOUNTS:
        raise ProbeError(
            f"The concept grows by {len(amounts)} different amounts at the steps {wanted}, and at most "
            f"{MOST_AMOUNTS} can be compared; round it, or cut it into a few values."
        )
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        effects = {step: _change(machine, prefixes[step], step) for step in wanted}
        added = {step: grown[prefixes[step], step - 1] for step in wanted}
        for metric, value, place in _found(effects, added, amounts):
            rows.append(measurement(QUESTION, metric, network, value, layer=layer or "", **place))
    return tabulate(rows)


def _change(machine: Machine, rows: np.ndarray, step: int) -> np.ndarray:
    """Return how the expected answer changes on a step's input, one number for each distinct prefix."""
    states = machine.clean.states[torch.as_tensor(rows)]
    after, before = (machine.answers(states[:, at]).expected for at in (step, step - 1))
    return (after - before).numpy()


def _found(
    effects: dict[int, np.ndarray], added: dict[int, np.ndarray], amounts: np.ndarray
) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Yield (metric, value, place)."""
    spreads = []
    for amount in amounts:
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        units = f"{amount:g}"
        for step, change in effects.items():
            here = change[added[step] == amount]
            if not len(here):
                continue
            yield "effect_at_step", here.mean(), {"units": units, "step": step}
            yield "effect_sd_at_step", here.std(), {"units": units, "step": step}
            parts.append((here, np.full(len(here), np.reciprocal(float(len(change))))))
        values, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        mean = np.average(values, weights=weight)
        spreads.append(float(np.sqrt(np.average((values - mean) ** 2, weights=weight))))
        yield "effect", mean, {"units": units}
        yield "effect_sd", spreads[-1], {"units": units}
    yield "largest_effect_sd", max(spreads), {}


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the change of the answer by step: the mean, and one sd over contexts as a bar; medians over networks.

    Args:
        frame: what `measure` returned.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    subjects = [subject for subject in ROLE_STYLE if (frame["subject"] == subject).any()]
    steps = sorted(frame["step"].dropna().unique().astype(int))
    for place, subject in enumerate(subjects):
        look, shift = ROLE_STYLE[subject], (place - (len(subjects) - 1) / 2) * 0.14
        of_subject = frame[frame["subject"] == subject]
        for number, (amount, rows) in enumerate(of_subject[of_subject["units"] != ""].groupby("units")):
            tables = rows.pivot_table(index="step", columns="metric", values="value", aggfunc="median")
            at = tables.index.to_numpy(float)
            style: dict[str, Any] = look.line() | {"fillstyle": "none" if number % 2 == 0 else "full"}
            label = role_name(subject) if amount == sorted(of_subject["units"].unique())[-1] else None
            ax.errorbar(
                at + shift, tables["effect_at_step"], tables["effect_sd_at_step"], **style, linewidth=1.2, label=label
            )
    for amount in sorted(frame["units"][frame["units"] != ""].unique()):
        ax.axhline(float(amount), color="black", linewidth=0.6, zorder=0)
    ax.set_xticks(steps)
    ax.set_xlabel("step")
    ax.set_ylabel("change of the expected answer")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=max(1, len(subjects)), borderaxespad=0)
    return ax
