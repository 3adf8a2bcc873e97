"""What works without any extra, and what says which one it needs: `python bare.py`.

It needs no pytest and no file beside it, so that it can run where only the wheel and what it declares are installed.
Where an extra is installed, its libraries are refused.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

REFUSED = ("pandas", "scipy", "sklearn", "matplotlib", "seaborn", "xarray", "h5py", "msgpack", "onnx")
#: Not declared: of what develops the project, or what other libraries bring.
REFUSED += ("joblib", "dask", "distributed", "PIL", "threadpoolctl")


class Refuse:
    """A finder of modules that finds none of the refused."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Raise for a refused module, as Python does for one that is not there."""
        del path, target
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def works() -> None:
    """Load, record, edit, sweep, save, read, describe and show a network."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    import probe
    from probe.report import Page, Section, Table

    torch.manual_seed(0)
    layer = torch.nn.LSTM(2, 3, batch_first=True)
    save_file(layer.state_dict(), "weights.safetensors")
    _, model = probe.load("weights.safetensors").choose()
    x = torch.randn(4, 5, 2)
    np.save("inputs.npy", x.numpy())

    recording = probe.record(model, x)
    assert torch.equal(recording["hidden_state"], layer(x)[0].detach())
    recording.save("recording.safetensors")
    read = probe.load_recording("recording.safetensors")
    assert torch.equal(read["cell_state"], recording["cell_state"])

    cut = probe.ablate("cell_state", steps=2, units=[1])
    with torch.no_grad(), probe.intervene(model, cut):
        edited = model(x)[0]
    assert not torch.equal(edited, recording["hidden_state"])
    swept = probe.sweep(model, x, edits=[cut])[0]
    assert torch.allclose(swept.reshape(edited.shape), edited, atol=1e-6)

    assert "LSTM" in repr(probe.inspect(model))
    assert "Recording" in repr(recording)
    assert "<table" in recording._repr_html_()
    assert (
        "<table" in Page("A page", "Its lead.", [Section("One", [Table(["a"], [[1]], "A table.")], "one")]).render()
    )
    assert run("inspect", "weights.safetensors")
    assert run("record", "weights.safetensors", "inputs.npy", "-o", "run.npz")
    assert run("convert", "weights.safetensors", "-o", "converted")
    assert run("show", "recording.safetensors")
    assert run("verify", "recording.safetensors")
    assert run("new-study", "weights.safetensors")


def run(*words: str) -> str:
    """Run the command line and return what it prints."""
    from probe.command_line import main

    with redirect_stdout(io.StringIO()) as out:
        assert main.run(words) == 0
    return out.getvalue()


def says() -> None:
    """Ask each entry point that needs an extra for the one sentence that says so."""
    import torch

    import probe
    from probe.evidence import intervals, measurements
    from probe.storage.input_files import read_array

    layer = torch.nn.LSTM(2, 3, batch_first=True)
    x = torch.randn(4, 5, 2)
    recording = probe.record(layer, x)
    study = probe.Study(layer, x, {"sum": x.sum(2).cumsum(1)})
    Path("a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    Path("a.onnx").write_bytes(b"\x08\x07")
    Path("a.msgpack").write_bytes(b"\x81\xa1a\x01")
    Path("a.csv").write_text("sequence,step,a\n0,0,1\n")
    asked: list[tuple[Callable[[], Any], str, str, str]] = [
        (recording.to_xarray, "Recording.to_xarray", "xarray", "tables"),
        (recording.to_frame, "Recording.to_frame", "pandas", "tables"),
        (lambda: read_array(Path("a.csv")), "The inputs: reading 'a.csv'", "pandas", "tables"),
        (lambda: study.run("report"), "Study.run", "pandas", "study"),
        (lambda: importlib.import_module("probe.questions.states"), "probe.questions", "pandas", "study"),
        (lambda: importlib.import_module("probe.plots.style"), "probe.plots", "pandas", "study"),
        (lambda: probe.Finding.read("finding"), "Finding.read", "pandas", "study"),
        (lambda: measurements.tabulate([]), "A table of measurements", "pandas", "study"),
        (lambda: intervals.median_interval([1.0, 2.0]), "An interval of a median", "scipy", "study"),
        (lambda: intervals.share_interval(1, 2), "An interval of a share", "scipy", "study"),
        (lambda: probe.load("a.h5"), "'a.h5' is an HDF5 file: reading it", "h5py", "keras"),
        (lambda: probe.load("a.onnx"), "'a.onnx' is an ONNX model: reading it", "onnx", "onnx"),
        (lambda: probe.load("a.msgpack"), "'a.msgpack' is a file of Flax: reading it", "msgpack", "flax"),
    ]
    for ask, what, library, extra in asked:
        wanted = f"{what} needs {library}, which is not installed: pip install 'rnn-probe[{extra}]'."
        assert refusal(ask) == wanted, (refusal(ask), wanted)


def refusal(ask: Callable[[], Any]) -> str:
    """Return what a call is refused with."""
    from probe import ProbeError

    try:
        ask()
    except ProbeError as error:
        return str(error)
    return "nothing was refused"


if __name__ == "__main__":
    sys.meta_path.insert(0, Refuse())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        works()
        says()
        os.chdir(os.sep)
