"""Fixed points that are known otherwise, slow points, Jacobians against differences, and their eigenvalues."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from scipy.optimize import brentq
from torch import Tensor, nn

from probe.methods import fixed_points
from probe.methods.dynamics import CellDynamics
from probe.methods.fixed_points import bound_at_rest, eigenvalues, find_points, jacobians, step, visited_states
from probe.methods.machines import Machine
from probe.recurrent.finding import find_layers

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
READ: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}


class Net(nn.Module):
    """A recurrent layer whose first hidden unit is the output."""

    def __init__(self, kind: str = "rnn", units: int = 2, inputs: int = 2):
        super().__init__()
        torch.manual_seed(2)
        self.rnn: Any = KINDS[kind](inputs, units, batch_first=True).double()

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch,)."""
        return self.rnn(x)[0][:, -1, 0]


def machine(model: nn.Module, inputs: int = 2, length: int = 4) -> Machine:
    """Return a machine on random sequences."""
    generator = torch.Generator().manual_seed(0)
    return Machine.of(model, torch.randn(30, length, inputs, generator=generator, dtype=torch.float64), **READ)


def silent(kind: str = "rnn", units: int = 2) -> Net:
    """Return a network whose weights are all 0."""
    model = Net(kind, units)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def diagonal(weights: tuple[float, ...], bias: tuple[float, ...]) -> Net:
    """Return a plain RNN whose units do not hear each other: h_u = tanh(w_u h_u + b_u), whatever is read."""
    model = silent(units=len(weights))
    with torch.no_grad():
        model.rnn.weight_hh_l0.copy_(torch.diag(torch.tensor(weights, dtype=torch.float64)))
        model.rnn.bias_ih_l0.copy_(torch.tensor(bias, dtype=torch.float64))
    return model


def crossings(weight: float, bias: float) -> list[float]:
    """Return all solutions of h = tanh(w h + b), by bisection between the turning points of the difference."""

    def off(h: float) -> float:
        return math.tanh(weight * h + bias) - h

    ends = [-1.0, 1.0]
    if weight > 1:  # d/dh: w (1 - tanh^2) = 1 where tanh = +-sqrt(1 - 1/w)
        turn = [(math.atanh(side * math.sqrt(1 - 1 / weight)) - bias) / weight for side in (-1, 1)]
        ends = [-1.0, *sorted(h for h in turn if -1 < h < 1), 1.0]
    zero: Any = brentq
    return [zero(off, a, b, xtol=1e-14) for a, b in itertools.pairwise(ends) if off(a) * off(b) < 0]


@pytest.mark.parametrize(("weights", "bias", "count"), [((2.0, 1.5), (0.1, -0.05), 9), ((0.5, -0.9), (0.2, 0.1), 1)])
def test_known_fixed_points_are_found(weights: tuple[float, float], bias: tuple[float, float], count: int) -> None:
    """To 1e-8: all combinations of the units' own solutions, by bisection; stability by the slope w (1 - h^2).

    The input that is held fixed is a part of the bias.
    """
    model, held = diagonal(weights, (0.0, -0.1)), torch.tensor(bias, dtype=torch.float64)
    held[1] += 0.1
    with torch.no_grad():
        model.rnn.weight_ih_l0.copy_(torch.eye(2))
    starts = torch.cartesian_prod(*[torch.linspace(-1, 1, 7, dtype=torch.float64)] * 2)
    points = find_points(machine(model).dynamics, held, starts)
    wanted = np.array(list(itertools.product(*itertools.starmap(crossings, zip(weights, bias, strict=True)))))
    assert len(points) == len(wanted) == count
    assert points.fixed.all()
    assert points.reached == 1
    found = points.states[np.lexsort(points.states.T[::-1])]
    assert np.abs(found - wanted[np.lexsort(wanted.T[::-1])]).max() < 1e-8
    slopes = np.array(weights) * (1 - points.states**2)
    assert np.allclose(np.sort(np.abs(points.eigenvalues)), np.sort(np.abs(slopes)), atol=1e-8)
    assert np.array_equal(points.stable, (np.abs(slopes) < 1).all(1))


@pytest.mark.parametrize("units", [1, 2, 3])
def test_what_lies_between_the_points_that_were_found_is_found(units: int) -> None:
    """From the corners of a cube its edges, faces and middle; a saddle that no start leads to leaves the index at 1.

    A unit rests at three places, found by bisection, so that there are 3^units points, and their signs add to 1.
    """
    corners = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=units)), dtype=torch.float64)
    dynamics, held = machine(diagonal((1.5,) * units, (0.02,) * units)).dynamics, torch.zeros(2)
    points = find_points(dynamics, held, corners)
    wanted = itertools.product(crossings(1.5, 0.02), repeat=units)
    assert np.abs(np.sort(points.states, axis=0) - np.sort([*wanted], axis=0)).max() < 1e-8
    cube = [math.comb(units, free) << (units - free) for free in range(units + 1)]
    assert np.bincount(points.unstable_directions).tolist() == cube
    assert (points.index, points.incomplete, points.fixed.all()) == (1, False, True)
    one = find_points(dynamics, held, corners[:1])
    assert (len(one), one.index, one.incomplete) == (1, 1, False)
    stable = find_points(dynamics, held, corners[[0, -1]], bound=np.full(units, 2.0))
    assert len(stable) == 3


def test_an_index_that_is_not_1_shows_that_points_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where states stay within bounds; a relu has none, and on a line of fixed points nothing follows."""
    monkeypatch.setattr(fixed_points, "MIXES", 0)
    corners = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    two = find_points(machine(diagonal((1.5,), (0.0,))).dynamics, torch.zeros(2), corners)
    assert (two.index, two.incomplete) == (2, True)
    assert (len(two), replace(two, bounded=False).incomplete) == (2, False)
    for kind in KINDS:
        nowhere = torch.zeros(0, 4 if kind == "lstm" else 2, dtype=torch.float64)
        found = find_points(machine(Net(kind)).dynamics, torch.zeros(2), nowhere)
        assert (found.bounded, found.index, found.incomplete) == (True, 0, True)
    net = nn.RNN(1, 1, nonlinearity="relu", dtype=torch.float64)
    (layer,) = find_layers(net)
    assert not find_points(CellDynamics("layer", layer.cell), torch.zeros(1), corners).bounded
    model = silent("lstm", units=1)
    with torch.no_grad():
        model.rnn.bias_ih_l0.copy_(torch.tensor([0.0, 40.0, 0.0, 40.0]))  # f = o = 1, g = 0: c stays
    line = find_points(machine(model).dynamics, torch.zeros(2), torch.tensor([[0.1, 0.0], [0.5, 0.0]]))
    assert (line.index, line.incomplete) == (None, False)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_no_state_leaves_the_bounds_within_which_fixed_points_lie(kind: str) -> None:
    """Nor does one that begins at a corner of them, with weights of any size."""
    for seed in range(20):
        net, draws = Net(kind, units=3), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.copy_(3 * torch.randn(parameter.shape, generator=draws, dtype=torch.float64))
        (dynamics, held) = machine(net).dynamics, torch.randn(2, generator=draws, dtype=torch.float64)
        bound = torch.as_tensor(bound_at_rest(dynamics, held))
        states = bound * (2 * torch.rand(200, len(bound), generator=draws, dtype=torch.float64) - 1).sign()
        assert (step(dynamics, states, held).abs() <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize(("weight", "kind"), [(0.5, 0), (1.0, 1), (1.5, 2), (-1.0, 0)])
def test_at_the_corner_of_a_relu_a_push_shows_what_the_jacobian_hides(weight: float, kind: int) -> None:
    """h = relu(w h) at 0, where torch's derivative is 0 whatever w is; no state is below 0, where w = -1 tells."""
    net = nn.RNN(1, 2, nonlinearity="relu", dtype=torch.float64)
    for name, parameter in net.named_parameters():
        parameter.data = torch.diag(torch.tensor([0, weight]).double()) if name == "weight_hh_l0" else 0 * parameter
    (layer,) = find_layers(net)
    points = find_points(CellDynamics("layer", layer.cell), torch.zeros(1), torch.zeros(1, 2, dtype=torch.float64))
    assert (points.eigenvalues == 0).all()
    assert [points.stable[0], points.neutral[0], points.unstable_directions[0]] == [kind == 0, kind == 1, kind == 2]


def test_an_lstm_of_two_units_rests_where_both_its_states_do() -> None:
    """c = f c + i g and h = o tanh(c) with gates that hear nothing: c = i g / (1 - f), exactly."""
    model = silent("lstm")
    with torch.no_grad():
        gates = torch.tensor([[0.2, -0.4], [0.5, -0.3], [0.7, -0.6], [0.1, 0.9]], dtype=torch.float64)
        model.rnn.bias_ih_l0.copy_(gates.flatten())
    i, f, o = (torch.sigmoid(gates[row]).numpy() for row in (0, 1, 3))
    c = i * np.tanh(gates[2].numpy()) / (1 - f)
    points = find_points(machine(model).dynamics, torch.zeros(2), torch.zeros(1, 4, dtype=torch.float64))
    assert np.abs(points.states - np.concatenate([c, o * np.tanh(c)])).max() < 1e-8
    assert np.allclose(np.sort(np.abs(points.eigenvalues[0]))[-2:], np.sort(f), atol=1e-8)


def test_a_place_that_is_slow_and_not_fixed_is_called_so() -> None:
    """Just before two solutions of h = tanh(w h + b) are born, q is small there and never 0."""
    weight = 2.0
    h = math.sqrt(1 - 1 / weight)
    born = math.atanh(h) - weight * h
    slower, faster = (machine(diagonal((weight,), (born - gap,))) for gap in (1e-3, 1e-2))
    near = torch.tensor([[h + 0.05]], dtype=torch.float64)
    points = find_points(slower.dynamics, torch.zeros(2), near)
    assert points.fixed.tolist() == [False]
    q = (math.tanh(weight * h + born - 1e-3) - h) ** 2 / 2
    assert points.q[0] == pytest.approx(q, rel=1e-2)
    assert 1e-10 < points.q[0] < 1e-6
    none = find_points(faster.dynamics, torch.zeros(2), near)
    assert (len(none), none.reached) == (0, 0)


def test_points_nearer_than_a_distance_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of fixed points (h = tanh h near 0 is one nearly) is thinned to that distance, and never below it."""
    model = silent("lstm", units=1)
    with torch.no_grad():
        model.rnn.bias_ih_l0.copy_(torch.tensor([0.0, 40.0, 0.0, 40.0]))  # f = o = 1, g = 0: c stays
    net = machine(model)
    cells = torch.arange(0, 0.1, 0.004, dtype=torch.float64)
    starts = torch.stack([cells, cells.tanh()], 1)
    for merged, count in ((0.05, 3), (0.01, 13), (1e-3, 25)):
        monkeypatch.setattr(fixed_points, "MERGED", merged)
        points = find_points(net.dynamics, torch.zeros(2), starts)
        assert len(points) == count
        gaps = np.diff(np.sort(points.states[:, 0]))
        assert (gaps * math.sqrt(2) > merged * 0.99).all()
    assert np.abs(points.eigenvalues[:, 0]) == pytest.approx(np.ones(25))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_jacobians_are_the_limits_of_differences(kind: str) -> None:
    """Entry (j, k) is how number j after the step changes with number k before it."""
    net = machine(Net(kind, units=3))
    states, one = net.clean.states[:5, 2].detach(), torch.tensor([0.4, -1.0])
    found = jacobians(net.dynamics, states, one)
    for k in range(net.dynamics.size):
        shift = torch.zeros(net.dynamics.size, dtype=torch.float64)
        shift[k] = 1e-6
        with torch.no_grad():
            slope = (step(net.dynamics, states + shift, one) - step(net.dynamics, states - shift, one)) / 2e-6
        assert np.allclose(found[:, :, k], slope.numpy(), atol=1e-8)
    # A rotation has a conjugate pair of modulus 1, beside a real one that is smaller.
    turn = np.array([[0.5, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert np.allclose(eigenvalues(turn[None])[0], [-1j, 1j, 0.5])


def test_visited_states_are_distinct_prefixes_drawn_by_the_seed() -> None:
    """All of them where they are few; otherwise as many as are asked for, each once."""
    bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    net = Machine.of(Net(), torch.stack([bits, 1 - bits], -1), **READ)
    every = visited_states(net.clean)
    assert len(every) == 2 + 4 + 8
    some, again, other = (visited_states(net.clean, 6, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(some, again)
    assert not torch.equal(some, other)
    assert len(some.unique(dim=0)) == 6
    assert set(map(tuple, some.tolist())) <= set(map(tuple, every.tolist()))


def test_an_input_of_another_width_is_refused() -> None:
    """The message says how many numbers the layer reads."""
    with refused():
        find_points(machine(Net()).dynamics, torch.zeros(3), torch.zeros(1, 2, dtype=torch.float64))
