"""The counter's first page: a figure for each finding, and few words between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from probe import Finding
from probe.evidence import Claim, DataFigure
from probe.explorer import Explorer
from probe.report import (
    Block,
    Card,
    Cards,
    Code,
    Details,
    Figure,
    Link,
    Panels,
    Pill,
    Pills,
    Points,
    Section,
    Sentence,
    Strong,
    Table,
    Text,
    Verdict,
)
from probe.studies.pages.sections import VERDICTS

from . import story

#: How many steps the two figures have that are seen step by step.
STEPS = 10
#: From which interchange score on a cell moves half of the answers, see `one_cell`.
HALF = 0.5
#: Rows shown of the table behind a figure.
SHOWN_ROWS = 8
ROLES = ("planted", "own_initialisation", "trained")
REBUILD = (
    "make pages     # from the committed measurements\n"
    "make report    # the same, and seed 0 trained and measured here\n"
    "make study     # trains and measures every network again: hours; what is there is kept"
)
#: What stands above the explorer.
EXPLORE = (
    "Your browser runs the networks. Click bits, or type them. Below each bit stands the answer if the network were "
    "asked there."
)
EVERY_CLAIM = "#claims"
#: What stands above the table of claims.
IN_FULL: Sentence = [
    "The rules in full, with intervals and reasons: ",
    Link("all claims", "how.html#claims"),
    ".",
]


def title(findings: Mapping[str, Finding]) -> str:
    """Return the page's title: what was found, where the verdicts say so."""
    claims = story.claims_of(list(findings.values()))
    learns = claims[f"{story.AGAIN}0"].verdict in ("established", "not specific")
    alone = [claims[key].verdict for key in ("27a", "27b", "27c")]
    if learns and set(alone) == {"refuted"}:
        return "This LSTM counts. None of its cells does."
    return "What does an LSTM that counts ones learn?"


def hero(findings: Mapping[str, Finding]) -> list[Block]:
    """Return what stands before the first words: the best cell of three networks, and how many claims hold."""
    figure = _panels(
        findings,
        [f"hero_{role}" for role in ROLES],
        title="The best cell of three networks, against the ones read so far",
        caption="In each panel: the cell that tells the ones best. A line joins strings of equal length. In a cell "
        "that kept a running count all lines would lie on each other.",
    )
    again = [claim.verdict for claim in story.claims_of(list(findings.values())).values()]
    pills = [Pill(str(again.count(verdict)), Verdict(verdict), EVERY_CLAIM) for verdict in VERDICTS]
    return [figure, Pills(pills, f"{len(again)} claims")]


def lead(findings: Mapping[str, Finding]) -> Sentence:
    """Return three sentences: what was learned, what was asked, and the answer."""
    claims = story.claims_of(list(findings.values()))
    counts, running = claims[f"{story.AGAIN}0"], findings["one_cell"].notes
    return [
        f"We trained {counts.n} LSTMs to say how many ones a string of ten bits has, and "
        f"{_part(counts.holds_in, counts.n)} learned it. Does some cell keep a running count? ",
        Strong(f"{running['verdict']}."),
        " In a network that was written by hand to count, one does." if _planted_passes(findings) else "",
        _taken(findings),
    ]


def _taken(findings: Mapping[str, Finding]) -> str:
    """Return what training took away from single cells, where it did."""
    if story.claims_of(list(findings.values()))["27d"].verdict != "established":
        return ""
    before = _first_test(findings)["own initialisation"]
    return f" Before training, {before} had one that nearly does."


def _first_test(findings: Mapping[str, Finding]) -> dict[str, str]:
    """Return in how many networks some cell passes the first test, by role, in words that a plural noun follows."""
    rows = findings["one_cell"].measurements
    read = rows[rows["metric"] == "cells_read"].assign(read=rows["value"] > 0).groupby("role")["read"]
    return {str(role): _part(int(own.sum()), len(own)) for role, own in read}


def _planted_passes(findings: Mapping[str, Finding]) -> bool:
    """Return whether one cell of the planted counter passes all tests, as it must."""
    rows = findings["one_cell"].measurements
    own = rows[(rows["metric"] == "all_tests") & (rows["network"] == "planted/ones") & (rows["kind"] == "ones")]
    return bool((own["value"] == 1).any())


#: From which part on a number of networks is called so.
PARTS = ((1.0, "all of them"), (0.6, "most of them"), (0.4, "half of them"), (1e-9, "some of them"), (0.0, "none"))


def _part(number: int, total: int) -> str:
    """Return a number of networks in words; the figure beside them has it."""
    return next(words for least, words in PARTS if number / total >= least)


def sections(
    findings: Mapping[str, Finding],
    explorer: Explorer,
    sentences: Sequence[str],
    cards: Sequence[Card],
    claims: Table,
) -> list[Section]:
    """Return the page's sections, in the order of the story.

    Args:
        findings: by question.
        explorer: the networks that the page runs.
        sentences: what is said of them.
        cards: the other pages.
        claims: all claims.
    """
    fold = Details("Things to try", [Text(list(sentences))])
    return [
        _network(findings),
        _lengths(findings),
        _cells(findings),
        _memory(findings),
        _space(findings),
        _bits(findings),
        _training(findings),
        Section("Try it", [Text([EXPLORE]), explorer, fold], key="explore"),
        _sure(findings, cards, claims),
        Section("Build it again", [Details("Three commands", [Code(REBUILD)])], key="rebuild"),
    ]


#: What the page calls statements whose own words need their neighbours.
PLAIN = {
    "3": "The last state holds the count better than it holds other sums of the same bits.",
    "4": "Most of what varies in the last state is the count.",
    "5c": "The cells pull together: hardly any of them works against the answer.",
    "12b": "The answer survives the loss of directions that hold no count.",
    "18": "The network runs on few states, one for each step and count.",
    "25c": "The cells are a relay: at another count other cells carry the answer.",
    "27d": "Single cells tell the ones worse than before training.",
}
#: A drift above this, and below one, is a part of a one for each missing bit.
PART = 0.25


def _network(findings: Mapping[str, Finding]) -> Section:
    """Return what the network is, and the names of its parts."""
    said = findings["accuracy"].notes[story.SETUP].split(". ")[0]
    names = (
        "At each bit four numbers decide about every cell. The forget gate f keeps a part of the cell c. The input "
        "gate i lets a part of the candidate g in. The output gate o shows a part of the cell as the hidden state h, "
        "which the next step hears. After the last bit the answer is read off h."
    )
    return Section(
        "It reads a bit at a time, and hands its memory on",
        [Text([f"{said}.", names]), _figure(findings, "drawing", steps=STEPS)],
        key="network",
    )


def _lengths(findings: Mapping[str, Finding]) -> Section:
    """Return what the network counts, which other lengths tell."""
    claim = story.claims_of(list(findings.values()))[f"{story.AGAIN}17a"]
    title = {"refuted": "It counts at ten bits, and only there"}.get(claim.verdict, "Does it count at other lengths?")
    said = "Strings of ten bits cannot tell programs apart that differ at other lengths only."
    if PART < claim.value < 1:
        said = (
            f"A shorter string gets too large an answer: the ones, and about {claim.value:.1f} more for each bit "
            "that is missing from ten. So the answer sinks while zeros come."
        )
    figure = _panels(
        findings,
        ["lengths", "drifts"],
        title="Answers at other lengths",
        caption="Left: the mean answers of one network; on the dashed line they are right. Right: what each network "
        "adds for a missing bit.",
    )
    return Section(title, [Text(said), figure], key="other-lengths")


def _cells(findings: Mapping[str, Finding]) -> Section:
    """Return what single cells hold, before training and after it."""
    claims = story.claims_of(list(findings.values()))
    title = "Does a cell keep the count?"
    if claims["27a"].verdict == "refuted" and claims["27d"].verdict == "established":
        title = "No cell keeps the count. Training took it away."
    every = _panels(
        findings,
        [f"cells_{role}" for role in ROLES],
        title="All twelve cells of three networks",
        caption="Each dot is a string read so far; the pinker, the more bits. Above: the cell, its correlation r.",
    )
    tests = _panels(
        findings,
        ["best_read", "tests"],
        title="Five tests of a cell, in 100 networks",
        caption="First: how often one formula gives the ones from the best cell. Second: in how many networks "
        "some cell passes. Planted: written by hand; own initialisation: before training; heads: fitted on random "
        "weights.",
    )
    more = Details("With other bounds, other counts and smaller networks", [Text(_more_tests(findings))])
    first = Text(findings["moving_zero"].notes["first"])
    return Section(title, [first, every, Text(_five_tests(findings)), tests, more], key="one-cell")


def _memory(findings: Mapping[str, Finding]) -> Section:
    """Return what the answer follows where a memory is put in."""
    moved = findings["one_cell"].measurements
    moved = moved[(moved["metric"] == "cell_test") & (moved["kind"] == "moves") & (moved["role"] == "trained")]
    title = "Which cell moves the answer?"
    if not (moved["value"] >= HALF).any():
        title = "No single cell moves even half of the answers"
    figure = _panels(
        findings,
        ["put_in_planted", "put_in_trained"],
        title="Put a memory in",
        caption="After seven bits we put the memory of another string into a run with three ones. Circles: the "
        "whole memory. Squares and thin lines: one cell at a time.",
    )
    return Section(title, [Text(findings["pictures"].notes["put_in"]), figure], key="put-in")


def _space(findings: Mapping[str, Finding]) -> Section:
    """Return where the counts lie in the space of cells."""
    said = Text([findings["pictures"].notes["space"], _directions(findings)])
    title = "All cells together hold the count, and every bit moves it"
    return Section(title, [said, _figure(findings, "space", choose="bits read")], key="space")


def _bits(findings: Mapping[str, Finding]) -> Section:
    """Return which way a bit gets in, and a count gets on."""
    figure = _panels(
        findings,
        ["one_string", "shares"],
        title="One string, and one step",
        caption="Left: a row is a unit. Black gates are open; teal is below zero, gold above. Right: arrows are as "
        "wide as what goes along them.",
    )
    again = story.claims_of(list(findings.values()))
    said = findings["pictures"].notes["shares"]
    if {again[f"{story.AGAIN}{key}"].verdict for key in ("15b", "7a")} == {"not specific"}:
        said += " A fitted head on random weights does the same, so training did not make it."
    title = "A bit enters by the candidate, and the cells carry the sum on"
    return Section(title, [Text(said), figure], key="bits")


def _five_tests(findings: Mapping[str, Finding]) -> str:
    """Return what the five tests say, without their numbers: the figure beside it has these."""
    rows = findings["one_cell"].measurements
    whole = rows[(rows["metric"] == "all_tests") & (rows["role"] == "trained")].groupby("network")["value"].max()
    return (
        "We ask more: does one formula give the ones from a cell after every bit, also in longer strings, and does "
        f"the answer come from that cell? One cell passes all five tests in {_part(int(whole.sum()), len(whole))} of "
        f"the trained networks. {findings['moving_zero'].notes.get('larger', '')}"
    )


def _more_tests(findings: Mapping[str, Finding]) -> list[str]:
    """Return what the tests say with other choices, as paragraphs."""
    zero = findings["moving_zero"].notes
    said = [findings["one_cell"].notes["short"]]
    said += [zero[name] for name in ("answer", "beside")]
    return [sentence for sentence in said if sentence]


def _directions(findings: Mapping[str, Finding]) -> str:
    again = story.claims_of(list(findings.values()))[f"{story.AGAIN}9"]
    said = f"Of what the whole state does to the answer, two directions do {again.value:.0%}."
    if again.verdict != "not specific":
        return said
    (control,) = again.differences
    return f"{said} Training did not make that: in a random network with a fitted head two do {control.control:.0%}."


def _training(findings: Mapping[str, Finding]) -> Section:
    """Return what training made that the best head on untrained weights does not have."""
    claims = story.claims_of(list(findings.values()))
    made = [claim for claim in claims.values() if claim.verdict == "established" and claim.differences]
    points: list[Sentence] = [PLAIN.get(story.key(claim), claim.rule.statement) for claim in made]
    return Section(
        "What training made, and random weights do not have",
        [
            Text(
                "A random network with a fitted head answers right, too. So only what beats the best of three such "
                "heads counts as learned:"
            ),
            Points(points),
            Text(f"{_noise(claims)}: {findings['pictures'].notes['noise']}"),
        ],
        key="training",
    )


def _noise(claims: Mapping[str, Claim]) -> str:
    """Return whether standing noise is one of the findings that beat the best head."""
    claim = claims[f"{story.AGAIN}5b"]
    if claim.verdict == "established":
        return "To withstand noise is one of them"
    return f"To withstand noise is not among them, its verdict is “{claim.verdict}”"


def _sure(findings: Mapping[str, Finding], cards: Sequence[Card], claims: Table) -> Section:
    """Return how many claims have which verdict, the claims, what is open, and the other pages."""
    judgement = findings["verdicts"].notes
    opened = Details("What a reviewer still objects to", [Text(judgement["open"])])
    return Section(
        "How sure is this?",
        [
            Text(
                "We wrote every rule down before we trained the networks that it judges. “Not specific”: as true "
                "without training. Two networks written by hand are traps: the cell that a probe reads best does "
                "nothing, or eight cells share the count."
            ),
            Details("Every claim, with its control and its verdict", [Text([IN_FULL]), claims]),
            opened,
            Cards(cards),
        ],
        key="claims",
    )


def _picture(findings: Mapping[str, Finding], name: str) -> DataFigure:
    return next(figure for figure in findings["pictures"].figures if figure.name == name)


def _table(figures: Sequence[DataFigure]) -> Table:
    """Return the numbers behind a figure; of several panels one below the other, each row with its panel's title."""
    data, name = figures[0].data, figures[0].name
    if len(figures) > 1:
        parts = {one.title: one.data for one in figures}
        data = pd.concat(parts, names=["panel"]).reset_index(level="panel").reset_index(drop=True)
    return Table.from_frame(data, f"The numbers behind it ({name}).", name=name, max_rows=SHOWN_ROWS)


def _figure(findings: Mapping[str, Finding], name: str, *, steps: int = 0, choose: str = "") -> Figure:
    one = _picture(findings, name)
    many = STEPS if choose else steps
    return Figure(one.svg, one.alt, one.caption, one.title, _table([one]), steps=many, choose=choose)


def _panels(findings: Mapping[str, Finding], names: Sequence[str], *, title: str, caption: str) -> Panels:
    every = [_picture(findings, name) for name in names]
    return Panels([Figure(one.svg, one.alt, one.caption, one.title) for one in every], caption, title, _table(every))
