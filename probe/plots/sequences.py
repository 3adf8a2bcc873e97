"""One sequence: its signals as maps of units by steps, and its tokens coloured by a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, to_hex
from matplotlib.figure import Figure

from ..arguments import NAMES, TEXT
from ..errors import ProbeError, several
from ..recurrent.signals import Units
from .keywords import plot_arguments
from .panels import drawn, panels
from .recorded import STATES, Chosen, Layer, chosen, layer_of, words
from .style import AMOUNTS, PLOT_WIDTH, SIGNS, SMALL, TALLEST, WIDEST, colour_map, ours, points, set_map

#: Inches that the numbers and the scale beside a map take, that a letter of 10 points below it is wide, and a row
#: of it high.
_ASIDE, _LETTER, _ROW = 1.0, 0.088, 0.17
#: Inches that the name of a column takes, of 10 points: a letter across, and the whole where it stands aslant.
_WIDE, _LINE = 0.1, 0.25
#: Names of columns that have more letters stand aslant.
SHORT = 6
#: So many cells are drawn as vectors in formats that have them.
_VECTORS = 2_000
#: More units than these, where none are named, are put in order: those that go alike stand together.
_SORTED = 12


@plot_arguments(signals=NAMES)
def heatmap(
    recording: Any,
    *,
    row: Any = 0,
    signals: Any = None,
    units: Units = None,
    layer: str | None = None,
    tokens: Sequence[Any] | None = None,
    noun: str = "step",
    figsize: Any = None,
    title: str | None = None,
    cmap: Any = None,
    ax: Any = None,
) -> Axes | Figure:
    """Draw one sequence: a map of units by steps for each signal, each with a scale of colours of its own.

    A gate goes from white (0, closed) to black (1, open). Every other signal is teal below 0 and gold above, and its
    scale is as wide as its largest magnitude. Steps after the end of the sequence are left out. More than 12 units
    are put in order, the same in each map: those that go alike stand together, with their numbers beside them.
    `probe.plots.table` of what comes back has the columns signal, unit, step and value.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        row: which sequence of the batch.
        signals: the names of the signals, or one name; None draws the state: of an LSTM its cell and hidden state.
        units: which units, the same of each signal and in this order, or None for all.
        layer: the layer's name; it may be left out where there is one.
        tokens: what the sequence read, one for each of its steps; they are written below the lowest map.
        noun: what one step reads, such as `bit`.
        figsize: inches of a new figure, (width, height), or None.
        title: stands in place of the name of a single signal, or above the maps.
        cmap: a colour map, or its name, for all maps in place of their own; so is `image.cmap` where you set it.
        ax: where to draw: axes, as many as there are signals, or a SubFigure; None for a new figure of pyplot's. In
            your axes the title has the ends of the scale.

    Returns:
        The axes of a single signal, or the figure of several.

    Raises:
        ProbeError: a name or a number does not exist, or there is nothing to draw.
    """
    found, shown = _shown(recording, layer, signals, units)
    times = np.flatnonzero(shown[0].real[(place := shown[0].row(row))])
    below = list(map(str, found.after[times])) if tokens is None else _tokens(tokens, shown[0], times)
    tallest, across = max(len(one.units) for one in shown), 1 if len(shown) < 3 else 2
    down = -(-len(shown) // across)
    height = min(0.45 + float(np.clip(_ROW * tallest, 0.7, 2.6)) + 0.4 / down, TALLEST / down)
    wide: dict[str, Any] = {"columns": across, "height": height, "width": PLOT_WIDTH if across == 1 else WIDEST}
    given, tables = None if cmap is None else colour_map(cmap, SIGNS), []
    order = _alike(shown[0].values[place, times].T) if units is None else None
    with panels(len(shown), ax=ax, figsize=figsize, title=title, sharex=True, **wide) as axes:
        for panel, one in zip(axes, shown, strict=True):
            rows = order if order is not None and len(order) == len(one.units) else range(len(one.units))
            values, beside = one.values[place, times][:, rows].T, [one.indices[unit] for unit in rows]
            say_scale(panel, draw_map(panel, one.signal, values, beside, cmap=given))
            tables.append(_melted(values, beside, found.after[times]).assign(signal=one.signal))
        for lowest in axes[-across:]:
            write_steps(lowest, below, found.step_label(noun))
        say_which(axes, place, len(shown[0].values), title)
    return drawn(axes, pd.concat(tables, ignore_index=True)[["signal", "unit", "step", "value"]])


def say_which(axes: Sequence[Axes], row: int, rows: int, title: str | None) -> None:
    """Say above a new figure which of several sequences it shows, unless it has a title."""
    figure = axes[0].get_figure()
    if rows > 1 and title is None and figure is not None and ours(axes[0]):
        _ = figure.suptitle(f"row {row} of {rows}", fontsize="medium")


def _shown(recording: Any, layer: str | None, signals: Any, units: Units) -> tuple[Layer, list[Chosen]]:
    """Return the layer that is drawn, and its signals, a map each."""
    found = layer_of(recording, layer, signals[0] if signals and len(signals) == 1 else None)
    return found, [chosen(recording, layer=found.name, signal=name, units=units) for name in _names(found, signals)]


def _melted(values: np.ndarray, names: Sequence[str], steps: Sequence[int] | np.ndarray) -> pd.DataFrame:
    """Return a map, (unit, step), as a table with a row for each cell."""
    about = {"unit": np.repeat(names, len(steps)), "step": np.tile(steps, len(names)) - 1}
    return pd.DataFrame({**about, "value": values.ravel()})


@plot_arguments(method=TEXT)
def contributions(
    found: Any,
    *,
    row: int = 0,
    method: str | None = None,
    tokens: Sequence[Any] | None = None,
    noun: str = "step",
    figsize: Any = None,
    title: str | None = None,
    cmap: Any = None,
    ax: Any = None,
) -> Axes | Figure:
    """Draw what each input of one row contributed to its answer: a map of features by steps for each method.

    Teal takes from the answer, gold adds to it; the scale is as wide as the map's largest magnitude. Steps after the
    end of the row are left out; where a step was not asked about, the map is empty. `probe.plots.table` of what comes
    back has the columns method, feature, step and value.

    Args:
        found: what `probe.contributions` returned.
        row: which row of the batch.
        method: one of its methods, or None for all.
        tokens: what the row read, one for each of its steps; they are written below the lowest map.
        noun: what one step reads, such as `bit`.
        figsize: inches of a new figure, (width, height), or None.
        title: stands in place of the method's name, or above the maps.
        cmap: a colour map, or its name, in place of the map's own.
        ax: where to draw: axes, as many as there are methods, or a SubFigure; None for a new figure of pyplot's.

    Returns:
        The axes of a single method, or the figure of several.

    Raises:
        ProbeError: there is no such method or row, or nothing to draw.
    """
    if not isinstance(getattr(found, "values", None), Mapping):
        raise ProbeError(f"This plot draws what probe.contributions returned; it was given a {type(found).__name__}.")
    values = {name: found[name] for name in ([method] if method is not None else found.values)}
    rows = len(next(iter(values.values())))
    if isinstance(row, bool) or not isinstance(row, int) or not -rows <= row < rows:
        raise ProbeError(f"row={row!r} must be one of the {rows} rows, from {-rows} to {rows - 1}.")
    maps = {name: value[row].detach().double().cpu().numpy().T for name, value in values.items()}
    times = np.flatnonzero(np.any([~np.isnan(one).all(0) for one in maps.values()], axis=0))
    if not len(times):
        raise ProbeError(f"Row {row} has no contribution: none of its steps was asked about.")
    steps, names = range(times[-1] + 1), list(map(str, tokens)) if tokens is not None else []
    if tokens is not None and len(names) != len(steps):
        raise ProbeError(f"tokens= holds {several(len(names), 'token')} for a row of {several(len(steps), 'step')}.")
    height = 0.85 + float(np.clip(_ROW * max(map(len, maps.values())), 0.4, 2.6))
    tables = []
    with panels(len(maps), ax=ax, figsize=figsize, title=title, sharex=True, height=height, width=PLOT_WIDTH) as axes:
        for panel, (name, one) in zip(axes, maps.items(), strict=True):
            features = list(map(str, range(len(one))))
            say_scale(panel, draw_map(panel, name, one[:, steps], features, cmap=cmap))
            panel.set_ylabel("unit" if name == "cell state" else "feature")
            tables.append(_melted(one[:, steps], features, np.arange(len(steps)) + 1).assign(method=name))
        write_steps(axes[-1], names or [str(step + 1) for step in steps], noun)
    shown = pd.concat(tables, ignore_index=True).rename(columns={"unit": "feature"})
    return drawn(axes, shown[["method", "feature", "step", "value"]])


def _names(layer: Layer, signals: Any) -> list[str]:
    """Return the signals that are named, or those of a layer's state, or all where none of these was recorded."""
    if signals is None:
        return [name for name in layer.signals if name in STATES or name in layer.states] or list(layer.signals)
    return list(signals)


def _alike(values: np.ndarray) -> np.ndarray:
    """Return an order of units, (unit, step): by their angle in a plane, so that those that go alike are together."""
    if len(values) <= _SORTED or values.shape[1] < 2:
        return np.arange(len(values))
    vectors, sizes, _ = np.linalg.svd(values, full_matrices=False)
    # The widest gap between two angles is where the order begins.
    angles = np.arctan2(vectors[:, 1] * sizes[1], vectors[:, 0] * sizes[0])
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * np.pi)
    return np.roll(order, -int(np.argmax(gaps)) - 1)


def draw_map(ax: Axes, signal: str, values: np.ndarray, units: Sequence[str], *, cmap: Any = None) -> Normalize:
    """Draw a map of one signal, units by steps, and return the values of the first and the last colour.

    Args:
        ax: where to draw.
        signal: its name.
        values: (unit, step).
        units: their names; as many are written as have room.
        cmap: a colour map, or its name, or None for the signal's own.
    """
    colours, norm = scale_of(signal, values, cmap)
    paint_cells(ax, values, colours, norm)
    ax.set_title(words(signal), parse_math=False)
    name_rows(ax, units)
    ax.set_ylabel("unit")
    return norm


def paint_cells(ax: Axes, values: np.ndarray, colours: Colormap, norm: Normalize, **look: Any) -> None:
    """Paint the cells of a map, (row, column), the first row at the top; what is NaN stays empty."""
    # It takes a second to load, which `import probe.plots` need not.
    import seaborn as sns

    plain: dict[str, Any] = {"cbar": False, "xticklabels": False, "yticklabels": False}
    # As vectors so many cells are slow to draw and large to save.
    plain["rasterized"] = values.size > _VECTORS
    _ = sns.heatmap(values, cmap=colours, vmin=norm.vmin, vmax=norm.vmax, ax=ax, **plain, **look)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of a map, or every so many of them where there is no room for more."""
    line = 1.15 * points("ytick.labelsize") / 72
    most = max(1, int(ax.bbox.height / ax.figure.dpi / line))
    places = range(0, len(names), -(-len(names) // most))
    ax.set_yticks([place + 0.5 for place in places], [names[place] for place in places], parse_math=False, rotation=0)


def name_across(ax: Axes, names: Sequence[str], *, middle: float = 0.5, inches: float = np.inf) -> None:
    """Name the columns of a map, aslant where names are long, or every so many where there is no room for more.

    Args:
        ax: where the map is.
        names: the columns' names.
        middle: where the middle of the first column is.
        inches: how wide the map is, at most.
    """
    longest, larger = max(map(len, names)), points("xtick.labelsize") / SMALL
    wide = min(ax.bbox.width / ax.figure.dpi, inches)
    slanting = longest > SHORT or (longest > 2 and len(names) * (longest + 1) * _WIDE * larger > wide)
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanting else {}
    room = wide / ((_LINE if slanting else (longest + 0.5) * _WIDE) * larger)
    shown = range(0, len(names), -(-len(names) // max(int(room), 1)))
    ax.set_xticks([place + middle for place in shown], [names[place] for place in shown], parse_math=False, **turned)


def say_scale(ax: Axes, norm: Normalize, form: str = ".2g", *, label: str = "", beyond: bool = False) -> None:
    """Say what the colours of a map mean: beside it, or where nobody makes room there, in its title."""
    figure, ends = ax.get_figure(), (norm.vmin or 0.0, norm.vmax or 0.0)
    low, middle, high = (written(tick, form) for tick in (ends[0], sum(ends) / 2, ends[1]))
    if beyond:
        low, high = f"\N{LESS-THAN OR EQUAL TO} {low}", f"\N{GREATER-THAN OR EQUAL TO} {high}"
    if figure is None or not ours(ax):
        loc: Any = matplotlib.rcParams["axes.titlelocation"]
        _ = ax.set_title(", ".join(filter(None, [ax.get_title(loc), f"{low} to {high}"])), parse_math=False)
        return
    bar = figure.colorbar(ax.collections[-1], ax=ax, pad=0.015, aspect=12)
    bar.set_ticks([ends[0], sum(ends) / 2, ends[1]], labels=[low, middle, high])
    # Beside the map, and not beside its title or the numbers below it.
    for number, side in zip(bar.ax.get_yticklabels()[::2], ("bottom", "top"), strict=True):
        number.set_verticalalignment(side)
    bar.ax.tick_params(labelsize=points("legend.fontsize"), length=2)
    bar.set_label(label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def written(number: float, form: str) -> str:
    """Return a number as it is written in a figure."""
    return format(number, form).replace("-", "\N{MINUS SIGN}")


def write_steps(ax: Axes, names: Sequence[str], label: str) -> None:
    """Write what stands below the columns of a map, every so many of them where they would run into each other."""
    figure, place = ax.get_figure(root=True), ax.get_subplotspec()
    columns = 1 if place is None else place.get_gridspec().ncols
    inches = (figure.bbox.width / figure.dpi if figure is not None else PLOT_WIDTH) / columns - _ASIDE
    longest = max(len(name) for name in names)
    letters = inches / (_LETTER * points("xtick.labelsize") / SMALL)
    every = -(-len(names) * (longest + 1) // max(int(letters), 1))
    shown = range(0, len(names), max(every, 1))
    ax.set_xticks([place + 0.5 for place in shown], [names[place] for place in shown], parse_math=False)
    ax.set_xlabel(label, parse_math=False)


def scale_of(signal: str, values: np.ndarray, cmap: Any = None) -> tuple[Colormap, Normalize]:
    """Return the colours of a signal, and the values of the first and the last; those of a gate are 0 and 1."""
    given = set_map() if cmap is None else cmap
    if signal.endswith("_gate"):
        return colour_map(given, AMOUNTS), Normalize(0.0, 1.0)
    largest = float(np.nanmax(np.abs(values))) or 1.0
    return colour_map(given, SIGNS), Normalize(-largest, largest)


def _tokens(given: Sequence[Any], one: Chosen, times: np.ndarray) -> list[str]:
    """Return the tokens of a sequence as texts, one for each of its steps."""
    tokens = [str(token) for token in given]
    if len(tokens) != len(times):
        every = one.real.shape[1]
        raise ProbeError(
            f"tokens= holds {several(len(tokens), 'token')}, and {several(len(times), 'step')} of the sequence were "
            f"recorded. Give one for each of them, without padding (the batch is {several(every, 'step')} long)."
        )
    return tokens


@dataclass(frozen=True, eq=False)
class ColouredText:
    """Tokens coloured by a unit, which a notebook shows by itself.

    Attributes:
        tokens: the texts of the tokens.
        values: the unit's value after each token, (token,).
        unit: the unit's name in words.
        html: the text as HTML, every letter of a token escaped.
    """

    tokens: tuple[str, ...]
    values: np.ndarray
    unit: str
    html: str

    @property
    def table(self) -> pd.DataFrame:
        """A row for each token, with the unit's value after it: token, value."""
        return pd.DataFrame({"token": self.tokens, "value": self.values})

    def __repr__(self) -> str:
        low, high = f"{self.values.min():.3g}", f"{self.values.max():.3g}"
        return f"{several(len(self.tokens), 'token')} coloured by {self.unit}, from {low} to {high}"

    def _repr_html_(self) -> str:
        return self.html


@plot_arguments()
def text(
    recording: Any,
    tokens: Sequence[Any],
    unit: Any,
    *,
    row: Any = 0,
    signal: str | None = None,
    layer: str | None = None,
    title: str | None = None,
    cmap: Any = None,
) -> ColouredText:
    """Return tokens coloured by a unit: teal below 0, gold above; of a gate, white where closed and black where open.

    The value stands in each token's `title`, which a browser shows where the mouse rests.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        tokens: what the sequence read, one for each of its steps, without padding; a text is one token a letter.
        unit: the number of the unit, or its index tuple in a matrix state.
        row: which sequence of the batch.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        title: stands in place of the unit's name.
        cmap: a colour map, or its name, in place of the signal's own.

    Raises:
        ProbeError: a name or a number does not exist, several units are named, or the tokens are more or fewer than
            the steps of the sequence.

    Reference:
        Karpathy, Johnson & Li 2015, Visualizing and understanding recurrent networks, figure 2.
    """
    one = chosen(recording, layer=layer, signal=signal, units=unit)
    if len(one.units) != 1:
        raise ProbeError(f"unit={unit!r} names {several(len(one.units), 'unit')}; a text is coloured by one.")
    place = one.row(row)
    times = np.flatnonzero(one.real[place])
    values, names = one.values[place, times, 0], _tokens(tokens, one, times)
    after = one.layer.after[times]
    colours, norm = scale_of(one.signal, values, cmap)
    spans = [
        _span(name, to_hex(colours(norm(value))), f"{one.layer.when(step, 'step')}: {value:.3g}")
        for name, value, step in zip(names, values, after, strict=True)
    ]
    heading = one.units[0] if title is None else title
    ends = [(norm.vmin or 0.0, "from"), (norm.vmax or 0.0, "to")]
    key = " ".join(_span(f"{word} {end:.2g}", to_hex(colours(norm(end))), "scale") for end, word in ends)
    html = (
        f'<div style="font-family: sans-serif"><p style="margin: .3em 0">{escape(heading)}: {key}</p>'
        f'<p style="margin: .3em 0; font-family: monospace; line-height: 1.7; white-space: pre-wrap; '
        f'overflow-wrap: anywhere">{"".join(spans)}</p></div>'
    )
    return ColouredText(tuple(names), values, one.units[0], html)


def _span(token: str, colour: str, title: str) -> str:
    look = f"background: {colour}; color: {ink_on(colour)}"
    return f'<span style="{look}" title="{escape(title)}">{escape(token)}</span>'


def ink_on(colour: str) -> str:
    """Return black or white, whichever has the higher contrast on a hex colour, by WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (light + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
