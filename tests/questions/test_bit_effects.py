"""What one more input does to the answer, context by context; and how much noise answers survive, by dose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import LEAD, WINS, Reader, Tally, X, answer, expected, machine_of, subjects
from tables_read import by, value, values
from torch import nn

from probe.evidence.measurements import Network
from probe.methods.decomposition.noise import noisy_accuracy
from probe.questions.answers import bit_effects
from probe.questions.states import noise_margin
from probe.studies.answer import judged


def measured(model: nn.Module, concept: torch.Tensor = WINS, of: Any = bit_effects, **options: Any) -> pd.DataFrame:
    """Return the table of one network."""
    return of.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **options)


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


@torch.no_grad()
def test_a_gru_with_another_concept_changes_as_the_model_on_shorter_sequences() -> None:
    """Read off the model run on each prefix; every step has the same weight, whatever its number of prefixes."""
    model = Reader("gru", 4)
    table = measured(model, LEAD, steps=[2, 3])
    answers = {t: expected(model.double()(X[:, :t].double())) for t in (2, 3, 4)}
    # All 32 rows repeat each prefix equally often, which gives every step the same weight.
    for amount in (1, -1):
        parts = [(answers[step + 1] - answers[step])[X[:, step, 0] == (amount > 0)].numpy() for step in (2, 3)]
        both = np.concatenate(parts)
        assert value(table, "effect", at=amount) == pytest.approx(both.mean(), abs=1e-12)
        assert value(table, "effect_sd", at=amount) == pytest.approx(both.std(), abs=1e-12)
        assert value(table, "effect_at_step", at=amount, step=2) == pytest.approx(parts[0].mean(), abs=1e-12)
        assert value(table, "effect_sd_at_step", at=amount, step=3) == pytest.approx(parts[1].std(), abs=1e-12)
    spread = values(table, "effect_sd")
    assert value(table, "largest_effect_sd") == max(spread) > min(spread)
    # Of longer sequences the last five steps are looked at, where the concept has many values.
    x = torch.cat([X, X[:, :3]], 1)
    late = bit_effects.measure(subjects([Network("it", "trained", model)], x, (x[:, :, 0] == 1).cumsum(1)))
    assert sorted(late["step"].dropna().unique()) == [3, 4, 5, 6, 7]


def test_the_judged_dose_is_one_value_and_stands_in_the_curve() -> None:
    """A tally without noise is always right, and less the more there is; other draws give another number."""
    table = measured(Tally(), of=noise_margin, doses=(0.01, 1.0), dose=0.3)
    curve = by("at", table, "accuracy_by_dose")
    assert list(curve) == [0.01, 0.3, 1]
    assert curve[0.01] == 1 > curve[0.3] > curve[1] > 0
    judged = value(table, "noisy_accuracy")
    assert judged == curve[0.3] == noisy_accuracy(machine_of(Tally()), WINS[:, -1], {0.3: 32})[0.3]
    again, fewer = (measured(Tally(), of=noise_margin, dose=0.3, doses=(), **more) for more in ({}, {"draws": 5}))
    assert value(again, "noisy_accuracy") == judged != value(fewer, "noisy_accuracy")


def test_a_gru_with_another_concept_is_held_against_its_last_value() -> None:
    """A random GRU answers classes; where they are taken as the concept, no noise leaves all of them right."""
    model = Reader("gru", 4)
    with torch.no_grad():
        own = answer(model.double()(X.double()))
    concept = torch.cat([LEAD[:, :-1], own[:, None]], 1)
    table = measured(model, concept, of=noise_margin, dose=0.0, doses=(0.5,), draws=1)
    assert table["value"].tolist()[:2] == [1, 1]
    assert 0.3 < table["value"].tolist()[2] < 1
