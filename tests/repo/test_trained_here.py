"""Where the network of this machine stands among those of the study, which `make report` shows."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import pandas as pd
import pytest

from analyses import QUESTIONS, study, trained_here


@cache
def measured(*seeds: int) -> dict[str, pd.DataFrame]:
    """Return what was measured of counters and of the planted networks."""
    return study.read([*study.groups("counter", seeds), *study.groups("planted")], QUESTIONS)[1]


def alone(seed: int) -> dict[str, pd.DataFrame]:
    """Return what was measured of one counter and its twins."""
    return study.read(study.groups("counter", [seed]), QUESTIONS)[1]


def test_every_rule_has_a_value_here_and_a_place_among_the_others() -> None:
    """Also the one that is a difference to a planted network, which is not measured again here."""
    found = pd.DataFrame(trained_here.places(alone(1000), measured(1000, 1001, 1002), {})).set_index("claim")
    rules = [rule for name in QUESTIONS for rule in import_module(f"analyses.{name}").RULES]
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
