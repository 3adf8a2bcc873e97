"""`python -m reports.build_counter --findings DIR --out DIR`: builds the counter's pages."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cyclopts

from probe import Finding, ProbeError
from probe.report import Card, Details, Link, Page, Section, Table, Text
from probe.studies.pages.sections import SHOWN_ROWS, section

from . import explored, first_page, story
from .named_claims import named_claims

#: The first page, whose title is a finding.
FIRST = "index.html"
#: The questions of each other page, in the order of the story, and in which it tells them.
PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "units.html": (
        "Is the count in one cell?",
        ("one_cell", "moving_zero", "single_units", "over_training", "unit_ablation", "unit_shares", "relay"),
    ),
    "lengths.html": (
        "What does it count?",
        ("accuracy", "other_lengths", "programs", "reduced_models", "offset_law", "training_signal"),
    ),
    "interventions.html": (
        "What does the answer follow?",
        ("directions", "alignment", "class_means", "steering", "erasure", "estimators"),
    ),
    "mechanism.html": (
        "How does a bit come in?",
        ("gate_activity", "gate_shares", "routes", "bit_effects", "quantised_states", "dynamics"),
    ),
    "how.html": (
        "How do we know?",
        ("verdicts", "linear_readout", "noise_margin"),
    ),
}
#: How many rows of the table behind a figure are shown, where it is the result itself.
WHOLE = {"verdicts": 50, "training_signal": 40}
#: What a reader finds on each page.
INSIDE = {
    "units.html": "Every test of a single cell, and how cells share a count.",
    "lengths.html": "How often it errs, what it answers to other lengths, and which programs answer alike.",
    "interventions.html": "Patching, steering and erasing states and directions.",
    "mechanism.html": "Gates over time, how a bit gets in, and the state space.",
    "how.html": "Every claim against its best control, probes, noise, and the first judgement.",
}
QUESTIONS = tuple(question for _, questions in PAGES.values() for question in questions)
#: The figures of the first page, which are a finding of their own.
PICTURES = "pictures"
#: The claims that were judged once and are no longer asked.
FROZEN = "frozen.json"
#: A figure of more bytes is too fine to be seen as a thumbnail.
THUMBNAIL = 12_000


def build(findings: Path) -> dict[str, Page]:
    """Return the pages of the findings in a folder, by file name.

    Raises:
        ProbeError: a finding is missing or damaged, or they were made by different code.
    """
    read = {name: Finding.read(findings / name) for name in QUESTIONS}
    frozen = json.loads((findings / FROZEN).read_text(encoding="utf-8"))
    read[PICTURES] = Finding.read(findings / PICTURES)
    provenance = story.versions(list(read.values()))
    explorer, sentences = explored.read(findings / "explorer")
    claims = list(story.claims_of(list(read.values())).values())
    cards = [_card(name, *page, read) for name, page in PAGES.items()]
    first = Page(
        first_page.title(read),
        first_page.lead(read),
        first_page.sections(read, explorer, sentences, cards, named_claims(claims)),
        provenance=provenance,
        hero=first_page.hero(read),
        folds_printed=False,
    )
    built = {FIRST: first}
    names = list(PAGES)
    for place, (name, (title, questions)) in enumerate(PAGES.items()):
        before = Link("Before: the story", FIRST)
        if place:
            before = Link(f"Before: {PAGES[names[place - 1]][0]}", names[place - 1])
        after = [Link(f"Next: {PAGES[other][0]}", other) for other in names[place + 1 : place + 2]]
        built[name] = Page(
            title,
            story.lead_of([read[one] for one in questions], claims if name == "how.html" else None),
            _sections(name, questions, read, frozen),
            provenance=provenance,
            neighbours=[before, *after],
        )
    return built


def _card(name: str, title: str, questions: Sequence[str], read: dict[str, Finding]) -> Card:
    """Return the link to a page, with the smallest of its figures."""
    figures = [figure for question in questions for figure in read[question].figures]
    smallest = min((figure.svg for figure in figures), key=len)
    return Card(title, name, INSIDE[name], smallest if len(smallest) <= THUMBNAIL else "")


def _sections(
    name: str, questions: Sequence[str], read: dict[str, Finding], frozen: Sequence[Mapping[str, Any]]
) -> list[Section]:
    answers = [_answered(read[one]) for one in questions]
    if name == "how.html":
        return [*answers, _claims(read), _frozen(frozen)]
    if name == "lengths.html":
        networks = Details(
            "Every network, with the strings that it misreads", [story.networks_table(read["accuracy"])]
        )
        set_up = Section(
            "What we trained, and what we compare it with", [Text(story.about(read)), networks], key="set-up"
        )
        return [set_up, *answers]
    return answers


def _answered(finding: Finding) -> Section:
    """Return a finding as a section, which says below its answer whose numbers it has."""
    told = section(finding, shown_rows=WHOLE.get(finding.question, SHOWN_ROWS), brief=story.claims_brief)
    whose = story.whose(finding)
    return replace(told, blocks=[*told.blocks[:1], *[Text(whose)] * bool(whose), *told.blocks[1:]])


def _level(number: int) -> str:
    """Return at which level so many verdicts are decided together."""
    return (
        f"We decide each verdict at a level of {1 - 0.05 / number:.2%}. For {number} verdicts, this keeps the risk "
        "that any of them is wrong at one in twenty."
    )


def _claims(read: dict[str, Finding]) -> Section:
    """Return all claims, and how each is computed."""
    claims = list(story.claims_of(list(read.values())).values())
    caption = (
        "Values are medians over networks, with intervals by order statistics. We committed these rules before we "
        f"trained the networks that they are judged on ({story.population(list(read.values()))}). A key that begins "
        "with II. names a rule that was judged once before, on other networks and against weaker controls. "
        f"{_level(story.FAMILY)} The two claims about recipes (23a, 23b) are of that first judgement, of "
        f"{story.RECIPES_FAMILY} verdicts."
    )
    first = read["accuracy"].provenance["rules_first_used"]
    table = story.claims_table(claims, first, caption, name="claims")
    how = Details("How each is computed", [story.definitions_table(claims, first)])
    return Section("All claims", [table, how], key="claims")


def _frozen(frozen: Sequence[Mapping[str, Any]]) -> Section:
    """Return what was judged before, or predicted and compared, and is asked no more."""
    ended = Table(
        ["claim", "statement", "value", "verdict", "rule", "commit"],
        [[each[name] for name in ("key", "statement", "value", "verdict", "rule", "commit")] for each in frozen],
        "What was judged, or predicted and compared, and is asked no more. The commit is the last that measured it.",
        name="no-longer-asked",
        digits=3,
        max_rows=len(frozen),
    )
    said = (
        "We judged most of these rules once before, on other networks (seeds 1000 to 1099) and against weaker "
        "controls. Some other claims and predictions we no longer ask about."
    )
    return Section("What we judged before", [Text(said), Details("The first judgement", [ended])], key="first-claims")


def write(findings: Path, out: Path) -> list[Path]:
    """Write the counter's pages, and return their paths.

    Args:
        findings: folder with a finding for each question, as `python -m analyses counter` writes it.
        out: folder that gets the pages.

    Raises:
        ProbeError: as of `build`, or a page cannot be written.
    """
    return [page.write(out / name) for name, page in build(findings).items()]


def run(arguments: list[str] | None = None) -> int:
    """Build the page from the command line and return the exit code."""
    app = cyclopts.App(name="python -m reports.build_counter", help_format="plaintext", version_flags=[])

    @app.default
    def command(*, findings: Path = Path("build/findings/counter"), out: Path = Path("build/reports/counter")) -> int:
        """Build the counter's pages.

        Args:
            findings: folder with a finding for each question, as `python -m analyses counter` writes it.
            out: folder that gets index.html and the pages beside it.
        """
        try:
            paths = write(findings, out)
        except ProbeError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        for path in reversed(paths):
            sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
        return 0

    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return 2


if __name__ == "__main__":
    sys.exit(run())
