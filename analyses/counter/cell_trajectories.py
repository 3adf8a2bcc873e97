"""How does each cell of the counter move with the number of ones, and each cell of its own initialisation?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import DataFigure, Rule
from probe.evidence.measurements import Network
from probe.plots.style import style
from probe.questions.states import cell_trajectories

VERSION = 1
RULES: tuple[Rule, ...] = ()
STEPS = (3, 6, 9)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how each cell goes with the count within steps; means by count would be 800 rows a network."""
    table = cell_trajectories.measure(common.subjects(networks))
    return table[table["metric"] == "within_step_correlation"].reset_index(drop=True)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Draw every cell's mean by step and count, of one trained network, after training and before."""
    trained = common.in_detail(networks)
    before = next(each for each in common.pick(networks, "own initialisation") if each.pair == trained.pair)
    names = [trained.name, before.name]
    pair = cell_trajectories.measure(common.subjects([trained, before]))
    best = "The cells that follow the count best, after training and before"
    figures = [_figure(pair, names, columns=3, units=3, name="strongest-cells", title=best)]
    for network, name in zip(names, ("every-cell", "every-untrained-cell"), strict=True):
        figures.append(_figure(pair, [network], columns=3, units=12, name=name, title=f"Every cell of {network}"))
    return common.finding(
        "cell_trajectories",
        "How does each cell move with the count?",
        table,
        studied=networks,
        rules=RULES,
        figures=figures,
        notes={"answer": _largest(table), "otherwise": OTHERWISE},
    )


OTHERWISE = (
    "If one cell kept a running count, the lines of that cell would lie on one curve at all steps, and the other "
    "cells would not matter."
)


def _figure(table: pd.DataFrame, names: list[str], *, columns: int, units: int, name: str, title: str) -> DataFigure:
    with style():
        grid = cell_trajectories.draw_grid(
            table, networks=names, units=units, columns=columns, steps=STEPS, concept="ones read so far"
        )
        return cell_trajectories.grid_figure(grid, table, names, name=name, title=title)


def _largest(correlation: pd.DataFrame) -> str:
    largest = correlation["value"].abs().groupby([correlation["role"], correlation["network"]]).max()
    middle = largest.groupby(level="role").median()
    return (
        f"The best cell follows the count with |r| = {middle['trained']:.2f} after training and "
        f"{middle['own initialisation']:.2f} before. We correlate each cell with the number of ones, among strings "
        "that have read equally many bits. The numbers are medians over networks."
    )
