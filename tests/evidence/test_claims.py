"""What `judge` promises: the network is the unit, controls are paired, and few networks say little."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusing import refused

from probe.evidence import Claim, Control, Range, Rule, judge


def rule(**options: Any) -> Rule:
    """Return a rule: established at 0.9 and above, refuted at 0.5 and below, from ten networks on."""
    given = {
        "key": "1a",
        "statement": "It counts.",
        "metric": "accuracy",
        "definition": "share of right answers",
        "source": "a test",
        "established_if": Range.at_least(0.9),
        "refuted_if": Range.at_most(0.5),
        "needs": 10,
    }
    return Rule(**(given | options))


def table(values: list[float], role: str = "trained", metric: str = "accuracy") -> pd.DataFrame:
    """Return one row a network, pairs counting from 0."""
    return pd.DataFrame(
        {
            "metric": metric,
            "role": role,
            "network": [f"{role}/{pair}" for pair in range(len(values))],
            "pair": [str(pair) for pair in range(len(values))],
            "value": values,
        }
    )


def judged(rule: Rule, *tables: pd.DataFrame, family: int | None = 1) -> Claim:
    """Judge one rule on several tables."""
    (claim,) = judge(pd.concat(tables, ignore_index=True), [rule], family=family)
    return claim


SPREAD = [0.95 + 0.002 * k for k in range(12)]


def test_a_rule_is_established_where_the_whole_interval_lies_in_its_range() -> None:
    """High values establish, low ones refute, and what straddles a bound stays undecided."""
    assert judged(rule(), table(SPREAD)).verdict == "established"
    assert judged(rule(), table([v - 0.6 for v in SPREAD])).verdict == "refuted"
    assert judged(rule(), table([v - 0.2 for v in SPREAD])).verdict == "undecided"
    straddling = [0.88] * 5 + [0.95] * 7
    claim = judged(rule(), table(straddling))
    assert claim.value >= 0.9
    assert claim.verdict == "undecided"
    assert "is not wholly in the range ≥ 0.9" in claim.reason


def test_too_few_networks_decide_nothing() -> None:
    """Below `needs` even perfect values stay undecided; the control arm is `needs` met."""
    claim = judged(rule(needs=13), table(SPREAD))
    assert claim.verdict == "undecided"
    assert claim.reason == "12 networks; a verdict about the recipe needs 13"
    assert judged(rule(needs=12), table(SPREAD)).verdict == "established"
    assert judged(rule(needs=1), table([0.95])).verdict == "undecided"
    assert judged(rule(needs=1), table([0.95])).interval is None
    assert next(field.default for field in dataclasses.fields(Rule) if field.name == "needs") == 50


def test_the_interval_is_over_networks() -> None:
    """Its ends are values of single networks, and it does not shrink when points are copied."""
    claim = judged(rule(), table(SPREAD))
    assert claim.n == 12
    assert claim.value == pytest.approx(np.median(SPREAD))
    assert claim.interval is not None
    assert set(claim.interval) <= set(SPREAD)
    with refused():
        _ = judged(rule(), table(SPREAD), table(SPREAD))


def test_more_rules_ask_for_more() -> None:
    """The verdict's level is corrected by the number of rules decided together; the shown interval is not."""
    values = [0.85] * 2 + [0.95] * 10
    alone, among = (judged(rule(), table(values), family=family) for family in (1, 1000))
    assert alone.verdict == "established"
    assert among.verdict == "undecided"
    assert alone.interval == among.interval
    assert "too few for an interval" in among.reason
    several = [rule(key=str(k)) for k in range(3)] + [rule(key="check", check=True)]
    claims = judge(table(SPREAD), several)
    assert "98.33%" in claims[0].reason
    assert len(claims) == 4


def test_an_untrained_network_that_does_as_well_makes_it_not_specific() -> None:
    """True of the trained network and as true of its control: not specific; the control arm is a worse control."""
    tested = rule(controls=(Control("own initialisation", 0.2),))
    assert judged(tested, table(SPREAD), table(SPREAD, "own initialisation")).verdict == "not specific"
    low = [v - 0.5 for v in SPREAD]
    claim = judged(tested, table(SPREAD), table(low, "own initialisation"))
    assert claim.verdict == "established"
    (difference,) = claim.differences
    assert difference.value == pytest.approx(0.5)
    assert difference.control == pytest.approx(float(np.median(low)))
    assert difference.exceeds_in == 12
    assert claim.own_initialisation == pytest.approx(float(np.median(low)))


def test_the_margin_counts() -> None:
    """A difference of exactly the margin does not exceed it."""
    low = [v - 0.25 for v in SPREAD]
    for margin, verdict in ((0.2, "established"), (0.3, "not specific")):
        claim = judged(
            rule(controls=(Control("own initialisation", margin),)), table(SPREAD), table(low, "own initialisation")
        )
        assert claim.verdict == verdict
    exact = judged(
        rule(controls=(Control("own initialisation", 0.5),)),
        table([1.0] * 12),
        table([0.5] * 12, "own initialisation"),
    )
    assert exact.verdict == "not specific"
    assert exact.differences[0].exceeds_in == 0


def test_only_a_difference_that_lies_wholly_within_the_margin_is_not_specific() -> None:
    """An interval on both sides of the margin decides nothing: the control arm lies wholly below."""
    tested = rule(controls=(Control("own initialisation", 0.0),))
    for gaps, verdict in (
        ([0.01 * (k - 6) for k in range(12)], "undecided"),
        ([0.01 * (k - 12) for k in range(12)], "not specific"),
    ):
        control = table([v - gap for v, gap in zip(SPREAD, gaps, strict=True)], "own initialisation")
        claim = judged(tested, table(SPREAD), control)
        assert claim.verdict == verdict
        assert "the difference to the own initialisation (" in claim.reason


def test_a_control_that_does_as_well_outweighs_one_that_may() -> None:
    """Whichever stands first in the rule."""
    even = table(SPREAD, "fitted head")
    near = table([v - 0.01 * (k - 6) for k, v in enumerate(SPREAD)], "own initialisation")
    for roles in (("fitted head", "own initialisation"), ("own initialisation", "fitted head")):
        tested = rule(controls=tuple(Control(role, 0.0) for role in roles))
        assert judged(tested, table(SPREAD), near, even).verdict == "not specific"


def test_a_control_that_was_not_measured_decides_nothing() -> None:
    """Its absence is said; it is not taken for a passed control."""
    claim = judged(rule(controls=(Control("fitted head", 0.1),)), table(SPREAD))
    assert claim.verdict == "undecided"
    assert claim.reason == "the control 'fitted head' was not measured"
    assert claim.differences == ()


def test_differences_are_between_pairs() -> None:
    """Networks' own spread drowns a small gap unless trained and control are paired; shuffled pairs show it."""
    trained = [0.90 + 0.008 * k for k in range(12)]
    control = table([v - 0.01 for v in trained], "own initialisation")
    tested = rule(controls=(Control("own initialisation", 0.005),))
    assert judged(tested, table(trained), control).verdict == "established"
    shuffled = control.assign(pair=list(control["pair"])[::-1])
    assert judged(tested, table(trained), shuffled).verdict == "undecided"
    in_another_order = control.iloc[::-1]
    assert judged(tested, table(trained), in_another_order).verdict == "established"


def test_a_control_may_have_to_lie_above() -> None:
    """With `lower` the trained network must lie below the control."""
    errors = rule(established_if=Range.below(0.1), refuted_if=Range.above(0.5))
    low, high = [0.01 + 0.001 * k for k in range(12)], [0.4 + 0.001 * k for k in range(12)]
    for lower, verdict in ((True, "established"), (False, "not specific")):
        tested = dataclasses.replace(errors, controls=(Control("own initialisation", 0.1, lower=lower),))
        assert judged(tested, table(low), table(high, "own initialisation")).verdict == verdict


def test_every_control_must_be_exceeded() -> None:
    """One failed control among two is enough for it, whichever comes first."""
    weak, strong = table([v - 0.5 for v in SPREAD], "own initialisation"), table(SPREAD, "fitted head")
    for order in (("own initialisation", "fitted head"), ("fitted head", "own initialisation")):
        tested = rule(controls=tuple(Control(role, 0.1) for role in order))
        claim = judged(tested, table(SPREAD), weak, strong)
        assert claim.verdict == "not specific"
        assert "the fitted head" in claim.reason


def test_a_check_passes_only_in_every_network() -> None:
    """A check is about the method: one failing network fails it, however few there are."""
    check = rule(check=True)
    assert judged(check, table([0.95, 0.97])).verdict == "passed"
    failed = judged(check, table([0.95, 0.97, 0.1]))
    assert (failed.verdict, failed.reason) == ("failed", "1 of 3 networks fail")


def test_a_share_is_judged_with_its_exact_interval() -> None:
    """For a metric of 0 and 1 the value is the share of networks, not their median."""
    share = rule(statistic="share", established_if=Range.at_least(0.5), refuted_if=Range.at_most(0.2))
    claim = judged(share, table([1.0] * 19 + [0.0]))
    assert claim.value == pytest.approx(0.95)
    assert claim.interval == pytest.approx((0.7513, 0.9987), abs=1e-3)
    assert claim.verdict == "established"
    assert judged(share, table([0.0] * 20)).verdict == "refuted"


def test_references_are_kept_apart() -> None:
    """Null, own initialisation and planted values stand beside the claim and never among its networks."""
    null, planted = table([0.1, 0.2, 0.3], "null"), table([0.99, 1.0], "planted")
    claim = judged(rule(), table(SPREAD), null, planted, table([0.0] * 12, metric="other"))
    assert claim.n == 12
    assert claim.null == pytest.approx(0.2)
    assert claim.own_initialisation is None
    assert claim.planted == {"planted/0": 0.99, "planted/1": 1.0}


def test_holds_in_counts_single_networks() -> None:
    """It counts the networks that satisfy the rule, each alone."""
    assert judged(rule(), table([0.95] * 9 + [0.2] * 3)).holds_in == 9


def test_a_metric_that_nobody_measured_is_an_error() -> None:
    """A rule without its metric is no silent verdict."""
    with refused():
        _ = judged(rule(metric="loss"), table(SPREAD))


def test_ranges_know_their_ends() -> None:
    """Closed ends belong to the range, open ones do not; both ends of an interval must lie inside."""
    assert 0.5 in Range.at_least(0.5)
    assert 0.5 not in Range.above(0.5)
    assert 0.5 in Range.at_most(0.5)
    assert 0.5 not in Range.below(0.5)
    assert Range(0.1, 0.9).covers((0.1, 0.9))
    assert not Range(0.1, 0.9).covers((0.0, 0.5))
    assert not Range(0.1, 0.9).covers((0.5, 1.0))
    assert str(Range(0.1, 0.9, open_high=True)) == "≥ 0.1 and < 0.9"
    assert str(Range.above(1.0)) == "> 1"
    assert str(Range()) == "any value"
    assert math.inf in Range()


def test_a_claim_survives_json() -> None:
    """What is written is read back equal; infinite bounds included."""
    claim = judged(
        rule(controls=(Control("own initialisation", 0.2),)),
        table(SPREAD),
        table([v - 0.5 for v in SPREAD], "own initialisation"),
    )
    assert Claim.from_dict(json.loads(json.dumps(claim.to_dict()))) == claim
    alone = judged(rule(), table([0.95]))
    assert Claim.from_dict(json.loads(json.dumps(alone.to_dict()))) == alone


@pytest.mark.parametrize(
    "change",
    [
        {"established_if": Range.at_least(0.91)},
        {"refuted_if": Range.below(0.5)},
        {"controls": (Control("own initialisation", 0.1),)},
        {"needs": 11},
        {"statement": "It counts well."},
        {"check": True},
    ],
)
def test_the_digest_changes_with_every_field(change: dict[str, Any]) -> None:
    """A rule that was changed after it was judged is recognised."""
    changed = rule(**change)
    assert changed.digest != rule().digest
    assert rule().digest == rule().digest
    written = judged(rule(), table(SPREAD)).to_dict()
    written["rule"] = dataclasses.asdict(changed)
    written["rule"]["digest"] = rule().digest
    with refused():
        _ = Claim.from_dict(written)
