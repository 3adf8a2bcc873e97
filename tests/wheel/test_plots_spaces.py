"""A space of three coordinates on paper: where points stand, what is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from probe import ProbeError
from probe.plots import spaces
from probe.plots.spaces import UNSTABLE_STYLE, draw_cube, draw_fixed_points, draw_paths, seen
from probe.plots.style import INK, new_figure


def test_points_stand_where_an_orthographic_view_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the front the first and the third axis are seen; a tilt of 90 degrees looks from above."""
    points = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]])
    for turn, tilt, axes in ((0, 0, [0, 2]), (0, 90, [0, 1]), (90, 0, [1, 2])):
        monkeypatch.setattr(spaces, "TURN", turn)
        monkeypatch.setattr(spaces, "TILT", tilt)
        assert np.allclose(seen(points), points[:, axes])


def test_no_view_makes_a_length_longer() -> None:
    """What is projected is as long as before, or shorter; so it is in any number of leading axes."""
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    flat = seen(points)
    assert flat.shape == (4, 5, 2)
    assert (np.linalg.norm(flat, axis=-1) <= np.linalg.norm(points, axis=-1) + 1e-12).all()


def test_a_cube_has_twelve_edges_and_three_names() -> None:
    """Each of its edges is a line, and the axes are as the reader counts on them: equal in all directions."""
    ax = draw_cube(["one", "two", "three"])
    assert len(ax.get_lines()) == 12
    assert [text.get_text() for text in ax.texts] == ["one", "two", "three"]
    assert ax.get_aspect() == 1


def test_fixed_points_are_told_apart_by_their_unstable_directions() -> None:
    """A marker each, named in the legend; more directions than there are markers share the last."""
    frame = pd.DataFrame({"a": range(5), "b": 0.0, "c": 0.0, "unstable": [0, 0, 1, 3, 4]})
    _, axes = new_figure()
    ax = axes[0, 0]
    draw_fixed_points(frame, ["a", "b", "c"], ax=ax)
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == ["stable", "1 unstable direction", "3 unstable directions or more"]
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [2, 1, 2]
    _, axes = new_figure()
    draw_fixed_points(frame.assign(unstable=0, neutral=[1, 1, 1, 0, 0]), ["a", "b", "c"], ax=axes[0, 0])
    assert [line.get_label() for line in axes[0, 0].get_lines()] == ["neutral", "stable"]


def test_paths_have_one_name() -> None:
    """However many there are, the legend has one entry."""
    _, axes = new_figure()
    draw_paths([np.zeros((4, 3)), np.ones((2, 3))], ax=axes[0, 0], label="ways")
    assert axes[0, 0].get_legend_handles_labels()[1] == ["ways"]


def test_the_stable_ones_are_filled_and_the_others_told_apart_by_their_marker() -> None:
    """All in ink, which is the colour of no role."""
    _, axes = new_figure()
    frame = pd.DataFrame({"a": range(4), "b": range(4), "unstable": range(4)})
    draw_fixed_points(frame, ["a", "b"], ax=axes[0, 0])
    lines = axes[0, 0].get_lines()
    assert {line.get_color() for line in lines} == {INK}
    assert [line.get_markerfacecolor() for line in lines] == [INK, "none", "none", "none"]
    assert len({line.get_marker() for line in lines}) == len({marker for marker, _ in UNSTABLE_STYLE}) == 4


def test_what_has_no_three_coordinates_is_refused() -> None:
    """Points and names."""
    with pytest.raises(ProbeError, match="3 coordinates, and 2 were given"):
        _ = seen(np.zeros((1, 2)))
    with pytest.raises(ProbeError, match="3 coordinates, and 1 names were given"):
        _ = draw_cube(["one"])
