"""What `probe.sweep` promises: each edit's output is that of a run of its own. What is drawn tries its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bodies import BATCH, INPUTS, TIME, UNITS, Model, agree, hidden, loop, lstm, some
from torch import Tensor, nn

import probe
from probe.hooks.sweeping import sweep as sweeping
from probe.recurrent import CustomRNN, kernels
from probe.recurrent.again.blocks import Read

pytestmark = pytest.mark.usefixtures("double")
Swept = tuple[nn.Module, tuple[Any, ...], list[probe.Edit]]


def randn(*shape: int) -> Tensor:
    """Return inputs; (batch, time, input) where nothing else is said."""
    return torch.randn(shape or (BATCH, TIME, INPUTS))


def in_pairs(self: Any, x: Tensor) -> Tensor:
    """Call a cell in a loop, for two rows a row of the input."""
    return loop(self, torch.cat([x, -x], 1).reshape(-1, *x.shape[1:])).reshape(len(x), -1, UNITS)


def residual(self: Any, x: Tensor, scale: Tensor) -> dict[str, Any]:
    """Use the input, and a second one, beside the LSTM; return whole numbers, truth values and words too."""
    h = self.rnn(self.before(x))[0]
    return {"h": h + self.before(x) * scale, "both": (h.mean(1), [h.argmax(-1), h > 0]), "name": "a", "no": None}


def in_cells() -> Swept:
    """Rows of a cell are not those of the caller's batch."""
    edits = [probe.clamp("hidden_state", 0.4, steps=steps) for steps in (0, [2, 3], 6, None)]
    return Model(in_pairs, cell=nn.LSTMCell(3, 5)), (randn(),), [*edits, probe.clamp("hidden_state", 0.4, rows=[7])]


CASES: dict[str, Callable[[], Swept]] = {
    "a path around, a second input and nested outputs": lambda: (
        Model(residual, before=nn.Linear(INPUTS, UNITS), rnn=lstm(UNITS, num_layers=2)),
        (randn(), randn(BATCH, 1, 1)),
        [*some(layer="rnn[0]"), *some(layer="rnn[1]")],
    ),
    "two layers in a row": lambda: (
        Model(lambda m, x: m.b(m.a(x)[0])[0], a=lstm(), b=lstm(UNITS, bidirectional=True)),
        (randn(),),
        [some(layer=name)[n] for n in range(5) for name in ("a[0]", "b[0]", "b[0].reverse")],
    ),
    "rows in pairs": lambda: (hidden(lambda h: h.unflatten(0, (-1, 2)).sum(1)), (randn(6, TIME, INPUTS),), some()),
    "one edit": lambda: (hidden(), (randn(),), some()[:1]),
    "several sequences a row": lambda: (
        Model(lambda m, x: m.rnn(x.flatten(0, 1))[0].unflatten(0, x.shape[:2]), rnn=lstm()),
        (randn(3, 2, TIME, INPUTS),),
        some(),
    ),
    "cells": in_cells,
    "states": lambda: (nn.LSTM(INPUTS, UNITS), (randn(TIME, 3, INPUTS), tuple(randn(2, 1, 3, UNITS))), some()),
    "states of one row": lambda: (lstm(), (randn(1, TIME, INPUTS), tuple(randn(2, 1, 1, UNITS))), some()),
    "custom rnn": lambda: (CustomRNN(INPUTS, UNITS, learned_initial_state=True), (randn(TIME, 4, INPUTS),), some()),
}


@pytest.mark.parametrize("name", CASES)
def test_each_edit_of_a_sweep_has_the_output_of_its_own_run(name: str) -> None:
    """Whatever stands around the layers, whichever rows and calls are theirs."""
    model, inputs, edits = CASES[name]()
    agree(model, *inputs, edits=edits)


def tutorial(m: Any, x: Tensor, hidden: Any) -> Any:
    """Read (time, batch) symbols, as the model of torch's own tutorial, and return (time x batch, symbol)."""
    h, hidden = m.rnn(m.encoder(x), hidden)
    return m.decoder(h).view(-1, 6).log_softmax(1), hidden


TIME_FIRST: dict[str, Callable[[int], tuple[nn.Module, tuple[Any, ...]]]] = {
    "language model": lambda rows: (
        Model(tutorial, encoder=nn.Embedding(6, 3), decoder=nn.Linear(UNITS, 6), rnn=nn.LSTM(3, UNITS, 2)),
        (torch.randint(6, (TIME, rows)), tuple(randn(2, 2, rows, UNITS).unbind(0))),
    ),
    "states": lambda rows: (hidden(rnn=nn.LSTM(INPUTS, UNITS)), ()),
    "last": lambda rows: (hidden(lambda h: h[-1], nn.LSTM(INPUTS, UNITS)), ()),
    "transposed": lambda rows: (hidden(lambda h: h.transpose(0, 1), nn.LSTM(INPUTS, UNITS)), ()),
    "flat by row": lambda rows: (hidden(lambda h: h.transpose(0, 1).flatten(0, 1), nn.LSTM(INPUTS, UNITS)), ()),
    "flat by step": lambda rows: (hidden(lambda h: h.flatten(0, 1), nn.LSTM(INPUTS, UNITS)), ()),
    "flat": lambda rows: (hidden(torch.flatten, nn.LSTM(INPUTS, UNITS)), ()),
    "lengths": lambda rows: (
        Model(lambda m, x, ends: m.rnn(x)[0][ends - 1, torch.arange(len(ends))], rnn=nn.LSTM(INPUTS, UNITS)),
        (randn(TIME, rows, INPUTS), torch.arange(rows) % TIME + 1),
    ),
    "both ways": lambda rows: (Model(lambda m, x: m.rnn(x), rnn=nn.GRU(INPUTS, UNITS, 2, bidirectional=True)), ()),
    "cell": lambda rows: (Model(lambda m, x: loop(m, x.transpose(0, 1)), cell=nn.LSTMCell(INPUTS, UNITS)), ()),
    "batch first inside": lambda rows: (Model(lambda m, x: m.rnn(x.transpose(0, 1))[0], rnn=lstm()), ()),
}


@pytest.mark.parametrize(
    ("name", "rows", "memory"),
    [
        *((name, BATCH, 16_000_000) for name in TIME_FIRST),
        *((name, 2, 1) for name in ("language model", "flat by row", "cell")),
        *((name, rows, 16_000_000) for name in ("states", "flat by step") for rows in (1, TIME)),
        ("language model", 2, 16_000_000),
    ],
)
def test_a_time_first_model_is_swept(name: str, rows: int, memory: int) -> None:
    """Along `batch_axis=1`, in turns and at once, however the rows lie in the output, as many as steps or one."""
    model, inputs = TIME_FIRST[name](rows)
    layer = probe.inspect(model).layers[0].name
    edits = [
        probe.clamp("hidden_state", 0.5, layer=layer, steps=0),
        probe.clamp("hidden_state", -0.5, layer=layer, units=[1], steps=[2, 4]),
        probe.steer("hidden_state", torch.ones(UNITS), layer=layer, rows=rows - 1),
        probe.clamp("hidden_state", 0.1, layer=layer, steps=3),
    ]
    _ = agree(model, *(inputs or (randn(TIME, rows, INPUTS),)), edits=edits, batch_axis=1, memory=memory)


@pytest.mark.parametrize("change", [lambda h: h, lambda h: h[:, -1], lambda h: h.movedim(0, 2), torch.flatten])
@pytest.mark.parametrize("rows", [1, 2, 3, 40])
def test_any_number_of_rows_is_swept(change: Callable[[Tensor], Tensor], rows: int) -> None:
    """Whatever axis of the output the batch is on, alone or beside others."""
    agree(hidden(change), randn(rows, TIME, INPUTS), edits=some()[:4])


def test_keywords_are_repeated_as_arguments_are() -> None:
    """States of a bare module, whose batch is on another axis."""
    x, state = randn(3, TIME, INPUTS), tuple(randn(2, 1, 3, UNITS))
    one, two = (agree(module := lstm(), x, edits=some(), kwargs={"hx": state}), module)
    assert torch.equal(one[0], probe.sweep(two, x, state, edits=some())[0])


def test_little_memory_takes_turns(x: Tensor) -> None:
    """Memory for one edit takes a run an edit, and more memory fewer, with the same result."""
    model, x = hidden(), x.double()
    whole = probe.sweep(model, x, edits=some())
    counts = [model.times_called]
    for memory in (1, 20_000):
        model.times_called = 0
        assert torch.allclose(probe.sweep(model, x, edits=some(), memory=memory), whole, rtol=0, atol=1e-12)
        counts.append(model.times_called)
    # The clean run and two comparisons come with each; rows are asked whether they depend on those of other edits.
    assert counts[:2] == [5, 8]
    assert counts[0] < counts[2] < counts[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_edit_that_changes_nothing_changes_no_bit(dtype: torch.dtype) -> None:
    """One edit with the run's own values gives the bare call's output, to the bit."""
    module, x = lstm(num_layers=2).to(dtype), randn().to(dtype)
    edit = probe.patch("cell_state", probe.record(module, x), layer="[0]", steps=3)
    (swept, states), (bare, last) = probe.sweep(module, x, edits=[edit]), module(x)
    assert all(torch.equal(one[0], two) for one, two in zip((swept, *states), (bare, *last), strict=True))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_rows_that_take_turns_agree(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are run a few at a time, the last turn smaller than the others, give what they give together."""
    monkeypatch.setattr(kernels, "_IN_CACHE", 7 * 8 * 3 * UNITS)
    agree(kind(INPUTS, UNITS, batch_first=True), randn(), edits=some())


def test_a_model_may_overwrite_what_a_layer_read_or_returned() -> None:
    """The clean run is a copy: a model that works in place gets the same outputs, and the input stays."""

    def overwriting(self: Any, x: Tensor) -> Tensor:
        x.add_(1)
        h, (h_n, c_n) = self.rnn(x)
        result = torch.cat([h, h_n.transpose(0, 1), c_n.transpose(0, 1)], 1)
        for used in (x, h, h_n, c_n):
            used.zero_()
        return result

    model, x = Model(overwriting, rnn=lstm()), randn()
    kept = x.clone()
    swept = probe.sweep(model, x, edits=some())
    assert torch.equal(x, kept)
    for number, edit in enumerate(some()):
        assert torch.allclose(swept[number], probe.record(model, x.clone(), edits=[edit]).output, rtol=0, atol=1e-12)


def ending(self: Any, x: Tensor) -> Any:
    """Read the last step and the last states alone."""
    h, (h_n, c_n) = self.rnn(x)
    return self.head(h[:, -1]), h_n.transpose(0, 1), c_n.transpose(0, 1)


def spiking(self: Any, x: Tensor) -> Tensor:
    """Read every step by a comparison, which hides a NaN: a NaN is not above a threshold."""
    h = self.rnn(x)[0]
    return torch.cat([h[:, -1], (h > 0.35).double().sum(1)], -1)


def wary(self: Any, x: Tensor) -> Tensor:
    """Read the step before the last only where the last one holds a value that the clean run never has."""
    h = self.rnn(x)[0]
    return torch.where(h[:, -1].amax(-1, keepdim=True) > 0.9, h[:, -2], h[:, -1])


def picking(self: Any, x: Tensor) -> Tensor:
    """Read the last step of some rows, and a step in the middle of the others."""
    return self.rnn(x)[0][torch.arange(len(x)), torch.where(x[:, 0, 0] > 0, 3, 6)]


def choosing(self: Any, x: Tensor) -> Tensor:
    """Return a whole number, which holds no NaN whatever it was made of."""
    return (self.rnn(x)[0][:, -1] * 100).round().long()


READ = {
    choosing: Read(),
    ending: Read(steps=False),
    spiking: Read(finals=False),
    wary: Read(steps=False, finals=False),
    picking: Read(finals=False),
}


@pytest.mark.parametrize("body", READ)
@pytest.mark.parametrize("layers", [1, 2])
def test_what_a_model_reads(body: Callable[..., Any], layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody reads is not written; whatever else a model reads, it reads what a run of its own has."""
    found: list[Read] = []
    monkeypatch.setattr(sweeping, "_MANY", 5)
    asked = sweeping.read_of
    monkeypatch.setattr(sweeping, "read_of", lambda *given: found.append(asked(*given)) or found[-1])
    model, x = Model(body, rnn=lstm(num_layers=layers), head=nn.Linear(UNITS, 2)), randn()
    x[:, 0, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    edits = [
        probe.clamp("hidden_state", value, steps=step, layer="rnn[0]") for value in (0.2, 0.95) for step in (0, 3)
    ]
    top = f"rnn[{layers - 1}]"
    edits += [*some("cell_state", layer=top), probe.clamp("hidden_state", 0.95, layer=top)]
    agree(model, x, edits=edits)
    assert found == [READ[body]]


def test_no_edit_leaves_another_turns_numbers() -> None:
    """What a caller's own hook keeps of an edit is not overwritten by the edits after it."""
    model, kept, x = Model(ending, rnn=lstm(), head=nn.Linear(UNITS, 2)), list[Tensor](), randn()
    model.get_submodule("rnn").register_forward_hook(lambda _m, _x, output: kept.append(output[0]))
    probe.sweep(model, x, edits=some(), memory=1)
    ends = [h[:, -1].clone() for h in kept]
    probe.sweep(model, x, edits=some()[::-1], memory=1)
    assert all(torch.equal(h[:, -1], end) for h, end in zip(kept, ends, strict=False))
    assert len({float(end.sum()) for end in ends}) > 3
