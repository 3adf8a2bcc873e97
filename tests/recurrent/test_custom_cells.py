"""The modules of our own against the oracle: equations that torch's cannot express, recorded and edited alike."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reference
import torch
from comparing import distance, farthest, flat, recorded
from custom_by_hand import BATCH, GRUS, INPUTS, KINDS, LSTMS, RNNS, TIME, UNITS, Kind, inputs, states_of
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import probe
from probe import Signal
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


@every_kind
@pytest.mark.parametrize("given", [False, True])
def test_output_and_signals_satisfy_the_equations(kind: Kind, given: bool) -> None:
    """Output, last states, every signal, and the derivatives by inputs and weights, from any initial state."""
    module, x = kind.make(batch_first=True), inputs().requires_grad_()
    hx = states_of(kind) if given else None
    assert all(module.options.get(name, value) == value for name, value in kind.options.items())
    expected = reference.run(module, x, hx)
    recording: Any = probe.record(module, *((x, hx) if given else (x,)), signals=Signal)
    assert farthest(recorded(recording), expected.signals) < 1e-12
    assert recording.max_error < 1e-12
    names = ("hidden_state", "cell_state")[: kind.module.states]
    first = reference.initial(module, "[0]", x, hx)
    assert all(torch.equal(recording.initial[name], first[name]) for name in names)
    found, wanted = flat(module(x, hx)), flat((expected.output, expected.final))
    assert all(distance(one, two) < 1e-12 for one, two in zip(found, wanted, strict=True))
    weight = torch.randn(BATCH, TIME, UNITS, dtype=torch.float64)
    leaves = [x, *(one for name, one in module.named_parameters() if not (given and name in ("h_0", "c_0")))]
    both = [
        torch.autograd.grad((h * weight).sum() + sum(part.sin().sum() for part in last), leaves)
        for h, *last in (found, wanted)
    ]
    assert all(bool(one.any()) and distance(one, two) < 1e-10 for one, two in zip(*both, strict=True))


@pytest.mark.parametrize("kind", [LSTMS[1], GRUS[0]], ids=str)
def test_equations_of_other_options_would_be_noticed(kind: Kind) -> None:
    """The control arm: the oracle with another option, or without a peephole, gives other states."""
    module, x = kind.make(batch_first=True), inputs()
    h = probe.record(module, x)["hidden_state"]
    others: list[Any] = [("gate_activation", "hard_sigmoid_keras2"), ("activation", "linear")]
    others += [("reset", "after")] if kind is GRUS[0] else [("output_activation", "relu"), *"ifo"]
    for change in others:
        other = copy.deepcopy(module)
        if isinstance(change, str):
            nn.init.zeros_(getattr(other, f"weight_peephole_{change}"))
        else:
            other.options[change[0]] = change[1]
        assert distance(h, reference.run(other, x).output) > 1e-2


@pytest.mark.parametrize("kind", [LSTMS[5], GRUS[2], RNNS[1]], ids=str)
def test_every_signal_of_own_modules_can_be_edited(kind: Kind) -> None:
    """Signals and derivatives are the oracle's with the same change; a value that is put back changes no bit."""
    module, x = kind.make(batch_first=True), inputs()
    weight = torch.randn(BATCH, TIME, UNITS, dtype=torch.float64)
    bare = probe.record(module, x, signals=Signal)
    for number, signal in enumerate(bare.parts[0].signals):
        step = (0, 3, TIME - 1)[number % 3]
        taps: dict[tuple[str, int], Tensor] = {}

        def change(_layer: str, name: str, t: int, value: Tensor, at: Any = (signal, step), taps: Any = taps) -> Any:
            if (name, t) == at:
                value = torch.where(torch.arange(UNITS) % 2 == 1, value * value - 0.3, value)
            taps[name, t] = torch.zeros_like(value, requires_grad=True)
            return value + taps[name, t]

        edit = probe.edit(signal, lambda value, _: value * value - 0.3, units=[1, 3], steps=step)
        found = probe.record(
            module, x, edits=[edit], signals=Signal, gradient_of=lambda output: (output[0] * weight).sum()
        )
        expected = reference.run(module, x, edit=change)
        assert farthest(recorded(found), expected.signals) < 1e-11
        wanted = flat((expected.output, expected.final))
        assert all(distance(one, two) < 1e-11 for one, two in zip(flat(found.output), wanted, strict=True))
        gradients = torch.autograd.grad((expected.output * weight).sum(), list(taps.values()))
        for (name, t), gradient in zip(taps, gradients, strict=True):
            assert distance(found.gradient[name][:, t], gradient) < 1e-10
        assert not torch.equal(found[signal], bare[signal])
        with torch.no_grad(), probe.intervene(module, probe.patch(signal, bare, steps=step)):
            assert all(torch.equal(a, b) for a, b in zip(flat(module(x)), flat(bare.output), strict=True))


PLAIN: list[Any] = [
    (CustomLSTM, nn.LSTM),
    (partial(CustomGRU, reset="after"), nn.GRU),
    (CustomRNN, nn.RNN),
    (partial(CustomRNN, activation="relu"), partial(nn.RNN, nonlinearity="relu")),
]


@pytest.mark.parametrize(("ours", "theirs"), PLAIN)
@pytest.mark.parametrize(("batch_first", "bias"), [(True, True), (False, False)])
def test_with_plain_options_they_are_torchs(ours: Any, theirs: Any, batch_first: bool, bias: bool) -> None:
    """Parameters have torch's names, shapes and, from one seed, numbers; a call has torch's forms and numbers."""
    torch.manual_seed(3)
    one = ours(INPUTS, UNITS, batch_first=batch_first, bias=bias)
    torch.manual_seed(3)
    two = theirs(INPUTS, UNITS, batch_first=batch_first, bias=bias)
    assert list(one.state_dict()) == list(two.state_dict())
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))
    one, two, x = one.double(), two.double(), torch.randn(BATCH, TIME, INPUTS, dtype=torch.float64)
    h = torch.randn(1, BATCH if batch_first else TIME, UNITS, dtype=torch.float64)
    pair = theirs is nn.LSTM
    for arguments in ((x,), (x[0],), (x, (h, h) if pair else h), (x[0], (h[:, 0], h[:, 0]) if pair else h[:, 0])):
        for a, b in zip(flat(one(*arguments)), flat(two(*arguments)), strict=True):
            assert a.shape == b.shape
            assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_wrong_options_raise() -> None:
    """The message says what was given and what exists."""
    makes: list[Callable[[], Any]] = [
        lambda: CustomLSTM(3, 5, gate_activation="hard_sigmoid"),
        lambda: CustomLSTM(3, 5, output_activation="identity"),
        lambda: CustomRNN(3, 5, activation="Tanh"),
        lambda: CustomGRU(3, 5, reset="befor"),
        lambda: CustomGRU(0, 5),
        lambda: CustomLSTM(3, True),
        lambda: CustomGRU(3, 5)(torch.zeros(7, 4, 3), (torch.zeros(1, 4, 5), torch.zeros(1, 4, 5))),
    ]
    for make in makes:
        with refused():
            _ = make()


def test_wrong_calls_raise() -> None:
    """The module itself refuses them, and a recording says the same."""
    module, h = CustomLSTM(3, 5, batch_first=True), torch.zeros(1, 4, 5)
    calls: list[tuple[Any, ...]] = [
        (pack_sequence([torch.zeros(2, 3)]),),
        (torch.zeros(4, 7, 2),),
        (torch.zeros(4, 0, 3),),
        (torch.zeros(3),),
        (torch.zeros(4, 7, 3), h),
        (torch.zeros(4, 7, 3), (h, torch.zeros(1, 7, 5))),
        (torch.zeros(7, 3), (torch.zeros(1, 1, 5),) * 2),
    ]
    for arguments in calls:
        for through in (module, partial(probe.record, module), partial(probe.record, module, check=False)):
            with refused():
                _ = through(*arguments)
