"""The colours of a figure's artists, and which of them say something else than the table of colours."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from probe.colours import ROLES, STEP, VALUE
from probe.plots.style import AMOUNTS, ROLE_STYLE, SIGNS, STEPS, VALUES, ShownFigure, name_colours

#: Other words that name a role in a figure, alone or before a comma.
CALLED = {
    "this network": "trained",
    "this network's answer": "trained",
    "after training": "trained",
    "with larger weights": "scaled head",
    "before training": "own initialisation",
    "as expected": "planted",
    "written by hand": "planted",
}
#: The modules whose figures show networks of these roles alone, so that no word beside their marks says it.
ROLES_OF: Mapping[str, tuple[str, ...]] = {
    "probe.questions.interventions.interchange": ("trained",),
    "analyses.counter.base_rate": ("trained",),
    "analyses.counter.over_training": ("trained",),
    "analyses.counter.pictures.drawing": ("trained",),
    "analyses.counter.pictures.lengths": ("trained",),
    "analyses.counter.pictures.put_in": ("planted", "trained"),
    "analyses.counter.pictures.string": ("trained",),
    "analyses.counter.width": ("trained",),
    "analyses.flipflop.page": ("trained",),
}
#: Where the class of all figures keeps them while tests run, whatever name this file was imported by.
_MADE = "made_in_tests"
#: How far a colour may lie from one of a scale, whose colours are between those of the table.
_NEAR = 2.5 / 255
#: The packages and modules of frames between a drawing function and the figure that is made for it.
_BETWEEN = ("probe.plots.style", "probe.plots.panels", "matplotlib", "contextlib", "jaxtyping", "typeguard")
_SCALES = {
    meaning: np.array([scale(place)[:3] for place in np.linspace(0, 1, 1024)])
    for meaning, scale in ((STEP, STEPS), (VALUE, VALUES))
}
#: The colours of names, of which a picture has 32 at the most.
_NAMES = {to_rgb(colour) for count in range(1, 33) for colour in name_colours(count)}
_ROLE_OF = {to_rgb(look.color): role for role, look in ROLE_STYLE.items()}


def meaning(colour: Any) -> str | None:
    """Return what a colour means: a role, a scale, a name, "" for ink, grey and paper, or None if it is not known."""
    rgb = to_rgb(colour)
    if max(rgb) - min(rgb) < 1e-6:
        return ""
    if rgb in _ROLE_OF:
        return _ROLE_OF[rgb]
    if rgb in _NAMES:
        return "name"
    return next((name for name, of in _SCALES.items() if np.abs(of - rgb).max(axis=1).min() < _NEAR), None)


def _seen(colours: Iterable[Any]) -> Iterator[Any]:
    yield from (one for one in colours if not (isinstance(one, str) and one == "none") and to_rgba(one)[3] > 0)


def _painted(artist: Artist) -> Iterator[Any]:
    """Yield the colours that an artist is drawn in."""
    if isinstance(artist, Line2D):
        line = [artist.get_color()] if artist.get_linestyle() not in ("None", "none", "", " ") else []
        marks = [artist.get_markerfacecolor(), artist.get_markeredgecolor()]
        yield from _seen([*line, *(marks if artist.get_marker() not in ("None", "none", "", " ", None) else [])])
    elif isinstance(artist, Patch):
        yield from _seen([artist.get_facecolor(), *([artist.get_edgecolor()] if artist.get_linewidth() else [])])
    elif isinstance(artist, Collection) and artist.get_array() is None:
        for colours in (artist.get_facecolor(), artist.get_edgecolor()):
            yield from _seen(np.reshape(colours, (-1, 4)))
    elif isinstance(artist, Text) and artist.get_text().strip():
        yield from _seen([artist.get_color()])


def called(words: str) -> str:
    """Return the role that a label begins with, under any of its names, or the label itself."""
    first = words.partition(",")[0]
    return CALLED.get(first, first)


def named(words: Iterable[str]) -> set[str]:
    """Return the roles that stand in some words, or that some of the words are another name of."""
    texts = [" ".join(text.split()) for text in words]
    every = "\n".join(texts)
    return {role for role in ROLES if re.search(rf"\b{role}\b", every)} | {called(text) for text in texts}


def _words(figure: Figure) -> Iterator[str]:
    """Yield the texts of a figure, and the labels of its artists."""
    for one in figure.findobj():
        if isinstance(one, Text):
            yield one.get_text()
        elif isinstance(one, Line2D | Patch | Collection):
            yield str(one.get_label())


def faults(figure: Figure, roles: Sequence[str] = ()) -> list[str]:
    """Return what a figure draws in a colour that means something else; no word in it need name `roles`."""
    known = named(_words(figure)) | set(roles)
    found: list[str] = []
    for artist in figure.findobj():
        if isinstance(artist, ScalarMappable) and artist.get_array() is not None and not _listed(artist):
            found.append(f"{type(artist).__name__} has the colours {artist.get_cmap().name!r}")
        label = str(artist.get_label()) if isinstance(artist, Line2D | Patch | Collection) else ""
        role = called(label)
        for colour in _painted(artist):
            what = meaning(colour)
            if what is None:
                found.append(f"{to_rgb(colour)} is not in the table")
            elif role in ROLES and what != role:
                found.append(f"{label!r} is drawn as {what or 'ink or grey'!r}")
            elif what in ROLES and label and not label.startswith("_") and what not in (role, *roles):
                found.append(f"{label!r} is drawn as {what!r}")
            elif what in ROLES and what not in known:
                found.append(f"something is drawn as {what!r}, and no word of the figure says so")
    return found + [fault for one in figure.findobj(Legend) if isinstance(one, Legend) for fault in _keys(one)]


def _listed(artist: ScalarMappable) -> bool:
    """Whether cells, or a scale beside them, have the colours of signs or amounts, or colours of the table."""
    scale = artist.get_cmap()
    values = artist.get_array()
    if isinstance(artist, AxesImage) and values is not None and values.ndim == 3:
        return True
    return scale.name in (SIGNS.name, AMOUNTS.name) or all(
        meaning(colour) is not None for colour in scale(np.linspace(0, 1, scale.N))
    )


def _keys(legend: Legend) -> Iterator[str]:
    """Yield the entries of a legend that have no name or no key, or a key in the colour of another role."""
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        role, colours = called(text.get_text()), list(_painted(handle)) if handle is not None else []
        if not text.get_text().strip() or not colours:
            yield f"the entry {text.get_text()!r} of a legend has no name or no key"
        for colour in colours:
            if role in ROLES and meaning(colour) != role:
                yield f"the key of {text.get_text()!r} is drawn as {meaning(colour)!r}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def watch() -> None:
    """Remember every figure that is made from now on, and the module that asked for it; once is enough."""
    if hasattr(ShownFigure, _MADE):
        return
    made: Callable[..., None] = ShownFigure.__init__
    figures: list[tuple[Figure, str]] = []

    def init(self: ShownFigure, *args: Any, **more: Any) -> None:
        made(self, *args, **more)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and _module(frame).startswith(_BETWEEN):
            frame = frame.f_back
        figures.append((self, _module(frame) if frame else ""))

    ShownFigure.__init__ = init
    setattr(ShownFigure, _MADE, figures)


def maker(figure: Figure) -> str:
    """Return the module that a figure was made for since the last look, or nothing where no figure was."""
    figures: list[tuple[Figure, str]] = getattr(ShownFigure, _MADE)
    return next((module for one, module in figures if one is figure), "")


def figures() -> list[Figure]:
    """Return the figures that were made since the last look."""
    made: list[tuple[Figure, str]] = getattr(ShownFigure, _MADE)
    return [figure for figure, _ in made]


def looked_at() -> list[str]:
    """Return the faults of the figures that modules of the project made since the last look, and forget these."""
    figures: list[tuple[Figure, str]] = getattr(ShownFigure, _MADE)
    found = [
        f"{module}: {fault}"
        for figure, module in figures
        if module.startswith(("probe.", "analyses."))
        for fault in faults(figure, ROLES_OF.get(module, ()))
    ]
    figures.clear()
    return sorted(set(found))


WHITE, DARK_PAGE = "#ffffff", "#14171a"


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
