"""What `probe.sweep` promises, each edit's output as in a run of its own, and refuses. Drawn cases try its layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bodies import BATCH, INPUTS, TIME, TOGETHER, UNITS, Model, agree, hidden, loop, lstm, some, untouched
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.hooks import streaming
from probe.hooks.sweeping import sweep as sweeping
from probe.recurrent import CustomRNN, kernels
from probe.recurrent.again.blocks import Read
from probe.recurrent.finding import find_layers

pytestmark = pytest.mark.usefixtures("double")
Swept = tuple[nn.Module, tuple[Any, ...], list[probe.Edit]]
_kept: Any = lambda self, **parts: self.update(parts) or vars(self).update(twice=2 * parts["h"])  # noqa: E731
OUTPUT: Any = type("Output", (dict,), {"__init__": _kept, "__getattr__": dict.__getitem__})  # as of transformers


def randn(*shape: int) -> Tensor:
    """Return inputs; (batch, time, input) where nothing else is said."""
    return torch.randn(shape or (BATCH, TIME, INPUTS))


def in_pairs(self: Any, x: Tensor) -> Tensor:
    """Call a cell in a loop, for two rows a row of the input."""
    return loop(self, torch.cat([x, -x], 1).reshape(-1, *x.shape[1:])).reshape(len(x), -1, UNITS)


def residual(self: Any, x: Tensor, scale: Tensor) -> dict[str, Any]:
    """Use the input, and a second one, beside the LSTM; return whole numbers, truth values, words and a cache too."""
    h = self.rnn(self.before(x))[0]
    kept = {"both": (h.mean(1), [h.argmax(-1), h > 0]), "name": "a", "no": None, "cache": object()}
    return OUTPUT(**kept, h=h + self.before(x) * scale)


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
    "several sequences a row": lambda: (
        Model(lambda m, x: m.rnn(x.flatten(0, 1))[0].unflatten(0, x.shape[:2]), rnn=lstm()),
        (randn(3, 2, TIME, INPUTS),),
        some(),
    ),
    "cells, whose rows are not those of the caller's batch": lambda: (
        Model(in_pairs, cell=nn.LSTMCell(3, 5)),
        (randn(),),
        [probe.clamp("hidden_state", 0.4, steps=at, rows=rows) for at, rows in ((0, None), ([2, 3], None), (6, [7]))],
    ),
    "states of one row": lambda: (lstm(), (randn(1, TIME, INPUTS), tuple(randn(2, 1, 1, UNITS))), some()),
    "custom rnn": lambda: (CustomRNN(INPUTS, UNITS, learned_initial_state=True), (randn(TIME, 4, INPUTS),), some()),
}


@pytest.mark.parametrize("name", CASES)
def test_each_edit_of_a_sweep_has_the_output_of_its_own_run(name: str) -> None:
    """Whatever stands around the layers, whichever rows and calls are theirs; a cache is an error for who asks."""
    model, inputs, edits = CASES[name]()
    swept = agree(model, *inputs, edits=edits)
    if isinstance(swept, OUTPUT):
        assert torch.equal(swept.twice, 2 * swept.h)
        with refused():
            _ = swept.cache.layers


def time_first(change: Callable[[Tensor], Any] = lambda h: h) -> nn.Module:
    """Return a model of a time-first LSTM."""
    return hidden(change, nn.LSTM(INPUTS, UNITS))


#: Models, and inputs of so many rows where they are no sequences alone.
TIME_FIRST: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Any, ...]] | None]] = {
    "lengths": (
        lambda: Model(lambda m, x, ends: m.rnn(x)[0][ends - 1, range(len(ends))], rnn=nn.LSTM(INPUTS, UNITS)),
        lambda rows: (randn(TIME, rows, INPUTS), torch.arange(rows) % TIME + 1),
    ),
    "states": (time_first, None),
    "last": (lambda: time_first(lambda h: h[-1]), None),
    "flat by row": (lambda: time_first(lambda h: h.transpose(0, 1).flatten(0, 1)), None),
    "flat by step": (lambda: time_first(lambda h: h.flatten(0, 1)), None),
    "flat": (lambda: time_first(torch.flatten), None),
    "both ways": (lambda: Model(lambda m, x: m.rnn(x), rnn=nn.GRU(INPUTS, UNITS, 2, bidirectional=True)), None),
    "cell": (lambda: Model(lambda m, x: loop(m, x.transpose(0, 1)), cell=nn.LSTMCell(INPUTS, UNITS)), None),
    "batch first inside": (lambda: Model(lambda m, x: m.rnn(x.transpose(0, 1))[0], rnn=lstm()), None),
}


@pytest.mark.parametrize("module", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("levels", [1, 3, 2])
def test_several_edits_act_in_one_run(module: Any, levels: int) -> None:
    """The parts of a state in all layers of a stack, from steps of their own; a state set back to its own leaves."""
    torch.manual_seed(0)
    model, x = module(2, 5, levels, batch_first=True, bidirectional=levels == 1), torch.randn(3, 9, 2)
    if levels == 2:  # two modules, of which the second reads what the first one's edits made
        model = Model(lambda m, x: m.two(m.one(x)[0]), one=model, two=module(5, 4, batch_first=True))
    own = probe.record(model, x)

    def state(steps: Any, *, zero: bool = True) -> list[Any]:
        kind = partial(probe.clamp, value=0.0) if zero else partial(probe.patch, source=own)
        return [kind(signal, layer=part.layer, steps=steps) for part in own.parts for signal in part.initial]

    groups = [state(step) for step in (0, 3, 3, 7, 8)]
    groups += [state((2, 5)), state(4) + state(6, zero=False), state(1)[:1]]
    swept = probe.sweep(model, x, edits=[*groups, state(2)[0]])[0]
    for edits, found in zip([*groups, state(2)[:1]], swept, strict=True):
        assert torch.allclose(found, probe.record(model, x, edits=edits).output[0], atol=1e-6)
    with pytest.raises(probe.ProbeError, match=r"edits\[1\] names no edit"):
        probe.sweep(model, x, edits=[groups[0], []])


@pytest.mark.parametrize(
    ("name", "rows", "memory"),
    [
        *((name, BATCH, 16_000_000) for name in TIME_FIRST),
        *((name, 2, 1) for name in ("lengths", "flat by row", "cell")),
        *((name, rows, 16_000_000) for name in ("states", "flat by step") for rows in (1, TIME)),
    ],
)
def test_a_time_first_model_is_swept(name: str, rows: int, memory: int) -> None:
    """Along `batch_axis=1`, in turns and at once, however the rows lie in the output, as many as steps or one."""
    make, inputs = TIME_FIRST[name]
    model = make()
    layer = probe.inspect(model).layers[0].name
    edits = [
        probe.clamp("hidden_state", 0.5, layer=layer, steps=0),
        probe.clamp("hidden_state", -0.5, layer=layer, units=[1], steps=[2, 4]),
        probe.steer("hidden_state", torch.ones(UNITS), layer=layer, rows=rows - 1),
        probe.clamp("hidden_state", 0.1, layer=layer, steps=3),
    ]
    _ = agree(
        model, *(inputs(rows) if inputs else (randn(TIME, rows, INPUTS),)), edits=edits, batch_axis=1, memory=memory
    )


@pytest.mark.parametrize("change", [lambda h: h, lambda h: h[:, -1], lambda h: h.movedim(0, 2), torch.flatten])
@pytest.mark.parametrize("rows", [1, 2, 40])
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


#: A body, and what it reads.
READ: dict[str, tuple[Callable[..., Any], Read]] = {
    # A whole number holds no NaN whatever it was made of.
    "choosing": (lambda m, x: (m.rnn(x)[0][:, -1] * 100).round().long(), Read()),
    "ending": (ending, Read(steps=False)),
    "spiking": (spiking, Read(finals=False)),
    "wary": (wary, Read(steps=False, finals=False)),
    # The last step of some rows, and a step in the middle of the others.
    "picking": (
        lambda m, x: m.rnn(x)[0][torch.arange(len(x)), torch.where(x[:, 0, 0] > 0, 3, 6)],
        Read(finals=False),
    ),
}


@pytest.mark.parametrize(("body", "reads"), READ.values(), ids=READ)
@pytest.mark.parametrize("layers", [1, 2])
def test_what_a_model_reads(body: Any, reads: Read, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody reads is not written; whatever else a model reads, it reads what a run of its own has."""
    found: list[Read] = []
    monkeypatch.setattr(sweeping, "_MANY", 5)
    asked = sweeping.read_of
    monkeypatch.setattr(sweeping, "read_of", lambda *given: found.append(asked(*given)) or found[-1])
    model, x = Model(body, rnn=lstm(num_layers=layers), head=nn.Linear(UNITS, 2)), randn()
    x[:, 0, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    edits = [probe.clamp("hidden_state", value, steps=at, layer="rnn[0]") for value in (0.2, 0.95) for at in (0, 3)]
    top = f"rnn[{layers - 1}]"
    edits += [*some("cell_state", layer=top), probe.clamp("hidden_state", 0.95, layer=top)]
    agree(model, x, edits=edits)
    assert found == [reads]


Body = Callable[[Any, Tensor], Any]


def behind(change: Callable[[Tensor], Any]) -> Body:
    """Return a body that changes the hidden states."""
    return lambda m, x: change(m.rnn(x)[0])


#: Rows that depend on other rows or on their place: what a sweep and a stream refuse.
DEPEND: dict[str, Body] = {
    **{name: behind(TOGETHER[name]) for name in list(TOGETHER)[:-2] if name != "over 1"},
    "beside inf": behind(lambda h: torch.cat([h - h.mean(0), torch.full_like(h, -torch.inf)], 2)),
    "a comparison": behind(lambda h: h > h.mean(0)),
    "batch norm": lambda m, x: m.norm(m.rnn(x)[0][:, -1]),
}
ONLY_SWEPT: dict[str, Body] = {
    **{name: behind(TOGETHER[name]) for name in ("noise", "dropout")},
    "noise of numpy": behind(lambda h: h + float(np.random.rand())),
    "noise that is read": lambda m, x: m.rnn(TOGETHER["noise"](x))[0],
    "nodes of a graph": lambda m, x: m.rnn(x + x[torch.arange(BATCH).roll(1)])[0],
    "a fixed number of rows": lambda m, x: m.rnn(x, torch.zeros(1, BATCH, UNITS))[0],
}


@pytest.mark.parametrize("name", [*DEPEND, *ONLY_SWEPT])
def test_rows_that_are_not_alone_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sweep, whose first and last edit change one row alone, and by a stream; one edit and one stretch work."""
    gru, x = nn.GRU(INPUTS, UNITS, batch_first=True), randn()
    model = Model((DEPEND | ONLY_SWEPT)[name], rnn=gru, norm=nn.BatchNorm1d(UNITS))
    where = [(TIME - 1, [1]), (2, [BATCH - 1]), (0, [0]), (TIME - 2, None), (TIME - 1, [1])]
    edits = [probe.clamp("hidden_state", 0.9, steps=step, rows=rows) for step, rows in where]
    for axis in (None, 0):  # the same advice whatever axis was named: nobody is sent from one to another and back
        with refused() as caught:
            probe.sweep(model, x, edits=edits, batch_axis=axis)
    assert "batch_axis=" not in str(caught.value)
    if name != "batch norm":
        _ = model.eval()  # an edit of what draws random numbers in train mode is refused
    assert probe.record(model, x, edits=edits[:1]).output is not None
    if name in DEPEND:
        assert probe.record(model, x, out=tmp_path / "whole").layers == probe.record(model, x).layers
        monkeypatch.setattr(streaming, "_FIRST_ROWS", len(name) % 3 + 2)
        with refused():
            probe.record(model, torch.cat([x, 0.5 * x]), out=tmp_path / "run")
        assert [path.name for path in tmp_path.iterdir()] == ["whole"]


class Doubled(nn.LSTM):
    """An LSTM with a forward of its own, which its weights do not tell."""

    def forward(self, x: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run on twice the input."""
        return super().forward(2 * x)


def by_order(m: Any, x: Tensor) -> Tensor:
    """Run the rows in the order of their first number, and put them back."""
    order = x[:, 0, 0].argsort()
    return m.rnn(x[order])[0][order.argsort()]


def too_many(m: Any, x: Tensor) -> Tensor:
    """Fail in the middle of a turn."""
    if len(h := m.rnn(x)[0]) > BATCH:
        raise RuntimeError("too many rows")
    return h


#: Models, and the axis that is named; the inputs are (4, 7, 3), or (7, 7, 3).
REFUSED: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "dropout between layers": (lambda: lstm(num_layers=2, dropout=0.5), None),
    "loss": (lambda: hidden(torch.mean), None),
    "number": (lambda: hidden(lambda h: (h, float(h.mean()))), None),
    "other form": (lambda: hidden(lambda h: (h,) * len(h)), None),
    "own forward": (lambda: Doubled(INPUTS, UNITS, batch_first=True), None),
    "fails": (lambda: Model(too_many, rnn=lstm()), None),
    "time first": (lambda: hidden(rnn=nn.LSTM(INPUTS, UNITS)), None),
    "time first, square": (lambda: hidden(rnn=nn.LSTM(INPUTS, UNITS)), 0),
    "batch first": (hidden, 1),
    "batch first, square": (hidden, 1),
    "a time-first cell": (lambda: Model(lambda m, x: loop(m, x.transpose(0, 1)), cell=nn.GRUCell(3, 5)), 0),
    "steps as rows": (lambda: Model(lambda m, x: m.rnn(x.reshape(-1, 1, 3))[0].view(*x.shape[:2], 5), rnn=lstm()), 1),
    "sorted": (lambda: Model(by_order, rnn=lstm()), 0),
    "a bare module": (lambda: nn.LSTM(INPUTS, UNITS), 0),
    "no axis": (hidden, 3),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_and_axes_that_a_sweep_refuses(name: str) -> None:
    """An output that nobody can take apart; an axis that is not the batch, though it may be as long."""
    make, axis = REFUSED[name]
    model, x = make(), randn(TIME if "square" in name else BATCH, TIME, INPUTS)
    layer = find_layers(model)[0].name
    edits = [probe.clamp("hidden_state", value, layer=layer, steps=0) for value in (0.5, -0.5, 0.1)]
    with refused() as caught:
        probe.sweep(model, x, edits=edits, batch_axis=axis)
    assert name != "fails" or isinstance(caught.value.__cause__, RuntimeError)
    assert untouched(model)


@pytest.mark.parametrize("inside", [False, True])
def test_a_replaced_forward_is_refused_and_stays(inside: bool, x: Tensor) -> None:
    """A forward that somebody else put on the module is neither used nor removed."""
    model = hidden()
    rnn: Any = model.rnn
    rnn.forward = rnn.forward
    with refused():
        probe.sweep(model if inside else rnn, x, edits=some())
    assert "forward" in vars(rnn)


def test_arguments_that_a_sweep_refuses(x: Tensor) -> None:
    """Before anything is called, or where a place never comes, though other edits would do."""
    before: list[dict[str, Any]] = [
        *({"edits": edits} for edits in ([], some(layer="rmm[0]"), some(units=[UNITS]), some("update_gate"))),
        *({"memory": memory} for memory in (0, True)),
    ]
    places: list[dict[str, Any]] = [{"call": 1}, {"steps": TIME}, {"rows": [BATCH]}]
    called = [{"edits": [*some(), probe.clamp("hidden_state", 0.0, **place)]} for place in places]
    for options in (*before, *called):
        model = hidden()
        given: dict[str, Any] = {"edits": some()} | options
        with refused():
            probe.sweep(model, x, **given)
        assert bool(model.times_called) is (options in called)
        assert untouched(model)


def test_inputs_without_a_batch_are_not_swept(x: Tensor) -> None:
    """A PackedSequence, an input of two axes and no tensor at all are refused by name."""
    packed = pack_padded_sequence(x, torch.tensor([7, 6, 5, 4]), batch_first=True)
    for given in (packed, x[0], 3):
        with refused():
            probe.sweep(lstm(), given, edits=some())


def test_a_loss_beside_the_output_is_left_alone_where_nothing_reads_it() -> None:
    """A number of all rows at once stops a sweep that keeps it, or whose output= reads it, and no other."""
    rnn, x = nn.LSTM(2, 3, batch_first=True), randn(5, 6, 2)

    def run(model: Any, x: Tensor) -> dict[str, Tensor]:
        h = model.rnn(x)[0]
        return {"loss": h.pow(2).mean(), "h": h[:, -1]}

    model = Model(run, rnn=rnn)
    edits = [probe.clamp("cell_state", value, steps=at) for value in (0.0, 1.0) for at in (0, 3)]
    found = probe.sweep(model, x, edits=edits, output=lambda returned: returned["h"])
    alone = [probe.record(model, x, edits=[edit]).output["h"] for edit in edits]
    assert torch.allclose(found, torch.stack(alone), atol=1e-12)
    for output in (None, lambda returned: returned["loss"].exp()):
        with refused():
            probe.sweep(model, x, edits=edits, output=output)
