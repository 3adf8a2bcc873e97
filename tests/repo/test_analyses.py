"""The counter's questions: they and the pages agree, and what is found has bytes, words, provenance and verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from refusing import refused

from analyses.counter import FRESH_QUESTIONS, POPULATION_QUESTIONS, QUESTIONS, common, story, study
from models import planted
from models.counter import answer
from probe import Finding

REPOSITORY = Path(__file__).parents[2]
SHELL = {"__init__", "common", "drawn", "explored", "here", "plain", "rules", "story", "study", "verdicts"}


def found(names: tuple[str, ...] = QUESTIONS) -> dict[str, Finding]:
    """Return what the committed measurements of one counter, its controls and a planted network say."""
    few, ones = replace(study.SECOND_JUDGED, seeds=range(2000, 2001)), {"ones": planted.battery()["ones"]}
    with mock.patch.object(study, "SECOND_JUDGED", few), mock.patch.object(planted, "battery", return_value=ones):
        return study.judged(names, fit=False).findings(study.FOLDER / "judged.csv.xz")


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    """Return all of it."""
    return found()


def test_every_module_beside_the_shell_is_a_question() -> None:
    """The tuple of questions and the files agree, and each is told once, so that none is forgotten."""
    files = {path.stem for path in (REPOSITORY / "analyses" / "counter").glob("*.py")}
    assert files - SHELL <= {*QUESTIONS, *POPULATION_QUESTIONS, *FRESH_QUESTIONS}
    asked = (*QUESTIONS, *FRESH_QUESTIONS)
    assert [one.name for one in study.questions(asked)] == list(asked)
    told = [name for page in story.PAGES.values() for name in page.questions]
    assert sorted(told) == sorted([*QUESTIONS, *FRESH_QUESTIONS, *POPULATION_QUESTIONS, "verdicts"])


def test_every_finding_has_words_and_numbers_and_one_network_decides_nothing(findings: dict[str, Finding]) -> None:
    """Alt texts carry numbers, captions say how to read a figure, a table stands behind it; all is undecided."""
    for figure in (figure for finding in findings.values() for figure in finding.figures):
        assert any(character.isdigit() for character in figure.alt)
        assert len(figure.caption) > 40
        assert len(figure.data) > 0
        assert len(figure.svg.encode()) <= 25_000
    claims = {claim.rule.key: claim.verdict for finding in findings.values() for claim in finding.claims}
    assert {"II.0", "II.17a", "II.17c"} <= set(claims)
    assert set(claims.values()) == {"undecided"}


def test_a_network_comes_with_the_controls_of_its_recipe() -> None:
    """A judged counter with its own initialisation and five heads, of its pair; all others have none.

    A network of another code is given bits.
    """
    heads = ["own initialisation", "fitted head", "ridge head", "noise head", "scores head", "scaled head"]
    networks = common.with_controls("counter", 2003)
    assert [(network.name, network.role, network.pair) for network in networks] == [
        ("counter/seed-2003", "trained", "2003"),
        *((f"counter/seed-2003/{role}", role, "2003") for role in heads),
    ]
    (network,) = common.of_recipe("code-reversed", [0])
    assert (network.name, network.role, network.pair) == ("code-reversed/seed-0", "other", "")
    with torch.no_grad():
        wrong = answer(network.model(common.STRINGS)) != common.COUNTS[:, -1]
    assert float(wrong.double().mean()) < 0.05
    with refused():
        common.of_recipe("conter", [0])
