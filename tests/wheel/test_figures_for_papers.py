"""Figures for papers: they look as they were drawn, and no reader's font is needed."""

from __future__ import annotations

import io
import pickle
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
from probe.report.svg import DPI, FORMATS, for_papers


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
    with pytest.raises(ProbeError, match=r"'all' is a page's SVG alone.*figures=DIR"):
        _ = read.save_figures(tmp_path / "figures")
