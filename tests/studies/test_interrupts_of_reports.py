"""Ctrl-C at any moment of a report ends it, also where Python drops the exception that it raises."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from studied import STUDY, planted, written

from probe.command_line import main
from probe.questions.states import gate_activity
from probe.studies import store, workers
from probe.studies.interrupts import noted, raise_dropped
from probe.studies.workers import parallel

FEW = 'questions = ["gates", "answers"]\n' + STUDY
INTERRUPTED = 130


class Dropping:
    """Something whose end is called by Python, which drops what is raised there."""

    def __init__(self, *, weakly: bool = False) -> None:
        _ = weakref.finalize(self, self.press) if weakly else None
        self.weakly = weakly

    @staticmethod
    def press() -> None:
        """Press Ctrl-C."""
        os.kill(os.getpid(), signal.SIGINT)

    def __del__(self) -> None:
        """Press Ctrl-C."""
        if not self.weakly:
            self.press()


@pytest.fixture(autouse=True)
def _own_handler() -> Any:
    """Give the test Python's handler, and take it away again."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    _ = signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the interrupt that Python dropped
@pytest.mark.parametrize("weakly", [True, False])
@pytest.mark.parametrize("several", [False, True])
def test_an_interrupt_that_python_drops_is_found_before_the_next_question(
    weakly: bool, several: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a destructor and in a finalizer, of one network and of many; what was answered before it stays."""
    dropped, measure = list[Dropping | None](), gate_activity.measure

    def dropping(*arguments: Any, **more: Any) -> Any:
        if not dropped:
            dropped.append(Dropping(weakly=weakly))
            dropped[0] = None
        return measure(*arguments, **more)

    monkeypatch.setattr(gate_activity, "measure", dropping)
    path = written(tmp_path, FEW.replace('"weights.safetensors"', '"w*.safetensors"'))
    if several:
        other: Any = planted()
        with torch.no_grad():
            other.weight_ih_l0 *= 1.01
        save_file(load_file(tmp_path / "weights.safetensors") | other.state_dict(), tmp_path / "w2.safetensors")
    assert main.run(["report", str(path), "-o", str(tmp_path / "report")]) == INTERRUPTED
    assert dropped == [None]
    assert capsys.readouterr().err.endswith("rnn-probe: interrupted\n")
    assert not (tmp_path / "report" / "index.html").exists()
    parts = (tmp_path / "report" / "measured").rglob(f"*{store.SUFFIX}")
    assert {name for part in parts for each in store.read(part).values() for name in each.tables} == {"gates"}


def test_an_interrupt_that_is_turned_into_another_error_is_one() -> None:
    """An import that it ends may say that the module is broken."""

    @noted()
    def broken() -> None:
        try:
            Dropping.press()
        except KeyboardInterrupt as error:
            raise ImportError("no such module") from error

    with pytest.raises(KeyboardInterrupt):
        broken()
    raise_dropped()  # nothing is left of it
    with pytest.raises(ImportError), noted():
        raise ImportError("no such module")


def test_whoever_ignores_interrupts_goes_on_to_do_so() -> None:
    """As `nohup` does, and a process that a script starts in the background; other handlers are called."""
    _ = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noted():
        Dropping.press()
    heard = list[int]()
    _ = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    with pytest.raises(KeyboardInterrupt), noted():
        Dropping.press()
    assert heard == [signal.SIGINT]


def mask_of(_: int) -> bool:
    """Return whether a worker would hear Ctrl-C."""
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_interrupt_while_workers_start_comes_when_they_have() -> None:
    """They never hear it themselves, and the parent loses none."""
    assert list(parallel(mask_of, [(0,), (1,)], jobs=2)) == [False, False]
    done = list[str]()

    @workers._deaf()
    def started() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # no other thread, of pytest say, hears it first
        done.append("all")

    with pytest.raises(KeyboardInterrupt):
        started()
    assert done == ["all"]


def pressed_after(seconds: float, words: list[str]) -> str:
    """Run a command, press Ctrl-C after a while, and say whether that was heard, came late, or was lost."""

    def press() -> None:
        time.sleep(seconds)
        Dropping.press()

    thread = threading.Thread(target=press)
    try:
        thread.start()
        code = main.run(words)
        thread.join()
        time.sleep(0.001)
    except KeyboardInterrupt:
        thread.join()
        return "late"
    return "heard" if code == INTERRUPTED else f"lost ({code})"


def of_many_moments(folder: Path, count: int) -> Counter[str]:
    """Return what became of interrupts at random moments of a report, which takes about two seconds."""
    path, found = written(folder, FEW), Counter[str]()
    begin = time.perf_counter()
    assert main.run(["report", str(path), "-o", str(folder / "report")]) == 0
    shutil.rmtree(folder / "report")
    begin = time.perf_counter()
    assert main.run(["report", str(path), "-o", str(folder / "report")]) == 0
    took, rng = time.perf_counter() - begin, np.random.default_rng(0)
    for _ in range(count):
        shutil.rmtree(folder / "report")
        found[pressed_after(float(rng.uniform(0, took)), ["report", str(path), "-o", str(folder / "report")])] += 1
        assert torch.get_default_dtype() == torch.float32
        (folder / "report").mkdir(exist_ok=True)
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # interrupts that Python dropped
@pytest.mark.parametrize("count", [12, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_no_interrupt_of_a_report_is_lost(count: int, tmp_path: Path) -> None:
    """At whatever moment it comes: it ends the report, or the report had ended before it."""
    found = of_many_moments(tmp_path, count)
    assert sum(found.values()) == count
    assert set(found) <= {"heard", "late"}, found
    assert found["heard"] > count / 2
