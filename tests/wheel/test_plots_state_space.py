"""Trajectories and saturated gates: what is drawn is what was recorded, seen along the right directions."""

from __future__ import annotations

from dataclasses import replace
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
from recorded import KINDS, ROWS, TIME, Recorded, recorded
from test_report_figures import contrast

from probe import ProbeError, Signal
from probe.methods.fixed_points import Points
from probe.plots import saturation, trajectories
from probe.plots.spaces import seen
from probe.plots.state_space import principal
from probe.plots.style import STEPS, VALUES, colours

MOVING = np.add.outer(np.arange(ROWS), np.arange(TIME)) % 3


def real(own: Recorded) -> np.ndarray:
    """Return which places are no padding, (batch, time)."""
    return np.arange(TIME) < np.array(own.lengths)[:, None]


def by_hand(own: Recorded) -> tuple[np.ndarray, np.ndarray]:
    """Return where states stand along the eigenvectors of their covariance, (batch, time, 2), and the shares."""
    states = own.values[real(own)]
    variances, vectors = np.linalg.eigh(np.cov(states.T))
    first = vectors[:, ::-1][:, :2]
    first = first * np.sign(np.take_along_axis(first, np.abs(first).argmax(axis=0)[None], axis=0))
    return (own.values - states.mean(axis=0)) @ first, variances[::-1][:2] / variances.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_each_sequence_is_a_path_of_its_steps(kind: str) -> None:
    """In the two directions of the largest variance; a path ends where its sequence does."""
    own = recorded(kind)
    ax = own.recording.plot.trajectories(layer=own.layer)
    places, shares = by_hand(own)
    (paths,) = (one for one in ax.collections if isinstance(one, LineCollection))
    pieces = np.array(paths.get_segments())
    wanted = [(places[row, step - 1 : step + 1], step) for row in range(ROWS) for step in range(1, own.lengths[row])]
    assert pieces == pytest.approx(np.array([piece for piece, _ in wanted]), abs=1e-6)
    inks = colours(TIME, STEPS)
    assert [to_hex(one) for one in np.asarray(paths.get_colors())] == [inks[step] for _, step in wanted]
    assert ax.get_xlabel() == f"first direction ({100 * shares[0]:.0f} % of the variance)"
    assert ax.get_ylabel() == f"second direction ({100 * shares[1]:.0f} % of the variance)"
    dots = np.concatenate([np.array(line.get_data()).T for line in ax.get_lines()])
    assert len(dots) == sum(own.lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_each_value_of_a_concept_is_a_path_of_mean_states(kind: str) -> None:
    """Grey lines join the values of one step, and each path has its value's name."""
    own = recorded(kind)
    ax = own.recording.plot.trajectories(by=MOVING, layer=own.layer, name="rest")
    places, _ = by_hand(own)
    lines = {colour: [] for colour in colours(3, VALUES)}
    for line in ax.get_lines():
        lines.setdefault(str(line.get_color()), []).append(np.array(line.get_data()).T)
    for value, colour in enumerate(colours(3, VALUES)):
        (path,) = lines[colour]
        means = [
            places[(MOVING[:, step] == value) & real(own)[:, step], step].mean(axis=0)
            for step in range(TIME)
            if ((MOVING[:, step] == value) & real(own)[:, step]).any()
        ]
        assert path == pytest.approx(np.array(means), abs=1e-6)
    (grey,) = set(lines) - set(colours(3, VALUES))
    assert len(lines[grey]) == TIME
    assert [one.get_text() for one in ax.texts] == ["0", "1", "2"]
    assert ax.get_title("left") == "a path for each value: rest"


def test_three_directions_are_seen_from_one_side() -> None:
    """In a cube as wide as the farthest state, with the share of each direction."""
    own = recorded("gru")
    ax = trajectories(own.recording, directions=3)
    plane = principal(own.values.reshape(-1, 4), 3)
    places = plane(own.values)
    flat = seen(places / np.abs(places).max())
    (paths,) = (one for one in ax.collections if isinstance(one, LineCollection))
    assert np.array(paths.get_segments())[:, 1] == pytest.approx(flat[:, 1:].reshape(-1, 2), abs=1e-6)
    assert [one.get_text().split(",")[0] for one in ax.texts] == ["first", "second", "third"]
    assert plane.directions @ plane.directions.T == pytest.approx(np.eye(3), abs=1e-9)
    assert (np.diff(plane.shares) < 0).all()


def test_the_whole_state_of_an_lstm_has_its_fixed_points() -> None:
    """By how many directions they are unstable in; plain states are points."""
    own = recorded("lstm")
    both = np.concatenate([own.values, own.recording["hidden_state"].double().numpy()], axis=2)
    states = both[:2, -1]
    jacobians = np.stack([0.5 * np.eye(8), np.diag([2.0, *[0.5] * 7])])
    found = Points(states, np.zeros(2), jacobians, np.ones(2, bool), 1.0)
    parts = ("cell_state", "hidden_state")
    ax = trajectories(own.recording, signal=parts, points=found)
    places = principal(both.reshape(-1, 8), 2)(states)
    marked = {line.get_label(): np.array(line.get_data())[:, 0] for line in ax.get_lines()}
    assert marked["stable"] == pytest.approx(places[0])
    assert marked["1 unstable direction"] == pytest.approx(places[1])
    plain = trajectories(own.recording, signal=parts, points=torch.tensor(states), by=MOVING)
    (dots,) = (line for line in plain.get_lines() if line.get_label() == "points")
    assert pytest.approx(places) == np.array(dots.get_data()).T
    with pytest.raises(ProbeError, match=r"points= has the shape \(2, 8\), and a state that is drawn has 4 numbers"):
        _ = trajectories(own.recording, points=found)


def test_arrows_show_where_a_step_leads() -> None:
    """From a grid in the plane: states that shrink go to the origin."""
    own = recorded("lstm")
    mean = own.values[real(own)].mean(axis=0)
    ax = trajectories(own.recording, flow=lambda states: torch.tensor(mean + 0.5 * (states - mean)))
    (arrows,) = (one for one in ax.collections if isinstance(one, Quiver))
    assert arrows.N == 14 * 14
    assert np.array([arrows.U, arrows.V]) == pytest.approx(-0.5 * np.asarray(arrows.XY).T)
    with pytest.raises(ProbeError, match=r"flow= returned the shape \(196, 3\) for states of the shape \(196, 4\)"):
        _ = trajectories(own.recording, flow=lambda states: states[:, :3])
    with pytest.raises(ProbeError, match=r"flow= is drawn in a plane, and directions=3"):
        _ = trajectories(own.recording, flow=lambda states: states, directions=3)


def test_a_space_that_is_not_there_is_refused() -> None:
    """Too few units, states that do not move, another number of directions."""
    own = recorded("lstm")
    with pytest.raises(ProbeError, match=r"The states spread along 1 direction, and 2 were asked for"):
        _ = trajectories(own.recording, units=[2])
    with pytest.raises(ProbeError, match=r"signal= names no signal"):
        _ = trajectories(own.recording, signal=())
    with pytest.raises(ProbeError, match=r"directions=4 was asked for; a state space is drawn in 2 or 3"):
        _ = trajectories(own.recording, directions=4)
    still = replace(own.recording.parts[0], signals={Signal.CELL_STATE: torch.ones(ROWS, TIME, 4)})
    with pytest.raises(ProbeError, match=r"The states spread along 0 directions"):
        _ = trajectories(replace(own.recording, parts=(still,)))


@pytest.mark.parametrize("kind", ["lstm", "gru", "packed", "bidirectional"])
def test_saturation_is_the_share_of_steps(kind: str) -> None:
    """Above 0.9 across and below 0.1 upwards, a dot a unit, over what is no padding."""
    own = recorded(kind)
    part = next(one for one in own.recording.parts if own.layer in (None, one.layer))
    for gate, value in part.signals.items():
        if gate.endswith("_gate"):
            value.copy_((value - 0.5) * 8 + 0.5)  # far open, or far closed
    figure = own.recording.plot.saturation(layer=own.layer)
    assert isinstance(figure, Figure)
    gates = [gate for gate in part.signals if gate.endswith("_gate")]
    assert [ax.get_title("left").replace(" ", "_") for ax in figure.axes] == [str(gate) for gate in gates]
    for ax, gate in zip(figure.axes, gates, strict=True):
        values = part.signals[gate].numpy()[real(own)]
        _, dots = ax.get_lines()
        assert np.array(dots.get_data()) == pytest.approx(
            np.array([(values > 0.9).mean(axis=0), (values < 0.1).mean(axis=0)])
        )
        assert np.ptp(np.array(dots.get_data())) > 0


def test_one_gate_has_axes() -> None:
    """And a gate that is none, or a layer without gates, is refused."""
    own = recorded("lstm")
    ax = saturation(own.recording, gates="forget_gate", units=[1, 2])
    assert isinstance(ax, Axes)
    assert len(np.array(ax.get_lines()[1].get_xdata())) == 2
    assert contrast(str(ax.get_lines()[1].get_color()), "#ffffff") >= 3
    with pytest.raises(ProbeError, match=r"There is no recorded gate 'cell_state'; there is 'input_gate'"):
        _ = saturation(own.recording, gates="cell_state")
    with pytest.raises(ProbeError, match=r"The layer '\[0\]' has no gate among its signals: ssm_state, output"):
        _ = saturation(recorded("state space").recording)
    with pytest.raises(ProbeError, match=r"gates=\[\] names no gate"):
        _ = saturation(own.recording, gates=[])


def looks(given: Any) -> list[str]:
    """Return the names in the legends of a figure."""
    return [one.get_text() for legend in given.figure.findobj(Legend) for one in legend.get_texts()]


def test_points_have_a_legend() -> None:
    """Without points there is none."""
    own = recorded("gru")
    assert looks(trajectories(own.recording)) == []
    assert looks(trajectories(own.recording, points=own.values[0, :2])) == ["points"]
    mine = Figure().subplots()
    assert looks(trajectories(own.recording, points=own.values[0, :2], ax=mine)) == ["points"]
