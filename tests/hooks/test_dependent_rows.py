"""Models whose rows depend on each other, on their place or on chance: refused where a batch is taken apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.hooks import streaming
from probe.recurrent.rows.independence import other_order

BATCH, TIME, INPUTS, UNITS = 5, 7, 3, 5


class Around(nn.Module):
    """A GRU, and what a body makes of its states."""

    def __init__(self, body: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.batch = body, BATCH
        self.rnn, self.cell = nn.GRU(INPUTS, UNITS, batch_first=True), nn.GRUCell(INPUTS, UNITS)
        self.norm, self.number = nn.BatchNorm1d(UNITS), nn.Embedding(64, UNITS)

    def forward(self, x: Tensor) -> Any:
        """Run the body."""
        return self.body(self, x)


def hidden(change: Callable[[Tensor], Any]) -> Callable[[Any, Tensor], Any]:
    """Return a body that changes the hidden states."""
    return lambda model, x: change(model.rnn(x)[0])


def noise(x: Tensor, seed: int | None = None) -> Tensor:
    """Return noise for each row, from a generator that has a seed, or from torch's own."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(len(x), 1, 1, generator=generator)


def seeded(model: Any, x: Tensor) -> Tensor:
    """Draw the same numbers in each call."""
    _ = torch.manual_seed(3)
    return model.rnn(x)[0] + noise(x)


def noisy_cell(model: Any, x: Tensor) -> Tensor:
    """Call a cell on a state and noise."""
    h = x.new_zeros(len(x), UNITS)
    for step in x.unbind(1):
        h = model.cell(step, h) + 0.1 * torch.randn_like(h)
    return h


def graph(model: Any, x: Tensor) -> Tensor:
    """Take the rows for the nodes of a ring, as layers of graphs over time do."""
    return model.rnn(x + x[torch.arange(BATCH).roll(1)])[0]


def of_size(model: Any, x: Tensor) -> Tensor:
    """Make the first state for a fixed number of rows."""
    return model.rnn(x, torch.zeros(1, model.batch, UNITS))[0]


def loop_of_size(model: Any, x: Tensor) -> Tensor:
    """Make it in a loop over cells."""
    h = torch.zeros(model.batch, UNITS)
    for step in x.unbind(1):
        h = model.cell(step, h)
    return h


PLACE = r"Row \d of the output changes \(by .*\) when other rows are left out and the rest change their order"
CHANCE = "draws random numbers in its forward pass"
#: What the message says; and whether the rows show it where the batch is taken apart by rows alone.
DEPEND: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "the row before": (hidden(lambda h: h + h.roll(1, 0)), PLACE),
    "the row behind": (hidden(lambda h: h + 1e-3 * h.roll(-1, 0)), PLACE),
    "other rows as negatives": (hidden(lambda h: torch.softmax(h[:, -1] @ h[:, -1].T, 1) @ h[:, -1]), PLACE),
    "the largest row": (hidden(lambda h: h / h.abs().max()), PLACE),
    "the first row": (hidden(lambda h: h - h[:1]), PLACE),
    "the last row": (hidden(lambda h: h - h[-1:]), PLACE),
    "all rows before": (hidden(lambda h: h.cumsum(0)), PLACE),
    "how many rows": (hidden(lambda h: h / len(h)), PLACE),
    "sorted rows": (hidden(lambda h: h.sort(0)[0]), PLACE),
    "batch norm": (lambda m, x: m.norm(m.rnn(x)[0][:, -1]), PLACE),
    "a row's number": (lambda m, x: m.rnn(x)[0] + m.number(torch.arange(len(x)) % BATCH)[:, None], PLACE),
    "seeded noise": (seeded, PLACE),
    "noise of its own generator": (lambda m, x: m.rnn(x)[0] + noise(x, 0), PLACE),
}
ONLY_SWEPT: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "noise": (lambda m, x: m.rnn(x)[0] + noise(x), CHANCE),
    "noise of numpy": (lambda m, x: m.rnn(x)[0] + float(np.random.rand()), CHANCE),
    "noise that is read": (lambda m, x: m.rnn(x + noise(x))[0], CHANCE),
    "noise between two steps": (noisy_cell, CHANCE),
    "nodes of a graph": (graph, "depend on each other|fails on"),
    "a fixed number of rows": (of_size, "makes it for a fixed number of rows"),
    "a fixed number of rows in a loop": (loop_of_size, "fails on .* fixed number of rows, as torch.zeros"),
}


def edits(layer: str) -> list[probe.Edit]:
    """Return edits of which the first and the last change one row alone: they show no dependence of others."""
    where = [(TIME - 1, [1]), (2, [BATCH - 1]), (0, [0]), (TIME - 2, None), (TIME - 1, [1])]
    return [probe.clamp("hidden_state", 0.9, steps=step, rows=rows, layer=layer) for step, rows in where]


@pytest.mark.filterwarnings("ignore:What cell 'cell' returned:UserWarning")
@pytest.mark.parametrize("name", [*DEPEND, *ONLY_SWEPT])
def test_a_sweep_refuses_rows_that_are_not_alone(name: str) -> None:
    """The message says what was found and names the way that works, which is taken here and does."""
    body, message = (DEPEND | ONLY_SWEPT)[name]
    model, x = Around(body), torch.randn(BATCH, TIME, INPUTS)
    given = edits("cell" if "loop" in name or "two steps" in name else "rnn[0]")
    with pytest.raises(ProbeError, match=message) as caught:
        probe.sweep(model, x, edits=given)
    # One message, the same advice whatever axis was named: nobody is sent from one axis to another and back.
    with refused() as caught:
        probe.sweep(model, x, edits=given, batch_axis=0)
    assert "batch_axis=" not in str(caught.value)
    for edit in given:
        outputs: list[Tensor] = []
        for _ in range(2):
            _ = torch.manual_seed(0), np.random.seed(0)
            outputs.append(probe.record(model, x, edits=[edit]).output)
        assert torch.equal(*outputs)


@pytest.mark.parametrize("name", DEPEND)
@pytest.mark.parametrize("first", [2, 3, 4])
def test_a_stream_refuses_rows_that_are_not_alone(
    name: str, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is recorded some rows at a time is asked too; one call of all rows works."""
    monkeypatch.setattr(streaming, "_FIRST_ROWS", first)
    model, x = Around(DEPEND[name][0]), torch.randn(2 * BATCH, TIME, INPUTS)
    with refused():
        probe.record(model, x, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    assert probe.record(model, x).output is not None


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


@pytest.mark.parametrize(
    "change", [lambda h: h, lambda h: h[:, -1], lambda h: h.movedim(0, 2), lambda h: h.flatten(0, 1)]
)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 40])
def test_rows_that_are_alone_are_swept(change: Callable[[Tensor], Tensor], rows: int) -> None:
    """Whatever axis the batch is on, alone or beside others."""
    model, x = Around(hidden(change)).double(), torch.randn(rows, TIME, INPUTS, dtype=torch.float64)
    given = [probe.clamp("hidden_state", 0.9, steps=step, layer="rnn[0]") for step in range(4)]
    swept = probe.sweep(model, x, edits=given)
    for number, edit in enumerate(given):
        assert torch.allclose(swept[number], probe.record(model, x, edits=[edit]).output, rtol=0, atol=1e-12)


def test_rows_may_come_in_pairs() -> None:
    """A model that makes one output of two rows takes an even number of them; no edit's rows meet another's."""
    model = Around(hidden(lambda h: h.unflatten(0, (-1, 2)).sum(1))).double()
    x = torch.randn(6, TIME, INPUTS, dtype=torch.float64)
    given = [probe.clamp("hidden_state", 0.9, steps=step, layer="rnn[0]") for step in range(4)]
    swept = probe.sweep(model, x, edits=given)
    for number, edit in enumerate(given):
        assert torch.allclose(swept[number], probe.record(model, x, edits=[edit]).output, rtol=0, atol=1e-12)
