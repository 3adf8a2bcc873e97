"""Units over steps, grouped by a concept, and units against a concept, a line a step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TypedDict, Unpack, overload

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ..arguments import checked_arguments
from ..errors import ProbeError, several
from ..recurrent.signals import Units
from .concepts import Levels, levels
from .legends import LINES, NAMED, name_lines, numbered, spread
from .recorded import Chosen, chosen
from .style import STEPS, VALUES, WIDEST, colour_map, colours, drawn, inks, lines_unless_set, panels

#: Where no units are named, at most so many are drawn; named ones need a figure of another size.
UNITS = 12
#: The ends of the band around a mean: the middle half of the values.
MIDDLE_HALF = (25, 75)


class _Options(TypedDict, total=False):
    """What both plots take beside the units and the axes."""

    by: Any
    signal: str | None
    layer: str | None
    name: str
    noun: str
    size: Any
    title: str | None
    cmap: Any


@overload
def traces(recording: Any, *, units: None = None, ax: None = None, **options: Unpack[_Options]) -> Figure: ...
@overload
def traces(recording: Any, *, units: int, ax: None = None, **options: Unpack[_Options]) -> Axes: ...
@overload
def traces(recording: Any, *, units: Units = None, ax: Axes, **options: Unpack[_Options]) -> Axes: ...
@overload
def traces(
    recording: Any, *, units: Units = None, ax: Axes | None = None, **options: Unpack[_Options]
) -> Axes | Figure: ...
@checked_arguments()
def traces(
    recording: Any,
    *,
    by: Any = None,
    units: Units = None,
    signal: str | None = None,
    layer: str | None = None,
    name: str = "",
    noun: str = "step",
    size: Any = None,
    title: str | None = None,
    cmap: Any = None,
    ax: Axes | None = None,
) -> Axes | Figure:
    """Draw units over steps: a line for the mean over sequences, and a band for the middle half of them.

    A unit whose values are whole numbers jumps from one to the next; the line of any other is straight between steps.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        by: a concept, (batch, time) or (batch,): each of its values has a line and a band of its own, of the
            sequences that have the value at the step; many numbers are put into bins. None draws all sequences as
            one group.
        units: which units, a panel each; None for at most 12, those that vary most. More need a size.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called.
        noun: what one step reads, such as `bit`.
        size: inches of a new figure, (width, height), or None.
        title: stands in place of the unit's name, or above the panels.
        cmap: the colours of the lines of `by`: a colour map, or its name.
        ax: where to draw a single unit, or None for a new figure.

    Returns:
        The axes of a single unit that was named, or that was drawn on `ax`; else the figure.

    Raises:
        ProbeError: a name or a number does not exist, or the concept is not aligned to the recording.
    """
    one = chosen(recording, layer=layer, signal=signal, units=units)
    after = one.layer.after
    groups = None if by is None else levels(by, one, "by", name)
    if units is None:
        one = _first(one, np.nanstd(one.values, axis=(0, 1)))
    lines = _coloured(cmap, None if groups is None else len(groups.values), VALUES)
    here = [one.real] if groups is None else [groups.codes == place for place in range(len(lines))]
    with _grid(one, ax, size, title) as axes:
        ends: list[float] = []
        for panel, number in zip(axes, range(len(one.units)), strict=True):
            ends = _draw_means(panel, after, one.values[:, :, number], here, lines)
            panel.set_title(one.units[number], parse_math=False)
            numbered(panel, after, most=6 if len(axes) > 1 else 10)
        _titles(axes, one.layer.step_label(noun), "mean and middle half")
        if groups is not None:
            name_lines(axes, ends, groups.labels, lines, title=groups.name)
    return drawn(axes, whole=units is None and ax is None)


def _draw_means(
    ax: Axes, after: np.ndarray, values: np.ndarray, groups: Sequence[np.ndarray], lines: Sequence[str]
) -> list[float]:
    """Draw the mean and the middle half of a unit, (batch, time), in each group of states; return where lines end."""
    known = values[np.isfinite(values)]
    # What holds whole numbers jumps from one step to the next.
    jumps = bool((known == known.round()).all())
    line: dict[str, Any] = {"drawstyle": "steps-mid"} if jumps else {}
    band: dict[str, Any] = {"step": "mid"} if jumps else {}
    ends: list[float] = []
    for group, ink in zip(groups, lines, strict=True):
        mean, low, high = _middle(np.where(group, values, np.nan))
        ax.fill_between(after, low, high, color=ink, alpha=0.15, linewidth=0, **band)
        there = np.isfinite(mean)
        if there.sum() == 1:
            ax.plot(after[there], mean[there], "o", color=ink, **lines_unless_set(1.6, 3.5))
        else:
            ax.plot(after, mean, color=ink, **lines_unless_set(1.6, 3.5), **line)
        ends.append(float(mean[there][-1]))
    return ends


@overload
def against(
    recording: Any, concept: Any, *, units: None = None, ax: None = None, **options: Unpack[_Options]
) -> Figure: ...
@overload
def against(recording: Any, concept: Any, *, units: int, ax: None = None, **options: Unpack[_Options]) -> Axes: ...
@overload
def against(recording: Any, concept: Any, *, units: Units = None, ax: Axes, **options: Unpack[_Options]) -> Axes: ...
@overload
def against(
    recording: Any, concept: Any, *, units: Units = None, ax: Axes | None = None, **options: Unpack[_Options]
) -> Axes | Figure: ...
@checked_arguments()
def against(
    recording: Any,
    concept: Any,
    *,
    by: Any = "step",
    units: Units = None,
    signal: str | None = None,
    layer: str | None = None,
    name: str = "",
    noun: str = "step",
    size: Any = None,
    title: str | None = None,
    cmap: Any = None,
    ax: Axes | None = None,
) -> Axes | Figure:
    """Draw units against a concept, a line for each step: the mean over the sequences that have the value there.

    A unit that holds a running count is one line, whatever the step. Each title has the correlation over all
    sequences and steps together, which hides lines that move: look at both.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        concept: its value at each step, (batch, time) or (batch,); many numbers are put into bins.
        by: `"step"` for a line a step, up to 32; another concept for a line a value; None for one line.
        units: which units, a panel each; None for at most 12, those that follow the concept most. More need a size.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called, such as `ones read so far`.
        noun: what one step reads, such as `bit`.
        size: inches of a new figure, (width, height), or None.
        title: stands in place of the unit's name, or above the panels.
        cmap: the colours of the lines of `by`: a colour map, or its name.
        ax: where to draw a single unit, or None for a new figure.

    Returns:
        The axes of a single unit that was named, or that was drawn on `ax`; else the figure.

    Raises:
        ProbeError: a name or a number does not exist, or a concept is not aligned to the recording.
    """
    one = chosen(recording, layer=layer, signal=signal, units=units)
    over = levels(concept, one, "concept", name)
    strength = _correlations(one, over)
    if units is None:
        order = np.abs(np.nan_to_num(strength))
        one, strength = _first(one, order), strength[_strongest(order)]
    groups, labels, lines, about = _groups(one, over, by, noun, cmap)
    with _grid(one, ax, size, title) as axes:
        ends: list[float] = []
        for panel, number in zip(axes, range(len(one.units)), strict=True):
            values = one.values[:, :, number]
            ends = [_draw_curve(panel, values, over, groups == place, ink) for place, ink in enumerate(lines)]
            panel.set_title(_with_r(one.units[number], strength[number], len(axes) > 1), parse_math=False)
        if not over.numeric:
            # One call for all panels, which share the axis.
            axes[0].set_xticks(over.values, over.labels, parse_math=False)
        _titles(axes, over.title, "mean over sequences")
        if len(lines) > 1:
            name_lines(axes, ends, labels, lines, title=about)
    return drawn(axes, whole=units is None and ax is None)


def _draw_curve(ax: Axes, numbers: np.ndarray, over: Levels, here: np.ndarray, ink: str) -> float:
    """Draw a unit's mean at each value that a concept has in a group of states, (batch, time); return the last."""
    own = [numbers[here & (over.codes == code)] for code in range(len(over.values))]
    known = [code for code, found in enumerate(own) if found.size]
    heights = [float(own[code].mean()) for code in known]
    ax.plot(over.values[known], heights, color=ink, marker="o", **lines_unless_set(1.6, 3.5))
    return heights[-1]


def _groups(one: Chosen, over: Levels, by: Any, noun: str, cmap: Any) -> tuple[np.ndarray, list[str], list[str], str]:
    """Return the lines of a panel: which states belong to each, (batch, time), and their names and colours."""
    defined = over.codes >= 0
    if by is None:
        return np.where(defined, 0, -1), [""], _coloured(cmap, None, STEPS), ""
    if isinstance(by, str):
        if by != "step":
            raise ProbeError(f"by={by!r} was asked for; it is 'step', another concept as an array, or None.")
        kept = np.flatnonzero(defined.any(axis=0))
        kept = kept[spread(len(kept), LINES)]
        codes = np.full(defined.shape, -1)
        codes[:, kept] = np.arange(len(kept))
        after, alone = one.layer.after[kept], len(one.units) == 1 and len(kept) <= NAMED
        names = [one.layer.when(step, noun) if alone else str(step) for step in after]
        title = "" if alone else one.layer.step_label(noun)
        return np.where(defined, codes, -1), names, _coloured(cmap, len(kept), STEPS), title
    other = levels(by, one, "by")
    codes = np.where(defined, other.codes, -1)
    kept = np.unique(codes[codes >= 0])
    if not kept.size:
        raise ProbeError("by= and concept= are defined at no step together: there is nothing to draw.")
    lines = _coloured(cmap, len(other.values), VALUES)
    places = np.full(len(other.values) + 1, -1)
    places[kept] = np.arange(len(kept))
    return places[codes], [other.labels[code] for code in kept], [lines[code] for code in kept], other.name


def _coloured(cmap: Any, count: int | None, own: Colormap) -> list[str]:
    """Return the colours of so many lines along a colour map, or of one line that stands for all."""
    if count is None and cmap is not None:
        raise ProbeError("cmap= colours the lines of by=, and by=None was asked for. Give by=, or leave cmap= out.")
    return inks(1) if count is None else colours(count, colour_map(cmap, own))


def _with_r(unit: str, r: float, short: bool) -> str:
    """Return a unit's name with its correlation, if it has one, below it where there is no room beside it."""
    said = unit if np.isnan(r) else f"{unit}{chr(10) if short else ', '}r = {r:.2f}"
    return said.replace("-", "\N{MINUS SIGN}")


def _correlations(one: Chosen, over: Levels) -> np.ndarray:
    """Return each unit's correlation with a concept over all sequences and steps; NaN of a constant or of texts."""
    here = over.codes >= 0
    wanted, values = over.numbers[here], one.values[here]
    if not over.numeric or np.ptp(wanted) == 0:
        return np.full(len(one.units), np.nan)
    wanted, values = wanted - wanted.mean(), values - values.mean(axis=0)
    size = np.sqrt((wanted**2).sum() * (values**2).sum(axis=0))
    # A unit that does not move has no correlation; what is left of it is rounding.
    moves = np.ptp(one.values[here], axis=0) > 0
    return np.divide(wanted @ values, size, out=np.full(len(size), np.nan), where=moves & (size > 0))


def _strongest(strength: np.ndarray) -> np.ndarray:
    """Return the places of at most 12 units, the strongest first; of up to 12 units their own order."""
    if len(strength) <= UNITS:
        return np.arange(len(strength))
    return np.argsort(-strength, kind="stable")[:UNITS]


def _first(one: Chosen, strength: np.ndarray) -> Chosen:
    kept = _strongest(strength)
    names, indices = [one.units[place] for place in kept], [one.indices[place] for place in kept]
    return Chosen(one.layer, one.signal, one.values[:, :, kept], tuple(names), tuple(indices), one.real)


def _middle(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over sequences at each step, and the ends of the middle half; NaN where there is none."""
    mean, low, high = np.full((3, values.shape[1]), np.nan)
    here = np.isfinite(values).any(axis=0)
    mean[here] = np.nanmean(values[:, here], axis=0)
    low[here], high[here] = np.nanpercentile(values[:, here], MIDDLE_HALF, axis=0)
    return mean, low, high


def _grid(one: Chosen, ax: Axes | None, size: Any, title: str | None) -> AbstractContextManager[Sequence[Axes]]:
    """Return the panels of units: three abreast, or one of a column's width."""
    if len(one.units) == 1:
        return panels(1, ax=ax, size=size, title=title)
    if len(one.units) > UNITS and size is None:
        raise ProbeError(
            f"A panel is drawn for each unit, and {several(len(one.units), 'unit')} have no room on a page. Name at "
            f"most {UNITS}, leave units= out for those that matter most, give a size=, or draw a heatmap()."
        )
    wide: dict[str, Any] = {"columns": min(len(one.units), 3), "width": WIDEST, "height": 2.1}
    return panels(len(one.units), ax=ax, size=size, title=title, sharex=True, **wide)


def _titles(axes: Sequence[Axes], below: str, beside: str) -> None:
    """Write the titles of the axes: at a single panel, or once for all of them."""
    if len(axes) == 1:
        axes[0].set_xlabel(below, parse_math=False)
        axes[0].set_ylabel(beside, parse_math=False)
        return
    figure = axes[0].get_figure()
    if isinstance(figure, Figure):
        figure.supxlabel(below, fontsize="medium", parse_math=False)
        figure.supylabel(beside, fontsize="medium", parse_math=False)
