"""Parts of states: class means, distances off them, directions, and what LEACE erases: all that is linear.

tests/repo/test_leace_reference.py compares LEACE with its authors' package.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from known_machines import LEAD, LENGTH, WINS, Reader, Tally, X, machine_of
from refusing import refused

from probe.methods.causal import directions
from probe.methods.causal.class_means import Classes, classes_at
from probe.methods.causal.directions import DIRECTIONS, logistic_direction, ridge_weight, shift_by_one
from probe.methods.causal.erasure import leace, projected_out
from probe.methods.causal.pairs import Pairs, all_pairs, columns, whole
from probe.methods.causal.support import OffSupport, Support
from probe.methods.causal.task import Task

TASK = Task(WINS)


def made(states: np.ndarray, concept: np.ndarray) -> Classes:
    """Return classes of states that are written down."""
    values, member = np.unique(concept, return_inverse=True)
    return Classes(0, states, concept.astype(float), values.astype(float), member, torch.as_tensor(member))


def test_a_class_mean_is_the_mean_over_distinct_prefixes() -> None:
    """A GRU's own: rows that share a prefix count once, and values of any kind are classes."""
    machine = machine_of(Reader("gru"))
    found = classes_at(machine, Task(LEAD), 1)
    assert found.values.tolist() == [-2, 0, 2]
    states = machine.clean.states[:, 1]
    mixed = torch.stack([states[0b01000], states[0b10000]]).mean(0)
    assert found.means[1] == pytest.approx(mixed.numpy())
    weighted = classes_at(machine_of(Reader("gru"), X[[0, 8, 9, 16, 31]]), Task(LEAD[[0, 8, 9, 16, 31]]), 1)
    assert weighted.means[1] == pytest.approx(mixed.numpy())
    assert weighted.of_row.tolist() == [0, 1, 1, 1, 2]


def test_distances_are_in_spacings_of_the_concept_and_units_of_sd() -> None:
    """One varying number at 0, 2, 4 and one constant: halfway between two classes is half a spacing away."""
    found = Support.of(made(np.array([[0.0, 7], [2, 7], [4, 7]]), np.arange(3)))
    assert found.kept.tolist() == [True, False]
    assert found.spacing == pytest.approx(2 / np.std([0, 2, 4]))
    assert found.distances(np.array([[1.0, 0], [2, 99], [8, 7]])) == pytest.approx([0.5, 0, 2])
    states = np.array([0.0, 1, 2, 12])[:, None]  # the median over neighbouring values
    assert Support.of(made(states, np.arange(4))).spacing == pytest.approx(1 / states.std())
    assert math.isnan(Support.of(made(states, np.zeros(4))).spacing)
    # Stretching a number changes nothing, as its sd is the unit.
    square = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    narrow, wide = (Support.of(made(square * [1, factor], np.array([0, 1, 1, 2]))) for factor in (1, 100))
    assert narrow.distances(square[:1] + 0.25) == pytest.approx(wide.distances((square[:1] + 0.25) * [1, 100]))
    assert narrow.distances(square[:1] + 0.25) == pytest.approx(math.hypot(0.25, 0.25) / math.hypot(0.5, 0.5))


def test_a_tallys_cell_alone_lies_off_its_states_and_its_unit_on_them() -> None:
    """(c, h) of one unit lie on a curve: the pair swapped stays on it, c beside a stale h leaves it."""
    machine = machine_of(Tally())
    off = OffSupport(all_pairs(machine, 3), TASK)
    assert off.distance(columns(machine.dynamics.unit(0))) == pytest.approx(0, abs=1e-12)
    assert off.distance(whole) == 0
    # One win apart, c moves by half of what both c and h move by between neighbours: 1 / sqrt 2 away, in sd.
    assert off.distance(columns([0])) == pytest.approx(math.sqrt(0.5), abs=0.02)


def test_pairs_are_drawn_by_seed_among_those_that_change() -> None:
    """The median over few pairs depends on the seed, that over all of them does not."""
    machine = machine_of(Reader("gru"))
    pairs, put = all_pairs(machine, 3), columns([0])
    few = [OffSupport(pairs, TASK, most=5, seed=seed).distance(put) for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    changed = WINS[pairs.base, 3] != WINS[pairs.source, 3]
    own = Pairs(machine, 3, pairs.base[changed], pairs.source[changed])
    distances = Support.of(classes_at(machine, TASK, 3)).distances(put(own).detach().numpy())
    assert OffSupport(pairs, TASK, most=10**6).distance(put) == np.median(distances)
    assert math.isnan(OffSupport(pairs, Task(torch.zeros_like(WINS))).distance(put))


def test_slope_and_weights_are_those_of_the_covariance() -> None:
    """Two correlated numbers, one of which carries the concept: pattern and filter differ as the formulas say."""
    generator = np.random.default_rng(0)
    concept = np.repeat([0, 1, 2, 3], 25)
    noise = generator.normal(size=100)
    states = np.column_stack([concept + noise, noise, np.full(100, 3.0)])
    classes = made(states, concept)
    covariance = np.cov(states.T, ddof=0)
    slope = np.array([np.cov(column, concept, ddof=0)[0, 1] for column in states.T])
    assert directions.encoding_slope(classes) == pytest.approx(slope)
    assert shift_by_one(classes) == pytest.approx(slope / 1.25)
    # n = s_0 - s_1 exactly, and the constant number gets no weight.
    assert ridge_weight(classes) == pytest.approx([1, -1, 0], abs=1e-9)
    assert DIRECTIONS["ols"](classes) == pytest.approx([1, -1, 0], abs=1e-9)
    for penalty in directions.PENALTIES:
        loaded = covariance + penalty * np.trace(covariance) / 3 * np.eye(3)
        assert DIRECTIONS[f"ridge_{penalty:g}"](classes) == pytest.approx(np.linalg.inv(loaded) @ slope)
    assert abs(slope[1]) < 0.3 < abs(ridge_weight(classes)[1])


def test_the_logistic_direction_separates_the_classes() -> None:
    """Three classes along one axis: the first singular vector is that axis, whatever an idle number does."""
    generator = np.random.default_rng(0)
    concept = np.repeat([0, 1, 2], 60)
    states = np.column_stack([generator.normal(size=180), 4 * concept + 0.3 * generator.normal(size=180)])
    found = logistic_direction(made(states, concept))
    assert np.linalg.norm(found) == pytest.approx(1)
    assert abs(found[1]) > 0.99
    assert abs(logistic_direction(made(states[:120], concept[:120]))[1]) > 0.99
    # A constant state or a single class gives zeros, which put nothing in.
    for classes in (made(np.ones((4, 2)), np.arange(4)), made(np.eye(2), np.zeros(2))):
        for kind in ("ols", "ridge_0.1", "slope"):
            assert DIRECTIONS[kind](classes) == pytest.approx([0, 0], abs=1e-12)
    assert logistic_direction(made(np.eye(2), np.zeros(2))).tolist() == [0, 0]
    assert shift_by_one(made(np.eye(2), np.zeros(2))).tolist() == [0, 0]


def drawn(rows: int = 50, size: int = 6):
    """Return states that hold a concept in a line and in a curve, and the concept."""
    generator = np.random.default_rng(3)
    concept = generator.binomial(4, 0.5, rows).astype(float)
    states = generator.normal(size=(rows, size)) @ generator.normal(size=(size, size))
    states += concept[:, None] * generator.normal(size=size) + (concept[:, None] == 2) * generator.normal(size=size)
    return states, concept


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


def test_what_cannot_be_erased_or_classed_is_refused():
    """Too few or other states, none that is a number, a basis of others, and a concept that comes later."""
    machine = machine_of(Tally())
    cases: list[Any] = [
        lambda: leace(np.zeros((1, 3)), np.zeros(1)),
        lambda: leace(np.zeros((4, 3)), np.zeros(5)),
        lambda: leace(np.array([[0.0], [np.nan]]), np.zeros(2)),
        lambda: projected_out(drawn()[0], np.zeros((5, 2))),
        lambda: classes_at(machine, Task(WINS[:, -1:].expand(-1, LENGTH)), 2),
        lambda: classes_at(machine, Task(WINS[:, 1:]), 2),
    ]
    for ask in cases:
        with refused():
            ask()
