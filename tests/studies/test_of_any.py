"""Networks that torch does not have, studied: a CTRNN in a plain loop gives what the same network gives as nn.RNN."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.methods.fixed_points import find_points, visited_states
from probe.methods.machines import Machine

UNITS, TIME = 5, 5
BITS = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=TIME)))[:, :, None]


class Cell(nn.Module):
    """One Euler step of a continuous-time network: h' = (1 - alpha) h + alpha tanh(W x + U h)."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.x2h, self.h2h = alpha, nn.Linear(1, UNITS), nn.Linear(UNITS, UNITS, bias=False)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return (1 - self.alpha) * h + self.alpha * torch.tanh(self.x2h(x) + self.h2h(h))


class Looped(nn.Module):
    """A loop over a cell, and a readout of the last state."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.cell, self.out = Cell(alpha), nn.Linear(UNITS, 1)

    def start(self, x: Tensor) -> Tensor:
        """Return the state in which a sequence begins."""
        return x.new_zeros(len(x), UNITS)

    def between(self, h: Tensor, step: int) -> Tensor:
        """Return what the cell is given of the state that it returned."""
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a sequence."""
        h = self.start(x)
        for step in range(x.shape[1]):
            h = self.cell(x[:, step], self.between(h, step))
        return self.out(h)[:, 0]


class Method(Looped):
    """The same, where the loop and its step are methods of one module that returns all states."""

    def recurrence(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return torch.tanh(self.cell.x2h(x) + self.cell.h2h(h))

    def forward(self, x: Tensor) -> Tensor:
        """Return all states."""
        h, states = self.start(x), []
        for step in range(x.shape[1]):
            h = self.recurrence(x[:, step], h)
            states.append(h)
        return torch.stack(states, 1)


class MethodStep(probe.Step):
    """Its step."""

    names: ClassVar = {"state": "rate"}

    def inputs(self, x: Tensor) -> Tensor:
        """Return what it reads."""
        return x

    def initial(self, batch: int) -> Tensor:
        """Return zeros, of float32 as people write them."""
        return torch.zeros(batch, UNITS)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state, which the module returns too."""
        h = self.module.recurrence(x, state)
        return h, h


class LastOf(nn.Module):
    """A layer that returns all states, and a readout of the last one."""

    def __init__(self, layer: nn.Module, out: nn.Linear) -> None:
        super().__init__()
        self.layer, self.out = layer, out

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a sequence."""
        found = self.layer(x)
        return self.out((found[0] if isinstance(found, tuple) else found)[:, -1])[:, 0]


def held(x: np.ndarray) -> np.ndarray:
    """Return the sign of the last pulse after each step, NaN before the first."""
    values, last = [], np.nan
    for pulse in x[:, 0]:
        last = pulse if pulse else last
        values.append(last)
    return np.array(values)


@pytest.fixture(scope="module")
def looped() -> Looped:
    """Return a flip-flop of one bit, trained."""
    torch.manual_seed(0)
    model, x = Looped(), BITS[(BITS != 0).any(1)[:, 0]]
    right = torch.tensor([held(row)[-1] for row in x.numpy()], dtype=torch.float32)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    loss = torch.ones(())
    for _ in range(300):
        loss = ((model(x) - right) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05
    return model


def as_rnn(model: Looped) -> LastOf:
    """Return the same network as torch's own."""
    rnn = nn.RNN(1, UNITS, batch_first=True)
    with torch.no_grad():
        rnn.get_parameter("weight_ih_l0").copy_(model.cell.x2h.weight)
        rnn.get_parameter("bias_ih_l0").copy_(model.cell.x2h.bias)
        rnn.get_parameter("weight_hh_l0").copy_(model.cell.h2h.weight)
        rnn.get_parameter("bias_hh_l0").zero_()
    return LastOf(rnn, model.out)


def as_method(model: Looped) -> LastOf:
    """Return the same network as one module with a step of its own."""
    method = Method()
    method.load_state_dict(model.state_dict())
    return LastOf(method, model.out)


@pytest.fixture(autouse=True)
def _registered() -> None:
    probe.register(Method, MethodStep)


QUESTIONS = ("fixed-points", "interchange", "erasure", "ablation", "noise-margin", "single-units")


def studied(model: nn.Module, folder: Path, *, head: bool) -> dict[str, pd.DataFrame]:
    """Return what a study measures of a network alone, by question."""
    out = model.out
    assert isinstance(out, nn.Linear)
    readout = (
        probe.Readout("held", weight=out.weight.detach(), bias=out.bias.detach(), kind="number")
        if head
        else probe.Readout("held", output=(torch.sign, lambda y: y))
    )
    x = BITS[(BITS[:, 0] != 0)[:, 0]]
    _ = probe.Study(model, x, {"held": held}, readout=readout, questions=QUESTIONS).run(folder)
    found = {}
    for name in QUESTIONS:
        table = probe.Finding.read(folder / "findings" / name).measurements
        table = table[table["role"] == "trained"].drop(columns=["network", "layer", "signal"])
        found[name] = table.reset_index(drop=True)
    return found


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("other", [lambda model: model, as_method])
def test_a_loop_is_studied_as_the_same_network_of_torch(
    looped: Looped, tmp_path: Path, other: Callable[[Looped], nn.Module], *, head: bool
) -> None:
    """All numbers that are asked of the trained network agree, whichever way it is written."""
    own = studied(other(looped), tmp_path / "own", head=head)
    torchs = studied(as_rnn(looped), tmp_path / "rnn", head=head)
    for name, table in torchs.items():
        assert len(table), name
        pd.testing.assert_frame_equal(own[name], table, rtol=1e-6, atol=1e-9, obj=name)


def machine(model: nn.Module, **options: Any) -> Machine:
    """Return a model as a machine."""
    x = BITS[::17]
    return Machine.of(model, x, answer=torch.sign, expected=lambda y: y, **options)


def test_the_fixed_points_of_a_leaky_network_are_those_of_its_formula() -> None:
    """h = (1 - a) h + a tanh(W x + U h) holds, and the Jacobian is (1 - a) I + a diag(1 - tanh^2) U."""
    torch.manual_seed(1)
    model, still = Looped(alpha=0.3), torch.zeros(1, dtype=torch.float64)
    with torch.no_grad():
        model.cell.h2h.weight.add_(2 * torch.eye(UNITS))
        model.cell.x2h.bias.zero_()
    ran = machine(model)
    points = find_points(ran.dynamics, still, visited_states(ran.clean))
    U, b = (one.detach().double().numpy() for one in (model.cell.h2h.weight, model.cell.x2h.bias))
    assert len(points) > 1
    for state, jacobian in zip(points.states[points.fixed], points.jacobians[points.fixed], strict=True):
        rate = np.tanh(U @ state + b)
        np.testing.assert_allclose(rate, state, atol=1e-4)
        np.testing.assert_allclose(jacobian, 0.7 * np.eye(UNITS) + 0.3 * (1 - rate**2)[:, None] * U, atol=1e-6)


class Masked(Looped):
    """Sets the state to zero at a step."""

    def between(self, h: Tensor, step: int) -> Tensor:
        """Return zeros at step 3."""
        return h * float(step != 3)


class Clocked(Method):
    """Reads the number of the step."""

    def forward(self, x: Tensor) -> Tensor:
        """Return all states."""
        return super().forward(x)

    def recurrence(self, x: Tensor, h: Tensor) -> Tensor:
        """Return another state at a later step of the same call."""
        self.at = getattr(self, "at", 0) + 1
        return super().recurrence(x, h) * (1 + 0.01 * (self.at % 5))


def test_what_cannot_be_run_from_its_states_is_refused() -> None:
    """The reason is said: the model acts on the state, or the step depends on more than its input and state."""
    with refused():
        _ = machine(Masked())
    with pytest.raises(ProbeError):
        _ = machine(LastOf(Clocked(), nn.Linear(UNITS, 1)))


def test_a_size_that_only_a_call_tells_is_not_known(tmp_path: Path) -> None:
    """The model acts on the state of its cell, which is not opened alone: no number stands for what it reads."""
    readout = probe.Readout("held", output=(torch.sign, lambda y: y))
    _ = probe.Study(Masked(), BITS[81:], {"held": held}, readout=readout, questions=["answers"]).run(tmp_path)
    table = probe.Finding.read(tmp_path / "findings" / "network").measurements
    assert (table["value"] >= 0).all()
    layer = table[(table["role"] == "trained") & (table["layer"] != "")].set_index("metric")["value"]
    assert "inputs" not in layer
    assert (layer["units"], layer["parameters"], layer["looked_at"]) == (UNITS, 2 * UNITS + UNITS**2, 1)


class Talkative(Cell):
    """Returns its rates and a gate beside its state."""

    def forward(self, x: Tensor, h: Tensor) -> Any:
        """Return a readable gate, and the next state."""
        return torch.sigmoid(self.x2h(x)), super().forward(x, h), h.sum()


class OfTalkative(Looped):
    """A loop over it that hands on the second."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Talkative()

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a sequence."""
        h = self.start(x)
        for step in range(x.shape[1]):
            _, h, _ = self.cell(x[:, step], h)
        return self.out(h)[:, 0]


def test_other_tensors_that_a_cell_returns_are_refused_by_a_machine() -> None:
    """Nobody says what they would have been in another state; recording it is no trouble."""
    model = OfTalkative()
    assert "state" in probe.record(model, BITS[:4]).parts[0].signals
    with refused():
        _ = machine(model)


@pytest.mark.parametrize("model", [Looped(), LastOf(Method(), nn.Linear(UNITS, 1))])
def test_controls_draw_what_says_how_it_is_drawn(model: nn.Module) -> None:
    """The cell's linear parts are drawn anew, the readout stays, and the same seed gives the same numbers."""
    from probe.subjects.networks.random_weights import random_weights

    names = [part.layer for part in probe.record(model, BITS[:2]).parts]
    draw = partial(random_weights, model, 2, seed=3, cells=names)
    (fresh, drawn), (shuffled, mixed) = draw()
    assert (fresh, shuffled) == ("fresh weights 1", "shuffled weights 1")
    again = dict(draw())[fresh].state_dict()
    for name, value in model.state_dict().items():
        recurrent = "2h" in name or name.startswith("layer.")
        assert torch.equal(drawn.state_dict()[name], value) != recurrent, name
        assert torch.equal(drawn.state_dict()[name], again[name])
        assert torch.equal(mixed.state_dict()[name].flatten().sort()[0], value.flatten().sort()[0])
