"""Every analysis, on one network of each subject and the planted ones: findings, bytes, words, exit codes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import probe
from analyses import (
    QUESTIONS,
    accuracy,
    command,
    common,
    mechanism,
    other_lengths,
    planted_networks,
    running_count,
)
from analyses.summaries import SUMMARIES
from models import planted, zoo
from models.counter import answer
from probe.findings import to_csv
from probe.measurements import Network

REPOSITORY = Path(__file__).parents[2]
SHELL = {"__init__", "__main__", "command", "common", "merged", "summaries", "expected", "predictions"}


@pytest.fixture(scope="module")
def networks():
    """Return one trained network with its twins, one of each other subject, and the planted ones-counters."""
    common.limit_threads()
    subjects = [subject for subject in common.SUBJECTS if subject != "planted"]
    return [*common.networks(seeds=[0], subjects=subjects), *common.planted_networks(("ones", "ones-alone"))]


@pytest.fixture(scope="module")
def findings(networks: list[Network], tmp_path_factory: pytest.TempPathFactory):
    """Return the folder with every analysis's finding on these networks."""
    folder = tmp_path_factory.mktemp("findings")
    for name in QUESTIONS:
        module = __import__(f"analyses.{name}", fromlist=["find"])
        assert module.find(networks).write(folder / "first" / name).is_dir()
    return folder


def contents(folder: Path):
    """Return the bytes of every file of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def values(finding: probe.Finding, metric: str, subject: str):
    """Return a metric's values for one subject."""
    table = finding.measurements
    return table[(table["metric"] == metric) & (table["subject"] == subject)]["value"].tolist()


def test_every_module_beside_the_shell_is_a_question():
    """The tuple of questions and the files agree, so that none is forgotten."""
    files = {path.stem for path in (REPOSITORY / "analyses").glob("*.py")}
    assert files - SHELL == {*QUESTIONS, *SUMMARIES}


@pytest.mark.parametrize("name", QUESTIONS)
def test_reruns_give_identical_bytes(name: str, tmp_path: Path):
    """One machine, one thread: every file of a finding on one network and its controls is the same again."""
    module = __import__(f"analyses.{name}", fromlist=["find"])
    few = common.networks(seeds=[0], subjects=["trained", "readout", "untrained"])
    few += common.planted_networks(("ones", "ones-alone"))
    first, second = (contents(module.find(few).write(tmp_path / run)) for run in ("first", "second"))
    assert first == second
    assert len(first) > 4


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_finding_reads_back_as_it_was_written(findings: Path, name: str, tmp_path: Path):
    """What a page reads is what the analysis found, except for the PNG, which nobody reads back."""
    read = probe.Finding.read(findings / "first" / name)
    again = contents(read.write(tmp_path / name))
    original = contents(findings / "first" / name)
    assert again == {path: data for path, data in original.items() if path.suffix != ".png"}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_figure_says_in_words_and_numbers_what_it_shows(findings: Path, name: str):
    """Alt texts carry numbers, captions say how to read the figure, and a table stands behind it."""
    finding = probe.Finding.read(findings / "first" / name)
    assert finding.figures
    for figure in finding.figures:
        assert any(character.isdigit() for character in figure.alt)
        assert len(figure.caption) > 40
        assert len(figure.data) > 0
        assert len(figure.svg.encode()) <= 25_000


@pytest.mark.parametrize("name", QUESTIONS)
def test_provenance_names_code_weights_and_command_without_clock_or_path(findings: Path, name: str):
    """Anyone can rebuild the finding, and two machines' findings do not differ by where they lie."""
    finding = probe.Finding.read(findings / "first" / name)
    origin = finding.provenance
    assert origin["command"] == f"python -m analyses.{name}"
    assert len(origin["code"]) == 64
    config = json.loads((zoo.ZOO / "counter" / "seed-0" / "config.json").read_text())
    assert origin["weights"]["counter/seed-0"] == config["sha256"]["model.safetensors"]
    # Some questions leave the untrained twins out, whose answers mean nothing.
    untrained = config["sha256"]["untrained.safetensors"]
    assert origin["weights"].get("counter/seed-0/untrained", untrained) == untrained
    assert {"python", "torch", "numpy"} <= set(origin["versions"])
    assert str(REPOSITORY) not in (findings / "first" / name / "finding.json").read_text()


def test_one_network_decides_nothing_but_checks(findings: Path):
    """A verdict about the recipe needs many networks; a check needs every one that there is."""
    claims = {
        claim.rule.key: claim for name in QUESTIONS for claim in probe.Finding.read(findings / "first" / name).claims
    }
    assert {"0", "6", "17a", "17c"} <= set(claims)
    assert claims.pop("6").verdict == "passed"
    assert {claim.verdict for claim in claims.values()} == {"undecided"}


def test_the_planted_counter_gives_what_it_was_built_to_give(findings: Path):
    """It counts without error and without drift, and its cell alone carries the answer."""
    read = {name: probe.Finding.read(findings / "first" / name) for name in QUESTIONS}
    assert values(read["accuracy"], "all_error", "planted") == [0, 0]
    assert values(read["other_lengths"], "drift", "planted") == pytest.approx([0, 0], abs=0.035)
    assert values(read["other_lengths"], "near_0", "planted") == [1, 1]
    assert values(read["other_lengths"], "least_explained", "planted") == pytest.approx([1, 1], abs=1e-4)
    assert values(read["state_patching"], "whole_state_equals_accuracy", "planted") == [1, 1]
    patched = read["state_patching"].measurements.query("subject == 'planted' and metric == 'interchange_accuracy'")
    assert patched[patched["signal"] == "cell_state"]["value"].tolist() == [1] * 20
    assert patched[patched["signal"] == "hidden_state"]["value"].tolist() == ([0] * 9 + [1]) * 2
    tracks = read["cell_trajectories"].measurements.query("subject == 'planted' and units == '0'")
    assert tracks["value"].tolist() == pytest.approx([1, 1])


def test_the_committed_network_gives_what_its_description_says(findings: Path):
    """Errors and floor come out as `config.json` has them; the misread strings are named."""
    config = json.loads((zoo.ZOO / "counter" / "seed-0" / "config.json").read_text())
    finding = probe.Finding.read(findings / "first" / "accuracy")
    for part in ("test", "all", "train"):
        wanted = pytest.approx([config["errors"][part]["error"]], abs=1e-6)
        assert values(finding, f"{part}_error", "trained") == wanted
    assert values(finding, "test_floor", "trained") == pytest.approx([config["floor"]["test"]["error"]], abs=1e-6)
    table = finding.measurements
    misread = table[(table["metric"] == "misread") & (table["network"] == "counter/seed-0")]
    found = dict(zip(misread["units"], misread["value"], strict=True))
    assert found == {wrong["string"]: wrong["answer"] for wrong in config["misread"]}


def test_notes_tell_the_theorem_and_one_patch_in_whole_sentences(findings: Path):
    """What a page prints as it is has numbers in it that were computed."""
    lengths = probe.Finding.read(findings / "first" / "other_lengths")
    assert "cannot be seen" in lengths.notes["theorem"]
    drift = values(lengths, "drift", "trained")[0]
    assert f"from {drift:.2f} to {drift:.2f}" in lengths.notes["answer"]
    example = probe.Finding.read(findings / "first" / "state_patching").notes["example"]
    assert "1111111011 has 9 ones" in example


def test_all_verdicts_are_decided_at_the_level_of_the_whole_family():
    """K counts every rule that is no check, whichever analysis is run alone."""
    modules = [__import__(f"analyses.{name}", fromlist=["RULES"]) for name in QUESTIONS]
    rules = [rule for module in modules for rule in module.RULES]
    assert common.family() == sum(not rule.check for rule in rules)
    assert len({rule.key for rule in rules}) == len(rules)
    assert other_lengths.RULES[0].established_if == probe.Range.at_most(0.1)
    assert accuracy.RULES[0].established_if == probe.Range.at_most(0.01)


def test_networks_trained_here_take_the_place_of_committed_ones(tmp_path: Path):
    """The finding then says so, and names how it is rebuilt."""
    shutil.copytree(zoo.ZOO / "counter" / "seed-1", tmp_path / "seed-1")
    found = common.networks(tmp_path, seeds=[0, 1])
    fresh = [network.name for network in found if isinstance(network, common.Studied) and network.fresh]
    assert fresh == ["counter/seed-1", "counter/seed-1/untrained", "counter/seed-1/readout"]
    assert [network.name for network in common.pick(found, "untrained")] == [
        "counter/seed-0/untrained",
        "counter/seed-1/untrained",
    ]
    assert common.provenance("accuracy", found)["command"] == (
        "python -m analyses.accuracy --fresh build/models/counter"
    )
    shutil.copytree(zoo.ZOO / "counter" / "seed-1", tmp_path / "seed-0")
    with pytest.raises(probe.ProbeError, match="holds the network of seed 1, and its name says seed 0"):
        common.networks(tmp_path, seeds=[0])
    with pytest.raises(probe.ProbeError, match="holds no folder seed-N"):
        common.networks(tmp_path / "nothing")


def test_every_subject_is_there_and_can_be_chosen():
    """Ten networks, two twins of each, ten of the template, all planted ones and two others; by seed and part."""
    sizes = {subject: len(common.networks(subjects=[subject])) for subject in common.SUBJECTS}
    assert sizes == {
        "trained": 10,
        "untrained": 10,
        "readout": 10,
        "template": 10,
        "planted": len(planted.battery()),
        "other": 2,
    }
    some = common.networks(seeds=[3], subjects=["template", "readout"])
    assert [(network.name, network.subject, network.seed) for network in some] == [
        ("counter/seed-3/readout", "readout", 3),
        ("template/seed-3", "template", 3),
    ]
    assert [getattr(network, "asked", None) for network in some] == ["ones", "template"]
    assert len({network.name for network in common.networks()}) == sum(sizes.values())
    with pytest.raises(probe.ProbeError, match=r"no subject 'radout'.*Did you mean 'readout'"):
        common.networks(subjects=["radout"])


def test_one_checkpoint_is_studied_with_its_twins():
    """A network of another code is given bits; one without its first weights stands alone; a template is refused."""
    code = common.networks_of(zoo.ZOO / "code-reversed" / "seed-0")
    assert [(network.subject, network.seed) for network in code[:3]] == [
        ("trained", 0),
        ("untrained", 0),
        ("readout", 0),
    ]
    assert [network.name for network in code[3:]] == ["planted/ones", "planted/ones-alone"]
    for network, most in ((code[0], 0.05), (code[2], 0.01)):
        with torch.no_grad():
            wrong = answer(network.model(common.STRINGS)) != common.COUNTS[:, -1]
        assert float(wrong.double().mean()) < most
    assert common.provenance("accuracy", code)["command"] == "python -m analyses.accuracy --checkpoint DIR"
    alone = common.networks_of(zoo.ZOO / "tf1" / "seed-0")
    assert [network.subject for network in alone] == ["trained", "planted", "planted"]
    with pytest.raises(probe.ProbeError, match="answers 'template' on strings of 10 bits"):
        common.networks_of(zoo.ZOO / "template" / "seed-0")


def test_the_code_digest_follows_sources_and_nothing_else(tmp_path: Path):
    """A changed or renamed source changes it; caches, weights and built pages do not."""
    (tmp_path / "probe").mkdir()
    source = tmp_path / "probe" / "a.py"
    source.write_text("x = 1\n")
    digest = common.code_digest.__wrapped__
    first = digest(tmp_path)
    (tmp_path / "probe" / "__pycache__").mkdir()
    (tmp_path / "probe" / "__pycache__" / "a.py").write_text("x = 2\n")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "index.html").write_text("<p>\n")
    assert digest(tmp_path) == first
    (tmp_path / "reports" / "build.py").write_text("")
    second = digest(tmp_path)
    source.rename(tmp_path / "probe" / "b.py")
    assert len({first, second, digest(tmp_path)}) == 3


def test_medians_are_over_networks():
    """The line of a figure and the table behind it are the same numbers."""
    table = pd.DataFrame({"step": [0, 0, 0, 1], "value": [1.0, 2.0, 9.0, 4.0]})
    assert to_csv(common.medians(table, ["step"])) == "step,median,networks\n0,2,3\n1,4,1\n"


def test_the_command_writes_a_folder_a_question_and_prints_it(
    networks: list[Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Standard output holds the folders and their sizes, standard error nothing when piped."""
    monkeypatch.setattr(common, "networks", lambda fresh: networks)
    assert command.run(["accuracy"], "test", ["--out", str(tmp_path)]) == 0
    written = capsys.readouterr()
    assert written.err == ""
    folder, size, unit = written.out.split()
    assert (Path(folder), unit) == (tmp_path / "accuracy", "bytes")
    assert int(size) == sum(len(data) for data in contents(tmp_path).values())
    assert command.run(["accuracy"], "test", ["--out", str(tmp_path)]) == 0


def test_the_command_fails_in_one_line_and_leaves_other_peoples_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A folder that is no finding is not written into; a missing one is named; wrong usage is 2."""
    (tmp_path / "accuracy").mkdir()
    (tmp_path / "accuracy" / "mine.txt").write_text("mine")
    assert command.run(["accuracy"], "test", ["--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [path.name for path in (tmp_path / "accuracy").iterdir()] == ["mine.txt"]
    assert command.run(["accuracy"], "test", ["--fresh", str(tmp_path / "gone"), "--out", str(tmp_path / "o")]) == 1
    assert "holds no folder seed-N" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert command.run(["accuracy"], "test", ["--ouut", "x"]) == 2
    assert command.run(["accuracy"], "test", ["--help"]) == 0


def test_the_running_count_is_answered_from_all_seven_tests(findings: Path) -> None:
    """The grid counts the networks of each kind that satisfy each rule; the planted counter passes all seven."""
    read = {name: probe.Finding.read(findings / "first" / name) for name in QUESTIONS}
    found = running_count.find(read)
    grid = found.figures[0].data
    assert set(grid["claim"]) == set(running_count.TESTS)
    assert grid[grid["networks"] == "planted/ones"]["holds_in"].tolist() == [1] * 7
    correlation = read["single_units"].measurements
    best = correlation[(correlation["metric"] == "largest_correlation") & (correlation["subject"] == "trained")]
    row = grid[(grid["networks"] == "trained") & (grid["claim"] == "1a")]
    assert row["holds_in"].item() == int((best["value"] >= 0.9).sum())
    assert "The planted counter passes 7 of the 7" in found.notes["answer"]


def test_the_mechanism_is_told_in_numbers_that_were_measured(findings: Path) -> None:
    """Its sentences carry the medians of the questions that measured them, and its picture all four panels."""
    read = {name: probe.Finding.read(findings / "first" / name) for name in QUESTIONS}
    found = mechanism.find(read)
    shares = read["gate_shares"].measurements
    own = shares[(shares["metric"] == "gate_share") & (shares["subject"] == "trained")].set_index("signal")["value"]
    assert f"the candidate {own['cell_candidate']:.0%}" in found.notes["answer"]
    assert set(found.figures[0].data["metric"]) == {metric for _, metric in mechanism.SHOWN}


def test_a_planted_value_that_is_not_met_fails_the_check(findings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes on what the ones-counter must give, and fails where another value is expected."""
    read = {name: probe.Finding.read(findings / "first" / name) for name in QUESTIONS}
    ones = [expected for expected in planted_networks.EXPECTED if expected.network in ("ones", "ones-alone")]
    assert len(ones) >= 6
    monkeypatch.setattr(planted_networks, "EXPECTED", ones)
    assert [claim.verdict for claim in planted_networks.find(read).claims] == ["passed"]
    monkeypatch.setattr(planted_networks, "EXPECTED", [dataclasses.replace(ones[0], value=0.5), *ones[1:]])
    found = planted_networks.find(read)
    assert [claim.verdict for claim in found.claims] == ["failed"]
    assert "instead of 0.5" in found.notes["answer"]
