"""Programs, drift and reduced models, on networks of two features whose own program is known, and on GRUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import WINS, Reader, Tally, every_sequence, machine_of, subjects, won
from tables_read import by, rows, value, values
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.abstraction.programs import Drifting as ProgramThatDrifts
from probe.methods.abstraction.quantised import class_means, quantised_run
from probe.methods.abstraction.reduced import fit_affine
from probe.methods.machines import Machine
from probe.questions.answers import other_lengths, programs
from probe.questions.states import quantised_states, reduced_models
from probe.studies.answer import judged
from probe.subjects.subject import Subject

FIVE = 5
REFERENCE = 6


def wins(sequence: tuple) -> float:
    """Return how often feature 0 was the larger."""
    return sum(step[0] > step[1] for step in sequence)


def last(sequence: tuple) -> float:
    """Return whether the last step was a win."""
    return float(sequence[-1][0] > sequence[-1][1])


class Known(nn.Module):
    """Answers how often feature 0 was the larger, plus so much for each step that is missing, or at a length.

    With `of` it answers something else.
    """

    def __init__(self, drift: float = 0.0, off: dict[int, float] | None = None, of: Any = None):
        super().__init__()
        self.drift, self.off, self.of = drift, off or {}, of

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer itself, (batch,)."""
        won, length = x[:, :, 0] > x[:, :, 1], x.shape[1]
        counted = self.of(won) if self.of else won.sum(1).double()
        return counted + self.drift * (REFERENCE - length) + self.off.get(length, 0.0)


class Number(nn.Module):
    """A GRU over two features whose last hidden state is read by a linear head as one number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rnn, self.head = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch,)."""
        return self.head(self.rnn(x)[0][:, -1])[:, 0] * 3


RIVALS: dict[str, Any] = {
    "wins": wins,
    "last": last,
    "losses backwards": lambda sequence: wins(sequence) + REFERENCE - len(sequence),
    "drift": ProgramThatDrifts(wins, REFERENCE, (5, 6)),
}
READ: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}
X, SHORT = every_sequence(REFERENCE), every_sequence(FIVE).double()


def asked(*models: nn.Module, x: Tensor = X, role: str = "trained", **more: Any) -> list[Subject]:
    """Return networks that answer the number that they output."""
    networks = [Network(f"net-{number}", role, model, number) for number, model in enumerate(models)]
    return subjects(networks, x, won, **(READ | more))


def measure(*models: nn.Module, rivals: Any = RIVALS, allowed: Any = None, **options: Any) -> pd.DataFrame:
    """Compare models with rivals at five lengths."""
    return programs.measure(asked(*models, allowed=allowed), rivals, lengths=(4, 5, 6, 7, 8), **options)


def test_each_network_agrees_with_its_own_program_at_every_length() -> None:
    """At the reference the three are one program; elsewhere only the right one is met."""
    table = measure(Known(0.0), Known(1.0), Known(0.4))
    for name, unseen in {"wins": [1, 0, 2 / 4], "losses backwards": [0, 1, 0], "drift": [1, 1, 1]}.items():
        assert values(table, "agreement", kind=name, at=REFERENCE) == [1, 1, 1]
        assert values(table, "unseen_agreement", kind=name) == pytest.approx(unseen)
    assert values(table, "drift", kind="drift") == pytest.approx([0, 1, 0.4])
    assert values(table, "distance", kind="wins", at=8) == pytest.approx([0, 2, 0.8])
    assert values(table, "distance", kind="drift", at=8) == pytest.approx([0, 0, 0], abs=1e-12)


def test_lengths_that_a_program_was_fitted_on_or_trained_at_are_no_test() -> None:
    """Being wrong at 5 and 6 alone is not counted against a program that was fitted there."""
    odd = Known(off={5: 4.0, 6: 4.0})
    table = measure(odd, rivals={name: RIVALS[name] for name in ("wins", "drift")})
    assert by("kind", table, "unseen_agreement") == pytest.approx({"wins": 3 / 4, "drift": 0})
    table = measure(odd, rivals={"drift": ProgramThatDrifts(wins, REFERENCE, (4, 6))})
    assert values(table, "unseen_agreement") == pytest.approx([2 / 3])


def test_a_gru_is_scored_by_its_own_answers() -> None:
    """The shares are counted from the bare model; few draws leave an interval, where all are asked there is none."""
    model = Number()
    table, x = measure(model, most=40), every_sequence(4).double()
    with torch.no_grad():
        given = model.double()(x).round()
    for name, truth in (("wins", (x[:, :, 0] > x[:, :, 1]).sum(1)), ("last", x[:, -1, 0])):
        assert value(table, "agreement", kind=name, at=4) == (given == truth).double().mean().item()
    assert 0 < value(table, "agreement", kind="wins", at=4) < 1
    assert rows(table, "agreement", kind="wins", at=5)["low"].isna().all()
    (drawn,) = rows(table, "agreement", kind="wins", at=8).to_dict("records")
    assert drawn["low"] < drawn["value"] < drawn["high"]


def test_the_programs_of_a_study_are_compared_on_its_own_sequences() -> None:
    """All sequences of a length need no interval; of some the share has one. A program may be right or not.

    One that says nothing of other lengths is asked on the study's own alone, and the answer names it.
    """
    given = {"wins": wins, "last": last}
    (every,), (some,) = asked(Known(), programs=given), asked(Known(), x=X[:40], programs=given)
    table = programs.measure_own([every])
    for metric in ("agreement", "right"):
        assert by("kind", table, metric) == {"wins": 1, "last": 2 / 64}
    assert table["low"].isna().all()
    (own,) = rows(programs.measure_own([some]), "agreement", kind="wins").to_dict("records")
    assert 0.9 < own["low"] < own["high"] == 1
    (none,) = asked(Known())
    assert (
        programs.question(none).why_not(none)
        == 'the study names no rival program. Name one: programs={"name": function}'
    )
    known = {tuple(map(tuple, row)): 1 for row in X.int().tolist()}
    (fixed,) = asked(Known(), programs={"a table": lambda sequence: known[sequence]})
    said = answer(programs.question(fixed), [fixed]).notes["answer"]
    assert "Other lengths were not asked: The program 'a table' raised" in said
    assert values(programs.question(every).ask([every]), "unseen_agreement", kind="wins") == [1]


def test_the_drift_of_a_known_program_comes_back() -> None:
    """All these programs give the same answers at the reference length, and drift apart at others."""
    drifts = [0.0, 0.25, 0.5, 0.8, 1.0, -0.5]
    table = other_lengths.measure(asked(*(Known(drift) for drift in drifts)))
    assert values(table, "drift") == pytest.approx(drifts)
    assert values(table, "absolute_drift") == pytest.approx(np.abs(drifts))
    assert values(table, "mean_excess", at=REFERENCE) == [0] * 6
    assert values(table, "mean_excess", at=4) == pytest.approx([2 * drift for drift in drifts])
    near = {"0": [1, 0, 0, 0, 0, 0], "0.5": [0, 0, 1, 0, 0, 0], "1": [0, 0, 0, 0, 1, 0], "none": [0, 1, 0, 1, 0, 1]}
    assert {name: values(table, f"near_{name}") for name in near} == near
    # The law with the fitted drift is exact; with a fixed one only where that is the drift: at length 8 the
    # prediction is off by 2 (0.8 - d), and the count's variance is 8 / 4.
    assert values(table, "law_r_squared") == pytest.approx([1] * 6)
    fixed = by("at", table, "fixed_law_r_squared", network="net-3")
    assert fixed == pytest.approx({d: 1 - (2 * (0.8 - d)) ** 2 / 2 for d in (0, 0.5, 1)})


def test_what_is_no_concept_is_not_explained_by_it() -> None:
    """Knowing the count tells little of the first step, r^2 = 1 / length; a constant drifts and explains nothing.

    A study is asked at four lengths below its own and four above.
    """
    first, three = Known(of=lambda won: won[:, 0].double()), Known(of=lambda won: torch.full((len(won),), 3.0))
    table = other_lengths.measure(asked(Known(0.3), first, three))
    assert values(table, "least_explained") == pytest.approx([1, 1 / 8, 0])
    assert values(table, "explained_by_concept", at=4)[:2] == pytest.approx([1, 1 / 4])
    assert values(table, "drift")[2] == pytest.approx(0.5)
    (subject,) = asked(Known())
    question = other_lengths.question(subject)
    assert question.why_not(subject) is None
    table = question.ask([subject])
    assert rows(table, "mean_excess")["at"].tolist() == list(range(2, 11))
    assert [claim.value for claim in judged(table, question.rules)] == [0, 1]


def test_a_tally_keeps_everything_on_its_class_means_and_a_gru_what_the_library_runs() -> None:
    """It has 21 states by step and 6 over all steps, is right on both, and is on the right one after each step."""
    tally, model = Network("tally", "planted", Tally()), Reader("gru", 4)
    table, machine = quantised_states.measure(subjects([tally])), machine_of(model)
    followed = quantised_states.measure(subjects([Network("net", "trained", model)]))
    own = (machine.clean.answers.chosen == WINS[:, -1]).double().mean().item()
    assert 0 < own < 1 == value(table, "own_accuracy")
    for name, size in (("by_step", 21), ("over_steps", 6)):
        assert value(table, "states", kind=name) == size
        assert value(table, "quantised_accuracy", kind=name) == value(table, "answers_kept", kind=name) == 1
        assert value(table, f"accuracy_kept_{name}") == 1
        assert by("step", table, "right_class", kind=name) == dict.fromkeys(range(FIVE), 1)
        run = quantised_run(machine, class_means(machine, WINS, by_step=name == "by_step"))
        found = (run.answers.chosen == WINS[:, -1]).double().mean().item()
        assert value(followed, "quantised_accuracy", kind=name) == found
        assert value(followed, f"accuracy_kept_{name}") == pytest.approx(found / own)
    # One that is never right keeps nothing that could be counted: a share of nothing is no number.
    off = quantised_states.measure(subjects([tally], answer=lambda scores: scores.argmax(1) + 9))
    assert value(off, "own_accuracy") == 0
    assert not off["metric"].str.startswith("accuracy_kept").any()


class Drifting(nn.Module):
    """A plain RNN that adds 1 - d for a win and - d for a loss to what stands for d R, nearly without curving."""

    def __init__(self, drift: float):
        super().__init__()
        self.drift, self.rnn = drift, nn.RNN(2, 1, batch_first=True).double()
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0").fill_(1)
            self.rnn.get_parameter("weight_ih_l0").copy_(torch.tensor([[1 - drift, -drift]]) * 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Return wins + d (R - length), (batch,)."""
        return self.rnn(x)[0][:, -1, 0] * 1e5 + self.drift * FIVE


def test_a_network_that_drifts_is_its_own_law_and_recurrence() -> None:
    """d comes back; both predict length 7, where nothing was fitted; the named programs miss by what they must."""
    drifts = [0.0, 0.3, 1.0]
    every = reduced_models.measure(asked(*(Drifting(drift) for drift in drifts), x=SHORT))
    table = every[every["role"] == "trained"]
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
    assert rows(table, "agreement", network="net-0")["at"].tolist() == [3, 4, 5, 6, 7, 8, 9] * 2
    # The null of a trained network is the best named program: a row of the same metric and pair; others have none.
    assert by("pair", every, "law_r_squared", role="null") == pytest.approx({"0": 1, "1": near, "2": 1})
    assert "null" not in set(reduced_models.measure(asked(Drifting(0.3), x=SHORT, role="planted"))["role"])
    (subject,) = asked(Drifting(0.3), x=SHORT)
    question = reduced_models.question(subject)
    assert question.why_not(subject) is None
    (claim,) = judged(question.ask([subject]), question.rules)
    assert (claim.value, claim.differences[0].control) == pytest.approx((1, near))


def test_a_gru_is_followed_as_the_library_fits_it() -> None:
    """The numbers are those of `fit_affine` on the longest fitted length, against the bare model's answers."""
    model, x = Number().double(), every_sequence(7).double()
    table = reduced_models.measure(asked(model, x=SHORT))
    fitted = fit_affine(Machine.of(model, SHORT, **READ), range(1, 6))
    with torch.no_grad():
        y, predicted = model(x).numpy(), fitted.predict(x)
    assert value(table, "affine_error") == fitted.error
    assert value(table, "affine_r_squared") == pytest.approx(1 - ((y - predicted) ** 2).mean() / y.var())
    assert value(table, "agreement", kind="affine", at=7) == (np.abs(np.round(y) - predicted) <= 0.5).mean()
