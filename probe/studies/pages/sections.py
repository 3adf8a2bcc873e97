"""The parts of a page that every study shares: a section a finding, its claims as tables, and their tally."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ...errors import several
from ...evidence.claims import Claim
from ...evidence.findings import Finding
from ...report import Block, Details, Figure, Points, Section, Sentence, Strong, Table, Text, Verdict
from ..answer import MISSING, SETUP
from ..identity import VERSION

#: In the order in which a page counts them.
VERDICTS = ("established", "refuted", "not specific", "undecided")
#: The note that a section begins with; its first sentence is the finding.
ANSWER = "answer"
#: A note that a section tells after its claims: what would have said otherwise.
OTHERWISE = "otherwise"
#: Notes that no section tells: the first section has the set-up, the page's first sentences have the verdict.
ELSEWHERE = (SETUP, "verdict", "short", "reads", "first", MISSING)
#: What the digest of a question is called beside those of its study.
ASKED = "question"
#: How many rows of the table behind a figure are shown; the file behind it has all.
SHOWN_ROWS = 8


def anchor(question: str) -> str:
    """Return the name of a question's section in a page."""
    return re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-")


def answer_of(finding: Finding) -> tuple[str, str]:
    """Return the finding, the first sentence of the answer without its full stop, and the other sentences."""
    first, _, others = finding.notes[ANSWER].partition(". ")
    return first.removesuffix("."), others


def section(
    finding: Finding, *, shown_rows: int = SHOWN_ROWS, brief: Callable[[Sequence[Claim]], Table] | None = None
) -> Section:
    """Return a finding as a section: what was found as its heading, then the answer, figures, claims and the rest.

    Args:
        finding: the finding, whose notes have an `answer`.
        shown_rows: how many rows of the table behind a figure are shown.
        brief: from claims to their table; None for `claims_brief`.
    """
    heading, answer = answer_of(finding)
    notes = {name: note for name, note in finding.notes.items() if note and name not in (ANSWER, *ELSEWHERE)}
    last = notes.pop(OTHERWISE, "")
    blocks: list[Block] = [Text([[Strong(finding.title), *([" ", answer] if answer else [])], *notes.values()])]
    blocks += figures(finding, shown_rows)
    if finding.claims:
        blocks.append((brief or claims_brief)(finding.claims))
    if last:
        blocks.append(Text(last))
    return Section(heading, blocks, key=anchor(finding.question))


def figures(finding: Finding, shown_rows: int = SHOWN_ROWS) -> list[Block]:
    """Return the figures of a finding, the numbers behind each folded below it."""
    return [
        Figure(
            figure.svg,
            figure.alt,
            figure.caption,
            figure.title,
            Table.from_frame(
                figure.data, f"The numbers behind it ({figure.name}).", name=figure.name, max_rows=shown_rows
            ),
        )
        for figure in finding.figures
    ]


def tally(claims: Sequence[Claim]) -> list[str | Verdict]:
    """Return how many claims have which verdict, as pieces of a sentence; nothing where there is none.

    Args:
        claims: the claims; checks of a method are none.
    """
    decided = [claim.verdict for claim in claims if not claim.rule.check]
    if not decided:
        return []
    pieces: list[str | Verdict] = [f"{several(len(decided), 'claim')} with a rule:"]
    for verdict in VERDICTS:
        pieces += [f" {decided.count(verdict)} ", Verdict(verdict)]
        if verdict == "not specific":
            pieces.append(" (true of the trained networks, and as true of the control)")
        pieces.append("." if verdict == VERDICTS[-1] else ",")
    return pieces


def controls_in_words(claim: Claim) -> str:
    """Return each control's median; where a rule names none, that of the own initialisations."""
    medians = {gap.role: gap.control for gap in claim.differences}
    if not medians and claim.own_initialisation is not None:
        medians = {"own initialisation": claim.own_initialisation}
    return "; ".join(f"{role} {value:.3g}" for role, value in medians.items())


def claims_brief(claims: Sequence[Claim]) -> Table:
    """Return claims as a table narrow enough for a section: statement, trained against its controls, verdict."""
    planted = sorted({network for claim in claims for network in claim.planted})
    rows = [
        [
            f"{claim.rule.statement} ({claim.rule.established_if})",
            claim.verdict,
            claim.value,
            f"{claim.holds_in} of {claim.n}",
            claim.interval,
            controls_in_words(claim),
            *(claim.planted.get(network) for network in planted),
        ]
        for claim in claims
    ]
    columns = ["claim (rule)", "verdict", "trained", "holds in", "95 % interval", "controls", *planted]
    caption = "Claims judged here; medians over networks. We decide verdicts at a higher level than the interval's."
    return Table(columns, rows, caption, verdict="verdict", digits=3)


def how(finding: Finding) -> list[Block]:
    """Return how a question was measured, folded; nothing where its finding does not say."""
    said = finding.notes.get(SETUP)
    return [Details("How it was measured", [Text(said)])] if said else []


def not_asked(findings: Sequence[Finding]) -> list[Section]:
    """Return the section on the questions that were not asked, each reason once; none where all were asked.

    Args:
        findings: those without measurements.
    """
    titles: dict[str, list[str]] = {}
    for finding in findings:
        titles.setdefault(finding.notes.get(MISSING, finding.notes[ANSWER]), []).append(finding.title)
    points: list[Sentence] = [[f"{' '.join(own)} ", reason] for reason, own in titles.items()]
    return [Section("Not asked", [Points(points)], key="not-asked")] if points else []


def provenance(finding: Finding) -> dict[str, str]:
    """Return the digests of a finding's study and the versions that computed it, for the foot of a page."""
    made = finding.provenance
    parts = {f"{name} (SHA-256)": str(text) for name, text in made["study"].items() if name not in (VERSION, ASKED)}
    return parts | {str(name): str(number) for name, number in made["versions"].items()}


def definitions(claims: Sequence[Claim]) -> list[Block]:
    """Return how each claim is computed and why it has its verdict, folded."""
    if not claims:
        return []
    columns = ["claim", "metric", "definition", "source", "why"]
    rows = [
        [claim.rule.key, claim.rule.metric, claim.rule.definition, claim.rule.source, claim.reason]
        for claim in claims
    ]
    return [Details("How each is computed, and why it has its verdict", [Table(columns, rows, "Definitions.")])]
