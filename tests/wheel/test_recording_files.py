"""What a saved recording promises: it comes back whole, or is refused; and its tables find each value again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import probe
from probe import ProbeError, Signal
from probe.command_line import main
from probe.storage import tensor_files


def test_a_saved_recording_comes_back_whole(pair: nn.Module, x: Tensor, tmp_path: Any) -> None:
    """Signals, initial states, calls, steps, output and error survive the file."""
    recording = probe.record(pair, x, steps=[2, 5], signals=Signal)
    recording.save(tmp_path / "run.safetensors")
    back = probe.load_recording(tmp_path / "run.safetensors")
    assert (back.steps, back.not_called, back.max_error) == ((2, 5), ("idle[0]",), recording.max_error)
    assert back.calls == recording.calls
    assert torch.equal(back.output, recording.output)
    for one, two in zip(recording.parts, back.parts, strict=True):
        assert (one.layer, one.call) == (two.layer, two.call)
        assert list(one.signals) == list(two.signals)
        assert all(torch.equal(one.signals[signal], two.signals[signal]) for signal in one.signals)
        assert all(torch.equal(one.initial[signal], two.initial[signal]) for signal in one.initial)


class Nested(nn.Module):
    """Returns its hidden states inside a dict, a list and a tuple, beside plain values."""

    def __init__(self, extra: object) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.extra = extra

    def forward(self, x: Tensor) -> dict[str, object]:
        """Return nested values."""
        h, state = self.lstm(x)
        return {"h": [h, None, 3], "state": state, "extra": self.extra}


def test_nested_outputs_are_saved(x: Tensor, tmp_path: Any) -> None:
    """Dicts, lists, tuples and plain values come back as the types they were."""
    recording = probe.record(Nested(("a", True)), x)
    recording.save(tmp_path / "run.safetensors")
    back = probe.load_recording(tmp_path / "run.safetensors").output
    assert torch.equal(back["h"][0], recording.output["h"][0])
    assert back["h"][1:] == [None, 3]
    assert back["extra"] == ("a", True)
    assert torch.equal(back["state"][1], recording.output["state"][1])


def test_an_output_that_cannot_be_saved_raises(x: Tensor, tmp_path: Any) -> None:
    """An object of the model's own is refused by its type's name, and no file is left."""
    with pytest.raises(ProbeError, match=r"output holds a set, which cannot be saved"):
        probe.record(Nested({1}), x).save(tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_recording_is_refused(tmp_path: Any) -> None:
    """A missing file, rubbish, and tensors of something else each raise ProbeError."""
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    save_file({"a": torch.ones(1)}, tmp_path / "foreign")
    for name in ("missing", "rubbish", "foreign"):
        with pytest.raises(ProbeError, match=rf"{name}' cannot be read as a recording"):
            _ = probe.load_recording(tmp_path / name)


def test_xarray_has_a_node_a_layer(pair: nn.Module, x: Tensor) -> None:
    """Nodes are layers (and calls, where there are several), with named axes and the steps' indices."""
    tree: Any = probe.record(pair, x, steps=[2, 5]).to_xarray()
    assert set(tree.children) == {"low[0]", "high[0]"}
    assert set(tree["high[0]"].children) == {"0", "1"}
    low = tree["low[0]"]["cell_state"]
    assert low.dims == ("batch", "time", "unit")
    assert low["time"].values.tolist() == [2, 5]
    recorded = probe.record(pair, x)["low[0]", "cell_state"][:, 5].numpy()
    assert np.array_equal(low.sel(time=5).values, recorded)


def test_the_frame_has_a_row_a_value(pair: nn.Module, x: Tensor) -> None:
    """Each row finds its value again by layer, call, batch, step and unit."""
    recording = probe.record(pair, x, steps=[2, 5])
    frame = recording.to_frame()
    assert len(frame) == 3 * 4 * 2 * 5
    row = frame[
        (frame["layer"] == "high[0]")
        & (frame["call"] == 1)
        & (frame["batch"] == 3)
        & (frame["step"] == 5)
        & (frame["unit"] == 4)
    ]
    assert row["cell_state"].item() == recording.call(1)["cell_state"][3, 1, 4].item()


def test_keys_that_are_no_names_are_refused_before_writing(x: Tensor, tmp_path: Any) -> None:
    """JSON would turn the key 1 into "1", and what is read back would not be what was saved."""
    with pytest.raises(ProbeError, match=r"dict with the key 1, a int; only str keys"):
        probe.record(Nested({1: 2}), x).save(tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "rnn-probe recording 1"}, "not of the format 'rnn-probe recording 3'"),
        ({"parts": "abc"}, "its parts is a str"),
        ({"parts": [3]}, "a part of it is 3"),
        ({"max_error": "small"}, "its max_error is a str"),
        ({"steps": ["a"]}, "its steps are"),
        ({"output": None}, "its output is a NoneType"),
        ({"output": {"list": [3]}}, "its output is not described"),
        ({"output": {"set": []}}, "its output is described by 'set'"),
    ],
)
def test_a_changed_description_is_refused(
    x: Tensor, tmp_path: Any, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    """Reading raises with what is wrong, and the command line says it in one line and exits with 1."""
    path = tmp_path / "run.safetensors"
    probe.record(nn.LSTM(3, 5), x).save(path)
    found: Any = tensor_files.read(path)
    described = found.about["recording"] | change
    _ = path.write_bytes(tensor_files.as_bytes(found.tensors, {"recording": described}))
    with pytest.raises(ProbeError, match=rf"cannot be read as a recording \(.*{message}"):
        _ = probe.load_recording(path)
    assert main.run(["show", str(path)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
