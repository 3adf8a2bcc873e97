"""Speeds of the answer, and points of rest while an input is held fixed: where a state can be, and from where.

Speeds of planted counters are computed again in tests/repo/oracle_answers.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import LENGTH, WINS, X
from known_machines import subjects as of_machines
from studied import answer, bits, ones, planted, study_of
from tables_read import by, rows, value, values
from torch import Tensor, nn

from probe import Study
from probe.evidence.measurements import Network
from probe.loading.modules import BothWays
from probe.methods.dynamics import CellDynamics
from probe.methods.fixed_points import find_points
from probe.questions.states import dynamics, held_inputs
from probe.questions.states.held_inputs import Start
from probe.recurrent.finding import find_layers
from probe.studies.prepare import prepare
from probe.subjects.subject import Subject

WIN, LOSS = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


class Wins(nn.Module):
    """An LSTM of one unit that adds so much for a win or a loss, keeps the rest, and is read off exactly."""

    def __init__(self, win: float = 0.1, loss: float = 0.0):
        super().__init__()
        self.rnn: Any = nn.LSTM(2, 1, batch_first=True).double()
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.bias_ih_l0.copy_(torch.tensor([40.0, 40.0, 0.0, 40.0]))
            self.rnn.weight_ih_l0[2] = torch.tensor([win, loss], dtype=torch.float64).atanh()

    def forward(self, x: Tensor) -> Tensor:
        """Return the wins, (batch,)."""
        return torch.atanh(self.rnn(x)[0][:, -1, 0]) * 10


def measure(model: nn.Module, **options: Any) -> pd.DataFrame:
    """Measure a network with losses as the silent input."""
    read: dict[str, Any] = {"answer": torch.round, "expected": lambda y: y}
    asked = of_machines([Network("it", "trained", model, 1)], X, WINS, **read)
    given: dict[str, Any] = {"silent": LOSS, "driving": WIN[None]}
    return dynamics.measure(asked, **(given | options))


def test_a_counter_of_wins_rests_on_losses_and_moves_by_one_on_wins() -> None:
    """Under losses it has a fixed point for each count, none of them stable, and one mode that keeps all."""
    table = measure(Wins())
    wanted = {"silent_speed": 0, "driven_speed": 1, "silent_state_speed": 0, "fixed_points": LENGTH + 1}
    wanted |= {"stable_points": 0, "slow_points": 0, "starts_reached": 1, "slow_modes": 1}
    assert {metric: value(table, metric) for metric in wanted} == pytest.approx(wanted, abs=1e-12)
    assert sorted(values(table, "point_answer")) == pytest.approx(range(LENGTH + 1), abs=1e-9)
    assert values(table, "point_modulus") == pytest.approx([1] * (LENGTH + 1))
    assert max(values(table, "point_distance")) < 1e-9


def test_speeds_keep_signs_apart_and_mean_over_steps_and_inputs() -> None:
    """A network that loses .4 on a loss and gains .6 on a win; steps choose prefixes, each of the same weight."""
    table = measure(Wins(0.06, -0.04), steps=[2, 4])
    assert value(table, "change", kind="0,1", step=2) == pytest.approx(-0.4)
    assert value(table, "change", kind="1,0", step=4) == pytest.approx(0.6)
    assert value(table, "speed", kind="0,1", step=4) == value(table, "silent_speed") == pytest.approx(0.4)
    assert value(table, "driven_speed") == pytest.approx(0.6)
    assert set(table["step"].dropna()) == {2, 4}
    table = measure(Wins(0.06, -0.04), driving=torch.stack([WIN, 2 * LOSS]), silent=WIN)
    assert value(table, "silent_speed") == pytest.approx(0.6)
    assert value(table, "driven_speed") == pytest.approx((0.6 + 10 * np.tanh(2 * np.arctanh(0.04))) / 2)


def latch() -> nn.GRU:
    """Return a GRU of a unit whose update gate saturates where the state is far above 1: it stands still there."""
    gru: Any = nn.GRU(1, 1, batch_first=True)
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.zero_()
        gru.weight_hh_l0[1, 0] = 12.0
        gru.bias_hh_l0[1] = -2.0
    return gru.double()


def start_at(module: Any, states: Any, largest: list[float]) -> Start:
    """Return a layer with states that a search begins at."""
    layer = find_layers(module)[0]
    own = CellDynamics("the layer", layer.cell)
    bound = held_inputs.bound_of(layer, own, np.array(largest))
    return Start(layer, own, torch.tensor(states, dtype=torch.float64), bound)


def test_points_outside_of_the_bounds_are_left_out() -> None:
    """The gate is shut at 4 and 6, where no state of a GRU that began at 0 comes; at 0 it rests.

    A hidden state that tanh makes ends at 1; other numbers are held against the largest that was seen.
    """
    held = torch.zeros(1, dtype=torch.float64)
    start = start_at(latch(), [[0.1], [-0.1], [4.0], [6.0]], [0.5])
    points = find_points(start.dynamics, held, start.states, bound=start.bound)
    assert (points.fixed.sum(), points.stable.sum(), len(points), points.reached) == (1, 1, 1, 0.5)
    everywhere = find_points(start.dynamics, held, start.states)  # these bounds follow from the equations
    assert (len(everywhere), everywhere.reached) == (1, 0.5)
    none = find_points(start.dynamics, held, start.states[2:], bound=start.bound)
    assert (len(none), none.reached) == (0, 0)
    for module, largest, bound in (
        (nn.RNN(1, 1), [0.7], [1.0]),
        (nn.RNN(1, 1, nonlinearity="relu"), [0.7], [1.4]),
        (nn.LSTM(1, 1), [3.0, 0.7], [6.0, 1.0]),
        (nn.LSTM(1, 2, proj_size=1), [3.0, 3.0, 0.7], [6.0, 6.0, 1.4]),
    ):
        found = start_at(module, [[0.0] * len(bound)], largest).bound
        assert found == pytest.approx(np.array(bound) + held_inputs.ROUNDED)


def test_each_input_is_held_fixed_and_measured_like_the_silent_one() -> None:
    """The same points under the same input, whether a study names it or a caller says that it is silent."""
    (subject,) = prepare(study_of(planted(), inputs=bits(60)))
    table = dynamics.measure([subject])
    silent = dynamics.measure([subject], silent=torch.zeros(1), driving=torch.ones(1, 1))
    for metric in (*dynamics.COUNTS, "starts_reached", "point_q", "point_answer", "point_distance"):
        wanted = values(silent, metric, kind="")
        assert values(table, metric, kind="the input (0)") == pytest.approx(wanted), metric
    counts = by("kind", table, "fixed_points")
    assert counts["the input (0)"] > counts["the input (1)"]
    assert max(values(table, "point_modulus", kind="the input (0)")) == pytest.approx(1)
    # Of a stack the first layer's points say nothing of the answer.
    (stack,) = prepare(study_of(nn.GRU(1, 6, 2, batch_first=True), inputs=bits(20)))
    assert not len(rows(dynamics.measure([stack]), "point_answer"))


def random_gru() -> Subject:
    """Return a study's random GRU over bits."""
    torch.manual_seed(0)
    return prepare(study_of(nn.GRU(1, 4, batch_first=True), inputs=bits(20), readout=None))[0]


@pytest.mark.usefixtures("undrawn")
def test_where_a_search_is_too_dear_the_question_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer starts than usual are searched from before; else the finding has the control in its first sentence."""
    subject = random_gru()
    assert len(held_inputs.start_of(subject).states) == 99
    found = answer(study_of(subject.model, inputs=bits(20), readout=None), "fixed-points")
    assert "The search began at 99 states of [0]" in found.notes["setup"]
    assert "; random weights (one network): 1 fixed point (1 stable)." in found.notes["answer"]
    cost = (3.0 * held_inputs.flops(subject.layers[0]) * 4 + 4**3) * held_inputs.ROUNDS * 2
    monkeypatch.setattr(held_inputs, "BUDGET", 12.5 * cost)
    assert len(held_inputs.start_of(random_gru()).states) == 12
    monkeypatch.setattr(held_inputs, "BUDGET", 7.5 * cost)
    assert "so large that a search for fixed points takes too long" in str(held_inputs.first_layer(random_gru()))
    # Layers that read from the end, or not the inputs, are not searched either.
    both: Any = BothWays(nn.GRU(1, 3, batch_first=True), nn.GRU(1, 3, batch_first=True), merge="sum")
    (turned,) = prepare(Study(both, bits(20), {"ones": ones}))
    (back,) = prepare(Study(both, bits(20), {"ones": ones}, layer=[turned.layers[1].name]))
    assert "reads from the end" in str(held_inputs.first_layer(back))
    (upper,) = prepare(Study(nn.GRU(1, 3, 2, batch_first=True), bits(20), {"ones": ones}, layer=["[1]"]))
    assert "[1] does not read the inputs themselves" in str(held_inputs.first_layer(upper))
