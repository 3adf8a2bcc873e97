"""Questions about states: what gates do, what can be read of them, and what the picture of states names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from answering import answer
from known_machines import WINS, Reader, Tally, X, subjects
from known_studies import brackets, depth
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from studied import answer as answer_of
from studied import bits, ones, planted, study_of
from tables_read import by, rows, value, values
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import Study, record
from probe.evidence.findings import DataFigure
from probe.evidence.measurements import Network
from probe.questions.interventions import class_means
from probe.questions.states import gate_activity, linear_readout, noise_margin, single_units
from probe.studies.measure import groups_of
from probe.studies.prepare import prepare
from probe.subjects.budget import Budget
from probe.subjects.concepts import group_edges
from probe.subjects.controls import UNDER_NOISE
from probe.subjects.states import rows_within_budget
from probe.subjects.subject import Subject

FIRST = X[:, :, 0] > X[:, :, 1]
LENGTHS = np.array([8, 5, 3, 8, 6, 4, 7, 8, 8, 2])


def moving(layers: int = 1, seed: int = 0, **more: Any) -> nn.LSTM:
    """Return an LSTM whose gates move."""
    torch.manual_seed(seed)
    lstm = nn.LSTM(2, 4, layers, batch_first=True, **more)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.mul_(6)
    return lstm


def pair(x: Tensor = X, wins: Tensor = WINS) -> list[Subject]:
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
    both = pair()
    table = gate_activity.measure(both, FIRST)
    own = table[table["network"] == "trained"]
    gate = record(both[0].model.double(), X.double())["output_gate"].detach()
    for side, metric in ((FIRST, "mean_where_true"), (~FIRST, "mean_where_false")):
        by_unit = np.stack([gate[side[:, step], step].mean(0).numpy() for step in range(5)])
        assert values(own, metric, signal="output_gate", units="") == pytest.approx(by_unit.mean(1))
        found = by("units", own, metric, signal="output_gate", step=None)
        assert list(found.values()) == pytest.approx(by_unit.mean(0))
    low = (gate < 0.1).double().mean((0, 1)).tolist()
    assert values(own, "share_low", signal="output_gate") == pytest.approx(low)
    assert 0 < sum(low) < 4
    again, wins, won = (torch.cat([one, one[:1].expand(100, *one.shape[1:])]) for one in (X, WINS, FIRST))
    copied = gate_activity.measure(pair(again, wins), won)
    assert copied["value"].to_numpy() == pytest.approx(table["value"].to_numpy())


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_every_layer_is_measured_over_the_steps_that_are_data(both: bool) -> None:
    """Padding is no data; a layer that reads from the end has a state of its own at each step."""
    model, x = moving(3, bidirectional=both), np.random.default_rng(0).normal(size=(10, 8, 2)).astype(np.float32)
    (subject,) = prepare(Study(model, x, {"first": x[:, :, 0]}, lengths=LENGTHS))
    table = gate_activity.measure([subject])
    names = [layer.name for layer in subject.layers]
    assert list(dict.fromkeys(table["layer"])) == names
    assert len(names) == (6 if both else 3)
    # Of many layers four are drawn.
    figure = gate_activity.draw(table)
    assert len(figure.axes) == 3 * min(len(names), 4)
    assert figure.get_supxlabel() == ("steps read (4 of 6 layers)" if both else "steps read")
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
    part = rows_within_budget(bounded, 8).tolist()
    assert part == rows_within_budget(bounded, 8).tolist() == sorted(set(part))
    assert len(part) == 20


QUESTIONS = (single_units, linear_readout)
INPUTS = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 6, 2))).float()
WON = (INPUTS[:, :, 0] > INPUTS[:, :, 1]).cumsum(1)
NETWORKS = [
    Network(f"{role} {seed}", role, Reader("lstm", 4, seed + before), seed)
    for seed in (1, 2)
    for before, role in ((0, "trained"), (10, "own initialisation"))
]


def test_single_units_measures_every_network_once() -> None:
    """Each summary metric has one value a network, the unit's own correlations one a unit."""
    table = single_units.measure(subjects(NETWORKS, INPUTS, WON))
    for metric in ("largest_correlation", "mean_monotone_accuracy", "lasting_monotone_accuracy"):
        assert list(by("network", table, metric)) == [network.name for network in NETWORKS]
    own = by("units", table, "within_step_correlation", network="trained 1")
    states = probe.record(NETWORKS[0].model.double(), INPUTS.double())["cell_state"].detach().numpy()
    within, count = states - states.mean(0), WON.numpy() - WON.numpy().mean(0)
    r = [np.corrcoef(within[:, :, unit].ravel(), count.ravel())[0, 1] for unit in range(4)]
    assert list(own.values()) == pytest.approx(r, abs=1e-6)
    best = max(own, key=lambda unit: abs(own[unit]))
    assert by("units", table, "largest_correlation", network="trained 1") == pytest.approx({best: abs(own[best])})


def test_linear_readout_reports_each_signal_with_its_controls() -> None:
    """R2 at each step, variance shares that sum to 1, and the smaller of the last two R2; see oracle_reading.py."""
    table = linear_readout.measure(subjects(NETWORKS[:1], INPUTS, WON))
    for signal in ("cell_state", "hidden_state"):
        assert list(by("step", table, "r_squared", signal=signal)) == list(range(6))
        assert sum(values(table, "variance_share", signal=signal)) == pytest.approx(1)
    assert value(table, "last_step_r_squared") == pytest.approx(min(values(table, "r_squared", step=5)))


def group(study: Study, copies: int = 2) -> tuple[Subject, ...]:
    """Return a study's network with its controls."""
    return next(iter(groups_of(prepare(study), copies=copies).values()))


@pytest.mark.usefixtures("undrawn")
def test_the_planted_unit_is_told_beside_its_controls() -> None:
    """Unit 0 holds the count, is read exactly at all steps, and no control's unit is."""
    beside = group(study_of(planted()))
    found = answer(single_units.question(beside[0]), beside)
    lasting = rows(found.measurements, "lasting_monotone_accuracy").set_index("role")["value"]
    assert lasting["trained"] == 1
    assert lasting[["random weights", "fitted head"]].max() < 0.6


@pytest.mark.usefixtures("undrawn")
def test_under_noise_a_network_stands_beside_heads_that_were_fitted_under_it() -> None:
    """A head fitted without noise is no opponent there. The rule takes the best; elsewhere the first is asked."""
    beside = group(study_of(planted()))
    found = answer(noise_margin.question(beside[0]), beside)
    heads = rows(found.measurements, "noisy_accuracy", role="fitted head").set_index("network")["value"]
    first, under_noise, doubled = heads
    assert [name.rpartition("/")[2] for name in heads.index] == ["fitted head", *UNDER_NOISE]
    assert max(under_noise, doubled) > first + 0.1
    (claim,) = found.claims
    assert claim.differences[0].control == max(heads)
    assert f"the best of 3 fitted heads {max(heads):.0%}" in found.notes["answer"]
    assert "has 3 heads, fitted with and without noise" in found.notes["setup"]
    elsewhere = answer(class_means.question(beside[0]), beside).measurements
    assert elsewhere[elsewhere["role"] == "fitted head"]["network"].nunique() == 1
    alone = [one for one in beside if one.network.name not in heads.index[1:]]
    assert "That is a weak control" in answer(noise_margin.question(beside[0]), alone).notes["setup"]


@pytest.mark.usefixtures("undrawn")
def test_sequences_of_several_lengths_and_numbers_of_any_size_are_measured() -> None:
    """A concept at every second step of ragged sequences; of a sum that never repeats no value is read exactly."""
    x, lengths = brackets(800, time=18)
    depths = np.array([depth(one) for one in x])
    depths[:, ::2] = np.nan
    beside = group(Study(nn.GRU(2, 6, batch_first=True), x, {"depth": depths}, lengths=lengths))
    for question in QUESTIONS:
        table = answer(question.question(beside[0]), beside).measurements
        assert len(table)
        assert table["value"].notna().all()
        assert set(table["step"].dropna() % 2) <= {1}
    x = np.random.default_rng(0).normal(size=(150, 20, 2)).astype(np.float32)
    beside = group(Study(nn.GRU(2, 6, batch_first=True), x, {"sum": lambda one: np.cumsum(one[:, 0])}))
    units, readout = (set(answer(each.question(beside[0]), beside).measurements["metric"]) for each in QUESTIONS)
    assert units == {"within_step_correlation", "largest_correlation"}
    assert not {"rounding_accuracy", "codelength"} & readout
    assert "selectivity" in readout


def test_what_a_network_lacks_is_said() -> None:
    """Each question says why it is not asked, before anything is measured; the layer of a readout is studied."""
    kinds = {"kind": lambda x: ["a" if one else "b" for one in x[:, 0]]}
    for model, x, concepts, reason in (
        (nn.GRU(1, 6, batch_first=True), bits(), kinds, "is categorical"),
        (nn.GRU(1, 6, batch_first=True), bits(8, 2), {"ones": ones}, "has a value in 4 sequences"),
        (nn.GRU(1, 6, 2, batch_first=True), bits(), {"ones": ones}, "several layers: '[0]', '[1]'"),
    ):
        (subject,) = prepare(Study(model, x, concepts))
        assert all(reason in str(question.question(subject).why_not(subject)) for question in QUESTIONS)
    (subject,) = prepare(study_of(nn.GRU(1, 6, 2, batch_first=True), inputs=bits(600)))
    assert [question.question(subject).why_not(subject) for question in QUESTIONS] == [None] * 2


def pictured(values: Any, length: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], np.ndarray, int]:
    """Return the names beside the scale of a picture of states, the values that are shown, and how many colours."""
    figures: list[Figure] = []

    def kept(figure: Figure, **words: Any) -> DataFigure:
        figures.append(figure)
        return DataFigure(**words, svg='<svg xmlns="http://www.w3.org/2000/svg"></svg>')

    monkeypatch.setattr(DataFigure, "from_figure", kept)
    x = bits(200, length)
    found = answer_of(Study(nn.LSTM(1, 6, batch_first=True), x, {"ones": values(x)}), "state-space")
    (figure,), table = figures, found.measurements
    labels = figure.axes[-1].get_yticklabels()
    boxes = [one.get_window_extent() for one in labels]
    assert all(not box.count_overlaps(boxes[:place]) for place, box in enumerate(boxes))
    inks = {to_hex(dots.get_edgecolor()) for ax in figure.axes[:-1] for dots in ax.patches}
    return [one.get_text() for one in labels], table[table["metric"] == "concept"]["value"].to_numpy(float), len(inks)


def test_each_value_of_a_count_has_its_colour_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 0 to the largest, also where eight quantiles would take several values together."""
    names, shown, inks = pictured(lambda x: np.minimum(x[:, :, 0].cumsum(1), 19), 38, monkeypatch)
    assert set(shown) <= set(range(20))
    assert names == [str(value) for value in range(20)]
    assert inks == len(set(shown)) > 8


MANY: dict[str, Any] = {
    "mostly 0": lambda x: np.where(x[:, :, 0] == 0, 0, x[:, :, 0].cumsum(1)),
    "far from 0": lambda x: np.random.default_rng(0).normal(size=x.shape[:2]) + 1e4,
}


@pytest.mark.parametrize("values", MANY.values(), ids=MANY)
def test_groups_of_many_values_hold_what_they_say(values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is a value or a range, the ranges rise and lie apart, and every state that is drawn is in one."""
    names, shown, inks = pictured(values, 60, monkeypatch)
    assert 2 < len(names) == len(set(names)) == inks
    ends = [name.split(" to ") for name in names]
    lows, highs = (np.array([float(own[place]) for own in ends]) for place in (0, -1))
    assert (lows <= highs).all()
    assert (highs[:-1] <= lows[1:]).all()
    # By how much a number may be off that is written with so many digits.
    below, above = (0.5 * 10.0 ** -np.array([len(own[place].partition(".")[2]) for own in ends]) for place in (0, -1))
    inside = (shown[:, None] >= lows - below) & (shown[:, None] <= highs + above)
    assert inside.any(axis=1).all()
    assert inside.any(axis=0).all()


@pytest.mark.filterwarnings("error")
def test_no_group_of_values_is_empty() -> None:
    """An edge between two values, and the next one at the second of them, would leave nothing between."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.integers(0, 40, rng.integers(1, 60)).astype(float)
        edges = group_edges(values, 12)
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        assert len(edges) < 12
        assert counts.min() > 0
