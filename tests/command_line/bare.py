"""What works without any extra, and what says that it needs one: `python bare.py`.

It needs no pytest and no file beside it, so that it can run where only the wheel and what it declares are installed.
Where an extra is installed, its libraries are refused.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

#: Of the extras, and of what develops the project.
REFUSED = ("xarray", "h5py", "msgpack", "onnx")


class Refuse:
    """A finder of modules that finds none of the refused."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Raise for a refused module, as Python does for one that is not there."""
        del path, target
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def works() -> None:
    """Load, record, edit, sweep, save, read, describe, show, draw and study a network."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    import probe
    from probe.command_line import main
    from probe.report import Page, Section, Text

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

    assert len(recording.to_frame()) == len(recording.parts[0].signals) * 4 * 5 * 3
    try:
        said = repr(recording.to_xarray())
    except probe.ProbeError as error:
        said = str(error)
    assert said.endswith("needs xarray, which is not installed: pip install 'rnn-probe[xarray]'."), said
    assert recording.plot.heatmap(row=0).axes
    study = probe.Study(model, x, {"sum": x.sum(2).cumsum(1)}, questions=["linear-readout"])
    assert "sum" in study.run("report").render()
    assert probe.Finding.read("report/findings/network").title

    for shown in (probe.inspect(model), recording, Page("A page", "Its lead.", [Section("One", [Text("x")], "one")])):
        assert repr(shown)
        assert shown._repr_html_()
    for words in (
        "--help",
        "inspect weights.safetensors",
        "record weights.safetensors inputs.npy -o run.npz",
        "convert weights.safetensors -o converted",
        "show recording.safetensors",
        "verify recording.safetensors",
        "new-study weights.safetensors",
    ):
        with redirect_stdout(io.StringIO()) as out:
            assert main.run(words.split()) == 0
        assert out.getvalue()


def found() -> None:
    """Every name by a star import; a `probe.py` in the reader's folder before the package, but not with `-P`."""
    names: dict[str, object] = {}
    exec("from probe import *", names)
    assert len(names) > 20
    Path("probe.py").touch()
    command = "import probe; probe.__version__"
    calls = [subprocess.call([sys.executable, how, command], stderr=subprocess.DEVNULL) for how in ("-c", "-Pc")]
    assert calls == [1, 0]


if __name__ == "__main__":
    sys.meta_path.insert(0, Refuse())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        works()
        found()
        os.chdir(os.sep)
