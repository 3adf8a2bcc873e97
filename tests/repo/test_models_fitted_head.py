"""The heads on untrained weights, and the theorem on what is equal at equal steps (docs/science.md)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused

from models import scale, zoo
from models.counter import answer, expected_answer
from models.data import described_strings
from models.fitted_head import NEVER, PENALTIES, PENALTY, RUNS, SCALE, FittedHead, fit_head, noisy_states
from models.populations import EXPLORING
from models.tasks import bit_strings, running_count
from probe import Signal
from probe.evidence.measurements import Network
from probe.methods.causal.interchange import Scores, interchange
from probe.methods.causal.pairs import all_pairs, along, columns
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.questions.states import linear_readout, single_units
from probe.subjects.subject import Subject

X = bit_strings(10)
COUNTS = running_count(X)


@pytest.fixture(scope="module")
def trained() -> zoo.Trained:
    """A committed network."""
    return zoo.networks(seeds=[0])[0]


@pytest.fixture(scope="module")
def fitted(trained: Any) -> FittedHead:
    """Its own initialisation with a fitted head."""
    return fit_head(trained.untrained, described_strings(trained.config))


@torch.no_grad()
def test_the_line_is_the_least_squares_one_on_untrained_states(trained: Any, fitted: FittedHead) -> None:
    """The layer is not shared; on its own 500 strings the residual is orthogonal; rounded, it counts all others."""
    for name, tensor in trained.untrained.layer.state_dict().items():
        assert torch.equal(fitted.layer.state_dict()[name], tensor)
        assert fitted.layer.state_dict()[name].data_ptr() != tensor.data_ptr()
    assert not fitted.training
    strings = described_strings(trained.config)
    double = copy.deepcopy(fitted).double()
    hidden = double.layer(strings.x.double())[0][:, -1]
    residual = double(strings.x.double()) - strings.last_labels
    columns = torch.cat([hidden, torch.ones(500, 1, dtype=torch.float64)], 1)
    assert float(residual.std()) < 0.2
    cosine = (columns.T @ residual) / (columns.norm(dim=0) * residual.norm())
    assert float(cosine.abs().max()) < 1e-4
    test = torch.tensor(trained.config["split"]["test"])
    y = fitted(X)
    assert torch.equal(expected_answer(y), y)
    assert float((answer(y)[test] == COUNTS[test, -1]).double().mean()) > 0.99


def test_the_penalty_is_the_largest_with_the_most_right_answers() -> None:
    """With each string left out of the fit in turn, no penalty answers more right, and no larger one as many."""
    explored: Any = zoo.networks(seeds=[1001])[0]
    strings = described_strings(explored.config)
    with torch.no_grad():
        states = copy.deepcopy(explored.untrained).double().layer(strings.x.double())[0][:, -1].numpy()
    counts = strings.last_labels.numpy().astype(float)

    def left_out(penalty: float) -> float:
        left, _, _ = np.linalg.svd(states - states.mean(0), full_matrices=False)
        spread = np.linalg.svd(states - states.mean(0), compute_uv=False) ** 2
        hat = (left * (spread / (spread + penalty))) @ left.T + 1 / len(counts)
        found = counts - (counts - hat @ counts) / (1 - np.diag(hat))
        return float((np.round(found) == counts).mean())

    shares = np.array([left_out(penalty) for penalty in PENALTIES])
    chosen = PENALTIES[shares.argmax()]
    centred = states - states.mean(0)
    wanted = np.linalg.solve(centred.T @ centred + chosen * np.eye(12), centred.T @ (counts - counts.mean()))
    ridge = fit_head(explored.untrained, described_strings(explored.config), "ridge")
    np.testing.assert_allclose(ridge.head.weight.detach()[0], wanted, rtol=1e-4)


@torch.no_grad()
def test_scores_are_fitted_under_noise_and_a_count_that_was_not_seen_is_never_answered(trained: Any) -> None:
    """Each score's residual is orthogonal to the noisy states up to its penalty, and only weights are scaled."""
    strings = described_strings(trained.config)
    control = fit_head(trained.untrained, strings, "scores", seed=0)
    layer, ends = copy.deepcopy(control.layer).double(), torch.full((500,), 10)
    states, counts = noisy_states(layer, strings.x.double(), ends, 0), strings.last_labels.repeat(RUNS).numpy()
    share = control.head.double()(torch.as_tensor(states)).softmax(1).numpy()
    inside, sd = (states - states.mean(0)) / states.std(0), states.std(0)
    weights = control.head.weight.numpy() * sd
    missing = sorted({*range(11)} - {*counts.tolist()})
    assert missing == sorted(np.flatnonzero(control.head.bias.numpy() == NEVER)) != []
    pulled = (inside.T @ (np.eye(11)[counts] - share)).T - weights / PENALTY
    kept = np.delete(pulled, missing, axis=0)
    assert np.abs(kept).max() < 1e-3 * len(counts)
    assert share[:, missing].max() < 1e-12
    assert not {*answer(control.float()(X)).tolist()} & {*missing}
    larger = fit_head(trained.untrained, strings, "scaled", seed=0).layer.state_dict()
    for name, tensor in trained.untrained.layer.state_dict().items():
        assert torch.equal(larger[name], tensor * (SCALE if name.startswith("weight") else 1))


def test_the_scale_is_that_of_the_best_answers_under_noise() -> None:
    """Of three networks by the median, and a scale that was not tried is no better than the next ones."""
    found = scale.medians(range(3), [1.0, SCALE, 5.0])
    assert max(found, key=lambda one: found[one]) == SCALE in scale.SCALES
    with refused():
        scale.accuracy(zoo.networks("gru", [0])[0], SCALE)


@pytest.mark.exhaustive
def test_the_scale_is_chosen_on_the_seeds_for_exploring() -> None:
    """Of seeds 0 to 99, and training multiplied the weights by more."""
    found = scale.medians(EXPLORING.seeds)
    assert max(found, key=lambda one: found[one]) == SCALE
    assert scale.grown(EXPLORING.seeds) == pytest.approx(4.66, abs=0.01)


def test_an_unknown_way_to_fit_a_head_is_refused(trained: Any) -> None:
    """The message names those that there are."""
    with refused():
        fit_head(trained.untrained, described_strings(trained.config), "rigde")


#: The count n1, and n1 + g(t), where g is 0 after the last step and no line.
CROOKED = (10 - torch.arange(1, 11, dtype=torch.float64)) * torch.tensor([3.0, -1.0] * 5, dtype=torch.float64)
CONCEPTS = COUNTS.double(), COUNTS + CROOKED


@pytest.fixture(scope="module")
def machine() -> Machine:
    """A trained counter run from its states."""
    return Machine.of(zoo.networks(seeds=[1])[0].model, X, answer=answer, expected=expected_answer)


def test_equal_step_interchange_scores_the_count_as_the_count_and_a_clock(machine: Machine) -> None:
    """The theorem: at every step every score of n1 + g(t) is that of n1, to the bit."""
    draws = torch.Generator().manual_seed(0)
    direction = torch.randn(machine.dynamics.size, generator=draws, dtype=torch.float64)
    scores: list[list[Scores]] = []
    for concept in CONCEPTS:
        found = []
        for step in range(10):
            pairs = all_pairs(machine, step, most=2**12)
            found += [
                interchange(pairs, Task(concept), put)
                for put in (columns(machine.dynamics.unit(3)), along(direction))
            ]
        scores.append(found)
    assert scores[0] == scores[1]
    assert len({score.shift for score in scores[0]}) > 10


def test_no_probe_at_a_fixed_step_can_tell_them_either() -> None:
    """Held-out R2, within-step correlation and monotone reading of n1 + g(t) are those of n1; pooled ones are not."""
    network = Network("n", "trained", zoo.networks(seeds=[1])[0].model)
    tables = []
    for concept in CONCEPTS:
        asked = [Subject.of(network, X, concept)]
        readout = linear_readout.measure(asked)
        tables.append((readout[readout["signal"] == Signal.CELL_STATE], single_units.measure(asked)))
    for metric, which in (("r_squared", 0), ("within_step_correlation", 1), ("monotone_accuracy", 1)):
        own, other = (table[which][table[which]["metric"] == metric]["value"].to_numpy() for table in tables)
        assert len(own) >= 4
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-9, err_msg=metric)
    lasting = [float(units[units["metric"] == "lasting_monotone_accuracy"]["value"].iloc[0]) for _, units in tables]
    assert lasting[0] != lasting[1]


@torch.no_grad()
def test_random_weights_count_before_the_last_bit_from_this_start_only(fitted: FittedHead, trained: Any) -> None:
    """Fitted after ten bits, the head counts after one to nine only with the biases that the recipe starts with."""
    strings = described_strings(trained.config)
    torch.manual_seed(0)
    other = copy.deepcopy(trained.untrained)
    other.lstm.reset_parameters()
    off = {}
    for name, head in {"the recipe's": fitted, "torch's": fit_head(other, strings)}.items():
        off[name] = max(float((head(X[:, :read]) - COUNTS[:, read - 1]).abs().max()) for read in range(1, 11))
    assert off["the recipe's"] < 0.5
    assert off["torch's"] > 5
