"""Draws an SVG of this project again with matplotlib, to save it where no page brings its fonts: SVG, PDF and PNG.

A page's SVG has its text as text, which takes the letters of whoever reads it. Here letters are outlines in the SVG,
embedded in the PDF, and pixels in the PNG. Only what `figure_to_svg` writes is understood.
"""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform
from PIL import Image

from ..errors import ProbeError

#: The formats of a figure for a paper or a talk.
FORMATS = ("svg", "pdf", "png")
DPI = 300
_HREF = "{http://www.w3.org/1999/xlink}href"
_CALL = re.compile(r"(\w+)\(([^)]*)\)")
_TOKEN = re.compile(r"[A-Za-z]|-?[\d.]+(?:e-?\d+)?")
#: A letter of a path -> how many points follow it, and what matplotlib calls it.
_CODES = {"M": (1, Path.MOVETO), "L": (1, Path.LINETO), "Q": (2, Path.CURVE3), "C": (3, Path.CURVE4)}
_ANCHORS = {"start": "left", "middle": "center", "end": "right"}
#: Dashes are as long as the SVG says, whatever the width of their line, and a text is what it says.
_PLAIN: dict[Any, Any] = {
    "font.sans-serif": ["DejaVu Sans"],
    "lines.scale_dashes": False,
    "text.parse_math": False,
}
#: What a group or a letter hands on to what stands in it.
Style = Mapping[str, str]
#: An outline that something is seen in, and where its numbers lie on the figure.
Clip = tuple[Path, Transform]


def saved(svg: str, name: str) -> dict[str, bytes]:
    """Return a figure in every format of `FORMATS`, each the same bytes for the same figure.

    Args:
        svg: the figure, as `figure_to_svg` wrote it.
        name: what the SVG's ids are made from.

    Raises:
        ProbeError: the text is no SVG of this project.
    """
    settings: dict[Any, Any] = {"svg.fonttype": "path", "svg.hashsalt": name, "pdf.fonttype": 42}
    nothing: dict[str, dict[str, Any]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        "png": {"Software": None},
    }
    found = {}
    figure = drawn(svg)
    with matplotlib.rc_context({**settings, **_PLAIN}):
        for form in FORMATS:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, dpi=DPI, metadata=nothing[form])
            found[form] = buffer.getvalue()
    return found


def drawn(svg: str) -> Figure:
    """Return the figure that an SVG shows, as large as it is.

    Args:
        svg: as `figure_to_svg` wrote it.

    Raises:
        ProbeError: the text is no SVG of this project.
    """
    try:
        root = ET.fromstring(svg)
        _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
        figure = Figure(figsize=(width / 72, height / 72))
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set_axis_off()
        ax.set(xlim=(0, width), ylim=(height, 0))
        with matplotlib.rc_context(_PLAIN):
            _Drawing(root, ax).draw(root, Affine2D(), {}, None)
    except (ET.ParseError, KeyError, ValueError, TypeError) as error:
        raise ProbeError(
            f"The picture cannot be drawn again ({type(error).__name__}: {str(error)[:80]}). Give an SVG that "
            "figure_to_svg wrote."
        ) from error
    return figure


class _Drawing:
    """The elements of an SVG, drawn one by one into axes whose numbers are the SVG's."""

    def __init__(self, root: ET.Element, ax: Axes) -> None:
        self.ax = ax
        # Later elements lie on earlier ones.
        self._order = count(1)
        self._named = {one.attrib["id"]: one for one in root.iter() if "id" in one.attrib}

    def draw(self, element: ET.Element, place: Transform, style: Style, clip: Clip | None) -> None:
        """Draw an element and what stands in it.

        Args:
            element: of the SVG.
            place: where its numbers lie on the figure.
            style: what it takes from the elements around it.
            clip: the outline that it is seen in; None for all of it.
        """
        tag = element.tag.rpartition("}")[2]
        style = {**style, **_style(element)}
        here = _transform(element.get("transform", "")) + place
        if "clip-path" in element.attrib:
            (outline,) = self._named[element.attrib["clip-path"][5:-1]]
            clip = _outline(outline), here
        if tag in ("svg", "g"):
            for one in element:
                self.draw(one, here, style, clip)
        elif tag == "path":
            self._path(element, here, style, clip)
        elif tag == "use":
            moved = Affine2D().translate(float(element.get("x", 0)), float(element.get("y", 0))) + here
            self.draw(self._named[element.attrib[_HREF][1:]], moved, style, clip)
        elif tag == "image":
            self._image(element, here, clip)
        elif tag == "text":
            self._text(element, here, style)

    def _clipped(self, artist: Any, clip: Clip | None) -> None:
        artist.set_clip_on(clip is not None)
        if clip is not None:
            artist.set_clip_path(clip[0], clip[1] + self.ax.transData)

    def _path(self, element: ET.Element, place: Transform, style: Style, clip: Clip | None) -> None:
        all_of_it = float(style.get("opacity", 1))
        fill, stroke = style.get("fill", "#000000"), style.get("stroke", "none")
        dashed = style.get("stroke-dasharray", "none")
        dashes = [] if dashed == "none" else [float(length) for length in re.split(r"[ ,]+", dashed)]
        ends = style.get("stroke-linecap", "butt")
        patch = PathPatch(
            _outline(element),
            transform=place + self.ax.transData,
            facecolor="none" if fill == "none" else (fill, all_of_it * float(style.get("fill-opacity", 1))),
            edgecolor="none" if stroke == "none" else (stroke, all_of_it * float(style.get("stroke-opacity", 1))),
            linewidth=float(style.get("stroke-width", 1)) if stroke != "none" else 0,
            linestyle=(float(style.get("stroke-dashoffset", 0)), dashes) if dashes else "solid",
            capstyle="projecting" if ends == "square" else ends,
            joinstyle=style.get("stroke-linejoin", "round"),
            zorder=next(self._order),
            # To whole pixels the line of a dot has no length, and the dot is left out.
            snap=False,
        )
        self.ax.add_artist(patch)
        self._clipped(patch, clip)

    def _image(self, element: ET.Element, place: Transform, clip: Clip | None) -> None:
        x, y, width, height = (float(element.get(name, 0)) for name in ("x", "y", "width", "height"))
        left, top = place.transform((x, y))
        right, bottom = place.transform((x + width, y + height))
        data = base64.b64decode(element.attrib[_HREF].partition("base64,")[2])
        with Image.open(io.BytesIO(data)) as picture:
            pixels = np.asarray(picture.convert("RGBA"))
        limits = self.ax.get_xlim(), self.ax.get_ylim()
        hard = "pixelated" in element.get("style", "")
        shown = self.ax.imshow(
            pixels,
            extent=(left, right, bottom, top),
            interpolation="none" if hard else "antialiased",
            aspect="auto",
            zorder=next(self._order),
        )
        self.ax.set(xlim=limits[0], ylim=limits[1])
        self._clipped(shown, clip)

    def _text(self, element: ET.Element, place: Transform, style: Style) -> None:
        for words, x, y, own in _words(element, style):
            at = place.transform((x, y))
            along = place.transform((x + 1, y)) - at
            self.ax.text(
                at[0],
                at[1],
                words,
                color=own.get("fill", "#000000"),
                alpha=float(own.get("opacity", 1)),
                fontsize=float(own.get("font-size", "10px").removesuffix("px")),
                fontweight=int(own["font-weight"]) if "font-weight" in own else "normal",
                fontstyle=own.get("font-style", "normal"),
                family="sans-serif",
                ha=_ANCHORS[own.get("text-anchor", "start")],
                va="baseline",
                rotation=-np.degrees(np.arctan2(along[1], along[0])),
                rotation_mode="anchor",
                clip_on=False,
                zorder=next(self._order),
            )


def _words(element: ET.Element, style: Style) -> Iterator[tuple[str, float, float, dict[str, str]]]:
    """Yield the words of a text, or of each of its parts: what, where, and how they look."""
    own = {**style, **_style(element)}
    if element.text and element.text.strip():
        yield element.text, float(element.get("x", 0)), float(element.get("y", 0)), own
    for part in element:
        starts = [float(number) for number in part.get("x", "0").split()]
        letters = "".join(part.itertext())
        # Letters of a formula have each their own place.
        pieces = zip(letters, starts, strict=True) if len(starts) > 1 else [(letters, starts[0])]
        for piece, x in pieces:
            yield piece, x, float(part.get("y", 0)), {**own, **_style(part)}


def _style(element: ET.Element) -> dict[str, str]:
    """Return what an element's style says, by name."""
    said = (part.partition(":") for part in element.get("style", "").split(";") if ":" in part)
    return {name.strip(): value.strip() for name, _, value in said}


def _transform(text: str) -> Transform:
    """Return what a transform does to points: the last one that is written comes first."""
    found: Transform = Affine2D()
    for name, numbers in reversed(_CALL.findall(text)):
        values = [float(number) for number in re.split(r"[ ,]+", numbers.strip())]
        if name == "matrix":
            a, b, c, d, e, f = values
            found += Affine2D(np.array([[a, c, e], [b, d, f], [0, 0, 1]]))
        elif name == "rotate":
            x, y = values[1:] or (0.0, 0.0)
            found += Affine2D().rotate_deg_around(x, y, values[0])
        elif name == "scale":
            found += Affine2D().scale(*values)
        elif name == "translate":
            found += Affine2D().translate(*values)
        else:
            raise ValueError(f"transform {name!r}")
    return found


def _outline(element: ET.Element) -> Path:
    """Return the outline of a path or a rectangle."""
    if element.tag.rpartition("}")[2] == "rect":
        x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        return Path.unit_rectangle().transformed(Affine2D().scale(width, height).translate(x, y))
    tokens, at = _TOKEN.findall(element.attrib["d"]), 0
    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    while at < len(tokens):
        if tokens[at].upper() == "Z":
            points.append(points[-1])
            codes.append(Path.CLOSEPOLY)
            at += 1
            continue
        follow, code = _CODES[tokens[at]]
        numbers = [float(number) for number in tokens[at + 1 : at + 1 + 2 * follow]]
        points += zip(numbers[::2], numbers[1::2], strict=True)
        codes += [code] * follow
        at += 1 + 2 * follow
    return Path(np.array(points, dtype=float).reshape(-1, 2), codes) if points else Path(np.empty((0, 2)))
