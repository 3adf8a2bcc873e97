"""The committed study as a whole: the networks are there, and the controls come out as they must."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module

import pandas as pd
import pytest

from analyses.counter import POPULATION_QUESTIONS, QUESTIONS, common, measured, merged, study
from models import zoo
from models.populations import EXPLORING, POPULATIONS, SECOND_JUDGED, TEMPLATE
from probe.evidence import Rule
from probe.studies.store import SUFFIX, read
from reports import story

FINDINGS = zoo.ZOO.parents[1] / "reports" / "counter" / "findings.json"
RULES: dict[str, tuple[str, Rule]] = {
    rule.key: (name, rule)
    for name in (*QUESTIONS, *POPULATION_QUESTIONS)
    for rule in import_module(f"analyses.counter.{name}").RULES
}
#: What the fitted head, recurrent weights before training and one fitted line, passes and fails (docs/science.md).
PASSES, FAILS = ("II.2", "II.5", "II.9", "II.12a", "II.20"), ("II.4", "II.5b", "II.5c")


@cache
def tables() -> dict[str, pd.DataFrame]:
    """Return what was measured of the hundred counters, as far as the rules above need it."""
    asked = {RULES[key][0] for key in (*PASSES, *FAILS)} | {"accuracy"}
    return study.read(study.groups("counter", SECOND_JUDGED.seeds), sorted(asked))[1]


def median(key: str, role: str) -> float:
    """Return the median over a hundred networks of what a rule is about."""
    question, rule = RULES[key]
    rows = tables()[question]
    rows = rows[(rows["metric"] == rule.metric) & (rows["role"] == role)]
    rows = rows[rows["signal"] == rule.signal] if rule.signal else rows
    assert len(rows) == len(SECOND_JUDGED.seeds)
    return float(rows["value"].median())


def test_every_population_is_whole() -> None:
    """No seed is left out, so that none was chosen."""
    assert [each.name for each in POPULATIONS if not study.is_whole(each)] == []
    asked = [each for each in POPULATIONS if each not in (EXPLORING, TEMPLATE)]
    assert sum(len(each.seeds) for each in asked) == len(study.compared()) + len(study.later())


@pytest.mark.parametrize("key", PASSES)
def test_what_an_untrained_network_with_a_fitted_line_passes_shows_no_learning(key: str) -> None:
    """These rules hold for it: alone they say nothing of training."""
    assert median(key, "fitted head") in RULES[key][1].established_if


@pytest.mark.parametrize("key", FAILS)
def test_what_an_untrained_network_fails_separates_it_from_a_trained_one(key: str) -> None:
    """These rules do not hold for it, and they do for the trained networks."""
    assert median(key, "fitted head") in RULES[key][1].refuted_if
    assert median(key, "trained") in RULES[key][1].established_if


def test_an_untrained_head_does_not_count() -> None:
    """Claim 0 is about training: the median of the own initialisations lies in the range that refutes it."""
    assert median("II.0", "own initialisation") in RULES["II.0"][1].refuted_if


def test_the_committed_findings_are_those_of_the_rules_that_are_here() -> None:
    """Every rule that is no check has a verdict on as many networks as it needs, and its digest of now."""
    entries = {entry["key"]: entry for entry in json.loads(FINDINGS.read_text())}
    assert set(entries) == set(RULES)
    for key, (_, rule) in RULES.items():
        assert entries[key]["rule"]["digest"] == rule.digest
        assert rule.check or entries[key]["n"] >= rule.needs


def test_every_group_of_the_study_is_measured_and_no_other() -> None:
    """No measurement is left of a network that the study does not have."""
    there = {
        study.Group(path.name.removesuffix(SUFFIX), member)
        for path in measured.FOLDER.iterdir()
        for member in read(path)
    }
    assert there == set(study.groups(study.EVERY))


@pytest.mark.parametrize("key", RULES)
def test_every_rule_was_written_down_before_its_networks_were_trained(key: str) -> None:
    """The file of digests was committed before the seeds existed that the rules are judged on."""
    assert common.rules_first_used()[key] == RULES[key][1].digest


def test_what_is_no_longer_asked_is_kept() -> None:
    """Every rule that was ever judged is in force or frozen, each with the digest that it first had."""
    frozen = json.loads((zoo.ZOO.parents[1] / "analyses" / "counter" / merged.FROZEN).read_text(encoding="utf-8"))
    ended = {each["key"]: each["rule"] for each in frozen}
    assert not set(ended) & set(RULES)
    first_used = common.rules_first_used()
    assert set(first_used) == {*RULES, *(key for key in ended if not key.startswith("E"))}
    assert {key: ended[key] for key in first_used if key in ended}.items() <= first_used.items()


def test_all_verdicts_are_decided_at_the_level_of_the_whole_family() -> None:
    """Those that are frozen now were decided with them: the first time, and on the networks of seeds from 2000 on."""
    last = {"16b", "16c", "24a", "24b", "T2", "T3", "T4", "T5"}
    recipes = {"23a", "23b"}
    assert common.FAMILY == len({*RULES, *last} - recipes) == story.FAMILY
    again = {key.removeprefix("II.") for key in RULES if key.startswith("II.")}
    assert common.RECIPES_FAMILY == len({*again, *recipes, "10"}) == story.RECIPES_FAMILY


def test_every_rule_about_answers_has_all_heads() -> None:
    """Also where another question measured them: else its verdict would be undecided whatever was measured."""
    entries = {entry["key"]: entry for entry in json.loads(FINDINGS.read_text())}
    for key, (_, rule) in RULES.items():
        for control in rule.controls:
            assert [each["role"] for each in entries[key]["differences"]] == [control.role], key
