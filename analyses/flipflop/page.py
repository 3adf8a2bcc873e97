"""The flip-flop's page: its claims, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from analyses.flipflop import explored
from analyses.flipflop.pictures import CELL
from analyses.flipflop.rules import NETWORKS
from models.flipflop.stored import FIRST, SEEDS
from models.flipflop.training import RECIPES
from probe.evidence.measurements import only
from probe.report import Block, Code, Details, Link, Page, Section, Table, Text
from probe.studies.pages.sections import Asked, claims_table, provenance, section, tally

#: The picture that is shown with a link to a page, beside it.
PICTURE = "picture.png"
TITLE = "How do recurrent networks hold three bits?"
ABOUT = (
    f"We committed the rules before we trained these networks, with seeds from {SEEDS[0]} on. The controls are the "
    "same networks before their training, with a fitted head where we ask for answers. We test with rarer pulses "
    "than in training, so that the answer takes memory. The task is that of Sussillo & Barak 2013, the recipe "
    "follows Golub & Sussillo 2018."
)
HISTORY = (
    f"F1 to F5 were judged once before, on seeds {FIRST[0]} to {FIRST[-1]}. Those rules are in the same commit as "
    "what was measured, so nothing shows which came first. F2 and F5 named no control, and the search found points "
    "where no state can be. Later “not specific” was redefined: F4 of the tanh RNN had been not specific, and became "
    "undecided without a new measurement."
)
SEARCHED = (
    "Over all fixed points the signs of det(1 \N{MINUS SIGN} J) add to 1. That does not show that none is missing: a "
    "saddle and a node that are born together add to 0. Which points lie beside each other is not measured, and "
    "untrained networks are an easy control of F2 and F6."
)
REBUILD = """python -m analyses flipflop             # judges what was measured, and writes this page
python -m analyses flipflop --measure   # measures what is missing
python -m models.flipflop --out FOLDER  # trains the networks again"""
CLAIMS = (
    f"Medians over {NETWORKS} networks of each cell, and of F2 and F6 the share. We decide verdicts at a "
    "higher level than the interval's."
)


def build(findings: Mapping[str, Asked]) -> Page:
    """Return the page."""
    asked = findings["stable_answers"]
    holds = all(one.claims[0].verdict == "established" for one in asked.values())
    first = next(iter(asked.values()))
    lead = f"{first.claims[0].rule.on_page if holds else first.title}."
    sections = [
        *(section(question, one) for question, one in findings.items()),
        explored.section(),
        Section(
            "How complete is the search?",
            [Details("History, and what was counted", [Text(HISTORY), _search(asked)])],
            key="search",
        ),
        Section(
            "All claims",
            [Text([tally(findings)]), Details("Each claim, with its control", claims_table(findings, CLAIMS))],
            key="claims",
        ),
        Section(
            "The networks", [Details("Recipe, rules, and how to build this page again", _about())], key="networks"
        ),
    ]
    made = [(called, *part) for called, one in findings["step_answers"].items() for part in provenance(one).items()]
    foot = {f"{called}, {name}" if "SHA" in name else name: text for called, name, text in made}
    up = [Link("All pages", "../index.html")]
    return Page(TITLE, lead, sections, provenance=foot, folds_printed=False, up=up, picture=PICTURE)


def _search(asked: Asked) -> Table:
    """Return how many networks have every fixed point, as far as that can be told, of those judged now and first."""
    rows = []
    for called, finding in asked.items():
        for seeds, role in ((SEEDS, "trained"), (FIRST, "other")):
            own = finding.measurements[finding.measurements["role"] == role]
            whole, missed, cube = (only(own, metric=one)["value"] for one in ("incomplete", "points_missed", "cube"))
            counted = (int((whole == 0).sum()), int(missed.sum()), int(cube.sum()))
            rows.append((f"{called}, seeds {seeds[0]} to {seeds[-1]}", *counted))
    return Table(
        ["networks, ten each", "index sum 1", "points from twice the starts", "as many of each kind as a cube"],
        rows,
        SEARCHED,
    )


def _about() -> list[Block]:
    """Return what is said of the networks, and how to build the page again."""
    facts = [(name.replace("_", " "), value) for name, value in asdict(RECIPES[CELL]).items() if name != "cell"]
    caption = f"How we trained {NETWORKS} networks of each cell; none was replaced."
    return [Text(ABOUT), Table(["what", "value"], facts, caption), Code(REBUILD)]
