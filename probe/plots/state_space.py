"""Trajectories in state space: principal directions, what they leave out, fixed points, and the flow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from ..arguments import NAMES, function, whole
from ..errors import ProbeError, several
from .concepts import Levels, levels
from .keywords import plot_arguments
from .legends import LINES, NAMED, Key, legend_inside, name_beside, scale, spread
from .panels import drawn, panels
from .recorded import Chosen, chosen
from .spaces import draw_cube, draw_fixed_points, seen
from .style import GREY, STEPS, colours, inks, larger, lines_unless_set, ours, palette_colours

#: Arrows of a flow along each side.
ARROWS = 14
#: With letters so many times as large as ours the title of an axis is short.
_SHORT = 1.3
_NAMES = ("first", "second", "third")


@dataclass(frozen=True, eq=False)
class Plane:
    """The mean of states, (size,), their principal directions, (direction, size), and their variance shares."""

    mean: np.ndarray
    directions: np.ndarray
    shares: np.ndarray

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Return where states stand, (..., direction)."""
        return (states - self.mean) @ self.directions.T


def principal(states: np.ndarray, directions: int) -> Plane:
    """Return the principal directions of states, (state, size), each with its largest number above 0.

    Raises:
        ProbeError: other than 2 or 3 directions, or the states do not spread along so many.
    """
    if directions not in (2, 3):
        raise ProbeError(f"directions={directions!r} was asked for; a state space is drawn in 2 or 3.")
    centred = states - states.mean(axis=0)
    _, sizes, found = np.linalg.svd(centred, full_matrices=False)
    spread = int((sizes > 1e-12 * max(float(np.abs(states).max()), 1e-300) * max(states.shape)).sum())
    if spread < directions:
        raise ProbeError(
            f"The states spread along {several(spread, 'direction')}, and {directions} were asked for. Draw more "
            "units or sequences, or a single unit with traces()."
        )
    kept = found[:directions]
    largest = np.take_along_axis(kept, np.abs(kept).argmax(axis=1)[:, None], axis=1)
    return Plane(states.mean(axis=0), kept * np.sign(largest), (sizes**2 / (sizes**2).sum())[:directions])


@plot_arguments(
    signal=NAMES, flow=function(1, "of states, (point, size), to the states a step later"), directions=whole(2)
)
def trajectories(
    recording: Any,
    *,
    hue: Any = None,
    points: Any = None,
    flow: Callable[[np.ndarray], Any] | None = None,
    directions: int = 2,
    units: Any = None,
    signal: str | Sequence[str] | None = None,
    layer: str | None = None,
    name: str = "",
    noun: str = "step",
    figsize: Any = None,
    title: str | None = None,
    palette: Any = None,
    ax: Any = None,
) -> Axes:
    """Draw states as they move, in the two or three directions along which they vary most.

    Without a concept each sequence is a path, coloured by its steps, and of more than 32 sequences 32 are drawn. With
    one, the mean state of each value is a path through the steps, coloured by the value, and thin grey lines join the
    values at the same step. `probe.plots.table` of what comes back has the columns sequence, or hue, step, and the
    coordinates: first, second and third.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        hue: a concept, (batch, time) or (batch,), or None; many numbers are put into bins.
        points: fixed points as `probe.methods.fixed_points` finds them, or states (point, size).
        flow: a function from states, (state, size), to those one step later; in a plane arrows show where it leads.
        directions: 2 or 3.
        units: which units span the space, or None for all.
        signal: a name, or several, as `("cell_state", "hidden_state")`; None for the first of them, or the state.
        layer: the layer's name, where there are several.
        name: what the concept is called.
        noun: what one step reads, such as `bit`.
        figsize: inches of a new figure, (width, height), or None.
        title: of the panel, or None.
        palette: the colours of the steps, or of the values of `hue`, as in seaborn: a name, a list or a dict.
        ax: where to draw, or None for a new figure of pyplot's.

    Raises:
        ProbeError: a name or a number does not exist, or points, concept or directions do not fit the states.
    """
    _in_a_plane(flow, directions)
    one, values = _states(recording, signal, layer, units)
    groups = None if hue is None else levels(hue, one, "hue", name)
    plane = principal(values[one.real], directions)
    reach = 1.0 if directions == 2 else float(np.abs(plane(values[one.real])).max())
    places = plane(values) / reach
    with panels(1, ax=ax, figsize=figsize, title=title, width=6.4, height=4.6) as (panel,):
        _draw_axes(panel, plane)
        if groups is None:
            shown = _draw_sequences(panel, places, one, noun, palette)
        else:
            shown = _draw_values(panel, places, groups, palette, one)
        if points is not None:
            _draw_points(panel, points, plane, reach)
        if flow is not None:
            _draw_flow(panel, flow, plane)
    return drawn([panel], shown)


def _in_a_plane(flow: Any, directions: int) -> None:
    if flow is not None and directions != 2:
        raise ProbeError(
            f"flow= is drawn in a plane, and directions={directions} was asked for. Choose directions=2."
        )


def _states(recording: Any, signal: Any, layer: str | None, units: Any) -> tuple[Chosen, np.ndarray]:
    """Return the first of the signals, and the values of all of them, (batch, time, size)."""
    signals = [None] if signal is None else list(signal)
    if not signals:
        raise ProbeError("signal= names no signal; name one or several, or leave it out.")
    parts = [chosen(recording, layer=layer, signal=one, units=units) for one in signals]
    return parts[0], np.concatenate([part.values for part in parts], axis=2)


def _draw_axes(ax: Axes, plane: Plane) -> None:
    """Say which direction is which, and how much of the variance it has; in three directions along a cube."""
    shares, own = [_percent(share) for share in plane.shares], ours(ax)
    if len(shares) == 3:
        # In axes of the caller there is no room beside the cube for more.
        names = [f"{word},\n{share}" for word, share in zip(_NAMES, shares, strict=True)]
        _ = draw_cube(names if own else ["1st", "2nd", "3rd"], ax=ax)
        ax.set(xlim=(-2.2, 2.2), ylim=(-1.75, 1.6))
        if not own:
            ax.set_title(f"directions of {', '.join(shares)}")
        return
    for axis, word, share in zip("xy", _NAMES, shares, strict=False):
        said = f" ({share} of the variance)" if own and larger() < _SHORT else f", {share}"
        ax.set(**{f"{axis}label": f"{word} direction{said}"})


def _on_paper(places: np.ndarray) -> np.ndarray:
    """Return where places in two or three directions stand on paper, (..., 2)."""
    return seen(places) if places.shape[-1] == 3 else places


def _draw_sequences(ax: Axes, places: np.ndarray, one: Chosen, noun: str, palette: Any) -> pd.DataFrame:
    """Draw each sequence as a path whose pieces have the colour of the step that they lead to; return the states."""
    steps = list(map(str, one.layer.after))
    lines, kept = palette_colours(palette, steps, colours(len(steps), STEPS)), spread(len(places), LINES)
    if len(kept) < len(places):
        ax.set_title(f"{len(kept)} of {several(len(places), 'sequence')}")
    real = one.real[kept]
    rows, times = np.nonzero(real)
    shown = _table(places[kept], rows, times, one, {"sequence": np.array(kept)[rows]})
    places = _on_paper(places[kept])
    ends = real[:, 1:] & real[:, :-1]
    pieces = np.stack([places[:, :-1], places[:, 1:]], axis=2)[ends]
    which = np.broadcast_to(np.arange(1, len(steps)), ends.shape)[ends]
    look, alpha = lines_unless_set(1.2, 3.0), float(np.clip(20 / len(places), 0.15, 0.9))
    paint = [lines[step] for step in which]
    ax.add_collection(LineCollection(list(pieces), colors=paint, linewidths=look["linewidth"], alpha=alpha))
    for step, ink in enumerate(lines):
        ax.plot(*places[real[:, step], step].T, "o", color=ink, markersize=look["markersize"], alpha=alpha)
    ax.autoscale_view()
    if len(steps) > 1:
        scale([ax], Key(steps, lines, one.layer.step_label(noun)))
    return shown


def _draw_values(ax: Axes, places: np.ndarray, groups: Levels, palette: Any, one: Chosen) -> pd.DataFrame:
    """Draw the mean state of each value as a path, named at its end if there is room, and join those of one step."""
    means = np.stack([groups.means(places[:, :, axis]) for axis in range(places.shape[2])], axis=-1)
    values, times = np.nonzero(np.isfinite(means).all(axis=-1))
    shown = _table(means, values, times, one, {"hue": [groups.shown[value] for value in values]})
    means = _on_paper(means)
    if groups.numeric:
        for step in range(means.shape[1]):
            ax.plot(*_known(means[:, step]).T, color=GREY, linewidth=0.7, zorder=1)
    key = Key(groups.labels, groups.colours(palette), groups.name, names=not groups.numeric)
    paths = [_known(path) for path in means]
    for ink, marker, path in zip(key.colours, key.markers, paths, strict=True):
        ax.plot(*path.T, color=ink, marker=marker, zorder=2, **lines_unless_set(1.6, 4.0))
    # Where a name stands depends on where the axes end.
    ax.autoscale_view()
    named = zip(paths, key.labels, strict=True) if len(paths) <= NAMED and ours(ax) else ()
    ends = [_name_end(ax, path, label) for path, label in named]
    if not ends or _run_together(ends):
        for end in ends:
            end.remove()
        _ = name_beside([ax], key) if key.names else scale([ax], key)
    elif groups.name:
        ax.set_title(f"a path for each value: {groups.name}", parse_math=False)
    return shown


def _table(
    places: np.ndarray, rows: np.ndarray, times: np.ndarray, one: Chosen, about: dict[str, Any]
) -> pd.DataFrame:
    """Return the table of states, (row, time, direction), at some rows and times: what each is, step, coordinates."""
    at = places[rows, times]
    return pd.DataFrame({**about, "step": one.layer.after[times] - 1, **dict(zip(_NAMES, at.T, strict=False))})


def _run_together(texts: Sequence[Text]) -> bool:
    boxes = [text.get_window_extent().padded(4 * (larger() - 1.5)) for text in texts]
    return any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def _name_end(ax: Axes, path: np.ndarray, label: str) -> Text:
    """Write a name beyond the end of a path, where the path would go on."""
    ends = ax.transData.transform(path[-2:])
    way = ends[-1] - ends[0]
    away = 11 * way / np.hypot(*way) if len(ends) > 1 and np.hypot(*way) > 0 else np.array([9.0, 7.0])
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center", "parse_math": False}
    point = float(path[-1, 0]), float(path[-1, 1])
    return ax.annotate(
        label, point, xytext=(float(away[0]), float(away[1])), fontsize="small", fontweight="bold", **look
    )


def _known(path: np.ndarray) -> np.ndarray:
    return path[np.isfinite(path).all(axis=-1)]


def _draw_points(ax: Axes, points: Any, plane: Plane, reach: float) -> None:
    given = points.states if hasattr(points, "states") else points
    try:
        states = np.atleast_2d(np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, dtype=float))
    except (TypeError, ValueError):
        raise ProbeError(f"points= is a {type(points).__name__} and must be numbers, (point, size).") from None
    size = len(plane.mean)
    if states.ndim != 2 or states.shape[1] != size:
        raise ProbeError(
            f"points= has the shape {states.shape}, and a state that is drawn has {several(size, 'number')}: "
            f"give (point, {size}). A fixed point of an LSTM is its whole state, "
            "signal=('cell_state', 'hidden_state')."
        )
    columns = list(_NAMES[: len(plane.shares)])
    frame = pd.DataFrame(plane(states) / reach, columns=columns)
    if hasattr(points, "unstable_directions"):
        kinds = {"unstable": points.unstable_directions, "neutral": points.neutral}
        draw_fixed_points(frame.assign(**kinds), columns, ax=ax)
    else:
        places = frame.to_numpy()
        ax.plot(*_on_paper(places).T, "o", color=inks(1)[0], markersize=8, label="points", zorder=3)
    figure, (handles, names) = ax.get_figure(), ax.get_legend_handles_labels()
    if figure is not None and ours(ax):
        # Above a title, and not beside the axes, where a scale of colours stands.
        _ = figure.legend(handles, names, loc="outside upper left", ncols=2)
        return
    before = ax.get_legend()
    if before is not None:
        handles += [one for one in before.legend_handles if one is not None]
        names += [one.get_text() for one in before.get_texts()]
    _ = legend_inside(ax, handles, names, title="" if before is None else before.get_title().get_text())


def _draw_flow(ax: Axes, flow: Callable[[np.ndarray], Any], plane: Plane) -> None:
    """Draw where a grid in the plane leads after one step; what leaves the plane is not seen."""
    sides = [np.linspace(*limits, ARROWS) for limits in (ax.get_xlim(), ax.get_ylim())]
    grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    states = plane.mean + grid @ plane.directions
    found = flow(states)
    later = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found, dtype=float)
    if later.shape != states.shape:
        raise ProbeError(
            f"flow= returned the shape {later.shape} for states of the shape {states.shape}; it must return the "
            "states one step later."
        )
    moved = plane(later) - grid
    ax.quiver(*grid.T, *moved.T, color=GREY, angles="xy", width=0.003, zorder=0)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
