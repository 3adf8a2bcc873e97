"""Where the network of this machine stands among those of the study, which `make report` shows."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

import probe
from analyses.counter import QUESTIONS, study, trained_here
from models.packing import unpack


@cache
def measured(*seeds: int) -> dict[str, pd.DataFrame]:
    """Return what was measured of counters and of the planted networks."""
    return study.read([*study.groups("counter", seeds), *study.groups("planted")], QUESTIONS)[1]


def alone(seed: int) -> dict[str, pd.DataFrame]:
    """Return what was measured of one counter and its controls."""
    return study.read(study.groups("counter", [seed]), QUESTIONS)[1]


def test_every_rule_has_a_value_here_and_a_place_among_the_others() -> None:
    """Also the one that is a difference to a planted network, which is not measured again here."""
    found = pd.DataFrame(trained_here.places(alone(1000), measured(1000, 1001, 1002), {})).set_index("claim")
    rules = [rule for name in QUESTIONS for rule in import_module(f"analyses.counter.{name}").RULES]
    assert list(found.index) == [rule.key for rule in rules]
    assert found["here"].notna().all()
    # It is one of the three itself: below none and above none at once is no place that it can have.
    assert ((found["smallest"] <= found["here"]) & (found["here"] <= found["largest"])).all()
    assert found["place"].between(1 / 6, 5 / 6).all()
    assert "committed" not in found


def test_it_is_held_against_the_committed_network_of_its_seed() -> None:
    """The same network gives the same values; another seed's does not."""
    same = pd.DataFrame(trained_here.places(alone(1000), measured(1001, 1002), alone(1000)))
    assert same["here"].tolist() == same["committed"].tolist()
    other = pd.DataFrame(trained_here.places(alone(1000), measured(1001, 1002), alone(1001)))
    assert other["here"].tolist() != other["committed"].tolist()
    assert other.set_index("claim").loc["10", "here"] != pytest.approx(
        other.set_index("claim").loc["10", "committed"]
    )


def test_a_network_is_placed_by_the_rules_of_the_questions_that_are_asked(tmp_path: Path) -> None:
    """One question costs one measurement; a question without rules places nothing, and says so before it measures."""
    folder = unpack("counter", 0, tmp_path / "seed-0")
    found = trained_here.find(folder, questions=["accuracy"])
    assert found.figures[0].data["claim"].tolist() == ["0"]
    assert "It equals the committed network of its seed in all of them." in found.notes["answer"]
    assert "here/counter/seed-0" in found.provenance["weights"]
    with pytest.raises(probe.ProbeError, match=r"by rules, and programs has none\. Leave --here out"):
        trained_here.find(tmp_path / "gone", questions=["programs"])
