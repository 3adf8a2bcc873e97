"""Is the network's answer right after every step that its readout names?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ProbeError, several
from ...evidence.claims import Control
from ...evidence.measurements import measurement, tabulate
from ...plots.networks import draw_dots
from ...subjects.computed.answers import answers_at_steps, rows_at_steps
from ...subjects.subject import Subject, by_network
from .. import needs
from ..question import Question
from ..rules import ANSWERING, FITTED, rule
from ..telling import step_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "step_answers"


def question(subject: Subject) -> Question:
    """Return the question, asked where the readout answers after more than the last step.

    Args:
        subject: one of the networks.
    """
    return Question(
        "step-answers",
        "Are the answers right after every step that is answered?",
        measure,
        (needs.several_steps, needs.exact, needs.step_values),
        ANSWERING,
        draw=draw,
        tell=partial(step_words.step_answers, draw=draw, setup=setup),
        version=2,
        rules=(
            rule(
                "step-answers",
                f"The answers to “{subject.concept.name}” are right after every step that is answered.",
                "worst_step_error",
                definition="Share of wrong answers over all sequences and all steps after which the readout answers; "
                "of several answers the worst.",
                source="Sussillo & Barak 2013, Opening the black box, section 3.1",
                at_most=0.01,
                controls=(Control(FITTED, 0.05, lower=True),),
            ),
        ),
    )


def setup(subject: Subject) -> str:
    """Return which answers of a network were looked at."""
    asked, count = len(rows_at_steps(subject)), several(len(subject.x), "sequence")
    return (
        f"We asked {asked:,} of the {count}, {subject.asked.when}, and counted the answers to which there is a right "
        "one. The measurements have the share of wrong answers after each step."
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how many answers are wrong, over all steps after which the readout answers.

    Subjects of one network are its several answers, one concept each. Metrics: `step_error`, the share of answers
    that are not the concept's value, for each concept (`kind`), over sequences and steps; of many or long sequences a
    random part is asked. `step_error_at` is the same for each `step`; `worst_step_error` is the largest of the
    concepts' errors, one value a network.

    Args:
        subjects: what is measured.

    Raises:
        ProbeError: a readout has no head, a step does not exist, or no step that is answered has a right answer.
    """
    rows = []
    for group in by_network(subjects):
        errors = []
        for subject in group:
            drawn = rows_at_steps(subject)
            if not len(drawn):
                raise ProbeError(
                    f"The concept {subject.asked.concept!r} has no value at any step after which the readout answers."
                )
            given, _ = answers_at_steps(subject, subject.x[drawn], subject.lengths[drawn])
            right, name = subject.answered.values[drawn], subject.asked.concept
            asked = np.isfinite(given) & np.isfinite(right)
            wrong = ~np.isclose(given, right) & asked
            errors.append(float(wrong.sum() / asked.sum()))
            count, layer = int(asked.sum()), subject.layer
            rows.append(
                measurement(QUESTION, "step_error", subject.network, errors[-1], layer=layer, kind=name, n=count)
            )
            for step in np.flatnonzero(asked.any(0)).tolist():
                here = int(asked[:, step].sum())
                share = float(wrong[:, step].sum() / here)
                rows.append(
                    measurement(
                        QUESTION, "step_error_at", subject.network, share, layer=layer, step=step, kind=name, n=here
                    )
                )
        rows.append(measurement(QUESTION, "worst_step_error", group[0].network, max(errors), layer=group[0].layer))
    return tabulate(rows)


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the largest error of each network, a dot a network.

    Args:
        frame: what `measure` returned.
        threshold: the bound of a rule, or None.
        ax: where to draw, or None for new axes.
    """
    metrics = {"worst_step_error": "answers that are wrong"}
    bounds = None if threshold is None else dict.fromkeys(metrics, threshold)
    ax = draw_dots(frame, metrics, thresholds=bounds, ax=ax)
    ax.set_ylabel("share")
    return ax
