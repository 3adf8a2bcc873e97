"""Checks and times one tool, in its own process: what every script of this folder runs.

    python -m benchmarks.peers.with_NAME record|sweep|memory [--case 0] [--pairs 3] [--way NAME]

Results are compared with those written by hand before anything is timed. Every timing is one of a pair: the tool, and
the bare `nn.LSTM` right beside it, in CPU time of this one thread. Prints one line of JSON. Needs torch only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import by_hand

#: What is recorded: (batch, time, features, units).
CASES = ((1024, 10, 1, 12), (256, 100, 1, 128), (64, 1000, 32, 128), (256, 200, 64, 256))
TOLERANCE = 1e-5
#: The least CPU time of a sample, in seconds; shorter calls are repeated.
SAMPLE = 0.03

#: Given the LSTM and how many steps there will be, returns what is timed: inputs -> i f g o c h.
Recorder = Callable[[nn.LSTM, int], Callable[[Tensor], Sequence[Tensor]]]
#: Given the network and how many steps there will be, returns what is timed: inputs, source's inputs -> logits.
Sweeper = Callable[[by_hand.Counter, int], Callable[[Tensor, Tensor], Tensor]]


@dataclass(frozen=True)
class Tool:
    """A tool's ways of doing the two tasks, by name; the fastest one counts.

    Attributes:
        record: ways to record; what is made before the clock starts (a rewritten model) is not timed.
        sweep: ways to patch c at every step and unit.
        memory: what else the memory is measured of.
    """

    record: Mapping[str, Recorder]
    sweep: Mapping[str, Sweeper] = field(default_factory=dict)
    memory: Mapping[str, Recorder] = field(default_factory=dict)


def case(number: int) -> tuple[nn.LSTM, Tensor]:
    """Return the LSTM and the inputs of a case, the same in every process."""
    batch, length, features, units = CASES[number]
    torch.manual_seed(number)
    lstm = nn.LSTM(features, units, batch_first=True)
    return lstm, torch.randn(batch, length, features)


def counter() -> tuple[by_hand.Counter, Tensor, Tensor]:
    """Return the network of the sweep, all ten-bit strings, and the same strings in another order."""
    torch.manual_seed(0)
    model = by_hand.Counter()
    strings = torch.tensor(list(product((0.0, 1.0), repeat=10))).unsqueeze(2)
    return model, strings, strings[torch.randperm(len(strings))]


def difference(found: Sequence[Tensor], wanted: Sequence[Tensor], name: str) -> float:
    """Return the largest difference, and stop the process where it is too large or a shape is wrong."""
    shapes = [tuple(value.shape) for value in found], [tuple(value.shape) for value in wanted]
    if shapes[0] != shapes[1]:
        sys.exit(f"{name}: the result has the shapes {shapes[0]} instead of {shapes[1]}.")
    largest = max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True))
    if not largest <= TOLERANCE:
        sys.exit(f"{name}: the result differs from the reference by {largest:.3g} (allowed: {TOLERANCE}).")
    return largest


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the CPU time of one call, from several in a row."""
    start = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - start) / repeats


def repeats_of(call: Callable[[], Any]) -> int:
    """Return how often a call fits into a sample, after warming it up."""
    call()
    return max(1, round(SAMPLE / max(seconds(call, 1), 1e-6)))


def pairs(call: Callable[[], Any], bare: Callable[[], Any], count: int) -> dict[str, list[float]]:
    """Time a call and the bare one side by side, each of the two first in turn.

    Args:
        call: what is timed.
        bare: what it is compared with.
        count: how many pairs.

    Returns:
        Seconds of the call, seconds of the bare one, and their ratio, for each pair.
    """
    often = repeats_of(call), repeats_of(bare)
    ours, theirs = [], []
    for number in range(count):
        for ours_now in (number % 2 == 1, number % 2 == 0):
            if ours_now:
                ours.append(seconds(call, often[0]))
            else:
                theirs.append(seconds(bare, often[1]))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"seconds": ours, "bare": theirs, "ratio": ratios}


def fresh(call: Callable[[], Any], bare: Callable[[], Any], count: int) -> tuple[dict[str, list[float]], list[Any]]:
    """Time a call beside the bare one where its result memory is fresh: what it returns is kept to the end.

    Returns:
        For each pair the ratio; and all that the calls returned.
    """
    kept: list[Any] = []
    found = pairs(lambda: kept.append(call()), bare, count)
    return {"fresh ratio": found["ratio"]}, kept


def record(tool: Tool, number: int, count: int) -> dict[str, Any]:
    """Check and time every way of recording one case."""
    lstm, x = case(number)
    wanted = by_hand.record(lstm, x)
    difference([lstm(x)[0]], wanted[-1:], "by hand")
    result = {}
    for name, make in tool.record.items():
        call = make(lstm, x.shape[1])
        largest = difference(call(x), wanted, name)
        result[name] = pairs(lambda call=call: call(x), lambda: lstm(x), count) | {"difference": largest}
        timed, kept = fresh(lambda call=call: call(x), lambda: lstm(x), count)
        for values in kept:
            difference(values, wanted, f"{name}, kept while others are computed")
        result[name] |= timed
        del call, kept
    return result


def sweep(tool: Tool, count: int) -> dict[str, Any]:
    """Check and time every way of patching each step and unit."""
    model, x, source = counter()
    wanted = by_hand.sweep(model, x, source)
    result = {}
    for name, make in tool.sweep.items():
        call = make(model, x.shape[1])
        largest = difference([call(x, source)], [wanted], name)
        result[name] = pairs(lambda call=call: call(x, source), lambda: model.lstm(x), count)
        result[name] |= {"difference": largest}
    return result


def peak(*, reset: bool = False) -> int:
    """Return the most memory that the process has held, in bytes; `reset` forgets what was before now (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    line = next(
        line
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def memory(tool: Tool, number: int, way: str) -> dict[str, Any]:
    """Measure how far one recording of a case lifts the process's peak memory, after a tiny one."""
    lstm, x = case(number)
    ways = dict(tool.record) | dict(tool.memory)
    make = ways[way or next(iter(ways))]
    make(lstm, 3)(x[:4, :3])
    call = make(lstm, x.shape[1])
    before = peak(reset=True)
    found = call(x)
    lifted = peak() - before
    returned = sum(value.nbytes for value in found)
    return {"peak": lifted, "returned": returned, "ratio": lifted / returned}


def main(tool: Tool) -> None:
    """Run what the command line asks for and print the result as JSON."""
    parser = argparse.ArgumentParser(description="Check and time one tool.")
    parser.add_argument("mode", choices=["record", "sweep", "memory"])
    parser.add_argument("--case", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--way", default="", help="of recording, for the memory; the first if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        if options.mode == "record":
            result = record(tool, options.case, options.pairs)
        elif options.mode == "sweep":
            result = sweep(tool, options.pairs)
        else:
            result = memory(tool, options.case, options.way)
    sys.stdout.write(json.dumps(result) + "\n")
