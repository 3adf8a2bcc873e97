"""Which rules and tables `judge` refuses, with which words, and where too few controls decide nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from probe import ProbeError
from probe.evidence import Claim, Control, Range, Rule, judge


def rule(**options: Any) -> Rule:
    """Return a rule: established at 0.9 and above, refuted at 0.5 and below, from ten networks on."""
    bounds: dict[str, Any] = {"established_if": Range.at_least(0.9), "refuted_if": Range.at_most(0.5), "needs": 10}
    words: dict[str, Any] = {
        "key": "1a",
        "statement": "It counts.",
        "metric": "accuracy",
        "definition": "d",
        "source": "s",
    }
    return Rule(**(words | bounds | options))


def table(values: list[float], role: str = "trained", pairs: list[int] | None = None) -> pd.DataFrame:
    """Return one row a network, pairs counting from 0 where none are given."""
    counted = list(range(len(values))) if pairs is None else pairs
    names = [f"{role}/{number}" for number in range(len(values))]
    columns = {"network": names, "pair": list(map(str, counted)), "value": values}
    return pd.DataFrame({"metric": "accuracy", "role": role} | columns)


def judged(rule: Rule, *tables: pd.DataFrame) -> Claim:
    """Judge one rule on several tables."""
    (claim,) = judge(pd.concat(tables, ignore_index=True), [rule], family=1)
    return claim


SPREAD = [0.95 + 0.002 * k for k in range(12)]
CONTROLLED = rule(controls=(Control("own initialisation", 0.2),))
LOW = [value - 0.5 for value in SPREAD]


@pytest.mark.parametrize("role", ["trained", "own initialisation", "null", "planted"])
def test_nan_is_refused_by_metric_and_network(role: str) -> None:
    """A NaN compares false with every bound, and no verdict comes of it."""
    rows = [table(SPREAD)] * (role != "trained") + [table([0.95, math.nan, *SPREAD], role)]
    with pytest.raises(ProbeError, match=rf"'accuracy' is NaN for '{role}/1' of role '{role}'"):
        _ = judged(rule(), *rows)


def test_many_networks_are_not_all_listed() -> None:
    """Five names are shown, and how many more there are."""
    with pytest.raises(ProbeError, match=r"'trained/4' and 7 more of role"):
        _ = judged(rule(), table([math.nan] * 12))


def test_too_few_control_pairs_decide_nothing() -> None:
    """Both too few for `needs` and too few for an interval leave the claim undecided; enough establish it."""
    claim = judged(CONTROLLED, table(SPREAD), table(LOW[:9], "own initialisation"))
    assert (claim.verdict, claim.reason) == ("undecided", "9 pairs with 'own initialisation'; a verdict needs 10")
    assert judged(CONTROLLED, table(SPREAD), table(LOW[:10], "own initialisation")).verdict == "established"
    few = rule(controls=CONTROLLED.controls, needs=3)
    claim = judged(few, table(SPREAD), table(LOW[:3], "own initialisation"))
    assert (claim.verdict, claim.reason) == ("undecided", "3 pairs with 'own initialisation': too few at 95.00%")


def test_two_controls_of_one_pair_are_refused() -> None:
    """Which of them a network is paired with would depend on their order."""
    twice = table(LOW, "own initialisation", pairs=[0, 0, *range(2, 12)])
    both = "'own initialisation/0' and 'own initialisation/1' of role 'own initialisation' both have the pair '0'"
    with pytest.raises(ProbeError, match=both):
        _ = judged(CONTROLLED, table(SPREAD), twice)
    for nothing in ("", None, pd.NA, math.nan):
        alone = table([*LOW, 0.1, 0.1], "own initialisation").astype({"pair": object})
        alone["pair"] = [*alone["pair"][:12], nothing, nothing]
        assert judged(CONTROLLED, table(SPREAD), alone).verdict == "established"


def test_a_share_needs_a_metric_of_0_and_1() -> None:
    """The exact interval counts networks; a mean of other values rounded to a count would be made up."""
    share = rule(statistic="share")
    with pytest.raises(ProbeError, match=r"'accuracy' is neither 0 nor 1 for 'trained/1' of role 'trained'"):
        _ = judged(share, table([1.0, 0.5] + [1.0] * 10))
    assert judged(share, table([1.0] * 12), table([0.3], "null")).null == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rule(needs=0), r"Rule '1a' has needs=0; .* at least 1"),
        (lambda: Range(1.0, 0.5), r"low=1\.0 and high=0\.5 has no inside; give two numbers, low <= high"),
        (lambda: Range(math.nan, 1.0), r"low=nan"),
    ],
)
def test_rules_that_cannot_be_judged_are_refused_when_made(make: Callable[[], object], message: str) -> None:
    """A mistake in a rule is told where the rule is written, not where it is judged."""
    with pytest.raises(ProbeError, match=message):
        _ = make()


@pytest.mark.parametrize("family", [0, -1])
def test_a_family_has_at_least_one_rule(family: int) -> None:
    """Zero would correct nothing, and below zero nothing is meant."""
    with pytest.raises(ProbeError, match=rf"family={family} must be how many rules are decided together"):
        _ = judge(table(SPREAD), [rule()], family=family)


def test_a_table_without_its_columns_is_refused() -> None:
    """The missing ones are named, `signal` and `kind` only where a rule asks for one."""
    with pytest.raises(ProbeError, match=r"The table lacks the columns pair, value; it needs metric, role"):
        _ = judge(table(SPREAD).drop(columns=["pair", "value"]), [rule()])
    with pytest.raises(ProbeError, match=r"The table lacks the columns signal, kind;"):
        _ = judge(table(SPREAD), [rule(signal="cell_state")])


def test_a_claim_read_back_has_a_verdict_word() -> None:
    """A verdict that `judge` never gives was not given by it."""
    written = json.loads(json.dumps(judged(rule(), table(SPREAD)).to_dict()))
    with pytest.raises(ProbeError, match=r"no verdict 'estabished'; .* Did you mean 'established'"):
        _ = Claim.from_dict(written | {"verdict": "estabished"})
