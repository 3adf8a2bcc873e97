"""Studies of one network: questions of one's own, token ids, and states that do not differ.

- A study of one network asks what it is told to: names, questions and rules of one's own; what fails is named.
- A study of a network that embeds token ids.
- Studies in which nothing differs, or nothing is there to be looked at, are told so.
"""

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
from torch import Tensor, nn

from probe import Finding, ProbeError, Readout, Study
from probe.evidence import Control, Network, Range, Rule, judge, measurement
from probe.evidence.measurements import tabulate
from probe.questions import Question
from probe.questions.interventions import interchange
from probe.studies.answer import allowed
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects.states import recorded_rows, sample_of
from probe.subjects.subject import Subject


def far(controls: tuple[Control, ...] = ()) -> Rule:
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


@pytest.mark.usefixtures("undrawn")
def test_only_chosen_questions_are_asked_of_one_network(tmp_path: Path) -> None:
    """The card of the network is always there; a file's list of names does the same."""
    report = report_of(study_of(planted(), questions=["class-means", "noise-margin"]), tmp_path / "report")
    assert list(report.findings) == ["class-means", "network", "noise-margin"]
    assert [one.key for one in report.page.sections] == [
        "class-means",
        "noise-margin",
        "network",
        "explore",
        "claims",
        "limits",
        "networks",
    ]
    path = written(tmp_path, 'questions = ["noise-margin"]\n' + STUDY)
    assert set(report_of(read_study(path), tmp_path / "file").findings) == {"network", "noise-margin"}


@pytest.mark.usefixtures("undrawn")
def test_a_question_and_a_rule_of_ones_own_are_a_row_beside_the_controls(tmp_path: Path) -> None:
    """The verdict about the recipe is undecided; what the controls allow to say of this network stands beside it."""
    question = Question("distance", "How far do states go?", distance, rules=(far((Control("fitted head", 9.0),)),))
    beside = Question("nearness", "How near?", distance)
    study = study_of(planted(), questions=[question, beside], rules=[far()])
    report = report_of(study, tmp_path)
    own, other = (report.findings[name].claims for name in ("distance", "nearness"))
    assert [claim.verdict for claim in (*own, *other)] == ["undecided"] * 3
    assert own[0].differences[0].role == "fitted head"
    assert allowed(own[0]) == "true of this network, and as true of fitted head"
    assert allowed(other[0]) == "true of this network; the rule names no control"
    assert "true of this network, and as true of fitted head" in report.page.render()


@pytest.mark.usefixtures("undrawn")
def test_a_question_that_fails_is_named_and_stops_nothing(tmp_path: Path) -> None:
    """The page has the reason, and the answer to the others."""
    failing = Question("broken", "Can it be broken?", broken)
    report = report_of(study_of(planted(), questions=[failing, "class-means"]), tmp_path)
    assert report.findings["broken"].notes["missing"] == "Not asked: No distance can be taken here."
    assert len(report.findings["class-means"].measurements)
    assert "No distance can be taken here." in report.page.render()


@pytest.mark.usefixtures("undrawn")
def test_another_setting_or_version_is_another_answer(tmp_path: Path) -> None:
    """What is unchanged is kept; another setting, version or rule of a question is measured again."""
    told: list[tuple[str, str]] = []

    def run(**more: Any) -> str:
        given = study_of(planted(), questions=[Question("distance", "How far?", distance, **more)])
        told.clear()
        given.run(tmp_path, progress=lambda one: told.append((one.question, one.state)))
        return dict(told)["distance"]

    assert run() == "answered"
    assert run() == "kept"
    assert run(settings={"scale": 2.0}) == "answered"
    assert run(version=2) == "answered"
    assert run(rules=(far(),)) == "answered"


@pytest.mark.parametrize(
    ("network", "control", "said"),
    [
        (0.4, 0.1, "not true of this network"),
        (0.9, 0.1, "true of this network, more than of fitted head (one network)"),
        (0.9, 0.8, "true of this network, and as true of fitted head"),
        (0.55, 0.45, "true of this network; fitted head is within 0.2 of it, and not in the bound"),
        (0.9, None, "true of this network; not measured of fitted head"),
    ],
)
def test_what_the_controls_allow_to_say(network: float, control: float | None, said: str) -> None:
    """A statement is told of a network by its own value, and by how far it is from each control."""
    values = [("a", "trained", network), ("a/fitted head", "fitted head", control)]
    rows = [
        measurement("distance", "distance", Network(name, role, planted(), "0"), value)
        for name, role, value in values
        if value is not None
    ]
    (claim,) = judge(tabulate(rows), [far((Control("fitted head", 0.2),))])
    assert allowed(claim) == said


def test_the_null_of_a_rule_is_called_so() -> None:
    """A row of the table that is called null is no network."""
    rows = [
        measurement("distance", "distance", Network(role, role, planted(), "0"), 0.9) for role in ("trained", "null")
    ]
    (claim,) = judge(tabulate(rows), [far((Control("null", 0.0),))])
    assert allowed(claim) == "true of this network, and as true of the rule's null"


IDS = np.random.default_rng(0).integers(0, 4, (120, 7))


class Reader(nn.Module):
    """Embeds ids and reads them with an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.rnn = nn.Embedding(4, 3), nn.LSTM(3, 5, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        """Return hidden states, (batch, time, unit)."""
        return self.rnn(self.table(ids))[0]


def threes(x: np.ndarray) -> np.ndarray:
    """Return how often the id 3 came so far."""
    return np.cumsum(x[:, 0] == 3)


def test_token_ids_are_read_by_the_embedding(tmp_path: Path) -> None:
    """The study's answers are those of the model on the ids, and the model stays as it was."""
    model, weight = Reader(), torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    given = Study(model, IDS, {"threes": threes}, readout=Readout("threes", weight=weight))
    given.run(tmp_path)
    with torch.no_grad():
        own = (model(torch.as_tensor(IDS))[:, -1] @ weight.T).argmax(1).numpy()
    right = (IDS == 3).sum(1)
    table = Finding.read(tmp_path / "findings" / "answers").measurements
    assert table[(table["metric"] == "accuracy") & (table["role"] == "trained")]["value"].iloc[0] == pytest.approx(
        float((own == right).mean()), rel=1e-5
    )
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(("model", "ids"), [(nn.LSTM(1, 3, batch_first=True), IDS), (Reader(), IDS + 2)])
def test_ids_that_no_embedding_reads_are_refused(model: nn.Module, ids: np.ndarray, tmp_path: Path) -> None:
    """The message says what would do."""
    with refused():
        Study(model, ids, {"threes": threes}).run(tmp_path)


def test_values_only_where_nothing_is_looked_at_are_refused() -> None:
    """Of many sequences some are drawn; with no value in these there is no state to look at."""
    values = np.full((2_600, 8), np.nan)
    study = study_of(planted(), inputs=bits(2_600), concepts={"rare": np.zeros((2_600, 8))}, readout=None)
    drawn = set(recorded_rows(*prepare(study)).tolist())
    values[next(row for row in range(2_600) if row not in drawn)] = 1
    study = study_of(planted(), inputs=bits(2_600), concepts={"rare": values}, readout=None)
    with refused():
        _ = sample_of(prepare(study)[0])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_that_do_not_differ_are_not_patched(kind: Any) -> None:
    """Without recurrent weights, and with the same input in the middle, all states there are the same."""
    model = kind(1, 6, batch_first=True)
    x = bits(40)
    x[:, 4:] = 1
    with torch.no_grad():
        model.weight_hh_l0.zero_()
        if kind is not nn.RNN:
            # The LSTM forgets all and the GRU takes all that is new.
            model.weight_ih_l0[6:12] = 0
            model.bias_ih_l0[6:12] = -800
    for network, middle in ((model, x), (zeroed(kind), bits(40))):
        (subject,) = prepare(study_of(network, inputs=middle))
        found = answer(interchange.question(subject), [subject])
        assert "3 steps before the end all sequences have the same state." in found.notes["answer"]
        assert not len(found.measurements)


def zeroed(kind: Any) -> nn.Module:
    """Return a network all of whose weights are 0."""
    model = kind(1, 6, batch_first=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model
