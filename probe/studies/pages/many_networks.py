"""Builds the page of a study of several networks from its findings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ...errors import several
from ...evidence.claims import Claim
from ...evidence.findings import Finding
from ...evidence.words import listed
from ...questions.states import linear_readout
from ...recurrent.inspection import described
from ...report import Block, Details, Link, Page, Pill, Pills, Section, Sentence, Table, Text, Verdict
from ...subjects.subject import Subject
from ..answer import MISSING, UNDECIDED, too_few, true_in
from ..prepare import OUTPUT
from . import one_network
from .sections import (
    SHOWN_ROWS,
    VERDICTS,
    anchor,
    claims_brief,
    controls_in_words,
    definitions,
    how,
    not_asked,
    provenance,
    section,
)

#: The questions whose first claim stands at the top of the page, after the first concepts that probes read.
#: Where none of them is asked, the first claims of the first questions stand there.
LEADING = ("linear-readout", "single-units", "answers", "interchange")
MOST_READ, MOST_NAMED = 4, 3

#: What a page says of the networks that a study itself puts beside each trained one.
BESIDE = {
    "random weights": "Beside each trained network we put one with random weights.",
    "fitted head": "Beside each we put one that was not trained, whose head alone is fitted to right answers.",
}
MEANING = (
    "A verdict is about networks that are trained like these. A claim is established, or refuted, if the whole "
    "interval of the median over networks lies on one side of its bound. It is not specific if a control does as "
    "well. It is undecided if the bound lies in the interval, or if there are too few networks. The rules stand in "
    "code, and no result changes them."
)
FEW = (
    "Nothing here is about the recipe that trained these networks: a verdict on it needs more of them, mostly ten. "
    "We count instead. A claim is true of a network if its number lies in the bound. It is true beyond the "
    "network's controls if the number also differs by the rule's margin from each of them that was measured. The "
    "rules stand in code, and no result changes them."
)


def build(subjects: Sequence[Subject], given: str, findings: Mapping[str, Finding]) -> Page:
    """Return the page.

    Args:
        subjects: the networks of the study.
        given: the title; empty for one that names the concept.
        findings: its findings by question.
    """
    roles = Counter(subject.network.role for subject in subjects)
    asked = [finding for finding in findings.values() if len(finding.measurements)]
    claims = [claim for finding in asked for claim in finding.claims]
    meaning = FEW if _all_few(claims) else MEANING
    sections = [
        *([Section("What we ask, and what was found", [_claims(asked)], key="claims")] if claims else []),
        *map(_section, asked),
        Section("Run one of them yourself", one_network.live(subjects[0], subjects[1:]), key="explore"),
        *not_asked([finding for finding in findings.values() if finding.measurements.empty]),
        Section("What a verdict means", [Text(meaning), *definitions(claims)], key="verdicts"),
        Section(
            "The networks", [Text([_networks(roles, asked), *_alike(subjects)]), _table(subjects)], key="networks"
        ),
    ]
    hero = [_card(subjects, roles), *([_pills(claims)] if claims and not _all_few(claims) else [])]
    names = list(subjects[0].concepts)
    held = listed(names) if len(names) <= MOST_NAMED else several(len(names), "concept")
    title = given or f"What do {several(roles['trained'], 'network')} hold of {held}?"
    readings = list(linear_readout.names(subjects[0]).values())[:MOST_READ]
    lead = _lead(asked, roles, (*readings, *LEADING))
    return Page(title, lead, sections, hero=hero, provenance=provenance(next(iter(findings.values()))))


def _all_few(claims: Sequence[Claim]) -> bool:
    """Return whether every claim has fewer networks than a verdict needs."""
    return all(too_few(claim) for claim in claims if not claim.rule.check)


def _card(subjects: Sequence[Subject], roles: Mapping[str, int]) -> Table:
    """Return one row on the networks: how many of which kind, and what they read."""
    first = subjects[0]
    cells = sorted({described(layer).cell for layer in first.layers})
    values = {
        "trained networks": roles["trained"],
        "own initialisations": roles["own initialisation"],
        "cell": listed(cells),
        "units": listed([str(layer.units) for layer in first.layers]),
        "sequences": len(first.x),
    }
    return Table(list(values), [list(values.values())], "The networks, and what they read.")


def _pills(claims: Sequence[Claim]) -> Pills:
    verdicts = [claim.verdict for claim in claims if not claim.rule.check]
    return Pills(
        [Pill(str(verdicts.count(one)), Verdict(one), "#claims") for one in VERDICTS], several(len(verdicts), "claim")
    )


def _lead(asked: Sequence[Finding], roles: Mapping[str, int], leading: Sequence[str]) -> Sentence:
    """Return what the first questions about reading and use found, each claim with its number and its controls."""
    trained = several(roles["trained"], "trained network")
    pieces: list[str | Verdict] = [f"{several(len(asked), 'question')} to {trained}; numbers are medians. "]
    by_name = {finding.question: finding for finding in asked if finding.claims}
    for name in [one for one in leading if one in by_name] or list(by_name)[:MOST_READ]:
        for claim in by_name[name].claims[:1]:
            beside = controls_in_words(claim)
            number = f"{claim.value:.2g}{f' ({beside})' if beside else ''}"
            statement = claim.rule.statement.rstrip(".")
            if too_few(claim):
                pieces.append(f"{statement}: {true_in(by_name[name].measurements, claim)}, median {number}. ")
            else:
                pieces += [f"{statement}: {number} ", Verdict(claim.verdict), ". "]
    return pieces


def _claims(asked: Sequence[Finding]) -> Table:
    """Return every claim as a row, linked to the section that tells it."""
    rows = []
    for finding in asked:
        for claim in finding.claims:
            controls = {gap.role: gap.control for gap in claim.differences}
            statement = Link(claim.rule.statement.rstrip("."), f"#{anchor(finding.question)}")
            best = "; ".join(f"{value:.3g} {role}" for role, value in controls.items())
            row = [statement, f"{claim.rule.established_if}", claim.value, best]
            rows.append([*row, true_in(finding.measurements, claim), "" if too_few(claim) else claim.verdict])
    few = not any(row[-1] for row in rows)
    return Table(
        ["claim", "bound", "trained", "controls", "true", *([] if few else ["verdict"])],
        [row[:-1] for row in rows] if few else rows,
        "Every claim; medians over networks, and in how many of them it is true. The sections have the pictures.",
        verdict=None if few else "verdict",
        name="claims",
        digits=3,
        max_rows=len(rows),
        sortable=True,
    )


def _section(finding: Finding) -> Section:
    """Return a finding as a section: the claims that are decided, and folded the others and how it was measured."""
    decided = tuple(claim for claim in finding.claims if claim.verdict != UNDECIDED)
    few = [claim for claim in finding.claims if too_few(claim)]
    others = [claim for claim in finding.claims if claim.verdict == UNDECIDED and claim not in few]
    whole = section(dataclasses.replace(finding, claims=decided))
    more: list[Block] = [_counted(finding, few)] if few else []
    more += [Text(finding.notes[MISSING])] if MISSING in finding.notes else []
    more += [Details(several(len(others), "undecided claim"), [claims_brief(others)])] if others else []
    heading = whole.title if finding.claims else finding.title
    return dataclasses.replace(whole, title=heading, blocks=[*whole.blocks, *more, *how(finding)])


def _counted(finding: Finding, claims: Sequence[Claim]) -> Table:
    """Return claims that have too few networks for a verdict: in how many of them each is true."""
    rows = [
        [
            f"{claim.rule.statement.rstrip('.')} ({claim.rule.established_if})",
            true_in(finding.measurements, claim),
            claim.value,
            controls_in_words(claim),
        ]
        for claim in claims
    ]
    caption = "In how many networks each claim is true; the other numbers are medians."
    return Table(["claim (bound)", "true", "trained", "controls"], rows, caption, digits=3)


def _networks(roles: Mapping[str, int], asked: Sequence[Finding]) -> str:
    """Return which networks were given, and which of those that a study puts beside them were measured."""
    given = listed([f"{count:,} {role}" for role, count in roles.items()])
    measured = {role for finding in asked for role in finding.measurements["role"]} - set(roles)
    return f"The study was given {several(sum(roles.values()), 'network')}: {given}." + "".join(
        f" {said}" for role, said in BESIDE.items() if role in measured
    )


def _alike(subjects: Sequence[Subject]) -> list[str]:
    """Return the sentences on what networks share that each should have for itself."""
    said, readout = [], subjects[0].readout
    output = subjects[0].card.get(OUTPUT)
    if output is not None:
        said.append(f"The output of {subjects[0].network.name} is {output}")
    elif readout is not None and readout.output is None and not isinstance(readout.weight, str):
        said.append(
            "The study gives one head, and we put it on the states of every network that was given. If a network was "
            "trained with another head, the answers on this page are not its own. To read each network with its own "
            "head, name the weight in its file, or read the answer off the model's output."
        )
    return said


def _table(subjects: Sequence[Subject]) -> Table:
    rows = [(one.network.name, one.network.role, one.network.pair, one.card.get("file", "")) for one in subjects]
    frame = pd.DataFrame(rows, columns=["network", "role", "pair", "file"])
    return Table.from_frame(frame, "The networks that were given.", name="networks", max_rows=SHOWN_ROWS)
