"""Many networks in worker processes: whoever is killed, the same command ends at the same files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from models import train as command

ROOT = Path(__file__).parents[2]
MANY = ("--seeds", "0:3", "--epochs", "300")
CONFIG, MODEL = "config.json", "model.safetensors"
# Ctrl-C as a terminal sends it: a test run started in the background would hand down "ignore".
START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('models.train', run_name='__main__', alter_sys=True)"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the trainings done one after the other and never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "counter"
    assert command.main([*MANY, "--out", str(folder)]) == 0
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def begun(folder: Path) -> set[Path]:
    """The folders of networks whose training has begun."""
    return {path.parent for path in folder.glob("*/.lock")}


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Return when something holds."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


def start(folder: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """The command on two workers in a process group of its own, and its workers once two networks are begun."""
    line = [sys.executable, "-c", START, *MANY, "--jobs", "2", "--out", str(folder)]
    process = subprocess.Popen(
        line, cwd=ROOT, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: len(begun(folder)) >= 2, "two networks are begun")
    children = psutil.Process(process.pid).children()
    return process, [child for child in children if "LokyProcess" in " ".join(child.cmdline())]


def resume(folder: Path, jobs: int = 1) -> int:
    """The same command again, with --resume; how many processes do it changes no byte."""
    return command.main([*MANY, "--jobs", str(jobs), "--resume", "--out", str(folder)])


def test_a_killed_worker_loses_nothing(whole: dict[str, bytes], tmp_path: Path) -> None:
    """SIGKILL, as a system out of memory sends it: the command says how to go on, and going on gives every byte."""
    process, workers = start(tmp_path / "run")
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert "error: A worker process died before its work was done" in err
    assert "With --resume, and without --overwrite, the same command goes on from here." in err
    assert len(list((tmp_path / "run").glob(f"*/{CONFIG}"))) < 3, "finished before the kill: too short"
    assert resume(tmp_path / "run", jobs=2) == 0
    assert contents(tmp_path / "run") == whole


def test_a_killed_parent_takes_its_workers_along_and_loses_nothing(whole: dict[str, bytes], tmp_path: Path) -> None:
    """Workers that went on alone would meet those of the resumed command in one folder."""
    process, workers = start(tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    assert len(list((tmp_path / "run").glob(f"*/{CONFIG}"))) < 3, "finished before the kill: too short"
    assert resume(tmp_path / "run") == 0
    assert contents(tmp_path / "run") == whole


def test_ctrl_c_ends_all_processes_with_one_line(whole: dict[str, bytes], tmp_path: Path) -> None:
    """A terminal sends it to the whole group; workers say nothing, and what there is can be resumed."""
    process, workers = start(tmp_path / "run")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    lines = [line for line in err.splitlines() if " of 3, counter, seed " not in line]
    assert lines == [
        "error: Interrupted. With --resume, and without --overwrite, the same command goes on from here."
    ]
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    assert resume(tmp_path / "run") == 0
    assert contents(tmp_path / "run") == whole
