"""Are answers right, what does one more input do to them, and how much noise do they survive?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import LENGTH, WINS, Reader, Tally, X, machine_of, subjects, won
from tables_read import by, rows, value, values
from torch import Tensor, nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.methods.decomposition.noise import noisy_accuracy
from probe.questions.answers import answers, bit_effects
from probe.questions.states import noise_margin
from probe.studies.answer import judged
from probe.studies.prepare import prepare
from probe.subjects.answers import answers_to
from probe.subjects.subject import Subject


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


def always(given: Tensor) -> dict[str, Any]:
    """Return what reads the same answers off any output."""
    return {"answer": lambda _: given, "expected": lambda _: given.double()}


def test_errors_are_those_of_groups_and_labels() -> None:
    """Each network is scored on rows that its own groups name; what nobody could have learned is the floor."""
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 2, 3])
    groups = {
        "right": {"train": [1, 2, 3], "test": [0, 4, 5, 7]},  # never trained on the labels 0 and 3
        "twos": {"train": [0, 1], "test": [2, 3, 4, 5, 6, 7]},
    }
    given = {"right": labels, "twos": torch.full((8,), 2)}
    asked = [
        Subject.of(Network(name, "trained", Reader()), X[:8], labels[:, None].expand(8, LENGTH), **always(answers))
        for name, answers in given.items()
    ]
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


def noisy(**options: Any) -> pd.DataFrame:
    """Return what noise does to a tally."""
    return noise_margin.measure(subjects([Network("it", "trained", Tally(), 0)]), **options)


def test_a_tally_adds_one_on_a_win_and_nothing_on_a_loss() -> None:
    """The same in every context and at every step but the first, before which there is no answer."""
    (subject,) = subjects([Network("tally", "trained", Tally(idle=1), 0)])
    question = bit_effects.question(subject)
    assert question.why_not(subject) is None
    table = question.ask([subject])
    assert by("at", table, "effect") == pytest.approx({0: 0, 1: 1}, abs=1e-9)
    assert by("step", table, "effect_at_step", at=1) == pytest.approx(dict.fromkeys((1, 2, 3, 4), 1))
    (claim,) = judged(table, question.rules)
    assert claim.value == value(table, "largest_effect_sd") == pytest.approx(0, abs=1e-9)
    # Of longer sequences the last five steps are looked at, where the concept has many values.
    x = torch.cat([X, X[:, :3]], 1)
    late = bit_effects.measure(subjects([Network("it", "trained", Reader())], x, (x[:, :, 0] == 1).cumsum(1)))
    assert sorted(late["step"].dropna().unique()) == [3, 4, 5, 6, 7]
    spread = values(late, "effect_sd")
    assert value(late, "largest_effect_sd") == max(spread) > min(spread)


def test_the_judged_dose_is_one_value_and_stands_in_the_curve() -> None:
    """A tally without noise is always right, and less the more there is; other draws give another number."""
    table = noisy(doses=(0.01, 1.0), dose=0.3)
    curve = by("at", table, "accuracy_by_dose")
    assert list(curve) == [0.01, 0.3, 1]
    assert curve[0.01] == 1 > curve[0.3] > curve[1] > 0
    judged = value(table, "noisy_accuracy")
    assert judged == curve[0.3] == noisy_accuracy(machine_of(Tally()), WINS[:, -1], {0.3: 32})[0.3]
    again, fewer = noisy(dose=0.3, doses=()), noisy(dose=0.3, doses=(), draws=5)
    assert value(again, "noisy_accuracy") == judged != value(fewer, "noisy_accuracy")
