"""Reads the wire format of protocol buffers: fields by number, without a schema.

Reference: "Encoding", the protocol buffers' own documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | memoryview


def fields(message: memoryview | bytes) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message in its order: the number, and an integer or the bytes.

    Raises:
        ValueError: it is no message, or ends too early.
    """
    view = memoryview(message)
    at = 0
    while at < len(view):
        key, at = varint(view, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field of number 0")
        value: Value
        if wire == VARINT:
            value, at = varint(view, at)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
            value, at = int.from_bytes(_part(view, at, size), "little"), at + size
        elif wire == BYTES:
            size, at = varint(view, at)
            value, at = _part(view, at, size), at + size
        else:
            raise ValueError(f"a field of the wire type {wire}")
        yield number, value


def varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return the integer of variable length at a place, and the place behind it.

    Raises:
        ValueError: it ends too early, or has more than 64 bits.
    """
    result = shift = 0
    while shift < 64:
        if at >= len(view):
            raise ValueError("the message ends too early")
        byte = view[at]
        result |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("an integer of more than 64 bits")


def signed(value: int) -> int:
    """Return an int64 from its varint."""
    return value - (1 << 64) if value >= 1 << 63 else value


def decoded(value: Value) -> str:
    """Return a string field.

    Raises:
        ValueError: it is none.
    """
    return bytes(message(value)).decode("utf-8")


def message(value: Value) -> memoryview:
    """Return a field's bytes.

    Raises:
        ValueError: it is a number.
    """
    if isinstance(value, int):
        raise ValueError("a number in the place of a message")
    return value


def number(value: Value) -> int:
    """Return a field's integer.

    Raises:
        ValueError: it is a message.
    """
    if not isinstance(value, int):
        raise ValueError("a message in the place of a number")
    return value


def _part(view: memoryview, at: int, size: int) -> memoryview:
    if at + size > len(view):
        raise ValueError("the message ends too early")
    return view[at : at + size]
