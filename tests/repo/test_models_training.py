"""Training: the seed decides everything, an interrupted run ends at the same bits, bad input is named."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused

from models import train as command
from models import training
from models.checkpoints import load, load_config
from models.describe import errors
from models.recipes import RECIPES, Recipe
from models.training import initialise, split, train

ROOT = Path(__file__).parents[2]
EPOCHS = 160
RECIPE = RECIPES["counter"]
SHORT = dataclasses.replace(RECIPE, epochs=EPOCHS)
TINY = dataclasses.replace(RECIPE, epochs=2)
# Ctrl-C as a terminal sends it: a test run started in the background would hand down "ignore".
START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('models.train', run_name='__main__', alter_sys=True)"
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The programs train on one thread; another count adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short training, never interrupted."""
    torch.set_num_threads(1)
    return train(SHORT, 0, tmp_path_factory.mktemp("trained") / "seed-0")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, except the lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The program in a process of its own, with nothing on its terminal."""
    line = [sys.executable, "-c", START, "--out", str(folder), "--epochs", str(EPOCHS), *options]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    """Return when a file has appeared."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} never appeared"
        time.sleep(0.01)


def test_the_seed_decides_initialisation_and_split() -> None:
    """The same seed gives the same numbers, another seed others, in every random part."""
    for part in ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "head.weight"):
        once, again, other = (initialise(RECIPE, seed).state_dict()[part] for seed in (3, 3, 4))
        assert torch.equal(once, again)
        assert not torch.equal(once, other)
    once, again, other = (split(RECIPE, seed)[0] for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_the_split_covers_all_strings_once_and_is_shuffled() -> None:
    """500 to train on, the other 524 for the test; another hidden size leaves it alone."""
    train_rows, test_rows = split(RECIPE, 0)
    assert (len(train_rows), len(test_rows)) == (500, 524)
    assert sorted([*train_rows.tolist(), *test_rows.tolist()]) == list(range(1024))
    assert train_rows.tolist() != sorted(train_rows.tolist())
    assert torch.equal(split(dataclasses.replace(RECIPE, hidden_size=4), 0)[0], train_rows)


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
    changes: dict[str, float | str] = {
        "hidden_size": 11,
        "length": 9,
        "train_size": 400,
        "batch_size": 50,
        "epochs": 3,
        "learning_rate": 2e-3,
        "beta1": 0.8,
        "beta2": 0.9,
        "epsilon": 1e-3,
        "smallest_probability": 0.2,
        "forget_bias": 0.0,
        "head_bias": 0.0,
        "cell": "gru",
        "question": "template",
        "every_step": True,
        "truncated": True,
        "shorter": 5,
        "zero": -1.0,
        "one": 2.0,
    }
    names = {field.name for field in dataclasses.fields(Recipe)} - {"name"}
    assert set(changes) == names
    plain = (train(TINY, 0, tmp_path / "plain") / "model.safetensors").read_bytes()
    for name, value in changes.items():
        other = train(dataclasses.replace(TINY, **{name: value}), 0, tmp_path / name)  # pyright: ignore[reportArgumentType]
        assert (other / "model.safetensors").read_bytes() != plain, name


def test_training_learns_and_writes_what_it_promises(finished: Path) -> None:
    """Weights, control and description; it errs less than before; no clock and no path in any of them."""
    assert sorted(contents(finished)) == ["config.json", "model.safetensors", "untrained.safetensors"]
    config = load_config(finished)
    assert config["recipe"] == SHORT.to_dict()
    assert (config["seed"], config["steps"]) == (0, SHORT.steps)
    assert config["errors"] == errors(load(finished), SHORT, *split(SHORT, 0))
    before = errors(load(finished, which="untrained"), SHORT, *split(SHORT, 0))
    assert config["errors"]["all"]["error"] < before["all"]["error"]
    assert str(finished.parent) not in (finished / "config.json").read_text()
    untrained = load(finished, which="untrained").state_dict()
    for name, tensor in initialise(SHORT, 0).state_dict().items():
        assert torch.equal(untrained[name], tensor)
        assert torch.equal(load(finished).state_dict()[name], tensor) == (name == "lstm.bias_hh_l0")


def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(finished: Path, tmp_path: Path) -> None:
    """SIGKILL leaves no network; resuming ends at the same weights and description, byte for byte."""
    folder = tmp_path / "run"
    process = start(folder)
    wait_for(folder / ".lock")
    delay = random.uniform(0.05, 0.5)  # any moment must do, so none is fixed
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "config.json").exists(), f"finished within {delay} s: the short recipe is too short"
    train(SHORT, 0, folder, resume=True)
    assert contents(folder) == contents(finished), f"killed {delay} s after the beginning"


def test_ctrl_c_exits_130_and_the_command_resumes(finished: Path, tmp_path: Path) -> None:
    """Ctrl-C says how to go on; a piped run is silent but for the path and size on its last line."""
    folder = tmp_path / "run"
    process = start(folder)
    wait_for(folder / ".lock")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert err == (
        "error: Interrupted. With --resume, and without --overwrite, the same command goes on from here.\n"
    )
    process = start(folder, "--resume")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    size = sum(len(data) for data in contents(folder).values())
    assert out.splitlines()[-1] == f"{folder} {size} bytes"
    assert contents(folder) == contents(finished)


def test_an_interrupt_leaves_no_network(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a run is interrupted, it ends as one that never was."""
    real, steps = training.take_step, list[int]()

    def interrupted(*given: Any, t: int, **more: Any) -> object:
        steps.append(t)
        if t in (1, 300) and steps.count(t) == 1:
            raise KeyboardInterrupt
        return real(*given, t=t, **more)

    monkeypatch.setattr(training, "take_step", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(SHORT, 0, tmp_path / "run", resume=True)
    train(SHORT, 0, tmp_path / "run", resume=True)
    assert steps == [1, *range(1, 301), *range(1, 801)]
    assert contents(tmp_path / "run") == contents(finished)


def test_a_full_disk_leaves_no_network(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is wrong; with space again the run ends at the same bits."""
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with refused():
        train(SHORT, 0, tmp_path / "run")
    assert "config.json" not in contents(tmp_path / "run")
    train(SHORT, 0, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(finished)


def test_a_finished_network_is_refused_resumed_or_replaced(tmp_path: Path) -> None:
    """Without a flag nothing is touched; --resume leaves it; --overwrite trains anew."""
    folder = train(TINY, 0, tmp_path / "run")
    before = contents(folder)
    with refused():
        train(TINY, 1, folder)
    assert contents(folder) == before
    train(TINY, 0, folder, resume=True)
    assert contents(folder) == before
    with refused():
        train(TINY, 1, folder, resume=True)
    train(TINY, 1, folder, overwrite=True)
    assert load_config(folder)["seed"] == 1
    assert contents(folder).keys() == before.keys()
    with refused():
        train(TINY, 1, folder, overwrite=True, resume=True)


def test_an_output_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A file in the place of the folder, or of a folder above it."""
    file = tmp_path / "file"
    file.write_text("mine")
    with refused():
        train(TINY, 0, file, overwrite=True)
    with refused():
        train(TINY, 0, file / "below")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("function", [initialise, split])
def test_a_negative_seed_is_refused(function: object) -> None:
    """The message says which seeds there are."""
    assert callable(function)
    with refused():
        function(RECIPE, -1)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--seed", "-1"], 1, "seed -1 is negative"),
        (["--recipe", "countr"], 1, "no recipe 'countr'; there is 'counter', 'every-step',"),
        (["--epochs", "0"], 1, "epochs = 0; it must be at least 1"),
        (["--seed", "1", "--seeds", "0:2"], 2, "--seed or --seeds, not both"),
        (["--seeds", "3"], 2, "--seeds is '3'; give a range such as 0:10"),
        (["--seeds", "2:2"], 2, "give a range such as 0:10"),
        (["--seeds", "0:99999999999999999999"], 2, "which means 0 to 9, of 100000 at most"),
        (["--resume", "--overwrite"], 2, "--resume or --overwrite, not both"),
        (["--seed", "one"], 2, "Invalid value for --seed: 'one' is no whole number; give one such as 3."),
        (["--epochs", "1.5"], 2, "Invalid value for --epochs: '1.5' is no whole number; give one such as 3."),
        (["--jobs", "0"], 2, "--jobs is 0; give 1 or more"),
        (["--sed", "1"], 2, "--sed"),
    ],
)
def test_the_command_says_what_is_wrong(
    options: list[str], code: int, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage exits 2, what cannot be done exits 1; nothing is written in either case."""
    assert command.main(["--out", str(tmp_path / "run"), *options]) == code
    out, err = capfd.readouterr()
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_empty_output_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty --out, which a script's unset variable gives, would mean the current folder."""
    monkeypatch.chdir(tmp_path)
    assert command.main(["--out", ""]) == 2
    assert "give the network a folder of its own" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_several_seeds_go_into_a_folder_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--seeds 4:6 trains 4 and 5, each as --seed would have."""
    assert command.main(["--seeds", "4:6", "--epochs", "2", "--out", str(tmp_path / "all")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{tmp_path / 'all'} ")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["seed-4", "seed-5"]
    assert command.main(["--seed", "5", "--epochs", "2", "--out", str(tmp_path / "one")]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "all" / "seed-5")
    assert command.main(["--seeds", "4:6", "--epochs", "2", "--out", str(tmp_path / "all")]) == 1
