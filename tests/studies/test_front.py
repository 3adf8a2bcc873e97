"""The first screen of a study's page: each sentence follows by rule from the scores and verdicts of a reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studied import bits, ones, planted, study_of
from torch import nn

from probe import Study
from probe.evidence.claims import Control, Range, Rule, judge
from probe.evidence.measurements import Network, measurement, tabulate
from probe.probes.reading import ABOVE, BELOW, NO_NETWORK, NOT_ABOVE
from probe.questions.headings import by_rule
from probe.questions.judged import Judged
from probe.questions.question import Answered
from probe.report import Table
from probe.report.inline import plain
from probe.studies.pages.verdicts import ALL, OF_NAMES, ONE, ONE_AT_STEP, Row, flat, title_of
from probe.studies.progress import Progress


def place(score: float, control: str, its_score: float, verdict: str, units: str = "7") -> Judged:
    """Return what was read at one place."""
    return Judged("[0]", "cell_state", units, score, (score, score), control, its_score, verdict)


def row(asked: str, *places: Judged, score: str = "R²") -> Row:
    """Return what was asked of some networks."""
    return Row(asked, {str(number): each for number, each in enumerate(places)}, score)


TOLD = place(0.99, "fresh weights 2", 0.7, ABOVE)
NEARLY = place(0.99, "fresh weights 2", 0.95, ABOVE)
ALIKE = place(0.99, "shuffled weights 1", 0.98, NOT_ABOVE)
CLOSE = place(0.92, "own initialisation", 0.89, NOT_ABOVE)
BY_STEP = place(0.95, "step alone", 0.94, NOT_ABOVE)
BY_INPUTS = place(0.95, "last 4 inputs", 0.94, NOT_ABOVE)
ALONE = place(0.95, "step alone", 0.3, NO_NETWORK)
PART = place(0.7, "fresh weights 1", 0.3, ABOVE)
NO = place(0.3, "fresh weights 1", 0.8, BELOW, "")

#: What was asked of one unit, what was read by it and by all of them, and the sentence of the title.
TITLES = [
    (ONE, TOLD, ALIKE, "Unit 7 keeps “x”; random weights have no such unit."),
    (ONE, NEARLY, ALIKE, "Unit 7 keeps “x”, better than any control does."),
    (ONE, ALONE, ALIKE, "Unit 7 keeps “x”; no untrained network was compared."),
    (ONE, ALIKE, TOLD, "Unit 7 keeps “x”, but a network with random weights has such a unit too."),
    (ONE, CLOSE, TOLD, "Unit 7 keeps “x”, but not clearly better than the network before training."),
    (ONE, BY_STEP, TOLD, "Unit 7 keeps “x”, but so does the step alone."),
    (ONE, BY_INPUTS, TOLD, "Unit 7 keeps “x”, but so do the last 4 inputs."),
    (ONE, PART, TOLD, "No unit of this LSTM keeps “x”."),
    (ONE_AT_STEP, TOLD, ALIKE, "Unit 7 follows “x”; random weights have no such unit."),
    (ONE, NO, TOLD, "All units together hold it, better than any control."),
    (ONE, NO, ALIKE, "All units together hold it, as they do with random weights."),
    (ONE, NO, CLOSE, "All units together hold it, but not clearly better than the network before training."),
    (ONE, NO, BY_STEP, "All units together hold it, but so does the step alone."),
    (ONE, NO, BY_INPUTS, "All units together hold it, but so do the last 4 inputs."),
    (ONE, NO, ALONE, "All units together hold it."),
    (ONE, NO, PART, "All units together hold it in part."),
    (ONE, NO, NO, "Nor do all units together hold it."),
]


@pytest.mark.parametrize(("asked", "unit", "every", "said"), TITLES)
def test_a_title_is_as_strong_as_its_verdicts(asked: str, unit: Judged, every: Judged, said: str) -> None:
    """A unit counts from 0.9 on and beyond every control; where none does, all units together are told too."""
    title = title_of("x", [row(asked, unit), row(ALL, every)], "LSTM")
    assert said in title
    assert ("together" in title) == (unit not in (TOLD, NEARLY, ALONE))


@pytest.mark.parametrize(
    ("places", "word", "said"),
    [
        ([TOLD], "Yes, beyond any control", "Unit 7 tells “x”; random weights have no such unit."),
        ([ALIKE], "Yes, untrained too", "has such a unit too."),
        ([CLOSE], "Yes, hardly beyond controls", "not clearly better than the network before training."),
        ([BY_INPUTS], "Yes, so do the last 4 inputs", "so do the last 4 inputs."),
        ([ALONE], "Yes; no network compared", "no untrained network was compared."),
        ([PART], "In part, beyond any control", "No unit of this GRU tells “x”."),
        ([NO], "No", "No unit of this GRU tells “x”."),
        ([TOLD, NO, TOLD], "In 2 of 3", "In 2 of 3 GRUs one unit tells “x”; no control has such a unit."),
        ([TOLD, NEARLY], "In 2 of 2", "In 2 of 2 GRUs one unit tells “x”, better than any control does."),
        ([ALIKE, NO], "In 1 of 2, controls too", "In 1 of 2 GRUs one unit tells “x”, but no more clearly than in"),
        ([NO, PART], "In none of 2", "No unit tells “x” in any of 2 GRUs."),
    ],
)
def test_a_row_has_a_word_for_one_network_and_for_many(places: list[Judged], word: str, said: str) -> None:
    """Beside the score and that of the best control."""
    found = row(ONE, *places, score=OF_NAMES)
    assert found.word == word
    assert said in title_of("x", [found], "GRU")
    alone = len(places) == 1 and not word.startswith(("No", "In"))
    assert ("Unit 7 of [0] tells" in title_of("x", [replace(found, layered=True)], "GRU")) == alone
    assert found.numbers.startswith("balanced accuracy 0.")


def answered(values: list[float], controls: list[float]) -> Answered:
    """Return a question about networks with one value each, and fitted heads beside them, judged by a rule."""
    beside, ends = (Control("fitted head", 0.1),), (Range.at_least(0.5), Range.below(0.5))
    rule = Rule("r", "It is so.", "m", "m", "s", *ends, controls=beside, needs=10)
    rows = [measurement("q", "m", Network(f"{n}", "trained", NOTHING, n), value) for n, value in enumerate(values)]
    heads = enumerate(controls)
    rows += [measurement("q", "m", Network(f"{n}/head", "fitted head", NOTHING, n), value) for n, value in heads]
    table = tabulate(rows)
    return Answered("q", table, judge(table, [rule]), ())


NOTHING, ALSO = nn.Identity(), "; the same is true of random weights with a fitted head"


@pytest.mark.parametrize(
    ("values", "controls", "said"),
    [
        ([0.9], [0.2], "It is"),
        ([0.9], [], "It is"),
        ([0.9], [0.88], f"It is{ALSO}"),
        ([0.55], [0.49], "It is; nearly the same is true of random weights with a fitted head"),
        ([0.3], [0.2], "It is not"),
        ([0.9, 0.9, 0.1], [0.2, 0.2, 0.2], "It is, in 2 of 3 networks"),
        ([0.9, 0.1, 0.1], [0.2, 0.2, 0.2], "It is not, in 2 of 3 networks"),
        ([0.9] * 12, [0.2] * 12, "It is"),
        ([0.9] * 12, [0.9] * 12, f"It is{ALSO}"),
        ([0.1] * 12, [0.2] * 12, "It is not"),
        ([0.9, 0.1] * 6, [0.2] * 12, ""),
    ],
)
def test_a_heading_says_what_the_rule_comes_to(values: list[float], controls: list[float], said: str) -> None:
    """One network, a few that are counted, or many with a verdict; an open verdict heads nothing."""
    assert by_rule("It is", "It is not")(answered(values, controls)) == said


def test_the_first_screen_tells_the_unit_and_what_an_input_does(tmp_path: Path) -> None:
    """In the title and the first sentences; a title of one's own keeps its place."""
    study = study_of(planted(), questions=["best-unit-ones", "reading-ones", "bit-effects", "erasure"])
    page = study.run(tmp_path / "own", progress=None)
    assert page.title == "Unit 0 keeps “ones”; random weights have no such unit."
    lead = "A 0 leaves the answer as it is and a 1 raises it by 1.00. Erase “ones” from the states, and"
    assert plain(page.lead).startswith(lead)
    first, one, at_step, every = repr(page).splitlines()
    assert first == page.title
    assert [line.split("  ")[1] for line in (one, at_step, every)] == list(map(flat, (ONE, ONE_AT_STEP, ALL)))
    assert "Yes, beyond any control" in one
    assert "read exactly 1.00; " in one
    named = replace(study, title="Mine").run(tmp_path / "named", progress=None)
    assert named.title == "Mine"
    assert plain(named.lead).startswith(f"{page.title} {lead}")


def test_of_several_concepts_those_with_a_unit_come_first(tmp_path: Path) -> None:
    """The others are named in one sentence."""
    noise = np.random.default_rng(0).integers(0, 3, bits().shape[:2])
    asked = ["best-unit-ones", "best-unit-noise", "reading-ones", "reading-noise"]
    study = study_of(planted(), concepts={"ones": ones, "noise": noise}, questions=asked)
    title = study.run(tmp_path, progress=None).title
    assert title == "Unit 0 keeps “ones”; random weights have no such unit. No unit tells “noise”."


def test_where_no_concept_was_read_the_title_says_what_was_studied(tmp_path: Path) -> None:
    """The rest of the page stands as ever."""
    torch.manual_seed(0)
    study = Study(nn.GRU(1, 3, batch_first=True).double(), bits(40, 6), {"ones": ones}, questions=["gates"])
    assert study.run(tmp_path, progress=None).title == "What does GRU hold of ones?"


def test_the_first_screen_is_written_before_the_rest_is_measured(tmp_path: Path) -> None:
    """It says that the rest is missing; the finished page has all, and a run that keeps everything writes it once."""
    seen, at = dict[str, str](), tmp_path / "index.html"

    def watch(progress: Progress) -> None:
        seen[f"{progress.question} {progress.state}"] = at.read_text() if at.exists() else ""

    study = study_of(planted(), questions=["memory", "best-unit-ones", "reading-ones", "bit-effects"])
    page = study.run(tmp_path, progress=watch)
    early = seen["memory started"]
    assert seen["bit-effects answered"] == ""
    assert "The rest of this page is being measured" in early
    assert page.title in early
    assert "A 0 leaves the answer as it is and a 1 raises it by 1.00." in early
    assert "How long does a state matter?" not in early
    assert "is being measured" not in at.read_text()
    finished = at.read_bytes()
    seen.clear()
    _ = study.run(tmp_path, progress=watch)
    assert not any("is being measured" in text for text in seen.values())
    assert at.read_bytes() == finished


def test_two_networks_stand_beside_each_other(tmp_path: Path) -> None:
    """A column each, with what each answers by itself."""
    trained, before = planted(), planted()
    start: Any = before
    with torch.no_grad():
        start.weight_ih_l0.zero_()
        start.bias_ih_l0.zero_()
    networks = [Network("after", "trained", trained, "a"), Network("before", "trained", before, "b")]
    page = Study(networks, bits(), {"ones": ones}, questions=["best-unit-ones"]).run(tmp_path, progress=None)
    (table,) = (block for block in page.hero if isinstance(block, Table))
    assert list(table.columns) == ["concept", "read from", "after", "before"]
    one, _ = table.rows
    assert one[1] == flat(ONE)
    assert str(one[2]).startswith("Yes, beyond any control: 1.00; ")
    assert str(one[3]).startswith("No: ")
