"""Are answers right? Of all sequences exactly, of some with an interval, by group and by label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import CLASSES, LENGTH, Reader, Tally, X, subjects
from studied import bits, planted, study_of
from tables_read import by, rows, value
from torch import Tensor, nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.questions.answers import answers
from probe.studies.answer import judged
from probe.studies.measuring import every_question
from probe.studies.prepare import prepare
from probe.subjects.answers import answers_to


def won(x: np.ndarray) -> np.ndarray:
    """Return how often feature 0 was the larger so far."""
    return (x[:, 0] > x[:, 1]).cumsum()


def test_of_all_sequences_the_share_is_exact_and_of_some_it_has_an_interval() -> None:
    """A tally is right on all; the most frequent of its answers stands beside it, as a null of the same pair."""
    networks = [Network("tally", "trained", Tally(), 3), Network("gru", "planted", Reader())]
    every = answers.measure_all(subjects(networks, X, won))
    (whole,) = rows(every, "accuracy", network="tally").to_dict("records")
    assert (whole["value"], whole["n"]) == (1, 32)
    assert pd.isna(whole["low"])
    (null,) = rows(every, "accuracy", role="null").to_dict("records")
    assert (null["value"], null["pair"]) == (10 / 32, "3")
    # The automaton of a count has a state for each count after each step, that of a GRU its distinct suffix rows.
    assert value(every, "automaton_states", network="tally") == 21
    given, _ = answers_to(subjects(networks, X, won)[1], X)
    distinct = [len(np.unique(given.reshape(2**layer, -1), axis=0)) for layer in range(LENGTH + 1)]
    assert value(every, "automaton_states", network="gru") == sum(distinct)
    some = answers.measure_all(subjects(networks, X[:20], won))
    (part,) = rows(some, "accuracy", network="tally").to_dict("records")
    assert part["low"] < part["value"] == part["high"] == 1
    assert not len(rows(some, "automaton_states"))
    (claim,) = judged(every, answers.question(subjects(networks, X, won)[0]).rules)
    assert (claim.value, claim.differences[0].control) == (1, 10 / 32)


def test_numbers_of_any_size_are_predicted_and_neither_right_nor_wrong() -> None:
    """R² stands in the place of a share, and no rule judges it."""
    x = np.random.default_rng(0).normal(size=(60, 6, 1)).astype(np.float32)
    readout, model = Readout("sum", weight=np.ones((1, 5)), kind="number"), nn.GRU(1, 5, batch_first=True)
    (subject,) = prepare(Study(model, x, {"sum": np.cumsum(x[:, :, 0], 1)}, readout=readout))
    found = answer(answers.question(subject), [subject])
    with torch.no_grad():
        missed = model(torch.tensor(x))[0][:, -1].sum(1).numpy() - x[:, :, 0].sum(1)
    r_squared = 1 - (missed**2).mean() / x[:, :, 0].sum(1).var()
    assert found.measurements["value"].tolist() == pytest.approx([r_squared], abs=1e-5)
    assert found.measurements["metric"].tolist() == ["r_squared"]
    assert "at the last step with R²" in found.notes["answer"]
    assert not found.claims


def test_what_a_study_lacks_for_its_answers_is_one_reason() -> None:
    """Of classes and bits nearly all is asked; of real numbers, and without a last value, each reason is said."""
    values = np.full((160, 8), np.nan)
    values[:, :4], values[:80, :4] = 1, 0
    logit = {"concepts": {"ones": values}, "readout": Readout("ones", weight=np.ones((1, 6)), kind="logit")}
    (undefined,) = prepare(study_of(planted(), **logit))
    assert "is not defined at the last step of any" in str(answers.question(undefined).why_not(undefined))
    (subject,) = prepare(study_of(planted(), inputs=bits(60, 6), programs={"count": sum}))
    asked = {question.name: question for question in every_question(subject)}
    for name in ("answers", "programs", "other-lengths", "bit-effects"):
        assert asked[name].why_not(subject) is None
    assert "it answers with one of several classes" in str(asked["reduced-models"].why_not(subject))
    readout = Readout("ones", weight=np.ones((1, 6)), kind="number")
    (real,) = prepare(study_of(planted(), inputs=np.random.default_rng(0).normal(size=(20, 4, 1)), readout=readout))
    assert "more than 8 different values" in str(asked["other-lengths"].why_not(real))


class Fixed(nn.Module):
    """Gives the answers that it was made with, whatever it reads."""

    def __init__(self, answers: Tensor):
        super().__init__()
        self.answers = answers

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return nn.functional.one_hot(self.answers, CLASSES).float() + 0 * x.sum()


def test_errors_are_those_of_groups_and_labels() -> None:
    """Each network is scored on rows that its own groups name; what nobody could have learned is the floor."""
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 2, 3])
    networks = [Network("right", "trained", Fixed(labels), 4)]
    networks.append(Network("twos", "own initialisation", Fixed(torch.full((8,), 2)), 4))
    groups = {
        "right": {"train": [1, 2, 3], "test": [0, 4, 5, 7]},  # never trained on the labels 0 and 3
        "twos": {"train": [0, 1], "test": [2, 3, 4, 5, 6, 7]},
    }
    asked = subjects(networks, X[:8], labels[:, None].expand(8, LENGTH))
    table = answers.measure(asked, groups=lambda subject: groups[subject.network.name])
    assert by("network", table, "test_error") == pytest.approx({"right": 0, "twos": 2 / 6})
    assert by("network", table, "test_floor") == pytest.approx({"right": 0.5, "twos": 5 / 6})
    assert value(table, "train_error", network="twos") == 1
    assert value(table, "train_floor", network="right") == 0
    # A label with one row counts as much as one with four.
    assert by("at", table, "error_by_label", network="twos") == {0: 1, 1: 1, 2: 0, 3: 1}
    assert by("network", table, "balanced_error") == {"right": 0, "twos": 0.75}
    # Without training rows no label was withheld.
    assert not len(rows(answers.measure(asked, groups=lambda _: {"all": range(8)}), "all_floor"))
