"""The summaries that read the findings of several questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

import probe
from analyses.counter import SECOND, SECOND_POPULATION, common
from probe import Finding
from probe.evidence import Claim, DataFigure, Rule, judge

#: Findings of the second judgement.
LATER = ("second_judgement", *SECOND, *SECOND_POPULATION)
Findings = Mapping[str, Finding]


def rows_of(
    findings: Findings,
    question: str,
    metric: str,
    *,
    role: str | None = None,
    signal: str | None = None,
    units: str | None = None,
    kind: str | None = None,
    at: int | float | None = None,
) -> pd.DataFrame:
    """Return the rows of a metric.

    Raises:
        probe.ProbeError: the question was not asked, or measured no such metric.
    """
    if question not in findings:
        raise probe.ProbeError(
            f"A summary needs the question {question!r}; run `python -m analyses counter`, which asks all of them."
        )
    table = findings[question].measurements
    rows = table[table["metric"] == metric]
    for column, value in (("role", role), ("signal", signal), ("units", units), ("kind", kind), ("at", at)):
        rows = rows if value is None else rows[rows[column] == value]
    if rows.empty:
        raise probe.ProbeError(
            f"Question {question!r} measured no {metric!r} (role {role}, signal {signal}, kind {kind}, at {at})."
        )
    return rows


def judged(findings: Findings) -> list[tuple[Claim, pd.DataFrame]]:
    """Return every claim of the first judgement that is no check, with the rows of its rule, of every role."""
    return [
        (claim, common.of_rule(finding.measurements, claim.rule))
        for question, finding in findings.items()
        if question not in LATER
        for claim in finding.claims
        if not claim.rule.check
    ]


def median(
    findings: Findings,
    question: str,
    metric: str,
    *,
    role: str = "trained",
    signal: str | None = None,
    units: str | None = None,
    kind: str | None = None,
    at: int | float | None = None,
) -> float:
    """Return the median of a metric over the networks of a role; arguments and errors as of `rows_of`."""
    rows = rows_of(findings, question, metric, role=role, signal=signal, units=units, kind=kind, at=at)
    return float(rows["value"].median())


def summary(
    question: str,
    title: str,
    table: pd.DataFrame,
    *,
    findings: Findings,
    rules: Sequence[Rule] = (),
    figures: Sequence[DataFigure] = (),
    notes: Mapping[str, str] | None = None,
) -> Finding:
    """Return a finding made of other findings: their networks are its own."""
    weights: dict[str, str] = {}
    for finding in findings.values():
        weights |= finding.provenance["weights"]
    first = next(iter(findings.values())).provenance
    provenance = dict(first) | {"command": "python -m analyses counter", "weights": weights}
    # A check of planted networks is judged on them alone.
    judged = judge(table.assign(role="trained"), rules, family=common.family()) if rules else ()
    return Finding(question, title, table, judged, tuple(figures), provenance, notes or {})
