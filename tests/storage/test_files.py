"""Files whole or not at all, at paths and in encodings that nobody expects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe import Finding
from probe.command_line.verify import verify
from probe.storage.files import write_atomically


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In UTF-8, with the umask's mode, in folders that are made; if the disk fails in mid-write the old file stays.

    fsync comes before the rename: the other order leaves an empty file after a power cut.
    """
    previous, path = os.umask(0o022), tmp_path / "a" / "b.txt"
    assert (write_atomically(path, "ä\n"), os.umask(previous)) == (path, 0o022)
    assert (path.stat().st_mode & 0o777, path.read_bytes()) == (0o644, b"\xc3\xa4\n")
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths)))
    assert (write_atomically(str(path), b"\x00\x01").read_bytes(), order) == (b"\x00\x01", ["fsync", "replace"])
    with refused():
        _ = write_atomically(path / "c.txt", "new")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with refused():
        _ = write_atomically(path, "new")
    assert (path.read_bytes(), [entry.name for entry in path.parent.iterdir()]) == (b"\x00\x01", ["b.txt"])


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
TAKE: dict[str, Callable[[Any], object]] = {
    "load": probe.load,
    "load_recording": probe.load_recording,
    "Finding.read": Finding.read,
    "verify": verify,
    "save": lambda path: probe.record(nn.LSTM(1, 1), torch.ones(2, 1, 1)).save(path),
    "out": lambda path: probe.record(nn.LSTM(1, 1), torch.ones(2, 1, 1), out=path),
}


def test_what_is_no_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path is not the current folder, and no error of Python's comes through."""
    monkeypatch.chdir(tmp_path)
    for name in ("ih", "hh"):
        np.save(f"weight_{name}_l0.npy", np.ones((4, 1), np.float32))
    for take, path in product(TAKE.values(), ("", "a\0b")):
        with refused():
            _ = take(path)


def fifo(path: Path) -> Path:
    """Make a pipe that nobody writes to, in the place of what was there."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@POSIX
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe in a folder, or in the place of a file, is refused: nobody knows whether anything ever comes out."""
    for name in ("arrays", "finding"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "arrays" / "a.npy", np.ones(2))
    TAKE["out"](tmp_path / "run")
    parts = next((tmp_path / "run").glob("0.*.npy"))
    cases: list[tuple[str, Path]] = [
        ("load", fifo(tmp_path / "arrays" / "b.npy").parent),
        ("load", fifo(tmp_path / "w.safetensors")),
        ("load", fifo(tmp_path / "w.pt")),
        ("load_recording", fifo(tmp_path / "run.safetensors")),
        ("load_recording", fifo(parts).parent),
        ("load_recording", fifo(tmp_path / "run" / "recording.json").parent),
        ("Finding.read", fifo(tmp_path / "finding" / "finding.json").parent),
    ]
    for take, path in cases:
        with refused():
            TAKE[take](path)


@POSIX
def test_the_command_line_writes_names_everywhere_or_says_why_not(tmp_path: Path) -> None:
    """What a terminal has no letter for is a number, JSON stays JSON; output that goes nowhere is one sentence."""
    path = tmp_path / "w€.pt"
    torch.save({f"enc_ä€.{name}": value for name, value in nn.GRU(2, 3).state_dict().items()}, path)

    def command(words: str, shell: str = "", encoding: str = "utf-8") -> tuple[int, bytes, str]:
        line = f"'{sys.executable}' -m probe.command_line.main {words} {shell}"
        more = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(line, shell=True, capture_output=True, check=False, timeout=120, env=more)
        return done.returncode, done.stdout, done.stderr.decode()

    code, out, err = command(f"inspect '{path}'", encoding="iso-8859-1")
    assert (code, err) == (0, "")
    assert "enc_ä€".encode("iso-8859-1", "backslashreplace") in out
    _, out, _ = command(f"inspect '{path}' --json", encoding="ascii")
    assert json.loads(out)["networks"][0]["network"] == "enc_ä€"
    for shell, said in (
        (">&-", "standard output is closed"),
        ("> /dev/full", "standard output cannot be read or written: No space left on device"),
    ):
        code, _, err = command("--version", shell)
        assert (code, said in err, err.count("\n")) == (1, True, 1)
    for shell in ("2>&-", "2> /dev/full"):  # a sentence that is lost takes no exit code with it
        assert command("show", shell)[0] == 2
