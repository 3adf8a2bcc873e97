"""Studies of a network that answers after every step: from the file to the whole report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studied import (
    STUDY,
    Report,
    answer,
    bits,
    head,
    ones,
    parts,
    planted,
    report_of,
    study_of,
    without_pictures,
    written,
)
from torch import nn

from probe import Finding, Readout, Study
from probe.evidence import Network
from probe.evidence.measurements import only
from probe.questions import needs
from probe.studies.measuring import every_question
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects.answers import answers_at_steps
from probe.subjects.budget import Budget
from probe.subjects.ends import affordable_runs, part_of, said_of
from probe.subjects.subject import Subject

#: A sentence of every question that judges the last answer, where others are given.
ALONE = "Here only the answer after each sequence's last step is judged."
#: Questions that ask nothing of answers, and those about answers at steps.
OF_STATES = {"network", "reading-ones", "single-units", "gates", "fixed-points"}
OF_STATES |= {"one-sequence", "state-space"}
AT_STEPS = {"answers", "single-answers"}
LENGTHS = np.where(np.arange(160) % 2, 8, 6)
UNITS = 6


def subject_of(folder: Path, line: str) -> Subject:
    """Return the network of a study file with a line more under [readout]."""
    return prepare(read_study(written(folder, STUDY.replace('"head.bias"', f'"head.bias"\n{line}'))))[0]


def stacked(layers: int) -> nn.LSTM:
    """Return the planted network; of two layers, unit 0 of the second one is a copy of the first one's unit 0."""
    if layers == 1:
        return planted()
    lower, both = planted(), nn.LSTM(1, UNITS, 2, batch_first=True)
    with torch.no_grad():
        for name, parameter in both.named_parameters():
            own = dict(lower.named_parameters()).get(name)
            if own is not None:
                parameter.copy_(own)
                continue
            parameter.uniform_(-0.4, 0.4, generator=torch.Generator().manual_seed(2))
            for gate in range(4):
                parameter[gate * UNITS] = 0
        bias = both.get_parameter("bias_ih_l1")
        bias[0], bias[UNITS], bias[3 * UNITS] = 40.0, -40.0, 40.0
        both.get_parameter("weight_ih_l1")[2 * UNITS, 0] = 1.0
    return both


def upper_head() -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a head that reads the count off unit 0 of the second layer of `stacked`."""
    levels = np.tanh(np.tanh(np.tanh(0.1 * np.arange(9))))
    weight = np.zeros((9, UNITS))
    weight[:, 0] = 4000 * np.arange(9)
    return weight, -4000 * np.concatenate([[0.0], np.cumsum((levels[1:] + levels[:-1]) / 2)])


def study(steps: str, layers: int = 1, lengths: np.ndarray | None = None, **more: Any) -> Study:
    """Return a study of ones whose readout answers after steps."""
    weight, bias = head() if layers == 1 else upper_head()
    readout = Readout("ones", weight=weight, bias=bias, steps=steps)
    return study_of(stacked(layers), **({"readout": readout, "lengths": lengths} | more))


def value(finding: Finding, metric: str, **columns: Any) -> float:
    """Return the value of the trained network's only such row."""
    (found,) = only(finding.measurements, metric=metric, role="trained", **columns)["value"]
    return float(found)


@pytest.fixture(scope="module", params=[None, LENGTHS], ids=["equal", "ragged"])
def lengths(request: pytest.FixtureRequest) -> np.ndarray | None:
    """How long the sequences are."""
    return request.param


@pytest.fixture(scope="module", params=[1, 2], ids=["one layer", "two layers"])
def layers(request: pytest.FixtureRequest) -> int:
    """How many layers it has."""
    return request.param


@pytest.fixture(scope="module")
def report(lengths: np.ndarray | None, layers: int, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a whole report."""
    with without_pictures():
        return report_of(study("every", layers, lengths), tmp_path_factory.mktemp("steps") / "report")


def test_a_whole_report_says_how_every_step_is_answered(
    report: Report, lengths: np.ndarray | None, layers: int
) -> None:
    """The network counts exactly: no answer is wrong, at none of the steps, and padding has no answer."""
    found = report.findings["answers"]
    assert value(found, "worst_step_error") == 0
    at = only(found.measurements, metric="step_error_at", role="trained").set_index("step")
    ends = np.full(160, 8) if lengths is None else lengths
    wanted = {step: int((ends > step).sum()) for step in range(8)}
    assert at["n"].to_dict() == wanted
    assert (at["value"] == 0).all()
    assert found.claims[-1].rule.key == "step-answers"
    assert value(found, "step_error") == 0
    fitted = only(found.measurements, metric="worst_step_error", role="fitted head")["value"].item()
    assert fitted > 0.01, "a fitted head can tell the counts after early steps apart"
    model = prepare(study("every", layers, lengths))[0]
    given, _ = answers_at_steps(model, np.arange(160))
    there = model.asked.answered(model.lengths, 8)
    assert np.array_equal(given[there], np.cumsum(model.x[:, :, 0].numpy(), 1)[there])


def test_a_whole_report_says_what_one_direction_carries(report: Report, layers: int) -> None:
    """All later answers follow the whole state; of one layer a direction of the cell state does as well."""
    found = report.findings["single-answers"]
    assert value(found, "worst_followed_whole") == 1
    assert value(found, "followed_unpatched") == 0
    if layers == 1:
        assert value(found, "worst_followed") == value(found, "worst_score") == 1
    assert {claim.rule.key for claim in found.claims} == {"single-followed", "single-score"}
    assert "We ran all 160 sequences." in found.notes["setup"]


def test_every_other_question_says_that_it_judges_the_last_answer(report: Report) -> None:
    """With an answer after every step each says which it judges."""
    page, asked = report.page.render(), set()
    for name, finding in report.findings.items():
        said = ALONE in finding.notes.get("setup", "")
        if name in OF_STATES | AT_STEPS:
            assert len(finding.measurements)
            assert not said
        elif len(finding.measurements):
            asked.add(name)
            # Programs are compared with the last answer too, and say so in their own words.
            assert said, name
    assert {"ablation", "interchange"} <= asked
    assert "The readout answers after every step. Here only the answer after each" in page


def test_a_study_of_the_last_answer_says_nothing_of_others(tmp_path: Path) -> None:
    """The questions at several steps are not asked of it, and the others have no such sentence."""
    with without_pictures():
        found = report_of(study("last", questions=["answers", "noise-margin", "single-answers"]), tmp_path).findings
    missing = "Not asked: its readout answers after the last step alone; steps of the readout names others."
    assert found["single-answers"].notes["missing"] == missing
    assert only(found["answers"].measurements, metric="step_error").empty
    for name in ("answers", "noise-margin"):
        assert len(found[name].measurements)
        assert "is judged" not in found[name].notes.get("setup", "")


def test_many_networks_are_judged_at_every_step(tmp_path: Path) -> None:
    """Two trainings: a row each, and the words on how they were measured are those of one."""
    networks = [Network(name, "trained", planted(), name) for name in "ab"]
    with torch.no_grad():
        networks[1].model.get_parameter("bias_ih_l0")[1] += 0.1  # of an idle unit
    weight, bias = head()
    readout = Readout("ones", weight=weight, bias=bias, steps="every")
    asked = ["single-answers", "answers"]
    with without_pictures():
        given = Study(networks, bits(), {"ones": ones}, readout=readout, questions=asked)
        found = report_of(given, tmp_path).findings
    rows = only(found["answers"].measurements, metric="worst_step_error", role="trained")
    assert rows["value"].tolist() == [0, 0]
    assert len(only(found["single-answers"].measurements, metric="worst_followed", role="trained")) == 2
    assert found["answers"].notes["setup"].startswith("Of a: We asked 160 of the 160 sequences, after every step")


def test_what_answers_at_steps_cannot_be_asked_of_is_named() -> None:
    """No readout, an array, no step with another value, and a network that is not run from its states."""
    silent = study("every", readout=None)
    arrays = study("every", concepts={"ones": np.cumsum(bits()[:, :, 0], 1)})
    same = study("every", concepts={"ones": lambda x: np.zeros(len(x))})
    turned: Any = nn.LSTM(1, UNITS, batch_first=True, bidirectional=True)
    weight, bias = head()
    both = study_of(turned, readout=Readout("ones", weight=np.tile(weight, 2)[:, :UNITS], bias=bias, steps="every"))
    for given, name, reason in (
        (silent, "answers", "the study has no readout"),
        (silent, "single-answers", "the study has no readout"),
        (arrays, "single-answers", "was given as an array, and has no value on other sequences"),
        (
            same,
            "single-answers",
            "after no step do 8 sequences have another value of “ones” than",
        ),
        (both, "single-answers", "reads from the end, or both ways"),
    ):
        assert reason in answer(given, name).notes["answer"]


def test_a_part_of_the_sequences_is_drawn_where_all_would_take_too_long() -> None:
    """As many as the budget allows, the same ones for each network; of too few the question is refused."""
    (subject,) = prepare(study("every", lengths=LENGTHS))
    assert affordable_runs(subject, needs.RUNS) == 160
    assert part_of(subject, None) is part_of(subject, 160) is subject
    bounded = replace(subject, budget=Budget(whole_runs=40))
    part = part_of(bounded, affordable_runs(bounded))
    assert (len(part.x), part.answered.values.shape, said_of(bounded, 40)) == (
        40,
        (40, 8),
        "40 of the 160 sequences, drawn by the seed",
    )
    assert torch.equal(part.x, part_of(subject, 40).x)
    (asked,) = [one for one in every_question(bounded) if one.name == "single-answers"]
    assert (asked.settings["pairs"], asked.settings["sequences"], len(asked.settings["steps"])) == (40, 40, 3)
    assert max(asked.settings["steps"]) < 7
    assert "take too long" in str(needs.runs(replace(subject, budget=Budget(whole_runs=15))))


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("", "last"),
        ('steps = "last"', "last"),
        ('steps = "every"', "every"),
    ],
)
def test_a_study_file_says_after_which_steps_it_answers(line: str, steps: object, tmp_path: Path) -> None:
    """As `Readout(steps=...)` does; what is not said is the last step."""
    readout = subject_of(tmp_path, line).readout
    assert readout is not None
    assert readout.steps == steps


def test_answers_after_other_steps_are_of_another_study(tmp_path: Path) -> None:
    """Nothing else of it differs; a file that says what is meant anyhow is the same study."""
    lines = ("", 'steps = "last"', 'steps = "every"')
    silent, last, every = (parts(subject_of(tmp_path, line)) for line in lines)
    assert silent == last
    assert {name for name in last if last[name] != every[name]} == {"readout"}


def test_the_page_says_what_was_found_in_plain_sentences(tmp_path: Path) -> None:
    """A network that is right, and one whose head never says more than four: it errs most at the last step."""
    weight, bias = head()
    off = np.where(np.arange(9) < 5, bias, -1e9)
    readout = Readout("ones", weight=weight, bias=off, steps="every")
    asked, given = sorted(AT_STEPS), dict[str, dict[str, Any]](right={}, wrong={"readout": readout})
    with without_pictures():
        right, wrong = (
            report_of(study("every", questions=asked, **more), tmp_path / name).findings
            for name, more in given.items()
        )
    said = right["answers"].notes["answer"]
    assert said.startswith(
        "The network answers “ones” wrong in 0.0% of 1,280 answers after every step; a fitted head"
    )
    share = float((np.cumsum(bits()[:, :, 0], 1)[:, -1] > 4).mean())
    assert f"After 8 steps it errs most, in {share:.1%}." in wrong["answers"].notes["answer"]
    followed = right["single-answers"].notes["answer"]
    assert "carries it: later answers follow it alone: 1 (≥ 0.95; fitted head" in followed
