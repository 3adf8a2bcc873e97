"""Studies of a network that answers after every step: from the file to the whole report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studied import UNITS, Report, answer, bits, head, planted, report_of, study_of, value, without_pictures
from torch import nn

from probe import Readout, Study
from probe.evidence.measurements import only
from probe.questions import needs
from probe.studies.asked import every_question
from probe.studies.prepare import prepare
from probe.subjects.answers import answers_at_steps
from probe.subjects.budget import Budget
from probe.subjects.ends import affordable_runs, part_of, said_of

#: A sentence of every question that judges the last answer, where others are given.
ALONE = "Here only the answer after each sequence's last step is judged."
#: Questions that ask nothing of answers, and those about answers at steps.
OF_STATES = {"network", "reading-ones", "best-unit-ones", "gates", "fixed-points", "one-sequence", "state-space"}
AT_STEPS = {"answers", "single-answers"}
COUNT = 64
LENGTHS = np.where(np.arange(COUNT) % 2, 8, 6)


def stacked() -> nn.LSTM:
    """Return two layers: unit 0 of the second one is a copy of the planted one of the first."""
    lower, both = dict(planted().named_parameters()), nn.LSTM(1, UNITS, 2, batch_first=True)
    with torch.no_grad():
        for name, parameter in both.named_parameters():
            parameter.copy_(lower.get(name, torch.zeros_like(parameter)))
        both.get_parameter("bias_ih_l1")[[0, UNITS, 3 * UNITS]] = torch.tensor([40.0, -40.0, 40.0])
        both.get_parameter("weight_ih_l1")[2 * UNITS, 0] = 1.0
    return both


def study(steps: str = "every", network: Any = None, layers: int = 1, **more: Any) -> Study:
    """Return a study of ones whose readout answers after steps."""
    weight, bias = head(times=2 * layers - 1)
    readout = Readout("ones", weight=weight, bias=bias, steps=steps)
    return study_of(
        network or (planted() if layers == 1 else stacked()), **({"readout": readout, "inputs": bits(COUNT)} | more)
    )


def reported(given: Study, folder: Path) -> Report:
    """Return a report without pictures."""
    with without_pictures():
        return report_of(given, folder)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a whole report on two layers and sequences of two lengths."""
    return reported(study(layers=2, lengths=LENGTHS), tmp_path_factory.mktemp("steps") / "report")


@pytest.fixture(scope="module")
def of_one(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return what is said of the answers of one layer to sequences of one length."""
    return reported(study(questions=sorted(AT_STEPS)), tmp_path_factory.mktemp("steps") / "one")


@pytest.mark.parametrize("layers", [1, 2])
def test_every_step_is_answered_and_follows_the_state(report: Report, of_one: Report, layers: int) -> None:
    """No answer is wrong, at none of the steps, and padding has none; later ones follow the whole state alone."""
    found = (of_one if layers == 1 else report).findings
    answers, single = found["answers"], found["single-answers"]
    ends = np.full(COUNT, 8) if layers == 1 else LENGTHS
    at = only(answers.measurements, metric="step_error_at", role="trained").set_index("step")
    assert at["n"].to_dict() == {step: int((ends > step).sum()) for step in range(8)}
    assert (at["value"] == 0).all()
    assert value(answers, "worst_step_error") == value(answers, "step_error") == 0
    assert answers.claims[-1].rule.key == "step-answers-2"
    assert value(answers, "worst_step_error", role="fitted head") > 0.01, "it cannot tell all counts apart"
    (model,) = prepare(study(layers=layers, lengths=ends))
    there = model.asked.answered(model.lengths, 8)
    given, right = answers_at_steps(model, np.arange(COUNT))[0], np.cumsum(model.x[:, :, 0].numpy(), 1)
    assert np.array_equal(given[there], right[there])
    assert value(single, "worst_followed_whole") == 1
    assert value(single, "followed_unpatched") == 0
    assert {claim.rule.key for claim in single.claims} == {"single-followed-2", "single-score-2"}
    assert "We ran all 64 sequences." in single.notes["setup"]
    if layers == 1:
        begins = "The network answers “ones” wrong in 0.0% of 512 answers after every step; a fitted head"
        assert answers.notes["answer"].startswith(begins)
        assert value(single, "worst_followed") == value(single, "worst_score") == 1
        assert "carries it: later answers follow it alone: 1 (≥ 0.95; fitted head" in single.notes["answer"]


def test_every_other_question_says_that_it_judges_the_last_answer(report: Report) -> None:
    """With an answer after every step each says which it judges; all layers are patched."""
    asked = {name for name, one in report.findings.items() if len(one.measurements)}
    said = {name for name in asked if ALONE in report.findings[name].notes.get("setup", "")}
    assert said == asked - OF_STATES - AT_STEPS
    assert {"ablation", "interchange", *OF_STATES, *AT_STEPS} <= asked
    assert "The readout answers after every step. Here only the answer after each" in report.page.render()
    rows = report.findings["interchange"].measurements.query("metric == 'followed' and kind == 'part'")
    assert {"[0]", "[1]"} <= set(rows["layer"])


def test_what_answers_at_steps_cannot_be_asked_of_is_named() -> None:
    """An array, no step with another value, a network that is not run from its states, and an answer at the end."""
    arrays, same = bits(COUNT)[:, :, 0].cumsum(1), lambda x: np.zeros(len(x))
    turned: Any = nn.LSTM(1, UNITS, batch_first=True, bidirectional=True)
    for given, reason in (
        (study(concepts={"ones": arrays}), "was given as an array, and has no value on other sequences"),
        (study(concepts={"ones": same}), "after no step do 8 sequences have another value of “ones” than"),
        (study(network=turned), "reads from the end, or both ways"),
        (study("last"), "its readout answers after the last step alone. If it answers after each, give it steps="),
    ):
        assert reason in answer(given, "single-answers").notes["answer"]
    last = answer(study("last"), "answers")
    assert only(last.measurements, metric="step_error").empty
    assert "is judged" not in last.notes["setup"]


def test_a_part_of_the_sequences_is_drawn_where_all_would_take_too_long() -> None:
    """As many as the budget allows, the same ones for each network; of too few the question is refused."""
    (subject,) = prepare(study(lengths=LENGTHS))
    assert affordable_runs(subject, needs.RUNS) == COUNT
    assert part_of(subject, None) is part_of(subject, COUNT) is subject
    bounded = replace(subject, budget=Budget(whole_runs=40))
    part = part_of(bounded, affordable_runs(bounded))
    assert (len(part.x), part.answered.values.shape) == (40, (40, 8))
    assert said_of(bounded, 40) == "40 of the 64 sequences, drawn by the seed"
    assert torch.equal(part.x, part_of(subject, 40).x)
    (asked,) = [one.settings for one in every_question(bounded) if one.name == "single-answers"]
    assert (asked["pairs"], asked["sequences"], len(asked["steps"]), max(asked["steps"]) < 7) == (40, 40, 3, True)
    assert "take too long" in str(needs.runs(replace(subject, budget=Budget(whole_runs=15))))
