"""Drift and its law, on programs whose answers at every length are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.abstraction.programs import slope
from probe.questions.answers import other_lengths
from probe.studies.answer import judged
from probe.subjects.subject import Subject

REFERENCE, LENGTHS = 6, range(2, 11)


class Program(nn.Module):
    """Answers how often feature 0 was the larger, plus so much for each step that is missing."""

    def __init__(self, drift: float):
        super().__init__()
        self.drift = drift

    def forward(self, x: Tensor):
        """Return the answer itself, (batch)."""
        return wins(x) + self.drift * (REFERENCE - x.shape[1])


class Order(nn.Module):
    """Answers by the first step alone."""

    def forward(self, x: Tensor):
        """Return the answer itself, (batch)."""
        return (x[:, 0, 0] > x[:, 0, 1]).double()


def wins(x: Tensor):
    """Return how often feature 0 was the larger."""
    return (x[:, :, 0] > x[:, :, 1]).sum(1).double()


def won(x: np.ndarray):
    """Return how often feature 0 was the larger so far."""
    return (x[:, 0] > x[:, 1]).cumsum()


def every_sequence(length: int):
    """Return all sequences of wins and losses of a length."""
    bits = (torch.arange(2**length)[:, None] >> torch.arange(length)) & 1
    return torch.stack([bits, 1 - bits], -1).float()


def asked(networks: list[Network]) -> list[Subject]:
    """Return networks that answer the number that they output."""
    return subjects(networks, every_sequence(REFERENCE), won, answer=torch.round, expected=lambda output: output)


def measure(models: list[nn.Module], **options: Any):
    """Measure models."""
    networks = [Network(f"net-{number}", "trained", model, number) for number, model in enumerate(models)]
    return other_lengths.measure(asked(networks), **options)


def values(table: pd.DataFrame, metric: str, at: float | None = None):
    """Return a metric's values, one a network."""
    rows = table[table["metric"] == metric]
    return rows[rows["at"].isna() if at is None else rows["at"] == at]["value"].tolist()


def test_the_drift_of_a_known_program_comes_back():
    """All these programs give the same answers at the reference length, and drift apart at others."""
    drifts = [0.0, 0.25, 0.5, 0.8, 1.0]
    table = measure([Program(drift) for drift in drifts])
    assert values(table, "drift") == pytest.approx(drifts)
    assert values(table, "absolute_drift") == pytest.approx(drifts)
    assert values(table, "mean_excess", 6) == [0] * 5
    assert values(table, "mean_excess", 4) == pytest.approx([2 * drift for drift in drifts])
    assert values(table, "near_0") == [1, 0, 0, 0, 0]
    assert values(table, "near_0.5") == [0, 0, 1, 0, 0]
    assert values(table, "near_1") == [0, 0, 0, 0, 1]
    assert values(table, "near_none") == [0, 1, 0, 1, 0]


def test_a_negative_drift_keeps_its_sign():
    """Only its absolute value is without sign."""
    table = measure([Program(-0.5)])
    assert values(table, "drift") == pytest.approx([-0.5])
    assert values(table, "absolute_drift") == pytest.approx([0.5])


def test_one_number_predicts_the_answers_at_another_length():
    """The law with the fitted drift is exact; with a fixed one only where that is the drift."""
    table = measure([Program(0.8)])
    assert values(table, "law_r_squared") == pytest.approx([1])
    fixed = [values(table, "fixed_law_r_squared", d)[0] for d in (0, 0.5, 1)]
    # At length 8 the prediction is off by 2 (0.8 - d), and the count's variance is 8 / 4.
    assert fixed == pytest.approx([1 - (2 * (0.8 - d)) ** 2 / 2 for d in (0, 0.5, 1)])


def test_order_dependence_is_not_explained_by_the_concept():
    """Knowing the count tells little of the first step: r^2 = 1 / length."""
    table = measure([Program(0.3), Order()])
    assert values(table, "least_explained") == pytest.approx([1, 1 / 8])
    assert values(table, "explained_by_concept", 4) == pytest.approx([1, 1 / 4])


def test_an_answer_that_never_moves_drifts_but_holds_no_concept():
    """The control arm of the drift: a constant 3 runs along the balance and explains nothing."""

    class Three(nn.Module):
        def forward(self, x: Tensor):
            return torch.full((len(x),), 3.0)

    table = measure([Three()])
    assert values(table, "drift") == pytest.approx([0.5])
    assert values(table, "least_explained") == [0]


def test_lengths_that_cannot_be_asked_are_refused():
    """A study whose concept is an array, whose inputs are many, or whose sequences cannot occur."""
    with refused():
        slope({6: 0.0}, (6,), 6)
    networks = [Network("net", "trained", Program(0))]
    x = every_sequence(REFERENCE)
    read = {"answer": torch.round, "expected": lambda output: output}
    for given, concept, more in (
        (x, (x[:, :, 0] > x[:, :, 1]).cumsum(1), {}),
        (torch.rand(64, 6, 2), won, {}),
        (x, won, {"allowed": lambda one: len(one) == REFERENCE}),
    ):
        (subject,) = subjects(networks, given, concept, **read, **more)
        with refused():
            other_lengths.measure([subject])
        question = other_lengths.question(subject)
        reason = question.why_not(subject)
        assert reason is not None
        assert not reason.endswith(".")


def test_a_study_is_asked_at_the_lengths_around_its_own():
    """Four shorter and four longer; the rules are judged on what comes of it."""
    (subject,) = asked([Network("net", "trained", Program(0.0), 0)])
    question = other_lengths.question(subject)
    assert question.why_not(subject) is None
    table = question.ask([subject])
    assert table[table["metric"] == "mean_excess"]["at"].tolist() == list(range(2, 11))
    claims = judged(table, question.rules)
    assert [claim.value for claim in claims] == [0, 1]
    found = question.draw(table) if question.draw else None
    assert found is not None
    assert [text.get_text() for text in found.texts] == ["d = 0", "d = 0.5", "d = 1"]


def test_draw_shows_the_median_of_a_role_between_the_landmarks():
    """The line holds the median of the table's numbers; the landmarks have their drift."""
    table = measure([Program(0.25), Program(0.8)])
    ax = other_lengths.draw(table, reference=REFERENCE)
    lines = ax.get_lines()
    assert [line.get_label() for line in lines].count("trained") == 1
    assert np.asarray(lines[0].get_xdata()).tolist() == list(LENGTHS)
    assert np.allclose(lines[0].get_ydata(), [0.525 * (REFERENCE - length) for length in LENGTHS])
    assert [text.get_text() for text in ax.texts] == ["d = 0", "d = 0.5", "d = 1"]
    shifted = other_lengths.draw(table, reference=8).get_lines()[-1]
    assert np.asarray(shifted.get_ydata()).tolist() == [6, -2]


def test_a_subject_without_a_look_of_its_own_is_not_drawn():
    """It stays in the table, and the figure shows the others."""
    networks = [Network("net", "trained", Program(0.8), 0), Network("another", "other", Program(0.7))]
    table = other_lengths.measure(asked(networks))
    assert values(table, "drift") == pytest.approx([0.8, 0.7])
    labels = [line.get_label() for line in other_lengths.draw(table, reference=REFERENCE).get_lines()]
    assert "trained" in labels
    assert "other" not in labels
