"""Damage every kind of file that `probe.load` reads, thousands of times: `python -m benchmarks.fuzz_checkpoints`.

Each file is changed at random places (bits, bytes, integers, pieces cut, moved or repeated) and loaded in a process
of its own with little memory and time. What may come out is a ProbeError, or the network itself; what may not:
another exception, a crash, a process out of memory or time. Another network can only come of a format without
checksums, where the changed byte is the weight or the option itself; these are counted too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import probe

from .fuzzed_files import FILES

#: Seconds and bytes for one damaged file.
SECONDS, MEMORY = 20, 3_000_000_000
OUTCOMES = ("refused", "same network", "other weights", "other network", "wrong exception", "crash", "too slow")
WRONG = ("wrong exception", "crash", "too slow")


@dataclass(frozen=True)
class Outcome:
    """What became of one damaged file: which one, the outcome, and what to look at."""

    seed: int
    kind: str
    detail: str


def damaged(content: bytes, seed: int) -> bytes:
    """Return a file with one to four random changes."""
    drawn = random.Random(seed)
    data = bytearray(content)
    for _ in range(drawn.choice((1, 1, 1, 2, 4))):
        change = drawn.choice(_CHANGES)
        change(data, drawn)
    return bytes(data)


def _place(data: bytearray, drawn: random.Random) -> int:
    # Most of a file is weights; what says what they are lies at its ends.
    edge = drawn.choice((0, 0, 1, 2))
    if edge and len(data) > 600:
        return drawn.randrange(300) if edge == 1 else len(data) - 1 - drawn.randrange(300)
    return drawn.randrange(max(1, len(data)))


def _bit(data: bytearray, drawn: random.Random) -> None:
    if data:
        data[_place(data, drawn)] ^= 1 << drawn.randrange(8)


def _byte(data: bytearray, drawn: random.Random) -> None:
    if data:
        data[_place(data, drawn)] = drawn.choice((0, 1, 0x7F, 0x80, 0xFF, drawn.randrange(256)))


def _integer(data: bytearray, drawn: random.Random) -> None:
    value = drawn.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1))
    at = _place(data, drawn)
    data[at : at + 8] = struct.pack("<Q", value)[: drawn.choice((4, 8))]


def _cut(data: bytearray, drawn: random.Random) -> None:
    del data[_place(data, drawn) :]


def _remove(data: bytearray, drawn: random.Random) -> None:
    at = _place(data, drawn)
    del data[at : at + drawn.randrange(1, 40)]


def _repeat(data: bytearray, drawn: random.Random) -> None:
    at = _place(data, drawn)
    data[at:at] = data[at : at + drawn.randrange(1, 200)]


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _bit,
    _bit,
    _bit,
    _byte,
    _integer,
    _cut,
    _remove,
    _repeat,
)


Described = list[tuple[str, str]]


def described(checkpoint: probe.Checkpoint) -> Described:
    """Return what each module is, and a digest of its weights; by kind, since a changed name is no other network."""
    found = []
    for module in checkpoint.recurrent.values():
        weights = {name: tensor.tolist() for name, tensor in module.state_dict().items()}
        found.append((f"{module} {list(weights)}", hashlib.sha256(repr(weights).encode()).hexdigest()))
    return sorted(found)


def _compared(found: Described, original: Described) -> tuple[str, str]:
    kinds, expected = ([kind for kind, _ in every] for every in (found, original))
    if kinds != expected:
        return "other network", str(sorted(set(kinds) ^ set(expected)) or len(kinds))[:300]
    return ("same network" if found == original else "other weights"), ""


def tried(path: Path, choices: Mapping[str, Any], original: Described) -> tuple[str, str]:
    """Return the outcome for one file, and what to look at."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _compared(described(probe.load(path, **choices)), original)
    except probe.ProbeError as error:
        return "refused", str(error)[:200]
    except BaseException as error:  # noqa: BLE001 (whatever it is, it is what is looked for)
        return "wrong exception", f"{type(error).__name__}: {error}"[:300]


#: In a process that loads damaged files: the kind, the folder that it works in, and what the whole file is.
_child: list[Any] = []


def _begin(kind: str, folder: Path) -> None:
    """Prepare a process: load the whole file, and bound the memory."""
    file = FILES[kind]
    file.beside(folder)
    _ = (folder / file.name).write_bytes(file.content())
    _child[:] = [file, folder, file.content(), described(probe.load(file.loaded(folder), **file.choices))]
    spent = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (spent + MEMORY, spent + MEMORY))
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(sink, stream)


def _one(seed: int) -> tuple[str, str]:
    """Load one damaged file; a process that takes too long is ended by the system."""
    file, folder, content, original = _child
    _ = (folder / file.name).write_bytes(damaged(content, seed))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    found = tried(file.loaded(folder), file.choices, original)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return found


def outcomes(kind: str, count: int, seed: int) -> Iterator[Outcome]:
    """Yield what became of each damaged file of one kind; a process that dies is followed by another."""
    seeds = list(range(seed, seed + count))
    while seeds:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(1, get_context("fork"), _begin, (kind, Path(folder))) as process,
        ):
            while seeds:
                number, start = seeds.pop(0), time.monotonic()
                try:
                    yield Outcome(number, *process.submit(_one, number).result())
                except BrokenProcessPool:
                    slow = time.monotonic() - start > SECONDS
                    yield Outcome(number, "too slow" if slow else "crash", "the process ended")
                    break


def main(arguments: list[str] | None = None) -> int:
    """Damage files from the command line; the exit code is 1 if anything came out that may not."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz_checkpoints", description="Damage files of weights."
    )
    parser.add_argument("--kinds", nargs="*", choices=[*FILES], default=[*FILES], help="which files")
    parser.add_argument("--mutations", type=int, default=10_000, help="how many damaged files of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first one")
    parser.add_argument("--show", type=int, default=5, help="so many outcomes of each unexpected kind are printed")
    options = parser.parse_args(arguments)
    failed = False
    for kind in options.kinds:
        start, counted, shown = time.monotonic(), Counter[str](), Counter[str]()
        for outcome in outcomes(kind, options.mutations, options.seed):
            counted[outcome.kind] += 1
            if outcome.kind in (*WRONG, "other network") and shown[outcome.kind] < options.show:
                shown[outcome.kind] += 1
                sys.stdout.write(f"  {kind} seed {outcome.seed}: {outcome.kind}: {outcome.detail}\n")
        listed = ", ".join(f"{counted[name]} {name}" for name in OUTCOMES if counted[name])
        sys.stdout.write(f"{kind}: {listed} ({time.monotonic() - start:.0f} s)\n")
        sys.stdout.flush()
        failed |= any(counted[name] for name in WRONG)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
