"""How models call their layers: a step at a time, and with a forward of their own.

- Layers that are called a step at a time: decoders and policies.
- A layer whose forward is not torch's own: it is read where it agrees, and never run by torch's equations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from called import BATCH, INPUTS, TIME, UNITS, Reader
from policies_by_hand import Policy
from refusing import refused
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.methods.machines import Machine

STEPS = 8


class Decoder(nn.Module):
    """Reads its own outputs through two levels of an LSTM, a step a call, after a first call of several steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 5, 2), nn.Linear(5, 3)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Return the outputs, (step, batch, feature)."""
        state, outputs = None, []
        if first:
            outputs.append(self.out(self.rnn(torch.stack([x] * first))[0]))
        for _ in range(STEPS):
            y, state = self.rnn(x[None], state)
            x = self.out(y[0])
            outputs.append(x[None])
        return torch.cat(outputs)


@pytest.fixture
def decoder() -> Decoder:
    """Return a decoder."""
    torch.manual_seed(0)
    return Decoder().eval()


X = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))


def test_each_call_of_a_model_that_is_the_layer_itself_is_a_pass_of_its_own() -> None:
    """Whatever state it is given: the states that earlier passes returned are those of no sequence of this one."""
    torch.manual_seed(0)
    lstm, x, state = nn.LSTM(3, 5), torch.randn(STEPS, 2, 3), None
    with torch.no_grad(), probe.watch(lstm) as passes:
        for step in range(STEPS):
            _, state = lstm(x[step : step + 1], state)
    assert [recording.calls for recording in passes] == [{"[0]": 1}] * STEPS


def test_calls_that_hand_on_their_state_are_one_sequence(decoder: Decoder) -> None:
    """Recorded as one, its states those of a loop; an edit of a step acts from there on."""
    recording = probe.record(decoder, X)
    assert recording.calls == {"rnn[0]": 1, "rnn[1]": 1}
    with torch.no_grad():
        x, state = X, None
        for step in range(STEPS):
            y, state = decoder.rnn(x[None], state)
            x = decoder.out(y[0])
            for level in (0, 1):
                for place, signal in enumerate(("hidden_state", "cell_state")):
                    found = recording[f"rnn[{level}]", signal][:, step]
                    torch.testing.assert_close(found, state[place][level], atol=1e-6, rtol=0)
    edited = probe.record(decoder, X, edits=[probe.clamp("cell_state", 0.0, layer="rnn[0]", steps=4)])
    moved = (edited.output != recording.output).flatten(1).any(1)
    assert moved.tolist() == [False] * 4 + [True] * (STEPS - 4)
    assert not edited["rnn[0]", "cell_state"][:, 4].any()


def test_a_call_of_several_steps_is_a_call_of_its_own(decoder: Decoder) -> None:
    """What begins anew does not go on with it, and numbers are counted through."""
    recording = probe.record(decoder, X, 5)
    assert recording.calls == {"rnn[0]": 2, "rnn[1]": 2}
    assert [recording.call(number)["rnn[0]", "hidden_state"].shape[1] for number in (0, 1)] == [5, STEPS]


def test_a_step_that_does_not_come_is_refused(decoder: Decoder) -> None:
    """Too late a step, and one counted from an end that nobody knows."""
    for steps in (STEPS, -1):
        with refused():
            _ = probe.record(decoder, X, edits=[probe.clamp("cell_state", 0.0, layer="rnn[0]", steps=steps)])


@pytest.fixture
def policy() -> Policy:
    """Return a policy."""
    torch.manual_seed(0)
    return Policy()


def test_resets_do_not_cut_what_watch_sees(policy: Policy) -> None:
    """Calls outside the model's forward are one recording, through a product with zeros in some rows."""
    state, starts = None, np.zeros((STEPS, 2), dtype=bool)
    starts[3, 0] = starts[5, 1] = True
    with torch.no_grad(), probe.watch(policy) as seen:
        for now in starts:
            _, state = policy.act(np.ones((2, 3)), state, now)
    (recording,) = seen
    assert recording.calls == {"rnn[0]": 1}
    assert recording["hidden_state"].shape == (2, STEPS, 5)


@pytest.fixture
def model() -> Reader:
    """Return the model."""
    return Reader().eval()


@pytest.fixture
def x() -> Tensor:
    """Return its input."""
    return torch.randn(BATCH, TIME, INPUTS)


class Packs(nn.LSTM):
    """Packs its input inside its forward."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run over a packed sequence."""
        lengths = torch.tensor([TIME, TIME - 1, TIME - 2, TIME - 3])
        packed = nn.utils.rnn.pack_padded_sequence(input, lengths, batch_first=True)
        output, state = super().forward(packed, hx)
        return nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0], state


class Clips(nn.LSTM):
    """Keeps its last cell state within 10, which no clean run needs."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run, and clip."""
        output, (h, c) = super().forward(input, hx)
        return output, (h, c.clamp(-10, 10))


class Zoneout(nn.GRUCell):
    """Keeps a part of the old state."""

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Run one step."""
        h = super().forward(input, hx)
        return h if hx is None else 0.9 * h + 0.1 * hx


def replaced() -> nn.Module:
    """Return a layer whose forward was replaced on the instance."""
    layer = nn.GRU(INPUTS, UNITS, batch_first=True)
    own = layer.forward
    vars(layer)["forward"] = lambda *arguments: (2 * own(*arguments)[0], own(*arguments)[1])
    return layer


OWN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "packs": (lambda: Packs(INPUTS, UNITS, batch_first=True), r"Packs\.forward"),
    "clips": (lambda: Clips(INPUTS, UNITS, batch_first=True), r"Clips\.forward"),
    "replaced": (replaced, "the forward of this GRU was replaced"),
}


@pytest.mark.parametrize("name", OWN)
def test_a_layer_with_a_forward_of_its_own_is_never_run_by_torchs_equations(name: str, x: Tensor) -> None:
    """Edits, derivatives, sweeps and machines refuse it by name, before anything runs, and say what to do."""
    make, named = OWN[name]
    model = make()
    edit = probe.clamp("hidden_state", 2.0, steps=1)
    with refused(), probe.intervene(model, edit):
        pytest.fail("the context was entered")
    for call in (
        lambda: probe.record(model, x, edits=[edit]),
        lambda: probe.record(model, x, gradient_of=lambda output: output[0].sum(), check=False),
        lambda: probe.sweep(model, x, edits=[edit]),
    ):
        with pytest.raises(ProbeError, match=named if name != "packs" else f"{named}|does not compute"):
            call()
    with refused():
        Machine.of(model, x, answer=lambda o: o[0][:, -1, 0], expected=lambda o: o[0][:, -1, 0])


def test_a_cell_with_a_forward_of_its_own_is_refused() -> None:
    """Zoneout in a GRUCell's own forward is not in the GRU's equations."""
    with refused(), probe.intervene(Zoneout(INPUTS, UNITS), probe.ablate("hidden_state", steps=0)):
        pytest.fail("the context was entered")


def test_what_overrides_a_method_that_torchs_forward_calls_is_refused(x: Tensor) -> None:
    """Such a method changes what the forward computes as well."""

    class Flips(nn.LSTM):
        def permute_hidden(self, hx: Any, permutation: Any) -> Any:
            """Return other states."""
            return -hx[0], hx[1]

    model = Flips(INPUTS, UNITS, batch_first=True)
    with refused():
        probe.record(model, x, edits=[probe.ablate("cell_state")])


def test_a_reading_of_a_forward_of_its_own_is_compared(x: Tensor) -> None:
    """What only passes on is recorded; what computes something else is refused."""

    class Passes(nn.LSTM):
        def forward(self, input: Any, hx: Any = None) -> Any:
            """Run as it is."""
            return super().forward(input, hx)

    model = Passes(INPUTS, UNITS, batch_first=True)
    assert (probe.record(model, x).max_error or 0) < 1e-5
    with refused():
        probe.record(Packs(INPUTS, UNITS, batch_first=True), x)


def test_pre_activations_of_a_forward_of_its_own_are_not_given(x: Tensor) -> None:
    """Its states are compared, and a unit that rests at 0 has the same state whatever its pre-activation was."""

    class Doubles(nn.RNN):
        def forward(self, input: Any, hx: Any = None) -> Any:
            """Run on other inputs."""
            return super().forward(2 * input, hx)

    model = Doubles(INPUTS, UNITS, nonlinearity="relu", bias=True, batch_first=True)
    with torch.no_grad():
        model.get_parameter("bias_ih_l0").fill_(-100.0)
    assert not probe.record(model, x)["hidden_state"].any()
    for call in (
        lambda: probe.record(model, x, signals=probe.Signal),
        lambda: probe.record(model, x, signals=["hidden_state_preactivation"]),
    ):
        with refused():
            call()
