"""Figures and their SVG: one look without global settings, the same bytes, small, and safe to stand in a page."""

from __future__ import annotations

import base64
import io
import pickle
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pages_read import HOSTILE
from PIL import Image
from refusing import refused

from probe import Finding
from probe.colours import of_role
from probe.evidence import DataFigure
from probe.plots.style import COLUMN_WIDTH, ROLE_STYLE, ShownFigure, axes_or_new, new_figure, role_style, style
from probe.report import figure_to_svg, inline_svg
from probe.report.svg import DPI, FORMATS, MAX_BYTES, for_papers


def test_roles_differ_in_marker_and_line_not_in_colour_alone() -> None:
    """No two are alike in either."""
    for part in ("marker", "linestyle", "color"):
        assert len({getattr(one, part) for one in ROLE_STYLE.values()}) == len(ROLE_STYLE)


def test_the_style_holds_inside_only_also_after_an_error() -> None:
    """And no figure has a manager of pyplot's: it would pile up in memory."""
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError), style():
        _ = 1 / matplotlib.rcParams["axes.spines.top"]
    assert dict(matplotlib.rcParams) == before
    made, axes = new_figure(3, 2, width=8, height=2, sharex=True)
    assert (axes.shape, tuple(made.get_size_inches())) == ((2, 3), (8, 4))
    assert (type(made), made.canvas.manager) == (ShownFigure, None)
    assert axes_or_new(axes[0, 0]) is axes[0, 0]
    assert axes_or_new(None) is not axes_or_new(None)


def _small(png: bytes) -> np.ndarray:
    """Return a picture's levels of grey, (row, column), from 0 to 255, each the mean of 24 by 24 pixels."""
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.width == pytest.approx(COLUMN_WIDTH * DPI, abs=1)
        levels = np.asarray(picture.convert("L"), dtype=float)
    rows, columns = levels.shape[0] // 24, levels.shape[1] // 24
    return levels[: 24 * rows, : 24 * columns].reshape(rows, 24, columns, 24).mean(axis=(1, 3))


def test_a_figure_for_papers_looks_as_it_was_drawn_and_needs_no_font(tmp_path: Path) -> None:
    """Pixel by pixel, in another style and process too, and in the files of its finding, the same bytes twice."""
    data, made = pd.DataFrame({"x": [1]}), lines()
    with style():
        files, again = for_papers(made, name="all"), for_papers(lines(), name="all")
        one = DataFigure.from_figure(made, name="all", title="All", alt="1 line.", caption="", data=data)
    assert (tuple(files), files, one.figure is made) == (FORMATS, again, True)
    wanted = _small(files["png"])
    assert np.abs(_small(for_papers(pickle.loads(pickle.dumps(made)), name="all")["png"]) - wanted).max() < 12
    assert b"<text" not in files["svg"]
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


TRAINED = role_style("trained").color
ATTACK = HOSTILE[0]


def drawn(draw: Callable[[Axes], object]) -> Figure:
    """Return a figure of axes that something is drawn in."""
    with style():
        figure, axes = new_figure()
        _ = draw(axes[0, 0])
    return figure


def lines(name: str = "trained") -> Figure:
    """Return a small line plot with a legend, all of whose words may be given."""

    def draw(ax: Axes) -> None:
        ax.plot([1, 2, 3], [1, 4, 9], "o-", color=TRAINED, label=name)
        ax.set(xlabel="bits read", ylabel="x" * 300 if name == ATTACK else "count", title=name)
        ax.legend()

    return drawn(draw)


def inline(svg: str, prefix: str = "F1-", title: str = "A count", alt: str = "Three points up to 9.") -> str:
    """Return an SVG made to stand in a page."""
    return inline_svg(svg, prefix=prefix, title=title, alt=alt)


def pictures(svg: str) -> list[np.ndarray]:
    """Return the pictures embedded in an SVG as arrays of RGBA."""
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")) for data in found]


def test_a_figure_gives_the_same_bytes_and_stays_as_it_was() -> None:
    """Text stays text, the name becomes the id, and neither settings nor what is drawn change."""
    figure = lines()
    first = figure_to_svg(figure, name="count")
    assert figure_to_svg(figure, name="count") == figure_to_svg(lines(), name="count") == first
    assert ">bits read</text>" in first
    assert 'id="count"' in first.partition(">")[0]
    assert figure_to_svg(figure, name="other") != first
    assert not [word for word in ("<dc:date>", "DOCTYPE") if word in first]
    before = dict(matplotlib.rcParams)
    made = drawn(lambda ax: (ax.pcolormesh(np.eye(20)), ax.scatter(np.arange(200), np.arange(200))))
    parts = [(one, one.get_visible(), one.get_rasterized()) for one in made.axes[0].get_children()]
    _ = figure_to_svg(made, name="mesh")
    assert dict(matplotlib.rcParams) == before
    assert [(one, one.get_visible(), one.get_rasterized()) for one in made.axes[0].get_children()] == parts


def test_a_mesh_becomes_one_pixel_a_cell() -> None:
    """In its own colours and orientation."""
    values = np.arange(240.0).reshape(12, 20)
    figure = drawn(lambda ax: ax.pcolormesh(values, cmap="viridis"))
    svg = figure_to_svg(figure, name="mesh")
    (picture,) = pictures(svg)
    # Pictures are drawn downwards unless the fourth number of their matrix is negative.
    (matrix,) = re.findall(r'<image[^>]*transform="matrix\(([^)]*)\)"', svg)
    bottom_first = picture if float(matrix.split()[3]) < 0 else picture[::-1]
    (mesh,) = figure.axes[0].collections
    np.testing.assert_array_equal(bottom_first, (mesh.to_rgba(values) * 255).round().astype(np.uint8))


@pytest.mark.parametrize(("color", "kept"), [("black", True), (TRAINED, False)])
def test_black_lines_and_bands_stay_vectors_where_all_else_becomes_pixels(color: str, kept: bool) -> None:
    """Pixels cannot take the page's colour of text: a black bound would be lost on a dark page, one of a role not."""

    def draw(ax: Axes) -> None:
        for row in range(40):
            ax.plot(np.arange(60), np.full(60, row), "o", color=TRAINED)
        ax.axhline(0.25, color=color, linewidth=7.5)
        ax.fill_between([0, 60], [0, 1], [2, 3], color=color, alpha=0.15, linewidth=0)

    svg = figure_to_svg(drawn(draw), name="bound")
    assert "<image" in svg
    assert ("stroke-width: 7.5" in svg, "fill-opacity: 0.15" in svg) == (kept, kept)


def test_ten_thousand_points_and_two_hundred_bars_stay_small() -> None:
    """Below 25 kilobytes, also where they stand in a page; what cannot says how large it is, and may be larger."""
    rng = np.random.default_rng(0)
    with style():
        figure, axes = new_figure(2, 1, width=8)
        axes[0, 0].scatter(*rng.standard_normal((2, 10_240)), c=rng.random(10_240))
        axes[0, 1].hist(rng.standard_normal(5000), bins=200)
    svg = figure_to_svg(figure, name="cloud")
    assert max(len(svg.encode()), len(inline(svg).encode())) <= MAX_BYTES
    texts = Figure()
    for index in range(300):
        texts.text(index / 300, index / 300, f"annotation {index}")
    with refused():
        _ = figure_to_svg(texts, name="texts")
    assert "annotation 299" in figure_to_svg(texts, name="texts", max_bytes=200_000)


def test_an_image_of_many_cells_becomes_coarser() -> None:
    """A picture that would be too heavy at a pixel a cell is averaged, and the figure keeps its own."""
    cells = np.random.default_rng(0).random((300, 200))
    cells[:150] += 10
    figure = drawn(lambda ax: ax.figure.colorbar(ax.imshow(cells)))
    svg = figure_to_svg(figure, name="cells")
    (image,) = figure.axes[0].images
    assert len(svg.encode()) <= MAX_BYTES
    assert np.array_equal(np.asarray(image.get_array()), cells)
    shown = max(pictures(svg), key=np.size)
    for half, value in zip(np.array_split(shown.astype(float), 2), (10.5, 0.5), strict=True):
        expected = 255 * image.to_rgba(np.array([value]))[0]
        assert np.abs(half.mean((0, 1)) - expected).max() < 12


def test_inline_svg_has_no_style_names_itself_and_follows_the_page() -> None:
    """References find their ids, which carry the prefix; ink is the page's, data keep their colours."""
    svg = inline(figure_to_svg(lines(), name="count"), prefix="F7-", alt="Three points up to 9 & more.")
    root = ET.fromstring(svg)
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "F7-title F7-desc")
    assert (root.findtext("title"), root.findtext("desc")) == ("A count", "Three points up to 9 & more.")
    assert root.get("viewBox")
    assert not [word for word in ("style", "http", "#000000", "#ffffff") if word in svg]
    assert 'fill="currentColor"' in svg
    assert TRAINED in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    references = {first or second for first, second in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)}
    assert len(ids) == len(set(ids)) > 2
    assert all(name.startswith("F7-") for name in ids)
    assert set() < references <= set(ids)


EVIL = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="10" height="20" onload="alert(1)"><style>* {fill: red}</style><script>alert(1)</script>
<foreignObject><img src="x"/></foreignObject><a href="javascript:alert(1)"><text>link</text></a>
<rect id="r" width="1" height="1" onclick="alert(1)" style="fill: url(http://e.example/x#y); stroke: red"/>
<use xlink:href="http://e.example/x.svg#r"/><use xlink:href="#r"/><image href="http://e.example/x.png"/>
<image href="data:image/svg+xml;base64,AAAA"/><set attributeName="href" to="javascript:alert(1)"/>
<animate attributeName="href" values="javascript:alert(1)"/></svg>"""


def test_what_could_run_or_fetch_is_dropped() -> None:
    """Scripts, handlers, foreign objects and references to the outside; hostile names in a figure stay text."""
    svg = inline(EVIL)
    for word in ["alert", "script", "onload", "onclick", "foreign", "e.example", "javascript", "<a", "<image", "set"]:
        assert word not in svg, word
    for kept in ('stroke="red"', 'href="#F1-r"', 'viewBox="0 0 10 20"'):
        assert kept in svg
    svg = inline(figure_to_svg(lines(ATTACK), name=ATTACK), title=ATTACK, alt=ATTACK + " 1")
    assert not [word for word in ("<img", "<script") if word in svg]
    assert ET.fromstring(svg).findtext("title") == ATTACK


WRONG: list[Callable[[], object]] = [
    lambda: role_style("traned"),
    lambda: new_figure(columns=0),
    lambda: new_figure(width=0.0),
    lambda: new_figure(height=-1.0),
    lambda: of_role("gate"),
    lambda: inline("no svg"),
    lambda: inline("<svg xmlns='http://www.w3.org/2000/svg'/>"),
    lambda: inline("<html/>"),
    lambda: inline('<!DOCTYPE svg [<!ENTITY a "b">]><svg width="1" height="1">&a;</svg>'),
]


def test_an_unknown_role_an_empty_figure_and_what_is_no_plain_svg_are_refused() -> None:
    """With the reason; the declaration that matplotlib writes is accepted."""
    for make in WRONG:
        with refused():
            _ = make()
    buffer = io.StringIO()
    lines().savefig(buffer, format="svg")
    assert "<!DOCTYPE svg" in buffer.getvalue()
    assert inline(buffer.getvalue()).startswith("<svg")
