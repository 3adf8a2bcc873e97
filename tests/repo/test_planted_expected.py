"""Every rule on every planted network: what was measured and is committed, computed again in plain numpy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses.counter import QUESTIONS, study
from models import planted
from probe.evidence import Rule
from probe.evidence.claims import of_rule
from probe.studies.store import read
from tests.repo import oracle_answers, oracle_changes, oracle_reading, oracle_shares
from tests.repo.oracle_network import LENGTH, Plain, ones_of

NETWORKS = tuple(planted.battery())
ORACLE = oracle_answers.ORACLE | oracle_changes.ORACLE | oracle_reading.ORACLE | oracle_shares.ORACLE
#: The plain networks, so that what one test computes of them the next one finds.
PLAIN = {name: Plain(name) for name in NETWORKS}
#: The errors on test strings, which a planted network has none of; the best estimator's score.
ERRORS, BEST = "0", "26"
#: How far a measured value may lie from the computed one, where splits, draws or searches differ: of most networks,
#: and of some by name. Of all other rules `NEAR`.
NEAR = 2e-4
READ = (0.02, {"geometric": 0.05, "delay-line": 0.04, "delay-line-alone": 0.03})
TOLERANCES: dict[str, tuple[float, dict[str, float]]] = {
    "1b": (0.004, {"delay-line": 0.06, "delay-line-alone": 0.06}),
    "2": (0.002, {}),
    "3": (0.1, {"ones-alone": 0.02}),
    "III.1c": READ,
    "27h": READ,
    "5b": (0.02, {"rotated-flat": 0.004}),
    "9": (0.05, {"relay": 0.06}),
    "12a": (0.09, {}),
    "12b": (0.16, {"delay-line": 0.18, "rotated-flat": 0.2, "relay": 0.18}),
    "12c": (0.09, {}),
    "14": (0.02, {}),
    "18": (0.01, {}),
    "20": (0.001, {}),
    "26": (NEAR, {"relay": 0.03}),
}
#: What the weights say of the drift, and of whether one cell passes all five tests for a target.
DRIFTS = {"ones": 0.0, "drift-0.25": 0.25, "drift-0.5": 0.5, "drift-0.8": 0.8, "zeros": 1.0, "balance": 0.5}
DRIFTS |= {"geometric": 1.0, "decoy": 1.0, "delay-line": 0.25, "rotated-flat": 0.0, "beside-clock": 0.5, "relay": 0.0}
PASSING = {"ones": ("ones", "beside-clock", "leaky"), "zeros": ("zeros",), "drift": ("drift-0.5",)}
FAILING = {
    "ones": ("zeros", "drift-0.5", "decoy", "rotated", "rotated-flat", "relay", "delay-line"),
    "zeros": ("ones",),
}


def rules() -> dict[str, tuple[str, Rule]]:
    """Return every rule of the questions that planted networks are asked, with its question, by key."""
    asked = study.questions(QUESTIONS)
    return {rule.key.removeprefix("II."): (one.name, rule) for one in asked for rule in one.rules}


@cache
def committed() -> dict[str, pd.DataFrame]:
    """Return the committed measurements of the planted networks, by question."""
    groups = read(study.FOLDER / "judged.csv.xz")
    tables = [groups[f"planted/{name}"].tables for name in NETWORKS]
    return {name: pd.concat([each[name] for each in tables], ignore_index=True) for name in QUESTIONS}


def values(table: pd.DataFrame) -> dict[str, float]:
    """Return a value for each planted network by its name."""
    return {
        str(name).removeprefix("planted/"): value
        for name, value in zip(table["network"], table["value"], strict=True)
    }


def tolerance(rule: str, network: str) -> float:
    """Return how far a measured value may lie from the computed one."""
    usual, others = TOLERANCES.get(rule, (NEAR, {}))
    return others.get(network, usual)


def test_every_rule_is_computed_again_and_few_may_be_far() -> None:
    """A new rule without an oracle fails here; no tolerance is wide, and most rules have none of their own."""
    assert set(rules()) == {*ORACLE, ERRORS, BEST}
    widths = [tolerance(rule, network) for rule in rules() for network in NETWORKS]
    assert max(widths) <= 0.22
    assert np.mean([width <= NEAR for width in widths]) > 0.6


def test_plain_networks_answer_as_their_program() -> None:
    """All 1,024 answers are the counts, by the LSTM's equations in plain numpy."""
    for plain in PLAIN.values():
        assert np.array_equal(plain.answers(plain.at[LENGTH])[0], ones_of(LENGTH))
    assert values(committed()["accuracy"].query("metric == 'all_error'")) == dict.fromkeys(NETWORKS, 0)


@pytest.mark.parametrize("rule", sorted(ORACLE))
def test_measured_values_follow_from_the_weights(rule: str) -> None:
    """Each is computed again in plain numpy, with other splits and draws where there are any, by every weight."""
    question, asked = rules()[rule]
    by_weight: dict[str, dict[str, Any]] = {asked.metric: {}} | (
        {asked.also: {"by_prefix": True}} if asked.also else {}
    )
    for metric, weighed in by_weight.items():
        measured = values(of_rule(committed()[question], replace(asked, metric=metric)))
        assert set(measured) == set(NETWORKS)
        computed = {name: ORACLE[rule](PLAIN[name], **weighed) for name in NETWORKS}
        far = {
            name: (measured[name], computed[name])
            for name in NETWORKS
            if not abs(measured[name] - computed[name]) <= tolerance(rule, name)
        }
        assert far == {}


def test_drifts_and_cells_are_those_that_were_built_in() -> None:
    """Each planted drift, within what rounding of heads allows; one cell passes where one holds the target."""
    drifts = values(committed()["other_lengths"].query("metric == 'drift'"))
    assert {name: drifts[name] for name in DRIFTS} == pytest.approx(DRIFTS, abs=0.035)
    assert drifts["leaky"] == pytest.approx(0.043, abs=0.002)
    whole = committed()["one_cell"].query("metric == 'all_tests'")
    for wanted, named in ((1.0, PASSING), (0.0, FAILING)):
        for target, names in named.items():
            found = values(whole[whole["kind"] == target])
            assert {name: found[name] for name in names} == dict.fromkeys(names, wanted)
