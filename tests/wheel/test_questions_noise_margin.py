"""How much noise answers survive, by dose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import LEAD, WINS, Reader, Tally, X, answer, machine_of, subjects
from torch import nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.methods.decomposition.noise import noisy_accuracy
from probe.plots.style import style
from probe.questions.states import noise_margin


def measured(model: nn.Module, concept: torch.Tensor = WINS, **options: Any) -> pd.DataFrame:
    """Return the table of one network."""
    return noise_margin.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **options)


def test_the_judged_dose_is_one_value_and_stands_in_the_curve() -> None:
    """A tally without noise is always right, and less the more there is."""
    table = measured(Tally(), doses=(0.01, 1.0), dose=0.3)
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
    table = measured(model, concept, dose=0.0, doses=(0.5,), draws=1, curve_draws=20)
    assert table["value"].tolist()[:2] == [1, 1]
    assert 0.3 < table["value"].tolist()[2] < 1


def test_draws_and_seed_are_used() -> None:
    """The same seed gives the same numbers; other seeds and other numbers of draws others."""
    first = measured(Tally(), dose=0.3, doses=())
    assert measured(Tally(), dose=0.3, doses=())["value"].tolist() == first["value"].tolist()
    assert measured(Tally(), dose=0.3, doses=(), seed=1)["value"].tolist() != first["value"].tolist()
    assert measured(Tally(), dose=0.3, doses=(), draws=5)["value"].tolist() != first["value"].tolist()
    one, many = (measured(Tally(), doses=(0.3,), draws=1, curve_draws=n)["value"].iloc[-1] for n in (1, 9))
    assert one != many


def test_a_dose_or_concept_that_does_not_fit_is_refused() -> None:
    """A negative dose and a concept of other steps."""
    with pytest.raises(ProbeError, match="doses must be 0 or more"):
        measured(Tally(), dose=-0.1)
    with pytest.raises(ProbeError, match="one value for each sequence and step"):
        measured(Tally(), WINS[:, :2])


def test_the_figure_shows_every_curve_and_the_median() -> None:
    """The thick line is the median over networks, on a logarithmic axis with the judged dose marked."""
    networks = [Network(f"n{gain}", "trained", Tally(gain=gain), seed) for seed, gain in enumerate((0.05, 0.1, 0.3))]
    table = noise_margin.measure(subjects(networks), doses=(0.01, 0.1, 1.0), dose=0.3, draws=4)
    with style():
        ax = noise_margin.draw(table, dose=0.3)
    line = next(line for line in ax.lines if line.get_label() == "trained")
    curve = table[table["metric"] == "accuracy_by_dose"]
    medians = curve.groupby("at")["value"].median()
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(medians.tolist())
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert any(np.asarray(line.get_xdata()).tolist() == [0.3, 0.3] for line in ax.lines)
