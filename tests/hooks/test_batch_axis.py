"""Models whose batch is another axis than the first: swept and streamed with `batch_axis=`, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.hooks import streaming
from probe.hooks.streaming import stream
from probe.recurrent.rows.batches import batch_of, map_tensors

BATCH, TIME, INPUTS, UNITS = 4, 7, 3, 5


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does, in double precision, where only rounding is left to differ."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        yield
    torch.set_default_dtype(before)


class LanguageModel(nn.Module):
    """The model of torch's own tutorial: reads (time, batch) symbols, returns (time x batch, symbol)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Embedding(6, INPUTS), nn.Linear(UNITS, 6)
        self.rnn = nn.LSTM(INPUTS, UNITS, 2)

    def forward(self, x: Tensor, hidden: Any) -> Any:
        """Return the symbols' log probabilities and the last states."""
        h, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(h).view(-1, 6).log_softmax(1), hidden


class Around(nn.Module):
    """A recurrent module inside a model: `body(self, *inputs)` is its forward pass."""

    def __init__(self, body: Callable[..., Any], rnn: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.rnn = body, rnn or nn.LSTM(INPUTS, UNITS)

    def forward(self, *inputs: Any) -> Any:
        """Run the body."""
        return self.body(self, *inputs)


def by_length(model: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """Read time-first rows with their lengths, (batch,), and return each row's last state."""
    h = model.rnn(x)[0]
    return h[lengths - 1, torch.arange(x.shape[1])]


def in_loop(model: Any, x: Tensor) -> Tensor:
    """Call a cell at each step of time-first inputs."""
    state, states = None, []
    for step in x:
        state = model.rnn(step, state)
        states.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(states)


def rows(batch: int = BATCH, time: int = TIME) -> Tensor:
    """Return time-first inputs."""
    return torch.randn(time, batch, INPUTS)


TIME_FIRST: dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...]]]] = {
    "language model": lambda: (
        LanguageModel(),
        (torch.randint(6, (TIME, BATCH)), tuple(torch.randn(2, 2, BATCH, UNITS).unbind(0))),
    ),
    "language model of two rows and two layers": lambda: (
        LanguageModel(),
        (torch.randint(6, (TIME, 2)), tuple(torch.randn(2, 2, 2, UNITS).unbind(0))),
    ),
    "states": lambda: (Around(lambda m, x: m.rnn(x)[0]), (rows(),)),
    "as many rows as steps": lambda: (Around(lambda m, x: m.rnn(x)[0]), (rows(TIME),)),
    "one row": lambda: (Around(lambda m, x: m.rnn(x)[0]), (rows(1),)),
    "last state": lambda: (Around(lambda m, x: m.rnn(x)[0][-1]), (rows(),)),
    "transposed": lambda: (Around(lambda m, x: m.rnn(x)[0].transpose(0, 1)), (rows(),)),
    "flat by row": lambda: (Around(lambda m, x: m.rnn(x)[0].transpose(0, 1).flatten(0, 1)), (rows(),)),
    "flat by step": lambda: (Around(lambda m, x: m.rnn(x)[0].flatten(0, 1)), (rows(),)),
    "flat altogether": lambda: (Around(lambda m, x: m.rnn(x)[0].flatten()), (rows(),)),
    "lengths": lambda: (Around(by_length), (rows(), torch.tensor([3, 7, 1, 5]))),
    "gru": lambda: (Around(lambda m, x: m.rnn(x), nn.GRU(INPUTS, UNITS, 2, bidirectional=True)), (rows(),)),
    "cell": lambda: (Around(in_loop, nn.LSTMCell(INPUTS, UNITS)), (rows(),)),
    "inner batch first": lambda: (
        Around(lambda m, x: m.rnn(x.transpose(0, 1))[0], batch_first()),
        (rows(),),
    ),
}


def edits_of(model: nn.Module, batch: int) -> list[probe.Edit]:
    """Return edits of its first layer at several steps, of all rows and of one."""
    layer = probe.inspect(model).layers[0].name
    return [
        probe.clamp("hidden_state", 0.5, layer=layer, steps=0),
        probe.clamp("hidden_state", -0.5, layer=layer, units=[1], steps=[2, 4]),
        probe.steer("hidden_state", torch.ones(UNITS), layer=layer, rows=batch - 1),
        probe.clamp("hidden_state", 0.1, layer=layer, steps=3),
    ]


@pytest.mark.parametrize("memory", [1, 16_000_000])
@pytest.mark.parametrize("name", TIME_FIRST)
def test_a_time_first_model_is_swept(name: str, memory: int) -> None:
    """Each edit's output is that of a run of its own, whatever way the rows lie in the output."""
    model, inputs = TIME_FIRST[name]()
    edits = edits_of(model, inputs[0].shape[1])
    swept = probe.sweep(model, *inputs, edits=edits, batch_axis=1, memory=memory)
    alone = [probe.record(model, *inputs, edits=[edit]).output for edit in edits]

    def compare(many: Tensor, *ones: Tensor) -> None:
        assert torch.allclose(many, torch.stack(ones), rtol=0, atol=1e-12)
        assert not torch.allclose(many.flip(0), torch.stack(ones), atol=1e-6)

    map_tensors(compare, swept, *alone)


def folded(model: Any, x: Tensor) -> Tensor:
    """Run each of several sequences of a row as a row of its own, (batch, sequence, time, input)."""
    return model.rnn(x.flatten(0, 1))[0].unflatten(0, x.shape[:2])


def sorted_by_length(model: Any, x: Tensor) -> Tensor:
    """Run the rows in the order of their first number, and put them back."""
    order = x[:, 0, 0].argsort()
    return model.rnn(x[order])[0][order.argsort()]


def batch_first() -> nn.LSTM:
    """Return an LSTM that reads rows first."""
    return nn.LSTM(INPUTS, UNITS, batch_first=True)


WRONG: dict[str, tuple[Callable[[], tuple[nn.Module, Tensor]], int | None, str]] = {
    "time first": (lambda: (Around(lambda m, x: m.rnn(x)[0]), rows()), None, "batch is another axis.*batch_axis="),
    "time first, square": (lambda: (Around(lambda m, x: m.rnn(x)[0]), rows(TIME)), 0, "batch is another axis"),
    "batch first": (lambda: (Around(lambda m, x: m.rnn(x)[0], batch_first()), rows()), 1, "batch is another axis"),
    "a cell": (lambda: (Around(in_loop, nn.GRUCell(INPUTS, UNITS)), rows()), 0, "never came|another axis"),
    "sequences of a row": (
        lambda: (Around(folded, batch_first()), torch.randn(3, 2, TIME, INPUTS)),
        1,
        "rows are in another order",
    ),
    "sorted": (lambda: (Around(sorted_by_length, batch_first()), rows()), 0, "rows are in another order"),
    "features": (lambda: (Around(lambda m, x: m.rnn(x)[0]), rows()), 2, "batch is another axis"),
    "no axis": (lambda: (Around(lambda m, x: m.rnn(x)[0]), rows()), 3, r"batch_axis=3 must be an axis.*0 to 2"),
    "negative": (lambda: (Around(lambda m, x: m.rnn(x)[0]), rows()), -1, "batch_axis=-1 must be an axis"),
    "no number": (lambda: (Around(lambda m, x: m.rnn(x)[0]), rows()), True, "batch_axis=True must be an axis"),
    "a bare module": (lambda: (nn.LSTM(INPUTS, UNITS), rows()), 0, "batch_axis=0 contradicts the LSTM.*says 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_axis_is_refused(name: str) -> None:
    """An axis that is not the batch is found by what the edited layer reads, and nothing stays on the model."""
    make, axis, message = WRONG[name]
    model, x = make()
    with pytest.raises(ProbeError, match=message):
        _ = probe.sweep(model, x, edits=edits_of(model, 2), batch_axis=axis)
    assert not any("forward" in vars(part) or part._forward_hooks for part in model.modules())


def test_sequences_of_a_row_are_swept_along_the_batch() -> None:
    """The control arm: along the right axis the same model is swept."""
    model, x = Around(folded, batch_first()), torch.randn(3, 2, TIME, INPUTS)
    edits = edits_of(model, 6)
    swept = probe.sweep(model, x, edits=edits, batch_axis=0)
    alone = torch.stack([probe.record(model, x, edits=[edit]).output for edit in edits])
    assert torch.allclose(swept, alone, rtol=0, atol=1e-12)


@pytest.fixture
def _stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stretch be of two rows first, and then of three."""
    monkeypatch.setattr(streaming, "_FIRST_ROWS", 2)
    monkeypatch.setattr(streaming, "_BYTES", 1)


def streamed(out: Path, model: nn.Module, *inputs: Any, batch_axis: int) -> probe.Recording:
    """Record stretches of rows into a folder."""
    batch = batch_of(model, inputs, {}, batch_axis)
    return stream(out, batch, lambda given, named: probe.record(model, *given, kwargs=named))


@pytest.mark.usefixtures("_stretches")
@pytest.mark.parametrize("batch", [1, 4, 7, 8])
@pytest.mark.parametrize("change", ["as it is", "last", "flat by row", "transposed"])
def test_a_time_first_model_is_streamed(change: str, batch: int, tmp_path: Path) -> None:
    """Stretches along the batch's axis make the recording of one call, its output too."""
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "as it is": lambda h: h,
        "last": lambda h: h[-1],
        "flat by row": lambda h: h.transpose(0, 1).flatten(0, 1),
        "transposed": lambda h: h.transpose(0, 1),
    }
    model, x = Around(lambda m, x: changes[change](m.rnn(x)[0])), rows(batch)
    whole, parts = probe.record(model, x), streamed(tmp_path / "run", model, x, batch_axis=1)
    torch.testing.assert_close(parts["cell_state"], whole["cell_state"], rtol=0, atol=1e-12)
    torch.testing.assert_close(parts.output, whole.output, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("_stretches")
def test_an_output_whose_rows_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    """Rows x steps on one axis are written whole; steps x rows would be joined in a wrong order."""
    model, x = Around(lambda m, x: m.rnn(x)[0].flatten(0, 1), batch_first()), torch.randn(TIME, BATCH, INPUTS)
    output = streamed(tmp_path / "run", model, x, batch_axis=0).output
    torch.testing.assert_close(output, model(x), rtol=0, atol=1e-12)
    model = Around(lambda m, x: m.rnn(x)[0].flatten(0, 1))
    with refused():
        _ = streamed(tmp_path / "other", model, rows(TIME), batch_axis=1)
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


@pytest.mark.usefixtures("_stretches")
@pytest.mark.parametrize("square", [True, False])
def test_a_wrong_axis_is_not_streamed(square: bool, tmp_path: Path) -> None:
    """Stretches of steps are no stretches of rows."""
    model, x = Around(lambda m, x: m.rnn(x)[0]), rows(TIME if square else BATCH)
    with refused():
        _ = streamed(tmp_path / "run", model, x, batch_axis=0)
    assert not list(tmp_path.iterdir())
