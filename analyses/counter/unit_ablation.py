"""Does the counter need all of its units, and would one be enough?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, DataFigure, Range, Rule
from probe.evidence.measurements import Network
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure, style
from probe.questions.interventions import unit_ablation
from probe.questions.telling.unit_ablation_words import COSTLY

BOUND = 0.5
#: Whose answers are counts; an untrained network's head is random.
ROLES = ("trained", "planted", "other")
VERSION = 1
RULES = (
    Rule(
        key="II.14",
        statement="No unit suffices: alone, the best one keeps less than half of what the network can do.",
        metric="best_single_unit_score",
        definition="(accuracy with the best unit alone - with none) / (own accuracy - with none); the states of the "
        "others, (c, h), are those of a random other prefix after every bit, 32 draws.",
        source="Lakretz et al. 2019; Chan et al. 2022, causal scrubbing",
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
)
#: How many units the words beside the figure say.
SAID = (0, 1, 3, 6, 9)
HOW = (
    "After every bit, an ablated unit gets its state from a random other string that has read as many bits. Lines "
    "are medians over networks, bands 95 % intervals, each planted network a thin line."
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure what each unit's ablation costs and how few units suffice."""
    table = unit_ablation.measure(common.subjects(common.pick(networks, *ROLES)))
    # Whether answers move at all is for the page of one network.
    return table[table["metric"] != "answers_moved"].reset_index(drop=True)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what one unit keeps and draw how few are enough."""
    with style():
        figure, axes = new_figure()
        _ = unit_ablation.draw(table, ax=axes[0, 0])
        kept = unit_ablation.kept_by_number(table).reset_index(drop=True)
        few = DataFigure.from_figure(
            figure,
            name="kept_units",
            title="How few units are enough",
            alt=medians_in_words(kept[kept["kept"].isin(SAID)].assign(at=kept["kept"])),
            caption=f"Accuracy with the best units alone. Each next unit is the one that adds most. {HOW}",
            data=kept,
        )
    title, notes = "Would one unit be enough?", {"answer": _answer(table)}
    return common.finding("unit_ablation", title, table, studied=networks, rules=RULES, figures=[few], notes=notes)


def _answer(table: pd.DataFrame) -> str:
    own = table[table["role"] == "trained"]
    values = own.groupby("metric")["value"]
    score, costly = values.get_group("best_single_unit_score"), values.get_group("costly_units")
    kept = unit_ablation.kept_by_number(own)
    enough = kept[kept["value"] >= 0.9].groupby("network")["kept"].min()
    return (
        f"One unit alone is enough in {(score > BOUND).sum()} of {len(score)} networks. A unit is enough if it does "
        f"more than half of what the network can do. The best unit of the median network does {score.median():.2f} "
        f"of that. We also take one unit away at a time. In the median network {costly.median():.0f} units each cost "
        f"more than {COSTLY:.0%} of the answers. Last, we start from no unit and always add the one that helps most. "
        f"Nine answers in ten are right once there are {enough.median():.0f} units (median)."
    )
