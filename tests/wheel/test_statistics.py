"""What the intervals promise: the coverage they state, on few networks, without a distribution."""

from __future__ import annotations

import numpy as np
import pytest

from probe.evidence.intervals import median_interval, share_interval


def test_the_medians_interval_is_conovers() -> None:
    """For ten values at 95 % the ends are the second and the ninth (the binomial gives 97.9 %)."""
    values = [float(k) for k in (3, 1, 10, 7, 2, 9, 5, 4, 8, 6)]
    assert median_interval(values) == (2.0, 9.0)


@pytest.mark.parametrize(("n", "level"), [(9, 0.95), (25, 0.95), (25, 0.99), (50, 0.9)])
def test_the_medians_interval_covers_the_median_as_often_as_it_says(n: int, level: float) -> None:
    """Over 600 draws of a skewed distribution it covers the true median at its level or more often."""
    generator = np.random.default_rng(0)
    draws = generator.lognormal(size=(600, n))
    intervals = [median_interval(list(draw), level) for draw in draws]
    covered = np.mean([ends is not None and ends[0] <= 1.0 <= ends[1] for ends in intervals])
    noise = 3 * np.sqrt(level * (1 - level) / 600)
    assert covered >= level - noise
    # The control arm: it is not simply everything that was drawn.
    if n >= 25:
        assert np.mean([ends is not None and ends[0] <= 1.6 <= ends[1] for ends in intervals]) < 0.9


def test_a_higher_level_gives_a_wider_interval() -> None:
    """The level is used."""
    values = list(np.linspace(0, 1, 40))
    wide, narrow = median_interval(values, 0.999), median_interval(values, 0.8)
    assert wide is not None
    assert narrow is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_so_few_networks_have_no_interval() -> None:
    """Five values cannot reach 95 % (2 / 2^5 lie outside), six can; two reach 40 %, one and none nothing."""
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (1.0, 6.0)
    assert median_interval([1.0, 2.0], 0.4) == (1.0, 2.0)
    assert median_interval([1.0], 0.4) is None
    assert median_interval([]) is None


def test_a_shares_interval_is_clopper_and_pearsons() -> None:
    """The textbook's numbers: 0 of 10 goes up to 1 - 0.025^(1/10); 9 of 10 from 0.555 to 0.9975."""
    low, high = share_interval(0, 10) or (-1.0, -1.0)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025**0.1)
    assert share_interval(9, 10) == pytest.approx((0.55498, 0.99747), abs=1e-4)
    assert share_interval(9, 10, 0.5) != share_interval(9, 10)
    assert share_interval(0, 0) is None
