"""Do the same cells of the counter carry every count, or do cells take over from each other?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from analyses.counter import common
from probe.evidence import Control, DataFigure, Range, Rule
from probe.evidence.claims import STRONGEST
from probe.evidence.measurements import measurement, tabulate
from probe.methods.decomposition.shapley import shapley_values
from probe.plots.legends import legend_above
from probe.plots.study_figures import medians_in_words
from probe.plots.style import ROLE_STYLE, new_figure
from probe.questions.interventions.unit_shares import exact_table
from probe.questions.question import Question
from probe.subjects.subject import Subject

NAME = "relay"
#: The state after 7 bits, and the input that differs in a pair: those of `unit_shares`.
STEP, CHANGED = 6, 4
#: A pair whose whole difference is smaller, in counts, has no shares worth the name; a count should make 1.
TINY = 0.1
#: As over how many equal units a count is spread, in one pair and in all of them.
SPREADS = ("mean_participation", "pooled_participation")
#: The rules' bounds, fixed before a trained network was looked at.
SAME, HALF = 1.5, 0.5
SETUP = (
    "After 7 bits, between a prefix and the same with bit 5 flipped 0 to 1, mean over all suffixes: exact Shapley "
    "values of the 12 units (the pairs c_u, h_u) in each of the 64 pairs of prefixes"
)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure, pair by pair, which cells carry a count in counters that answer with it.

    Metrics, one value a network: `relay_index`, see the rule; `pooled_participation` and `mean_participation`, its
    two parts; `per_context_participation`, the median over pairs of (sum m)^2 / sum m^2, m the absolute Shapley
    values; `largest_pair_share`, the median of the largest share; `pairs_left_out`, the share of pairs with a whole
    difference below a tenth of a count, which these medians leave out.
    """
    return tabulate(row for subject in subjects for row in _rows(subject))


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    for metric, value, pairs in _numbers(*exact_table(subject, CHANGED, STEP)):
        if not np.isnan(value):
            yield measurement(NAME, metric, subject.network, value, step=STEP, n=pairs)


def participation(sizes: Float[np.ndarray, "*pair unit"]) -> Float[np.ndarray, " *pair"]:
    """Return as how many equal units sizes are spread: (sum m)^2 / sum m^2; NaN where all are 0.

    Reference:
        Laakso & Taagepera 1979, Effective number of parties, their N_2.
    """
    squares = np.square(sizes).sum(-1)
    return np.divide(sizes.sum(-1) ** 2, squares, out=np.full(squares.shape, np.nan), where=squares > 0)


def relay_index(
    added: Float[np.ndarray, "pair unit"], weight: Float[np.ndarray, " pair"]
) -> tuple[float, float, float]:
    """Return the relay index, and the participations that it is the quotient of: of all pairs together, and of one.

    They are the participation of all together, and the harmonic mean of the pairs'; NaN where nothing is added. The
    index is at least 1. Signs do not count: where units work against each other shares would not be proportions.

    Reference:
        Jost 2007, Partitioning diversity into independent alpha and beta components, equation 17 with q = 2 for equal
        weights; here the weights of the mean are the communities' own.
    """
    sizes = np.abs(added) * weight[:, None]
    total = sizes.sum()
    if not total:
        return float("nan"), float("nan"), float("nan")
    together = float(participation(sizes.sum(0)))
    parts = sizes.sum(1)
    within = float(total / np.nansum(parts / participation(sizes)))
    return together / within, together, within


def _numbers(table: np.ndarray, weight: np.ndarray) -> Iterator[tuple[str, float, int]]:
    """Yield metric, value and number of pairs."""
    added, whole, pairs = shapley_values(table), table[:, -1] - table[:, 0], len(table)
    for metric, value in zip(
        ("relay_index", "pooled_participation", "mean_participation"),
        relay_index(added, weight),
        strict=True,
    ):
        yield metric, value, pairs
    kept = np.abs(whole) >= TINY
    yield "pairs_left_out", float(1 - kept.mean()), pairs
    if kept.any():
        shares = added[kept] / whole[kept, None]
        yield "per_context_participation", float(np.median(participation(np.abs(shares)))), len(shares)
        yield "largest_pair_share", float(np.median(shares.max(1))), len(shares)


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how many cells carry a count."""
    drawn = common.drawn(table[table["metric"].isin([*SPREADS, "relay_index"])])
    wide = drawn.pivot(index=["role", "network", "pair"], columns="metric", values="value").reset_index()
    return common.picture(
        lambda: _draw(wide),
        name="relay",
        title="How many cells carry a count, in one string and in all of them",
        alt=f"Markers, one a network. {medians_in_words(drawn)}",
        caption="We flip the fifth bit and divide the change in the answer among the cells. Solid line: the same "
        f"cells carry every count. Above the dotted line, a ratio of {SAME:g}, cells take over from each other.",
        data=wide,
    )


def _draw(wide: pd.DataFrame) -> Axes:
    ax = new_figure(height=3.8)[1][0, 0]
    within, together = SPREADS
    for role in (role for role in ROLE_STYLE if (wide["role"] == role).any()):
        look, own = ROLE_STYLE[role], wide[wide["role"] == role]
        ax.plot(own[within], own[together], look.marker, color=look.color, markersize=4.5, alpha=0.8, label=role)
    ends = np.array([0.0, float(wide[list(SPREADS)].max().max()) * 1.05])
    ax.plot(ends, ends, color="black", linewidth=1, zorder=0)
    ax.plot(ends / SAME, ends, color="black", linewidth=1, linestyle=":", zorder=0)
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_xlabel("as how many equal cells carry a count\nin one pair")
    ax.set_ylabel("and in all pairs together")
    legend_above(ax)
    return ax


QUESTION = Question(
    NAME,
    "Do the same cells carry every count?",
    measure,
    roles=common.ANSWERING,
    rules=(
        common.rule(
            key="25a",
            statement="The cells work as a crowd and not as a relay: the same cells carry the count in every string.",
            sentence="The same cells carry the count in every string (relay index)",
            metric="relay_index",
            definition=f"{SETUP}. m_ku = the absolute value of unit u in pair k. The participation (sum m)^2 / sum "
            "m^2 of the sizes summed over pairs, over the mean participation of a pair (harmonic, each pair weighted "
            "by the sum of its sizes). 1 if all pairs use the same cells in the same proportions, the number of "
            "cells if each takes its turn alone and as often.",
            source="Jost 2007, effective numbers of order 2: total over within; Shapley 1953",
            at_most=SAME,
        ),
        Rule(
            key="25b",
            statement="In the median string, too, no cell carries half of a count.",
            sentence="No cell carries half of a count in the median string (largest share)",
            metric="largest_pair_share",
            definition=f"{SETUP}. The largest share of a unit in a pair, median over the pairs whose whole "
            f"difference is at least {TINY:g} of a count.",
            source="Shapley 1953; Lakretz et al. 2019 for the question",
            established_if=Range.below(HALF),
            refuted_if=Range.at_least(HALF),
        ),
        Rule(
            key="25c",
            statement="Training makes a relay: cells take over from each other.",
            sentence="Training makes cells take over from each other (relay index)",
            metric="relay_index",
            definition="The relay index of 25a, more than in the best of the heads on untrained weights.",
            source="Jost 2007; Shapley 1953",
            established_if=Range.above(SAME),
            refuted_if=Range.at_most(SAME),
            controls=(Control(STRONGEST, 0.5),),
        ),
    ),
    draw=figures,
    text="The relay index is 1 if the same cells carry the count in every string; if each cell takes its turn alone, "
    "it is the number of cells.",
)
