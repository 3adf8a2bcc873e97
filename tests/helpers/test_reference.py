"""The oracle of reference.py against torch's own modules: its control arm. Nothing here uses `probe`."""

from __future__ import annotations

from typing import Any

import pytest
import reference
import torch
from comparing import flat
from drawn import LAYERS, Network, packed
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

FORMS: dict[str, dict[str, Any]] = {
    "stacked": {"layers": 3, "bias": False},
    "everything": {"layers": 2, "bidirectional": True, "batch_first": True},
    "packed": {"layers": 2, "bidirectional": True, "batch_first": True, "lengths": (2, 5, 1)},
    "packed, time first": {"layers": 2, "lengths": (2, 5, 1)},
}


def close(one: Any, two: Any) -> bool:
    """Return whether two tensors, or several of them, agree to rounding; NaN agrees with NaN."""
    if isinstance(one, tuple):
        return all(close(a, b) for a, b in zip(one, two, strict=True))
    return torch.allclose(one, two, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("form", FORMS)
def test_the_oracle_is_torch(kind: str, form: str) -> None:
    """Outputs, last states and gradients are torch's, of packed sequences too; from other states they are not."""
    network = Network.of(kind, given=True, **FORMS[form])
    module, call = network.module(), network.call()
    x, lengths = call.x.requires_grad_(), network.lengths

    def spoil(_layer: str, _signal: str, step: int, value: Tensor) -> Tensor:
        return torch.where((network.ends() <= step)[:, None], torch.nan, value)

    for hx in (None, call.hx):
        output, final = module(packed(module, x, lengths), hx)
        if isinstance(output, PackedSequence):
            output = pad_packed_sequence(output, batch_first=module.batch_first)[0]
        ours = reference.run(module, x, hx, lengths, spoil)
        assert close((ours.output, ours.final), (output, final))
        wanted = [x, *module.parameters()]
        gradients = [torch.autograd.grad(one.sin().sum(), wanted) for one in (ours.output, output)]
        assert close(*gradients)
        assert all(one.abs().max() > 0 for one in gradients[0])
        assert close(reference.run(module, x, call.hx, lengths).output, output) == (hx is call.hx)
        assert close(reference.run(module, x, hx).output, output) == (lengths is None)


@pytest.mark.parametrize("kind", LAYERS)
def test_an_edited_run_goes_on_from_what_was_put_there(kind: str) -> None:
    """As torch does from that state; single steps from a recording give it, those of other edits do not."""
    network = Network.of(kind, given=True, batch_first=True)
    module, call, at = network.module(), network.call(), 2
    values = dict(zip(("hidden_state", "cell_state"), flat(call.hx), strict=False))

    def place(_layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        return values[signal][0] if step == at and signal in values else value

    ours = reference.run(module, call.x, edit=place)
    assert close((ours.output[:, at + 1 :], ours.final), module(call.x[:, at + 1 :], call.hx))
    assert close(ours.output[:, :at], module(call.x)[0][:, :at])
    packed = Network.of(kind, given=True, **FORMS["packed"])
    module, call, lengths = packed.module(), packed.call(), packed.lengths

    def turn(_layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        return torch.cos(value) if signal == "hidden_state" and step in (1, 3) else value

    signals = {edit: reference.run(module, call.x, call.hx, lengths, edit).signals for edit in (None, turn)}
    for one, found in signals.items():
        for edit in signals:
            again = reference.one_step_each(module, call.x, found, hx=call.hx, lengths=lengths, edit=edit)
            assert list(again) == list(found)
            assert all(close(again[place], found[place]) for place in found) == (edit is one)
