"""What a study of ours found, with its words as they are now, and its claims as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from probe import Finding, ProbeError
from probe.evidence import Claim
from probe.evidence.claims import JUDGING

#: What stands first in a claim's JSON.
ABOUT = ("key", "statement", "sentence", "metric", "definition", "source")


def current(findings: Mapping[str, Finding], questions: Iterable[Any]) -> dict[str, Finding]:
    """Return findings by question with the words of their questions and rules as they are now.

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
