"""A study of a model that answers by itself: its output is the readout, and what makes it of states is its head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bodies import Model
from refusing import refused, said
from studied import UNITS, bits, head, ones, planted, report_of, study_of, without_pictures
from torch import nn

from probe import Readout, Study
from probe.explorer import Explorer
from probe.report.blocks import walk
from probe.studies.pages import live_network
from probe.studies.prepare import prepare
from probe.subjects.answers import answers_if_asked, answers_to
from probe.subjects.controls import fitted_heads
from probe.subjects.ends import ends_of, runs_of
from probe.subjects.own_output import SAID_OF_OUTPUT
from probe.subjects.readouts import CLASSES, LOGIT, NUMBER
from probe.subjects.subject import Subject


def counter(per: str = "sequence", scores: int = 9, after: Any = None, *, reads: bool = False) -> Any:
    """Return the planted LSTM with its head in one module, whose output is its answer.

    Args:
        per: `sequence` or `step`: what the output has scores of.
        scores: how many; 9 are those of the planted head, one is a number.
        after: what is made of the scores.
        reads: whether the output also reads the last input, so that no module makes it of the state alone.
    """
    at = slice(None) if per == "step" else -1

    def body(m: Any, x: torch.Tensor) -> torch.Tensor:
        found = m.answer(m.lstm(x)[0][:, at])
        return m.after(found + 0.01 * x[:, at] if reads else found)

    torch.manual_seed(0)
    # Before the right one stands another that fits as well by its shape.
    parts = {"head": nn.Linear(UNITS, scores), "lstm": planted(), "answer": nn.Linear(UNITS, scores)}
    model: Any = Model(body, **parts, after=after or nn.Identity())
    weight, bias = (torch.tensor(one, dtype=torch.float32) for one in head())
    if scores == len(weight):
        model.answer.load_state_dict({"weight": weight, "bias": bias})
    return model


def returning(made: Any) -> Any:
    """Return the planted LSTM, and a function of its hidden states, (batch, time, unit), that is returned."""
    return Model(lambda m, x: made(m.lstm(x)[0]), lstm=planted())


def odd(x: np.ndarray) -> np.ndarray:
    """Return whether the ones so far are odd."""
    return np.cumsum(x[:, 0]) % 2


def subject_of(model: nn.Module, concepts: dict[str, Any] | None = None, readout: Readout | None = None) -> Subject:
    """Return the subject of a study that gives a model alone, or the concept that it answers."""
    (subject,) = prepare(Study(model, bits(), concepts or {"ones": ones}, readout=readout))
    return subject


@pytest.mark.parametrize(
    ("model", "steps", "kind"),
    [
        (counter(), "last", CLASSES),
        (counter("step"), "every", CLASSES),
        (counter(after=nn.LogSoftmax(-1)), "last", CLASSES),
        (counter(scores=1), "last", NUMBER),
        (counter("step", 1, nn.Flatten(-2)), "every", NUMBER),
    ],
)
def test_a_model_is_the_readout_of_its_study(model: Any, steps: str, kind: str) -> None:
    """Its head is the module that makes its output, not the first that fits; answers are those of the output."""
    subject: Any = subject_of(model)
    assert (subject.asked.concept, subject.asked.steps, subject.head.kind) == ("ones", steps, kind)
    assert (subject.head.inner is model.answer, subject.read.name) == (True, "lstm[0]")
    with torch.no_grad():
        scores = model(subject.x).reshape(len(subject.x), -1)[:, -model.answer.out_features :]
    chosen, expected = answers_to(subject, subject.x)
    if kind == NUMBER:
        assert np.allclose(expected, scores[:, 0], atol=1e-5)
    else:
        assert np.array_equal(chosen, scores.argmax(1))
    assert "'answer' makes it of the hidden state of lstm[0] alone" in subject.card[SAID_OF_OUTPUT]


def test_a_sigmoid_says_that_one_score_is_a_probability() -> None:
    """The head's score before it is a logit; a bare score of two values could be either, and is not guessed."""
    subject = subject_of(counter(scores=1, after=nn.Sigmoid()), {"odd": odd})
    with torch.no_grad():
        assert np.array_equal(answers_to(subject, subject.x)[0], subject.model(subject.x)[:, 0] > 0.5)
    assert "the probability of 1" in subject.card[SAID_OF_OUTPUT]
    unknown = subject_of(counter(scores=1), {"odd": odd})
    assert unknown.readout is None
    assert all(one in unknown.card[SAID_OF_OUTPUT] for one in ("Readout('odd')", "kind="))
    said = subject_of(counter(scores=1), {"odd": odd}, Readout("odd", kind="logit"))
    assert [one.head.kind for one in (subject, said) if one.head] == [LOGIT, LOGIT]


def test_what_no_module_makes_of_the_state_is_read_off_the_output() -> None:
    """The whole model answers, also to the beginning of a sequence; padding is not read."""
    model, lengths = counter("step", reads=True), np.arange(160) % 4 + 5
    (subject,) = prepare(Study(model, bits(), {"ones": ones}, lengths=lengths))
    assert subject.head is None
    assert "It is read off runs of the whole model." in subject.card[SAID_OF_OUTPUT]
    found = answers_to(subject, subject.x, lengths)[0]
    asked = answers_if_asked(subject, np.arange(8))
    with torch.no_grad():
        for row in range(8):
            own = [model(subject.x[row : row + 1, : step + 1])[0, -1].argmax() for step in range(lengths[row])]
            assert np.array_equal(asked[row, : lengths[row]], own)
            assert found[row] == own[-1]
    assert "no linear layer of Model makes its output" in str(live_network.explorer(subject))
    # A line through the places of categories would answer worse than it must, and flatter the network.
    names = {"three": lambda x: np.array(["c", "a", "b"])[np.cumsum(x[:, 0]).astype(int) % 3]}
    control: Any = fitted_heads(subject_of(counter(scores=3, reads=True), names))[0]
    assert control.head.kind == CLASSES


def test_where_all_that_run_to_their_ends_have_one_answer_no_head_is_fitted_under_noise() -> None:
    """Most sequences have one length, and what is asked is the length: the head at all steps has several answers."""
    lengths, (weight, bias) = np.where(np.arange(160) < 20, np.arange(160) % 4 + 3, 8), head()
    readout = Readout("length", weight=weight, bias=bias, steps="last")
    concept = {"length": lambda x: np.arange(1.0, len(x) + 1)}
    (subject,) = prepare(Study(planted(), bits(), concept, readout=readout, lengths=lengths))
    assert len(np.unique(subject.last_values)) == 5
    assert [one.network.name.rpartition("/")[2] for one in fitted_heads(subject)] == ["fitted head"]


def test_of_several_concepts_the_one_that_fits_is_answered() -> None:
    """Where two fit nobody guesses, and the study says which; all networks of a study answer the same one."""
    assert subject_of(counter(), {"ones": ones, "odd": lambda x: [*map(bool, odd(x))]}).asked.concept == "ones"
    both = {"ones": ones, "left": lambda x: 8.0 - np.arange(len(x))}
    several = subject_of(counter(scores=1), both)
    assert several.readout is None
    assert "could answer “ones” and “left”, and we do not guess" in several.card[SAID_OF_OUTPUT]
    assert subject_of(counter(scores=1), both, Readout("left")).asked.concept == "left"
    six = {"six": lambda x: np.cumsum(x[:, 0]) % 6}  # as many as there are units, but a state is no answer
    state, bare = subject_of(returning(lambda h: h), six), subject_of(planted(), six)
    assert (state.readout, bare.readout, SAID_OF_OUTPUT in bare.card) == (None, None, False)
    assert "The output is the hidden state of lstm[0], and no answer" in state.card[SAID_OF_OUTPUT]
    pair = [counter(), counter()]
    subjects = prepare(Study({"trained": pair}, bits(), {"ones": ones}))
    assert [one.head.inner for one in subjects if one.head] == [one.answer for one in pair]
    subjects = prepare(Study({"trained": [pair[0], counter(scores=5)]}, bits(), {"ones": ones}))
    assert {one.readout for one in subjects} == {None}
    assert "that of '0' answers “ones” and that of '1' answers no concept" in subjects[0].card[SAID_OF_OUTPUT]


def test_an_output_that_is_no_answer_is_not_taken() -> None:
    """The page says why, and what would be; where the study says that it is the answer, that is an error."""
    makes: list[Any] = [lambda h: (h, h), lambda h: h, lambda h: h[:, :, :, None], lambda h: h.transpose(0, 1)]
    makes.append(lambda h: h[:, -1, 0] / 0)
    for model in (counter(scores=5), counter("step", 5), *map(returning, makes)):
        subject = subject_of(model)
        assert subject.readout is None
        said(subject.card[SAID_OF_OUTPUT])
        with refused():
            _ = subject_of(model, readout=Readout("ones"))


def test_the_page_runs_the_network_and_says_what_follows(tmp_path: Path) -> None:
    """The study of the module gives what that of its LSTM with the head gives, and opens the same explorer."""
    given: dict[str, Any] = {"inputs": bits(64), "questions": ["answers", "interchange"]}
    with without_pictures():
        own = report_of(Study(counter(), concepts={"ones": ones}, **given), tmp_path / "own")
        apart = report_of(study_of(planted(), **given), tmp_path / "apart")
    for name in given["questions"]:
        tables = [one.findings[name].measurements.drop(columns=["network", "layer"]) for one in (own, apart)]
        assert len(tables[0]) > 5
        pd.testing.assert_frame_equal(tables[0], tables[1], atol=1e-4)
    (explorer,) = [one for one in walk(own.page.sections) if isinstance(one, Explorer)]
    data = json.loads(explorer.data or "")
    assert data["networks"][0]["layers"][0]["name"] == "lstm[0]"
    assert (data["networks"][0]["scores"], data["classes"], data["truth"]) == (9, [*map(str, range(9))], "")


@pytest.mark.parametrize("by_row", [False, True])
def test_ends_are_run_from_the_state_in_which_the_network_begins(by_row: bool) -> None:
    """One that it learned: answers are the network's own. Rows that begin in different states share no prefix."""

    def body(m: Any, x: torch.Tensor) -> torch.Tensor:
        begin = m.begin.expand(1, len(x), 4)
        return m.rnn(x, (begin * (1 + x[:, :1].transpose(0, 1)) if by_row else begin).contiguous())[0]

    torch.manual_seed(0)
    model = Model(body, rnn=nn.GRU(1, 4, batch_first=True), begin=nn.Parameter(3 * torch.randn(1, 1, 4)))
    weight = torch.randn(1, 4)
    (subject,) = prepare(Study(model, bits(60, 4), {"ones": ones}, readout=Readout("ones", weight=weight)))
    for machine in (ends_of(subject).machine, runs_of(subject)):
        own = (model(subject.x)[:, -1] @ weight.T)[:, 0].detach()
        assert np.allclose(answers_to(subject, subject.x)[1], own.numpy(), atol=1e-5)
        assert torch.allclose(machine.clean.answers.expected.float(), own, atol=1e-5)
        assert bool((machine.clean.starts == 0).all()) != by_row
