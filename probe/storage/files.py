"""Writes a file or a folder whole or not at all, also if the process is killed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ProbeError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

#: What the names of unfinished files and folders end in, which begin with a dot and the name that they will have.
_UNFINISHED = ".rnn-probe-unfinished"
#: What is said where a path, or that of a folder above it, is another thing's, which may have come meanwhile.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR)


def as_path(given: Any, what: str = "The path") -> Path:
    """Return what somebody gave as a path."""
    named = given.__fspath__() if isinstance(given, os.PathLike) else given
    if not isinstance(named, str):
        raise ProbeError(f"{what} {str(given)[:80]!r} is a {type(given).__name__}; give a text or a pathlib.Path.")
    if not named or "\0" in named:
        raise ProbeError(f"{what} {named[:80]!r} is the path of nothing. Give the path of a file or a folder.")
    return Path(given)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a regular file: of a pipe or device nobody knows whether it ever ends."""
    check_regular(path)
    return path.read_bytes()


def check_regular(path: Path) -> None:
    """Raise OSError where a path is that of no regular file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, f"{path.name!r} is no regular file")


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file under a temporary name in the same folder, then rename it into place.

    Without the rename, a full disk or a kill in mid-write would leave a truncated file where a good one was. What a
    killed process left of the same file is removed.

    Returns:
        The path written.
    """
    path = as_path(path)
    # Names of files may hold what no UTF-8 has.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with unfinished(path) as temporary:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only the owner can read; a result is an ordinary file.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    return path


@contextmanager
def unfinished(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Give a file or folder beside a path to write, which is to be renamed to it; otherwise it is removed at the end.

    It is held by a lock, which the system lets go when the process ends, however it ends: what nobody holds was left
    by a killed process, and is removed first.
    """
    temporary: Path | None = None
    handle = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        temporary, handle = _made(path, folder=folder)
        yield temporary
    except OSError as error:
        room = "Give a path in a folder that can be written and has space left."
        advice = "Something else has that path; give another one." if error.errno in _TAKEN else room
        raise ProbeError(f"Cannot write {str(path)!r}: {error.strerror or error}. {advice}") from error
    finally:
        if temporary is not None:
            _remove(temporary)
        if handle >= 0:
            os.close(handle)


def remove(path: Path) -> None:
    """Remove a file where there is one."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ProbeError(f"Cannot remove {str(path)!r}: {error.strerror or error}. Give another path.") from error


def is_unfinished(path: Path) -> bool:
    """Return whether a path is that of something unfinished."""
    return path.name.startswith(".") and path.name.endswith(_UNFINISHED)


def _made(path: Path, *, folder: bool) -> tuple[Path, int]:
    """Return a new file or folder, and the handle that holds it, or -1 where nothing can be held."""
    while True:
        if folder:
            made = tempfile.mkdtemp(suffix=_UNFINISHED, prefix=f".{path.name}.", dir=path.parent)
        else:
            handle, made = tempfile.mkstemp(suffix=_UNFINISHED, prefix=f".{path.name}.", dir=path.parent)
            os.close(handle)
        if fcntl is None:
            # There a file that is open cannot be renamed.
            return Path(made), -1
        try:
            handle = os.open(made, os.O_RDONLY)
        except FileNotFoundError:
            continue
        _ = _hold(handle)
        # Another process may have taken it for one that nobody holds, before this one did.
        if os.path.exists(made):
            return Path(made), handle
        os.close(handle)


def _hold(handle: int) -> bool:
    """Lock what a handle is of; False where another process holds it, or where a file system has no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_left(path: Path) -> None:
    """Remove what killed processes left of a path."""
    if fcntl is None:
        return
    try:
        names = os.listdir(path.parent)
    except OSError:  # a folder that can be written and not be read
        return
    mine = re.compile(rf"\.{re.escape(path.name)}\.[^.]+{re.escape(_UNFINISHED)}")
    for left in (path.with_name(name) for name in names if mine.fullmatch(name)):
        try:
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # somebody else's, or a link
            continue
        try:
            if _hold(handle):
                _remove(left)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
