"""The recipe against TensorFlow: a network that it trained, and a step written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import probe
from models import zoo
from models.data import Strings
from models.learning import Adam, take_step
from models.packing import unpack
from models.recipes import RECIPES
from models.tasks import bit_strings, format_bits, running_count
from models.tf1 import from_basic_lstm_cell
from models.training import initialise

DATA = Path(__file__).parents[1] / "data" / "tf1-counter"
RECIPE = RECIPES["counter"]
Array = NDArray[np.float64]
Weights = dict[str, Array]

# The seed's graph, float64, from the formulas of TensorFlow 1.15 and not from models/.


def gradients(w: Weights, x: Array, counts: NDArray[np.int64], smallest: float) -> tuple[float, Weights]:
    """Loss and gradients of BasicLSTMCell, softmax head and log loss, which is clipped at the smallest p.

    The kernel is (1 + H, 4H) with columns i j f o, the weight (H, K), x (batch, time, 1).
    """
    given = {name: torch.tensor(value, requires_grad=True) for name, value in w.items()}
    c = h = torch.zeros(len(x), len(w["weight"]), dtype=torch.float64)
    for read in torch.tensor(x).unbind(1):
        i, j, f, o = (torch.cat([read, h], 1) @ given["kernel"] + given["bias"]).chunk(4, 1)
        c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(j)  # forget_bias = 1.0
        h = torch.sigmoid(o) * torch.tanh(c)
    p = torch.softmax(h @ given["weight"] + given["head_bias"], 1)[np.arange(len(x)), counts]
    assert bool((p < smallest).any()), "where p is clipped the loss is constant"
    loss = -p.clamp(smallest, 1.0).log().sum()
    loss.backward()
    return loss.item(), {name: value.grad.numpy() for name, value in given.items() if value.grad is not None}


def tf_adam(w: Weights, grad: Weights, m: Weights, v: Weights, t: int) -> tuple[Weights, Weights, Weights]:
    """TensorFlow 1's Adam: epsilon is added before the bias correction."""
    m = {name: 0.9 * m[name] + 0.1 * grad[name] for name in w}
    v = {name: 0.999 * v[name] + 0.001 * grad[name] ** 2 for name in w}
    rate = 1e-3 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return {name: w[name] - rate * m[name] / (np.sqrt(v[name]) + 1e-8) for name in w}, m, v


def to_torch(w: Weights) -> dict[str, torch.Tensor]:
    """The numpy arrays, or their moments, as the counter holds them (without the constant forget bias)."""
    order = np.r_[0:12, 24:36, 12:24, 36:48]  # i j f o -> i f g(=j) o
    arrays = {
        "lstm.weight_ih_l0": w["kernel"][:1, order].T,
        "lstm.weight_hh_l0": w["kernel"][1:, order].T,
        "lstm.bias_ih_l0": w["bias"][order],
        "head.weight": w["weight"].T,
        "head.bias": w["head_bias"],
    }
    return {name: torch.tensor(array) for name, array in arrays.items()}  # copies: Adam works in place


def example() -> tuple[Weights, Weights, Weights, Array, NDArray[np.int64]]:
    """Weights, Adam's moments and a batch; two rows have a true class with p < 1e-10."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": (13, 48), "bias": (48,), "weight": (12, 11), "head_bias": (11,)}
    w = {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    m = {name: rng.normal(0, 0.1, shape) for name, shape in shapes.items()}
    v = {name: rng.uniform(0, 0.1, shape) for name, shape in shapes.items()}
    # Some second moments so small that epsilon, and where it is added, decides the step.
    for first, second in zip(m.values(), v.values(), strict=True):
        first.flat[::3] = 1e-9
        second.flat[::3] = 1e-16
    w["head_bias"][7] = -40.0
    x = bit_strings(10).double().numpy()[rng.permutation(1024)[:60]]
    counts = x[:, :, 0].sum(1).astype(np.int64)
    assert (counts == 7).sum() >= 2
    return w, m, v, x, counts


def torch_step(
    w: Weights, m: Weights, v: Weights, x: Array, counts: NDArray[np.int64], *, t: int
) -> tuple[float, dict[str, torch.Tensor]]:
    """The same step by models.learning, in float64."""
    model = from_basic_lstm_cell(w["kernel"], w["bias"], w["weight"], w["head_bias"], forget_bias=1.0)
    model.lstm.get_parameter("bias_hh_l0").requires_grad_(False)
    adam = Adam(model, RECIPE)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    first, second = to_torch(m), to_torch(v)
    for index, name in enumerate(names):
        adam.first[index].copy_(first[name])
        adam.second[index].copy_(second[name])
    bits = torch.from_numpy(x)
    labels = running_count(bits)
    assert labels[:, -1].tolist() == counts.tolist()
    loss = take_step(model, adam, Strings(bits, bits, labels), recipe=RECIPE, t=t)
    return float(loss), {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("t", [1, 7, 9_999])
def test_a_step_is_tensorflows_step(t: int) -> None:
    """Forward, gradients, clipped loss and Adam equal the graph written out."""
    w, m, v, x, counts = example()
    loss, grad = gradients(w, x, counts, 1e-10)
    after, _, _ = tf_adam(w, grad, m, v, t)
    found_loss, found = torch_step(w, m, v, x, counts, t=t)
    assert found_loss == pytest.approx(loss, rel=1e-12)
    after["bias"][24:36] += 1.0  # in torch the forget bias stands in the weights
    before = to_torch({**w, "bias": w["bias"] + np.repeat([0.0, 0.0, 1.0, 0.0], 12)})
    for name, expected in to_torch(after).items():
        change, wanted = found[name] - before[name], expected - before[name]
        # of the change, not of the weight: the weight would hide a step that is wrong by a part in 1,000
        np.testing.assert_allclose(change.numpy(), wanted.numpy(), rtol=1e-6, atol=1e-12, err_msg=name)


@torch.no_grad()
def test_initialisation_is_the_seeds_distribution() -> None:
    """One kernel uniform on +-sqrt(6/61), head sd .880, head bias .1."""
    models = [initialise(RECIPE, seed) for seed in range(40)]
    kernels = torch.cat([m.lstm.get_parameter(f"weight_{s}h_l0").flatten() for m in models for s in "ih"])
    limit = (6 / 61) ** 0.5
    assert 0.999 * limit < float(kernels.abs().max()) <= limit
    # 24,960 draws: the sd of a uniform is limit / sqrt 3, known to about .3 %.
    assert float(kernels.std()) == pytest.approx(limit / 3**0.5, rel=0.015)
    heads = torch.cat([m.head.weight.flatten() for m in models])
    assert float(heads.abs().max()) <= 2
    assert float(heads.abs().max()) > 1.95
    assert float(heads.std()) == pytest.approx(0.880, rel=0.02)
    assert all(torch.equal(model.head.bias, torch.full((11,), 0.1)) for model in models)


def test_the_committed_network_is_tensorflows(tmp_path: Path) -> None:
    """`probe.load` makes the zoo's network of TensorFlow's file, with the same answers; its split is TensorFlow's."""
    stored = unpack("tf1", 0, tmp_path / "zoo")
    network = zoo.checkpoint(stored)
    checkpoint = probe.load(DATA / "weights.npz", forget_bias=1.0)
    lstm = checkpoint.recurrent["rnn.basic_lstm_cell"]
    for name, value in network.model.lstm.state_dict().items():
        assert torch.equal(value, lstm.state_dict()[name]), name
    assert torch.equal(network.model.head.weight.detach().T, checkpoint.tensors["softmax_w"])
    assert torch.equal(network.model.head.bias.detach(), checkpoint.tensors["softmax_b"])
    reference = np.load(DATA / "ref.npz")
    with torch.no_grad():
        found = torch.softmax(network.model(torch.from_numpy(reference["x"])), 1)
    np.testing.assert_allclose(found.numpy(), reference["probs"], rtol=0, atol=1e-5)
    names = format_bits(torch.from_numpy(reference["x"]))
    trained_on = format_bits(bit_strings(10)[network.config["split"]["train"]])
    assert trained_on == [names[row] for row in reference["train_idx"]]
    assert network.config["errors"]["all"]["misread"] == 2
