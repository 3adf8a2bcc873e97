"""What an exhaustive interchange costs: every string as a base with every distinct prefix as a source, at every step.

    python -m benchmarks.interchange [--seed 0] [--units 3]

1,024 strings of ten bits have 1,024 x 2^t pairs after t bits, 2,095,104 over all steps. It is wanted that one unit
of one trained network takes at most 2 seconds of one core.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from statistics import median

import torch

from models import zoo
from models.counter import answer, expected_answer
from models.tasks import bit_strings, running_count
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import Put, all_pairs, columns, whole
from probe.methods.causal.task import Task
from probe.methods.machines import Machine

WANTED = 2.0
REPEATS = 3


def one_site(machine: Machine, task: Task, put: Put) -> list[tuple[int, float]]:
    """Return how many pairs each step has and the CPU seconds that they took."""
    found = []
    for step in range(machine.clean.inputs.shape[1]):
        start = time.thread_time()
        pairs = interchange(all_pairs(machine, step), task, put).pairs
        found.append((pairs, time.thread_time() - start))
    return found


def lines(seed: int, units: list[int]) -> Iterator[str]:
    """Yield the lines of the table."""
    strings = bit_strings(10)
    machine = Machine.of(zoo.networks(seeds=[seed])[0].model, strings, answer=answer, expected=expected_answer)
    task = Task(running_count(strings))
    sites = {f"unit {unit}": columns(machine.dynamics.unit(unit)) for unit in units} | {"whole state": whole}
    yield "| what is put in | pairs | CPU seconds | pairs a second | of it at the last three steps |"
    yield "|---|---:|---:|---:|---:|"
    slowest = 0.0
    for name, put in sites.items():
        runs = sorted((one_site(machine, task, put) for _ in range(REPEATS)), key=lambda run: sum(s for _, s in run))
        pairs, taken = sum(p for p, _ in runs[0]), median(sum(s for _, s in run) for run in runs)
        late = sum(s for _, s in runs[len(runs) // 2][-3:])
        slowest = max(slowest, taken)
        yield f"| {name} | {pairs:,} | {taken:.2f} | {pairs / taken:,.0f} | {late:.2f} |"
    yield ""
    yield f"Median of {REPEATS}; {'at' if slowest <= WANTED else 'NOT at'} most {WANTED:g} seconds a site."


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure what an exhaustive interchange costs.")
    parser.add_argument("--seed", type=int, default=0, help="of the committed network")
    parser.add_argument("--units", type=int, nargs="+", default=[3], help="which units, one at a time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for line in lines(options.seed, options.units):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
