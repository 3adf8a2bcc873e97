"""A wrong study gets one sentence: what was given, what is allowed and what to do, before anything is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from studied import STUDY, bits, head, ones, planted, study_of, written
from torch import nn

from probe import Concept, ProbeError, Readout, Study
from probe.command_line import main
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study

WEIGHT, BIAS = head()
X = bits(12)


def sentence(text: str) -> bool:
    """Return whether a message is one line that ends as a sentence does."""
    return "\n" not in text and text.rstrip().endswith((".", "?", ")"))


@pytest.mark.parametrize(
    "more",
    [
        {"concepts": {}},
        {"concepts": {"ones": np.ones((12, 7))}},
        {"concepts": {"ones": np.ones((11, 8))}},
        {"concepts": {"ones": np.ones(12)}},
        {"concepts": {"ones": np.where(X[:, :, 0] > 0, np.inf, 0)}},
        {"concepts": {"ones": Concept(np.full((12, 8), "a"), "numeric")}},
        {"concepts": {"ones": Concept(np.arange(96.0).reshape(12, 8), "categorical")}},
        {"concepts": {"ones": lambda x: 1 / 0}},
        {"concepts": {"ones": lambda x: x[:3, 0]}},
        {"concepts": {"ones": np.full((12, 8), np.nan)}},
        {"concepts": {"ones": lambda x: [None] * len(x)}},
        {"concepts": {"ones": Concept(np.full((12, 8), ""))}},
        {"concepts": {"ones": np.ones((12, 8), complex)}},
        {"concepts": {"ones": lambda x: [1j] * len(x)}},
        {"concepts": {"ones": np.zeros((12, 8), [("a", "f4")])}},
        {"concepts": {"ones": lambda x: None}},
        {"inputs": np.where(X > 2, 0, np.nan)},
        {"inputs": X[:, :, 0]},
        {"inputs": np.zeros((12, 8, 3))},
        {"inputs": X.astype(str)},
        {"inputs": "no/such/inputs.npy"},
        {"lengths": np.ones(11, int)},
        {"lengths": np.full(12, 9)},
        {"lengths": np.full(12, 0)},
        {"lengths": np.full(12, 2.5)},
        {"layers": ["[1]"]},
        {"layers": "[0]"},
        {"network": "no/such.safetensors"},
        {"name": "rnn"},
        {"seed": -1},
        {"programs": {"p": 3}},
        {"fixed_inputs": [[1.0, 2.0]]},
        {"readout": Readout("ons", weight=WEIGHT)},
        {"readout": Readout("ones", weight=WEIGHT.T)},
        {"readout": Readout("ones", weight=WEIGHT, bias=BIAS[:3])},
        {"readout": Readout("ones", weight="head.weight")},
        {"readout": Readout("ones", weight=WEIGHT[:2])},
        {"readout": Readout("ones", weight=WEIGHT, answers=[0, 1])},
        {"readout": Readout("ones", weight=WEIGHT, kind="number")},
        {"readout": Readout("ones", function=lambda h: 1 / 0)},
        {"readout": Readout("ones", function=lambda h: "yes")},
        {"readout": Readout("ones", weight=WEIGHT, layer="[3]")},
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(more: dict[str, Any], tmp_path: Path) -> None:
    """The sentence names what was given and what would do, and no folder is made."""
    given = {"inputs": X} | more
    network = given.pop("network", None)
    with refused() as raised:
        study_of(network or planted(), **given).run(tmp_path / "report")
    assert sentence(str(raised.value))
    assert not (tmp_path / "report").exists()


def test_a_readout_of_two_values_and_one_score_must_say_its_kind() -> None:
    """A number and a logit would give other answers; the sentence names both."""
    parity = lambda x: np.cumsum(x[:, 0]) % 2  # noqa: E731 - a concept in a line
    study = study_of(planted(), inputs=X, concepts={"ones": parity}, readout=Readout("ones", weight=WEIGHT[:1]))
    with refused():
        _ = prepare(study)


@pytest.mark.parametrize(
    "given", [{"weight": WEIGHT, "function": len}, {"function": 3}, {"weight": WEIGHT, "kind": "x"}]
)
def test_a_readout_is_one_thing(given: dict[str, Any]) -> None:
    """Both of weight and function, and unknown kinds, are refused at once."""
    with pytest.raises(ProbeError):
        _ = Readout("ones", **given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[network]", "[netwrk]"), "The study: There is no key 'netwrk'.*Did you mean 'network'"),
        (('file = "inputs.npy"', 'fil = "inputs.npy"'), r"Under \[inputs\]: There is no key 'fil'.*'file'"),
        (('file = "weights.safetensors"', ""), r"file under \[network\] is missing"),
        (("weights.safetensors", "wights.safetensors"), "wights.safetensors' does not exist"),
        (("inputs.npy", "input.npy"), "inputs: there is no file .*relative to its own folder"),
        (("functions.py:ones", "functions.py:once"), "no function 'once'.*Did you mean 'ones'"),
        (("functions.py:ones", "ones"), "'file.py:function'"),
        (("functions.py:ones", "function.py:ones"), "There is no Python file"),
        (
            ("functions.py:ones", "functions.py:broken"),
            r"raised ValueError \(no such thing, functions\.py, line \d+\)",
        ),
        (("functions.py:ones", "functions.py:short"), r"returned shape \(1,\)"),
        (("functions.py:count", "functions.py:nonsense"), "The program 'count' returned None on sequence 0"),
        (('weight = "head.weight"', 'weight = "head.wight"'), "no array 'head.wight'.*'head.weight'"),
        (("[concepts.ones]", "[concepts.ones]\nkind = 'nominal'"), "no kind of concept 'nominal'"),
        (("[concepts.ones]", "[concepts.ones]\nfile = 'inputs.npy'"), "must have either file"),
        (("[programs]", "programs = 3\n[more]"), "no key 'more'"),
        (("[network]", "[network]\nname = 'lstm'"), "no network 'lstm'"),
        (("[network]", "[network]\nlayers = ['[9]']"), r"no layer '\[9\]'"),
        (("[network]", "[network]\nlayers = 3"), "must be a list"),
        (("title =", "title ="), ""),
        (("[network]", "[network"), "is no TOML"),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    """Unknown keys, missing files, functions that raise: a sentence on stderr, exit code 1, nothing written."""
    path = written(tmp_path, STUDY.replace(*change))
    if not message:
        assert prepare(read_study(path))[0].concepts["ones"].kind == "numeric"
        return
    with pytest.raises(ProbeError, match=message) as raised:
        read_study(path).run(tmp_path / "report")
    assert sentence(str(raised.value))
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("study.txt", ""),
        ("missing.toml", None),
        ("study.py", "x = 3"),
        ("study.py", "study = 3"),
        ("study.py", "1 / 0"),
    ],
)
def test_what_is_no_study_is_told(name: str, text: str | None, tmp_path: Path) -> None:
    """Another ending, no file, and Python files without a study."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with refused():
        _ = read_study(tmp_path / name)


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 for a study that does not fit, 2 for wrong usage; one line on stderr, nothing on stdout."""
    path = written(tmp_path, STUDY.replace("functions.py:ones", "functions.py:broken"))
    assert main.run(["report", str(path), "-o", str(tmp_path / "report")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"rnn-probe: The concept 'ones' .*\n", err)
    assert main.run(["report", str(path)]) == 2
    assert main.run(["report", str(path), "-o", str(tmp_path), "--bogus"]) == 2


def test_two_networks_in_a_file_must_be_chosen_from(tmp_path: Path) -> None:
    """The sentence lists both; the one that is named is taken."""
    tensors = {f"{name}.{key}": value for name in ("a", "b") for key, value in planted().state_dict().items()}
    save_file(tensors, tmp_path / "two.safetensors")
    study = Study(tmp_path / "two.safetensors", X, {"ones": ones})
    with refused():
        _ = prepare(study)
    assert [layer.name for layer in prepare(Study(study.networks, X, {"ones": ones}, name="b"))[0].layers] == ["b[0]"]


@pytest.mark.parametrize("make", [lambda: nn.LSTM(1, 6), lambda: nn.Linear(1, 6)])
def test_a_module_that_cannot_be_read_is_refused(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    """Time first would mix sequences with steps, and a page about them would be wrong."""
    with refused():
        study_of(make(), inputs=X, readout=None).run(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_combine_that_raises_or_returns_nonsense_is_told(tmp_path: Path) -> None:
    """The study's own function is named, whether it raises or returns another shape."""
    values = np.cumsum(X[:, :, 0], axis=1)
    for combine in (lambda *_: 1 / 0, lambda a, b, c: a[:1]):
        readout = Readout("ones", weight=WEIGHT, bias=BIAS, combine=combine)
        with refused():
            study_of(planted(), inputs=X, concepts={"ones": values}, readout=readout).run(
                tmp_path / "report", overwrite=True
            )


@pytest.mark.usefixtures("undrawn")
def test_the_reverse_direction_of_padded_sequences_is_packed_or_refused(tmp_path: Path) -> None:
    """A module of torch is packed; a model around it would read the padding first, and is refused."""

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(1, 3, bidirectional=True, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x)[0]

    given = {"inputs": X, "lengths": np.arange(12) % 8 + 1, "readout": None}
    with refused():
        study_of(Around(), **given).run(tmp_path / "around")
    study_of(Around().rnn, **given).run(tmp_path / "alone")
    assert (tmp_path / "alone" / "index.html").is_file()
