"""The flip-flop's page: its claims cell by cell, and how many fixed points the networks have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import comb
from typing import Any

import pandas as pd

from analyses.flipflop.pictures import CELL
from analyses.flipflop.rules import LEAST, NETWORKS
from analyses.flipflop.study import BITS
from models.flipflop.training import RECIPES
from probe.errors import several
from probe.evidence.measurements import only
from probe.report import Block, Code, Page, Section, Strong, Table, Text
from probe.studies.pages.sections import INDEX, Asked, Contents, claims_table, provenance, tally
from probe.studies.pages.sections import build as build_pages

TITLE = "How do recurrent networks hold three bits?"
#: How many corners, edges, faces and middles a cube has: for fixed points unstable in 0, 1, 2 and 3 directions.
CUBE = [comb(BITS, number) * 2 ** (BITS - number) for number in range(BITS + 1)]
ABOUT = (
    "We wrote the rules before we measured these networks, and judge them for each cell by itself. The controls are "
    "the same networks before their training, with a fitted head where we ask for answers. We ask with rarer pulses "
    "than those of the training, so that the answer needs the memory and not the last inputs. The task is that of "
    "Sussillo & Barak 2013, and the recipe follows the example of Golub & Sussillo 2018."
)
REBUILD = """python -m analyses flipflop             # judges what was measured, and writes this page
python -m analyses flipflop --measure   # measures what is missing
python -m models.flipflop --out FOLDER  # trains the networks again"""
CLAIMS = (
    f"Medians over {NETWORKS} networks of each cell, and of F2 the share of them. We decide verdicts at a "
    "higher level than the interval's."
)


def build(findings: Mapping[str, Asked]) -> Page:
    """Return the page.

    Args:
        findings: by question, of each cell.
    """
    asked = findings["stable_answers"]
    holds = all(one.claims[0].verdict == "established" for one in asked.values())
    first = next(iter(asked.values()))
    lead = [Strong(f"{first.claims[0].rule.on_page if holds else first.title}."), " ", *tally(findings)]
    points = _points({called: finding.measurements for called, finding in asked.items()})
    after = [
        Section("How many fixed points there are", [points], key="points"),
        Section("All claims", claims_table(findings, CLAIMS), key="claims"),
        Section("The networks, and how to build this page again", _about(), key="networks"),
    ]
    made = [(called, *part) for called, one in findings["step_answers"].items() for part in provenance(one).items()]
    foot = {f"{called}, {name}" if "SHA" in name else name: text for called, name, text in made}
    return build_pages({INDEX: Contents(TITLE, "", list(findings), lead, after=after)}, findings, foot)[INDEX]


def unstable(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many fixed points of each trained network are unstable in 0, 1, 2, 3 directions, 0 where none is.

    Args:
        table: the measurements of one cell.
    """
    rows = only(table, metric="points_unstable_in", role="trained")
    wide = rows.pivot(index="network", columns="at", values="value")
    return wide.reindex(columns=pd.Index(range(len(CUBE)), dtype=float)).fillna(0).astype(int)


def _points(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return how many fixed points networks have, by the number of directions in which they are unstable."""
    rows: list[list[Any]] = []
    for cell, table in tables.items():
        counts, trained = unstable(table), only(table, role="trained").set_index("network")
        before = only(table, metric="stable_points", role="own initialisation")["value"]
        found, slow = (only(trained, metric=metric)["value"] for metric in ("fixed_points", "slow_points"))
        columns = [before, *(counts[number] for number in counts), found - counts.sum(axis=1), slow]
        rows.append([cell, *map(_spread, columns), f"{(counts == CUBE).all(axis=1).sum()} of {len(counts)}"])
    parts = zip(CUBE, ("corners", "edges", "faces", "middle"), strict=True)
    rows.append(["a cube has", None, *(f"{count} {part}" for count, part in parts), None, None, None])
    names = ["stable", *(several(number, "unstable direction") for number in range(1, len(CUBE)))]
    return Table(
        ["cell", "stable before training", *names, "neutral", "slow points", "exactly a cube"],
        rows,
        "Fixed points by the number of directions in which they are unstable: median over networks, and range. At a "
        "neutral one a small push neither grows nor fades. Our search may miss points. Before measuring we asked for "
        f"one stable point a corner in {LEAST} of {NETWORKS} networks.",
        name="points",
    )


def _spread(counts: pd.Series) -> str:
    """Return the median, and the range where there is one."""
    low, high = counts.min(), counts.max()
    return f"{low:g}" if low == high else f"{counts.median():g} ({low:g} to {high:g})"


def _about() -> list[Block]:
    """Return what is said of the networks, and how to build the page again."""
    facts = [(name.replace("_", " "), value) for name, value in asdict(RECIPES[CELL]).items() if name != "cell"]
    caption = f"How we trained {NETWORKS} networks of each cell; none was replaced."
    return [Text(ABOUT), Table(["what", "value"], facts, caption), Code(REBUILD)]
