"""Sequences to ask, programs to run, and how often answers agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from probe import ProbeError
from probe.methods.abstraction.programs import Drifting, agreement, as_tuples, run_program, sequences

BITS = torch.tensor([[0.0], [1.0]])


def test_all_sequences_are_asked_where_they_are_few_enough() -> None:
    """Each once, in lexicographic order; those that are not allowed are left out."""
    every = sequences(BITS, 3)
    assert every.exhaustive
    assert len(every) == 8
    assert every.x[:, :, 0].tolist()[:3] == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    some = sequences(BITS, 3, allowed=lambda x: x[:, :, 0].sum(1) <= 1)
    assert some.exhaustive
    assert some.x[:, :, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_drawn_sequences_are_allowed_ones_and_follow_the_seed() -> None:
    """As many as are asked for; another seed and another length draw others."""
    options: dict[str, Any] = {"most": 50, "allowed": lambda x: x[:, :, 0].sum(1) >= 4}
    drawn, again, other = (sequences(BITS, 8, seed=seed, **options) for seed in (0, 0, 1))
    assert not drawn.exhaustive
    assert len(drawn) == 50
    assert torch.equal(drawn.x, again.x)
    assert not torch.equal(drawn.x, other.x)
    assert bool((drawn.x[:, :, 0].sum(1) >= 4).all())
    assert not torch.equal(sequences(BITS, 9, **options).x[:, :8], drawn.x)


def test_programs_take_tuples_of_numbers_or_of_features() -> None:
    """Whole numbers are whole; a step of several features is a tuple."""
    assert as_tuples(torch.tensor([[[0.0], [1.0]]])) == [(0, 1)]
    assert as_tuples(torch.tensor([[[0.5], [1.0]]])) == [(0.5, 1.0)]
    assert as_tuples(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])) == [((0, 1), (1, 0))]
    assert as_tuples(torch.tensor([[3, 4]])) == [(3, 4)]
    text = run_program(
        "runs", lambda bits: "".join(map(str, bits)).count("01"), torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]])
    )
    assert text.tolist() == [2, 0]


def test_agreement_counts_nearest_whole_numbers_with_an_exact_interval() -> None:
    """Half-way answers have two nearest; drawn sequences get Clopper and Pearson's interval."""
    found = agreement(np.array([3, 4, 5, 2]), np.array([3.5, 3.5, 3.5, 2.4]))
    assert (found.share, found.interval, found.sequences) == (0.75, (0.75, 0.75), 4)
    assert agreement(np.array([3, 4]), np.array([3.6, 3.4])).share == 0
    drawn = agreement(np.zeros(10), np.zeros(10), exhaustive=False)
    assert drawn.share == 1
    assert drawn.interval == (pytest.approx(0.025 ** (1 / 10)), 1)


def test_the_drift_of_a_known_program_comes_back_and_weighs_far_lengths_more() -> None:
    """Least squares through 0 at the reference: sum g (R - L) / sum (R - L)^2."""
    own = {length: run_program("sum", sum, sequences(BITS, length).x) for length in (3, 5, 6)}
    exact = {length: answers + 0.3 * (6 - length) for length, answers in own.items()}
    assert Drifting(sum, 6, (3, 5, 6)).drift(exact, own) == pytest.approx(0.3)
    bent = {length: values + (length == 3) for length, values in exact.items()}
    assert Drifting(sum, 6, (3, 5, 6)).drift(bent, own) == pytest.approx(0.3 + 3 / 10)
    assert Drifting(sum, 6, (5, 6)).drift(bent, own) == pytest.approx(0.3)
    assert Drifting(sum, 6, (5,)).at(0.25, {3: np.array([2.0, 0.0])})[3].tolist() == [2.75, 0.75]


def test_what_cannot_be_asked_or_answered_is_refused() -> None:
    """The messages name what was given."""
    with pytest.raises(ProbeError, match="length=0"):
        sequences(BITS, 0)
    with pytest.raises(ProbeError, match="fewer than 1 in 100 are allowed"):
        sequences(BITS, 20, most=10, allowed=lambda x: x[:, 0, 0] > 1)
    with pytest.raises(ProbeError, match="'words' must return one finite number"):
        run_program("words", lambda _: "three", torch.zeros(2, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ProbeError, match="'nothing' must return"):
        run_program("nothing", lambda _: float("nan"), torch.zeros(2, 2))
    with pytest.raises(ProbeError, match=r"shape \(2,\) and \(3,\)"):
        agreement(np.zeros(2), np.zeros(3))
    with pytest.raises(ProbeError, match=r"lengths \[4\] are not among"):
        Drifting(sum, 6, (4,)).drift({}, {})
    with pytest.raises(ProbeError, match="needs a length other than that"):
        Drifting(sum, 6, (6,)).drift({6: np.zeros(1)}, {6: np.zeros(1)})
