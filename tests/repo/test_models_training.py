"""Training: the seed decides everything; whoever is killed, the same command ends at the same bits."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from joblib.externals.loky.backend.queues import Queue
from refusing import refused

from models import train as command
from models import training
from models.checkpoints import load, load_config
from models.describe import errors
from models.recipes import RECIPES, Recipe
from models.training import Job, initialise, split, train, train_job
from probe.studies import workers
from probe.studies.workers import locked, parallel

ROOT = Path(__file__).parents[2]
RECIPE = RECIPES["counter"]
TINY = dataclasses.replace(RECIPE, epochs=2)
#: Each part of a recipe that decides strings, labels or lengths, at once.
MIXED = dataclasses.replace(
    RECIPES["truncated"], cell="gru", question="template", every_step=True, zero=-1.0, epochs=4
)
CONFIG, MODEL = "config.json", "model.safetensors"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The programs train on one thread; another count adds in another order."""
    with workers.one_thread():
        yield


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, except an empty lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_global_generator_is_neither_read_nor_moved(tmp_path: Path) -> None:
    """Training gives the same network after any manual_seed, and leaves the caller's numbers alone."""
    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        folders.append(train(TINY, 0, tmp_path / str(seed)))
        load(folders[-1])
        assert torch.equal(torch.get_rng_state(), before)
    assert contents(folders[0]) == contents(folders[1])


def test_every_number_of_the_recipe_changes_the_network(tmp_path: Path) -> None:
    """No field is carried along unread."""
    counts = {"hidden_size": 11, "length": 9, "train_size": 400, "batch_size": 50, "epochs": 3, "shorter": 5}
    rates = {"learning_rate": 2e-3, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3, "smallest_probability": 0.2}
    numbers = {"forget_bias": 0.0, "head_bias": 0.0, "zero": -1.0, "one": 2.0, "p_one": 0.3}
    words = {"cell": "gru", "question": "template", "every_step": True, "truncated": True}
    third = {"p_one": 0.3, "other": -1.0, "p_other": 0.5}
    changes: dict[str, float | str] = {**counts, **rates, **numbers, **words, **third, "start": 2}
    assert set(changes) == {field.name for field in dataclasses.fields(Recipe)} - {"name"}
    plain = (train(TINY, 0, tmp_path / "plain") / MODEL).read_bytes()
    for name, value in changes.items():
        changed = third if name in ("other", "p_other") else {name: value}
        other = train(dataclasses.replace(TINY, **changed), 0, tmp_path / name)  # pyright: ignore[reportArgumentType]
        assert (other / MODEL).read_bytes() != plain, name


def test_training_learns_and_writes_what_it_promises(tmp_path: Path) -> None:
    """Weights, control and description; it errs less than before; no clock and no path in any of them."""
    short = dataclasses.replace(RECIPE, epochs=40)
    folder = train(short, 0, tmp_path / "run")
    assert sorted(contents(folder)) == [CONFIG, MODEL, "untrained.safetensors"]
    config = load_config(folder)
    assert (config["recipe"], config["seed"], config["steps"]) == (short.to_dict(), 0, short.steps)
    model, untrained = load(folder), load(folder, which="untrained")
    assert config["errors"] == errors(model, short, *split(short, 0))
    assert config["errors"]["all"]["error"] < errors(untrained, short, *split(short, 0))["all"]["error"]
    assert str(tmp_path) not in (folder / CONFIG).read_text()
    for name, tensor in initialise(short, 0).state_dict().items():
        assert torch.equal(untrained.state_dict()[name], tensor)
        assert torch.equal(model.state_dict()[name], tensor) == (name == "lstm.bias_hh_l0")


@pytest.mark.parametrize("recipe", [dataclasses.replace(RECIPE, epochs=4), MIXED], ids=["counter", "mixed"])
def test_a_stopped_training_leaves_no_network_and_resumes_to_the_same_bits(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is interrupted, or the disk full, it ends as one that never was."""
    whole, folder = contents(train(recipe, 1, tmp_path / "whole")), tmp_path / "run"
    real, steps, sync, calls = training.take_step, list[int](), os.fsync, list[int]()

    def interrupted(*given: Any, t: int, **more: Any) -> object:
        steps.append(t)
        if t in (1, 13) and steps.count(t) == 1:
            raise KeyboardInterrupt
        return real(*given, t=t, **more)

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(training, "take_step", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(recipe, 1, folder, resume=True)
    monkeypatch.setattr(os, "fsync", full)
    with refused():
        train(recipe, 1, folder, resume=True)
    assert CONFIG not in contents(folder)
    train(recipe, 1, folder, resume=True)
    assert steps[:15] == [1, *range(1, 14), 1]
    assert contents(folder) == whole


def test_a_finished_network_is_refused_resumed_or_replaced(tmp_path: Path) -> None:
    """Without a flag nothing is touched; --resume leaves it; --overwrite trains anew."""
    folder = train(TINY, 0, tmp_path / "run")
    before = contents(folder)
    with refused():
        train(TINY, 1, folder)
    train(TINY, 0, folder, resume=True)
    with refused():
        train(TINY, 1, folder, resume=True)
    with refused():
        train(TINY, 1, folder, overwrite=True, resume=True)
    assert contents(folder) == before
    train(TINY, 1, folder, overwrite=True)
    assert load_config(folder)["seed"] == 1


def test_several_seeds_go_into_a_folder_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each as --seed would have, with a line of progress; none where one is taken."""
    few, everything = ["--epochs", "2", "--out", str(tmp_path / "all")], ["--seeds", "4:6"]
    assert command.main(["--seed", "5", *few[:2], "--out", str(tmp_path / "all" / "seed-5")]) == 0
    one = contents(tmp_path / "all" / "seed-5")
    assert command.main([*everything, *few]) == 1
    assert "already holds 'config.json'" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["seed-5"]
    assert command.main([*everything, *few, "--overwrite"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"{tmp_path / 'all'} ")
    assert [line.split(",")[0] for line in err.splitlines()] == ["1 of 2", "2 of 2"]
    assert contents(tmp_path / "all" / "seed-5") == one
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["seed-4", "seed-5"]


def test_workers_are_other_processes_on_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """One result for each call; two threads are slower on small networks, and add in another order."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(parallel(os.getpid, [()])) == [os.getpid()]
    asked = "n, __import__('os').getpid(), __import__('torch').get_num_threads(), __import__('os').environ"
    code = f"(lambda n, pid, threads, env: (n, pid, threads, env['OMP_NUM_THREADS']))({asked})"
    found = sorted(parallel(eval, [(code, {"n": number}) for number in range(4)], jobs=2))
    assert [one[0] for one in found] == list(range(4))
    assert os.getpid() not in {one[1] for one in found}
    assert {one[2:] for one in found} == {(1, "1")}


def test_what_goes_wrong_in_a_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception comes through; a dead worker is named with what to do; fewer than one job is refused."""
    feed: Any = Queue._feed
    before = set(threading.enumerate())
    monkeypatch.setattr(Queue, "_feed", staticmethod(lambda *given: (feed(*given), time.sleep(0.2))))
    with refused():
        list(parallel(os._exit, [(1,), (1,)], jobs=2, again="Go and look."))
    with pytest.raises(ValueError, match="math domain error"):  # the next call has workers again
        list(parallel(math.sqrt, [(1,), (-1,)], jobs=2))
    with refused():
        parallel(abs, [(-1,)], jobs=0)
    assert set(threading.enumerate()) <= before  # ended before loky's last, Python tells of leaked semaphores


def test_a_job_is_done_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that another process holds is refused."""
    job = Job(TINY, 3, tmp_path / "run")
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    with locked(job.folder), refused():
        train_job(job)
    with refused():
        Job(RECIPE, -1, tmp_path)


MANY = ("--seeds", "0:3", "--epochs", "150")
# Ctrl-C as a terminal sends it: a test run started in the background would hand down "ignore".
START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('models.train', run_name='__main__', alter_sys=True)"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of three trainings done one after the other and never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "counter"
    assert command.main([*MANY, "--out", str(folder)]) == 0
    return contents(folder)


def start(folder: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """The command on two workers in a process group of its own, and its workers once two networks are begun."""
    line = [sys.executable, "-c", START, *MANY, "--jobs", "2", "--out", str(folder)]
    process = subprocess.Popen(
        line, cwd=ROOT, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 120
    while len(list(folder.glob("*/.lock"))) < 2:
        assert time.monotonic() < end, "two networks are never begun"
        time.sleep(0.01)
    children = psutil.Process(process.pid).children()
    return process, [child for child in children if "LokyProcess" in " ".join(child.cmdline())]


@pytest.mark.parametrize(
    "killed", ["a worker", "all by Ctrl-C", pytest.param("the parent", marks=pytest.mark.exhaustive)]
)
def test_whoever_is_killed_the_same_command_ends_at_the_same_files(
    killed: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """By SIGKILL, as a system out of memory sends it, or from a terminal: nobody lives on, one line says what to do.

    Workers that went on alone would meet those of the resumed command in one folder.
    """
    process, workers = start(tmp_path / "run")
    assert len(workers) == 2
    if killed == "all by Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        (workers[0] if killed == "a worker" else process).send_signal(signal.SIGKILL)
    out, err = process.communicate()
    lines = [line for line in err.splitlines() if " of 3, counter, seed " not in line]
    code, said = {
        "a worker": (1, "python -m models.train: A worker process died before its work was done"),
        "the parent": (-signal.SIGKILL, ""),
        "all by Ctrl-C": (130, "python -m models.train: Interrupted."),
    }[killed]
    assert (process.returncode, out) == (code, "")
    if said:
        assert len(lines) == 1
        assert lines[0].startswith(said)
        assert "With --resume, and without --overwrite, the same command goes on from here." in lines[0]
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    assert len(list((tmp_path / "run").glob(f"*/{CONFIG}"))) < 3, "finished before the kill: too short"
    assert command.main([*MANY, "--resume", "--out", str(tmp_path / "run")]) == 0
    assert contents(tmp_path / "run") == whole


def test_ctrl_c_after_a_training_has_said_that_it_is_done_changes_nothing(tmp_path: Path) -> None:
    """While Python puts torch away the signal would kill it without a word; what was said is true, and the code is 0.

    The same signal a moment before is told as any other.
    """
    line = [sys.executable, "-c", START, "--epochs", "1", "--out", str(tmp_path / "one")]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, cwd=ROOT, text=True, start_new_session=True, **pipes) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert said.endswith(" s of CPU time\n")
    assert (process.returncode, err) == (0, "") or (process.returncode == 130 and "Interrupted." in err)


STUDY = """
import sys
import torch
import probe
torch.manual_seed(0)
networks = [torch.nn.LSTM(1, 6, batch_first=True) for _ in range(MANY)]
bits = torch.randint(2, (40, 6, 1)).float()
asked = ["gates", "noise-margin", "fixed-points"]
study = probe.Study(networks, bits, {"ones": bits[:, :, 0].cumsum(1)}, questions=asked)
if __name__ == "__main__":
    study.run(sys.argv[1], jobs=2)
"""
STOPPED = {
    "a report": ["-m", "probe.command_line.main", "report", "1.py", "-o"],
    "a study": ["3.py"],
    "a training": ["-m", "models.train", "--seeds", "0:3", "--epochs", "50", "--jobs", "2", "--resume", "--out"],
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", STOPPED)
def test_ctrl_c_at_any_moment_is_heard_and_the_same_command_ends_at_the_same_files(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent to the command and its workers, as a terminal does; told within ten seconds, and nobody lives on.

    A traceback is there before Python has imported the first module of ours, and in a script that is not ours.
    """
    for many in "13":
        (tmp_path / f"{many}.py").write_text(STUDY.replace("MANY", many))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # not "ignore", which would be handed down

    def end(out: str, after: float = 999.0) -> tuple[float, dict[str, bytes]]:
        begin, file, line = time.monotonic(), tmp_path / f"{out}.txt", [sys.executable, *STOPPED[kind], out]
        with file.open("w") as err:
            process = subprocess.Popen(
                line, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=err
            )
        try:
            assert process.wait(after) == 0, file.read_text()
        except subprocess.TimeoutExpired:
            workers = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGINT)
            until = time.monotonic() + 10
            while process.poll() is None and "nterrupt" not in file.read_text():
                assert time.monotonic() < until, "nobody heard it"
                time.sleep(0.01)
            code, told = process.wait(60), file.read_text()
            assert code in (130, -signal.SIGINT) or (after > took / 2 and code == 0), told
            assert "leaked" not in told, told
            last = re.findall(rf'"{ROOT}/((?:probe|models)/.*?)"', told)[-1:]
            alone = not workers and last in ([], ["models/train.py"], ["probe/__init__.py"])
            assert alone or ("_run_module_as_main" if kind == "a study" else "Traceback") not in told, told
            assert psutil.wait_procs(workers, timeout=60)[1] == []
        return time.monotonic() - begin, contents(tmp_path / out)

    took, whole = end("whole")
    draws = random.Random(kind)
    for number in map(str, range(20)):
        end(number, draws.uniform(0, took))
        assert end(number)[1] == whole
    signal.signal(signal.SIGINT, before)
