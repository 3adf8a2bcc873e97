"""Damage every kind of file that `probe.load` reads, a thousand times: `python -m benchmarks.fuzz_checkpoints`.

Each file is changed at random places (bits, bytes, integers, pieces cut, moved or repeated) and loaded in a process
of its own with little memory and time. What may come out is a ProbeError, or the network itself; what may not:
another exception, a crash, a process out of memory or time. Another network can only come of a format without
checksums, where the changed byte is the weight or the option itself; these are counted too.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors.torch
import torch
from cyclopts import Parameter
from torch import nn

import probe
from probe.command_line.shell import Whole, check, command, emit, run
from probe.loading.converted import convert

#: Seconds and bytes for one damaged file.
SECONDS, MEMORY = 20, 3_000_000_000
WRONG = ("wrong exception", "crash", "too slow")
#: So many outcomes of each unexpected kind are printed.
SHOWN = 5
DATA = Path(__file__).parents[1] / "tests" / "data"


@dataclass(frozen=True)
class Damaged:
    """The file that is damaged by its name, what returns it with those beside it, how it is loaded, alone or not."""

    name: str
    files: Callable[[], Mapping[str, bytes]]
    choices: Mapping[str, Any] = field(default_factory=dict)
    folder: bool = False

    def placed(self, folder: Path) -> tuple[Path, bytes]:
        """Write the files; return the path that is loaded, and the bytes that are damaged."""
        files = self.files()
        for name, content in files.items():
            _ = (folder / name).write_bytes(content)
        return folder if self.folder else folder / self.name, files[self.name]


def _tagger() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"lstm": nn.LSTM(2, 3, 2, bidirectional=True), "gru": nn.GRU(6, 3), "head": nn.Linear(3, 2)})


def _weights() -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in _tagger().state_dict().items()}


def _arrays() -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in _weights().items()}


def _streamed(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _ = write(stream)
    return stream.getvalue()


def _saved(stream: io.BytesIO, *, old: bool = False) -> None:
    torch.save(_weights(), stream, _use_new_zipfile_serialization=not old)


@functools.cache
def _converted() -> Mapping[str, bytes]:
    """Return the files of a folder that `rnn-probe convert` writes, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.safetensors").write_bytes(safetensors.torch.save(_weights()))
        convert(probe.load(Path(folder) / "a.safetensors"), Path(folder) / "out")
        return {file.name: file.read_bytes() for file in (Path(folder) / "out").iterdir()}


def _npy() -> dict[str, bytes]:
    return {f"{name}.npy": _streamed(lambda stream, own=own: np.save(stream, own)) for name, own in _arrays().items()}


def _made(name: str, content: Callable[[], bytes], **choices: Any) -> Damaged:
    return Damaged(name, lambda: {name: content()}, choices)


def _written(name: str, write: Callable[[io.BytesIO], object]) -> Damaged:
    return _made(name, lambda: _streamed(write))


def _kept(path: str, *, beside: str = "", **choices: Any) -> Damaged:
    """Return a file of the tests' data, with what lies beside it by a pattern."""
    file = DATA / path
    others = sorted(file.parent.glob(beside)) if beside else []
    return Damaged(file.name, lambda: {one.name: one.read_bytes() for one in (file, *others)}, choices)


def _checkpoint(name: str, **choices: Any) -> Damaged:
    return _kept(f"checkpoints/{name}", **choices)


FILES: dict[str, Damaged] = {
    "torch": _written("a.pt", _saved),
    "torch-old": _written("a.pt", functools.partial(_saved, old=True)),
    "torchscript": _written("a.pt", lambda stream: torch.jit.save(torch.jit.script(_tagger()), stream)),
    "safetensors": _made("a.safetensors", lambda: safetensors.torch.save(_weights())),
    "converted": Damaged("config.json", _converted, folder=True),
    "converted-weights": Damaged("model.safetensors", _converted, folder=True),
    "npz": _written("a.npz", lambda stream: np.savez(stream, **_arrays())),
    "npy-folder": Damaged("gru.weight_hh_l0.npy", _npy, folder=True),
    "pickle": _made("a.pkl", lambda: pickle.dumps(_arrays(), protocol=4)),
    "pickle-old": _made("a.pkl", lambda: pickle.dumps(_arrays(), protocol=2)),
    "keras": _kept("keras-counter/model.keras"),
    "h5": _kept("keras-counter/model.h5"),
    "h5-wide": _checkpoint("keras3_wide.h5"),
    "flax": _checkpoint("flax.msgpack", activation="tanh"),
    "haiku": _checkpoint("haiku.pkl"),
    "weights-h5": _kept("keras-counter/model.weights.h5", gate_activation="sigmoid"),
    "tf1-index": _checkpoint("tf1_cells.index", beside="tf1_cells.data-*", forget_bias=1.0, activation="tanh"),
    "tf1-data": _checkpoint(
        "tf1_cells.data-00000-of-00001", beside="tf1_cells.index", forget_bias=1.0, activation="tanh"
    ),
    "onnx": _checkpoint("nodes.onnx"),
    "onnx-nested": _checkpoint("nested.onnx"),
    "onnx-tf": _checkpoint("tf2onnx.onnx"),
    "onnx-torch": _checkpoint("torch_script.onnx"),
}


def damaged(content: bytes, seed: int) -> bytes:
    """Return a file with one to four random changes."""
    drawn, data = random.Random(seed), bytearray(content)
    for _ in range(drawn.choice((1, 1, 1, 2, 4))):
        _change(data, drawn)
    return bytes(data)


def _change(data: bytearray, drawn: random.Random) -> None:
    kind = drawn.choice(("bit", "bit", "bit", "byte", "integer", "cut", "remove", "repeat"))
    # Most of a file is weights; what says what they are lies at its ends.
    edge, at = drawn.choice((0, 0, 1, 2)), drawn.randrange(max(1, len(data)))
    if edge and len(data) > 600:
        at = drawn.randrange(300) if edge == 1 else len(data) - 1 - drawn.randrange(300)
    if kind == "bit":
        data[at : at + 1] = bytes(one ^ 1 << drawn.randrange(8) for one in data[at : at + 1])
    elif kind == "byte":
        data[at : at + 1] = bytes([drawn.choice((0, 1, 0x7F, 0x80, 0xFF, drawn.randrange(256)))])
    elif kind == "integer":
        value = drawn.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1))
        data[at : at + 8] = struct.pack("<Q", value)[: drawn.choice((4, 8))]
    elif kind == "cut":
        del data[at:]
    elif kind == "remove":
        del data[at : at + drawn.randrange(1, 40)]
    else:
        data[at:at] = data[at : at + drawn.randrange(1, 200)]


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


def _child(answer: Connection, path: Path, choices: Mapping[str, Any], original: Described) -> None:
    """Load a damaged file with little memory and time, and send what became of it."""
    spent = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (spent + MEMORY, spent + MEMORY))
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(sink, stream)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)  # a process that takes too long is ended by the system
    answer.send(tried(path, choices, original))


def outcomes(kind: str, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Yield the seed of each damaged file of one kind, what became of it in its process, and what to look at."""
    file, context = FILES[kind], get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        path, content = file.placed(Path(folder))
        original = described(probe.load(path, **file.choices))
        for number in range(seed, seed + count):
            _ = Path(folder, file.name).write_bytes(damaged(content, number))
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, path, file.choices, original))
            process.start()
            theirs.close()
            try:
                yield number, *ours.recv()
            except EOFError:
                process.join()
                yield number, "too slow" if process.exitcode == -signal.SIGALRM else "crash", "the process ended"
            process.join()


app = command("python -m benchmarks.fuzz_checkpoints")


@app.default
def main(
    *,
    kinds: Annotated[Sequence[str] | None, Parameter(consume_multiple=True)] = None,
    mutations: Whole = 1000,
    seed: Whole = 0,
) -> int:
    """Damage files of weights; the exit code is 1 if anything came out that may not.

    Args:
        kinds: which files, such as onnx; all unless given.
        mutations: how many damaged files of each kind.
        seed: of the first one.
    """
    check("kind of file", kinds or (), FILES)
    failed = False
    for kind in kinds or FILES:
        start, counted = time.monotonic(), Counter[str]()
        for number, outcome, detail in outcomes(kind, mutations, seed):
            counted[outcome] += 1
            if outcome in (*WRONG, "other network") and counted[outcome] <= SHOWN:
                emit(f"  {kind} seed {number}: {outcome}: {detail}")
        listed = ", ".join(f"{number} {name}" for name, number in counted.most_common())
        emit(f"{kind}: {listed} ({time.monotonic() - start:.0f} s)")
        failed |= any(counted[name] for name in WRONG)
    return int(failed)


if __name__ == "__main__":
    sys.exit(run(app))
