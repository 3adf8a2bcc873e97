"""What a page says of the fixed points of one network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import several
from ...evidence.measurements import one, only
from ...evidence.words import place, said
from ...methods.fixed_points import NEAR, PUSHED
from ...recurrent.layers import Layer
from ...subjects.subject import Subject
from ..question import Answered
from ..states import held_inputs

if TYPE_CHECKING:
    import pandas as pd

#: A modulus near 1 is written with at most so many decimals.
DECIMALS = 9


def notes(answered: Answered) -> dict[str, str]:
    """Return what is said of a network (`answer`), of its controls (`beside`), and how it was measured (`setup`)."""
    subject, table = answered.subject, answered.table
    own = only(table, network=subject.network.name)
    others = [network for network in dict.fromkeys(table["network"]) if network != subject.network.name]
    answer = " ".join(of_input(kind, rows) for kind, rows in _by_input(own).items())
    found = {"answer": answer, "setup": _setup(subject, own)}
    beside = [
        f"{only(table, network=name)['role'].iloc[0].capitalize()}: {_in_short(table, name)}." for name in others
    ]
    return found | ({"beside": " ".join(beside)} if beside else {})


def _by_input(own: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each input that was held fixed, by its name."""
    counted = own[own["metric"].isin(["fixed_points", "still_share"])]
    return {kind: only(own, kind=kind) for kind in dict.fromkeys(counted["kind"])}


def _in_short(table: pd.DataFrame, network: str) -> str:
    own = _by_input(only(table, network=network))
    return "; ".join(f"{_found(rows)} under {kind}" for kind, rows in own.items())


def _found(rows: pd.DataFrame) -> str:
    """Return which points were found under one input."""
    if len(only(rows, metric="still_share")):
        places = round(one(rows, metric="still_points"))
        return f"{one(rows, metric='still_share'):.0%} of the states come to rest, at {several(places, 'place')}"
    counted = ("fixed_points", "stable_points", "neutral_points", "slow_points")
    fixed, stable, neutral, slow = (round(one(rows, metric=metric)) for metric in counted)
    return f"{points(fixed, stable, neutral)} and {several(slow, 'slow point') if slow else 'no slow point'}"


def of_input(kind: str, rows: pd.DataFrame) -> str:
    """Return the sentence on one input that was held fixed.

    Args:
        kind: the input's name.
        rows: its measurements, of one network.
    """
    if len(only(rows, metric="still_share")):
        return (
            f"Under {kind}, {one(rows, metric='still_share'):.0%} of the states that we followed have come to rest "
            f"after {held_inputs.FOLLOWED} steps, at {several(round(one(rows, metric='still_points')), 'place')}."
        )
    count = round(one(rows, metric="fixed_points") + one(rows, metric="slow_points"))
    outside, largest = one(rows, metric="points_left_out"), only(rows, metric="point_modulus")["value"].max()
    if not count and outside > 0:
        return (
            f"Under {kind} the search finds no fixed point and no slow point within the bounds of the state. It "
            f"ended at {several(round(outside), 'point')} outside of them."
        )
    them = "it" if count == 1 else "them"
    end = f"; the largest modulus of an eigenvalue at {them} is {modulus(largest)}" if np.isfinite(largest) else ""
    reached = one(rows, metric="starts_reached")
    return f"Under {kind} the search finds {_found(rows)}; {reached:.0%} of the starts led to such a point{end}."


def modulus(value: float) -> str:
    """Return a modulus in words; near 1 with enough decimals to show on which side of 1 it lies."""
    if said(value) != "1.00":
        return said(value)
    texts = (f"{value:.{decimals}f}" for decimals in range(3, DECIMALS + 1))
    return next((text for text in texts if float(text) != 1), f"1 to {DECIMALS} decimals")


def outside(count: int, layer: Layer) -> str:
    """Return how many points were left out because they are beyond the bounds of the state, and these bounds."""
    limits = [
        f"no number of the {signal.replace('_', ' ')} is above 1 in size"
        if held_inputs.is_bounded(layer, signal)
        else f"for the {signal.replace('_', ' ')} we assumed at most twice the largest size that was recorded"
        for signal in reversed(layer.whole_state)
    ]
    were = "was" if count == 1 else "were"
    which = f"{several(count, 'point') if count else 'No points'} outside of the bounds of the state {were} left out"
    return f"{which} ({' and '.join(limits)})."


def points(fixed: int, stable: int, neutral: int) -> str:
    """Return how many fixed points were found, and how many of each kind; the others are unstable."""
    if not fixed:
        return "no fixed point"
    kinds = {"stable": stable, "neutral": neutral, "unstable": fixed - stable - neutral}
    own = {kind: count for kind, count in kinds.items() if count}
    which = [
        f"{'all' * (fixed > 1)} {kind}".strip() if count == fixed else f"{count} {kind}"
        for kind, count in own.items()
    ]
    return f"{several(fixed, 'fixed point')} ({', '.join(which)})"


def _setup(subject: Subject, own: pd.DataFrame) -> str:
    layer, left_out = subject.layers[0], only(own, metric="points_left_out")["value"]
    at, counted = place(layer.name, "states"), own[own["metric"].isin(["starts_reached", "still_share"])]
    which, starts = held_inputs.inputs_of(subject)[1], int(counted["n"].iloc[0])
    if len(only(own, metric="still_share")):
        size = sum(layer.size(signal) for signal in layer.whole_state)
        return (
            f"We held fixed {which}, and followed {starts} of {at} for {held_inputs.FOLLOWED} steps. States come to "
            "rest at stable and neutral points. We did not search for others: the search needs the Jacobian of "
            f"{size} numbers at every start and round, and its cost grows with the third power of that number."
        )
    bounds = f" {outside(round(left_out.sum()), layer)}" if len(left_out) else ""
    return (
        f"We held fixed {which}. The search began at {starts} of {at} that the inputs lead to, and minimised "
        "q = |F(s) \N{MINUS SIGN} s|²/2 (fixed below 1e-10, slow below 1e-6; Sussillo and Barak 2013). It misses "
        "points that no start leads to. A point is stable if it forgets a small push, unstable if the push grows, "
        f"and neutral if it stays. We read this from the modulus (1 within {NEAR:g} is neutral), and also pushed the "
        f"points that it calls stable, for {PUSHED} steps. A network can keep a memory at a fixed point, but a fixed "
        "point does not show what is remembered."
        f"{bounds}"
    )
