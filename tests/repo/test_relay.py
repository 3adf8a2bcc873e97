"""Whether cells take over from each other: what a relay and planted crowds must give."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.counter import common, relay
from models import planted
from models.counter import Counter, answer
from models.planted.building import INPUT, B, Plan
from models.tasks import bit_strings
from probe.evidence.measurements import FITTED_HEADS, Network, only


def relay_counter(flags: int = 10) -> Counter:
    """Return a counter of flags: a one sets the first that is not set, so that each count is carried by another cell.

    A flag's input gate opens on a one, where the flag before it is set and it is not itself.
    """
    plan = Plan(flags)
    plan.hold(*range(flags))
    sharp, held = 2 * B, math.tanh(1.0)
    for unit in range(flags):
        plan.write(unit, one=1 - 1e-16, zero=0.0)
        plan.x[INPUT, unit], plan.h[INPUT, unit, unit] = sharp, -sharp / held
        plan.bias[INPUT, unit] = -sharp * (1.5 if unit else 0.5)
        if unit:
            plan.h[INPUT, unit, unit - 1] = sharp / held
    plan.read(plan.one_hot(*range(flags)), held * torch.arange(11, dtype=torch.float64))
    return plan.built(torch.float64)


BUILT = {
    "relay": relay_counter(),
    "zeros": planted.zeros_counter(distractors=1),
    "drift": planted.drift_counter(0.5, distractors=1),
    "balance": planted.balance_counter(distractors=0),
    "geometric": planted.geometric_counter(distractors=0),
    "ones": planted.ones_counter(distractors=2),
    "rotated": planted.rotated_counter(),
}


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    """Return a counter with its controls, the relay, and other planted networks."""
    own = [Network(f"planted/{name}", "planted", model) for name, model in BUILT.items()]
    return [*common.with_controls("counter", 2000), *own]


@pytest.fixture(scope="module")
def table(networks: list[Network]) -> pd.DataFrame:
    """Return what was measured of them."""
    return relay.QUESTION.ask(common.subjects(networks))


def of(table: pd.DataFrame, metric: str) -> dict[str, float]:
    """Return a metric of the planted networks."""
    rows = only(table, metric=metric, role="planted")
    return dict(zip(rows["network"].str.removeprefix("planted/"), rows["value"], strict=True))


def test_the_relay_counts() -> None:
    """It is right on every string of ten bits."""
    x = bit_strings(10)
    with torch.no_grad():
        assert torch.equal(answer(BUILT["relay"](x.double())), x.sum((1, 2)).long())


def test_in_a_relay_one_cell_carries_each_count_and_another_the_next(table: pd.DataFrame) -> None:
    """Each pair has one cell; all together have as many as there are counts, weighed by how often each occurs."""
    often = np.array([math.comb(6, ones) for ones in range(7)]) / 64
    assert of(table, "relay_index")["relay"] == pytest.approx(1 / (often**2).sum(), abs=1e-5)
    assert of(table, "per_context_participation")["relay"] == pytest.approx(1, abs=1e-6)
    assert of(table, "largest_pair_share")["relay"] == pytest.approx(1, abs=1e-6)


def test_in_a_crowd_the_same_cells_carry_every_count(table: pd.DataFrame) -> None:
    """The index of one cell is 1 to a millionth, and that of two in balance and of eight unequal ones to .002.

    In those a sharp head jumps between the counts, and tanh and idle cells shift where.
    """
    index, spread = of(table, "relay_index"), of(table, "per_context_participation")
    for name in ("ones", "zeros", "drift", "geometric"):
        assert index[name] == pytest.approx(1, abs=1e-6)
    assert [index["balance"], index["rotated"]] == pytest.approx([1, 1], abs=2e-3)
    assert [spread[name] for name in ("ones", "zeros", "geometric")] == pytest.approx([1, 1, 1], abs=1e-3)
    assert spread["balance"] == pytest.approx(2, abs=1e-3)
    assert spread["rotated"] > 3


def test_pairs_are_those_of_the_unit_shares(table: pd.DataFrame) -> None:
    """64 pairs of prefixes, none of them left out."""
    own = only(table, network="counter/seed-2000")
    assert only(own, metric="relay_index")["n"].item() == 64
    assert only(own, metric="pairs_left_out")["value"].item() == 0
    assert set(table["role"]) == {"trained", *FITTED_HEADS, "planted"}


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
