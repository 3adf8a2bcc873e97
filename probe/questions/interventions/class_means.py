"""Does the answer need more of a state than the concept? Each state is replaced by the mean of its class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from ...evidence.measurements import only
from ...methods.causal.class_means import classes_at
from ...subjects.answers import task_of
from ...subjects.ends import machine_of
from ...subjects.subject import Subject
from .. import needs
from ..headings import by_rule
from ..question import Question
from ..rules import ANSWERING, FITTED, above, rule
from .patching import Value, draw_lines, table_of

_RATIO, _BALANCED = "class_mean_ratio", "balanced_class_mean_ratio"


def question(subject: Subject) -> Question:
    """Return the question."""
    name = f"“{subject.concept.name}”"
    return Question(
        "class-means",
        f"Does the answer need more of a state than {name}?",
        measure,
        (needs.exact_answers, needs.numbers, needs.kept_answers),
        ANSWERING,
        draw=draw,
        text="States are replaced once, at one step, each by the mean state of its own value. A run that goes on "
        "from the nearest mean after every step, as an automaton does, may keep fewer answers.",
        rules=(
            rule(
                "class-means-2",
                f"The network needs nothing of its state but {name}: class means do as well.",
                "worst_class_mean_ratio",
                definition="Accuracy with every state at a step replaced by the mean of its value's states, over own "
                "accuracy; the worst step.",
                source="Chan et al. 2022",
                at_least=0.95,
                controls=(above(FITTED),),
            ),
        ),
        version=2,
        heading=by_rule(
            f"The answer needs nothing of a state but {name}",
            f"The answer needs more of a state than {name}",
        ),
        caption="Right answers that are left where each state is the mean of its value, by step; one is all of them.",
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how accurate answers stay where every state at a step but the last is the mean of its value's states.

    A value that one prefix alone has is left out, since its mean is that prefix's own state. Metrics by step:
    `class_mean_accuracy`, over the rows that remain; `class_mean_ratio`, that over the network's own accuracy on
    them; `balanced_class_mean_ratio`, the same with each value of the concept weighing the same;
    `class_mean_answer_change`, the mean absolute change of the expected answer. One value a network:
    `worst_class_mean_ratio` and `worst_balanced_class_mean_ratio`, the smallest over steps. A ratio is left out where
    the network has no right answer among those rows.

    Raises:
        ProbeError: the concept is not aligned to (batch, time) or does not follow from what was read so far.

    Reference:
        Chan et al. 2022, Causal scrubbing, with the mean of a class in place of a state drawn from it;
        docs/science.md, "Class mean at (t, n)".
    """
    return table_of("class_means", subjects, _measured)


def _measured(subject: Subject) -> Iterator[Value]:
    worst = dict[str, tuple[float, int]]()
    for step in range(machine_of(subject).clean.inputs.shape[1] - 1):
        for name, value in _at_step(subject, step):
            yield name, value, {"step": step}
            worst[name] = min(worst.get(name, (value, step)), (value, step))
    for name in (_RATIO, _BALANCED):
        if name in worst:
            yield f"worst_{name}", worst[name][0], {"step": worst[name][1]}


def _at_step(subject: Subject, step: int) -> Iterator[tuple[str, float]]:
    machine, task = machine_of(subject), task_of(subject)
    classes = classes_at(machine, task, step)
    member = classes.of_row
    rows = torch.as_tensor(classes.sizes > 1)[member].nonzero().flatten()
    if not len(rows):
        return
    after = machine.answers(torch.as_tensor(classes.means)[member[rows]], rows, step)
    wanted = task.final(rows)
    hits = (after.chosen.double() == wanted).numpy()
    own = (machine.clean.answers.chosen[rows].double() == wanted).numpy()
    yield "class_mean_accuracy", float(hits.mean())
    yield "class_mean_answer_change", float((after.expected - machine.clean.answers.expected[rows]).abs().mean())
    if own.any():
        values = member[rows].numpy()
        by_value = [(hits[values == value].mean(), own[values == value].mean()) for value in np.unique(values)]
        balanced, own_balanced = np.mean(by_value, axis=0)
        yield _RATIO, float(hits.mean() / own.mean())
        yield _BALANCED, float(balanced / own_balanced)


def draw(frame: pd.DataFrame) -> Axes:
    """Draw the ratio of accuracies by step: medians over networks, and each planted network a line."""
    x, y = "steps read when the class mean is put in", "accuracy over own accuracy"
    return draw_lines(only(frame, metric=_RATIO), at="step", x=x, y=y)
