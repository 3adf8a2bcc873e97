"""Probes and their controls, on states whose answer is known."""

import numpy as np
import pytest
import torch
from planted_states import BITS, ONES, untrained
from refusing import refused
from sklearn.metrics import r2_score

from probe import Signal
from probe.evidence.measurements import Network
from probe.methods.probing.controls import clock_r_squared, online_codelength, signed_sums, variance_shares
from probe.methods.probing.groups import folds
from probe.methods.probing.linear import fit_linear, r_squared
from probe.methods.probing.monotone import within_step_correlation
from probe.methods.probing.prefixes import pool
from probe.methods.probing.scores import of_parts
from probe.subjects.states import step_states
from probe.subjects.subject import Subject

STATES = Signal.CELL_STATE, Signal.HIDDEN_STATE


def test_pooled_steps_weigh_the_same():
    """The step with 256 states weighs as much as the step with two, so the clock explains what theory says."""
    pooled = pool(step_states(Subject.of(Network("lstm", "trained", untrained()), BITS, ONES), STATES))
    for step in range(8):
        assert pooled.weight[pooled.step == step].sum() == pytest.approx(1 / 8)
    # Var of the mean t/2 over t = 1..8 against that plus the mean of t/4: 21/16 over 21/16 + 18/16.
    assert clock_r_squared(pooled.step, pooled.concept, pooled.weight) == pytest.approx(21 / 39)
    # A unit that tells only the time correlates 0 with the count within steps.
    clock = pooled.step.astype(float)
    code = pooled.concept * 2.0 + 5 * clock
    r = within_step_correlation(pooled, np.column_stack([clock, code, -code]))
    assert r == pytest.approx([0.0, 1.0, -1.0], abs=1e-9)


def test_a_score_of_parts_is_the_mean_of_their_r_squared():
    """Each part about its own mean, with its own weights; a part that does not vary is left out."""
    generator = np.random.default_rng(1)
    target, weight = generator.normal(size=50), generator.random(50)
    predicted, parts = target + 0.3 * generator.normal(size=50), folds(50, 3)
    own = [r2_score(target[part], predicted[part], sample_weight=weight[part]) for part in parts]
    assert of_parts(target, predicted, parts, weight).value == pytest.approx(np.mean(own))
    target[parts[0]] = 1.0
    assert of_parts(target, predicted, parts, weight).value == pytest.approx(np.mean(own[1:]))


def test_weights_decide_which_states_a_probe_fits():
    """States of weight zero do not move the probe."""
    inputs, targets = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [100.0]])
    fitted = fit_linear(inputs, targets, np.array([1.0, 1.0, 0.0]))
    assert fitted.predict(np.array([[2.0]]))[0, 0] == pytest.approx(2.0)
    truth = np.array([1.0, 2.0, 3.0])  # 1 for the truth, 0 for its mean, less for worse, 0 where nothing varies
    assert [r_squared(truth, truth), r_squared(truth, 0 * truth + 2), r_squared(0 * truth + 1, truth)] == [1, 0, 0]
    assert r_squared(truth, truth + 1) == pytest.approx(-0.5)


def test_signed_sums_nearly_cancel_and_are_never_the_count():
    """Each sum's signs add up to at most two, so that no memory control is the concept in disguise."""
    x = torch.eye(10).reshape(10, 10, 1)
    signs = signed_sums(x, count=50, seed=1)[:, -1]
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.sum(0)).max() <= 2
    assert not np.array_equal(signs, signed_sums(x, count=50, seed=2)[:, -1])
    with refused():
        signed_sums(torch.zeros(3, 1, 1))


def test_variance_splits_into_clock_line_curve_and_rest():
    """States built of a clock, a linear code, a curve and noise give each its share, and the shares sum to 1."""
    concept = np.tile(np.repeat([0.0, 1.0, 2.0], 2), 2)
    step = np.repeat([0, 1], 6)
    weight = np.full(12, 1 / 12)
    curve = np.where(concept == 1, 2.0, -1.0)  # orthogonal to the line
    noise = np.tile([1.0, -1.0], 6)
    columns = np.column_stack([2.0 * step - 1, (concept - 1) * np.sqrt(1.5), curve / np.sqrt(2), noise])
    shares = variance_shares(step, concept, columns, weight)
    assert (shares.clock, shares.linear, shares.curved, shares.other) == pytest.approx((0.25,) * 4)
    still = variance_shares(step, concept, np.zeros((12, 2)), weight)
    assert still.other == 1.0


def test_a_good_code_takes_fewer_bits_to_send():
    """The online codelength is short where states hold the concept and about log2(classes) where they do not."""
    generator = np.random.default_rng(0)
    concept = generator.integers(0, 4, 512).astype(float)
    code = concept[:, None] + 0.05 * generator.normal(size=(512, 1))
    clear = online_codelength(code, concept, classes=4)
    blind = online_codelength(generator.normal(size=(512, 3)), concept, classes=4)
    assert clear < 1.0
    assert 1.9 < blind < 2.4
    # Many features and few states: a probe that had seen the labels it sends would send them for next to nothing.
    assert online_codelength(generator.normal(size=(128, 40)), concept[:128], classes=4) > 2.0
