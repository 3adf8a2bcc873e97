"""What a figure must not lack: its numbers, its data, whole marks and letters, and each dot in its pixels."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import FancyArrowPatch, Patch, PathPatch
from matplotlib.spines import Spine
from matplotlib.text import Text
from painted import figures, maker
from PIL import Image

from probe.evidence import DataFigure

#: Where the class of all figures with data keeps what was found of them while tests run.
_FOUND = "found_in_tests"
#: So many pixels, of a hundred an inch, may be cut off: no eye sees them.
_ROOM = 1.0
#: So many pixels wide a figure is on a phone, and so high a letter must be there.
_PHONE, _READABLE = 560, 11
#: A pixel is painted if a channel differs by so much from white.
_PAINTED = 4
#: Words that are wrong on a dark page, unless cells keep their colours.
_OF_ONE_PAPER = re.compile(r"\b(black|white)\b", re.IGNORECASE)
_NO_NUMBER = re.compile(r"\b(nan|inf|None)\b")


class Marks(NamedTuple):
    """The dots of an artist: where they are in pixels, (dot, 2), NaN without a place; how far they reach, (2,)."""

    artist: Artist
    places: np.ndarray
    reach: np.ndarray


def faults(figure: Figure, png: bytes | None = None, caption: str = "") -> list[str]:
    """Return what a figure with a caption shows wrongly, or not at all; every dot is looked for in its pixels."""
    engine = figure.get_layout_engine()
    if png is None:
        figure.draw_without_rendering()
    # A layout that is computed once more may move what the pixels show.
    figure.set_layout_engine("none")
    try:
        # In a file of another resolution the names of axes stood elsewhere.
        figure.draw_without_rendering()
        found = [*_texts(figure), *_said(figure, caption)]
        for ax in figure.axes:
            if ax.get_visible():
                found += [*_cut(ax), *_unseen(ax, png)]
    finally:
        figure.set_layout_engine(engine)
    return sorted(set(found))


def _shown(artist: Artist) -> bool:
    return bool(artist.get_visible()) and artist.get_alpha() != 0


def _texts(figure: Figure) -> Iterator[str]:
    """Yield the texts that are no number, too small for a phone, outside the figure, or over another one."""
    boxes: list[tuple[str, str, Any]] = []
    for text in letters(figure):
        said = text.get_text()
        if float(text.get_fontsize()) / 72 * _PHONE / figure.get_figwidth() < _READABLE:
            yield f"{said!r} is too small for a phone"
        if _NO_NUMBER.search(said):
            yield f"{said!r} is written"
        box = text.get_window_extent()
        if _beyond(np.array([box.min, box.max]), figure.bbox) > _ROOM:
            yield f"{said!r} is cut off by the figure's edge"
        if text.get_rotation() % 90 == 0 and "\n" not in said:  # else there is room for another in its box
            # Of a picture that is seen step by step, `at-STEP-...`, one step is shown at a time.
            step = "-".join((text.get_gid() or "").split("-")[:2])
            over = [its for its, at, its_box in boxes if at == step and min(_both(box, its_box)) > 3 * _ROOM]
            yield from (f"{said!r} stands over {its!r}" for its in over)
            boxes.append((said, step, box))


def _both(one: Any, other: Any) -> np.ndarray:
    """Return by how many pixels two boxes overlap across and up."""
    return np.minimum(one.max, other.max) - np.maximum(one.min, other.min)


def _beyond(places: np.ndarray, box: Any) -> float:
    """Return by how many pixels some places lie outside a box, at most; NaN counts as inside."""
    far = np.concatenate([box.min - places.reshape(-1, 2), places.reshape(-1, 2) - box.max]).ravel()
    return float(np.nanmax(far, initial=-np.inf))


def letters(figure: Figure) -> Iterator[Text]:
    """Yield the texts that are drawn; of ticks, those within their axis."""
    hidden: set[Artist] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            drawn = ax.get_visible() and ax.axison and axis.get_visible()
            low, high = sorted(axis.get_view_interval())
            room = 1e-6 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not (drawn and tick.get_visible() and low - room <= tick.get_loc() <= high + room):
                    hidden |= {tick.label1, tick.label2}
            hidden |= set() if drawn else {axis.label, axis.offsetText}
        hidden |= set() if ax.get_visible() else set(ax.findobj(Text))
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in hidden and _shown(text) and text.get_text().strip():
            yield text


def _said(figure: Figure, caption: str) -> Iterator[str]:
    """Yield the words of a caption that hold on one paper alone."""
    cells = figure.findobj(lambda one: isinstance(one, QuadMesh | AxesImage))
    for word in () if cells else sorted({one.lower() for one in _OF_ONE_PAPER.findall(caption)}):
        yield f"the caption says {word!r}, and ink is black on one paper and white on the other"


def _of_data(ax: Axes) -> list[Artist]:
    """Return what is drawn of the data: no frame, no guide across the axes, no key, nothing without a point."""
    return [one for one in ax.get_children() if one is not ax.patch and _shown(one) and _has_data(ax, one)]


def _has_data(ax: Axes, artist: Artist) -> bool:
    if isinstance(artist, Line2D):
        across = artist.get_transform() in (ax.get_xaxis_transform(), ax.get_yaxis_transform(), ax.transAxes)
        return not across and bool(np.isfinite(artist.get_xydata()).all(axis=1).any())
    if isinstance(artist, Collection):
        return bool(len(artist.get_paths()) and np.size(artist.get_offsets()))
    if isinstance(artist, Text):
        return not ax.axison and bool(artist.get_text().strip())
    return isinstance(artist, Patch | AxesImage) and not isinstance(artist, Spine)


def _marks(ax: Axes) -> Iterator[Marks]:
    """Yield the dots of axes by the artist that draws them."""
    points = _whole(ax).dpi / 72
    for one in _of_data(ax):
        if isinstance(one, Line2D) and one.get_marker() not in ("", " ", "None", "none", None):
            style = MarkerStyle(one.get_marker())
            box = style.get_path().transformed(style.get_transform()).get_extents()
            reach = np.maximum(np.asarray(box.max), -np.asarray(box.min)) * one.get_markersize() * points
            yield Marks(one, one.get_transform().transform(_numbers(one.get_xydata())), reach)
        elif isinstance(one, PathCollection):
            size = float(np.sqrt(np.max(one.get_sizes(), initial=0))) / 2 * points
            yield Marks(one, one.get_offset_transform().transform(_numbers(one.get_offsets())), np.full(2, size))
        elif isinstance(one, PathPatch) and one.get_capstyle() == "round" and not one.get_fill():
            places = one.get_transform().transform(_numbers(one.get_path().vertices))[::2]
            yield Marks(one, places, np.full(2, one.get_linewidth() / 2 * points))


def _numbers(places: Any) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(places, dtype=float), np.nan)


def _outlines(ax: Axes) -> Iterator[tuple[Artist, np.ndarray]]:
    """Yield what lines and bars are drawn from, in pixels, (place, 2)."""
    for one in _of_data(ax):
        if isinstance(one, Line2D) and one.get_linestyle() not in ("None", "none", "", " "):
            yield one, one.get_transform().transform(_numbers(one.get_xydata()))
        elif isinstance(one, LineCollection):
            for segment in one.get_segments():
                yield one, one.get_transform().transform(_numbers(segment))
        # The outline of an arrow's head goes on behind its tip.
        elif isinstance(one, Patch) and not isinstance(one, FancyArrowPatch):
            yield one, one.get_transform().transform(_numbers(one.get_path().vertices))


def _cut(ax: Axes) -> Iterator[str]:
    """Yield the dots, lines and bars that axes cut off, or the figure's edge where they cut nothing; empty axes."""
    whole = _whole(ax).bbox
    name = ax.get_title("left") or ax.get_title() or ax.get_ylabel()
    if not _of_data(ax):
        yield f"axes {name!r} are empty"
    for one in _marks(ax):
        if not np.isfinite(one.places).all():
            yield f"a dot of {_label(one.artist)!r} in {name!r} has no place"
        box = ax.bbox if one.artist.get_clip_on() else whole
        by = max(_beyond(one.places - one.reach, box), _beyond(one.places + one.reach, box))
        if by > _ROOM:
            yield f"a dot of {_label(one.artist)!r} in {name!r} is cut off by {by:.0f} pixels"
        elif _beyond(one.places, ax.bbox) > _ROOM:
            yield f"a dot of {_label(one.artist)!r} stands outside of the axes {name!r}"
    for artist, places in _outlines(ax):
        by = _beyond(places, ax.bbox)
        if by > _ROOM:
            yield f"{type(artist).__name__} {_label(artist)!r} in {name!r} is cut off by {by:.0f} pixels"


def _whole(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _label(artist: Artist) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _unseen(ax: Axes, png: bytes | None) -> Iterator[str]:
    """Yield the dots at whose place the picture has no spot."""
    if not png:
        return
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    painted = (255 - pixels).max(axis=2) > _PAINTED
    scale = painted.shape[0] / _whole(ax).bbox.height
    for one in _marks(ax):
        reach = max(int(one.reach.max() * scale), 1)
        lost = 0
        for across, up in one.places[np.isfinite(one.places).all(axis=1)] * scale:
            row, column = round(painted.shape[0] - up), round(across)
            spot = painted[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
            lost += not spot.any()
        if lost:
            yield f"{lost} of {len(one.places)} dots of {_label(one.artist)!r} are not in the pixels"


def watch() -> None:
    """Look at every figure that the package or an analysis draws with its data from now on; once is enough."""
    if hasattr(DataFigure, _FOUND):
        return
    made = DataFigure.from_figure
    found: list[str] = []

    @functools.wraps(made)
    def from_figure(figure: Figure, **words: Any) -> DataFigure:
        png = None
        try:
            picture = made(figure, **words)
            png = picture.png
        finally:
            # One that is too large for an SVG stands on a page as well, in another form.
            if maker(figure).startswith(("probe.", "analyses.")):
                found.extend(f"{words['name']}: {one}" for one in faults(figure, png, words["caption"]))
        return picture

    DataFigure.from_figure = staticmethod(from_figure)
    setattr(DataFigure, _FOUND, found)


def of_library() -> list[str]:
    """Return the faults of the plots that the package drew, of recordings and tables, since painted's last look."""
    found: list[str] = []
    for figure in figures():
        if maker(figure).startswith("probe.plots."):
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
            found += [f"{maker(figure)}: {one}" for one in faults(figure, buffer.getvalue())]
    return sorted(set(found))


def lost() -> list[str]:
    """Return the faults of the figures that were drawn since the last look, and forget these."""
    found: list[str] = getattr(DataFigure, _FOUND)
    every = sorted(set(found))
    found.clear()
    return every
