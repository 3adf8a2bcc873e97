"""Programs against networks of two features whose own program is known, and against a GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import subjects
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.abstraction.programs import Drifting
from probe.questions.answers import programs

REFERENCE = 6
ALPHABET = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # a win, a loss


def wins(sequence: tuple) -> float:
    """Return how often feature 0 was the larger."""
    return sum(step[0] > step[1] for step in sequence)


def won(x: np.ndarray) -> np.ndarray:
    """Return how often feature 0 was the larger so far."""
    return (x[:, 0] > x[:, 1]).cumsum()


def last(sequence: tuple) -> float:
    """Return whether the last step was a win."""
    return float(sequence[-1][0] > sequence[-1][1])


class Known(nn.Module):
    """Answers wins plus a drift, which is a mechanism that every length shows."""

    def __init__(self, drift: float):
        super().__init__()
        self.drift = drift

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer, (batch,)."""
        return (x[:, :, 0] > x[:, :, 1]).sum(1).double() + self.drift * (REFERENCE - x.shape[1])


class Reader(nn.Module):
    """A GRU over two features whose last hidden state is read by a linear head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.rnn = nn.GRU(2, 4, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch,)."""
        return self.head(self.rnn(x)[0][:, -1])[:, 0] * 3


RIVALS: dict[str, Any] = {
    "wins": wins,
    "last": last,
    "losses backwards": lambda sequence: wins(sequence) + REFERENCE - len(sequence),
    "drift": Drifting(wins, REFERENCE, (5, 6)),
}
READ: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}
X = ALPHABET[torch.tensor(list(np.ndindex(*[2] * REFERENCE)))]
OPTIONS: dict[str, Any] = {"lengths": (4, 5, 6, 7, 8)}


def measure(*models: nn.Module, **options: Any) -> pd.DataFrame:
    """Measure models against the rivals."""
    networks = [Network(f"net-{number}", "trained", model, number) for number, model in enumerate(models)]
    allowed = options.pop("allowed", None)
    asked = subjects(networks, X, won, allowed=allowed, **READ)
    return programs.measure(asked, options.pop("rivals", RIVALS), **(OPTIONS | options))


def values(
    table: pd.DataFrame, metric: str, program: str, length: int | None = None, column: str = "value"
) -> list[float]:
    """Return a metric's values, or the ends of their intervals, one a network."""
    rows = table[(table["metric"] == metric) & (table["kind"] == program)]
    return rows[rows["at"].isna() if length is None else rows["at"] == length][column].tolist()


def test_each_network_agrees_with_its_own_program_at_every_length() -> None:
    """At the reference the three are one program; elsewhere only the right one is met."""
    table = measure(Known(0.0), Known(1.0), Known(0.4))
    assert values(table, "agreement", "wins", 6) == [1, 1, 1]
    assert values(table, "agreement", "losses backwards", 6) == [1, 1, 1]
    assert values(table, "unseen_agreement", "wins") == pytest.approx([1, 0, 2 / 4])
    assert values(table, "unseen_agreement", "losses backwards") == [0, 1, 0]
    assert values(table, "unseen_agreement", "drift") == [1, 1, 1]
    assert values(table, "drift", "drift") == pytest.approx([0, 1, 0.4])
    assert values(table, "distance", "wins", 8) == pytest.approx([0, 2, 0.8])
    assert values(table, "distance", "drift", 8) == pytest.approx([0, 0, 0], abs=1e-12)


def test_lengths_that_a_program_was_fitted_on_or_trained_at_are_no_test() -> None:
    """Ones wrong at 5 and 6 alone is not counted against a program that was fitted there."""

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            off = {5: 4.0, 6: 4.0}.get(x.shape[1], 0.0)
            return (x[:, :, 0] > x[:, :, 1]).sum(1).double() + off

    rivals = {"wins": wins, "drift": Drifting(wins, REFERENCE, (5, 6))}
    table = measure(Odd(), rivals=rivals)
    assert values(table, "unseen_agreement", "wins") == pytest.approx([3 / 4])
    assert values(table, "unseen_agreement", "drift") == [0]
    table = measure(Odd(), rivals={"drift": Drifting(wins, REFERENCE, (4, 6))})
    assert values(table, "unseen_agreement", "drift") == pytest.approx([2 / 3])


def test_a_gru_is_scored_by_its_own_answers() -> None:
    """The shares are counted from the bare model on all sequences of the length."""
    model = Reader()
    table = measure(model)
    x = torch.tensor(list(np.ndindex(2, 2, 2, 2)))
    x = torch.stack([1 - x, x], -1).double()
    with torch.no_grad():
        given = model.double()(x).round()
    truth = {"wins": (x[:, :, 0] > x[:, :, 1]).sum(1), "last": x[:, -1, 0]}
    for name, wanted in truth.items():
        assert values(table, "agreement", name, 4) == [(given == wanted).double().mean().item()]
    assert 0 < values(table, "agreement", "wins", 4)[0] < 1


def test_drawn_lengths_have_intervals() -> None:
    """Few draws leave an interval around the share; where all are asked there is none."""
    table = measure(Reader(), most=40)
    assert np.isnan(values(table, "agreement", "wins", 5, "low")).tolist() == [True]
    low, share, high = (values(table, "agreement", "wins", 8, column)[0] for column in ("low", "value", "high"))
    assert low < share < high
    assert share * 40 == round(share * 40)
    every = measure(Reader(), most=40, allowed=lambda x: x[0, 0] == 1)
    assert values(every, "distance", "last", 4) != values(table, "distance", "last", 4)


def test_lengths_of_which_no_sequence_is_allowed_are_refused() -> None:
    """Nothing could be asked there."""
    with refused():
        measure(Known(0), lengths=(4,), allowed=lambda x: x[0, 0] > 1)


def test_the_figure_shows_a_line_a_program_over_the_lengths() -> None:
    """Medians over networks, each program with a look of its own."""
    table = measure(Known(0.0), Known(1.0), Known(0.0))
    ax = programs.draw(table, reference=REFERENCE)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert set(RIVALS) <= set(lines)
    assert np.asarray(lines["wins"].get_xdata()).tolist() == [4, 5, 6, 7, 8]
    assert np.asarray(lines["wins"].get_ydata()).tolist() == [1] * 5
    assert np.asarray(lines["losses backwards"].get_ydata()).tolist() == [0, 0, 1, 0, 0]
    assert len({(lines[name].get_linestyle(), lines[name].get_marker()) for name in RIVALS}) == len(RIVALS)
    many = measure(*(Known(drift) for drift in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)))
    assert len(programs.draw(many).collections) == len(RIVALS)


def test_the_programs_of_a_study_are_compared_on_its_own_sequences() -> None:
    """All sequences of a length need no interval; of some the share has one. A program may be right or not."""
    rivals = {"wins": wins, "last": last}
    network = [Network("net", "trained", Known(0.0), 0)]
    (every,) = subjects(network, X, won, programs=rivals, **READ)
    table = programs.measure_own([every])
    for metric in ("agreement", "right"):
        assert values(table, metric, "wins") == [1]
        assert values(table, metric, "last") == [2 / 64]
    assert table["low"].isna().all()
    (some,) = subjects(network, X[:40], won, programs=rivals, **READ)
    low, high = (values(programs.measure_own([some]), "agreement", "wins", None, end)[0] for end in ("low", "high"))
    assert 0.9 < low < high == 1


def test_programs_that_say_nothing_of_other_lengths_are_named() -> None:
    """They are asked on the study's own sequences alone, and the answer says which program is the reason."""
    network = [Network("net", "trained", Known(0.0), 0)]
    (none,) = subjects(network, X, won, **READ)
    assert programs.question(none).why_not(none) == "the study names no rival program"
    table = {tuple(map(tuple, row)): 1 for row in X.int().tolist()}
    (fixed,) = subjects(network, X, won, programs={"a table": lambda sequence: table[sequence]}, **READ)
    question = programs.question(fixed)
    assert question.why_not(fixed) is None
    assert "Other lengths were not asked: The program 'a table' raised" in answer(question, [fixed]).notes["answer"]
    (good,) = subjects(network, X, won, programs={"wins": wins}, **READ)
    question = programs.question(good)
    assert question.why_not(good) is None
    assert values(question.ask([good]), "unseen_agreement", "wins") == [1]
