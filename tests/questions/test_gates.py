"""What gates do: exact on a planted unit, and as recorded in layers, directions and lengths; what is drawn of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import WINS, Tally, X, subjects
from studied import answer, bits, study_of
from tables_read import by, rows, values
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from probe import Study, record
from probe.evidence.measurements import Network, measurement, tabulate
from probe.plots.study_figures import drawing, drawn
from probe.questions.states import gate_activity
from probe.report.svg import MAX_BYTES
from probe.studies.prepare import prepare
from probe.subjects.budget import Budget
from probe.subjects.states import rows_within_budget
from probe.subjects.subject import Subject

WON = X[:, :, 0] > X[:, :, 1]
HOSTILE = "$x_{$ \\frac <b>&amp; \x07\n" + "a very long name " * 40
LENGTHS = np.array([8, 5, 3, 8, 6, 4, 7, 8, 8, 2])


def moving(layers: int = 1, seed: int = 0, **more: Any) -> nn.LSTM:
    """Return an LSTM whose gates move."""
    torch.manual_seed(seed)
    lstm = nn.LSTM(2, 4, layers, batch_first=True, **more)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.mul_(6)
    return lstm


def asked(x: Tensor = X, wins: Tensor = WINS) -> list[Subject]:
    """Return a network and its own initialisation, with the wins."""
    roles = ("trained", "own initialisation")
    return subjects([Network(role, role, moving(seed=seed), 0) for seed, role in enumerate(roles, 1)], x, wins)


def test_a_planted_units_gates_are_open() -> None:
    """All gates stand at 1 at every step, so that every value is nearly open."""
    table = gate_activity.measure(subjects([Network("tally", "planted", Tally())], X, WINS))
    for gate in ("input_gate", "forget_gate", "output_gate"):
        assert values(table, "mean", units="", signal=gate) == [1] * 5
    assert (values(table, "share_high"), values(table, "share_low")) == ([1] * 3, [0] * 3)
    assert not len(rows(table, "mean_where_true"))


def test_gate_means_are_those_of_the_recording() -> None:
    """With all sequences, each prefix equally often, the means are plain means over rows; copies count once."""
    pair = asked()
    table = gate_activity.measure(pair, WON)
    own = table[table["network"] == "trained"]
    gate = record(pair[0].model.double(), X.double())["output_gate"].detach()
    for side, metric in ((WON, "mean_where_true"), (~WON, "mean_where_false")):
        by_unit = np.stack([gate[side[:, step], step].mean(0).numpy() for step in range(5)])
        assert values(own, metric, signal="output_gate", units="") == pytest.approx(by_unit.mean(1))
        found = by("units", own, metric, signal="output_gate", step=None)
        assert list(found.values()) == pytest.approx(by_unit.mean(0))
    low = (gate < 0.1).double().mean((0, 1)).tolist()
    assert values(own, "share_low", signal="output_gate") == pytest.approx(low)
    assert 0 < sum(low) < 4
    again, wins, won = (torch.cat([one, one[:1].expand(100, *one.shape[1:])]) for one in (X, WINS, WON))
    copied = gate_activity.measure(asked(again, wins), won)
    assert copied["value"].to_numpy() == pytest.approx(table["value"].to_numpy())


def test_gate_figures_show_the_tables_numbers() -> None:
    """Filled marks where the split holds, hollow ones where not; trained and own initialisation in the same axes."""
    table = gate_activity.measure(asked(), WON)
    figure = gate_activity.draw(table, labels=("won", "lost"))
    assert [ax.get_title() for ax in figure.axes] == ["input\ngate", "forget\ngate", "output\ngate"]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert set(lines) == {"trained, won", "trained, lost", "own initialisation, won", "own initialisation, lost"}
    wanted = values(table, "mean_where_true", signal="forget_gate", units="", network="trained")
    assert np.asarray(lines["trained, won"].get_ydata()).tolist() == pytest.approx(wanted)
    assert lines["trained, lost"].get_markerfacecolor() == "none"
    assert lines["trained, won"].get_linestyle() != lines["own initialisation, won"].get_linestyle()
    # A table counts steps from 0, and a figure says how many were read.
    assert np.asarray(lines["trained, won"].get_xdata()).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_every_layer_is_measured_over_the_steps_that_are_data(both: bool) -> None:
    """Padding is no data; a layer that reads from the end has a state of its own at each step."""
    model, x = moving(2, bidirectional=both), np.random.default_rng(0).normal(size=(10, 8, 2)).astype(np.float32)
    (subject,) = prepare(Study(model, x, {"first": x[:, :, 0]}, lengths=LENGTHS))
    table = gate_activity.measure([subject])
    names = [layer.name for layer in subject.layers]
    assert list(dict.fromkeys(table["layer"])) == names
    assert len(names) == (4 if both else 2)
    lengths = torch.as_tensor(LENGTHS)
    packed = pack_padded_sequence(torch.as_tensor(x).double(), lengths, batch_first=True, enforce_sorted=False)
    recording, there = record(subject.model.double(), packed), torch.arange(8) < lengths[:, None]
    for name in names:
        gate = recording[name, "forget_gate"].detach()
        by_unit = torch.stack([gate[there[:, step], step].mean(0) for step in range(8)])
        opened = torch.stack([(gate[there[:, step], step] > 0.9).double().mean(0) for step in range(8)])
        where = {"layer": name, "signal": "forget_gate"}
        found = by("step", table, "mean", **where)
        assert [found[step] for step in range(8)] == pytest.approx(by_unit.mean(1).tolist())
        assert values(table, "share_high", **where) == pytest.approx(opened.mean(0).tolist())


def test_of_many_sequences_a_part_is_measured() -> None:
    """The numbers that are held are bounded; the part is drawn by the seed."""
    (subject,) = prepare(study_of(nn.GRU(1, 4, batch_first=True), inputs=bits(200), readout=None))
    assert len(rows_within_budget(subject, 8)) == 200
    bounded = replace(subject, budget=Budget(numbers=20 * 8 * 8))
    part = rows_within_budget(bounded, 8)
    assert len(part) == 20
    assert part.tolist() == rows_within_budget(bounded, 8).tolist() == sorted(set(part.tolist()))
    fewer, every = (gate_activity.measure([one])["value"] for one in (bounded, subject))
    assert not np.allclose(fewer, every, atol=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_which_gate_is_open_beside_the_control() -> None:
    """A forget gate that is shut open by its bias; with random weights none is."""
    lstm = nn.LSTM(1, 4, batch_first=True)
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[4:8] = 9.0
    found = answer(study_of(lstm, inputs=bits(40), readout=None), "gates")
    open_gate = "The forget gate is nearly open most often, in 100% of its values; random weights: "
    assert open_gate in found.notes["answer"]
    assert "Its gates are hardly ever nearly closed." in found.notes["answer"]
    assert set(found.measurements["role"]) == {"trained", "random weights"}
    assert "in 100% of its values" in found.figures[0].alt


def table_of(count: int, units: int, steps: int) -> pd.DataFrame:
    """Return the measurements of two networks of many layers with long names."""
    found, rng = [], np.random.default_rng(0)
    for role in ("trained", "other"):
        network = Network(role, role, nn.Linear(1, 1))
        for layer in range(count):
            for gate in ("input_gate", "forget_gate", "output_gate"):
                where: dict[str, Any] = {"layer": f"{HOSTILE}{layer}", "signal": gate}
                found += [
                    measurement("g", "mean", network, rng.random(), step=step, **where) for step in range(steps)
                ]
                found += [
                    measurement("g", metric, network, rng.random(), units=str(unit), **where)
                    for metric in gate_activity.SHARES
                    for unit in range(units)
                ]
    return tabulate(found)


LARGE = [pytest.param(*size, marks=pytest.mark.exhaustive) for size in ((3, 512, 700), (24, 256, 300))]


@pytest.mark.parametrize(("count", "units", "steps"), [(5, 1, 5), *LARGE])
def test_gates_of_many_layers_units_and_steps_are_drawn(count: int, units: int, steps: int) -> None:
    """Of many layers four are drawn, the lowest and the highest among them; the words beside them stay few."""
    table = table_of(count, units, steps)
    with drawing():
        figure = gate_activity.draw(table)
        assert len(figure.axes) == 3 * min(count, 4)
        assert figure.get_supxlabel() == (f"steps read (4 of {count} layers)" if count > 4 else "steps read")
        made = drawn(figure, name="g", title="", alt="1.", caption="", data=table)
    assert len(made.svg.encode()) <= MAX_BYTES
