"""What do the counter's gates do after a one and after a zero? A description without a verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from probe import DataFigure, Finding, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import style
from probe.questions.states import gate_activity

from . import common

VERSION = 1
RULES: tuple[Rule, ...] = ()
ONES = common.STRINGS[:, :, 0] > 0


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how far open the gates are and how often they are saturated."""
    return gate_activity.measure(networks, common.STRINGS, ONES)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Draw how far open the gates are and how often they are saturated."""
    pair = table[table["subject"].isin(["trained", "untrained"])]
    by_step = pair[pair["step"].notna() & pair["metric"].ne("mean")]
    saturation = pair[pair["metric"].isin(["share_low", "share_high"])]
    with style():
        figures = [
            DataFigure.from_figure(
                gate_activity.draw_grid(by_step, labels=("after a 1", "after a 0")),
                name="gates-by-step",
                title="How far open the gates are, by step and bit",
                alt=_alt_steps(by_step),
                caption="Median over networks of a gate's mean over its units and all prefixes; bands are 95 % "
                "intervals over networks. Filled marks: the bit just read is a 1; hollow: a 0.",
                data=common.medians(by_step, ["subject", "signal", "metric", "step"]),
            ),
            DataFigure.from_figure(
                gate_activity.draw_saturation_grid(saturation),
                name="gate-saturation",
                title="How often each unit's gates are saturated",
                alt=_alt_saturation(saturation),
                caption="Each mark is one unit of one network: how often its gate is above 0.9 (nearly open) "
                "and below 0.1 (nearly closed), over all steps. On the diagonal it is always one of them.",
                data=saturation[["subject", "network", "signal", "units", "metric", "value"]],
            ),
        ]
    notes = {"answer": _answer(by_step)}
    title = "What do the gates do?"
    return common.finding("gate_activity", title, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _answer(by_step: pd.DataFrame) -> str:
    last = by_step[(by_step["subject"] == "trained") & (by_step["step"] == by_step["step"].max())]
    means = last.groupby(["signal", "metric"])["value"].median().unstack()
    after_one, after_zero = means["mean_where_true"], means["mean_where_false"]
    gate = str((after_one - after_zero).abs().idxmax())
    return (
        f"Of the three gates the {gate.replace('_', ' ')} differs most between the bits: {after_one[gate]:.2f} open "
        f"after a 1, {after_zero[gate]:.2f} after a 0. These are medians at the last step. They describe, and claim "
        f"nothing: a gate that goes with the bit is no mechanism yet. {_before(by_step)}"
    )


def _before(by_step: pd.DataFrame) -> str:
    medians = by_step[by_step["subject"] == "untrained"].groupby("signal")["value"].median()
    still = ", ".join(f"{str(gate).replace('_', ' ')} {value:.2f}" for gate, value in medians.items())
    return f"Before training the gates stay at {still}."


def _alt_steps(by_step: pd.DataFrame) -> str:
    middle = by_step[by_step["subject"] == "trained"].groupby(["signal", "metric", "step"])["value"].median()
    last = by_step["step"].max()
    sentences = []
    for gate in gate_activity.GATES:
        spans = [
            f"{middle[str(gate), metric, 0]:.2f} to {middle[str(gate), metric, last]:.2f} after a {bit}"
            for bit, metric in (("1", "mean_where_true"), ("0", "mean_where_false"))
        ]
        sentences.append(f"{str(gate).replace('_', ' ')} {', '.join(spans)}")
    return f"Trained networks, first to last step: {'; '.join(sentences)}. {_before(by_step)}"


def _alt_saturation(saturation: pd.DataFrame) -> str:
    means = saturation.groupby(["subject", "signal", "metric"])["value"].mean()
    parts = [
        f"{role_name(subject)}, {gate.replace('_', ' ')}: {means[subject, gate, 'share_high']:.0%} nearly open, "
        f"{means[subject, gate, 'share_low']:.0%} nearly closed"
        for subject, gate in dict.fromkeys((key[0], key[1]) for key in means.index)
    ]
    return f"Mean share of saturated values. {'; '.join(parts).capitalize()}."
