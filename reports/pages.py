"""Builds the pages of a study of ours from its findings: each page a list of questions, each claim told once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from probe import Finding, ProbeError
from probe.evidence import Claim
from probe.evidence.claims import JUDGING
from probe.report import Block, Card, Details, Link, Page, Points, Section, Sentence, Table, Text, Verdict
from probe.studies.pages.sections import VERDICTS, anchor, controls_in_words, figures, tally

#: How many rows of the table behind a figure are shown; the file behind it has all.
SHOWN_ROWS = 8
#: What the folded table of claims says of each.
DEFINED = ("claim", "metric", "bound", "definition", "source", "95 % interval", "difference to the control", "why")
#: What stands first in a claim's JSON.
ABOUT = ("key", "statement", "sentence", "metric", "definition", "source")
#: A figure of more bytes is too fine to be seen as a thumbnail.
THUMBNAIL = 12_000


@dataclass(frozen=True)
class Contents:
    """What a page tells.

    Attributes:
        title: its title.
        inside: what a reader finds on it.
        questions: in the order in which it tells them.
    """

    title: str
    inside: str
    questions: tuple[str, ...]


def current(findings: Mapping[str, Finding], questions: Iterable[Any]) -> dict[str, Finding]:
    """Return findings with the words of their questions and rules as they are now.

    Args:
        findings: by question, as they were read.
        questions: as they are now; each has a name, a title, a text and rules.

    Raises:
        ProbeError: two findings judge rules of the same key.
    """
    known = {question.name: question for question in questions}
    rules = {rule.digest: rule for question in known.values() for rule in question.rules}
    found = {}
    for name, finding in findings.items():
        title = known[name].title if name in known else finding.title
        notes = {**finding.notes, "text": known[name].text} if name in known else finding.notes
        claims = tuple(replace(claim, rule=rules.get(claim.rule.digest, claim.rule)) for claim in finding.claims)
        found[name] = replace(finding, title=title, notes=notes, claims=claims)
    _ = claims_of(found.values())
    return found


def claims_of(findings: Iterable[Finding]) -> dict[str, Claim]:
    """Return all claims by key.

    Raises:
        ProbeError: two findings judge rules of the same key.
    """
    claims: dict[str, Claim] = {}
    for finding in findings:
        for claim in finding.claims:
            if claim.rule.key in claims:
                raise ProbeError(f"Two findings judge a rule {claim.rule.key!r}; give each rule its own key.")
            claims[claim.rule.key] = claim
    return claims


def build(
    contents: Mapping[str, Contents],
    findings: Mapping[str, Finding],
    provenance: Mapping[str, str],
    more: Mapping[str, tuple[Sequence[Section], Sequence[Section]]],
) -> dict[str, Page]:
    """Return the pages behind a study's first one, by file name, linked in their order.

    Args:
        contents: of each page.
        findings: by question.
        provenance: what stands at the foot.
        more: by file name the sections before and behind those of a page's questions.
    """
    built, names = {}, list(contents)
    for place, (name, page) in enumerate(contents.items()):
        before = Link(f"Before: {contents[names[place - 1]].title}" if place else "Before: the story", "index.html")
        before = replace(before, target=names[place - 1]) if place else before
        after = [Link(f"Next: {contents[other].title}", other) for other in names[place + 1 : place + 2]]
        first, last = more.get(name, ((), ()))
        own = [findings[one] for one in page.questions]
        lead = [*tally([claim for one in own for claim in one.claims]), f" {page.inside}"]
        sections = [*first, *map(section, own), *last]
        built[name] = Page(page.title, lead, sections, provenance=provenance, neighbours=[before, *after])
    return built


def card(name: str, page: Contents, findings: Mapping[str, Finding]) -> Card:
    """Return the link to a page, with the smallest of its figures."""
    drawn = [figure for one in page.questions for figure in findings[one].figures]
    smallest = min((figure.svg for figure in drawn), key=len, default="")
    return Card(page.title, name, page.inside, smallest if len(smallest) <= THUMBNAIL else "")


def section(finding: Finding) -> Section:
    """Return a finding as a section: the question, what was done, its figures, and each claim with its verdict."""
    text = finding.notes.get("text", "")
    blocks: list[Block] = [*([Text(text)] if text else []), *figures(finding, SHOWN_ROWS)]
    blocks += [Points([told(claim) for claim in finding.claims])] if finding.claims else []
    return Section(finding.title, blocks, key=anchor(finding.question))


def told(claim: Claim) -> Sentence:
    """Return a claim in a line: what it says, its number beside its controls', and its verdict."""
    beside = controls_in_words(claim)
    return [f"{claim.rule.on_page}: {claim.value:.2g}{f' ({beside})' if beside else ''}. ", Verdict(claim.verdict)]


def claims_table(claims: Iterable[Claim], caption: str) -> Sequence[Block]:
    """Return all claims as a table that sorts, the best of their verdicts first, and how each is computed, folded."""
    ordered = sorted(claims, key=lambda claim: VERDICTS.index(claim.verdict))
    rows = [
        [
            claim.rule.key,
            claim.rule.on_page,
            claim.value,
            controls_in_words(claim),
            f"{claim.holds_in} of {claim.n}",
            claim.verdict,
        ]
        for claim in ordered
    ]
    columns = ["claim", "statement", "trained", "control", "holds in", "verdict"]
    table = Table(
        columns, rows, caption, verdict="verdict", name="claims", digits=3, max_rows=len(rows), sortable=True
    )
    how = [
        [
            claim.rule.key,
            claim.rule.metric,
            f"{claim.rule.established_if}",
            claim.rule.definition,
            claim.rule.source,
            claim.interval,
            "; ".join(f"{gap.value:+.3g} (must exceed {gap.margin:g})" for gap in claim.differences),
            claim.reason,
        ]
        for claim in ordered
    ]
    defined = Table(DEFINED, how, "Definitions.", digits=3)
    return [table, Details("How each is computed, and why it has its verdict", [defined])]


def as_json(
    findings: Mapping[str, Finding],
    first_used: Mapping[str, str],
    first_judged: Mapping[str, str],
    fits: Mapping[str, str],
) -> str:
    """Return the claims of several findings as JSON: each rule with its digests, and how it was judged.

    Numbers have six significant digits; a bound or value that is not finite is null.

    Args:
        findings: by question.
        first_used: by key the digest that each rule had before the networks that it judges were trained.
        first_judged: by key that of `judged_by` then.
        fits: by role how a control is made, with its version.
    """
    entries = []
    for name, finding in findings.items():
        for claim in finding.claims:
            key, now = claim.rule.key, judged_by(claim, fits)
            changed = (claim.rule.digest, now) != (first_used.get(key), first_judged.get(key))
            used = {"rule_first_used": first_used.get(key), "judged_by": now, "changed_after_measuring": changed}
            described = claim.to_dict()
            about = {part: described["rule"][part] for part in ABOUT}
            entries.append(about | {"question": name, "rule": described.pop("rule")} | used | described)
    return json.dumps(_plain(entries), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def judged_by(claim: Claim, fits: Mapping[str, str]) -> str:
    """Return the digest of what gives a claim its verdict beside its rule: the judging, and the controls."""
    made = [f"{one.role}: {fits[one.role]}" for one in claim.rule.controls]
    return hashlib.sha256("\n".join([f"judge {JUDGING}", *made]).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
