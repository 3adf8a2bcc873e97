"""The oracle of helpers/reference.py against torch's own modules: its control arm. Nothing here uses `probe`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reference
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

BATCH, TIME, INPUTS, UNITS = 4, 6, 3, 5

KINDS: dict[str, Callable[..., nn.RNNBase]] = {
    "lstm": nn.LSTM,
    "projected": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=2, **options),
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Compare values; the test of gradients asks for them."""
    with torch.no_grad():
        yield


def made(kind: str, **options: Any) -> nn.RNNBase:
    """Return a module in double precision."""
    return KINDS[kind](INPUTS, UNITS, **options).double()


def states(module: nn.RNNBase, batch: int = BATCH) -> Any:
    """Return random initial states as the module takes them."""
    number = len(reference.layers_of(module))
    h = torch.randn(number, batch, module.proj_size or UNITS, dtype=torch.float64)
    return (h, torch.randn(number, batch, UNITS, dtype=torch.float64)) if isinstance(module, nn.LSTM) else h


def inputs(module: nn.RNNBase, batch: int = BATCH) -> Tensor:
    """Return random inputs, batch first or not, as the module takes them."""
    x = torch.randn(batch, TIME, INPUTS, dtype=torch.float64)
    return x if module.batch_first else x.transpose(0, 1)


def close(one: Any, two: Any) -> bool:
    """Return whether two tensors, or two pairs of them, agree to rounding; NaN agrees with NaN."""
    if isinstance(one, tuple):
        return all(close(a, b) for a, b in zip(one, two, strict=True))
    return torch.allclose(one, two, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_oracle_is_torch(kind: str, bidirectional: bool, bias: bool, batch_first: bool, layers: int) -> None:
    """Output and last states are torch's, from zero and from given states; from other states they are not."""
    module = made(kind, num_layers=layers, bidirectional=bidirectional, bias=bias, batch_first=batch_first)
    x, hx = inputs(module), states(module)
    for given in (None, hx):
        output, final = module(x, given)
        ours = reference.run(module, x, given)
        assert close(ours.output, output)
        assert close(ours.final, final)
    assert not close(reference.run(module, x).output, module(x, hx)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[6, 6, 6, 6], [2, 6, 1, 4], [3, 1, 5, 5]])
def test_sequences_of_different_lengths_are_torchs_packed_ones(kind: str, lengths: list[int]) -> None:
    """Padded rows equal the module on a PackedSequence, and each row equals a run of its own."""
    module = made(kind, num_layers=2, bidirectional=True, batch_first=True)
    x, hx = inputs(module), states(module)
    x = x[:, : max(lengths)]
    ours = reference.run(module, x, hx, lengths)
    packed, final = module(pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False), hx)
    assert close(ours.output, pad_packed_sequence(packed, batch_first=True)[0])
    assert close(ours.final, final)
    for row, length in enumerate(lengths):
        own = hx[:, row : row + 1] if isinstance(hx, Tensor) else tuple(state[:, row : row + 1] for state in hx)
        alone = reference.run(module, x[row : row + 1, :length], own)
        for place, value in alone.signals.items():
            assert close(ours.signals[place][row, :length], value[0])
            assert bool(ours.signals[place][row, length:].isnan().all())
    if len(set(lengths)) > 1:
        # The control arm: padding that is read as input gives something else.
        assert not close(reference.run(module, x, hx).final, final)


@pytest.mark.parametrize("kind", KINDS)
def test_the_signals_are_named_in_the_order_of_computation(kind: str) -> None:
    """An edit is called with every signal of every step, layer by layer, a reverse layer from its last input."""
    module = made(kind, num_layers=2, bidirectional=True)
    calls: list[tuple[str, str, int]] = []

    def note(layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        assert value.shape[0] == BATCH
        calls.append((layer, signal, step))
        return value

    ours = reference.run(module, inputs(module), edit=note)
    steps = {
        "[0]": range(TIME),
        "[0].reverse": range(TIME)[::-1],
        "[1]": range(TIME),
        "[1].reverse": range(TIME)[::-1],
    }
    names = reference.signals_of(module)
    assert calls == [(layer, name, step) for layer, order in steps.items() for step in order for name in names]
    assert list(ours.signals) == [(layer, name) for layer in steps for name in names]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ["[0]", "[0].reverse", "[1]", "[1].reverse"])
def test_an_edit_is_used_from_there_on(kind: str, layer: str) -> None:
    """Any edited signal keeps what is before it and changes what is after it: step, layer, layers above, output."""
    module = made(kind, num_layers=2, bidirectional=True, batch_first=True)
    x, names, at = inputs(module), reference.signals_of(module), 3
    bare = reference.run(module, x)
    before, after = (slice(at), slice(at + 1, None))
    if layer.endswith(".reverse"):
        before, after = after, before
    for number, name in enumerate(names):

        def shift(where: str, signal: str, step: int, value: Tensor, name: str = name) -> Tensor:
            return value + 0.3 if (where, signal, step) == (layer, name, at) else value

        ours = reference.run(module, x, edit=shift)
        for place, signal in ((name, name), *((other, name) for other in names[:number])):
            assert close(ours.signals[layer, place][:, before], bare.signals[layer, place][:, before])
            change = ours.signals[layer, place][:, at] - bare.signals[layer, place][:, at]
            assert close(change, torch.full_like(change, 0.3 if place == signal else 0.0))
        assert not close(ours.signals[layer, "hidden_state"][:, after], bare.signals[layer, "hidden_state"][:, after])
        assert not close(ours.output, bare.output)
        for other in reference.layers_of(module):
            same = close(ours.signals[other, "hidden_state"], bare.signals[other, "hidden_state"])
            assert same == (other != layer and not (layer < "[1]" <= other))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 2, TIME - 1])
def test_an_edited_state_is_where_torch_goes_on_from(kind: str, at: int) -> None:
    """After an edit of the states, the rest of the run is torch's own, begun from what was put there."""
    module = made(kind, batch_first=True)
    x = inputs(module)
    put = states(module)
    values = dict(zip(("hidden_state", "cell_state"), put if isinstance(put, tuple) else (put,), strict=False))

    def place(_layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        return values[signal][0] if step == at and signal in values else value

    ours = reference.run(module, x, edit=place)
    if at + 1 < TIME:
        rest, final = module(x[:, at + 1 :], put)
        assert close(ours.output[:, at + 1 :], rest)
        assert close(ours.final, final)
    else:
        assert close(ours.final, put)
    assert close(ours.output[:, :at], module(x)[0][:, :at])


def test_edited_gates_do_what_the_formulas_say() -> None:
    """With f = 0 and i = 1 the cell is g, with o = 1 h is tanh(c); with z = 1 a GRU keeps h, with z = 0 it is n."""
    lstm, gru = made("lstm"), made("gru")

    def fix(**values: float) -> reference.Edit:
        return lambda _layer, signal, _step, value: (
            torch.full_like(value, values[signal]) if signal in values else value
        )

    run = reference.run(lstm, inputs(lstm), edit=fix(forget_gate=0.0, input_gate=1.0, output_gate=1.0)).signals
    assert torch.equal(run["[0]", "cell_state"], run["[0]", "cell_candidate"])
    assert torch.equal(run["[0]", "hidden_state"], torch.tanh(run["[0]", "cell_candidate"]))
    hx = states(gru)
    kept = reference.run(gru, inputs(gru), hx, edit=fix(update_gate=1.0)).signals["[0]", "hidden_state"]
    assert torch.equal(kept, hx[0][:, None].expand_as(kept))
    run = reference.run(gru, inputs(gru), hx, edit=fix(update_gate=0.0)).signals
    assert torch.equal(run["[0]", "hidden_state"], run["[0]", "candidate"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [None, [2, 6, 1, 4]])
def test_single_steps_give_the_run(kind: str, lengths: list[int] | None) -> None:
    """One step from each recorded state gives the recorded signals, edited or not; from a wrong recording not."""
    module = made(kind, num_layers=2, bidirectional=True)
    x, hx = inputs(module), states(module)

    def turn(_layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        return torch.cos(value) if signal == "hidden_state" and step in (1, 3) else value

    for edit in (None, turn):
        signals = reference.run(module, x, hx, lengths, edit).signals
        again = reference.one_step_each(module, x, signals, hx=hx, lengths=lengths, edit=edit)
        assert list(again) == list(signals)
        assert all(close(again[place], signals[place]) for place in signals)
        wrong = reference.one_step_each(module, x, signals, hx=hx, lengths=lengths, edit=None if edit else turn)
        assert not all(close(wrong[place], signals[place]) for place in signals)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [None, [2, 6, 1, 4]])
def test_gradients_are_torchs(kind: str, lengths: list[int] | None) -> None:
    """Weights and inputs get torch's gradients, whatever an edit returns for rows that have ended."""
    module = made(kind, num_layers=2, bidirectional=True, batch_first=True)
    x = inputs(module).requires_grad_(True)

    def spoil(_layer: str, _signal: str, step: int, value: Tensor) -> Tensor:
        ended = torch.tensor([length <= step for length in lengths or [TIME] * BATCH])
        return torch.where(ended[:, None], torch.nan, value)

    with torch.enable_grad():
        ours = reference.run(module, x, lengths=lengths, edit=spoil).output
        if lengths is None:
            output = module(x)[0]
        else:
            packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
            output = pad_packed_sequence(module(packed)[0], batch_first=True)[0]
        wanted = [x, *module.parameters()]
        found = [torch.autograd.grad(value.sin().sum(), wanted) for value in (ours, output)]
    assert close(*found)
    assert all(gradient.abs().max() > 0 for gradient in found[0])
