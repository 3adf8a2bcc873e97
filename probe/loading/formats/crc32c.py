"""Computes CRC-32C, the checksum that TensorFlow stores beside each array.

A checksum is linear, so a long text is cut into pieces that are summed side by side, a byte of each at a time; what a
piece adds to the whole is then its own sum, moved past the bytes behind it.

Reference: Castagnoli, Braeuer & Herrmann 1993; RFC 3720, appendix B.4.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_POLYNOMIAL = 0x82F63B78
_LANES = 4096


@cache
def _table() -> np.ndarray[Any, np.dtype[np.uint32]]:
    import numpy as np

    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


def _apply(matrix: tuple[int, ...], value: int) -> int:
    """Return a matrix over bits, given as 32 columns, times 32 bits."""
    result = 0
    for column in matrix:
        if value & 1:
            result ^= column
        value >>= 1
    return result


def _past(length: int) -> tuple[int, ...]:
    """Return the matrix that moves a sum past some bytes of zeros."""
    step = tuple(_POLYNOMIAL if bit == 0 else 1 << (bit - 1) for bit in range(32))  # one bit
    result = tuple(1 << bit for bit in range(32))
    bits = length * 8
    while bits:
        if bits & 1:
            result = tuple(_apply(step, column) for column in result)
        step = tuple(_apply(step, column) for column in step)
        bits >>= 1
    return result


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    import numpy as np

    table = _table()
    length = len(data) // _LANES
    state = 0xFFFFFFFF
    if length >= 16:
        pieces = np.frombuffer(data, np.uint8, length * _LANES).reshape(_LANES, length).T
        sums = np.zeros(_LANES, np.uint32)
        for row in pieces:
            sums = table[(sums ^ row) & 0xFF] ^ (sums >> np.uint32(8))
        past = _past(length)
        for piece in sums.tolist():
            state = _apply(past, state) ^ piece
        data = data[length * _LANES :]
    small = table.tolist() if len(data) > 64 else table
    for byte in data:
        state = int(small[(state ^ byte) & 0xFF]) ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """Return the sum as TensorFlow stores it, moved so that sums of sums are no trivial ones."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
