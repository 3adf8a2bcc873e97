"""Units over steps, grouped by a concept, and units against a concept, a line a step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import ProbeError
from ..recurrent.signals import Units
from .concepts import Levels, levels
from .lines import name_lines, numbered
from .recorded import Chosen, chosen
from .style import INK, PLOT_WIDTH, STEPS, VALUES, colours, drawn, panels

#: Where no units are named, at most so many are drawn.
UNITS = 12
#: The ends of the band around a mean: the middle half of the values.
MIDDLE_HALF = (25, 75)


def traces(
    recording: Any,
    *,
    by: Any = None,
    units: Units = None,
    signal: str | None = None,
    layer: str | None = None,
    name: str = "",
    noun: str = "step",
    ax: Axes | None = None,
) -> Axes | Figure:
    """Draw units over steps: a line for the mean over sequences, and a band for the middle half of them.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        by: a concept, (batch, time) or (batch,): each of its values has a line and a band of its own, of the
            sequences that have the value at the step. None draws all sequences as one group.
        units: which units, a panel each, or None for all, and of more than 12 the 12 that vary most.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called.
        noun: what one step reads, such as `bit`.
        ax: where to draw a single unit, or None for a new figure.

    Returns:
        The axes of a single unit, or the figure of several.

    Raises:
        ProbeError: a name or a number does not exist, or the concept is not aligned to the recording.
    """
    one = chosen(recording, layer=layer, signal=signal, units=units)
    after = one.layer.after
    groups = None if by is None else levels(by, one, "by", name)
    if units is None:
        one = _first(one, np.nanstd(one.values, axis=(0, 1)))
    inks = [INK] if groups is None else colours(len(groups.values), VALUES)
    with _grid(one, ax) as axes:
        ends: list[float] = []
        for panel, number in zip(axes, range(len(one.units)), strict=True):
            ends = []
            for place, ink in enumerate(inks):
                here = one.real if groups is None else groups.codes == place
                mean, low, high = _middle(np.where(here, one.values[:, :, number], np.nan))
                panel.fill_between(after, low, high, color=ink, alpha=0.15, linewidth=0)
                marker = "o" if np.isfinite(mean).sum() == 1 else "none"
                panel.plot(after, mean, color=ink, marker=marker, markersize=3.5, linewidth=1.6)
                ends.append(float(mean[np.isfinite(mean)][-1]))
            panel.set_title(one.units[number], parse_math=False)
            numbered(panel, after, most=6 if len(axes) > 1 else 10)
        _titles(axes, one.layer.step_label(noun), "mean and middle half")
        if groups is not None:
            name_lines(axes, ends, groups.labels, inks, title=groups.name)
    return drawn(axes)


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
    ax: Axes | None = None,
) -> Axes | Figure:
    """Draw units against a concept, a line for each step: the mean over the sequences that have the value there.

    A unit that holds a running count is one line, whatever the step. Each title has the correlation over all
    sequences and steps together, which hides lines that move: look at both.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        concept: its value at each step, (batch, time) or (batch,), with at most 50 different ones.
        by: `"step"` for a line a step; another concept for a line for each of its values; None for one line.
        units: which units, a panel each, or None for all, and of more than 12 the 12 that follow the concept most.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called, such as `ones read so far`.
        noun: what one step reads, such as `bit`.
        ax: where to draw a single unit, or None for a new figure.

    Returns:
        The axes of a single unit, or the figure of several.

    Raises:
        ProbeError: a name or a number does not exist, or a concept is not aligned to the recording.
    """
    one = chosen(recording, layer=layer, signal=signal, units=units)
    over = levels(concept, one, "concept", name)
    strength = _correlations(one, over)
    if units is None:
        order = np.abs(np.nan_to_num(strength))
        one, strength = _first(one, order), strength[_strongest(order)]
    groups, labels, inks, title = _groups(one, over, by, noun)
    with _grid(one, ax) as axes:
        ends: list[float] = []
        for panel, number in zip(axes, range(len(one.units)), strict=True):
            ends = []
            for place, ink in enumerate(inks):
                across, heights = _curve(one.values[:, :, number], over, groups == place)
                panel.plot(across, heights, color=ink, marker="o", markersize=3.5, linewidth=1.6)
                ends.append(heights[-1])
            r = "" if np.isnan(strength[number]) else f", r = {strength[number]:.2f}"
            panel.set_title(f"{one.units[number]}{r}".replace("-", "\N{MINUS SIGN}"), parse_math=False)
        if not over.numeric:
            # One call for all panels, which share the axis.
            axes[0].set_xticks(over.values, over.labels, parse_math=False)
        _titles(axes, over.name or "concept", "mean over sequences")
        if len(inks) > 1:
            name_lines(axes, ends, labels, inks, title=title)
    return drawn(axes)


def _curve(numbers: np.ndarray, over: Levels, here: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return the values that a concept has in a group of states, (batch, time), and the mean of a unit at each."""
    own = [numbers[here & (over.codes == code)] for code in range(len(over.values))]
    known = [code for code, found in enumerate(own) if found.size]
    return over.values[known], [float(own[code].mean()) for code in known]


def _groups(one: Chosen, over: Levels, by: Any, noun: str) -> tuple[np.ndarray, list[str], list[str], str]:
    """Return the lines of a panel: which states belong to each, (batch, time), and their names and colours."""
    defined = over.codes >= 0
    if by is None:
        return np.where(defined, 0, -1), [""], [INK], ""
    if isinstance(by, str):
        if by != "step":
            raise ProbeError(f"by={by!r} was asked for; it is 'step', another concept as an array, or None.")
        kept = np.flatnonzero(defined.any(axis=0))
        codes = np.full(defined.shape, -1)
        codes[:, kept] = np.arange(len(kept))
        names = [one.layer.when(step, noun) for step in one.layer.after[kept]]
        return np.where(defined, codes, -1), names, colours(len(kept), STEPS), ""
    other = levels(by, one, "by")
    codes = np.where(defined, other.codes, -1)
    kept = np.unique(codes[codes >= 0])
    if not kept.size:
        raise ProbeError("by= and concept= are defined at no step together: there is nothing to draw.")
    inks = colours(len(other.values), VALUES)
    places = np.full(len(other.values) + 1, -1)
    places[kept] = np.arange(len(kept))
    return places[codes], [other.labels[code] for code in kept], [inks[code] for code in kept], other.name


def _correlations(one: Chosen, over: Levels) -> np.ndarray:
    """Return each unit's correlation with a concept over all sequences and steps; NaN of a constant or of texts."""
    here = over.codes >= 0
    wanted, values = over.values[over.codes[here]], one.values[here]
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


def _grid(one: Chosen, ax: Axes | None) -> AbstractContextManager[Sequence[Axes]]:
    """Return the panels of units: three abreast, or one of a column's width."""
    if len(one.units) == 1:
        return panels(1, ax=ax)
    across = min(len(one.units), 3)
    return panels(len(one.units), ax=ax, columns=across, width=PLOT_WIDTH + across, height=2.1, sharex=True)


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
