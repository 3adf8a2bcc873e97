"""Kills a training at random moments, resumes it, and compares: `python -m benchmarks.kills`."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Seconds before training begins.
LOADING = 2.5
FILES = ("model.safetensors", "untrained.safetensors", "config.json", "metrics.jsonl")


def command(folder: Path, epochs: int, threads: int, *, resume: bool) -> list[str]:
    """Return the command that trains seed 0 into a folder."""
    words = [sys.executable, "-m", "models.train", "--out", str(folder), "--epochs", str(epochs)]
    return [*words, "--threads", str(threads), "--quiet", *(["--resume"] if resume else [])]


def train(folder: Path, epochs: int, threads: int, *, resume: bool = False) -> float:
    """Train to the end and return the seconds it took."""
    # The environment would hold torch back to one thread.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    start = time.monotonic()
    words = command(folder, epochs, threads, resume=resume)
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def killed(folder: Path, epochs: int, threads: int, moments: list[float]) -> int:
    """Start the training once for each moment, kill it there, then let it end; return how often it was killed."""
    hits = 0
    for moment in moments:
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        words = command(folder, epochs, threads, resume=folder.exists())
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            hits += 1
        process.wait()
    train(folder, epochs, threads, resume=True)
    return hits


def main() -> int:
    """Print, for each number of threads, whether the resumed weights are those of the run left alone."""
    parser = argparse.ArgumentParser(description="Kill a training at random moments and compare what resumes.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    different = 0
    for threads in options.threads:
        with tempfile.TemporaryDirectory() as room:
            alone, resumed = Path(room, "alone"), Path(room, "resumed")
            seconds = train(alone, options.epochs, threads)
            generator = random.Random(options.seed + threads)
            # The program takes some seconds to load; each kill costs a slice of the training after that.
            slice_of = max(seconds - LOADING, 1) / options.kills
            moments = [LOADING + generator.uniform(0, 1.5) * slice_of for _ in range(options.kills)]
            hits = killed(resumed, options.epochs, threads, moments)
            equal = [(alone / name).read_bytes() == (resumed / name).read_bytes() for name in FILES]
            different += not all(equal)
            sys.stdout.write(
                f"threads {threads}: killed {hits} of {options.kills} times in a run of {seconds:.1f} s; "
                f"{sum(equal)} of {len(equal)} files identical to the run left alone\n"
            )
            sys.stdout.flush()
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
