"""What `rnn-probe` reads: inputs, and files of weights that leave something open.

- The inputs of `rnn-probe record`: arrays, archives and tables, of sequences of one length or several.
- What a file of weights leaves open is said at the command line too, and what is assumed is printed.
"""

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
from refusing import refused as raised
from torch import Tensor, nn

import probe
from probe.command_line.main import Choices, run
from probe.command_line.network_files import record_file
from probe.studies.study_file import CHOICES


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 7), np.float32), "of shape (4, 7); they must be numbers, (batch, time, 3)"),
        (
            np.zeros((4, 7, 2), np.float32),
            "have shape (4, 7, 2); the network reads 3 features a step, so they must be (batch, time, 3)",
        ),
        (
            np.zeros((0, 7, 3), np.float32),
            "of shape (0, 7, 3); they must be numbers, (batch, time, 3), with at least one of each",
        ),
        (
            np.zeros((4, 0, 3), np.float32),
            "of shape (4, 0, 3); they must be numbers, (batch, time, 3), with at least one of each",
        ),
        (np.zeros((4, 7), np.int64), "tokens must be embedded first"),
        (np.zeros((4, 7, 3), complex), "are complex128 of shape (4, 7, 3); they must be numbers"),
        (
            np.full((4, 7, 3), np.nan, np.float32),
            "x.npy' are nan at sequence 0, step 0 (28 steps in all). Give finite",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    array: np.ndarray, message: str, weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their shape or type is named, beside what is expected."""
    np.save(inputs, array)
    assert message in refused(capsys, "record", weights, inputs, "-o", inputs.with_name("out.csv"))


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_inputs_that_cannot_be_read_are_refused(
    content: bytes | None, weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, empty, damaged: the message says what to give."""
    inputs.unlink()
    if content is not None:
        _ = inputs.write_bytes(content)
    error = refused(capsys, "record", weights, inputs, "-o", inputs.with_name("out.csv"))
    assert ("there is no file" if content is None else "x.npy' cannot be read (") in error
    assert "Give a .npy file that numpy.save wrote, " in error


def test_an_archive_is_read_and_nothing_pickled_is_opened(
    weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an archive the only array is taken, or the one that is named; objects are refused."""
    archive, out, expected = (inputs.with_name(name) for name in ("x.npz", "out.npz", "expected.npz"))
    _ = ran(capsys, "record", weights, inputs, "-o", expected)
    np.savez(archive, x=np.load(inputs))
    _ = ran(capsys, "record", weights, archive, "-o", out)
    assert out.read_bytes() == expected.read_bytes()
    np.savez(archive, x=np.zeros((4, 7, 3)), y=np.load(inputs))
    words = ["record", weights, archive, "-o", out, "--overwrite"]
    assert "is an archive of 'x', 'y'. Say which array with key=. At the command line: --key." in refused(
        capsys, *words
    )
    assert "There is no array 'z'; there is 'x', 'y'" in refused(capsys, *words, "--key", "z")
    _ = ran(capsys, *words, "--key", "y")
    assert out.read_bytes() == expected.read_bytes()
    np.save(inputs, np.array([{"a": 1}], dtype=object))
    assert "cannot be read (Object arrays" in refused(capsys, "record", weights, inputs, "-o", out, "--overwrite")


def test_a_table_of_sequences_of_several_lengths_is_what_packed_sequences_are(
    weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A .csv has a row for each step, in any order; it says what --lengths says of a padded array."""
    x, lengths = np.load(inputs).astype(np.float32), [7, 3, 5, 1]
    rows = [
        {"sequence": f"s{row}", "step": step + 1, "a": x[row, step, 0], "b": x[row, step, 1], "c": x[row, step, 2]}
        for row in range(4)
        for step in range(lengths[row])
    ]
    mixed = [rows[0], *(rows[place] for place in np.random.default_rng(1).permutation(np.arange(1, len(rows))))]
    mixed.sort(key=lambda one: one["sequence"])
    table, ends, out, expected = (inputs.with_name(name) for name in ("x.csv", "n.npy", "out.csv", "expected.csv"))
    pd.DataFrame(mixed).to_csv(table, index=False)
    np.save(inputs, x)
    np.save(ends, np.array(lengths))
    _ = ran(capsys, "record", weights, table, "-o", out)
    _ = ran(capsys, "record", weights, inputs, "--lengths", ends, "-o", expected)
    assert out.read_bytes() == expected.read_bytes()
    assert pd.read_csv(out)["cell_state"].notna().sum() == 5 * sum(lengths)
    words = ["record", weights, table, "-o", out, "--overwrite"]
    assert "says itself how long its sequences are" in refused(capsys, *words, "--lengths", ends)
    for wrong, message in (
        (mixed[1:], "steps of sequence 's0' are not one after the other, each once, from the table's first step, 1"),
        ([*mixed, mixed[3]], "are not one after the other"),
        ([{**one, "step": 0.5} for one in mixed], "a whole number, in every row; the column step is of float64"),
        ([{"sequence": 1, "a": 1.0}], "has no column 'step'; it has 'sequence', 'a'"),
        ([{"sequence": 1, "step": 1}], "has 1 row and no feature in them"),
        ([{**one, "c": "x"} for one in mixed], "are <U12 of shape (4, 7, 3); they must be numbers"),
    ):
        pd.DataFrame(wrong).to_csv(table, index=False)
        assert message in refused(capsys, *words)


def test_lengths_that_do_not_fit_are_refused(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another number of sequences, no whole numbers, or longer than the time axis."""
    ends, out = inputs.with_name("n.npy"), inputs.with_name("out.csv")
    words = ["record", weights, inputs, "--lengths", ends, "-o", out]
    for wrong in (np.array([7, 7, 7]), np.array([7.0] * 4)):
        np.save(ends, wrong)
        assert "they must be whole numbers, one for each of the 4 sequences" in refused(capsys, *words)
    for number in (8, 0):
        np.save(ends, np.array([7, 7, number, 7]))
        assert f"Sequence 2 has the length {number}; the inputs have 7 steps, so it must be 1 to 7" in refused(
            capsys, *words
        )


def test_padding_may_be_anything(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What lies beyond a sequence's length is not looked at, and whole numbers are numbers."""
    ends, out, expected = (inputs.with_name(name) for name in ("n.npy", "out.npz", "expected.npz"))
    x = np.random.default_rng(0).integers(0, 2, (4, 7, 3))
    np.save(ends, np.array([7, 3, 5, 1]))
    np.save(inputs, x)
    _ = ran(capsys, "record", weights, inputs, "--lengths", ends, "-o", expected)
    padded = np.where(np.arange(7)[:, None] < np.array([7, 3, 5, 1])[:, None, None], x, np.nan)
    np.save(inputs, padded)
    _ = ran(capsys, "record", weights, inputs, "--lengths", ends, "-o", out)
    assert out.read_bytes() == expected.read_bytes()


def test_npy_holds_one_signal_of_one_layer(weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several are refused, with their names."""
    out, archive = inputs.with_name("out.npy"), inputs.with_name("out.npz")
    words = ["record", weights, inputs, "-o"]
    assert "can hold one array, and the recording has 6: rnn[0].input_gate" in refused(capsys, *words, out)
    _ = ran(capsys, *words, out, "--signals", "cell_state")
    _ = ran(capsys, *words, archive)
    assert np.array_equal(np.load(out), np.load(archive)["rnn[0].cell_state"])


@pytest.mark.parametrize("dtype", [">f4", "<f8", "f2", np.longdouble])
def test_inputs_of_any_float_are_converted(
    dtype: Any, weights: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other byte order and long doubles, which torch lacks, give what the same numbers in float32 give."""
    x = np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float16)
    states = []
    for given in (np.float32, dtype):
        np.save(inputs, x.astype(given))
        out = inputs.with_name("out.safetensors")
        _ = ran(capsys, "record", weights, inputs, "-o", out, "--overwrite")
        states.append(probe.load_recording(out)["hidden_state"])
    assert states[0].dtype == torch.float32
    assert torch.equal(states[0], states[1])


LSTM = {"cell/basic_lstm_cell/kernel": (5, 12), "cell/basic_lstm_cell/bias": (12,)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the arrays of a cell of TensorFlow 1, whose forget bias no file says."""
    drawn = np.random.default_rng(0)
    arrays = {name.replace("/", "."): drawn.normal(size=shape).astype("float32") for name, shape in LSTM.items()}
    np.savez(tmp_path / "a.npz", allow_pickle=True, **{name.replace(".", "/"): one for name, one in arrays.items()})
    np.save(tmp_path / "x.npy", drawn.normal(size=(2, 4, 2)).astype("float32"))
    return tmp_path / "a.npz"


def said(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    """Run the command line; return what it printed, on stderr where it failed."""
    assert run(list(map(str, words))) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


def test_the_option_that_decides_is_named_and_taken(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it nothing is done; with two values two networks are recorded, each that of `probe.load`."""
    words = ["record", file, file.with_name("x.npy"), "-o", file.with_name("o.npz")]
    assert "Say which with forget_bias=" in said(capsys, *words, code=1)
    assert "At the command line: --forget-bias." in said(capsys, *words, code=1)
    x = torch.from_numpy(np.load(file.with_name("x.npy")))
    states: list[Tensor] = []
    for bias in (0.0, 1.0):
        out = file.with_name(f"{bias}.safetensors")
        _ = said(capsys, "record", file, file.with_name("x.npy"), "-o", out, "--forget-bias", str(bias))
        states.append(probe.load_recording(out)["hidden_state"])
        (module,) = probe.load(file, forget_bias=bias).recurrent.values()
        assert torch.equal(states[-1], probe.record(module, x)["hidden_state"])
    assert not torch.equal(*states)


def test_what_is_assumed_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON, beside what was not understood."""
    drawn = np.random.default_rng(0)
    arrays = {"lstm/kernel": drawn.normal(size=(2, 12)), "lstm/recurrent_kernel": drawn.normal(size=(3, 12))}
    np.savez(tmp_path / "a.npz", allow_pickle=True, words=np.array(["a"]), **arrays)
    words = ["inspect", tmp_path / "a.npz", "--gate-activation", "sigmoid"]
    assert "assumed: lstm: no step is hidden by a mask" in said(capsys, *words)
    assert "not understood: words" in said(capsys, *words)
    described = json.loads(said(capsys, *words, "--json"))
    assert any("no step is hidden by a mask" in sentence for sentence in described["source"]["assumed"])
    assert described["not_understood"] == ["words"]


def test_the_arguments_of_load_can_be_said_everywhere() -> None:
    """At the command line, and under [network] in a study's file: the same names, none missing and none more."""
    arguments = set(inspect.signature(probe.load).parameters) - {"path", "into"}
    assert set(Choices.__dataclass_fields__) == arguments
    assert set(CHOICES) == arguments


def test_a_study_is_told_in_its_own_words(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is an option elsewhere is a key of the study's file."""
    study = file.with_name("s.toml")
    lines = ("[network]", 'file = "a.npz"', "[inputs]", 'file = "x.npy"', "[concepts.c]", 'file = "x.npy"')
    _ = study.write_text("\n".join(lines))
    told = said(capsys, "report", study, "-o", file.with_name("out"), code=1)
    assert "Say which with forget_bias=" in told
    assert "--forget-bias" not in told


@pytest.mark.parametrize(
    "lines",
    [
        {"concepts.c": 'file = "two.npz"'},
        {"inputs": 'file = "two.npz"'},
        {"inputs": 'file = "x.npy"\nlengths = "two.npz"'},
        {"inputs": 'file = "x.npy"\nsymbols = "abc"'},
        {"inputs": 'file = "x.npy"\nvalid = "f.py:never"'},
        *(
            {"readout": f'concept = "c"\nfunction = "f.py:head"\n{line}'}
            for line in ("interchange_step = 3", "interchange_step = -3", 'steps = "some"', "steps = []")
        ),
        *(
            {"readout": f'concept = "c"\nfunction = "f.py:head"\nsteps = {steps}'}
            for steps in ("[1, 3]", "true", "3")
        ),
    ],
)
def test_a_key_of_a_study_that_does_not_fit_is_refused(
    lines: dict[str, str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the argument that the message names, and never as an option."""
    x = np.load(file.with_name("x.npy")).repeat(8, 0)
    np.save(file.with_name("x.npy"), x)
    np.save(file.with_name("c.npy"), x[:, :, 0])
    np.savez(file.with_name("two.npz"), allow_pickle=True, a=x, b=x)
    _ = file.with_name("f.py").write_text("def never(x):\n    return False\ndef head(h):\n    return h[:, 0]\n")
    tables = {
        "network": 'file = "a.npz"\nforget_bias = 1.0',
        "inputs": 'file = "x.npy"',
        "concepts.c": 'file = "c.npy"',
    }
    study = file.with_name("s.toml")
    _ = study.write_text("\n".join(f"[{name}]\n{text}" for name, text in (tables | lines).items()))
    told = said(capsys, "report", study, "-o", file.with_name("out"), code=1)
    assert "At the command line" not in told


def test_a_study_in_python_is_told_as_python_says_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole sentence, and no hint at keys of a file that there is not."""
    study = file.with_name("s.py")
    _ = study.write_text(f"import probe\nstudy = probe.Study(probe.load({str(file)!r}), 'x.npy', {{'c': len}})\n")
    told = said(capsys, "report", study, "-o", file.with_name("out"), code=1)
    assert "Say which with forget_bias=; usual are 1.0" in told
    assert " and 0.0, s.py, line 2." in told
    assert "At the command line" not in told


def test_arrays_are_renamed_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ARRAY=NAME, an equals sign in ARRAY included; what is neither is refused."""
    state = nn.GRU(2, 3).state_dict()
    arrays = {f"my=gru {name}": value.numpy() for name, value in state.items()}
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    assert "--names OLD=NEW" in said(capsys, "inspect", tmp_path / "a.npz", code=1)
    renamed = [f"my=gru {name}=enc.{name}" for name in state]
    assert "enc: GRU, float32" in said(capsys, "inspect", tmp_path / "a.npz", "--names", *renamed)
    left = said(capsys, "inspect", tmp_path / "a.npz", "--names", *renamed[:2], "my=gru bias_*=")
    assert "enc: GRU, float32" in left
    assert "other arrays: my=gru bias_ih_l0 9, my=gru bias_hh_l0 9" in left
    assert "--names 'enc' must be OLD=NEW" in said(capsys, "inspect", tmp_path / "a.npz", "--names", "enc", code=1)


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
    np.save(tmp_path / "x.npy", drawn.normal(size=(2, 4, 2)).astype("float32"))
    recording = record_file(tmp_path / "a.onnx", tmp_path / "x.npy", tmp_path / "o.npz")
    assert recording["hidden_state"].shape == (2, 4, 3)


def test_inputs_whose_header_is_cut_are_refused(file: Path) -> None:
    """numpy asks Python's tokenizer about a header, whose own error it lets through."""
    content = file.with_name("x.npy").read_bytes()
    _ = file.with_name("x.npy").write_bytes(content.replace(b"(2, 4, 2)", b"((2, 4, 2"))
    with raised():
        _ = record_file(file, file.with_name("x.npy"), file.with_name("o.npz"), given={"forget_bias": 1.0})
