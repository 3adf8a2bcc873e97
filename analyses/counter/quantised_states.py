"""Are 66 states enough, one for each step and count? The counter runs on its class means alone."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, only
from probe.questions.states import quantised_states

BOUND = 0.95
PLANTED = ("planted/ones", "planted/ones-alone")
BY_STEP, OVER_STEPS = "accuracy_kept_by_step", "accuracy_kept_over_steps"
VERSION = 1
RULES = (
    Rule(
        key="II.18",
        statement="The network runs on 66 states, one for each step and count.",
        metric=BY_STEP,
        definition="Accuracy with every state replaced after each step by the step's nearest class mean (each "
        "number in units of its sd over the step's prefixes), the run going on from there; over own accuracy.",
        source="Omlin & Giles 1996",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure counters that run on their class means."""
    counted = common.pick(networks, *common.ANSWERING, "own initialisation")
    return quantised_states.measure(common.subjects(counted))


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the accuracy that is kept."""
    title = "Does the network run on one state for each count?"
    notes = {"answer": _answer(only(table, role="trained")), "otherwise": _otherwise(only(table, metric=BY_STEP))}
    return common.finding("quantised_states", title, table, studied=networks, rules=RULES, notes=notes)


def _answer(own: pd.DataFrame) -> str:
    kept, few = (only(own, metric=metric)["value"] for metric in (BY_STEP, OVER_STEPS))
    sizes = only(own, metric="states").groupby("kind")["value"].median()
    other = ": the same count is another state at another step" if few.max() < BOUND else ""
    return (
        f"{(kept >= BOUND).sum()} of {len(kept)} networks run on {sizes['by_step']:.0f} states, one for each step "
        "and count. After every step we replace the state by the nearest class mean, the mean state of all strings "
        "with one count at one step. A network runs on these states if it keeps at least "
        f"{BOUND:.0%} of its accuracy. We also tried one state for each count, whatever the step, which are "
        f"{sizes['over_steps']:.0f}. On these no network keeps more than {few.max():.0%}{other}."
    )


def _otherwise(kept: pd.DataFrame) -> str:
    among, alone = (only(kept, network=name)["value"].item() for name in PLANTED)
    meaning = (
        " Idle units that remember the order of the bits pull runs to the wrong count, because the nearest mean is "
        "nearest in all units alike. So a high number shows that nothing else is needed, and a low number does not "
        "show that no count is held."
        if among < alone
        else ""
    )
    return f"A planted counter keeps {alone:.0%} if it is alone, and {among:.0%} among idle units.{meaning}"
