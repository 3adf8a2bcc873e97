"""Interchange interventions: one sequence's state, or a part of it, is patched into another sequence's run.

Reference: Geiger et al. 2021, Causal abstractions of neural networks, section 3 (interchange intervention accuracy).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .pairs import Pairs, Put
from .patched_states import Spliced, answers_of, pieces
from .support import OffSupport
from .task import Task

NOTHING = float("nan")


@dataclass(frozen=True)
class Scores:
    """How answers follow what is put in.

    Attributes:
        iia: share of the pairs that differ in the concept whose answer is the target.
        unpatched: the same where nothing is put in.
        whole: the same where the whole state is.
        shift: sum (y - y_base) (target - target_base) / sum (target - target_base)^2 over the pairs, y the expected
            answer: how far it goes of the way that it should.
        pairs: how many pairs.
        changed: how many of them differ in the concept.
        off_support: the median distance of the patched states from the states that occur, in spacings of the concept;
            NaN where it is not measured.
    """

    iia: float
    unpatched: float
    whole: float
    shift: float
    pairs: int
    changed: int
    off_support: float = NOTHING

    @property
    def score(self) -> float:
        """(iia - unpatched) / (whole - unpatched): 0 as without a patch, 1 as with the whole state; NaN at 0 / 0."""
        way = self.whole - self.unpatched
        return (self.iia - self.unpatched) / way if way else NOTHING

    @property
    def numbers(self) -> dict[str, float]:
        """What questions have of a patch: `score`, `iia`, `shift` and `off_support`."""
        return {"score": self.score, "iia": self.iia, "shift": self.shift, "off_support": self.off_support}


def interchange(pairs: Pairs, task: Task, put: Put) -> Scores:
    """Return how the answers of bases follow what is put into their runs.

    Raises:
        ProbeError: the concept does not have the machine's rows and steps.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3.
    """
    return Interchange(pairs, task).scores(put)


@dataclass(frozen=True, eq=False)
class _Goal:
    """What each answer to some pairs should be, whether base and source differ, and how far it is from the base's."""

    target: Tensor
    counted: Tensor
    way: Tensor

    @classmethod
    def of(cls, task: Task, base: Tensor, source: Tensor, step: int) -> _Goal:
        target, so_far = task.target(base, source, step), task.concept[:, step]
        return cls(target, so_far[base] != so_far[source], target - task.final(base))

    def hits(self, chosen: Tensor) -> int:
        """Return how many answers to the pairs that differ in the concept are the target."""
        return int(((chosen.double() == self.target) & self.counted).sum())


class Interchange:
    """Pairs, ready for any number of things that are put in: what is the same for all of them is computed once.

    Args:
        pairs: which rows, and after which step.
        task: what a state is thought to hold.
        support: whether distances off support are measured; the concept must be a number then.
        seed: of the pairs whose distances are measured.

    Raises:
        ProbeError: the concept does not have the machine's rows and steps; or distances are measured, and rows that
            have read the same differ in the concept.
    """

    def __init__(self, pairs: Pairs, task: Task, *, support: bool = False, seed: int = 0) -> None:
        machine, step = pairs.machine, pairs.step
        task.check_fits(machine.clean.inputs)
        spliced, clean = Spliced(pairs), machine.clean.answers
        self._pairs, self._goals = pairs, list[_Goal]()
        self._support = OffSupport(pairs, task, seed=seed) if support else None
        self._changed, self._way_squared = 0, 0.0
        #: Right answers to the pairs that differ, with nothing put in and with the whole state.
        self._hits = torch.zeros(2, dtype=torch.float64)
        for part in pieces(pairs):
            goal = _Goal.of(task, part.base, part.source, step)
            self._hits += torch.tensor([goal.hits(clean.chosen[part.base]), goal.hits(spliced.answers(part).chosen)])
            self._way_squared += float(goal.way @ goal.way)
            self._changed += int(goal.counted.sum())
            self._goals.append(goal)

    def scores(self, put: Put) -> Scores:
        """Return how the answers of bases follow what is put into their runs."""
        own, hits, moved = self._pairs.machine.clean.answers.expected, 0, 0.0
        for part, goal in zip(pieces(self._pairs), self._goals, strict=True):
            answers = answers_of(part, put)
            hits += goal.hits(answers.chosen)
            moved += float((answers.expected - own[part.base]).double() @ goal.way)
        changed, squared = self._changed, self._way_squared
        unpatched, whole = (self._hits / changed).tolist() if changed else (NOTHING, NOTHING)
        return Scores(
            iia=hits / changed if changed else NOTHING,
            unpatched=unpatched,
            whole=whole,
            shift=moved / squared if squared else NOTHING,
            pairs=len(self._pairs),
            changed=changed,
            off_support=NOTHING if self._support is None else self._support.distance(put),
        )
