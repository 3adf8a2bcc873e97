"""Unpacks the one file of weights inside an archive or a compressed file, and reads it.

Nothing of an archive is written outside of that folder, links are not followed, and how much is unpacked is bounded.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import ProbeError
from ..detect import BY_NAME, COMPRESSED, FORMATS, open_path
from ..readers import BOMB_BYTES, BOMB_RATIO, Budget, Contents, check_archive, listed, reading
from .tensor_bundle import SUFFIX

ADVICE = "Unpack it by hand, and give the file of weights."
_PIECE = 1 << 20
#: An archive of more files is none of weights.
MOST_FILES = 10_000
_OPENERS: Mapping[bytes, Any] = dict(zip(COMPRESSED, (gzip.open, bz2.open, lzma.open), strict=True))
#: What a name ends in that says how a file is compressed, or that it is an archive.
_ENDINGS = (".gz", ".bz2", ".xz", ".lzma", ".tgz", ".tbz2", ".txz")


def read(path: Path, budget: Budget) -> Contents:
    """Return what is in the one file of weights inside an archive.

    Raises:
        ProbeError: there is none or are several, the archive is damaged, or unpacks to too much.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        with reading(path, "an archive", ADVICE):
            _unpack(path, folder, budget)
        try:
            return _only(path, folder, budget.memory)
        except ProbeError as error:
            # The folder is gone when it is read.
            raise ProbeError(str(error).replace(str(folder), str(path))) from error


def _unpack(path: Path, folder: Path, budget: Budget) -> None:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, budget)
            _write_all(_zipped(archive), folder, _Room(path, budget.memory))
        return
    tar = path
    opener = next((one for magic, one in _OPENERS.items() if start.startswith(magic)), None)
    if opener is not None:
        inside = path.stem if path.suffix in _ENDINGS else path.name
        tar = folder / f"{inside}.unpacked"
        with opener(path) as stream, tar.open("wb") as written:
            _Room(path, budget.memory).copy(stream, written)
        if not tarfile.is_tarfile(tar):
            _ = tar.rename(folder / inside)
            return
    with tarfile.open(tar, "r:") as archive:
        _write_all(_tarred(archive), folder, _Room(path, budget.memory))
    if tar != path:
        tar.unlink()


class _Room:
    """How much one archive may still unpack to."""

    def __init__(self, path: Path, memory: int) -> None:
        self.path, self.left = path, min(memory, max(BOMB_BYTES, BOMB_RATIO * path.stat().st_size))

    def copy(self, stream: Any, written: Any) -> None:
        """Copy a stream, as far as there is room."""
        while piece := stream.read(_PIECE):
            self.left -= len(piece)
            if self.left < 0:
                raise ProbeError(
                    f"{str(self.path)!r} unpacks to more than an archive of weights does, or than memory=. Unpack it "
                    "by hand if you trust it."
                )
            _ = written.write(piece)


def _zipped(archive: zipfile.ZipFile) -> Iterator[tuple[str, Any]]:
    for info in archive.infolist():
        if not info.is_dir():
            with archive.open(info) as stream:
                yield info.filename, stream


def _tarred(archive: tarfile.TarFile) -> Iterator[tuple[str, Any]]:
    for member in archive:
        # Links and devices are none: `extractfile` would follow a link.
        stream = archive.extractfile(member) if member.isreg() else None
        if stream is not None:
            yield member.name, stream


def _write_all(files: Iterator[tuple[str, Any]], folder: Path, room: _Room) -> None:
    for number, (name, stream) in enumerate(files):
        parts = PurePosixPath(name).parts
        target = folder.joinpath(*parts)
        if number >= MOST_FILES or not parts or ".." in parts or not target.resolve().is_relative_to(folder):
            raise ValueError(f"it holds {name[:60]!r}" if number < MOST_FILES else f"more than {MOST_FILES} files")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as written:
            room.copy(stream, written)


def _only(path: Path, folder: Path, memory: int) -> Contents:
    """Return the contents of the one file or folder of weights below a folder."""
    read_, refused = [], []
    for candidate in _candidates(folder):
        name = str(candidate.relative_to(folder))
        try:
            read_.append((name, open_path(candidate, memory, archives=False)))
        except ProbeError as error:
            refused.append((name, error))
    held = [(name, contents) for name, contents in read_ if contents.tensors]
    if len(held) > 1:
        raise ProbeError(
            f"{str(path)!r} is an archive of several files of weights, {listed(name for name, _ in held)}. "
            "Unpack it, and give one of them."
        )
    if held:
        name, contents = held[0]
        others = dict.fromkeys((other for other, _ in (*refused, *read_) if other != name), "")
        left = {**others, **contents.left_out}
        return replace(contents, format=f"{contents.format}, of {name!r} in an archive", left_out=left)
    likely = [error for name, error in refused if PurePosixPath(name).suffix in BY_NAME or len(refused) == 1]
    if likely:
        raise likely[0]
    names = listed(name for name, _ in (*refused, *read_))
    raise ProbeError(
        f"{str(path)!r} is an archive of {names}, none of which is a file of weights. Unpack it, and give one of: "
        f"{FORMATS}."
    )


def _candidates(folder: Path) -> list[Path]:
    """Return the files below a folder, the largest first, and a folder in the place of what belongs together."""
    files = sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: -file.stat().st_size)
    arrays = [file for file in files if file.suffix == ".npy"]
    if len(arrays) > 1:
        files = [file for file in files if file not in arrays]
        return [folder, *files]
    # The arrays of a checkpoint of TensorFlow are found by its index, and a SavedModel's graph is not read.
    beside = {file.name.removesuffix(SUFFIX) + ".data-" for file in files if file.name.endswith(SUFFIX)}
    return [
        file
        for file in files
        if not file.name.startswith(tuple(beside)) and not (file.name == "saved_model.pb" and beside)
    ]
