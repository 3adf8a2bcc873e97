"""How long `rnn-probe report` takes on a large network, and how much memory.

    python -m benchmarks.study [--sequences 2000] [--steps 160] [--units 256] [--layers 3]

It is wanted that a study of an LSTM of 3 layers of 256 units on 2,000 sequences of 160 steps, with a readout and two
concepts, takes less than three minutes on one core, and less than 4 GB. The command runs in a process of its own,
on one thread (Linux).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

WANTED_SECONDS, WANTED_BYTES, WANTED_PAGE = 180.0, 4e9, 400_000
FEATURES, SCORES = 40, 5
STUDY = """\
[network]
file = "weights.safetensors"
[inputs]
file = "inputs.npy"
[concepts.level]
function = "functions.py:level"
[concepts.loudest]
file = "loudest.npy"
[readout]
concept = "level"
weight = "head.weight"
bias = "head.bias"
"""
FUNCTIONS = """\
import numpy as np

def level(x):
    return np.clip(np.cumsum(np.sign(x[:, 0])), 0, 4)
"""


class Model(nn.Module):
    """A stack of LSTMs with a head; nothing is trained, since time does not depend on it."""

    def __init__(self, units: int, layers: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(FEATURES, units, layers, batch_first=True)
        self.head = nn.Linear(units, SCORES)


def write(folder: Path, sequences: int, steps: int, units: int, layers: int) -> None:
    """Write a study with everything that it names into a folder."""
    torch.manual_seed(0)
    save_file(Model(units, layers).state_dict(), folder / "weights.safetensors")
    x = np.random.default_rng(0).normal(size=(sequences, steps, FEATURES)).astype(np.float32)
    np.save(folder / "inputs.npy", x)
    np.save(folder / "loudest.npy", np.array(["low", "middle", "high", "top"])[x[:, :, :4].argmax(2)])
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "functions.py").write_text(FUNCTIONS, encoding="utf-8")


def main() -> int:
    """Print what the command took, and return 1 where it took more than is wanted."""
    parser = argparse.ArgumentParser(description="Measure rnn-probe report on a large network.")
    for name, value in (("sequences", 2_000), ("steps", 160), ("units", 256), ("layers", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        write(folder, options.sequences, options.steps, options.units, options.layers)
        words = ["report", str(folder / "study.toml"), "-o", str(folder / "report")]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "probe.command_line.main", *words],
            env={**os.environ, **dict.fromkeys(threads, "1")},
            check=False,
        )
        wall = time.perf_counter() - start
        if done.returncode:
            return done.returncode
        page = (folder / "report" / "index.html").stat().st_size
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    shape = (
        f"{options.layers} layers of {options.units} units, {options.sequences:,} sequences of {options.steps} steps"
    )
    lines = [
        f"| {shape} | found | wanted |",
        "|---|---:|---:|",
        f"| CPU time | {cpu:.0f} s | {WANTED_SECONDS:.0f} s |",
        f"| wall time | {wall:.0f} s | |",
        f"| peak memory | {memory / 1e9:.2f} GB | {WANTED_BYTES / 1e9:.0f} GB |",
        f"| page | {page / 1000:.0f} kB | {WANTED_PAGE / 1000:.0f} kB |",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(cpu > WANTED_SECONDS or memory > WANTED_BYTES or page > WANTED_PAGE)


if __name__ == "__main__":
    sys.exit(main())
