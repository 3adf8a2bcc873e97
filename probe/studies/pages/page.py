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
from ...report import Block, Details, Figure, Page, Panels, Points, Section, Sentence, Strong, Table, Text
from ...subjects.own_output import SAID_OF_OUTPUT
from ...subjects.subject import Subject
from ..answer import ANSWER, HEADING, MISSING, NOTES
from ..asked import METHOD, TOPICS
from ..networks import alone
from . import live_network
from .front import Front
from .sections import (
    SHOWN_ROWS,
    Asked,
    anchor,
    claim_line,
    claims_of,
    claims_table,
    figures,
    not_asked,
    provenance,
    section,
    tally,
)

#: So many concepts are named in a title, and pictures of so many bytes stand on the page.
MOST_NAMED, ROOM = 3, 240_000
#: Which question's picture stands beside that of the concepts, the first that has one.
BESIDE_FRONT = ("bit-effects", "inputs", "memory")
#: Which topics' headings the first sentences take.
LEADING = tuple(TOPICS)[1:3]
#: What a page says of the networks that a study itself puts beside each trained one.
BESIDE = {
    "random weights": "Beside each trained network we put networks with random weights.",
    "fitted head": "Beside each we put one that was not trained, whose head alone is fitted to right answers.",
}
CLAIMS = "Every claim; numbers are medians over networks, or shares of them."
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
#: What the words of the first screen and of the headings mean.
WORDS: Sequence[Sentence] = (
    [Strong("Unit: "), "one number of a layer's state. ", Strong("Step: "), "the reading of one input."],
    [
        Strong("Control: "),
        "what scores without having learned the concept; a score counts beside the best of them.",
    ],
    [Strong("Random weights: "), "networks of the same sizes that were not trained."],
    [Strong("Fitted head: "), "such a network, of which only the head was fitted to right answers."],
    [Strong("R²: "), "the share of a number's variance that is read, on sequences that the probe was not fitted on."],
    [Strong("Balanced accuracy: "), "the share of right categories, where each category weighs the same."],
    [Strong("Erasing: "), "changing states as little as possible so that no linear probe can read the concept."],
)
INPUTS = "All numbers are about the inputs of the study. On others the networks may behave differently."


UNFINISHED = "The rest of this page is being measured; load it again later."


def build(
    subjects: Sequence[Subject],
    controls: Sequence[Subject],
    findings: Sequence[Finding],
    first: Front | None,
    *,
    given: str,
    topics: Mapping[str, str],
    unfinished: bool = False,
) -> Page:
    """Return the page.

    Args:
        subjects: the networks.
        controls: those that the study put beside the first one.
        findings: what was found, in the order of the page.
        first: what the first screen is made of, or None.
        given: the title that the study has, or none.
        topics: question -> its topic.
        unfinished: whether findings are missing that are yet to be measured; the page says so.
    """
    asked = {one.question: one for one in _fitting(findings) if len(one.measurements)}
    beside = None
    if first is not None and (shown := [name for name in BESIDE_FRONT if name in asked and asked[name].figures]):
        beside = asked[shown[0]]
        asked[shown[0]] = dataclasses.replace(beside, figures=())  # its picture stands above
    by_topic = {
        topic: [one for name, one in asked.items() if topics.get(name, "") == topic] for topic in ("", *TOPICS)
    }
    heads = {topic: _head(found) for topic, found in by_topic.items() if topic not in ("", METHOD)}
    live = UNFINISHED if unfinished else live_network.blocks(subjects[0], controls)
    sections = [
        *(_section(one) for one in by_topic[""]),
        *(_topic(topic, head, by_topic[topic]) for topic, head in heads.items() if head is not None),
        *([] if isinstance(live, str) else [Section("Run it yourself", live, key="explore")]),
        _method(
            subjects,
            [one for one in findings if one.measurements.empty],
            {topic: by_topic[topic] for topic in (*(topic for topic, head in heads.items() if head is None), METHOD)},
            {name: {"": one} for name, one in asked.items()},
            [live] if isinstance(live, str) else [],
        ),
    ]
    leading = [one for topic in LEADING for one in by_topic[topic]]
    lead = _lead(first, given, leading, findings, readout=subjects[0].readout is not None)
    return Page(
        given or (_called(subjects) if first is None else first.title),
        " ".join([UNFINISHED] * unfinished + [lead]),
        sections,
        hero=_hero(first, beside),
        provenance=provenance(findings[0]),
        folds_printed=False,
        summary="" if first is None else str(first),
    )


def _called(subjects: Sequence[Subject]) -> str:
    """Return the title of a page without a verdict on a concept."""
    count = len({one.network.name for one in subjects if one.network.role == "trained"})
    called = subjects[0].network.name if alone(subjects) else several(count, "network")
    names = list(subjects[0].concepts)
    held = listed(names) if len(names) <= MOST_NAMED else several(len(names), "concept")
    return f"What {'does' if count == 1 else 'do'} {called} hold of {held}?"


def _head(found: Sequence[Finding]) -> Finding | None:
    """Return the finding that heads a topic: the first that has a heading and a picture."""
    return next((one for one in found if one.notes.get(HEADING) and one.figures), None)


def _topic(topic: str, head: Finding, found: Sequence[Finding]) -> Section:
    """Return a topic: the heading and picture of one finding, and folded what else was asked of it."""
    first, *rest = head.figures
    shown = dataclasses.replace(head, figures=(first,))
    others = [_section(one) for one in found if one is not head]
    more = [Details(f"How we asked: {head.title}", _section(dataclasses.replace(head, figures=tuple(rest))).blocks)]
    if others:
        more.append(Details(f"{several(len(others), 'more question')} on {topic}", others))
    return Section(head.notes[HEADING], [*figures(shown), *claim_line(head), *more], key=anchor(head.question))


def _hero(first: Front | None, beside: Finding | None) -> list[Block]:
    """Return the first screen below its words: a table of several concepts, and the two pictures."""
    if first is None:
        return []
    own = first.picture
    left = Figure(own.svg, own.alt, own.caption, own.title, Table.from_frame(own.data, "", name=own.name))
    table: list[Block] = [] if first.table is None else [first.table]
    if beside is None:
        return [*table, left]
    other = beside.figures[0]
    right = Figure(other.svg, other.alt, other.caption, other.title)
    caption = f"{first.studied} {other.caption}"
    return [*table, Panels([left, right], caption, table=left.table, wider=True)]


def _method(
    subjects: Sequence[Subject],
    unasked: Sequence[Finding],
    folded: Mapping[str, Sequence[Finding]],
    asked: Mapping[str, Asked],
    lacking: Sequence[str],
) -> Section:
    """Return the limits, and folded what has no heading, every claim, what was not asked, and the networks.

    Args:
        subjects: the networks.
        unasked: the questions that were asked of no network.
        folded: topic -> the findings that have no section.
        asked: question -> what was found.
        lacking: what else the page does not have, and why.
    """
    single, roles = alone(subjects), Counter(subject.network.role for subject in subjects)
    limits = (
        [*_alike(subjects[0]), *[ONE_NETWORK] * single, LINEAR]
        + [WITHOUT_READOUT] * (subjects[0].readout is None)
        + [INPUTS]
    )
    unread = _unread(subjects[0], [*asked, *(one.question for one in unasked)])
    missing = [*_would_bring_more(subjects[0], len(asked), len(unasked)), *not_asked(unasked, unread), *lacking]
    counted = [Text([said])] if (said := tally(asked)) else []
    claims = [*counted, *claims_table(asked, CLAIMS)] if [*claims_of(asked)] else []
    folds = [
        *(_more(topic, found) for topic, found in folded.items() if found),
        *([_fold("Every claim, with its rule", claims, "claims")] if claims else []),
        *([_fold("What was not asked, and why", [Points(missing)], "not-asked")] if missing else []),
        _fold("Words of this page", [Points(WORDS)], "words"),
        _fold("Which networks were studied", _networks(subjects, roles, asked), "networks"),
    ]
    return Section("Limits and method", [Points(limits), *folds], key="limits")


def _would_bring_more(first: Subject, asked: int, unasked: int) -> list[str]:
    """Return how many questions were asked, and what else the study could give so that more are; none if nothing."""
    if not unasked or first.readout is None:
        return []
    ways = ["sequences of one length"] * first.ragged
    if first.answered.function is None:
        ways.append(f"“{first.answered.name}” as a function in place of an array")
    return [f"{asked} of {asked + unasked} questions were asked; {listed(ways)} would bring more."] if ways else []


def _fold(summary: str, blocks: Sequence[Block], key: str) -> Details:
    """Return a section that is folded, and can be linked."""
    return Details(summary, [Section(summary.partition(",")[0], blocks, key=key)])


def _more(topic: str, found: Sequence[Finding]) -> Details:
    return Details(f"{several(len(found), 'question')} on {topic}", [_section(one) for one in found])


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


def _unread(subject: Subject, picked: Collection[str]) -> list[str]:
    """Return a sentence for each concept that no question which was picked reads."""
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
    first: Front | None, given: str, leading: Sequence[Finding], findings: Sequence[Finding], *, readout: bool
) -> str:
    """Return the first sentences: the verdict where the title is the study's own, and what leads of other topics."""
    said = [first.title] if first is not None and given else []
    said += [] if readout else ["Without a readout we cannot say whether the network uses any of it."]
    heads = {finding.question: f"{finding.notes[HEADING]}." for finding in leading if finding.notes.get(HEADING)}
    said += [heads[name] for name in BESIDE_FRONT if name in heads][:1]
    said += [text for name, text in heads.items() if name not in BESIDE_FRONT][:1]
    return " ".join(said) or f"{first_sentence(findings[0])[0]}."


def _section(finding: Finding) -> Section:
    """Return the section of a finding below its question."""
    whole = section(finding.question, {"": finding})
    others = finding.notes[ANSWER]
    if finding.claims and others.startswith(str(finding.claims[0].rule.on_page)):
        others = ""  # the lines of the claims below say it
    facts = [(name, text) for name, text in finding.notes.items() if name not in NOTES]
    table: list[Block] = [Table(["what", "value"], facts, "What is known of it.")] if facts else []
    said: list[Block] = [Text(others)] if others else []
    return dataclasses.replace(whole, blocks=[*said, *table, *whole.blocks])


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
