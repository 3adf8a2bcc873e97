"""`rnn-probe inspect` and `rnn-probe record`: files of weights and inputs in, descriptions and recordings out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import ran, refused
from refusing import refused as raised
from safetensors.torch import save_file
from torch import Tensor, nn

import probe
from probe.command_line.network_files import write_recording

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


class InLoop(nn.Module):
    """A cell that is called once for each step."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states, (batch, time, unit)."""
        state, states = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            states.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(states, 1)


class Model(nn.Module):
    """A network under a name, and a layer that is none."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.add_module(name, module)
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Any:
        """Return what the network returns."""
        return next(self.children())(x)


NETWORKS = {
    "lstm": nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2, batch_first=True),
    "lstm double": nn.LSTM(3, 5, batch_first=True, dtype=torch.float64),
    "gru": nn.GRU(3, 5, 2, batch_first=True),
    "rnn": nn.RNN(3, 5, nonlinearity="relu", bidirectional=True, batch_first=True),
}
CELLS = {"lstm": nn.LSTMCell(3, 5), "gru": nn.GRUCell(3, 5), "rnn": nn.RNNCell(3, 5, nonlinearity="relu")}


def assert_same(one: probe.Recording, two: probe.Recording) -> None:
    """Check that two recordings hold the same layers, signals and bits."""
    assert one.layers == two.layers
    assert (one.steps, one.not_called, one.max_error) == (two.steps, two.not_called, two.max_error)
    for part, other in zip(one.parts, two.parts, strict=True):
        assert list(part.signals) == list(other.signals)
        assert all(torch.equal(part.signals[signal], other.signals[signal]) for signal in part.signals)


def relu(kind: str) -> list[str]:
    """Return the words that a plain RNN needs and nothing else takes."""
    return ["--activation", "relu"] if "rnn" in kind else []


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
def test_record_equals_the_recording_of_the_module(
    kind: str, bare: bool, suffix: str, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers, names, signals and bits are those of probe.record on the module that was saved."""
    model = NETWORKS[kind] if bare else Model("rnn", NETWORKS[kind])
    file, out = inputs.with_name(f"w{suffix}"), inputs.with_name("out.safetensors")
    _ = torch.save(model.state_dict(), file) if suffix == ".pt" else save_file(model.state_dict(), file)
    printed = ran(capsys, "record", file, inputs, "-o", out, *relu(kind))
    x = torch.from_numpy(np.load(inputs)).to(next(model.parameters()).dtype)
    assert_same(probe.load_recording(out), probe.record(model, x))
    assert printed.splitlines()[-1] == f"written: {out}"
    assert printed.startswith(ran(capsys, "show", out))


@pytest.mark.parametrize("kind", CELLS)
def test_record_calls_a_cell_in_a_loop(kind: str, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell is called once for each step, from zeros, as a loop of one's own does it."""
    model = InLoop(CELLS[kind])
    file, out = inputs.with_name("w.pt"), inputs.with_name("out.safetensors")
    torch.save(model.state_dict(), file)
    _ = ran(capsys, "record", file, inputs, "-o", out, *relu(kind))
    recording = probe.load_recording(out)
    expected = probe.record(model, torch.from_numpy(np.load(inputs)).float())
    assert_same(recording, expected)
    assert torch.equal(recording.output, expected.output)
    torch.save(CELLS[kind].state_dict(), file)
    _ = ran(capsys, "record", file, inputs, "-o", out, *relu(kind), "--overwrite")
    assert probe.load_recording(out).layers == ("[0]",)
    assert torch.equal(probe.load_recording(out).output, expected.output)


def test_the_nonlinearity_given_is_used(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the other one the recording is another; without any the file is refused, by both commands."""
    file, out = inputs.with_name("w.pt"), inputs.with_name("out.safetensors")
    torch.save(nn.RNN(3, 5).state_dict(), file)
    states = []
    for name in ("tanh", "relu"):
        _ = ran(capsys, "record", file, inputs, "-o", out, "--activation", name, "--overwrite")
        states.append(probe.load_recording(out)["hidden_state"])
    assert bool((states[1] >= 0).all())
    assert bool((states[0] < 0).any())
    out.unlink()
    for words in (["convert", file, "-o", out], ["record", file, inputs, "-o", out]):
        assert "usual are 'tanh' (torch's default) and 'relu'." in refused(capsys, *words)
    assert not out.exists()
    assert "open: 'weight_hh_l0': it is a plain RNN" in ran(capsys, "inspect", file)
    assert "Did you mean 'relu'?" in refused(capsys, "inspect", file, "--activation", "rel")


def test_signals_and_steps_are_chosen(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--signals` and `--steps` take several, negative steps too, and mean what they mean in Python."""
    out = inputs.with_name("out.safetensors")
    words = ["--signals", "cell_state", "input_gate_preactivation", "--steps", "0", "-1"]
    printed = ran(capsys, "record", weights, inputs, "--out", out, *words)
    assert "steps: 0 -1" in printed
    recording = probe.load_recording(out)
    assert recording.steps == (0, -1)
    assert list(map(str, recording.parts[0].signals)) == ["input_gate_preactivation", "cell_state"]
    _ = ran(capsys, "record", weights, inputs, "-o", out, "--overwrite")
    assert torch.equal(recording["cell_state"], probe.load_recording(out)["cell_state"][:, [0, -1]])


def test_npz_holds_an_array_a_layer_and_signal(
    weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The keys are `layer.signal`, the arrays (batch, time, unit), and the file's bytes are the same each time."""
    saved, out = inputs.with_name("out.safetensors"), inputs.with_name("out.npz")
    _ = ran(capsys, "record", weights, inputs, "-o", saved)
    _ = ran(capsys, "record", weights, inputs, "-o", out)
    recording = probe.load_recording(saved)
    with np.load(out) as arrays:
        assert list(arrays) == [f"rnn[0].{signal}" for signal in recording.parts[0].signals]
        assert arrays["rnn[0].cell_state"].shape == (4, 7, 5)
        assert all(np.array_equal(arrays[f"rnn[0].{s}"], recording[s].numpy()) for s in recording.parts[0].signals)
    before = out.read_bytes()
    _ = ran(capsys, "record", weights, inputs, "-o", out, "--overwrite")
    assert out.read_bytes() == before


def test_npz_tells_calls_apart(tmp_path: Path, pair: nn.Module, x: Tensor) -> None:
    """A layer that was called several times has its call's number in the key."""
    recording = probe.record(pair, x, signals=["cell_state"])
    write_recording(recording, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert list(arrays) == ["low[0].cell_state", "high[0]/0.cell_state", "high[0]/1.cell_state"]
        for number in (0, 1):
            expected = recording.call(number)["high[0]", "cell_state"].numpy()
            assert np.array_equal(arrays[f"high[0]/{number}.cell_state"], expected)


def test_csv_is_the_tidy_table(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what Recording.to_frame returns, to the bit of the numbers."""
    saved, out = inputs.with_name("out.safetensors"), inputs.with_name("out.csv")
    for path in (saved, out):
        _ = ran(capsys, "record", weights, inputs, "-o", path, "--steps", "2")
    frame = probe.load_recording(saved).to_frame()
    back = pd.read_csv(out, dtype=frame.dtypes.to_dict())
    pd.testing.assert_frame_equal(back, frame, check_exact=True)
    assert b"\r" not in out.read_bytes()


def test_a_network_is_named(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several one must be named, as the file names it, and so are its layers."""
    file, out = inputs.with_name("w.pt"), inputs.with_name("out.safetensors")
    named = {"module.low": nn.LSTM(3, 5), "module.train": nn.GRU(3, 4)}
    torch.save({f"{n}.{key}": value for n, m in named.items() for key, value in m.state_dict().items()}, file)
    words = ["record", file, inputs, "-o", out]
    assert "holds 2 networks ('module.low', 'module.train'); name one: --network NAME" in refused(capsys, *words)
    assert "no network 'module.lo'" in refused(capsys, *words, "--network", "module.lo")
    assert not out.exists()
    _ = ran(capsys, *words, "--network", "module.train")
    assert probe.load_recording(out).layers == ("module.train[0]",)


def test_what_exists_is_kept(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --overwrite an existing file is refused; what the recording is made from is never replaced."""
    out = inputs.with_name("out.npz")
    _ = out.write_bytes(b"precious")
    words = ["record", weights, inputs, "-o"]
    assert "out.npz' exists. Give another path, or --overwrite" in refused(capsys, *words, out)
    assert out.read_bytes() == b"precious"
    _ = ran(capsys, *words, out, "--overwrite")
    assert out.read_bytes() != b"precious"
    before = weights.read_bytes()
    assert "is a file that the recording is made from" in refused(capsys, *words, weights, "--overwrite")
    assert weights.read_bytes() == before


def test_failed_work_leaves_nothing(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown signal, a step beyond the input or a folder that is a file: no file is written, none is harmed."""
    out = inputs.with_name("out.csv")
    _ = out.write_bytes(b"precious")
    words = ["record", weights, inputs, "--overwrite", "-o"]
    assert "Did you mean 'cell_state'?" in refused(capsys, *words, out, "--signals", "cel_state")
    assert "steps=7 lies outside the input of layer 'rnn[0]'" in refused(capsys, *words, out, "--steps", "7")
    assert "Cannot write" in refused(capsys, *words, inputs / "out.csv")
    assert out.read_bytes() == b"precious"
    assert sorted(path.name for path in inputs.parent.iterdir()) == ["out.csv", "w.safetensors", "x.npy"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["record", "w", "x", "-o", "out.txt"],
            1,
            "'out.txt' ends in '.txt'; a recording is written as .safetensors",
        ),
        (["record", "w.pt", "x", "-o", "out.csv"], 1, "'w.pt' does not exist"),
        (["inspect", "w.onnx"], 1, "'w.onnx' does not exist. Give the path of a file of weights: .pt"),
        (["record", "w.pt", "x"], 2, "--out"),
        (["record", "w.pt", "-o", "out.csv"], 2, "INPUTS"),
        (["record", "w.pt", "x", "-o", "out.csv", "--steps", "two"], 2, "--steps"),
        (["inspct", "w.pt"], 2, 'Did you mean "inspect"?'),
        (["inspect", "w.pt", "--jsn"], 2, "Did you mean --json?"),
    ],
)
def test_wrong_words_are_refused(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing or misspelt is named; failed work exits with 1 and wrong usage with 2."""
    assert message in refused(capsys, *words, code=code)


def test_inspect_describes_the_networks(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Source, classes, dtypes, the lines of probe.inspect, and what is not used."""
    model, file = Model("rnn", NETWORKS["lstm"]), inputs.with_name("w.pt")
    torch.save({"epoch": 1, "model": model.state_dict()}, file)
    lines = ran(capsys, "inspect", file).splitlines()
    assert lines[0] == "source: PyTorch checkpoint, state_dict under 'model'"
    assert lines[1].startswith("rnn: LSTM, float32, from ")
    assert lines[2:6] == [f"  {layer}" for layer in probe.inspect(model).layers]
    assert lines[6:] == ["other arrays: head.weight 2 x 2, head.bias 2"]
    torch.save(nn.LSTM(3, 5, dtype=torch.float64).state_dict(), file)
    lines = ran(capsys, "inspect", file).splitlines()
    assert lines[1].startswith("LSTM, float64, from ")
    assert lines[2].startswith("  [0]: LSTM, 3 inputs, 5 units, ")
    assert lines[3] == "other arrays: none"


def test_inspect_describes_them_in_json(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` says the same for programs."""
    model, file = Model("rnn", NETWORKS["lstm"]), inputs.with_name("w.safetensors")
    save_file(model.state_dict(), file)
    described = json.loads(ran(capsys, "inspect", file, "--json"))
    assert described["source"] == {
        "framework": "PyTorch",
        "version": "",
        "format": "safetensors",
        "chosen": [],
        "assumed": [],
    }
    assert described["open"] == described["not_understood"] == []
    assert described["other_arrays"] == {"head.bias": [2], "head.weight": [2, 2]}
    (network,) = described["networks"]
    assert (network["network"], network["class"], network["dtype"]) == ("rnn", "LSTM", "float32")
    first = probe.inspect(model).layers[0]
    assert network["layers"][0] == vars(first) | {"signals": list(first.signals)}
    assert [layer["name"] for layer in network["layers"]] == [layer.name for layer in probe.inspect(model).layers]


@pytest.mark.parametrize("command", ["inspect", "record"])
def test_help_needs_nothing_heavy(command: str) -> None:
    """`rnn-probe inspect --help` and `record --help` answer without torch and numpy."""
    code = (
        f"import sys, probe.command_line.main; probe.command_line.main.run([{command!r}, '--help']); "
        "print([name for name in ('torch', 'numpy', 'pandas', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_warning_of_torch_reaches_the_terminal(inputs: Path) -> None:
    """A projected LSTM makes torch warn about its kernels once in a process; here stderr stays empty."""
    file = inputs.with_name("w.pt")
    torch.save(NETWORKS["lstm"].state_dict(), file)
    words = ["record", str(file), str(inputs), "-o", str(inputs.with_name("out.npz"))]
    done = subprocess.run(
        [sys.executable, "-m", "probe.command_line.main", *words], capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""


@pytest.mark.parametrize("command", ["inspect", "convert", "record", "new-study"])
@pytest.mark.parametrize(
    "prefix", ["loop.i2h", "layers.0.mixer.A_log", "blocks.0.xlstm.slstm_cell._recurrent_kernel_"]
)
def test_a_refusal_names_the_page_about_other_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prefix: str, command: str
) -> None:
    """Weights of a hand-written loop, of Mamba or of xLSTM are refused with the page that says what can be done."""
    file = tmp_path / "weights.safetensors"
    save_file({f"{prefix}.weight": torch.zeros(8, 4)}, file)
    words = {"convert": ["-o", tmp_path / "out"], "record": [file, "-o", tmp_path / "out.npz"]}
    assert "docs/howto/recurrence.md shows that" in refused(capsys, command, file, *words.get(command, []))


def test_a_model_without_a_known_layer_names_the_page_about_other_cells() -> None:
    """So does a model in memory, and a cell of torch's base class that computes something else."""
    for model in (nn.Linear(2, 2), nn.RNNCellBase(2, 2, bias=True, num_chunks=1)):
        with raised():
            _ = probe.inspect(model)
