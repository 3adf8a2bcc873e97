"""What atomic writing promises: the old file or the new one, never half of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from probe import ProbeError
from probe.storage.files import write_atomically


def test_text_and_bytes_are_written(tmp_path: Path) -> None:
    """Text is UTF-8 with plain line ends, missing folders are made, and the path comes back."""
    path = write_atomically(tmp_path / "a" / "b.txt", "ä\n")
    assert path == tmp_path / "a" / "b.txt"
    assert path.read_bytes() == b"\xc3\xa4\n"
    assert write_atomically(str(path), b"\x00\x01").read_bytes() == b"\x00\x01"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fails in mid-write, the old content stays, nothing else is left, and the reason is told."""
    path = write_atomically(tmp_path / "a.txt", "old")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ProbeError, match=r"Cannot write '.*a\.txt': No space left on device\..*space left"):
        _ = write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_the_content_is_on_the_disk_before_the_name_points_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync comes before the rename: the other order leaves an empty file after a power cut."""
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths)))
    _ = write_atomically(tmp_path / "a.txt", "new")
    assert order == ["fsync", "replace"]


def test_a_folder_that_cannot_exist_is_refused(tmp_path: Path) -> None:
    """A path below a file raises ProbeError, not a bare OSError."""
    (tmp_path / "file").touch()
    with pytest.raises(ProbeError, match="Cannot write"):
        _ = write_atomically(tmp_path / "file" / "a.txt", "new")


def test_others_may_read_the_file(tmp_path: Path) -> None:
    """Results get an ordinary file's mode, as the umask says, not the private mode of a temporary one."""
    previous = os.umask(0o022)
    try:
        path = write_atomically(tmp_path / "a.txt", "new")
        assert path.stat().st_mode & 0o777 == 0o644
        assert os.umask(0o022) == 0o022
    finally:
        _ = os.umask(previous)
