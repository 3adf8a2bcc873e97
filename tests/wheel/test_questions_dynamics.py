"""Speeds of the answer, and points of rest, on networks of two features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from torch import Tensor, nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.plots.style import style
from probe.questions.states import dynamics

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


def test_several_driving_inputs_and_other_starts_change_what_is_measured() -> None:
    """Driven speeds are means over the inputs; one start finds one point."""
    network = Network("both", "planted", Wins(0.06, -0.04))
    table = measure(network, driving=torch.stack([WIN, 2 * LOSS]), silent=WIN)
    assert value(table, "silent_speed") == pytest.approx(0.6)
    double = 10 * np.tanh(2 * np.arctanh(0.04))
    assert value(table, "driven_speed") == pytest.approx((0.6 + double) / 2)
    assert value(measure(Network("wins", "planted", Wins()), starts=1), "fixed_points") == 1


def test_a_step_before_which_nothing_was_read_is_refused() -> None:
    """The first step changes nothing that was answered before."""
    with pytest.raises(ProbeError, match="none of them may be the first"):
        measure(Network("wins", "planted", Wins()), steps=[0, 1])
    with pytest.raises(ProbeError, match="must name at least one"):
        measure(Network("wins", "planted", Wins()), steps=[])
    with pytest.raises(ProbeError, match="the layer reads 2 numbers"):
        measure(Network("wins", "planted", Wins()), silent=torch.zeros(3), driving=torch.zeros(1, 3))


def test_the_figures_show_what_was_measured() -> None:
    """Dots at the table's numbers, in the columns that are named."""
    table = measure(Network("wins", "planted", Wins()), Network("net", "trained", Reader(), 1))
    with style():
        (points,) = dynamics.draw_points(table).axes
        heights = [float(np.asarray(line.get_ydata())[0]) for line in points.get_lines()]
        assert LENGTH + 1 in heights
