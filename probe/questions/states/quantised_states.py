"""Does the network run on class means of the concept? After each step its state becomes the nearest one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch

from ...errors import several
from ...evidence.measurements import measurement, tabulate
from ...methods.abstraction.quantised import class_means, quantised_run, share_equal
from ...plots.networks import draw_dots
from ...subjects.ends import ends_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..headings import by_rule
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from ..told import controls_of, figure_of, of_network

QUESTION = "quantised_states"
#: Which states a run may use.
CODEBOOKS = ("by_step", "over_steps")
#: What the picture shows.
CAPTION = "Right answers that are left on so few states; each dot is a network."


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept."""
    name = f"“{subject.concept.name}”"
    return Question(
        "quantised-states",
        f"Does the network run on the nearest mean state of a value of {name}?",
        measure,
        (needs.exact_answers, needs.few_values, needs.defined_steps, needs.kept_answers),
        ANSWERING,
        draw=draw,
        tell=tell,
        rules=(
            rule(
                "quantised-states",
                f"The network runs on the nearest of the mean states, one for each step and value of {name}.",
                "accuracy_kept_by_step",
                definition="Accuracy with each state replaced after every step by the nearest mean state of a value "
                "at that step, over own accuracy.",
                source="Omlin & Giles 1996",
                at_least=0.95,
            ),
        ),
        version=2,
        caption=CAPTION,
        heading=by_rule(
            f"One mean state for each step and value of {name} is enough to run on",
            f"One mean state for each step and value of {name} is not enough to run on",
        ),
    )


def measure(subjects: Sequence[Subject], *, metrics: Sequence[str] = ("standardised",)) -> pd.DataFrame:
    """Measure what is left of a network's answers when it runs on one state for each value of the concept.

    After every step the state is replaced by the nearest class mean and the run goes on from there. `kind` says which
    means: `by_step`, those of the step; `over_steps`, the same few at every step, for which a state may not tell how
    much has been read. The values may be numbers or categories. After steps at which the concept is undefined in some
    sequence, the state stays as it is.

    Metrics: `own_accuracy`; `states`, how many states the run may use, the one before the first input among those by
    step; `quantised_accuracy`; `answers_kept`, the share of answers that are the network's own; `right_class` by
    step, the share of runs on the state of the concept's value; one value a network, and none for one that is never
    right: `accuracy_kept_by_step` and `accuracy_kept_over_steps`, quantised accuracy over own.

    Args:
        metrics: how distances are taken, see `probe.methods.abstraction.quantised.class_means`: `standardised`, in
            units of each number's standard deviation; `whitened` within the classes, which gets the kinds
            `by_step_whitened` and `over_steps_whitened` and metrics of those names.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), a model is no `probe.methods.machines.Machine`, or
            there is no such metric.

    Reference:
        Omlin & Giles 1996, Extraction of rules from discrete-time recurrent neural networks, section 3.
    """
    return tabulate(row for subject in as_subjects(subjects) for row in _of_one(subject, metrics))


def _of_one(subject: Subject, metrics: Sequence[str]) -> list[dict[str, Any]]:
    end = ends_of(subject)
    machine, concept = end.machine, torch.as_tensor(end.values)

    def row(metric: str, value: float, kind: str = "", step: int | None = None) -> dict[str, Any]:
        place: Any = {"layer": subject.layer, "kind": kind, "step": step}
        return measurement(QUESTION, metric, subject.network, value, **place)

    own = share_equal(machine.clean.answers.chosen, concept[:, -1])
    rows = [row("own_accuracy", own)]
    for metric, book in product(metrics, CODEBOOKS):
        name = book if metric == "standardised" else f"{book}_{metric}"
        codebook = class_means(machine, concept, by_step=book == "by_step", metric=metric)
        run = quantised_run(machine, codebook)
        found = share_equal(run.answers.chosen, concept[:, -1])
        rows.append(row("states", float(codebook.size), name))
        rows.append(row("quantised_accuracy", found, name))
        rows.append(row("answers_kept", share_equal(run.answers.chosen, machine.clean.answers.chosen), name))
        for step in codebook.steps:
            rows.append(row("right_class", share_equal(run.values[:, step], concept[:, step]), name, step))
        if own:
            rows.append(row(f"accuracy_kept_{name}", found / own))
    return rows


#: Draws the share of its own accuracy that each network keeps.
draw = partial(
    draw_dots,
    metrics={
        "accuracy_kept_by_step": "one state a step\nand value",
        "accuracy_kept_over_steps": "one a value,\nall steps",
    },
)


def tell(answered: Answered) -> Told:
    """Say how well one network runs on a state for each value, and show it."""
    end, name = ends_of(answered.subject), f"“{answered.subject.concept.name}”"
    kept, few = (float(of_network(answered, f"accuracy_kept_{kind}")["value"].iloc[0]) for kind in CODEBOOKS)
    sizes = of_network(answered, "states").set_index("kind")["value"]
    controls = controls_of(answered, "accuracy_kept_by_step", "{:.0%}".format)
    first = (
        f"On the nearest of {sizes['by_step']:.0f} mean states, one for each step and value of {name}, the network "
        f"keeps {kept:.0%}{controls} of its right answers."
    )
    steps = of_network(answered, "right_class")["step"].nunique()
    where = "each step" if steps == end.steps else f"each of {several(steps, 'step')} at which {name} is defined"
    setup = (
        f"After {where} we replaced the state by the nearest mean state of a value, and the run went on from there. "
        "All numbers decide alike which is nearest, in each number's standard deviation, also those that hold "
        "something else. A low share does not show that the network needs more than value and step. The state "
        f"before the first input counts as one. We ran {end.said}."
    )
    title = "How much of its accuracy the network keeps on a few states"
    figure = figure_of(answered, draw, "states", title=title, alt=first, caption=CAPTION)
    whatever = f" On {sizes['over_steps']:.0f}, the same at every step, it keeps {few:.0%}."
    return Told({"answer": f"{first}{whatever}", "setup": setup}, figure)
