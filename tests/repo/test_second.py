"""The second judgement: its rules were fixed before its networks, and each is held against the strongest control."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from analyses.counter import SECOND, SECOND_AGAIN, SECOND_POPULATION, common, merged, over_training, second, study
from models.populations import POPULATIONS, SECOND_JUDGED, SHIFTED, TRAJECTORY
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import tabulate
from reports import story

NEW = [rule for name in (*SECOND, *SECOND_POPULATION) for rule in import_module(f"analyses.counter.{name}").RULES]


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
        "controls": (Control(second.STRONGEST, 0.05),),
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


@pytest.mark.parametrize("each", [*second.rules(), *NEW], ids=lambda each: each.key)
def test_every_rule_was_written_down_before_its_networks_were_trained(each: Rule) -> None:
    """The file of digests was committed before the seeds of the second judgement existed."""
    assert common.rules_first_used()[each.key] == each.digest


def test_keys_are_unique() -> None:
    """One key, one rule, over both judgements."""
    keys = [each.key for each in (*second.rules(), *NEW)]
    assert len(set(keys)) == len(keys)
    frozen = json.loads((Path(merged.__file__).parent / merged.FROZEN).read_text(encoding="utf-8"))
    ended = [each for each in frozen if each["key"].startswith("24")]
    assert second.FAMILY == len(keys) + len(ended) == story.SECOND_FAMILY


def test_its_networks_are_of_no_other_population() -> None:
    """Fresh seeds: nobody looked at them while rules were written."""
    fresh = [SECOND_JUDGED, *TRAJECTORY, *SHIFTED]
    used = {seed for each in POPULATIONS if each not in fresh for seed in each.seeds}
    assert not used & {seed for each in fresh for seed in each.seeds}
    assert len(SECOND_JUDGED.seeds) == 100


def test_the_best_head_of_each_pair_is_the_control() -> None:
    """The largest value where a rule wants much, the smallest where it wants little; another one each time."""
    heads = {"fitted_head": [0.1, 0.9], "ridge_head": [0.8, 0.2], "noise_head": [0.3, 0.3]}
    measured = table(trained=[0.9, 0.9], **heads)
    little = rule(established_if=Range.at_most(0.5), refuted_if=Range.above(0.5))
    for asked, expected in ((rule(), [0.8, 0.9]), (little, [0.1, 0.2])):
        found = second.with_strongest(measured, [asked])
        best = found[found["role"] == second.STRONGEST].sort_values("pair")
        assert list(best["value"]) == expected
        assert list(best["network"]) == ["counter/seed-0/strongest head", "counter/seed-1/strongest head"]
    unasked = second.with_strongest(measured, [rule(controls=())])
    assert second.STRONGEST not in set(unasked["role"])


def test_a_pair_without_one_of_the_heads_has_no_strongest_one() -> None:
    """The best of the two that were measured would be a weaker control, and nobody would say so."""
    found = second.with_strongest(table(trained=[0.9] * 60, fitted_head=[0.3] * 60, noise_head=[0.2] * 60), [rule()])
    assert second.STRONGEST not in set(found["role"])
    (claim,) = second.judged(found, [rule()])
    assert claim.verdict == "undecided"
    assert "was not measured" in claim.reason


def test_every_rule_about_answers_has_all_heads() -> None:
    """Also where another question measured them: else its verdict would be undecided whatever was measured."""
    seeds = SECOND_JUDGED.seeds[:2]
    _, tables = study.read(study.groups("counter", seeds), [*SECOND_AGAIN, study.ONE_CELL])
    for name, each in second.rules_by_question():
        if each.controls[0].role == second.STRONGEST:
            rows = second.with_strongest(second.rows_of(tables, name, each), [each])
            assert (rows["role"] == second.STRONGEST).sum() == len(seeds), each.key


def test_a_straw_man_is_no_opponent() -> None:
    """A claim that beats one head and not another is not specific; against the beaten one alone it is established."""
    measured = table(trained=[0.9] * 60, fitted_head=[0.3] * 60, ridge_head=[0.9] * 60, noise_head=[0.2] * 60)
    (claim,) = second.judged(measured, [rule()])
    assert claim.verdict == "not specific"
    (alone,) = second.judged(measured, [rule(controls=(Control("fitted head", 0.05),))])
    assert alone.verdict == "established"


def test_every_rule_of_the_first_judgement_has_a_control_that_did_not_learn() -> None:
    """About states the network before training, about answers the strongest head; the bounds are the first ones."""
    first = {each.key: each for name in SECOND_AGAIN for each in import_module(f"analyses.counter.{name}").RULES}
    for each in second.rules():
        old = first[each.key.removeprefix("II.")]
        assert (each.metric, each.signal, each.established_if) == (old.metric, old.signal, old.established_if)
        (control,) = each.controls
        assert control.role == ("own initialisation" if old.key in second.ABOUT_STATES else second.STRONGEST)


def made_courses() -> pd.DataFrame:
    """Two networks: one counts after 1,000 steps and keeps its code to the end, the other loses it after 500."""
    errors = {0: 0.9, 500: 0.2, 1000: 0.01, 10_000: 0.0, 20_000: 0.0, 30_000: 0.0}
    codes = {"seed-1": dict.fromkeys(errors, 1.0), "seed-2": {t: 1.0 if t <= 500 else 0.3 for t in errors}}
    drifts = {0: 0.5, 500: 0.5, 1000: 0.6, 10_000: 0.8, 20_000: 0.97, 30_000: 0.98}
    return pd.DataFrame(
        {"network": seed, "steps": steps, "metric": metric, "signal": "", "name": metric, "value": values[steps]}
        for seed in codes
        for metric, values in (
            ("all_error", errors),
            ("lasting_monotone_accuracy", codes[seed]),
            ("drift", drifts),
            ("noisy_accuracy", drifts),
        )
        for steps in errors
    )


def test_what_happens_over_training_is_read_off_its_checkpoints() -> None:
    """When a network counts, whether a cell keeps its code then, and what the drift does later."""
    shifted = pd.Series({f"{each.recipe}/seed-{seed}": 0.9 for each in SHIFTED for seed in (1, 2)})
    rows = pd.DataFrame(over_training.judged_values(made_courses(), shifted))
    values = (
        rows[rows["network"] == "after-30000-steps/seed-2"].drop_duplicates("metric").set_index("metric")["value"]
    )
    assert values["gone_before"] == 1.0
    assert values["counts_from"] == 1000
    assert values["later_drift"] == pytest.approx(0.18)
    assert values["last_change"] == pytest.approx(0.01)
    assert values["last_distance"] == pytest.approx(0.02)
    assert values["shifted_drift"] == pytest.approx(0.1)
    kept = rows[(rows["network"] == "after-30000-steps/seed-1") & (rows["metric"] == "gone_before")]["value"]
    assert list(kept) == [0.0]
