"""LEACE: nothing linear is left, nothing more is changed, and degenerate states are no exception."""

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power

from probe import ProbeError
from probe.methods.causal.erasure import leace, one_hot, projected_out


def drawn(rows: int = 50, size: int = 6):
    """Return states that hold a concept in a line and in a curve, and the concept."""
    generator = np.random.default_rng(3)
    concept = generator.binomial(4, 0.5, rows).astype(float)
    states = generator.normal(size=(rows, size)) @ generator.normal(size=(size, size))
    states += concept[:, None] * generator.normal(size=size) + (concept[:, None] == 2) * generator.normal(size=size)
    return states, concept


def covariance(states: np.ndarray, concept: np.ndarray):
    """Return the covariance of states with a concept's columns."""
    about = concept - concept.mean(0)
    return (states - states.mean(0)).T @ about / len(states)


def test_the_formula_is_that_of_the_theorem():
    """The map equals x - W^-1 P W (x - mean) written out with the inverse square root of the covariance."""
    states, concept = drawn()
    columns = one_hot(concept)
    whiten = np.asarray(fractional_matrix_power(np.cov(states.T, bias=True), -0.5))
    inside = whiten @ covariance(states, columns)
    onto = inside @ np.linalg.pinv(inside)
    wanted = states - (states - states.mean(0)) @ (np.linalg.inv(whiten) @ onto @ whiten).T
    eraser = leace(states, columns)
    assert np.allclose(eraser(states), wanted, atol=1e-10, rtol=0)
    assert eraser.rank == len(np.unique(concept)) - 1


def test_no_class_mean_is_left_and_the_mean_stays():
    """After one-hot erasure every class has the same mean, which is that of all states before."""
    states, concept = drawn()
    erased = leace(states, one_hot(concept))(states)
    for value in np.unique(concept):
        assert np.allclose(erased[concept == value].mean(0), states.mean(0), atol=1e-10)


def test_a_scalar_erases_the_line_and_leaves_the_curve():
    """One direction goes, the covariance with the concept is 0, and the classes' means still differ."""
    states, concept = drawn()
    eraser = leace(states, concept)
    erased = eraser(states)
    assert eraser.rank == 1
    assert np.abs(covariance(erased, concept[:, None])).max() < 1e-10
    assert np.abs(covariance(erased, one_hot(concept))).max() > 1e-3


def test_what_does_not_covary_is_left_alone():
    """Directions of states that are uncorrelated with the concept pass unchanged: LEACE is no rotation."""
    states, concept = drawn()
    eraser = leace(states, concept)
    direction = np.random.default_rng(0).normal(size=6)
    slope = covariance(states, concept[:, None])[:, 0]
    direction -= slope * (direction @ slope) / (slope @ slope)
    assert np.allclose(eraser(states) @ direction, states @ direction, atol=1e-10)
    assert not np.allclose(eraser(states) @ slope, states @ slope, atol=0.1)


def test_constant_numbers_and_dependent_ones_are_taken_care_of():
    """A constant column stays as it is, a copied one stays the copy, and nothing of the concept is left."""
    states, concept = drawn()
    wide = np.column_stack([states, np.full(len(states), 0.7), states[:, 0]])
    erased = leace(wide, one_hot(concept))(wide)
    assert np.allclose(erased[:, 6], 0.7, atol=1e-12)
    assert np.allclose(erased[:, 7], erased[:, 0], atol=1e-10)
    assert np.abs(covariance(erased, one_hot(concept))).max() < 1e-10
    assert np.allclose(erased[:, :6], leace(states, one_hot(concept))(states), atol=1e-8)


def test_fewer_states_than_numbers():
    """Four states of six numbers: the rank is that of the concept, and the covariance is gone."""
    states, concept = drawn(rows=4)
    eraser = leace(states, concept)
    assert eraser.rank == 1
    assert np.abs(covariance(eraser(states), concept[:, None])).max() < 1e-10


def test_a_concept_that_says_nothing_changes_nothing():
    """A constant concept, or one that is uncorrelated to the last bit, takes out no direction."""
    states, _ = drawn()
    constant = leace(states, np.full(len(states), 3.0))
    assert constant.rank == 0
    assert np.array_equal(constant(states), states)
    square = np.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    assert leace(square, np.array([1.0, -1.0, -1.0, 1.0])).rank == 0


def test_a_subspace_is_projected_out_with_the_mean_put_in():
    """Along the columns all states become the mean; across them nothing moves, whatever the columns' lengths."""
    states, _ = drawn()
    basis = np.array([[1.0, 2.0], [0.0, 3.0], *[[0.0, 0.0]] * 4])
    erased = projected_out(states, basis)(states)
    assert np.allclose(erased[:, :2], states[:, :2].mean(0), atol=1e-12)
    assert np.allclose(erased[:, 2:], states[:, 2:], atol=1e-12)


@pytest.mark.parametrize(
    ("states", "concept", "message"),
    [
        (np.zeros((1, 3)), np.zeros(1), "at least two"),
        (np.zeros((4, 3)), np.zeros(5), "each of the 4 states"),
        (np.array([[0.0], [np.nan]]), np.zeros(2), "finite everywhere"),
    ],
)
def test_what_cannot_be_erased_is_refused(states: np.ndarray, concept: np.ndarray, message: str):
    """Errors say what was given and what is allowed."""
    with pytest.raises(ProbeError, match=message):
        leace(states, concept)


def test_a_basis_of_another_size_is_refused():
    """A subspace of other states cannot be taken out of these."""
    with pytest.raises(ProbeError, match="must have 6 numbers"):
        projected_out(drawn()[0], np.zeros((5, 2)))
