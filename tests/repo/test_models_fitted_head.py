"""The control for answers: a network before training, read by the best line of its own training strings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import zoo
from models.counter import answer, expected_answer
from models.data import described_strings
from models.fitted_head import FittedHead, fit_head
from models.recipes import RECIPES
from models.tasks import bit_strings, running_count
from models.training import initialise
from probe.methods.machines import Machine

X = bit_strings(10)
COUNTS = running_count(X)


@pytest.fixture(scope="module")
def trained() -> zoo.Trained:
    """A committed network."""
    return zoo.networks(seeds=[0])[0]


@pytest.fixture(scope="module")
def fitted(trained: zoo.Trained) -> FittedHead:
    """Its own initialisation with a fitted head."""
    control = trained.with_fitted_head()
    assert control is not None
    return control


def test_the_recurrent_weights_are_the_untrained_ones(trained: zoo.Trained, fitted: FittedHead) -> None:
    """Nothing of the layer is touched, nothing shared, and the untrained head is not used."""
    assert trained.untrained is not None
    for name, tensor in trained.untrained.layer.state_dict().items():
        assert torch.equal(fitted.layer.state_dict()[name], tensor)
        assert fitted.layer.state_dict()[name].data_ptr() != tensor.data_ptr()
    assert not fitted.training


@torch.no_grad()
def test_the_line_is_the_least_squares_one(trained: zoo.Trained, fitted: FittedHead) -> None:
    """On its own 500 strings the residual is orthogonal to every state and to 1, and on no others."""
    strings = described_strings(trained.config)
    assert len(strings.x) == 500
    double = fitted.double()
    hidden = double.layer(strings.x.double())[0][:, -1]
    residual = double(strings.x.double()) - strings.last_labels
    fitted.float()
    columns = torch.cat([hidden, torch.ones(500, 1, dtype=torch.float64)], 1)
    assert float((columns.T @ residual).abs().max()) < 1e-2
    assert float(residual.std()) < 0.2
    cosine = (columns.T @ residual) / (columns.norm(dim=0) * residual.norm())
    assert float(cosine.abs().max()) < 1e-4


@torch.no_grad()
def test_it_answers_by_the_nearest_count(trained: zoo.Trained, fitted: FittedHead) -> None:
    """One number a row at any length; rounded, it counts strings that it was not fitted on without any training."""
    test = torch.tensor(trained.config["split"]["test"])
    y = fitted(X)
    assert y.shape == (1024,)
    assert torch.equal(expected_answer(y), y)
    assert float((answer(y)[test] == COUNTS[test, -1]).double().mean()) > 0.99
    assert fitted(bit_strings(7)).shape == (128,)


def test_a_machine_runs_it(fitted: FittedHead) -> None:
    """From any state it gives what the network gives on the spliced string."""
    machine = Machine.of(fitted, X, answer=answer, expected=expected_answer)
    base, source = torch.arange(1024), torch.arange(1024).flip(0)
    control = machine.answers(machine.clean.states[source, 4], base, 4).expected
    with torch.no_grad():
        spliced = fitted(torch.cat([X[source, :5], X[base, 5:]], 1))
    np.testing.assert_allclose(control.detach().numpy(), spliced.numpy(), rtol=0, atol=1e-3)


@torch.no_grad()
def test_strings_of_several_lengths_are_read_at_their_own_ends() -> None:
    """The control of a network trained on cut strings is right on cut strings about as often as on whole ones."""
    (cut,) = zoo.networks("truncated", [0])
    strings = described_strings(cut.config)
    fitted = fit_head(initialise(RECIPES["truncated"], 0), strings)
    assert strings.lengths is not None
    y = torch.stack([fitted(strings.x[[row], :length])[0] for row, length in enumerate(strings.lengths.tolist())])
    errors = y - strings.last_labels
    assert float(errors.mean().abs()) < 1e-3
    assert float(errors.std()) < 0.7


def test_a_gru_gets_a_fitted_head_too() -> None:
    """Its layer keeps its name."""
    (gru,) = zoo.networks("gru", [0])
    fitted = fit_head(initialise(RECIPES["gru"], 0), described_strings(gru.config))
    assert [name for name, _ in fitted.named_children()] == ["gru", "head"]


def test_without_its_first_weights_a_network_has_no_fitted_head() -> None:
    """TensorFlow's initialisation was not kept, and beside others than the counters none is measured."""
    network = zoo.tensorflows_network()
    for each in (network, *zoo.networks("gru", [0])):
        assert each.untrained is None
        assert each.with_fitted_head() is None
    assert fit_head(network.model, described_strings(network.config)).head.out_features == 1
