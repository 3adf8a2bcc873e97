"""Does the answer need more of a state than the concept? Each state is replaced by the mean of its class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import ProbeError
from ...evidence.claims import Control
from ...evidence.measurements import measurement, tabulate
from ...methods.causal.class_means import classes_at
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...plots.networks import draw_role_lines
from ...plots.style import axes_or_new
from ...recurrent.signals import within
from ...subjects.answers import task_of
from ...subjects.ends import machine_of
from ...subjects.subject import Subject, as_subjects
from .. import needs, told
from ..question import Question
from ..rules import ANSWERING, FITTED, rule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "class_means"
_RATIO, _BALANCED = "class_mean_ratio", "balanced_class_mean_ratio"


def question(subject: Subject) -> Question:
    """Return the question.

    Args:
        subject: one of the networks; the statement names its concept.
    """
    name = f"“{subject.concept.name}”"
    return Question(
        "class-means",
        f"Does the answer need more of a state than {name}?",
        measure,
        (needs.exact_answers, needs.numbers, needs.kept_answers),
        ANSWERING,
        draw=draw,
        setup=_setup,
        rules=(
            rule(
                "class-means",
                f"The network needs nothing of its state but {name}: class means do as well.",
                "worst_class_mean_ratio",
                definition="Accuracy with every state at a step replaced by the mean of its value's states, over own "
                "accuracy; the worst step.",
                source="Chan et al. 2022",
                at_least=0.95,
                controls=(Control(FITTED, 0.05),),
            ),
        ),
        version=2,
    )


def _setup(subject: Subject) -> str:
    return (
        f"{told.ran(subject)} States are replaced once, at one step, each by the mean state of its own value. A run "
        "that goes on from the nearest mean after every step, as an automaton does, may keep fewer answers."
    )


def measure(subjects: Sequence[Subject], *, steps: Iterable[int] | None = None) -> pd.DataFrame:
    """Measure how accurate answers stay where every state at a step is the mean state of its concept's value.

    A value that one prefix alone has is left out, since its mean is that prefix's own state. Metrics by step:
    `class_mean_accuracy`, over the rows that remain; `class_mean_ratio`, that over the network's own accuracy on
    them; `balanced_class_mean_ratio`, the same with each value of the concept weighing the same;
    `class_mean_answer_change`, the mean absolute change of the expected answer. One value a network:
    `worst_class_mean_ratio` and `worst_balanced_class_mean_ratio`, the smallest over steps.

    A ratio is left out where the network has no right answer among those rows.

    Args:
        subjects: what is measured.
        steps: after which steps; None takes all but the last.

    Raises:
        ProbeError: the concept is not aligned to (batch, time) or does not follow from what was read so far, a step
            or the layer does not exist, or a model's answer depends on more than one layer's last state.

    Reference:
        Chan et al. 2022, Causal scrubbing, with the mean of a class in place of a state drawn from it;
        docs/science.md, "Class mean at (t, n)".
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        machine, task = machine_of(subject), task_of(subject)
        task.check_fits(machine.clean.inputs)
        length = machine.clean.inputs.shape[1]
        chosen = range(length - 1) if steps is None else steps
        chosen = within("steps", tuple(chosen), length, "the input's time axis")
        found = [(name, value, step) for step in chosen for name, value in _at_step(machine, task, step)]
        for name in (_RATIO, _BALANCED):
            ratios = [(value, step) for metric, value, step in found if metric == name]
            found += [(f"worst_{name}", *min(ratios))] if ratios else []
        for name, value, step in found:
            rows.append(measurement(QUESTION, name, subject.network, value, layer=subject.layer, step=step))
    return tabulate(rows)


def _at_step(machine: Machine, task: Task, step: int) -> Iterator[tuple[str, float]]:
    classes = classes_at(machine, task, step)
    member = classes.of_row
    rows = torch.as_tensor(classes.sizes > 1)[member].nonzero().flatten()
    if not len(rows):
        return
    after = machine.answers(torch.as_tensor(classes.means)[member[rows]], rows, step)
    wanted = task.final(rows)
    hits = (after.chosen.double() == wanted).numpy()
    own = (machine.clean.answers.chosen[rows].double() == wanted).numpy()
    changes = (after.expected - machine.clean.answers.expected[rows]).abs()
    yield "class_mean_accuracy", float(hits.mean())
    yield "class_mean_answer_change", float(changes.mean())
    if own.any():
        values = member[rows].numpy()
        by_value = [(hits[values == value].mean(), own[values == value].mean()) for value in np.unique(values)]
        balanced, own_balanced = np.mean(by_value, axis=0)
        yield _RATIO, float(hits.mean() / own.mean())
        yield _BALANCED, float(balanced / own_balanced)


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the ratio of accuracies by step: the median over networks and its interval; each planted network a line.

    Args:
        frame: what `measure` returned.
        threshold: the bound of a rule, or None.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has no ratio.
    """
    rows = frame[frame["metric"] == _RATIO]
    if rows.empty:
        raise ProbeError(f"The table has no {_RATIO}; measure the question first.")
    ax = draw_role_lines(rows, ax=axes_or_new(ax), at="step")
    if threshold is not None:
        ax.axhline(threshold, color="black", linewidth=1, linestyle=":", zorder=0)
    ax.set_ylim(0, max(1.05, ax.get_ylim()[1]))
    ax.set_xlabel("steps read when the class mean is put in")
    ax.set_ylabel("accuracy over own accuracy")
    return ax
