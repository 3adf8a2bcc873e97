"""Says once where torch's threads hold a small network up."""

from __future__ import annotations

import logging
import time
from functools import cache

import torch

#: A log, and no warning: how busy a machine is must not decide whether somebody's tests pass.
_LOG = logging.getLogger(__name__)
#: How many times as long is said, and how often each number of threads is tried.
_SLOWER, _TRIES = 3, 3
#: Of what is tried: steps, rows, features and units.
_SIZE = (10, 64, 8, 32)


def advise() -> None:
    """Say, once for a number of threads, where a small LSTM takes several times as long on them as on one.

    Threads wait for each other several times a step. Where another program keeps one of them from its core, all wait.
    """
    if (threads := torch.get_num_threads()) > 1:
        _compare(threads)


@cache
def _compare(threads: int) -> None:
    try:
        several, one = _seconds(threads), _seconds(1)
    finally:
        torch.set_num_threads(threads)
    if several > _SLOWER * one:
        _LOG.warning(
            "On torch's %d threads a small LSTM just took %.0f times as long as on one: other programs use this "
            "machine. Call torch.set_num_threads(1), or set OMP_NUM_THREADS=1.",
            threads,
            several / one,
        )


@torch.no_grad()
def _seconds(threads: int) -> float:
    """Return the least wall time of a few runs."""
    torch.set_num_threads(threads)
    steps, rows, features, units = _SIZE
    x, state = torch.zeros(steps, rows, features), torch.zeros(1, rows, units)
    weights = [torch.zeros(4 * units, features), torch.zeros(4 * units, units)]
    found = []
    for _ in range(1 + _TRIES):
        start = time.perf_counter()
        _ = torch.lstm(x, (state, state), weights, False, 1, 0.0, False, False, False)
        found.append(time.perf_counter() - start)
    return min(found[1:])
