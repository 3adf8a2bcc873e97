"""Writes all claims into one file, `findings.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analyses.counter import common
from probe import Finding
from probe.evidence import Claim
from probe.storage.files import write_atomically

NAME = "findings.json"
#: The claims that were judged once and are no longer asked, with their value, verdict and last commit.
FROZEN = "frozen.json"


def entry(question: str, claim: Claim) -> dict[str, Any]:
    """Return one claim as JSON values: the rule with its two digests, now and first used, and how it was judged."""
    rule = claim.rule
    first = common.rules_first_used().get(rule.key)
    described = claim.to_dict()
    return {
        "key": rule.key,
        "question": question,
        "statement": rule.statement,
        "metric": rule.metric,
        "definition": rule.definition,
        "source": rule.source,
        "rule": described["rule"],
        "rule_first_used": first,
        "changed_after_measuring": rule.digest != first,
        "value": claim.value,
        "interval": claim.interval,
        "n": claim.n,
        "holds_in": claim.holds_in,
        "null": claim.null,
        "own_initialisation": claim.own_initialisation,
        "planted": dict(claim.planted),
        "differences": described["differences"],
        "verdict": claim.verdict,
        "reason": claim.reason,
    }


def write(folder: Path, findings: Sequence[Finding]) -> Path:
    """Write the claims of several findings as one file, the frozen ones beside it, and return its path.

    Numbers have six significant digits; a bound or value that is not finite is null.

    Args:
        folder: where the findings lie.
        findings: in the order of the questions.
    """
    entries = [entry(finding.question, claim) for finding in findings for claim in finding.claims]
    write_atomically(folder / FROZEN, (Path(__file__).parent / FROZEN).read_text(encoding="utf-8"))
    path = folder / NAME
    write_atomically(path, json.dumps(_plain(entries), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
