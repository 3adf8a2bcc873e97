"""Does a cell of the counter hold the count, if its zero may move by any amount from step to step?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.counter import common
from analyses.counter.one_cell import BOUNDS, PARTS, Cells, cells_of
from analyses.counter.one_cell import RULES as ONE_CELL
from analyses.counter.study import SMALLER
from probe import Finding
from probe.evidence import Rule
from probe.evidence.intervals import median_interval
from probe.evidence.measurements import Network, measurement, only, tabulate
from probe.methods.probing.monotone import each_unit_read_beside_a_clock
from probe.methods.probing.splits import by_sequence
from probe.plots.networks import draw_dots
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.subjects.subject import Subject

QUESTION = "moving_zero"
TITLE = "Does a cell hold the count, if its zero may move from step to step?"
VERSION = 1
#: A reviewer asked this after the networks were measured: no rule was fixed before, so that it gets no verdict.
RULES: tuple[Rule, ...] = ()
READ = BOUNDS["read"]
#: The correlation of the number of bits read with the ones, where each of 1 to 10 bits has the same weight.
CLOCK = 0.6**0.5
#: What 27d asks, by how much more the best cell of a network before training is read.
MARGIN = next(rule.controls[0].margin for rule in ONE_CELL if rule.key == "27d")
LEVEL = 0.999


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how far one map reads n1 + g(t) off each cell of counters, g any function of the step.

    Metrics: `shifted_read` of each cell (`units`), the share of held-out prefixes of 1 to 10 bits that are read
    within a half, four folds drawn by the network's seed; `best_shifted_read`, the largest of a network. Beside it
    the number that is computed first: `best_correlation`, the largest |r| of a cell with the ones over all prefixes,
    each number of bits of the same weight.
    """
    asked = common.pick(networks, "trained", "own initialisation", "planted", "other")
    return tabulate(row for subject in common.subjects(asked) for row in _rows(subject))


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    cells, network = cells_of(subject)[0], subject.network
    split = _split(cells.bits, common.split_seed(network))
    ones = cells.ones.astype(float)
    read = each_unit_read_beside_a_clock(cells.values, ones, cells.bits, [split], cells.weight)
    for unit, value in enumerate(read.tolist()):
        yield measurement(QUESTION, "shifted_read", network, value, units=str(unit))
    yield measurement(QUESTION, "best_shifted_read", network, float(read.max()), units=str(int(read.argmax())))
    size = np.abs(_correlations(cells))
    yield measurement(QUESTION, "best_correlation", network, float(size.max()), units=str(int(size.argmax())))


def _correlations(cells: Cells) -> np.ndarray:
    """Return the weighted correlation of each cell with the ones, (unit,); 0 where a cell does not vary."""
    covariance = np.cov(np.column_stack([cells.ones, cells.values]), rowvar=False, aweights=cells.weight)
    size = np.sqrt(np.diag(covariance))
    scale = size[0] * size[1:]
    return np.divide(covariance[0, 1:], scale, out=np.zeros_like(scale), where=scale > 1e-12)


def _split(bits: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return parts of the states: where one of them is held out the others have states of every length."""
    order = np.random.default_rng(seed).permutation(len(bits))
    fold = np.empty(len(bits), dtype=int)
    fold[order] = pd.Series(bits[order]).groupby(bits[order]).cumcount().to_numpy() % PARTS
    return by_sequence(fold)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Say in how many networks a cell holds the count up to a shift of each step, and draw how well."""
    drawn = common.drawn(only(table, metric="best_shifted_read"))
    picture = common.picture(
        lambda: _draw(drawn),
        name=QUESTION,
        title="How well one map reads the count off the best cell, if its zero may move",
        alt=f"Dots, one a network, by the share of prefixes read within a half. {medians_in_words(drawn)}",
        caption="Each dot is a network, by its best cell. We fit one map for all steps and one shift for each step, "
        "together on three quarters of the prefixes, and score them on the others.",
        data=drawn[["role", "network", "pair", "units", "value"]],
    )
    notes = {"answer": _answer(table), "beside": _beside(table), "smaller": _smaller(table)}
    larger = _larger(table)
    notes |= {"larger": larger} if larger else {}
    notes |= {"first": _first_number(table)}
    return common.finding(QUESTION, TITLE, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _draw(drawn: pd.DataFrame) -> Any:
    metric = "best_shifted_read"
    ax = draw_dots(drawn, {metric: "best cell"}, thresholds={metric: READ}, ax=new_figure(height=3.6)[1][0, 0])
    ax.set_ylabel("prefixes read within a half")
    return ax


def _answer(table: pd.DataFrame) -> str:
    own, before = (common.values(table, "best_shifted_read", role) for role in ("trained", "own initialisation"))
    untrained = f" Before training it is so in {(before >= READ).sum()} of {len(before)}." if len(before) else ""
    return (
        f"One map reads the count off some cell in {(own >= READ).sum()} of {len(own)} trained networks, if its zero "
        "may move. A running count could have a zero that moves: the ones plus any function of the number of bits "
        f"read. So we fit that function too.{untrained} Such a cell says how many ones there were only to those who "
        "know how many bits were read. We asked this after measuring, so that it has no verdict."
    )


def _beside(table: pd.DataFrame) -> str:
    """Return by how much training lowers the value, beside the margin of the rule about a fixed zero."""
    wide = only(table, metric="best_shifted_read").pivot_table(index="pair", columns="role", values="value")
    if not {"trained", "own initialisation"} <= set(wide.columns):
        return ""
    fall = (wide["own initialisation"] - wide["trained"]).dropna()
    interval = median_interval(fall.to_numpy(), LEVEL)
    said = "" if interval is None else f" Its interval at {LEVEL:.1%} is {interval[0]:.2f} to {interval[1]:.2f}."
    more = interval is not None and interval[0] > MARGIN
    end = "So it holds of a zero that moves, too." if more else "So it does not hold of a zero that moves."
    return (
        "The value of a network is the share of prefixes that this map reads right off its best cell. Training "
        f"lowers it by {fall.median():.2f} (median paired difference).{said} Rule 27d is about a zero that stays, "
        f"and asks for more than {MARGIN:g}. {end}"
    )


def _larger(table: pd.DataFrame) -> str:
    """Return in how many networks some cell passes, and in how many smaller ones; empty where none was measured."""
    rows = only(table, metric="best_shifted_read")
    read = {recipe: rows[rows["network"].str.startswith(f"{recipe}/")]["value"] >= READ for recipe in SMALLER}
    there = {recipe: own for recipe, own in read.items() if len(own)}
    if not there:
        return ""
    passed, every = (sum(int(count(own)) for own in there.values()) for count in (np.sum, len))
    sizes, own = [recipe.removeprefix("hidden-") for recipe in there], common.values(table, "best_shifted_read")
    return (
        f"If the zero of the count may move with the number of bits, {(own >= READ).sum()} of {len(own)} have "
        f"a cell that tells the ones; of smaller networks, of {sizes[0]} to {sizes[-1]} cells, {passed} of {every}."
    )


def _smaller(table: pd.DataFrame) -> str:
    """Return in how many smaller networks some cell is read, whose cells have to do more."""
    rows = only(table, metric="best_shifted_read")
    parts, shares = [], []
    usual = (common.values(table, "best_shifted_read") >= READ).mean()
    for recipe in SMALLER:
        own = rows[rows["network"].str.startswith(f"{recipe}/")]["value"]
        if len(own):
            shares.append((own >= READ).mean())
            parts.append(f"{(own >= READ).sum()} of {len(own)} with {recipe.removeprefix('hidden-')} cells")
    if not parts:
        return ""
    listed = "; ".join(parts)
    if min(shares) <= usual:
        return f"So many smaller trained networks have such a cell: {listed}."
    return (
        "All of this is about networks of twelve cells. Smaller trained networks have such a cell more often: "
        f"{listed}."
    )


def _first_number(table: pd.DataFrame) -> str:
    """Return the correlation that is computed first, before and after training; empty without controls."""
    roles = ("trained", "own initialisation")
    own, before = (common.values(table, "best_correlation", role) for role in roles)
    if before.empty:
        return ""
    return (
        "One would first compute the correlation of the best cell with the ones, all steps together. It is "
        f"{own.median():.2f} after training and {before.median():.2f} before it (medians). The number of bits read "
        f"alone reaches {CLOCK:.2f}."
    )
