"""The parts of a page that every study shares: a section a question, and each claim told once, with its verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import several
from ...evidence.claims import Claim, true_of
from ...evidence.findings import Finding
from ...questions.headings import ALIKE, FALSE, TRUE, came_to
from ...report import (
    Block,
    Details,
    Figure,
    Link,
    Page,
    Panels,
    Points,
    Section,
    Sentence,
    Strong,
    Table,
    Text,
    Verdict,
)
from ...report.tables import format_cell
from ..answer import ANSWER, MISSING, SCORES, SETUP, TEXT, controls_in_words, outcome, true_in
from ..identity import VERSION

#: In the order in which a page counts them.
VERDICTS = ("established", "refuted", "not specific", "undecided")
#: How many rows of a table of networks are shown; of more figures of one finding than so many one is chosen.
SHOWN_ROWS, MOST_FIGURES = 8, 2
#: What a verdict means, and what is counted where there are too few networks for one.
MEANING = (
    "A claim has a rule, which says what value would establish it. Established: the whole interval over networks "
    "satisfies the rule, and the networks differ from each control that the rule names by more than it asks for. "
    "Refuted: the whole interval fails it. Not specific: true of the trained networks, and just as true of a "
    "control. Undecided: the interval straddles the bound, or that of the difference to a control straddles what the "
    "rule asks for. “True in” counts the networks that satisfy a rule, each on its own. A row without a verdict "
    "covers too few networks for one."
)
FEW = (
    "Nothing here is about the recipe that trained these networks: a verdict on it needs more of them, mostly ten. "
    "We count instead in how many a claim is true: its number lies in the bound. It is true beyond the rule's "
    "controls if the number also differs by the rule's margin from each of them that was measured."
)
#: What a line says of a claim about too few networks for a verdict, by how it came out; and of a reading.
WORDS = {
    TRUE: ("Reached", "Beyond every control"),
    ALIKE: ("Reached, by a control as well", ""),
    FALSE: ("Not reached", "Not beyond every control"),
}
#: What was found of a question, by what the networks are called; by "" where a study has one kind.
Asked = Mapping[str, Finding]


@dataclass(frozen=True)
class Told:
    """What a page tells at once of a question: its finding as a heading, with the figures and the claims behind it.

    Args:
        finding: the heading, where the question's claims have the verdicts that it rests on; the question otherwise.
        rests_on: by key the verdict of each claim that is told below the heading; the others are folded.
        holds: what else must be so of what was measured.
        said: what is said of it beside the words of the question, with its numbers.
    """

    finding: str
    rests_on: Mapping[str, str] = field(default_factory=dict)
    holds: Callable[[Finding], bool] = lambda _: True
    said: str = ""

    def of(self, finding: Finding) -> str:
        """Return the heading of what was found."""
        verdicts = {claim.rule.key: claim.verdict for claim in finding.claims}
        rests = all(verdicts.get(key) == verdict for key, verdict in self.rests_on.items())
        return self.finding if rests and self.holds(finding) else finding.title


@dataclass(frozen=True)
class Contents:
    """What a page tells.

    Args:
        title: what is asked.
        lead: the answer.
        told: by question what is told at once, with its figures.
        more: the questions that are folded.
        after: what stands behind all questions.
    """

    title: str
    lead: Sentence
    told: Mapping[str, Told]
    more: Sequence[str] = ()
    after: Sequence[Section] = ()

    @property
    def questions(self) -> tuple[str, ...]:
        """All questions, in the order of the page."""
        return (*self.told, *self.more)


def build(
    contents: Mapping[str, Contents],
    findings: Mapping[str, Asked],
    provenance: Mapping[str, str],
    *,
    up: Sequence[Link],
    picture: str,
) -> dict[str, Page]:
    """Return the pages of a study, by file name, linked in their order, and upwards."""
    built, names, (before, after) = {}, list(contents), ("\u2039", "\u203a")
    for place, (name, page) in enumerate(contents.items()):
        links = [Link(f"{before} {contents[other].title}", other) for other in names[:place][-1:]]
        links += [Link(f"{contents[other].title} {after}", other) for other in names[place + 1 : place + 2]]
        sections = [section(one, findings[one], told) for one, told in page.told.items()]
        folded = [section(one, findings[one]) for one in page.more]
        if folded:
            said = [*tally({one: findings[one] for one in page.questions})]
            fold = Details(f"{several(len(folded), 'question')} without a figure", folded)
            sections.append(Section("More questions", [Text([said]), fold], key="more"))
        sections += page.after
        built[name] = Page(
            page.title,
            page.lead,
            sections,
            provenance=provenance,
            folds_printed=False,
            up=up,
            neighbours=links,
            picture=picture,
        )
    return built


def section(question: str, asked: Asked, told: Told | None = None) -> Section:
    """Return a question as a section: what is done, its figures, each claim, and folded how it was measured.

    Where it is told at once, its finding is the heading, and the claims that this does not rest on are folded.
    """
    findings = list(asked.values())
    notes = [finding.notes.get(name, "") for name in (TEXT, MISSING) for finding in findings]
    notes += [told.said] if told else []
    words, lines = list(dict.fromkeys(filter(None, notes))), claim_lines(asked)
    blocks: list[Block] = [Text(words)] if words else []
    blocks += [figure for finding in findings for figure in figures(finding)]
    first = {key: line for key, line in lines.items() if told is None or key in told.rests_on}
    blocks += [Points([*first.values()])] if first else []
    others = [line for key, line in lines.items() if key not in first]
    blocks += [Details(several(len(others), "more claim"), [Points(others)])] if others else []
    setups = dict.fromkeys(finding.notes.get(SETUP, "") for finding in findings)
    how = [Details("How it was measured", [Text(said)]) for said in setups if said]
    heading = findings[0].title if told is None else told.of(findings[0])
    return Section(heading, [*blocks, *how], key=anchor(question))


def claim_lines(asked: Asked) -> dict[str, list[str | Verdict]]:
    """Return each claim of a question in a line, by its key: verdict, what it says, number, bound and controls."""
    lines: dict[str, list[str | Verdict]] = {}
    for _, called, finding, claim in claims_of({"": asked}):
        number, verdict = outcome(finding.measurements, claim)
        number = re.sub(r"([<>\u2264\u2265]) ", "\\1\u00a0", number)
        said = [f"{called} " * bool(called), *([Verdict(verdict), " "] if verdict else [])]
        line = lines.get(claim.rule.key)
        if line is None and not called:
            lines[claim.rule.key] = [*said, f"{claim.rule.on_page}: {number}"]
        elif line is None:
            lines[claim.rule.key] = [f"{claim.rule.on_page}: ", *said, number]
        else:
            line += ["; ", *said, number]
    return lines


def claim_line(finding: Finding) -> list[Block]:
    """Return what the first claim of a finding comes to, in a line: a word, its number, and its controls."""
    if not finding.claims:
        return []
    claim = finding.claims[0]
    way, _ = came_to(finding.measurements, claim)
    reading = claim.rule.statistic == "share"
    parts = [] if way not in WORDS or not claim.too_few else [WORDS[way][reading]]
    if reading:
        parts += filter(None, [finding.notes.get(SCORES)])
    else:
        parts += [f"{claim.value:.3g} (asked for: {claim.rule.established_if})"]
        parts += filter(None, [controls_in_words(finding.measurements, claim)])
    verdict = [] if claim.too_few else [Verdict(claim.verdict), " "]
    return [Text([[*verdict, " · ".join(parts)]])] if parts else []


def claims_of(findings: Mapping[str, Asked]) -> Iterator[tuple[str, str, Finding, Claim]]:
    """Yield every claim with its question, what its networks are called, and its finding, rule by rule."""
    for question, asked in findings.items():
        keys = dict.fromkeys(claim.rule.key for finding in asked.values() for claim in finding.claims)
        for key in keys:
            for called, finding in asked.items():
                yield from ((question, called, finding, claim) for claim in finding.claims if claim.rule.key == key)


def anchor(question: str) -> str:
    """Return the name of a question's section in a page."""
    return re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-")


def figures(finding: Finding) -> list[Block]:
    """Return the figures of a finding, the numbers behind each folded below it; of many the reader chooses one."""
    shown = [
        Figure(
            figure.svg,
            figure.alt,
            figure.caption,
            figure.title,
            Table.from_frame(figure.data, f"The numbers behind it ({figure.name}).", name=figure.name),
            python=finding.python(place),
        )
        for place, figure in enumerate(finding.figures)
    ]
    if len(shown) <= MOST_FIGURES:
        return list(shown)
    choose = "Choose a picture"
    return [Panels(shown, shown[0].caption, finding.title, shown[0].table, choose, finding.python())]


def tally(findings: Mapping[str, Asked]) -> list[str | Verdict]:
    """Return how many claims have which verdict, as pieces of a sentence; nothing where there is none."""
    decided = verdicts(findings)
    if not decided:
        return []
    pieces: list[str | Verdict] = [f"{several(len(decided), 'claim')} with a rule:"]
    for verdict in VERDICTS:
        pieces += [f" {decided.count(verdict)} ", Verdict(verdict)]
        if verdict == "not specific":
            pieces.append(" (just as true of a control)")
        pieces.append("." if verdict == VERDICTS[-1] else ",")
    return pieces


def verdicts(findings: Mapping[str, Asked]) -> list[str]:
    """Return the verdict of every claim that a page counts: of no check, and of none about too few networks."""
    return [claim.verdict for *_, claim in claims_of(findings) if not claim.rule.check and not claim.too_few]


def claims_table(findings: Mapping[str, Asked], caption: str, where: Mapping[str, str] | None = None) -> list[Block]:
    """Return what a verdict means, all claims as a table that sorts, and folded how each is computed.

    The best of their verdicts stand first, and last what has none.
    """
    order = {verdict: place for place, verdict in enumerate(VERDICTS)}
    every = sorted(
        claims_of(findings), key=lambda one: order.get("" if one[3].too_few else one[3].verdict, len(order))
    )
    rows, how = [], []
    for question, called, finding, claim in every:
        link = Link(claim.rule.on_page, f"{(where or {}).get(question, '')}#{anchor(question)}")
        verdict = "" if claim.too_few else claim.verdict
        about = [claim.rule.key, link, called, claim.value, f"{claim.rule.established_if}"]
        controls, true = controls_in_words(finding.measurements, claim), f"{claim.holds_in} of {claim.n}"
        compared = bool(claim.differences) and not verdict
        beyond = f"{sum(true_of(finding.measurements, claim.rule).values())} of {claim.n}" if compared else ""
        rows.append([*about, controls, true, beyond, verdict])
        how.append(_computed(called, finding, claim))
    head = ("claim", "statement", "networks", "trained", "bound", "control", "true in", "beyond controls", "verdict")
    table = Table(
        *_filled(head, rows),
        caption,
        verdict="verdict" if any(row[-1] for row in rows) else None,
        name="claims",
        digits=3,
        max_rows=len(rows),
        sortable=True,
    )
    decided = bool(verdicts(findings)) or not any(claim.too_few for *_, claim in every)
    return [
        Text(MEANING if decided else FEW),
        table,
        Details(f"How each is computed{', and why it has its verdict' * decided}", [Text(how)]),
    ]


def _computed(called: str, finding: Finding, claim: Claim) -> Sentence:
    """Return how a claim is computed, and why it has its verdict."""
    rule = claim.rule
    gaps = "; ".join(f"{gap.value:+.3g} (must exceed {gap.margin:.3g})" for gap in claim.differences)
    planted = "; ".join(f"{name} {value:.3g}" for name, value in claim.planted.items())
    interval = "" if claim.interval is None else format_cell(claim.interval, digits=3)
    parts = {"Interval": interval, "difference": gaps, "planted": planted, "source": rule.source}
    numbers = "; ".join(f"{name} {text}" for name, text in parts.items() if text)
    said = f" {called + ': ' if called else ''}{rule.definition} ({rule.metric}) {numbers}."
    return [Strong(f"{rule.key}."), f"{said} True {true_in(finding.measurements, claim)}; {claim.reason}"]


def _filled(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[list[Any]]]:
    """Return columns without those that are empty in every row."""
    some = [place for place in range(len(columns)) if any(row[place] not in ("", None) for row in rows)]
    return [columns[place] for place in some], [[row[place] for place in some] for row in rows]


def not_asked(findings: Sequence[Finding], more: Sequence[str] = ()) -> list[Sentence]:
    """Return a line for each reason why questions were not asked, with those questions."""
    titles: dict[str, list[str]] = {}
    for finding in findings:
        titles.setdefault(finding.notes[ANSWER], []).append(finding.title)
    points: list[Sentence] = [[f"{' '.join(own)} ", reason] for reason, own in titles.items()]
    return [*points, *more]


def provenance(finding: Finding) -> dict[str, str]:
    """Return the digests of a finding's study and the versions that computed it, for the foot of a page."""
    made = finding.provenance
    parts = {f"{name} (SHA-256)": str(text) for name, text in made["study"].items() if name != VERSION}
    return parts | {str(name): str(number) for name, number in made["versions"].items()}
