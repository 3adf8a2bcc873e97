"""The page of the flip-flop's study, built from its tables: what every section says is computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from pathlib import Path

import pandas as pd

import probe
from analyses.counter.common import limit_threads
from analyses.flipflop import measuring, pictures, verdicts
from analyses.flipflop.pictures import CALLED, CELLS
from analyses.flipflop.rules import BOUND, LEAST, NETWORKS
from analyses.flipflop.shown import PUSH, Shown, shown
from analyses.flipflop.subjects import LENGTH, PROBABILITY, SEQUENCES
from models.flipflop.task import BITS
from models.flipflop.training import RECIPES
from probe.errors import several
from probe.evidence.findings import DataFigure, Finding
from probe.evidence.measurements import only
from probe.evidence.words import listed, said
from probe.report import Block, Code, Page, Section, Strong, Table, Text, Verdict
from probe.studies.pages.sections import figures, tally

FIRST = "index.html"
TITLE = "How do recurrent networks hold three bits?"
#: How many corners, edges, faces and middles a cube has: for fixed points unstable in 0, 1, 2 and 3 directions.
CUBE = tuple(comb(BITS, number) * 2 ** (BITS - number) for number in range(BITS + 1))
PARTS = ("corners", "edges", "faces", "middle")
Tables = Mapping[str, pd.DataFrame]


def build(tables: Tables, one: Shown) -> Page:
    """Return the page.

    Args:
        tables: the measurements by cell.
        one: the network whose states are drawn.
    """
    claims = {cell: measuring.claims(table) for cell, table in tables.items()}
    every = [claim for cell in CELLS for claim in claims[cell]]
    cornered, networks = _count(tables, "one_stable_each", 1.0), _networks(tables)
    held = f"In {cornered} of {networks} networks, eight stable fixed points hold the three bits"
    lead: list[str | Strong | Verdict] = [
        Strong(f"{held}, one for each combination."),
        " Between them lie saddles, points that the state leaves along some directions and comes back to along "
        f"others. In {_cubes(tables)} networks these are as many as the edges, faces and middle of a cube. ",
        *tally(every),
    ]
    sections = [
        _task(tables, one),
        _corners(tables),
        _saddles(tables, one),
        _interchange(tables, one),
        verdicts.section(tables, claims),
        _about(),
    ]
    return Page(TITLE, lead, sections, provenance=_provenance())


def write(folder: Path, *, jobs: int = 1) -> Path:
    """Build the page from the tables, measure what is missing or of other weights, and return the page's path.

    Args:
        folder: where the page goes, as index.html.
        jobs: how many cells are measured at a time.

    Raises:
        probe.ProbeError: a network is missing or damaged, or the page cannot be written.
    """
    limit_threads()
    return build(measuring.tables(jobs), shown()).write(folder / FIRST)


def _count(tables: Tables, metric: str, value: float) -> int:
    return sum(int((measuring.values(table, metric) == value).sum()) for table in tables.values())


def _networks(tables: Tables) -> int:
    return sum(len(measuring.values(table, "one_stable_each")) for table in tables.values())


def _task(tables: Tables, one: Shown) -> Section:
    right, networks = _count(tables, "worst_step_error", 0.0), _networks(tables)
    answers = int(only(tables[CELLS[0]], metric="step_error", role="trained")["n"].iloc[0]) * BITS
    wrong = [
        f"{said(measuring.values(tables[cell], 'worst_step_error', 'fitted head').median())} ({CALLED[cell]})"
        for cell in CELLS
    ]
    return Section(
        f"{right} of {networks} networks answer all three bits right after every step",
        [
            Text(
                "A network reads three channels. On each a pulse of 1 or \N{MINUS SIGN}1 comes now and then. After "
                "every step the network answers three numbers: for each channel, the sign of its last pulse. So it "
                "must hold three bits."
            ),
            *_drawn(pictures.task(one)),
            Text(
                f"We asked each network for {answers:,} answers on sequences that no training saw. As a control we "
                "take the network before its training, and fit its head alone. Such a network has a worst bit, which "
                f"it answers wrong most often. The share of wrong answers to that bit is {listed(wrong)} (medians)."
            ),
        ],
        key="task",
    )


def _corners(tables: Tables) -> Section:
    rows = []
    for cell in CELLS:
        stable = measuring.values(tables[cell], "stable_points")
        before = measuring.values(tables[cell], "stable_points", "own initialisation")
        each = int((measuring.values(tables[cell], "one_stable_each") == 1).sum())
        rows.append([CALLED[cell], len(stable), each, LEAST, _range(stable), _range(before)])
    columns = ["cell", "networks", "with one in each corner", "bar", "stable points", "before training"]
    caption = (
        "The third column counts the networks in which each combination of bits has exactly one stable fixed point, "
        "and there is no other. The bar is how many of them we asked for before we measured. Of the stable points we "
        "show the range over networks."
    )
    cornered, networks = _count(tables, "one_stable_each", 1.0), _networks(tables)
    return Section(
        f"Each combination of bits is a point of rest, in {cornered} of {networks} networks",
        [
            Text(
                "A fixed point is a state that stays as it is while no pulse comes. It is stable if the network "
                "comes back to it from nearby. For each bit we find the direction along which the states hold it. "
                "These three directions are the axes of the picture below."
            ),
            Table(columns, rows, caption, name="corners"),
        ],
        key="corners",
    )


def unstable(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many fixed points of each trained network are unstable in 0, 1, 2, 3 directions, 0 where none is.

    Args:
        table: the measurements of one cell.
    """
    rows = table[(table["metric"] == "points_unstable_in") & (table["role"] == "trained")]
    wide = rows.pivot(index="network", columns="at", values="value")
    wide.columns = pd.Index([int(number) for number in wide.columns])
    return wide.reindex(columns=pd.Index(range(len(CUBE)))).fillna(0).astype(int)


def _cubes(tables: Tables) -> int:
    return sum(int((unstable(table) == list(CUBE)).all(axis=1).sum()) for table in tables.values())


def _saddles(tables: Tables, one: Shown) -> Section:
    rows = [
        [CALLED[cell], *(_spread(unstable(tables[cell])[number]) for number in range(len(CUBE)))] for cell in CELLS
    ]
    rows.append(["a cube has", *(f"{count} {part}" for count, part in zip(CUBE, PARTS, strict=True))])
    columns = ["cell", "stable", *(several(number, "unstable direction") for number in range(1, len(CUBE)))]
    exact = [f"{(unstable(tables[cell]) == list(CUBE)).all(axis=1).sum()} ({CALLED[cell]})" for cell in CELLS]
    slow = {cell: int((measuring.values(tables[cell], "slow_points") > 0).sum()) for cell in CELLS}
    others = [f"{count} {CALLED[cell]}" for cell, count in slow.items() if count]
    caption = (
        "How many fixed points a network has, by the number of directions in which they are unstable. We show the "
        f"median over {NETWORKS} networks of each cell, and the range."
    )
    blocks: list[Block] = [
        Text(
            "Between the stable points lie saddles: fixed points that the state leaves along some directions and "
            "comes back to along the others. In the picture a saddle with one unstable direction stands on an edge "
            f"of the cube. Here {pictures.single_bits(one)} of {len(one.flows)} such saddles lead to two corners "
            "that differ in one bit: they stand where the network decides between the two values of a bit."
        ),
        *_drawn(pictures.flows(one)),
        Table(columns, rows, caption, name="saddles"),
        Text(
            f"The counts are exactly those of a cube in {listed(exact)} of {NETWORKS} networks each."
            + (
                f" The search also ended at points that only move slowly, in {listed(others)} networks."
                * bool(others)
            )
            + " The search finds only points that its starts lead to. So a network may have points that we missed."
        ),
    ]
    heading = f"In {_cubes(tables)} of {_networks(tables)} networks the saddles are exactly those of a cube"
    return Section(heading, blocks, key="saddles")


def _spread(counts: pd.Series) -> str:
    """Return the median, and the range where there is one."""
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{counts.median():g} ({low} to {high})"


def _interchange(tables: Tables, one: Shown) -> Section:
    trained = pd.concat([measuring.values(tables[cell], "worst_followed") for cell in CELLS])
    fitted = pd.concat([measuring.values(tables[cell], "worst_followed", "fitted head") for cell in CELLS])
    kept = pd.concat([measuring.values(tables[cell], "worst_kept") for cell in CELLS])
    return Section(
        f"One direction carries one bit, in {int((trained >= BOUND).sum())} of {len(trained)} networks",
        [
            Text(
                "We take two sequences, the base and the source. After a step we put the source's coordinate along "
                "one bit's direction into the base's state, and the base runs on. The answer to that bit is then the "
                "source's, until the bit's next pulse. The other answers stay."
            ),
            *_drawn(pictures.interchange(one)),
            Text(
                "We count over many pairs of sequences, none of which we used to find the directions. In each "
                f"trained network at least {_share(trained.min())} of the answers to a bit follow, and "
                f"{_share(kept.min())} of the others stay. With a fitted head at most {fitted.max():.3f} follow."
            ),
            Text(_fading(tables)),
            *_drawn(pictures.after(tables)),
        ],
        key="interchange",
    )


def _fading(tables: Tables) -> str:
    """Return how long the bit lasts in the networks with a fitted head, beside the trained ones."""
    means = pictures.following(tables)
    fitted, trained = (
        means[means["role"] == role].groupby("at")["value"].median() for role in ("fitted head", "trained")
    )
    return (
        f"With a fitted head {said(fitted.iloc[0])} of the answers follow one step later, and "
        f"{said(fitted.iloc[-1])} after {fitted.index[-1]:.0f} steps (medians over all of these networks). An answer "
        "that has nothing to do with the bit would follow half of the time. In trained networks "
        f"{said(trained.iloc[-1])} still follow then."
    )


def _about() -> Section:
    recipe = RECIPES[CELLS[0]]
    cells = listed([CALLED[cell] for cell in CELLS])
    facts = [
        ("cells", cells),
        ("networks", f"{NETWORKS} of each cell; none was replaced"),
        ("units", f"{recipe.units} in one layer, with a linear head of {BITS} numbers"),
        ("training", f"{recipe.steps:,} steps of {recipe.batch_size} sequences of {recipe.length} steps"),
        ("a pulse comes in training", f"with a chance of {recipe.probability:g} for each channel and step"),
        ("and where we ask", f"with a chance of {PROBABILITY:g}, in {SEQUENCES} sequences of {LENGTH} steps"),
        ("search for fixed points", f"from {measuring.STARTS} visited states, and from as many moved by noise"),
        ("interchanges", f"after {listed([str(step + 1) for step in measuring.STEPS])} steps read"),
        ("a push off a saddle", f"has the length {PUSH:g}"),
    ]
    text = [
        f"In training a channel pulses every {1 / recipe.probability:g} steps on average. We ask with rarer pulses, "
        "so that the answer needs the memory and not the last inputs.",
        "A control is the same network before its training. It has its own random head where we look for fixed "
        "points, and a fitted head where we ask for answers. The task is that of Sussillo & Barak 2013, and the "
        "recipe follows the example of Golub & Sussillo 2018.",
    ]
    rebuild = Code(
        "python -m analyses flipflop   # measures what is missing, and writes this page\n"
        "rnn-probe report analyses/flipflop -o FOLDER   # the same, in FOLDER\n"
        "python -m models.flipflop --out FOLDER   # trains the networks again"
    )
    return Section(
        f"{NETWORKS} networks of each of three cells, and how to build this page again",
        [Text(text), Table(["what", "value"], facts, "The study in short."), rebuild],
        key="networks",
    )


def _drawn(figure: DataFigure) -> list[Block]:
    """Return a figure as blocks, the numbers behind it folded below it."""
    return figures(Finding(figure.name, figure.title, figure.data, figures=(figure,)))


def _share(value: float) -> str:
    return "all" if value == 1 else f"{value:.3f}"


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _provenance() -> dict[str, str]:
    lines = {"rnn-probe": probe.__version__}
    for cell in CELLS:
        about = measuring.about(cell)
        lines[f"weights of {cell} (SHA-256)"] = str(about["weights"])
        lines[f"measurements of {cell} (SHA-256)"] = str(about["table"])
    return lines | {name: text for name, text in measuring.about(CELLS[0])["environment"].items() if name != "commit"}
