"""Names on a study's page are the author's, and each thing has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from known_studies import SYMBOLS, Brackets, brackets, depth, language_model, one_hot, quoted, texts
from safetensors.torch import save_file
from studied import bits, planted, report_of, study_of
from torch import nn

from probe import ProbeError, Readout, Study, load
from probe.questions.states import held_inputs
from probe.studies.identity import parts
from probe.studies.pages import live_network
from probe.studies.pages.one_network import live
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study


def shown(study: Study) -> dict[str, Any]:
    """Return what the explorer of a study's page is given."""
    explorer = live_network.explorer(prepare(study)[0])
    assert not isinstance(explorer, str), explorer
    assert explorer.data is not None
    return json.loads(explorer.data)


@pytest.mark.usefixtures("undrawn")
def test_a_layer_has_one_name_on_the_page_and_in_its_explorer(tmp_path: Path) -> None:
    """That of its file, with a head and without: tables, sentences and explorer say the same."""
    x, lengths = brackets(80)
    model = Brackets(x, lengths)
    save_file(dict(model.state_dict()), tmp_path / "brackets.safetensors")
    given: dict[str, Any] = {"inputs": x, "lengths": lengths, "concepts": {"depth": depth}}
    readout = Readout("depth", weight="head.weight", bias="head.bias")
    for network, head, name in (
        (load(tmp_path / "brackets.safetensors"), readout, "encoder[0]"),
        (load(tmp_path / "brackets.safetensors"), None, "encoder[0]"),
        (model.encoder, Readout("depth", function=model.head), "[0]"),
    ):
        study = Study(network, **given, readout=head)
        data = shown(study)
        assert [layer["name"] for layer in data["networks"][0]["layers"]] == [name]
        assert data["networks"][0]["scores"] == (0 if head is None else 4)
    report = report_of(Study(load(tmp_path / "brackets.safetensors"), **given, readout=readout), tmp_path / "report")
    layers = {name for finding in report.findings.values() for name in finding.measurements["layer"] if name}
    assert layers == {"encoder[0]"}
    assert "rnn[0]" not in report.page.render()


def test_the_authors_symbols_stand_for_inputs(tmp_path: Path) -> None:
    """In the explorer and where an input is held fixed; a text names the features of one-hot inputs."""
    x, lengths = brackets(40)
    model = Brackets(x, lengths)
    readout = Readout("depth", function=model.head)
    given = {"(": [1, 0], ")": [0.0, 1.0]}
    studies = [
        Study(model.encoder, x, {"depth": depth}, lengths=lengths, readout=readout, symbols=symbols)
        for symbols in (given, "()")
    ]
    for study in studies:
        data, (subject,) = shown(study), prepare(study)
        assert set(data["example"]) == {"(", ")"}
        expected = "".join("(" if one[0] else ")" for one in x[0, : min(12, lengths[0])])
        assert data["example"] == expected
        assert data["networks"][0]["alphabet"] == {"(": [1.0, 0.0], ")": [0.0, 1.0]}
        held, _ = held_inputs.inputs_of(subject)
        assert [one.name for one in held] == ["the input “)”", "the input “(”"]
        assert len(live(subject)) == 1
    one, other = (parts(prepare(study)[0], "") for study in (studies[0], Study(model.encoder, x, {"depth": depth})))
    assert one["inputs"] != other["inputs"]


def test_more_symbols_than_there_are_letters_are_shown() -> None:
    """Eleven and more different inputs are a table of numbers, unless the author names them."""
    x = one_hot(texts(20))
    more = np.concatenate([x, np.zeros((*x.shape[:2], 4), np.float32)], axis=2)
    for symbol in range(4):
        more[symbol, 0] = np.eye(12)[8 + symbol]
    torch.manual_seed(0)
    gru = nn.GRU(12, 4, batch_first=True)
    assert shown(Study(gru, more, {"quoted": quoted}))["networks"][0]["alphabet"] is None
    named = shown(Study(gru, more, {"quoted": quoted}, symbols=SYMBOLS + "wxyz"))
    assert named["example"] == "w" + texts(20)[0][1:12]


def test_symbols_of_a_study_file_are_read(tmp_path: Path) -> None:
    """As a table and as a text; anything else is refused in a sentence."""
    save_file(dict(language_model().state_dict()), tmp_path / "weights.safetensors")
    np.save(tmp_path / "inputs.npy", one_hot(texts(12)))
    (tmp_path / "f.py").write_text("def space(x):\n    return x[:, 4]\n")
    start = '[network]\nfile = "weights.safetensors"\n[inputs]\nfile = "inputs.npy"\n'
    end = '\n[concepts.space]\nfunction = "f.py:space"\n'
    (tmp_path / "study.toml").write_text(f'{start}symbols = "{SYMBOLS}"{end}', encoding="utf-8")
    assert list(prepare(read_study(tmp_path / "study.toml"))[0].symbols) == list(SYMBOLS)
    table = ", ".join(f'"{one}" = {np.eye(8)[place].tolist()}' for place, one in enumerate(SYMBOLS))
    (tmp_path / "study.toml").write_text(f"{start}symbols = {{{table}}}{end}", encoding="utf-8")
    assert list(prepare(read_study(tmp_path / "study.toml"))[0].symbols) == list(SYMBOLS)


@pytest.mark.parametrize(
    ("symbols", "said"),
    [
        ("ab", "symbols='ab' has 2 characters and the inputs 1 feature; a text has one for each"),
        (["0", "1"], "symbols is a list; give a text, or a table"),
        (
            {"no": 0, "1": 1},
            "'no' stands for 0; a symbol is one printed character, and stands for 1 number",
        ),
        ({"0": [0, 1], "1": 1}, r"The symbol '0' stands for \[0, 1\]"),
        ({"0": "nought", "1": 1}, "The symbol '0' stands for nought"),
        ({"0": 0, "1": 0}, "Two symbols stand for the same input"),
        ({"0": 0}, r"The input at sequence 0, step \d is \[1.0\], and no symbol stands for it"),
        ({"\n": 0, "1": 1}, "a symbol is one printed character"),
    ],
)
def test_symbols_that_name_no_inputs_are_refused(symbols: Any, said: str) -> None:
    """Each input that occurs has one, and each is one character."""
    with pytest.raises(ProbeError, match=said):
        _ = prepare(study_of(planted(), symbols=symbols, readout=None))


def test_numbers_of_fixed_inputs_that_are_none_are_refused() -> None:
    """Texts raise the sentence on what fixed inputs are."""
    with pytest.raises(ProbeError, match="they must be finite numbers"):
        _ = prepare(study_of(planted(), inputs=bits(20), fixed_inputs=[["a"]], readout=None))
