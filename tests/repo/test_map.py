"""docs/map.md lists the modules as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import map as benchmark


def test_the_committed_map_is_what_make_map_writes() -> None:
    """A module that was added, moved or described anew is on the page; otherwise `make map` writes it again."""
    assert (benchmark.ROOT / benchmark.PAGE).read_text() == benchmark.page(), "run `make map`"


def test_a_module_that_says_nothing_is_refused(tmp_path: Path) -> None:
    """The control arm: the page has a line for each module, and a module without a docstring is an error."""
    (tmp_path / "room").mkdir()
    (tmp_path / "room/__init__.py").write_text('"""A room."""\n')
    (tmp_path / "room/file.py").write_text('"""Reads a | b.\n\nMore.\n"""\n')
    sections = list(benchmark.room(tmp_path / "room", tmp_path))
    assert sections == [
        "## room\n\nA room.\n",
        "| module | what it does |\n|---|---|\n| `file.py` | Reads a \\| b. |\n",
    ]
    (tmp_path / "room/file.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"file\.py has no docstring"):
        list(benchmark.room(tmp_path / "room", tmp_path))


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    """The control arm: a file that the page names first must exist."""
    with pytest.raises(ValueError, match=r"names files that are gone: probe/hooks/record\.py"):
        benchmark.page(tmp_path)
