"""Units over steps, grouped by a concept, and units against a concept, a line a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from ..errors import ProbeError, several
from ..recurrent.signals import Units
from .concepts import Levels, levels
from .keywords import plot_arguments
from .legends import LINES, Key, name_lines, numbered, spread
from .panels import drawn, panels
from .recorded import Chosen, chosen
from .sequences import name_across
from .style import STEPS, TALLEST, WIDEST, ShownAxes, colours, inks, larger, lines_unless_set, ours, palette_colours

#: Where no units are named, at most so many are drawn; named ones need a figure of another size.
UNITS = 12
#: Inches that a panel of several is high.
HEIGHT = 2.1
#: Marks on a line over steps.
_MARKS = 8
#: The ends of the band around a mean: the middle half of the values.
MIDDLE_HALF = (25, 75)
#: What a table has for this file alone: the number of the panel, of the line in it, and where a value stands.
_OWN = ["panel", "line", "place"]


class _Options(TypedDict, total=False):
    """What both plots take beside the units and the axes."""

    hue: Any
    col: Any
    signal: str | None
    layer: str | None
    name: str
    noun: str
    figsize: Any
    title: str | None
    palette: Any


@dataclass(frozen=True, eq=False)
class _Groups:
    """The lines of each panel.

    Attributes:
        codes: which line each state belongs to, (batch, time); -1 of none.
        values: what a table calls each line.
        key: what a picture calls each, and its colour.
        left_out: how many of how many steps these are, where some are left out.
    """

    codes: np.ndarray
    values: Sequence[Any]
    key: Key
    left_out: str = ""


@dataclass(frozen=True, eq=False)
class _Panel:
    """One panel: a unit, by its place among those that are drawn, and the states that it shows, (batch, time)."""

    title: str
    unit: int
    here: np.ndarray
    col: Any = None


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a caller asked for, and the unit; `whole`: whether the figure comes back also of a single panel."""

    ax: Any
    figsize: Any
    title: str | None
    hue: Any
    col: Any
    unit: str
    whole: bool


@overload
def traces(recording: Any, *, units: None = None, ax: None = None, **options: Unpack[_Options]) -> Figure: ...
@overload
def traces(recording: Any, *, units: int, ax: None = None, **options: Unpack[_Options]) -> Axes: ...
@overload
def traces(recording: Any, *, units: Units = None, ax: Axes, **options: Unpack[_Options]) -> Axes: ...
@overload
def traces(recording: Any, *, units: Units, ax: None = None, **options: Unpack[_Options]) -> Axes | Figure: ...
@overload
def traces(recording: Any, *, units: Units = None, ax: Any, **options: Unpack[_Options]) -> Any: ...
@plot_arguments()
def traces(
    recording: Any,
    *,
    hue: Any = None,
    col: Any = None,
    units: Units = None,
    signal: str | None = None,
    layer: str | None = None,
    name: str = "",
    noun: str = "step",
    figsize: Any = None,
    title: str | None = None,
    palette: Any = None,
    ax: Any = None,
) -> Any:
    """Draw units over steps: a line for the mean over sequences, and a band for the middle half of them.

    A unit whose values are whole numbers jumps from one to the next; the line of any other is straight between steps.
    `probe.plots.table` of what comes back has the columns unit, col, hue, step, mean, low and high.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        hue: a concept, (batch, time) or (batch,): each of its values has a line and a band of its own, of the
            sequences that have the value at the step; many numbers are put into bins. None draws all sequences as
            one group.
        col: another concept, of one unit: each of its values has a panel.
        units: which units, a panel each; None for at most 12, those that vary most. More need a figsize.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called.
        noun: what one step reads, such as `bit`.
        figsize: inches of a new figure, (width, height), or None.
        title: stands in place of the unit's name, or above the panels.
        palette: the colours of the lines of `hue`, as in seaborn: a name, a colour map, a list or a dict.
        ax: where to draw: axes, as many as there are panels, or a SubFigure. None for a new figure of pyplot's.

    Returns:
        The axes of a single unit that was named, or that was drawn on `ax`; else the figure.

    Raises:
        ProbeError: a name or a number does not exist, or a concept is not aligned to the recording.
    """
    one = chosen(recording, layer=layer, signal=signal, units=units)
    count = len(one.units)
    groups = _of_levels(None if hue is None else levels(hue, one, "hue", name), one.real, palette)
    if units is None:
        one = _first(one, np.nanstd(one.values, axis=(0, 1)))
    shown = _panels(one, col, list(one.units))
    frame = _over_steps(one, shown, groups)
    asked = _Asked(ax, figsize, title, hue, col, one.units[0], whole=units is None and col is None and ax is None)

    def draw(panel: Axes, which: _Panel, rows: pd.DataFrame) -> None:
        values = one.values[:, :, which.unit]
        # What holds whole numbers jumps from one to the next.
        _draw_means(panel, rows, groups.key, jumps=bool((values == values.round())[one.real].all()))
        numbered(panel, one.layer.after, most=6 if len(shown) > 1 else 10)

    left_out = "" if len(one.units) == count else f"{len(one.units)} of {count} units, those that vary most"
    about = (one.layer.step_label(noun), "mean and middle half", left_out)
    return _draw(draw, shown, frame, groups.key, asked=asked, about=about)


def _over_steps(one: Chosen, shown: Sequence[_Panel], groups: _Groups) -> pd.DataFrame:
    """Return the mean and the middle half of each line at each step, a row each; NaN where no sequence is."""
    frames = []
    for place, panel in enumerate(shown):
        for line, value in enumerate(groups.values):
            here = panel.here & (groups.codes == line)
            mean, low, high = _middle(np.where(here, one.values[:, :, panel.unit], np.nan))
            about = {"panel": place, "line": line, "unit": one.indices[panel.unit], "col": panel.col, "hue": value}
            frames.append(pd.DataFrame({**about, "step": one.layer.after, "mean": mean, "low": low, "high": high}))
    return pd.concat(frames, ignore_index=True)


def _draw_means(ax: Axes, frame: pd.DataFrame, key: Key, *, jumps: bool) -> None:
    """Draw each line of a panel with its band, straight or in jumps from step to step."""
    line: dict[str, Any] = {"drawstyle": "steps-mid"} if jumps else {}
    band: dict[str, Any] = {"step": "mid"} if jumps else {}
    for number, rows in frame.groupby("line"):
        ink, marker = key.colours[int(str(number))], key.markers[int(str(number))]
        there = rows[rows["mean"].notna()]
        if there.empty:
            continue
        ax.fill_between(rows["step"], rows["low"], rows["high"], color=ink, alpha=0.15, linewidth=0, **band)
        if len(there) == 1:
            ax.plot(there["step"], there["mean"], marker, color=ink, **lines_unless_set(1.6, 3.5))
        else:
            ax.plot(rows["step"], rows["mean"], color=ink, **lines_unless_set(1.6, 3.5), **line)
            if key.names:
                # Of many steps some have a mark, which tells names apart.
                marked = there.iloc[:: -(-len(there) // _MARKS)]
                ax.plot(marked["step"], marked["mean"], marker, color=ink, **lines_unless_set(1.6, 4.0))


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
    recording: Any, concept: Any, *, units: Units, ax: None = None, **options: Unpack[_Options]
) -> Axes | Figure: ...
@overload
def against(recording: Any, concept: Any, *, units: Units = None, ax: Any, **options: Unpack[_Options]) -> Any: ...
@plot_arguments()
def against(
    recording: Any,
    concept: Any,
    *,
    hue: Any = "step",
    col: Any = None,
    units: Units = None,
    signal: str | None = None,
    layer: str | None = None,
    name: str = "",
    noun: str = "step",
    figsize: Any = None,
    title: str | None = None,
    palette: Any = None,
    ax: Any = None,
) -> Any:
    """Draw units against a concept, a line for each step: the mean over the sequences that have the value there.

    A unit that holds a running count is one line, whatever the step. Each title has the correlation over all
    sequences and steps together, which hides lines that move: look at both. Names have no order, so that no line
    joins them. `probe.plots.table` of what comes back has the columns unit, col, hue, concept, mean and n.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        concept: its value at each step, (batch, time) or (batch,); many numbers are put into bins.
        hue: `"step"` for a line a step, up to 32; another concept for a line a value; None for one line.
        col: another concept, of one unit: each of its values has a panel.
        units: which units, a panel each; None for at most 12, those that follow the concept most: by correlation, or
            by the share of variance between names. More need a figsize.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called, such as `ones read so far`.
        noun: what one step reads, such as `bit`.
        figsize: inches of a new figure, (width, height), or None.
        title: stands in place of the unit's name, or above the panels.
        palette: the colours of the lines of `hue`, as in seaborn: a name, a colour map, a list or a dict.
        ax: where to draw: axes, as many as there are panels, or a SubFigure. None for a new figure of pyplot's.

    Returns:
        The axes of a single unit that was named, or that was drawn on `ax`; else the figure.

    Raises:
        ProbeError: a name or a number does not exist, or a concept is not aligned to the recording.
    """
    one = chosen(recording, layer=layer, signal=signal, units=units)
    count, over = len(one.units), levels(concept, one, "concept", name)
    one, named = _that_follow(one, over, every=units is not None)
    groups = _lines(one, over, hue, noun, palette)
    shown = _panels(one, col, named)
    frame = _over_values(one, shown, over, groups)
    asked = _Asked(ax, figsize, title, hue, col, named[0], whole=units is None and col is None and ax is None)

    def draw(panel: Axes, which: _Panel, rows: pd.DataFrame) -> None:
        _draw_curves(panel, rows, groups.key, joined=over.numeric)
        if not over.numeric:
            name_across(panel, over.labels, middle=0.0)

    left_out = f"{len(one.units)} of {count} units, those that follow it most" * (len(one.units) < count)
    about = (over.title, "mean over sequences", "; ".join(filter(None, [left_out, groups.left_out])))
    return _draw(draw, shown, frame, groups.key, asked=asked, about=about)


def _over_values(one: Chosen, shown: Sequence[_Panel], over: Levels, groups: _Groups) -> pd.DataFrame:
    """Return the mean of each line at each value that a concept has there, a row each."""
    rows = []
    for place, panel in enumerate(shown):
        for line, value in enumerate(groups.values):
            here = panel.here & (groups.codes == line)
            codes, numbers = over.codes[here], one.values[:, :, panel.unit][here]
            counts = np.bincount(codes, minlength=len(over.values))
            sums = np.bincount(codes, numbers, minlength=len(over.values))
            about = {"panel": place, "line": line, "unit": one.indices[panel.unit], "col": panel.col, "hue": value}
            rows += [
                {
                    **about,
                    "place": over.values[code],
                    "concept": over.shown[code],
                    "mean": sums[code] / counts[code],
                    "n": counts[code],
                }
                for code in np.flatnonzero(counts)
            ]
    return pd.DataFrame(rows)


def _draw_curves(ax: Axes, frame: pd.DataFrame, key: Key, *, joined: bool) -> None:
    """Draw each line of a panel; names have no order, and their dots are not joined."""
    look: dict[str, Any] = {} if joined else {"linestyle": "none", "alpha": 0.8}
    for number, rows in frame.groupby("line"):
        line = int(str(number))
        paint = {"color": key.colours[line], "marker": key.markers[line]}
        ax.plot(rows["place"], rows["mean"], **paint, **lines_unless_set(1.6, 3.5 if joined else 5.0), **look)


def _lines(one: Chosen, over: Levels, hue: Any, noun: str, palette: Any) -> _Groups:
    """Return the lines of a panel of `against`: a step each, or a value of another concept, or one."""
    defined = over.codes >= 0
    if isinstance(hue, str):
        if hue != "step":
            raise ProbeError(f"hue={hue!r} was asked for; it is 'step', another concept as an array, or None.")
        kept = np.flatnonzero(defined.any(axis=0))
        every, kept = len(kept), kept[spread(len(kept), LINES)]
        left_out = f"{len(kept)} of {every} steps" * (len(kept) < every)
        codes = np.full(defined.shape, -1)
        codes[:, kept] = np.arange(len(kept))
        after = [int(step) for step in one.layer.after[kept]]
        labels = list(map(str, after))
        inks_of = palette_colours(palette, labels, colours(len(kept), STEPS))
        key = Key(labels, inks_of, one.layer.step_label(noun))
        return _Groups(np.where(defined, codes, -1), after, key, left_out)
    other = None if hue is None else levels(hue, one, "hue")
    groups = _of_levels(other, defined, palette)
    codes = np.where(defined, groups.codes, -1)
    kept = np.unique(codes[codes >= 0])
    if not kept.size:
        raise ProbeError("hue= and concept= are defined at no step together: there is nothing to draw.")
    places = np.full(len(groups.values) + 1, -1)
    places[kept] = np.arange(len(kept))
    return _Groups(places[codes], [groups.values[code] for code in kept], groups.key.only(kept))


def _of_levels(by: Levels | None, real: np.ndarray, palette: Any) -> _Groups:
    """Return a line for each value of a concept, or one for all states that are real."""
    if by is not None:
        return _Groups(by.codes, by.shown, Key(list(by.labels), by.colours(palette), by.name, names=not by.numeric))
    if palette is not None:
        raise ProbeError("palette= colours the lines of hue=, which was not given. Give hue=, or leave palette= out.")
    return _Groups(np.where(real, 0, -1), [None], Key([""], inks(1)))


def _panels(one: Chosen, col: Any, titles: Sequence[str]) -> list[_Panel]:
    """Return a panel for each unit, or, of one unit, for each value of another concept."""
    if col is None:
        return [_Panel(title, unit, one.real) for unit, title in enumerate(titles)]
    if len(one.units) != 1:
        raise ProbeError(
            f"col= draws a panel for each value of a concept, of one unit, and {several(len(one.units), 'unit')} "
            "were asked for. Name one, such as units=0."
        )
    split = levels(col, one, "col")
    named = [f"{split.name} {label}".strip() for label in split.labels]
    return [_Panel(said, 0, split.codes == place, split.shown[place]) for place, said in enumerate(named)]


def _draw(
    draw: Callable[[Axes, _Panel, pd.DataFrame], None],
    shown: Sequence[_Panel],
    frame: pd.DataFrame,
    key: Key,
    *,
    asked: _Asked,
    about: tuple[str, str, str],
) -> Any:
    """Draw each panel, say what stands beside them, and return what a plot returns.

    Args:
        draw: draws one panel from its rows.
        shown: the panels.
        frame: the rows of all panels.
        key: what the lines mean.
        asked: what the caller asked for.
        about: the titles of the axes, and what stands above a new figure without a title, if anything does.
    """
    with _grid(shown, asked, key) as axes:
        for place, panel in enumerate(axes):
            draw(panel, shown[place], frame[frame["panel"] == place])
            panel.set_title(shown[place].title, parse_math=False)
        below, beside, above = about
        if asked.col is not None:
            above = asked.unit
        _titles(axes, below, beside)
        figure = axes[0].get_figure()
        if above and asked.title is None and figure is not None and ours(axes[0]):
            _ = figure.suptitle(above, fontsize="medium")
        ends = _ends(frame)
        # In a single panel of some states a line may be missing.
        name_lines(axes, list(ends.values()), key.only(list(ends)) if len(axes) == 1 else key)
    unasked = [name for name, given in (("hue", asked.hue), ("col", asked.col)) if given is None]
    table = frame.drop(columns=[*_OWN, *unasked], errors="ignore")[frame["mean"].notna()].reset_index(drop=True)
    if "step" in table:
        table = table.assign(step=table["step"] - 1)
    return drawn(axes, table, whole=asked.whole)


def _ends(frame: pd.DataFrame) -> dict[int, float]:
    """Return where each line of the last panel ends, by its number, from first to last."""
    last = frame[(frame["panel"] == frame["panel"].max()) & frame["mean"].notna()]
    return {int(str(line)): float(rows["mean"].iloc[-1]) for line, rows in last.groupby("line")}


def _that_follow(one: Chosen, over: Levels, *, every: bool) -> tuple[Chosen, list[str]]:
    """Return the units that follow a concept most, or all in their own order, and the titles of their panels."""
    correlated = _correlations(one, over)
    if not every:
        order = np.abs(np.nan_to_num(correlated)) if over.numeric else over.shares(one.values)
        one, correlated = _first(one, order), correlated[_strongest(order)]
    short = len(one.units) > 1
    return one, [_with_r(unit, r, short) for unit, r in zip(one.units, correlated, strict=True)]


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
    """Return the places of as many units as have room, the strongest first; of so many units their own order."""
    # Three abreast and four rows of letters as large as ours; fewer of larger ones.
    room = min(UNITS, max(2, round(3 / larger())) * max(1, round(TALLEST / (HEIGHT * larger()))))
    if len(strength) <= room:
        return np.arange(len(strength))
    return np.argsort(-strength, kind="stable")[:room]


def _first(one: Chosen, strength: np.ndarray) -> Chosen:
    kept = _strongest(strength)
    names, indices = [one.units[place] for place in kept], [one.indices[place] for place in kept]
    return Chosen(one.layer, one.signal, one.values[:, :, kept], tuple(names), tuple(indices), one.real)


def _middle(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over sequences at each step, and the ends of the middle half; NaN where there is none."""
    mean, low, high = np.full((3, values.shape[1]), np.nan)
    here = np.isfinite(values).any(axis=0)
    if not here.any():
        return mean, low, high
    mean[here] = np.nanmean(values[:, here], axis=0)
    low[here], high[here] = np.nanpercentile(values[:, here], MIDDLE_HALF, axis=0)
    return mean, low, high


def _grid(shown: Sequence[_Panel], asked: _Asked, key: Key) -> AbstractContextManager[Sequence[Axes]]:
    """Return the panels: three abreast, or one of a column's width, as high as the names of lines need."""
    same: dict[str, Any] = {"ax": asked.ax, "figsize": asked.figsize, "title": asked.title}
    if len(shown) == 1:
        return panels(1, height=key.height, **same)
    if len(shown) > UNITS and asked.figsize is None and asked.col is not None:
        raise ProbeError(
            f"col= has {several(len(shown), 'value')}, and a panel is drawn for each: at most {UNITS} have room on a "
            "page. Give some of them one name, or give a figsize=."
        )
    if len(shown) > UNITS and asked.figsize is None:
        raise ProbeError(
            f"A panel is drawn for each unit, and {several(len(shown), 'unit')} have no room on a page. Name at "
            f"most {UNITS}, leave units= out for those that matter most, give a figsize=, or draw a heatmap()."
        )
    down = -(-len(shown) // 3)
    wide: dict[str, Any] = {"columns": min(len(shown), 3), "width": WIDEST, "height": max(HEIGHT, key.height / down)}
    return panels(len(shown), sharex=True, **wide, **same)


def _titles(axes: Sequence[Axes], below: str, beside: str) -> None:
    """Write the titles of the axes: at a single panel, once for all of them, or at each of the caller's."""
    figure = axes[0].get_figure()
    if len(axes) > 1 and isinstance(figure, FigureBase) and isinstance(axes[0], ShownAxes):
        figure.supxlabel(below, fontsize="medium", parse_math=False)
        figure.supylabel(beside, fontsize="medium", parse_math=False)
        return
    for panel in axes:
        panel.set_xlabel(below, parse_math=False)
        panel.set_ylabel(beside, parse_math=False)
