"""A folder that one process at a time may work in."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from probe.errors import ProbeError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

#: Seconds to wait for another process: one whose parent was killed lets go within `models.parallel.LOOK_EVERY`.
PATIENCE = 5.0


@contextlib.contextmanager
def locked(folder: Path, doing: str = "training") -> Iterator[None]:
    """Hold a folder, which is made if it is missing; the system lets go when the process ends, however it ends.

    Two processes in one folder would take away each other's half-written files. Where a file system has no locks
    nothing is held.

    Args:
        folder: which.
        doing: what is done in it, for the message to another process.

    Raises:
        ProbeError: the folder cannot be made, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProbeError(
            f"Cannot write {str(folder)!r}: {error.strerror or error}. Give a folder that can be made."
        ) from error
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _hold(handle, folder, doing)
        yield
    finally:
        os.close(handle)


def _hold(handle: int, folder: Path, doing: str) -> None:
    assert fcntl is not None
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise ProbeError(
                    f"Another process is {doing} in {str(folder)!r}. Wait until it is done, or give another folder."
                ) from error
            time.sleep(0.05)
        except OSError:
            return None
