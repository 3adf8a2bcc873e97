"""What do a zero and a one do to the counter's answer, and where are its fixed points under zeros?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import new_figure, style
from probe.questions.states import dynamics

from . import common

BOUND = 0.1
SOURCE = "Sussillo & Barak 2013; Maheswaranathan et al. 2019"
VERSION = 1
RULES = (
    Rule(
        key="19",
        statement="The answer rests on a line while zeros come.",
        metric="silent_speed",
        definition="Mean |change of the expected answer| when a 0 is read after 5 to 9 bits, over all prefixes.",
        source=SOURCE,
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
    ),
    Rule(
        key="19b",
        statement="The answer holds when a one is read.",
        metric="driven_speed",
        definition="Mean |change of the expected answer| when a 1 is read after 5 to 9 bits, over all prefixes.",
        source=SOURCE,
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
    ),
)
PLANTED = ("planted/ones", "planted/ones-alone")
POINTS = ("fixed_points", "stable_points", "slow_points", "slow_modes")


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how a bit moves the answers of counters, and where they rest under zeros."""
    return dynamics.measure(
        common.pick(networks, *common.ANSWERING, "untrained"),
        common.STRINGS,
        silent=torch.zeros(1),
        driving=torch.ones(1, 1),
        answer=answer,
        expected=expected_answer,
        steps=range(5, 10),
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge how fast the answers move and draw where they rest."""
    shown = table[(table["subject"] != "planted") | table["network"].isin(PLANTED)]
    with style():
        figures = [_speeds(shown), _rest(shown)]
    notes = {"answer": _answer(table), "points": _points(table), "otherwise": _otherwise(table)}
    title = "Does the answer rest when nothing is counted?"
    return common.finding("dynamics", title, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _speeds(table: pd.DataFrame) -> DataFigure:
    drawn = table[table["metric"].isin(["silent_speed", "driven_speed"])].reset_index(drop=True)
    figure, axes = new_figure(height=3.4)
    dynamics.draw(drawn, silent="a 0", driving="a 1", threshold=BOUND, ax=axes[0, 0])
    medians = drawn.groupby(["subject", "metric"])["value"].median().unstack()
    parts = [
        f"{role_name(subject)} {row['silent_speed']:.2f} on a 0, {row['driven_speed']:.2f} on a 1"
        for subject, row in medians.iterrows()
    ]
    return DataFigure.from_figure(
        figure,
        name="speed-of-the-answer",
        title="How far one more bit moves the answer",
        alt=f"Mean absolute change of the answer by one more bit, medians over networks: {'; '.join(parts)}.",
        caption="Each dot is one network, each bar the 95 % interval of the median. A running count of ones would "
        f"move by 1 on a one and not at all on a zero. The line is the rules' {BOUND}: below it the answer holds. "
        "Before training the answer hardly moves on anything.",
        data=drawn,
    )


def _rest(table: pd.DataFrame) -> DataFigure:
    drawn = table[table["metric"].isin(POINTS)].reset_index(drop=True)
    figure, axes = new_figure(height=3.4)
    dynamics.draw_points(drawn, ax=axes[0, 0])
    medians = drawn.groupby(["subject", "metric"])["value"].median().unstack()
    parts = [
        f"{role_name(subject)} {row['fixed_points']:g} fixed, {row['slow_points']:g} slow, {row['slow_modes']:g} "
        "slow modes"
        for subject, row in medians.iterrows()
    ]
    return DataFigure.from_figure(
        figure,
        name="points-under-zeros",
        title="Where the state would rest if zeros came for ever",
        alt=f"Fixed and slow points under zeros, medians over networks: {'; '.join(parts)}.",
        caption="Each dot is one network. Points are searched from visited states. A counter that rests on a "
        "line has a fixed point for each count, and one mode that keeps all of itself, as the planted one does.",
        data=drawn,
    )


def _answer(table: pd.DataFrame) -> str:
    own = table[table["subject"] == "trained"]
    silent, driven, moved_silent, moved_driven = (
        own[own["metric"] == metric]["value"]
        for metric in ("silent_speed", "driven_speed", "silent_state_speed", "driven_state_speed")
    )
    change = own[own["metric"] == "change"].groupby("units")["value"].median()
    return (
        f"{(silent <= BOUND).sum()} of {len(silent)} networks hold their answer when a 0 is read, and "
        f"{(driven <= BOUND).sum()} when a 1 is read. To hold is to change by at most {BOUND:g}. One more 0 changes "
        f"the answer by {change['0']:+.2f} and one more 1 by {change['1']:+.2f} (medians over networks and steps). "
        f"An answer that holds is not a state that rests: the state itself moves by {moved_silent.median():.0%} of "
        f"its length on a 0 and by {moved_driven.median():.0%} on a 1."
    )


def _points(table: pd.DataFrame) -> str:
    own = table[table["subject"] == "trained"]
    fixed, slow, reached = (
        own[own["metric"] == metric]["value"] for metric in ("fixed_points", "slow_points", "starts_reached")
    )
    modulus = own[own["metric"] == "point_modulus"]["value"]
    return (
        "A line of rest would need a fixed point for each count. Under zeros we find "
        f"{fixed.min():.0f} to {fixed.max():.0f} fixed points in a trained network, and {slow.min():.0f} to "
        f"{slow.max():.0f} slow ones. Runs from {reached.median():.0%} of the visited states reach one of them "
        f"(median). The largest modulus there is {modulus.min():.2f} to {modulus.max():.2f}."
    )


def _otherwise(table: pd.DataFrame) -> str:
    planted = table[table["network"] == "planted/ones"].set_index("metric")["value"]
    before = table[(table["subject"] == "untrained") & (table["metric"] == "silent_speed")]["value"]
    return (
        f"The planted counter of ones moves by {planted['silent_speed']:.2f} on a 0 and "
        f"{planted['driven_speed']:.2f} on a 1, and has {planted['fixed_points']:.0f} fixed points under zeros, one "
        "for each count among the starts. Holding on a 0 is no sign of counting by itself: before training "
        f"{(before <= BOUND).sum()} of {len(before)} networks do, because their answers hold on everything."
    )
