"""What the modules of our own promise of edits and gradients, and what they refuse.

- What edits and gradients promise in the modules of our own: those of a loop by hand with the same change.
- What the modules of our own refuse, and with which words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from custom_by_hand import (
    BATCH,
    GRUS,
    INPUTS,
    KINDS,
    LSTMS,
    ORDERS,
    TIME,
    UNITS,
    Change,
    Kind,
    by_hand,
    difference,
    inputs,
    listed,
)
from refusing import refused
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import probe
from probe import Signal
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def edits_of(signal: Signal, source: probe.Recording, step: int) -> list[tuple[probe.Edit, Change]]:
    """Return every kind of edit of one signal at a step, each with the same change for the loop by hand."""
    units = [1, 3]

    def at(function: Callable[[Tensor], Tensor]) -> Change:
        def change(name: str, t: int, value: Tensor) -> Tensor:
            if name != signal or t != step:
                return value
            value = value.clone()
            value[:, units] = function(value[:, units])
            return value

        return change

    put = source[signal][:, step][:, units]
    direction = torch.tensor([0.5, -1.5], dtype=torch.float64)
    site: dict[str, Any] = {"units": units, "steps": step}
    return [
        (probe.clamp(signal, 0.7, **site), at(lambda v: 0 * v + 0.7)),
        (probe.ablate(signal, kind="zero", **site), at(lambda v: 0 * v)),
        (probe.ablate(signal, kind="mean", reference=source, **site), at(lambda v: 0 * v + put.mean(0))),
        (probe.patch(signal, source, **site), at(lambda _: put)),
        (probe.steer(signal, direction, **site), at(lambda v: v + direction)),
        (probe.edit(signal, lambda value, _: value * value - 0.3, **site), at(lambda v: v * v - 0.3)),
    ]


@pytest.mark.parametrize("kind", ORDERS[1:], ids=str)
def test_every_edit_of_every_signal_enters_the_recurrence(kind: Kind) -> None:
    """An edit at the first, a middle and the last step equals the loop by hand with the same change."""
    module, x = kind.make(batch_first=True), inputs()
    source = probe.record(module, inputs(), signals=Signal)
    before, natural = probe.record(module, x, signals=Signal), by_hand(kind, module, x)
    for place, signal in enumerate(before.parts[0].signals):
        for number, step in enumerate((0, 3, TIME - 1)):
            # Half of the kinds at one signal, the other half at the next.
            edit, change = edits_of(signal, source, step)[number + 3 * (place % 2)]
            expected = by_hand(kind, module, x, change=change)
            found = probe.record(module, x, edits=[edit], signals=Signal)
            assert difference(found.parts[0].signals, expected) < 1e-11
            h, *last = listed(found.output)
            assert torch.equal(h, found["hidden_state"])
            assert torch.equal(last[0][0], h[:, -1])
            if len(last) > 1:
                assert torch.allclose(last[1][0], expected["cell_state"][:, -1], rtol=1e-11, atol=1e-11)
            # The control arm: the edit did something wherever it should, and nothing before its step.
            unmoved = torch.equal(expected[signal], natural[signal])
            assert torch.equal(found[signal], before[signal]) == unmoved
            assert torch.equal(h[:, :step], before["hidden_state"][:, :step])


@pytest.mark.parametrize("kind", ORDERS, ids=str)
def test_patching_with_its_own_recording_changes_no_bit(kind: Kind) -> None:
    """What was there already is put back: the output is the module's own, bit for bit, in single precision."""
    module, x = kind.make(batch_first=True).float(), inputs().float()
    recording = probe.record(module, x, signals=Signal)
    with torch.no_grad():
        own = listed(module(x))
        for signal in recording.parts[0].signals:
            with probe.intervene(module, probe.patch(signal, recording, steps=2)):
                assert all(torch.equal(a, b) for a, b in zip(listed(module(x)), own, strict=True))


def test_a_patched_cell_state_moves_the_output_gate_only_through_a_peephole() -> None:
    """With peepholes o follows from the new cell state, and without them it does not."""
    x = inputs()
    for kind, moves in ((LSTMS[1], True), (LSTMS[0], False)):
        module = kind.make(batch_first=True)
        edit = probe.clamp("cell_state", 3.0, steps=2, units=1)
        one, two = (probe.record(module, x, edits=edits)["output_gate"][:, 2] for edits in ([], [edit]))
        assert torch.equal(one[:, 1], two[:, 1]) != moves
        assert torch.equal(one[:, [0, 2, 3, 4]], two[:, [0, 2, 3, 4]])


@every_kind
def test_gradients_are_those_of_the_loop_by_hand(kind: Kind) -> None:
    """For the input and every parameter, peepholes and learned states among them."""
    module, x = kind.make(batch_first=True), inputs().requires_grad_()
    weight = torch.randn(BATCH, TIME, UNITS, dtype=torch.float64)
    reached = [x, *module.parameters()]
    h, *last = listed(module(x))
    found = torch.autograd.grad((h * weight).sum() + last[-1].sin().sum(), reached)
    expected = by_hand(kind, module, x)
    final = expected.get("cell_state", expected["hidden_state"])[:, -1]
    wanted = torch.autograd.grad((expected["hidden_state"] * weight).sum() + final.sin().sum(), reached)
    for ours, theirs in zip(found, wanted, strict=True):
        assert bool(theirs.any())
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [LSTMS[1], GRUS[0]], ids=str)
def test_gradients_are_finite_differences(kind: Kind) -> None:
    """Where the functions are smooth, small changes of the input and of the recurrent weights agree."""
    module = kind.make()
    x = torch.randn(3, 1, INPUTS, dtype=torch.float64, requires_grad=True)
    U = module.weight_hh_l0.detach().clone().requires_grad_()

    def run(x: Tensor, U: Tensor) -> Any:
        return torch.func.functional_call(module, {"weight_hh_l0": U}, (x,))[0]

    assert torch.autograd.gradcheck(run, (x, U), fast_mode=True)


@pytest.mark.parametrize("kind", ORDERS, ids=str)
@pytest.mark.parametrize("edited", [False, True])
def test_recorded_gradients_are_those_of_the_loop_by_hand(kind: Kind, edited: bool) -> None:
    """`gradient_of` gives the derivative with respect to every signal at every step, in an edited run too."""
    module, x = kind.make(batch_first=True), inputs()
    weight = torch.randn(BATCH, TIME, UNITS, dtype=torch.float64)
    edits = [probe.clamp("hidden_state", 0.3, steps=4, units=0)] if edited else []
    recording = probe.record(
        module, x, signals=Signal, edits=edits, gradient_of=lambda output: (output[0] * weight).sum()
    )
    taps: dict[tuple[str, int], Tensor] = {}

    def change(name: str, t: int, value: Tensor) -> Tensor:
        if edited and name == "hidden_state" and t == 4:
            value = torch.cat([torch.full_like(value[:, :1], 0.3), value[:, 1:]], 1)
        taps[name, t] = torch.zeros_like(value, requires_grad=True)
        return value + taps[name, t]

    h = by_hand(kind, module, x, change=change)["hidden_state"]
    gradients = torch.autograd.grad((h * weight).sum(), list(taps.values()))
    for (name, t), gradient in zip(taps, gradients, strict=True):
        assert torch.allclose(recording.gradient[name][:, t], gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CustomLSTM(3, 5, gate_activation="hard_sigmoid"),
        lambda: CustomLSTM(3, 5, output_activation="identity"),
        lambda: CustomRNN(3, 5, activation="Tanh"),
        lambda: CustomGRU(3, 5, reset="befor"),
        lambda: CustomGRU(0, 5),
        lambda: CustomLSTM(3, True),
    ],
)
def test_wrong_options_raise(make: Callable[[], Any]) -> None:
    """The message says what was given and what exists."""
    with refused():
        _ = make()


@pytest.mark.parametrize("through", ["call", "record", "unchecked"])
@pytest.mark.parametrize(
    "arguments",
    [
        (pack_sequence([torch.zeros(2, 3)]),),
        (torch.zeros(4, 7, 2),),
        (torch.zeros(4, 0, 3),),
        (torch.zeros(3),),
        (torch.zeros(4, 7, 3), torch.zeros(1, 4, 5)),
        (torch.zeros(4, 7, 3), (torch.zeros(1, 4, 5), torch.zeros(1, 7, 5))),
        (torch.zeros(7, 3), (torch.zeros(1, 1, 5),) * 2),
    ],
)
def test_wrong_calls_raise(through: str, arguments: tuple[Any, ...]) -> None:
    """The module itself refuses them, and a recording says the same."""
    module = CustomLSTM(3, 5, batch_first=True)
    checked, free = (partial(probe.record, module, check=check) for check in (True, False))
    call = {"call": module, "record": checked, "unchecked": free}[through]
    with refused():
        _ = call(*arguments)


def test_a_pair_of_states_for_a_gru_raises() -> None:
    """It takes one tensor."""
    states = torch.zeros(1, 4, 5)
    with refused():
        _ = CustomGRU(3, 5)(torch.zeros(7, 4, 3), (states, states))
