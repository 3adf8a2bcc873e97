"""The counter's first page: a figure for each finding, and few words between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from probe import Finding
from probe.errors import several
from probe.evidence import Claim, DataFigure
from probe.evidence.measurements import FITTED_HEADS
from probe.evidence.words import listed
from probe.explorer import Explorer, ExplorerBits
from probe.report import (
    Card,
    Cards,
    Figure,
    Link,
    Page,
    Panels,
    Pill,
    Pills,
    Points,
    Section,
    Sentence,
    Table,
    Text,
    Verdict,
)
from probe.studies.pages.sections import VERDICTS, Contents

from .claims import claims_of

#: How many steps the figure has that is seen step by step.
STEPS = 10
#: From which share on heads answer as trained networks do; claims that a rival takes something from.
HEADS, RIVALS = 0.9, {"24d": ("24e", "not better than a count of zeros")}
#: From which interchange score on a cell moves half of the answers, see `one_cell`.
HALF = 0.5
ROLES = ("planted", "own_initialisation", "trained")
HOW, RUN = "how.html", "#explore"
#: A section with panels: its heading, its words, the figure's names, title and caption.
Shown = tuple[str, str, Sequence[str], str, str]


def page(
    findings: Mapping[str, Finding],
    explorer: Explorer,
    others: Mapping[str, Contents],
    *,
    families: Sequence[Sequence[str]],
    provenance: Mapping[str, str],
    up: Sequence[Link],
    picture: str,
) -> Page:
    """Return the first page: of findings by question, with an explorer, and the other pages by file name."""
    claims = claims_of(findings.values())
    alone = {claims[key].verdict for key in ("27a", "27b", "27c")} == {"refuted"}
    learns = claims["II.0"].verdict in ("established", "not specific")
    title = "What does an LSTM that counts learn?"
    if learns and alone:
        title = "These LSTMs get the count right. No cell keeps it."
    sections = [
        _bits(findings, claims),
        _panelled(findings, _lengths(findings, claims)),
        _cells(findings),
        _tests(findings),
        _panelled(findings, _memory(findings, claims)),
        _space(findings, claims),
        _training(claims, families),
        Section("Try it", [explorer], key="explore"),
        _sure(findings, families),
    ]
    bits = ExplorerBits(explorer, RUN, "It has {} ones.", "It has 1 one.")
    cards = [Card(one.title, name, _first(one.lead)) for name, one in others.items() if name != HOW]
    hero = [_hero(findings), bits, Cards(cards)]
    lead = _lead(findings, claims)
    return Page(title, lead, sections, provenance=provenance, hero=hero, folds_printed=False, up=up, picture=picture)


def _first(lead: Sentence) -> str:
    """Return the first sentence of a page's answer."""
    return f"{str(lead).partition('. ')[0].removesuffix('.')}."


def _hero(findings: Mapping[str, Finding]) -> Panels:
    return _panels(
        findings,
        [f"hero_{role}" for role in ROLES],
        title="Ones as read from the best cell",
        caption="One formula turns the best cell into a count; one line per number of bits read. A cell that counts "
        "stays on the diagonal.",
    )


def _lead(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Sentence:
    """Return what was asked, the answer, and what the networks do instead."""
    counts, rows = claims["II.0"], findings["one_cell"].measurements
    passed = rows[(rows["metric"] == "all_tests") & (rows["role"] == "trained")]
    own = passed.groupby("network")["value"].max()
    answer = "no cell in any of them keeps a running count."
    if own.any():
        answer = f"in {own.sum():.0f} of them some cell passes the five tests of a running count."
    return (
        f"Of {counts.n} LSTMs, {counts.holds_in} learned to say how many ones a ten-bit string has; {answer} "
        f"{findings['pictures'].notes['instead']}"
    ).strip()


def _bits(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Section:
    said = f"Each of twelve units has a cell c and a hidden state h. {findings['pictures'].notes['shares']}"
    if {claims[key].verdict for key in ("II.15b", "II.7a")} == {"not specific"}:
        said += " This takes no training: random weights with a fitted head do the same."
    heading = "A bit enters through the candidate, and the cells carry the sum forward"
    return Section(heading, [Text(said), _figure(findings, "shares")], key="shares")


def _lengths(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Shown:
    wrong = claims["II.17a"].verdict == "refuted"
    title = "They count at ten bits, and only there" if wrong else "Does it count at other lengths?"
    said = "Strings of ten bits cannot tell apart programs that differ at other lengths only."
    caption = "On the dashed line the answer is right."
    if claims["20d"].verdict == "established":
        said = (
            f"At six to twelve bits, in {claims['20d'].holds_in} of {claims['20d'].n} networks, nine in ten answers "
            "are within one of ten minus the number of zeros."
        )
        rows = findings["drift_law"].measurements
        rows = rows[(rows["metric"] == "less_zeros") & rows["role"].isin(FITTED_HEADS)]
        shares = rows.groupby(["at", "role"])["value"].mean().groupby("at").max()
        at = listed([f"{length:.0f}" for length in shares[shares >= HEADS].index])
        caption += f" Heads on random weights are as close only at {at} bits."
    return title, said, ["lengths", "drifts"], "Answers at other lengths", caption


def _cells(findings: Mapping[str, Finding]) -> Section:
    """Return how well the best cell is read, by how free the reader is."""
    data = _picture(findings, "readings").data
    seeds = data["network"].str.split("/").str[1]
    wide = data.assign(seed=seeds).pivot_table(index=["reading", "seed"], columns="role", values="value", sort=False)
    more = (wide["trained"] > wide["own initialisation"]).groupby("reading", sort=False).sum()
    networks = seeds.nunique()
    title, said = "What does a cell say about the ones?", ""
    if more.iloc[0] < networks / 2 < more.iloc[3]:
        title = "What a cell says about the ones depends on how it is read"
        said = (
            f"With one formula for all steps, training makes the best cell more telling in {more.iloc[0] or 'none'} "
            f"of {networks} networks; with a formula and cell for each step, in {more.iloc[3]}."
        )
    words = [Text(said)] if said else []
    return Section(title, [*words, _figure(findings, "readings")], key="readings")


def _tests(findings: Mapping[str, Finding]) -> Section:
    said = (
        "A counting cell gives the ones by one formula after every bit, and the answer comes from it. "
        f"{findings['pictures'].notes['every_step']}"
    )
    data = _picture(findings, "tests").data
    heading = "Five tests of a cell that keeps the count"
    if not data[data["role"] == "trained"]["share"].any():
        heading = "In these networks no cell passes any of the five tests"
    return Section(heading, [Text(said), _figure(findings, "tests")], key="tests")


def _memory(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Shown:
    moved = findings["one_cell"].measurements
    moved = moved[(moved["metric"] == "cell_test") & (moved["kind"] == "moves") & (moved["role"] == "trained")]
    title = "Which cell moves the answer?"
    if not (moved["value"] >= HALF).any():
        title = "No single cell moves even half of the answers"
    caption = "After seven bits, in strings with three ones. Circles: the whole memory. Squares: one cell of it."
    names = ["put_in_planted", "put_in_trained"]
    said = findings["pictures"].notes["put_in"]
    return title, said, names, "Swap in another memory", caption


def _space(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Section:
    two = claims["II.9"]
    said = (
        "Along the two directions of largest variance, strings are ordered by their ones. Two others, found by "
        f"search, move the answer {two.value:.0%} as far as the whole state does"
    )
    said += ", as do two directions in random weights with a fitted head." if two.verdict == "not specific" else "."
    heading = "All cells together hold the count, and every bit moves it"
    return Section(heading, [Text(said), _figure(findings, "space", choose="bits read")], key="space")


def beside(claim: Claim, claims: Mapping[str, Claim]) -> str:
    """Return what a rival claim takes from one that was established, if it is refuted."""
    refuted = claim.rule.key in RIVALS and claims[RIVALS[claim.rule.key][0]].verdict == "refuted"
    return f", but {RIVALS[claim.rule.key][1]}" if refuted else ""


def _training(claims: Mapping[str, Claim], families: Sequence[Sequence[str]]) -> Section:
    """Return what training made that no control has, a claim a family."""
    every = [claim for claim in claims.values() if claim.verdict == "established" and claim.differences]
    firsts = [next((one for one in every if one.rule.key in own), None) for own in families]
    made = [claim for claim in every if claim in firsts]
    points: list[Sentence] = [f"{claim.rule.on_page.partition(' (')[0]}{beside(claim, claims)}." for claim in made]
    said = (
        "Random weights with a fitted head answer correctly, too. These claims, one per family, beat the best of "
        "five such heads or, for states, the network before training:"
    )
    return Section("What training adds to random weights", [Text(said), Points(points)], "training")


def _sure(findings: Mapping[str, Finding], families: Sequence[Sequence[str]]) -> Section:
    """Return what a verdict rests on, and how many claims have which."""
    decided = [claim.verdict for claim in claims_of(findings.values()).values()]
    pills = [Pill(str(decided.count(one)), Verdict(one), f"{HOW}#claims") for one in VERDICTS]
    said: Sentence = [
        f"They form {len(families)} families. Every rule predates the networks that it judges; two controls came "
        "later. “Not specific”: just as true without training. ",
        Link("How we know", HOW),
        " · ",
        Link("what reviewers object to", f"{HOW}#open"),
    ]
    return Section("How sure is this?", [Pills(pills, several(len(decided), "claim")), Text([said])], key="claims")


def _picture(findings: Mapping[str, Finding], name: str) -> DataFigure:
    return next(figure for figure in findings["pictures"].figures if figure.name == name)


def _table(figures: Sequence[DataFigure]) -> Table:
    """Return the numbers behind a figure; of several panels one below the other, each row with its panel's title."""
    data, name = figures[0].data, figures[0].name
    if len(figures) > 1:
        parts = {one.title: one.data for one in figures}
        data = pd.concat(parts, names=["panel"]).reset_index(level="panel").reset_index(drop=True)
    return Table.from_frame(data, f"The numbers behind it ({name}).", name=name)


def _figure(findings: Mapping[str, Finding], name: str, *, choose: str = "") -> Figure:
    one = _picture(findings, name)
    about = (one.svg, one.alt, one.caption, one.title, _table([one]))
    return Figure(*about, steps=STEPS * bool(choose), choose=choose, python=_python(findings, one))


def _python(findings: Mapping[str, Finding], one: DataFigure | None = None) -> str:
    """Return the line of Python that gets a figure, or all of the first page."""
    finding = findings["pictures"]
    return finding.python(None if one is None else finding.figures.index(one))


def _panelled(findings: Mapping[str, Finding], shown: Shown) -> Section:
    heading, said, names, title, caption = shown
    return Section(
        heading, [Text(said), _panels(findings, names, title=title, caption=caption)], key=names[-1].replace("_", "-")
    )


def _panels(findings: Mapping[str, Finding], names: Sequence[str], *, title: str, caption: str) -> Panels:
    every = [_picture(findings, name) for name in names]
    pictures = [Figure(one.svg, one.alt, one.caption, one.title) for one in every]
    return Panels(pictures, caption, title, _table(every), python=_python(findings))
