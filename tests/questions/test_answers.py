"""Questions about answers: errors and programs.

- Are answers right, and which program gives the same ones? Exact of all sequences, of others with an interval.
- Errors by group and by label, on a network that answers what the test wants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import Reader, Tally, X, subjects
from studied import planted, study_of
from torch import Tensor, nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.questions.answers import answers, programs
from probe.studies.answer import judged
from probe.studies.measuring import every_question, groups_of
from probe.studies.prepare import prepare
from probe.subjects.answers import answers_to
from probe.subjects.subject import Subject


def won(x: np.ndarray) -> np.ndarray:
    """Return how often feature 0 was the larger so far."""
    return (x[:, 0] > x[:, 1]).cumsum()


def of_role(table: pd.DataFrame, metric: str, role: str) -> Any:
    """Return the only row of a metric of a role."""
    (row,) = table[(table["metric"] == metric) & (table["role"] == role)].to_dict("records")
    return row


def test_of_all_sequences_the_share_is_exact_and_of_some_it_has_an_interval() -> None:
    """A tally is right on all; the most frequent of its answers stands beside it, as a null of the same pair."""
    network = [Network("tally", "trained", Tally(), 3)]
    every = answers.measure_all(subjects(network, X, won))
    whole = of_role(every, "accuracy", "trained")
    assert (whole["value"], whole["n"]) == (1, 32)
    assert pd.isna(whole["low"])
    null = of_role(every, "accuracy", "null")
    assert (null["value"], null["pair"]) == (10 / 32, "3")
    assert of_role(every, "automaton_states", "trained")["value"] == 21
    some = of_role(answers.measure_all(subjects(network, X[:20], won)), "accuracy", "trained")
    assert some["low"] < some["value"] == some["high"] == 1
    (claim,) = judged(every, answers.question(subjects(network, X, won)[0]).rules)
    assert claim.value == 1
    assert claim.differences[0].control == 10 / 32


def test_the_page_of_one_network_says_how_often_it_is_right_and_compares_programs_at_other_lengths() -> None:
    """Programs are scored on the study's own sequences, and drawn over the lengths around them."""
    (subject,) = prepare(study_of(planted(), programs={"count": sum, "length": len}))
    group = next(iter(groups_of([subject]).values()))
    said = answer(answers.question(subject), group).notes["answer"]
    assert said.startswith("The network answers “ones” right on 100.0% of 160 sequences after the last step; ")
    found = answer(programs.question(subject), group)
    assert found.notes["answer"].startswith("Of 2 rival programs, “count” agrees with the network most often, on 100")
    assert "At other lengths, “count” agrees" in found.notes["answer"]
    by_length = found.measurements.query("metric == 'agreement' and role == 'trained' and at.notna()")
    # Of more than eight steps the head's nine classes have not every count.
    assert sorted(by_length["at"].unique()) == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    shares = by_length[by_length["kind"] == "count"].sort_values("at")["value"]
    assert (shares.iloc[:5] == 1).all()
    assert shares.iloc[5:].between(0.9, 1, inclusive="left").all()
    assert [figure.name for figure in found.figures] == ["programs"]


def test_numbers_of_any_size_are_predicted_and_neither_right_nor_wrong() -> None:
    """R² stands in the place of a share, and no rule judges it."""
    x = np.random.default_rng(0).normal(size=(60, 6, 1)).astype(np.float32)
    torch.manual_seed(0)
    readout = Readout("sum", weight=np.ones((1, 5)), kind="number")
    (subject,) = prepare(Study(nn.GRU(1, 5, batch_first=True), x, {"sum": np.cumsum(x[:, :, 0], 1)}, readout=readout))
    found = answer(answers.question(subject), [subject])
    assert set(found.measurements["metric"]) == {"r_squared"}
    assert "at the last step with R²" in found.notes["answer"]
    assert not found.claims


def test_a_concept_without_last_value_has_no_right_answers() -> None:
    """The page says why nothing was asked."""
    values = np.full((160, 8), np.nan)
    values[:, :4] = 1
    values[:80, :4] = 0
    study = study_of(
        planted(), concepts={"ones": values}, readout=Readout("ones", weight=np.ones((1, 6)), kind="logit")
    )
    (subject,) = prepare(study)
    said = answer(answers.question(subject), [subject]).notes["answer"]
    assert "is not defined at the last step of any sequence" in said


def test_counters_of_a_study_are_asked_what_a_small_alphabet_allows() -> None:
    """All questions of answers but one are asked of classes and bits; of real numbers those that can be."""
    (subject,) = prepare(study_of(planted(), programs={"count": sum}))
    names = ["answers", "programs", "other-lengths", "bit-effects", "reduced-models"]
    asked = {question.name: question for question in every_question(subject)}
    assert [asked[name].why_not(subject) for name in names[:4]] == [None] * 4
    assert "it answers with one of several classes" in str(asked["reduced-models"].why_not(subject))
    readout = Readout("ones", weight=np.ones((1, 6)), kind="number")
    (real,) = prepare(study_of(planted(), inputs=np.random.default_rng(0).normal(size=(40, 8, 1)), readout=readout))
    assert "more than 8 different values" in str(asked["other-lengths"].why_not(real))


def test_the_figure_marks_always_giving_the_most_frequent_answer() -> None:
    """A line at the null's share, beside the dots."""
    networks = [Network("tally", "trained", Tally(), 0), Network("gru", "own initialisation", Reader(), 0)]
    ax = answers.draw(answers.measure_all(subjects(networks, X, won)))
    lines = [np.asarray(line.get_ydata()).tolist() for line in ax.lines]
    assert [10 / 32, 10 / 32] in lines
    assert [1.0] in lines


LABELS = torch.tensor([0, 1, 1, 2, 2, 2, 2, 3])


class Fixed(nn.Module):
    """Gives the answers that it was made with, whatever it reads."""

    def __init__(self, answers: Tensor):
        super().__init__()
        self.answers = answers

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        return nn.functional.one_hot(self.answers, 4).float() + 0 * x.sum()


def label_of(logits: Tensor):
    """Return the class with the highest score."""
    return logits.argmax(1)


def asked(networks: list[Network], x: Tensor, labels: Tensor = LABELS) -> list[Subject]:
    """Return networks that should answer labels, whatever stands before the last step."""
    return subjects(networks, x, labels[:, None].expand(x.shape[:2]), answer=label_of, expected=label_of)


def value(table: pd.DataFrame, metric: str, network: str = "right", label: int | None = None):
    """Return the one value of a metric of a network."""
    found = table[(table["metric"] == metric) & (table["network"] == network)]
    found = found[found["at"].isna() if label is None else found["at"] == label]
    assert len(found) == 1
    return found["value"].item()


@pytest.fixture
def networks():
    """Return one that is always right, and its own initialisation, which always answers 2."""
    return [
        Network("right", "trained", Fixed(LABELS), 4),
        Network("twos", "own initialisation", Fixed(torch.full((8,), 2)), 4),
    ]


@pytest.fixture
def table(networks: list[Network]):
    """Return errors; the first network was not trained on the labels 0 and 3."""
    rows = {
        "right": {"train": [1, 2, 3], "test": [0, 4, 5, 7]},
        "twos": {"train": [0, 1], "test": [2, 3, 4, 5, 6, 7]},
    }
    return answers.measure(asked(networks, torch.zeros(8, 5, 2)), groups=lambda subject: rows[subject.network.name])


def test_errors_are_shares_of_each_networks_own_rows(table: pd.DataFrame):
    """Every network is scored on the rows that its own groups name."""
    assert value(table, "test_error") == 0
    assert value(table, "test_error", "twos") == pytest.approx(2 / 6)
    assert value(table, "train_error", "twos") == 1


def test_errors_by_label_are_over_all_rows_and_balance_to_their_mean(table: pd.DataFrame):
    """A label with one row counts as much as one with four."""
    assert [value(table, "error_by_label", "twos", label) for label in range(4)] == [1, 1, 0, 1]
    assert value(table, "balanced_error", "twos") == 0.75
    assert value(table, "balanced_error") == 0


def test_the_floor_is_what_nobody_could_have_learned(table: pd.DataFrame):
    """Test rows whose label never occurred in training set the floor, whatever is answered."""
    assert value(table, "test_floor") == 0.5
    assert value(table, "test_floor", "twos") == pytest.approx(5 / 6)
    assert value(table, "train_floor") == 0


def test_a_network_without_training_rows_has_no_floor(networks: list[Network]):
    """A planted network was trained on nothing, so that no label was withheld from it."""
    table = answers.measure(asked(networks, torch.zeros(8, 1, 1)), groups=lambda _: {"all": range(8)})
    assert "all_floor" not in set(table["metric"])


class Scorer(nn.Module):
    """A GRU over two features whose last hidden state is read by a linear head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.rnn = nn.GRU(2, 4, batch_first=True)
        self.head = nn.Linear(4, 5, bias=False)

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        return self.head(self.rnn(x)[0][:, -1])


class Wins(nn.Module):
    """Answers how often feature 0 was the larger."""

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        return nn.functional.one_hot((x[:, :, 0] > x[:, :, 1]).sum(1), 5).float()


def test_the_automaton_of_the_answers_is_counted_where_all_sequences_are_asked():
    """The count of wins in four steps needs 15 states; a GRU's own table is counted by its distinct suffix rows."""
    bits = (torch.arange(16)[:, None] >> torch.arange(3, -1, -1)) & 1
    x = torch.stack([bits, 1 - bits], -1).float()
    both = [Network("wins", "planted", Wins()), Network("gru", "trained", Scorer())]
    every = {"all": range(16)}
    table = answers.measure(asked(both, x, bits.sum(1)), groups=lambda _: every)
    assert value(table, "automaton_states", "wins") == 15
    given, _ = answers_to(asked(both, x, bits.sum(1))[1], x)
    rows = [len(np.unique(given.reshape(2**layer, -1), axis=0)) for layer in range(5)]
    assert len(set(given.tolist())) > 1
    assert value(table, "automaton_states", "gru") == sum(rows)
    some = answers.measure(asked(both, x[1:], bits.sum(1)[1:]), groups=lambda _: {"all": range(15)})
    assert "automaton_states" not in set(some["metric"])
