"""The question of directions: on a tally whose answers are known, and on a GRU of two features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_machines import LEAD, READ, WINS, Reader, Tally, X, subjects
from matplotlib.axes import Axes
from torch import Tensor

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.methods.causal.class_means import classes_at
from probe.methods.causal.directions import DIRECTIONS
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import all_pairs, along, columns
from probe.methods.causal.support import OffSupport
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.plots.style import style
from probe.questions.interventions import directions


def lead(scores: Tensor) -> Tensor:
    """Return the lead of -5 to 5 that the highest of six scores stands for."""
    return 2 * scores.argmax(1) - 5


def expected_lead(scores: Tensor) -> Tensor:
    """Return the mean lead."""
    return 2 * READ["expected"](scores) - 5


LEADS: dict[str, Any] = {"answer": lead, "expected": expected_lead}


def test_a_tally_scores_one_along_every_direction_and_in_its_one_unit() -> None:
    """Its states lie on one curve of one unit: all kinds of direction move the answer by what they should."""
    table = directions.measure(subjects([Network("tally", "planted", Tally(2))]), step=2)
    scores = table[table["metric"] == "direction_score"].set_index("kind")["value"]
    assert set(scores.index) == set(DIRECTIONS)
    assert scores["ols"] == pytest.approx(1)
    units = table[table["metric"] == "unit_score"].set_index("units")["value"]
    assert units.to_dict() == pytest.approx({"0": 1, "1": 0, "2": 0}, abs=1e-9)
    best = table[table["metric"] == "best_unit_score"]
    assert (best["units"].item(), best["value"].item()) == ("0", pytest.approx(1))
    assert table[table["metric"] == "unit_shift"]["value"].tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert set(table["step"]) == {2}


def test_on_a_gru_each_number_is_that_of_the_experiment() -> None:
    """Another layer, concept and answer: scores, shifts and distances equal those computed one by one."""
    model = Reader("gru", units=4)
    network = Network("gru", "trained", model, 0)
    table = directions.measure(subjects([network], concept=LEAD, layer="rnn[0]", **LEADS), step=3)
    machine, task = Machine.of(model, X, **LEADS), Task(LEAD)
    pairs = all_pairs(machine, 3)
    classes = classes_at(machine, task, 3)
    for kind in DIRECTIONS:
        put = along(DIRECTIONS[kind](classes))
        rows = table[table["kind"] == kind].set_index("metric")["value"]
        scores = interchange(pairs, task, put)
        assert rows["direction_iia"] == scores.iia
        assert rows["direction_score"] == pytest.approx(scores.score)
        assert rows["direction_shift"] == pytest.approx(scores.shift)
        assert rows["direction_off_support"] == pytest.approx(OffSupport(pairs, task).distance(put))
    unit = interchange(pairs, task, columns(machine.dynamics.unit(2)))
    rows = table[table["units"] == "2"].set_index("metric")["value"]
    assert rows["unit_iia"] == unit.iia
    assert rows["unit_off_support"] > 0
    assert set(table["layer"]) == {"rnn[0]"}
    drawn = directions.measure(subjects([network], concept=LEAD, **LEADS), step=3, most=50, most_of_unit=60, seed=1)
    assert not np.allclose(drawn["value"].head(20), table["value"].head(20))


def test_scores_that_do_not_exist_are_left_out() -> None:
    """A head that answers the same to everything has no way to go, and a single class no direction."""
    model = Reader("gru")
    with torch.no_grad():
        model.head.weight.zero_()
    network = Network("same", "own initialisation", model, 0)
    table = directions.measure(subjects([network]), step=2)
    assert not table["metric"].str.endswith("score").any()
    assert (table[table["metric"] == "direction_shift"]["value"].abs() < 1e-9).all()
    constant = directions.measure(subjects([network], concept=torch.zeros_like(WINS)), step=2)
    assert not constant["metric"].str.startswith("direction").any()
    with pytest.raises(ProbeError, match="has no direction_score"):
        directions.draw(table)


def test_a_step_beyond_the_input_and_another_concepts_shape_are_refused() -> None:
    """The message says what there is."""
    network = [Network("gru", "trained", Reader("gru"), 0)]
    with pytest.raises(ProbeError, match="step=5 lies outside"):
        directions.measure(subjects(network), step=5)
    with pytest.raises(ProbeError, match=r"concept is a Tensor of shape \(32, 4\)"):
        directions.measure(subjects(network, concept=WINS[:, 1:]), step=2)


def test_the_figure_shows_every_network_and_hollow_where_off_the_support() -> None:
    """Each role has its marker; a hollow one lies more than half a spacing from all that occurs."""
    networks = [Network("tally", "trained", Tally(2), 0), Network("gru", "fitted head", Reader("gru"), 0)]
    table = directions.measure(subjects(networks), step=2)
    wide = directions.scores_by_kind(table)
    assert wide["kind"].tolist()[:7] == [*DIRECTIONS, "unit"]
    best = wide[(wide["network"] == "tally") & (wide["kind"] == "unit")]
    assert best["score"].item() == pytest.approx(1)
    with style():
        ax: Axes = directions.draw(table, threshold=0.5)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["trained", "fitted head"]
    hollow, filled = [], []
    for line in ax.lines:
        values = np.atleast_1d(np.asarray(line.get_ydata(), float)).tolist()
        if line.get_marker() in ("o", "D"):
            (hollow if line.get_markerfacecolor() == "none" else filled).extend(values)
    far = wide["off_support"] > 0.5
    assert 0 < far.sum() < len(wide)
    assert sorted(hollow) == pytest.approx(sorted(wide[far]["score"]))
    assert sorted(filled) == pytest.approx(sorted(wide[~far]["score"]))
    assert [0.5, 0.5] in [np.asarray(line.get_ydata(), float).tolist() for line in ax.lines]
