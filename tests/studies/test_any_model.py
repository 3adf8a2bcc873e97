"""Ordinary models as people write them: each is studied as it is, or with one line that a message says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from refusing import refused
from studied import keys_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from probe import Readout, Study
from probe.questions import needs
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
    """A convolution before a GRU, channels first."""

    def __init__(self, kernel: int = 3, stride: int = 2, padding: int = 1) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(3, 6, kernel, stride=stride, padding=padding), nn.Linear(8, 2)
        self.gru = nn.GRU(6, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return two scores after the last step, of (batch, channel, time)."""
        return self.out(self.gru(self.conv(x).relu().transpose(1, 2))[0][:, -1])


def channels_first(model: nn.Module, x: Tensor, _: Tensor) -> Any:
    """Call a model that has channels before time."""
    return model(x.transpose(1, 2))


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
        "gru[0]",
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
    assert {*asked} < {*keys_of(page)}


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


#: Kernel, stride and padding of a convolution, how many inputs there are, and the last one that each state reads.
STRIDES = {
    (3, 2, 1, 12): (1, 3, 5, 7, 9, 11),
    (3, 2, 1, 13): (1, 3, 5, 7, 9, 11, 12),
    (3, 2, 0, 12): (2, 4, 6, 8, 10),
    (2, 2, 0, 13): (1, 3, 5, 7, 9, 11),
    (4, 4, 0, 13): (3, 7, 11),
    (5, 3, 0, 13): (4, 7, 10),
    (5, 3, 2, 13): (2, 5, 8, 11, 12),
}


@pytest.mark.parametrize("form", STRIDES)
def test_a_state_of_several_inputs_has_the_value_at_the_last_that_it_reads(form: tuple[int, int, int, int]) -> None:
    """It is measured which that is; a concept may also be given for each state, and the model reads what it read."""
    *shape, time = form
    x, ends = X[:, :time], list(STRIDES[form])
    given = {"total": total, "sum": x[:, :, 0].cumsum(1), "own": np.arange(160 * len(ends)).reshape(160, len(ends))}
    model = Strided(*shape)
    (subject,) = prepare(Study(model, x, given, call=channels_first))
    for name in ("total", "sum"):
        np.testing.assert_allclose(subject.concepts[name].values, x[:, :, 0].cumsum(1)[:, ends], rtol=1e-5)
    np.testing.assert_array_equal(subject.concepts["own"].values, given["own"])
    assert torch.equal(subject.model(subject.x), model(torch.as_tensor(x).transpose(1, 2)))
    # A prefix of some states is that of the inputs that they read.
    prefix = subject.x[0, :2].double().numpy()
    assert subject.concepts["total"].of_sequence(prefix)[-1] == pytest.approx(x[0, : ends[1] + 1, 0].sum(), abs=1e-5)
    (card,) = (one for one in every_question(subject) if one.name == "network")
    assert card.tell is not None
    said = card.tell(Answered("network", card.measure([subject]), (), (subject,))).notes["answer"]
    assert f"160 sequences of {time} steps each, 3 features a step" in said
    after = ", ".join(str(end + 1) for end in ends)
    assert subject.card["states"].startswith(f"{len(ends)} for {time} inputs: after the inputs {after}; of “total”")


def test_sequences_of_several_lengths_have_the_states_that_read_no_padding() -> None:
    """Behind a stride too: a state that reads an input beyond the end is none of the sequence."""
    lengths = np.where(np.arange(160) < 80, 13, 10)
    (subject,) = prepare(Study(Strided(3, 2, 1), X[:, :13], NUMBERS, lengths=lengths, call=channels_first))
    assert subject.lengths.tolist() == np.where(lengths == 13, 7, 5).tolist()
    assert np.isnan(subject.concepts["total"].values[80:, 5:]).all()
    assert not subject.x[80:, 5:].any()


@pytest.mark.parametrize("seed", range(6))
def test_bits_tell_which_input_a_state_reads(seed: int) -> None:
    """Each is changed to another one: two sequences have the same bit at every second place."""
    bits = np.random.default_rng(seed).integers(0, 2, (60, 12, 3)).astype(np.float32)
    bits[:, :, 1:] = 0
    (subject,) = prepare(Study(Strided(), bits, {"total": total}, call=channels_first))
    np.testing.assert_array_equal(subject.concepts["total"].values, bits[:, :, 0].cumsum(1)[:, 1::2])


def test_networks_whose_states_read_other_inputs_are_no_study() -> None:
    """The second would be given the values of the first one's states."""
    networks = {"trained": [Strided(3, 2, 1), Strided(2, 2, 0), Strided(3, 2, 1)]}
    _ = prepare(Study(networks, X, NUMBERS, call=channels_first))
    networks["trained"][1] = Strided(3, 2, 0)
    with refused():
        _ = prepare(Study(networks, X, NUMBERS, call=channels_first))


class Cut(nn.Module):
    """Leaves out its last input, as a model that predicts the next one does."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states."""
        return self.gru(x[:, :-1])[0]


def test_a_model_that_leaves_out_its_last_input_is_given_one_more() -> None:
    """Its states are those of other inputs than they seem; the line that the message says mends it."""
    with refused() as refusal:
        Study(Cut(), X, NUMBERS)
    assert "call=lambda model, x, lengths: model(torch.cat([x, x[:, -1:]], 1))" in str(refusal.value)
    (subject,) = prepare(Study(Cut(), X, NUMBERS, call=lambda model, x, _: model(torch.cat([x, x[:, -1:]], 1))))
    assert subject.x.shape == X.shape


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
    assert line in str(needs.readout(subject))
    (subject,) = prepare(Study(model, X, NUMBERS, readout=Readout("positive", output=1)))
    assert subject.asked.concept == "positive"
    for wrong in (2, "scores", True):
        with refused():
            _ = prepare(Study(model, X, NUMBERS, readout=Readout("positive", output=wrong)))


#: A study that fails when it is made, and the line of its message that mends it.
MENDED: dict[str, tuple[Any, dict[str, Any]]] = {
    "model(x, lengths)": (lambda **more: Study(Asking(), X, NUMBERS, **more), {}),
    "model(x.transpose(0, 1))[0].transpose(0, 1)": (
        lambda **more: Study(nn.Sequential(nn.LSTM(3, 8)), X, NUMBERS, **more),
        {},
    ),
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
    assert re.search(re.escape(f"call=lambda model, x, lengths: {line}") + r"\)?\.$", str(refusal.value))
    study = make(call=eval(f"lambda model, x, lengths: {line}"), **more)
    (subject,) = prepare(study)
    assert recorded(subject).layers


class Sorting(nn.Module):
    """Sorts its batch by length, as packing once wanted it, and puts what it returns back into order."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.gru, self.tags = nn.Embedding(4, 6), nn.GRU(6, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores of tags, in the order of the batch."""
        order = torch.argsort(lengths, descending=True)
        words = pack_padded_sequence(self.words(ids[order]), lengths[order], batch_first=True)
        states, _ = pad_packed_sequence(self.gru(words)[0], batch_first=True, total_length=ids.shape[1])
        return self.tags(states[torch.argsort(order)])


def test_states_that_are_not_their_sequences_own_are_refused() -> None:
    """A batch that the model sorts, and padding that it reads: each sequence is run alone, and compared."""
    with refused():
        Study(Sorting(), IDS, WORDS, lengths=LENGTHS, call=lambda model, x, lengths: model(x, lengths))
    with refused():
        Study(Attending(), X, NUMBERS, lengths=LENGTHS)
    _ = Study(Attending(), X, NUMBERS)


def test_layers_of_different_lengths_and_inputs_without_time_are_refused() -> None:
    """A decoder's steps belong to no inputs; channels first the steps are too few; what is wrong names what to do."""
    other, two = CharLM().eval(), cast("Any", lambda model, x: model(x))
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
        lambda: Study(CharLM(), IDS, WORDS, call=two),
    ):
        with refused():
            make()
