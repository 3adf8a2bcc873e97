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
from ..definition.prepared import Prepared
from .answers import answers_to
from .tail import Tail
from .tasks import Spliced

#: About how many operations the network's own answers to spliced sequences may take, and how few pairs are looked at.
BUDGET, FEWEST = 5e10, 256
#: With fewer pairs nothing is said on what the answer follows.
LEAST = 32
#: So many times as many pairs are drawn, since not all count.
TRIED = 8
#: How many pairs tell how often later inputs tell the concept anew.
TOLD = 256


@dataclass(frozen=True, eq=False)
class Exchanged:
    """Pairs of sequences, and what is known of those that they splice.

    Attributes:
        pairs: those that count: where answers have levels, those that the network itself answers right.
        impossible: how many pairs were looked at that splice to a sequence that cannot occur, as the study says.
        drawn: how many others there were whose right answer is another than the base's.
        unanswerable: how many of these have a right answer that the readout cannot give.
        right: the share of the rest to whose spliced sequences the network's own answer is right.
        before: the share of the rest to which the base's own answer is.
        way: how far the network's own answers to the spliced sequences of `pairs` go of the way that they should.
    """

    pairs: Pairs
    impossible: int
    drawn: int
    unanswerable: int
    right: float
    before: float
    way: float


def inputs(
    prepared: Prepared, end: Tail, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int
) -> tuple[Float[Tensor, "row time feature"], np.ndarray]:
    """Return spliced sequences and their lengths, (row,): sources up to a step of the machine's, then bases.

    Args:
        prepared: the study.
        end: the machine, whose rows and steps these are.
        base: rows of the machine.
        source: rows of the machine.
        step: after which step.
    """
    b, s = end.rows[base.numpy()], end.rows[source.numpy()]
    left, lengths = end.steps - 1 - step, prepared.lengths[s]
    x = prepared.x[s].clone()
    to_come = lengths[:, None] - 1 - np.arange(x.shape[1])
    row, place = np.nonzero((to_come >= 0) & (to_come < left))
    x[row, place] = prepared.x[b[row], prepared.lengths[b[row]] - 1 - to_come[row, place]]
    return x, lengths


def exchanged(
    prepared: Prepared,
    end: Tail,
    task: Task,
    step: int,
    rows: Int64[Tensor, " row"],
    *,
    most: int,
    every: bool = False,
) -> Exchanged:
    """Return the pairs among some rows that count, at most so many before the network itself is asked.

    A spliced sequence that cannot occur has no right answer, and what the network answers to one that it gets wrong
    by itself is nothing that its state could be blamed for: the scale of what follows ends at its own right answers.

    Args:
        prepared: the study.
        end: the machine.
        task: what a state is thought to hold.
        step: after which step of the machine's states are exchanged.
        rows: which rows of the machine.
        most: how many pairs the network is asked about.
        every: whether those count as well whose concept or right answer is the base's.
    """
    clean = end.machine.clean.answers
    drawn, target, impossible = _drawn(prepared, end, task, step, rows=rows, most=most, every=every)
    levels = None if prepared.head is None or not len(prepared.head.values) else prepared.head.values
    if levels is not None:
        kept = torch.isclose(target[:, None], levels[None]).any(1)
        unanswerable = int((~kept).sum())
        rest, target = _only(drawn, kept), target[kept]
    else:
        unanswerable, rest = 0, drawn
    if not len(rest):
        return Exchanged(rest, impossible, len(drawn), unanswerable, 0.0, 0.0, float("nan"))
    chosen, expected = map(
        torch.as_tensor, answers_to(prepared, *inputs(prepared, end, rest.base, rest.source, step))
    )
    right, before = torch.ones(len(rest)).bool(), torch.zeros(len(rest)).bool()
    if levels is not None:
        right, before = (torch.isclose(one.double(), target) for one in (chosen, clean.chosen[rest.base]))
    moved, way = expected - clean.expected[rest.base], target - task.final(rest.base)
    goes = float(moved[right] @ way[right]) / max(float(way[right] @ way[right]), 1e-12)
    share, unmoved = (float(one.double().mean()) for one in (right, before))
    return Exchanged(_only(rest, right), impossible, len(drawn), unanswerable, share, unmoved, goes)


def _only(pairs: Pairs, kept: Tensor) -> Pairs:
    return Pairs(pairs.machine, pairs.step, pairs.base[kept], pairs.source[kept], exhaustive=False)


def _drawn(
    prepared: Prepared, end: Tail, task: Task, step: int, *, rows: Tensor, most: int, every: bool
) -> tuple[Pairs, Tensor, int]:
    """Return possible pairs whose right answer is another than the base's, those answers, and how many cannot be."""
    found = pairs_among(end.machine, step, rows, most=TRIED * most, seed=prepared.seed)
    if not every:
        found = _only(found, task.so_far(found.base, step) != task.so_far(found.source, step))
    found = _only(found, torch.as_tensor(np.random.default_rng([prepared.seed, 10]).permutation(len(found))))
    impossible, kept, targets = 0, list[Tensor](), list[Tensor]()
    for part in torch.arange(len(found)).split(max(1, most // 4)):
        possible = part[torch.as_tensor(possible_ones(prepared, end, found.base[part], found.source[part], step))]
        impossible += len(part) - len(possible)
        target = task.target(found.base[possible], found.source[possible], step)
        other = torch.ones(len(target)).bool() if every else target != task.final(found.base[possible])
        kept.append(possible[other])
        targets.append(target[other])
        if sum(map(len, kept)) >= most:
            break
    if not kept:
        return found, torch.empty(0).double(), 0
    return _only(found, torch.cat(kept)[:most]), torch.cat(targets)[:most], impossible


def possible_ones(
    prepared: Prepared, end: Tail, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int
) -> np.ndarray:
    """Return which spliced sequences can occur, as far as the study says, (row,)."""
    if prepared.study.valid is None:
        return np.ones(len(base), dtype=bool)
    x, lengths = inputs(prepared, end, base, source, step)
    values = x.double().numpy()
    return np.array([prepared.allows(one[:length]) for one, length in zip(values, lengths, strict=True)], dtype=bool)


def depends(prepared: Prepared, end: Tail, task: Task, left: int) -> list[tuple[int, float]]:
    """Return in how many pairs that differ in the concept the state decides the answer, by how many steps follow.

    What is read later may tell the concept anew: a closing quotation mark ends what was open, whatever was. Where the
    concept is a function, these are the pairs whose right answer is another than the base's; otherwise those whose
    answer by the network changes.

    Args:
        prepared: the study.
        end: the machine.
        task: what a state is thought to hold.
        left: how many steps follow the exchange that was chosen.
    """
    found, rows = list[tuple[int, float]](), torch.arange(len(end.rows))
    if prepared.head is not None and not len(prepared.head.values) and not isinstance(task, Spliced):
        return found
    lefts = {0, left, *(2**power for power in range(10) if 2**power < end.steps)}
    for following in sorted(lefts):
        step = end.steps - 1 - following
        defined = rows[torch.as_tensor(np.isfinite(end.values[:, step]))]
        every = pairs_among(end.machine, step, defined, most=TRIED * TOLD, seed=prepared.seed)
        every = _only(every, task.so_far(every.base, step) != task.so_far(every.source, step))
        every = _only(every, torch.as_tensor(np.random.default_rng(prepared.seed).permutation(len(every))[:TOLD]))
        every = _only(every, torch.as_tensor(possible_ones(prepared, end, every.base, every.source, step)))
        if not len(every):
            continue
        if isinstance(task, Spliced):
            other = task.target(every.base, every.source, step) != task.final(every.base)
        else:
            answers = end.machine.answers(whole(every), every.base, step)
            other = answers.chosen != end.machine.clean.answers.chosen[every.base]
        found.append((following, float(other.double().mean())))
    return found
