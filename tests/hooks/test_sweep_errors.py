"""What `probe.sweep` refuses, and that nothing of it stays on a model then; rows that depend on each other first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bodies import BATCH, INPUTS, TIME, TOGETHER, UNITS, Model, hidden, loop, lstm, some, untouched
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.hooks import streaming
from probe.recurrent.finding import find_layers
from probe.recurrent.rows.independence import other_order

pytestmark = pytest.mark.usefixtures("no_grad")
Body = Callable[[Any, Tensor], Any]


def looped(first: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]) -> Body:
    """Return a loop over a cell from a first state, with something done to each state."""

    def body(m: Any, x: Tensor) -> Tensor:
        h = first(x)
        for step in x.unbind(1):
            h = after(m.cell(step, h))
        return h

    return body


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
#: Chance, and a number of rows that is fixed.
ONLY_SWEPT: dict[str, Body] = {
    **{name: behind(TOGETHER[name]) for name in ("noise", "dropout")},
    "noise of numpy": behind(lambda h: h + float(np.random.rand())),
    "noise that is read": lambda m, x: m.rnn(TOGETHER["noise"](x))[0],
    "noise between two steps": looped(lambda x: x.new_zeros(len(x), UNITS), lambda h: h + 0.1 * torch.randn_like(h)),
    "nodes of a graph": lambda m, x: m.rnn(x + x[torch.arange(BATCH).roll(1)])[0],
    "a fixed number of rows": lambda m, x: m.rnn(x, torch.zeros(1, BATCH, UNITS))[0],
    "a fixed number of rows in steps": looped(lambda x: torch.zeros(BATCH, UNITS), lambda h: h),
}


def depending(body: Body) -> Model:
    """Return a model of a body."""
    rnn, cell = nn.GRU(INPUTS, UNITS, batch_first=True), nn.GRUCell(INPUTS, UNITS)
    return Model(body, rnn=rnn, cell=cell, norm=nn.BatchNorm1d(UNITS))


@pytest.mark.filterwarnings("ignore:What cell 'cell' returned:UserWarning")
@pytest.mark.parametrize("name", [*DEPEND, *ONLY_SWEPT])
def test_a_sweep_refuses_rows_that_are_not_alone(name: str) -> None:
    """The first and the last edit change one row alone: they show no dependence of others. One edit a run works."""
    model, x = depending((DEPEND | ONLY_SWEPT)[name]), torch.randn(BATCH, TIME, INPUTS)
    where = [(TIME - 1, [1]), (2, [BATCH - 1]), (0, [0]), (TIME - 2, None), (TIME - 1, [1])]
    layer = "cell" if "steps" in name else "rnn[0]"
    edits = [probe.clamp("hidden_state", 0.9, steps=step, rows=rows, layer=layer) for step, rows in where]
    for axis in (None, 0):  # the same advice whatever axis was named: nobody is sent from one to another and back
        with refused() as caught:
            probe.sweep(model, x, edits=edits, batch_axis=axis)
    assert "batch_axis=" not in str(caught.value)
    assert probe.record(model, x, edits=edits[:1]).output is not None


@pytest.mark.parametrize("name", DEPEND)
def test_a_stream_refuses_rows_that_are_not_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is recorded some rows at a time is asked too; one call of all rows works, and one stretch."""
    model, x = depending(DEPEND[name]), torch.randn(2 * BATCH, TIME, INPUTS)
    assert probe.record(model, x, out=tmp_path / "whole").layers == probe.record(model, x).layers
    monkeypatch.setattr(streaming, "_FIRST_ROWS", len(name) % 3 + 2)
    with refused():
        probe.record(model, x, out=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize("rows", [2, 3, 4, 5, 6, 9, 16, 100, 1000])
def test_the_other_order_leaves_no_row_where_it_was(rows: int) -> None:
    """At most half of the rows, in other places, beside others, without the one that is left out."""
    for left_out in range(min(rows, 8)):
        order = other_order(rows, left_out)
        assert len(set(order)) == len(order) < rows
        assert left_out not in order
        if rows > 4:
            assert all(place != row for place, row in enumerate(order))
            assert order[-1] != rows - 1


class Doubled(nn.LSTM):
    """An LSTM with a forward of its own, which its weights do not tell."""

    def forward(self, x: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run on twice the input."""
        return super().forward(2 * x)


@dataclass
class Opaque:
    """An output that nobody can look into."""

    h: Tensor


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
    "object": (lambda: hidden(Opaque), None),
    "own forward": (lambda: Doubled(INPUTS, UNITS, batch_first=True), None),
    "fails": (lambda: Model(too_many, rnn=lstm()), None),
    "time first": (lambda: hidden(rnn=nn.LSTM(INPUTS, UNITS)), None),
    "time first, named": (lambda: hidden(rnn=nn.LSTM(INPUTS, UNITS)), 0),
    "time first, square": (lambda: hidden(rnn=nn.LSTM(INPUTS, UNITS)), 0),
    "batch first": (hidden, 1),
    "batch first, square": (hidden, 1),
    "a time-first cell": (lambda: Model(lambda m, x: loop(m, x.transpose(0, 1)), cell=nn.GRUCell(3, 5)), 0),
    "steps as rows": (lambda: Model(lambda m, x: m.rnn(x.reshape(-1, 1, 3))[0].view(*x.shape[:2], 5), rnn=lstm()), 1),
    "sorted": (lambda: Model(by_order, rnn=lstm()), 0),
    "features": (lambda: hidden(rnn=nn.LSTM(INPUTS, UNITS)), 2),
    "no axis": (hidden, 3),
    "negative": (hidden, -1),
    "no number": (hidden, True),
    "a bare module": (lambda: nn.LSTM(INPUTS, UNITS), 0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_and_axes_that_a_sweep_refuses(name: str) -> None:
    """An output that nobody can take apart; an axis that is not the batch, though it may be as long."""
    make, axis = REFUSED[name]
    model, x = make(), torch.randn(TIME if "square" in name else BATCH, TIME, INPUTS)
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


@pytest.mark.parametrize(
    ("called", "options"),
    [
        (False, {"edits": []}),
        (False, {"memory": 0}),
        (False, {"memory": True}),
        (False, {"edits": some(layer="rmm[0]")}),
        (False, {"edits": some(units=[UNITS])}),
        (False, {"edits": some("update_gate")}),
        (True, {"edits": [*some(), probe.clamp("hidden_state", 0.0, call=1)]}),
        (True, {"edits": [*some(), probe.clamp("hidden_state", 0.0, steps=TIME)]}),
        (True, {"edits": [*some(), probe.clamp("hidden_state", 0.0, rows=[BATCH])]}),
    ],
)
def test_arguments_that_a_sweep_refuses(called: bool, options: dict[str, Any], x: Tensor) -> None:
    """Before anything is called, or where a place never comes, though other edits would do."""
    model, given = hidden(), dict[str, Any](edits=some()) | options
    with refused():
        probe.sweep(model, x, **given)
    assert bool(model.times_called) is called
    assert untouched(model)


def test_inputs_without_a_batch_are_not_swept(x: Tensor) -> None:
    """A PackedSequence, an input of two axes and no tensor at all are refused by name."""
    packed = pack_padded_sequence(x, torch.tensor([7, 6, 5, 4]), batch_first=True)
    for given in (packed, x[0], 3):
        with refused():
            probe.sweep(lstm(), given, edits=some())
