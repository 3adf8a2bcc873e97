"""What does the network answer at lengths that it was never trained on?

Theorem (docs/science.md): at one step, "the count" and "the count plus any function of the step" differ by a
constant. At equal steps the right answers, the probes, the class means and the erasure of the two are the same
numbers, and so are the targets of interchange. They do not say whether a network counts ones, or zeros backwards, or
anything between. Other lengths do. The theorem is about the variable, and not about how a network computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.measurements import measurement, tabulate
from ...evidence.words import listed, said
from ...methods.abstraction.programs import MOST, slope
from ...methods.probing.linear import r_squared
from ...plots.networks import draw_role_lines
from ...plots.style import ROLE_STYLE, axes_or_new
from ...subjects.alphabet import affordable, around, at_lengths
from ...subjects.answers import answers_to, gives_number
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..headings import by_rule
from ..question import Answered, Question, Told
from ..rules import ANSWERING, INITIAL, rule
from ..told import of_network

QUESTION = "other_lengths"
#: Named programs: what a ones-counter, a balance and a zeros-counter drift by for each bit that is missing.
LANDMARKS = (0.0, 0.5, 1.0)
#: How near to one a drift is called by its name; how many lengths are asked on both sides of the trained one.
NEAR, AROUND = 0.1, 4


def measure(subjects: Sequence[Subject], *, most: int = MOST) -> pd.DataFrame:
    """Return how the answer departs from the concept, length by length.

    With g(L) the mean excess (answer minus concept) over sequences of length L, the drift is d = sum g(L) (R - L) /
    sum (R - L)^2, R the length of the study's sequences and L from R - 4 to R + 4: what the answer gains for each
    missing step. An answer that never moves drifts too: a drift is about a mechanism only where the concept explains
    the answers.

    Metrics, one value a network unless said otherwise: `drift`; `absolute_drift`; `near_0`, `near_0.5`, `near_1` and
    `near_none`, 1 or 0, whether the drift is within 0.1 of these; `mean_excess` and `explained_by_concept` by length
    (`at`), the latter the share of the answer's variance between values of the concept; `least_explained`, its
    smallest over R - 2, R - 1, R + 1 and R + 2; `law_r_squared`, how well concept + d (R - L), d fitted on R - 2 to
    R, predicts the answers at R + 2, and `fixed_law_r_squared` with d = 0, 0.5 and 1 (`at` is d).

    Args:
        subjects: what is measured: networks of one study, with a small alphabet and a concept that is a function.
        most: how many sequences of a length are asked at most; of more, that many are drawn.

    Raises:
        ProbeError: no sequence of a length can be asked.
    """
    every, rows = as_subjects(subjects), list[dict[str, Any]]()
    r = every[0].x.shape[1]
    fitted, explained = range(max(1, r - AROUND), r + AROUND + 1), {r - 2, r - 1, r + 1, r + 2}
    asked = at_lengths(every[0], {*fitted, *explained}, most=most, seed=0)
    for subject in every:
        # Numbers before rounding, or the classes that are chosen, of which a network may be unsure.
        shown = {length: answers_to(subject, of.x)[int(gives_number(subject))] for length, of in asked.items()}
        excess = {length: float((shown[length] - of.right).mean()) for length, of in asked.items()}
        shares = {length: explained_share(shown[length], of.right) for length, of in asked.items()}
        drift = slope(excess, fitted, r)
        near = {f"near_{landmark:g}": abs(drift - landmark) <= NEAR for landmark in LANDMARKS}
        drifts = {None: slope(excess, (r - 2, r - 1, r), r), **{landmark: landmark for landmark in LANDMARKS}}
        laws = {at: float(r_squared(shown[r + 2], asked[r + 2].right - 2 * d)) for at, d in drifts.items()}
        values = {
            "drift": drift,
            "absolute_drift": abs(drift),
            **near,
            "near_none": not any(near.values()),
            "least_explained": min(shares[length] for length in explained),
            "law_r_squared": laws.pop(None),
        }
        by_number = {"mean_excess": excess, "explained_by_concept": shares, "fixed_law_r_squared": laws}
        row = partial(measurement, QUESTION, network=subject.network)
        rows += [row(metric, value=float(value)) for metric, value in values.items()]
        rows += [row(metric, value=value, at=at) for metric, each in by_number.items() for at, value in each.items()]
    return tabulate(rows)


def explained_share(answers: Float[np.ndarray, " batch"], concept: Float[np.ndarray, " batch"]) -> float:
    """Return the share of the answers' variance that lies between values of the concept.

    1 means that the order of the inputs does not matter. Answers that never vary hold no concept: 0.
    """
    values, group = np.unique(concept, return_inverse=True)
    sizes = np.bincount(group, minlength=len(values))
    means = np.bincount(group, weights=answers, minlength=len(values)) / sizes
    return float(r_squared(answers, means[group]))


def draw(frame: pd.DataFrame, *, reference: int = 10, ax: Axes | None = None) -> Axes:
    """Draw the mean excess by length, medians over networks of each role, between the landmarks."""
    ax = axes_or_new(ax)
    rows = frame[(frame["metric"] == "mean_excess") & frame["role"].isin(list(ROLE_STYLE))]
    draw_role_lines(rows, ax=ax, at="at")
    lengths = sorted(rows["at"].astype(int).unique())
    for landmark in LANDMARKS:
        ends = [landmark * (reference - lengths[0]), landmark * (reference - lengths[-1])]
        ax.plot([lengths[0], lengths[-1]], ends, color="black", linewidth=0.8, zorder=0)
        ax.annotate(f"d = {landmark:g}", (lengths[-1], ends[-1]), (6, 0), textcoords="offset points", va="center")
    ax.set_xticks(lengths)
    ax.set_xlabel("length of the sequence")
    ax.set_ylabel("mean of answer minus concept")
    return ax


def tell(answered: Answered) -> Told:
    """Say how far the mean answer of one network is off two steps before and after the study's length."""
    excess, length = of_network(answered, "mean_excess").set_index("at")["value"], answered.subject.x.shape[1]
    side = {at: ("off", "above", "below")[int(np.sign(round(excess[at], 2)))] for at in excess.index}
    off = [
        f"{said(abs(excess[at]))} {side[at]} the right one after {several(at, 'step')}"
        for at in (length - 2, length, length + 2)
    ]
    return Told({"answer": f"Its mean answer is {listed(off)}."})


def question(subject: Subject) -> Question:
    """Return the question, asked at the lengths around the study's own."""
    name, source = f"“{subject.concept.name}”", "Hupkes et al. 2018; Meloux et al. 2025"
    askable = needs.other_lengths(subject) is None
    return Question(
        "other-lengths",
        "What does the network answer at other lengths?",
        measure,
        (needs.numbers, needs.other_lengths, needs.better_than_a_guess),
        (*ANSWERING, INITIAL),
        (
            rule(
                "no-drift",
                f"At other lengths the answer does not drift away from {name}.",
                "absolute_drift",
                definition="|d| of g(L) = d (R - L), R the length of the study's sequences, L from R - 4 to R + 4; "
                "g(L) is the mean of the answer, a number before rounding, minus the right one.",
                source=source,
                at_most=0.1,
            ),
            rule(
                "explained-at-other-lengths",
                f"At other lengths {name} explains the answer.",
                "least_explained",
                definition="Share of the answer's variance between values of the concept; the least of the "
                "two lengths below and above the study's own.",
                source=source,
                at_least=0.9,
            ),
        ),
        partial(draw, reference=subject.x.shape[1]),
        tell,
        settings={"most": affordable(subject, around(subject))} if askable else {},
        version=4,
        heading=by_rule(
            f"At other lengths the answers still go with {name}",
            f"At other lengths the answers drift away from {name}",
        ),
        caption="How far the mean answer lies from the right one at each length, as medians over networks.",
    )
