"""Builds the page of a study from its findings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..errors import several
from ..evidence.findings import Finding
from ..report import Block, Code, Details, Figure, Link, Page, Points, Section, Sentence, Strong, Table, Text
from . import live_network
from .definition.identity import VERSION
from .definition.prepared import Prepared
from .questions import interchange_words, linear_probes, network_card
from .rows import listed, one, only, said

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


def build(prepared: Prepared, findings: Mapping[str, Finding]) -> Page:
    """Return the page.

    Args:
        prepared: the study.
        findings: its findings by question.
    """
    readings = [findings[question] for question in linear_probes.question_names(prepared).values()]
    sections = [
        Section("In short", [Points(_points(prepared, findings, readings))], key="in-short"),
        Section("The network", _card(findings["network"]), key="network"),
        *(
            Section(
                finding.title, _blocks(finding, ("answer", "unit", "selectivity"), ("setup",)), key=finding.question
            )
            for finding in readings
        ),
        Section(findings["gates"].title, _blocks(findings["gates"], ("answer",), ()), key="gates"),
        *_causal(prepared, findings),
        Section(
            findings["fixed-points"].title,
            [*_blocks(findings["fixed-points"], ("answer",), ("setup",))],
            key="fixed-points",
        ),
        Section("Run it yourself", _explorer(prepared), key="explore"),
        Section("What this page cannot say", [Points(_limits(prepared))], key="limits"),
    ]
    title = prepared.study.title or f"What does {prepared.opened.name} hold?"
    return Page(title, _lead(prepared, findings, readings), sections, provenance=_provenance(findings))


def _lead(prepared: Prepared, findings: Mapping[str, Finding], readings: list[Finding]) -> Sentence:
    """Return the first verdict, and whether the answer follows. The list below has the others, with the numbers."""
    pieces: list[str | Strong] = [Strong(_verdict(readings[0]))]
    if len(readings) > 1:
        pieces.append(f" {several(len(readings) - 1, 'more concept')} below.")
    if prepared.head is None:
        pieces.append(" Without a readout we cannot say whether the network uses any of it.")
    else:
        whole, _, _ = findings["interchange"].notes["answer"].partition(";")
        pieces.append(f" {whole.rstrip('.')}.")
    pieces.append(" One network says nothing about the recipe that trained it.")
    return tuple(pieces)


def _verdict(finding: Finding) -> str:
    return finding.notes.get("verdict", finding.notes["answer"])


def _points(prepared: Prepared, findings: Mapping[str, Finding], readings: list[Finding]) -> list[Sentence]:
    points: list[Sentence] = [
        [Link(finding.title, f"#{finding.question}"), f" {_verdict(finding)}"] for finding in readings
    ]
    if prepared.head is None:
        points.append([Link("Is it used?", "#used"), f" {WITHOUT_READOUT.partition('. ')[0]}."])
    else:
        for question in ("answers", "ablation", "interchange"):
            points.append([Link(findings[question].title, f"#{question}"), f" {findings[question].notes['answer']}"])
    points.append(
        [Link(findings["fixed-points"].title, "#fixed-points"), f" {findings['fixed-points'].notes['answer']}"]
    )
    return points


def _card(finding: Finding) -> list[Block]:
    facts = [("inputs", finding.notes["inputs"])]
    facts += [
        (name.removeprefix("card: "), text) for name, text in finding.notes.items() if name.startswith("card: ")
    ]
    layers = network_card.layers_table(finding)
    return [
        Text(finding.notes["recording"]),
        Table.from_frame(layers, "Recurrent layers, from the inputs up.", name="layers"),
        Table(["what", "value"], facts, "Where it comes from, and what it read."),
    ]


def _blocks(finding: Finding, first: tuple[str, ...], last: tuple[str, ...]) -> list[Block]:
    sentences = [finding.notes[name] for name in first if finding.notes.get(name)]
    blocks: list[Block] = [Text(sentences)] if sentences else []
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
    columns = ("claim about the recipe", "this network", "random weights", "verdict")
    rows = [(claim.rule.statement, claim.value, claim.untrained, claim.verdict) for claim in finding.claims]
    why = "; ".join(dict.fromkeys(claim.reason for claim in finding.claims))
    return [Table(columns, rows, f"The verdict of probe.judge, and its reason: {why}.", verdict="verdict")]


def _causal(prepared: Prepared, findings: Mapping[str, Finding]) -> list[Section]:
    if prepared.head is None:
        return [Section("Is it used?", [Text(WITHOUT_READOUT)], key="used")]
    answers, interchange = findings["answers"], findings["interchange"]
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
    parts = _blocks(interchange, ("answer", "search"), ("setup",))
    if len(interchange.measurements):
        parts[1:1] = [_patched(interchange), *_decided_later(prepared, interchange)]
    return [
        Section(answers.title, blocks, key="answers"),
        Section(findings["ablation"].title, _blocks(findings["ablation"], ("answer",), ("setup",)), key="ablation"),
        Section(interchange.title, parts, key="interchange"),
    ]


def _patched(interchange: Finding) -> Table:
    rows = interchange_words.summary(interchange.measurements)
    kinds = {"units": "", "part": "", "end": ""}
    names = [
        f"{name} ({units})" if kinds.get(kind) == "" and units else f"{name} ({units} of them)" if units else name
        for name, units, kind in zip(rows["network"], rows["units"], rows["signal"], strict=True)
    ]
    numbers = [rows[column].round(3).tolist() for column in ("followed", "shift", "off_support")]
    columns = ("patched", "answers that follow", "shift", "off support")
    caption = "What we patched into the base's run, and how its answer changed."
    usual = one(interchange.measurements, metric="apart")
    if np.isfinite(usual):
        caption += (
            " Off support: the distance to the nearest state that occurs. The unit is the distance between the mean "
            f"states of neighbouring values of the concept. States that occur lie {said(usual)} from each other."
        )
    return Table(columns, list(zip(names, *numbers, strict=True)), caption, name="interchange", digits=3)


def _decided_later(prepared: Prepared, interchange: Finding) -> list[Table]:
    """Return the table of how often the state decides the answer, by how many steps follow the patch."""
    shares = only(interchange.measurements, metric="depends")
    if shares.empty:
        return []
    whose = "right answer" if prepared.answered.function is not None else "answer of the network"
    rows = sorted(zip(shares["units"].astype(int), shares["value"].round(3), strict=True))
    columns = ("steps that follow", "pairs whose answer the state decides")
    caption = (
        f"How often does the state decide the answer, and not the later inputs? The share of pairs that differ in "
        f"“{prepared.answered.name}” whose {whose} changes with the patched state."
    )
    return [Table(columns, rows, caption, name="interchange-later", digits=3)]


def _explorer(prepared: Prepared) -> list[Block]:
    explorer = live_network.explorer(prepared)
    if isinstance(explorer, str):
        return [Text(explorer)]
    letters = "" if prepared.symbols else _letters(explorer.alphabet or {})
    return [Text(letters), explorer] if letters else [explorer]


def _letters(alphabet: Mapping[str, object]) -> str:
    """Return the sentence on the input of each letter; empty if digits stand for themselves, or inputs are long."""
    named = {letter: np.ravel(np.asarray(value, dtype=float)) for letter, value in alphabet.items()}
    if not named or all(letter.isdigit() for letter in named) or max(map(len, named.values())) > SAID_FEATURES:
        return ""
    inputs = [f"{letter} is ({', '.join(f'{number:g}' for number in value)})" for letter, value in named.items()]
    return f"Each letter stands for an input: {listed(inputs)}."


def _limits(prepared: Prepared) -> list[Sentence]:
    points: list[Sentence] = [ONE_NETWORK]
    points.append(
        "Probes are linear. They miss a concept that is held in another form, and a concept that they read may only "
        "go along with something else."
    )
    if prepared.head is None:
        points.append("We know nothing about use: without a readout there is no answer that could follow a state.")
    elif prepared.read is not None and prepared.read.level:
        points.append(
            f"We patched {prepared.read.name}, which the readout reads, and not the layers below. Whether the answer "
            "follows those is open; probe.patch and probe.ablate change any of them."
        )
    points.append("All numbers are about the inputs of the study. On others the network may behave differently.")
    return points


def _provenance(findings: Mapping[str, Finding]) -> dict[str, str]:
    provenance = findings["network"].provenance
    parts = {f"{name} (SHA-256)": text for name, text in provenance["study"].items() if name != VERSION}
    return parts | {str(name): str(number) for name, number in provenance["versions"].items()}


def command(name: str, out: str) -> Block:
    """Return the block with the command that builds the page again."""
    return Code(f"rnn-probe report {name} -o {out}", label="command")
