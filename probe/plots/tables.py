"""Plots of tables: a matrix with its numbers, and a dose-response curve."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex

from ..errors import ProbeError, unknown
from .keywords import plot_arguments
from .legends import legend_inside
from .panels import drawn, panels
from .sequences import ink_on, name_across, name_rows, paint_cells, say_scale, written
from .style import (
    AMOUNTS,
    FONT_SIZE,
    GREY,
    IN_INK,
    ROLE_STYLE,
    SIGNS,
    SMALL,
    RoleStyle,
    colour_map,
    inks,
    ours,
    palette_colours,
    points,
    set_map,
    unless_set,
)

#: Inches that a cell is wide and high where it has room, that a letter of its number is wide, and its line high.
_CELL, _LETTER, _LINE = (0.62, 0.42), 0.1, 0.19


@plot_arguments()
def matrix(
    data: Any,
    *,
    rows: Sequence[Any] | None = None,
    columns: Sequence[Any] | None = None,
    fmt: str = ".2f",
    figsize: Any = None,
    title: str | None = None,
    cmap: Any = None,
    ax: Any = None,
) -> Axes:
    """Draw a matrix with its numbers printed in the cells, or beside a scale of colours where they have no room.

    White is 0, and black is the largest number, or 1 where none is larger, as of shares. Where numbers below 0 occur,
    teal is below 0 and gold above. A cell that is NaN stays empty. `probe.plots.table` of what comes back has the
    columns row, column and value.

    Args:
        data: a DataFrame, a DataArray of two dims, or an array (row, column).
        rows: the rows' names, or None for those of the data.
        columns: the columns' names, or None for those of the data.
        fmt: how a number is written, as in `format`.
        figsize: inches of a new figure, (width, height), or None.
        title: what the numbers are.
        cmap: a colour map, or its name, in place of these colours; so is `image.cmap` where you set it.
        ax: where to draw, or None for a new figure of pyplot's. In your axes the title says the ends of a scale.

    Raises:
        ProbeError: it is no matrix, has no number, or names do not fit.
    """
    values, (down, across), (below, beside) = _as_matrix(data, rows, columns)
    signed = bool((values < 0).any())
    largest = float(np.nanmax(np.abs(values))) or 1.0
    norm = Normalize(-largest, largest) if signed else Normalize(0, max(largest, 1))
    given = set_map() if cmap is None else cmap
    scale = colour_map(given, SIGNS if signed else AMOUNTS)
    width, height = 1.6 + _CELL[0] * len(across), max(1.0 + _CELL[1] * len(down), 0.6 + _LETTER * len(beside))
    table = pd.DataFrame({"row": np.repeat(down, len(across)), "column": across * len(down), "value": values.ravel()})
    with panels(1, ax=ax, figsize=figsize, title=title, width=max(width, 3.0), height=height) as axes:
        panel = axes[0]
        said = np.vectorize(lambda value: written(value, fmt) if np.isfinite(value) else "")(values)
        if _have_room(panel, values.shape, int(np.char.str_len(said).max()), max(map(len, down))):
            paint_cells(panel, values, scale, norm, annot=said, fmt="")
            for text in panel.texts:
                column, row = (int(place) for place in text.get_position())
                text.set_color(ink_on(to_hex(tuple(scale(norm(values[row, column]))))))
        else:
            paint_cells(panel, values, scale, norm)
            say_scale(panel, norm, fmt)
        name_rows(panel, down)
        name_across(panel, across, inches=_inches(panel, max(map(len, down))))
        panel.tick_params(length=0)
        panel.set_xlabel(below, parse_math=False)
        panel.set_ylabel(beside, parse_math=False)
    return drawn(axes, table)


def _have_room(ax: Axes, cells: tuple[int, ...], letters: int, beside: int) -> bool:
    """Whether numbers of so many letters have room in the cells of axes, (row, column), beside names of so many."""
    width, height = _inches(ax, beside), ax.bbox.height / ax.figure.dpi
    larger = points("font.size") / FONT_SIZE
    return width / cells[1] >= letters * _LETTER * larger and height / cells[0] >= _LINE * larger


def _inches(ax: Axes, beside: int) -> float:
    """Return how wide axes are beside names of so many letters."""
    if not ours(ax):
        return ax.bbox.width / ax.figure.dpi
    return ax.figure.bbox.width / ax.figure.dpi - 0.4 - beside * _LETTER * points("ytick.labelsize") / SMALL


def _as_matrix(
    data: Any, rows: Sequence[Any] | None, columns: Sequence[Any] | None
) -> tuple[np.ndarray, list[list[str]], list[str]]:
    """Return the numbers of a matrix, the names of its rows and columns, and the titles of columns and rows."""
    xr = sys.modules.get("xarray")
    if xr is not None and isinstance(data, xr.DataArray) and data.ndim == 2:
        data = data.to_pandas()
    values = np.asarray(data.detach().cpu() if hasattr(data, "detach") else data)
    if values.ndim != 2 or values.dtype.kind not in "biuf" or not np.isfinite(values).any():
        raise ProbeError(
            f"data has the shape {values.shape} and holds {values.dtype}; a matrix is numbers of the shape (row, "
            "column), at least one of them finite."
        )
    of_frame = isinstance(data, pd.DataFrame)
    titles = [str(data.columns.name or ""), str(data.index.name or "")] if of_frame else ["", ""]
    found = []
    for name, given, own, size in (
        ("rows", rows, data.index if of_frame else None, values.shape[0]),
        ("columns", columns, data.columns if of_frame else None, values.shape[1]),
    ):
        names = [str(one) for one in (given if given is not None else own if own is not None else range(size))]
        if len(names) != size:
            raise ProbeError(f"{name}= names {len(names)}, and the matrix has {size}.")
        found.append(names)
    return np.where(np.isfinite(values), values, np.nan).astype(float), found, titles


@plot_arguments()
def dose(
    data: Any,
    *,
    given: str = "given",
    answered: str = "answered",
    hue: str | None = None,
    base: float | int | None = None,
    figsize: Any = None,
    title: str | None = None,
    palette: Any = None,
    ax: Any = None,
) -> Axes:
    """Draw a dose-response curve: what was put in across, what the network answered upwards, a line a group.

    On the grey diagonal the answer is what was put in; on the dotted line nothing changes. `probe.plots.table` of
    what comes back has the mean of each group at each dose.

    Args:
        data: a DataFrame, or a Dataset, with a row for each measurement; of several at one dose the mean is drawn.
        given: the column of doses.
        answered: the column of answers.
        hue: the column that names the group of each row, such as which part of the state was put in, or None; rows
            without a name are a group, too.
        base: what the network answers where nothing is put in, or None.
        figsize: inches of a new figure, (width, height), or None.
        title: of the panel, or None for none.
        palette: the colours of the groups, as in seaborn: a name, a colour map, a list or a dict.
        ax: where to draw, or None for a new figure of pyplot's.

    Raises:
        ProbeError: a column does not exist, holds no numbers, or there is no row.
    """
    frame = _table(data, [given, answered], [hue])
    if hue is not None:
        frame = frame.assign(**{hue: frame[hue].astype(object).where(frame[hue].notna(), "missing").astype(str)})
    groups, marks = _groups(frame, hue, palette), unless_set("lines.markersize", 5.0)
    keys = [given] if hue is None else [hue, given]
    means = frame.groupby(keys, sort=True)[answered].mean().reset_index()
    with panels(1, ax=ax, figsize=figsize, title=title, height=4.0) as axes:
        panel = axes[0]
        ends = [float(frame[given].min()), float(frame[given].max())]
        panel.plot(ends, ends, color=GREY, linewidth=1, zorder=1)
        if base is not None:
            panel.plot(ends, [base, base], color=GREY, linewidth=1.2, linestyle=":", zorder=1)
        lines = []
        for name, look in groups.items():
            rows = means if hue is None else means[means[hue] == name]
            lines += panel.plot(rows[given].to_numpy(float), rows[answered], **look.line(), markersize=marks)
        panel.set_xlabel(given.replace("_", " "), parse_math=False)
        panel.set_ylabel(answered.replace("_", " "), parse_math=False)
        if hue is not None:
            _ = legend_inside(panel, lines, list(groups))
    return drawn(axes, means)


def _table(data: Any, numbers: Sequence[str], others: Sequence[str | None]) -> pd.DataFrame:
    """Return a table that has the columns, without rows whose numbers are missing."""
    xr = sys.modules.get("xarray")
    if xr is not None and isinstance(data, (xr.Dataset, xr.DataArray)):
        data = (data if isinstance(data, xr.Dataset) else data.to_dataset(name=data.name or "value")).to_dataframe()
        data = data.reset_index()
    if not isinstance(data, pd.DataFrame):
        raise ProbeError(f"A {type(data).__name__} was given; give a pandas DataFrame, or an xarray Dataset.")
    names: list[Hashable] = list(data.columns)
    for column in [*numbers, *(one for one in others if one is not None)]:
        if column not in names:
            raise ProbeError(unknown("column", column, names))
    for column in numbers:
        if data[column].dtype.kind not in "iuf":
            held = pd.api.types.infer_dtype(data[column])
            raise ProbeError(f"The column {column!r} holds values of the kind {held}; it must hold numbers.")
    kept = data.dropna(subset=list(numbers))
    if kept.empty:
        raise ProbeError(
            f"data has no row with a number in {', '.join(map(repr, numbers))}: there is nothing to draw."
        )
    return kept


def _groups(frame: pd.DataFrame, hue: str | None, palette: Any) -> dict[str, RoleStyle]:
    """Return how each group is drawn: as its role, or in ink, by the next line and marker, or as the palette says."""
    names = [""] if hue is None else list(dict.fromkeys(frame[hue]))
    plain = [name for name in names if name not in ROLE_STYLE]
    if len(plain) > len(IN_INK):
        raise ProbeError(
            f"The column {hue!r} has {len(plain)} groups that are no roles, and at most {len(IN_INK)} are told apart."
        )
    own = [replace(look, color=ink) for look, ink in zip(IN_INK, inks(len(IN_INK)), strict=True)]
    looks = ROLE_STYLE | dict(zip(plain, own, strict=False))
    paint = palette_colours(palette, names, [looks[name].color for name in names])
    return {name: replace(looks[name], color=colour) for name, colour in zip(names, paint, strict=True)}
