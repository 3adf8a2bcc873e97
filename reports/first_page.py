"""The counter's first page: a figure for each finding, and few words between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from probe import Finding
from probe.errors import several
from probe.evidence import Claim, DataFigure
from probe.evidence.claims import STRONGEST
from probe.evidence.measurements import FITTED_HEADS, ROLES
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
#: What says less where another claim is refuted: better than ones alone, but not than zeros alone.
RIVALS = {"24d": "24e"}
#: Up to which relay index the same cells carry every count, see `relay`.
SAME = 1.5
#: From which interchange score on a cell moves half of the answers, see `one_cell`.
HALF = 0.5
HERO = ("planted", "fitted_head", "trained")
HOW, TRAINING, RUN = "how.html", "training.html", "#explore"
#: A section with panels: its heading, its words, the figure's names, title and caption.
Shown = tuple[str, Sentence, Sequence[str], str, str]


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
    alone = {claims[key].verdict for key in ("27e", "27f", "27g")} == {"refuted"}
    learns = claims["II.0"].verdict in ("established", "not specific")
    title = "What does an LSTM that counts learn?"
    if learns and alone and findings["pictures"].notes["instead"]:
        title = "Trained to count ones, these LSTMs take zeros off. No cell keeps the count."
    sections = [
        _panelled(findings, _lengths(findings, claims)),
        _relay(findings, claims),
        _panelled(findings, _memory(findings, claims)),
        _cells(findings),
        _space(findings, claims),
        _bits(findings, claims),
        _training(claims, families),
        Section("Try it", [explorer], key="explore"),
        _sure(findings, families),
    ]
    bits = ExplorerBits(explorer, RUN, "It has {} ones.", "It has 1 one.")
    cards = [Card(one.title, name, _first(one.lead)) for name, one in others.items() if name not in (HOW, TRAINING)]
    hero = [_hero(findings), bits, Cards(cards)]
    lead = _lead(findings, claims)
    return Page(title, lead, sections, provenance=provenance, hero=hero, folds_printed=False, up=up, picture=picture)


def _first(lead: Sentence) -> str:
    """Return the first sentence of a page's answer."""
    return f"{str(lead).partition('. ')[0].removesuffix('.')}."


def _hero(findings: Mapping[str, Finding]) -> Panels:
    return _panels(
        findings,
        [f"hero_{role}" for role in HERO],
        title="The answer, if asked after every bit",
        caption=f"Lines: means by final count. Black: your string. {findings['pictures'].notes['ends']}".strip(),
    )


def _lead(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Sentence:
    """Return what was asked, the answer, and what the networks do instead."""
    counts, rows = claims["II.0"], findings["one_cell"].measurements
    passed = rows[rows["metric"].str.startswith("all_tests") & (rows["role"] == "trained")]
    own = passed.groupby("network")["value"].max()
    # That none does, the title says.
    answer = f" In {own.sum():.0f} some cell passes the five tests of a running count." if own.any() else ""
    return (
        f"We trained {counts.n} LSTMs to count the ones of a ten-bit string; {counts.holds_in} misread at most one "
        f"in a hundred strings that they never saw.{answer} {findings['pictures'].notes['instead']} "
        f"{findings['labels'].notes['answer']}"
    ).strip()


def _bits(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Section:
    said = "Each of twelve units has a cell c and a hidden state h."
    if {claims[key].verdict for key in ("II.15b", "II.7a")} == {"not specific"}:
        said += (
            " A 1 acts through the candidate, and after seven bits the cells carry most of the count on. So it is in "
            "random weights with a fitted head."
        )
    heading = "A bit enters through the candidate, and the cells carry the sum forward"
    return Section(heading, [Text(said), _figure(findings, "shares")], key="shares")


def _lengths(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Shown:
    wrong = claims["II.17a"].verdict == "refuted"
    title = "They count at ten bits, and only there" if wrong else "Does it count at other lengths?"
    said: Sentence = "Strings of ten bits cannot tell apart programs that differ at other lengths only."
    caption = "On the dashed line the answer is right."
    if claims["20d"].verdict == "established":
        said = (
            f"At six to twelve bits, in {claims['20d'].holds_in} of {claims['20d'].n} networks, nine in ten answers "
            "are within one of ten minus the number of zeros."
        )
    said = [f"{said} ", Link("What decides it", TRAINING)]
    return title, said, ["lengths", "drifts"], "Answers at other lengths", caption


def _cells(findings: Mapping[str, Finding]) -> Section:
    """Return how well the best cell is read, by how free the reader is."""
    data = _picture(findings, "readings").data
    seeds = data["network"].str.split("/").str[1]
    wide = data.assign(seed=seeds).pivot_table(index=["reading", "seed"], columns="role", values="value", sort=False)
    more = (wide["trained"] > wide["own initialisation"]).groupby("reading", sort=False).sum()
    networks = seeds.nunique()
    title, said = "What does a cell say about the ones?", ""
    if more.iloc[0] < networks / 2 < more.iloc[1]:
        title = "What a cell says about the ones depends on how it is read"
        said = (
            "With one formula for all steps, each number of bits counting alike, training makes the best cell more "
            f"telling in {more.iloc[0] or 'none'} of {networks} networks; with a formula and cell for each of the "
            f"last four steps, in {more.iloc[1]}."
        )
    words = [Text(said)] if said else []
    return Section(title, [*words, _figure(findings, "readings")], key="readings")


def _relay(findings: Mapping[str, Finding], claims: Mapping[str, Claim]) -> Section:
    title, said = "Do the same cells carry every count?", ""
    rows = findings["relay"].measurements
    rows = rows[(rows["metric"] == "relay_index") & rows["role"].isin(FITTED_HEADS)]
    heads = rows.groupby("role")["value"].median()
    if claims["25c"].verdict == "established":
        title = "The cells take turns"
        said = "A few cells carry the count in one string, others in another."
        if heads.max() <= SAME:
            said += " Random weights with a fitted head use the same cells in every string."
    words = [Text(said)] if said else []
    return Section(title, [*words, _figure(findings, "relay", of="relay")], key="relay")


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
    said = "Along the two directions of largest variance, strings are ordered by their ones."
    if claims["II.9"].verdict == "not specific":
        said += (
            " Two others, found by search, move the answer nearly as far as the whole state does; random weights "
            "have such directions, too."
        )
    heading = "All cells together hold the count, and every bit moves it"
    return Section(heading, [Text(said), _figure(findings, "space", choose="bits read")], key="space")


def _training(claims: Mapping[str, Claim], families: Sequence[Sequence[str]]) -> Section:
    """Return what training made that no control has, a claim a family."""
    gone = {key for key, rival in RIVALS.items() if claims[rival].verdict == "refuted"}
    held = [claim for claim in claims.values() if {one.role for one in claim.differences} & {*ROLES, STRONGEST}]
    every = [claim for claim in held if claim.verdict == "established"]
    firsts = [next((one for one in every if one.rule.key in own), None) for own in families]
    made = [claim for claim in every if claim in firsts and claim.rule.key not in gone]
    points: list[Sentence] = [f"{claim.rule.on_page.partition(' (')[0]}." for claim in made]
    said = (
        "These claims, one per family, beat the best control: five heads fitted to random weights or, for states, "
        "the network before training, also with larger weights."
    )
    return Section("What training adds to random weights", [Text(said), Points(points)], "training")


def _sure(findings: Mapping[str, Finding], families: Sequence[Sequence[str]]) -> Section:
    """Return what a verdict rests on, and how many claims have which."""
    decided = [claim.verdict for claim in claims_of(findings.values()).values()]
    pills = [Pill(str(decided.count(one)), Verdict(one), f"{HOW}#claims") for one in VERDICTS]
    said: Sentence = [
        f"They form about {len(families)} families. Nearly all rules were written before the networks that they "
        "judge were trained; two controls came later. “Not specific”: just as true without training. ",
        Link("How we know", HOW),
        " · ",
        Link("what reviewers object to", f"{HOW}#open"),
    ]
    return Section("How sure is this?", [Pills(pills, several(len(decided), "claim")), Text([said])], key="claims")


def _picture(findings: Mapping[str, Finding], name: str, of: str = "pictures") -> DataFigure:
    return next(figure for figure in findings[of].figures if figure.name == name)


def _table(figures: Sequence[DataFigure]) -> Table:
    """Return the numbers behind a figure; of several panels one below the other, each row with its panel's title."""
    data, name = figures[0].data, figures[0].name
    if len(figures) > 1:
        parts = {one.title: one.data for one in figures}
        data = pd.concat(parts, names=["panel"]).reset_index(level="panel").reset_index(drop=True)
    return Table.from_frame(data, f"The numbers behind it ({name}).", name=name)


def _figure(findings: Mapping[str, Finding], name: str, *, of: str = "pictures", choose: str = "") -> Figure:
    one = _picture(findings, name, of)
    about = (one.svg, one.alt, one.caption, one.title, _table([one]))
    return Figure(*about, steps=STEPS * bool(choose), choose=choose, python=_python(findings[of], one))


def _python(finding: Finding, one: DataFigure | None = None) -> str:
    """Return the line of Python that gets a figure, or all of the first page."""
    return finding.python(None if one is None else finding.figures.index(one))


def _panelled(findings: Mapping[str, Finding], shown: Shown) -> Section:
    heading, said, names, title, caption = shown
    return Section(
        heading,
        [Text([said]), _panels(findings, names, title=title, caption=caption)],
        key=names[-1].replace("_", "-"),
    )


def _panels(findings: Mapping[str, Finding], names: Sequence[str], *, title: str, caption: str) -> Panels:
    every = [_picture(findings, name) for name in names]
    pictures = [Figure(one.svg, one.alt, one.caption, one.title) for one in every]
    return Panels(pictures, caption, title, _table(every), python=_python(findings["pictures"]))
