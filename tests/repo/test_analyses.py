"""Every analysis, on one network of each role and the planted ones: findings, bytes, words, exit codes."""

from __future__ import annotations

import dataclasses
import json
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch

import probe
from analyses.counter import (
    POPULATION_QUESTIONS,
    QUESTIONS,
    common,
    measured,
    study,
    verify,
)
from models import planted, zoo
from models.checkpoints import load_config, weights_digest
from models.counter import answer
from models.packing import unpack
from probe.evidence.findings import to_csv
from probe.evidence.measurements import COLUMNS
from probe.studies.store import read
from tests.repo import asked_once

REPOSITORY = Path(__file__).parents[2]
#: These search, in these tests with few steps.
SHORTENED = ("alignment", "erasure")
SHELL = {"__init__", "command", "report", "common", "merged", "pictures"}
SHELL |= {"answering", "explored", "here", "measured", "study", "verdicts", "verify"}


@pytest.fixture(scope="module")
def findings():
    """Return the folder with every analysis's finding on one network of each role."""
    return asked_once.folder() / "findings"


def contents(folder: Path):
    """Return the bytes of every file of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def values(finding: probe.Finding, metric: str, role: str):
    """Return a metric's values for one role."""
    table = finding.measurements
    return table[(table["metric"] == metric) & (table["role"] == role)]["value"].tolist()


def test_every_module_beside_the_shell_is_a_question():
    """The tuple of questions and the files agree, so that none is forgotten."""
    files = {path.stem for path in (REPOSITORY / "analyses" / "counter").glob("*.py")}
    questions = {*QUESTIONS, *POPULATION_QUESTIONS}
    assert files - SHELL == questions


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_network_measured_again_among_others_gives_the_same_numbers(name: str):
    """Those of the study, and planted ones: nothing that was drawn for the others moves the numbers of a network."""
    again = asked_once.table(name)
    if name not in SHORTENED:
        stored = read(measured.FOLDER / "counter.csv.xz")["seed-2000"].tables[name]
        alone, among = (table[table["network"] == "counter/seed-2000"] for table in (stored, again))
        assert len(alone) > 0
        _, moved = verify.compare(name, study.Group("counter", "seed-2000").networks(), alone, among)
        assert moved.empty
    found = asked_once.battery()[0][name].measurements
    # An excess over the ceiling is no measurement: it is another one's beside this one's.
    found = found[found["metric"].isin(again["metric"])]
    first, second = (to_csv(table[table["network"] == "planted/ones"]) for table in (again, found))
    assert first == second
    assert len(first.splitlines()) > 1


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_finding_made_again_has_the_same_bytes(findings: Path, name: str, tmp_path: Path):
    """Here every file is as another process wrote it, pictures too."""
    again = import_module(f"analyses.counter.{name}").find(asked_once.networks(), asked_once.table(name))
    files = contents(again.write(tmp_path / name))
    assert files == contents(findings / name)
    assert len(files) > 1


@pytest.mark.parametrize("name", QUESTIONS)
def test_networks_that_a_question_does_not_ask_leave_a_table_without_rows(name: str):
    """Nothing is asked, and nothing fails."""
    empty = import_module(f"analyses.counter.{name}").measure([])
    assert list(empty.columns) == list(COLUMNS)
    assert len(empty) == 0


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_finding_reads_back_as_it_was_written(findings: Path, name: str, tmp_path: Path):
    """What a page reads is what the analysis found, except for the PNG, which nobody reads back."""
    read = probe.Finding.read(findings / name)
    again = contents(read.write(tmp_path / name))
    original = contents(findings / name)
    told = []
    for written in (again, original):
        about = json.loads(written.pop(Path("finding.json")))
        files = {file: digest for file, digest in about["files"].items() if not file.endswith(".png")}
        told.append(about | {"files": files, "sha256": ""})
    assert told[0] == told[1]
    assert again == {path: data for path, data in original.items() if path.suffix != ".png"}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_figure_says_in_words_and_numbers_what_it_shows(findings: Path, name: str):
    """Alt texts carry numbers, captions say how to read the figure, and a table stands behind it."""
    finding = probe.Finding.read(findings / name)
    for figure in finding.figures:
        assert any(character.isdigit() for character in figure.alt)
        assert len(figure.caption) > 40
        assert len(figure.data) > 0
        assert len(figure.svg.encode()) <= 25_000


@pytest.mark.parametrize("name", QUESTIONS)
def test_provenance_names_version_weights_and_command_without_clock_or_path(findings: Path, name: str):
    """Anyone can rebuild the finding, and two machines' findings do not differ by where they lie."""
    finding = probe.Finding.read(findings / name)
    origin = finding.provenance
    assert origin["command"] == f"python -m analyses counter {name.replace('_', '-')}"
    assert origin["rnn-probe"] == probe.__version__
    digests = zoo.read_table("counter")["networks"][2000]["sha256"]
    assert origin["weights"]["counter/seed-2000"] == digests["model"]
    # Some questions leave the own initialisations out, whose answers mean nothing.
    untrained = digests["untrained"]
    assert origin["weights"].get("counter/seed-2000/own initialisation", untrained) == untrained
    assert {"python", "torch", "numpy"} <= set(origin["versions"])
    assert str(REPOSITORY) not in (findings / name / "finding.json").read_text()


def test_one_network_decides_nothing(findings: Path):
    """A verdict about the recipe needs many networks."""
    claims = {claim.rule.key: claim for name in QUESTIONS for claim in probe.Finding.read(findings / name).claims}
    assert {"II.0", "II.17a", "II.17c"} <= set(claims)
    assert {claim.verdict for claim in claims.values()} == {"undecided"}


def test_the_planted_counter_gives_what_it_was_built_to_give(findings: Path):
    """It counts without error and without drift, and its cell alone carries the answer."""
    read = {name: probe.Finding.read(findings / name) for name in QUESTIONS}
    assert values(read["accuracy"], "all_error", "planted") == [0, 0]
    assert values(read["other_lengths"], "drift", "planted") == pytest.approx([0, 0], abs=0.035)
    assert values(read["other_lengths"], "near_0", "planted") == [1, 1]
    assert values(read["other_lengths"], "least_explained", "planted") == pytest.approx([1, 1], abs=1e-4)


def test_the_committed_network_gives_what_its_description_says(findings: Path, tmp_path: Path):
    """Errors and floor come out as its description has them; the misread strings are named."""
    config = load_config(unpack("counter", 2000, tmp_path / "seed-2000"))
    finding = probe.Finding.read(findings / "accuracy")
    for part in ("test", "all", "train"):
        wanted = pytest.approx([config["errors"][part]["error"]], abs=1e-6)
        assert values(finding, f"{part}_error", "trained") == wanted
    assert values(finding, "test_floor", "trained") == pytest.approx([config["floor"]["test"]["error"]], abs=1e-6)
    table = finding.measurements
    misread = table[(table["metric"] == "misread") & (table["network"] == "counter/seed-2000")]
    found = dict(zip(misread["kind"], misread["value"], strict=True))
    assert found == {wrong["string"]: wrong["answer"] for wrong in config["misread"]}


def test_notes_tell_the_theorem_in_whole_sentences(findings: Path):
    """What a page prints as it is has numbers in it that were computed."""
    lengths = probe.Finding.read(findings / "other_lengths")
    assert "do not show the drift" in lengths.notes["theorem"]
    drift = values(lengths, "drift", "trained")[0]
    assert f"from {drift:.2f} to {drift:.2f}" in lengths.notes["answer"]


def test_a_network_comes_with_the_controls_of_its_recipe():
    """A judged counter with its own initialisation and three heads, of its pair; all others have none."""
    heads = ["own initialisation", "fitted head", "ridge head", "noise head"]
    networks = common.group("counter", 2003)
    assert [(network.name, network.role, network.pair) for network in networks] == [
        ("counter/seed-2003", "trained", "2003"),
        *((f"counter/seed-2003/{role}", role, "2003") for role in heads),
    ]
    assert {"trained", *heads[1:]} <= set(common.ANSWERING)
    alone = [common.group(recipe, seed) for recipe, seed in (("counter", 1000), ("every-step", 0))]
    assert [[(network.name, network.role, network.pair) for network in group] for group in alone] == [
        [("counter/seed-1000", "other", "")],
        [("every-step/seed-0", "other", "")],
    ]
    assert len(common.planted_networks()) == len(planted.battery())


def test_figures_of_a_single_network_show_the_marked_one():
    """Without a mark the first trained one; where none is trained, the message says so."""
    networks = [*common.group("gru", 1000), *common.group("counter", 2000), *common.group("counter", 2001)]
    assert common.in_detail(networks).name == "counter/seed-2000"
    marked = [
        dataclasses.replace(network, detail=True) if network.name.startswith("counter/seed-2001") else network
        for network in networks
        if isinstance(network, common.Studied)
    ]
    assert common.in_detail(marked).name == "counter/seed-2001"
    with pytest.raises(probe.ProbeError, match="No network is trained"):
        common.in_detail(networks[:1])


def test_one_checkpoint_is_studied_with_its_controls(tmp_path: Path):
    """A network of another code is given bits; a missing initialisation is drawn; a template is refused."""
    names = ("code-reversed", "tf1", "template")
    folders = {name: unpack(name, 0, tmp_path / name) for name in names}
    code = common.networks_of(folders["code-reversed"])
    roles = ["trained", "own initialisation", "fitted head", "ridge head", "noise head"]
    assert [(network.role, network.pair) for network in code[:5]] == [(role, "0") for role in roles]
    assert [network.name for network in code[5:]] == ["planted/ones", "planted/ones-alone"]
    for network, most in ((code[0], 0.05), (code[2], 0.01)):
        with torch.no_grad():
            wrong = answer(network.model(common.STRINGS)) != common.COUNTS[:, -1]
        assert float(wrong.double().mean()) < most
    assert common.provenance("accuracy", code)["command"] == "python -m analyses counter accuracy --checkpoint DIR"
    elsewhere = common.networks_of(folders["tf1"])
    assert [network.role for network in elsewhere] == [*roles, "planted", "planted"]
    again = common.networks_of(folders["tf1"])
    assert [weights_digest(network.model) for network in elsewhere] == [
        weights_digest(network.model) for network in again
    ]
    with pytest.raises(probe.ProbeError, match="answers 'template' on strings of 10 bits"):
        common.networks_of(folders["template"])


def test_medians_are_over_networks():
    """The line of a figure and the table behind it are the same numbers."""
    table = pd.DataFrame({"step": [0, 0, 0, 1], "value": [1.0, 2.0, 9.0, 4.0]})
    assert to_csv(common.medians(table, ["step"])) == "step,median,networks\n0,2,3\n1,4,1\n"
