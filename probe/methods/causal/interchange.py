"""Interchange interventions: one sequence's state, or a part of it, is patched into another sequence's run.

Reference: Geiger et al. 2021, Causal abstractions of neural networks, section 3 (interchange intervention accuracy).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...evidence.intervals import share_interval
from .pairs import Pairs, Put
from .patched_states import Spliced, answers_of, pieces
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
    return Interchange(pairs, task).scores(put)


@dataclass(frozen=True, eq=False)
class _Goal:
    """Of some pairs: what their answers should be, whether they differ in the concept, how far targets move."""

    target: Tensor
    counted: Tensor
    way: Tensor


class Interchange:
    """Pairs, ready for any number of things that are put in: what is the same for all of them is computed once.

    Args:
        pairs: which rows, and after which step.
        task: what a state is thought to hold.

    Raises:
        ProbeError: the concept does not have the machine's rows and steps.
    """

    def __init__(self, pairs: Pairs, task: Task) -> None:
        machine, step = pairs.machine, pairs.step
        task.check_fits(machine.clean.inputs)
        spliced, clean, so_far = Spliced(pairs), machine.clean.answers, task.concept[:, step]
        right_before, final = clean.chosen.double(), task.final(torch.arange(len(machine.clean.inputs)))
        self._pairs, self._goals = pairs, list[_Goal]()
        self._changed, self._way_squared = 0, 0.0
        #: Right answers to the pairs that differ, with nothing put in and with the whole state; how far that moves.
        self._hits, self._whole_moved = torch.zeros(2, dtype=torch.float64), 0.0
        for part in pieces(pairs):
            base = part.base
            target = task.target(base, part.source, step)
            counted = so_far[base] != so_far[part.source]
            before = right_before[base] == target
            after = spliced.answers(part)
            whole = after.chosen.double() == target
            way = target - final[base]
            self._hits += torch.stack([(before & counted).sum(), (whole & counted).sum()])
            self._whole_moved += float((after.expected - clean.expected[base]) @ way)
            self._way_squared += float(way @ way)
            self._changed += int(counted.sum())
            self._goals.append(_Goal(target, counted, way))

    def scores(self, put: Put) -> Scores:
        """Return how the answers of bases follow what is put into their runs.

        Args:
            put: what is put in.
        """
        own, every, of_changed, moved = self._pairs.machine.clean.answers.expected, 0, 0, 0.0
        for part, goal in zip(pieces(self._pairs), self._goals, strict=True):
            answers = answers_of(part, put)
            right = answers.chosen.double() == goal.target
            every += int(right.sum())
            of_changed += int((right & goal.counted).sum())
            moved += float((answers.expected - own[part.base]) @ goal.way)
        changed, nothing = self._changed, float("nan")
        unpatched, whole = (self._hits / changed).tolist() if changed else (nothing, nothing)
        squared = self._way_squared
        return Scores(
            accuracy=every / len(self._pairs),
            iia=of_changed / changed if changed else nothing,
            unpatched=unpatched,
            whole=whole,
            shift=moved / squared if squared else nothing,
            whole_shift=self._whole_moved / squared if squared else nothing,
            pairs=len(self._pairs),
            changed=changed,
            exhaustive=self._pairs.exhaustive,
        )
