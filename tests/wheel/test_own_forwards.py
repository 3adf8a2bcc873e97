"""A layer whose forward is not torch's own: it is read where it agrees, and never run by torch's equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from called import BATCH, INPUTS, TIME, UNITS, Reader
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.methods.machines import Machine


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
    message = rf"Layer '\[0\]' has a forward of its own \(.*{named}.*\).*in a module that holds it"
    with pytest.raises(ProbeError, match=message), probe.intervene(model, edit):
        pytest.fail("the context was entered")
    for call in (
        lambda: probe.record(model, x, edits=[edit]),
        lambda: probe.record(model, x, gradient_of=lambda output: output[0].sum(), check=False),
        lambda: probe.sweep(model, x, edits=[edit]),
    ):
        with pytest.raises(ProbeError, match=named if name != "packs" else f"{named}|does not compute"):
            call()
    with pytest.raises(ProbeError, match="forward of its own"):
        Machine.of(model, x, answer=lambda o: o[0][:, -1, 0], expected=lambda o: o[0][:, -1, 0])


def test_a_cell_with_a_forward_of_its_own_is_refused() -> None:
    """Zoneout in a GRUCell's own forward is not in the GRU's equations."""
    with (
        pytest.raises(ProbeError, match=r"Zoneout\.forward"),
        probe.intervene(Zoneout(INPUTS, UNITS), probe.ablate("hidden_state", steps=0)),
    ):
        pytest.fail("the context was entered")


def test_what_overrides_a_method_that_torchs_forward_calls_is_refused(x: Tensor) -> None:
    """Such a method changes what the forward computes as well."""

    class Flips(nn.LSTM):
        def permute_hidden(self, hx: Any, permutation: Any) -> Any:
            """Return other states."""
            return -hx[0], hx[1]

    model = Flips(INPUTS, UNITS, batch_first=True)
    with pytest.raises(ProbeError, match=r"Flips\.permute_hidden"):
        probe.record(model, x, edits=[probe.ablate("cell_state")])


def test_a_reading_of_a_forward_of_its_own_is_compared(x: Tensor) -> None:
    """What only passes on is recorded; what computes something else is refused."""

    class Passes(nn.LSTM):
        def forward(self, input: Any, hx: Any = None) -> Any:
            """Run as it is."""
            return super().forward(input, hx)

    model = Passes(INPUTS, UNITS, batch_first=True)
    assert (probe.record(model, x).max_error or 0) < 1e-5
    with pytest.raises(ProbeError, match="does not compute what its weights say"):
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
        with pytest.raises(ProbeError, match=r"Doubles\.forward.*nothing about 'hidden_state_preactivation'"):
            call()
