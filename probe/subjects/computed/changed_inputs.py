"""Pairs of sequences that differ in one input: those of the study, or, where it has few, sequences changed for it.

A machine runs on any inputs. We give a sequence of the study another sequence's input at one step. The new sequence
counts only if the study allows it, and if the concept's value on it can be computed: by the concept's own function,
or by the study's rule for a state that is patched in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64

from ...errors import ProbeError, several
from ...methods.decomposition.contexts import RowPairs, changed_at, with_changed_input
from ...methods.machines import Machine
from ...recurrent.signals import within
from ..subject import Subject, per_subject
from .ends import Ends, ends_of, step_of
from .right_answers import task_of

#: With fewer pairs of its own sequences, a study's sequences are changed: so many, of so many times as many tried.
FEWEST, ADDED, TRIED = 32, 128, 8
#: Of more pairs than this, so many are drawn.
MOST_PAIRS = 4_096
#: At more steps than this inputs are not changed; those taken lie evenly between.
MOST_STEPS = 16


class _NoPairError(ProbeError):
    """No two sequences differ in an input alone, and none can be made."""


@dataclass(frozen=True, eq=False)
class InputPairs:
    """Pairs of a base and a source that differ in one input.

    Attributes:
        machine: the network; its clean run holds the sequences of the study, and after them the changed ones.
        pairs: rows of that run, bases and their sources.
        changed: the step at which they differ.
        step: the step after which states are compared.
        added: how many changed sequences there are; 0 where those of the study are enough.
    """

    machine: Machine
    pairs: RowPairs
    changed: int
    step: int
    added: int

    @property
    def said(self) -> str:
        """How many pairs there are and where they are from, in words."""
        count = several(len(self.pairs[0]), "pair")
        if not self.added:
            return f"{count} of the study's sequences"
        return f"{count}; we made {several(self.added, 'sequence')} by giving one another's input at this step"


def usual_steps(subject: Subject, step: int | None = None, changed: int | None = None) -> tuple[int, int]:
    """Return at which step inputs are changed and after which step states are looked at, counted in its machine.

    Args:
        subject: the network under study.
        step: after which step states are looked at; None for that of `step_of`, but the third at the earliest, or for
            the last but one.
        changed: at which step inputs are changed; None for two before the other, or the first.

    Raises:
        ProbeError: there is no such step.
    """
    length = ends_of(subject).steps
    usual = max(step_of(subject, None), min(2, length - 2), 0)
    (at,) = within("step", (usual if step is None else step,), length, "the input's time axis")
    (before,) = within("changed", (max(at - 2, 0) if changed is None else changed,), length, "the input's time axis")
    return before, at


@per_subject
def _known(subject: Subject) -> dict[tuple[int, int, int], InputPairs]:
    return {}


def input_pairs(subject: Subject, changed: int, step: int, *, most: int = MOST_PAIRS) -> InputPairs:
    """Return pairs that differ in one input, the source with more of the concept after a step.

    Where the concept is undefined there, the source has more of it at the end.

    Args:
        subject: the network under study.
        changed: the step at which they differ, counted in the steps of its machine.
        step: the step after which the concept is compared.
        most: how many pairs are wanted at most.

    Raises:
        ProbeError: there is no such pair, and none can be made; or the study's own function fails.
    """
    found = _known(subject)
    if (changed, step, most) not in found:
        found[changed, step, most] = _pairs(subject, changed, step, most)
    return found[changed, step, most]


def pairs_by_step(subject: Subject, steps: Iterable[int] | None = None) -> dict[int, InputPairs]:
    """Return the pairs that differ at a step, for each of several steps.

    Args:
        subject: the network under study.
        steps: at which steps; None for all but the first, or 16 of them, where there is a pair.

    Raises:
        ProbeError: there is no pair at a step that is asked for, or at none of those.
    """
    if steps is not None:
        return {step: input_pairs(subject, step, step) for step in steps}
    length, found, reason = ends_of(subject).machine.clean.inputs.shape[1], dict[int, InputPairs](), ""
    tried = np.unique(np.linspace(1, length - 1, min(length - 1, MOST_STEPS)).round().astype(int)).tolist()
    for step in tried:
        try:
            found[step] = input_pairs(subject, step, step)
        except _NoPairError:
            continue
        except ProbeError as error:
            reason = reason or str(error)
    if not found and not tried:
        raise ProbeError("Each sequence has a single step, and no state before it.")
    if not found:
        raise ProbeError(reason or _why_none(subject, tried))
    return found


def _pairs(subject: Subject, changed: int, step: int, most: int) -> InputPairs:
    end = ends_of(subject)
    read, starts = _read(subject, end)
    compared = step if np.isfinite(end.values[:, step]).any() else end.steps - 1
    try:
        base, source = changed_at(
            torch.as_tensor(read), torch.as_tensor(end.values), changed, compared, starts=starts
        )
    except ProbeError:
        base = source = np.empty(0, dtype=np.int64)
    if len(base) > most:
        kept = np.sort(np.random.default_rng([subject.seed, 11]).choice(len(base), most, replace=False))
        base, source = base[kept], source[kept]
    # All sequences of a length have a pair for every two of them, however few they are.
    if len(base) >= min(FEWEST, most, len(read) // 2):
        return InputPairs(end.machine, (base, source), changed, step, 0)
    made = list(_changed(subject, end, changed, compared, min(ADDED, most)))
    if not made and not len(base):
        raise _NoPairError(_why_none(subject, [changed], compared))
    rows, other, more = (
        np.array(column, dtype=np.int64) for column in (zip(*made, strict=True) if made else ([],) * 3)
    )
    machine = with_changed_input(end.machine, rows, changed, end.machine.clean.inputs[other, changed])
    new = len(read) + np.arange(len(rows))
    bases, sources = np.where(more, rows, new), np.where(more, new, rows)
    return InputPairs(machine, (np.append(base, bases), np.append(source, sources)), changed, step, len(rows))


def _read(subject: Subject, end: Ends) -> tuple[Float[np.ndarray, "row step feature"], Int64[np.ndarray, " row"]]:
    """Return what the study gave at each step of the ends, and a number for what was read before."""
    lengths = subject.lengths[end.rows]
    x, places = subject.x[end.rows].double().numpy(), lengths[:, None] - end.steps + np.arange(end.steps)
    before = [one[: length - end.steps].tobytes() for one, length in zip(x, lengths, strict=True)]
    return x[np.arange(len(x))[:, None], places], np.unique(np.array(before, dtype=object), return_inverse=True)[1]


def _changed(
    subject: Subject, end: Ends, changed: int, compared: int, wanted: int
) -> Iterator[tuple[int, int, bool]]:
    """Yield a row, the row whose input it gets at a step, and whether it then has more of the concept."""
    if not _is_known(subject):
        return
    read, group = _read(subject, end)
    if subject.answered.function is None:
        # The value after the input is that of a sequence that has read the same: the others begin alike.
        key = np.column_stack([group, read[:, :changed].reshape(len(read), -1)])
        group = np.unique(key, axis=0, return_inverse=True)[1].ravel()
    else:
        group = np.zeros_like(group)
    rows, others = _candidates(read[:, changed], group, wanted, np.random.default_rng([subject.seed, 12, changed]))
    count = 0
    for row, other in zip(rows.tolist(), others.tolist(), strict=True):
        value, before = (
            _value(subject, end, row, other, changed=changed, compared=compared),
            end.values[row, compared],
        )
        if np.isfinite(value) and np.isfinite(before) and value != before:
            count += 1
            yield row, other, bool(value > before)
        if count == wanted:
            return


def _candidates(
    inputs: Float[np.ndarray, "row feature"], group: Int64[np.ndarray, " row"], wanted: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return random rows and others of their groups that read another input; no row gets an input twice."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    first = np.cumsum(sizes) - sizes
    rows = rng.integers(0, len(group), TRIED * wanted)
    others = order[first[group[rows]] + rng.integers(0, sizes[group[rows]])]
    symbol = np.unique(inputs, axis=0, return_inverse=True)[1].ravel()
    rows, others = (one[symbol[rows] != symbol[others]] for one in (rows, others))
    kept = np.sort(np.unique(np.column_stack([rows, symbol[others]]), axis=0, return_index=True)[1])
    return rows[kept], others[kept]


def _value(subject: Subject, end: Ends, row: int, other: int, *, changed: int, compared: int) -> float:
    """Return the concept's value of a changed sequence; NaN where it is undefined, or the sequence cannot occur."""
    (own, mine), (its, theirs) = ((int(end.rows[one]), int(subject.lengths[end.rows[one]])) for one in (row, other))
    x = subject.x[own, :mine].double().numpy().copy()
    x[mine - end.steps + changed] = subject.x[its, theirs - end.steps + changed].double().numpy()
    if not subject.allows(x, f"sequence {own} with another input"):
        return float("nan")
    if subject.answered.function is not None:
        return float(subject.answered.of_sequence(x)[mine - end.steps + compared])
    so_far = [end.values[other, changed], end.values[row, changed], end.values[row, compared]]
    if not np.isfinite(so_far).all():
        return float("nan")
    return float(task_of(subject).combine(*(torch.tensor([one]) for one in so_far))[0])


def _is_known(subject: Subject) -> bool:
    """Whether the concept's value of a changed sequence can be computed."""
    asked = subject.asked
    return subject.answered.function is not None or asked.combine is not None or asked.output is not None


def _why_none(subject: Subject, tried: list[int], compared: int | None = None) -> str:
    """Return that no two sequences differ in one of the inputs that were tried; inputs are counted from 1."""
    name, steps = subject.answered.name, ends_of(subject).steps
    first, last, among = tried[0] + 1, tried[-1] + 1, "the last " * (steps < subject.x.shape[1])
    every = "" if len(tried) > last - first else f"{len(tried)} of "
    which = f"input {first}" if first == last else f"one of {every}inputs {first} to {last}"
    when = "" if compared is None else f" {ends_of(subject).after(compared)}"
    none = f"No two of the sequences differ in {which} of {among}{steps} alone and in “{name}”{when}"
    if not _is_known(subject):
        return (
            f"{none}, and “{name}” is an array: nobody says its value where an input is changed. Give it as a "
            "function, give combine, or give all sequences of a length."
        )
    allowed = " that can occur" if subject.allowed is not None else ""
    return f"{none}, and we found none{allowed} by changing it."
