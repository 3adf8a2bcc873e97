"""Whether cells take over from each other: what a relay and planted crowds must give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analyses.__main__ import limit_threads
from analyses.counter import common, relay
from models import planted
from probe.evidence.measurements import Network, only

#: The relay, and crowds without idle units, each of which doubles the subsets.
BUILT = {
    "relay": planted.relay_counter(),
    "geometric": planted.geometric_counter(distractors=0),
    "ones": planted.ones_counter(distractors=2),
    "balance": planted.balance_counter(distractors=0),
}


def test_a_relay_is_told_from_a_crowd() -> None:
    """In a relay one cell carries each count and another the next; in a crowd the same cells carry every count.

    A relay's pairs have one cell each, and all together as many as there are counts, weighed by how often each
    occurs. The index of two in balance is 1 to .002: a sharp head jumps between the counts.
    """
    limit_threads()
    table = relay.QUESTION.ask(common.subjects([Network(name, "planted", model) for name, model in BUILT.items()]))
    metrics = ("relay_index", "per_context_participation", "largest_pair_share", "pairs_left_out")
    index, spread, largest, left = (
        only(table, metric=metric).set_index("network")["value"].to_dict() for metric in metrics
    )
    often = np.array([math.comb(6, ones) for ones in range(7)]) / 64
    assert index == pytest.approx({**dict.fromkeys(BUILT, 1), "relay": 1 / (often**2).sum()}, abs=2e-3)
    assert [index["ones"], index["geometric"], index["relay"] * (often**2).sum()] == pytest.approx([1] * 3, abs=1e-5)
    assert spread == pytest.approx({**dict.fromkeys(BUILT, 1), "balance": 2}, abs=1e-3)
    assert largest["relay"] == pytest.approx(1, abs=1e-6)
    assert (set(left.values()), set(only(table, metric="relay_index")["n"])) == ({0}, {64})


def test_the_index_of_shares_of_both_signs() -> None:
    """Sizes count and not signs: it is 1 or more; what works against the rest is no smaller crowd."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        index, together, within = relay.relay_index(rng.normal(size=(5, 12)), rng.uniform(0, 1, 5))
        assert index >= 1
        assert 1 <= within <= together <= 12
    assert relay.relay_index(np.array([[2.0, -1], [-4, 2]]), np.ones(2))[0] == pytest.approx(1)
    assert relay.relay_index(np.array([[1.0, 0], [0, -1]]), np.ones(2))[0] == pytest.approx(2)
    # A pair in which nothing changes has no weight.
    assert relay.relay_index(np.array([[1.0, 0], [0, 0]]), np.ones(2))[0] == pytest.approx(1)
    assert np.isnan(relay.relay_index(np.zeros((2, 2)), np.ones(2))[0])
