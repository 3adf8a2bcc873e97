"""Names on a study's page, what is rare, and its pictures.

- Names on a study's page are the author's, and each thing has one.
- What is said of a category does not depend on how rare it is, nor on how its values are spelled.
- Every figure of five small studies, of different kinds, shows all of its data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pictured
import pytest
import torch
from known_studies import OPENS, SYMBOLS, Brackets, brackets, depth, language_model, one_hot, quoted, texts
from refusing import refused
from safetensors.torch import save_file
from scipy.stats import norm
from studied import answer, bits, ones, parts, planted, report_of, study_of
from torch import nn

from probe import Concept, Finding, Readout, Study, load
from probe.methods.probing.fits import Logistic
from probe.methods.probing.scores import of_categories
from probe.methods.probing.splits import by_sequence
from probe.questions.states import held_inputs
from probe.studies.pages import live_network
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects.states import sample_of


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
        assert list(held) == ["the input “)”", "the input “(”"]
        assert len(live_network.blocks(subject)) == 1
    one, other = (parts(prepare(study)[0]) for study in (studies[0], Study(model.encoder, x, {"depth": depth})))
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
    "symbols",
    [
        "ab",
        ["0", "1"],
        {"no": 0, "1": 1},
        {"0": [0, 1], "1": 1},
        {"0": "nought", "1": 1},
        {"0": 0, "1": 0},
        {"0": 0},
        {"\n": 0, "1": 1},
    ],
)
def test_symbols_that_name_no_inputs_are_refused(symbols: Any) -> None:
    """Each input that occurs has one, and each is one character."""
    with refused():
        _ = prepare(study_of(planted(), symbols=symbols, readout=None))


def test_numbers_of_fixed_inputs_that_are_none_are_refused() -> None:
    """Texts raise the sentence on what fixed inputs are."""
    with refused():
        _ = prepare(study_of(planted(), inputs=bits(20), fixed_inputs=[["a"]], readout=None))


SPELLINGS = {
    "as numbers": quoted,
    "as texts": lambda x: ["in" if one else "out" for one in quoted(x)],
    "as truths": lambda x: quoted(x) == 1,
    "as names": Concept(lambda x: 7 - quoted(x), "categorical"),
    "as shares": lambda x: quoted(x) / 4 - 9,
}


@pytest.mark.parametrize("share", [0.02, 0.12, 0.5])
def test_the_score_of_a_category_does_not_depend_on_how_rare_it_is(share: float) -> None:
    """A number that tells a category with an AUC of .95 scores .88, a threshold's best, at any share."""
    rng, count = np.random.default_rng(0), 6_000
    target = (np.arange(count) < share * count).astype(float)
    apart = np.sqrt(2) * norm.ppf(0.95)
    states = (rng.normal(size=count) + apart * target)[:, None]
    fold, sequence = rng.permutation(count) % 4, np.arange(count) // 10
    predicted = Logistic().held_out(states, target[:, None], by_sequence(fold))[:, 0]
    score = of_categories(target, predicted, sequence, count // 10)
    assert score.value == pytest.approx(norm.cdf(apart / 2), abs=0.03)
    constant = of_categories(target, np.zeros(count), sequence, count // 10)
    assert constant.value == 0.5
    assert score.above(constant, 0)[0] > 0.3


@pytest.fixture(scope="module")
def readings() -> dict[str, Finding]:
    """Return what is read of the quotation in a language model, by how its values are spelled."""
    study = Study(language_model(), one_hot(texts()), SPELLINGS)
    return {name: answer(study, f"reading-{name.replace(' ', '-')}") for name in SPELLINGS}


def test_one_verdict_for_every_spelling(readings: dict[str, Finding]) -> None:
    """An eighth of the letters: the planted unit is read, better than from random networks, however it is written."""
    assert all("No control does as well." in finding.notes["answer"] for finding in readings.values())
    tables = [finding.measurements.query("metric == 'score'")["value"].to_numpy() for finding in readings.values()]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0], atol=0.02)


def test_what_is_measured_of_a_category_is_said(readings: dict[str, Finding]) -> None:
    """Balanced accuracy, what naming one value for all gives, and both as they are in the table."""
    for finding in readings.values():
        assert "balanced accuracy 1.00" in finding.notes["answer"]
        nothing = finding.measurements.query("metric == 'score' and network == 'one value for all'")["value"]
        assert nothing.item() == 0.5
        assert "logistic probes" in finding.notes["setup"]
        (best,) = finding.measurements.query("metric == 'best_score' and role == 'trained'")["value"]
        assert best == pytest.approx(0.5, abs=0.01)


@pytest.mark.usefixtures("undrawn")
def test_a_value_of_few_sequences_is_left_out_and_said() -> None:
    """A category that stands in fewer than eight sequences cannot be held out; the others are scored without it."""
    x = bits(120, 10)
    once = np.where(x[:, :, 0] > 0, "one", "nought").astype(object)
    once[:5, 3] = "never seen again"
    torch.manual_seed(0)
    model = nn.GRU(1, 8, batch_first=True)
    notes = answer(Study(model, x, {"kind": once}), "reading-kind").notes
    assert "balanced accuracy 1.00" in notes["answer"]
    assert "1 value that fewer than 8 sequences have among these states (never seen again)" in notes["setup"]
    single = np.full(x.shape[:2], "same", object)
    single[:5, 3] = "other"
    assert (
        "only “same” has states in at least 8"
        in answer(Study(model, x, {"kind": single}), "reading-kind").notes["answer"]
    )


def test_of_many_states_as_many_of_each_category_are_looked_at() -> None:
    """A category of one letter in seventy has all its states among those that are drawn."""
    x = one_hot(texts(400, 40))
    (subject,) = prepare(Study(language_model(), x, {"quoted": quoted, "opens": lambda one: one[:, OPENS] == 1}))
    sample = sample_of(subject)
    for name, rare in (("quoted", 0.5), ("opens", None)):
        picked = sample.of[name]
        values = subject.concepts[name].values[sample.rows][sample.sequence[picked], sample.step[picked]]
        assert len(values) == 2_000
        # Some letters stand after a beginning that another text has as well, which is looked at once.
        assert values.sum() == (1_000 if rare else 216)


def counter() -> Study:
    """Return a study whose scores are 0 and 1, with two programs."""
    return study_of(planted(), inputs=bits(96), programs={"count": sum, "length": len})


def of_texts() -> Study:
    """Return a study of a language model, whose symbols are drawn as text."""
    x = one_hot(texts(48))
    return Study(language_model(), x, {"quoted": Concept(quoted)})


def of_lengths() -> Study:
    """Return a study of an untrained GRU on brackets, whose sequences end at different steps."""
    x, lengths = brackets(80)
    torch.manual_seed(0)
    head = nn.Linear(6, 4)
    gru = nn.GRU(2, 6, batch_first=True)
    return Study(gru, x, {"depth": depth}, lengths=lengths, readout=Readout("depth", function=head), symbols="()")


def of_numbers() -> Study:
    """Return a study of a tanh network that reads numbers, with numbers of any size as its concept."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 7, 2)).astype(np.float32)
    return Study(nn.RNN(2, 8, batch_first=True), x, {"sum": lambda one: 1e-3 * one.sum(1).cumsum()})


def of_three() -> Study:
    """Return a study of three networks."""
    torch.manual_seed(0)
    many = [nn.LSTM(1, 6, batch_first=True) for _ in range(3)]
    return study_of(many, inputs=bits(64, 6), readout=None, concepts={"ones": ones})


STUDIES: list[Callable[[], Study]] = [counter, of_texts, of_lengths, of_numbers, of_three]


@pytest.mark.parametrize("made", STUDIES, ids=lambda one: one.__name__)
def test_every_figure_of_a_study_shows_all_of_its_data(made: Callable[[], Study], tmp_path: Path) -> None:
    """No number is none, no axes are empty, nothing is cut off, and every dot is in the pixels."""
    report = report_of(made(), tmp_path)
    assert sum(len(one.figures) for one in report.findings.values()) >= 3
    assert pictured.lost() == []
