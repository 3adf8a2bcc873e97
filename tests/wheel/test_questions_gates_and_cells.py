"""What gates do and how cells move: exact on a planted unit, recomputed from the recording on a random LSTM."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from torch import nn

from probe import ProbeError, record
from probe.errors import several
from probe.evidence.measurements import Network
from probe.plots.style import style
from probe.questions.states import cell_trajectories, gate_activity
from probe.subjects.subject import Subject

LENGTH = 5


def every_sequence():
    """Return all sequences of wins and losses."""
    bits = (torch.arange(2**LENGTH)[:, None] >> torch.arange(LENGTH)) & 1
    return torch.stack([bits, 1 - bits], -1).float()


X = every_sequence()
WON = X[:, :, 0] > X[:, :, 1]
WINS = WON.cumsum(1)


def planted():
    """Return a unit that adds 0.1 where feature 0 is the larger and holds it with open gates."""
    lstm = nn.LSTM(2, 1, batch_first=True)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.get_parameter("weight_ih_l0")[2, 0] = math.atanh(0.1)
        lstm.get_parameter("bias_ih_l0").copy_(torch.tensor([40.0, 40.0, 0.0, 40.0]))
    return Network("tally", "planted", lstm)


def random_network(name: str, role: str, seed: int):
    """Return an LSTM whose gates move."""
    torch.manual_seed(seed)
    lstm = nn.LSTM(2, 4, batch_first=True)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.mul_(6)
    return Network(name, role, lstm, 0)


@pytest.fixture
def pair():
    """Return a network and its own initialisation."""
    return [random_network("net", "trained", 1), random_network("net/own initialisation", "own initialisation", 2)]


def asked(networks: list[Network], **read: Any) -> list[Subject]:
    """Return networks over every sequence, with the wins."""
    return subjects(networks, X, WINS, **read)


def values(table: pd.DataFrame, metric: str, **where: Any):
    """Return a metric's values in the table's order, where columns have the values given."""
    rows = table[table["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows["value"].tolist()


def test_a_planted_units_gates_are_open():
    """All gates stand at 1 at every step, so that every value is nearly open."""
    table = gate_activity.measure(asked([planted()]))
    assert set(table["signal"]) == {"input_gate", "forget_gate", "output_gate"}
    assert values(table, "mean", units="", signal="forget_gate") == [1] * LENGTH
    assert values(table, "share_high") == [1] * 3
    assert values(table, "share_low") == [0] * 3
    assert "mean_where_true" not in set(table["metric"])


def test_gate_means_are_those_of_the_recording(pair: list[Network]):
    """With all sequences, each prefix equally often, the means are plain means over rows."""
    table = gate_activity.measure(asked(pair[:1]), WON)
    gate = record(pair[0].model.double(), X.double())["output_gate"]
    for side, metric in ((WON, "mean_where_true"), (~WON, "mean_where_false")):
        by_step = [float(gate[side[:, step], step].mean()) for step in range(LENGTH)]
        found = values(table, metric, signal="output_gate", units="")
        assert found == pytest.approx(by_step)
        by_unit = np.mean([gate[side[:, step], step].mean(0).detach().numpy() for step in range(LENGTH)], axis=0)
        assert [values(table, metric, signal="output_gate", units=str(unit))[0] for unit in range(4)] == (
            pytest.approx(by_unit)
        )
    low = [float((gate[:, :, unit] < 0.1).double().mean()) for unit in range(4)]
    assert values(table, "share_low", signal="output_gate") == pytest.approx(low)
    assert 0 < sum(low) < 4


def test_repeated_sequences_do_not_count_twice(pair: list[Network]):
    """A state depends on the prefix alone: 100 copies of one sequence are one sequence."""
    again = torch.cat([X, X[:1].expand(100, -1, -1)])
    won = torch.cat([WON, WON[:1].expand(100, -1)])
    once = gate_activity.measure(asked(pair), WON)
    assert gate_activity.measure(subjects(pair, again, won), won)["value"].to_numpy() == pytest.approx(
        once["value"].to_numpy()
    )


def test_gate_options_change_what_is_measured(pair: list[Network]):
    """Bounds and signals are used; bounds that do not ascend are refused."""
    base = gate_activity.measure(asked(pair))
    assert sum(values(gate_activity.measure(asked(pair), low=0.4), "share_low")) > sum(values(base, "share_low"))
    assert sum(values(gate_activity.measure(asked(pair), high=0.6), "share_high")) > sum(values(base, "share_high"))
    only = gate_activity.measure(asked(pair, layer="[0]"), signals=["forget_gate"])
    assert set(only["signal"]) == {"forget_gate"}
    assert set(only["layer"]) == {"[0]"}
    with pytest.raises(ProbeError, match="must ascend"):
        gate_activity.measure(asked(pair), low=0.9, high=0.1)
    with pytest.raises(ProbeError, match="Did you mean 'forget_gate'"):
        gate_activity.measure(asked(pair), signals=["forgot_gate"])
    with pytest.raises(ProbeError, match="There is no layer"):
        gate_activity.measure(asked(pair, layer="gone[0]"))


def test_gate_figures_show_the_tables_numbers(pair: list[Network]):
    """Filled marks where the split holds, hollow ones where not; trained and own initialisation in the same axes."""
    table = gate_activity.measure(asked(pair), WON)
    with style():
        ax = gate_activity.draw(table, signal="forget_gate", labels=("won", "lost"))
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert set(lines) == {"trained, won", "trained, lost", "own initialisation, won", "own initialisation, lost"}
    wanted = values(table, "mean_where_true", signal="forget_gate", units="", network="net")
    assert np.asarray(lines["trained, won"].get_ydata()).tolist() == pytest.approx(wanted)
    assert lines["trained, lost"].get_markerfacecolor() == "none"
    assert lines["trained, won"].get_linestyle() != lines["own initialisation, won"].get_linestyle()
    # A table counts steps from 0, and a figure says how many were read.
    assert np.asarray(lines["trained, won"].get_xdata()).tolist() == list(range(1, LENGTH + 1))
    assert ax.get_xlabel() == "steps read"
    figure = gate_activity.draw_grid(table)
    assert [ax.get_title() for ax in figure.axes] == ["input gate", "forget gate", "output gate"]
    with pytest.raises(ProbeError, match="no 'cell_candidate' by step"):
        gate_activity.draw(table, signal="cell_candidate")
    plain = gate_activity.draw(gate_activity.measure(asked(pair)), ax=None)
    assert [line.get_label() for line in plain.get_lines()] == ["trained", "own initialisation"]


def test_the_saturation_figure_has_a_mark_a_unit(pair: list[Network]):
    """Each unit of each network is one point, right for open, up for closed."""
    table = gate_activity.measure(asked(pair))
    ax = gate_activity.draw_saturation(table, signal="input_gate")
    trained = next(line for line in ax.get_lines() if line.get_label() == "trained")
    wanted = values(table, "share_high", signal="input_gate", network="net")
    assert np.asarray(trained.get_xdata()).tolist() == pytest.approx(wanted)
    assert len(gate_activity.draw_saturation_grid(table).axes) == 3


def test_a_planted_tally_rises_by_a_tenth_a_win_at_every_step():
    """One curve for all steps, and a correlation of 1: the picture of a pure count."""
    table = cell_trajectories.measure(asked([planted()]))
    for count in range(LENGTH + 1):
        found = values(table, "mean", at=count)
        assert len(found) == LENGTH + 1 - max(count, 1)  # a count can be had from step count - 1 on
        assert found == pytest.approx([0.1 * count] * len(found), abs=1e-6)
    assert values(table, "within_step_correlation") == pytest.approx([1])


def test_trajectories_are_the_recordings_class_means(pair: list[Network]):
    """The table is what the recording says, whichever signal is asked for."""
    recording = record(pair[0].model.double(), X.double())
    for signal in ("cell_state", "hidden_state"):
        table = cell_trajectories.measure(asked(pair[:1], layer="[0]"), signal=signal)
        rows = WINS[:, 3] == 2
        wanted = recording[signal][rows, 3].mean(0).detach().numpy()
        assert values(table, "mean", at=2, step=3) == pytest.approx(wanted)
        assert set(table["signal"]) == {signal}


def test_curves_names_the_concept_in_a_column(pair: list[Network]):
    """What was in the metric's name becomes a number again, one row a unit, step and value."""
    table = cell_trajectories.measure(asked(pair))
    own = cell_trajectories.curves(table, "net/own initialisation")
    assert list(own.columns) == ["unit", "step", "concept", "value", "correlation"]
    assert len(own) == 4 * sum(step + 2 for step in range(LENGTH))
    assert own["concept"].max() == LENGTH
    with pytest.raises(ProbeError, match="no network 'gone'"):
        cell_trajectories.curves(table, "gone")


def test_a_units_lines_are_its_curves(pair: list[Network]):
    """A line a step, over the concept; steps can be chosen."""
    table = cell_trajectories.measure(asked(pair))
    own = cell_trajectories.curves(table, "net")
    ax = cell_trajectories.draw(table, unit=2)
    named = [f"after {several(read, 'step')}" for read in range(1, LENGTH + 1)]
    assert [line.get_label() for line in ax.get_lines()] == named
    wanted = own[(own["unit"] == 2) & (own["step"] == 4)]
    assert np.asarray(ax.get_lines()[4].get_xdata()).tolist() == list(range(LENGTH + 1))
    assert np.asarray(ax.get_lines()[4].get_ydata()).tolist() == pytest.approx(wanted["value"].tolist())
    assert ax.get_title().startswith("unit 2: r ")
    few = cell_trajectories.draw(table, network="net/own initialisation", unit=2, steps=[1, 3])
    assert [line.get_label() for line in few.get_lines()] == ["after 2 steps", "after 4 steps"]
    with pytest.raises(ProbeError, match="no unit 4; it has 0 to 3"):
        cell_trajectories.draw(table, unit=4)
    with pytest.raises(ProbeError, match=r"steps=\[9\]"):
        cell_trajectories.draw(table, steps=[9])


def test_the_grid_begins_with_the_unit_that_correlates_most(pair: list[Network]):
    """One block a network, strongest first, so that both are compared at their best."""
    table = cell_trajectories.measure(asked(pair))
    r = table[(table["metric"] == "within_step_correlation") & (table["network"] == "net")]
    best = r["units"].iloc[int(r["value"].abs().to_numpy().argmax())]
    assert str(cell_trajectories.strongest_units(table, "net")[0]) == best
    figure = cell_trajectories.draw_grid(
        table, networks=["net", "net/own initialisation"], units=3, columns=2, steps=[4], concept="wins"
    )
    panels = [ax for ax in figure.axes if ax.get_lines()]
    assert len(panels) == 6
    assert panels[0].get_title().startswith(f"unit {best}: ")
    assert all(len(ax.get_lines()) == 1 for ax in panels)
