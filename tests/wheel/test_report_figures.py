"""The look of figures: no global setting, colours seen on light and dark, roles told apart without colour."""

from __future__ import annotations

import itertools

import matplotlib
import pytest
from matplotlib.colors import to_rgb

from probe.errors import ProbeError
from probe.plots.style import ROLE_STYLE, ShownFigure, axes_or_new, new_figure, role_style, style

WHITE, DARK_PAGE = "#ffffff", "#14171a"


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_of_black() -> None:
    """The contrast of black on white is 21."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_two_roles_differ_in_marker() -> None:
    """Two roles differ in marker and line not in colour alone."""
    for one, other in itertools.combinations(ROLE_STYLE.values(), 2):
        assert one.marker != other.marker
        assert one.linestyle != other.linestyle
        assert one.color != other.color


def test_a_role_draws_its_colour() -> None:
    """A role draws its colour line and marker."""
    _, axes = new_figure()
    (line,) = axes[0, 0].plot([1, 2], **role_style("own initialisation").line())
    assert (line.get_color(), line.get_linestyle(), line.get_marker()) == (
        ROLE_STYLE["own initialisation"].color,
        "--",
        "s",
    )


def test_an_unknown_role_names() -> None:
    """An unknown role names the nearest."""
    with pytest.raises(ProbeError, match=r"There is no role 'traned'.*Did you mean 'trained'\?"):
        _ = role_style("traned")


def test_the_style_holds_inside() -> None:
    """The style holds inside its context only also after an error."""
    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["axes.edgecolor"] == "black"
        assert not matplotlib.rcParams["axes.spines.top"]
    assert dict(matplotlib.rcParams) == before
    with pytest.raises(ZeroDivisionError), style():
        _ = 1 / 0
    assert dict(matplotlib.rcParams) == before


def test_new_figure_gives_rows() -> None:
    """New figure gives rows by columns of the size asked for without pyplot."""
    figure, axes = new_figure(3, 2, width=8, height=2, sharex=True)
    assert axes.shape == (2, 3)
    assert tuple(figure.get_size_inches()) == (8, 4)
    assert axes[0, 0].get_shared_x_axes().joined(axes[0, 0], axes[1, 2])
    assert not axes[0, 0].get_shared_y_axes().joined(axes[0, 0], axes[1, 2])
    assert new_figure(2, sharey=True)[1][0, 0].get_ylim() == (0, 1)
    assert type(figure) is ShownFigure
    # A figure made by pyplot has a manager; one without cannot pile up in memory.
    assert figure.canvas.manager is None


def test_shared_y_axes_move_together() -> None:
    """Shared y axes move together."""
    _, axes = new_figure(2, sharey=True)
    axes[0, 0].set_ylim(0, 7)
    assert axes[0, 1].get_ylim() == (0, 7)


@pytest.mark.parametrize("options", [{"columns": 0}, {"rows": 0}, {"width": 0.0}, {"height": -1.0}])
def test_an_empty_figure_is_refused(options: dict[str, float]) -> None:
    """An empty figure is refused."""
    with pytest.raises(ProbeError, match="at least one column and row and a positive size"):
        _ = new_figure(**options)  # pyright: ignore[reportArgumentType] - ints where ints are due


def test_axes_that_are_given() -> None:
    """Axes that are given are used and none makes new ones."""
    _, axes = new_figure()
    assert axes_or_new(axes[0, 0]) is axes[0, 0]
    assert axes_or_new(None) is not axes_or_new(None)
