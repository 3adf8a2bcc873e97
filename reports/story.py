"""Sentences and tables computed from findings: what a page says before it shows anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from probe import Claim, Finding, ProbeError
from probe.report import Link, Sentence, Strong, Table

#: The notes of a finding that a section tells before its figures, and after its claims.
FIRST_NOTES = ("answer",)
#: A note that the first section tells for all of them.
SETUP = "setup"
#: A note that the page's first sentences take up.
VERDICT = "verdict"
LAST_NOTES = ("otherwise",)


def claims_of(findings: Sequence[Finding]) -> dict[str, Claim]:
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


def holding(claim: Claim, finding: Finding, subject: str) -> tuple[int, int]:
    """Return how many networks of a subject satisfy a claim's rule, each taken alone, and how many there are."""
    rows = finding.measurements
    rows = rows[(rows["metric"] == claim.rule.metric) & (rows["subject"] == subject)]
    rows = rows[rows["signal"] == claim.rule.signal] if claim.rule.signal else rows
    return sum(value in claim.rule.established_if for value in rows["value"]), len(rows)


def about(findings: Mapping[str, Finding]) -> list[str]:
    """Return what a reader needs before the sections: the set-up, the words, and what a verdict takes."""
    claims = claims_of(list(findings.values())).values()
    needed = max(claim.rule.needs for claim in claims)
    networks = max(claim.n for claim in claims if not claim.rule.check)
    words = (
        "In what follows c is the cell state and h the hidden state; a prefix is the bits read so far; steps count "
        "from 0, so the state after seven bits is that of step 6."
    )
    verdicts = (
        f"A verdict is about the recipe and needs {needed} networks; there are {networks} here, and the column "
        '"holds in" says what they show, whatever the verdict. Untrained twins have random heads, an easy control '
        "for answers; the readout twin, the untrained network read by the best line, is the fair one. The template "
        "network was trained on another question with the same labels; planted networks were written down."
    )
    return [findings["accuracy"].notes[SETUP], words, verdicts]


def lead(findings: Mapping[str, Finding]) -> Sentence:
    """Return the page's first sentences: what the networks learned, what is no evidence of it, what is open."""
    claims = claims_of(list(findings.values()))
    counts, needed = claims["0"], max(claim.rule.needs for claim in claims.values())
    verdict = findings["running_count"].notes[VERDICT]
    return [
        f"{counts.holds_in} of {counts.n} networks count the ones of a ten-bit string with at most "
        f"{counts.rule.established_if.high:.0%} of errors on strings they never saw. Does some cell encode a running "
        "count? ",
        Strong(verdict),
        f"; the first section has the seven tests that would say so, beside their controls. {counts.n} networks say "
        f"nothing final about the recipe: a verdict needs {needed}.",
    ]


def lead_of(findings: Sequence[Finding]) -> Sentence:
    """Return the first sentences of a page beside the first one: what was asked, and how many rules hold where."""
    claims = [claim for finding in findings for claim in finding.claims]
    every = [claim for claim in claims if claim.holds_in == claim.n]
    return [
        Strong(f"{len(findings)} questions about the same networks."),
        f" {len(claims)} rules were fixed before their results; {len(every)} of them hold in every trained network, "
        f"{sum(claim.holds_in == 0 for claim in claims)} in none. What that is worth depends on the controls beside "
        "each number. ",
        Link("Back to the answer in short", "index.html"),
        ".",
    ]


def _planted(claim: Claim) -> str:
    """Return the planted counter's value, and in brackets that of the one without idle units where it differs."""
    values = [claim.planted[name] for name in ("planted/ones", "planted/ones-alone") if name in claim.planted]
    shown = [f"{0.0 if abs(value) < 1e-4 else value:.3g}" for value in values]
    if not shown:
        return ""
    return shown[0] if len(set(shown)) == 1 else f"{shown[0]} ({shown[1]})"


def _controls(claim: Claim) -> str:
    """Return each control's median; where a rule names none, that of the untrained twins."""
    named = [f"{gap.subject} {gap.control:.3g}" for gap in claim.differences]
    return "; ".join(named) or ("" if claim.untrained is None else f"untrained {claim.untrained:.3g}")


def _differences(claim: Claim) -> str:
    return "; ".join(f"{gap.subject} {gap.value:+.3g} (must exceed {gap.margin:g})" for gap in claim.differences)


def claims_brief(claims: Sequence[Claim]) -> Table:
    """Return claims as a table narrow enough for a section: statement, trained against its controls, verdict."""
    rows = [
        [
            f"{claim.rule.key}. {claim.rule.statement} ({claim.rule.established_if})",
            claim.value,
            claim.interval,
            _controls(claim),
            _planted(claim),
            f"{claim.holds_in} of {claim.n}",
            claim.verdict,
        ]
        for claim in claims
    ]
    columns = ["claim (rule)", "trained", "95 % interval", "controls", "planted", "holds in", "verdict"]
    return Table(
        columns,
        rows,
        "Claims judged here; medians over networks. In brackets: the planted counter without idle units.",
        verdict="verdict",
        digits=3,
    )


def claims_table(claims: Sequence[Claim], caption: str, *, name: str | None = None) -> Table:
    """Return claims as a table: value, interval, controls, and the verdict with its reason."""
    rows = []
    for claim in claims:
        rule = claim.rule
        rows.append(
            [
                rule.key,
                rule.statement,
                f"{rule.established_if}",
                claim.value,
                claim.interval,
                f"{claim.holds_in} of {claim.n}",
                _controls(claim),
                _differences(claim),
                _planted(claim),
                claim.verdict,
                claim.reason,
            ]
        )
    columns = [
        "claim",
        "statement",
        "rule",
        "median",
        "95 % interval",
        "holds in",
        "controls",
        "paired difference",
    ]
    return Table(
        [*columns, "planted counter", "verdict", "why"], rows, caption, verdict="verdict", name=name, digits=3
    )


def networks_table(accuracy: Finding) -> Table:
    """Return every network with its errors, the floor, and the strings that it misreads, none left out."""
    rows = accuracy.measurements
    trained = rows[rows["subject"] == "trained"]
    table = []
    for network, own in trained.groupby("network", sort=False):
        values = own.drop_duplicates("metric").set_index("metric")["value"]
        misread = own[own["metric"] == "misread"]
        words = ", ".join(
            f"{string} as {answer:.0f}" for string, answer in zip(misread["units"], misread["value"], strict=True)
        )
        table.append(
            [
                str(network).rsplit("/")[-1],
                100 * values["test_error"],
                100 * values["test_floor"],
                100 * values["all_error"],
                words or "none",
            ]
        )
    columns = ["network", "test error, %", "floor, %", "error on all 1,024, %", "misread strings of all 1,024"]
    caption = (
        "Every network as it came, none replaced. The floor: test strings whose label stood nowhere in the training "
        "strings (0 and 10 have one string each)."
    )
    return Table(columns, table, caption, name="networks", digits=3)


def versions(findings: Sequence[Finding]) -> dict[str, str]:
    """Return the page's provenance: one source for all findings, or an error that names the odd one out.

    Raises:
        ProbeError: findings were made by different code, so that the page would mix two states of the project.
    """
    codes = {str(finding.provenance.get("code")): finding.question for finding in findings}
    if len(codes) != 1:
        raise ProbeError(
            f"The findings were made by different code ({', '.join(codes.values())}); run all analyses again."
        )
    provenance = findings[0].provenance
    weights = pd.Series(
        {name: digest for finding in findings for name, digest in finding.provenance["weights"].items()}
    )
    lines = {"code (SHA-256 of the sources)": next(iter(codes))}
    lines |= {f"weights of {name} (SHA-256)": str(digest) for name, digest in weights.items()}
    lines |= {str(name): str(number) for name, number in provenance["versions"].items()}
    return lines
