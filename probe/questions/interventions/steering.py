"""Does the answer move when the state is pushed by one step of the concept?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError
from ...methods.causal.class_means import Classes, classes_at
from ...methods.causal.directions import shift_by_one
from ...methods.causal.support import Support
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...subjects.answers import task_of
from ...subjects.ends import machine_of, step_of
from ...subjects.subject import Subject
from .. import needs
from ..question import Question
from ..rules import ANSWERING, ONE_STEP, rule
from .patching import Value, draw_lines, table_of

QUESTION = "steering"
#: The ways to push a state: to another class mean, and along the encoding slope.
MEANS, SLOPE = "class_mean", "linear"
#: How far states are pushed for the dose-response, in steps of the concept.
DOSES = tuple(half / 2 for half in range(-6, 7))


def question(subject: Subject) -> Question:
    """Return the question."""
    return Question(
        "steering",
        f"Does the answer move when the state is pushed by one step of “{subject.concept.name}”?",
        measure,
        (needs.exact_answers, needs.splices, needs.numbers, needs.whole_numbers, values_decide, needs.used_state),
        ANSWERING,
        draw=draw,
        settings={"step": None},
        rules=(
            rule(
                "steering",
                "With the state pushed by one, from class mean to class mean, the answer is right from there.",
                "steered_exact",
                signal=MEANS,
                definition=f"Share of answers that are exactly the target, {ONE_STEP}.",
                source="Heimersheim & Nanda 2024",
                at_least=0.95,
            ),
        ),
        version=2,
    )


def values_decide(subject: Subject) -> str | None:
    """A concept whose value decides what follows, with values that are one apart."""
    push = _Push.of(subject, step_of(subject, None))
    try:
        pushed = [len(push.target(push.rows(dose, between_values=True)[0], dose)) for dose in (-1.0, 1.0)]
    except ProbeError as error:
        return str(error).rstrip(".")
    if any(pushed):
        return None
    return f"at the one step that is patched, no two values of “{subject.concept.name}” are one apart"


def measure(subjects: Sequence[Subject], *, step: int | None = -1) -> pd.DataFrame:
    """Measure what answers do where the state at a step is pushed by one unit of the concept, up and down.

    Two ways (`kind`): `class_mean` adds the mean state of the new value minus that of the old one, `linear` adds
    Cov(s, n) / Var(n) for each unit of the concept. All rows count whose old and new value both occur at the step.
    Metrics: `steered_exact`, share of answers that are the target; `steered_shift` = sum (y - y_base) (target -
    target_base) / sum (target - target_base)^2, y the expected answer; `steered_off_support`, the median distance of
    the pushed states from those that occur, in spacings of the concept. `dose_response` (`at` is the dose): the mean
    change of y, for `linear` at every dose, over rows that it does not take beyond the values that occur, for
    `class_mean` at the doses that lead from value to value.

    Raises:
        ProbeError: the step does not exist, or the concept is not aligned to (batch, time), does not follow from what
            was read so far, or has no two values that are one apart.

    Reference:
        Heimersheim & Nanda 2024, How to use and interpret activation patching; docs/science.md, claim 13.
    """

    def values(subject: Subject) -> Iterator[Value]:
        at = step_of(subject, step)
        push = _Push.of(subject, at)
        for kind in (MEANS, SLOPE):
            for name, value in _pushed_by_one(push, kind):
                yield name, value, {"step": at, "kind": kind}
        for kind in (MEANS, SLOPE):
            for dose in DOSES:
                rows, states = push.states(kind, dose)
                if len(rows):
                    change = float(push.change(rows, states)[1].mean())
                    yield "dose_response", change, {"step": at, "kind": kind, "at": dose}

    return table_of(QUESTION, subjects, values)


@dataclass(frozen=True, eq=False)
class _Push:
    """States that are pushed at one step; `one` is how far the linear way goes for a unit of the concept."""

    machine: Machine
    task: Task
    classes: Classes
    one: Tensor

    @classmethod
    def of(cls, subject: Subject, step: int) -> _Push:
        machine, task = machine_of(subject), task_of(subject)
        classes = classes_at(machine, task, step)
        return cls(machine, task, classes, torch.as_tensor(shift_by_one(classes)))

    def rows(self, dose: float, *, between_values: bool) -> tuple[Tensor, Tensor]:
        """Return the rows that a dose keeps among the values, and the class that each then has (-1: none)."""
        values = self.classes.values
        new = values + dose
        place = np.abs(new[:, None] - values).argmin(1)
        place[~np.isclose(new, values[place])] = -1
        kept = place >= 0 if between_values else (new >= values[0] - 1e-9) & (new <= values[-1] + 1e-9)
        rows = torch.as_tensor(kept)[self.classes.of_row].nonzero().flatten()
        return rows, torch.as_tensor(place)[self.classes.of_row[rows]]

    def states(self, kind: str, dose: float) -> tuple[Tensor, Tensor]:
        """Return the rows that a dose is given to and their pushed states."""
        rows, new = self.rows(dose, between_values=kind == MEANS)
        own = self.machine.clean.states[rows, self.classes.step]
        if kind == SLOPE:
            return rows, own + dose * self.one
        means = torch.as_tensor(self.classes.means)
        return rows, own + means[new] - means[self.classes.of_row[rows]]

    def target(self, rows: Tensor, dose: float) -> Tensor:
        """Return what rows should answer after a dose, (row,)."""
        step = self.classes.step
        return self.task.with_value(self.task.so_far(rows, step) + dose, rows, step)

    def change(self, rows: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return what rows answer from pushed states, and how far the expected answer moved."""
        answers = self.machine.answers(states, rows, self.classes.step)
        return answers.chosen, answers.expected - self.machine.clean.answers.expected[rows]


def _pushed_by_one(push: _Push, kind: str) -> Iterator[tuple[str, float]]:
    hits, moved, ways, far, support = [], [], [], [], Support.of(push.classes)
    for dose in (-1.0, 1.0):
        # The same rows for both ways: those whose new value occurs.
        rows, _ = push.rows(dose, between_values=True)
        given, states = push.states(kind, dose)
        states = states[torch.isin(given, rows)]
        (chosen, change), target = push.change(rows, states), push.target(rows, dose)
        hits.append(chosen.double() == target)
        moved.append(change)
        ways.append(target - push.task.final(rows))
        far.append(support.distances(states.numpy()))
    hit, way, change = torch.cat(hits), torch.cat(ways), torch.cat(moved)
    if not len(hit):
        raise ProbeError(
            f"No two of the concept's values at step {push.classes.step} are one apart; they are "
            f"{', '.join(f'{value:g}' for value in push.classes.values)}. Give a concept that counts in ones."
        )
    yield "steered_exact", float(hit.double().mean())
    yield "steered_off_support", float(np.median(np.concatenate(far)))
    if bool(way.any()):
        yield "steered_shift", float(change @ way / (way @ way))


def draw(frame: pd.DataFrame) -> Axes:
    """Draw how far the expected answer goes for each dose along the slope, beside a line that goes as far."""
    x, y = "push of the state, in steps of the concept", "change of the expected answer"
    ax = draw_lines(frame, "dose_response", kind=SLOPE, at="at", x=x, y=y)
    ax.axline((0, 0), slope=1, color="black", linewidth=1, linestyle=":", zorder=0)
    return ax
