"""A study of a model that answers by itself: its output is the readout, and what makes it of states is its head."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refusing import refused
from studied import UNITS, bits, head, ones, planted, report_of, study_of, without_pictures
from torch import Tensor, nn

from probe import Readout, Study
from probe.explorer import Explorer
from probe.report.blocks import walk
from probe.studies.pages import live_network
from probe.studies.prepare import OUTPUT, prepare
from probe.subjects.answers import answers_to
from probe.subjects.controls import fitted_head
from probe.subjects.ends import ends_of, runs_of
from probe.subjects.readouts import CLASSES, LOGIT, NUMBER
from probe.subjects.subject import Subject


@pytest.mark.parametrize("given", [nn.Linear(6, 9), lambda h: h])
def test_a_head_given_as_a_weight_is_refused(given: Any) -> None:
    """The message gives the right call; it is a function of hidden states."""
    with refused():
        _ = subject_of(planted(), readout=Readout("ones", given))
    with refused():
        _ = subject_of(planted(), readout=Readout("ones", np.ones((9, 6)), bias={}))


class FromLearned(nn.Module):
    """Begins each sequence from a state that it learned, or that the sequence's first input gives."""

    def __init__(self, *, by_row: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.by_row = nn.GRU(1, 4, batch_first=True), by_row
        self.begin = nn.Parameter(3 * torch.randn(1, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Return the states after each step."""
        begin = self.begin.expand(1, len(x), 4)
        return self.rnn(x, (begin * (1 + x[:, :1].transpose(0, 1)) if self.by_row else begin).contiguous())[0]


@pytest.mark.parametrize("by_row", [False, True])
def test_ends_are_run_from_the_state_in_which_the_network_begins(by_row: bool) -> None:
    """A machine gives the network's own answers; rows that begin in different states share no prefix."""
    model = FromLearned(by_row=by_row)
    weight = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    readout = Readout("ones", weight=weight)
    (subject,) = prepare(Study(model, bits(60, 4), {"ones": ones}, readout=readout))
    for machine in (ends_of(subject).machine, runs_of(subject)):
        own = (model(subject.x)[:, -1] @ weight.T)[:, 0]
        assert np.allclose(answers_to(subject, subject.x)[1], own.detach().numpy(), atol=1e-5)
        assert torch.allclose(machine.clean.answers.expected.float(), own, atol=1e-5)
        assert bool((machine.clean.starts == 0).all()) != by_row


class Counter(nn.Module):
    """The planted LSTM with its head in one module, whose output is its answer.

    Args:
        per: `sequence` or `step`: what the output has scores of.
        scores: how many; 9 are those of the planted head, one is a number.
        after: what is made of the scores.
        reads: whether the output also reads the last input, so that no module makes it of the state alone.
    """

    def __init__(
        self, per: str = "sequence", scores: int = 9, after: nn.Module | None = None, *, reads: bool = False
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        # Before the right one stands another that fits as well by its shape.
        self.head, self.lstm, self.answer = nn.Linear(UNITS, scores), planted(), nn.Linear(UNITS, scores)
        self.per, self.reads, self.after = per, reads, after or nn.Identity()
        weight, bias = (torch.tensor(one, dtype=torch.float32) for one in head())
        if scores == len(weight):
            _ = self.answer.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: Tensor) -> Tensor:
        """Return scores."""
        hidden = self.lstm(x)[0]
        scores = self.answer(hidden if self.per == "step" else hidden[:, -1])
        last = x[:, -1:] if self.per == "step" else x[:, -1]
        return self.after(scores + 0.01 * last if self.reads else scores)


class Column(nn.Module):
    """Takes the axis of length 1 off."""

    def forward(self, scores: Tensor) -> Tensor:
        """Return it."""
        return scores.squeeze(-1)


class Returning(nn.Module):
    """The planted LSTM, and a function of its hidden states, (batch, time, unit), that is returned."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.lstm, self.made = planted(), made

    def forward(self, x: Tensor) -> Any:
        """Return it."""
        return self.made(self.lstm(x)[0])


def parity(x: np.ndarray) -> np.ndarray:
    """Return whether the ones so far are odd."""
    return np.cumsum(x[:, 0]) % 2


def subject_of(
    model: nn.Module, concepts: Mapping[str, Any] | None = None, readout: Readout | None = None
) -> Subject:
    """Return the subject of a study that gives a model alone, or the concept that it answers."""
    (subject,) = prepare(Study(model, bits(), concepts or {"ones": ones}, readout=readout))
    return subject


@pytest.mark.parametrize(
    ("model", "steps", "kind"),
    [
        (Counter(), "last", CLASSES),
        (Counter("step"), "every", CLASSES),
        (Counter(after=nn.Softmax(-1)), "last", CLASSES),
        (Counter(after=nn.LogSoftmax(-1)), "last", CLASSES),
        (Counter(scores=1), "last", NUMBER),
        (Counter(scores=1, after=Column()), "last", NUMBER),
        (Counter("step", 1), "every", NUMBER),
        (Counter("step", 1, Column()), "every", NUMBER),
    ],
)
def test_a_model_is_the_readout_of_its_study(model: Counter, steps: str, kind: str) -> None:
    """Its head is the module that makes its output, not the first that fits; answers are those of the output."""
    subject = subject_of(model)
    assert subject.head is not None
    assert subject.read is not None
    assert (subject.asked.concept, subject.asked.steps, subject.head.kind) == ("ones", steps, kind)
    assert subject.head.inner is model.answer
    assert subject.read.name == "lstm[0]"
    with torch.no_grad():
        scores = model(subject.x).reshape(len(subject.x), -1)[:, -model.answer.out_features :]
    chosen, expected = answers_to(subject, subject.x)
    if kind == NUMBER:
        assert np.allclose(expected, scores[:, 0], atol=1e-5)
    else:
        assert np.array_equal(chosen, scores.argmax(1))
    assert "'answer' makes it of the hidden state of lstm[0] alone" in subject.card[OUTPUT]


def test_a_sigmoid_says_that_one_score_is_a_probability() -> None:
    """The head's score before it is a logit; a bare score of two values could be either, and is not guessed."""
    subject = subject_of(Counter(scores=1, after=nn.Sigmoid()), {"odd": parity})
    assert subject.head is not None
    assert subject.head.kind == LOGIT
    with torch.no_grad():
        assert np.array_equal(answers_to(subject, subject.x)[0], subject.model(subject.x)[:, 0] > 0.5)
    assert "the probability of 1" in subject.card[OUTPUT]
    unknown = subject_of(Counter(scores=1), {"odd": parity})
    assert unknown.readout is None
    assert "Readout('odd')" in unknown.card[OUTPUT]
    assert "kind=" in unknown.card[OUTPUT]
    said = subject_of(Counter(scores=1), {"odd": parity}, Readout("odd", kind="logit"))
    assert said.head is not None
    assert said.head.kind == LOGIT


def test_what_no_module_makes_of_the_state_is_read_off_the_output() -> None:
    """The whole model answers; sequences of several lengths are read without their padding."""
    model, lengths = Counter("step", reads=True), np.arange(160) % 4 + 5
    (subject,) = prepare(Study(model, bits(), {"ones": ones}, lengths=lengths))
    assert subject.head is None
    assert "It is read off runs of the whole model." in subject.card[OUTPUT]
    found = answers_to(subject, subject.x, lengths)[0]
    with torch.no_grad():
        for row in range(8):
            assert found[row] == float(model(subject.x[row : row + 1, : lengths[row]])[0, -1].argmax())
    assert "no linear layer of Counter makes its output" in str(live_network.explorer(subject))


def test_the_fitted_head_beside_an_output_of_classes_has_classes() -> None:
    """A line through the places of categories would answer worse than it must, and flatter the network."""
    names = {"three": lambda x: np.array(["c", "a", "b"])[np.cumsum(x[:, 0]).astype(int) % 3]}
    control = fitted_head(subject_of(Counter(scores=3, reads=True), names))
    assert control is not None
    assert control.head is not None
    assert control.head.kind == CLASSES


def test_of_several_concepts_the_one_that_fits_is_answered() -> None:
    """Where two fit nobody guesses, and the study says which."""
    three = {"ones": ones, "odd": lambda x: [bool(one) for one in parity(x)]}
    assert subject_of(Counter(), three).asked.concept == "ones"
    both = {"ones": ones, "left": lambda x: 8.0 - np.arange(len(x))}
    several = subject_of(Counter(scores=1), both)
    assert several.readout is None
    assert "could answer “ones” and “left”, and we do not guess" in several.card[OUTPUT]
    assert subject_of(Counter(scores=1), both, Readout("left")).asked.concept == "left"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Counter(scores=5), r"shape (batch, 5), which fits no concept of the study: “ones” has 8 values"),
        (Counter("step", 5), "shape (batch, time, 5), which fits no concept"),
        (Returning(lambda h: (h, h)), "The model returns a tuple, and no tensor of scores"),
        (Returning(lambda h: h), "fits no concept"),
        (Returning(lambda h: h[:, :, :, None]), "a tensor of shape (2, 8, 6, 1) for 2 sequences of 8 steps"),
        (Returning(lambda h: h.transpose(0, 1)), "a tensor of shape (8, 2, 6)"),
        (Returning(lambda h: h[:, -1, 0] / 0), "NaN or infinite"),
    ],
)
def test_an_output_that_is_no_answer_is_not_taken(model: nn.Module, said: str) -> None:
    """The page says why, and what would be; where the study says that it is the answer, that is an error."""
    subject = subject_of(model)
    assert subject.readout is None
    assert said in subject.card[OUTPUT]
    if not isinstance(model, Counter):
        with refused():
            _ = subject_of(model, readout=Readout("ones"))


def test_a_state_is_no_answer() -> None:
    """Not even where it has as many units as the concept has values."""
    seven = {"seven": lambda x: np.cumsum(x[:, 0]) % 6}
    subject = subject_of(Returning(lambda h: h), seven)
    assert subject.readout is None
    assert "The output is the hidden state of lstm[0], and no answer" in subject.card[OUTPUT]
    bare = subject_of(planted(), seven)
    assert (bare.readout, OUTPUT in bare.card) == (None, False)


def test_the_page_runs_the_network_and_says_what_follows(tmp_path: Path) -> None:
    """The study of the module gives what that of its LSTM with the head gives, and opens the same explorer."""
    questions = ["answers", "interchange"]
    with without_pictures():
        own = report_of(Study(Counter(), bits(), {"ones": ones}, questions=questions), tmp_path / "own")
        apart = report_of(study_of(planted(), questions=questions), tmp_path / "apart")
    for name in questions:
        tables = [one.findings[name].measurements.drop(columns=["network", "layer"]) for one in (own, apart)]
        assert len(tables[0]) > 5
        pd.testing.assert_frame_equal(tables[0], tables[1], atol=1e-5)
    (explorer,) = [one for one in walk(own.page.sections) if isinstance(one, Explorer)]
    data = json.loads(explorer.data or "")
    assert data["networks"][0]["layers"][0]["name"] == "lstm[0]"
    assert (data["networks"][0]["scores"], data["classes"], data["truth"]) == (9, [*map(str, range(9))], "")


def test_the_explorer_runs_a_network_whose_answer_nobody_knows() -> None:
    """Its scores are shown, and are no classes."""
    explorer = live_network.explorer(subject_of(Counter(scores=5)))
    assert isinstance(explorer, Explorer)
    (network,) = json.loads(explorer.data or "")["networks"]
    assert (network["scores"], network["softmax"]) == (5, False)


def test_networks_of_one_study_answer_one_concept() -> None:
    """Where the output of one does not, none is taken; each has its own head otherwise."""
    both = [Counter(), Counter()]
    with torch.no_grad():
        both[1].lstm.get_parameter("weight_ih_l0").mul_(1.01)
    subjects = prepare(Study({"trained": both}, bits(), {"ones": ones}))
    assert [one.head.inner for one in subjects if one.head] == [one.answer for one in both]
    subjects = prepare(Study({"trained": [both[0], Counter(scores=5)]}, bits(), {"ones": ones}))
    assert {one.readout for one in subjects} == {None}
    assert "that of '0' answers “ones” and that of '1' answers no concept" in subjects[0].card[OUTPUT]


def test_what_a_head_needs_is_refused_without_one() -> None:
    """A bias or a layer speak of a head."""
    alone: list[dict[str, Any]] = [{"bias": [1.0]}, {"layer": "lstm[0]"}]
    for given in alone:
        with refused():
            Readout("ones", **given)
