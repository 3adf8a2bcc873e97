"""What `judge` promises: the network is the unit, controls are paired, and few networks say little."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusing import refused

from probe.evidence import Claim, Control, Range, Rule, judge
from probe.evidence.claims import true_of

SPREAD = [0.95 + 0.002 * k for k in range(12)]
LOW = [value - 0.5 for value in SPREAD]
OWN, HEAD, RANDOM = "own initialisation", "fitted head", "random weights"


def rule(**options: Any) -> Rule:
    """Return a rule: established at 0.9 and above, refuted at 0.5 and below, from ten networks on."""
    words: dict[str, Any] = {"key": "1a", "statement": "It counts.", "source": "a test"}
    words |= {"metric": "accuracy", "definition": "share of right answers"}
    bounds = {"established_if": Range.at_least(0.9), "refuted_if": Range.at_most(0.5), "needs": 10}
    return Rule(**(words | bounds | options))


def controlled(*roles: str, margin: float = 0.1, **options: Any) -> Rule:
    """Return the rule with controls that it must exceed by a margin."""
    return rule(controls=tuple(Control(role, margin) for role in roles), **options)


def table(values: Any, role: str = "trained", pairs: Any = None, metric: str = "accuracy") -> pd.DataFrame:
    """Return one row a network, pairs counting from 0 where none are given."""
    counted = list(map(str, range(len(values)))) if pairs is None else pairs
    names = [f"{role}/{number}" for number in range(len(values))]
    return pd.DataFrame({"metric": metric, "role": role, "network": names, "pair": counted, "value": values})


def judged(rule: Rule, *tables: pd.DataFrame, family: int | None = 1) -> Claim:
    """Judge one rule on several tables."""
    (claim,) = judge(pd.concat(tables, ignore_index=True), [rule], family=family)
    return claim


def less(gaps: Any, role: str = OWN) -> pd.DataFrame:
    """Return a control whose networks lie below their pairs by these gaps."""
    return table([value - gap for value, gap in zip(SPREAD, gaps, strict=True)], role)


TRAINED, ALL = table(SPREAD), table([1.0] * 12)
#: A control that lies above some of its pairs and below others.
MAY = less([0.01 * (k - 6) for k in range(12)])
SHARE = rule(statistic="share", established_if=Range.at_least(0.5), refuted_if=Range.at_most(0.2))

#: A score is at most 1, and an error at least 0: near that a rule asks for half of what its control leaves.
near_the_end = rule(controls=(Control(OWN, 0.05, limit=1.0),))
small_error = rule(
    established_if=Range.at_most(0.02),
    refuted_if=Range.above(0.1),
    controls=(Control(OWN, 0.05, lower=True, limit=0.0),),
)

#: The same measured in another way: as high, lower than the bound, and with a control that is as high.
EITHER_WAY = rule(also="weighed")
WEIGHED = {"high": table(SPREAD, metric="weighed"), "low": table(LOW, metric="weighed")}
AS_HIGH = table(SPREAD, OWN, metric="weighed")

#: What is judged, its verdict, and a part of the reason.
VERDICTS: dict[str, tuple[Rule, list[pd.DataFrame], str, str]] = {
    "high": (rule(), [TRAINED], "established", ""),
    "low": (rule(), [table(LOW)], "refuted", ""),
    "between": (rule(), [table([0.7] * 12)], "undecided", ""),
    "a bound inside": (rule(), [table([0.88] * 5 + [0.95] * 7)], "undecided", "is not wholly in the range ≥ 0.9"),
    "too few": (rule(needs=13), [TRAINED], "undecided", "12 networks; a verdict about the recipe needs 13"),
    "just enough": (rule(needs=12), [TRAINED], "established", ""),
    "a check in all": (rule(check=True), [table([0.95, 0.97])], "passed", ""),
    "a check in some": (rule(check=True), [table([0.95, 0.97, 0.1])], "failed", "1 of 3 networks fail"),
    "a large share": (SHARE, [table([1.0] * 19 + [0.0])], "established", ""),
    "a share of none": (SHARE, [table([0.0] * 20)], "refuted", ""),
    "a control as high": (controlled(OWN), [TRAINED, less([0.0] * 12)], "not specific", f"the {OWN} ("),
    "a control below the margin": (controlled(OWN, margin=0.2), [TRAINED, less([0.25] * 12)], "established", ""),
    "exactly the margin": (controlled(OWN, margin=0.5), [ALL, table([0.5] * 12, OWN)], "not specific", ""),
    "half of what is left": (near_the_end, [table([0.99] * 12), table([0.96] * 12, OWN)], "established", ""),
    "less than half of it": (
        near_the_end,
        [table([0.97] * 12), table([0.96] * 12, OWN)],
        "not specific",
        "or half of",
    ),
    "a control beyond the end": (near_the_end, [table([1.05] * 12), table([1.04] * 12, OWN)], "established", ""),
    "no room": (near_the_end, [ALL, table([1.0] * 12, OWN)], "not specific", ""),
    "as much room as needed": (near_the_end, [table([0.92] * 12), table([0.5] * 12, OWN)], "established", ""),
    "half of an error": (small_error, [table([0.01] * 12), table([0.04] * 12, OWN)], "established", ""),
    "differences of both signs": (controlled(OWN, margin=0.0), [TRAINED, MAY], "undecided", f"to the {OWN} ("),
    "a control not measured": (controlled(HEAD), [TRAINED], "undecided", "'fitted head' was not measured"),
    "too few pairs": (controlled(OWN), [TRAINED, table(LOW[:9], OWN)], "undecided", f"9 pairs with '{OWN}'"),
    "high in both ways": (EITHER_WAY, [TRAINED, WEIGHED["high"]], "established", "also by weighed, which is 0.961, "),
    "low in both ways": (EITHER_WAY, [table(LOW), WEIGHED["low"]], "refuted", "also by weighed, which is 0.461, "),
    "low in one way": (
        EITHER_WAY,
        [TRAINED, WEIGHED["low"]],
        "undecided",
        "but refuted by weighed, which is 0.461, ",
    ),
    "low in the other": (EITHER_WAY, [table(LOW), WEIGHED["high"]], "undecided", "but established by weighed, "),
    "a control in one way": (
        controlled(OWN, also="weighed"),
        [TRAINED, table(LOW, OWN), WEIGHED["high"], AS_HIGH],
        "undecided",
        "but not specific by weighed, ",
    ),
    "no interval of pairs": (controlled(OWN, needs=3), [TRAINED, table(LOW[:3], OWN)], "undecided", "few at 95.00%"),
}


@pytest.mark.parametrize(("rule", "tables", "verdict", "reason"), VERDICTS.values(), ids=VERDICTS)
def test_a_claims_verdict_follows(rule: Rule, tables: list[pd.DataFrame], verdict: str, reason: str) -> None:
    """The whole interval must lie in the range and above each control, of enough networks."""
    claim = judged(rule, *tables)
    assert claim.verdict == verdict
    assert reason in claim.reason


def test_a_rule_of_two_metrics_is_true_of_a_network_by_both() -> None:
    """One of twelve is low in the second way; a rule with one metric has the digest that it always had."""
    once = table([0.4, *SPREAD[1:]], metric="weighed")
    assert sum(true_of(pd.concat([TRAINED, once]), EITHER_WAY).values()) == 11
    assert judged(EITHER_WAY, TRAINED, once).holds_in == 11
    assert rule().digest == "a9c571edc1bb122d6dacef4967d29f09a674b7a8fd84ca7cb1d3dd6395acbb06"
    assert EITHER_WAY.digest != rule().digest
    for fewer in ([], [WEIGHED["high"][:11]]):
        with refused():
            _ = judged(EITHER_WAY, TRAINED, *fewer)


def test_the_interval_is_over_networks() -> None:
    """Its ends are values of single networks, and a network that is given twice is refused."""
    claim: Any = judged(rule(), TRAINED)
    assert (claim.n, claim.value) == (12, pytest.approx(np.median(SPREAD)))
    assert set(claim.interval) <= set(SPREAD)
    assert judged(rule(), table([0.95] * 9 + [0.2] * 3)).holds_in == 9
    with refused():
        _ = judged(rule(), TRAINED, TRAINED)


def test_more_rules_ask_for_more() -> None:
    """The verdict's level is corrected by the number of rules decided together; the shown interval is not."""
    values = table([0.85] * 2 + [0.95] * 10)
    alone, among = (judged(rule(), values, family=family) for family in (1, 1000))
    assert ((alone.verdict, among.verdict), alone.interval) == (("established", "undecided"), among.interval)
    assert "too few for an interval" in among.reason
    claims = judge(TRAINED, [*(rule(key=str(k)) for k in range(3)), rule(key="check", check=True)])
    assert "98.33%" in claims[0].reason
    assert len(claims) == 4


def test_every_control_must_be_exceeded() -> None:
    """One that does as well outweighs one that does worse, and one that may, whichever stands first."""
    others = ((0.1, less([0.5] * 12)), (0.0, MAY))
    for roles, (margin, other) in itertools.product(((OWN, HEAD), (HEAD, OWN)), others):
        claim = judged(controlled(*roles, margin=margin), TRAINED, other, less([0.0] * 12, HEAD))
        assert claim.verdict == "not specific"
        assert "the fitted head" in claim.reason


def test_a_table_whose_index_repeats_loses_no_network() -> None:
    """Of two networks with random weights beside each trained one the worse is left out, and no other row."""
    worse = table([value - 0.1 for value in LOW], RANDOM).assign(network=[f"worse/{k}" for k in range(12)])
    claims, repeated = (
        judge(pd.concat([TRAINED, table(LOW, RANDOM), worse], ignore_index=ignored), [controlled(RANDOM)], family=1)
        for ignored in (True, False)
    )
    assert (claims[0].verdict, claims[0].n) == ("established", 12)
    assert claims[0].differences[0].value == pytest.approx(0.5)
    assert repeated == claims


def test_a_control_may_have_to_lie_above() -> None:
    """With `lower` the trained network must lie below the control."""
    errors = rule(established_if=Range.below(0.1), refuted_if=Range.above(0.5))
    low, high = table([0.01 + 0.001 * k for k in range(12)]), table([0.4 + 0.001 * k for k in range(12)], OWN)
    for lower, verdict in ((True, "established"), (False, "not specific")):
        tested = dataclasses.replace(errors, controls=(Control(OWN, 0.1, lower=lower),))
        assert judged(tested, low, high).verdict == verdict


def test_differences_are_between_pairs() -> None:
    """Networks' own spread drowns a small gap unless trained and control are paired; shuffled pairs show it."""
    trained = [0.90 + 0.008 * k for k in range(12)]
    control = table([value - 0.01 for value in trained], OWN)
    tested = controlled(OWN, margin=0.005)
    shuffled = control.assign(pair=list(control["pair"])[::-1])
    for other, verdict in ((control, "established"), (shuffled, "undecided"), (control.iloc[::-1], "established")):
        assert judged(tested, table(trained), other).verdict == verdict


def test_references_and_differences_stand_beside_the_claim() -> None:
    """Null, own initialisation and planted values are never among its networks; a control by its median."""
    references = table([0.1, 0.2, 0.3], "null"), table([0.99, 1.0], "planted"), table([0.0] * 12, metric="other")
    claim = judged(controlled(OWN), TRAINED, table(LOW, OWN), *references)
    assert (claim.n, claim.null) == (12, pytest.approx(0.2))
    assert claim.planted == {"planted/0": 0.99, "planted/1": 1.0}
    assert claim.own_initialisation == pytest.approx(np.median(LOW))
    (difference,) = claim.differences
    assert (difference.value, difference.control) == (pytest.approx(0.5), pytest.approx(np.median(LOW)))
    assert difference.exceeds_in == 12
    assert judged(rule(), TRAINED).own_initialisation is None
    assert Claim.from_dict(json.loads(json.dumps(claim.to_dict()))) == claim
    alone = judged(rule(), table([0.95]))
    assert Claim.from_dict(json.loads(json.dumps(alone.to_dict()))) == alone


def test_a_share_is_judged_with_its_exact_interval() -> None:
    """For a metric of 0 and 1 the value is the share of networks; of another it would be made up."""
    claim = judged(SHARE, table([1.0] * 19 + [0.0]), table([0.3], "null"))
    assert (claim.value, claim.null) == (pytest.approx(0.95), pytest.approx(0.3))
    assert claim.interval == pytest.approx((0.7513, 0.9987), abs=1e-3)
    with refused():
        _ = judged(SHARE, table([1.0, 0.5] + [1.0] * 10))


def test_ranges_know_their_ends() -> None:
    """Closed ends belong to the range, open ones do not; both ends of an interval must lie inside."""
    ranges = (Range.at_least(0.5), Range.at_most(0.5), Range.above(0.5), Range.below(0.5))
    assert [0.5 in one for one in ranges] == [True, True, False, False]
    ends = ((0.1, 0.9), (0.0, 0.5), (0.5, 1.0))
    assert [Range(0.1, 0.9).covers(interval) for interval in ends] == [True, False, False]
    assert str(Range(0.1, 0.9, open_high=True)) == "≥ 0.1 and < 0.9"
    assert (str(Range.above(1.0)), str(Range())) == ("> 1", "any value")
    assert math.inf in Range()


def test_a_rule_that_was_changed_after_it_was_judged_is_refused() -> None:
    """Its digest changes with every field."""
    changes: dict[str, Any] = {"established_if": Range.at_least(0.91), "refuted_if": Range.below(0.5)}
    changes |= {"controls": (Control(OWN, 0.1),), "statement": "It counts well.", "needs": 3}
    for name, value in changes.items():
        changed = rule(**{name: value})
        assert changed.digest != rule().digest == rule().digest
        written = judged(rule(), TRAINED).to_dict()
        written["rule"] = dataclasses.asdict(changed) | {"digest": rule().digest}
        with refused():
            _ = Claim.from_dict(written)


def test_a_control_without_a_pair_is_paired_with_none() -> None:
    """However it is said that there is no pair."""
    for nothing in ("", None, pd.NA, math.nan):
        pairs = [*map(str, range(12)), nothing, nothing]
        assert judged(controlled(OWN), TRAINED, table([*LOW, 0.1, 0.1], OWN, pairs)).verdict == "established"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: judged(rule(metric="loss"), TRAINED),
        lambda: judged(controlled(OWN), TRAINED, table(LOW, OWN, ["0", "0", *map(str, range(2, 12))])),
        lambda: judged(rule(), table([math.nan] * 12)),
        *(
            lambda role=role: judged(rule(), TRAINED, table([0.95, math.nan, *SPREAD], role))
            for role in (OWN, "null", "planted")
        ),
        lambda: rule(needs=0),
        lambda: Range(1.0, 0.5),
        lambda: judge(TRAINED.drop(columns=["pair", "value"]), [rule()]),
        lambda: judge(TRAINED, [rule(signal="cell_state")]),
        lambda: Claim.from_dict(json.loads(json.dumps(judged(rule(), TRAINED).to_dict())) | {"verdict": "sure"}),
    ],
)
def test_what_cannot_be_judged_is_refused(ask: Any) -> None:
    """A NaN compares false with every bound; two controls of one pair, no metric, no column: no silent verdict."""
    with refused():
        _ = ask()
