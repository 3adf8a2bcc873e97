"""The counter's questions, asked of one network of each role: bytes, words, provenance, and what must come out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from refusing import refused

from analyses.counter import POPULATION_QUESTIONS, QUESTIONS, common, study
from models.checkpoints import load_config
from models.counter import answer
from models.packing import unpack
from probe import Finding
from probe.evidence.findings import to_csv
from probe.studies import verify
from probe.studies.store import read
from tests.repo import asked_once

REPOSITORY = Path(__file__).parents[2]
#: These search, in these tests with few steps.
SHORTENED = ("alignment", "erasure")
SHELL = {"__init__", "common", "drawn", "explored", "here", "plain", "study", "verdicts"}
COUNTER = "counter/seed-2000"


@pytest.fixture(scope="module")
def again() -> dict[str, Finding]:
    """Return what is found in this process of what another one measured."""
    return asked_once.study().findings(asked_once.folder() / asked_once.MEASURED)


def test_every_module_beside_the_shell_is_a_question() -> None:
    """The tuple of questions and the files agree, and each is told once, so that none is forgotten."""
    files = {path.stem for path in (REPOSITORY / "analyses" / "counter").glob("*.py")}
    assert files - SHELL <= {*QUESTIONS, *POPULATION_QUESTIONS}
    assert [one.name for one in study.questions(QUESTIONS)] == list(QUESTIONS)
    told = [name for page in study.PAGES.values() for name in page.questions]
    assert sorted(told) == sorted([*QUESTIONS, *POPULATION_QUESTIONS, "verdicts"])


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name not in SHORTENED])
def test_a_counter_measured_again_gives_the_committed_numbers(name: str) -> None:
    """And those of its controls, up to what rounding moves."""
    stored = read(study.FOLDER / "judged.csv.xz")[COUNTER].tables[name]
    table = asked_once.tables()[name]
    new = table[table["network"].str.startswith(COUNTER)]
    (question,), networks = study.questions([name]), common.with_controls("counter", 2000)
    _, moved = verify.compare(question, common.subjects(networks), stored, new)
    assert len(new) > 0
    assert moved.empty


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_finding_made_again_has_the_same_bytes(name: str, again: dict[str, Finding], tmp_path: Path) -> None:
    """Here every file is as another process wrote it, pictures too; and it names no place of this machine."""
    written, before = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (again[name].write(tmp_path / name), asked_once.folder() / "findings" / name)
    )
    assert written == before
    assert len(written) > 1
    assert str(REPOSITORY).encode() not in written[Path("finding.json")]
    assert {"python", "torch", "numpy"} <= set(again[name].provenance["versions"])


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_figure_says_in_words_and_numbers_what_it_shows(name: str, again: dict[str, Finding]) -> None:
    """Alt texts carry numbers, captions say how to read the figure, and a table stands behind it."""
    for figure in again[name].figures:
        assert any(character.isdigit() for character in figure.alt)
        assert len(figure.caption) > 40
        assert len(figure.data) > 0
        assert len(figure.svg.encode()) <= 25_000


def test_one_network_decides_nothing(again: dict[str, Finding]) -> None:
    """A verdict about the recipe needs many networks."""
    claims = {claim.rule.key: claim.verdict for finding in again.values() for claim in finding.claims}
    assert {"II.0", "II.17a", "II.17c"} <= set(claims)
    assert set(claims.values()) == {"undecided"}


def test_the_committed_network_gives_what_its_description_says(tmp_path: Path) -> None:
    """Errors come out as its description has them; the misread strings are named."""
    config = load_config(unpack("counter", 2000, tmp_path / "seed-2000"))
    table = asked_once.tables()["accuracy"]
    own = table[table["network"] == COUNTER].set_index("metric")
    for metric, wanted in {
        "test_error": config["errors"]["test"],
        "all_error": config["errors"]["all"],
        "train_error": config["errors"]["train"],
    }.items():
        assert own.loc[metric, "value"] == pytest.approx(wanted["error"], abs=1e-6)
    misread = own.loc[["misread"]] if "misread" in own.index else own.iloc[:0]
    found = dict(zip(misread["kind"], misread["value"], strict=True))
    assert len(found) == round(1024 * config["errors"]["all"]["error"])


def test_a_network_comes_with_the_controls_of_its_recipe() -> None:
    """A judged counter with its own initialisation and three heads, of its pair; all others have none.

    A network of another code is given bits.
    """
    heads = ["own initialisation", "fitted head", "ridge head", "noise head"]
    networks = common.with_controls("counter", 2003)
    assert [(network.name, network.role, network.pair) for network in networks] == [
        ("counter/seed-2003", "trained", "2003"),
        *((f"counter/seed-2003/{role}", role, "2003") for role in heads),
    ]
    assert {"trained", *heads[1:]} <= set(common.ANSWERING)
    (network,) = common.of_recipe("code-reversed", [0])
    assert (network.name, network.role, network.pair) == ("code-reversed/seed-0", "other", "")
    with torch.no_grad():
        wrong = answer(network.model(common.STRINGS)) != common.COUNTS[:, -1]
    assert float(wrong.double().mean()) < 0.05
    with refused():
        common.of_recipe("conter", [0])


def test_medians_are_over_networks() -> None:
    """The line of a figure and the table behind it are the same numbers."""
    table = pd.DataFrame({"step": [0, 0, 0, 1], "value": [1.0, 2.0, 9.0, 4.0]})
    assert to_csv(common.medians(table, ["step"])) == "step,median,networks\n0,2,3\n1,4,1\n"
