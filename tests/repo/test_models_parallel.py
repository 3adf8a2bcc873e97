"""Many networks: in worker processes the same files, whoever is killed, and nothing done twice."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from refusing import refused

from models import populations
from models import train as command
from models.populations import Population
from models.recipes import RECIPES
from models.training import Job, train_job
from probe.studies import workers
from probe.studies.workers import locked, parallel

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


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_those_of_the_calls(jobs: int) -> None:
    """One for each tuple of arguments, here or in processes."""
    found = parallel(math.hypot, [(3, 4), (5, 12), (8, 15)], jobs=jobs)
    assert sorted(found) == [5.0, 13.0, 17.0]
    assert list(parallel(math.hypot, [], jobs=jobs)) == []


def test_more_jobs_than_work_do_no_harm(tmp_path: Path) -> None:
    """A process of its own, since joblib calls here what is alone, and there the parent is another process."""
    words = ["--epochs", "2", "--seed", "3"]
    runs = [[*words, "--jobs", jobs, "--out", str(tmp_path / jobs)] for jobs in ("9", "2", "1")]
    code = f"from models.train import main\nfor words in {runs!r}: assert main(words) == 0"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for run, line in zip(runs, lines, strict=True):
        assert line.startswith(run[-1])
        assert (Path(run[-1]) / CONFIG).is_file()


def test_workers_are_other_processes_on_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this process has: two threads are slower on small networks, and add in another order."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(parallel(os.getpid, [()])) == [os.getpid()]
    assert os.getpid() not in set(parallel(os.getpid, [()] * 4, jobs=2))
    assert set(parallel(torch.get_num_threads, [()] * 4, jobs=2)) == {1}
    assert set(parallel(os.getenv, [("OMP_NUM_THREADS",), ("MKL_NUM_THREADS",)], jobs=2)) == {"1"}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists the open files of a process")
def test_nothing_of_workers_is_left() -> None:
    """No thread, no worker and no pipe stays, but those of Python's two resource trackers, which a process keeps."""
    code = """
import os, threading, time
import torch
from probe.studies.workers import parallel

def left():
    return threading.active_count(), len(os.listdir("/proc/self/fd"))

def nothing():
    end = time.monotonic() + 60
    while (threads < left()[0] or files + 2 < left()[1]) and time.monotonic() < end:
        time.sleep(0.05)  # a thread that was told to end may need a moment
    assert left()[0] <= threads and left()[1] <= files + 2, (left(), threading.enumerate())

threads, files = left()
assert sorted(parallel(pow, [(2, 2), (3, 2)], jobs=2)) == [4, 9]
nothing()
calls = parallel(time.sleep, [(0.01,), (60,), (60,)], jobs=2)
next(calls)
calls.close()
try:
    list(parallel(int, [("1",), ("x",)], jobs=2))
except ValueError:
    pass
nothing()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_what_goes_wrong_in_a_worker_is_told() -> None:
    """An exception comes through; a dead worker is named with what to do; fewer than one job is refused."""
    with pytest.raises(ValueError, match="math domain error"):
        list(parallel(math.sqrt, [(1,), (-1,)], jobs=2))
    with refused():
        list(parallel(os._exit, [(1,), (1,)], jobs=2, again="Go and look."))
    assert sorted(parallel(math.hypot, [(3, 4), (5, 12)], jobs=2)) == [5.0, 13.0]  # the next call has workers again
    with refused():
        parallel(abs, [(-1,)], jobs=0)


def test_a_job_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given out again, a finished network is left alone; a folder that another process holds is refused."""
    job = Job(RECIPES["code-signed"], 3, tmp_path / "run")
    short = Job(RECIPES["counter"].__class__.from_dict({**job.recipe.to_dict(), "epochs": 2}), 3, job.folder)
    assert short.name == "code-signed, seed 3"
    found, error = train_job(short)
    before = {path: path.stat().st_mtime_ns for path in job.folder.iterdir()}
    assert (found, 0 < error <= 1) == (short, True)
    assert train_job(short) == (short, error)
    assert {path: path.stat().st_mtime_ns for path in job.folder.iterdir()} == before
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    with locked(job.folder), refused():
        train_job(short)
    with refused():
        Job(RECIPES["counter"], -1, tmp_path)


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


def test_a_damaged_file_is_named_and_trained_again(
    whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One changed bit in a finished network is found by its digest; without it, resuming starts anew."""
    folder = tmp_path / "run"
    for name, data in whole.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    weights = folder / "seed-2" / MODEL
    weights.write_bytes(whole[f"seed-2/{MODEL}"][:-5] + bytes([whole[f"seed-2/{MODEL}"][-5] ^ 1]) + bytes(4))
    assert resume(folder) == 1
    err = capsys.readouterr().err
    assert f"The weights in '{weights}' are not those that config.json beside it describes" in err
    assert "--resume trains it afresh" in err
    for path in weights.parent.iterdir():
        path.unlink()
    assert resume(folder) == 0
    assert contents(folder) == whole
    weights.with_name(CONFIG).unlink()
    assert resume(folder) == 0
    assert contents(folder) == whole


def test_what_is_taken_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last of the seeds is there already: none is trained until it is resumed or replaced."""
    few = ["--epochs", "2", "--out", str(tmp_path / "run")]
    assert command.main([*few[:2], "--seed", "3", "--out", str(tmp_path / "run" / "seed-3")]) == 0
    assert command.main([*few, "--seeds", "1:4", "--jobs", "2"]) == 1
    assert "already holds 'config.json'" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["seed-3"]
    assert command.main([*few, "--seeds", "1:4", "--jobs", "2", "--overwrite"]) == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["seed-1", "seed-2", "seed-3"]


def test_progress_is_a_line_a_network(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What it is, and its error on strings that it never saw."""
    assert command.main(["--seeds", "0:2", "--jobs", "2", "--epochs", "2", "--out", str(tmp_path / "log")]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["1 of 2", "2 of 2"]
    assert sorted(line.split(", ")[2].split(": ")[0] for line in lines) == ["seed 0", "seed 1"]
    assert all(line.endswith("%") for line in lines)


def test_a_population_goes_into_a_folder_for_each_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RECIPE/seed-N, as in models/zoo; a name that is none is refused, and so are seeds beside it."""
    small = (
        Population("first", "counter", range(7, 9)),
        Population("third", "code-signed", range(7, 8)),
    )
    monkeypatch.setattr(populations, "POPULATIONS", small)
    places = {"first": ["counter/seed-7", "counter/seed-8"], "third": ["code-signed/seed-7"]}
    places["all"] = sorted([*places["first"], *places["third"]])
    for name, expected in places.items():
        folder = tmp_path / name
        assert command.main(["--population", name, "--epochs", "1", "--out", str(folder)]) == 0
        assert sorted(str(path.parent.relative_to(folder)) for path in folder.rglob(CONFIG)) == expected
    assert command.main(["--population", "frst", "--out", str(tmp_path / "x")]) == 1
    assert "no population 'frst'" in capsys.readouterr().err
    for option in (["--seed", "1"], ["--seeds", "0:2"], ["--recipe", "counter"]):
        assert command.main(["--population", "first", *option, "--out", str(tmp_path / "x")]) == 2
        assert "give it without --recipe, --seed and --seeds" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
