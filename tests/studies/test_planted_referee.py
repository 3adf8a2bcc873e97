"""Sentences that a referee found false on pages of planted networks: each page now says what is true, or nothing."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_cases import Planted
from torch import nn

from probe import Readout, Study


def zero(units: int, features: int = 1, layers: int = 1) -> Any:
    """Return a network of rectified units whose weights are 0."""
    net = nn.RNN(features, units, layers, nonlinearity="relu", batch_first=True, dtype=torch.float64)
    for parameter in net.parameters():
        _ = nn.init.zeros_(parameter)
    return net


def every(length: int) -> np.ndarray:
    """Return all strings of bits, (sequence, step, 1)."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=length)))[:, :, None]


def letters(count: int, length: int, *shares: float, seed: int = 0) -> np.ndarray:
    """Return random letters, one-hot, (sequence, step, letter)."""
    return np.eye(len(shares))[np.random.default_rng(seed).choice(len(shares), (count, length), p=shares)]


def difference(x: np.ndarray) -> np.ndarray:
    """Return how many more of the first letter came than of the second."""
    return (x[:, 0] - x[:, 1]).cumsum()


def shared(*questions: str) -> Study:
    """Return a study of a difference: unit 1 has its positive part and unit 3 its negative part; others are dead."""
    net = zero(6, features=2)
    with torch.no_grad():
        net.weight_ih_l0[1], net.weight_ih_l0[3] = torch.tensor([1.0, -1.0]), torch.tensor([-1.0, 1.0])
        net.weight_hh_l0[1, 1] = net.weight_hh_l0[3, 3] = net.bias_ih_l0[0] = 1
        net.weight_hh_l0[1, 3] = net.weight_hh_l0[3, 1] = -1
    readout = Readout("diff", function=lambda h: h[:, 1:2] - h[:, 3:4])
    x = letters(150, 9, 0.5, 0.5, seed=4)
    return Study(net, x, {"diff": difference}, symbols="ab", readout=readout, questions=questions)


def counted(*questions: str, **more: Any) -> Study:
    """Return a study of all strings of seven bits, of which unit 0 counts the ones, unit 1 has the last."""
    net = zero(5)
    with torch.no_grad():
        net.weight_ih_l0[:2, 0] = net.weight_hh_l0[0, 0] = 1
    concepts = {"ones": lambda x: x[:, 0].cumsum()}
    return Study(net, every(7), concepts, questions=questions, **more)


def stacked(*questions: str) -> Study:
    """Return a study of two layers: unit 0 of the lower counts the ones, and unit 2 of the upper repeats it."""
    net = zero(4, layers=2)
    with torch.no_grad():
        net.weight_ih_l0[:2, 0] = net.weight_hh_l0[0, 0] = net.weight_ih_l1[2, 0] = net.weight_ih_l1[1, 1] = 1
    readout = Readout("ones", function=lambda h: h[:, 2:3])
    return Study(net, every(7), {"ones": lambda x: x[:, 0].cumsum()}, readout=readout, questions=questions)


CASES = [
    Planted(
        "two units that share a difference, each useless alone",
        lambda: shared("ablation", "single-units", "unit-shares"),
        says=(
            r"Units \d, \d, \d and \d together, which a greedy search found, are not enough; others may be\.",
            r"on sequences that did not select it, \|r\| is 0\.\d\d; in the best network with random weights 1\.00",
            r"One unit carries at least half of a difference in “diff” \(≥ 0\.5\)",
        ),
        never=("The best", "One unit carries “diff”", r"as a unit of a control does: within steps \|r\| is"),
    ),
    Planted(
        "a unit that follows more closely than the one network with random weights that is looked at",
        lambda: counted("single-units"),
        says=(r"true of this network, more than of random weights \(one network\)",),
        never=("more than of its controls",),
    ),
    Planted(
        "a count in the lower layer, which the upper one repeats",
        lambda: stacked("single-units", "interchange"),
        says=(
            r"with all of \[0\] 1\.00; with all of \[1\] 0\.00",
            r"one unit of the hidden state of \[1\] to the value, .* On held-out states unit 2 is exact",
        ),
        never=("not the layers below", "follows those is open"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_referee_found_false_is_not_said(case: Planted, tmp_path: Path) -> None:
    """Each sentence that must stand does, and none that would be false."""
    case.check(tmp_path)
