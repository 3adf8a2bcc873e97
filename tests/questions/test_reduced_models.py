"""Questions that run a network on less: class means, and an affine recurrence.

- Running on class means, on networks of two features that count wins.
- The drift's law and the affine recurrence, on networks of two features whose law is known, and on a GRU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.abstraction.quantised import class_means, quantised_run
from probe.methods.abstraction.reduced import fit_affine
from probe.methods.machines import Machine
from probe.questions.states import quantised_states, reduced_models
from probe.studies.answer import judged

LENGTH = 5
BITS = (torch.arange(2**LENGTH)[:, None] >> torch.arange(LENGTH - 1, -1, -1)) & 1
X = torch.stack([BITS, 1 - BITS], -1).float()
WINS = BITS.cumsum(1)


class Reader(nn.Module):
    """A recurrent layer over two features whose last hidden state is read by a linear head."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM | nn.RNN] = nn.GRU, seed: int = 1):
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = kind(2, 4, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch, 1)."""
        return self.head(self.rnn(x)[0][:, -1])


class Wins(nn.Module):
    """A plain RNN of one unit that adds .001 for each win, read off exactly."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, 1, batch_first=True)
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0").fill_(1)
            self.rnn.get_parameter("weight_ih_l0")[0, 0] = 0.001

    def forward(self, x: Tensor) -> Tensor:
        """Return the wins, (batch, 1)."""
        return self.rnn(x)[0][:, -1] * 1000


READ: dict[str, Any] = {"answer": lambda y: y[:, 0].round().long(), "expected": lambda y: y[:, 0]}


def measure(*networks: Network) -> pd.DataFrame:
    """Measure networks against the count of wins."""
    return quantised_states.measure(subjects(networks, X, WINS, **READ))


def value(table: pd.DataFrame, metric: str, network: str, kind: str = "") -> float:
    """Return the one value of a metric of a network."""
    found = table[(table["metric"] == metric) & (table["network"] == network) & (table["kind"] == kind)]
    assert len(found) == 1
    return found["value"].item()


def test_a_counter_of_wins_keeps_everything_on_its_class_means() -> None:
    """It has 21 states by step and 6 over all steps, is right on both, and is on the right one after each step."""
    table = measure(Network("wins", "planted", Wins()))
    assert value(table, "own_accuracy", "wins") == 1
    for name, size in (("by_step", 21), ("over_steps", 6)):
        assert value(table, "states", "wins", name) == size
        assert value(table, "quantised_accuracy", "wins", name) == 1
        assert value(table, "answers_kept", "wins", name) == 1
        assert value(table, f"accuracy_kept_{name}", "wins") == 1
        right = table[(table["metric"] == "right_class") & (table["kind"] == name)]
        assert right["step"].tolist() == list(range(LENGTH))
        assert right["value"].tolist() == [1] * LENGTH


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_any_recurrent_layer_is_scored_against_its_own_accuracy(kind: type[nn.GRU | nn.LSTM | nn.RNN]) -> None:
    """The numbers are those of the run that the library makes; the ratio is over what the network gets itself."""
    model = Reader(kind)
    table = measure(Network("net", "trained", model, 1))
    machine = Machine.of(model, X, **READ)
    own = (machine.clean.answers.chosen == WINS[:, -1]).double().mean().item()
    assert 0 < own < 1
    for name in ("by_step", "over_steps"):
        run = quantised_run(machine, class_means(machine, WINS, by_step=name == "by_step"))
        found = (run.answers.chosen == WINS[:, -1]).double().mean().item()
        assert value(table, "quantised_accuracy", "net", name) == found
        assert value(table, f"accuracy_kept_{name}", "net") == pytest.approx(found / own)
    assert table["value"].notna().all()


def test_a_network_that_is_never_right_keeps_nothing_that_could_be_counted() -> None:
    """There is no row for it, since a share of nothing is no number."""
    model = Wins()
    read = READ | {"answer": lambda y: y[:, 0].long() + 9}
    table = quantised_states.measure(subjects([Network("off", "other", model)], X, WINS, **read))
    assert value(table, "own_accuracy", "off") == 0
    assert not table["metric"].str.startswith("accuracy_kept").any()


def test_a_concept_that_is_not_aligned_is_refused() -> None:
    """The message gives both shapes."""
    with refused():
        quantised_states.measure(subjects([Network("n", "other", Wins())], X, WINS[:, :4], **READ))


REFERENCE = 5


class Drifting(nn.Module):
    """A plain RNN that adds 1 - d for a win and - d for a loss to what stands for d R, nearly without curving."""

    SMALL = 1e-5

    def __init__(self, drift: float):
        super().__init__()
        self.drift = drift
        self.rnn = nn.RNN(2, 1, batch_first=True).double()
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0").fill_(1)
            steps = torch.tensor([[1 - drift, -drift]], dtype=torch.float64)
            self.rnn.get_parameter("weight_ih_l0").copy_(steps * self.SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """Return wins + d (R - length), (batch,)."""
        return self.rnn(x)[0][:, -1, 0] / self.SMALL + self.drift * REFERENCE


class Rounded(nn.Module):
    """A GRU over two features whose last hidden state is read by a linear head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.rnn = nn.GRU(2, 4, batch_first=True).double()
        self.head = nn.Linear(4, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch,)."""
        return self.head(self.rnn(x)[0][:, -1])[:, 0] * 4


def every(length: int) -> Tensor:
    """Return all sequences of wins and losses of a length."""
    bits = (torch.arange(2**length)[:, None] >> torch.arange(length - 1, -1, -1)) & 1
    return torch.stack([bits, 1 - bits], -1).double()


INPUTS = {length: every(length) for length in (3, 4, 5, 6, 7)}
ROUNDS: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}


def reduced(*models: nn.Module, role: str = "trained") -> pd.DataFrame:
    """Measure models on all sequences of 5 steps."""
    networks = [Network(f"net-{number}", role, model, number) for number, model in enumerate(models)]
    asked = subjects(networks, INPUTS[REFERENCE], lambda x: x[:, 0].cumsum(), **ROUNDS)
    return reduced_models.measure(asked)


def values(table: pd.DataFrame, metric: str, kind: str = "", length: int | None = None) -> list[float]:
    """Return a metric's values, one a network."""
    rows = table[(table["metric"] == metric) & (table["kind"] == kind) & (table["role"] != "null")]
    return rows[rows["at"].isna() if length is None else rows["at"] == length]["value"].tolist()


def test_a_network_that_drifts_is_its_own_law_and_recurrence() -> None:
    """d comes back; both predict length 7, where nothing was fitted; the named programs miss by what they must."""
    drifts = [0.0, 0.3, 1.0]
    table = reduced(*(Drifting(drift) for drift in drifts))
    assert values(table, "drift") == pytest.approx(drifts, abs=1e-6)
    assert values(table, "law_r_squared") == pytest.approx([1, 1, 1])
    assert values(table, "affine_r_squared") == pytest.approx([1, 1, 1], abs=1e-6)
    # At length 7 a d of 0.5 misses the network's 0.3 by 0.2 x 2, and the wins' variance is 7 / 4.
    near = 1 - (0.2 * 2) ** 2 / (7 / 4)
    assert values(table, "fixed_r_squared") == pytest.approx([1, near, 1])
    assert values(table, "law_margin") == pytest.approx([0, 1 - near, 0], abs=1e-6)
    for signal in ("law", "affine"):
        assert values(table, f"{signal}_unseen_agreement") == [1, 1, 1]
        assert values(table, "agreement", signal, 7) == [1, 1, 1]
        assert values(table, "r_squared", signal, 6) == pytest.approx([1, 1, 1], abs=1e-6)


def test_the_null_of_a_trained_network_is_the_best_named_program() -> None:
    """A row of the same metric and pair, so that a rule pairs them; other roles have none."""
    table = reduced(Drifting(0.3), Drifting(0.0))
    null = table[table["role"] == "null"]
    assert null["metric"].tolist() == ["law_r_squared"] * 2
    assert null["pair"].tolist() == ["0", "1"]
    assert null["value"].tolist() == pytest.approx(values(table, "fixed_r_squared"))
    assert "null" not in set(reduced(Drifting(0.3), role="planted")["role"])


def test_a_gru_is_followed_as_the_library_fits_it() -> None:
    """The numbers are those of `fit_affine` on the longest fitted length, against the bare model's answers."""
    model = Rounded()
    table = reduced(model)
    machine = Machine.of(model, INPUTS[5], **ROUNDS)
    fitted = fit_affine(machine, range(1, 6))
    with torch.no_grad():
        y = model(INPUTS[7]).numpy()
    assert values(table, "affine_error") == [fitted.error]
    predicted = fitted.predict(INPUTS[7])
    assert values(table, "affine_r_squared") == pytest.approx([1 - ((y - predicted) ** 2).mean() / y.var()])
    near = np.abs(np.round(y) - predicted) <= 0.5
    assert values(table, "agreement", "affine", 7) == [near.mean()]


def test_a_study_is_asked_where_its_inputs_are_few() -> None:
    """The defaults stand around the length of the study's sequences; the rule has its null."""
    network = Network("net", "trained", Drifting(0.3), 0)
    (subject,) = subjects([network], INPUTS[REFERENCE], lambda x: x[:, 0].cumsum(), **ROUNDS)
    question = reduced_models.question(subject)
    assert question.why_not(subject) is None
    table = question.ask([subject])
    assert table[table["metric"] == "agreement"]["at"].tolist() == [3, 4, 5, 6, 7, 8, 9] * 2
    (claim,) = judged(table, question.rules)
    assert claim.value == pytest.approx(1)
    assert claim.differences[0].control < 1
