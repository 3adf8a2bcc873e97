"""The plot of all units against a concept: means of states, in an order in which units that go alike are together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recorded import FIXED, KINDS, MOVING, recorded, recording_of

import probe

plots: Any = probe.plots


def cells(ax: Any) -> tuple[np.ndarray, list[str]]:
    """Return the numbers of the map, (unit, value), and the units beside its rows."""
    return np.asarray(ax.collections[0].get_array()), [one.get_text() for one in ax.get_yticklabels()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_the_means_of_a_unit_at_each_value(kind: str) -> None:
    """Of the states that are no padding; in standard deviations of the unit, or as they are; with their share."""
    own = recorded(kind)
    states, values = own.values[own.real], MOVING[own.real]
    means = np.array([states[values == value].mean(axis=0) for value in range(3)]).T
    z = (means - states.mean(axis=0)[:, None]) / states.std(axis=0)[:, None]
    ax = own.recording.plot.tuning(MOVING, layer=own.layer, units=None, name="rest")
    shown, beside = cells(ax)
    table = plots.table(ax)
    names = list(map(str, dict.fromkeys(table["unit"])))
    assert shown == pytest.approx(z[[names.index(unit) for unit in beside]])
    assert table["mean"].to_numpy() == pytest.approx(means.ravel())
    assert table["n"].sum() == len(names) * len(values)
    share = 1 - np.array([states[values == value].var(axis=0) * (values == value).mean() for value in range(3)]).sum(
        0
    )
    explained = 1 - (1 - share) / states.var(axis=0)
    assert table.groupby("unit", sort=False)["share"].first().to_numpy() == pytest.approx(explained)
    plain = own.recording.plot.tuning(MOVING, layer=own.layer, units=own.second, z_score=False)
    assert cells(plain)[0] == pytest.approx(means[[1]])
    assert (ax.get_xlabel(), [one.get_text() for one in ax.get_xticklabels()]) == ("rest", ["0", "1", "2"])


def test_units_that_go_alike_stand_side_by_side() -> None:
    """All that rise with the concept on one side of all that fall, of 512 units as of twelve; named ones stay."""
    rng, count = np.random.default_rng(0), np.arange(9) * np.ones((4, 1))
    for units in (12, 512):
        rises = rng.random(units) < 0.5
        states = np.where(rises, 1.0, -1.0) * count[..., None] + 0.1 * rng.normal(size=(4, 9, units))
        ax: Any = plots.tuning(recording_of(states), count)
        order = np.asarray(ax.collections[0].get_array())[:, 0] < 0
        assert np.count_nonzero(np.diff(order)) == 1
        assert order.sum() == rises.sum()
        assert (ax.figure.get_size_inches() <= (7, 9)).all()
    ax = plots.tuning(recording_of(states), count, units=[7, 3, 500])
    assert cells(ax)[1] == ["7", "3", "500"]


def test_names_are_columns_and_what_does_not_move_is_white() -> None:
    """In alphabetical order; a unit that is constant, and a concept with one value, are 0 everywhere."""
    own = recorded("lstm")
    ax = own.recording.plot.tuning(FIXED)
    assert [one.get_text() for one in ax.get_xticklabels()] == ["high", "low"]
    still = np.random.default_rng(0).normal(size=(4, 5, 3))
    still[:, :, 1] = 0.1
    ax = plots.tuning(recording_of(still), np.arange(4), units=range(3))
    assert not cells(ax)[0][1].any()
    assert not cells(plots.tuning(recording_of(still), np.ones(4)))[0].round(12).any()
