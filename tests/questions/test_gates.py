"""Questions about gates and cells, of one layer and of several.

- What gates do: exact on a planted unit, recomputed from the recording on a random LSTM.
- The gates of networks of several layers, directions and lengths, and what a page says and draws of them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from refusing import refused
from studied import answer, bits, study_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from probe import Study, record
from probe.evidence.measurements import COLUMNS, Network, measurement, tabulate
from probe.plots.study_figures import drawing, drawn
from probe.plots.style import style
from probe.questions.states import gate_activity
from probe.report.svg import MAX_BYTES
from probe.studies.prepare import prepare
from probe.subjects.budget import Budget
from probe.subjects.states import rows_within_budget
from probe.subjects.subject import Subject

LENGTH = 5


def every_sequence():
    """Return all sequences of wins and losses."""
    bits = (torch.arange(2**LENGTH)[:, None] >> torch.arange(LENGTH)) & 1
    return torch.stack([bits, 1 - bits], -1).float()


X = every_sequence()
WON = X[:, :, 0] > X[:, :, 1]
WINS = WON.cumsum(1)
RNG = np.random.default_rng(0)
HOSTILE = "$x_{$ \\frac <b>&amp; \x07\n" + "a very long name " * 40
LENGTHS = np.array([8, 5, 3, 8, 6, 4, 7, 8, 8, 2])


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


def test_gates_of_a_layer_that_does_not_exist_are_refused(pair: list[Network]):
    """By its name."""
    with refused():
        gate_activity.measure(asked(pair, layer="gone[0]"))


def test_gate_figures_show_the_tables_numbers(pair: list[Network]):
    """Filled marks where the split holds, hollow ones where not; trained and own initialisation in the same axes."""
    table = gate_activity.measure(asked(pair), WON)
    with style():
        figure = gate_activity.draw(table, labels=("won", "lost"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["input\ngate", "forget\ngate", "output\ngate"]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert set(lines) == {"trained, won", "trained, lost", "own initialisation, won", "own initialisation, lost"}
    wanted = values(table, "mean_where_true", signal="forget_gate", units="", network="net")
    assert np.asarray(lines["trained, won"].get_ydata()).tolist() == pytest.approx(wanted)
    assert lines["trained, lost"].get_markerfacecolor() == "none"
    assert lines["trained, won"].get_linestyle() != lines["own initialisation, won"].get_linestyle()
    # A table counts steps from 0, and a figure says how many were read.
    assert np.asarray(lines["trained, won"].get_xdata()).tolist() == list(range(1, LENGTH + 1))
    plain = gate_activity.draw(gate_activity.measure(asked(pair))).axes[0]
    assert [line.get_label() for line in plain.get_lines()] == ["trained", "own initialisation"]


def subject_of(model: nn.Module, lengths: np.ndarray | None = None) -> Subject:
    """Return a network with ten sequences of random numbers, none of which begins like another."""
    x = RNG.normal(size=(10, 8, 2)).astype(np.float32)
    return prepare(Study(model, x, {"first": x[:, :, 0]}, lengths=lengths))[0]


def stack(seed: int = 0, **more: Any) -> nn.LSTM:
    """Return two layers whose gates move."""
    torch.manual_seed(seed)
    lstm = nn.LSTM(2, 3, 2, batch_first=True, **more)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.mul_(8)
    return lstm


def recorded(subject: Subject, layer: str, gate: str) -> Tensor:
    """Return a gate over each sequence as float64 gives it, (sequence, time, unit); NaN at padding."""
    lengths = torch.as_tensor(subject.lengths)
    packed = pack_padded_sequence(subject.x.double(), lengths, batch_first=True, enforce_sorted=False)
    value = record(subject.model.double(), packed)[layer, gate]
    return value.masked_fill((torch.arange(8) >= lengths[:, None])[:, :, None], torch.nan)


@pytest.mark.parametrize("both", [False, True])
def test_every_layer_is_measured_over_the_steps_that_are_data(both: bool) -> None:
    """Padding is no data; a layer that reads from the end has a state of its own at each step."""
    subject = subject_of(stack(bidirectional=both), LENGTHS)
    table = gate_activity.measure([subject])
    names = [layer.name for layer in subject.layers]
    assert list(dict.fromkeys(table["layer"])) == names
    assert len(names) == (4 if both else 2)
    for name in names:
        value = recorded(subject, name, "forget_gate")
        own = table[(table["layer"] == name) & (table["signal"] == "forget_gate")]
        by_step = own[own["metric"] == "mean"].sort_values("step")["value"]
        assert by_step.tolist() == pytest.approx(value.nanmean(dim=(0, 2)).tolist())
        shares = [float(np.nanmean([(step > 0.9).double().mean() for step in rows])) for rows in _of_units(value)]
        assert own[own["metric"] == "share_high"]["value"].tolist() == pytest.approx(shares)


def _of_units(value: Tensor) -> list[list[Tensor]]:
    return [[step[step.isfinite()] for step in value[:, :, unit].T] for unit in range(value.shape[2])]


def test_of_many_sequences_a_part_is_measured() -> None:
    """The numbers that are held are bounded; the part is drawn by the seed."""
    torch.manual_seed(0)
    (subject,) = prepare(study_of(nn.GRU(1, 4, batch_first=True), inputs=bits(200), readout=None))
    assert len(rows_within_budget(subject, 8)) == 200
    bounded = replace(subject, budget=Budget(numbers=20 * 8 * 8))
    rows = rows_within_budget(bounded, 8)
    assert len(rows) == 20
    assert rows.tolist() == rows_within_budget(bounded, 8).tolist() == sorted(set(rows.tolist()))
    part = gate_activity.measure([bounded])
    assert not np.allclose(part["value"], gate_activity.measure([subject])["value"], atol=1e-6)


def test_the_page_says_which_gate_is_open_and_draws_the_control_beside_it() -> None:
    """A forget gate that is shut open by its bias; with random weights none is."""
    torch.manual_seed(0)
    lstm = nn.LSTM(1, 4, batch_first=True)
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[4:8] = 9.0
    found = answer(study_of(lstm, inputs=bits(40), readout=None), "gates")
    assert found.title == "What do the gates do?"
    assert (
        "The forget gate is nearly open most often, in 100% of its values; random weights: " in found.notes["answer"]
    )
    assert "Its gates are hardly ever nearly closed." in found.notes["answer"]
    assert set(found.measurements["role"]) == {"trained", "random weights"}
    assert "in 100% of its values" in found.figures[0].alt


def test_a_plain_rnn_is_not_asked() -> None:
    """The page says why instead of a picture."""
    torch.manual_seed(0)
    found = answer(study_of(nn.RNN(1, 6, batch_first=True), readout=None), "gates")
    assert found.notes["answer"].startswith("Not asked: A plain RNN has no gates")
    assert not len(found.measurements)
    assert not found.figures


def table_of(count: int, units: int, steps: int) -> pd.DataFrame:
    """Return the measurements of two networks of many layers with long names."""
    rows = []
    for role in ("trained", "other"):
        network = Network(role, role, nn.Linear(1, 1))
        for layer in range(count):
            for gate in ("input_gate", "forget_gate", "output_gate"):
                where: dict[str, Any] = {"layer": f"{HOSTILE}{layer}", "signal": gate}
                rows += [measurement("g", "mean", network, RNG.random(), step=step, **where) for step in range(steps)]
                rows += [
                    measurement("g", metric, network, RNG.random(), units=str(unit), **where)
                    for metric in gate_activity.SHARES
                    for unit in range(units)
                ]
    table = tabulate(rows)
    assert list(table.columns) == list(COLUMNS)
    return table


LARGE = [pytest.param(*size, marks=pytest.mark.exhaustive) for size in ((3, 512, 700), (24, 256, 300))]


@pytest.mark.parametrize(("count", "units", "steps"), [(1, 4, 5), (24, 16, 20), *LARGE])
def test_gates_of_many_layers_units_and_steps_are_drawn(count: int, units: int, steps: int) -> None:
    """Of 24 layers four are drawn, the lowest and the highest among them; the words beside them stay few."""
    table = table_of(count, units, steps)
    figure = gate_activity.draw(table)
    assert len(figure.axes) == 3 * min(count, 4)
    assert figure.get_supxlabel() == ("steps read (4 of 24 layers)" if count == 24 else "steps read")
    with drawing():
        made = drawn(gate_activity.draw(table), name="g", title="", alt="1.", caption="", data=table)
    assert len(made.svg.encode()) <= MAX_BYTES
