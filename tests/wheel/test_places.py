"""Paths, streams and encodings that nobody expects: a sentence each, and nothing hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import probe
from probe import Finding, ProbeError
from probe.command_line.verify import verify

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
TAKE: dict[str, Callable[[Any], object]] = {
    "load": probe.load,
    "load_recording": probe.load_recording,
    "Finding.read": Finding.read,
    "verify": verify,
    "save": lambda path: probe.record(nn.LSTM(1, 1), torch.ones(2, 1, 1)).save(path),
    "out": lambda path: probe.record(nn.LSTM(1, 1), torch.ones(2, 1, 1), out=path),
}


@pytest.mark.parametrize("take", TAKE.values(), ids=TAKE)
@pytest.mark.parametrize("path", ["", "a\0b"], ids=["empty", "zero"])
def test_what_is_no_path_is_refused(
    take: Callable[[Any], object], path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty path is not the current folder, and no error of Python's comes through."""
    monkeypatch.chdir(tmp_path)
    np.save("weight_ih_l0.npy", np.ones((4, 1), np.float32))
    np.save("weight_hh_l0.npy", np.ones((4, 1), np.float32))
    with pytest.raises(ProbeError, match="is the path of nothing"):
        _ = take(path)


def fifo(path: Path) -> Path:
    """Make a pipe that nobody writes to, in the place of what was there."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@POSIX
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe in a folder, or in the place of a file, is refused: nobody knows whether anything ever comes out."""
    model, x = nn.LSTM(2, 3, batch_first=True), torch.randn(2, 4, 2)
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "a.npy", np.ones(2))
    _ = fifo(tmp_path / "arrays" / "b.npy")
    for path in (tmp_path / "arrays", fifo(tmp_path / "w.safetensors"), fifo(tmp_path / "w.pt")):
        with pytest.raises(ProbeError, match=r"is no regular file|is no file"):
            _ = probe.load(path)
    _ = probe.record(model, x, out=tmp_path / "run")
    for path in (fifo(next((tmp_path / "run").glob("0.*.npy"))).parent, fifo(tmp_path / "run.safetensors")):
        with pytest.raises(ProbeError, match=r"is no regular file"):
            _ = probe.load_recording(path)
    _ = fifo(tmp_path / "run" / "recording.json")
    with pytest.raises(ProbeError, match=r"is no regular file"):
        _ = probe.load_recording(tmp_path / "run")
    (tmp_path / "finding").mkdir()
    _ = fifo(tmp_path / "finding" / "finding.json")
    with pytest.raises(ProbeError, match=r"is no regular file"):
        _ = Finding.read(tmp_path / "finding")


def command(*words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line through a shell, with what stands behind it there."""
    quoted = " ".join(f"'{word}'" for word in (sys.executable, "-m", "probe.command_line.main", *words))
    return subprocess.run(
        f"{quoted} {shell}", shell=True, capture_output=True, check=False, timeout=120, env=os.environ | environment
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a file of weights with a name that not every encoding has."""
    state = {f"enc_ä€.{name}": value for name, value in nn.GRU(2, 3).state_dict().items()}
    torch.save(state, tmp_path / "w€.pt")
    return tmp_path / "w€.pt"


@POSIX
@pytest.mark.parametrize(
    ("shell", "message"),
    [
        (">&-", "standard output is closed"),
        ("> /dev/full", "standard output cannot be read or written: No space left on device"),
    ],
)
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inspect"], ["inspect", "--json"]])
def test_output_that_goes_nowhere_is_one_sentence(words: list[str], shell: str, message: str, weights: Path) -> None:
    """The exit code is 1, and nothing of Python's is printed."""
    more = [] if words[0].startswith("--") else [str(weights)]
    done = command(*words, *more, shell=shell)
    assert done.returncode == 1
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@POSIX
def test_errors_that_go_nowhere_leave_the_exit_code(tmp_path: Path) -> None:
    """A closed or full stderr hides the sentence, and not that the work failed."""
    for shell in ("2>&-", "2> /dev/full"):
        assert command("show", str(tmp_path / "missing"), shell=shell).returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_every_encoding_gets_the_names(encoding: str, weights: Path) -> None:
    """What a terminal has no letter for is written as its number, and JSON stays JSON."""
    done = command("inspect", str(weights), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    name = "enc_ä€".encode(encoding, "backslashreplace")
    assert name in done.stdout
    done = command("inspect", str(weights), "--json", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout)["networks"][0]["network"] == "enc_ä€"


WRITES = """
import sys
from probe import Finding
from probe.evidence import Range, Rule, judge
from probe.evidence.measurements import Network, measurement, tabulate
import torch
network = Network("netz ä", "trained", torch.nn.LSTM(1, 1), pair=0)
table = tabulate([measurement("q", "m", network, 1.0)])
rule = Rule("1", "Zählt es? ≥ 8", "m", "median", "ä", Range.at_least(0.5), Range.at_most(0.1))
finding = Finding("q", "Zählt es? ≥", table, judge(table, [rule]), notes={"n": "ä ≥"})
back = Finding.read(finding.write(sys.argv[1]))
assert (back.title, back.claims[0].rule.statement, back.notes["n"]) == ("Zählt es? ≥", "Zählt es? ≥ 8", "ä ≥")
"""


def test_files_have_their_own_encoding(tmp_path: Path) -> None:
    """A finding is written and read the same where the locale has no umlauts."""
    code = tmp_path / "writes.py"
    _ = code.write_text(WRITES, encoding="utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for number, environment in enumerate((plain, {})):
        words = [sys.executable, str(code), str(tmp_path / f"finding{number}")]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | environment)
        assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / f"finding{number}" / "finding.json").read_bytes() for number in (0, 1))
    assert one == two
