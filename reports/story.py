"""Sentences and tables computed from findings: what a page says before it shows anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from probe import Claim, Finding, ProbeError
from probe.report import Sentence, Strong, Table

#: The notes of a finding that a section tells before its figures, and after its claims.
FIRST_NOTES = ("answer",)
#: A note that the first section tells for all of them.
SETUP = "setup"
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
    needed, networks = max(claim.rule.needs for claim in claims), max(claim.n for claim in claims)
    words = (
        "In what follows c is the cell state and h the hidden state; a prefix is the bits read so far; steps count "
        "from 0, so the state after seven bits is that of step 6."
    )
    verdicts = (
        f"A verdict is about the recipe and needs {needed} networks; there are {networks} here, and the column "
        '"holds in" says what they show, whatever the verdict. The twins\' heads are random, which makes them an '
        "easy control for answers; a harder one, a twin with a fitted head, is not here yet."
    )
    return [findings["accuracy"].notes[SETUP], words, verdicts]


def lead(findings: Mapping[str, Finding]) -> Sentence:
    """Return the page's first sentences: what the networks learned, what is no evidence of it, what is open."""
    claims = claims_of(list(findings.values()))
    counts, unit = claims["0"], claims["1a"]
    counters = claims["17a"]
    twins = holding(unit, findings["single_units"], "untrained")
    probe_gap = next(gap for gap in claims["2"].differences if gap.subject == "untrained")
    better = "worse" if probe_gap.value < 0 else "no better" if probe_gap.value <= probe_gap.margin else "better"
    drift = findings["other_lengths"].measurements
    drift = drift[(drift["metric"] == "drift") & (drift["subject"] == "trained")]["value"]
    needed = max(claim.rule.needs for claim in claims.values())
    return [
        Strong(
            f"{counts.holds_in} of {counts.n} networks count the ones of a ten-bit string with at most "
            f"{counts.rule.established_if.high:.0%} of errors on strings they never saw"
        ),
        f". {unit.holds_in} of {unit.n} have a cell unit that follows the count, as have {twins[0]} of {twins[1]} "
        f"networks that were never trained; and a linear probe reads the count {better} out of a trained state "
        f"than out of an untrained one. What tells them apart is elsewhere: how little else the state holds, "
        f"and what they answer at other lengths, where {counters.holds_in} of {counters.n} go on counting ones "
        f"(drift {drift.min():.2f} to {drift.max():.2f}; 0 counts ones, 1 counts zeros). {counts.n} networks say "
        f"nothing final about the recipe: a verdict needs {needed}.",
    ]


def _planted(claim: Claim) -> str:
    """Return the planted counter's value, and in brackets that of the one without idle units where it differs."""
    shown = [f"{0.0 if abs(value) < 1e-4 else value:.3g}" for value in claim.planted.values()]
    if not shown:
        return ""
    return shown[0] if len(set(shown)) == 1 else f"{shown[0]} ({shown[1]})"


def claims_brief(claims: Sequence[Claim]) -> Table:
    """Return claims as a table narrow enough for a section: statement, trained against its controls, verdict."""
    rows = [
        [
            f"{claim.rule.key}. {claim.rule.statement} ({claim.rule.established_if})",
            claim.value,
            claim.interval,
            claim.untrained,
            _planted(claim),
            f"{claim.holds_in} of {claim.n}",
            claim.verdict,
        ]
        for claim in claims
    ]
    columns = ["claim (rule)", "trained", "95 % interval", "untrained", "planted", "holds in", "verdict"]
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
        untrained = next((gap for gap in claim.differences if gap.subject == "untrained"), None)
        rows.append(
            [
                rule.key,
                rule.statement,
                f"{rule.established_if}",
                claim.value,
                claim.interval,
                f"{claim.holds_in} of {claim.n}",
                claim.untrained,
                None if untrained is None else untrained.value,
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
        "untrained",
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
