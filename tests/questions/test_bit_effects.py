"""Questions about one more input, and about noise.

- What one more input does to the answer, context by context.
- How much noise answers survive, by dose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import LEAD, WINS, Reader, Tally, X, answer, expected, machine_of, subjects
from refusing import refused
from torch import nn

from probe.evidence.measurements import Network
from probe.methods.decomposition.noise import noisy_accuracy
from probe.plots.style import style
from probe.questions.answers import bit_effects
from probe.questions.states import noise_margin
from probe.studies.answer import judged


def measured(model: nn.Module, concept: torch.Tensor = WINS, **options: Any) -> pd.DataFrame:
    """Return the table of one network."""
    return bit_effects.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **options)


def test_a_tally_adds_one_on_a_win_and_nothing_on_a_loss() -> None:
    """The same in every context and at every step but the first, before which there is no answer."""
    table = measured(Tally(idle=1))
    effects = table[table["metric"] == "effect"].set_index("at")["value"]
    assert effects.to_dict() == pytest.approx({0: 0, 1: 1}, abs=1e-9)
    assert table[table["metric"] == "largest_effect_sd"]["value"].item() == pytest.approx(0, abs=1e-9)
    by_step = table[(table["metric"] == "effect_at_step") & (table["at"] == 1)]
    assert (by_step["step"].tolist(), by_step["value"].tolist()) == ([1, 2, 3, 4], pytest.approx([1] * 4))


@torch.no_grad()
def test_a_gru_with_another_concept_changes_as_the_model_on_shorter_sequences() -> None:
    """Read off the model run on each prefix; every step has the same weight, whatever its number of prefixes."""
    model = Reader("gru", 4)
    table = measured(model, LEAD, steps=[2, 3])
    answers = {t: expected(model.double()(X[:, :t].double())) for t in (2, 3, 4)}
    # All 32 rows repeat each prefix equally often, which gives every step the same weight.
    change = {step: (answers[step + 1] - answers[step]).numpy() for step in (2, 3)}
    won = {step: (X[:, step, 0] == 1).numpy() for step in (2, 3)}
    for amount, sign in ((1, True), (-1, False)):
        parts = [change[step][won[step] == sign] for step in (2, 3)]
        both = np.concatenate(parts)
        rows = table[table["at"] == amount].set_index(["metric", "step"])["value"]
        pooled = table[(table["at"] == amount) & table["step"].isna()].set_index("metric")["value"]
        assert pooled["effect"] == pytest.approx(both.mean(), abs=1e-12)
        assert pooled["effect_sd"] == pytest.approx(both.std(), abs=1e-12)
        assert rows["effect_at_step", 2] == pytest.approx(parts[0].mean(), abs=1e-12)
        assert rows["effect_sd_at_step", 3] == pytest.approx(parts[1].std(), abs=1e-12)
    spread = table[table["metric"] == "effect_sd"]["value"]
    assert table[table["metric"] == "largest_effect_sd"]["value"].item() == spread.max() > spread.min()


def test_the_last_five_steps_are_looked_at() -> None:
    """Longer sequences are looked at late, where the concept has many values."""
    x = torch.cat([X, X[:, :3]], 1)
    won = (x[:, :, 0] == 1).long().cumsum(1)
    table = bit_effects.measure(subjects([Network("it", "trained", Reader("gru"))], x, won))
    assert sorted(table["step"].dropna().unique()) == [3, 4, 5, 6, 7]


def test_what_cannot_be_compared_is_refused() -> None:
    """The first step, a step beyond the input, and a concept that grows otherwise in every context."""
    with refused():
        measured(Tally(), steps=[0, 1])
    with refused():
        measured(Tally(), steps=[5])
    drawn = torch.as_tensor(np.random.default_rng(0).normal(size=(32, 5)))
    with refused():
        measured(Tally(), drawn)


def test_the_figure_shows_means_and_one_sd() -> None:
    """The markers are the medians of the table, filled for the larger amount, and bars stand on them."""
    networks = [Network("it", "trained", Reader("gru"), 1), Network("tally", "planted", Tally())]
    table = bit_effects.measure(subjects(networks))
    with style():
        ax = bit_effects.draw(table)
    drawn = [line for line in ax.lines if line.get_marker() == "o"]
    wanted = table[(table["role"] == "trained") & (table["metric"] == "effect_at_step")]
    assert [line.get_fillstyle() for line in drawn] == ["none", "full"]
    # A table counts steps from 0, and a figure from 1.
    counted = sorted({int(step) + 1 for step in wanted["step"]})
    assert [int(label.get_text()) for label in ax.get_xticklabels()] == counted
    for line, amount in zip(drawn, (0, 1), strict=True):
        own = wanted[wanted["at"] == amount]["value"].tolist()
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx(own)


def test_a_study_of_whole_numbers_is_asked() -> None:
    """A tally does the same wherever a win comes."""
    (subject,) = subjects([Network("tally", "trained", Tally(), 0)])
    question = bit_effects.question(subject)
    assert question.why_not(subject) is None
    (claim,) = judged(question.ask([subject]), question.rules)
    assert claim.value == pytest.approx(0, abs=1e-9)


def noisy(model: nn.Module, concept: torch.Tensor = WINS, **options: Any) -> pd.DataFrame:
    """Return the table of one network."""
    return noise_margin.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **options)


def test_the_judged_dose_is_one_value_and_stands_in_the_curve() -> None:
    """A tally without noise is always right, and less the more there is."""
    table = noisy(Tally(), doses=(0.01, 1.0), dose=0.3)
    curve = table[table["metric"] == "accuracy_by_dose"]
    assert curve["at"].tolist() == [0.01, 0.3, 1]
    values = curve["value"].tolist()
    assert values[0] == 1 > values[1] > values[2] > 0
    judged = table[table["metric"] == "noisy_accuracy"]["value"].item()
    assert judged == values[1]
    assert judged == noisy_accuracy(machine_of(Tally()), WINS[:, -1], {0.3: 32})[0.3]


def test_a_gru_with_another_concept_is_held_against_its_last_value() -> None:
    """A random GRU answers classes; where they are taken as the concept, no noise leaves all of them right."""
    model = Reader("gru", 4)
    with torch.no_grad():
        own = answer(model.double()(X.double()))
    concept = torch.cat([LEAD[:, :-1], own[:, None]], 1)
    table = noisy(model, concept, dose=0.0, doses=(0.5,), draws=1)
    assert table["value"].tolist()[:2] == [1, 1]
    assert 0.3 < table["value"].tolist()[2] < 1


def test_draws_are_used() -> None:
    """The same number of draws gives the same numbers, and another one others."""
    first = noisy(Tally(), dose=0.3, doses=())
    assert noisy(Tally(), dose=0.3, doses=())["value"].tolist() == first["value"].tolist()
    assert noisy(Tally(), dose=0.3, doses=(), draws=5)["value"].tolist() != first["value"].tolist()


def test_a_dose_or_concept_that_does_not_fit_is_refused() -> None:
    """A negative dose and a concept of other steps."""
    with refused():
        noisy(Tally(), dose=-0.1)
    with refused():
        noisy(Tally(), WINS[:, :2])


def test_the_figure_shows_every_curve_and_the_median() -> None:
    """The thick line is the median over networks, on a logarithmic axis with the judged dose marked."""
    networks = [Network(f"n{gain}", "trained", Tally(gain=gain), seed) for seed, gain in enumerate((0.05, 0.1, 0.3))]
    table = noise_margin.measure(subjects(networks), doses=(0.01, 0.3, 1.0), dose=0.1, draws=4)
    with style():
        ax = noise_margin.draw(table)
    line = next(line for line in ax.lines if line.get_label() == "trained")
    curve = table[table["metric"] == "accuracy_by_dose"]
    medians = curve.groupby("at")["value"].median()
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(medians.tolist())
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert any(np.asarray(line.get_xdata()).tolist() == [0.1, 0.1] for line in ax.lines)
