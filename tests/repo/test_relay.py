"""Whether cells take over from each other; what planted networks give is compared in test_planted_expected.py."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.counter import relay


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
