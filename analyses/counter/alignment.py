"""Do two directions of the counter's state carry the count? An alignment search (DAS) beside its controls."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, DataFigure, Range, Rule
from probe.evidence.measurements import Network, tabulate
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.interventions import alignment

TITLE = "Do two dimensions carry the count?"
STEP, CARRIED = 6, 0.95
VERSION = 1
RULES = (
    Rule(
        key="II.9",
        statement="Two dimensions of the state carry the count.",
        metric="few_directions_score",
        definition="Alignment search of rank 2 after 7 bits, fitted on half of the prefixes and scored on pairs "
        "of the others, both ways: share of the way from no patch to the whole state. The readout twin's value is "
        "that of its one direction in closed form.",
        source="Geiger et al. 2021 and 2023; Sutter et al. 2025",
        established_if=Range.at_least(CARRIED),
        refuted_if=Range.below(CARRIED),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)
#: The network that holds the count and nothing else that its answer reads.
CEILING = "planted/ones"


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Search for directions that carry the count, on every network whose answer should be the count.

    Trained networks at all steps with ranks 1 to 6, the others after seven bits with rank 2; for what is not there in
    trained ones and the ceiling.
    """
    asked = common.pick(networks, *common.ANSWERING)
    trained = common.pick(asked, "trained")
    ceiling = [network for network in asked if network.name == CEILING]
    rest = [network for network in asked if network not in [*trained, *ceiling]]
    wrong = alignment.Wrong({"first_bit": common.STRINGS[:, 0, 0]})
    groups = ((trained, True, wrong), (ceiling, False, wrong), (rest, False, None))
    tables = [
        alignment.measure(
            common.subjects(group),
            step=STEP,
            steps=None if everywhere else (),
            ranks=range(1, 7) if everywhere else (),
            wrong=sought,
        )
        for group, everywhere, sought in groups
        if group
    ]
    return pd.concat(tables, ignore_index=True) if tables else tabulate([])


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what the searches found and draw it."""
    figures = [_ranks(table)]
    notes = {"answer": _answer(table), "wrong": _wrong(table), "extent": EXTENT}
    return common.finding("alignment", TITLE, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _ranks(table: pd.DataFrame) -> DataFigure:
    shown = ["alignment_score", "few_directions_score", "gradient_score", "random_directions_score"]
    own = table[table["metric"].isin(shown) & (table["step"] == STEP)].reset_index(drop=True)
    return common.picture(
        lambda: alignment.draw(own, threshold=CARRIED, ax=new_figure(height=3.8)[1][0, 0]),
        name="ranks",
        title="How many directions carry the count after seven bits",
        alt=medians_in_words(own[own["metric"] != "alignment_score"]),
        caption="How far the answer goes; to patch the whole state is all of the way. Each dot is a network, each "
        "line a median. We score on prefixes that the search never saw. We searched only trained networks for other "
        "numbers of directions than two. Crosses: random subspaces. Triangles: the direction that each fitted head "
        "reads.",
        data=own,
    )


def _answer(table: pd.DataFrame) -> str:
    at_step = table[table["step"] == STEP]

    def median(metric: str, role: str = "trained", rank: int | None = None) -> float:
        rows = at_step if rank is None else at_step[at_step["at"] == rank]
        raw = {"kind": alignment.RAW} if metric.startswith("alignment") else {}
        return float(common.values(rows, metric, role, **raw).median())

    return (
        f"Two directions carry {median('few_directions_score'):.0%} of what the whole state carries. We search for "
        "directions of the state after seven bits that carry the count (distributed alignment search, DAS). To score "
        "them we take the values along them from one string, and patch these into the run of another. The score says "
        "how far the answer goes, where patching the whole state is all of the way. All numbers are medians. One "
        f"direction goes {median('alignment_score', rank=1):.0%} of the way, and two random ones go "
        f"{median('random_directions_score'):.0%}. {_of_heads(table)}The distance of a "
        f"patched state from the nearest state that occurs is {median('alignment_off_support', rank=2):.1f} times "
        "that between neighbouring counts."
    )


def _of_heads(table: pd.DataFrame) -> str:
    heads = common.strongest(table, RULES[0])
    if heads.empty:
        return ""
    return (
        "The best of three fitted heads on untrained weights reads one direction, and along it the answer goes "
        f"{heads.median():.0%} of the way. "
    )


def _wrong(table: pd.DataFrame) -> str:
    medians = table[table["metric"] == "wrong_variable_accuracy"].groupby(["kind", "role"])["value"].median()
    said = [f"{name.replace('_', ' ')}, {role} {medians[name, role]:.2f}" for name, role in medians.index]
    return (
        "A search can also find what is not there. So we let it look, with four directions, for two things that a "
        "counter need not hold: the first bit, and the labels in a shuffled order (relabelled). The planted counter "
        "holds nothing but the count. It shows what such a search finds without anything to be found. The share of "
        f"answers that follow is, in the median: {'; '.join(said)}."
    )


EXTENT = (
    "We search trained networks at every step, for one to six directions. We search the others after seven bits, for "
    "two. Every search takes 400 steps of 192 pairs of strings. We leave out networks whose answer is no count: "
    "those with random heads."
)
