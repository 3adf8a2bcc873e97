"""Plots of state space, seen along the right directions, in two and three of them; and legends that have room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.quiver import Quiver
from painted import contrast
from recorded import KINDS, MOVING, ROWS, TIME, Recorded, recorded
from refusing import refused

from probe.methods.fixed_points import Points
from probe.plots import saturation, trajectories
from probe.plots.spaces import seen
from probe.plots.state_space import principal
from probe.plots.style import STEPS, VALUES, colours


def by_hand(own: Recorded) -> tuple[np.ndarray, np.ndarray]:
    """Return where states stand along the eigenvectors of their covariance, (batch, time, 2), and the shares."""
    states = own.values[own.real]
    variances, vectors = np.linalg.eigh(np.cov(states.T))
    first = vectors[:, ::-1][:, :2]
    first = first * np.sign(np.take_along_axis(first, np.abs(first).argmax(axis=0)[None], axis=0))
    return (own.values - states.mean(axis=0)) @ first, variances[::-1][:2] / variances.sum()


def paths_in(ax: Axes) -> LineCollection:
    """Return the paths that axes show."""
    (paths,) = (one for one in ax.collections if isinstance(one, LineCollection))
    return paths


@pytest.mark.parametrize("kind", KINDS)
def test_each_sequence_is_a_path_of_its_steps(kind: str) -> None:
    """In the two directions of the largest variance; a path ends where its sequence does."""
    own = recorded(kind)
    ax = own.recording.plot.trajectories(layer=own.layer)
    places, shares = by_hand(own)
    wanted = [(places[row, step - 1 : step + 1], step) for row in range(ROWS) for step in range(1, own.lengths[row])]
    pieces = np.array(paths_in(ax).get_segments())
    assert pieces == pytest.approx(np.array([piece for piece, _ in wanted]), abs=1e-6)
    inks = colours(TIME, STEPS)
    assert [to_hex(one) for one in np.asarray(paths_in(ax).get_colors())] == [inks[step] for _, step in wanted]
    assert ax.get_xlabel() == f"first direction ({100 * shares[0]:.0f} % of the variance)"
    assert ax.get_ylabel() == f"second direction ({100 * shares[1]:.0f} % of the variance)"
    assert sum(np.size(line.get_xdata()) for line in ax.get_lines()) == sum(own.lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_each_value_of_a_concept_is_a_path_of_mean_states(kind: str) -> None:
    """Grey lines join the values of one step, and each path has its value's name."""
    own = recorded(kind)
    ax = own.recording.plot.trajectories(hue=MOVING, layer=own.layer, name="rest")
    places, _ = by_hand(own)
    drawn: dict[str, list[np.ndarray]] = {}
    for line in ax.get_lines():
        drawn.setdefault(str(line.get_color()), []).append(np.array(line.get_data()).T)
    for value, colour in enumerate(colours(3, VALUES)):
        (path,) = drawn.pop(colour)
        there = [(MOVING[:, step] == value) & own.real[:, step] for step in range(TIME)]
        means = [places[rows, step].mean(axis=0) for step, rows in enumerate(there) if rows.any()]
        assert path == pytest.approx(np.array(means), abs=1e-6)
    ((_, grey),) = drawn.items()
    assert len(grey) == TIME
    assert [one.get_text() for one in ax.texts] == ["0", "1", "2"]
    assert ax.get_title("left") == "a path for each value: rest"


def test_three_directions_are_seen_from_one_side() -> None:
    """In a cube as wide as the farthest state, with the share of each; no view makes a length longer."""
    own = recorded("gru")
    ax = trajectories(own.recording, directions=3)
    plane = principal(own.values.reshape(-1, 4), 3)
    places = plane(own.values)
    flat = seen(places / np.abs(places).max())
    assert (np.linalg.norm(flat, axis=-1) <= np.linalg.norm(places / np.abs(places).max(), axis=-1) + 1e-12).all()
    segments = np.array(paths_in(ax).get_segments())
    assert segments[:, 1] == pytest.approx(flat[:, 1:].reshape(-1, 2), abs=1e-6)
    assert [one.get_text().split(",")[0] for one in ax.texts] == ["first", "second", "third"]
    turned, tilted = np.radians(28), np.radians(22)
    wanted = [[np.cos(turned), -np.sin(tilted) * np.sin(turned)], [np.sin(turned), np.sin(tilted) * np.cos(turned)]]
    assert seen(np.eye(3)) == pytest.approx(np.array([*wanted, [0, np.cos(tilted)]]))


def looks(given: Any) -> list[str]:
    """Return the names in the legends of a figure."""
    return [one.get_text() for legend in given.figure.findobj(Legend) for one in legend.get_texts()]


def test_the_whole_state_of_an_lstm_has_its_fixed_points() -> None:
    """By how many directions they are unstable in; plain states are points; without points there is no legend."""
    own = recorded("lstm")
    both = np.concatenate([own.values, own.recording["hidden_state"].double().numpy()], axis=2)
    states, parts = both[:2, -1], ("cell_state", "hidden_state")
    jacobians = np.stack([0.5 * np.eye(8), np.diag([2.0, *[0.5] * 7])])
    found = Points(states, np.zeros(2), jacobians, np.ones(2, bool), 1.0)
    ax = trajectories(own.recording, signal=parts, points=found)
    places = principal(both.reshape(-1, 8), 2)(states)
    marked = {line.get_label(): np.array(line.get_data())[:, 0] for line in ax.get_lines()}
    assert marked["stable"] == pytest.approx(places[0])
    assert marked["1 unstable direction"] == pytest.approx(places[1])
    plain = trajectories(own.recording, signal=parts, points=torch.tensor(states), hue=MOVING, ax=Figure().subplots())
    (dots,) = (line for line in plain.get_lines() if line.get_label() == "points")
    assert pytest.approx(places) == np.array(dots.get_data()).T
    assert (looks(plain), looks(trajectories(own.recording))) == (["points", "0", "1", "2"], [])
    with refused():
        _ = trajectories(own.recording, points=found)


def test_arrows_show_where_a_step_leads() -> None:
    """From a grid in the plane: states that shrink go to the origin."""
    own = recorded("lstm")
    mean = own.values[own.real].mean(axis=0)
    ax = trajectories(own.recording, flow=lambda states: torch.tensor(mean + 0.5 * (states - mean)))
    (arrows,) = (one for one in ax.collections if isinstance(one, Quiver))
    assert arrows.N == 14 * 14
    assert np.array([arrows.U, arrows.V]) == pytest.approx(-0.5 * np.asarray(arrows.XY).T)


@pytest.mark.parametrize("kind", ["gru", "packed", "bidirectional"])
def test_saturation_is_the_share_of_steps(kind: str) -> None:
    """Above 0.9 across and below 0.1 upwards, a dot a unit, over what is no padding."""
    own = recorded(kind)
    part = next(one for one in own.recording.parts if own.layer in (None, one.layer))
    gates = [gate for gate in part.signals if gate.endswith("_gate")]
    for gate in gates:
        part.signals[gate].copy_((part.signals[gate] - 0.5) * 8 + 0.5)  # far open, or far closed
    figure: Any = own.recording.plot.saturation(layer=own.layer)
    assert [ax.get_title("left").replace(" ", "_") for ax in figure.axes] == [str(gate) for gate in gates]
    for ax, gate in zip(figure.axes, gates, strict=True):
        values = part.signals[gate].numpy()[own.real]
        shown = np.array(ax.get_lines()[1].get_data())
        assert shown == pytest.approx(np.array([(values > 0.9).mean(axis=0), (values < 0.1).mean(axis=0)]))
        assert np.ptp(shown) > 0
    one: Any = saturation(own.recording, gates=gates[0], units=[1, 2], layer=own.layer)
    assert np.size(one.get_lines()[1].get_xdata()) == 2
    assert contrast(str(one.get_lines()[1].get_color()), "#ffffff") >= 3
