"""The look of figures, on paper too.

- The look of figures: no global setting, colours seen on light and dark, roles told apart without colour.
- Figures for papers: they look as they were drawn, and no reader's font is needed.
"""

from __future__ import annotations

import io
import itertools
import pickle
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from painted import contrast
from PIL import Image
from refusing import refused

from probe import Finding
from probe.colours import of_role
from probe.evidence import DataFigure
from probe.plots.style import COLUMN_WIDTH, ROLE_STYLE, ShownFigure, axes_or_new, new_figure, role_style, style
from probe.report.svg import DPI, FORMATS, for_papers


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
    with refused():
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
    with refused():
        _ = new_figure(**options)  # pyright: ignore[reportArgumentType] - ints where ints are due


def test_axes_that_are_given() -> None:
    """Axes that are given are used and none makes new ones."""
    _, axes = new_figure()
    assert axes_or_new(axes[0, 0]) is axes[0, 0]
    assert axes_or_new(None) is not axes_or_new(None)


def figure() -> Figure:
    """Return a figure with all that figures have: lines, dashes, marks, bars, bands, cells, upright words, powers."""
    made, axes = new_figure(2, 2, height=1.8)
    (first, second), (third, fourth) = axes
    x = np.linspace(0.01, 1, 20)
    first.plot(x, x**2, "--o", label="dashed", color=of_role("trained"))
    first.fill_between(x, x**2 - 0.1, x**2 + 0.1, alpha=0.2, color=of_role("trained"))
    first.set(ylabel="upright", title="Lines")
    first.legend()
    second.scatter(*np.random.default_rng(0).normal(size=(2, 400)), alpha=0.5, color=of_role("trained"))
    second.text(0, 0, "right", ha="right", fontweight="bold", color="red")
    third.pcolormesh(np.arange(20).reshape(4, 5))
    third.set_xticks([0.5, 2.5], ["one", "other"], rotation=90)
    fourth.bar([1, 2, 3], [10, 100, 1000], color="green", edgecolor="black")
    fourth.set_yscale("log")
    return made


def _small(png: bytes) -> np.ndarray:
    """Return a picture's levels of grey, (row, column), from 0 to 255, each the mean of 24 by 24 pixels."""
    with Image.open(io.BytesIO(png)) as picture:
        levels = np.asarray(picture.convert("L"), dtype=float)
    rows, columns = levels.shape[0] // 24, levels.shape[1] // 24
    return levels[: 24 * rows, : 24 * columns].reshape(rows, 24, columns, 24).mean(axis=(1, 3))


def test_a_figure_for_papers_looks_as_it_was_drawn() -> None:
    """Pixel by pixel, in another style and process too; its layout is left as it was."""
    with style():
        made = figure()
        wanted = _small(for_papers(made, name="all")["png"])
        one = DataFigure.from_figure(made, name="all", title="", alt="", caption="", data=pd.DataFrame({"x": [1]}))
    assert one.figure is made
    for again in (made, pickle.loads(pickle.dumps(made))):
        assert np.abs(_small(for_papers(again, name="all")["png"]) - wanted).max() < 12


def test_every_format_is_the_same_twice_and_needs_no_font() -> None:
    """Outlines in the SVG, embedded letters in the PDF, 300 pixels an inch in the PNG; many marks are pixels."""
    with style():
        files, again = (for_papers(figure(), name="all") for _ in range(2))
    assert tuple(files) == FORMATS
    assert files == again
    assert b"<text" not in files["svg"]
    assert b"<image" in files["svg"]
    assert b"/FontFile2" in files["pdf"]
    with Image.open(io.BytesIO(files["png"])) as picture:
        assert picture.width == pytest.approx(COLUMN_WIDTH * DPI, abs=1)


def test_a_finding_saves_its_figures_and_says_what_it_found(tmp_path: Path) -> None:
    """Three files a figure; the lines that a script prints have the answer, the verdicts and the files."""
    with style():
        one = DataFigure.from_figure(
            figure(), name="all", title="All", alt="4 panels.", caption="", data=pd.DataFrame({"x": [1]})
        )
    rows = pd.DataFrame({"question": ["q"], "metric": ["m"], "value": [1.0]})
    made = Finding("a_question", "What is it?", rows, figures=(one,), notes={"answer": "It is one."})
    paths = made.save_figures(tmp_path / "figures")
    assert [path.name for path in paths] == ["all.svg", "all.pdf", "all.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
    read = Finding.read(made.write(tmp_path / "finding"))
    assert read.lines(paths) == ["a-question: It is one.", "  no rule to judge", *(f"  {path}" for path in paths)]
    with refused():
        _ = read.save_figures(tmp_path / "figures")
