"""Counters built by hand, whose mechanism is therefore known: every metric is tested on them.

Each function returns a counter of 12 units in evaluation mode, right on every string of ten bits; its weights are
computed in float64 and given as `dtype`. `distractors` are units beside those that count, random and never read; a
negative number of them is refused. docs/science.md, "Planted networks", has a row for each.
"""

from __future__ import annotations

import torch

from ..counter import Counter
from .borderline import clock_counter, leaky_counter, relay_counter
from .building import B
from .counting import balance_counter, drift_counter, flat_counter, ones_counter, rotated_counter, zeros_counter
from .traps import decoy_counter, delay_line, geometric_counter, illusion_counter

__all__ = [
    "B",
    "balance_counter",
    "battery",
    "clock_counter",
    "decoy_counter",
    "delay_line",
    "drift_counter",
    "flat_counter",
    "geometric_counter",
    "illusion_counter",
    "leaky_counter",
    "ones_counter",
    "relay_counter",
    "rotated_counter",
    "zeros_counter",
]


def battery(dtype: torch.dtype = torch.float32) -> dict[str, Counter]:
    """Return every planted network once, by name, in the order of docs/science.md's table.

    `ones-alone` and `delay-line-alone` have no units beside those that count. A drift of 0 is `ones`, of 1 `zeros`.

    Args:
        dtype: of the weights.
    """
    drifts = {f"drift-{drift:g}": drift_counter(drift, dtype=dtype) for drift in (0.25, 0.5, 0.8)}
    return {
        "ones": ones_counter(dtype=dtype),
        "ones-alone": ones_counter(distractors=0, dtype=dtype),
        **drifts,
        "zeros": zeros_counter(dtype=dtype),
        "balance": balance_counter(dtype=dtype),
        "rotated": rotated_counter(dtype=dtype),
        "geometric": geometric_counter(dtype=dtype),
        "decoy": decoy_counter(dtype=dtype),
        "illusion": illusion_counter(dtype=dtype),
        "delay-line": delay_line(dtype=dtype),
        "delay-line-alone": delay_line(distractors=0, dtype=dtype),
        "rotated-flat": flat_counter(dtype=dtype),
        "beside-clock": clock_counter(dtype=dtype),
        "relay": relay_counter(dtype=dtype),
        "leaky": leaky_counter(dtype=dtype),
    }
