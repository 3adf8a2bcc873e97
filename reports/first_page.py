"""The counter's first page: a figure for each finding, and few words between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from probe import Finding
from probe.evidence import Claim, DataFigure
from probe.evidence.measurements import FITTED_HEADS
from probe.evidence.words import listed
from probe.explorer import Explorer
from probe.report import (
    Block,
    Card,
    Cards,
    Code,
    Details,
    Figure,
    Link,
    Page,
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

from .claims import claims_of

#: How many steps the two figures have that are seen step by step, and rows shown of the table behind a figure.
STEPS, SHOWN_ROWS = 10, 8
#: From which share on heads answer as trained networks do; claims that a rival takes something from.
HEADS, RIVALS = 0.9, {"24d": "24e"}
#: From which interchange score on a cell moves half of the answers, see `one_cell`.
HALF = 0.5
#: The correlation of the number of bits read with the ones, where each of 1 to 10 bits has the same weight.
CLOCK = 0.6**0.5
ROLES = ("planted", "own_initialisation", "trained")
REBUILD = (
    "make pages     # from the committed measurements\n"
    "make report    # the same, and seed 0 trained and measured here\n"
    "make study     # trains and measures every network again: hours; what is there is kept"
)
EVERY_CLAIM, OBJECTIONS = "how.html#claims", "how.html#open"
#: A section with panels: its heading, its words, the figure's names, title and caption.
Shown = tuple[str, str, Sequence[str], str, str]


def page(
    findings: Mapping[str, Finding],
    explorer: Explorer,
    cards: Sequence[Card],
    *,
    families: Sequence[Sequence[str]],
    provenance: Mapping[str, str],
) -> Page:
    """Return the first page: of findings by question, with an explorer, the other pages, and what is open."""
    claims = claims_of(findings.values())
    verdicts = {key: claim.verdict for key, claim in claims.items()}
    alone = {verdicts[key] for key in ("27a", "27b", "27c")} == {"refuted"}
    learns = verdicts["II.0"] in ("established", "not specific")
    title = (
        "This LSTM gives the count. None of its cells keeps it."
        if learns and alone
        else "What does an LSTM that counts learn?"
    )
    sections = [
        _network(findings),
        _panelled(findings, _lengths(findings, claims)),
        _cells(findings),
        _tests(findings),
        _panelled(findings, _memory(findings, claims)),
        _space(findings, claims),
        _bits(findings, claims),
        _training(claims, families),
        Section(
            "Try it", [Text("Your browser runs the networks. Click bits, or type them."), explorer], key="explore"
        ),
        _sure(cards),
        Section("Build it again", [Details("Three commands", [Code(REBUILD)])], key="rebuild"),
    ]
    hero = _hero(findings, claims, families)
    lead = _lead(findings, claims)
    return Page(title, lead, sections, provenance=provenance, hero=hero, folds_printed=False)


def _hero(
    findings: Mapping[str, Finding], claims: Mapping[str, Claim], families: Sequence[Sequence[str]]
) -> list[Block]:
    """Return what stands before the first words: the best cell of three networks, and how many families hold."""
    figure = _panels(
        findings,
        [f"hero_{role}" for role in ROLES],
        title="The best cell of three networks, against the ones read so far",
        caption="The cell that one map reads best, a line for each length. Were the map always right, all would lie "
        "on each other.",
    )
    verdicts = [verdict for own in families for verdict in {claims[key].verdict for key in own}]
    pills = [Pill(str(verdicts.count(verdict)), Verdict(verdict), EVERY_CLAIM) for verdict in VERDICTS]
    return [figure, Pills(pills, f"{len(families)} families of claims, each under all its verdicts")]


def _lead(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Sentence:
    """Return what was learned, what was asked, and the answer."""
    counts, rows = claims["II.0"], findings["one_cell"].measurements
    passed = rows[rows["metric"] == "all_tests"].groupby(["role", "network"])["value"].max()
    own = passed["trained"]
    answer = f"No, in none of the {len(own)} trained networks."
    if own.any():
        answer = f"Perhaps, in {own.sum():.0f} of {len(own)} trained networks, where one cell passes all five tests."
    taken = rows[(rows["metric"] == "cells_read") & (rows["role"] == "own initialisation")]["value"] > 0
    return [
        f"We trained {counts.n} LSTMs to say how many ones a string of ten bits has, and "
        f"{counts.holds_in} of them learned it. Does some cell keep a running count? ",
        Strong(answer),
        " In a network that was written by hand to count, one does." if passed["planted", "planted/ones"] else "",
        f" Before training, {taken.sum()} of {len(taken)} had one off which one map reads the ones after every bit."
        if claims["27d"].verdict == "established"
        else "",
    ]


def _network(findings: Mapping[str, Finding]) -> Section:
    names = (
        "It reads ten bits through twelve LSTM units. The gates keep a part of the cell c, let a part of the "
        "candidate g in, and show a part as the hidden state h."
    )
    blocks = [Text(names), _figure(findings, "drawing", steps=STEPS)]
    return Section("It reads a bit at a time, and hands its memory on", blocks, key="network")


def _lengths(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Shown:
    wrong = claims["II.17a"].verdict == "refuted"
    title = "It counts at ten bits, and only there" if wrong else "Does it count at other lengths?"
    said = "Strings of ten bits cannot tell programs apart that differ at other lengths only."
    caption = "On the dashed line answers are right."
    if findings["pictures"].notes["lengths"]:
        said = findings["pictures"].notes["lengths"]
        rows = findings["drift_law"].measurements
        rows = rows[(rows["metric"] == "less_zeros") & rows["role"].isin(FITTED_HEADS)]
        shares = rows.groupby(["at", "role"])["value"].mean().groupby("at").max()
        at = listed([f"{length:.0f}" for length in shares[shares >= HEADS].index])
        caption += f" {findings['pictures'].notes['lengths_more']}"
        caption += f" Heads on random weights answer so at {at} bits alone."
    return title, said, ["lengths", "drifts"], "Answers at other lengths", caption


def _cells(findings: Mapping[str, Finding]) -> Section:
    """Return all cells against the ones, and how well the best is read, by how free the reader is."""
    data = _picture(findings, "readings").data
    seeds = data["network"].str.split("/").str[1]
    wide = data.assign(seed=seeds).pivot_table(index=["reading", "seed"], columns="role", values="value", sort=False)
    more = (wide["trained"] > wide["own initialisation"]).groupby("reading", sort=False).sum()
    networks = seeds.nunique()
    title, said = "What does a cell tell of the ones?", ""
    if more.iloc[0] < networks / 2 < more.iloc[2]:
        title = "What a cell tells of the ones depends on who reads it"
        said = (
            f"After training the best cell tells more of the ones than before it in {more.iloc[0]} of {networks} "
            f"networks, if one map reads it at all steps, and in {more.iloc[2]}, if each step has its own. So "
            "neither says whether a count is kept."
        )
    caption = (
        "Each dot is a string read so far; the pinker, the more bits. Above: the cell, and its correlation with the "
        f"ones, r; that of the number of bits is {CLOCK:.2f}."
    )
    blocks = [
        Text(f"{said} {findings['pictures'].notes['carried']}".strip()),
        _figure(findings, "readings"),
        _panels(
            findings, [f"cells_{role}" for role in ROLES], title="All twelve cells of three networks", caption=caption
        ),
    ]
    return Section(title, blocks, key="cells-trained")


def _tests(findings: Mapping[str, Finding]) -> Section:
    said = (
        "We ask more: does one formula give the ones after every bit, also in longer strings, and does "
        "the answer come from that cell?"
    )
    heading = "Five tests of a cell that keeps the count"
    words = [said, findings["pictures"].notes["every_step"]]
    return Section(heading, [Text(words), _figure(findings, "tests")], key="tests")


def _memory(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Shown:
    moved = findings["one_cell"].measurements
    moved = moved[(moved["metric"] == "cell_test") & (moved["kind"] == "moves") & (moved["role"] == "trained")]
    title = "Which cell moves the answer?"
    if not (moved["value"] >= HALF).any():
        title = "No single cell moves even half of the answers"
    caption = (
        "After seven bits, into a run with three ones. Circles: the whole memory of another string. Squares: one "
        "cell of it."
    )
    names = ["put_in_planted", "put_in_trained"]
    said = findings["pictures"].notes["put_in"]
    if claims["25b"].verdict == "refuted":
        said += " In the median string one cell carries half of a count and more, in others others do."
    return title, said, names, "Put a memory in", caption


def _space(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Section:
    two = claims["II.9"]
    said = f"Of what the whole state does to the answer, two directions do {two.value:.0%}."
    if two.verdict == "not specific":
        (control,) = two.differences
        said += f" That needs no training: in a random network with a fitted head two do {control.control:.0%}."
    blocks = [Text([findings["pictures"].notes["space"], said]), _figure(findings, "space", choose="bits read")]
    return Section("All cells together hold the count, and every bit moves it", blocks, key="space")


def _bits(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Section:
    said = findings["pictures"].notes["shares"]
    if {claims[key].verdict for key in ("II.15b", "II.7a")} == {"not specific"}:
        said += " That needs no training: a fitted head on random weights does the same."
    heading = "A bit enters by the candidate, and the cells carry the sum on"
    return Section(heading, [Text(said), _figure(findings, "shares")], key="shares")


def beside(claim: Claim, claims: Mapping[str, Claim]) -> str:
    """Return what a rival claim takes from one that was established, if it is refuted."""
    rival = claims[RIVALS[claim.rule.key]] if claim.rule.key in RIVALS else None
    refuted = rival and rival.verdict == "refuted"
    return f" But not: {rival.rule.on_page.partition(' (')[0]}." if rival and refuted else ""


def _training(claims: Mapping[str, Claim], families: Sequence[Sequence[str]]) -> Section:
    """Return what training made that no control has, a claim a family, with the controls that it was held against."""
    every = [claim for claim in claims.values() if claim.verdict == "established" and claim.differences]
    firsts = [next((one for one in every if one.rule.key in own), None) for own in families]
    made = [claim for claim in every if claim in firsts]
    points: list[Sentence] = [
        f"{claim.rule.on_page.partition(' (')[0]}; against {' and '.join(d.role for d in claim.differences)}."
        f"{beside(claim, claims)}"
        for claim in made
    ]
    noise = claims["II.5b"]
    among = "To withstand noise is one of them."
    if noise not in made:
        among = f"To withstand noise is not among them: “{noise.verdict}”."
    said = (
        "A random network with a fitted head answers right, too. So claims must beat the best of such heads, or "
        "the network before training, also with larger weights."
    )
    blocks = [Text(said), Points(points), Text(among)]
    return Section("What training made more of", blocks, key="training")


def _sure(cards: Sequence[Card]) -> Section:
    """Return what a verdict rests on, what is open, and the other pages."""
    said: Sentence = [
        "We wrote every rule down before we trained the networks that it judges, and held most against two stronger "
        "controls afterwards. “Not specific”: as true without training. ",
        Link("Every claim, with its verdict", EVERY_CLAIM),
        ". ",
        Link("What reviewers still object to", OBJECTIONS),
        ".",
    ]
    return Section("How sure is this?", [Text([said]), Cards(cards)], key="claims")


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


def _panelled(findings: Mapping[str, Finding], shown: Shown) -> Section:
    heading, said, names, title, caption = shown
    return Section(
        heading, [Text(said), _panels(findings, names, title=title, caption=caption)], key=names[-1].replace("_", "-")
    )


def _panels(findings: Mapping[str, Finding], names: Sequence[str], *, title: str, caption: str) -> Panels:
    every = [_picture(findings, name) for name in names]
    return Panels([Figure(one.svg, one.alt, one.caption, one.title) for one in every], caption, title, _table(every))
