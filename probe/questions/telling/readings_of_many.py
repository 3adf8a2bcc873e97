"""What the controls allow to say of one concept in several networks: each network is judged, and they are counted."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from ...errors import several
from ...evidence.measurements import only
from ...evidence.words import listed
from .judgements import Objection, judge
from .linear_readout_words import controls_beside


def tell_many(table: pd.DataFrame, name: str) -> str:
    """Return in how many networks a concept can be read, and in how many of them which objection is the strongest.

    Args:
        table: what `measure_drawn` measured of each network with its controls.
        name: the concept.
    """
    found, trained = Counter[Objection](), only(table, role="trained", metric="score")
    for network in trained["network"].unique():
        best = only(trained, network=network).sort_values("value", ascending=False, kind="stable").iloc[0]
        where = {"network": str(network), "layer": str(best["layer"]), "signal": str(best["signal"])}
        controls = controls_beside(table, where, float(best["value"]))
        found[judge(controls, float(best["value"]), float(best["low"]), 1).objection] += 1
    unread = found[Objection.NOT_FOUND] + found[Objection.BARELY_READ]
    every = sum(found.values())
    against = [f"in {found[one]} {one.value}" for one in Objection if one in found]
    clear = f"“{name}” is read clearly better than by knowing nothing in {every - unread}"
    return f"{clear} of {several(every, 'network')}: {listed(against)}."
