"""The pictures of a study's page, for any number of layers, names and values."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from ..errors import ProbeError
from ..evidence.findings import DataFigure
from ..report.svg import MAX_BYTES
from .style import style

#: Resolutions of a picture that is too large in any other way, and how many colours it keeps.
PIXELS, COLOURS = (110, 80, 60, 40, 25, 12), 16
#: The words beside a picture name so many of its numbers.
MOST_SAID = 24


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draw in the project's style; names that somebody gave are texts as they stand, `$` included, in any script."""
    settings: dict[Any, Any] = {"text.parse_math": False}
    with style(), matplotlib.rc_context(settings), warnings.catch_warnings():
        # Pixels have boxes there; the page has the letters.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")
        warnings.filterwarnings("ignore", r"Matplotlib currently does not support \w+ natively")
        yield


def drawn(figure: Figure, *, name: str, title: str, alt: str, caption: str, data: pd.DataFrame) -> DataFigure:
    """Return a figure with its words and data; one that would be too large as SVG is a picture of pixels."""
    try:
        return DataFigure.from_figure(figure, name=name, title=title, alt=alt, caption=caption, data=data)
    except ProbeError:
        return DataFigure(name, title, alt, caption, data, _pixels(figure, name), figure)


def medians_in_words(table: pd.DataFrame) -> str:
    """Return the medians over networks of a table's metrics, by role, for who does not see a picture."""
    keys = ["metric", "kind", "at", "role"]
    medians = table.groupby(keys, sort=False, dropna=False)["value"].median().reset_index()
    parts = []
    for metric, kind, at, role, value in medians.itertuples(index=False):
        which = [str(metric).replace("_", " "), str(kind).replace("_", " "), f"{at:g}" if np.isfinite(at) else ""]
        # Adding 0 takes the sign off a zero.
        parts.append(f"{' '.join(filter(None, which))}, {role} {round(value, 2) + 0.0:.2f}")
    others = "; the table has the others" if len(parts) > MOST_SAID else ""
    return f"Medians over networks: {'; '.join(parts[:MOST_SAID])}{others}."


def _pixels(figure: Figure, name: str) -> str:
    """Return a figure as SVG with nothing but a picture in it, as fine as fits."""
    import base64

    svg, (width, height) = "", figure.get_size_inches() * 72
    for dpi in PIXELS:
        small = io.BytesIO()
        figure.savefig(small, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        with Image.open(small) as picture:
            few = picture.convert("RGB").quantize(colors=COLOURS, method=Image.Quantize.MEDIANCUT)
        small = io.BytesIO()
        few.save(small, format="PNG", optimize=True)
        code = base64.b64encode(small.getvalue()).decode()
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" id="{name}" '
            f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}" version="1.1">\n'
            f'<image x="0" y="0" width="{width:g}" height="{height:g}" xlink:href="data:image/png;base64,{code}"/>\n'
            "</svg>\n"
        )
        if len(svg) <= MAX_BYTES:
            break
    return svg


def shortened(name: str, most: int) -> str:
    """Return a name of any length on one line, cut in the middle where it has more letters than so many."""
    text = " ".join("".join(one if one.isprintable() else " " for one in str(name)).split())
    if len(text) <= most:
        return text
    return f"{text[: (most - 1) // 2]}…{text[len(text) - most // 2 :]}"


def labels(names: Sequence[str], most: int) -> list[str]:
    """Return names cut to so many letters; those that would read alike are numbered."""
    found = [shortened(name, most) for name in names]
    return [f"{one} ({place})" if found.count(one) > 1 else one for place, one in enumerate(found, start=1)]
