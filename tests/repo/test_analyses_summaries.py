"""What is read across the findings of all questions about one network of each role and the planted ones."""

from __future__ import annotations

import dataclasses

import pytest

from analyses.counter import mechanism, planted_networks, robustness, running_count, verdicts
from probe.evidence import Control
from tests.repo import asked_once
from tests.repo.made_up import counts, judged, large


def test_the_running_count_is_answered_from_all_seven_tests() -> None:
    """The grid counts the networks of each kind that satisfy each rule; the planted counter passes all seven."""
    read = asked_once.findings()
    found = running_count.find(read)
    grid = found.figures[0].data
    assert set(grid["claim"]) == set(running_count.TESTS)
    assert grid[grid["networks"] == "planted/ones"]["holds_in"].tolist() == [1] * 7
    correlation = read["single_units"].measurements
    best = correlation[(correlation["metric"] == "largest_correlation") & (correlation["role"] == "trained")]
    row = grid[(grid["networks"] == "trained") & (grid["claim"] == "1a")]
    assert row["holds_in"].item() == int((best["value"] >= 0.9).sum())
    assert "The planted counter passes 7 of the 7 tests" in found.notes["answer"]


def test_the_mechanism_is_told_in_numbers_that_were_measured() -> None:
    """Its sentences carry the medians of the questions that measured them, and its picture all four panels."""
    read = asked_once.findings()
    found = mechanism.find(read)
    shares = read["gate_shares"].measurements
    own = shares[(shares["metric"] == "gate_share") & (shares["role"] == "trained")].set_index("signal")["value"]
    assert f"{own['cell_candidate']:.0%} comes through the candidate" in found.notes["answer"]
    assert set(found.figures[0].data["metric"]) == {metric for _, metric in mechanism.SHOWN}


def test_a_planted_value_that_is_not_met_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes on what the ones-counter must give, and fails where another value is expected."""
    read, _ = asked_once.battery()
    ones = [expected for expected in planted_networks.EXPECTED if expected.network in ("ones", "ones-alone")]
    assert len(ones) >= 6
    monkeypatch.setattr(planted_networks, "EXPECTED", ones)
    monkeypatch.setattr(planted_networks, "OF_RULES", ())  # which are about as many idle units as the battery's
    assert [claim.verdict for claim in planted_networks.find(read).claims] == ["passed"]
    monkeypatch.setattr(planted_networks, "EXPECTED", [dataclasses.replace(ones[0], value=0.5), *ones[1:]])
    found = planted_networks.find(read)
    assert [claim.verdict for claim in found.claims] == ["failed"]
    assert "instead of 0.5" in found.notes["answer"]


def test_every_rule_is_applied_to_every_population_alone() -> None:
    """A population's share is that of the networks in the rule's range; each alone decides nothing of a recipe."""
    read = asked_once.findings()
    found = verdicts.find(read)
    (picture,) = found.figures
    data = picture.data.set_index(["claim", "networks"])
    rules = {claim.rule.key: claim.rule for finding in read.values() for claim in finding.claims}
    assert set(data.index.get_level_values("claim")) == {key for key, rule in rules.items() if not rule.check}
    error = read["accuracy"].measurements
    untrained = error[(error["metric"] == "test_error") & (error["role"] == "own initialisation")]["value"].item()
    assert data.loc[("0", "own initialisation"), "median"] == untrained
    assert data.loc[("0", "own initialisation"), "holds_in"] == int(untrained <= rules["0"].established_if.high) == 0
    assert list(data.loc[("1a", "planted/ones"), ["holds_in", "of"]]) == [1, 1]
    assert set(data["alone"]) == {"undecided", ""}


def test_a_population_that_satisfies_a_rule_is_told_beside_the_verdict() -> None:
    """Sixty networks and sixty controls that are as good: established alone, not specific with the control."""
    finding = judged(
        {"trained": [0.95] * 60, "fitted head": [0.94] * 60, "own initialisation": [0.2] * 60},
        large(Control("fitted head", 0.05)),
    )
    assert [claim.verdict for claim in finding.claims] == ["not specific"]
    found = verdicts.find({"q": finding})
    data = found.figures[0].data
    assert dict(zip(data["networks"], data["alone"], strict=True)) == {
        "trained": "established",
        "fitted head": "established",
        "own initialisation": "refuted",
    }
    assert "not specific, these hold: of the own initialisation none; of the fitted head k." in found.notes["answer"]


def test_a_verdict_near_its_bound_is_another_with_another_bound() -> None:
    """Above .9 by .02: stricter bounds refute it, easier ones leave it; at most .1, met by .08, the same."""
    counted = dataclasses.replace(judged({"trained": [0.08] * 60}, counts()), question="accuracy")
    found = robustness.find({"accuracy": counted, "q": judged({"trained": [0.92] * 60}, large())})
    data = found.figures[0].data.set_index("claim")
    assert set(data["as committed"]) == set(data["easier bounds"]) == set(data["95 % for each"]) == {"established"}
    assert list(data["stricter bounds"]) == ["refuted", "refuted"]
    assert "Stricter bounds would change 2 of 2 verdicts (0: refuted, k: refuted)" in found.notes["answer"]


def test_a_verdict_that_rests_on_networks_that_do_not_count_is_another_without_them() -> None:
    """Half of the networks misread too much, and only they are large."""
    counted = dataclasses.replace(judged({"trained": [0.0] * 40 + [0.5] * 80}, counts()), question="accuracy")
    found = robustness.find({"accuracy": counted, "q": judged({"trained": [0.5] * 40 + [0.95] * 80}, large())})
    data = found.figures[0].data.set_index("claim")
    assert data.loc["k", "as committed"] == "established"
    assert data.loc["k", "only networks that count"] == "refuted"
    assert "40 of 120 networks misread" in found.notes["answer"]


def test_claims_about_other_networks_are_not_asked_of_those_that_count() -> None:
    """A network of another recipe has a seed too, but whether it counts is not known of its seed's counter."""
    counted = dataclasses.replace(judged({"trained": [0.0] * 60}, counts()), question="accuracy")
    elsewhere = judged({"trained": [0.95] * 60}, large())
    renamed = elsewhere.measurements.assign(network="gru/" + elsewhere.measurements["network"])
    found = robustness.find({"accuracy": counted, "q": dataclasses.replace(elsewhere, measurements=renamed)})
    data = found.figures[0].data.set_index("claim")
    assert data.loc["k", "only networks that count"] == ""
    assert found.notes["answer"].endswith("To judge these alone would change 0.")
