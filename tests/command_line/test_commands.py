"""What the command line promises: results on stdout, one line on stderr for errors, and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from torch import nn

import probe
from probe.command_line import main


@pytest.fixture
def saved(tmp_path: Path, pair: nn.Module, x: torch.Tensor) -> Path:
    """Return the file of a recording of three layers."""
    path = tmp_path / "run.safetensors"
    probe.record(pair, x, steps=[1, 2], signals=["cell_state"]).save(path)
    return path


def test_show_describes_a_recording(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers, calls, signals, shapes, steps, layers not called and the largest error, on stdout."""
    assert main.run(["show", str(saved)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[:2] == ["layer low[0], call 0", "  cell_state  4 x 2 x 5"]
    assert lines[2:6:2] == ["layer high[0], call 0", "layer high[0], call 1"]
    assert "steps: 1 2" in lines
    assert "not called: idle[0]" in lines
    assert lines[-1].startswith("largest error: ")


def test_show_describes_it_in_json(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` says the same for programs."""
    assert main.run(["show", str(saved), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["parts"][2] == {"layer": "high[0]", "call": 1, "signals": {"cell_state": [4, 2, 5]}}
    assert described["steps"] == [1, 2]
    assert described["not_called"] == ["idle[0]"]
    assert described["max_error"] == probe.load_recording(saved).max_error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "missing"], "'missing' cannot be read as a recording"),
    ],
)
def test_failed_work_exits_with_1(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error is one line on stderr, without a traceback; stdout stays empty."""
    assert main.run(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnn-probe: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shwo", "x"], 'Did you mean "show"?'),
        (["show", "x", "--jsn"], "Did you mean --json?"),
        (["show"], "requires an argument"),
        (["show", "a", "b"], "b"),
    ],
)
def test_wrong_usage_exits_with_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The nearest command or option is named, in one line on stderr."""
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C is no traceback."""

    def interrupt(*_words: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", interrupt)
    assert main.run(["show", "x"]) == 130
    assert capsys.readouterr().err == "rnn-probe: interrupted\n"


def test_main_exits_with_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The console script ends the process with the code; without words it prints help."""
    with pytest.raises(SystemExit) as exit_:
        main.main(["show", "missing"])
    assert exit_.value.code == 1
    with pytest.raises(SystemExit) as exit_:
        main.main([])
    assert exit_.value.code == 0
    assert "Usage: rnn-probe COMMAND" in capsys.readouterr().out


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the installed version alone."""
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == probe.__version__ + "\n"


def test_the_console_script_is_installed() -> None:
    """`rnn-probe` is a console script that leads to `main`."""
    (script,) = entry_points(group="console_scripts", name="rnn-probe")
    assert script.load() is main.main


def test_no_colour_reaches_the_terminal() -> None:
    """With NO_COLOR set no escape sequence is printed, even where colour is forced."""
    done = subprocess.run(
        [sys.executable, "-m", "probe.command_line.main", "--help"],
        capture_output=True,
        env=os.environ | {"NO_COLOR": "1", "FORCE_COLOR": "1"},
        check=True,
        cwd=os.sep,
        timeout=60,
    )
    assert b"\x1b" not in done.stdout
    assert b"show" in done.stdout


def test_help_begins_with_what_the_commands_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Its first sentence has the word of each command that makes or checks something."""
    assert main.run(["--help"]) == 0
    told = " ".join(capsys.readouterr().out.partition("Commands:")[0].split()).lower()
    assert all(word in told for word in ("inspect", "record", "convert", "report", "study", "show", "verify"))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_leaves_is_no_error(saved: Path) -> None:
    """`rnn-probe show FILE | head -0` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "probe.command_line.main", "show", str(saved)],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        ([], {}, 1),
        ([], {"OMP_NUM_THREADS": "2"}, 2),
        (["--threads", "2"], {}, 2),
        (["--threads", "1"], {"OMP_NUM_THREADS": "2"}, 1),
    ],
)
def test_one_thread_is_used_unless_asked(words: list[str], environment: dict[str, str], expected: int) -> None:
    """Small recurrent networks are slower on several; what the environment or an option says is kept."""
    code = f"""
import sys
from probe.command_line import main
assert main.run(["record", "none.pt", "none.npy", "-o", "out.npz", *{words!r}]) == 1
import torch
print(torch.get_num_threads())
"""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=kept | environment, timeout=60, check=True
    )
    assert int(done.stdout) == expected


def test_no_threads_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The option must be a number of threads."""
    assert main.run(["record", "none.pt", "none.npy", "-o", "out.npz", "--threads", "0"]) == 1
    assert "--threads 0 must be 1 or more" in capsys.readouterr().err
