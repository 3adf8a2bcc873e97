"""What a study of ours found, with its words as they are now, and its claims as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from probe import Finding, ProbeError
from probe.evidence import Claim, Rule
from probe.evidence.claims import JUDGING

#: Between the ways to make several controls, of which the best is taken.
SEVERAL = ", "
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
    first_verdicts: Mapping[str, str],
    *,
    fits: Mapping[str, str],
    more: Mapping[str, Any],
) -> str:
    """Return the claims of several findings as JSON: each rule with its digests, and how it was judged.

    Numbers have six significant digits; a bound or value that is not finite is null.

    Args:
        findings: by question.
        first_used: by key the digest that each rule had before the networks that it judges were trained.
        first_judged: by key that of `judged_by` then.
        first_verdicts: by key the verdict then.
        fits: by role how a control is made, with its version.
        more: what stands beside the claims, by name.
    """
    entries = []
    for name, finding in findings.items():
        for claim in finding.claims:
            key, now = claim.rule.key, judged_by(claim.rule, fits)
            first = first_used.get(key), first_judged.get(key)
            used = {
                "rule_first_used": first[0],
                "judged_by": now,
                "changed_after_measuring": (claim.rule.digest, now) != first,
                "controls_added_after_measuring": added(claim.rule, first, fits),
                "verdict_first": first_verdicts.get(key),
            }
            described = claim.to_dict()
            about = {part: described["rule"][part] for part in ABOUT}
            entries.append(about | {"question": name, "rule": described.pop("rule")} | used | described)
    return json.dumps(_plain({"claims": entries, **more}), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def judged_by(rule: Rule, fits: Mapping[str, str]) -> str:
    """Return the digest of what gives a claim its verdict beside its rule: the judging, and the controls."""
    made = [f"{one.role}: {fits[one.role]}" for one in rule.controls]
    return hashlib.sha256("\n".join([f"judge {JUDGING}", *made]).encode()).hexdigest()


def added(rule: Rule, first: tuple[str | None, str | None], fits: Mapping[str, str]) -> list[str] | None:
    """Return the controls without which a rule is the one that was first used; None where it is no such one.

    Args:
        rule: the rule as it is now.
        first: its digest, and that of `judged_by`, when it was first used.
        fits: by role how a control is made; of the strongest of several, in the order in which they came.
    """
    ways = {role: made.split(SEVERAL) for role, made in fits.items()}
    for many in range(len(rule.controls), -1, -1):
        fewer, later = replace(rule, controls=rule.controls[:many]), [one.role for one in rule.controls[many:]]
        for kept in range(max(map(len, ways.values())), 0, -1):
            known = {role: SEVERAL.join(made[:kept]) for role, made in ways.items()}
            if (fewer.digest, judged_by(fewer, known)) == first:
                came = (made for one in fewer.controls for made in ways[one.role][kept:])
                return [*later, *(f"{made.rpartition(' ')[0]} head" for made in came)]
    return None


def told(claims: Iterable[Claim], *kept: Mapping[str, str], fits: Mapping[str, str]) -> str:
    """Return which claims got a control after they were first judged, and which have another verdict since.

    Args:
        claims: as they are judged now.
        kept: by key the first digests, those of `judged_by`, and the first verdicts.
        fits: as of `added`.
    """
    used, judged, verdicts = kept
    since: dict[str, list[str]] = {}
    other = []
    for claim in claims:
        key = claim.rule.key
        later = added(claim.rule, (used.get(key), judged.get(key)), fits)
        if later != []:
            said = "rule changed" if later is None else f"control added ({', '.join(later)})"
            since.setdefault(said, []).append(key)
        if verdicts.get(key, claim.verdict) != claim.verdict:
            other.append(f"{key} (“{verdicts[key]}”)")
    pieces = [f"{said} after measuring: {', '.join(keys)}" for said, keys in since.items()]
    pieces += [f"with another verdict before: {', '.join(other) or 'none'}"] * bool(pieces)
    return "".join(f" {each[0].upper()}{each[1:]}." for each in pieces)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
