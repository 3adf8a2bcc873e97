"""Splices the beginning of one sequence to the rest of another, with the right answer to the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...methods.causal.alignment_controls import pairs_among
from ...methods.causal.pairs import Pairs, whole
from ...methods.causal.task import Task
from ..subject import Subject
from .answers import answers_to, takes_levels
from .ends import Ends
from .right_answers import Spliced

#: About how many operations the network's answers to spliced sequences may take; at least so many pairs are tried.
BUDGET, FEWEST = 5e10, 256
#: With fewer pairs the page does not say what the answer follows.
LEAST = 32
#: So many times as many pairs are drawn, because not all of them count.
TRIED = 8
#: How many pairs are used to see how often later inputs decide the answer.
PAIRS_BY_STEP = 256


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


def inputs(
    subject: Subject, end: Ends, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int
) -> tuple[Float[Tensor, "row time feature"], np.ndarray]:
    """Return spliced sequences and their lengths, (row,): the source up to a step, and then the base.

    Args:
        subject: the study.
        end: the ends of the sequences; rows and steps are counted there.
        base: the rows of the bases.
        source: the rows of the sources.
        step: the last step that is read from the source.
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
    """Return the pairs among some rows that count.

    A spliced sequence that cannot occur has no right answer. If the network answers a spliced sequence wrong when it
    reads it, then a wrong answer after the patch does not speak against the patched state. So neither pair counts,
    and the best possible score is that of the spliced sequences themselves.

    Args:
        subject: the study.
        end: the ends of the sequences.
        task: the concept.
        step: the step after which states are patched.
        rows: the rows among which pairs are drawn.
        most: how many spliced sequences the network reads at most.
        every: whether pairs count too whose concept or right answer does not change.
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
    answers, expected = map(torch.as_tensor, answers_to(subject, *inputs(subject, end, rest.base, rest.source, step)))
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
    x, lengths = inputs(subject, end, base, source, step)
    values = x.double().numpy()
    return np.array([subject.allows(x[:length]) for x, length in zip(values, lengths, strict=True)], dtype=bool)


def depends(subject: Subject, end: Ends, task: Task, left: int) -> list[tuple[int, float]]:
    """Return the share of pairs in which the state decides the answer, by how many steps follow the patch.

    Only pairs that differ in the concept are used. Later inputs may decide the answer instead: a closing quotation
    mark ends the quotation in any case. If the concept is a function, the state decides if the right answer differs
    from the base's; otherwise, if the network's answer changes.

    Args:
        subject: the study.
        end: the ends of the sequences.
        task: the concept.
        left: how many steps follow the patch of the study.

    Returns:
        Pairs of the number of steps that follow and the share.
    """
    shares, rows = list[tuple[int, float]](), torch.arange(len(end.rows))
    if not takes_levels(subject) and not isinstance(task, Spliced):
        return shares
    lefts = {0, left, *(2**power for power in range(10) if 2**power < end.steps)}
    for following in sorted(lefts):
        step = end.steps - 1 - following
        defined = rows[torch.as_tensor(np.isfinite(end.values[:, step]))]
        every = pairs_among(end.machine, step, defined, most=TRIED * PAIRS_BY_STEP, seed=subject.seed)
        every = _only(every, task.so_far(every.base, step) != task.so_far(every.source, step))
        every = _only(
            every, torch.as_tensor(np.random.default_rng(subject.seed).permutation(len(every))[:PAIRS_BY_STEP])
        )
        every = _only(every, torch.as_tensor(can_occur(subject, end, every.base, every.source, step)))
        if not len(every):
            continue
        if isinstance(task, Spliced):
            other = task.target(every.base, every.source, step) != task.final(every.base)
        else:
            answers = end.machine.answers(whole(every), every.base, step)
            other = answers.chosen != end.machine.clean.answers.chosen[every.base]
        shares.append((following, float(other.double().mean())))
    return shares
