"""How the counter's rules are judged: on fresh networks, against the strongest control, and over training."""

from __future__ import annotations

import pandas as pd

from analyses.counter import common, over_training
from models.populations import POPULATIONS, SECOND_JUDGED, TRAJECTORY
from probe.evidence import Claim, Control, Range, Rule, judge
from probe.evidence.measurements import tabulate
from probe.evidence.strongest import STRONGEST, with_strongest


def rule(**changed: object) -> Rule:
    """A rule about answers, against the strongest head."""
    content: dict[str, object] = {
        "key": "x",
        "statement": "It is large.",
        "metric": "size",
        "definition": "the size",
        "source": "here",
        "established_if": Range.at_least(0.5),
        "refuted_if": Range.below(0.5),
        "controls": (Control(STRONGEST, 0.05),),
    }
    return Rule(**(content | changed))  # pyright: ignore[reportArgumentType]


def table(**by_role: list[float]) -> pd.DataFrame:
    """Values by role, a pair each."""
    return tabulate(
        {"question": "q", "metric": "size", "role": role.replace("_", " "), "value": value, "pair": str(pair)}
        | {"network": f"counter/seed-{pair}" + ("" if role == "trained" else f"/{role.replace('_', ' ')}")}
        for role, values in by_role.items()
        for pair, value in enumerate(values)
    )


def judged(measured: pd.DataFrame, rules: list[Rule]) -> tuple[Claim, ...]:
    """Judge rules against the strongest control."""
    return judge(measured, rules, family=common.FAMILY)


def test_its_networks_are_of_no_other_population() -> None:
    """Fresh seeds: nobody looked at them while rules were written."""
    fresh = [SECOND_JUDGED, *TRAJECTORY]
    used = {seed for each in POPULATIONS if each not in fresh for seed in each.seeds}
    assert not used & {seed for each in fresh for seed in each.seeds}
    assert len(SECOND_JUDGED.seeds) == 100


def test_the_best_head_of_each_pair_is_the_control() -> None:
    """The largest value where a rule wants much, the smallest where it wants little; another one each time."""
    heads = {"fitted_head": [0.1, 0.9], "ridge_head": [0.8, 0.2], "noise_head": [0.3, 0.3]}
    measured = table(trained=[0.9, 0.9], **heads)
    little = rule(established_if=Range.at_most(0.5), refuted_if=Range.above(0.5))
    for asked, expected in ((rule(), [0.8, 0.9]), (little, [0.1, 0.2])):
        found = with_strongest(measured, [asked])
        best = found[found["role"] == STRONGEST].sort_values("pair")
        assert list(best["value"]) == expected
        assert list(best["network"]) == ["counter/seed-0/strongest head", "counter/seed-1/strongest head"]
    unasked = with_strongest(measured, [rule(controls=())])
    assert STRONGEST not in set(unasked["role"])


def test_a_pair_without_one_of_the_heads_has_no_strongest_one() -> None:
    """The best of the two that were measured would be a weaker control, and nobody would say so."""
    measured = table(trained=[0.9] * 60, fitted_head=[0.3] * 60, noise_head=[0.2] * 60)
    assert STRONGEST not in set(with_strongest(measured, [rule()])["role"])
    (claim,) = judged(measured, [rule()])
    assert claim.verdict == "undecided"
    assert "was not measured" in claim.reason


def test_a_straw_man_is_no_opponent() -> None:
    """A claim that beats one head and not another is not specific; against the beaten one alone it is established."""
    measured = table(trained=[0.9] * 60, fitted_head=[0.3] * 60, ridge_head=[0.9] * 60, noise_head=[0.2] * 60)
    (claim,) = judged(measured, [rule()])
    assert claim.verdict == "not specific"
    (alone,) = judged(measured, [rule(controls=(Control("fitted head", 0.05),))])
    assert alone.verdict == "established"


def made_courses() -> pd.DataFrame:
    """Two networks: one counts after 1,000 steps and keeps its code to the end, the other loses it after 500."""
    errors = {0: 0.9, 500: 0.2, 1000: 0.01, 10_000: 0.0, 20_000: 0.0, 30_000: 0.0}
    codes = {"seed-1": dict.fromkeys(errors, 1.0), "seed-2": {t: 1.0 if t <= 500 else 0.3 for t in errors}}
    return pd.DataFrame(
        {"network": seed, "steps": steps, "metric": metric, "signal": "", "name": metric, "value": values[steps]}
        for seed in codes
        for metric, values in (
            ("all_error", errors),
            ("lasting_monotone_accuracy", codes[seed]),
        )
        for steps in errors
    )


def test_what_happens_over_training_is_read_off_its_checkpoints() -> None:
    """When a network counts, and whether a cell keeps its code then."""
    rows = pd.DataFrame(over_training.judged_values(made_courses()))
    values = (
        rows[rows["network"] == "after-30000-steps/seed-2"].drop_duplicates("metric").set_index("metric")["value"]
    )
    assert values["gone_before"] == 1.0
    assert values["counts_from"] == 1000
    kept = rows[(rows["network"] == "after-30000-steps/seed-1") & (rows["metric"] == "gone_before")]["value"]
    assert list(kept) == [0.0]
