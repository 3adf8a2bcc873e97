"""One function over many arguments, here or in worker processes; one process a folder.

The results are the same everywhere: each call stands alone, and sums a small network on one thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import FileLock, Timeout

from ..errors import ProbeError

Result = TypeVar("Result")
#: Seconds between two looks of a worker at whether its parent lives.
LOOK_EVERY = 0.2
#: Seconds to wait for another process: one whose parent was killed lets go within `LOOK_EVERY`.
PATIENCE = 5.0
#: What tells the libraries of a worker how many threads to start.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def check_jobs(jobs: Any) -> None:
    """Raise ProbeError unless a number of jobs is a whole number from 1."""
    if type(jobs) is not int or jobs < 1:
        raise ProbeError(f"The number of jobs is {jobs!r}; give a whole number, 1 or more.")


def parallel(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    *,
    jobs: int = 1,
    again: str = "Run it again.",
) -> Generator[Result, None, None]:
    """Call a function once for each tuple of arguments and yield the results as they come, in any order."""
    check_jobs(jobs)
    jobs = min(jobs, len(arguments))
    if jobs <= 1:
        return (function(*each) for each in arguments)
    return _in_processes(function, arguments, jobs, again)


def _in_processes(
    function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], jobs: int, again: str
) -> Generator[Result, None, None]:
    from joblib.externals.loky import ProcessPoolExecutor, as_completed

    before = set(threading.enumerate())
    pool = ProcessPoolExecutor(jobs, initializer=_begin, initargs=(os.getpid(),), env=dict.fromkeys(THREADS, "1"))
    done = False
    try:
        with _unheard():
            calls = [pool.submit(function, *each) for each in arguments]
        for call in as_completed(calls):
            yield call.result()
        done = True
    except BrokenProcessPool as error:
        raise ProbeError(
            "A worker process died before its work was done: killed by hand, or by the system, which does that where "
            f"memory runs out. {again}"
        ) from error
    finally:
        # loky does not wait for the thread that feeds the workers, which would write on where nobody reads. It lets
        # go of semaphores last, and where Python ends before, they are told as leaked on stderr.
        with _unheard():
            if not done:
                with contextlib.suppress(AttributeError):
                    cast("Any", pool)._call_queue._reader.close()
            pool.shutdown(wait=True, kill_workers=not done)
            for thread in set(threading.enumerate()) - before:
                if thread.name == "QueueFeederThread":
                    thread.join(PATIENCE)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Hear Ctrl-C only afterwards. Processes that begin meanwhile never hear it: they would end with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as of_loky

    # Where these two begin with the first worker, they let signals through.
    resource_tracker.ensure_running()
    of_loky.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        _ = signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent: int) -> None:
    """Let a worker compute on one thread, and end with its parent, which alone answers Ctrl-C."""
    _ = signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    """End this process when its parent is gone: it would go on, and meet the work of whoever resumes."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os._exit(1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as workers do, and leave the numbers of threads as they were."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def locked(folder: Path, doing: str = "training") -> Iterator[None]:
    """Hold a folder, which is made if it is missing; the system lets go when the process ends, however it ends.

    Two processes in one folder would take away each other's half-written files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock").acquire(timeout=PATIENCE)
    except Timeout as error:
        raise ProbeError(
            f"Another process is {doing} in {str(folder)!r}. Wait until it is done, or give another folder."
        ) from error
    except OSError as error:
        raise ProbeError(
            f"Cannot write {str(folder)!r}: {error.strerror or error}. Give a folder that can be written."
        ) from error
    with held:
        yield
