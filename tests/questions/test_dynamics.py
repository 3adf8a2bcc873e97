"""Questions of speeds and points of rest.

- Speeds of the answer, and points of rest, on networks of two features.
- Fixed points under each input that is held fixed: where a state can be, and what the page says of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from refusing import refused
from studied import answer, bits, head, ones, planted, study_of
from torch import Tensor, nn

from probe import Readout, Study
from probe.evidence.measurements import Network, only
from probe.loading.modules import BothWays
from probe.methods.dynamics import CellDynamics
from probe.methods.fixed_points import find_points
from probe.questions.states import dynamics, held_inputs
from probe.questions.states.held_inputs import Start
from probe.recurrent.finding import find_layers
from probe.studies.prepare import prepare
from probe.subjects.subject import Subject

LENGTH = 5
BITS = (torch.arange(2**LENGTH)[:, None] >> torch.arange(LENGTH - 1, -1, -1)) & 1
X = torch.stack([BITS, 1 - BITS], -1).float()
WIN, LOSS = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


class Wins(nn.Module):
    """An LSTM of one unit that adds so much for a win, keeps the rest, and is read off exactly."""

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


class Reader(nn.Module):
    """A recurrent layer over two features whose last hidden state is read by a linear head."""

    def __init__(self, kind: Any = nn.GRU, seed: int = 1):
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = kind(2, 4, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch,)."""
        return self.head(self.rnn(x)[0][:, -1])[:, 0]


OPTIONS: dict[str, Any] = {
    "silent": LOSS,
    "driving": WIN[None],
}


def measure(*networks: Network, **options: Any) -> pd.DataFrame:
    """Measure networks with losses as the silent input."""
    read: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}
    return dynamics.measure(subjects(networks, X, BITS.cumsum(1), **read), **(OPTIONS | options))


def value(table: pd.DataFrame, metric: str, kind: str = "", step: int | None = None) -> float:
    """Return the one value of a metric; of points, that of the slowest."""
    found = table[(table["metric"] == metric) & (table["kind"] == kind) & ~(table["at"] > 0)]
    found = found if step is None else found[found["step"] == step]
    assert len(found) == 1
    return found["value"].item()


def test_a_counter_of_wins_rests_on_losses_and_moves_by_one_on_wins() -> None:
    """Under losses it has a fixed point for each count, none of them stable, and one mode that keeps all."""
    table = measure(Network("wins", "planted", Wins()))
    assert value(table, "silent_speed") == pytest.approx(0, abs=1e-12)
    assert value(table, "driven_speed") == pytest.approx(1)
    assert value(table, "silent_state_speed") == pytest.approx(0, abs=1e-12)
    assert value(table, "fixed_points") == LENGTH + 1
    assert value(table, "stable_points") == value(table, "slow_points") == 0
    assert value(table, "starts_reached") == value(table, "slow_modes") == 1
    read = table[table["metric"] == "point_answer"]["value"]
    assert sorted(read) == pytest.approx(range(LENGTH + 1), abs=1e-9)
    assert table[table["metric"] == "point_modulus"]["value"].tolist() == pytest.approx([1] * (LENGTH + 1))
    assert table[table["metric"] == "point_distance"]["value"].max() < 1e-9


def test_speeds_keep_signs_apart_and_mean_over_the_steps_that_are_asked_for() -> None:
    """A network that loses .4 on a loss and gains .6 on a win; steps choose prefixes, each of the same weight."""
    table = measure(Network("both", "planted", Wins(0.06, -0.04)), steps=[2, 4])
    assert value(table, "change", "0,1", 2) == pytest.approx(-0.4)
    assert value(table, "change", "1,0", 4) == pytest.approx(0.6)
    assert value(table, "speed", "0,1", 4) == value(table, "silent_speed") == pytest.approx(0.4)
    assert value(table, "driven_speed") == pytest.approx(0.6)
    assert set(table["step"].dropna()) == {2, 4}


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_any_recurrent_layer_is_measured_as_the_bare_model_moves(kind: Any) -> None:
    """The change of the answer at the last step is the model's own on the longer sequence minus the shorter."""
    model = Reader(kind).double()
    table = measure(Network("net", "trained", model, 1))
    with torch.no_grad():
        short = X[::2, : LENGTH - 1].double()
        after, before = model(torch.cat([short, LOSS.expand(16, 1, 2)], 1)), model(short)
        h = [model.rnn(one)[0][:, -1] for one in (X[1::2].double(), short)]
    assert value(table, "speed", "0,1", LENGTH - 1) == pytest.approx(float((after - before).abs().mean()))
    by_step = table[(table["metric"] == "speed") & (table["kind"] == "0,1")]["value"]
    assert value(table, "silent_speed") == pytest.approx(by_step.mean())
    if kind is not nn.LSTM:
        moved = ((model.rnn(torch.cat([short, LOSS.expand(16, 1, 2)], 1))[0][:, -1] - h[1]).norm(dim=1)).detach()
        wanted = float((moved / h[1].norm(dim=1)).mean())
        assert value(table, "state_speed", "0,1", LENGTH - 1) == pytest.approx(wanted)
    assert value(table, "fixed_points") >= 1
    assert value(table, "point_q") < 1e-10
    assert table["value"].notna().all()


def test_driven_speeds_are_means_over_the_inputs() -> None:
    """Of a win that adds and a loss that takes off."""
    network = Network("both", "planted", Wins(0.06, -0.04))
    table = measure(network, driving=torch.stack([WIN, 2 * LOSS]), silent=WIN)
    assert value(table, "silent_speed") == pytest.approx(0.6)
    double = 10 * np.tanh(2 * np.arctanh(0.04))
    assert value(table, "driven_speed") == pytest.approx((0.6 + double) / 2)


def test_a_step_before_which_nothing_was_read_is_refused() -> None:
    """The first step changes nothing that was answered before."""
    with refused():
        measure(Network("wins", "planted", Wins()), steps=[0, 1])
    with refused():
        measure(Network("wins", "planted", Wins()), steps=[])
    with refused():
        measure(Network("wins", "planted", Wins()), silent=torch.zeros(3), driving=torch.zeros(1, 3))


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
    dynamics_of = CellDynamics("the layer", layer.cell)
    bound = held_inputs.bound_of(layer, dynamics_of, np.array(largest))
    return Start(layer, dynamics_of, torch.tensor(states, dtype=torch.float64), bound)


def random_gru(units: int = 4, **more: Any) -> Subject:
    """Return a study's random GRU over bits."""
    torch.manual_seed(0)
    given: dict[str, Any] = {"inputs": bits(20), "readout": None}
    return prepare(study_of(nn.GRU(1, units, batch_first=True), **(given | more)))[0]


def test_points_outside_of_the_bounds_are_left_out() -> None:
    """The gate is shut at 4 and 6, where no state of a GRU that began at 0 comes; at 0 it rests."""
    held = torch.zeros(1, dtype=torch.float64)
    start = start_at(latch(), [[0.1], [-0.1], [4.0], [6.0]], [0.5])
    assert start.bound.tolist() == [1 + held_inputs.ROUNDED]
    points = find_points(start.dynamics, held, start.states, bound=start.bound)
    assert (points.fixed.sum(), points.stable.sum(), len(points), points.reached) == (1, 1, 1, 0.5)
    everywhere = find_points(start.dynamics, held, start.states)
    assert (len(everywhere), everywhere.reached) == (3, 1)
    none = find_points(start.dynamics, held, start.states[2:], bound=start.bound)
    assert (len(none), none.reached) == (0, 0)


@pytest.mark.parametrize(
    ("module", "bound"),
    [
        (nn.GRU(1, 1), [1.0]),
        (nn.RNN(1, 1), [1.0]),
        (nn.RNN(1, 1, nonlinearity="relu"), [1.4]),
        (nn.LSTM(1, 1), [6.0, 1.0]),
        (nn.LSTM(1, 2, proj_size=1), [6.0, 6.0, 1.4]),
    ],
)
def test_what_a_state_can_be_is_known_of_each_cell(module: Any, bound: list[float]) -> None:
    """A hidden state that tanh makes ends at 1; other numbers are held against the largest that was seen."""
    start = start_at(module, [[0.0] * len(bound)], [3.0, 3.0, 0.7][-len(bound) :] if len(bound) != 2 else [3.0, 0.7])
    np.testing.assert_allclose(start.bound, np.array(bound) + held_inputs.ROUNDED)


def test_each_input_is_held_fixed_and_measured_like_the_silent_one() -> None:
    """The same points under the same input, whether a study names it or a caller says that it is silent."""
    study = study_of(planted(), readout=Readout("ones", **dict(zip(("weight", "bias"), head(), strict=True))))
    (subject,) = prepare(study)
    table = dynamics.measure([subject])
    zero, one = (only(table, kind=f"the input ({bit})") for bit in (0, 1))
    silent = dynamics.measure([subject], silent=torch.zeros(1), driving=torch.ones(1, 1))
    for metric in (*dynamics.COUNTS, "starts_reached", "point_q", "point_answer", "point_distance"):
        wanted = only(silent, metric=metric, kind="")["value"].tolist()
        assert only(zero, metric=metric)["value"].tolist() == pytest.approx(wanted), metric
    assert only(zero, metric="fixed_points")["value"].item() > only(one, metric="fixed_points")["value"].item()
    assert only(zero, metric="point_modulus")["value"].max() == pytest.approx(1)
    with refused():
        dynamics.measure([subject], silent=torch.zeros(1))


def test_a_state_has_an_answer_where_the_readout_reads_it_alone() -> None:
    """Of a stack the first layer's points say nothing of the answer."""
    torch.manual_seed(0)
    for layers in (1, 2):
        (subject,) = prepare(study_of(nn.GRU(1, 6, layers, batch_first=True)))
        assert ("point_answer" in set(dynamics.measure([subject])["metric"])) is (layers == 1)


def test_where_a_search_is_too_dear_the_question_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer starts than usual are searched from before; the page says why nothing was searched."""
    assert len(held_inputs.start_of(random_gru()).states) == 99
    layer = random_gru().layers[0]
    cost = (3.0 * held_inputs.flops(layer) * 4 + 4**3) * held_inputs.ROUNDS * 2
    monkeypatch.setattr(held_inputs, "BUDGET", 12.5 * cost)
    assert len(held_inputs.start_of(random_gru()).states) == 12
    monkeypatch.setattr(held_inputs, "BUDGET", 7.5 * cost)
    found = answer(study_of(random_gru().model, inputs=bits(20), readout=None), "fixed-points")
    assert found.notes["answer"] == "Not asked: [0] is so large that a search for fixed points takes too long."
    with refused():
        dynamics.measure([random_gru()])


def test_the_finding_says_what_random_weights_have() -> None:
    """The control stands in the first sentence."""
    found = answer(study_of(random_gru().model, inputs=bits(20), readout=None), "fixed-points")
    assert found.title == "Where are its fixed points?"
    assert "The search began at 99 states of [0]" in found.notes["setup"]
    assert "; random weights: 1 fixed point (1 stable)." in found.notes["answer"]
    assert "random weights: 1 fixed point" in found.figures[0].alt


@pytest.mark.parametrize(
    ("features", "fixed", "names"),
    [
        (1, None, ["the input (0)", "the input (1)"]),
        (2, None, ["the mean of all inputs (0.5, 0.5)"]),
        (300, None, ["the mean of all inputs"]),
        (300, [[0.0] * 300, [1.0] * 300], ["input 1 of 2", "input 2 of 2"]),
    ],
)
def test_inputs_of_many_numbers_are_named_by_what_they_are(features: int, fixed: object, names: list[str]) -> None:
    """Few numbers are said; a mean is said to be one; inputs of many numbers are counted."""
    x = np.repeat(bits(20), features, axis=2)
    if features > 1:
        x = x + np.linspace(-0.1, 0.1, 160).reshape(20, 8, 1)
        x = x - x.mean() + 0.5
    study = Study(nn.GRU(features, 4, batch_first=True), x.astype(np.float32), {"ones": ones}, fixed_inputs=fixed)
    held, _ = held_inputs.inputs_of(prepare(study)[0])
    assert list(held) == names


def test_why_no_points_were_looked_for_is_one_reason() -> None:
    """Of layers that read from the end, or not the inputs, the sentence names what it is."""
    x, concepts = bits(20), {"ones": ones}
    both: Any = BothWays(nn.GRU(1, 3, batch_first=True), nn.GRU(1, 3, batch_first=True), merge="sum")
    (turned,) = prepare(Study(both, x, concepts))
    assert held_inputs.first_layer(turned) is None
    (back,) = prepare(Study(both, x, concepts, layers=[turned.layers[1].name]))
    assert "reads from the end" in str(held_inputs.first_layer(back))
    (upper,) = prepare(Study(nn.GRU(1, 3, 2, batch_first=True), x, concepts, layers=["[1]"]))
    assert "[1] does not read the inputs themselves" in str(held_inputs.first_layer(upper))
    with refused():
        dynamics.measure([upper])
