"""Does the counter's answer follow one direction of the state, or one unit?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network
from probe.methods.causal.support import FAR
from probe.plots.style import new_figure, style
from probe.questions.interventions import directions

from . import common

BOUND = 0.5
STEP = 6  # the state after 7 bits, docs/science.md
#: Whose answers are counts; an untrained network's head is random, and a template network answers something else.
VERSION = 2
RULES = (
    Rule(
        key="8",
        statement="The answer follows one direction of the state, the weight of the least-squares probe.",
        metric="direction_score",
        definition="(IIA - IIA of no patch) / (IIA of the whole state - IIA of no patch) of all pairs after 7 bits, "
        "the source's part of (c, h) along the least-squares weight of the count put into the base's state.",
        source="Geiger et al. 2021 and 2023; Elazar et al. 2021; Makelov et al. 2023",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        signal="ols",
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure interchange along directions of s_7 and of single units."""
    asked = common.pick(networks, *common.ANSWERING)
    return directions.measure(
        asked, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer, step=STEP
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the scores along directions and draw them."""
    wide = directions.scores_by_kind(table)
    with style():
        figure, axes = new_figure()
        directions.draw(table, threshold=BOUND, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="directions",
            title="Answers that follow one direction",
            alt=_alt(wide),
            caption="Interchange score after 7 bits: 0 as without a patch, 1 as with the whole state. Each marker is "
            f"a network, the line the rule's {BOUND:g}; hollow where half of the patched states lie further than "
            f"{FAR:g} count spacings from every state that occurs, so that they are states which the network never "
            "visits. Ridge penalties are in units of the mean variance of a number of the state.",
            data=wide,
        )
    title = "Is there one direction that the answer follows?"
    notes = {"answer": _answer(wide), "support": _support(wide)}
    return common.finding("directions", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _medians(wide: pd.DataFrame) -> pd.DataFrame:
    own = wide[wide["subject"] == "trained"]
    return own.groupby("kind", sort=False)[["score", "shift", "off_support"]].median()


def _named(kind: str) -> str:
    names = {"ols": "least squares", "logistic": "logistic regression", "slope": "the encoding slope"}
    names["unit"] = "the best single unit"
    return names.get(kind, kind.replace("ridge_", "ridge at penalty "))


def _alt(wide: pd.DataFrame) -> str:
    parts = [f"{_named(str(kind))} {score:.2f}" for kind, score in _medians(wide)["score"].items()]
    return f"Markers, one a network, by what is patched. Median score of trained networks: {', '.join(parts)}."


def _answer(wide: pd.DataFrame) -> str:
    middle = _medians(wide)
    hits = wide[(wide["subject"] == "trained") & (wide["kind"] == "ols")]["score"] >= BOUND
    score, shift = middle["score"], middle["shift"]
    best = str(score.drop(["ols", "unit"]).idxmax())
    return (
        f"The answer follows the direction of the best probe in {hits.sum()} of {len(hits)} networks. The "
        "least-squares probe reads the count best. We patch the state along its weight, and score how often the "
        f"answer follows: {score['ols']:.2f} in the median network, where 1 is as often as with the whole state. "
        f"Along {_named(best)} the score is {score[best]:.2f}, and the expected answer moves by {shift[best]:.2f} "
        f"of the way. The best single unit scores {score['unit']:.2f}."
    )


def _support(wide: pd.DataFrame) -> str:
    own = wide[wide["subject"] == "trained"]
    far = own[own["off_support"] > FAR].groupby("kind")["network"].nunique()
    total = own["network"].nunique()
    listed = " and ".join(f"{_named(kind)} in {far.get(kind, 0)} of {total} networks" for kind in ("ols", "unit"))
    return (
        f"Patched states can be states that a network never visits. In the median pair they lie more than {FAR:g} "
        f"count spacings from every state of a clean run: for {listed}."
    )
