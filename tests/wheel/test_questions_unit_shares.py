"""How many units carry a concept: one, two that share alike, or those of a GRU that never counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from counters_by_hand import Balance
from known_machines import LEAD, WINS, Reader, Tally, X, machine_of, subjects
from torch import nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.methods.decomposition.contexts import changed_at
from probe.methods.decomposition.shapley import pooled_shares
from probe.methods.decomposition.units import unit_table
from probe.plots.style import style
from probe.questions.interventions import unit_shares


def measured(model: nn.Module, concept: torch.Tensor = WINS, **options: object) -> pd.DataFrame:
    """Return the table of one network, at step 3 unless said otherwise."""
    chosen: dict[str, object] = {"step": 3} | options
    return unit_shares.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **chosen)  # pyright: ignore[reportArgumentType]


def value(table: pd.DataFrame, metric: str) -> float:
    """Return the one value of a metric."""
    return table[table["metric"] == metric]["value"].item()


def test_a_tally_is_carried_by_its_unit_alone() -> None:
    """Beside two idle units the first has share 1, nobody works against it, and one unit takes part."""
    table = measured(Tally(idle=2))
    assert table[table["metric"] == "unit_share"]["value"].tolist() == pytest.approx([1, 0, 0], abs=1e-12)
    best = table[table["metric"] == "largest_unit_share"]
    assert (best["units"].item(), best["value"].item()) == ("0", pytest.approx(1))
    assert value(table, "negative_unit_shares") == pytest.approx(0, abs=1e-12)
    assert value(table, "unit_participation") == pytest.approx(1)
    correlated = table[table["metric"] == "correlated_unit_share"]
    assert (correlated["units"].item(), correlated["value"].item()) == ("0", pytest.approx(1))
    assert value(table, "whole_difference") == pytest.approx(1)
    assert set(table["step"]) == {3}


def test_a_balance_is_carried_by_two_alike() -> None:
    """Wins in one unit, losses in the other: shares one half each by symmetry, two units take part."""
    table = measured(Balance())
    assert table[table["metric"] == "unit_share"]["value"].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    assert value(table, "unit_participation") == pytest.approx(2, abs=1e-5)


def test_a_gru_with_another_concept_shares_what_its_tables_say() -> None:
    """Wins minus losses on a random GRU: shares sum to 1, and are those of all pairs that differ two steps before."""
    model = Reader("gru", 4)
    table = measured(model, LEAD)
    shares = table[table["metric"] == "unit_share"]["value"].to_numpy()
    wanted = pooled_shares(*unit_table(machine_of(model), changed_at(X, LEAD, 1, 3), 3))
    assert shares == pytest.approx(wanted.values, abs=1e-12)
    assert shares.sum() == pytest.approx(1)
    assert value(table, "largest_unit_share") == shares.max()
    assert value(table, "negative_unit_shares") == pytest.approx(-shares[shares < 0].sum())
    assert value(table, "unit_participation") == pytest.approx(1 / (shares**2).sum())


def test_the_correlated_unit_is_that_of_single_units() -> None:
    """The unit of claim 1a: the largest absolute correlation within steps."""
    from probe.questions.states import single_units

    network = subjects([Network("it", "trained", Reader("lstm", 4))], concept=LEAD)
    found = single_units.measure(network)
    best = found[found["metric"] == "largest_correlation"]["units"].item()
    table = unit_shares.measure(network, step=3)
    own = table[table["metric"] == "correlated_unit_share"]
    assert own["units"].item() == best
    shares = table[table["metric"] == "unit_share"].set_index("units")["value"]
    assert own["value"].item() == shares[best]


def test_options_choose_pairs_steps_and_groups() -> None:
    """Another changed step and other pairs give other shares; groups are named by their units."""
    model = Reader("gru", 4)
    first = measured(model)
    assert value(measured(model, changed=1), "whole_difference") == value(first, "whole_difference")
    assert value(measured(model, changed=0), "whole_difference") != value(first, "whole_difference")
    base, source = changed_at(X, WINS, 1, 3)
    swapped = measured(model, pairs=(source, base))
    assert value(swapped, "whole_difference") == pytest.approx(-value(first, "whole_difference"))
    grouped = measured(model, groups=[[0, 2], [1], [3]])
    assert grouped[grouped["metric"] == "unit_share"]["units"].tolist() == ["0 2", "1", "3"]
    assert "correlated_unit_share" not in set(grouped["metric"])


def test_what_cannot_be_shared_is_refused() -> None:
    """No step, no pair, a concept that does not fit."""
    with pytest.raises(ProbeError, match="step=6 lies outside"):
        measured(Tally(), step=6)
    with pytest.raises(ProbeError, match="differ in input 1 of 5 alone"):
        measured(Tally(), torch.zeros_like(WINS), changed=0)
    with pytest.raises(ProbeError, match="one value for each sequence and step"):
        measured(Tally(), WINS[:, :3])


def test_the_figure_ranks_the_shares() -> None:
    """The thick line of a role is the median of ranked shares; the bound is drawn."""
    networks = [Network(f"n{seed}", "trained", Reader("gru", 3, seed), seed) for seed in (1, 2, 3)]
    networks.append(Network("tally", "planted", Tally(idle=1)))
    table = unit_shares.measure(subjects(networks), step=3)
    with style():
        ax = unit_shares.draw(table, threshold=0.5)
    lines = {str(line.get_label()): line for line in ax.lines}
    shares = table[(table["metric"] == "unit_share") & (table["role"] == "trained")]
    ranked = [np.sort(one["value"])[::-1] for _, one in shares.groupby("network")]
    assert np.asarray(lines["trained"].get_ydata()) == pytest.approx(np.median(ranked, axis=0))
    assert np.asarray(lines["planted"].get_ydata()) == pytest.approx([1, 0], abs=1e-9)
    assert any(np.asarray(line.get_ydata()).tolist() == [0.5, 0.5] for line in ax.lines)
