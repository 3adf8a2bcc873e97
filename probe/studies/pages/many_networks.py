"""Builds the page of a study of several networks from its findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ...errors import several
from ...evidence.findings import Finding
from ...evidence.words import listed
from ...questions.states import linear_readout
from ...recurrent.inspection import described
from ...report import Page, Pill, Pills, Section, Sentence, Table, Text, Verdict
from ...subjects.subject import Subject
from ..prepare import OUTPUT
from . import one_network
from .sections import (
    INDEX,
    SHOWN_ROWS,
    VERDICTS,
    Asked,
    Contents,
    claims_of,
    claims_table,
    not_asked,
    provenance,
    told,
    verdicts,
)
from .sections import build as build_pages

#: The questions whose first claim stands at the top of the page, after the first concepts that probes read.
#: Where none of them is asked, the first claims of the first questions stand there.
LEADING = ("linear-readout", "single-units", "answers", "interchange")
MOST_READ, MOST_NAMED = 4, 3

#: What a page says of the networks that a study itself puts beside each trained one.
BESIDE = {
    "random weights": "Beside each trained network we put one with random weights.",
    "fitted head": "Beside each we put one that was not trained, whose head alone is fitted to right answers.",
}
CLAIMS = "Every claim; numbers are medians over networks, or shares of them. The sections above have the pictures."


def build(subjects: Sequence[Subject], given: str, findings: Mapping[str, Finding]) -> Page:
    """Return the page.

    Args:
        subjects: the networks of the study.
        given: the title; empty for one that names the concept.
        findings: its findings by question.
    """
    roles = Counter(subject.network.role for subject in subjects)
    asked = {name: {"": finding} for name, finding in findings.items() if len(finding.measurements)}
    names = list(subjects[0].concepts)
    held = listed(names) if len(names) <= MOST_NAMED else several(len(names), "concept")
    readings = list(linear_readout.names(subjects[0]).values())[:MOST_READ]
    decided = verdicts(asked)
    networks = [Text([_networks(roles, asked), *_alike(subjects)]), _table(subjects)]
    contents = Contents(
        given or f"What do {several(roles['trained'], 'network')} hold of {held}?",
        "",
        list(asked),
        lead=_lead(asked, roles, (*readings, *LEADING)),
        after=[
            Section("Run one of them yourself", one_network.live(subjects[0], subjects[1:]), key="explore"),
            *not_asked([finding for finding in findings.values() if finding.measurements.empty]),
            *([Section("Every claim", claims_table(asked, CLAIMS), key="claims")] if [*claims_of(asked)] else []),
            Section("The networks", networks, key="networks"),
        ],
        hero=[_card(subjects, roles), *([_pills(decided)] if decided else [])],
    )
    return build_pages({INDEX: contents}, asked, provenance(next(iter(findings.values()))))[INDEX]


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


def _pills(decided: Sequence[str]) -> Pills:
    return Pills(
        [Pill(str(decided.count(one)), Verdict(one), "#claims") for one in VERDICTS], several(len(decided), "claim")
    )


def _lead(asked: Mapping[str, Asked], roles: Mapping[str, int], leading: Sequence[str]) -> Sentence:
    """Return what the first questions about reading and use found, each claim with its number and its controls."""
    trained = several(roles["trained"], "trained network")
    pieces: list[str | Verdict] = [
        f"{several(len(asked), 'question')} to {trained}; numbers are medians, or shares. "
    ]
    lines = {name: lines for name, one in asked.items() if (lines := told(one))}
    for name in [one for one in leading if one in lines] or list(lines)[:MOST_READ]:
        pieces += [*lines[name][0], ". "]
    return pieces


def _networks(roles: Mapping[str, int], asked: Mapping[str, Asked]) -> str:
    """Return which networks were given, and which of those that a study puts beside them were measured."""
    given = listed([f"{count:,} {role}" for role, count in roles.items()])
    measured = {role for one in asked.values() for role in one[""].measurements["role"]} - set(roles)
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
