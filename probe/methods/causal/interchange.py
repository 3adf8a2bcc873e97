"""Interchange interventions: one sequence's state, or a part of it, is patched into another sequence's run.

Reference: Geiger et al. 2021, Causal abstractions of neural networks, section 3 (interchange intervention accuracy).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
class Goal:
    """What the answers to some pairs should be.

    Attributes:
        target: what each answer should be after the patch, (row,).
        counted: whether source and base differ in the concept, (row,).
        way: the target minus what the base's answer should be, (row,).
    """

    target: Tensor
    counted: Tensor
    way: Tensor

    @classmethod
    def of(cls, task: Task, base: Tensor, source: Tensor, step: int) -> Goal:
        """Return the goal of pairs of rows whose states are patched after a step."""
        target, so_far = task.target(base, source, step), task.concept[:, step]
        return cls(target, so_far[base] != so_far[source], target - task.final(base))

    def hits(self, chosen: Tensor) -> tuple[int, int]:
        """Return how many answers are the target, of all pairs and of those that count."""
        right = chosen.double() == self.target
        return int(right.sum()), int((right & self.counted).sum())

    def moved(self, change: Tensor) -> float:
        """Return the sum of how far expected answers moved, times how far they should."""
        return float(change.double() @ self.way)


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
        spliced, clean = Spliced(pairs), machine.clean.answers
        self._pairs, self._goals = pairs, list[Goal]()
        self._changed, self._way_squared = 0, 0.0
        #: Right answers to the pairs that differ, with nothing put in and with the whole state; how far that moves.
        self._hits, self._whole_moved = torch.zeros(2, dtype=torch.float64), 0.0
        for part in pieces(pairs):
            goal, after = Goal.of(task, part.base, part.source, step), spliced.answers(part)
            before = clean.chosen[part.base]
            self._hits += torch.tensor([goal.hits(before)[1], goal.hits(after.chosen)[1]])
            self._whole_moved += goal.moved(after.expected - clean.expected[part.base])
            self._way_squared += float(goal.way @ goal.way)
            self._changed += int(goal.counted.sum())
            self._goals.append(goal)

    def scores(self, put: Put) -> Scores:
        """Return how the answers of bases follow what is put into their runs.

        Args:
            put: what is put in.
        """
        own, every, of_changed, moved = self._pairs.machine.clean.answers.expected, 0, 0, 0.0
        for part, goal in zip(pieces(self._pairs), self._goals, strict=True):
            answers = answers_of(part, put)
            right, counted = goal.hits(answers.chosen)
            every, of_changed = every + right, of_changed + counted
            moved += goal.moved(answers.expected - own[part.base])
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

    def changes(self, put: Put) -> tuple[np.ndarray, np.ndarray]:
        """Return how far each right answer moves from the base's, and how far the expected answer does, (pair,) each.

        Args:
            put: what is put in.
        """
        own = self._pairs.machine.clean.answers.expected
        parts = list(zip(pieces(self._pairs), self._goals, strict=True))
        moved = [answers_of(part, put).expected - own[part.base] for part, _ in parts]
        return torch.cat([goal.way for _, goal in parts]).numpy(), torch.cat(moved).double().numpy()
