"""Study files of networks whose files leave something open, and of inputs and concepts in tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from studied import STUDY, UNITS, bits, head, planted, study_of, written
from torch import nn

import probe
from probe.command_line import main
from probe.loading.checkpoint import Source
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects.networks.network_file import open_network


def of_tensorflow(folder: Path, forget_bias: float) -> Path:
    """Write the planted network's arrays by the names and in the layout of TensorFlow 1, and return their path."""
    lstm: Any = planted()
    i, f, g, o = lstm.weight_ih_l0.detach().chunk(4)
    ui, uf, ug, uo = lstm.weight_hh_l0.detach().chunk(4)
    bi, bf, bg, bo = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().chunk(4)
    kernel = torch.cat([torch.cat([i, g, f, o]).T, torch.cat([ui, ug, uf, uo]).T])
    weight, bias = head()
    arrays = {
        "rnn/basic_lstm_cell/kernel": kernel.numpy(),
        "rnn/basic_lstm_cell/bias": torch.cat([bi, bg, bf - forget_bias, bo]).numpy(),
        "softmax_w": weight.T.astype(np.float32),
        "softmax_b": bias.astype(np.float32),
    }
    np.savez(folder / "weights.npz", **arrays)
    return folder / "weights.npz"


TENSORFLOW = (
    STUDY.replace("weights.safetensors", "weights.npz")
    .replace("head.weight", "softmax_w")
    .replace("head.bias", "softmax_b")
)


def test_a_choice_in_a_study_file_is_loads_own(tmp_path: Path) -> None:
    """With forget_bias under [network] the states are the network's; without it the message says what to write."""
    path = written(tmp_path, TENSORFLOW)
    _ = of_tensorflow(tmp_path, 1.0)
    with refused():
        _ = read_study(path)
    _ = path.write_text(TENSORFLOW.replace("[network]", "[network]\nforget_bias = 1.0"))
    (subject,) = prepare(read_study(path))
    x = torch.tensor(bits())
    assert torch.allclose(subject.model(x)[0], planted()(x)[0], atol=1e-6)
    found: Any = subject.head
    assert torch.allclose(found.inner.weight, torch.tensor(head()[0]))  # of (unit, score), found by its shape
    assert subject.card["decided by whoever wrote the study"].startswith("forget_bias=1.0 for rnn/basic")
    assert "tanh" in subject.card["taken for granted"]


@pytest.mark.parametrize(
    "line",
    [
        "forget_bias = '1'",
        "forget_bias = true",
        "reset = 'befor'",
        "activation = 3",
        "names = 3",
        "names = {a = 1}",
        "memory = 10",
        "memory = 'much'",
        "forget_bias = 1.0\nnonlinearity = 'tanh'",
        "forget_bias = 1.0\nreset = 'after'",
    ],
)
def test_a_wrong_choice_in_a_study_file_is_refused(line: str, tmp_path: Path) -> None:
    """A sentence each, as from probe.load."""
    path = written(tmp_path, TENSORFLOW.replace("[network]", f"[network]\n{line}"))
    _ = of_tensorflow(tmp_path, 1.0)
    with refused():
        _ = read_study(path)


def test_names_in_a_study_file_rename_and_leave_out(tmp_path: Path) -> None:
    """An empty text leaves an array out, as None does in Python."""
    path = written(tmp_path)
    arrays = {f"w{number}": one for number, one in enumerate(planted().state_dict().values())}
    save_file({**arrays, "other.weight_ih_l0": torch.zeros(3, 3)}, tmp_path / "weights.safetensors")
    old = [f'w{number} = "enc.{name}"' for number, name in enumerate(planted().state_dict())]
    names = ", ".join([*old, '"other.*" = ""'])
    choices = f'[network]\ngate_order = "i f g o"\nnames = {{{names}}}'
    text = STUDY.partition("[readout]")[0].replace("[network]", choices)
    _ = path.write_text(text)
    study = read_study(path)
    assert open_network(study.networks, study.name).name == "enc"


def test_what_load_returned_is_a_network_of_a_study(tmp_path: Path) -> None:
    """In Python the choices are made where the file is loaded; the page names file, hash and choices."""
    path = of_tensorflow(tmp_path, 0.0)
    loaded = probe.load(path, forget_bias=0.0)
    opened = open_network(loaded, None)
    assert opened.card["file"] == "weights.npz"
    assert len(opened.card["SHA-256 of the file"]) == 64
    assert opened.card["written as"].startswith("TensorFlow 1")
    with refused():
        _ = open_network(3, None)


@pytest.mark.parametrize("framework", ["Keras", "TensorFlow", "PyTorch", "unknown"])
def test_a_square_head_is_read_as_its_framework_writes_it(framework: str) -> None:
    """Keras and TensorFlow write (unit, score), torch (score, unit); where nobody knows, it must be said."""
    weight = torch.arange(float(UNITS**2)).view(UNITS, UNITS)
    source = Source(framework, "a file")
    loaded = probe.Checkpoint({"rnn": nn.LSTM(1, UNITS, batch_first=True)}, {"w": weight}, source)
    given: dict[str, Any] = {"inputs": bits(8, UNITS - 1)}
    study = study_of(loaded, readout=probe.Readout("ones", weight="w"), **given)
    if framework == "unknown":
        with refused():
            _ = prepare(study)
    else:
        found: Any = prepare(study)[0].head
        assert torch.equal(found.inner.weight.float(), weight if framework == "PyTorch" else weight.T)
    for transposed in (True, False):
        readout = probe.Readout("ones", weight="w", transposed=transposed)
        found = prepare(study_of(loaded, readout=readout, **given))[0].head
        assert torch.equal(found.inner.weight.float(), weight.T if transposed else weight)
    with refused():
        _ = probe.Readout("ones", function=len, transposed=True)


def table(x: np.ndarray, lengths: np.ndarray) -> pd.DataFrame:
    """Return inputs and how many ones there were so far as rows."""
    return pd.DataFrame(
        [
            {"sequence": row, "step": step, "bit": x[row, step, 0], "seen": x[row, : step + 1, 0].sum()}
            for row, length in enumerate(lengths)
            for step in range(length)
        ]
    )


TABLES = STUDY.partition("[readout]")[0].replace('"inputs.npy"', '"data.csv"\nkey = ["bit"]')


def test_inputs_and_concepts_in_a_table_are_those_of_arrays(tmp_path: Path) -> None:
    """One .csv may hold both, a column each; sequences of several lengths need no other file."""
    x, lengths = bits(), np.arange(160) % 8 + 1
    text = TABLES.replace('function = "functions.py:ones"', 'file = "data.csv"\nkey = "seen"')
    path = written(tmp_path, text)
    table(x, lengths).to_csv(tmp_path / "data.csv", index=False)
    (subject,) = prepare(read_study(path))
    assert subject.lengths.tolist() == lengths.tolist()
    padded = np.where(np.arange(8) < lengths[:, None], x[:, :, 0], 0)
    assert np.array_equal(subject.x[:, :, 0].numpy(), padded)
    seen = subject.concepts["ones"].values
    expected = np.where(np.arange(8) < lengths[:, None], padded.cumsum(1), np.nan)
    assert np.array_equal(seen, expected, equal_nan=True)
    by_path = probe.Study(planted(), tmp_path / "bits.csv", {"seen": lambda x: x[:, 0].cumsum()})
    table(x, lengths)[["sequence", "step", "bit"]].to_csv(tmp_path / "bits.csv", index=False)
    assert prepare(by_path)[0].lengths.tolist() == lengths.tolist()


@pytest.mark.parametrize(
    "change",
    [
        ('key = "seen"', 'key = "sen"'),
        ('key = "seen"', ""),
        ('"data.csv"\nkey = "seen"', '"other.csv"'),
        ('key = ["bit"]', 'key = ["bit"]\nlengths = "lengths.npy"'),
        ('key = ["bit"]', "key = [3]"),
        ('"data.csv"\nkey = ["bit"]', '"inputs.npy"\nkey = ["bit"]'),
    ],
)
def test_a_table_of_inputs_that_does_not_fit_is_refused(change: tuple[str, str], tmp_path: Path) -> None:
    """The column, or both numbers of steps, are named."""
    text = TABLES.replace('function = "functions.py:ones"', 'file = "data.csv"\nkey = "seen"')
    path = written(tmp_path, text.replace(*change))
    x = bits()
    table(x, np.arange(160) % 8 + 1).to_csv(tmp_path / "data.csv", index=False)
    table(x, np.full(160, 8))[["sequence", "step", "seen"]].to_csv(tmp_path / "other.csv", index=False)
    with refused():
        _ = read_study(path)


def test_a_first_study_file_names_what_is_open_and_what_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open stands there to be filled in; what was given at the command line stands in it."""
    monkeypatch.chdir(tmp_path)
    _ = written(tmp_path)
    _ = of_tensorflow(tmp_path, 1.0)
    assert main.run(["new-study", "weights.npz", "-o", "open.toml"]) == 0
    text = Path("open.toml").read_text()
    assert "# forget_bias = ...   # FILL IN, without the #; usual are 1.0" in text
    assert '# weight = "softmax_w"   # could be: (unit, score) = (6, 9)' in text
    assert '# bias = "softmax_b"' in text
    assert main.run(["report", "open.toml", "-o", "report"]) == 1
    assert "forget_bias=" in capsys.readouterr().err
    words = ["--forget-bias", "1", "--names", "softmax_b=", "-o", "said.toml"]
    assert main.run(["new-study", "weights.npz", *words]) == 0
    text = Path("said.toml").read_text()
    assert "forget_bias = 1.0\n" in text
    assert 'names = {"softmax_b" = ""}' in text
    np.save("concept.npy", np.cumsum(bits()[:, :, 0], axis=1))
    assert prepare(read_study(Path("said.toml")))[0].network.name == "rnn/basic_lstm_cell"
    assert main.run(["inspect", "weights.npz", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out.split("bytes\n")[-1])["open"]
    assert (one["argument"], one["option"], one["layer"]) == ("forget_bias", "--forget-bias", "rnn/basic_lstm_cell")
