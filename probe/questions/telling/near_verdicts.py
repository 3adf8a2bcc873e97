"""Whether a verdict beside networks with random weights hangs on which of them were drawn."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ...evidence.measurements import only
from ...methods.probing.scores import margin_beside
from ..states.linear_readout_drawn import RANDOM, ratios


def hangs_on_one(table: pd.DataFrame, score: float, best: float, low: float, metric: str = "") -> bool:
    """Return whether the verdict would be another without one of the networks, or with a best one that is better.

    Left out is each of them in turn. The better one lies beyond the best by half of how far this lies beyond the
    median, both as ratios of what is left unexplained.

    Args:
        table: what `measure_drawn` measured of one network.
        score: the network's score.
        best: that of the best network with random weights.
        low: the lower end of the interval of the difference.
        metric: what the name of the metric begins with.
    """
    rows = only(table, role=RANDOM, metric=f"{metric}score")
    drawn = {str(name): float(value) for name, value in rows.groupby("network")["value"].max().items()}
    if len(drawn) < 2:
        return False
    first = max(drawn, key=lambda name: drawn[name])
    others = [{name: value for name, value in drawn.items() if name != one} for one in drawn]
    others.append(drawn | {first: 1 - (1 - drawn[first]) / ratios(drawn, score)[1] ** 0.5})
    beaten = _beaten(drawn, score, best + low)
    return any(_beaten(one, score, best + low) != beaten for one in others)


def _beaten(drawn: Mapping[str, float], score: float, above: float) -> bool:
    """Return whether a network beats networks with random weights; `above` is a score that it is known to reach."""
    best, (below, apart) = max(drawn.values()), ratios(drawn, score)
    return above - best > margin_beside(best) and below > apart
