"""What gates do: exact on a planted unit, recomputed from the recording on a random LSTM."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from torch import nn

from probe import ProbeError, record
from probe.evidence.measurements import Network
from probe.plots.style import style
from probe.questions.states import gate_activity
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
