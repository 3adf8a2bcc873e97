"""What do a zero and a one do to the counter's answer, and where are its fixed points under zeros?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, only
from probe.questions.states import dynamics

BOUND = 0.1
SOURCE = "Sussillo & Barak 2013; Maheswaranathan et al. 2019"
VERSION = 1
RULES = (
    Rule(
        key="II.19",
        statement="The answer rests on a line while zeros come.",
        metric="silent_speed",
        definition="Mean |change of the expected answer| when a 0 is read after 5 to 9 bits, over all prefixes.",
        source=SOURCE,
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
    Rule(
        key="II.19b",
        statement="The answer holds when a one is read.",
        metric="driven_speed",
        definition="Mean |change of the expected answer| when a 1 is read after 5 to 9 bits, over all prefixes.",
        source=SOURCE,
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
)
SPEEDS = ("silent_speed", "driven_speed")


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how a bit moves the answers of counters, and where they rest under zeros."""
    return dynamics.measure(
        common.subjects(common.pick(networks, *common.ANSWERING, "own initialisation")),
        silent=torch.zeros(1),
        driving=torch.ones(1, 1),
        steps=range(5, 10),
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge how fast the answers move."""
    notes = {"answer": _answer(table), "points": _points(table), "otherwise": _otherwise(table)}
    title = "Does the answer rest when nothing is counted?"
    return common.finding("dynamics", title, table, studied=networks, rules=RULES, notes=notes)


def _answer(table: pd.DataFrame) -> str:
    own = only(table, role="trained")
    silent, driven = (only(own, metric=metric)["value"] for metric in SPEEDS)
    state = [only(own, metric=f"{name}_state_speed")["value"].median() for name in ("silent", "driven")]
    change = only(own, metric="change").groupby("kind")["value"].median()
    return (
        f"{(silent <= BOUND).sum()} of {len(silent)} networks hold their answer when a 0 is read, and "
        f"{(driven <= BOUND).sum()} when a 1 is read. A network holds its answer if the bit changes it by at most "
        f"{BOUND:g}. In the median network one more 0 changes the answer by {change['0']:+.2f}, and one more 1 by "
        f"{change['1']:+.2f}. The state itself moves by {state[0]:.0%} of its length on a 0, and by {state[1]:.0%} "
        "on a 1."
    )


def _points(table: pd.DataFrame) -> str:
    own = only(table, role="trained")
    fixed, slow, reached, modulus = (
        only(own, metric=metric)["value"]
        for metric in ("fixed_points", "slow_points", "starts_reached", "point_modulus")
    )
    moving = f" At up to {slow.max():.0f} more, the slow points, the state hardly moves." if slow.max() else ""
    return (
        "A fixed point is a state that stays as it is while zeros come. A network that rests at every count has one "
        f"for each count. We find {fixed.min():.0f} to {fixed.max():.0f} in a trained network.{moving} The search "
        f"reaches a point from {reached.median():.0%} of the visited states (median). How much a step leaves of a "
        f"small displacement there is the modulus. The largest one of a network is {modulus.median():.2f} in the "
        "median, where a counter at rest has 1."
    )


def _otherwise(table: pd.DataFrame) -> str:
    planted = only(table, network="planted/ones").set_index("metric")["value"]
    before = only(table, role="own initialisation", metric="silent_speed")["value"]
    holding = (before <= BOUND).sum()
    said = "To hold on a 0 is no sign of counting: before" if holding > len(before) / 2 else "Before"
    return (
        f"The planted counter of ones moves its answer by {planted['silent_speed']:.2f} on a 0 and by "
        f"{planted['driven_speed']:.2f} on a 1. Under zeros it has {planted['fixed_points']:.0f} fixed points, one "
        f"for each count from which the search starts. {said} training {holding} of {len(before)} networks do, "
        "because their answers hardly change on any bit."
    )
