"""Findings about networks that never were: what is said of claims, with numbers that can be seen through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probe import Finding
from probe.evidence import Control, Range, Rule, judge
from probe.evidence.measurements import tabulate


def judged(values: Mapping[str, Sequence[float]], rule: Rule) -> Finding:
    """Return a finding whose one claim is judged on values of each role, a network a value."""
    rows = [
        {"question": "q", "metric": rule.metric, "role": role, "network": f"{role}-{pair}", "pair": pair}
        | {"layer": "", "signal": "", "units": "", "step": None, "value": value}
        for role, own in values.items()
        for pair, value in enumerate(own)
    ]
    table = tabulate(rows)
    provenance = {"weights": {}, "command": "", "code": "", "rules_first_used": {}, "versions": {}}
    return Finding("q", "Is it?", table, judge(table, [rule], family=1), (), provenance, {})


def large(*controls: Control) -> Rule:
    """Return the rule that a size is at least .9."""
    bounds = Range.at_least(0.9), Range.below(0.9)
    return Rule("k", "It is large.", "size", "the size", "here", *bounds, controls=controls)


def counts() -> Rule:
    """Return the rule that an error is at most .1."""
    return Rule("0", "They count.", "test_error", "the error", "here", Range.at_most(0.1), Range.above(0.1))
