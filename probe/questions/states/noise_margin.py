"""How much noise in its state do the answers survive?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.measurements import measurement, only, tabulate
from ...methods.decomposition.noise import DOSE, noisy_accuracy
from ...plots.legends import legend_above
from ...plots.style import ROLE_STYLE, axes_or_new
from ...subjects.ends import cost, ends_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..headings import by_rule
from ..question import Answered, Question, Told
from ..rules import ANSWERING, FITTED, above, rule
from ..told import controls_of, figure_of, of_network

QUESTION = "noise_margin"
#: What the picture shows.
CAPTION = "Lines are medians over networks of a role; the upright line is the judged dose."
#: How often every sequence runs at the dose that is judged.
DRAWS = 32
#: Of a study: about how many operations the runs at it may take, and how often they run at least, at other doses too.
BUDGET, FEWEST = 3e9, 8
#: The doses of the curve, in units of each number's sd.
DOSES = (0.001, 0.003, 0.01, 0.03, 0.06, 0.2, 0.5)


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept."""
    draws = DRAWS
    if needs.exact_answers(subject) is None:
        end = ends_of(subject)
        draws = int(np.clip(BUDGET / (cost(end.stack) * end.steps * len(end.rows)), FEWEST, DRAWS))
    return Question(
        "noise-margin",
        "How much noise in its state do the answers survive?",
        measure,
        (needs.exact_answers, needs.kept_answers),
        ANSWERING,
        draw=draw,
        tell=partial(tell, draws=draws),
        settings={"draws": draws},
        rules=(
            rule(
                "noise-margin-2",
                f"“{subject.concept.name}” is held with a margin.",
                "noisy_accuracy",
                definition="Share of right answers with Gaussian noise of .1 of each number's own standard deviation "
                "in every number of the state after every step.",
                source="Sussillo & Barak 2013",
                at_least=0.95,
                controls=(above(FITTED, 0.2),),
            ),
        ),
        version=3,
        heading=by_rule(
            "The answers survive some noise in the states",
            "A little noise in the states spoils the answers",
        ),
        heads=None,
        caption=CAPTION,
    )


def measure(
    subjects: Sequence[Subject], *, dose: float = DOSE, draws: int = DRAWS, doses: Iterable[float] = DOSES
) -> pd.DataFrame:
    """Measure the share of right answers with noise in every number of the state after every step.

    The right answer, a number or a category, is that after the last step. The noise is Gaussian and independent; its
    sd is the dose times the number's own sd over the sequences at that step.

    Metrics: `noisy_accuracy`, one value a network, at `dose`; `accuracy_by_dose` (`at` is the dose).

    Args:
        dose: the one that is judged, in units of the sd.
        draws: how often every sequence runs at it.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), a dose is negative, there is no draw, or the layer
            does not exist.
    """
    wanted = dict.fromkeys(doses, FEWEST) | {dose: draws}
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        end = ends_of(subject)
        curve = noisy_accuracy(end.machine, torch.as_tensor(end.values[:, -1]), wanted)
        rows.append(measurement(QUESTION, "noisy_accuracy", subject.network, curve[dose], layer=subject.layer))
        rows += [
            measurement(QUESTION, "accuracy_by_dose", subject.network, curve[at], layer=subject.layer, at=at)
            for at in sorted(curve)
        ]
    return tabulate(rows)


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw accuracy by dose, with the judged dose: a thin line a network, the median thick."""
    ax = axes_or_new(ax)
    curves = frame[frame["metric"] == "accuracy_by_dose"]
    for place, (role, look) in enumerate(ROLE_STYLE.items()):
        table = curves[curves["role"] == role].pivot(index="network", columns="at", values="value")
        if table.empty:
            continue
        at = table.columns.to_numpy(float)
        if len(table) > 1:
            ax.plot(at, table.to_numpy(float).T, color=look.color, linewidth=0.7, alpha=0.5, zorder=1)
        median, words = np.median(table.to_numpy(float), axis=0), look.line()
        # Above the networks of every role: those of many roles would hide it.
        ax.plot(at, median, **words, markersize=5, label=role, clip_on=False, zorder=3 - place / len(ROLE_STYLE))
    ax.axvline(DOSE, color="black", linewidth=1, zorder=0)
    ax.set_xscale("log")
    decades = [value for value in sorted(curves["at"].unique()) if value > 0 and float(np.log10(value)).is_integer()]
    ax.set_xticks(decades, [f"{value:g}" for value in decades])
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("noise, in units of each number's own sd")
    ax.set_ylabel("accuracy")
    legend_above(ax)
    return ax


def tell(answered: Answered, draws: int = DRAWS) -> Told:
    """Say how much noise the answers of one network survive, and show it."""
    least = of_network(answered, "accuracy_by_dose").sort_values("at").iloc[0]
    judged = float(of_network(answered, "noisy_accuracy")["value"].iloc[0])
    first = (
        f"With noise of {DOSE:g} standard deviations in its state the network answers {judged:.0%} right"
        f"{controls_of(answered, 'noisy_accuracy', '{:.0%}'.format)}, with next to none {least['value']:.0%}."
    )
    setup = (
        "The noise is Gaussian, and a unit of it is each number's own standard deviation over sequences at that "
        f"step. We ran {ends_of(answered.subject).said}, each {draws} times at the judged dose."
    )
    heads = only(answered.table, metric="noisy_accuracy", role=FITTED)["network"].nunique()
    if heads:
        setup += f" A network that was not trained has {several(heads, 'head')}, fitted with and without noise."
    if heads == 1:
        setup += " That is a weak control: no head could be fitted under noise."
    title = "Right answers with noise in every number of the state after every step"
    figure = figure_of(answered, draw, "accuracy_by_dose", title=title, alt=first, caption=CAPTION)
    return Told({"answer": first, "setup": setup}, figure)
