"""The look of figures, on paper too: no global setting, roles told apart without colour, and no reader's font."""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from refusing import refused

from probe import Finding
from probe.colours import of_role
from probe.evidence import DataFigure
from probe.plots.style import COLUMN_WIDTH, ROLE_STYLE, ShownFigure, axes_or_new, new_figure, role_style, style
from probe.report.svg import DPI, FORMATS, for_papers


def test_roles_differ_in_marker_and_line_not_in_colour_alone() -> None:
    """Each is drawn in all three of its own."""
    for one, other in itertools.combinations(ROLE_STYLE.values(), 2):
        assert one.marker != other.marker
        assert one.linestyle != other.linestyle
        assert one.color != other.color
    (line,) = new_figure()[1][0, 0].plot([1, 2], **role_style("own initialisation").line())
    own = ROLE_STYLE["own initialisation"]
    assert (line.get_color(), line.get_linestyle(), line.get_marker()) == (own.color, own.linestyle, own.marker)


def test_the_style_holds_inside_only_also_after_an_error() -> None:
    """And no figure has a manager of pyplot's: it would pile up in memory."""
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError), style():
        _ = 1 / matplotlib.rcParams["axes.spines.top"]
    assert dict(matplotlib.rcParams) == before
    made, axes = new_figure(3, 2, width=8, height=2, sharex=True)
    assert (axes.shape, tuple(made.get_size_inches())) == ((2, 3), (8, 4))
    assert axes[0, 0].get_shared_x_axes().joined(axes[0, 0], axes[1, 2])
    assert not axes[0, 0].get_shared_y_axes().joined(axes[0, 0], axes[1, 2])
    assert (type(made), made.canvas.manager) == (ShownFigure, None)
    assert axes_or_new(axes[0, 0]) is axes[0, 0]
    assert axes_or_new(None) is not axes_or_new(None)


WRONG: list[Callable[[], object]] = [
    lambda: role_style("traned"),
    lambda: new_figure(columns=0),
    lambda: new_figure(rows=0),
    lambda: new_figure(width=0.0),
    lambda: new_figure(height=-1.0),
    lambda: of_role("gate"),
]


def test_an_unknown_role_and_an_empty_figure_are_refused() -> None:
    """The nearest role is named."""
    for make in WRONG:
        with refused():
            _ = make()


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
        assert picture.width == pytest.approx(COLUMN_WIDTH * DPI, abs=1)
        levels = np.asarray(picture.convert("L"), dtype=float)
    rows, columns = levels.shape[0] // 24, levels.shape[1] // 24
    return levels[: 24 * rows, : 24 * columns].reshape(rows, 24, columns, 24).mean(axis=(1, 3))


def test_a_figure_for_papers_looks_as_it_was_drawn_and_needs_no_font(tmp_path: Path) -> None:
    """Pixel by pixel, in another style and process too, and in the files of its finding, the same bytes twice."""
    data = pd.DataFrame({"x": [1]})
    with style():
        made = figure()
        files, again = for_papers(made, name="all"), for_papers(figure(), name="all")
        one = DataFigure.from_figure(made, name="all", title="All", alt="4 panels.", caption="", data=data)
    assert (tuple(files), files, one.figure is made) == (FORMATS, again, True)
    wanted = _small(files["png"])
    assert np.abs(_small(for_papers(pickle.loads(pickle.dumps(made)), name="all")["png"]) - wanted).max() < 12
    assert b"<text" not in files["svg"]
    assert b"<image" in files["svg"]
    assert b"/FontFile2" in files["pdf"]
    rows = pd.DataFrame({"question": ["q"], "metric": ["m"], "value": [1.0]})
    found = Finding("a_question", "What is it?", rows, figures=(one,), notes={"answer": "It is one."})
    paths = found.save_figures(tmp_path / "figures")
    assert [path.name for path in paths] == ["all.svg", "all.pdf", "all.png"]
    assert np.abs(_small(paths[2].read_bytes()) - wanted).max() < 12
    read = Finding.read(found.write(tmp_path / "finding"))
    assert read.lines(paths) == ["a-question: It is one.", "  no rule to judge", *(f"  {path}" for path in paths)]
    with refused():
        _ = read.save_figures(tmp_path / "figures")
