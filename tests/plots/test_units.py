"""Plots of units over steps and against a concept: the lines are the recorded values, of every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from recorded import KINDS, ROWS, TIME, Recorded, recorded
from refusing import refused

from probe.plots import against, traces
from probe.plots.style import STEPS, VALUES, colours

#: A concept that changes along each sequence, and one that does not.
MOVING = np.add.outer(np.arange(ROWS), np.arange(TIME)) % 3
FIXED = np.array(["low", "high", "low", "high", "low", "low"])


def data(ax: Axes) -> list[np.ndarray]:
    """Return the points of each line, (2, point)."""
    return [np.array([line.get_xdata(), line.get_ydata()], dtype=float) for line in ax.get_lines()]


def real(own: Recorded) -> np.ndarray:
    """Return which places are no padding, (batch, time)."""
    return np.arange(TIME) < np.array(own.lengths)[:, None]


@pytest.mark.parametrize("kind", KINDS)
def test_traces_are_means_over_the_sequences_that_have_the_value(kind: str) -> None:
    """A line a value; steps count from 1; a step at which no sequence has the value is left out."""
    own = recorded(kind)
    unit = (0, 1) if kind == "state space" else 1
    ax = own.recording.plot.traces(by=MOVING, units=unit, layer=own.layer, name="rest")
    assert isinstance(ax, Axes)
    lines = data(ax)
    assert len(lines) == 3
    for value, (x, y) in enumerate(lines):
        assert x.tolist() == list(range(1, TIME + 1))
        for step in range(TIME):
            here = own.values[(MOVING[:, step] == value) & real(own)[:, step], step, 1]
            assert y[step] == pytest.approx(here.mean()) if here.size else np.isnan(y[step])
    assert [line.get_color() for line in ax.get_lines()] == colours(3, VALUES)
    # Each name has the colour of its line before it.
    written = [one.get_text() for one in ax.texts]
    assert sorted(written) == sorted(["━", "━", "━", "0", "1", "2", "rest"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_band_is_the_middle_half(kind: str) -> None:
    """From the first to the third quartile of the sequences that have not ended."""
    own = recorded(kind)
    figure = own.recording.plot.traces(layer=own.layer)
    assert isinstance(figure, Figure)
    panels = [ax for ax in figure.axes if ax.get_title("left")]
    assert len(panels) == own.values.shape[2]
    for unit, ax in enumerate(panels):
        (band,) = (one for one in ax.collections if isinstance(one, PolyCollection))
        corners = np.asarray(band.get_paths()[0].vertices)
        (line,) = data(ax)
        for step in range(TIME):
            here = own.values[real(own)[:, step], step, unit]
            assert line[1, step] == pytest.approx(here.mean())
            ends = corners[np.isclose(corners[:, 0], step + 1), 1]
            assert (ends.min(), ends.max()) == pytest.approx(tuple(np.percentile(here, [25, 75])))


@pytest.mark.parametrize("kind", KINDS)
def test_against_a_concept_each_step_is_a_line_of_means(kind: str) -> None:
    """Over the values that sequences have at the step; padding belongs to none."""
    own = recorded(kind)
    unit = (0, 1) if kind == "state space" else 1
    ax = own.recording.plot.against(MOVING, units=unit, layer=own.layer, name="rest", noun="bit")
    assert isinstance(ax, Axes)
    lines = data(ax)
    assert len(lines) == TIME
    for step, (x, y) in enumerate(lines):
        there = [value for value in range(3) if ((MOVING[:, step] == value) & real(own)[:, step]).any()]
        assert x.tolist() == there
        for value, height in zip(there, y, strict=True):
            here = own.values[(MOVING[:, step] == value) & real(own)[:, step], step, 1]
            assert height == pytest.approx(here.mean())
    assert [line.get_color() for line in ax.get_lines()] == colours(TIME, STEPS)
    names = [one.get_text() for one in ax.texts if one.get_text() != "━"]
    how = ["at bit {}"] * TIME if kind == "bidirectional" else ["after {} bit", *["after {} bits"] * (TIME - 1)]
    assert sorted(names) == sorted(word.format(step) for step, word in enumerate(how, start=1))
    assert ax.get_xlabel() == "rest"
    r = np.corrcoef(MOVING[real(own)], own.values[real(own)][:, 1])[0, 1]
    assert ax.get_title("left").endswith(f", r = {r:.2f}".replace("-", "\N{MINUS SIGN}"))


def test_a_unit_that_holds_the_concept_is_one_line() -> None:
    """And the names beside the lines keep the order in which the lines end."""
    own = recorded("lstm")
    count = np.cumsum(np.arange(ROWS)[:, None] > np.arange(TIME), axis=1)
    (part,) = own.recording.parts
    part.signals["cell_state"][:, :, 2] = own.recording["cell_state"].new_tensor(count)  # pyright: ignore
    ax = against(own.recording, count, units=2)
    assert isinstance(ax, Axes)
    for x, y in data(ax):
        assert np.allclose(x, y)
    assert ax.get_title("left") == "cell state 2, r = 1.00"
    heights = {one.get_text(): one.get_position()[1] for one in ax.texts if one.get_text() != "━"}
    order = sorted(heights, key=lambda name: heights[name])
    assert order == [f"after {step} step{'s' * (step > 1)}" for step in range(1, TIME + 1)]
    assert (np.diff(sorted(heights.values())) > 0.07).all()


def test_other_groups_and_one_line() -> None:
    """Lines of another concept, of texts in alphabetical order, and all steps together."""
    own = recorded("packed")
    ax = against(own.recording, MOVING, by=FIXED, units=0)
    assert isinstance(ax, Axes)
    assert len(ax.get_lines()) == 2
    for name, (x, y) in zip(("high", "low"), data(ax), strict=True):
        for value, height in zip(x, y, strict=True):
            here = own.values[(value == MOVING) & np.equal(FIXED, name)[:, None] & real(own), 0]
            assert height == pytest.approx(here.mean())
    alone = against(own.recording, MOVING, by=None, units=0)
    assert isinstance(alone, Axes)
    ((x, y),) = data(alone)
    assert x.tolist() == [0, 1, 2]
    assert y == pytest.approx([own.values[(value == MOVING) & real(own), 0].mean() for value in range(3)])


def test_texts_stand_below_as_they_are() -> None:
    """A concept of texts has no correlation, and its values stand side by side."""
    ax = against(recorded("gru").recording, FIXED, units=0)
    assert isinstance(ax, Axes)
    assert [one.get_text() for one in ax.get_xticklabels()] == ["high", "low"]
    assert ax.get_title("left") == "hidden state 0"


def test_where_a_concept_is_not_defined_nothing_is_drawn() -> None:
    """NaN, None and an empty text are no values."""
    own = recorded("lstm")
    some = np.where(np.arange(TIME) < 2, np.nan, 1.0) * np.ones((ROWS, 1))
    ax = against(own.recording, some, units=0)
    assert isinstance(ax, Axes)
    assert len(ax.get_lines()) == TIME - 2
    assert "after 3 steps" in [one.get_text() for one in ax.texts]
    named = np.array([["", None, *"abcab"]] * ROWS, dtype=object)
    traced = traces(own.recording, by=named, units=0)
    assert isinstance(traced, Axes)
    assert len(traced.get_lines()) == 3
    assert np.isfinite(data(traced)[2][1]).tolist() == [False] * 4 + [True] + [False] * 2


def test_of_many_units_those_are_drawn_that_matter() -> None:
    """Twelve: those that vary most, or follow the concept most, strongest first."""
    own = recorded("lstm")
    rng = np.random.default_rng(0)
    wide = own.recording["cell_state"].new_tensor(rng.normal(size=(ROWS, TIME, 20)) * np.arange(1, 21))
    wide[:, :, 4] = own.recording["cell_state"].new_tensor(-MOVING)
    own.recording.parts[0].signals["cell_state"] = wide  # pyright: ignore[reportIndexIssue]
    found = against(own.recording, MOVING)
    assert isinstance(found, Figure)
    titles = [ax.get_title("left") for ax in found.axes if ax.get_title("left")]
    assert len(titles) == 12
    assert titles[0] == "cell state 4, r = \N{MINUS SIGN}1.00"
    strength = [abs(np.corrcoef(MOVING.ravel(), wide[:, :, unit].numpy().ravel())[0, 1]) for unit in range(20)]
    order = np.argsort(strength)[::-1][:12]
    assert [int(title.split()[2].rstrip(",")) for title in titles] == order.tolist()
    moved = traces(own.recording)
    assert isinstance(moved, Figure)
    shown = [int(ax.get_title("left").split()[2]) for ax in moved.axes]
    assert shown == np.argsort(wide.numpy().std(axis=(0, 1)))[::-1][:12].tolist()


def test_many_lines_have_a_scale_of_colours() -> None:
    """More than twelve, or several panels; it has the lines' colours, and the concept's name."""
    own = recorded("lstm")
    many = np.arange(ROWS * TIME).reshape(ROWS, TIME) // 2
    figure = traces(own.recording, by=many, units=[0, 1], name="place")
    assert isinstance(figure, Figure)
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "place"
    drawn = [to_hex(colour) for colour in bar.collections[-1].get_cmap()(np.arange(21))]
    assert drawn == [line.get_color() for line in figure.axes[0].get_lines()] == colours(21, VALUES)


def test_axes_of_the_caller_have_a_legend_and_keep_their_style() -> None:
    """There is no room beside them."""
    own = Figure().subplots()
    assert traces(recorded("lstm").recording, by=FIXED, units=0, name="kind", ax=own) is own
    legend = own.get_legend()
    assert legend is not None
    assert [one.get_text() for one in legend.get_texts()] == ["high", "low"]
    assert legend.get_title().get_text() == "kind"
    assert own.spines["top"].get_visible()


@pytest.mark.parametrize(
    ("concept", "message"),
    [
        (np.zeros((ROWS, TIME + 1)), r"has the shape \(6, 8\); it needs a value for each recorded step, \(6, 7\)"),
        (np.full((ROWS, TIME), np.nan), r"is defined at no step that was recorded"),
        (np.zeros(ROWS, complex), r"holds complex128; a concept holds numbers, booleans or texts"),
        (np.arange(ROWS * TIME).reshape(ROWS, TIME) * np.ones(2)[0] + 0.5, None),
    ],
)
def test_what_is_no_concept_is_refused(concept: np.ndarray, message: str | None) -> None:
    """By its argument's name; 42 different values are drawn."""
    own = recorded("lstm")
    if message is None:
        assert traces(own.recording, by=concept, units=0) is not None
        return
    with refused():
        _ = against(own.recording, concept)
    with refused():
        _ = traces(own.recording, by=concept)


def test_too_many_values_are_refused() -> None:
    """More than fifty, with what to do."""
    own = recorded("lstm")
    own.recording.parts[0].signals["cell_state"] = own.recording["cell_state"].repeat(2, 1, 1)  # pyright: ignore
    with refused():
        _ = against(own.recording, np.arange(2 * ROWS * TIME).reshape(2 * ROWS, TIME))


def test_other_words_for_groups_are_refused() -> None:
    """`step` is the only one."""
    with refused():
        _ = against(recorded("lstm").recording, MOVING, by="steps")
    with refused():
        _ = against(recorded("lstm").recording, MOVING, ax=Figure().subplots())
    apart = np.where(np.arange(TIME) < 3, 1.0, np.nan) * np.ones((ROWS, 1))
    with refused():
        _ = against(recorded("lstm").recording, apart, by=np.where(np.isnan(apart), 1.0, np.nan))
