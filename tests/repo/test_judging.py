"""How the counter's rules are judged: against the strongest control of each network."""

from __future__ import annotations

import pandas as pd

from analyses.counter import common
from probe.evidence import Control, Range, Rule, judge
from probe.evidence.measurements import tabulate
from probe.evidence.strongest import STRONGEST, with_strongest

LARGE = Rule(
    "x",
    "It is large.",
    "size",
    "the size",
    "here",
    Range.at_least(0.5),
    Range.below(0.5),
    controls=(Control(STRONGEST, 0.05),),
)


def table(**by_role: list[float]) -> pd.DataFrame:
    """Values by role, a pair each."""
    return tabulate(
        {"question": "q", "metric": "size", "role": role.replace("_", " "), "value": value, "pair": str(pair)}
        | {"network": f"counter/seed-{pair}" + ("" if role == "trained" else f"/{role.replace('_', ' ')}")}
        for role, values in by_role.items()
        for pair, value in enumerate(values)
    )


def test_the_best_head_of_each_pair_is_the_control() -> None:
    """The largest value where a rule wants much, the smallest where it wants little; another one each time."""
    heads = {"fitted_head": [0.1, 0.9], "ridge_head": [0.8, 0.2], "noise_head": [0.3, 0.3]}
    measured = table(trained=[0.9, 0.9], **heads)
    little = Rule(**vars(LARGE) | {"established_if": Range.at_most(0.5), "refuted_if": Range.above(0.5)})
    for asked, expected in ((LARGE, [0.8, 0.9]), (little, [0.1, 0.2])):
        found = with_strongest(measured, [asked])
        best = found[found["role"] == STRONGEST].sort_values("pair")
        assert list(best["value"]) == expected
        assert list(best["network"]) == ["counter/seed-0/strongest head", "counter/seed-1/strongest head"]
    unasked = with_strongest(measured, [Rule(**vars(LARGE) | {"controls": ()})])
    assert STRONGEST not in set(unasked["role"])


def test_a_straw_man_is_no_opponent() -> None:
    """A claim that beats one head and not another is not specific; with a head that was not measured, undecided."""
    heads = {"fitted_head": [0.3] * 60, "noise_head": [0.2] * 60}
    for more, controls, verdict in (
        ({"ridge_head": [0.9] * 60}, LARGE.controls, "not specific"),
        ({"ridge_head": [0.9] * 60}, (Control("fitted head", 0.05),), "established"),
        ({}, LARGE.controls, "undecided"),
    ):
        rules = [Rule(**vars(LARGE) | {"controls": controls})]
        (claim,) = judge(table(trained=[0.9] * 60, **heads, **more), rules, family=common.FAMILY)
        assert claim.verdict == verdict
