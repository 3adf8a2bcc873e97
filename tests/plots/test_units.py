"""Plots of units over steps and against a concept: the lines are the recorded values, of every kind of network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from recorded import FIXED, KINDS, MOVING, ROWS, TIME, recorded, recording_of
from torch import nn

import probe
from probe.plots import against, traces
from probe.plots.style import STEPS, VALUES, colours

MARK = "━"


def data(ax: Any) -> list[np.ndarray]:
    """Return the points of each line, (2, point)."""
    assert isinstance(ax, Axes)
    return [np.array([line.get_xdata(), line.get_ydata()], dtype=float) for line in ax.get_lines()]


@pytest.mark.parametrize("kind", KINDS)
def test_traces_are_means_over_the_sequences_that_have_the_value(kind: str) -> None:
    """A line a value, or one with the middle half around it; steps count from 1, and padding is none of them."""
    own = recorded(kind)
    ax: Any = own.recording.plot.traces(hue=MOVING, units=own.second, layer=own.layer, name="rest")
    assert len(data(ax)) == 3
    for value, (x, y) in enumerate(data(ax)):
        assert x.tolist() == list(range(1, TIME + 1))
        for step in range(TIME):
            here = own.values[(MOVING[:, step] == value) & own.real[:, step], step, 1]
            assert y[step] == pytest.approx(here.mean()) if here.size else np.isnan(y[step])
    assert [line.get_color() for line in ax.get_lines()] == colours(3, VALUES)
    assert sorted(one.get_text() for one in ax.texts) == sorted([*(MARK * 3), "0", "1", "2", "rest"])
    figure: Any = own.recording.plot.traces(layer=own.layer)
    panels = [ax for ax in figure.axes if ax.get_title("left")]
    assert len(panels) == own.values.shape[2]
    for unit, ax in enumerate(panels):
        (band,) = (one for one in ax.collections if isinstance(one, PolyCollection))
        corners = np.asarray(band.get_paths()[0].vertices)
        (line,) = data(ax)
        for step in range(TIME):
            here = own.values[own.real[:, step], step, unit]
            ends = corners[np.isclose(corners[:, 0], step + 1), 1]
            assert line[1, step] == pytest.approx(here.mean())
            assert (ends.min(), ends.max()) == pytest.approx(tuple(np.percentile(here, [25, 75])))


@pytest.mark.parametrize("kind", KINDS)
def test_against_a_concept_each_step_is_a_line_of_means(kind: str) -> None:
    """Over the values that sequences have at the step; padding belongs to none."""
    own = recorded(kind)
    ax: Any = own.recording.plot.against(MOVING, units=own.second, layer=own.layer, name="rest", noun="bit")
    assert len(data(ax)) == TIME
    for step, (x, y) in enumerate(data(ax)):
        there = [value for value in range(3) if ((MOVING[:, step] == value) & own.real[:, step]).any()]
        assert x.tolist() == there
        for value, height in zip(there, y, strict=True):
            here = own.values[(MOVING[:, step] == value) & own.real[:, step], step, 1]
            assert height == pytest.approx(here.mean())
    assert [line.get_color() for line in ax.get_lines()] == colours(TIME, STEPS)
    names = [one.get_text() for one in ax.texts if one.get_text() != MARK]
    title = "bit (read from the last\nto the first)" if kind == "bidirectional" else "bits read"
    assert sorted(names) == sorted([title, *(str(1 + step) for step in range(TIME))])
    assert ax.get_xlabel() == "rest"
    r = np.corrcoef(MOVING[own.real], own.values[own.real][:, 1])[0, 1]
    assert ax.get_title("left").endswith(f", r = {r:.2f}".replace("-", "\N{MINUS SIGN}"))


def test_other_groups_and_one_line() -> None:
    """Lines of another concept, of texts in alphabetical order, and all steps together; texts stand below."""
    own = recorded("packed")
    lines = data(against(own.recording, MOVING, hue=FIXED, units=0))
    for name, (x, y) in zip(("high", "low"), lines, strict=True):
        for value, height in zip(x, y, strict=True):
            here = own.values[(value == MOVING) & np.equal(FIXED, name)[:, None] & own.real, 0]
            assert height == pytest.approx(here.mean())
    ((x, y),) = data(against(own.recording, MOVING, hue=None, units=0))
    assert x.tolist() == [0, 1, 2]
    assert y == pytest.approx([own.values[(value == MOVING) & own.real, 0].mean() for value in range(3)])


def test_where_a_concept_is_not_defined_nothing_is_drawn() -> None:
    """NaN, None and an empty text are no values."""
    own = recorded("lstm")
    some = np.where(np.arange(TIME) < 2, np.nan, 1.0) * np.ones((ROWS, 1))
    ax = against(own.recording, some, units=0)
    assert len(data(ax)) == TIME - 2
    lines = data(traces(own.recording, hue=np.array([["", None, *"abcab"]] * ROWS, dtype=object), units=0))
    # Names have marks on their lines, and a name that occurs at one step has a mark alone.
    assert (len(lines), lines[4][0].tolist()) == (5, [5])


def test_of_many_units_those_are_drawn_that_matter() -> None:
    """Twelve: those that vary most, or follow the concept most, strongest first."""
    own = recorded("lstm")
    rng = np.random.default_rng(0)
    wide = own.recording["cell_state"].new_tensor(rng.normal(size=(ROWS, TIME, 20)) * np.arange(1, 21))
    wide[:, :, 4] = own.recording["cell_state"].new_tensor(-MOVING)
    own.recording.parts[0].signals["cell_state"] = wide  # pyright: ignore[reportIndexIssue]
    found: list[Any] = [against(own.recording, MOVING), traces(own.recording)]
    titles = [ax.get_title("left") for ax in found[0].axes if ax.get_title("left")]
    assert titles[0] == "cell state 4\nr = \N{MINUS SIGN}1.00"
    strength = [abs(np.corrcoef(MOVING.ravel(), wide[:, :, unit].numpy().ravel())[0, 1]) for unit in range(20)]
    order = np.argsort(strength)[::-1][:12]
    assert [int(title.split()[2]) for title in titles] == order.tolist()
    shown = [int(ax.get_title("left").split()[2]) for ax in found[1].axes]
    assert shown == np.argsort(wide.numpy().std(axis=(0, 1)))[::-1][:12].tolist()


def test_many_lines_have_a_scale_of_colours_and_axes_of_the_caller_a_legend() -> None:
    """The scale has the lines' colours and the concept's name; there is no room beside axes that keep their style."""
    lstm = recorded("lstm").recording
    many = np.arange(ROWS * TIME).reshape(ROWS, TIME) // 2
    figure: Any = traces(lstm, hue=many, units=[0, 1], name="place")
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "place"
    drawn = [to_hex(colour) for colour in bar.collections[-1].get_cmap()(np.arange(21))]
    assert drawn == [line.get_color() for line in figure.axes[0].get_lines()] == colours(21, VALUES)
    own: Any = traces(lstm, hue=FIXED, units=0, name="kind", ax=Figure().subplots())
    assert [one.get_text() for one in own.get_legend().get_texts()] == ["high", "low"]
    assert own.spines["top"].get_visible()


def test_the_call_says_whether_axes_or_a_figure_come_back() -> None:
    """Not the number of units: a layer of a single one gives a figure too, unless the unit or the axes are named."""
    one = probe.record(nn.LSTM(3, 1, batch_first=True), torch.linspace(-1, 1, 60).reshape(4, 5, 3))
    concept = np.tile(np.arange(5), (4, 1))
    for draw in (lambda **options: traces(one, **options), lambda **options: against(one, concept, **options)):
        assert isinstance(draw(), Figure)
        assert isinstance(draw(units=0), Axes)
        ax = Figure().add_subplot()
        assert draw(ax=ax) is ax


def test_names_are_not_joined_and_differ_by_marker_and_hue() -> None:
    """They have no order: on the axis as dots alone, as lines each with its own look; all are in the legend."""
    own = recorded("lstm").recording
    dots: Any = against(own, FIXED, units=0)
    assert {line.get_linestyle() for line in dots.get_lines()} == {"None"}
    assert [one.get_text() for one in dots.get_xticklabels()] == ["high", "low"]
    names = np.array([f"name {number:02d}" for number in np.arange(ROWS * TIME) % 20]).reshape(ROWS, TIME)
    lines: Any = against(own, MOVING, hue=names, units=0)
    looks = {(line.get_color(), line.get_marker()) for line in lines.get_lines()}
    assert (len(looks), len({marker for _, marker in looks})) == (20, 8)
    over: Any = traces(own, hue=names[:, 0], units=0)
    marks = [(line.get_color(), line.get_marker()) for line in over.get_lines() if line.get_marker() != "None"]
    assert (len(marks), len(set(marks)), len(over.get_lines())) == (ROWS, ROWS, 2 * ROWS)
    (legend,) = lines.figure.legends
    keys = [(key.get_color(), key.get_marker()) for key in legend.legend_handles]
    assert keys == [(line.get_color(), line.get_marker()) for line in lines.get_lines()]
    assert [one.get_text() for one in legend.get_texts()] == sorted(set(names.ravel()))


def test_a_figure_of_some_units_says_of_how_many() -> None:
    """Above it, unless it has a title; one of all units says nothing."""
    wide = recording_of(np.random.default_rng(0).normal(size=(5, 6, 20)))
    for draw in (
        lambda **more: traces(wide, **more),
        lambda **more: against(wide, np.arange(6) * np.ones((5, 1)), **more),
    ):
        figure: Any = draw()
        assert figure.get_suptitle().startswith("12 of 20 units, those that ")
        assert draw(title="mine").get_suptitle() == "mine"
        assert draw(units=[1, 2]).get_suptitle() == ""
