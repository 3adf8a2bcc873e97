"""Reads DyNet's text files: a line with a parameter's name and shape, then a line of its numbers.

Reference: DyNet 2.1, dynet/io.cc, `TextFileSaver`.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..readers import MOST_VALUES, Budget, Contents, collect, count, file_bytes, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = "Give a file that DyNet's model.save or dynet.save wrote."
START = (b"#Parameter# ", b"#LookupParameter# ")
_HEADER = re.compile(rb"#(?:Lookup)?Parameter# (\S+) \{(\d+(?:,\d+)*)\} (\d+) (ZERO_GRAD|FULL_GRAD)")


def read(path: Path, budget: Budget) -> Contents:
    """Return the parameters of a file of DyNet, by their names; lookup parameters too, (features, entries)."""
    with reading(path, "a file of DyNet", ADVICE):
        lines = file_bytes(path, budget).split(b"\n")
        if len(lines) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} lines")
        found: list[tuple[str, Any]] = []
        at = 0
        while at < len(lines):
            if not lines[at].strip():
                at += 1
                continue
            match = _HEADER.fullmatch(lines[at].strip())
            if match is None or at + 1 >= len(lines):
                raise ValueError(f"line {at + 1} is no parameter's")
            name = match[1].decode("utf-8")
            kind = "lookup" if lines[at].startswith(START[1]) else ""
            shape = tuple(int(size) for size in match[2].split(b","))
            # Lookups and parameters are numbered apart, so that a name can stand twice.
            found.append((kind + name, _numbers(name, lines[at + 1], shape, budget)))
            at += 3 if match[4] == b"FULL_GRAD" else 2
        tensors, left_out = collect(budget, found)
    return Contents(tensors, "DyNet", "DyNet text file", left_out=left_out)


def _numbers(name: str, line: bytes, shape: tuple[int, ...], budget: Budget) -> np.ndarray:
    import numpy as np

    size = count(shape)
    budget.take(name, 4 * size)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy stops at what is no number, and only warns
        try:
            values = np.fromstring(line, dtype=np.float32, sep=" ")
        except DeprecationWarning as warning:
            raise ValueError(f"{name!r} holds what is no number") from warning
    if values.size != size:
        raise ValueError(f"{name!r} has {values.size} numbers for the shape {shape}")
    return values.reshape(shape, order="F")
