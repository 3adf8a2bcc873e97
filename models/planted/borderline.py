"""Planted networks at the border of a running count: beside a clock, in flags, in a cell that leaks."""

from __future__ import annotations

import math

import torch

from ..counter import Counter
from .building import CANDIDATE, FORGET, INPUT, OUTPUT, B, Plan, counts
from .counting import SMALL, STEP

#: What the leaking cell keeps of its content at each step.
KEPT = 0.965


def clock_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter that holds the ones in cell 0 and the time in cell 1, and reads their sum.

    A one adds .02 to cell 0, and a zero nothing. Every bit takes .01 off cell 1. So the answer at length L is
    n1 + (10 - L) / 2, although a cell that the answer uses holds a running count.
    """
    drift, plan = 0.5, Plan(12, range(2, 12))
    plan.hold(0, 1)
    plan.write(0, one=SMALL, zero=0.0)
    plan.write(1, one=-SMALL * drift, zero=-SMALL * drift)
    plan.read(plan.one_hot(0, 1), torch.tanh(SMALL * counts()) - math.tanh(SMALL * drift * 10))
    return plan.built(dtype)


def relay_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter of ten flags: unit k - 1 says "there were at least k ones so far".

    A one sets the first flag that is not set, which is then held; a zero changes nothing. So each step from a count
    to the next changes one cell, and another cell for each count. The head adds the flags.
    """
    flags, on = 10, math.tanh(1.0)
    plan = Plan(12, range(flags, 12))
    for unit in range(flags):
        plan.bias[[FORGET, CANDIDATE, OUTPUT], unit] = B  # f = g = o = 1: the input gate alone decides
        # Open (+B) if a one comes, the flag before is set and the own is not; else shut (-B or less).
        plan.x[INPUT, unit] = 2 * B
        plan.h[INPUT, unit, unit] = -2 * B / on
        if unit:
            plan.h[INPUT, unit, unit - 1] = 2 * B / on
        plan.bias[INPUT, unit] = -3 * B if unit else -B
    plan.read(plan.one_hot(*range(flags)), on * counts())
    return plan.built(dtype)


def leaky_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter whose one counting cell leaks: a one adds .1 to cell 0, which keeps .965 of itself each step.

    After t bits c_0 = .1 sum of .965^(t - s) over the steps s of the ones. So an early one weighs less than a late
    one, and a count weighs less in a longer string. The head is made for strings of ten bits.

    Its drift is d = .043 (docs/science.md, "Definitions"), computed over all strings of 6 to 14 bits. The drift of
    c_0, in units of what a one leaves on average after ten bits, is .083; the head rounds half of that away. With a
    forget gate of .961 or less the counts would overlap: late ones would outweigh one more early one.
    """
    plan = Plan(12, range(1, 12))
    plan.hold(0)
    plan.bias[FORGET, 0] = math.log(KEPT / (1 - KEPT))
    plan.write(0, one=STEP, zero=0.0)
    average = sum(KEPT**age for age in range(10)) / 10  # of what is left after ten bits of what one bit wrote
    plan.read(plan.one_hot(0), torch.tanh(STEP * average * counts()))
    return plan.built(dtype)
