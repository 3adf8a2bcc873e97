"""Planted networks: right on every string, cells as planned, and what interchange must find in them or not.

What every question measures of them stands in test_planted_expected.py.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from models import planted
from models.counter import answer, expected_answer
from models.planted.counting import rotated_direction
from models.tasks import bit_strings, running_count
from probe.methods.causal.interchange import Scores, interchange
from probe.methods.causal.pairs import all_pairs, along
from probe.methods.causal.task import Task
from probe.methods.machines import Machine

X = bit_strings(10).double()
COUNTS = running_count(X)
BATTERY = planted.battery(torch.float64)
#: The step after seven bits is science.md's headline.
STEPS = 0, 6, 9


@cache
def machine(name: str) -> Machine:
    """A planted network run from its states."""
    return Machine.of(BATTERY[name], X, answer=answer, expected=expected_answer)


def swapped(name: str, step: int, weights: list[float]) -> Scores:
    """What interchange gives along a direction of units, of the cell and of the hidden state alike."""
    one = np.zeros(machine(name).dynamics.units)
    one[: len(weights)] = np.array(weights) / np.linalg.norm(weights)
    put = along(np.stack([np.concatenate([one, 0 * one]), np.concatenate([0 * one, one])], axis=1))
    return interchange(all_pairs(machine(name), step, most=2**14), Task(COUNTS.double()), put)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_planted_network_is_right_on_every_string(dtype: torch.dtype) -> None:
    """All 1,024 answers are the counts; the smallest probability of a right answer is .9999 as the head is scaled."""
    for name, model in planted.battery(dtype).items():
        assert (model.training, model.head.weight.dtype) == (False, dtype)
        with torch.no_grad():
            scores = model(X.to(dtype))
        assert torch.equal(answer(scores), COUNTS[:, -1]), name
        # In the rotated one the idle units lie across the count, and tanh bends a little of them into y. In the leaky
        # one a count is a range of levels, and the neighbouring ranges nearly touch.
        least = {"rotated": 0.99, "leaky": 0.79}.get(name, 0.9999)
        assert float(torch.softmax(scores, 1).amax(1).min()) > least, name


V = rotated_direction().tolist()


@pytest.mark.parametrize(
    ("name", "weights", "iia", "shift"),
    [
        *((name, [1], 1, 1) for name in ("ones", "drift-0.25", "zeros", "geometric", "decoy", "beside-clock")),
        ("balance", [1, -1], 1, None),
        ("balance", [1], None, 0.5),
        ("balance", [0, 1], None, 0.5),
        ("rotated", V, 1, None),
        *(("rotated", [0] * unit + [1], None, None) for unit in range(8)),
        ("rotated-flat", [1] * 8, 1, None),
        # Unit 11 is the count, and nothing reads it.
        ("decoy", [0] * 11 + [1], 0, 0),
        # Unit 1 never moves and unit 2 is never read, yet between them the answer follows.
        ("illusion", [0, 1], 0, 0),
        ("illusion", [0, 0, 1], 0, 0),
        ("illusion", [0, 1, 1], 1, None),
    ],
)
def test_interchange_finds_what_the_answer_follows(
    name: str, weights: list[float], iia: float | None, shift: float | None
) -> None:
    """Every answer follows along what holds the count, at every step, whatever the drift; none along a part of it.

    One of two units in balance moves the answer half the way, right only by rounding.
    """
    found = [swapped(name, step, weights) for step in STEPS]
    if iia is None:
        assert found[1].iia < 0.5
    else:
        assert [each.iia for each in found] == [iia] * len(STEPS)
    if shift is not None:
        assert [each.shift for each in found] == pytest.approx([shift] * len(STEPS), abs=0.02)
