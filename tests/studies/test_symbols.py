"""Names of inputs, token ids among them, and what is rare: neither how often nor how it is spelled decides."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bodies import Model
from known_studies import OPENS, language_model, one_hot, quoted, texts
from refusing import refused
from scipy.stats import norm
from studied import answer, bits, planted, study_of, value
from torch import nn

from probe import Finding, Readout, Study
from probe.evidence.measurements import only
from probe.intervals import bootstrap_counts
from probe.methods.probing.groups import by_sequence
from probe.methods.probing.linear import Logistic
from probe.methods.probing.scores import of_categories
from probe.questions.readings import points_of, values_at
from probe.studies.prepare import prepare

WORDS = ["the", "cat", "sat", "on", "a", "mat", ".", "dog"]


def ids(tokens: int = 8) -> np.ndarray:
    """Return random ids, (sequence, step), each of which occurs."""
    found = np.random.default_rng(0).integers(0, tokens, (60, 7))
    found[0] = np.arange(tokens - 7, tokens)
    return found


def reader(tokens: int = 8) -> Model:
    """Return what adds two embeddings, of positions and of tokens, and reads the sum with a GRU."""
    torch.manual_seed(0)
    parts = {"positions": nn.Embedding(7, 3), "words": nn.Embedding(tokens, 3), "rnn": nn.GRU(3, 5, batch_first=True)}
    return Model(lambda m, x: m.rnn(m.positions(torch.arange(x.shape[1])) + m.words(x))[0], **parts)


def of_tokens(given: np.ndarray | None = None, model: nn.Module | None = None, **more: Any) -> Study:
    """Return a study of how often an id of 5 or more came so far."""
    late = {"late": lambda x: np.cumsum(x[:, 0] >= 5)}
    return Study(reader() if model is None else model, ids() if given is None else given, late, **more)


def test_symbols_that_name_no_inputs_are_refused() -> None:
    """Each input that occurs has one, a printed character; each token one of its own, and an embedding."""
    named: list[Any] = ["ab", ["0", "1"], {"no": 0, "1": 1}, {"0": [0, 1], "1": 1}, {"0": "nought", "1": 1}]
    named += [{"0": 0, "1": 0}, {"0": 0}, {"\n": 0, "1": 1}]
    asks: list[Any] = [partial(study_of, planted(), symbols=symbols, readout=None) for symbols in named]
    named = [[*WORDS, "bird"], ["a"] * 8, WORDS[:3], ["x" * 31, *WORDS[1:]], {"the": 0, "cat": 0}, 3]
    asks += [partial(of_tokens, symbols=symbols) for symbols in named]
    asks += [partial(of_tokens, ids() + 1), partial(of_tokens, model=nn.LSTM(1, 3, batch_first=True))]
    asks += [partial(study_of, planted(), inputs=bits(20), fixed_inputs=[["a"]], readout=None)]
    for ask in asks:
        with refused():
            _ = prepare(ask())


def test_a_token_is_called_by_its_number_or_as_the_study_says() -> None:
    """A text or a list names ids in order, which the embedding of tokens reads, not that of positions."""
    table = {name: place for place, name in enumerate(WORDS)}
    for symbols, names in ((None, "01234567"), ("abcdefgh", "abcdefgh"), (WORDS, WORDS), (table, WORDS)):
        (subject,) = prepare(of_tokens(symbols=symbols))
        assert [(name, one.item()) for name, one in subject.symbols.items()] == [*zip(names, range(8), strict=True)]
        assert subject.card["token ids"] == "read by 'words', an embedding of 8 tokens"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_token_ids_are_read_as_the_model_reads_them(dtype: torch.dtype, tmp_path: Path) -> None:
    """Half precision has not each whole number; answers are the model's on the ids, and it stays as it was."""
    given, model = ids(3_000), reader(3_000).to(dtype)
    weight = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    study = of_tokens(given, model, readout=Readout("late", weight=weight), questions=["answers"])
    (subject,) = prepare(study)
    assert np.array_equal(subject.x[:, :, 0].numpy(), given)
    assert not model._forward_pre_hooks
    if dtype == torch.float32:
        study.run(tmp_path)
        with torch.no_grad():
            own = (model(torch.as_tensor(given))[:, -1] @ weight.T).argmax(1).numpy()
        share = float((own == (given >= 5).sum(1)).mean())
        assert value(Finding.read(tmp_path / "findings" / "answers"), "accuracy") == pytest.approx(share, rel=1e-5)


@pytest.mark.parametrize("share", [0.02, 0.12, 0.5])
def test_the_score_of_a_category_does_not_depend_on_how_rare_it_is(share: float) -> None:
    """A number that tells a category with an AUC of .95 scores .88, a threshold's best, at any share."""
    rng, count = np.random.default_rng(0), 6_000
    target = (np.arange(count) < share * count).astype(float)
    apart = np.sqrt(2) * norm.ppf(0.95)
    states = (rng.normal(size=count) + apart * target)[:, None]
    fold, sequence = rng.permutation(count) % 4, np.arange(count) // 10
    predicted = Logistic().held_out(states, target[:, None], by_sequence(fold))[:, 0]
    score = of_categories(target, predicted, sequence, count // 10)
    assert score.value == pytest.approx(norm.cdf(apart / 2), abs=0.03)
    constant = of_categories(target, np.zeros(count), sequence, count // 10)
    assert constant.value == 0.5
    assert score.above(constant, bootstrap_counts(count // 10, seed=0))[0] > 0.3


SPELLINGS = {
    "as numbers": quoted,
    "as texts": lambda x: ["in" if one else "out" for one in quoted(x)],
    "as shares": lambda x: quoted(x) / 4 - 9,
}


def test_one_verdict_for_every_spelling() -> None:
    """An eighth of the letters: the planted unit is read, better than from random networks, however it is written."""
    study = Study(language_model(), one_hot(texts(60, 24)), SPELLINGS)
    (subject,) = prepare(study)
    every = [points_of(subject, name, subject.layers[0].name) for name in SPELLINGS]
    assert all(points.named for points in every)
    assert len(set(zip(*(points.values.tolist() for points in every), strict=True))) == 2
    findings = [answer(study, f"reading-{name.replace(' ', '-')}") for name in SPELLINGS]
    first, *others = (one.notes["answer"].partition("”")[2] for one in findings)
    assert first.startswith(" with balanced accuracy 1.000 (")
    assert ": above every control. " in first
    assert others == [first, first]
    assert "logistic" in findings[0].notes["setup"]
    assert only(findings[0].measurements, metric="score", network="one answer for all")["value"].unique() == [0.5]
    assert value(findings[0], "best_score") == pytest.approx(1, abs=0.01)


@pytest.mark.usefixtures("undrawn")
def test_a_value_of_few_sequences_is_left_out_and_said() -> None:
    """A category that stands in fewer than eight sequences cannot be held out; the others are scored without it."""
    x, model = bits(60, 10), nn.GRU(1, 8, batch_first=True)
    once = np.where(x[:, :, 0] > 0, "one", "nought").astype(object)
    once[:5, 3] = "never seen again"
    notes = answer(Study(model, x, {"kind": once}), "reading-kind").notes
    assert "balanced accuracy 1.00" in notes["answer"]
    assert "left out, in too few sequences: never seen again" in notes["setup"]


def test_of_many_states_as_many_of_each_category_are_looked_at() -> None:
    """A category of one letter in seventy has all its states among those that are drawn."""
    x = one_hot(texts(400, 40))
    (subject,) = prepare(Study(language_model(), x, {"quoted": quoted, "opens": lambda one: one[:, OPENS] == 1}))
    # Some letters stand after a beginning that another text has as well, which is looked at once.
    for name, expected in (("quoted", 1_000), ("opens", 216)):
        values = values_at(subject, name, points_of(subject, name, subject.layers[0].name))
        assert (len(values), values.sum()) == (2_000, expected)
