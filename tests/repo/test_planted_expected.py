"""Every rule on every planted network: an expected value or a reason for none, computed again in plain numpy."""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import import_module

import numpy as np
import pytest

from analyses.counter import QUESTIONS, SECOND, common, planted_networks, study
from analyses.counter.expected import EXPECTED
from analyses.counter.expected_rules import NOT_ASKED, OF_RULES
from models import planted
from probe import Finding
from probe.evidence import Rule
from tests.repo import oracle_answers, oracle_changes, oracle_estimators, oracle_reading, oracle_shares
from tests.repo.oracle_network import LENGTH, Plain, ones_of

NETWORKS = tuple(planted.battery())
ORACLE = oracle_answers.ORACLE | oracle_changes.ORACLE | oracle_reading.ORACLE | oracle_shares.ORACLE
#: The plain networks, so that what one test computes of them the next one finds.
PLAIN = {name: Plain(name) for name in NETWORKS}
#: What no value of the states is needed for: the answers are right, and the whole state is all that goes on.
ERRORS, WHOLE, BEST = "0", "6", "26"


def rules() -> dict[str, tuple[str, Rule]]:
    """Return every rule of the questions that planted networks are asked, with its question, by key."""
    modules = [(name, import_module(f"analyses.counter.{name}")) for name in (*QUESTIONS, *SECOND)]
    return {rule.key: (name, rule) for name, module in modules for rule in module.RULES}


def test_every_rule_has_an_entry_for_every_planted_network() -> None:
    """One each, about the rule's own metric: so a new rule or network without one fails here."""
    every = rules()
    found = [(each.rule, each.network) for each in OF_RULES]
    wanted = {(key, network) for key in every.keys() - NOT_ASKED.keys() for network in NETWORKS}
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert set(NOT_ASKED) < set(every)
    for each in OF_RULES:
        question, rule = every[each.rule]
        metric = "all_error" if each.rule == ERRORS else rule.metric  # a planted network has no test strings
        assert (each.question, each.metric) == (question, metric)
        assert rule.signal in (each.signal or "", each.kind or "")
        assert len(each.why) > 9


def test_a_rule_without_a_value_was_measured_on_no_planted_network() -> None:
    """What is said to be not asked has no row among the committed measurements."""
    asked = {key: rules()[key] for key in (*NOT_ASKED, ERRORS)}
    _, tables = study.read(study.groups(study.PLANTED), [question for question, _ in asked.values()])
    assert {key: len(common.of_rule(tables[question], rule)) for key, (question, rule) in asked.items()} == (
        dict.fromkeys(asked, 0)
    )


def test_expectations_can_fail() -> None:
    """No tolerance is wider than .11, seven in ten are .0001 at most, and few have a range in place of a value."""
    widths = np.array([each.tolerance for each in OF_RULES])
    assert widths.max() <= 0.11
    assert (widths <= 1e-4).mean() > 0.7
    assert np.mean([each.between for each in OF_RULES]) < 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_plain_networks_answer_as_their_program(name: str) -> None:
    """All 1,024 answers are the counts, by the LSTM's equations in plain numpy."""
    assert np.array_equal(PLAIN[name].answers(PLAIN[name].at[LENGTH])[0], ones_of(LENGTH))


@pytest.mark.parametrize("rule", sorted(rules().keys() - {*NOT_ASKED, ERRORS, WHOLE, BEST}))
def test_expected_values_follow_from_the_weights(rule: str) -> None:
    """Each is computed again in plain numpy, with other splits and draws where there are any."""
    missed = {}
    for each in (each for each in OF_RULES if each.rule == rule):
        value = ORACLE[rule](PLAIN[each.network])
        if abs(value - each.value) > each.tolerance + 1e-12:
            missed[each.network] = value, each.value, each.tolerance
    assert missed == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_best_estimator_scores_as_expected(name: str) -> None:
    """Whichever of those that read the count best is taken, its score is the expected one."""
    (wanted,) = (each for each in OF_RULES if (each.rule, each.network) == (BEST, name))
    for value in oracle_estimators.best_scores(PLAIN[name]).values():
        assert value == pytest.approx(wanted.value, abs=wanted.tolerance + 1e-12)


@cache
def committed() -> dict[str, Finding]:
    """Return the committed measurements of the planted networks as findings that nothing was judged in."""
    networks, tables = study.read(study.groups(study.PLANTED), [*QUESTIONS, *SECOND])
    made = common.provenance("planted_networks", networks)
    return {name: Finding(name, name, table, (), (), made, {}) for name, table in tables.items()}


def test_every_measured_value_is_the_expected_one() -> None:
    """The check passes on what is committed; its table is the matrix of rules and networks, and is counted."""
    found = planted_networks.find(committed())
    assert [claim.verdict for claim in found.claims] == ["passed"]
    matrix = found.measurements[found.measurements["metric"] == "rule_as_expected"]
    wide = matrix.pivot(index="kind", columns="network", values="value")
    assert wide.shape == (len(rules()) - len(NOT_ASKED), len(NETWORKS))
    assert bool((wide == 1).all(axis=None))
    assert (
        f"{len(OF_RULES)} of {len(OF_RULES)} are those of {len(wide)} rules on 17 networks" in found.notes["answer"]
    )
    assert len(found.figures[0].data) == len(EXPECTED) + len(OF_RULES)
    assert all(f"{key}: {why}" in found.notes["answer"] for key, why in NOT_ASKED.items())


def test_a_value_outside_of_its_range_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control arm: one range moved away fails the check, is named, and is 0 in the matrix alone."""
    place = next(place for place, each in enumerate(OF_RULES) if each.between and each.network == "relay")
    moved = dataclasses.replace(OF_RULES[place], value=0.5)
    monkeypatch.setattr(planted_networks, "OF_RULES", [*OF_RULES[:place], moved, *OF_RULES[place + 1 :]])
    found = planted_networks.find(committed())
    assert [claim.verdict for claim in found.claims] == ["failed"]
    matrix = found.measurements[found.measurements["metric"] == "rule_as_expected"]
    assert matrix[matrix["value"] == 0]["kind"].tolist() == [moved.rule]
    assert f"Not met: relay: {moved.metric}" in found.notes["answer"]
