"""Trajectories in state space: principal directions, what they leave out, fixed points, and the flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ..errors import ProbeError, several
from .concepts import Levels, levels
from .lines import NAMED, scale
from .recorded import Chosen, chosen
from .spaces import draw_cube, draw_fixed_points, seen
from .style import GREY, INK, STEPS, VALUES, ShownFigure, colours, panels

#: Arrows of a flow along each side.
ARROWS = 14
#: The states of more sequences have no markers: they would hide the paths.
MARKED = 50
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


def trajectories(
    recording: Any,
    *,
    by: Any = None,
    points: Any = None,
    flow: Callable[[np.ndarray], Any] | None = None,
    directions: int = 2,
    units: Any = None,
    signal: str | Sequence[str] | None = None,
    layer: str | None = None,
    name: str = "",
    noun: str = "step",
    ax: Axes | None = None,
) -> Axes:
    """Draw states as they move, in the two or three directions along which they vary most.

    Without a concept each sequence is a path, coloured by its steps. With one, the mean state of each value is a path
    through the steps, coloured by the value, and thin grey lines join the values at the same step.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        by: a concept, (batch, time) or (batch,), or None.
        points: fixed points: what `probe.methods.fixed_points` finds, drawn by how many directions they are unstable
            in, the stable and the neutral ones with a marker of their own, or states (point, size).
        flow: a function from states, (state, size), to the states one step later under a fixed input; arrows show
            where it leads from a grid in the plane. In two directions only.
        directions: 2 or 3.
        units: which units span the space, or None for all.
        signal: a name, or several, whose units stand one after the other: the whole state of an LSTM is
            `("cell_state", "hidden_state")`. None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called.
        noun: what one step reads, such as `bit`.
        ax: where to draw, or None for a new figure.

    Raises:
        ProbeError: a name or a number does not exist, points or concept do not fit the states, or the states do not
            spread along so many directions.
    """
    if flow is not None and directions != 2:
        raise ProbeError(
            f"flow= is drawn in a plane, and directions={directions} was asked for. Choose directions=2."
        )
    one, values = _states(recording, signal, layer, units)
    when = [one.layer.when(step, noun) for step in one.layer.after]
    groups = None if by is None else levels(by, one, "by", name)
    plane = principal(values[one.real], directions)
    places = plane(values)
    reach = 1.0 if directions == 2 else float(np.abs(places[one.real]).max())
    with panels(1, ax=ax, width=6.4, height=4.6) as (panel,):
        _draw_axes(panel, plane)
        if groups is None:
            _draw_sequences(panel, places / reach, one.real, when)
        else:
            _draw_values(panel, places / reach, groups)
        if points is not None:
            _draw_points(panel, points, plane, reach)
        if flow is not None:
            _draw_flow(panel, flow, plane)
    return panel


def _states(recording: Any, signal: Any, layer: str | None, units: Any) -> tuple[Chosen, np.ndarray]:
    """Return the first of the signals, and the values of all of them, (batch, time, size)."""
    signals = [signal] if signal is None or isinstance(signal, str) else list(signal)
    if not signals:
        raise ProbeError("signal= names no signal; name one or several, or leave it out.")
    parts = [chosen(recording, layer=layer, signal=one, units=units) for one in signals]
    return parts[0], np.concatenate([part.values for part in parts], axis=2)


def _draw_axes(ax: Axes, plane: Plane) -> None:
    """Say which direction is which, and how much of the variance it has; in three directions along a cube."""
    if len(plane.shares) == 3:
        _ = draw_cube([f"{word}, {_percent(share)}" for word, share in zip(_NAMES, plane.shares, strict=True)], ax=ax)
        ax.set(xlim=(-2.2, 2.2), ylim=(-1.75, 1.6))
        return
    for axis, word, share in zip("xy", _NAMES, plane.shares, strict=False):
        ax.set(**{f"{axis}label": f"{word} direction ({_percent(share)} of the variance)"})


def _on_paper(places: np.ndarray) -> np.ndarray:
    """Return where places in two or three directions stand on paper, (..., 2)."""
    return seen(places) if places.shape[-1] == 3 else places


def _draw_sequences(ax: Axes, places: np.ndarray, real: np.ndarray, when: list[str]) -> None:
    """Draw each sequence as a path whose pieces have the colour of the step that they lead to."""
    places = _on_paper(places)
    inks = colours(len(when), STEPS)
    ends = real[:, 1:] & real[:, :-1]
    pieces = np.stack([places[:, :-1], places[:, 1:]], axis=2)[ends]
    which = np.broadcast_to(np.arange(1, len(when)), ends.shape)[ends]
    alpha = float(np.clip(20 / len(places), 0.15, 0.9))
    ax.add_collection(
        LineCollection(list(pieces), colors=[inks[step] for step in which], linewidths=1.2, alpha=alpha)
    )
    for step, ink in enumerate(inks if len(places) <= MARKED else []):
        ax.plot(*places[real[:, step], step].T, "o", color=ink, markersize=3, alpha=alpha)
    ax.autoscale_view()
    scale([ax], when, inks)


def _draw_values(ax: Axes, places: np.ndarray, groups: Levels) -> None:
    """Draw the mean state of each value as a path, and join those of one step."""
    axes = range(places.shape[2])
    means = _on_paper(np.stack([groups.means(places[:, :, axis]) for axis in axes], axis=-1))
    inks = colours(len(groups.values), VALUES)
    if groups.numeric:
        for step in range(means.shape[1]):
            ax.plot(*_known(means[:, step]).T, color=GREY, linewidth=0.7, zorder=1)
    for ink, path, label in zip(inks, means, groups.labels, strict=True):
        known = _known(path)
        ax.plot(*known.T, color=ink, marker="o", markersize=4, linewidth=1.6, zorder=2)
        if len(inks) <= NAMED:
            _name_end(ax, known, label)
    if len(inks) > NAMED:
        scale([ax], groups.labels, inks, title=groups.name)
    elif groups.name:
        ax.set_title(f"a path for each value: {groups.name}", parse_math=False)


def _name_end(ax: Axes, path: np.ndarray, label: str) -> None:
    """Write a name beyond the end of a path, where the path would go on."""
    ends = ax.transData.transform(path[-2:])
    way = ends[-1] - ends[0]
    away = 11 * way / np.hypot(*way) if len(ends) > 1 and np.hypot(*way) > 0 else np.array([9.0, 7.0])
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center", "parse_math": False}
    point = float(path[-1, 0]), float(path[-1, 1])
    _ = ax.annotate(
        label, point, xytext=(float(away[0]), float(away[1])), fontsize="small", fontweight="bold", **look
    )


def _known(path: np.ndarray) -> np.ndarray:
    return path[np.isfinite(path).all(axis=-1)]


def _draw_points(ax: Axes, points: Any, plane: Plane, reach: float) -> None:
    given = points.states if hasattr(points, "states") else points
    states = np.atleast_2d(np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, dtype=float))
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
        ax.plot(*_on_paper(places).T, "o", color=INK, markersize=8, label="points", zorder=3)
    figure = ax.get_figure()
    if isinstance(figure, ShownFigure):
        # Above a title, and not beside the axes, where a scale of colours stands.
        _ = figure.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    else:
        _ = ax.legend()


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
