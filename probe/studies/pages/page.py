"""Builds the page of a study, of one network or many: a section for each finding, and what all of them share."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.findings import Finding
from ...evidence.words import listed
from ...questions.readings import key_of
from ...recurrent.inspection import described
from ...report import Block, Page, Pill, Pills, Points, Section, Sentence, Table, Text, Verdict
from ...subjects.own_output import SAID_OF_OUTPUT
from ...subjects.subject import Subject
from ..answer import ANSWER, MISSING, SETUP, TEXT
from ..networks import alone
from . import live_network
from .sections import SHOWN_ROWS, VERDICTS, Asked, claims_of, claims_table, not_asked, provenance, section, verdicts

#: So many findings stand in the first sentences and concepts in the title, and pictures of so many bytes on the page.
MOST_SAID, MOST_NAMED, ROOM = 5, 3, 240_000
#: A longer sentence, in letters, is no heading.
HEADING = 100
#: What a page says of the networks that a study itself puts beside each trained one.
BESIDE = {
    "random weights": "Beside each trained network we put networks with random weights.",
    "fitted head": "Beside each we put one that was not trained, whose head alone is fitted to right answers.",
}
CLAIMS = "Every claim; numbers are medians over networks, or shares of them. The sections above have the pictures."
ONE_NETWORK = (
    "This is one network, and nothing here is about the recipe that trained it. A rule about a recipe needs several "
    "networks of other seeds."
)
LINEAR = (
    "Probes are linear. They miss a concept that is held in another form, and a concept that they read may only go "
    "along with something else."
)
WITHOUT_READOUT = (
    "Without a readout we can say nothing causal: a concept that can be read from the states need not be used. Give "
    "a [readout] (a head's weight and bias, or a function), or a network whose output is its answer."
)
INPUTS = "All numbers are about the inputs of the study. On others the networks may behave differently."


def build(
    subjects: Sequence[Subject],
    controls: Sequence[Subject],
    given: str,
    findings: Sequence[Finding],
    leading: Collection[str],
) -> Page:
    """Return the page."""
    asked: dict[str, Asked] = {one.question: {"": one} for one in _fitting(findings) if len(one.measurements)}
    roles = Counter(subject.network.role for subject in subjects)
    single = alone(subjects)
    called = subjects[0].network.name if single else several(roles["trained"], "network")
    names = list(subjects[0].concepts)
    held = listed(names) if len(names) <= MOST_NAMED else several(len(names), "concept")
    decided = verdicts(asked)
    pills = Pills(
        [Pill(str(decided.count(one)), Verdict(one), "#claims") for one in VERDICTS], several(len(decided), "claim")
    )
    limits = (
        [*_alike(subjects[0]), *[ONE_NETWORK] * single, LINEAR]
        + [WITHOUT_READOUT] * (subjects[0].readout is None)
        + [INPUTS]
    )
    sections = [
        *(_section(one[""]) for one in asked.values()),
        Section("Run it yourself", live_network.blocks(subjects[0], controls), key="explore"),
        *not_asked([finding for finding in findings if finding.measurements.empty], _unread(subjects[0], findings)),
        *([Section("Every claim", claims_table(asked, CLAIMS), key="claims")] if [*claims_of(asked)] else []),
        Section("What this page cannot say", [Points(limits)], key="limits"),
        Section("The networks", _networks(subjects, roles, asked), key="networks"),
    ]
    return Page(
        given or f"What {'does' if roles['trained'] == 1 else 'do'} {called} hold of {held}?",
        _lead(subjects, asked, leading, findings, single=single),
        sections,
        hero=[_card(subjects, roles, called, single=single), *([pills] if decided else [])],
        provenance=provenance(findings[0]),
        folds_printed=False,
    )


def _fitting(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, the last ones without their pictures where all would make the page too large to be sent."""
    room, found = ROOM, list[Finding]()
    for one in findings:
        size = sum(len(figure.svg) for figure in one.figures)
        room -= size
        where = f"Its pictures lie in findings/{one.question}/figures, so that this page stays small."
        notes = {**one.notes, MISSING: f"{one.notes.get(MISSING, '')} {where}".strip()}
        found.append(dataclasses.replace(one, figures=(), notes=notes) if size and room < 0 else one)
    return found


def first_sentence(finding: Finding) -> tuple[str, str]:
    """Return what was found, without its full stop, and what else is said of it."""
    first, _, others = finding.notes[ANSWER].partition(". ")
    return first.removesuffix("."), others


def _unread(subject: Subject, findings: Sequence[Finding]) -> list[str]:
    """Return a sentence for each concept that no question which was picked reads."""
    picked = {finding.question for finding in findings}
    return [
        f"Can “{name}” be read? Not asked: the study picks its questions, and {key} is none of them."
        for name in subject.concepts
        if (key := key_of("reading", subject, name)) not in picked and name != subject.concept.name
    ]


def _alike(subject: Subject) -> list[str]:
    """Return a sentence for each two concepts that are the same at every step, by other names or values."""
    values = {name: one.values[subject.data] for name, one in subject.concepts.items()}
    counts = {name: len(np.unique(one)) for name, one in values.items()}
    return [
        f"“{one}” and “{other}” are one concept here: wherever the inputs were studied, either gives the other."
        for one, other in combinations(values, 2)
        if counts[one] == counts[other] and _same(values[one], values[other])
    ]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether either concept's value gives the other's."""
    pairs = np.unique(np.column_stack([one, other]), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def _lead(
    subjects: Sequence[Subject],
    asked: Mapping[str, Asked],
    leading: Collection[str],
    findings: Sequence[Finding],
    *,
    single: bool,
) -> Sentence:
    """Return what was found first of all, a sentence each."""
    first, trained = subjects[0], len({one.network.name for one in subjects if one.network.role == "trained"})
    names = [name for name in asked if name in leading] or list(asked)
    shown = names if len(names) <= MOST_SAID else [*names[: MOST_SAID - 1], names[-1]]
    said = [f"{first_sentence(asked[name][''])[0]}{_of_all(asked[name][''], trained)}." for name in shown]
    said += [f"{several(len(names) - len(shown), 'more finding')} below."] if len(names) > len(shown) else []
    if first.readout is None:
        said.append("Without a readout we cannot say whether the network uses any of it.")
    if single:
        said.append("One network says nothing about the recipe that trained it.")
    return " ".join(filter(None, [*said, _would_bring_more(first, findings)]))


def _would_bring_more(first: Subject, findings: Sequence[Finding]) -> str:
    """Return how many questions were asked, and what else the study could give so that more are; empty if nothing."""
    asked = sum(not finding.measurements.empty for finding in findings)
    if asked == len(findings) or first.readout is None:
        return ""
    ways = ["sequences of one length"] * first.ragged
    if first.answered.function is None:
        ways.append(f"“{first.answered.name}” as a function in place of an array")
    if not ways:
        return ""
    return f"{asked} of {len(findings)} questions were asked; {listed(ways)} would bring more."


def _of_all(finding: Finding, trained: int) -> str:
    """Return of how many of the trained networks a finding says nothing."""
    judged = finding.claims[0].n if finding.claims else trained
    return f"; nothing is said of the other {trained - judged} of {trained} networks" if judged < trained else ""


def _section(finding: Finding) -> Section:
    """Return the section of a finding below its first sentence, or below its question where that is too long."""
    heading, others = first_sentence(finding)
    whole = section(finding.question, {"": finding})
    if finding.claims or len(heading) > HEADING:
        heading, others = finding.title, finding.notes[ANSWER]
    if finding.claims and others.startswith(str(finding.claims[0].rule.on_page)):
        others = ""  # the lines of the claims below say it
    facts = [(name, text) for name, text in finding.notes.items() if name not in (ANSWER, SETUP, MISSING, TEXT)]
    table: list[Block] = [Table(["what", "value"], facts, "What is known of it.")] if facts else []
    said: list[Block] = [Text(others)] if others else []
    return dataclasses.replace(whole, title=heading, blocks=[*said, *table, *whole.blocks])


def _card(subjects: Sequence[Subject], roles: Mapping[str, int], called: str, *, single: bool) -> Table:
    """Return one row on the networks: how many of which kind, and what they read."""
    first = subjects[0]
    values: dict[str, str | int] = {"network" if single else "trained networks": called}
    values |= {role: count for role, count in roles.items() if role != "trained"}
    values |= {
        "cell": listed(sorted({described(layer).cell for layer in first.layers})),
        "units": listed([str(layer.units) for layer in first.layers]),
        "sequences": len(first.x),
    }
    return Table(list(values), [list(values.values())], "What was studied, and what it read.")


def _networks(subjects: Sequence[Subject], roles: Mapping[str, int], asked: Mapping[str, Asked]) -> list[Block]:
    """Return which networks were given, which stand beside them, and what their answers were taken for."""
    given = listed([f"{count:,} {role}" for role, count in roles.items()])
    measured = {role for one in asked.values() for role in one[""].measurements["role"]} - set(roles)
    said = [f"The study was given {several(sum(roles.values()), 'network')}: {given}."]
    said += [text for role, text in BESIDE.items() if role in measured]
    words: list[Sentence] = [" ".join(said)]
    readout, output = subjects[0].readout, subjects[0].card.get(SAID_OF_OUTPUT)
    if output is not None:
        words.append(f"The output of {subjects[0].network.name} is {output}")
    elif len(subjects) > 1 and readout and readout.functions is None and not isinstance(readout.weight, str):
        words.append(
            "The study gives one head, and we put it on the states of every network that was given. If a network was "
            "trained with another head, the answers on this page are not its own. To read each network with its own "
            "head, name the weight in its file, or read the answer off the model's output."
        )
    rows = [(one.network.name, one.network.role, one.network.pair, one.card.get("file", "")) for one in subjects]
    frame = pd.DataFrame(rows, columns=["network", "role", "pair", "file"])
    table = Table.from_frame(frame, "The networks that were given.", name="networks", max_rows=SHOWN_ROWS)
    return [Text(words), table]
