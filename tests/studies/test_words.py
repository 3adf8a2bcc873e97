"""What a study's sentences say is true of the numbers beside them, and each number says what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from studied import answer, bits, ones, planted, report_of, study_of, written
from torch import nn

from probe import Concept, ProbeError, Readout, Study
from probe.questions.states import linear_readout_drawn as drawn
from probe.questions.states.linear_readout_words import ControlScore, Objection, judge
from probe.report import Page, Section, Text
from probe.report.inline import plain
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects import ends
from probe.subjects.budget import Budget
from probe.subjects.plans import FEWEST_PAIRS, ITERATIONS, plan_of

KINDS = {
    "clock": drawn.CLOCK,
    "last": "last 4 inputs",
    "always": drawn.CONSTANT,
    "others": drawn.OTHERS,
    "shuffled": drawn.RELABELLED,
    "random": drawn.RANDOM,
}


@pytest.mark.parametrize(
    ("score", "controls", "objection"),
    [
        (0.004, {"clock": 0.0, "last": 0.0, "shuffled": 0.0, "random": 0.0}, Objection.NOT_FOUND),
        (0.02, {"clock": 1.0, "last": 1.0, "shuffled": 0.9, "random": 0.9}, Objection.BARELY_READ),
        (0.5, {"clock": 0.5, "last": 0.5, "always": 0.5, "shuffled": 0.5}, Objection.NOT_FOUND),
        (0.52, {"clock": 0.5, "always": 0.5, "shuffled": 0.5}, Objection.BARELY_READ),
        (0.6, {"clock": 0.57, "shuffled": 0.3}, Objection.CLOCK),
        (0.97, {"clock": 1.0, "last": 0.0, "shuffled": 0.97, "random": 0.9}, Objection.CLOCK),
        (0.9, {"clock": 0.9, "last": 0.9, "always": 0.5, "shuffled": 0.9}, Objection.CLOCK),
        (0.68, {"clock": 0.69, "last": 0.96, "shuffled": 0.6, "random": 0.98}, Objection.LAST_INPUTS),
        (0.6, {"clock": 0.3, "last": 0.6, "shuffled": 0.6, "random": 0.6}, Objection.RELABELLED),
        (0.9, {"clock": 0.3, "last": 0.9, "shuffled": 0.3, "random": 0.9}, Objection.LAST_INPUTS),
        (0.9, {"clock": 0.3, "others": 0.9, "shuffled": 0.3, "random": 0.9}, Objection.OTHERS),
        (0.9, {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.87}, Objection.RANDOM_WEIGHTS),
        (0.8, {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.9}, Objection.RANDOM_WEIGHTS),
        (0.996, {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.963}, Objection.NONE),
        (0.9, {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.3}, Objection.NONE),
    ],
)
def test_the_strongest_objection_counts(score: float, controls: dict[str, float], objection: Objection) -> None:
    """Nothing, then the step, values of other sequences, the last inputs, other concepts, then random weights."""
    found, control = judge([ControlScore(KINDS[key], value, score - value) for key, value in controls.items()], score)
    assert found is objection
    decides = "" if control is None else control.kind
    own = {drawn.CLOCK: Objection.CLOCK, drawn.RELABELLED: Objection.RELABELLED, drawn.OTHERS: Objection.OTHERS}
    own |= {"last 4 inputs": Objection.LAST_INPUTS, drawn.RANDOM: Objection.RANDOM_WEIGHTS}
    assert own.get(decides, found) is objection
    assert (not decides) is (objection in (Objection.NOT_FOUND, Objection.BARELY_READ, Objection.NONE))


def test_random_networks_that_differ_as_much_among_each_other_are_no_evidence() -> None:
    """However far the best of them is."""
    clock, spread = ControlScore(drawn.CLOCK, 0.3, 0.6), ControlScore(drawn.RANDOM, 0.5, 0.4, alike=True)
    assert judge([clock, spread], 0.9) == (Objection.RANDOM_SPREAD, spread)
    assert judge([clock], 0.9) == (Objection.NONE, None)


@pytest.mark.usefixtures("undrawn")
def test_a_clock_is_said_to_be_a_clock() -> None:
    """The step number is read with an R² near 1 by nearly any network, and the page says what that is."""
    torch.manual_seed(0)
    x = bits(120, 10)
    clock = np.tile(np.arange(10.0), (120, 1))
    notes = answer(Study(nn.GRU(1, 12, batch_first=True), x, {"step": clock}), "reading-step").notes
    assert "It is not read clearly better than from the step (the step alone, " in notes["answer"]
    assert "not found" not in notes["answer"]


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_read_is_not_found() -> None:
    """Random numbers and random categories, which no state holds."""
    rng = np.random.default_rng(0)
    x = bits(120, 10)
    concepts = {
        "noise": rng.normal(size=(120, 10)),
        "kinds": Concept(rng.integers(0, 3, (120, 10)), "categorical"),
    }
    torch.manual_seed(0)
    study = Study(nn.GRU(1, 12, batch_first=True), x, concepts)
    for name in concepts:
        assert "was not found" in answer(study, f"reading-{name}").notes["answer"]


def test_an_error_of_the_users_file_reads_as_a_sentence(tmp_path: Path) -> None:
    """One full stop at its end."""
    path = written(tmp_path)
    for body, expected in (
        ("raise ValueError('Wrong.')", "ValueError: Wrong, functions.py, line 1. Mend it first."),
        ("open('nowhere.txt')", "nowhere.txt', functions.py, line 1. Mend it first."),
    ):
        (tmp_path / "functions.py").write_text(body)
        with pytest.raises(ProbeError) as caught:
            _ = read_study(path)
        assert expected in str(caught.value)
        assert ".." not in str(caught.value).replace("...", "")


def test_what_was_decided_is_told_apart(tmp_path: Path) -> None:
    """Several choices are parts of one text, with a mark between them."""
    from probe.subjects.networks.network_file import _joined

    assert _joined(["a=1 for x", "b=2 for y."]) == "a=1 for x; b=2 for y"
    assert _joined([]) == "nothing"


@pytest.mark.usefixtures("undrawn")
def test_short_sequences_are_counted_where_the_end_is_run() -> None:
    """The sentence on what was ablated says of how many of the study's these are a part."""
    lengths = np.where(np.arange(160) % 8, 8, 5)
    setup = answer(study_of(planted(), lengths=lengths), "ablation").notes["setup"]
    assert "140 sequences (of the study's 160), their whole length" in setup


@pytest.mark.usefixtures("undrawn")
def test_the_lead_has_a_sentence_for_each_concept(tmp_path: Path) -> None:
    """The first of its answer; of more than four concepts the others are counted."""
    concepts = {"ones": ones, "last": lambda x: x[:, 0], "first": lambda x: x[:1, 0].repeat(len(x))}
    concepts |= {"noughts": lambda x: np.cumsum(1 - x[:, 0]), "step": lambda x: np.arange(len(x))}
    report = report_of(study_of(planted(), concepts=concepts), tmp_path)
    lead, findings = plain(report.page.lead), report.findings
    first = [
        findings[name].notes["answer"].partition(". ")[0]
        for name in (*map("reading-{}".format, concepts), "interchange")
    ]
    assert lead.startswith(first[0])
    assert all(sentence in lead for sentence in (*first[:4], first[-1]))
    assert "1 more finding below." in lead
    sections = {section.key: section for section in report.page.sections}
    for name, sentence in zip((*map("reading-{}".format, concepts), "interchange"), first, strict=True):
        # A heading where it is short, else the first of the text below the question.
        assert sections[name].title in (sentence.rstrip("."), findings[name].title)
        assert sentence.rstrip(".") in f"{sections[name].title} {sections[name].blocks[0]}"


def test_contents_stand_in_lines_above_a_page_of_many_sections() -> None:
    """Nine sections are listed a line each; of more the style sheet lets them wrap."""
    for count, wraps in ((9, False), (10, True)):
        page = Page("t", "l", [Section(f"s{one}", [Text("a")], f"s{one}") for one in range(count)])
        assert ("flex-wrap: wrap; gap: 0 1.25rem" in page.render()) is wraps


def test_a_readout_that_takes_long_is_counted() -> None:
    """Its matrices are part of the budget: fewer pairs and steps of the search."""
    plans = []
    for width in (2, 400, 2_000):
        wide = nn.Sequential(nn.Linear(6, width), nn.Linear(width, width), nn.Linear(width, 9))
        (subject,) = prepare(study_of(planted(), readout=Readout("ones", function=wide)))
        assert ends.cost_of_head(subject) == 2 * (6 * width + width**2 + width * 9)
        plans.append(plan_of(replace(subject, budget=Budget(pairs=7.5e9, search=3e10))))
    cheap, dear, too_dear = plans
    assert (cheap.pairs, cheap.iterations) == (Budget().most_pairs, ITERATIONS)
    assert FEWEST_PAIRS <= dear.pairs < cheap.pairs
    assert 0 < dear.iterations < cheap.iterations
    assert (too_dear.pairs, too_dear.iterations) == (FEWEST_PAIRS, 0)


def test_a_function_costs_nothing_that_is_counted() -> None:
    """What it does is not seen."""
    readout = Readout("ones", function=lambda h: torch.as_tensor(h.detach().numpy() @ np.ones((6, 9))))
    (subject,) = prepare(study_of(planted(), readout=readout))
    assert ends.cost_of_head(subject) == 0
