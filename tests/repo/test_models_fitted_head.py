"""The control for answers: a network before training, read by the best line of its own training strings."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from analyses.counter import noise_margin
from models import zoo
from models.checkpoints import weights_digest
from models.counter import answer, expected_answer
from models.data import described_strings
from models.fitted_head import HEADS, PENALTIES, FittedHead, fit_head
from models.recipes import RECIPES
from models.tasks import bit_strings, running_count
from models.training import initialise
from probe.errors import ProbeError
from probe.evidence.measurements import Network
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


@pytest.fixture(scope="module")
def heads() -> dict[str, Network]:
    """Of an exploratory seed the untrained network with each fitted head."""
    (explored,) = zoo.networks(seeds=[1001])
    controls = {how: explored.with_fitted_head(how) for how in HEADS}
    return {how: Network(f"n/{how}", HEADS[how], control) for how, control in controls.items() if control is not None}


def norm(network: Network) -> float:
    """The length of a head's weights."""
    return float(network.model.get_parameter("head.weight").detach().norm())


@torch.no_grad()
def right(network: Network) -> float:
    """The share of all 1,024 strings that are answered right."""
    return float((answer(network.model(X)) == COUNTS[:, -1]).double().mean())


def noisy(network: Network) -> float:
    """The accuracy of claim 5b."""
    table = noise_margin.measure([network])
    return float(table[table["metric"] == "noisy_accuracy"]["value"].iloc[0])


def test_a_penalty_makes_the_weights_small_and_costs_hardly_an_answer(heads: dict[str, Network]) -> None:
    """The ridge head's weights are less than half as long as those of least squares, at as many right answers."""
    assert norm(heads["least squares"]) == pytest.approx(369, abs=1)
    assert norm(heads["ridge"]) < 0.4 * norm(heads["least squares"])
    assert right(heads["ridge"]) >= right(heads["least squares"]) - 0.002


def test_the_penalty_is_the_largest_with_the_most_right_answers(heads: dict[str, Network]) -> None:
    """With each string left out of the fit in turn, no penalty answers more right, and no larger one as many."""
    (explored,) = zoo.networks(seeds=[1001])
    strings = described_strings(explored.config)
    assert explored.untrained is not None
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
    np.testing.assert_allclose(heads["ridge"].model.get_parameter("head.weight").detach()[0], wanted, rtol=1e-4)


def test_a_head_that_was_fitted_under_noise_stands_noise_best(heads: dict[str, Network]) -> None:
    """Under the noise of claim 5b it answers more strings right than the ridge head, and that more than the first."""
    shares = {how: noisy(network) for how, network in heads.items()}
    assert shares["noise"] > shares["ridge"] + 0.1 > shares["least squares"] + 0.3
    assert right(heads["noise"]) > 0.95


def test_the_noise_follows_from_the_seed_alone(trained: zoo.Trained) -> None:
    """The same seed gives the same bytes, another one other weights; the other ways have no noise."""
    strings = described_strings(trained.config)
    assert trained.untrained is not None
    first, again, other = (fit_head(trained.untrained, strings, "noise", seed=seed) for seed in (0, 0, 1))
    assert weights_digest(first) == weights_digest(again) != weights_digest(other)
    control = trained.with_fitted_head("noise")
    assert control is not None
    assert weights_digest(control) == weights_digest(first)
    for how in ("least squares", "ridge"):
        one, two = (fit_head(trained.untrained, strings, how, seed=seed) for seed in (0, 1))
        assert weights_digest(one) == weights_digest(two)


def test_noise_is_fitted_in_a_gru_and_on_strings_of_several_lengths() -> None:
    """Its state is h alone; each string is read at its own end."""
    for name in ("gru", "truncated"):
        (network,) = zoo.networks(name, [0])
        control = fit_head(initialise(RECIPES[name], 0), described_strings(network.config), "noise")
        assert bool(control.head.weight.isfinite().all())


def test_another_way_to_fit_a_head_is_refused(trained: zoo.Trained) -> None:
    """The message names the ways there are."""
    with pytest.raises(ProbeError, match=r"no way to fit a head 'rigde'; there is .*Did you mean 'ridge'"):
        trained.with_fitted_head("rigde")


def test_without_its_first_weights_a_network_has_no_fitted_head() -> None:
    """TensorFlow's initialisation was not kept, and beside others than the counters none is measured."""
    network = zoo.tensorflows_network()
    for each in (network, *zoo.networks("gru", [0])):
        assert each.untrained is None
        assert each.with_fitted_head() is None
    assert fit_head(network.model, described_strings(network.config)).head.out_features == 1
