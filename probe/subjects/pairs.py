"""Pairs of sequences: the beginning of one spliced to the rest of another, and two that differ in one input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import ProbeError, several
from ..methods.causal.alignment_controls import pairs_among
from ..methods.causal.pairs import Pairs
from ..methods.causal.task import Task
from ..methods.decomposition.contexts import RowPairs, changed_at
from ..recurrent.signals import within
from .answers import answers_to, takes_levels
from .ends import Ends, ends_of, step_of
from .stacks import of_last
from .states import drawn_rows
from .subject import Subject, per_subject

#: With fewer pairs a page says nothing of them.
LEAST = 32
#: So many times as many pairs are tried, because not all of them count.
TRIED = 8
#: Inputs are looked at after so many steps at most, evenly between.
MOST_STEPS = 16


@dataclass(frozen=True, eq=False)
class SplicedPairs:
    """Pairs of sequences (base and source), and the sequences that are spliced from them.

    Attributes:
        pairs: the pairs that count. If answers are right or wrong: those whose spliced sequence the network answers
            right.
        impossible: how many pairs were left out because the study says that their spliced sequence cannot occur.
        drawn: how many of the other pairs have a right answer that differs from the base's.
        unanswerable: how many of these have a right answer that the readout cannot give.
        right: of the rest, the share whose spliced sequence the network answers right.
        before: of the rest, the share for which the network's answer to the base is already the right one.
        way: how far the network's answers move from the base's answer to the right one, on the spliced sequences of
            `pairs`; 1 is all the way.
    """

    pairs: Pairs
    impossible: int
    drawn: int
    unanswerable: int
    right: float
    before: float
    way: float


def spliced_inputs(
    subject: Subject, end: Ends, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int
) -> tuple[Float[Tensor, "row time feature"], np.ndarray]:
    """Return spliced sequences and their lengths, (row,): the source up to a step, and then the base.

    Rows and steps are counted in the ends of the sequences.
    """
    b, s = end.rows[base.numpy()], end.rows[source.numpy()]
    left, lengths = end.steps - 1 - step, subject.lengths[s]
    x = subject.x[s].clone()
    to_come = lengths[:, None] - 1 - np.arange(x.shape[1])
    row, place = np.nonzero((to_come >= 0) & (to_come < left))
    x[row, place] = subject.x[b[row], subject.lengths[b[row]] - 1 - to_come[row, place]]
    return x, lengths


def spliced_pairs(
    subject: Subject,
    end: Ends,
    task: Task,
    step: int,
    rows: Int64[Tensor, " row"],
    *,
    most: int,
    every: bool = False,
) -> SplicedPairs:
    """Return the pairs among some rows that count, of at most so many whose spliced sequence the network reads.

    A spliced sequence that cannot occur has no right answer. If the network answers a spliced sequence wrong when it
    reads it, then a wrong answer after the patch does not speak against the patched state. So neither pair counts,
    and the best possible score is that of the spliced sequences themselves. With `every` a pair counts too whose
    concept or right answer does not change.
    """
    clean = end.machine.clean.answers
    drawn, target, impossible = _drawn(subject, end, task, step, rows=rows, most=most, every=every)
    unanswerable, rest = 0, drawn
    if subject.head is not None and takes_levels(subject):
        answerable = subject.head.gives(target)
        unanswerable = int((~answerable).sum())
        rest, target = _only(drawn, answerable), target[answerable]
    if not len(rest):
        return SplicedPairs(rest, impossible, len(drawn), unanswerable, 0.0, 0.0, float("nan"))
    spliced = spliced_inputs(subject, end, rest.base, rest.source, step)
    answers, expected = map(torch.as_tensor, answers_to(subject, *spliced))
    right, before = torch.ones(len(rest)).bool(), torch.zeros(len(rest)).bool()
    if takes_levels(subject):
        right, before = (torch.isclose(given.double(), target) for given in (answers, clean.chosen[rest.base]))
    moved, way = expected - clean.expected[rest.base], target - task.final(rest.base)
    goes = float(moved[right] @ way[right]) / max(float(way[right] @ way[right]), 1e-12)
    share, unmoved = float(right.double().mean()), float(before.double().mean())
    return SplicedPairs(_only(rest, right), impossible, len(drawn), unanswerable, share, unmoved, goes)


def _only(pairs: Pairs, which: Tensor) -> Pairs:
    return Pairs(pairs.machine, pairs.step, pairs.base[which], pairs.source[which], exhaustive=False)


def _drawn(
    subject: Subject, end: Ends, task: Task, step: int, *, rows: Tensor, most: int, every: bool
) -> tuple[Pairs, Tensor, int]:
    """Return pairs whose right answer differs from the base's, the right answers, and how many pairs cannot occur."""
    pairs = pairs_among(end.machine, step, rows, most=TRIED * most, seed=subject.seed)
    if not every:
        pairs = _only(pairs, task.so_far(pairs.base, step) != task.so_far(pairs.source, step))
    pairs = _only(pairs, torch.as_tensor(np.random.default_rng([subject.seed, 10]).permutation(len(pairs))))
    impossible, used, targets = 0, list[Tensor](), list[Tensor]()
    for part in torch.arange(len(pairs)).split(max(1, most // 4)):
        possible = part[torch.as_tensor(can_occur(subject, end, pairs.base[part], pairs.source[part], step))]
        impossible += len(part) - len(possible)
        target = task.target(pairs.base[possible], pairs.source[possible], step)
        other = torch.ones(len(target)).bool() if every else target != task.final(pairs.base[possible])
        used.append(possible[other])
        targets.append(target[other])
        if sum(map(len, used)) >= most:
            break
    if not used:
        return pairs, torch.empty(0).double(), 0
    return _only(pairs, torch.cat(used)[:most]), torch.cat(targets)[:most], impossible


def can_occur(
    subject: Subject, end: Ends, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int
) -> np.ndarray:
    """Return which spliced sequences can occur by the study's function `valid`, (row,); all if there is none."""
    if subject.allowed is None:
        return np.ones(len(base), dtype=bool)
    x, lengths = spliced_inputs(subject, end, base, source, step)
    values = x.double().numpy()
    return np.array([subject.allows(x[:length]) for x, length in zip(values, lengths, strict=True)], dtype=bool)


@dataclass(frozen=True, eq=False)
class InputPairs:
    """Pairs of a base and a source that differ in one input.

    Attributes:
        pairs: rows of the machine's clean run, bases and their sources.
        step: the step after which states are compared.
    """

    pairs: RowPairs
    step: int


def usual_steps(subject: Subject, step: int | None = None, changed: int | None = None) -> tuple[int, int]:
    """Return at which step inputs are changed (two steps before, or the first) and after which states are looked at.

    Where none is given, that is the step of `step_of`, but the third at the earliest, or the last but one.
    """
    length = ends_of(subject).steps
    usual = max(step_of(subject, None), min(2, length - 2), 0)
    (at,) = within("step", (usual if step is None else step,), length, "the input's time axis")
    (before,) = within("changed", (max(at - 2, 0) if changed is None else changed,), length, "the input's time axis")
    return before, at


@per_subject
def input_pairs(subject: Subject, changed: int, step: int, *, most: int | None = None) -> InputPairs:
    """Return pairs that differ in the input at a step, the source with more of the concept later or at the end.

    Raises:
        ProbeError: there are fewer than 32 such pairs, and not all sequences of a length were given.
    """
    most = subject.budget.most_pairs if most is None else most
    end = ends_of(subject)
    read, starts = _read(subject, end)
    compared = step if np.isfinite(end.values[:, step]).any() else end.steps - 1
    try:
        base, source = changed_at(
            torch.as_tensor(read), torch.as_tensor(end.values), changed, compared, starts=starts
        )
    except ProbeError:
        base = source = np.empty(0, dtype=np.int64)
    # All sequences of a length have a pair for every two of them, however few they are.
    needed = max(1, min(LEAST, most, len(read) // 2))
    if len(base) < needed:
        raise ProbeError(
            f"{several(len(base), 'pair')} of sequences differ in input {changed + 1} of the last {end.steps} alone "
            f"and in “{subject.answered.name}”; {needed} are needed. Give more sequences, such as all of a length."
        )
    kept = drawn_rows(subject, np.arange(len(base)), int(most), 11)
    return InputPairs((base[kept], source[kept]), step)


def pairs_by_step(subject: Subject) -> dict[int, InputPairs]:
    """Return the pairs that differ at a step, for each step but the first that has enough, or for 16 of these."""
    length, by_step = ends_of(subject).steps, dict[int, InputPairs]()
    reason = "Each sequence has a single step, and no state before it."
    for step in np.unique(np.linspace(1, length - 1, min(length - 1, MOST_STEPS)).round().astype(int)).tolist():
        try:
            by_step[step] = input_pairs(subject, step, step)
        except ProbeError as error:
            reason = str(error)
    if not by_step:
        raise ProbeError(reason)
    return by_step


def _read(subject: Subject, end: Ends) -> tuple[Float[np.ndarray, "row step feature"], Int64[np.ndarray, " row"]]:
    """Return what the study gave at each step of the ends, and a number for what was read before."""
    lengths = subject.lengths[end.rows]
    x = subject.x[end.rows].double().numpy()
    before = [row[: length - end.steps].tobytes() for row, length in zip(x, lengths, strict=True)]
    return of_last(x, lengths, end.steps), np.unique(np.array(before, dtype=object), return_inverse=True)[1]
