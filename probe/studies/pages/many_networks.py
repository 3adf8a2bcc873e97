"""Builds the page of a study of several networks from its findings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ...errors import several
from ...evidence.findings import Finding
from ...evidence.words import listed
from ...report import Block, Details, Page, Points, Section, Strong, Table, Text
from ...subjects.subject import Subject
from ..answer import MISSING, UNDECIDED
from ..identity import unchanged
from .sections import (
    SHOWN_ROWS,
    anchor,
    claims_brief,
    definitions,
    how,
    in_short,
    not_asked,
    provenance,
    section,
    tally,
)

MEANING = (
    "A verdict is about networks that are trained like these. A claim is established, or refuted, if the whole "
    "interval of the median over networks lies on one side of its bound. It is not specific if a control does as "
    "well. It is undecided if the bound lies in the interval, or if there are too few networks. The rules stand in "
    "the library, and no result changes them."
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
    trained = several(roles["trained"], "trained network")
    lead = [Strong(f"{several(len(asked), 'question')} to {trained}."), " ", *tally(claims)]
    points = [in_short(finding, f"#{anchor(finding.question)}") for finding in asked]
    sections = [
        *([Section("In short", [Points(points)], key="in-short")] if points else []),
        *map(_section, asked),
        *not_asked([finding for finding in findings.values() if finding.measurements.empty]),
        Section("What a verdict means", [Text(MEANING), *definitions(claims)], key="verdicts"),
        Section("The networks", [Text([_networks(roles), *_alike(subjects)]), _table(subjects)], key="networks"),
    ]
    title = given or f"What do {several(roles['trained'], 'network')} hold of {subjects[0].concept.name}?"
    return Page(title, lead, sections, provenance=provenance(next(iter(findings.values()))))


def _section(finding: Finding) -> Section:
    """Return a finding as a section: the claims that are decided, and folded the others and how it was measured."""
    decided = tuple(claim for claim in finding.claims if claim.verdict != UNDECIDED)
    others = [claim for claim in finding.claims if claim.verdict == UNDECIDED]
    whole = section(dataclasses.replace(finding, claims=decided))
    more: list[Block] = [Text(finding.notes[MISSING])] if MISSING in finding.notes else []
    more += [Details(several(len(others), "undecided claim"), [claims_brief(others)])] if others else []
    heading = whole.title if finding.claims else finding.title
    return dataclasses.replace(whole, title=heading, blocks=[*whole.blocks, *more, *how(finding)])


def _networks(roles: Mapping[str, int]) -> str:
    return (
        f"The study was given {listed([f'{count:,} {role}' for role, count in roles.items()])}. Beside each trained "
        "network we put a network of the same sizes with random weights. We also put a network there that was not "
        "trained, whose head alone is fitted to the right answers."
    )


def _alike(subjects: Sequence[Subject]) -> list[str]:
    """Return the sentences on what networks share that each should have for itself."""
    said, readout = [], subjects[0].readout
    if readout is not None and readout.output is None and not isinstance(readout.weight, str):
        said.append(
            "The study gives one head, and we put it on the states of every network that was given. If a network was "
            "trained with another head, the answers on this page are not its own. To read each network with its own "
            "head, name the weight in its file, or read the answer off the model's output."
        )
    same = unchanged(subjects)
    if same:
        said.append(f"Training changed nothing in {listed(same)}: the own initialisation has the same weights.")
    return said


def _table(subjects: Sequence[Subject]) -> Table:
    rows = [(one.network.name, one.network.role, one.network.pair, one.card.get("file", "")) for one in subjects]
    frame = pd.DataFrame(rows, columns=["network", "role", "pair", "file"])
    return Table.from_frame(frame, "The networks that were given.", name="networks", max_rows=SHOWN_ROWS)
