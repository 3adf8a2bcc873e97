"""Intervals of few sequences: how often they hold what they are an interval of."""

from __future__ import annotations

import numpy as np
import pytest

from probe.intervals import bootstrap_counts, percentile_interval
from probe.methods.probing.scores import Score

#: The mean of a loss, relative to its scale of 1; the score is 1 less this.
LOSS = 0.3
TRIES = 1_000
#: It is wanted in .93 of the tries; so many come out by chance, with two standard errors.
WANTED = 0.93 * TRIES - 2 * (0.93 * 0.07 * TRIES) ** 0.5


@pytest.mark.parametrize("sequences", [8, 12, 30])
def test_an_interval_of_few_skewed_losses_holds_the_truth(sequences: int) -> None:
    """Of a score, of two scores of unlike sequences, and of like ones; the percentiles alone miss it too often."""
    rng, samples, scale = np.random.default_rng(0), bootstrap_counts(sequences, 0), np.ones((sequences, 1))
    held: dict[str, int] = dict.fromkeys(("score", "unlike", "like", "percentile"), 0)
    for _ in range(TRIES):
        loss, other = rng.exponential(LOSS, (2, sequences, 1))
        one, unlike = Score(loss, scale), Score(other, scale)
        like = Score(loss * rng.uniform(0, 1, loss.shape), scale)
        drawn = one.terms(samples)[0] - like.terms(samples)[0]
        for name, (low, high), truth in (
            ("score", one.interval(samples), 1 - LOSS),
            ("unlike", one.above(unlike, samples), 0.0),
            ("like", one.above(like, samples), -LOSS / 2),
            ("percentile", percentile_interval(drawn), -LOSS / 2),
        ):
            held[name] += low <= truth <= high
    assert held.pop("percentile") < WANTED
    assert min(held.values()) >= WANTED, held


@pytest.mark.parametrize("sequences", [8, 12, 30])
def test_an_interval_of_few_sequences_read_without_error_has_room_for_one(sequences: int) -> None:
    """Where one in ten is read wrong, all of few are often read right: that is no proof that none is ever wrong."""
    rng, samples, wrong = np.random.default_rng(0), bootstrap_counts(sequences, 0), 0.1
    scale = np.eye(2)[np.arange(sequences) % 2]
    held = {"score": 0, "above": 0}
    for _ in range(TRIES):
        one, other = (Score(scale * (rng.random((sequences, 1)) < wrong), scale) for _ in range(2))
        for name, (low, high), truth in (
            ("score", one.interval(samples), 1 - wrong),
            ("above", one.above(other, samples), 0.0),
        ):
            held[name] += low <= truth <= high
    assert min(held.values()) >= WANTED, held
    right = Score(0 * scale, scale)
    assert right.interval(samples) == (pytest.approx(0.025 ** (1 / sequences)), 1.0)
    assert right.above(Score(scale, scale), samples) == (pytest.approx(0.025 ** (1 / sequences)), 1.0)


def test_an_interval_of_many_sequences_is_that_of_the_percentiles() -> None:
    """With a thousand of them the two agree to a twentieth of their width."""
    rng, samples = np.random.default_rng(0), bootstrap_counts(1000, 0)
    loss, scale = rng.exponential(LOSS, (1000, 3)), rng.uniform(0.5, 1.5, (1000, 3))
    low, high = Score(loss, scale).interval(samples)
    drawn = 1 - (samples @ loss / (samples @ scale)).mean(1)
    assert (low, high) == pytest.approx(percentile_interval(drawn), abs=(high - low) / 20)


def test_what_all_sequences_show_alike_has_no_width() -> None:
    """Nor has the score of one row for all, as parts of prefixes give it."""
    alike = Score(np.full((9, 1), 0.25), np.ones((9, 1)))
    assert alike.interval(bootstrap_counts(9, 0)) == pytest.approx((0.75, 0.75))
    assert Score(np.array([[0.2]]), np.ones((1, 1))).interval(bootstrap_counts(1, 0)) == (0.8, 0.8)
