"""What is read across the findings of all questions about one network of each subject and the planted ones."""

from __future__ import annotations

import dataclasses

import pytest

from analyses import mechanism, planted_networks, running_count
from tests.repo import asked_once


def test_the_running_count_is_answered_from_all_seven_tests() -> None:
    """The grid counts the networks of each kind that satisfy each rule; the planted counter passes all seven."""
    read = asked_once.findings()
    found = running_count.find(read)
    grid = found.figures[0].data
    assert set(grid["claim"]) == set(running_count.TESTS)
    assert grid[grid["networks"] == "planted/ones"]["holds_in"].tolist() == [1] * 7
    correlation = read["single_units"].measurements
    best = correlation[(correlation["metric"] == "largest_correlation") & (correlation["subject"] == "trained")]
    row = grid[(grid["networks"] == "trained") & (grid["claim"] == "1a")]
    assert row["holds_in"].item() == int((best["value"] >= 0.9).sum())
    assert "The planted counter passes 7 of the 7" in found.notes["answer"]


def test_the_mechanism_is_told_in_numbers_that_were_measured() -> None:
    """Its sentences carry the medians of the questions that measured them, and its picture all four panels."""
    read = asked_once.findings()
    found = mechanism.find(read)
    shares = read["gate_shares"].measurements
    own = shares[(shares["metric"] == "gate_share") & (shares["subject"] == "trained")].set_index("signal")["value"]
    assert f"the candidate {own['cell_candidate']:.0%}" in found.notes["answer"]
    assert set(found.figures[0].data["metric"]) == {metric for _, metric in mechanism.SHOWN}


def test_a_planted_value_that_is_not_met_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes on what the ones-counter must give, and fails where another value is expected."""
    read, _ = asked_once.battery()
    ones = [expected for expected in planted_networks.EXPECTED if expected.network in ("ones", "ones-alone")]
    assert len(ones) >= 6
    monkeypatch.setattr(planted_networks, "EXPECTED", ones)
    assert [claim.verdict for claim in planted_networks.find(read).claims] == ["passed"]
    monkeypatch.setattr(planted_networks, "EXPECTED", [dataclasses.replace(ones[0], value=0.5), *ones[1:]])
    found = planted_networks.find(read)
    assert [claim.verdict for claim in found.claims] == ["failed"]
    assert "instead of 0.5" in found.notes["answer"]
