"""What a study's page shows of one network, a trained GRU that counts open brackets; and pictures of any study."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import known_studies
import numpy as np
import pandas as pd
import pytest
import torch
from known_studies import SYMBOLS, Brackets, brackets, can_occur, depth, quoted
from matplotlib.figure import Figure as Picture
from refusing import refused
from safetensors.torch import save_file
from studied import Report, answer, bits, keys_of, planted, report_of, study_of, value, without_pictures
from torch import nn

from probe import Concept, Readout, Study, load, record
from probe.evidence.measurements import only
from probe.explorer import Explorer
from probe.plots.study_figures import drawing, drawn
from probe.questions.readings import points_of, states_at
from probe.questions.states import held_inputs
from probe.recurrent.signals import Signal
from probe.report import Panels, Section
from probe.report.blocks import Figure, walk
from probe.report.svg import MAX_BYTES
from probe.studies.pages import live_network
from probe.studies.prepare import prepare
from probe.subjects.answers import answers_if_asked
from probe.subjects.concepts import MOST_CATEGORIES
from probe.subjects.subject import Subject


@dataclass(frozen=True)
class Trained:
    """A trained network, what its study is given beside the network, and the report on its file."""

    model: Brackets
    given: dict[str, Any]
    subject: Subject
    report: Report


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return it with padding that is no number, after sequences of 6 to 12 steps."""
    (x, lengths), folder = brackets(160), tmp_path_factory.mktemp("brackets")
    model = Brackets(x, lengths)
    save_file(dict(model.state_dict()), folder / "brackets.safetensors")
    x[np.arange(12) >= lengths[:, None]] = np.nan
    given = {"inputs": x, "lengths": lengths, "concepts": {"depth": depth}, "valid": can_occur, "symbols": "()"}
    readout = Readout("depth", weight="head.weight", bias="head.bias")
    study = Study(load(folder / "brackets.safetensors"), **given, readout=readout)
    with without_pictures():
        return Trained(model, given, prepare(study)[0], report_of(study, folder / "report"))


def test_the_depth_of_brackets_is_read_and_used(trained: Trained) -> None:
    """Sequences of several lengths: padding is no data, and short ones are counted where the end is run."""
    found, lengths = trained.report.findings, trained.given["lengths"]
    assert value(found["reading-depth"], "best_score") > 0.95
    assert value(found["answers"], "accuracy") > 0.95
    rows = found["interchange"].measurements.query("metric == 'followed' and role == 'trained'")
    followed = rows.drop_duplicates("kind").set_index("kind")["value"]
    assert followed["whole"] > followed["nothing"] + 0.3
    assert np.isfinite(found["gates"].measurements.query("metric == 'mean'")["value"]).all()
    assert "160 sequences of 6 to 12 steps" in found["network"].notes["answer"]
    long = int((lengths >= 8).sum())
    assert f"{long} sequences (of the study's 160), the last 8 steps of each" in found["ablation"].notes["setup"]


def test_an_answer_if_asked_now_is_that_to_the_sequence_cut_there(trained: Trained) -> None:
    """The network runs anew on every beginning of every sequence."""
    subject, rows = trained.subject, np.arange(20)
    found = answers_if_asked(subject, rows)
    for row in rows:
        for step in range(int(subject.lengths[row])):
            with torch.no_grad():
                h = trained.model.encoder(subject.x[row : row + 1, : step + 1].float())[0][0, -1]
            assert found[row, step] == float(trained.model.head(h).argmax())
        assert np.isnan(found[row, subject.lengths[row] :]).all()


def test_an_example_shows_concept_reading_answer_and_units(trained: Trained) -> None:
    """Each is what the network and the concept say; the examples are four different sequences."""
    subject, table = trained.subject, trained.report.findings["one-sequence"].measurements
    shown = [int(row) for row in dict.fromkeys(table["at"])]
    assert len({subject.x[row].numpy().tobytes() for row in shown}) == len(shown) == 4
    for row in shown:
        own, length = table[table["at"] == row].sort_values("step"), int(subject.lengths[row])
        said = {name: only(own, metric=name)["value"].to_numpy(float) for name in ("concept", "answer", "reading")}
        assert np.array_equal(said["concept"], depth(subject.x[row, :length].numpy()))
        assert np.array_equal(said["answer"], answers_if_asked(subject, np.array([row]))[0, :length])
        assert np.abs(said["reading"] - said["concept"]).mean() < 0.5
        state = record(trained.model.encoder, subject.x[row : row + 1, :length].float())["[0]", "hidden_state"][0]
        for unit in range(12):
            drawn = only(own, metric="state", units=str(unit))["value"].to_numpy(float)
            assert drawn == pytest.approx(state[:, unit].numpy(), abs=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_a_reading_of_an_example_does_not_know_the_example() -> None:
    """Random numbers that no state tells: a probe that had seen the example's own states would know them."""
    rng = np.random.default_rng(3)
    torch.manual_seed(0)
    x = rng.normal(size=(24, 5, 2)).astype(np.float32)
    study = Study(nn.GRU(2, 128, batch_first=True), x, {"noise": rng.normal(size=(24, 5))})
    table = answer(study, "one-sequence").measurements
    read, true = (only(table, metric=metric)["value"].to_numpy(float) for metric in ("reading", "concept"))
    assert len(read) == len(true) == 20
    assert ((read - true) ** 2).mean() > 0.8 * (true**2).mean()


def test_the_plane_is_that_of_the_largest_variance(trained: Trained) -> None:
    """Shares are those of a singular value decomposition; every state that is drawn has two coordinates."""
    subject, found = trained.subject, trained.report.findings["state-space"]
    table = only(found.measurements, network=subject.network.name)
    states = states_at(subject, ("encoder[0]", Signal.HIDDEN_STATE), points_of(subject, "depth", "encoder[0]"))
    sizes = np.linalg.svd(states - states.mean(0), compute_uv=False) ** 2
    assert only(table, metric="variance")["value"].to_numpy() == pytest.approx(sizes[:2] / sizes.sum(), rel=1e-5)
    assert len(only(table, metric="coordinate")) == 2 * len(only(table, metric="concept")) > 100


def test_each_finding_has_a_section_and_a_layer_one_name(trained: Trained) -> None:
    """Its question or first sentence is the heading; of several pictures the reader chooses one, of few enough."""
    page, findings = trained.report.page, trained.report.findings
    sections = {one.key: one for one in walk(page.sections) if isinstance(one, Section)}
    order = ["reading-depth", "one-sequence", "interchange", "state-space", "explore", "limits", "answers", "network"]
    assert [key for key in keys_of(page) if key in order] == order
    figure = findings["one-sequence"].figures[0]
    (chosen,) = [block for block in sections["one-sequence"].blocks if isinstance(block, Panels)]
    assert chosen.choose
    assert len(chosen.pictures) == 4
    text = page.render()
    assert text.count('type="radio"') >= 4
    assert sections["reading-depth"].title == "Can “depth” be read?"
    assert "A probe reads “depth”" in str(sections["reading-depth"].blocks[0])
    assert {one for found in findings.values() for one in found.measurements["layer"] if one} == {"encoder[0]"}
    assert "rnn[0]" not in text
    (explorer,) = [block for block in walk([*page.hero, *page.sections]) if isinstance(block, Explorer)]
    assert [one.name for one in explorer.networks][1:] == ["random weights, fitted head"]
    looks = [(one["look"], one["legend"]) for one in json.loads(explorer.data or "")["networks"]]
    assert looks == [("trained", "trained"), ("fitted head", "untrained weights, head fitted")]
    with refused():
        Panels([Figure(figure.svg, f"{number}", "c", f"t{number}") for number in range(17)], "c", choose="which")


def shown(study: Study) -> dict[str, Any]:
    """Return what the explorer of a study's page is given."""
    explorer = live_network.explorer(prepare(study)[0])
    assert not isinstance(explorer, str), explorer
    return json.loads(explorer.data or "")


def test_the_explorer_has_the_authors_names(trained: Trained) -> None:
    """A layer is called as in its file; a text or a table names the features of one-hot inputs."""
    rows = zip(trained.subject.x.tolist(), trained.given["lengths"], strict=True)
    read = {"".join("(" if one[0] else ")" for one in row[:length]) for row, length in rows}
    table = {"(": [1, 0], ")": [0.0, 1.0]}
    head = Readout("depth", function=trained.model.head)
    for network, readout, name, symbols, scores in (
        (load(trained.report.folder.parent / "brackets.safetensors"), None, "encoder[0]", "()", 0),
        (trained.model.encoder, head, "[0]", table, 4),
    ):
        study = Study(network, **trained.given | {"symbols": symbols, "readout": readout})
        data, (subject,) = shown(study), prepare(study)
        (own,) = data["networks"]
        assert ([layer["name"] for layer in own["layers"]], own["scores"]) == ([name], scores)
        assert own["alphabet"] == {"(": [1.0, 0.0], ")": [0.0, 1.0]}
        assert data["example"] in read
        assert list(held_inputs.inputs_of(subject)[0]) == ["the input “)”", "the input “(”"]


def test_the_explorer_has_the_answers_of_the_study() -> None:
    """A logit has two classes, and values are classes by their place."""
    weight, bias = known_studies.head_of_unit_0()
    readout = Readout("quoted", weight=weight, bias=bias, kind="logit")
    network, x = known_studies.language_model(), known_studies.one_hot(known_studies.texts(60))
    data = shown(Study(network, x, {"quoted": quoted}, readout=readout, symbols=SYMBOLS))
    assert (data["classes"], data["networks"][0]["scores"], data["networks"][0]["softmax"]) == (["0", "1"], 2, True)
    readout = Readout("ones", function=nn.Linear(6, 3), answers=[-2, 0, 2])
    concept = {"ones": lambda x: 2 * x.sum(1).round() - 2}
    assert shown(Study(planted(), bits(60), concept, readout=readout))["classes"] == ["-2", "0", "2"]


HOSTILE = "$x_{$ \\frac <b>&amp; \x07\n" + "a very long name " * 40
RNG = np.random.default_rng(0)


def named(count: int, *shape: int) -> np.ndarray:
    """Return values of so many categories with long and hostile names."""
    names = [f"{HOSTILE} {number:02}" for number in range(count)]
    return np.array(names, dtype=object)[RNG.integers(0, count, shape)]


def test_what_is_too_large_in_any_way_becomes_a_picture() -> None:
    """Text that no figure should have is drawn as pixels that fit; less of it stays as it is."""
    for count, pixels in ((5, False), (400, True)):
        figure = Picture(figsize=(5.6, 4))
        for across, up in RNG.random((count, 2)):
            _ = figure.text(across, up, "a text")
        with drawing():
            found = drawn(figure, name="f", title="t", alt="1", caption="c", data=pd.DataFrame({"a": [1]}))
        assert len(found.svg.encode()) <= MAX_BYTES
        assert ("<image" in found.svg) is pixels


def many_answers() -> Study:
    """Return a study of as many answers as are allowed, with long names, and thirty rival programs."""
    values = named(MOST_CATEGORIES, 80, 6)
    readout = Readout("c", weight=RNG.normal(size=(len(np.unique(values)), 8)))
    programs = {f"{HOSTILE} {number}": lambda sequence: values[0, len(sequence) - 1] for number in range(30)}
    lstm = nn.LSTM(1, 8, 2, batch_first=True)
    return Study(lstm, bits(80, 6), {"c": values}, readout=readout, programs=programs)


def of_numbers() -> Study:
    """Return a study of a tanh network that reads numbers, with numbers of any size as its concept."""
    x = RNG.normal(size=(60, 7, 2)).astype(np.float32)
    return Study(nn.RNN(2, 8, batch_first=True), x, {"sum": lambda one: 1e-3 * one.sum(1).cumsum()})


def of_many_steps() -> Study:
    """Return a study of a number that differs at nearly every step, and of categories, over hundreds of steps."""
    concepts = {"number": RNG.normal(size=(20, 100)), HOSTILE[:60]: Concept(named(50, 20, 100), description=HOSTILE)}
    asked = ["one-sequence", "state-space"]
    return Study(nn.GRU(1, 16, batch_first=True), bits(20, 100), concepts, title=HOSTILE, questions=asked)


@pytest.mark.parametrize("made", [many_answers, of_numbers, of_many_steps], ids=lambda one: one.__name__)
def test_every_figure_of_a_study_shows_all_of_its_data(made: Any, tmp_path: Path) -> None:
    """Nothing of it is lost, which `nothing_is_lost` looks at after each test, and each picture fits."""
    torch.manual_seed(0)
    report = report_of(made(), tmp_path)
    assert report.page.render().count('<figure class="plot"') >= 2
    for figure in (one for finding in report.findings.values() for one in finding.figures):
        assert len(figure.svg.encode()) <= MAX_BYTES, figure.name
        assert any(letter.isdigit() for letter in figure.alt), figure.name


def test_a_page_says_what_would_bring_more(tmp_path: Path) -> None:
    """How many questions were asked, and which of equal lengths and a function is missing; else nothing."""
    lengths = np.where(np.arange(160) % 2, 8, 6)
    array = {"concepts": {"ones": np.cumsum(bits()[:, :, 0], axis=1)}}
    given: dict[str, dict[str, Any]] = {"function": {}, "array": array, "both": array | {"lengths": lengths}}
    page = {}
    for name, more in given.items():
        study = study_of(planted(), questions=["network", "answers", "other-lengths"], controls=(), **more)
        page[name] = study.run(tmp_path / name, progress=None).render()
    assert "would bring more" not in page["function"]
    assert "2 of 3 questions were asked; “ones” as a function in place of an array would bring more." in page["array"]
    assert "2 of 3 questions were asked; sequences of one length and “ones” as a function in place" in page["both"]
