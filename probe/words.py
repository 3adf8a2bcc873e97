"""Writes a count with its noun, such as "1 layer" and "2,000 layers", for messages and pages."""

from __future__ import annotations


def several(count: int, one_of: str, many: str | None = None) -> str:
    """Return a count with its noun: `1 sequence`, `2,000 sequences`.

    Args:
        count: how many.
        one_of: the noun of one.
        many: that of several, where it does not end in one more s.
    """
    return f"{count:,} {one_of if count == 1 else many or one_of + 's'}"
