"""Draws a signal of one row as a small picture for a notebook: units down, steps across."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from ..colours import MEANINGS, VALUE, parts
from ..errors import several

#: How many units and steps a picture shows; so many it takes at most 2 kB.
UNITS, STEPS = 32, 64
#: Shades on either side of 0.
_SHADES = 15
_NEGATIVE, _POSITIVE = parts(MEANINGS[VALUE][0]), parts(MEANINGS[VALUE][-1])


@dataclass(frozen=True)
class Map:
    """A picture of a signal.

    Attributes:
        source: the PNG as a `data:` address, a pixel a value.
        alt: what it shows, in words and numbers.
        width: how wide it is shown, in CSS pixels; whole pixels a step.
        height: how tall it is shown; whole pixels a unit.
    """

    source: str
    alt: str
    width: int
    height: int


def draw_map(values: np.ndarray) -> Map | None:
    """Return the picture of one row's values, or None where there are none.

    Teal is below 0 and gold above; the largest magnitude has the full colour. What is no number is see-through.

    Args:
        values: (step, unit); the first 64 steps and 32 units are drawn.
    """
    drawn = np.asarray(values[:STEPS, :UNITS], dtype=np.float64).T
    numbers = drawn[np.isfinite(drawn)]
    if not numbers.size:
        return None
    largest = float(np.abs(numbers).max()) or 1.0
    # Infinite values take the full colour, and missing ones none.
    share = np.nan_to_num(np.clip(drawn / largest, -1, 1), nan=0.0)
    shades = (np.rint(share * _SHADES).astype(int) + _SHADES).astype(np.uint8)
    units, steps = shades.shape
    alt = f"{several(units, 'unit')} by {several(steps, 'step')}: from {numbers.min():.3g} to {numbers.max():.3g}"
    return Map(_png(shades), alt, steps * min(max(256 // steps, 1), 24), units * min(max(72 // units, 2), 8))


def _png(shades: np.ndarray) -> str:
    """Return indices into the palette of shades as a PNG in a `data:` address."""
    rows = b"".join(b"\0" + row.tobytes() for row in shades)
    colours = [_NEGATIVE if shade < _SHADES else _POSITIVE for shade in range(2 * _SHADES + 1)]
    opacity = [round(255 * abs(shade - _SHADES) / _SHADES) for shade in range(2 * _SHADES + 1)]
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", shades.shape[1], shades.shape[0], 8, 3, 0, 0, 0),
        b"PLTE": bytes(part for colour in colours for part in colour),
        b"tRNS": bytes(opacity),
        b"IDAT": zlib.compress(rows, 9),
        b"IEND": b"",
    }
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()
