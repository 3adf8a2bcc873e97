"""Where states are patched, on how many pairs, and how long directions are searched: a step's cost decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import several
from ..methods.causal.alignment import Search
from ..methods.causal.alignment_controls import differing, pairs_among
from ..methods.causal.task import Task
from .answers import Spliced, only_last, task_of
from .ends import cost_of_head, ends_of
from .stacks import cost
from .subject import Subject, per_subject

#: The fewest pairs that are patched, and that are spliced; about how many patches are run on the same pairs.
FEWEST_PAIRS, FEWEST_SPLICED, PATCHES = 256, 256, 14
#: How many directions are searched for; the pairs in one step of the search; the most and the fewest steps.
RANKS, SEARCHED, ITERATIONS, FEWEST_ITERATIONS = (1, 2), 48, 300, 60
#: A forward and a backward pass take about three times as long as a forward pass.
FORWARD_AND_BACKWARD = 3
#: States are patched no earlier than so many sequences have a value of the concept.
FEWEST_DEFINED = 64


@dataclass(frozen=True, eq=False)
class Plan:
    """Where states are patched, and how long directions are searched.

    Attributes:
        place: the step after which states are patched, counted in the ends of the sequences.
        left: how many steps follow.
        pairs: how many pairs are run.
        spliced: for how many of them the network reads the whole spliced sequence.
        iterations: the steps of the search; 0 if it would cost too much, or the readout has no gradient.
    """

    place: int
    left: int
    pairs: int
    spliced: int
    iterations: int

    @property
    def where(self) -> str:
        """Where states are patched, in words."""
        return f"{several(self.left, 'step')} before the end" if self.left else "after the last step"


@per_subject
def plan_of(subject: Subject) -> Plan:
    """Return where states are patched: in the middle of the steps that are run, or later if that costs too much."""
    end, budget, chosen = ends_of(subject), subject.budget, subject.asked.interchange_step
    step = cost(end.stack)
    left = 0 if only_last(subject) else (end.steps - 1) // 2 if chosen is None else -1 - chosen
    if left and chosen is None:
        one_search = step * SEARCHED * (len(RANKS) + 1) * FORWARD_AND_BACKWARD * FEWEST_ITERATIONS
        left = int(np.clip(budget.search / one_search, 1, left))
        left = int(np.clip(budget.pairs / (step * FEWEST_PAIRS * PATCHES), 1, left))
    # Later, if the concept is not defined so early in enough sequences.
    enough = min(FEWEST_DEFINED, len(end.rows)) * (chosen is None)
    defined = np.isfinite(end.values).sum(axis=0)
    left = next(k for k in range(left, -1, -1) if not k or defined[end.steps - 1 - k] >= enough)
    place = end.steps - 1 - left
    iterations = search_length(subject, place, searches=len(RANKS) + 1, pairs=SEARCHED, most=ITERATIONS)
    pairs = max(affordable_pairs(subject, place, PATCHES, most=budget.most_pairs), FEWEST_PAIRS)
    whole = step * subject.x.shape[1] + cost_of_head(subject)
    spliced = int(np.clip(budget.spliced / whole, FEWEST_SPLICED, pairs))
    return Plan(place, left, pairs, spliced, iterations)


def affordable_pairs(subject: Subject, place: int, patches: int, *, most: int) -> int:
    """Return on how many pairs, of `most`, so many patches may be run after a step of the ends."""
    most = min(most, subject.budget.called_pairs) if _called(subject) else most
    return int(max(1, min(most, subject.budget.pairs / (_cost(subject, place) * patches))))


def search_of(
    subject: Subject, place: int, rank: int, task: Task, rows: Tensor, *, standardised: bool = False
) -> Search:
    """Return a search for so many directions (`rank`) on some rows, with few pairs where a function is called."""
    pairs = None
    if _called(subject):
        most = subject.budget.called_pairs
        pairs = differing(pairs_among(ends_of(subject).machine, place, rows, most=most), task)
    return Search(rank, task, rows, standardised, pairs)


def search_length(subject: Subject, place: int, *, searches: int, pairs: int, most: int) -> int:
    """Return for how many steps, of `most`, so many searches run together on so many pairs.

    Returns:
        At least `FEWEST_ITERATIONS`, or 0: too few would cost too much, or the readout has no gradient.
    """
    if subject.head is not None and not subject.head.differentiable:
        return 0
    one = _cost(subject, place) * searches * pairs * FORWARD_AND_BACKWARD
    steps = int(min(most, subject.budget.search / one))
    return steps if steps >= min(most, FEWEST_ITERATIONS) else 0


def _called(subject: Subject) -> bool:
    """Return whether a function of the study is called for each right answer after a patch."""
    return isinstance(task_of(subject), Spliced)


def _cost(subject: Subject, place: int) -> float:
    """Return about how many operations the way from a state after a step to the answer takes."""
    end = ends_of(subject)
    return max(cost(end.stack) * max(end.steps - 1 - place, 1) + cost_of_head(subject), 1.0)
