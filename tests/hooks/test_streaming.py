"""What `probe.record(out=)` promises: the recording of one call, in stretches of rows, read back from disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import probe
from probe import ProbeError, Signal
from probe.hooks import streaming
from probe.recurrent import CustomLSTM
from probe.recurrent.rows.batches import map_tensors

TIME, INPUTS, UNITS = 5, 3, 4


@pytest.fixture
def x() -> Tensor:
    """Return inputs of seven rows, (batch, time, input)."""
    return torch.randn(7, TIME, INPUTS, dtype=torch.float64)


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stretch be of two rows first, and then of one."""
    monkeypatch.setattr(streaming, "_FIRST_ROWS", 2)
    monkeypatch.setattr(streaming, "_BYTES", 1)


class Model(nn.Module):
    """An LSTM called twice, a GRU on top, and outputs of many forms; `change` is done to them at last."""

    def __init__(self, change: Callable[..., Any] = lambda output: output, *, batch_first: bool = True) -> None:
        super().__init__()
        self.low = nn.LSTM(INPUTS, UNITS, num_layers=2, bidirectional=True, batch_first=batch_first)
        self.high = nn.GRU(2 * UNITS, UNITS, batch_first=batch_first)
        self.change = change
        self.rows: list[int] = []
        self.double()

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Any:
        """Return a dict of tensors with the batch on axis 0, 1 and 2, and of plain values."""
        self.rows.append(len(x))
        h, (h_n, c_n) = self.low(x)
        h, _ = self.low(x, (h_n, c_n))
        top, last = self.high(h if scale is None else h * scale)
        output = {"top": top, "states": (last, [c_n, h_n.movedim(1, 2)]), "name": "model", "fixed": torch.arange(3)}
        return self.change(output)


def same(one: probe.Recording, two: probe.Recording) -> bool:
    """Return whether two recordings agree in everything, numbers to rounding."""
    agree = [(one.steps, one.not_called, len(one.parts)) == (two.steps, two.not_called, len(two.parts))]

    def compare(a: Tensor, b: Tensor) -> None:
        agree.append(a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=1e-12))

    map_tensors(compare, one.output, two.output)
    for a, b in zip(one.parts, two.parts, strict=True):
        agree.append((a.layer, a.call, list(a.signals)) == (b.layer, b.call, list(b.signals)))
        map_tensors(compare, dict(a.signals), dict(b.signals))
        map_tensors(compare, dict(a.initial), dict(b.initial))
    return all(agree)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"signals": Signal, "layers": ["low[1].reverse", "high[0]"]},
    {"signals": ["cell_state"], "steps": [0, -1]},
    {"dtype": torch.float32, "steps": 2},
    {
        "edits": [
            probe.clamp("cell_state", 0.5, layer="low[0]", steps=1),
            probe.steer("hidden_state", [1.0] * UNITS, layer="high[0]"),
        ]
    },
    {"kwargs": {"scale": torch.arange(7.0, dtype=torch.float64).view(7, 1, 1)}},
    {"check": False},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.usefixtures("stretches")
def test_stretches_make_the_recording_of_one_call(options: dict[str, Any], x: Tensor, tmp_path: Path) -> None:
    """Signals, initial states and outputs, whatever axis their batch is on, are those of one call in memory."""
    model = Model()
    streamed = probe.record(model, x, out=tmp_path / "new" / "run", **options)
    assert model.rows == [2, 1, 1, 1, 1, 1, 1, 1]  # the second and third ask whether rows depend on each other
    whole = probe.record(model, x, **options)
    assert same(streamed, whole)
    assert (streamed.max_error is None) == (whole.max_error is None)
    assert same(probe.load_recording(tmp_path / "new" / "run"), whole)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run"]
    # The control arm: rows in another order are another recording.
    if "kwargs" not in options:
        assert not same(streamed, probe.record(model, x.flip(0), **options))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
@pytest.mark.usefixtures("stretches")
def test_every_number_of_rows(rows: int, tmp_path: Path) -> None:
    """No number of rows is lost, where stretches are as long as each other and where they are not."""
    model, x = Model(), torch.randn(rows, TIME, INPUTS, dtype=torch.float64)
    streamed = probe.record(model, x, out=tmp_path / "run")
    asked = (
        model.rows[0] if len(model.rows) > 1 else 0
    )  # whether rows depend on each other: each of the first stretch
    assert sum(model.rows) - asked == rows
    assert same(streamed, probe.record(model, x))


@pytest.mark.usefixtures("stretches")
def test_the_error_is_the_largest_of_all_stretches(x: Tensor, tmp_path: Path) -> None:
    """A stretch that agrees better with the module does not hide another one."""
    module, x = nn.LSTM(INPUTS, UNITS, batch_first=True), x.float()
    errors = [probe.record(module, rows).max_error or 0.0 for rows in (x[:2], x[2:5], x[5:])]
    assert min(errors) < max(errors)
    assert probe.record(module, x, out=tmp_path / "run").max_error == max(errors)


@pytest.mark.usefixtures("stretches")
def test_stretches_of_other_lengths_are_refused(x: Tensor, tmp_path: Path) -> None:
    """A model that leaves out the steps at which all rows are zero has shorter runs for some rows."""

    class Trimming(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(INPUTS, UNITS, batch_first=True).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x[:, x.any(2).any(0)])[1][0][-1]

    x[5:, 3:] = 0
    with refused():
        _ = probe.record(Trimming(), x, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_one_stretch_and_a_bare_time_first_module(x: Tensor, tmp_path: Path) -> None:
    """A few rows are one call; a bare module that is time first has its batch, and its states', on axis 1."""
    for number, module in enumerate((nn.LSTM(INPUTS, UNITS).double(), CustomLSTM(INPUTS, UNITS).double())):
        state = tuple(torch.randn(2, 1, TIME, UNITS, dtype=torch.float64))
        streamed = probe.record(module, x, state, out=tmp_path / str(number))
        assert same(streamed, probe.record(module, x, state))


def test_changing_the_tensors_changes_no_file(x: Tensor, tmp_path: Path) -> None:
    """What is read back can be written to, without a warning, and the file stays."""
    module = nn.LSTM(INPUTS, UNITS, batch_first=True).double()
    recording = probe.record(module, x, out=tmp_path / "run")
    kept = recording["cell_state"].clone()
    recording["cell_state"].zero_()
    recording.output[0].zero_()
    assert not recording["cell_state"].any()
    again = probe.load_recording(tmp_path / "run")
    assert torch.equal(again["cell_state"], kept)
    assert again.output[0].any()


@pytest.mark.usefixtures("stretches")
def test_bfloat16_is_kept_as_float32(x: Tensor, tmp_path: Path) -> None:
    """Without dtype= it is refused, since numpy has no such numbers; with it the output holds the same numbers."""
    module = nn.LSTM(INPUTS, UNITS, batch_first=True).bfloat16()
    with refused():
        probe.record(module, x.bfloat16(), out=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    streamed = probe.record(module, x.bfloat16(), dtype=torch.float32, out=tmp_path / "run")
    whole = probe.record(module, x.bfloat16(), dtype=torch.float32)
    assert streamed["cell_state"].dtype == streamed.output[0].dtype == torch.float32
    assert torch.allclose(streamed["cell_state"], whole["cell_state"], atol=2e-2)
    assert torch.allclose(streamed.output[0], whole.output[0].float(), atol=2e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_of": lambda output: output["top"].sum()},
        {"edits": [probe.clamp("update_gate", 0.5, rows=[1])]},
        {"edits": [probe.clamp("update_gate", 0.5, steps=TIME)]},
        {"signals": ["cell"]},
    ],
)
def test_refused_arguments(options: dict[str, Any], x: Tensor, tmp_path: Path) -> None:
    """What cannot be done stretch by stretch is refused, and nothing is left on disk."""
    with refused():
        probe.record(Model(), x, out=tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


def test_edits_that_take_rows_of_a_recording(x: Tensor, tmp_path: Path) -> None:
    """A patch and a resample speak of rows; a mean does not."""
    model = Model()
    source = probe.record(model, x)
    resample = probe.ablate("update_gate", kind="resample", reference=source)
    for edit in (probe.patch("update_gate", source), resample):
        with refused():
            probe.record(model, x, edits=[edit], out=tmp_path / "run")
    edits = [probe.ablate("update_gate", kind="mean", reference=source)]
    assert same(probe.record(model, x, edits=edits, out=tmp_path / "run"), probe.record(model, x, edits=edits))


def test_a_stretch_has_no_more_rows_than_it_may_take_bytes(
    x: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one too, of two rows at least, by what is known before a call; then by what two calls took."""
    row = 2 * 4 * TIME * UNITS * 8  # of both directions, six signals less two that are left out
    wide = torch.cat([x, x, x])
    for rows, seen in ((2, [2, 1, 1]), (3, [3, 2, 1]), (5, [5, 3, 2]), (100, [21])):
        model = Model()
        monkeypatch.setattr(streaming, "_BYTES", rows * row + 1)
        options: dict[str, Any] = {"layers": ["low[0]", "low[0].reverse"], "signals": list(Signal)[4:8]}
        streamed = probe.record(model, wide, out=tmp_path / str(rows), **options)
        assert model.rows[: len(seen)] == seen
        assert same(streamed, probe.record(model, wide, **options))


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_exists_is_not_written_over(kind: str, x: Tensor, tmp_path: Path) -> None:
    """A folder or a file of that name is refused before the model runs, and stays."""
    out, model = tmp_path / "run", Model()
    _ = out.mkdir() if kind == "folder" else out.write_text("mine")
    with refused():
        probe.record(model, x, out=out)
    assert not model.rows
    assert list(tmp_path.iterdir()) == [out]
    below = out / "below" if kind == "file" else tmp_path / "a\0b"
    with pytest.raises((ProbeError, ValueError)):
        probe.record(model, x, out=below)


class Packs(nn.Module):
    """A model that packs its input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(INPUTS, UNITS, batch_first=True).double()

    def forward(self, x: Tensor) -> Tensor:
        """Return hidden states."""
        lengths = torch.full((len(x),), TIME)
        return pad_packed_sequence(self.rnn(pack_padded_sequence(x, lengths, batch_first=True))[0])[0]


def failing() -> Callable[..., Any]:
    """Return what fails at the second stretch, which is the fourth call."""
    calls = iter(range(3))

    def change(output: Any) -> Any:
        if next(calls, None) is None:
            raise RuntimeError("the model failed")
        return output

    return change


BROKEN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "failing": (lambda: Model(failing()), "the model failed"),
    "packs": (Packs, "packs its input"),
    "time first": (lambda: Model(batch_first=False), "batch_axis="),
    "loss": (lambda: Model(lambda output: output["top"].mean()), "does not grow with the batch"),
    "number": (lambda: Model(lambda output: float(output["top"].mean())), "something else than tensors"),
    "object": (lambda: Model(lambda output: object()), "cannot be saved"),
    "square": (lambda: Model(lambda output: output["top"][:, 0] @ output["top"][:, 0].T), "other rows are left out"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.usefixtures("stretches")
def test_a_model_that_cannot_be_streamed_leaves_nothing(name: str, x: Tensor, tmp_path: Path) -> None:
    """Whatever goes wrong at whichever stretch, neither the folder nor a temporary one is left."""
    make, message = BROKEN[name]
    with pytest.raises(ProbeError, match=message):
        probe.record(make(), x, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_packed_input_is_refused(x: Tensor, tmp_path: Path) -> None:
    """A PackedSequence has no rows to take apart."""
    packed = pack_padded_sequence(x, torch.full((7,), TIME), batch_first=True)
    with refused():
        probe.record(nn.LSTM(INPUTS, UNITS).double(), packed, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def edited(**changes: Any) -> Callable[[Path], object]:
    """Return what changes entries of a recording's description."""

    def change(folder: Path) -> object:
        file = folder / "recording.json"
        return file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no signal": lambda folder: next(folder.glob("0.signals.*.npy")).unlink(),
    "no output": lambda folder: next(folder.glob("output.*.npy")).unlink(),
    "empty array": lambda folder: next(folder.glob("*.npy")).write_bytes(b""),
    "short array": lambda folder: (p := next(folder.glob("*.npy"))).write_bytes(p.read_bytes()[:-8]),
    "no array": lambda folder: next(folder.glob("*.npy")).write_text("nonsense"),
    "no description": lambda folder: (folder / "recording.json").unlink(),
    "no json": lambda folder: (folder / "recording.json").write_text("{"),
    "no dict": lambda folder: (folder / "recording.json").write_text("[]"),
    "no format": edited(format="other"),
    "no steps": edited(steps="all"),
    "a part of nothing": edited(parts=[{}]),
    "unknown output": edited(output={"tensor": "output.9"}),
    "output of no kind": edited(output={"something": 1}),
    "output not described": edited(output={}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_broken_folder_is_refused(name: str, x: Tensor, tmp_path: Path) -> None:
    """A missing or damaged file, or a description that was edited, raises and says which folder."""
    probe.record(nn.LSTM(INPUTS, UNITS, batch_first=True).double(), x, out=tmp_path / "run")
    DAMAGE[name](tmp_path / "run")
    with refused():
        probe.load_recording(tmp_path / "run")


def test_rows_that_depend_on_each_other_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model that centres its batch says other things in stretches; in one stretch it is recorded."""
    from probe.hooks import streaming

    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(INPUTS, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x - x.mean(0))[0]

    model, x = Centred(), torch.arange(8.0).view(8, 1, 1) + torch.randn(8, TIME, INPUTS)
    assert probe.record(model, x, out=tmp_path / "one").layers == ("rnn[0]",)
    monkeypatch.setattr(streaming, "_FIRST_ROWS", 4)
    with refused():
        _ = probe.record(model, x, out=tmp_path / "two")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
