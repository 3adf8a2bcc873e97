"""A study of one network asks what it is told to: questions and rules of one's own; what fails is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from answering import answer
from refusing import refused
from studied import STUDY, bits, planted, report_of, study_of, written
from torch import nn

from probe import ProbeError
from probe.evidence import Control, Network, Range, Rule, judge, measurement
from probe.evidence.measurements import tabulate
from probe.questions import Question
from probe.questions.interventions import interchange
from probe.studies.answer import allowed
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects.states import recorded_rows, sample_of
from probe.subjects.subject import Subject

pytestmark = pytest.mark.usefixtures("undrawn")


def far(*controls: Control) -> Rule:
    """Return a rule about the distance that `distance` measures."""
    beyond, within = Range.above(0.5), Range.at_most(0.5)
    return Rule("far", "States lie far from zero.", "distance", "norm", "here", beyond, within, controls, 5)


def distance(subjects: Iterable[Subject], scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """Yield how far each network's last hidden state is from zero."""
    for subject in subjects:
        norm = subject.model(subject.x)[0][:, -1].norm(dim=1).mean().item()
        yield measurement("distance", "distance", subject.network, scale * norm)


def broken(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
    """Fail."""
    _ = list(subjects)
    raise ProbeError("No distance can be taken here.")
    yield {}


def test_only_chosen_questions_are_asked_and_what_fails_is_named(tmp_path: Path) -> None:
    """The card of the network is always there; a file's list of names does the same; a failure stops nothing."""
    failing = Question("broken", "Can it be broken?", broken)
    report = report_of(study_of(planted(), questions=["class-means", failing]), tmp_path / "report")
    assert list(report.findings) == ["broken", "class-means", "network"]
    keys = ["class-means", "network", "explore", "not-asked", "claims", "limits", "networks"]
    assert [one.key for one in report.page.sections] == keys
    assert report.findings["broken"].notes["missing"] == "Not asked: No distance can be taken here."
    assert len(report.findings["class-means"].measurements)
    assert "No distance can be taken here." in report.page.render()
    path = written(tmp_path, 'questions = ["noise-margin"]\n' + STUDY)
    assert set(report_of(read_study(path), tmp_path / "file").findings) == {"network", "noise-margin"}


def test_a_question_and_a_rule_of_ones_own_are_a_row_beside_the_controls(tmp_path: Path) -> None:
    """The verdict about the recipe is undecided; what the controls allow to say of this network stands beside it."""
    question = Question("distance", "How far do states go?", distance, rules=(far(Control("fitted head", 9.0)),))
    beside = Question("nearness", "How near?", distance)
    report = report_of(study_of(planted(), questions=[question, beside], rules=[far()]), tmp_path)
    own, other = (report.findings[name].claims for name in ("distance", "nearness"))
    assert [claim.verdict for claim in (*own, *other)] == ["undecided"] * 3
    assert own[0].differences[0].role == "fitted head"
    assert allowed(other[0]) == "true of this network; the rule names no control"
    assert "true of this network, and as true of fitted head" in report.page.render()


def test_another_setting_or_version_is_another_answer(tmp_path: Path) -> None:
    """What is unchanged is kept; another setting, version or rule of a question is measured again."""
    told: dict[str, str] = {}
    changes: list[dict[str, Any]] = [{}, {}, {"settings": {"scale": 2.0}}, {"version": 2}, {"rules": (far(),)}]
    for place, more in enumerate(changes):
        given = study_of(planted(), questions=[Question("distance", "How far?", distance, **more)])
        given.run(tmp_path, progress=lambda one: told.update({one.question: one.state}))
        assert told["distance"] == ("kept" if place == 1 else "answered")


@pytest.mark.parametrize(
    ("network", "role", "control", "said"),
    [
        (0.4, "fitted head", 0.1, "not true of this network"),
        (0.9, "fitted head", 0.1, "true of this network, more than of fitted head (one network)"),
        (0.9, "fitted head", 0.8, "true of this network, and as true of fitted head"),
        (0.55, "fitted head", 0.45, "true of this network; fitted head is within 0.2 of it, and not in the bound"),
        (0.9, "fitted head", None, "true of this network; not measured of fitted head"),
        (0.9, "null", 0.9, "true of this network, and as true of the rule's null"),
    ],
)
def test_what_the_controls_allow_to_say(network: float, role: str, control: float | None, said: str) -> None:
    """A statement is told of a network by its own value, and by how far it is from each control."""
    values = [("a", "trained", network), ("b", role, control)]
    rows = [
        measurement("distance", "distance", Network(name, kind, planted(), "0"), value)
        for name, kind, value in values
        if value is not None
    ]
    (claim,) = judge(tabulate(rows), [far(Control(role, 0.2))])
    assert allowed(claim) == said


def test_values_only_where_nothing_is_looked_at_are_refused() -> None:
    """Of many sequences some are drawn; with no value in these there is no state to look at."""
    x, values = bits(2_600), np.zeros((2_600, 8))
    drawn = set(recorded_rows(*prepare(study_of(planted(), inputs=x, concepts={"rare": values}, readout=None))))
    values[:] = np.nan
    values[next(row for row in range(2_600) if row not in drawn)] = 1
    (subject,) = prepare(study_of(planted(), inputs=x, concepts={"rare": values}, readout=None))
    with refused():
        _ = sample_of(subject)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_that_do_not_differ_are_not_patched(kind: Any) -> None:
    """Without recurrent weights, and with the same input in the middle, all states are the same; so are zeros."""
    x, model, zeroed = bits(40), kind(1, 6, batch_first=True), kind(1, 6, batch_first=True)
    x[:, 4:] = 1
    with torch.no_grad():
        for parameter in zeroed.parameters():
            parameter.zero_()
        model.weight_hh_l0.zero_()
        if kind is not nn.RNN:  # the LSTM forgets all and the GRU takes all that is new
            model.weight_ih_l0[6:12], model.bias_ih_l0[6:12] = 0, -800
    for network, inputs in ((model, x), (zeroed, bits(40))):
        (subject,) = prepare(study_of(network, inputs=inputs))
        found = answer(interchange.question(subject), [subject])
        assert "3 steps before the end all sequences have the same state." in found.notes["answer"]
        assert not len(found.measurements)
