"""Figures for papers: drawn again from the SVG of a page they look the same, and no reader's font is needed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from probe import Finding, ProbeError
from probe.colours import of_role
from probe.evidence import DataFigure
from probe.plots.style import COLUMN_WIDTH, new_figure, style
from probe.report.redrawn import DPI, FORMATS, drawn, saved
from probe.report.svg import figure_to_svg, settled


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


def pixels(made: Figure) -> np.ndarray:
    """Return a figure's levels of grey, (row, column), from 0 to 255, each the mean of 8 by 8 pixels."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=100)
    with Image.open(buffer) as picture:
        levels = np.asarray(picture.convert("L"), dtype=float)
    rows, columns = levels.shape[0] // 8, levels.shape[1] // 8
    return levels[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).mean(axis=(1, 3))


def test_a_figure_that_is_drawn_again_looks_the_same() -> None:
    """Pixel by pixel; without its letters, its marks or its cells it does not."""
    with style():
        made = figure()
        with settled(made):
            wanted, svg = pixels(made), figure_to_svg(made, name="all")
        again = pixels(drawn(svg))
    assert again.shape == wanted.shape

    def apart(text: str) -> float:
        return float((np.abs(pixels(drawn(text)) - wanted) > 12).mean())

    assert apart(svg) < 0.015
    for gone in ("<text", "<use", "<image", "<path"):
        start, end = svg.partition("</defs>")[::2]
        assert apart(start + "</defs>" + end.replace(gone, "<other").replace(gone.replace("<", "</"), "</other")) > (
            1.8 * apart(svg)
        )


def test_every_format_is_the_same_twice_and_needs_no_font() -> None:
    """Outlines in the SVG, embedded letters in the PDF, 300 pixels an inch in the PNG."""
    with style():
        svg = figure_to_svg(figure(), name="all")
    files = saved(svg, "all")
    assert tuple(files) == FORMATS
    assert files == saved(svg, "all")
    assert b"<text" not in files["svg"]
    assert b"<text" in svg.encode()
    assert b"/FontFile2" in files["pdf"]
    with Image.open(io.BytesIO(files["png"])) as picture:
        assert picture.width == pytest.approx(COLUMN_WIDTH * DPI, abs=1)


@pytest.mark.parametrize(
    "text", ["no svg", "<svg/>", '<svg viewBox="0 0 9 9"><path d="M 0 0 A 1 1 0 0 0 2 2"/></svg>']
)
def test_what_was_not_drawn_here_is_refused(text: str) -> None:
    """No XML, no size, an arc, which matplotlib never writes."""
    with pytest.raises(ProbeError, match="cannot be drawn again"):
        drawn(text)


def test_a_finding_that_was_read_saves_its_figures_and_says_what_it_found(tmp_path: Path) -> None:
    """Three files a figure; the lines that a script prints have the answer, the verdicts and the files."""
    with style():
        one = DataFigure.from_figure(
            figure(), name="all", title="All", alt="4 panels.", caption="", data=pd.DataFrame({"x": [1]})
        )
    rows = pd.DataFrame({"question": ["q"], "metric": ["m"], "value": [1.0]})
    made = Finding("a_question", "What is it?", rows, figures=(one,), notes={"answer": "It is one."})
    folder = made.write(tmp_path / "finding")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    read = Finding.read(folder)
    paths = read.save_figures(tmp_path / "figures")
    assert [path.name for path in paths] == ["all.svg", "all.pdf", "all.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert read.lines(paths) == ["a-question: It is one.", "  no rule to judge", *(f"  {path}" for path in paths)]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
