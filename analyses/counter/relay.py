"""Do the same cells of the counter carry every count, or do cells take over from each other?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from analyses.counter import common, rules
from probe.evidence import DataFigure
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
#: As over how many equal units a count is spread, in one pair and in all of them.
SPREADS = ("mean_participation", "pooled_participation")


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
    kept = np.abs(whole) >= rules.TINY
    yield "pairs_left_out", float(1 - kept.mean()), pairs
    if kept.any():
        shares = added[kept] / whole[kept, None]
        yield "per_context_participation", float(np.median(participation(np.abs(shares)))), len(shares)
        yield "largest_pair_share", float(np.median(shares.max(1))), len(shares)


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how many cells carry a count."""
    drawn = common.drawn(table[table["metric"].isin([*SPREADS, "relay_index"])], rules.RELAY[2])
    wide = drawn.pivot(index=["role", "network", "pair"], columns="metric", values="value").reset_index()
    return common.picture(
        lambda: _draw(wide),
        name="relay",
        title="Cells at work, in one string and in all of them",
        alt=f"Markers, one a network. {medians_in_words(drawn)}",
        caption="We flip the fifth bit and divide the change among the cells. On the line all strings "
        f"use the same cells; above the dotted line, {rules.SAME:g} times as many in all, they take turns. "
        f"{common.BEST_HEAD}",
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
    ax.plot(ends / rules.SAME, ends, color="black", linewidth=1, linestyle=":", zorder=0)
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_xlabel("cells at work in one string")
    ax.set_ylabel("cells at work in all strings")
    legend_above(ax)
    return ax


QUESTION = Question(
    NAME,
    "Do the same cells carry every count?",
    measure,
    roles=common.ANSWERING,
    rules=rules.RELAY,
    draw=figures,
    text="The relay index is 1 if the same cells carry the count in every string; if each cell takes its turn alone, "
    "it is the number of cells.",
)
