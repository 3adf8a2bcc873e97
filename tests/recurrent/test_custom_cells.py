"""What the modules of our own promise: the equations that torch's cannot express, recorded like torch's."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import pytest
import torch
from custom_by_hand import (
    BATCH,
    GRUS,
    INPUTS,
    KINDS,
    LSTMS,
    TIME,
    UNITS,
    Kind,
    as_hx,
    by_hand,
    difference,
    inputs,
    listed,
    some_states,
)
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


@every_kind
@pytest.mark.parametrize("states_given", [False, True])
def test_output_and_signals_satisfy_the_equations(kind: Kind, states_given: bool) -> None:
    """The output, the last states and every signal agree with a loop written by hand, from any initial state."""
    module, x = kind.make(batch_first=True), inputs()
    states = some_states(kind) if states_given else None
    arguments = (x, as_hx(states)) if states else (x,)
    expected = by_hand(kind, module, x, states)
    recording = probe.record(module, *arguments, signals=Signal)
    assert difference(recording.parts[0].signals, expected) < 1e-12
    assert recording.max_error is not None
    assert recording.max_error < 1e-12
    h, *last = listed(module(*arguments))
    assert torch.allclose(h, expected["hidden_state"], rtol=1e-12, atol=1e-12)
    for name, value in zip(("hidden_state", "cell_state"), last, strict=False):
        assert torch.allclose(value, expected[name][None, :, -1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("one", "two"), list(itertools.permutations(LSTMS, 2)), ids=str)
def test_equations_of_other_lstm_options_would_be_noticed(one: Kind, two: Kind) -> None:
    """The control arm: the same weights under other options give other signals, so agreement means something."""
    module, x = one.make(batch_first=True), inputs()
    # Options that say which parameters exist are read off the module, so only the functions are exchanged.
    named = ("gate_activation", "activation", "output_activation")
    functions = [[kind.options.get(name) for name in named] for kind in (one, two)]
    far = (probe.record(module, x)["hidden_state"] - by_hand(two, module, x)["hidden_state"]).abs().max() > 1e-2
    assert bool(far) == (functions[0] != functions[1])


@pytest.mark.parametrize("other", ["reset", "gate_activation", "activation"])
def test_equations_of_other_gru_options_would_be_noticed(other: str) -> None:
    """The control arm: with the reset gate on the other side, or another function, the loop disagrees."""
    kind = GRUS[0]
    instead = {"reset": "after", "gate_activation": "hard_sigmoid_keras2", "activation": "linear"}
    module, x = kind.make(batch_first=True), inputs()
    wrong = by_hand(Kind(CustomGRU, {**kind.options, other: instead[other]}), module, x)
    assert (module(x)[0] - wrong["hidden_state"]).abs().max() > 1e-2


def test_peepholes_look_at_the_cell_state_of_their_own_step() -> None:
    """The control arm: without peepholes, or with one of them left out, the loop disagrees."""
    kind = LSTMS[1]
    module, x = kind.make(batch_first=True), inputs()
    for gate in "ifo":
        without = copy.deepcopy(module)
        with torch.no_grad():
            getattr(without, f"weight_peephole_{gate}").zero_()
        assert (module(x)[0] - by_hand(kind, without, x)["hidden_state"]).abs().max() > 1e-2


@pytest.mark.parametrize("two", ["hard_sigmoid_keras2", "hard_sigmoid_keras3"])
@pytest.mark.parametrize("one", ["hard_sigmoid_keras2", "hard_sigmoid_keras3"])
def test_the_two_hard_sigmoids_are_told_apart(one: str, two: str) -> None:
    """Keras 2 and Keras 3 mean two functions by one name, and each module computes its own."""
    kinds = [Kind(CustomLSTM, {"gate_activation": name}) for name in (one, two)]
    module, x = kinds[0].make(batch_first=True), inputs()
    far = (module(x)[0] - by_hand(kinds[1], module, x)["hidden_state"]).abs().max()
    assert (far < 1e-12) == (one == two)


PLAIN = [
    (lambda **more: CustomLSTM(INPUTS, UNITS, **more), lambda **more: nn.LSTM(INPUTS, UNITS, **more)),
    (lambda **more: CustomGRU(INPUTS, UNITS, reset="after", **more), lambda **more: nn.GRU(INPUTS, UNITS, **more)),
    (lambda **more: CustomRNN(INPUTS, UNITS, **more), lambda **more: nn.RNN(INPUTS, UNITS, **more)),
    (
        lambda **more: CustomRNN(INPUTS, UNITS, activation="relu", **more),
        lambda **more: nn.RNN(INPUTS, UNITS, nonlinearity="relu", **more),
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), PLAIN)
@pytest.mark.parametrize("bias", [True, False])
def test_with_plain_options_the_parameters_are_torchs(ours: Any, theirs: Any, bias: bool) -> None:
    """Names, shapes, order and, from one seed, the drawn numbers too."""
    torch.manual_seed(3)
    one = ours(bias=bias).state_dict()
    torch.manual_seed(3)
    two = theirs(bias=bias).state_dict()
    assert list(one) == list(two)
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize(("ours", "theirs"), PLAIN)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_with_plain_options_a_call_is_torchs(ours: Any, theirs: Any, batch_first: bool, grad: bool) -> None:
    """Batched or not, with states or without: the outputs have torch's form and its numbers to 1e-12."""
    one, two = ours(batch_first=batch_first).double(), theirs(batch_first=batch_first).double()
    two.load_state_dict(one.state_dict())
    x = torch.randn(BATCH, TIME, INPUTS, dtype=torch.float64)
    rows = BATCH if batch_first else TIME
    pair = isinstance(two, nn.LSTM)
    states = [torch.randn(2, 1, rows, UNITS, dtype=torch.float64), torch.randn(2, 1, UNITS, dtype=torch.float64)]
    states = [tuple(state) if pair else state[0] for state in states]
    with torch.set_grad_enabled(grad):
        for arguments in ((x,), (x[0],), (x, states[0]), (x[0], states[1])):
            for a, b in zip(listed(one(*arguments)), listed(two(*arguments)), strict=True):
                assert a.shape == b.shape
                assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "learned_initial_state" in kind.options], ids=str)
def test_a_learned_initial_state_is_where_a_run_begins(kind: Kind) -> None:
    """It is recorded as the initial state, gives way to one that is given, and begins as zero."""
    module, x = kind.make(batch_first=True), inputs()
    recording = probe.record(module, x)
    names = ("hidden_state", "cell_state")[: kind.module.states]
    assert tuple(recording.initial) == names
    for name, parameter in zip(names, (module.h_0, module.c_0), strict=False):
        assert torch.equal(recording.initial[Signal(name)], parameter.detach().expand(BATCH, UNITS))
    states = some_states(kind)
    given = probe.record(module, x, as_hx(states))
    assert all(torch.equal(given.initial[Signal(name)], state) for name, state in zip(names, states, strict=True))
    assert not torch.allclose(given["hidden_state"], recording["hidden_state"], rtol=0, atol=1e-2)
    fresh = kind.module(INPUTS, UNITS, **kind.options)
    assert not bool(fresh.h_0.any())
    assert bool(fresh.weight_hh_l0.any())


@every_kind
def test_recording_leaves_the_output_and_the_module_as_they_were(kind: Kind) -> None:
    """The recorded output is the bare call's, bit for bit; so it is with check=False, which compares nothing."""
    module, x = kind.make(batch_first=True).float(), inputs().float()
    before = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        bare = listed(module(x))
    checked, free = probe.record(module, x, signals=Signal), probe.record(module, x, signals=Signal, check=False)
    assert all(torch.equal(a, b) for a, b in zip(listed(checked.output), bare, strict=True))
    assert free.max_error is None
    assert checked.max_error is not None
    assert checked.max_error < 1e-5
    for signal, value in checked.parts[0].signals.items():
        assert torch.allclose(free[signal], value, rtol=1e-5, atol=1e-5)
    assert torch.allclose(listed(free.output)[0], bare[0], rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert "forward" not in vars(module)


class Replaced(CustomGRU):
    """A GRU whose forward does something else."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return hidden states that its weights do not give."""
        h, last = super().forward(input, hx)
        return h * 1.01, last


def test_a_forward_that_is_not_what_the_weights_say_is_noticed() -> None:
    """The control arm of max_error: the check raises, and check=False refuses to pass over it."""
    module = Replaced(INPUTS, UNITS)
    x = torch.randn(TIME, BATCH, INPUTS)
    with refused():
        _ = probe.record(module, x)
    with refused():
        _ = probe.record(module, x, check=False)


@pytest.mark.parametrize("kind", [LSTMS[1], GRUS[0]], ids=str)
def test_a_network_whose_rounding_errors_grow_is_opened_from_its_own_states(kind: Kind) -> None:
    """A free-running copy of a chaotic network in single precision drifts away; a recording does not."""
    module = kind.make(batch_first=True).float()
    with torch.no_grad():
        module.weight_hh_l0.mul_(5)
        for gate in "ifo" if module.weight_peephole_i is not None else "":
            # Large peepholes would make a chaos of the cell state alone, of which a module returns the last only.
            getattr(module, f"weight_peephole_{gate}").mul_(0.1)
        x = torch.randn(16, 200, INPUTS)
        drifting = by_hand(kind, module, x)["hidden_state"]
    recording = probe.record(module, x)
    assert recording.max_error is not None
    assert recording.max_error < 1e-5
    assert (recording["hidden_state"] - drifting).abs().max() > 0.1


class Model(nn.Module):
    """Two of our modules and one of torch's in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.low = CustomLSTM(INPUTS, UNITS, peepholes=True, batch_first=True)
        self.encoder = nn.ModuleList([CustomGRU(UNITS, UNITS, batch_first=True)])
        self.high = nn.LSTM(UNITS, UNITS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden states."""
        return self.high(self.encoder[0](self.low(x)[0])[0])[0][:, -1]


def test_inside_a_model_they_are_layers_like_others() -> None:
    """They are found by name, described, watched and edited, and what stands above them sees the edit."""
    model, x = Model(), torch.randn(BATCH, TIME, INPUTS)
    described = probe.inspect(model)
    assert [layer.name for layer in described.layers] == ["low[0]", "encoder.0[0]", "high[0]"]
    low, gru, _ = described.layers
    assert (low.cell, low.inputs, low.units, low.projected) == ("CustomLSTM", INPUTS, UNITS, None)
    assert low.parameters == sum(p.numel() for p in model.low.parameters())
    assert low.signals.index(Signal.CELL_STATE) < low.signals.index(Signal.OUTPUT_GATE_PREACTIVATION)
    assert gru.signals.index(Signal.RESET_GATE) < gru.signals.index(Signal.CANDIDATE_RECURRENT)
    with probe.watch(model) as recordings:
        output = model(x)
    assert recordings[0]["low[0]", "cell_state"].shape == (BATCH, TIME, UNITS)
    with probe.intervene(model, probe.clamp("reset_gate", 1.0, steps=2)):
        edited = model(x)
    assert not torch.equal(edited, output)
    assert torch.equal(model(x), output)


def test_inspect_counts_learned_states() -> None:
    """They are parameters of the layer."""
    module = CustomLSTM(INPUTS, UNITS, peepholes=True, learned_initial_state=True)
    assert probe.inspect(module).layers[0].parameters == sum(p.numel() for p in module.parameters())


@every_kind
def test_a_state_dict_brings_a_module_back(kind: Kind) -> None:
    """Saved, loaded into a new module, or the module copied whole: the outputs are the same bits."""
    module, x = kind.make(batch_first=True), inputs()
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = kind.make(batch_first=True)
    assert not torch.equal(other(x)[0], module(x)[0])
    other.load_state_dict(torch.load(file, weights_only=True))
    for again in (other, copy.deepcopy(module)):
        assert torch.equal(again(x)[0], module(x)[0])


def test_a_parametrized_weight_is_read_as_it_is_now() -> None:
    """A peephole under weight normalisation or pruning is computed, as in torch's modules."""
    module, x = LSTMS[1].make(batch_first=True), inputs()
    twice = copy.deepcopy(module)
    with torch.no_grad():
        twice.weight_peephole_o.mul_(2)

    class Twice(nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            return 2 * value

    nn.utils.parametrize.register_parametrization(module, "weight_peephole_o", Twice())
    assert torch.equal(module(x)[0], twice(x)[0])
    assert torch.equal(probe.record(module, x)["output_gate"], probe.record(twice, x)["output_gate"])


def test_its_repr_says_its_options() -> None:
    """Sizes and every option by name."""
    assert repr(CustomGRU(3, 5, batch_first=True)) == (
        "CustomGRU(3, 5, reset='before', gate_activation='sigmoid', activation='tanh', "
        "learned_initial_state=False, bias=True, batch_first=True)"
    )
