"""Questions that run a network on less: on its class means, as the law of a drift, and as an affine recurrence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import LENGTH, READ, WINS, Reader, Tally, X, every_sequence, machine_of, subjects
from tables_read import by, rows, value, values
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.abstraction.quantised import class_means, quantised_run
from probe.methods.abstraction.reduced import fit_affine
from probe.methods.machines import Machine
from probe.questions.states import quantised_states, reduced_models
from probe.studies.answer import judged
from probe.subjects.subject import Subject


def test_a_tally_keeps_everything_on_its_class_means() -> None:
    """It has 21 states by step and 6 over all steps, is right on both, and is on the right one after each step."""
    network = Network("wins", "planted", Tally())
    table = quantised_states.measure(subjects([network]))
    assert value(table, "own_accuracy") == 1
    for name, size in (("by_step", 21), ("over_steps", 6)):
        assert value(table, "states", kind=name) == size
        assert value(table, "quantised_accuracy", kind=name) == value(table, "answers_kept", kind=name) == 1
        assert value(table, f"accuracy_kept_{name}") == 1
        assert by("step", table, "right_class", kind=name) == dict.fromkeys(range(LENGTH), 1)
    # One that is never right keeps nothing that could be counted: a share of nothing is no number.
    off = quantised_states.measure(subjects([network], answer=lambda scores: scores.argmax(1) + 9))
    assert value(off, "own_accuracy") == 0
    assert not off["metric"].str.startswith("accuracy_kept").any()


@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
def test_any_recurrent_layer_is_scored_against_its_own_accuracy(kind: str) -> None:
    """The numbers are those of the run that the library makes; the ratio is over what the network gets itself."""
    model = Reader(kind, 4)
    table, machine = quantised_states.measure(subjects([Network("net", "trained", model, 1)])), machine_of(model)
    own = (machine.clean.answers.chosen == WINS[:, -1]).double().mean().item()
    assert 0 < own < 1
    for name in ("by_step", "over_steps"):
        run = quantised_run(machine, class_means(machine, WINS, by_step=name == "by_step"))
        found = (run.answers.chosen == WINS[:, -1]).double().mean().item()
        assert value(table, "quantised_accuracy", kind=name) == found
        assert value(table, f"accuracy_kept_{name}") == pytest.approx(found / own)
    assert table["value"].notna().all()


class Drifting(nn.Module):
    """A plain RNN that adds 1 - d for a win and - d for a loss to what stands for d R, nearly without curving."""

    SMALL = 1e-5

    def __init__(self, drift: float):
        super().__init__()
        self.drift, self.rnn = drift, nn.RNN(2, 1, batch_first=True).double()
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0").fill_(1)
            self.rnn.get_parameter("weight_ih_l0").copy_(torch.tensor([[1 - drift, -drift]]) * self.SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """Return wins + d (R - length), (batch,)."""
        return self.rnn(x)[0][:, -1, 0] / self.SMALL + self.drift * LENGTH


class Rounded(Reader):
    """A GRU whose mean class is its answer."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch,)."""
        return 4 * READ["expected"](super().forward(x))


ROUNDS: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}


def asked(*models: nn.Module, role: str = "trained") -> list[Subject]:
    """Return models over all sequences of 5 steps, with the wins as a function."""
    networks = [Network(f"net-{number}", role, model, number) for number, model in enumerate(models)]
    return subjects(networks, X.double(), lambda x: x[:, 0].cumsum(), **ROUNDS)


def own(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks, without those of nulls."""
    return table[table["role"] != "null"]


def test_a_network_that_drifts_is_its_own_law_and_recurrence() -> None:
    """d comes back; both predict length 7, where nothing was fitted; the named programs miss by what they must."""
    drifts = [0.0, 0.3, 1.0]
    every = reduced_models.measure(asked(*(Drifting(drift) for drift in drifts)))
    table = own(every)
    assert values(table, "drift") == pytest.approx(drifts, abs=1e-6)
    # At length 7 a d of 0.5 misses the network's 0.3 by 0.2 x 2, and the wins' variance is 7 / 4.
    near = 1 - (0.2 * 2) ** 2 / (7 / 4)
    assert values(table, "fixed_r_squared") == pytest.approx([1, near, 1])
    assert values(table, "law_margin") == pytest.approx([0, 1 - near, 0], abs=1e-6)
    for signal in ("law", "affine"):
        assert values(table, f"{signal}_r_squared") == pytest.approx([1, 1, 1], abs=1e-6)
        assert values(table, f"{signal}_unseen_agreement") == [1, 1, 1]
        assert values(table, "agreement", kind=signal, at=7) == [1, 1, 1]
        assert values(table, "r_squared", kind=signal, at=6) == pytest.approx([1, 1, 1], abs=1e-6)
    # The null of a trained network is the best named program: a row of the same metric and pair; others have none.
    null = rows(every, "law_r_squared", role="null")
    assert null["pair"].tolist() == ["0", "1", "2"]
    assert null["value"].tolist() == pytest.approx(values(table, "fixed_r_squared"))
    assert "null" not in set(reduced_models.measure(asked(Drifting(0.3), role="planted"))["role"])


def test_a_gru_is_followed_as_the_library_fits_it() -> None:
    """The numbers are those of `fit_affine` on the longest fitted length, against the bare model's answers."""
    model, x = Rounded("gru", 4).double(), every_sequence(7).double()
    table = own(reduced_models.measure(asked(model)))
    fitted = fit_affine(Machine.of(model, X.double(), **ROUNDS), range(1, 6))
    with torch.no_grad():
        y = model(x).numpy()
    assert value(table, "affine_error") == fitted.error
    predicted = fitted.predict(x)
    assert value(table, "affine_r_squared") == pytest.approx(1 - ((y - predicted) ** 2).mean() / y.var())
    assert value(table, "agreement", kind="affine", at=7) == (np.abs(np.round(y) - predicted) <= 0.5).mean()


def test_a_study_is_asked_where_its_inputs_are_few() -> None:
    """The defaults stand around the length of the study's sequences; the rule has its null."""
    (subject,) = asked(Drifting(0.3))
    question = reduced_models.question(subject)
    assert question.why_not(subject) is None
    table = question.ask([subject])
    assert rows(table, "agreement")["at"].tolist() == [3, 4, 5, 6, 7, 8, 9] * 2
    (claim,) = judged(table, question.rules)
    assert claim.value == pytest.approx(1)
    assert claim.differences[0].control < 1
