"""`rnn-probe verify`: checks reports and files that the library wrote against the digests stored in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ProbeError
from ..evidence.findings import FINDING, Finding
from ..loading.load import load
from ..recording.reading import load_recording
from ..recording.recording import DESCRIPTION
from ..storage import tensor_files
from ..storage.damaged import ERRORS
from ..storage.files import as_path
from ..studies import mark, store

_TENSORS = ".safetensors"


@dataclass(frozen=True)
class Verified:
    """One thing that was looked at.

    Attributes:
        path: where it lies.
        kind: `report` (its page, and which findings it has), `measurements`, `recording`, `finding` or `networks`.
        damage: why it cannot be read, or "" where it is as it was written.
    """

    path: str
    kind: str
    damage: str = ""


def verify(path: str | os.PathLike[str]) -> tuple[Verified, ...]:
    """Return everything at or below a path that says its own digest, each read whole."""
    path = as_path(path)
    if not os.path.lexists(path):
        raise ProbeError(
            f"{str(path)!r} does not exist. Give a report, a recording, a finding, or a folder with some of them."
        )
    found = tuple(_verified(kind, at) for kind, at in _below(path))
    if not found:
        raise ProbeError(
            f"{str(path)!r} holds nothing that says its own digest: no recording, no finding, no converted network. "
            "Give a folder with some of them."
        )
    return found


def _below(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield what can be verified, with its kind; what lies inside of it is a part of it, but for a report's."""
    kind = _kind(path)
    if kind:
        yield kind, path
    if kind in ("", "report") and path.is_dir() and not path.is_symlink():
        for below in sorted(path.iterdir()):
            yield from _below(below)


def _kind(path: Path) -> str:
    if path.is_dir():
        if (path / mark.MARK).exists() and any((path / name).exists() for name in mark.WRITTEN):
            return "report"
        return "recording" if (path / DESCRIPTION).exists() else "finding" if (path / FINDING).exists() else ""
    if path.name.endswith(store.SUFFIX) and mark.MEASURED in (one.name for one in path.parents):
        return "measurements"
    if path.suffix != _TENSORS or not path.is_file():
        return ""
    try:
        about = tensor_files.about_of(path)
    except (OSError, ValueError):
        return "networks"
    return "" if about is None else "recording" if "recording" in about else "networks"


def _verified(kind: str, path: Path) -> Verified:
    try:
        if kind == "recording":
            _ = load_recording(path)
        elif kind == "report":
            mark.check(path)
        elif kind == "measurements":
            _ = store.read(path)
        elif kind == "finding":
            _ = Finding.read(path)
        else:
            # With what lies beside them, which is compared with them.
            _ = load(path.parent if path.name == "model.safetensors" else path)
    except (ProbeError, *ERRORS) as error:
        return Verified(str(path), kind, str(error))
    return Verified(str(path), kind)
