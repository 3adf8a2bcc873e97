"""Builds the page of a study from its findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.claims import Claim, Difference
from ...evidence.findings import Finding
from ...evidence.measurements import one, only
from ...evidence.words import listed, place, said
from ...questions.interventions import interchange, put_in_curve
from ...questions.states import linear_readout, network_card, one_sequence, state_space
from ...questions.telling import interchange_words
from ...questions.telling.unit_words import Followed
from ...report import (
    Block,
    Code,
    Details,
    Figure,
    Page,
    Panels,
    Points,
    Section,
    Sentence,
    Table,
    Text,
    Tokens,
)
from ...subjects.subject import Subject
from ..prepare import OUTPUT
from . import live_network
from .sections import ANSWER, MISSING, SETUP, anchor, controls_in_words, figures, not_asked, provenance

#: The questions of three sections, the one whose finding is the heading first.
SPACE = (state_space.QUESTION,)
USED = (interchange.QUESTION, put_in_curve.QUESTION, "ablation")
RIGHT = ("answers", "programs")
#: Questions whose picture is a dot for each network: of one network its table says as much.
DOTS = frozenset(
    {
        "bit-effects",
        "class-means",
        "directions",
        "erasure",
        "fixed-points",
        "gate-shares",
        "other-lengths",
        "quantised-states",
        "reduced-models",
        "routes",
        "single-answers",
        "single-units",
        "steering",
    }
)
#: Notes that no section tells: the first section has the set-up, the page's first sentences have the verdict.
ELSEWHERE = (SETUP, "verdict", "short", "reads", "first", MISSING)
#: Notes that are folded with how a question was measured.
FOLDED = ("selectivity", "search")
#: How many rows of a figure's table the page shows; the file has all.
SHOWN_ROWS = 6
#: So many concepts have a sentence at the top of the page; with so many symbols a sequence is a text.
MOST_SAID, FEWEST_SYMBOLS = 4, 6
#: Inputs with more features than this are not written out beside their letters.
SAID_FEATURES = 12
WITHOUT_READOUT = (
    "Without a readout we can say nothing causal. A concept that can be read from the states need not be used: a "
    "probe reads a decoy that nothing uses as well as what the answer follows. To tell them apart, we must change a "
    "state and watch the answer. For that the study must know what the network answers: give a [readout] (a head's "
    "weight and bias, or a function), or a network whose output is its answer."
)
ONE_NETWORK = (
    "This is one network, and nothing here is about the recipe that trained it. A rule about a recipe needs several "
    "networks of other seeds; for one network its verdict is “undecided”, whatever the numbers are."
)


def build(subjects: Sequence[Subject], given: str, findings: Mapping[str, Finding]) -> Page:
    """Return the page.

    Args:
        subjects: the network under study, then its controls.
        given: the title; empty for one that names the network.
        findings: its findings by question, in the order of the page.
    """
    subject, *controls = subjects
    card, *others = findings.values()
    asked = {finding.question: finding for finding in others if len(finding.measurements)}
    readings = [asked[name] for name in linear_readout.names(subject).values() if name in asked]
    shown = {one_sequence.QUESTION, *SPACE, *USED, *RIGHT, *(finding.question for finding in readings)}
    sections = [
        *_example(subject, asked),
        *(_reading(subject, finding, asked) for finding in readings),
        *_parts(subject, asked, SPACE),
        *(_parts(subject, asked, USED) if subject.readout is not None else [_unused(subject)]),
        *_parts(subject, asked, RIGHT),
        Section("Run it yourself", live(subject, controls), key="explore"),
        *_others(subject, [finding for name, finding in asked.items() if name not in shown]),
        *not_asked([finding for finding in others if finding.measurements.empty]),
        Section("What this page cannot say", [Points(_limits(subject))], key="limits"),
        Section("The network", _card(card), key="network"),
    ]
    title = given or f"What does {subject.network.name} hold?"
    hero = [_small_card(subject, findings)]
    return Page(title, _lead(subject, findings), sections, hero=hero, provenance=provenance(card))


def _lead(subject: Subject, findings: Mapping[str, Finding]) -> Sentence:
    """Return a sentence for each concept with its number and its best control, and whether the answer follows."""
    readings = [findings[name] for name in linear_readout.names(subject).values() if name in findings]
    pieces: list[str] = [f"{finding.notes['short']} " for finding in readings[:MOST_SAID] if "short" in finding.notes]
    if len(readings) > MOST_SAID:
        pieces.append(f"{several(len(readings) - MOST_SAID, 'more concept')} below. ")
    if subject.readout is None:
        pieces.append("Without a readout we cannot say whether the network uses any of it. ")
    elif interchange.QUESTION in findings:
        found = findings[interchange.QUESTION]
        pieces.append(f"{found.notes.get('short') or f'{found.title} {answer_of(found)[0]}.'} ")
    return (*pieces, "One network says nothing about the recipe that trained it.")


def _small_card(subject: Subject, findings: Mapping[str, Finding]) -> Table:
    """Return one row on the network: what it is, what it read, and how often it is right."""
    layers = network_card.layers_table(next(iter(findings.values())).measurements)
    looked = layers[layers["looked at"] == "yes"]
    values = {
        "network": subject.network.name,
        "cell": listed(sorted(set(looked["cell"]))),
        "units": listed([str(one) for one in dict.fromkeys(looked["units"])]),
    }
    answers = findings.get("answers")
    if answers is not None and "accuracy" in set(answers.measurements["metric"]):
        right = one(answers.measurements, metric="accuracy", network=subject.network.name)
        values["right"] = f"{right:.1%}"
    values |= {"layers": len(looked), "sequences": len(subject.x)}
    return Table(list(values), [list(values.values())], "The network, and what it read.")


def _example(subject: Subject, asked: Mapping[str, Finding]) -> list[Section]:
    """Return the section on a few sequences, one at a time, and of many symbols a text coloured by a unit."""
    finding = asked.get(one_sequence.QUESTION)
    if finding is None:
        return []
    pictures = figures(finding, SHOWN_ROWS)
    block = pictures[0]
    if len(pictures) > 1 and isinstance(block, Figure):
        title = "One sequence over time"
        caption = (
            "Above, each concept step by step. Below, a row for each unit. The numbers behind it are those of the "
            "first sequence."
        )
        shown = [picture for picture in pictures if isinstance(picture, Figure)]
        block = Panels(shown, caption, title, block.table, choose="Choose a sequence")
    blocks: list[Block] = [Text(finding.notes["answer"]), block, *_coloured(subject, finding, asked)]
    blocks.append(Details("How it was measured", [Text(finding.notes[SETUP])]))
    return [Section("One sequence, step by step", blocks, key=anchor(finding.question))]


def _coloured(subject: Subject, finding: Finding, asked: Mapping[str, Finding]) -> list[Block]:
    """Return a sequence as text, coloured by the unit that follows the first concept; only of many symbols."""
    name = one_sequence.ordered(subject)[0]
    reading = asked.get(linear_readout.names(subject)[name])
    followed = None if reading is None else Followed.of_table(reading.measurements)
    if followed is None or not followed.named:
        return []
    rows = only(finding.measurements, metric="state")
    row = int(rows["at"].iloc[0])
    values = only(rows[rows["at"] == row], units=str(followed.unit))
    names = {tuple(value.tolist()): symbol for symbol, value in subject.symbols.items()}
    tokens = [names.get(tuple(step)) for step in subject.x[row, : len(values)].tolist()]
    if len(names) < FEWEST_SYMBOLS or None in tokens or len(tokens) != len(values) or not values["value"].any():
        return []
    where = f"unit {followed.unit} of {place(*followed.place)}, which follows “{name}” most"
    caption = (
        f"Sequence {row + 1} coloured by {where}: teal below 0, gold above, up to {values['value'].abs().max():.2g}."
    )
    between = " " * (max(map(len, names.values())) > 1)
    return [Tokens([f"{token}{between}" for token in tokens], values["value"].tolist(), caption)]


def _reading(subject: Subject, finding: Finding, asked: Mapping[str, Finding]) -> Section:
    """Return the section on one concept; of the one that is answered, whether one unit tells it at all steps too."""
    section, single = _part(subject, [finding]), asked.get("single-units")
    if single is None or finding.question != linear_readout.names(subject)[subject.concept.name]:
        return section
    rest = answer_of(single)[1]
    first, *others = section.blocks
    return dataclasses.replace(section, blocks=[first, Text(rest), *others]) if rest else section


def _parts(subject: Subject, asked: Mapping[str, Finding], names: Sequence[str]) -> list[Section]:
    """Return one section of several findings; none where none of them was asked."""
    there = [asked[name] for name in names if name in asked]
    return [_part(subject, there)] if there else []


def _part(subject: Subject, findings: Sequence[Finding]) -> Section:
    """Return a section of findings: what the first one found is the heading."""
    first = findings[0]
    heading, _, rest = first.notes.get("verdict", first.notes["answer"]).partition(". ")
    blocks: list[Block] = [Text(rest)] if rest else []
    for finding in findings:
        blocks += _blocks(subject, finding, whole=finding is not first or "verdict" in first.notes)
    return Section(heading.removesuffix("."), blocks, key=anchor(first.question))


def _unused(subject: Subject) -> Section:
    output = f" The network's output is {subject.card[OUTPUT]}" if OUTPUT in subject.card else ""
    return Section("Is any of it used?", [Text(WITHOUT_READOUT + output)], key="used")


def _others(subject: Subject, findings: Sequence[Finding]) -> list[Section]:
    """Return the section on all that is measured beside the story, each finding folded below its first sentence."""
    blocks = [
        Details(
            f"{finding.title} {answer_of(finding)[0]}.{_alike(finding)}",
            _blocks(subject, finding, whole=True, drawn=finding.question not in DOTS),
        )
        for finding in findings
    ]
    return [Section("What else we measured", blocks, key="more")] if blocks else []


def answer_of(finding: Finding) -> tuple[str, str]:
    """Return the finding, the first sentence of the answer without its full stop, and the other sentences."""
    first, _, others = finding.notes[ANSWER].partition(". ")
    return first.removesuffix("."), others


def _card(finding: Finding) -> list[Block]:
    facts = [("inputs", finding.notes["inputs"])]
    facts += [
        (name.removeprefix("card: "), text) for name, text in finding.notes.items() if name.startswith("card: ")
    ]
    layers = network_card.layers_table(finding.measurements)
    return [
        Text(finding.notes["recording"]),
        Table.from_frame(layers, "Recurrent layers, from the inputs up.", name="layers"),
        Table(["what", "value"], facts, "Where it comes from, and what it read."),
    ]


def _alike(finding: Finding) -> str:
    """Return which claims are as true of controls, or nearly: a summary says no less than the table in its fold."""
    true = [claim for claim in finding.claims if claim.value in claim.rule.established_if and _near(claim)]
    return "".join(f" “{claim.rule.statement.rstrip('.')}” is {allowed(claim)}." for claim in true)


def _near(claim: Claim) -> list[tuple[Difference, bool]]:
    """Return the controls that the network exceeds by no more than the margin, and whether the rule holds of each."""
    return [(gap, gap.control in claim.rule.established_if) for gap in claim.differences if gap.value <= gap.margin]


def _blocks(subject: Subject, finding: Finding, *, whole: bool, drawn: bool = True) -> list[Block]:
    """Return what is shown of a finding: its sentences, its pictures, and folded how it was measured, with controls.

    Args:
        subject: the network under study.
        finding: the finding.
        whole: whether its first note is said here, and not in the heading and below it.
        drawn: whether its pictures are shown.
    """
    folded = (*ELSEWHERE, *FOLDED, "answer" if "measured" in finding.notes else "")
    told = [note for name, note in finding.notes.items() if note and name not in folded]
    told = told if whole else told[1:]
    blocks: list[Block] = [*([Text(told)] if told else []), *(figures(finding, SHOWN_ROWS) if drawn else [])]
    more: list[Block] = [Text(finding.notes[name]) for name in (SETUP, *FOLDED) if finding.notes.get(name)]
    if finding.question == interchange.QUESTION:
        more += [_patched(finding), *_decided_later(subject, finding)]
    if finding.question == "programs":
        blocks += _programs(finding)
    # What the controls allow to say of a reading, its sentences say, by intervals.
    more += [] if finding.question in linear_readout.names(subject).values() else _claims(finding)
    return [*blocks, *([Details("How it was measured, and its controls", more)] if more else [])]


def _claims(finding: Finding) -> list[Block]:
    """Return what a network's controls allow to say of it, a row a claim."""
    if not finding.claims:
        return []
    columns = ("statement (bound)", "this network", "controls", "what they allow to say")
    rows = [
        (
            f"{claim.rule.statement.rstrip('.')} ({claim.rule.established_if})",
            claim.value,
            controls_in_words(claim),
            allowed(claim),
        )
        for claim in finding.claims
    ]
    why = "; ".join(dict.fromkeys(claim.reason for claim in finding.claims))
    caption = f"This network beside its controls. We judge no recipe here: {why}."
    return [Table(columns, rows, caption)]


def allowed(claim: Claim) -> str:
    """Return what the controls allow to say of one network: whether the statement holds, and in them as well."""
    if claim.value not in claim.rule.established_if:
        return "not true of this network"
    if not claim.rule.controls:
        return "true of this network; the rule names no control"
    alike = ["the rule's null" if gap.role == "null" else gap.role for gap, holds in _near(claim) if holds]
    if alike:
        return f"true of this network, and as true of {listed(alike)}"
    close = [f"{gap.role} is within {gap.margin:g} of it" for gap, _ in _near(claim)]
    if close:
        return f"true of this network; {listed(close)}, and not in the bound"
    there = [gap.role for gap in claim.differences]
    missing = [control.role for control in claim.rule.controls if control.role not in there]
    if missing:
        return f"true of this network; not measured of {listed(missing)}"
    return f"true of this network, more than of {listed(there)} (one network{' each' * (len(there) > 1)})"


def _programs(answers: Finding) -> list[Block]:
    """Return the table of the rival programs; nothing where the study names none."""
    programs = answers.measurements.query("role == 'trained' and kind != '' and at.isna()").set_index("kind")
    same = programs[programs["metric"] == "agreement"]
    if same.empty:
        return []
    wide = same[["value", "low", "high"]].assign(right=programs[programs["metric"] == "right"]["value"])
    wide = wide.reset_index()
    wide.columns = pd.Index(["program", "same answer", "from", "to", "right itself"])
    caption = "Rival programs: shares of the sequences, with the 95 % interval."
    return [Table.from_frame(wide, caption, name="programs")]


def _patched(interchange: Finding) -> Table:
    rows = interchange_words.summary(interchange.measurements)
    numbers = [rows[column].round(3).tolist() for column in ("followed", "shift", "off_support")]
    columns = ("patched", "answers that follow", "shift", "off support")
    caption = "What we patched into the base's run, and how its answer changed."
    usual = one(interchange.measurements, metric="apart")
    if np.isfinite(usual):
        caption += (
            " Off support: the distance to the nearest state that occurs. The unit is the distance between the mean "
            "states of neighbouring values of the concept. From the state after one prefix to the nearest one after "
            f"another the median distance is {said(usual)}."
        )
    return Table(columns, list(zip(rows["patched"], *numbers, strict=True)), caption, name="interchange", digits=3)


def _decided_later(subject: Subject, interchange: Finding) -> list[Table]:
    """Return the table of how often the answer changes with the state, by how many steps follow the patch."""
    shares = only(interchange.measurements, metric="depends")
    if shares.empty:
        return []
    whose = "right answer" if subject.answered.function is not None else "answer of the network"
    rows = sorted(zip(shares["at"].astype(int), shares["value"].round(3), strict=True))
    columns = ("steps that follow", "pairs whose answer changes")
    caption = (
        f"How often does the answer change with the state? The share of pairs that differ in "
        f"“{subject.answered.name}” whose {whose} changes with the patched state."
    )
    return [Table(columns, rows, caption, name="interchange-later", digits=3)]


def live(subject: Subject, controls: Sequence[Subject] = ()) -> list[Block]:
    """Return the explorer of a network, or the sentence why the page does not run it."""
    explorer = live_network.explorer(subject, controls)
    if isinstance(explorer, str):
        return [Text(explorer)]
    letters = "" if subject.symbols else _letters(explorer.alphabet or {})
    return [Text(letters), explorer] if letters else [explorer]


def _letters(alphabet: Mapping[str, object]) -> str:
    """Return the sentence on the input of each letter; empty if digits stand for themselves, or inputs are long."""
    named = {letter: np.ravel(np.asarray(value, dtype=float)) for letter, value in alphabet.items()}
    if not named or all(letter.isdigit() for letter in named) or max(map(len, named.values())) > SAID_FEATURES:
        return ""
    inputs = [f"{letter} is ({', '.join(f'{number:g}' for number in value)})" for letter, value in named.items()]
    return f"Each letter stands for an input: {listed(inputs)}."


def _limits(subject: Subject) -> list[Sentence]:
    points: list[Sentence] = [ONE_NETWORK]
    points.append(
        "Probes are linear. They miss a concept that is held in another form, and a concept that they read may only "
        "go along with something else."
    )
    if subject.readout is None:
        points.append("We know nothing about use: without a readout there is no answer that could follow a state.")
    points.append("All numbers are about the inputs of the study. On others the network may behave differently.")
    return points


def command(name: str, out: str) -> Block:
    """Return the block with the command that builds the page again."""
    return Code(f"rnn-probe report {name} -o {out}", label="command")
