"""Fixed points: only points within the bounds of the state are counted, and the page says what was left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from studied import bits, ones, study_of
from torch import nn

from probe import Finding, Study
from probe.loading.modules import BothWays
from probe.methods.dynamics import CellDynamics
from probe.recurrent.layers import find_layers
from probe.studies.definition.prepared import prepare
from probe.studies.questions import fixed_points
from probe.studies.sampling.activations import Activations


def latch() -> nn.GRU:
    """Return a GRU of a unit whose update gate saturates where the state is far above 1: it stands still there."""
    gru: Any = nn.GRU(1, 1, batch_first=True)
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.zero_()
        gru.weight_hh_l0[1, 0] = 12.0
        gru.bias_hh_l0[1] = -2.0
    return gru.double()


def test_points_outside_of_the_bounds_are_left_out() -> None:
    """The gate is shut at 4 and 6, where no state of a GRU that began at 0 comes; at 0 it rests."""
    layer = find_layers(latch())[0]
    dynamics = CellDynamics("the layer", layer.cell)
    bound = fixed_points.bounds(layer, dynamics, np.array([0.5]))
    assert bound.tolist() == [1 + fixed_points.ROUNDED]
    starts = torch.tensor([[0.1], [-0.1], [4.0], [6.0]], dtype=torch.float64)
    points = fixed_points.searched(dynamics, starts, torch.zeros(1, dtype=torch.float64), bound)
    assert (points["fixed_points"], points["stable_points"], points["slow_points"]) == (1, 1, 0)
    assert (points["points_left_out"], points["starts_reached"]) == (2, 0.5)
    assert points["largest_modulus"] < 1
    none = fixed_points.searched(dynamics, starts[2:], torch.zeros(1, dtype=torch.float64), bound)
    assert (none["fixed_points"], none["starts_reached"], none["points_left_out"]) == (0, 0, 2)
    assert "no fixed point and no slow point within the bounds of the state" in fixed_points._words(
        "the input (0)", none
    )
    assert "2 points outside of them" in fixed_points._words("the input (0)", none)


@pytest.mark.parametrize(
    ("module", "bound", "words"),
    [
        (nn.GRU(1, 1), [1.0], "(no number of the hidden state is above 1 in size)"),
        (nn.RNN(1, 1), [1.0], "(no number of the hidden state is above 1 in size)"),
        (nn.RNN(1, 1, nonlinearity="relu"), [1.4], "for the hidden state we assumed at most twice the largest"),
        (nn.LSTM(1, 1), [6.0, 1.0], "and for the cell state we assumed at most twice the largest size"),
    ],
)
def test_what_a_state_can_be_is_said_of_each_cell(module: Any, bound: list[float], words: str) -> None:
    """A hidden state that tanh makes ends at 1; other numbers are held against the largest that was seen."""
    largest, layer = np.array([3.0, 0.7][-len(bound) :]), find_layers(module)[0]
    found = fixed_points.bounds(layer, CellDynamics("the layer", layer.cell), largest)
    np.testing.assert_allclose(found, np.array(bound) + fixed_points.ROUNDED)
    assert words in fixed_points._outside(3, layer)
    assert fixed_points._outside(3, layer).startswith("3 points outside of the bounds of the state were left out")
    assert fixed_points._outside(1, layer).startswith("1 point outside of the bounds of the state was left out")


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, "0.50"), (1.0004, "1.0004"), (0.99999, "0.99999"), (1.0, "1 to 9 decimals")]
)
def test_a_modulus_near_1_says_on_which_side_it_lies(value: float, said: str) -> None:
    """Two decimals would call it 1.00, where whether a point is stable hangs on the others."""
    assert fixed_points._modulus(value) == said


def test_the_finding_says_what_was_left_out() -> None:
    """The table has the number for each input, the setup their sum; the share is of all starts."""
    torch.manual_seed(0)
    study = study_of(nn.GRU(1, 4, batch_first=True), inputs=bits(20), readout=None)
    found: Finding = fixed_points.ask(Activations(prepare(study)), "fixed-points")
    assert "No points outside of the bounds of the state were left out" in found.notes["setup"]
    left = found.measurements.query("metric == 'points_left_out'")["value"]
    assert left.tolist() == [0, 0]


def test_why_no_points_were_looked_for_is_one_reason() -> None:
    """Of projected, turned and unsupported layers the sentence names the one that it is."""
    x, concepts = bits(20), {"ones": ones}
    both: Any = BothWays(nn.GRU(1, 3, batch_first=True), nn.GRU(1, 3, batch_first=True), merge="sum")
    projected = prepare(Study(nn.LSTM(1, 4, batch_first=True, proj_size=2), x, concepts))
    assert "projected (proj_size), and" in str(fixed_points._why_not(projected, projected.layers[0]))
    turned = prepare(Study(both, x, concepts))
    assert "reads from the end, and" in str(fixed_points._why_not(turned, turned.layers[1]))
    assert fixed_points._why_not(turned, turned.layers[0]) is None
