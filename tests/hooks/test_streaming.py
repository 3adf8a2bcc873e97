"""What `probe.record(out=)` promises: the recording of one call, in stretches of rows, read back from disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bodies import Model, alike, hidden, lstm
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import probe
from probe import Signal
from probe.hooks import streaming
from probe.recurrent import CustomLSTM

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


def many(change: Callable[..., Any] = lambda output: output, *, batch_first: bool = True) -> Any:
    """Return a model of an LSTM called twice, a GRU on top, and outputs of many forms, which are changed at last."""

    def body(m: Any, x: Tensor, scale: Tensor | None = None) -> Any:
        m.rows.append(len(x))
        h, (h_n, c_n) = m.low(x)
        h, _ = m.low(x, (h_n, c_n))
        top, last = m.high(h if scale is None else h * scale)
        output = {"top": top, "states": (last, [c_n, h_n.movedim(1, 2)]), "name": "model", "fixed": torch.arange(3)}
        return change(output)

    low = nn.LSTM(INPUTS, UNITS, num_layers=2, bidirectional=True, batch_first=batch_first)
    return Model(body, low=low, high=nn.GRU(2 * UNITS, UNITS, batch_first=batch_first), rows=[]).double()


CLAMP = probe.clamp("cell_state", 0.5, layer="low[0]", steps=1)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"signals": Signal, "layer": ["low[1].reverse", "high[0]"]},
    {"signals": ["cell_state"], "steps": [0, -1]},
    {"dtype": torch.float32, "steps": 2},
    {"edits": [CLAMP, probe.steer("hidden_state", [1.0] * UNITS, layer="high[0]")]},
    {"kwargs": {"scale": torch.arange(7.0, dtype=torch.float64).view(7, 1, 1)}},
    {"check": False},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.usefixtures("stretches")
def test_stretches_make_the_recording_of_one_call(options: dict[str, Any], x: Tensor, tmp_path: Path) -> None:
    """Signals, initial states and outputs, whatever axis their batch is on, are those of one call in memory."""
    model = many()
    streamed = probe.record(model, x, out=tmp_path / "new" / "run", **options)
    assert model.rows == [2, 1, 1, 1, 1, 1, 1, 1]  # the second and third ask whether rows depend on each other
    whole = probe.record(model, x, **options)
    assert alike(streamed, whole)
    assert (streamed.max_error is None) == (whole.max_error is None)
    assert alike(probe.load_recording(tmp_path / "new" / "run"), whole)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run"]
    # The control arm: rows in another order are another recording.
    if "kwargs" not in options:
        assert not alike(streamed, probe.record(model, x.flip(0), **options))


@pytest.mark.usefixtures("stretches", "double")
@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "change", [lambda h: h, lambda h: h[-1], lambda h: h.transpose(0, 1).flatten(0, 1), lambda h: h.transpose(0, 1)]
)
def test_a_time_first_model_is_streamed(change: Callable[[Tensor], Tensor], batch: int, tmp_path: Path) -> None:
    """Stretches along the batch's axis make the recording of one call, its output too."""
    model, x = hidden(change, nn.LSTM(INPUTS, UNITS)), torch.randn(7, batch, INPUTS)
    assert alike(probe.record(model, x, out=tmp_path / "run", batch_axis=1), probe.record(model, x))


@pytest.mark.usefixtures("stretches", "double")
def test_rows_and_steps_on_one_axis_are_streamed_where_they_can_be_joined(tmp_path: Path) -> None:
    """Rows x steps are written whole; steps x rows would be joined in a wrong order; a wrong axis is refused."""
    x = torch.randn(7, 4, INPUTS)
    by_row, by_step = (hidden(lambda h: h.flatten(0, 1), rnn) for rnn in (lstm(), nn.LSTM(INPUTS, 5)))
    assert alike(probe.record(by_row, x, out=tmp_path / "run"), probe.record(by_row, x))
    for model, given, axis in ((by_step, x, 1), (hidden(rnn=nn.LSTM(INPUTS, UNITS)), x, 0), (by_step, x[:4], 0)):
        with refused():
            _ = probe.record(model, given, out=tmp_path / "other", batch_axis=axis)
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


@pytest.mark.usefixtures("stretches")
def test_the_error_is_the_largest_of_all_stretches(x: Tensor, tmp_path: Path) -> None:
    """A stretch that agrees better with the module does not hide another one."""
    module, x = nn.LSTM(INPUTS, UNITS, batch_first=True), x.float()
    errors = [probe.record(module, rows).max_error or 0.0 for rows in (x[:2], x[2:5], x[5:])]
    assert min(errors) < max(errors)
    assert probe.record(module, x, out=tmp_path / "run").max_error == max(errors)


@pytest.mark.parametrize("kind", [nn.LSTM, CustomLSTM])
def test_one_stretch_and_a_bare_time_first_module(kind: Any, x: Tensor, tmp_path: Path) -> None:
    """A few rows are one call; a bare module that is time first has its batch, and its states', on axis 1."""
    module, state = kind(INPUTS, UNITS).double(), tuple(torch.randn(2, 1, TIME, UNITS, dtype=torch.float64))
    assert alike(probe.record(module, x, state, out=tmp_path / "run"), probe.record(module, x, state))


def test_changing_the_tensors_changes_no_file(x: Tensor, tmp_path: Path) -> None:
    """What is read back can be written to, without a warning, and the file stays."""
    module = nn.LSTM(INPUTS, UNITS, batch_first=True).double()
    recording = probe.record(module, x, out=tmp_path / "run")
    kept = recording["cell_state"].clone()
    recording["cell_state"].zero_()
    recording.output[0].zero_()
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


def test_edits_that_speak_of_rows_are_not_streamed(x: Tensor, tmp_path: Path) -> None:
    """A patch and a resample do, a mean does not; nor are derivatives streamed, and nothing is left on disk."""
    model = many()
    source = probe.record(model, x)
    options: list[dict[str, Any]] = [
        {"gradient_of": lambda output: output["top"].sum()},
        {"edits": [probe.clamp("update_gate", 0.5, rows=[1])]},
        {"edits": [probe.clamp("update_gate", 0.5, steps=TIME)]},
        {"edits": [probe.patch("update_gate", source)]},
        {"edits": [probe.ablate("update_gate", kind="resample", reference=source)]},
        {"signals": ["cell"]},
    ]
    for each in options:
        with refused():
            probe.record(model, x, out=tmp_path / "run", **each)
        assert not list(tmp_path.iterdir())
    edits = [probe.ablate("update_gate", kind="mean", reference=source)]
    assert alike(probe.record(model, x, edits=edits, out=tmp_path / "run"), probe.record(model, x, edits=edits))


def test_a_stretch_takes_so_many_bytes_at_most(x: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one too, of two rows at least, by what is known before a call; then by what two calls took."""
    row = 2 * 4 * TIME * UNITS * 8  # of both directions, six signals less two that are left out
    wide = torch.cat([x, x, x])
    for rows, seen in ((2, [2, 1, 1]), (3, [3, 2, 1]), (5, [5, 3, 2]), (100, [21])):
        model = many()
        monkeypatch.setattr(streaming, "_BYTES", rows * row + 1)
        options: dict[str, Any] = {"layer": ["low[0]", "low[0].reverse"], "signals": list(Signal)[4:8]}
        streamed = probe.record(model, wide, out=tmp_path / str(rows), **options)
        assert model.rows[: len(seen)] == seen
        assert alike(streamed, probe.record(model, wide, **options))


def test_what_exists_is_not_written_over(x: Tensor, tmp_path: Path) -> None:
    """A folder or a file of that name is refused before the model runs, and stays; also one that comes meanwhile."""
    model, (folder, file) = many(), [tmp_path / name for name in ("folder", "file")]
    _ = folder.mkdir(), file.write_text("mine")
    for out in (folder, file, file / "below", tmp_path / "a\0b"):
        with refused():
            probe.record(model, x, out=out)
    assert not model.rows
    assert {*tmp_path.iterdir()} == {folder, file}
    second = many(lambda output: ((file.with_name("late") / "run").mkdir(parents=True, exist_ok=True), output)[1])
    with refused():
        probe.record(second, x, out=tmp_path / "late")


def packing(m: Any, x: Tensor) -> Tensor:
    """Pack the input inside the model."""
    lengths = torch.full((len(x),), TIME)
    return pad_packed_sequence(m.rnn(pack_padded_sequence(x, lengths, batch_first=True))[0])[0]


BROKEN: list[nn.Module] = [
    many(lambda output, left=[3, 2, 1]: (output, left.pop())[0]),  # fails at the second stretch, its fourth call
    *(
        Model(body, rnn=lstm().double()) for body in (packing, lambda m, x: m.rnn(x[:, x.any(2).any(0)])[1][0][-1])
    ),  # leaves out steps at which all rows are zero
    many(batch_first=False),
    many(lambda output: output["top"].mean()),
    many(lambda output: float(output["top"].mean())),
    many(lambda output: object()),
    many(lambda output: output["top"][:, 0] @ output["top"][:, 0].T),
    nn.LSTM(INPUTS, UNITS).double(),  # is given a packed input
]


@pytest.mark.usefixtures("stretches")
def test_a_model_that_cannot_be_streamed_leaves_nothing(x: Tensor, tmp_path: Path) -> None:
    """Whatever goes wrong at whichever stretch, neither the folder nor a temporary one is left."""
    x[5:, 3:] = 0
    packed = pack_padded_sequence(x, torch.full((7,), TIME), batch_first=True)
    for model in BROKEN:
        with refused():
            probe.record(model, packed if isinstance(model, nn.LSTM) else x, out=tmp_path / "run")
        assert not list(tmp_path.iterdir())


DAMAGE: list[Callable[[Path], object]] = [
    lambda folder: next(folder.glob("0.signals.*.npy")).unlink(),
    lambda folder: next(folder.glob("output.*.npy")).unlink(),
    lambda folder: next(folder.glob("*.npy")).write_bytes(b""),
    lambda folder: (p := next(folder.glob("*.npy"))).write_bytes(p.read_bytes()[:-8]),
    lambda folder: next(folder.glob("*.npy")).write_text("nonsense"),
    lambda folder: (folder / "recording.json").unlink(),
    lambda folder: (folder / "recording.json").write_text("{"),
    lambda folder: (folder / "recording.json").write_text("[]"),
]


def test_a_broken_folder_is_refused(x: Tensor, tmp_path: Path) -> None:
    """A missing or damaged file, or a description that was edited, raises and says which folder."""
    module = nn.LSTM(INPUTS, UNITS, batch_first=True).double()
    for number, damage in enumerate(DAMAGE):
        folder = tmp_path / str(number)
        probe.record(module, x, out=folder)
        damage(folder)
        with refused():
            probe.load_recording(folder)
