"""Planted networks that mislead a method: a curved code, a decoy, an illusion, a memory without a count."""

from __future__ import annotations

import math

import torch

from ..counter import Counter
from .building import CANDIDATE, FORGET, INPUT, OUTPUT, B, Plan, counts
from .counting import SMALL, STEP

#: Of the curved code: cell 0 starts at START and is multiplied by DECAY on each zero.
START, DECAY = 0.9, 0.8


def geometric_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter of zeros with a curved code: c_0 = .9 * .8^n0 after every step.

    Unit 1 tells the first step from the others: it holds, with g = 1, and closes unit 0's input gate as soon as
    anything was read. Unit 0 is written once and then decays on each zero through its forget gate.
    """
    plan = Plan(12, range(2, 12))
    _decay(plan)
    return plan.built(dtype)


def _decay(plan: Plan) -> None:
    """Write the curved code into units 0 and 1 and read it."""
    plan.hold(1)
    plan.bias[CANDIDATE, 1] = B  # tanh(40) == 1.0 exactly
    plan.bias[INPUT, 0], plan.h[INPUT, 0, 1] = 20.0, -80.0  # open before h_1 = tanh(t) is there
    plan.bias[FORGET, 0] = math.log(DECAY / (1 - DECAY))
    plan.x[FORGET, 0] = B - plan.bias[FORGET, 0]
    plan.bias[OUTPUT, 0] = B
    plan.write(0, one=START, zero=START * DECAY)
    plan.read(plan.one_hot(0), torch.tanh(START * DECAY ** (10 - counts())))


def decoy_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return the geometric counter with a perfect count of ones in unit 11, which nothing reads.

    Every probe finds unit 11; the network's answer comes from unit 0.
    """
    plan = Plan(12, range(2, 11))
    _decay(plan)
    plan.hold(11)
    plan.write(11, one=STEP, zero=0.0)
    return plan.built(dtype)


def illusion_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter with a direction through two dead parts along which interchange looks perfect.

    Unit 0 holds the ones and is read. Unit 1 is read and never moves; unit 2 moves with the count and is not read.
    Swapping along (e1 + e2) / sqrt 2 carries unit 2's difference into unit 1: the answer follows, although the
    network itself never uses either (Makelov et al. 2023, Is this the subspace you are looking for?, section 3).
    """
    plan = Plan(12, range(3, 12))
    plan.hold(0, 1, 2)
    plan.write(0, one=SMALL, zero=0.0)
    plan.write(2, one=2 * SMALL, zero=0.0)
    plan.read(plan.one_hot(0, 1), torch.tanh(SMALL * counts()))
    return plan.built(dtype)


def delay_line(*, distractors: int = 2, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a network that remembers the last ten bits, one a unit, and counts nothing until it is asked.

    Unit 0 holds the bit just read, unit k what unit k - 1 held a step before; nothing is kept in a cell. The head
    adds the ten, each scaled to 0 or 1; of longer strings it counts the last ten bits.
    """
    length = 10
    plan = Plan(length + distractors, range(length, length + distractors))
    weights, held = plan.one_hot(), math.tanh(SMALL)
    for unit in range(length):
        plan.bias[[INPUT, OUTPUT], unit], plan.bias[FORGET, unit] = B, -B
        if unit:
            plan.h[CANDIDATE, unit, unit - 1] = 1.0
            held = math.tanh(math.tanh(held))
        weights[unit] = 1 / held
    plan.write(0, one=SMALL, zero=0.0)
    plan.read(weights, counts())
    return plan.built(dtype)
