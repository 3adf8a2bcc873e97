"""One function over many arguments, here or in worker processes; one process a folder.

The results are the same everywhere: each call stands alone, and sums a small network on one thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
_watched = threading.Event()
#: Who uses joblib's workers, which all threads share.
_at_work: list[object] = []


def parallel(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    *,
    jobs: int = 1,
    again: str = "Run it again.",
) -> Iterator[Result]:
    """Call a function once for each tuple of arguments and yield the results as they come, in any order."""
    if jobs < 1:
        raise ProbeError(f"The number of jobs is {jobs}; give 1 or more.")
    jobs = min(jobs, len(arguments))
    if jobs <= 1:
        return (function(*each) for each in arguments)
    return _in_processes(function, arguments, jobs, again)


def _in_processes(
    function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], jobs: int, again: str
) -> Iterator[Result]:
    from joblib import parallel_config
    from joblib.externals.loky import get_reusable_executor

    mine, done = object(), False
    _at_work.append(mine)
    try:
        with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1), _deaf():
            results = _started(function, arguments)
        yield from results
        done = True
    except BrokenProcessPool as error:
        raise ProbeError(
            "A worker process died before its work was done: killed by hand, or by the system, which does that where "
            f"memory runs out. {again}"
        ) from error
    finally:
        # Joblib keeps its workers for whoever asks next, and with them threads and pipes of this process.
        _at_work.remove(mine)
        if not _at_work:
            theirs: Any = True  # whatever they were asked to be; loky's annotation knows the word "auto" alone
            get_reusable_executor(reuse=theirs).shutdown(wait=True, kill_workers=not done)


def _started(function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """Start the calls in joblib's workers and return their results as they come."""
    from joblib import Parallel, delayed

    calls = [delayed(_call)(function, each, os.getpid()) for each in arguments]
    one: Any = 1  # in larger batches results would come late; joblib's annotation knows the word "auto" alone
    return cast("Iterator[Result]", Parallel(return_as="generator_unordered", batch_size=one)(calls))


def _call(function: Callable[..., Result], arguments: tuple[Any, ...], parent: int) -> Result:
    """Call a function in a worker, on one thread."""
    import torch

    torch.set_num_threads(1)
    if not _watched.is_set():
        _watched.set()
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    return function(*arguments)


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
def _deaf() -> Iterator[None]:
    """Start processes that never hear Ctrl-C: a terminal sends it to all, and the parent alone must answer.

    They inherit that it is blocked; in this thread it waits for the milliseconds in which they start, and then comes.
    """
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as loky_tracker

    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    for tracker in (resource_tracker, loky_tracker):  # starting them would unblock the signal
        tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        _ = signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
