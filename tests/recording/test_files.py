"""Recordings in files, tables and other types, how signals and places are named, and what is known before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bodies import Model, alike, lstm
from refusing import refused
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import Signal
from probe.command_line import main
from probe.recurrent.custom import CustomGRU
from probe.storage import tensor_files


def nested(extra: Any) -> Model:
    """Return a model whose output holds tensors in a dict, a list and a tuple, beside plain values."""

    def body(m: Any, x: Tensor) -> dict[str, Any]:
        h, state = m.lstm(x)
        return {"h": [h, None, 3], "state": state, "extra": extra}

    return Model(body, lstm=lstm())


def test_a_saved_recording_comes_back_whole(pair: nn.Module, x: Tensor, tmp_path: Path) -> None:
    """Signals, initial states, calls, steps and error survive the file, and outputs as the types they were."""
    for model, options in ((pair, {"steps": [2, 5], "signals": Signal}), (nested(("a", True)), {})):
        recording = probe.record(model, x, **options)
        recording.save(tmp_path / "run.safetensors")
        back = probe.load_recording(tmp_path / "run.safetensors")
        assert alike(back, recording, rounding=0)
        assert back.max_error == recording.max_error
    assert (back.output["h"][1:], back.output["extra"]) == ([None, 3], ("a", True))


def test_an_output_that_cannot_be_saved_raises(x: Tensor, tmp_path: Path) -> None:
    """An object of the model's own, and a key of which JSON would make a text; no file is left."""
    for extra in ({1}, {1: 2}):
        with refused():
            probe.record(nested(extra), x).save(tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    """A missing file, rubbish, and tensors of something else each raise ProbeError."""
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    save_file({"a": torch.ones(1)}, tmp_path / "foreign")
    for name in ("missing", "rubbish", "foreign"):
        with refused():
            _ = probe.load_recording(tmp_path / name)


def test_a_changed_description_is_refused(x: Tensor, tmp_path: Path, capsys: Any) -> None:
    """Reading raises with what is wrong, and the command line says it in one line and exits with 1."""
    path = tmp_path / "run.safetensors"
    probe.record(nn.LSTM(3, 5), x).save(path)
    found: Any = tensor_files.read(path)
    changes: list[dict[str, Any]] = [
        *({"format": "rnn-probe recording 1"}, {"parts": "abc"}, {"parts": [3]}, {"max_error": "small"}),
        *({"steps": ["a"]}, {"output": None}, {"output": {"list": [3]}}, {"output": {"set": []}}),
    ]
    for change in changes:
        _ = path.write_bytes(tensor_files.as_bytes(found.tensors, {"recording": found.about["recording"] | change}))
        with refused():
            _ = probe.load_recording(path)
        assert main.run(["show", str(path)]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)


def test_tables_find_each_value_again(pair: nn.Module, x: Tensor) -> None:
    """By layer, call, signal, sequence, step and unit: rows of a frame; named axes of arrays, with the steps."""
    recording = probe.record(pair, x, steps=[2, 5])
    frame, tree = recording.to_frame(), recording.to_xarray()
    keys: list[Any] = ["layer", "call", "signal", "sequence", "step", "unit"]
    assert list(frame.columns) == [*keys, "value"]
    assert len(frame) == 3 * 6 * 4 * 2 * 5
    found = frame.set_index(keys)["value"].to_dict()["high[0]", 1, "cell_state", 3, 5, 4]
    assert found == recording.call(1)["cell_state"][3, 1, 4].item()
    assert (set(tree.children), set(tree["high[0]"].children)) == ({"low[0]", "high[0]"}, {"0", "1"})
    low: Any = tree["low[0]"]["cell_state"]
    assert low.dims == ("batch", "time", "unit")
    assert np.array_equal(low.sel(time=5).values, recording.call(0)["low[0]", "cell_state"][:, 1].numpy())


def test_layers_are_listed_with_their_sizes(pair: nn.Module, tagger: Any) -> None:
    """Names, inputs, units, signals and parameters as torch counts them, in a line each; nothing is called."""
    described = probe.inspect(pair)
    assert (described.model, [layer.name for layer in described.layers]) == ("Pair", ["low[0]", "high[0]", "idle[0]"])
    low, high, _ = described.layers
    assert (low.cell, low.inputs, low.units, high.inputs, high.units) == ("LSTM", 3, 5, 5, 5)
    assert low.parameters == sum(parameter.numel() for parameter in pair.get_submodule("low").parameters())
    assert low.signals == tuple(Signal)[:10]
    assert "lstm[0]: LSTM, 3 inputs, 5 units, 200 parameters; signals input_gate" in str(probe.inspect(tagger))
    assert tagger.times_called == 0
    with refused():
        _ = probe.inspect(nn.Sequential(nn.Linear(2, 2)))


# What the lowest layer read: by that probes know which states are one, and what needs no memory.

X = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([5, 2, 4, 5, 1, 3])


def cells(m: Any, x: Tensor) -> Tensor:
    """Call two cells on top of each other in a loop, and return the upper one's last state."""
    h, top = x.new_zeros(len(x), 4), x.new_zeros(len(x), 2)
    for now in x.unbind(1):
        h = m.low(now, h)
        top = m.high(h, top)
    return top


MODELS = {
    "stacked both ways": nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True),
    "time first": nn.Sequential(nn.GRU(3, 4)),
    "cells": Model(cells, low=nn.GRUCell(3, 4), high=nn.GRUCell(4, 2)),
    "a cell of ours": CustomGRU(3, 4, batch_first=True),
    "packed": nn.GRU(3, 4, batch_first=True, bidirectional=True),
}


@pytest.mark.parametrize("steps", [None, -1])
@pytest.mark.parametrize("name", MODELS)
def test_the_first_layer_of_a_module_says_what_the_module_read(name: str, steps: int | None) -> None:
    """At all steps, (batch, time, feature), 0 at padding, whatever is kept; the others of the module say nothing."""
    x: Any = (X.transpose(0, 1) if name == "time first" else X).clone()
    x = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False) if name == "packed" else x
    recording: Any = probe.record(MODELS[name], x, steps=None if name == "cells" else steps)
    (x.data if name == "packed" else x).zero_()  # a change of the caller's tensor changes nothing
    real = torch.arange(5) < LENGTHS[:, None]
    assert torch.equal(recording.inputs, X * real[:, :, None] if name == "packed" else X)
    later = [part.inputs is not None for part in recording.parts[1:]]
    assert later == [name == "cells"] * len(later)


def test_each_call_has_its_own_inputs() -> None:
    """A layer that is called twice read two; where another layer of the module is chosen, the module's are kept."""
    recording = probe.record(Model(lambda m, x: m.gru(2 * m.gru(x)[0])[0], gru=nn.GRU(3, 3, batch_first=True)), X)
    first, second = (recording.call(number) for number in (0, 1))
    upper = probe.record(nn.LSTM(3, 4, 2, batch_first=True), X, layer=["[1]"])
    found: Any
    for found, read in ((first, X), (second, 2 * first["hidden_state"]), (upper, X)):
        assert torch.equal(found.inputs, read)


# Numbers in another type: what this cannot hold is refused, and the message says what can.


@pytest.mark.parametrize("to_disk", [False, True])
def test_a_type_that_cannot_hold_a_state_is_refused(to_disk: bool, tmp_path: Path) -> None:
    """It was kept as infinity; the type that the message names holds it, and a number that rounds to the largest."""
    sums: Any = nn.RNN(3, 3, batch_first=True, nonlinearity="relu", bias=False)
    _ = nn.init.eye_(sums.weight_ih_l0), nn.init.eye_(sums.weight_hh_l0)
    x, out = torch.full((2, 5, 3), 1e10), tmp_path / "run" if to_disk else None
    with refused():
        _ = probe.record(sums, x, dtype=torch.float16, out=out)
    kept = probe.record(sums, x, dtype=torch.float32, out=out)
    assert kept["hidden_state"][:, -1].tolist() == torch.full((2, 3), 5e10).tolist()
    assert probe.record(sums, torch.full((1, 1, 3), 65510.0), dtype=torch.float16)["hidden_state"].max() == 65504
    with refused():
        _ = probe.record(sums.double(), torch.full((1, 4, 3), 1e60, dtype=torch.float64), dtype=torch.float32)


def test_numbers_that_the_model_or_the_type_cannot_hold_are_refused() -> None:
    """A derivative where the signal's own values fit; an edit's, which in float32 acts; a complex number."""
    module, x = nn.LSTM(3, 5, batch_first=True), torch.randn(2, 4, 3)
    with refused():
        _ = probe.record(module, x, gradient_of=lambda output: 1e9 * output[0][-1].sum(), dtype=torch.float16)
    edits = [
        probe.clamp("cell_state", 5e10),
        probe.steer("cell_state", [-1e9] * 5),
        probe.edit("cell_state", lambda value, _: value.float() - 1e9),
    ]
    for edit in edits:
        assert probe.record(module.float(), x, edits=[edit])["cell_state"].abs().max() >= 1e9
        with refused():
            _ = probe.record(module.half(), x.half(), edits=[edit])
    with refused():
        _ = probe.record(module.float(), x, edits=[probe.clamp("cell_state", torch.tensor(1j))])


def test_inputs_of_a_file_that_the_network_cannot_hold_are_refused(tmp_path: Path, capsys: Any) -> None:
    """At the command line, where they are converted to the network's type."""
    save_file(dict(nn.LSTM(3, 5).state_dict()), tmp_path / "lstm.safetensors")
    np.save(tmp_path / "x.npy", np.full((2, 4, 3), 1e60))
    command = ["record", "lstm.safetensors", "x.npy", "-o", "run.safetensors"]
    with pytest.raises(SystemExit):
        main.main([str(tmp_path / one) if "." in one else one for one in command])
    assert "x.npy holds 1e+60, and float32 holds at most" in capsys.readouterr().err
