"""How models call their layers: a step at a time, and with a forward of their own, which is never replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bodies import Model
from called import BATCH, INPUTS, TIME, UNITS
from refusing import refused
from torch import Tensor, nn

import probe
from probe.methods.machines import Machine


def decoded(m: Any, x: Tensor) -> Tensor:
    """Read its own outputs, a step a call, after a call of several steps whose state is not handed on."""
    state, outputs = None, [m.out(m.rnn(torch.stack([x] * 5))[0])]
    for _ in range(TIME):
        y, state = m.rnn(x[None], state)
        x = m.out(y[0])
        outputs.append(x[None])
    return torch.cat(outputs)


@torch.no_grad()
def test_calls_that_hand_on_their_state_are_one_sequence() -> None:
    """Its states are those of a loop, and a call of several steps is one of its own."""
    decoder, x, state = Model(decoded, rnn=nn.LSTM(3, 5), out=nn.Linear(5, 3)), torch.randn(2, 3), None
    recording = probe.record(decoder, x)
    assert [recording.call(number)["hidden_state"].shape[1] for number in (0, 1)] == [5, TIME]
    for step in range(TIME):
        _, state = decoder.get_submodule("rnn")(torch.cat([x[None], recording.output[5:]])[step : step + 1], state)
        found = [recording.call(1)[signal][:, step] for signal in ("hidden_state", "cell_state")]
        torch.testing.assert_close(torch.stack(found), torch.stack([part[0] for part in state]))


@pytest.fixture
def x() -> Tensor:
    """Return inputs."""
    return torch.randn(BATCH, TIME, INPUTS)


class _Clips(nn.LSTM):
    """Keeps its last cell state within 10, which no clean run needs."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, (h, c) = super().forward(input, hx)
        return output, (h, c.clamp(-10, 10))


class _Flips(nn.LSTM):
    """Overrides a method that torch's forward calls."""

    def permute_hidden(self, hx: Any, permutation: Any) -> Any:
        return -hx[0], hx[1]


class _Doubles(nn.RNN):
    """Reads twice its input."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(2 * input, hx)


class _Zoneout(nn.GRUCell):
    """Keeps a part of the old state."""

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        h = super().forward(input, hx)
        return h if hx is None else 0.9 * h + 0.1 * hx


def replaced() -> nn.Module:
    """Return a layer whose forward was replaced on the instance."""
    layer = nn.GRU(INPUTS, UNITS, batch_first=True)
    own = layer.forward
    vars(layer)["forward"] = lambda *arguments: (2 * own(*arguments)[0], own(*arguments)[1])
    return layer


OWN: dict[str, Callable[[], nn.Module]] = {
    "clips": lambda: _Clips(INPUTS, UNITS, batch_first=True),
    "flips": lambda: _Flips(INPUTS, UNITS, batch_first=True),
    "replaced": replaced,
    "zoneout": lambda: _Zoneout(INPUTS, UNITS),
}


@pytest.mark.parametrize("name", OWN)
def test_a_layer_with_a_forward_of_its_own_is_never_run_by_torchs_equations(name: str, x: Tensor) -> None:
    """Edits, derivatives, sweeps and machines refuse it by name, before anything runs, and say what to do."""
    model, edit = OWN[name](), probe.clamp("hidden_state", 2.0, steps=1)
    x = x[:, 0] if name == "zoneout" else x
    with refused(), probe.intervene(model, edit):
        pytest.fail("the context was entered")
    for call in (
        lambda: probe.record(model, x, edits=[edit]),
        lambda: probe.record(model, x, gradient_of=lambda output: output[0].sum(), check=False),
        lambda: probe.sweep(model, x, edits=[edit]),
        lambda: Machine.of(model, x, answer=lambda o: o[0][:, -1, 0], expected=lambda o: o[0][:, -1, 0]),
    ):
        with refused():
            call()
    if name == "clips":
        assert (probe.record(model, x).max_error or 0) < 1e-5  # what only passes on is recorded


def test_pre_activations_of_a_forward_of_its_own_are_not_given(x: Tensor) -> None:
    """Its states are compared, and a unit that rests at 0 has the same state whatever its pre-activation was."""
    model = _Doubles(INPUTS, UNITS, nonlinearity="relu", bias=True, batch_first=True)
    nn.init.constant_(model.get_parameter("bias_ih_l0"), -100.0)
    assert not probe.record(model, x)["hidden_state"].any()
    for signals in (probe.Signal, ["hidden_state_preactivation"]):
        with refused():
            probe.record(model, x, signals=signals)
