"""The flip-flop's page: a heading is what a rule says, where that is established in every cell, else the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import comb
from typing import Any

import pandas as pd

from analyses.flipflop.pictures import CELL
from analyses.flipflop.rules import LEAST, NETWORKS, RULES
from analyses.flipflop.study import BITS, CALLED, CELLS
from models.flipflop.training import RECIPES
from probe import Finding
from probe.errors import several
from probe.evidence.measurements import only
from probe.report import Block, Code, Details, Page, Section, Strong, Table, Text
from probe.studies.pages.sections import controls_in_words, figures, provenance, tally

TITLE = "How do recurrent networks hold three bits?"
#: How many corners, edges, faces and middles a cube has: for fixed points unstable in 0, 1, 2 and 3 directions.
CUBE = [comb(BITS, number) * 2 ** (BITS - number) for number in range(BITS + 1)]
#: By the key of its section, the question that it tells, and in which words.
TOLD = {
    "task": (
        "step_answers",
        "On each of three channels a pulse of 1 or \N{MINUS SIGN}1 comes now and then. After every step a network "
        "answers the sign of each channel's last pulse, so it must hold three bits.",
    ),
    "corners": (
        "stable_answers",
        "A fixed point is a state that stays as it is while no pulse comes: a stable one if the network comes back "
        "to it from nearby, a saddle if the state leaves it along some directions. The axes of the picture are the "
        "directions along which the states hold the bits, so that each combination is a corner of the cube.",
    ),
    "interchange": (
        "single_answers",
        "After a step of one sequence we put in another one's coordinate along one bit's direction, and read on. F4 "
        "divides what that adds by what the whole state adds; in a network that forgets both are small, and their "
        "ratio says little.",
    ),
}
ABOUT = (
    "We wrote the rules before we measured these networks, and judge them for each cell by itself. The controls are "
    "the same networks before their training, with a fitted head where we ask for answers. We ask with rarer pulses "
    "than those of the training, so that the answer needs the memory and not the last inputs. The task is that of "
    "Sussillo & Barak 2013, and the recipe follows the example of Golub & Sussillo 2018."
)
REBUILD = """python -m analyses flipflop             # judges what was measured, and writes this page
python -m analyses flipflop --measure   # measures what is missing
python -m models.flipflop --out FOLDER  # trains the networks again"""
Findings = Mapping[str, Finding]


def build(findings: Findings) -> Page:
    """Return the page.

    Args:
        findings: by cell and question, such as `gru-step_answers`.
    """
    lasting = figures(findings[f"{CELL}-single_answers"])[1]
    half = Text("An answer that has nothing to do with the bit would follow half of the time.")
    sections = [_section(key, findings) for key in TOLD]
    sections += [Section("How long a bit lasts that is put in", [half, lasting], key="after"), _about(findings)]
    every = [claim for finding in findings.values() for claim in finding.claims]
    foot = [(cell, *one) for cell in CELLS for one in provenance(findings[f"{cell}-step_answers"]).items()]
    return Page(
        TITLE,
        [Strong(f"{sections[1].title}."), " ", *tally(every)],
        sections,
        provenance={f"{CALLED[cell]}, {name}" if "SHA" in name else name: text for cell, name, text in foot},
    )


def _section(key: str, findings: Findings) -> Section:
    """Return the section of a question: what is done, its first figure, and what its rules come to in each cell."""
    question, words = TOLD[key]
    asked = [findings[f"{cell}-{question}"] for cell in CELLS]
    rows = [
        [
            *(f"{claim.rule.key}. {claim.rule.on_page} ({claim.rule.established_if})", CALLED[cell], claim.verdict),
            *(claim.value, f"{claim.holds_in} of {claim.n}", claim.interval, controls_in_words(claim)),
        ]
        for claims in zip(*(one.claims for one in asked), strict=True)
        for cell, claim in zip(CELLS, claims, strict=True)
    ]
    columns = ["claim (rule)", "cell", "verdict", "trained", "holds in", "95 % interval", "controls"]
    caption = (
        f"Medians over {NETWORKS} networks of each cell, and of F2 the share of them. We decide verdicts at a higher "
        "level than the interval's."
    )
    table = Table(columns, rows, caption, verdict="verdict", name=f"claims-{key}", digits=3)
    blocks: list[Block] = [Text(words), figures(findings[f"{CELL}-{question}"])[0], table]
    if key == "corners":
        blocks.append(_points({CALLED[cell]: one.measurements for cell, one in zip(CELLS, asked, strict=True)}))
    holds = all(one.claims[0].verdict == "established" for one in asked)
    return Section(asked[0].claims[0].rule.on_page if holds else asked[0].title, blocks, key=key)


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


def _about(findings: Findings) -> Section:
    """Return the section on the networks, how each claim is computed, and how to build the page again."""
    facts = [(name.replace("_", " "), value) for name, value in asdict(RECIPES[CELL]).items() if name != "cell"]
    every = [claim for finding in findings.values() for claim in finding.claims]
    rows = [
        [
            rule.key,
            rule.statement,
            rule.definition,
            rule.source,
            *(one.reason for one in every if one.rule.key == rule.key),
        ]
        for rule in RULES
    ]
    columns = ["claim", "statement", "definition", "source", *(f"why, {called}" for called in CALLED.values())]
    blocks: list[Block] = [
        Text(ABOUT),
        Table(["what", "value"], facts, f"How we trained {NETWORKS} networks of each cell; none was replaced."),
        Details("How each is computed, and why it has its verdict", [Table(columns, rows, "Definitions.")]),
        Code(REBUILD),
    ]
    return Section("The networks, and how to build this page again", blocks, key="networks")
