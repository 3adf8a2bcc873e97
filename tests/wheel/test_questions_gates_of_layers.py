"""The gates of networks of several layers, directions and lengths, and what a page says and draws of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from studied import answer, bits, study_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from probe import Study, record
from probe.evidence.measurements import COLUMNS, Network, measurement, tabulate
from probe.questions.states import gate_activity
from probe.report.svg import MAX_BYTES
from probe.studies.prepare import prepare
from probe.subjects.computed import sample
from probe.subjects.subject import Subject

RNG = np.random.default_rng(0)
HOSTILE = "$x_{$ \\frac <b>&amp; \x07\n" + "a very long name " * 40
LENGTHS = np.array([8, 5, 3, 8, 6, 4, 7, 8, 8, 2])


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


def test_of_many_sequences_a_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers that are held are bounded; the part is drawn by the seed."""
    torch.manual_seed(0)
    (subject,) = prepare(study_of(nn.GRU(1, 4, batch_first=True), inputs=bits(200), readout=None))
    assert len(sample.rows_within_budget(subject, 8)) == 200
    monkeypatch.setattr(sample, "NUMBERS", 20 * 8 * 8)
    rows = sample.rows_within_budget(subject, 8)
    assert len(rows) == 20
    assert rows.tolist() == sample.rows_within_budget(subject, 8).tolist() == sorted(set(rows.tolist()))
    part = gate_activity.measure([subject])
    monkeypatch.undo()
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
    assert [figure.name for figure in found.figures] == ["gates-by-step", "gate-saturation"]
    assert "forget gate (trained): 100% nearly open, 0% nearly closed" in found.figures[1].alt
    assert "medians over networks" not in found.figures[0].caption


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
    for figure in gate_activity.figures(table):
        assert len(figure.svg.encode()) <= MAX_BYTES
        assert ("4 of 24 layers are drawn" in figure.caption) is (count == 24)
        assert figure.alt.endswith("the table has the others.") is (count == 24)
        assert any(letter.isdigit() for letter in figure.alt)
