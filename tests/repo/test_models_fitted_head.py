"""The readout twin: an untrained network, read by the best line of its own training strings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import zoo
from models.counter import answer, expected_answer
from models.data import described_strings
from models.recipes import RECIPES
from models.tasks import bit_strings, running_count
from models.training import initialise
from models.twins import Readout, readout_twin
from probe.methods.machines import Machine

X = bit_strings(10)
COUNTS = running_count(X)


@pytest.fixture(scope="module")
def trained() -> zoo.Trained:
    """A committed network."""
    return zoo.networks(seeds=[0])[0]


@pytest.fixture(scope="module")
def twin(trained: zoo.Trained) -> Readout:
    """Its readout twin."""
    found = trained.readout()
    assert found is not None
    return found


def test_the_recurrent_weights_are_the_untrained_ones(trained: zoo.Trained, twin: Readout) -> None:
    """Nothing of the layer is touched, nothing shared, and the untrained head is not used."""
    assert trained.untrained is not None
    for name, tensor in trained.untrained.layer.state_dict().items():
        assert torch.equal(twin.layer.state_dict()[name], tensor)
        assert twin.layer.state_dict()[name].data_ptr() != tensor.data_ptr()
    assert not twin.training


@torch.no_grad()
def test_the_line_is_the_least_squares_one(trained: zoo.Trained, twin: Readout) -> None:
    """On its own 500 strings the residual is orthogonal to every state and to 1, and on no others."""
    strings = described_strings(trained.config)
    assert len(strings.x) == 500
    double = twin.double()
    hidden = double.layer(strings.x.double())[0][:, -1]
    residual = double(strings.x.double()) - strings.last_labels
    twin.float()
    columns = torch.cat([hidden, torch.ones(500, 1, dtype=torch.float64)], 1)
    assert float((columns.T @ residual).abs().max()) < 1e-2
    assert float(residual.std()) < 0.2
    cosine = (columns.T @ residual) / (columns.norm(dim=0) * residual.norm())
    assert float(cosine.abs().max()) < 1e-4


@torch.no_grad()
def test_it_answers_by_the_nearest_count(trained: zoo.Trained, twin: Readout) -> None:
    """One number a row at any length; rounded, it counts strings that it was not fitted on without any training."""
    test = torch.tensor(trained.config["split"]["test"])
    y = twin(X)
    assert y.shape == (1024,)
    assert torch.equal(expected_answer(y), y)
    assert float((answer(y)[test] == COUNTS[test, -1]).double().mean()) > 0.99
    assert twin(bit_strings(7)).shape == (128,)


def test_a_machine_runs_it(twin: Readout) -> None:
    """From any state it gives what the twin gives on the spliced string."""
    machine = Machine(twin, X, answer=answer, expected=expected_answer)
    base, source = torch.arange(1024), torch.arange(1024).flip(0)
    found = machine.answers(machine.states[source, 4], base, 4).expected
    with torch.no_grad():
        spliced = twin(torch.cat([X[source, :5], X[base, 5:]], 1))
    np.testing.assert_allclose(found.detach().numpy(), spliced.numpy(), rtol=0, atol=1e-3)


@torch.no_grad()
def test_strings_of_several_lengths_are_read_at_their_own_ends() -> None:
    """The twin of a network trained on cut strings is right on cut strings about as often as on whole ones."""
    (cut,) = zoo.networks("truncated", [0])
    strings = described_strings(cut.config)
    twin = readout_twin(initialise(RECIPES["truncated"], 0), strings)
    assert strings.lengths is not None
    y = torch.stack([twin(strings.x[[row], :length])[0] for row, length in enumerate(strings.lengths.tolist())])
    errors = y - strings.last_labels
    assert float(errors.mean().abs()) < 1e-3
    assert float(errors.std()) < 0.7


def test_a_gru_has_a_twin_too() -> None:
    """Its layer keeps its name."""
    (gru,) = zoo.networks("gru", [0])
    twin = readout_twin(initialise(RECIPES["gru"], 0), described_strings(gru.config))
    assert [name for name, _ in twin.named_children()] == ["gru", "head"]


def test_without_its_first_weights_a_network_has_no_twin() -> None:
    """TensorFlow's initialisation was not kept, and beside others than the counters none is measured."""
    network = zoo.tensorflows_network()
    for each in (network, *zoo.networks("gru", [0])):
        assert each.untrained is None
        assert each.readout() is None
    assert readout_twin(network.model, described_strings(network.config)).head.out_features == 1
