"""Saves a matplotlib figure as a small SVG whose bytes are the same every time.

A mark costs 0.1 to 0.2 kB, so that 10,240 points weigh 1.6 MB: what has above 150 marks in one artist becomes
pixels inside the SVG, meshes one pixel a cell, while axes and text stay vectors that can be read and copied.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.lines import Line2D
from PIL import Image

from ..errors import ProbeError

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

#: The formats of a figure for a paper or a talk, and the pixels of an inch.
FORMATS, DPI = ("svg", "pdf", "png"), 300
MAX_MARKS = 150
MAX_BYTES = 25_000
# A vertex without a marker costs a tenth of a mark.
VERTICES_PER_MARK = 10
RASTER_DPI = (144, 110, 80, 60, 40)
# Drawn marks have few colours and many blends at their edges; 24 are enough to look at.
RASTER_COLOURS = 24
_IMAGE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_HASHED_ID = re.compile(r'\bid="((?:[a-z]|image|C\d+_\d+_)[0-9a-f]{8,40})"')
_REFERENCE = re.compile(r'(?<=["#])(?:[a-z]|image|C\d+_\d+_)[0-9a-f]{8,40}(?=[")])')
_PATH = re.compile(r'\b(d|points)="([^"]*)"')
_COORDINATE = re.compile(r'\b(x|y|width|height)="(-?\d+\.\d{3,})"')
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")


def figure_to_svg(figure: Figure, *, name: str, max_bytes: int = MAX_BYTES) -> str:
    """Return a figure as SVG text: the same bytes for the same figure, text kept as text.

    Args:
        figure: the figure; it is left as it was.
        name: the SVG's id.
        max_bytes: what the SVG may weigh. When it would weigh more, all marks become pixels, coarser ones
            if need be; black lines of up to 150 marks stay.

    Raises:
        ProbeError: the axes and text alone weigh more than `max_bytes`.
    """
    settings: dict[RcKeyType, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "probe",
        "svg.id": name,
        "svg.image_inline": True,
        # Joining images would resample them to the figure's resolution.
        "image.composite_image": False,
        # The list of fallback fonts is repeated in each text and weighs more than the text.
        "font.sans-serif": ["DejaVu Sans"],
    }
    text = ""
    with matplotlib.rc_context(settings), settled(figure):
        for attempt, dpi in enumerate((RASTER_DPI[0], *RASTER_DPI)):
            with _lightened(figure, most=dpi if attempt > 0 else None):
                text = _save(figure, dpi)
            if len(text.encode()) <= max_bytes:
                return text
    raise ProbeError(
        f"Figure {name[:80]!r} weighs {len(text.encode())} bytes as SVG with all its marks as pixels; "
        f"{max_bytes} are allowed. Draw fewer axes, ticks or annotations, or give a larger max_bytes."
    )


def for_papers(figure: Figure, *, name: str) -> dict[str, bytes]:
    """Return a figure in each format of `FORMATS`, without a font of the reader's."""
    settings: dict[RcKeyType, Any] = {"svg.fonttype": "path", "svg.hashsalt": name, "pdf.fonttype": 42}
    nothing: dict[str, dict[str, Any]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        "png": {"Software": None},
    }
    found = {}
    with matplotlib.rc_context({**settings, "font.sans-serif": ["DejaVu Sans"]}), settled(figure):
        for form in FORMATS:
            with _lightened(figure, most=None) if form != "png" else nullcontext():
                buffer = io.BytesIO()
                figure.savefig(buffer, format=form, dpi=DPI, metadata=nothing[form])
                found[form] = buffer.getvalue()
    return found


@contextmanager
def settled(figure: Figure) -> Iterator[None]:
    """Lay a figure out once for all that is saved of it inside; its layout engine is as before afterwards."""
    engine = figure.get_layout_engine()
    if engine is None or isinstance(engine, PlaceHolderLayoutEngine):
        yield
        return
    engine.execute(figure)
    # With an engine, even one that does nothing, every save would draw the figure once before to lay it out.
    with matplotlib.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def _save(figure: Figure, dpi: int) -> str:
    buffer = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", dpi=dpi, metadata=nothing)
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _short_ids(_IMAGE.sub(_smaller, text))
    text = _PATH.sub(lambda match: f'{match[1]}="{" ".join(_rounded(match[2]).split())}"', text)
    text = _COORDINATE.sub(lambda match: f'{match[1]}="{_rounded(match[2])}"', text)
    text = text.replace("font-family: 'DejaVu Sans', sans-serif; ", "font-family: sans-serif; ")
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    return re.sub(r">\s*\n\s*<", ">\n<", text).rstrip() + "\n"


def _short_ids(text: str) -> str:
    """Number the ids that matplotlib hashes: the hash changes with the last bit of a coordinate."""
    numbers = {name: f"i{number}" for number, name in enumerate(dict.fromkeys(_HASHED_ID.findall(text)), start=1)}
    return _REFERENCE.sub(lambda match: numbers.get(match[0], match[0]), text)


def _rounded(text: str) -> str:
    """Round to a hundredth of a point, which no screen shows."""
    return _DECIMALS.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), text)


def _smaller(match: re.Match[str]) -> str:
    """Write an embedded picture with a palette: exact up to 256 colours (meshes), else the nearest few."""
    data = base64.b64decode(match[1])
    with Image.open(io.BytesIO(data)) as picture:
        rgba = picture.convert("RGBA")
    # A pixel as one number, for which numpy sorts many times faster than for four.
    colours, index = np.unique(np.asarray(rgba).view(">u4")[..., 0], return_inverse=True)
    if len(colours) <= 256:
        small = Image.fromarray(index.astype(np.uint8), mode="P")
        small.putpalette(colours.astype(">u4").tobytes(), rawmode="RGBA")
    else:
        small = rgba.quantize(colors=RASTER_COLOURS, method=Image.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    data = min(data, buffer.getvalue(), key=len)
    return "data:image/png;base64," + base64.b64encode(data).decode()


@contextmanager
def _lightened(figure: Figure, *, most: int | None) -> Iterator[None]:
    """Turn heavy artists into pixels while the figure is saved, or all of them, images with so many cells a side."""
    everything = most is not None
    undo: list[Callable[[], object]] = []
    try:
        for axes in (found for found in figure.findobj(Axes) if isinstance(found, Axes)):
            for artist in axes.get_children():
                if artist.get_visible() and not artist.get_rasterized():
                    undo += _lighten(axes, artist, everything=everything)
                    undo += _coarser(artist, most) if most is not None and isinstance(artist, AxesImage) else []
            if len(axes.patches) > MAX_MARKS or everything:
                undo += [step for patch in axes.patches for step in _rasterise(patch)]
        yield
    finally:
        for step in reversed(undo):
            step()


def _lighten(axes: Axes, artist: Artist, *, everything: bool) -> list[Callable[[], object]]:
    if isinstance(artist, QuadMesh) and _plain(artist):
        return _mesh_as_image(axes, artist)
    if isinstance(artist, AxesImage):
        before = artist.get_interpolation()
        # Only "none" reaches the SVG at one pixel a cell; the default is resampled to the figure's resolution.
        if before in ("nearest", "auto", "antialiased"):
            artist.set_interpolation("none")
            return [lambda: artist.set_interpolation(before)]
        return []
    if isinstance(artist, (Collection, Line2D)):
        # Black is what a page turns into its own colour of text; as pixels it would be lost on a dark one.
        ink = _is_ink(artist)
        return _rasterise(artist) if _marks(artist) > MAX_MARKS or (everything and not ink) else []
    return []


def _is_ink(artist: Collection | Line2D) -> bool:
    """Whether all that an artist draws is black: a line, its markers, or a band around one."""
    if isinstance(artist, Line2D):
        line = [artist.get_color()] if artist.get_linestyle() != "None" else []
        marks = [artist.get_markerfacecolor(), artist.get_markeredgecolor()] if _is_marked(artist) else []
        return {to_hex(one) for one in (*line, *marks) if not (isinstance(one, str) and one == "none")} == {"#000000"}
    colours = np.concatenate(
        [np.reshape(artist.get_facecolor(), (-1, 4)), np.reshape(artist.get_edgecolor(), (-1, 4))]
    )
    return artist.get_array() is None and len(colours) > 0 and not colours[:, :3].any()


def _coarser(image: AxesImage, most: int) -> list[Callable[[], object]]:
    """Average the cells of an image in blocks, so that no side has more than so many."""
    before = image.get_array()
    if before is None or max(before.shape[:2]) <= most:
        return []
    cells = np.ma.masked_invalid(np.asarray(before, dtype=float))
    rows, columns = (np.linspace(0, side, min(side, most) + 1).astype(int)[:-1] for side in cells.shape[:2])
    kept = np.add.reduceat(np.add.reduceat((~np.ma.getmaskarray(cells)).astype(float), rows, 0), columns, 1)
    total = np.add.reduceat(np.add.reduceat(cells.filled(0.0), rows, 0), columns, 1)
    with np.errstate(invalid="ignore"):
        mean = total / kept
    image.set_data(mean.round().astype(np.uint8) if np.asarray(before).dtype == np.uint8 else mean)
    return [lambda: image.set_data(before)]


def _rasterise(artist: Artist) -> list[Callable[[], object]]:
    before = artist.get_rasterized()
    artist.set_rasterized(True)
    return [lambda: artist.set_rasterized(before)]


def _is_marked(line: Line2D) -> bool:
    return line.get_marker() not in ("", " ", "None", None)


def _marks(artist: Collection | Line2D) -> float:
    """Return how many marks an artist draws, a bare vertex counting a tenth."""
    if isinstance(artist, Line2D):
        points = np.asarray(artist.get_xdata()).size
        return float(points) if _is_marked(artist) else points / VERTICES_PER_MARK
    if isinstance(artist, QuadMesh):
        return float(np.asarray(artist.get_array()).size)
    paths = artist.get_paths()
    offsets = len(np.atleast_2d(np.asarray(artist.get_offsets())))
    vertices = sum(np.asarray(path.vertices).shape[0] for path in paths)
    return float(max(offsets, len(paths), vertices / VERTICES_PER_MARK))


def _plain(mesh: QuadMesh) -> bool:
    """Whether a mesh is flat, evenly spaced and without lines between its cells."""
    corners = np.asarray(mesh.get_coordinates())
    across, down = corners[0, :, 0], corners[:, 0, 1]
    straight = np.allclose(corners[..., 0], across[None, :]) and np.allclose(corners[..., 1], down[:, None])
    even = all(np.allclose(np.diff(edge), np.diff(edge)[0]) for edge in (across, down))
    few = _marks(mesh) <= MAX_MARKS
    lined = np.size(mesh.get_edgecolor()) > 0 and np.max(np.atleast_1d(mesh.get_linewidth())) > 0
    flat = corners.shape[0] - 1 == np.asarray(mesh.get_array()).shape[0]
    return bool(straight and even and flat and not (lined and few))


def _mesh_as_image(axes: Axes, mesh: QuadMesh) -> list[Callable[[], object]]:
    mesh.update_scalarmappable()
    corners = np.asarray(mesh.get_coordinates())
    rows, columns = corners.shape[0] - 1, corners.shape[1] - 1
    cells = np.asarray(mesh.get_facecolor()).reshape(rows, columns, 4)
    image = AxesImage(
        axes,
        origin="lower",
        extent=(corners[0, 0, 0], corners[0, -1, 0], corners[0, 0, 1], corners[-1, 0, 1]),
        interpolation="none",
        zorder=mesh.get_zorder(),
        transform=mesh.get_transform(),
    )
    image.set_data((cells * 255).round().astype(np.uint8))
    limits = axes.get_xlim(), axes.get_ylim()
    axes.add_artist(image)
    image.set_clip_path(axes.patch)
    mesh.set_visible(False)

    def undo() -> None:
        image.remove()
        mesh.set_visible(True)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])

    return [undo]
