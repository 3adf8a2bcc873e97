"""Ordinary models as people write them: each is studied as it is, or with one line that a message says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from probe import Readout, Study
from probe.questions.question import Answered
from probe.studies.asked import every_question
from probe.studies.networks import evaluating
from probe.studies.prepare import prepare
from probe.subjects.states import reads_ahead, recorded

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 4, (160, 12))
LENGTHS = RNG.integers(7, 13, 160)
LENGTHS[:3] = 12
X = RNG.normal(size=(160, 20, 3)).astype(np.float32)


def last_id(x: np.ndarray) -> list[str]:
    """Return a category: the latest token."""
    return ["abcd"[int(one)] for one in x[:, 0]]


def seen(x: np.ndarray) -> np.ndarray:
    """Return a number: how often the token 1 came."""
    return np.cumsum(x[:, 0] == 1)


def total(x: np.ndarray) -> np.ndarray:
    """Return a number: the sum of the first feature."""
    return x[:, 0].cumsum()


def is_positive(x: np.ndarray) -> np.ndarray:
    """Return a truth: whether that sum is above 0."""
    return total(x) > 0


class CharLM(nn.Module):
    """A language model with dropout and two layers; `returns` makes what it returns of logits and hidden state."""

    def __init__(self, returns: Any = lambda logits, hidden: logits) -> None:
        super().__init__()
        self.words, self.drop = nn.Embedding(4, 6), nn.Dropout(0.2)
        self.lstm, self.head = nn.LSTM(6, 8, 2, batch_first=True, dropout=0.2), nn.Linear(8, 4)
        self.returns = returns

    def forward(self, ids: Tensor, lengths: Any = None) -> Any:
        """Return the logits of the next token, and more."""
        h, hidden = self.lstm(self.drop(self.words(ids)))
        return self.returns(self.head(self.drop(h)), hidden)


class Tagger(nn.Module):
    """Reads a batch of ids and lengths both ways, packed."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.tags = nn.Embedding(4, 6), nn.Linear(16, 4)
        self.gru = nn.GRU(6, 8, batch_first=True, bidirectional=True)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores of tags."""
        ids, lengths = batch["ids"], batch["lengths"]
        words = pack_padded_sequence(self.words(ids), lengths, batch_first=True, enforce_sorted=False)
        return self.tags(pad_packed_sequence(self.gru(words)[0], batch_first=True, total_length=ids.shape[1])[0])


class Strided(nn.Module):
    """A convolution of stride 2, channels first, before an LSTM."""

    def __init__(self, padding: int = 1) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(3, 6, 3, stride=2, padding=padding), nn.Linear(8, 2)
        self.lstm = nn.LSTM(6, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return two scores after the last step, of (batch, channel, time)."""
        return self.out(self.lstm(self.conv(x).relu().transpose(1, 2))[0][:, -1])


class TimeFirst(nn.Module):
    """Has time first, and returns its states as well."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.RNN(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return two scores after every step, and the states."""
        h, _ = self.rnn(x)
        return self.out(h), h


class Leaky(nn.Module):
    """The field's rate network: its step is a method, called in a loop, and it has time first."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.hear = nn.Linear(3, 8), nn.Linear(8, 8)

    def recurrence(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return 0.8 * h + 0.2 * torch.relu(self.read(x) + self.hear(h))

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states at every step, and the last."""
        h, states = x.new_zeros(x.shape[1], 8) if h is None else h, []
        for step in range(x.size(0)):
            h = self.recurrence(x[step], h)
            states.append(h)
        return torch.stack(states), h


class Translator(nn.Module):
    """An encoder of the whole sequence, and a decoder of five steps."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(4, 6), nn.Linear(8, 4)
        self.encoder, self.decoder = nn.LSTM(6, 8, batch_first=True), nn.LSTM(6, 8, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        """Return scores of five tokens."""
        words = self.words(ids)
        return self.out(self.decoder(words.flip(1)[:, :5], self.encoder(words)[1])[0])


class Looped(nn.Module):
    """A cell of torch's in a loop, behind a layer, with an initial state that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.cell, self.out = nn.Linear(3, 6), nn.GRUCell(6, 8), nn.Linear(8, 2)
        self.begin = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return scores under a name, beside a loss."""
        h = self.begin.expand(len(x), 8)
        for step in self.first(x).unbind(1):
            h = self.cell(step, h)
        return {"loss": h.square().mean(), "scores": self.out(h)}


class Attending(nn.Module):
    """A GRU above a layer that mixes all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)
        self.gru, self.out = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return two scores after the last step."""
        return self.out(self.gru(self.attention(x, x, x)[0])[0][:, -1])


#: A model, its inputs and concepts, what the study is told of it, and the layer and the concept that it answers.
WORDS, NUMBERS = {"seen": seen, "token": last_id}, {"total": total, "positive": is_positive}
MODELS: dict[str, tuple[nn.Module, np.ndarray, dict[str, Any], dict[str, Any], str, str | None]] = {
    "language model": (CharLM(), IDS, WORDS, {}, "lstm[1]", "token"),
    "with its state": (CharLM(lambda *all: all), IDS, WORDS, {"lengths": LENGTHS}, "lstm[1]", "token"),
    "tagger": (
        Tagger(),
        IDS,
        WORDS,
        {"lengths": LENGTHS, "call": lambda model, x, lengths: model({"ids": x, "lengths": lengths})},
        "gru[0].reverse",
        "token",
    ),
    "strided": (
        Strided(),
        X,
        NUMBERS,
        {"call": lambda model, x, lengths: model(x.transpose(1, 2))},
        "lstm[0]",
        "positive",
    ),
    "time first": (
        TimeFirst(),
        X,
        NUMBERS,
        {"call": lambda model, x, lengths: model(x.transpose(0, 1))[0].transpose(0, 1)},
        "rnn[0]",
        "positive",
    ),
    "rate network": (
        Leaky(),
        X,
        NUMBERS,
        {"call": lambda model, x, lengths: model(x.transpose(0, 1))[0].transpose(0, 1)},
        "[0]",
        None,
    ),
    "translator": (Translator(), IDS, WORDS, {"layer": "encoder[0]"}, "encoder[0]", None),
    "looped": (Looped(), X, NUMBERS, {}, "cell", "positive"),
    "attending": (Attending(), X, NUMBERS, {}, "gru[0]", "positive"),
}


@pytest.mark.parametrize("name", MODELS)
def test_each_is_asked_for_a_unit_of_each_concept(name: str, tmp_path: Path) -> None:
    """With at most one line beside the model, inputs and concepts."""
    model, x, concepts, more, layer, answered = MODELS[name]
    asked = [f"best-unit-{concept}" for concept in concepts]
    study = Study(model, x, concepts, **more, questions=asked)
    with evaluating(study.networks):
        (subject,) = prepare(study)
    assert subject.layers[-1].name == layer
    assert (None if subject.readout is None else subject.readout.concept) == answered
    page = study.run(tmp_path, progress=None)
    assert {*asked} < {section.key for section in page.sections}


def test_a_call_is_told_the_lengths_and_the_copy_that_it_calls() -> None:
    """Padding is read by no layer that reads from the end; a function that calls another model is refused."""
    model, told = Tagger(), []

    def call(given: Tagger, x: Tensor, lengths: Tensor) -> Tensor:
        told.append((given, x.dtype, lengths.tolist()))
        return given({"ids": x, "lengths": lengths})

    (subject,) = prepare(Study(model, IDS, WORDS, lengths=LENGTHS, call=call))
    assert told[-1][1] == torch.long
    part = recorded(subject).parts[-1]
    assert list(part.lengths or ()) == LENGTHS[: len(part.lengths or ())].tolist()


@pytest.mark.parametrize("padding", [0, 1])
def test_a_state_of_two_inputs_has_the_value_at_the_last(padding: int) -> None:
    """A concept may also be given for each state; with another padding the first state stands for three inputs."""
    states = len(Strided(padding).conv(torch.zeros(1, 3, 20))[0, 0])
    ends = np.arange(states) * 2 + 21 - 2 * states
    given = {"total": total, "sum": X[:, :, 0].cumsum(1), "own": np.arange(160 * states).reshape(160, states)}
    study = Study(Strided(padding), X, given, call=lambda model, x, lengths: model(x.transpose(1, 2)))
    (subject,) = prepare(study)
    for name in ("total", "sum"):
        np.testing.assert_allclose(subject.concepts[name].values, X[:, :, 0].cumsum(1)[:, ends], rtol=1e-5)
    np.testing.assert_array_equal(subject.concepts["own"].values, given["own"])
    assert subject.card["states"].startswith(
        f"one for 2 inputs{', the first one 4' if not padding else ''}; of “total”"
    )
    # The whole sequence is read as it was given.
    expected = Strided.forward(study.networks, torch.as_tensor(X).transpose(1, 2))
    assert torch.equal(subject.model(subject.x), expected)
    (card,) = (one for one in every_question(subject) if one.name == "network")
    table = card.measure([subject])
    assert card.tell is not None
    said = card.tell(Answered("network", table, (), (subject,))).notes["answer"]
    assert "160 sequences of 20 steps each, 3 features a step" in said
    # A prefix of some blocks is that of some inputs.
    prefix = subject.x[0, :5].double().numpy()
    assert subject.concepts["total"].of_sequence(prefix)[-1] == pytest.approx(X[0, : ends[4] + 1, 0].sum(), abs=1e-5)


def test_which_layers_have_seen_later_inputs_is_measured() -> None:
    """Those above a layer that mixes all steps, and those that read from the end; not those of a language model."""
    seen_ahead = {"attending": {"gru[0]"}, "tagger": {"gru[0].reverse"}, "language model": set(), "strided": set()}
    for name, expected in seen_ahead.items():
        model, x, concepts, more, *_ = MODELS[name]
        with evaluating(model):
            (subject,) = prepare(Study(model, x, concepts, **more))
            assert reads_ahead(subject) == expected


@dataclass
class Answers:
    """What a model may return: two scores, and something else."""

    scores: Tensor
    other: Tensor


def returning(form: Any) -> nn.Module:
    """Return a model that returns its states after the last step and its scores in some form."""

    class Returning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.out = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Any:
            h = self.gru(x)[0][:, -1]
            return form(self.out(h), h)

    return Returning()


@pytest.mark.parametrize(
    ("form", "item"),
    [
        (lambda scores, h: (scores, h), 0),
        (lambda scores, h: {"state": h, "scores": scores}, "scores"),
        (Answers, "scores"),
    ],
)
def test_the_item_that_can_be_the_answer_is_taken(form: Any, item: Any) -> None:
    """Of a tuple, a dict and an object; that there is one is said, and a readout may say it."""
    for readout in (None, Readout("positive", output=item)):
        (subject,) = prepare(Study(returning(form), X, NUMBERS, readout=readout))
        assert subject.asked.concept == "positive"
        assert subject.read is not None
        assert subject.card["its output"].startswith(f"item {item!r} of what it returns, taken as its answer")


def test_of_two_items_that_could_answer_none_is_guessed() -> None:
    """The line to write is said, and it helps; an item that is not there is refused."""
    model = returning(lambda scores, h: (scores, 2 * scores))
    (subject,) = prepare(Study(model, X, NUMBERS))
    assert subject.readout is None
    line = "readout=probe.Readout('positive', output=1)"
    assert line in subject.card["its output"]
    (subject,) = prepare(Study(model, X, NUMBERS, readout=Readout("positive", output=1)))
    assert subject.asked.concept == "positive"
    for wrong in (2, "scores", True):
        with refused():
            _ = prepare(Study(model, X, NUMBERS, readout=Readout("positive", output=wrong)))


#: A study that fails when it is made, and the line of its message that mends it.
MENDED: dict[str, tuple[Any, dict[str, Any]]] = {
    "model(x, lengths)": (lambda **more: Study(Asking(), X, NUMBERS, **more), {}),
    "model(x.transpose(0, 1))": (lambda **more: Study(nn.Sequential(nn.LSTM(3, 8)), X, NUMBERS, **more), {}),
    "model(x.transpose(0, 1))[0]": (lambda **more: Study(Leaky(), X, NUMBERS, **more), {}),
    "model(x.transpose(1, 2))": (lambda **more: Study(Strided(), X, NUMBERS, **more), {}),
    "model({'ids': x, 'lengths': lengths})": (
        lambda **more: Study(Tagger(), {"ids": IDS, "lengths": LENGTHS} if not more else IDS, WORDS, **more),
        {"lengths": LENGTHS},
    ),
}


class Asking(nn.Module):
    """Cannot be called without lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the states, zero beyond the lengths."""
        return self.gru(x)[0] * (torch.arange(x.shape[1]) < lengths[:, None])[:, :, None]


@pytest.mark.parametrize("line", MENDED)
def test_a_call_that_fails_is_mended_by_the_line_that_the_message_says(line: str) -> None:
    """It fails when the study is made, before anything is measured."""
    make, more = MENDED[line]
    with refused() as refusal:
        make()
    assert f"call=lambda model, x, lengths: {line.removesuffix('[0]')}" in str(refusal.value)
    study = make(call=eval(f"lambda model, x, lengths: {line}"), **more)
    (subject,) = prepare(study)
    assert recorded(subject).layers


def test_layers_of_different_lengths_and_inputs_without_time_are_refused() -> None:
    """A decoder's steps belong to no inputs; channels first the steps are too few; what is wrong names what to do."""
    other = CharLM().eval()
    for make in (
        lambda: Study(Translator(), IDS, WORDS),
        lambda: Study(Translator(), IDS, WORDS, layer="decoder[0]"),
        lambda: Study(Strided(), X.transpose(0, 2, 1).copy(), {"total": X[:, :3, 0]}),
        lambda: Study(Strided(), X, {"total": X[:, :7, 0]}, call=lambda model, x, _: model(x.transpose(1, 2))),
        lambda: Study(CharLM(), (), WORDS),
        lambda: Study(CharLM(), IDS, WORDS, lengths=LENGTHS + 9),
        lambda: Study(CharLM(), IDS, {"seen": lambda x: x[3]}),
        lambda: Study(CharLM(), IDS, WORDS, call=lambda model, x, lengths: other(x)),
        lambda: Study(nn.Linear(3, 2), X, NUMBERS),
    ):
        with refused():
            make()
