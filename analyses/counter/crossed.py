"""What decides what a counter takes? Base rate crossed with the numbers read and with the start of the head."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analyses.counter import common, rules
from models.recipes import CROSSED, THIRD, crossed_recipe
from probe import Finding
from probe.evidence import DataFigure, judge
from probe.evidence.measurements import tabulate
from probe.plots.legends import figure_legend
from probe.plots.style import SMALL, STEPS, colours, new_figure

NAME = "crossed"
#: p(1), the mean number read, and the count that the head starts at.
Cell = tuple[float, float, int]
#: A line for each account: what it is linear in, of p(1), the mean number read and the start; "no law" is the mean.
LAWS: dict[str, Callable[[Cell], tuple[float, ...]]] = {
    "no law": lambda _: (),
    "law_labels": lambda cell: cell[:1],
    "law_numbers": lambda cell: cell[1:2],
    "law_start": lambda cell: cell[2:],
    "law_zero": lambda cell: (cell[1] - cell[0],),
    "law_all": lambda cell: cell,
}
#: What is compared with what: which of a cell's three numbers, and its lowest and highest value.
RISES = {"labels_rise": (0, 0.2, 0.8), "numbers_rise": (1, -0.5, 0.5), "start_rise": (2, 0, 10)}
#: The cell whose labels and mean number networks with a third symbol share.
ALIKE = (0.2, 0.0, 5)

#: What we predicted of each before any of these networks was trained. Known were drifts at p(1) = .5 of networks that
#: read 0 and 1 (.83), -1 and 1 (.49), -.5 and .5 (.49), 1 and 2 (1.02), and at .2 and .8 of those that read 0 and 1.
#: A state that adds numbers up is pulled by their mean, whatever the labels are, which gives 30a; between networks of
#: equal mean a higher base rate takes more off for a 0, which gives 30b; the head's bias learns slowly, so that a
#: start is kept, which gives 30c. We held it for likelier than not that the three add up (30d), and that no account
#: suffices alone. Labels are all that the loss sees, which gives 30i.
PREDICTED = {
    "30a": "established",
    "30b": "established",
    "30c": "established",
    "30d": "established",
    "30e": "refuted",
    "30f": "refuted",
    "30g": "refuted",
    "30h": "refuted",
    "30i": "established",
}


def drifts(table: pd.DataFrame) -> dict[str, list[float]]:
    """Return the drifts of the networks of each crossed recipe, in the order of their seeds.

    Args:
        table: what `base_rate` measured of them.
    """
    own = table[table["metric"] == "drift"]
    found = own["network"].str.split("/seed-", expand=True).set_axis(["recipe", "seed"], axis=1)
    found = found.assign(seed=found["seed"].astype(int), value=own["value"]).sort_values("seed")
    return {str(recipe): list(group["value"]) for recipe, group in found.groupby("recipe")}


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the rules judge: differences of paired networks, distances of cells from laws, and 30i's.

    Args:
        table: as of `drifts`.
    """
    found = drifts(table)
    by_cell = {cell: found[crossed_recipe(*cell).name] for cell in CROSSED}
    medians = cell_medians(found)
    rates = sorted({cell[0] for cell in CROSSED})
    rows = []
    for metric, (place, low, high) in RISES.items():
        for cell, values in by_cell.items():
            if cell[place] == high:
                (below,) = (each for each in CROSSED if [*each] == [*cell[:place], low, *cell[place + 1 :]])
                gaps, name = np.subtract(values, by_cell[below]), crossed_recipe(*cell).name
                rows += [common.row(NAME, metric, f"{name}/{number}", gap) for number, gap in enumerate(gaps)]
    for law in LAWS:
        for cell, distance in distances(medians, law).items():
            about = {"question": NAME, "network": crossed_recipe(*cell).name, "pair": crossed_recipe(*cell).name}
            metrics, role = ([law], "trained") if law != "no law" else ([*LAWS][1:], law)
            rows += [about | {"metric": metric, "role": role, "value": distance} for metric in metrics]
    p, mean, start = ALIKE
    for third in THIRD:
        name, share = crossed_recipe(*ALIKE, third).name, p / (1 - third)
        known = [medians[rate, mean, start] for rate in rates]
        symbols, labels = float(np.interp(share, rates, known)), medians[ALIKE]
        for number, d in enumerate(found[name]):
            rows.append(common.row(NAME, "nearer_labels", f"{name}/{number}", abs(d - symbols) - abs(d - labels)))
    return tabulate(rows)


def cell_medians(found: Mapping[str, list[float]]) -> dict[Cell, float]:
    """Return the median drift of each cell's networks.

    Args:
        found: drifts by recipe.
    """
    return {cell: float(np.median(found[crossed_recipe(*cell).name])) for cell in CROSSED}


def distances(medians: Mapping[Cell, float], law: str) -> dict[Cell, float]:
    """Return by cell how far its median drift is from a law that is fitted to all others by least squares.

    Args:
        medians: the median drift of each cell.
        law: a key of `LAWS`.
    """
    return {cell: abs(told - medians[cell]) for cell, told in foretold(medians, law).items()}


def foretold(medians: Mapping[Cell, float], law: str) -> dict[Cell, float]:
    """Return by cell the drift that a law gives which is fitted to all other cells by least squares.

    Args:
        medians: the median drift of each cell.
        law: a key of `LAWS`.
    """
    others = {cell: {each: value for each, value in medians.items() if each != cell} for cell in medians}
    return {cell: float(_terms(cell, law) @ weights_of(rest, law)) for cell, rest in others.items()}


def weights_of(medians: Mapping[Cell, float], law: str) -> np.ndarray:
    """Return the weights of a law that is fitted to cells by least squares: of 1, and of its terms."""
    return np.linalg.lstsq(np.array([_terms(cell, law) for cell in medians]), np.array([*medians.values()]))[0]


def _terms(cell: Cell, law: str) -> np.ndarray:
    return np.array([1.0, *LAWS[law](cell)])


def find(table: pd.DataFrame, *, family: int) -> Finding:
    """Judge the rules on what `base_rate` measured of the crossed networks."""
    values = judged(table)
    claims = judge(values, rules.CROSSED, family=family)
    fates = sum(claim.verdict == PREDICTED[claim.rule.key] for claim in claims)
    answer = f"Of the {len(claims)} verdicts that we predicted, {fates} came true."
    both = pd.concat([values, table.assign(pair="")], ignore_index=True)
    notes = {"answer": answer, "law": law_in_words(cell_medians(drifts(table)))}
    return Finding(NAME, ACROSS.title, both, claims, (_picture(drifts(table)),), notes=notes)


def law_in_words(medians: Mapping[Cell, float]) -> str:
    """Return the law of all three as a formula, and how far it is from cells that it was not fitted on."""
    first, *weights = weights_of(medians, "law_all")
    terms = "".join(
        f" {'+' if weight >= 0 else MINUS} {abs(weight):.2g} {called}"
        for weight, called in zip(weights, ("p(1)", "mean number", "start"), strict=True)
    )
    off = [*distances(medians, "law_all").values()]
    return (
        f"d = {first:.2g}{terms}. From the median drift of a cell that it was not fitted on it is "
        f"a median of {np.median(off):.2f} away, at most {max(off):.2f}."
    ).replace("-", MINUS)


def _picture(found: Mapping[str, list[float]]) -> DataFigure:
    """Draw the drift of each network by what it reads, in a panel for each base rate, a line for each start."""
    medians = cell_medians(found)
    rows = [
        {"p": cell[0], "mean number": cell[1], "start": cell[2], "foretold": told, "drift": value}
        for cell, told in foretold(medians, "law_all").items()
        for value in found[crossed_recipe(*cell).name]
    ]
    data = pd.DataFrame(rows)
    spread = [f"{value:.2f} at {p:g}" for p, value in data.groupby("p")["drift"].median().items()]
    return common.picture(
        lambda: _draw(data),
        name=NAME,
        title="What a missing bit adds, by what was varied",
        alt=f"Three panels, {len(data)} dots, one a network. Median drift by the chance of a 1: {', '.join(spread)}.",
        caption="Dots are networks, lines join the medians of ten. Crosses: what a line through the other 26 medians "
        "gives, linear in base rate, mean number and start.",
        data=data,
    )


def _draw(data: pd.DataFrame) -> Figure:
    rates, starts = sorted(data["p"].unique()), sorted(data["start"].unique())
    figure, axes = new_figure(len(rates), height=3.0, sharey=True)
    for ax, rate in zip(axes.flat, rates, strict=True):
        for place, (start, shade) in enumerate(zip(starts, colours(len(starts), STEPS), strict=True)):
            own = data[(data["p"] == rate) & (data["start"] == start)].sort_values("mean number")
            middle, shift = own.groupby("mean number")[["drift", "foretold"]].median(), 0.06 * (place - 1)
            ax.plot(own["mean number"] + shift, own["drift"], "o", color=shade, markersize=2.5, alpha=0.6)
            ax.plot(
                middle.index + shift, middle["drift"], color=shade, linewidth=1.6, label=f"head starts at {start}"
            )
            ax.plot(middle.index + shift, middle["foretold"], "x", color="black", markersize=5)
        ax.set_title(f"p(1) = {rate:g}".replace("0.", "."), fontsize=SMALL)
        ax.set_xticks(sorted(data["mean number"].unique()))
    axes[0, 0].set_ylabel("added for a missing bit")
    figure.supxlabel("mean number read", fontsize=SMALL)
    figure_legend(figure, *axes[0, 0].get_legend_handles_labels(), most=3)
    return figure


MINUS = "\N{MINUS SIGN}"
ACROSS = common.Across(
    NAME,
    "What decides how much a missing bit adds?",
    "A 1 can be rare or frequent, bits can be read as larger or smaller numbers (a 0 as a, a 1 as a + 1), and before "
    "training the likeliest answer can be 0, 5 or 10. We trained ten networks on each of the 27 combinations.",
    rules.CROSSED,
)
