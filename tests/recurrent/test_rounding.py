"""Networks that round more than the usual bound are recorded; those that compute something else are not."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.recurrent.steps import registry

STEPS = 400


def adding(**options: Any) -> nn.LSTM:
    """Return an LSTM whose cell states add up to about 100: large weights, and gates that hardly forget."""
    torch.manual_seed(1)
    lstm = nn.LSTM(2, 128, batch_first=True, **options).eval()
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            parameter.mul_(3)
            if "bias_ih" in name:
                parameter[128:256] += 8
    return lstm


def inputs() -> Tensor:
    """Return drawn inputs, (row, step, feature)."""
    return torch.randn(2, STEPS, 2, generator=torch.Generator().manual_seed(0))


#: By form: options, whether the input is packed, and a difference that is exceeded; a projection makes states small.
FORMS: dict[str, tuple[dict[str, Any], bool, float]] = {
    "one layer": ({}, False, 1e-5),
    "projected": ({"proj_size": 64}, False, 1e-6),
    "packed, both directions": ({"bidirectional": True}, True, 1e-5),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("form", FORMS)
def test_a_large_cell_state_may_round(form: str) -> None:
    """A cell state of 100 rounds more than 1e-5 allows; its network is recorded, edited and swept all the same."""
    options, packed, exceeded = FORMS[form]
    lstm, x = adding(**options), inputs()
    read = pack_padded_sequence(x, torch.tensor([STEPS, STEPS - 17]), batch_first=True) if packed else x
    recording = probe.record(lstm, read)
    assert exceeded < (recording.max_error or 0) < 1e-3
    name = recording.layers[0]
    same = probe.record(lstm, read, edits=[probe.patch("cell_state", recording, layer=name, steps=5)])
    own, patched = ((one.output[0].data if packed else one.output[0]) for one in (recording, same))
    assert torch.equal(own, patched)
    clamps = [probe.clamp("cell_state", value, layer=name, units=[0], steps=7) for value in (0.0, 1.0)]
    assert (probe.record(lstm, read, edits=clamps[:1]).max_error or 0) > exceeded
    if not packed:
        assert len(probe.sweep(lstm, x, edits=clamps)[0]) == 2
    with refused():  # a bound that was given holds
        _ = probe.record(lstm, read, tolerance=exceeded)


def _with_weights(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[nn.LSTM], Any]:
    def forward_of(lstm: nn.LSTM) -> Any:
        other = copy.deepcopy(lstm)
        other.load_state_dict(lstm.state_dict() | {name: change(lstm.state_dict()[name])})
        return lambda _, x: other(x)

    return forward_of


CHANGED: dict[str, Callable[[nn.LSTM], Any]] = {
    "W is a thousandth larger": _with_weights("weight_ih_l0", lambda W: W * 1.001),
    "a bias is forgotten": _with_weights("bias_hh_l0", torch.zeros_like),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_change_is_more_than_rounding(change: str) -> None:
    """What a network of large states computes otherwise is found, and the message says what rounding can make."""
    lstm, x = adding(), inputs()
    vars(lstm)["forward"] = types.MethodType(CHANGED[change](lstm), lstm)
    with refused():
        _ = probe.record(lstm, x, signals=["cell_state"])


class Sums(nn.Module):
    """Adds up its input at once, and returns the sine of the sums."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, time, feature)."""
        return x.cumsum(1).sin()


class SumsStep(probe.Step):
    """The same step by step, in another order of rounding, or a little wrong, or with a little noise."""

    factor, noise = 1.0, 0.0

    def inputs(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return what is read."""
        return x

    def initial(self, batch: int) -> Tensor:
        """Return zeros."""
        return torch.zeros(batch, 3)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return one step; thirds round, and give the same sum."""
        total = state + x / 3
        y = (3 * total).sin() * self.factor
        return y + self.noise * torch.randn_like(y) if self.noise else y, total


WRONG = [type("FalseStep", (SumsStep,), {"factor": 1.0001}), type("NoisyStep", (SumsStep,), {"noise": 1e-4})]


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 10.0), (torch.float64, 1e5)])
def test_a_step_of_ones_own_may_round(dtype: torch.dtype, size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of large numbers round in any order, in float64 too; a wrong step and a noisy one are still refused."""
    x = size * torch.randn(4, 300, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    usual = 1e-5 if dtype == torch.float32 else 1e-10
    for step in (SumsStep, *WRONG):
        monkeypatch.setattr(registry, "_registered", {Sums: step})
        if step is SumsStep:
            assert usual < (probe.record(Sums(), x).max_error or 0) < 1e3 * usual
        else:
            with refused():
                _ = probe.record(Sums(), x)


@pytest.mark.parametrize(("dtype", "wider"), [("bfloat16", "float32"), ("float32", "float64")])
def test_a_type_that_rounds_too_much_is_named(dtype: str, wider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rounding explains a large difference the message says so, and moving the model as it says works."""
    monkeypatch.setattr(registry, "_registered", {Sums: SumsStep})
    module, x = (adding(), inputs()) if dtype == "bfloat16" else (Sums(), 1e4 * torch.randn(4, 300, 3))
    narrow, wide = getattr(torch, dtype), getattr(torch, wider)
    with refused():
        _ = probe.record(module.to(narrow), x.to(narrow))
    assert probe.record(module.to(wide), x.to(wide)).max_error is not None
