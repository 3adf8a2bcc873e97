"""`rnn-probe inspect` and `rnn-probe record`: files of weights and inputs in, descriptions and recordings out."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bodies import Model, loop
from commands import ran, refused
from safetensors.torch import save_file
from torch import Tensor, nn

import probe
from probe.command_line.main import Choices
from probe.command_line.network_files import write_recording
from probe.studies.study_file import CHOICES

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def around(network: nn.Module) -> Model:
    """Return a model of a network, and of a layer that is none."""
    return Model(lambda m, x: m.rnn(x), rnn=network, head=nn.Linear(2, 2))


NETWORKS: dict[str, Any] = {
    "lstm": nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2, batch_first=True),
    "lstm double": nn.LSTM(3, 5, batch_first=True, dtype=torch.float64),
    "rnn": nn.RNN(3, 5, nonlinearity="relu", bidirectional=True, batch_first=True),
    "gru cell": nn.GRUCell(3, 5),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_record_equals_a_recording_of_the_module(kind: str, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers, signals and bits are those of probe.record on the module: bare, inside a model, or a cell in a loop."""
    bare, out = NETWORKS[kind], inputs.with_name("out.safetensors")
    runs = Model(loop, cell=bare) if "cell" in kind else bare
    named = runs if "cell" in kind else around(bare)
    for saved, expected_of, suffix in ((named, named, ".pt"), (bare, runs, ".safetensors")):
        file, state = inputs.with_name(f"w{suffix}"), saved.state_dict()
        _ = torch.save(state, file) if suffix == ".pt" else save_file(state, file)
        words = ["--activation", "relu"] if "rnn" in kind else []
        printed = ran(capsys, "record", file, inputs, "-o", out, *words, "--overwrite")
        x = torch.from_numpy(np.load(inputs)).to(next(bare.parameters()).dtype)
        one, two = probe.load_recording(out), probe.record(expected_of, x)
        assert one.layers == (two.layers if saved is not bare or runs is bare else ("[0]",))
        assert (one.steps, one.not_called, one.max_error) == (two.steps, two.not_called, two.max_error)
        for part, other in zip(one.parts, two.parts, strict=True):
            assert list(part.signals) == list(other.signals)
            assert all(torch.equal(part.signals[signal], other.signals[signal]) for signal in part.signals)
        assert runs is bare or torch.equal(one.output, two.output)
        assert printed == ran(capsys, "show", out) + f"written: {out}\n"


def test_the_nonlinearity_given_is_used(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the other one the recording is another; without any the file is refused, by both commands."""
    file, out = inputs.with_name("w.pt"), inputs.with_name("out.safetensors")
    torch.save(nn.RNN(3, 5).state_dict(), file)
    for words in (["convert", file, "-o", out], ["record", file, inputs, "-o", out]):
        refused(capsys, *words)
    assert not out.exists()
    assert "open: 'weight_hh_l0': it is a plain RNN" in ran(capsys, "inspect", file)
    (one,) = json.loads(ran(capsys, "inspect", file, "--json"))["open"]
    assert (one["argument"], one["option"]) == ("activation", "--activation")
    refused(capsys, "inspect", file, "--activation", "rel")
    for name in ("tanh", "relu"):
        _ = ran(capsys, "record", file, inputs, "-o", out, "--activation", name, "--overwrite")
        assert bool((probe.load_recording(out)["hidden_state"] >= 0).all()) == (name == "relu")


def test_signals_steps_and_formats_are_chosen(
    weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Negative steps too; a .npz has an array a layer and signal, a .npy one of them, a .csv the tidy table."""
    saved, npz, npy, csv = (inputs.with_name(f"out.{ending}") for ending in ("safetensors", "npz", "npy", "csv"))
    words = ["record", weights, inputs]
    _ = ran(capsys, *words, "--out", saved)
    recording = probe.load_recording(saved)
    _ = ran(capsys, *words, "-o", npz)
    with np.load(npz) as arrays:
        assert list(arrays) == [f"rnn[0].{signal}" for signal in recording.parts[0].signals]
        assert arrays["rnn[0].cell_state"].shape == (4, 7, 5)
        assert all(np.array_equal(arrays[f"rnn[0].{s}"], recording[s].numpy()) for s in recording.parts[0].signals)
    before = npz.read_bytes()
    _ = ran(capsys, *words, "-o", npz, "--overwrite")
    assert npz.read_bytes() == before
    refused(capsys, *words, "-o", npy)
    _ = ran(capsys, *words, "-o", npy, "--signals", "cell_state")
    assert np.array_equal(np.load(npy), recording["cell_state"].numpy())
    chosen = ["--signals", "cell_state", "input_gate_preactivation", "--steps", "0", "-1"]
    assert "steps: 0 -1" in ran(capsys, *words, "-o", saved, *chosen, "--overwrite")
    few = probe.load_recording(saved)
    assert few.steps == (0, -1)
    assert list(map(str, few.parts[0].signals)) == ["input_gate_preactivation", "cell_state"]
    assert torch.equal(few["cell_state"], recording["cell_state"][:, [0, -1]])
    _ = ran(capsys, *words, "-o", csv, *chosen)
    frame = few.to_frame()
    pd.testing.assert_frame_equal(pd.read_csv(csv, dtype=frame.dtypes.to_dict()), frame, check_exact=True)
    assert b"\r" not in csv.read_bytes()


def test_npz_tells_calls_apart(tmp_path: Path, pair: nn.Module, x: Tensor) -> None:
    """A layer that was called several times has its call's number in the key."""
    recording = probe.record(pair, x, signals=["cell_state"])
    write_recording(recording, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert list(arrays) == ["low[0].cell_state", "high[0]/0.cell_state", "high[0]/1.cell_state"]
        for number in (0, 1):
            expected = recording.call(number)["high[0]", "cell_state"].numpy()
            assert np.array_equal(arrays[f"high[0]/{number}.cell_state"], expected)


def test_a_network_is_named(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several one must be named, as the file names it, and so are its layers."""
    file, out = inputs.with_name("w.pt"), inputs.with_name("out.safetensors")
    named = {"module.low": nn.LSTM(3, 5), "module.train": nn.GRU(3, 4)}
    torch.save({f"{n}.{key}": value for n, m in named.items() for key, value in m.state_dict().items()}, file)
    words = ["record", file, inputs, "-o", out]
    refused(capsys, *words)
    refused(capsys, *words, "--network", "module.lo")
    assert not out.exists()
    _ = ran(capsys, *words, "--network", "module.train")
    assert probe.load_recording(out).layers == ("module.train[0]",)


def test_what_exists_is_kept_and_failed_work_leaves_nothing(
    weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --overwrite a file is kept, with it where the work fails; what a recording is made from always."""
    out, before = inputs.with_name("out.npz"), weights.read_bytes()
    _ = out.write_bytes(b"precious")
    words = ["record", weights, inputs, "-o"]
    refused(capsys, *words, out)
    for failing in (["--signals", "cel_state"], ["--steps", "7"]):
        refused(capsys, *words, out, "--overwrite", *failing)
    refused(capsys, *words, inputs / "out.csv", "--overwrite")
    refused(capsys, *words, weights, "--overwrite")
    assert (out.read_bytes(), weights.read_bytes()) == (b"precious", before)
    assert sorted(path.name for path in inputs.parent.iterdir()) == ["out.npz", "w.safetensors", "x.npy"]
    _ = ran(capsys, *words, out, "--overwrite")
    assert out.read_bytes() != b"precious"


def test_inspect_describes_the_networks(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Source, classes, dtypes, the lines of probe.inspect, and what is not used; `--json` for programs."""
    model, file = around(NETWORKS["lstm"]), inputs.with_name("w.pt")
    torch.save({"epoch": 1, "model": model.state_dict()}, file)
    found = probe.inspect(model).layers
    lines = ran(capsys, "inspect", file).splitlines()
    assert lines[0] == "source: PyTorch checkpoint, state_dict under 'model'"
    assert lines[1].startswith("rnn: LSTM, float32, from ")
    assert lines[2:] == [*(f"  {layer}" for layer in found), "other arrays: head.weight 2 x 2, head.bias 2"]
    described = json.loads(ran(capsys, "inspect", file, "--json"))
    assert (described["source"]["framework"], described["source"]["chosen"]) == ("PyTorch", [])
    assert described["open"] == described["not_understood"] == described["source"]["assumed"] == []
    assert described["other_arrays"] == {"head.bias": [2], "head.weight": [2, 2]}
    (network,) = described["networks"]
    assert (network["network"], network["class"], network["dtype"]) == ("rnn", "LSTM", "float32")
    assert network["layers"] == [vars(layer) | {"signals": list(layer.signals)} for layer in found]


LENGTHS = np.array([7, 3, 5, 1])
X = np.random.default_rng(0).integers(0, 2, (4, 7, 3)).astype(float)
#: A table of these sequences as they are padded, a row for each step, in any order but for which comes first.
ROWS = [
    {"sequence": f"s{row}", "step": step + 1} | dict(zip("abc", X[row, step], strict=True))
    for row in range(4)
    for step in np.random.default_rng(1).permutation(LENGTHS[row])
]


def wrote(path: Path, content: Any) -> Path:
    """Write bytes, an array, the arrays of an archive or the rows of a table; nothing removes the file."""
    if content is None:
        path.unlink(missing_ok=True)
    elif isinstance(content, bytes):
        _ = path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, list):
        pd.DataFrame(content).to_csv(path, index=False)
    else:
        np.save(path, content)
    return path


WRONG: list[tuple[str, Any, str]] = [
    *(
        ("x.npy", array, "")
        for array in (
            *(np.zeros(shape) for shape in ((4, 7), (4, 7, 2), (0, 7, 3), (4, 0, 3))),
            np.zeros((4, 7), np.int64),
            np.zeros((4, 7, 3), complex),
            np.full((4, 7, 3), np.nan, np.float32),
            np.array([{"a": 1}], dtype=object),
        )
    ),
    *(("x.npy", content, "") for content in (None, b"", b"garbage", b"\x93NUMPY\x01\x00v\x00{'descr'")),
    *(("x.npz", {"x": X, "y": X}, words) for words in ("", "--key z")),
    ("x.csv", ROWS, "--lengths n.npy"),
    ("x.csv", ROWS[1:], ""),
    ("x.csv", [*ROWS, ROWS[3]], ""),
    ("x.csv", [{**one, "step": 0.5} for one in ROWS], ""),
    ("x.csv", [{"sequence": 1, "a": 1.0}], ""),
    ("x.csv", [{"sequence": 1, "step": 1}], ""),
    ("x.csv", [{**one, "c": "x"} for one in ROWS], ""),
    *(("n.npy", np.array(n), "--lengths n.npy") for n in ([7, 7, 7], [7.0] * 4, [7, 7, 8, 7], [7, 7, 0, 7])),
]


@pytest.mark.usefixtures("weights")
def test_inputs_that_do_not_fit_are_refused(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their shape or type is named beside what is expected; what is missing, damaged or pickled is not opened."""
    folder, right = inputs.parent, inputs.read_bytes()
    for name, content, words in WRONG:
        _ = wrote(folder / "x.npy", right), wrote(folder / "n.npy", LENGTHS), wrote(folder / name, content)
        given = [folder / word if word.endswith(".npy") else word for word in words.split()]
        read = folder / ("x.npy" if name == "n.npy" else name)
        refused(capsys, "record", folder / "w.safetensors", read, *given, "-o", folder / "out.csv")


@pytest.mark.usefixtures("weights")
def test_inputs_that_say_the_same_give_the_same_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arrays of any numbers and byte order, archives and tables; whatever lies beyond a length is not looked at."""
    words, ends = ["record", tmp_path / "w.safetensors"], ["--lengths", wrote(tmp_path / "n.npy", LENGTHS)]
    cases: list[tuple[str, Any, list[Any]]] = [
        *(("x.npy", X.astype(dtype), ends) for dtype in (float, ">f4", "f2", np.longdouble, np.int64)),
        ("x.npy", np.where(np.arange(7)[:, None] < LENGTHS[:, None, None], X, np.nan), ends),
        ("x.csv", ROWS, []),
        ("x.npz", {"x": X}, ends),
        ("y.npz", {"x": np.zeros((4, 7, 3)), "y": X}, [*ends, "--key", "y"]),
    ]
    tables = list[bytes]()
    for number, (name, content, more) in enumerate(cases):
        out = tmp_path / f"{number}.csv"
        _ = ran(capsys, *words, wrote(tmp_path / name, content), *more, "-o", out)
        tables.append(out.read_bytes())
    assert tables == tables[:1] * len(cases)
    values = pd.read_csv(tmp_path / "0.csv").query("signal == 'cell_state'")["value"]
    assert (len(values), values.notna().all()) == (5 * LENGTHS.sum(), True)


def test_what_is_assumed_and_not_understood_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON."""
    drawn = np.random.default_rng(0)
    arrays = {"lstm/kernel": drawn.normal(size=(2, 12)), "lstm/recurrent_kernel": drawn.normal(size=(3, 12))}
    file = wrote(tmp_path / "a.npz", arrays | {"words": np.array(["a"])})
    words = ["inspect", file, "--gate-activation", "sigmoid"]
    printed, described = ran(capsys, *words), json.loads(ran(capsys, *words, "--json"))
    assert "assumed: lstm: no step is hidden by a mask" in printed
    assert "not understood: words" in printed
    assert any("no step is hidden by a mask" in sentence for sentence in described["source"]["assumed"])
    assert described["not_understood"] == ["words"]


def test_the_arguments_of_load_can_be_said_everywhere() -> None:
    """At the command line, and under [network] in a study's file: the same names, none missing and none more."""
    arguments = set(inspect.signature(probe.load).parameters) - {"path", "into"}
    assert set(Choices.__dataclass_fields__) == set(CHOICES) == arguments


def test_arrays_are_renamed_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ARRAY=NAME, an equals sign in ARRAY included; what is neither is refused."""
    state = nn.GRU(2, 3).state_dict()
    file = wrote(tmp_path / "a.npz", {f"my=gru {name}": value.numpy() for name, value in state.items()})
    refused(capsys, "inspect", file)
    renamed = [f"my=gru {name}=enc.{name}" for name in state]
    assert "enc: GRU, float32" in ran(capsys, "inspect", file, "--names", *renamed)
    left = ran(capsys, "inspect", file, "--names", *renamed[:2], "my=gru bias_*=")
    assert "enc: GRU, float32" in left
    assert "other arrays: my=gru bias_ih_l0 9, my=gru bias_hh_l0 9" in left
    refused(capsys, "inspect", file, "--names", "enc", code=2)
