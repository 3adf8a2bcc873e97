"""One deliberate defect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A deliberate defect, and who must notice it.

    Attributes:
        name: what goes wrong.
        file: the file that is changed.
        old: text that occurs in it exactly once.
        new: what stands there instead.
        tests: files of tests/wheel expected to fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def mutations_of(file: str, test: str, *changes: tuple[str, str, str]) -> tuple[Mutation, ...]:
    """Return mutations (name, old, new) of one file that one file of tests must notice."""
    return tuple(Mutation(name, file, old, new, (test,)) for name, old, new in changes)
