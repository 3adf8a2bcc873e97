"""How does each cell of the counter move with the number of ones, and each cell of its own initialisation?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from probe import DataFigure, Finding, Rule
from probe.evidence.measurements import Network
from probe.plots.style import style
from probe.questions.states import cell_trajectories

from . import common

VERSION = 1
RULES: tuple[Rule, ...] = ()
STEPS = (3, 6, 9)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how each cell goes with the count within steps; means by count would be 800 rows a network."""
    table = cell_trajectories.measure(networks, common.STRINGS, common.COUNTS)
    return table[table["metric"] == "within_step_correlation"].reset_index(drop=True)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Draw every cell's mean by step and count, of one trained network, after training and before."""
    trained = common.in_detail(networks)
    before = next(each for each in common.pick(networks, "untrained") if each.seed == trained.seed)
    names = [trained.name, before.name]
    pair = cell_trajectories.measure([trained, before], common.STRINGS, common.COUNTS)
    best = "The cells that follow the count best, after training and before"
    with style():
        figures = [_figure(pair, names, columns=3, name="strongest-cells", title=best)]
        for network, name in zip(names, ("every-cell", "every-untrained-cell"), strict=True):
            title = f"Every cell of {network}"
            figures.append(_figure(pair, [network], columns=4, units=12, name=name, title=title))
    notes = {"answer": _largest(table), "otherwise": OTHERWISE}
    title = "How does each cell move with the count?"
    return common.finding(
        "cell_trajectories", title, table, studied=networks, rules=RULES, figures=figures, notes=notes
    )


OTHERWISE = (
    "In a network that keeps a running count in one cell, the lines of that cell lie on one curve at all steps, and "
    "the other cells do not matter."
)


def _figure(
    table: pd.DataFrame, names: list[str], *, columns: int, units: int = 3, name: str, title: str
) -> DataFigure:
    figure = cell_trajectories.draw_grid(
        table, networks=names, units=units, columns=columns, steps=STEPS, concept="ones read so far"
    )
    curves = [cell_trajectories.curves(table, network).assign(network=network) for network in names]
    parts = []
    for network, each in zip(names, curves, strict=True):
        row = int(each["correlation"].abs().to_numpy().argmax())
        parts.append(f"in {network} unit {each['unit'].iloc[row]}, r = {each['correlation'].iloc[row]:.2f}")
    alt = "; ".join(parts)
    return DataFigure.from_figure(
        figure,
        name=name,
        title=title,
        alt=f"Mean cell state by number of ones, a line a step. The strongest correlation is {alt}.",
        caption="A panel is one cell, a line one step (the first is step 0): the mean over all prefixes with that "
        "many ones. A pure count would put all lines of a panel on one curve. Where the lines fan out, the cell "
        "tells time too. r is the correlation with the count after we subtract the mean of each step.",
        data=pd.concat(curves, ignore_index=True),
    )


def _largest(correlation: pd.DataFrame) -> str:
    largest = correlation["value"].abs().groupby([correlation["subject"], correlation["network"]]).max()
    middle = largest.groupby(level="subject").median()
    return (
        f"The best cell follows the count with |r| = {middle['trained']:.2f} after training and "
        f"{middle['untrained']:.2f} before. These are medians over networks, and r is the correlation within steps."
    )
