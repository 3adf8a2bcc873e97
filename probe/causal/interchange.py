"""Interchange: one sequence's state, or a part of it, is put into another's run.

Reference: Geiger et al. 2021, Causal abstractions of neural networks, section 3 (interchange intervention accuracy).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..statistics import share_interval
from .pairs import Pairs, Put
from .runs import Spliced, run_on
from .task import Task


@dataclass(frozen=True)
class Scores:
    """How answers follow what is put in.

    Attributes:
        accuracy: share of all pairs whose answer is the target.
        iia: the same of the pairs whose source and base differ in the concept.
        unpatched: the same of those pairs where nothing is put in.
        whole: the same of those pairs where the whole state is.
        shift: sum (y - y_base) (target - target_base) / sum (target - target_base)^2 over the pairs, y the expected
            answer: how far it goes of the way that it should.
        whole_shift: the same where the whole state is put in.
        pairs: how many pairs.
        changed: how many of them differ in the concept.
        exhaustive: whether these are all pairs.
    """

    accuracy: float
    iia: float
    unpatched: float
    whole: float
    shift: float
    whole_shift: float
    pairs: int
    changed: int
    exhaustive: bool

    @property
    def score(self) -> float:
        """(iia - unpatched) / (whole - unpatched): 0 as without a patch, 1 as with the whole state; NaN at 0 / 0."""
        way = self.whole - self.unpatched
        return (self.iia - self.unpatched) / way if way else float("nan")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The iia's interval at 95 % over drawn pairs (Clopper-Pearson); where all were run, the value itself."""
        if self.exhaustive:
            return self.iia, self.iia
        return share_interval(round(self.iia * self.changed), self.changed, 0.95)


def interchange(pairs: Pairs, task: Task, put: Put) -> Scores:
    """Return how the answers of bases follow what is put into their runs.

    Args:
        pairs: which rows, and after which step.
        task: what a state is thought to hold.
        put: what is put in.

    Raises:
        ProbeError: the concept does not have the machine's rows and steps.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3.
    """
    machine, step = pairs.machine, pairs.step
    task.check_fits(machine.inputs)
    spliced, natural, so_far = Spliced(pairs), machine.natural, task.concept[:, step]
    right_before, final = natural.chosen.double(), task.final(torch.arange(len(machine.inputs)))
    changed = 0
    hits, moved, way_squared = torch.zeros(4, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), 0.0
    for part, answers in run_on(pairs, put):
        base = part.base
        target = task.target(base, part.source, step)
        counted = so_far[base] != so_far[part.source]
        right = answers.chosen.double() == target
        before = right_before[base] == target
        after = spliced.answers(part)
        whole = after.chosen.double() == target
        hits += torch.stack([right.sum(), (right & counted).sum(), (before & counted).sum(), (whole & counted).sum()])
        way = target - final[base]
        moved += (torch.stack([answers.expected, after.expected]) - natural.expected[base]) @ way
        way_squared += float(way @ way)
        changed += int(counted.sum())
    nothing = float("nan")
    iia, unpatched, whole = (hits[1:] / changed).tolist() if changed else [nothing] * 3
    shift, whole_shift = (moved / way_squared).tolist() if way_squared else [nothing] * 2
    accuracy = float(hits[0]) / len(pairs)
    return Scores(accuracy, iia, unpatched, whole, shift, whole_shift, len(pairs), changed, pairs.exhaustive)
