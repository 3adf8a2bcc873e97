"""Does the answer move when the state is pushed by one step of the concept?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import only
from ...methods.causal.class_means import Classes, classes_at
from ...methods.causal.directions import shift_by_one
from ...methods.causal.support import Support
from ...subjects.answers import task_of
from ...subjects.ends import machine_of, step_of
from ...subjects.subject import Subject
from .. import needs
from ..headings import by_rule
from ..question import Question
from ..rules import ANSWERING, ONE_STEP, rule
from .patching import Value, draw_lines, table_of

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
        (needs.exact_answers, needs.splices, needs.numbers, needs.whole_numbers, needs.used_state),
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
        heading=by_rule(
            "Push the state by one, and the answer moves by one",
            "Push the state by one, and the answer does not move by one",
        ),
        caption="How far the answer goes for each push; on the diagonal it goes as far as it was pushed.",
    )


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
        machine = machine_of(subject)
        classes = classes_at(machine, task_of(subject), step_of(subject, step))
        for kind in (MEANS, SLOPE):
            for name, value in _by_one(subject, classes, kind):
                yield name, value, {"step": classes.step, "kind": kind}
        for kind in (MEANS, SLOPE):
            for dose in DOSES:
                rows, states = _pushed(subject, classes, kind, dose, anywhere=kind == SLOPE)
                if len(rows):
                    moved = (
                        machine.answers(states, rows, classes.step).expected - machine.clean.answers.expected[rows]
                    )
                    yield "dose_response", float(moved.mean()), {"step": classes.step, "kind": kind, "at": dose}

    return table_of("steering", subjects, values)


def _pushed(
    subject: Subject, classes: Classes, kind: str, dose: float, *, anywhere: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the rows that a dose leads to another of the values, or anywhere among them, and their pushed states."""
    values, new = classes.values, classes.values + dose
    place = np.abs(new[:, None] - values).argmin(1)
    kept = (new >= values[0] - 1e-9) & (new <= values[-1] + 1e-9) if anywhere else np.isclose(new, values[place])
    rows = torch.as_tensor(kept)[classes.of_row].nonzero().flatten()
    own, member = machine_of(subject).clean.states[rows, classes.step], classes.of_row[rows]
    if kind == SLOPE:
        return rows, own + dose * torch.as_tensor(shift_by_one(classes))
    means = torch.as_tensor(classes.means)
    return rows, own + means[torch.as_tensor(place)[member]] - means[member]


def _by_one(subject: Subject, classes: Classes, kind: str) -> Iterator[tuple[str, float]]:
    """Yield what comes of a push by one, down and up; both kinds are given to the same rows."""
    machine, task, support = machine_of(subject), task_of(subject), Support.of(classes)
    hits, moved, ways, far = [], [], [], []
    for dose in (-1.0, 1.0):
        rows, states = _pushed(subject, classes, kind, dose)
        answers = machine.answers(states, rows, classes.step)
        target = task.with_value(task.so_far(rows, classes.step) + dose, rows, classes.step)
        hits.append(answers.chosen.double() == target)
        moved.append(answers.expected - machine.clean.answers.expected[rows])
        ways.append(target - task.final(rows))
        far.append(support.distances(states.numpy()))
    hit, way, change = torch.cat(hits), torch.cat(ways), torch.cat(moved)
    if not len(hit):
        raise ProbeError(
            f"No two of the concept's values at step {classes.step} are one apart; they are "
            f"{', '.join(f'{value:g}' for value in classes.values)}. Give a concept that counts in ones."
        )
    yield "steered_exact", float(hit.double().mean())
    yield "steered_off_support", float(np.median(np.concatenate(far)))
    if bool(way.any()):
        yield "steered_shift", float(change @ way / (way @ way))


def draw(frame: pd.DataFrame) -> Axes:
    """Draw how far the expected answer goes for each dose along the slope, beside a line that goes as far."""
    x, y = "push of the state, in steps of the concept", "change of the expected answer"
    ax = draw_lines(only(frame, metric="dose_response", kind=SLOPE), at="at", x=x, y=y)
    ax.axline((0, 0), slope=1, color="black", linewidth=1, linestyle=":", zorder=0)
    return ax
