"""What the command line promises: results on stdout, one line on stderr for errors, and exit codes."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from commands import printed, ran, refused, started
from torch import nn

import probe
from probe.command_line import main
from probe.recording import reading

MAIN = ("-m", "probe.command_line.main")


@pytest.fixture
def saved(tmp_path: Path, pair: nn.Module, x: torch.Tensor) -> Path:
    """Return the file of a recording of three layers."""
    path = tmp_path / "run.safetensors"
    probe.record(pair, x, steps=[1, 2], signals=["cell_state"]).save(path)
    return path


def test_show_describes_a_recording(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers, calls, signals, shapes, steps, layers not called and the largest error, for people and for programs."""
    lines = ran(capsys, "show", saved).splitlines()
    assert lines[:2] == ["layer low[0], call 0", "  cell_state  4 x 2 x 5"]
    assert lines[2:6:2] == ["layer high[0], call 0", "layer high[0], call 1"]
    assert {"steps: 1 2", "not called: idle[0]"} <= set(lines)
    assert lines[-1].startswith("largest error: ")
    described = json.loads(ran(capsys, "show", saved, "--json"))
    assert described["parts"][2] == {"layer": "high[0]", "call": 1, "signals": {"cell_state": [4, 2, 5]}}
    assert (described["steps"], described["not_called"]) == ([1, 2], ["idle[0]"])
    assert described["max_error"] == probe.load_recording(saved).max_error


def test_failed_work_exits_with_1_and_wrong_usage_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """The error is one line on stderr, without a traceback, and names the nearest command or option."""
    failed = "show missing; record w x -o out.txt; record w.pt x -o out.csv; inspect w.onnx"
    for words in failed.split("; "):
        refused(capsys, *words.split())
    wrong = "shwo x; show x --jsn; show; show a b; record w.pt x; record w.pt x -o a.csv --steps two"
    for words in [*wrong.split("; "), *(f"record w.pt x -o a.csv {one}" for one in ("--steps 1.5", "--threads 0"))]:
        refused(capsys, *words.split(), code=2)


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The console script ends the process with it; without words it prints help, and Ctrl-C is no traceback."""
    (script,) = entry_points(group="console_scripts", name="rnn-probe")
    assert script.load() is main.main
    for words, code in ((["show", "missing"], 1), ([], 0)):
        with pytest.raises(SystemExit) as exit_:
            main.main(words)
        assert exit_.value.code == code
    assert "Usage: rnn-probe COMMAND" in capsys.readouterr().out
    assert ran(capsys, "--version").strip() == probe.__version__ == version("rnn-probe")

    monkeypatch.setattr(reading, "load_recording", Mock(side_effect=KeyboardInterrupt))
    refused(capsys, "show", "x", code=130)
    for number in (errno.ENOENT, errno.ENOSPC):  # such as a font that was taken away
        error = OSError(number, os.strerror(number), "DejaVuSans.ttf")
        monkeypatch.setattr(reading, "load_recording", Mock(side_effect=error))
        refused(capsys, "show", "x")


def test_help_says_what_the_commands_do_and_run() -> None:
    """Its first sentence has the word of each; nobody runs a stranger's file unasked; it has no colour.

    It is wrapped once: each line is full, so that the next word has no place on it, and none is too long.
    """
    for width, words in ((60, ["report"]), (80, []), (120, ["report"])):
        text, _ = started("-m", "probe", *words, "--help", more={"COLUMNS": str(width), "FORCE_COLOR": "1"})
        told = " ".join((text if words else text.partition("Commands:")[0]).lower().split())
        first = ("inspect", "record", "convert", "report", "study", "show", "verify")
        assert all(one in told for one in (("run: give none that you do not trust",) if words else first))
        assert (max(map(len, text.splitlines())) <= width, "\x1b" in text) == (True, False)
        for line, after in itertools.pairwise(text.splitlines()):
            assert not after.startswith(" " * 6) or len(line) + len(after.split()[0]) >= width


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_leaves_is_no_error(saved: Path) -> None:
    """`rnn-probe show FILE | head -0` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    try:
        assert started(*MAIN, "show", saved, out=write) == ("", "")
    finally:
        os.close(write)


@pytest.mark.parametrize(("option", "variable", "expected"), [("", "", "1"), ("", "2", "2"), ("1", "2", "1")])
def test_one_thread_is_used_unless_asked(option: str, variable: str, expected: str) -> None:
    """Small recurrent networks are slower on several; what the environment or an option says is kept."""
    words = ["record", "none.pt", "none.npy", "-o", "out.npz", *(["--threads", option] if option else [])]
    code = f"from probe.command_line import main\nassert main.run({words!r}) == 1\nimport torch\n"
    given = {"OMP_NUM_THREADS": variable} if variable else {}
    assert printed(f"{code}print(torch.get_num_threads())", given) == expected
