"""Builds the page of a study from its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.claims import Claim
from ...evidence.findings import Finding
from ...evidence.measurements import one, only
from ...evidence.words import listed, said
from ...questions.interventions import interchange
from ...questions.states import linear_readout, network_card
from ...questions.telling import interchange_words
from ...report import Block, Code, Link, Page, Points, Section, Sentence, Strong, Table, Text
from ...subjects.subject import Subject
from . import live_network
from .sections import ELSEWHERE, anchor, answer_of, controls_in_words, figures, how, not_asked, provenance

#: How many rows of a figure's table the page shows; the file has all.
SHOWN_ROWS = 6
#: Inputs with more features than this are not written out beside their letters.
SAID_FEATURES = 12
WITHOUT_READOUT = (
    "Without a readout we can say nothing causal. A concept that can be read from the states need not be used: a "
    "probe reads a decoy that nothing uses as well as what the answer follows. To tell them apart, we must change a "
    "state and watch the answer. For that the study must say what the network answers: give a [readout] (a head's "
    "weight and bias, or a function)."
)
ONE_NETWORK = (
    "This is one network, and nothing here is about the recipe that trained it. A rule about a recipe needs several "
    "networks of other seeds; for one network probe.judge answers “undecided”, whatever the numbers are."
)


def build(subjects: Sequence[Subject], given: str, findings: Mapping[str, Finding]) -> Page:
    """Return the page.

    Args:
        subjects: the network under study.
        given: the title; empty for one that names the network.
        findings: its findings by question, in the order of the page.
    """
    (subject,) = subjects
    card, *others = findings.values()
    asked = [finding for finding in others if len(finding.measurements)]
    points = [_point(finding) for finding in asked]
    causal = []
    if subject.readout is None:
        points.append([Link("Is it used?", "#used"), f" {WITHOUT_READOUT.partition('. ')[0]}."])
        causal.append(Section("Is it used?", [Text(WITHOUT_READOUT)], key="used"))
    sections = [
        *([Section("In short", [Points(points)], key="in-short")] if points else []),
        Section("The network", _card(card), key="network"),
        *(Section(finding.title, _blocks(subject, finding), key=anchor(finding.question)) for finding in asked),
        *causal,
        *not_asked([finding for finding in others if finding.measurements.empty]),
        Section("Run it yourself", _explorer(subject), key="explore"),
        Section("What this page cannot say", [Points(_limits(subject))], key="limits"),
    ]
    title = given or f"What does {subject.network.name} hold?"
    return Page(title, _lead(subject, findings), sections, provenance=provenance(card))


def _lead(subject: Subject, findings: Mapping[str, Finding]) -> Sentence:
    """Return the first verdict, and whether the answer follows. The list below has the others."""
    readings = [findings[name] for name in linear_readout.names(subject).values() if name in findings]
    pieces: list[str | Strong] = [Strong(_verdict(readings[0])), " "] if readings else []
    if len(readings) > 1:
        pieces.append(f"{several(len(readings) - 1, 'more concept')} below. ")
    if subject.readout is None:
        pieces.append("Without a readout we cannot say whether the network uses any of it. ")
    elif interchange.QUESTION in findings:
        found = findings[interchange.QUESTION]
        whole, _, _ = found.notes["answer"].partition(";")
        asked = f"{found.title} " if found.measurements.empty else ""
        pieces.append(f"{asked}{whole.rstrip('.')}. ")
    return (*pieces, "One network says nothing about the recipe that trained it.")


def _verdict(finding: Finding) -> str:
    return finding.notes.get("verdict", finding.notes["answer"])


def _point(finding: Finding) -> Sentence:
    """Return a question's title as a link, and its verdict, or else the first sentence of its answer."""
    said = finding.notes.get("verdict", f"{answer_of(finding)[0]}.")
    return [Link(finding.title, f"#{anchor(finding.question)}"), f" {said}"]


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


def _blocks(subject: Subject, finding: Finding) -> list[Block]:
    """Return what a question's section has: its sentences, its pictures, its claims, and how it was measured."""
    said = [note for name, note in finding.notes.items() if note and name not in (*ELSEWHERE, "lead")]
    blocks: list[Block] = [Text(said)]
    if finding.question == interchange.QUESTION:
        blocks += [_patched(finding), *_decided_later(subject, finding)]
    blocks += [*figures(finding, SHOWN_ROWS), *_claims(finding)]
    return [*blocks, *(_programs(finding) if finding.question == "answers" else ()), *how(finding)]


def _claims(finding: Finding) -> list[Block]:
    """Return what a network's controls allow to say of it, a row a claim."""
    if not finding.claims:
        return []
    columns = ("claim about the recipe", "this network", "controls", "what they allow to say", "verdict")
    rows = [
        (
            f"{claim.rule.statement.rstrip('.')} ({claim.rule.established_if})",
            claim.value,
            controls_in_words(claim),
            allowed(claim),
            claim.verdict,
        )
        for claim in finding.claims
    ]
    why = "; ".join(dict.fromkeys(claim.reason for claim in finding.claims))
    caption = f"This network beside its controls, and the verdict of probe.judge on the recipe. Its reason: {why}."
    return [Table(columns, rows, caption, verdict="verdict")]


def allowed(claim: Claim) -> str:
    """Return what the controls allow to say of one network: whether the statement holds, and in them as well."""
    if claim.value not in claim.rule.established_if:
        return "not true of this network"
    if not claim.rule.controls:
        return "true of this network; the rule names no control"
    alike = [gap.role for gap in claim.differences if gap.value <= gap.margin]
    if alike:
        return f"true of this network, and as true of {listed(alike)}"
    there = {gap.role for gap in claim.differences}
    missing = [control.role for control in claim.rule.controls if control.role not in there]
    if missing:
        return f"true of this network; not measured of {listed(missing)}"
    return "true of this network, more than of its controls"


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
            f"states of neighbouring values of the concept. States that occur lie {said(usual)} from each other."
        )
    return Table(columns, list(zip(rows["patched"], *numbers, strict=True)), caption, name="interchange", digits=3)


def _decided_later(subject: Subject, interchange: Finding) -> list[Table]:
    """Return the table of how often the state decides the answer, by how many steps follow the patch."""
    shares = only(interchange.measurements, metric="depends")
    if shares.empty:
        return []
    whose = "right answer" if subject.answered.function is not None else "answer of the network"
    rows = sorted(zip(shares["at"].astype(int), shares["value"].round(3), strict=True))
    columns = ("steps that follow", "pairs whose answer the state decides")
    caption = (
        f"How often does the state decide the answer, and not the later inputs? The share of pairs that differ in "
        f"“{subject.answered.name}” whose {whose} changes with the patched state."
    )
    return [Table(columns, rows, caption, name="interchange-later", digits=3)]


def _explorer(subject: Subject) -> list[Block]:
    explorer = live_network.explorer(subject)
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
    elif subject.read is not None and subject.read.level:
        points.append(
            f"We patched {subject.read.name}, which the readout reads, and not the layers below. Whether the answer "
            "follows those is open; probe.patch and probe.ablate change any of them."
        )
    points.append("All numbers are about the inputs of the study. On others the network may behave differently.")
    return points


def command(name: str, out: str) -> Block:
    """Return the block with the command that builds the page again."""
    return Code(f"rnn-probe report {name} -o {out}", label="command")
