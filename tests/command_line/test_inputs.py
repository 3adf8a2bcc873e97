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
from probe.loading.checkpoint import Source
from probe.loading.converted import convert
from probe.loading.modules import Backwards
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


WRONG: list[tuple[str, Any, str]] = [
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
    assert pd.read_csv(tmp_path / "0.csv")["cell_state"].notna().sum() == 5 * LENGTHS.sum()


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
    """Backwards, as Keras and ONNX have it: what runs it has no size of its own, and holds what has."""
    turned = Backwards(nn.LSTM(2, 3, batch_first=True), restored=True)
    _ = convert(probe.Checkpoint({"enc": turned}, {}, Source("Keras", "a file")), tmp_path / "net")
    x = wrote(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2, 4, 2)).astype("f4"))
    assert record_file(tmp_path / "net", x, tmp_path / "o.npz")["hidden_state"].shape == (2, 4, 3)
