"""What `rnn-probe` reads: inputs, and files of weights that leave something open."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import ran, refused
from torch import nn

import probe
from probe.command_line.main import Choices
from probe.command_line.network_files import record_file
from probe.studies.study_file import CHOICES

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
        np.savez(path, allow_pickle=True, **content)
    elif isinstance(content, list):
        pd.DataFrame(content).to_csv(path, index=False)
    else:
        np.save(path, content)
    return path


@pytest.mark.usefixtures("weights", "inputs")
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        *(
            ("x.npy", array, "")
            for array in (
                np.zeros((4, 7)),
                np.zeros((4, 7, 2)),
                np.zeros((0, 7, 3)),
                np.zeros((4, 0, 3)),
                np.zeros((4, 7), np.int64),
                np.zeros((4, 7, 3), complex),
                np.full((4, 7, 3), np.nan, np.float32),
                np.array([{"a": 1}], dtype=object),
            )
        ),
        *(("x.npy", content, "") for content in (None, b"", b"garbage", b"\x93NUMPY\x01\x00v\x00{'descr'")),
        ("x.npz", {"x": X, "y": X}, ""),
        ("x.npz", {"x": X, "y": X}, "--key z"),
        ("x.csv", ROWS, "--lengths n.npy"),
        ("x.csv", ROWS[1:], ""),
        ("x.csv", [*ROWS, ROWS[3]], ""),
        ("x.csv", [{**one, "step": 0.5} for one in ROWS], ""),
        ("x.csv", [{"sequence": 1, "a": 1.0}], ""),
        ("x.csv", [{"sequence": 1, "step": 1}], ""),
        ("x.csv", [{**one, "c": "x"} for one in ROWS], ""),
        *(
            ("n.npy", np.array(lengths), "--lengths n.npy")
            for lengths in ([7, 7, 7], [7.0] * 4, [7, 7, 8, 7], [7, 7, 0, 7])
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    name: str, content: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their shape or type is named beside what is expected; what is missing, damaged or pickled is not opened."""
    _ = wrote(tmp_path / "n.npy", LENGTHS), wrote(tmp_path / name, content)
    given = [tmp_path / word if word.endswith(".npy") else word for word in words.split()]
    read = tmp_path / ("x.npy" if name == "n.npy" else name)
    refused(capsys, "record", tmp_path / "w.safetensors", read, *given, "-o", tmp_path / "out.csv")


@pytest.mark.usefixtures("weights", "inputs")
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.npy", np.where(np.arange(7)[:, None] < LENGTHS[:, None, None], X, np.nan), "--lengths n.npy"),
        ("x.csv", ROWS, ""),
        ("x.npz", {"x": X}, "--lengths n.npy"),
        ("x.npz", {"x": np.zeros((4, 7, 3)), "y": X}, "--lengths n.npy --key y"),
        *(("x.npy", X.astype(dtype), "--lengths n.npy") for dtype in (">f4", "f2", np.longdouble, np.int64)),
    ],
)
def test_inputs_that_say_the_same_give_the_same_recording(
    name: str, content: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arrays of any numbers and byte order, archives and tables; whatever lies beyond a length is not looked at."""
    out, expected, ends = (tmp_path / one for one in ("out.csv", "expected.csv", "n.npy"))
    words_of_all = ["record", tmp_path / "w.safetensors"]
    _ = ran(capsys, *words_of_all, wrote(tmp_path / "x.npy", X), "--lengths", wrote(ends, LENGTHS), "-o", expected)
    given = [ends if word == "n.npy" else word for word in words.split()]
    _ = ran(capsys, *words_of_all, wrote(tmp_path / name, content), *given, "-o", out)
    assert out.read_bytes() == expected.read_bytes()
    assert pd.read_csv(out)["cell_state"].notna().sum() == 5 * LENGTHS.sum()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the arrays of a cell of TensorFlow 1, whose forget bias no file says, beside inputs."""
    drawn = np.random.default_rng(0)
    sizes = {"kernel": (5, 12), "bias": (12,)}
    arrays = {f"cell/basic_lstm_cell/{name}": drawn.normal(size=size).astype("f4") for name, size in sizes.items()}
    wrote(tmp_path / "x.npy", drawn.normal(size=(2, 4, 2)).astype("f4"))
    return wrote(tmp_path / "a.npz", arrays)


def test_the_option_that_decides_is_named_and_taken(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it nothing is done; with two values two networks are recorded, each that of `probe.load`."""
    x = file.with_name("x.npy")
    refused(capsys, "record", file, x, "-o", file.with_name("o.npz"))
    states = []
    for bias in (0.0, 1.0):
        out = file.with_name(f"{bias}.safetensors")
        _ = ran(capsys, "record", file, x, "-o", out, "--forget-bias", bias)
        states.append(probe.load_recording(out)["hidden_state"])
        (module,) = probe.load(file, forget_bias=bias).recurrent.values()
        assert torch.equal(states[-1], probe.record(module, torch.from_numpy(np.load(x)))["hidden_state"])
    assert not torch.equal(*states)


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


READOUT = 'concept = "c"\nfunction = "f.py:head"\n'


@pytest.mark.parametrize(
    "changed",
    [
        {"network": 'file = "a.npz"'},
        {"concepts.c": 'file = "two.npz"'},
        {"inputs": 'file = "two.npz"'},
        {"inputs": 'file = "x.npy"\nlengths = "two.npz"'},
        {"inputs": 'file = "x.npy"\nsymbols = "abc"'},
        {"inputs": 'file = "x.npy"\nvalid = "f.py:never"'},
        *({"readout": f"{READOUT}interchange_step = {step}"} for step in (3, -3)),
        *({"readout": f"{READOUT}steps = {steps}"} for steps in ('"some"', "[]", "[1, 3]", "true", "3")),
    ],
)
def test_a_key_of_a_study_that_does_not_fit_is_refused(
    changed: dict[str, str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the argument that the message names, and never as an option: a study is told in its own words."""
    folder, x = file.parent, np.load(file.with_name("x.npy")).repeat(8, 0)
    for name, content in (("x.npy", x), ("c.npy", x[:, :, 0]), ("two.npz", {"a": x, "b": x})):
        wrote(folder / name, content)
    _ = (folder / "f.py").write_text("def never(x):\n    return False\ndef head(h):\n    return h[:, 0]\n")
    network = 'file = "a.npz"\nforget_bias = 1.0'
    tables = {"network": network, "inputs": 'file = "x.npy"', "concepts.c": 'file = "c.npy"'} | changed
    _ = (folder / "s.toml").write_text("\n".join(f"[{name}]\n{text}" for name, text in tables.items()))
    refused(capsys, "report", folder / "s.toml", "-o", folder / "out")


def test_a_study_in_python_is_told_as_python_says_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole sentence, and no hint at keys of a file that there is not."""
    study = file.with_name("s.py")
    _ = study.write_text(f"import probe\nstudy = probe.Study(probe.load({str(file)!r}), 'x.npy', {{'c': len}})\n")
    refused(capsys, "report", study, "-o", file.with_name("out"))


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
    refused(capsys, "inspect", file, "--names", "enc")


def test_a_layer_that_runs_in_another_way_is_recorded(tmp_path: Path) -> None:
    """Backwards, as a file of ONNX has it: what runs it has no size of its own, and holds what has."""
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, onnx.numpy_helper
    drawn = np.random.default_rng(0)
    weights = {"W": (1, 12, 2), "R": (1, 12, 3)}
    kept = [numbers.from_array(drawn.normal(size=size).astype("float32"), name) for name, size in weights.items()]
    node = helper.make_node("LSTM", ["x", "W", "R"], ["y"], name="rnn", direction="reverse", hidden_size=3)
    values = [helper.make_tensor_value_info(name, 1, None) for name in ("x", "y")]
    graph = helper.make_graph([node], "graph", values[:1], values[1:], kept)
    onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
    x = wrote(tmp_path / "x.npy", drawn.normal(size=(2, 4, 2)).astype("f4"))
    assert record_file(tmp_path / "a.onnx", x, tmp_path / "o.npz")["hidden_state"].shape == (2, 4, 3)
