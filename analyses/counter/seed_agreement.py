"""How alike are counters that differ only in their seed? A description without a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses.counter import common
from analyses.counter.alignment import CARRIED, STEP
from probe import Finding
from probe.evidence import DataFigure, Rule
from probe.evidence.measurements import Network, tabulate
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure, style
from probe.questions.answers import agreement
from probe.questions.interventions.alignment import RAW

QUESTION, TITLE = "seed_agreement", "How alike are networks that differ only in their seed?"
RULES: tuple[Rule, ...] = ()
REFERENCE, LENGTHS = 10, (8, 10, 12)
#: The median of a number over seeds, with the quartiles as its ends; its kind is what the number is called.
SPREAD_OVER_SEEDS = "spread_over_seeds"
#: Whose spread over seeds is told: question, metric, and what it is called.
SPREAD = (
    ("other_lengths", "drift", "drift"),
    ("unit_shares", "unit_participation", "cells that take part"),
    ("unit_shares", "largest_unit_share", "largest cell's share"),
    ("routes", "route_share", "share through f c"),
    ("gate_shares", "gate_share", "the candidate's share"),
)
#: Of metrics that have a value a signal, which one.
_SIGNAL = {"route_share": "cell_state", "gate_share": "cell_candidate"}


def find(networks: Sequence[Network], tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Compare answers and states between seeds, and tell how far the seeds are spread.

    Args:
        networks: those that the rules are judged on.
        tables: what was measured of them, by question: all questions of `SPREAD`, and `alignment`.
    """
    compared = common.pick(networks, "trained", "own initialisation", "fitted head")
    table = agreement.measure(common.subjects(compared), lengths=LENGTHS)
    numbers = {said: _values(tables[question], metric) for question, metric, said in SPREAD}
    most, needed = _needed_directions(tables["alignment"])
    numbers[f"directions that go {CARRIED:.0%} of the way ({most + 1}: more than {most})"] = needed
    spread = pd.DataFrame([_spread(said, values) for said, values in numbers.items()])
    drawn = table[(table["metric"] != "equal_answers") | (table["role"] != "own initialisation")].reset_index(
        drop=True
    )
    medians = drawn.groupby(["metric", "at", "role"], sort=False, dropna=False)["value"].median()
    with style():
        figure, axes = new_figure(height=3.6)
        agreement.draw(drawn, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="seed_agreement",
            title="What two seeds have in common",
            alt=medians_in_words(drawn),
            caption="Each dot is a network, compared with all others of its kind. It is the mean share of strings "
            "that both answer alike, by length, or the mean likeness of their states after ten bits (linear CKA). "
            "States are alike before training too, because we draw all networks in one way. So CKA says nothing "
            "without them beside it.",
            data=common.medians(drawn, ["metric", "at", "role"]),
        )
    notes = {"answer": _answer(medians)}
    wide = zip(spread["metric"], spread["high"] - spread["low"], strict=True)
    rows = [common.row(QUESTION, "quartile_range", "counter", value, kind=said) for said, value in wide]
    rows += [
        common.row(QUESTION, SPREAD_OVER_SEEDS, "counter", row["median"], kind=str(row["metric"]))
        | {"low": row["low"], "high": row["high"]}
        for _, row in spread.iterrows()
    ]
    every = pd.concat([table, tabulate(rows)], ignore_index=True)
    return common.finding(QUESTION, TITLE, every, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _values(table: pd.DataFrame, metric: str) -> pd.Series:
    """Return a metric of the trained networks, one value each."""
    own = table[(table["metric"] == metric) & (table["role"] == "trained")]
    return own[own["signal"] == _SIGNAL[metric]]["value"] if metric in _SIGNAL else own["value"]


def _needed_directions(table: pd.DataFrame) -> tuple[int, pd.Series]:
    """Return how many directions were tried, and for each trained network the fewest that go as far as claim 9 asks.

    Where none of them do it is one more.
    """
    own = table[(table["metric"] == "alignment_score") & (table["role"] == "trained")]
    own = own[(own["kind"] == RAW) & (own["step"] == STEP)]
    ranks = own["at"].astype(int)
    most = int(ranks.max())
    return most, ranks.where(own["value"] >= CARRIED, most + 1).groupby(own["network"]).min()


def _spread(said: str, values: pd.Series) -> dict[str, object]:
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    return {"metric": said, "low": low, "median": middle, "high": high, "networks": len(values)}


def _answer(medians: pd.Series) -> str:
    cka = medians["cka"].droplevel("at")
    alike = {length: medians["equal_answers", length, "trained"] for length in LENGTHS}
    others = " and ".join(
        f"{share:.0%} of strings of {length} bits" for length, share in alike.items() if length != REFERENCE
    )
    trained, before = cka["trained"], cka["own initialisation"]
    meaning = " So alike states are no sign of a common solution." if before >= trained else ""
    return (
        f"Two trained networks give the same answer to {alike[REFERENCE]:.1%} of ten-bit strings. They give the same "
        f"answer to {others} (medians). We also compare their states after ten bits, by linear CKA, which is 1 for "
        f"states that a rotation turns into each other. It is {trained:.2f} after training, and {before:.2f} before."
        f"{meaning} The table below shows how far networks differ in other numbers."
    )
