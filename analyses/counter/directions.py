"""Does the counter's answer follow one direction of the state, or one unit?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network
from probe.methods.causal.support import FAR
from probe.questions.interventions import directions

BOUND = 0.5
STEP = 6  # the state after 7 bits, docs/science.md
VERSION = 3
RULES = (
    Rule(
        key="II.8",
        statement="The answer follows one direction of the state, the weight of the least-squares probe.",
        metric="direction_score",
        definition="(IIA - IIA of no patch) / (IIA of the whole state - IIA of no patch) of all pairs after 7 bits, "
        "the source's part of (c, h) along the least-squares weight of the count put into the base's state.",
        source="Geiger et al. 2021 and 2023; Elazar et al. 2021; Makelov et al. 2023",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        signal="ols",
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure interchange along directions of s_7 and of single units."""
    asked = common.pick(networks, *common.ANSWERING)
    return directions.measure(common.subjects(asked), step=STEP)


#: Kind of direction -> its name in a sentence.
NAMES = {"ols": "least squares", "logistic": "logistic regression", "slope": "the encoding slope"} | {
    "unit": "the best single unit"
}


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the scores along directions and draw them."""
    wide = directions.scores_by_kind(table)
    own = wide[wide["role"] == "trained"]
    middle = own.groupby("kind", sort=False)[["score", "shift", "off_support"]].median()
    scores = ", ".join(f"{_named(str(kind))} {score:.2f}" for kind, score in middle["score"].items())
    picture = common.picture(
        lambda: directions.draw(table, threshold=BOUND),
        name="directions",
        title="Answers that follow one direction",
        alt=f"Markers, one a network, by what is patched. Median score of trained networks: {scores}.",
        caption="We patch the state after seven bits along a direction. The score is 0 where the answer follows as "
        "without a patch, and 1 where it follows as with the whole state. Each marker is a network, the line the "
        f"rule's {BOUND:g}. Hollow markers: the network never visits most of the patched states. Half of them lie "
        f"further than {FAR:g} from every state that occurs, where 1 is the distance between neighbouring counts. "
        "Ridge penalties are in units of the mean variance of a number of the state.",
        data=wide,
    )
    title = "Is there one direction that the answer follows?"
    notes = {"answer": _answer(own, middle), "support": _support(own)}
    return common.finding("directions", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _named(kind: str) -> str:
    return NAMES.get(kind, kind.replace("ridge_", "ridge at penalty "))


def _answer(own: pd.DataFrame, middle: pd.DataFrame) -> str:
    hits = own[own["kind"] == "ols"]["score"] >= BOUND
    score, shift = middle["score"], middle["shift"]
    best = str(score.drop(["ols", "unit"]).idxmax())
    return (
        f"The answer follows the weight of the least-squares probe in {hits.sum()} of {len(hits)} networks. The "
        "weight of a probe is a direction of the state. We patch the state along this direction alone, and score how "
        "often the answer follows: from 0, as without a patch, to 1, as with the whole state. Along the weight of "
        f"least squares the median network scores {score['ols']:.2f}. The best other direction is {_named(best)}: "
        f"the score is {score[best]:.2f}, and the expected answer goes {shift[best]:.2f} of the way. The best single "
        f"unit scores {score['unit']:.2f}."
    )


def _support(own: pd.DataFrame) -> str:
    far, total = own[own["off_support"] > FAR].groupby("kind")["network"].nunique(), own["network"].nunique()
    ols, unit = (far.get(kind, 0) for kind in ("ols", "unit"))
    return (
        "A patch can make states that a network never visits. We measure how far a patched state lies from the "
        f"nearest state of a clean run, in the median pair. If that is more than {FAR:g} of the distance between "
        f"neighbouring counts, we call it far. Along the weight of least squares it is far in {ols} of {total} "
        f"networks, and for the best single unit in {unit}."
    )
