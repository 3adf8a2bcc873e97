"""Damaged files of every kind: some of what `python -m benchmarks.fuzz_checkpoints` does ten thousand times."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import probe
from benchmarks import fuzz_checkpoints as fuzz
from benchmarks.fuzz_checkpoints import FILES

#: Formats with a checksum over everything: a change is found, or changed nothing.
SEALED = ("torch", "tar-gz", "zip", "torchscript", "npz", "keras", "tf1-index", "tf1-data")


@pytest.mark.parametrize("count", [12, pytest.param(60, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_refused_or_the_same_network(kind: str, count: int, tmp_path: Path) -> None:
    """Nothing but a ProbeError comes out of it; and where there are checksums, no other weights."""
    file = FILES[kind]
    loaded, content = file.placed(tmp_path)
    original = fuzz.described(probe.load(loaded, **file.choices))
    assert original
    found = Counter[str]()
    for seed in range(100_000, 100_000 + count):
        _ = (tmp_path / file.name).write_bytes(fuzz.damaged(content, seed))
        outcome, detail = fuzz.tried(loaded, file.choices, original)
        assert outcome != "wrong exception", f"seed {seed}: {detail}"
        found[outcome] += 1
    assert found["refused"] > count // 6
    if kind in SEALED:
        assert set(found) <= {"refused", "same network"}


def test_the_damage_would_be_noticed(tmp_path: Path) -> None:
    """The control arm: other weights, another network and another exception are told from the network itself."""
    file = FILES["safetensors"]
    path, content = file.placed(tmp_path)
    original = fuzz.described(probe.load(path))
    assert fuzz.tried(path, {}, original)[0] == "same network"
    _ = path.write_bytes(content[:-3] + bytes(3))
    assert fuzz.tried(path, {}, original)[0] in ("same network", "other weights")
    assert fuzz.tried(path, {"names": {"gru.*": None}}, original)[0] == "other network"
    assert fuzz.tried(path, {"no_such_option": 3}, original)[0] == "wrong exception"


def test_processes_that_die_are_counted() -> None:
    """The outcomes of a run in processes of their own are one a file, in order."""
    outcomes = list(fuzz.outcomes("tf1-data", 20, 7))
    assert [seed for seed, *_ in outcomes] == list(range(7, 27))
    assert {kind for _, kind, _ in outcomes} <= {"refused", "same network"}
