"""What a file of weights leaves open is said at the command line too, and what is assumed is printed."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.command_line.main import Choices, run
from probe.command_line.network_files import record_file
from probe.studies.study_file import CHOICES

LSTM = {"cell/basic_lstm_cell/kernel": (5, 12), "cell/basic_lstm_cell/bias": (12,)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the arrays of a cell of TensorFlow 1, whose forget bias no file says."""
    drawn = np.random.default_rng(0)
    arrays = {name.replace("/", "."): drawn.normal(size=shape).astype("float32") for name, shape in LSTM.items()}
    np.savez(tmp_path / "a.npz", allow_pickle=True, **{name.replace(".", "/"): one for name, one in arrays.items()})
    np.save(tmp_path / "x.npy", drawn.normal(size=(2, 4, 2)).astype("float32"))
    return tmp_path / "a.npz"


def ran(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    """Run the command line; return what it printed, on stderr where it failed."""
    assert run(list(map(str, words))) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


def test_the_option_that_decides_is_named_and_taken(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it nothing is done; with two values two networks are recorded, each that of `probe.load`."""
    words = ["record", file, file.with_name("x.npy"), "-o", file.with_name("o.npz")]
    assert "Say which with forget_bias=" in ran(capsys, *words, code=1)
    assert "At the command line: --forget-bias." in ran(capsys, *words, code=1)
    x = torch.from_numpy(np.load(file.with_name("x.npy")))
    states: list[Tensor] = []
    for bias in (0.0, 1.0):
        out = file.with_name(f"{bias}.safetensors")
        _ = ran(capsys, "record", file, file.with_name("x.npy"), "-o", out, "--forget-bias", str(bias))
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
    assert "assumed: lstm: no step is hidden by a mask" in ran(capsys, *words)
    assert "not understood: words" in ran(capsys, *words)
    described = json.loads(ran(capsys, *words, "--json"))
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
    told = ran(capsys, "report", study, "-o", file.with_name("out"), code=1)
    assert "Say which with forget_bias=" in told
    assert "In the study's file: forget_bias = ..., under [network]." in told
    assert "--forget-bias" not in told


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (
            {"concepts.c": 'file = "two.npz"'},
            "key=. In the study's file: key = ..., under [concepts.c].",
        ),
        (
            {"inputs": 'file = "two.npz"'},
            "key=. In the study's file: key = ..., under [inputs].",
        ),
        (
            {"inputs": 'file = "x.npy"\nlengths = "two.npz"'},
            "no key says which: give a .npy file",
        ),
        ({"inputs": 'file = "x.npy"\nsymbols = "abc"'}, "In the study's file: symbols = ..., under [inputs]."),
        ({"inputs": 'file = "x.npy"\nvalid = "f.py:never"'}, "valid says that sequence 0 of the inputs cannot occur"),
        (
            {"readout": 'concept = "c"\nfunction = "f.py:head"\ninterchange_step = 3'},
            "interchange_step = ..., under [readout].",
        ),
        (
            {"readout": 'concept = "c"\nfunction = "f.py:head"\ninterchange_step = -3'},
            "interchange_step = ..., under [readout].",
        ),
        *(
            (
                {"readout": f'concept = "c"\nfunction = "f.py:head"\nsteps = {steps}'},
                "steps = ..., under [readout].",
            )
            for steps in ('"some"', "[]", "[1, 1]")
        ),
        *(
            (
                {"readout": f'concept = "c"\nfunction = "f.py:head"\nsteps = {steps}'},
                'it must be "last", "every", or whole numbers in brackets',
            )
            for steps in ("true", "3", "[0.5]", "[true]")
        ),
    ],
)
def test_a_key_of_a_study_is_hinted_at_in_its_own_table(
    lines: dict[str, str], hint: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each argument that a message names, under the table that has it, and never as an option."""
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
    told = ran(capsys, "report", study, "-o", file.with_name("out"), code=1)
    assert hint in told
    assert "At the command line" not in told


def test_a_study_in_python_is_told_as_python_says_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole sentence, and no hint at keys of a file that there is not, nor at where paths begin."""
    study = file.with_name("s.py")
    _ = study.write_text(f"import probe\nstudy = probe.Study(probe.load({str(file)!r}), 'x.npy', {{'c': len}})\n")
    told = ran(capsys, "report", study, "-o", file.with_name("out"), code=1)
    assert "Say which with forget_bias=; usual are 1.0" in told
    assert " and 0.0, s.py, line 2." in told
    assert "In the study's file" not in told
    assert "At the command line" not in told
    assert "Paths inside" not in told


def test_arrays_are_renamed_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ARRAY=NAME, an equals sign in ARRAY included; what is neither is refused."""
    state = nn.GRU(2, 3).state_dict()
    arrays = {f"my=gru {name}": value.numpy() for name, value in state.items()}
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    assert "--names OLD=NEW" in ran(capsys, "inspect", tmp_path / "a.npz", code=1)
    renamed = [f"my=gru {name}=enc.{name}" for name in state]
    assert "enc: GRU, float32" in ran(capsys, "inspect", tmp_path / "a.npz", "--names", *renamed)
    left = ran(capsys, "inspect", tmp_path / "a.npz", "--names", *renamed[:2], "my=gru bias_*=")
    assert "enc: GRU, float32" in left
    assert "other arrays: my=gru bias_ih_l0 9, my=gru bias_hh_l0 9" in left
    assert "--names 'enc' must be OLD=NEW" in ran(capsys, "inspect", tmp_path / "a.npz", "--names", "enc", code=1)


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
    with pytest.raises(ProbeError, match=r"The inputs: '.*x\.npy' cannot be read"):
        _ = record_file(file, file.with_name("x.npy"), file.with_name("o.npz"), given={"forget_bias": 1.0})
