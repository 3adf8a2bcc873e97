"""Builds the page of a study from its findings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..evidence.findings import Finding
from ..report import Block, Code, Details, Figure, Link, Page, Points, Section, Sentence, Strong, Table, Text
from ..words import several
from . import explored
from .definition.identity import VERSION
from .definition.prepared import Prepared
from .questions import card, interchange_words, reading
from .tables import listed, one, only, said

#: How many rows of the table behind a figure are shown, where the file behind it has all.
SHOWN_ROWS = 6
#: Inputs of more features are not written out beside their letters.
SAID_FEATURES = 12
WITHOUT_READOUT = (
    "Without a readout nothing causal can be said. That something can be read from states, however well, does not "
    "say that the network uses it: a probe finds what is there, and a decoy that nothing reads is as readable as "
    "what the answer follows. Only changing a state and watching an answer tells them apart, and for that the study "
    "must say what the network answers: give a [readout] (a head's weight and bias, or a function)."
)
ONE_NETWORK = (
    "This is one network. Nothing here is about the recipe that trained it: a rule about a recipe needs several "
    "networks of other seeds, and on one of them probe.judge answers “undecided”, whatever the numbers are."
)


def build(prepared: Prepared, found: Mapping[str, Finding]) -> Page:
    """Return the page.

    Args:
        prepared: the study.
        found: its findings by question.
    """
    readings = [found[question] for question in reading.question_names(prepared).values()]
    sections = [
        Section("In short", [Points(_points(prepared, found, readings))], key="in-short"),
        Section("The network", _card(found["network"]), key="network"),
        *(
            Section(
                finding.title, _blocks(finding, ("answer", "unit", "selectivity"), ("setup",)), key=finding.question
            )
            for finding in readings
        ),
        Section(found["gates"].title, _blocks(found["gates"], ("answer",), ()), key="gates"),
        *_causal(prepared, found),
        Section(found["rest"].title, [*_blocks(found["rest"], ("answer",), ("setup",))], key="rest"),
        Section("Run it yourself", _explorer(prepared), key="explore"),
        Section("What this page cannot say", [Points(_limits(prepared))], key="limits"),
    ]
    title = prepared.study.title or f"What does {prepared.opened.name} hold?"
    return Page(title, _lead(prepared, found, readings), sections, provenance=_provenance(found))


def _lead(prepared: Prepared, found: Mapping[str, Finding], readings: list[Finding]) -> Sentence:
    """Return the first verdict, and whether the answer follows; the list below it has the rest, with the numbers."""
    pieces: list[str | Strong] = [Strong(_verdict(readings[0]))]
    if len(readings) > 1:
        pieces.append(f" {several(len(readings) - 1, 'more concept')} below.")
    if prepared.head is None:
        pieces.append(" Whether the network uses any of it cannot be said without a readout.")
    else:
        whole, _, _ = found["exchange"].notes["answer"].partition(";")
        pieces.append(f" {whole.rstrip('.')}.")
    pieces.append(" One network says nothing about the recipe that trained it.")
    return tuple(pieces)


def _verdict(finding: Finding) -> str:
    return finding.notes.get("verdict", finding.notes["answer"])


def _points(prepared: Prepared, found: Mapping[str, Finding], readings: list[Finding]) -> list[Sentence]:
    points: list[Sentence] = [
        [Link(finding.title, f"#{finding.question}"), f" {_verdict(finding)}"] for finding in readings
    ]
    if prepared.head is None:
        points.append([Link("Is it used?", "#used"), f" {WITHOUT_READOUT.partition('. ')[0]}."])
    else:
        for question in ("answers", "ablation", "exchange"):
            points.append([Link(found[question].title, f"#{question}"), f" {found[question].notes['answer']}"])
    points.append([Link(found["rest"].title, "#rest"), f" {found['rest'].notes['answer']}"])
    return points


def _card(finding: Finding) -> list[Block]:
    facts = [("inputs", finding.notes["inputs"])]
    facts += [
        (name.removeprefix("card: "), text) for name, text in finding.notes.items() if name.startswith("card: ")
    ]
    layers = card.layers_table(finding)
    return [
        Text(finding.notes["recording"]),
        Table.from_frame(layers, "Recurrent layers, from the inputs up.", name="layers"),
        Table(["what", "value"], facts, "Where it comes from, and what it read."),
    ]


def _blocks(finding: Finding, first: tuple[str, ...], last: tuple[str, ...]) -> list[Block]:
    said = [finding.notes[name] for name in first if finding.notes.get(name)]
    blocks: list[Block] = [Text(said)] if said else []
    for figure in finding.figures:
        behind = Table.from_frame(
            figure.data, f"The numbers behind it ({figure.name}).", name=figure.name, max_rows=SHOWN_ROWS
        )
        blocks.append(Figure(figure.svg, figure.alt, figure.caption, figure.title, behind))
    blocks += _claims(finding)
    how = [finding.notes[name] for name in last if finding.notes.get(name)]
    return [*blocks, Details("How it was measured", [Text(how)])] if how else blocks


def _claims(finding: Finding) -> list[Block]:
    if not finding.claims:
        return []
    columns = ("claim about the recipe", "this network", "re-initialised", "verdict")
    rows = [(claim.rule.statement, claim.value, claim.untrained, claim.verdict) for claim in finding.claims]
    why = "; ".join(dict.fromkeys(claim.reason for claim in finding.claims))
    return [Table(columns, rows, f"What probe.judge says, and why: {why}.", verdict="verdict")]


def _causal(prepared: Prepared, found: Mapping[str, Finding]) -> list[Section]:
    if prepared.head is None:
        return [Section("Is it used?", [Text(WITHOUT_READOUT)], key="used")]
    answers, exchange = found["answers"], found["exchange"]
    blocks = _blocks(answers, ("answer", "programs"), ())
    programs = answers.measurements[answers.measurements["signal"] != ""]
    if len(programs):
        wide = programs.pivot(index="signal", columns="metric", values="value").reset_index()
        wide = wide[["signal", "agreement", "agreement_low", "agreement_high", "right"]]
        wide.columns = pd.Index(["program", "same answer", "from", "to", "right itself"])
        blocks.append(
            Table.from_frame(
                wide, "Rival programs: shares of the sequences, with the 95 % interval.", name="programs"
            )
        )
    parts = _blocks(exchange, ("answer", "search"), ("setup",))
    if len(exchange.measurements):
        parts[1:1] = [_exchanged(exchange), *_told_anew(prepared, exchange)]
    return [
        Section(answers.title, blocks, key="answers"),
        Section(found["ablation"].title, _blocks(found["ablation"], ("answer",), ("setup",)), key="ablation"),
        Section(exchange.title, parts, key="exchange"),
    ]


def _exchanged(exchange: Finding) -> Table:
    found = interchange_words.summary(exchange.measurements)
    kinds = {"units": "", "part": "", "end": ""}
    names = [
        f"{name} ({units})" if kinds.get(kind) == "" and units else f"{name} ({units} of them)" if units else name
        for name, units, kind in zip(found["network"], found["units"], found["signal"], strict=True)
    ]
    numbers = [found[column].round(3).tolist() for column in ("followed", "shift", "off_support")]
    columns = ("put in", "answers that follow", "shift", "off support")
    rows = list(zip(names, *numbers, strict=True))
    caption = "What was put into the base's run, and what its answer did."
    usual = one(exchange.measurements, metric="apart")
    if np.isfinite(usual):
        caption += (
            " Off support: the distance from the nearest state that occurs, where 1 is what lies between "
            f"neighbouring values of the concept; states that occur have 0, and lie {said(usual)} from each other."
        )
    return Table(columns, rows, caption, name="exchange", digits=3)


def _told_anew(prepared: Prepared, exchange: Finding) -> list[Table]:
    """Return in how many pairs the state decides the answer, by how many steps follow the exchange."""
    found = only(exchange.measurements, metric="depends")
    if found.empty:
        return []
    whose = "right answer" if prepared.answered.function is not None else "answer by the network"
    rows = sorted(zip(found["units"].astype(int), found["value"].round(3), strict=True))
    columns = ("steps that follow", "pairs whose answer the state decides")
    caption = (
        f"When do later inputs tell “{prepared.answered.name}” anew? The share of pairs that differ in it whose "
        f"{whose} changes with the state that is put in."
    )
    return [Table(columns, rows, caption, name="exchange-later", digits=3)]


def _explorer(prepared: Prepared) -> list[Block]:
    found = explored.explorer(prepared)
    if isinstance(found, str):
        return [Text(found)]
    letters = "" if prepared.symbols else _letters(found.alphabet or {})
    return [Text(letters), found] if letters else [found]


def _letters(alphabet: Mapping[str, object]) -> str:
    """Return which input each letter stands for; empty where digits stand for themselves, or inputs are long."""
    named = {letter: np.ravel(np.asarray(value, dtype=float)) for letter, value in alphabet.items()}
    if not named or all(letter.isdigit() for letter in named) or max(map(len, named.values())) > SAID_FEATURES:
        return ""
    inputs = [f"{letter} is ({', '.join(f'{one:g}' for one in value)})" for letter, value in named.items()]
    return f"Each letter stands for an input: {listed(inputs)}."


def _limits(prepared: Prepared) -> list[Sentence]:
    points: list[Sentence] = [ONE_NETWORK]
    points.append(
        "Probes are linear: what is held in another form is not seen, and what is seen may be a side effect of "
        "something else that goes with it."
    )
    if prepared.head is None:
        points.append("Nothing is known about use: there is no readout, and so no answer that could follow a state.")
    elif prepared.read is not None and prepared.read.level:
        points.append(
            f"Interventions were made in {prepared.read.name}, which the readout reads, and not in the layers "
            "below it: whether the answer follows those is open (probe.patch and probe.ablate change any of them)."
        )
    points.append(
        "All numbers are about the inputs that the study gave; on others the network may do something else."
    )
    return points


def _provenance(found: Mapping[str, Finding]) -> dict[str, str]:
    provenance = found["network"].provenance
    parts = {f"{name} (SHA-256)": text for name, text in provenance["study"].items() if name != VERSION}
    return parts | {str(name): str(number) for name, number in provenance["versions"].items()}


def command(name: str, out: str) -> Block:
    """Return the block that says how the page is built again."""
    return Code(f"rnn-probe report {name} -o {out}", label="command")
