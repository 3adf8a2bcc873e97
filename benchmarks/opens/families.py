"""The families of networks that are tried, and where their rows stand."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from .cases import Case

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "opens.md"


def families() -> list[str]:
    """Return the names of all families: the files `of_NAME.py` beside this one."""
    return sorted(file.stem.removeprefix("of_") for file in Path(__file__).parent.glob("of_*.py"))


def cases_of(family: str) -> tuple[Case, ...]:
    """Return the networks of a family."""
    return import_module(f"{__package__}.of_{family}").CASES
