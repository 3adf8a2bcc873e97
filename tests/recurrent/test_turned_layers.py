"""A layer that a wrapper gives its sequences from the end: a step is the index of the input, everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.loading.modules import Backwards, BothWays, Masked
from probe.methods.machines import Machine
from probe.recurrent import CustomLSTM

FORWARD, BACKWARD = "forward_module[0]", "backward_module[0].reverse"
OF_TORCH = {FORWARD: "[0]", BACKWARD: "[0].reverse"}


def pair(kind: Any = nn.LSTM, made: Any = None) -> tuple[Any, BothWays]:
    """Return torch's own module in both directions, and the same network as two modules in a wrapper."""
    both: Any = kind(2, 3, batch_first=True, bidirectional=True).double()
    state, halves = both.state_dict(), []
    for reverse in (False, True):
        half = (made or kind)(2, 3, batch_first=True).double()
        own = {name: one for name, one in state.items() if name.endswith("_reverse") == reverse}
        half.load_state_dict({name.removesuffix("_reverse"): one for name, one in own.items()})
        halves.append(half)
    return both.eval(), BothWays(*halves, merge="concat").eval()


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(4, 6, 2, dtype=torch.float64)


@pytest.mark.parametrize("made", [None, CustomLSTM])
def test_a_recording_is_in_the_inputs_order(made: Any, x: Tensor, tmp_path: Path) -> None:
    """Every signal and gradient is that of torch's own reverse direction, checked or not, and on disk."""
    both, wrapped = pair(made=made)

    def answer(output: Any) -> Tensor:
        return output[0][:, 2].sum()

    expected = probe.record(both, x, signals=probe.Signal, gradient_of=answer)
    found = probe.record(wrapped, x, signals=probe.Signal, gradient_of=answer)
    assert found.layers == (FORWARD, BACKWARD)
    unchecked = probe.record(wrapped, x, signals=probe.Signal, check=False)
    streamed = probe.record(wrapped, x, signals=probe.Signal, out=tmp_path / "run")
    for own, of_torch in OF_TORCH.items():
        for signal in expected.parts[0].signals:
            for recording in (found, unchecked, streamed):
                assert torch.allclose(recording[own, signal], expected[of_torch, signal], rtol=0, atol=1e-12)
            gradients = found.gradient[own, signal], expected.gradient[of_torch, signal]
            assert torch.allclose(*gradients, rtol=0, atol=1e-12)
    some = probe.record(wrapped, x, steps=[1, -1])
    assert torch.allclose(some[BACKWARD, "cell_state"], expected["[0].reverse", "cell_state"][:, [1, -1]])


@pytest.mark.parametrize("made", [None, CustomLSTM])
@pytest.mark.parametrize("step", [0, 2, -1, None])
def test_an_edit_acts_at_the_inputs_step(made: Any, step: int | None, x: Tensor) -> None:
    """Clamps and sweeps change what they change in torch's own reverse direction, and so do values per step."""
    both, wrapped = pair(made=made)
    for own, of_torch in OF_TORCH.items():
        for signal in ("input_gate", "cell_state"):
            one, two = (
                probe.edit(signal, lambda value, site: value + sum(site.steps or ()), layer=name, steps=step, units=1)
                if signal == "cell_state"
                else probe.clamp(signal, 0.7, layer=name, steps=step, units=1)
                for name in (own, of_torch)
            )
            found, expected = (
                probe.record(model, x, edits=[edit]).output[0] for model, edit in ((wrapped, one), (both, two))
            )
            assert torch.allclose(found, expected, rtol=0, atol=1e-12)
            assert (step == 0 and signal == "cell_state") or not torch.allclose(found, both(x)[0])
            assert torch.allclose(probe.sweep(wrapped, x, edits=[one] * 2)[0][1], expected, atol=1e-12)


def test_a_module_alone_and_one_turned_twice(x: Tensor) -> None:
    """The module inside, given alone, is a forward layer; a stack in both directions is turned as a whole."""
    _, wrapped = pair()
    alone: Any = wrapped.backward_module
    assert probe.record(alone, x).layers == ("[0]",)
    stack: Any = nn.GRU(2, 3, 2, batch_first=True, bidirectional=True).double()
    turned = probe.record(Backwards(stack, restored=True), x)
    plain = probe.record(stack, x.flip(1))
    assert turned.layers == ("module[0].reverse", "module[0]", "module[1].reverse", "module[1]")
    names = dict(zip(turned.layers, plain.layers, strict=True))
    for own, inside in names.items():
        assert torch.allclose(turned[own, "hidden_state"], plain[inside, "hidden_state"].flip(1), atol=1e-12)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_masked_recording_keeps_its_rows(kind: Any, x: Tensor) -> None:
    """One call, rows as they came, padding as NaN: as the packed sequences of torch's own module."""
    both, wrapped = pair(kind)
    lengths = torch.tensor([6, 2, 5, 2])
    mask = torch.arange(6) < lengths[:, None]
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected = probe.record(both, packed)
    recording = probe.record(Masked(wrapped, by="Masking"), x, kwargs={"mask": mask})
    for inside, of_torch in OF_TORCH.items():
        own = f"module.{inside}"
        assert (recording.calls[own], recording.lengths(own)) == (1, (6, 2, 5, 2))
        found = recording[own, "hidden_state"]
        assert torch.allclose(found, expected[of_torch, "hidden_state"], rtol=0, atol=1e-12, equal_nan=True)
    edits = [probe.clamp("hidden_state", 0.3, layer=f"module.{BACKWARD}", steps=1)]
    with torch.no_grad():
        usual = Masked(wrapped, by="Masking")(x, mask=mask)[0]
        changed = probe.record(Masked(wrapped, by="Masking"), x, kwargs={"mask": mask}, edits=edits).output[0]
    moved = (usual - changed).abs().amax(2) > 0
    assert moved.int().tolist() == [[1, 1, 0, 0, 0, 0]] * 4


@pytest.mark.parametrize(("kind", "zeros"), [(nn.LSTM, False), (nn.GRU, True)])
def test_a_masked_module_in_both_directions_is_run_as_each_row_alone(kind: Any, zeros: bool, x: Tensor) -> None:
    """Outputs and last states are those of the steps that are read; a hidden step shows what came before, or zero."""
    module: Any = kind(2, 3, batch_first=True, bidirectional=True).double()
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0]]).bool()
    with torch.no_grad():
        h, last = Masked(module, by="Masking", zeros=zeros)(x, mask=mask)
        for row in range(4):
            alone, state = module(x[row : row + 1][:, mask[row]])
            assert torch.allclose(h[row, mask[row]], alone[0], rtol=0, atol=1e-12)
            for whole, own in zip(*(one if isinstance(one, tuple) else (one,) for one in (last, state)), strict=True):
                assert torch.allclose(whole[:, row], own[:, 0], rtol=0, atol=1e-12)
            before, after = torch.zeros(3).double(), torch.zeros(3).double()
            for step in range(6):
                before = h[row, step, :3] if mask[row, step] else before * (not zeros)
                back = 5 - step
                after = h[row, back, 3:] if mask[row, back] else after * (not zeros)
                assert torch.equal(h[row, step, :3], before)
                assert torch.equal(h[row, back, 3:], after)


def test_what_cannot_be_followed_below_a_mask_is_refused(x: Tensor) -> None:
    """Hidden steps in between, and rows of several lengths of a module that reads no packed ones; both still run.

    A machine of a turned layer is refused as well.
    """
    _, wrapped = pair()
    mask = torch.ones(4, 6, dtype=torch.bool)
    for places in ((0, 2), (1, 0), (2, slice(None))):
        hidden = mask.clone()
        hidden[places] = False
        masked = Masked(wrapped, by="Masking")
        assert masked(x, mask=hidden)[0].shape == (4, 6, 6)
        with refused():
            _ = probe.record(masked, x, kwargs={"mask": hidden})
    own = Masked(CustomLSTM(2, 3, batch_first=True).double(), by="Masking")
    ragged = torch.arange(6) < torch.tensor([6, 2, 5, 2])[:, None]
    assert own(x, mask=ragged)[0].shape == (4, 6, 3)
    with refused():
        _ = probe.record(own, x, kwargs={"mask": ragged})
    assert probe.record(own, x, kwargs={"mask": mask}).calls == {"module[0]": 1}
    with refused():  # the steps of a machine would be those of the reversed input
        _ = Machine.of(wrapped, x, layer=BACKWARD, answer=lambda o: o[0][:, 0, 0], expected=lambda o: o[0][:, 0, 0])
