"""Does the answer move when the state is pushed by one step of the concept?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods.causal.class_means import Classes, classes_at
from ...methods.causal.directions import shift_by_one
from ...methods.causal.support import Support
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...methods.readouts import Answers
from ...plots.networks import draw_role_lines
from ...plots.style import axes_or_new
from ...subjects.answers import task_of
from ...subjects.ends import machine_of, step_of
from ...subjects.subject import Subject, as_subjects
from .. import needs, told
from ..question import Question
from ..rules import ANSWERING, ONE_STEP, rule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "steering"
#: How far states are pushed for the dose-response, in steps of the concept.
DOSES = tuple(half / 2 for half in range(-6, 7))


def question(subject: Subject) -> Question:
    """Return the question.

    Args:
        subject: one of the networks; the statement names its concept.
    """
    return Question(
        "steering",
        f"Does the answer move when the state is pushed by one step of “{subject.concept.name}”?",
        measure,
        (needs.exact_answers, needs.splices, needs.numbers, needs.whole_numbers, values_decide, needs.used_state),
        ANSWERING,
        draw=draw,
        setup=told.at_pairs,
        settings={"step": None},
        rules=(
            rule(
                "steering",
                "With the state pushed by one, from class mean to class mean, the answer is right from there.",
                "steered_exact",
                signal="class_mean",
                definition=f"Share of answers that are exactly the target, {ONE_STEP}.",
                source="Heimersheim & Nanda 2024",
                at_least=0.95,
            ),
        ),
        version=2,
    )


def values_decide(subject: Subject) -> str | None:
    """A concept whose value decides what follows, with values that are one apart."""
    machine = machine_of(subject)
    push = _Push.of(machine, task_of(subject), step_of(subject, None), 1.0)
    try:
        pushed = [len(push.target(push.rows(dose, between_values=True)[0], dose)) for dose in (-1.0, 1.0)]
    except ProbeError as error:
        return str(error).rstrip(".")
    if any(pushed):
        return None
    return f"at the one step that is patched, no two values of “{subject.concept.name}” are one apart"


def measure(
    subjects: Sequence[Subject],
    *,
    step: int | None = -1,
    unit: float | int = 1,
    doses: Sequence[float | int] = DOSES,
) -> pd.DataFrame:
    """Measure what answers do where the state at a step is pushed by one step of the concept, up and down.

    Two ways (`kind`): `class_mean` adds the mean state of the new value minus that of the old one, `linear` adds
    Cov(s, n) / Var(n) for each unit of the concept. All rows count whose old and new value both occur at the step.
    Metrics: `steered_exact`, share of answers that are the target; `steered_shift` = sum (y - y_base) (target -
    target_base) / sum (target - target_base)^2, y the expected answer; `steered_off_support`, the median distance of
    the pushed states from those that occur, in spacings of the concept. `dose_response` (`at` is the dose in
    steps of the concept): the mean change of y, for `linear` at every dose, over rows that it does not take beyond
    the values that occur, for `class_mean` at the doses that lead from value to value.

    Args:
        subjects: what is measured.
        step: after which step; None for that of `step_of`.
        unit: one step of the concept: 1 for a count, 2 for a difference of two counts.
        doses: of the dose-response.

    Raises:
        ProbeError: the concept is not aligned to (batch, time) or does not follow from what was read so far, no two
            of its values are one unit apart, the step or the layer does not exist, or a model's answer depends on
            more than one layer's last state.

    Reference:
        Heimersheim & Nanda 2024, How to use and interpret activation patching; docs/science.md, claim 13.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        machine = machine_of(subject)
        at = step_of(subject, step)
        push = _Push.of(machine, task_of(subject), at, float(unit))
        for name, value, place in (*_pushed_by_one(push), *_dose_response(push, doses)):
            rows.append(measurement(QUESTION, name, subject.network, value, layer=subject.layer, step=at, **place))
    return tabulate(rows)


@dataclass(frozen=True, eq=False)
class _Push:
    """States that are pushed at one step.

    Attributes:
        machine: the model.
        task: what a state is thought to hold.
        classes: the distinct states at the step.
        unit: one step of the concept.
        one: how far the linear way goes for it.
    """

    machine: Machine
    task: Task
    classes: Classes
    unit: float
    one: Tensor

    @classmethod
    def of(cls, machine: Machine, task: Task, step: int, unit: float) -> _Push:
        classes = classes_at(machine, task, step)
        return cls(machine, task, classes, unit, torch.as_tensor(unit * shift_by_one(classes)))

    def rows(self, dose: float, *, between_values: bool) -> tuple[Tensor, Tensor]:
        """Return the rows that a dose keeps among the values, and the class that each then has (-1: none)."""
        values = self.classes.values
        new = values + dose * self.unit
        place = np.abs(new[:, None] - values).argmin(1)
        place[~np.isclose(new, values[place])] = -1
        kept = place >= 0 if between_values else (new >= values[0] - 1e-9) & (new <= values[-1] + 1e-9)
        rows = torch.as_tensor(kept)[self.classes.of_row].nonzero().flatten()
        return rows, torch.as_tensor(place)[self.classes.of_row[rows]]

    def states(self, kind: str, dose: float) -> tuple[Tensor, Tensor]:
        """Return the rows that a dose is given to and their pushed states."""
        rows, new = self.rows(dose, between_values=kind == "class_mean")
        own = self.machine.clean.states[rows, self.classes.step]
        if kind == "linear":
            return rows, own + dose * self.one
        means = torch.as_tensor(self.classes.means)
        return rows, own + means[new] - means[self.classes.of_row[rows]]

    def target(self, rows: Tensor, dose: float) -> Tensor:
        """Return what rows should answer after a dose, (row,)."""
        step = self.classes.step
        return self.task.with_value(self.task.so_far(rows, step) + dose * self.unit, rows, step)

    def answers(self, rows: Tensor, states: Tensor) -> Answers:
        """Return what rows answer from pushed states."""
        return self.machine.answers(states, rows, self.classes.step)


_Value = tuple[str, float, dict[str, Any]]


def _pushed_by_one(push: _Push) -> Iterator[_Value]:
    step, task, clean = push.classes.step, push.task, push.machine.clean.answers
    support = Support.of(push.classes)
    for kind in ("class_mean", "linear"):
        hits, moved, ways, far = [], [], [], []
        for dose in (-1.0, 1.0):
            # The same rows for both ways: those whose new value occurs.
            rows, _ = push.rows(dose, between_values=True)
            given, states = push.states(kind, dose)
            states = states[torch.isin(given, rows)]
            answers = push.answers(rows, states)
            target = push.target(rows, dose)
            hits.append(answers.chosen.double() == target)
            moved.append(answers.expected - clean.expected[rows])
            ways.append(target - task.final(rows))
            far.append(support.distances(states.numpy()))
        hit, way, change = torch.cat(hits), torch.cat(ways), torch.cat(moved)
        if not len(hit):
            raise ProbeError(
                f"No two of the concept's values at step {step} are unit={push.unit:g} apart; they are "
                f"{', '.join(f'{value:g}' for value in push.classes.values)}. Give another unit=."
            )
        place: dict[str, Any] = {"kind": kind}
        yield "steered_exact", float(hit.double().mean()), place
        yield "steered_off_support", float(np.median(np.concatenate(far))), place
        if bool(way.any()):
            yield "steered_shift", float(change @ way / (way @ way)), place


def _dose_response(push: _Push, doses: Sequence[float | int]) -> Iterator[_Value]:
    for kind in ("class_mean", "linear"):
        for dose in doses:
            rows, states = push.states(kind, float(dose))
            if len(rows):
                change = push.answers(rows, states).expected - push.machine.clean.answers.expected[rows]
                yield "dose_response", float(change.mean()), {"kind": kind, "at": float(dose)}


def draw(frame: pd.DataFrame, *, kind: str = "linear", ax: Axes | None = None) -> Axes:
    """Draw how far the expected answer goes for each dose: the median over networks; each planted network a line.

    Args:
        frame: what `measure` returned.
        kind: `linear` or `class_mean`.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has no dose-response of that kind.
    """
    rows = frame[(frame["metric"] == "dose_response") & (frame["kind"] == kind)]
    if rows.empty:
        raise ProbeError(f"The table has no dose_response of kind {kind!r}; it is 'linear' or 'class_mean'.")
    ax = axes_or_new(ax)
    doses = sorted(rows["at"].unique())
    ends = [doses[0], doses[-1]]
    ax.plot(ends, ends, color="black", linewidth=1, linestyle=":", label="_as far as pushed", zorder=0)
    draw_role_lines(rows, ax=ax, at="at")
    ax.set_xlabel("push of the state, in steps of the concept")
    ax.set_ylabel("change of the expected answer")
    return ax
