"""Does a cell count in wider or narrower networks, and do cells take over from each other?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.counter import common
from analyses.counter.one_cell import BOUNDS
from analyses.counter.relay import CHANGED, STEP, relay_index
from models.recipes import RECIPES
from probe import Finding
from probe.evidence import DataFigure
from probe.evidence.measurements import measurement, tabulate
from probe.evidence.words import listed
from probe.methods.decomposition.units import unit_table
from probe.plots.style import SMALL, new_figure, role_style, style
from probe.questions.question import Question
from probe.subjects.ends import ends_of
from probe.subjects.pairs import input_pairs
from probe.subjects.subject import Subject

NAME = "width"
ORDERS = 32
#: Which widths an axis names.
LABELLED = (1, 4, 12, 48)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure the relay index of networks of any width, from random orders in which the units join.

    Metric, one value a network: `relay_index`, as `relay` has it, with the Shapley values of every pair estimated
    from the same `ORDERS` orders and these backwards.

    Reference:
        Castro, Gomez & Tejada 2009, Polynomial calculation of the Shapley value based on sampling, section 3.
    """
    return tabulate(row for subject in subjects for row in _rows(subject))


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    machine = ends_of(subject).machine
    units = machine.dynamics.units
    order = np.random.default_rng(subject.seed).permuted(np.tile(np.arange(units), (ORDERS, 1)), axis=1)
    rank = np.concatenate([order, units - 1 - order])
    joined = rank[:, None] < np.arange(units + 1)[:, None]
    pairs = input_pairs(subject, CHANGED, STEP).pairs
    table, weight = unit_table(machine, pairs, STEP, members=joined.reshape(-1, units))
    gains = np.diff(table.reshape(len(table), *joined.shape[:2]), axis=2)
    added = np.take_along_axis(gains, rank[None], axis=2).mean(1)
    yield measurement(NAME, "relay_index", subject.network, relay_index(added, weight)[0], step=STEP, n=len(table))


QUESTION = Question(NAME, "Does a cell count in wider or narrower networks?", measure, roles=common.ANSWERING)
ACROSS = common.Across(
    NAME,
    QUESTION.title,
    "We trained other widths with the same recipe; no rule judges them. A cell that passes all five tests keeps a "
    "running count of the ones, the zeros or the network's answer.",
)
#: The panels: of which metric, and what a title says.
PANELS = {
    "test_error": "misread strings",
    "most_tests": "most tests passed",
    "drift": "drift",
    "relay_index": "relay index",
}


def find(tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Draw what was measured of networks of several widths."""
    table = pd.concat(tables.values(), ignore_index=True)
    table = table[table["metric"].isin(PANELS)].assign(question=NAME)
    units = table["network"].str.partition("/")[0].map({name: one.hidden_size for name, one in RECIPES.items()})
    shown = table.assign(units=units).groupby(["metric", "network", "units"])["value"].max().reset_index()
    with style():
        picture = _picture(shown)
    return Finding(NAME, ACROSS.title, table.reset_index(drop=True), (), (picture,), {"answer": picture.alt})


def _picture(shown: pd.DataFrame) -> DataFigure:
    medians = shown.groupby(["metric", "units"])["value"].median()
    widths = sorted(shown["units"].unique())
    figure, axes = new_figure(4, height=2.5)
    for ax, (metric, label) in zip(axes.flat, PANELS.items(), strict=True):
        own = shown[shown["metric"] == metric]
        ax.plot(own["units"], own["value"], "o", color=role_style("trained").color, markersize=3, alpha=0.5)
        ax.plot(medians[metric].index, medians[metric], "_", color="black", markersize=9)
        ax.set_title(label, fontsize=SMALL)
        ax.set_xscale("log")
        ax.set_xticks(LABELLED, [f"{width:g}" for width in LABELLED])
        ax.minorticks_off()
    figure.supxlabel("units", fontsize=SMALL)
    most = shown[shown["metric"] == "most_tests"].groupby("units")["value"].max()
    said = ", ".join(f"{value:.0f} at {units:g}" for units, value in most.items())
    whole = [units for units, value in most.items() if value == len(BOUNDS)]
    passed = "At no width does a cell pass all five tests."
    if whole:
        error = medians["test_error"].loc[whole].max()
        passed = f"A cell passes all five tests only at width {listed([f'{units:g}' for units in whole])}, where "
        passed += f"networks misread {error:.0%} of strings."
    return DataFigure.from_figure(
        figure,
        name=NAME,
        title="What changes with the number of units",
        alt=f"Dots, one a network of {len(widths)} widths. The most tests that a cell of any network passes: {said}.",
        caption=f"Dots are networks, bars medians. {passed} The relay index is estimated from {2 * ORDERS} orderings "
        "of the units.",
        data=shown,
    )
