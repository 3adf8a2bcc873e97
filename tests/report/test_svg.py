"""SVG of a figure: the same bytes each time, small, and safe to stand inside a page with a strict policy."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from refusing import refused

from probe.plots.style import new_figure, role_style, style
from probe.report import figure_to_svg, inline_svg
from probe.report.svg import MAX_BYTES

HOSTILE = "</script><img src=x onerror=alert(1)>"


def lines() -> Figure:
    """Return a small line plot with a legend."""
    with style():
        figure, axes = new_figure()
        axes[0, 0].plot([1, 2, 3], [1, 4, 9], "o-", color=role_style("trained").color, label="trained")
        axes[0, 0].set(xlabel="bits read", ylabel="count", title="A count")
        axes[0, 0].legend()
    return figure


def inline(svg: str, prefix: str = "F1-", title: str = "A count", alt: str = "Three points up to 9.") -> str:
    """Return an SVG made to stand in a page."""
    return inline_svg(svg, prefix=prefix, title=title, alt=alt)


def pictures(svg: str) -> list[np.ndarray]:
    """Return the pictures embedded in an SVG as arrays of RGBA."""
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")) for data in found]


def test_a_figure_gives_the_same() -> None:
    """A figure gives the same bytes again and text stays text."""
    figure = lines()
    first = figure_to_svg(figure, name="count")
    assert figure_to_svg(figure, name="count") == first
    assert figure_to_svg(lines(), name="count") == first
    assert ">bits read</text>" in first
    assert "<dc:date>" not in first
    assert "DOCTYPE" not in first


def test_the_name_becomes_the_id() -> None:
    """The name becomes the id of the SVG."""
    figure = lines()
    assert 'id="count"' in figure_to_svg(figure, name="count").partition(">")[0]
    assert figure_to_svg(figure, name="other") != figure_to_svg(figure, name="count")


def test_global_settings_and_the_figure() -> None:
    """Global settings and the figure are left as they were."""
    before = dict(matplotlib.rcParams)
    with style():
        figure, axes = new_figure()
        mesh = axes[0, 0].pcolormesh(np.arange(400.0).reshape(20, 20))
        points = axes[0, 0].scatter(np.arange(200), np.arange(200))
    children = len(axes[0, 0].get_children())
    _ = figure_to_svg(figure, name="mesh")
    assert dict(matplotlib.rcParams) == before
    assert len(axes[0, 0].get_children()) == children
    assert mesh.get_visible()
    assert not points.get_rasterized()


def test_a_mesh_becomes_one_pixel() -> None:
    """A mesh becomes one pixel a cell in its own colours and orientation."""
    with style():
        figure, axes = new_figure()
        values = np.arange(240.0).reshape(12, 20)
        mesh = axes[0, 0].pcolormesh(values, cmap="viridis")
    svg = figure_to_svg(figure, name="mesh")
    (picture,) = pictures(svg)
    assert picture.shape == (12, 20, 4)
    # Pictures are drawn downwards unless the fourth number of their matrix is negative.
    matrix = re.search(r'<image[^>]*transform="matrix\(([^)]*)\)"', svg)
    assert matrix is not None
    bottom_first = picture if float(matrix[1].split()[3]) < 0 else picture[::-1]
    expected = (mesh.to_rgba(values) * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(bottom_first, expected)


@pytest.mark.parametrize("count", [150, 151])
def test_more_than_150_marks_become(count: int) -> None:
    """More than 150 marks become pixels."""
    with style():
        figure, axes = new_figure()
        axes[0, 0].plot(np.arange(count), np.arange(count), "o", linestyle="none")
    svg = figure_to_svg(figure, name="marks")
    assert ("<image" in svg) == (count > 150)
    assert svg.count("<use") > 100 or count > 150


def test_black_lines_stay_vectors_where_all_else_becomes_pixels() -> None:
    """Pixels cannot take the page's colour of text: a black bound would be lost on a dark page, one of a role not."""
    found = {}
    trained = role_style("trained").color
    for color in ("black", trained):
        with style():
            figure, axes = new_figure()
            for row in range(40):
                axes[0, 0].plot(np.arange(60), np.full(60, row), "o", color=trained)
            axes[0, 0].axhline(0.25, color=color, linewidth=7.5)
        svg = figure_to_svg(figure, name="bound")
        assert "<image" in svg
        found[color] = "stroke-width: 7.5" in svg
    assert found == {"black": True, trained: False}


@pytest.mark.parametrize(("color", "kept"), [("black", True), ("#3f90da", False)])
def test_black_bands_stay_vectors_where_all_else_becomes_pixels(color: str, kept: bool) -> None:
    """The interval around a line in ink is ink too."""
    with style():
        figure, axes = new_figure()
        for row in range(40):
            axes[0, 0].plot(np.arange(60), np.full(60, row), "o", color="#3f90da")
        axes[0, 0].fill_between([0, 60], [0, 1], [2, 3], color=color, alpha=0.15, linewidth=0)
    svg = figure_to_svg(figure, name="band")
    assert "<image" in svg
    assert ("fill-opacity: 0.15" in svg) == kept


def test_ten_thousand_points_and_two() -> None:
    """Ten thousand points and two hundred bars stay below 25 kilobytes."""
    rng = np.random.default_rng(0)
    with style():
        figure, axes = new_figure(2, 1, width=8)
        axes[0, 0].scatter(*rng.standard_normal((2, 10_240)), c=rng.random(10_240))
        axes[0, 1].hist(rng.standard_normal(5000), bins=200)
    svg = figure_to_svg(figure, name="cloud")
    assert len(svg.encode()) <= MAX_BYTES
    assert len(inline(svg).encode()) <= MAX_BYTES


def test_an_image_of_many_cells_becomes_coarser() -> None:
    """A picture that would be too heavy at a pixel a cell is averaged, and the figure keeps its own."""
    cells = np.random.default_rng(0).random((300, 200))
    cells[:150] += 10
    with style():
        figure, axes = new_figure()
        image = axes[0, 0].imshow(cells)
        figure.colorbar(image)
    svg = figure_to_svg(figure, name="cells")
    assert len(svg.encode()) <= MAX_BYTES
    assert np.array_equal(np.asarray(image.get_array()), cells)
    drawn = max(pictures(svg), key=np.size)
    for half, value in zip(np.array_split(drawn.astype(float), 2), (10.5, 0.5), strict=True):
        expected = 255 * np.array(image.cmap(image.norm(value)))
        assert np.abs(half.mean((0, 1)) - expected).max() < 12


def test_a_figure_that_cannot_be() -> None:
    """A figure that cannot be small says how large it is and a larger limit is kept."""
    figure = Figure()
    for index in range(300):
        figure.text(index / 300, index / 300, f"annotation {index}")
    with refused():
        _ = figure_to_svg(figure, name="texts")
    assert "annotation 299" in figure_to_svg(figure, name="texts", max_bytes=200_000)


def test_inline_svg_has_no_style() -> None:
    """Inline SVG has no style and names itself."""
    svg = inline(figure_to_svg(lines(), name="count"), alt="Three points up to 9 & more.")
    root = ET.fromstring(svg)
    assert "style" not in svg
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "F1-title F1-desc"
    assert root.findtext("title") == "A count"
    assert root.findtext("desc") == "Three points up to 9 & more."
    assert root.get("viewBox")
    assert "http" not in svg


def test_ids_carry_the_prefix() -> None:
    """Ids carry the prefix and every reference finds its target."""
    svg = inline(figure_to_svg(lines(), name="count"), prefix="F7-")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
    assert len(ids) == len(set(ids)) > 2
    assert all(name.startswith("F7-") for name in ids)
    assert references
    assert {first or second for first, second in references} <= set(ids)


def test_ink_follows_the_page() -> None:
    """Ink follows the page and paper is transparent but data keep their colours."""
    svg = inline(figure_to_svg(lines(), name="count"))
    assert "#000000" not in svg
    assert "#ffffff" not in svg
    assert 'fill="currentColor"' in svg
    assert "#3f90da" in svg


def test_letters_on_a_mesh_keep() -> None:
    """Letters on a mesh keep their colour and letters beside it do not."""
    with style():
        figure, axes = new_figure()
        axes[0, 0].pcolormesh(np.arange(4.0).reshape(2, 2), cmap="gray")
        axes[0, 0].text(0.5, 0.5, "on", color="white")
        axes[0, 0].text(1.5, 1.5, "over", color="black")
        axes[0, 0].set(title="beside")
    root = ET.fromstring(inline(figure_to_svg(figure, name="mesh")))
    fills = {text.text: text.get("fill") for text in root.iter("text")}
    assert fills["on"] == "#ffffff"
    assert fills["over"] == "#000"
    assert fills["beside"] in (None, "currentColor")


def test_hostile_names_in_a_figure() -> None:
    """Hostile names in a figure and around it stay text."""
    with style():
        figure, axes = new_figure()
        axes[0, 0].plot([1, 2], [1, 2], label=HOSTILE)
        axes[0, 0].set(title=HOSTILE, xlabel="\u202eright to left", ylabel="x" * 300)
        axes[0, 0].legend()
    svg = inline(figure_to_svg(figure, name=HOSTILE), title=HOSTILE, alt=HOSTILE + " 1")
    assert "<img" not in svg
    assert "<script" not in svg
    assert ET.fromstring(svg).findtext("title") == HOSTILE


EVIL = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="10" height="20" onload="alert(1)"><style>* {fill: red}</style><script>alert(1)</script>
<foreignObject><img src="x"/></foreignObject><a href="javascript:alert(1)"><text>link</text></a>
<rect id="r" width="1" height="1" onclick="alert(1)" style="fill: url(http://e.example/x#y); stroke: red"/>
<use xlink:href="http://e.example/x.svg#r"/><use xlink:href="#r"/><image href="http://e.example/x.png"/>
<image href="data:image/svg+xml;base64,AAAA"/><set attributeName="href" to="javascript:alert(1)"/>
<animate attributeName="href" values="javascript:alert(1)"/></svg>"""


def test_scripts_handlers_foreign_objects() -> None:
    """Scripts handlers foreign objects and outside references are dropped."""
    svg = inline(EVIL)
    for word in (
        "alert",
        "script",
        "onload",
        "onclick",
        "foreign",
        "e.example",
        "javascript",
        "<a",
        "<image",
        "set",
    ):
        assert word not in svg, word
    assert 'stroke="red"' in svg
    assert 'href="#F1-r"' in svg
    assert 'viewBox="0 0 10 20"' in svg


@pytest.mark.parametrize(
    "svg",
    [
        "no svg",
        "<svg xmlns='http://www.w3.org/2000/svg'/>",
        "<html/>",
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg width="1" height="1">&a;</svg>',
    ],
)
def test_what_is_no_plain_svg(svg: str) -> None:
    """What is no plain SVG is refused with the reason."""
    with refused():
        _ = inline(svg)


def test_the_declaration_that_matplotlib_writes() -> None:
    """The declaration that matplotlib writes is accepted."""
    buffer = io.StringIO()
    lines().savefig(buffer, format="svg")
    assert "<!DOCTYPE svg" in buffer.getvalue()
    assert inline(buffer.getvalue()).startswith("<svg")
