"""Reads what Flax's `serialization.to_bytes` wrote: nested maps of arrays, in msgpack.

Reference: flax/serialization.py: an array is the extension 1 with shape, dtype's name and bytes; a large one is a map
of chunks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import require
from ..readers import MOST_VALUES, Budget, Contents, collect, count, file_bytes, flatten, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = "Give a file of flax.serialization.to_bytes, or save the parameters as safetensors."
_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"
_KINDS = "fiub"


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a file of Flax by their dotted names.

    Raises:
        ProbeError: msgpack is not installed, or the file is damaged or of another kind.
    """
    require(f"{str(path)!r} is a file of Flax: reading it", "flax", "msgpack")
    import msgpack

    content = file_bytes(path, budget)
    with reading(path, "a file of Flax", ADVICE):
        try:
            limits: dict[str, Any] = {"max_array_len": MOST_VALUES, "max_map_len": MOST_VALUES}
            value = msgpack.unpackb(content, ext_hook=_extension, strict_map_key=False, **limits)
        except (msgpack.UnpackException, RecursionError) as error:
            raise ValueError(str(error) or type(error).__name__) from error
        arrays, other = flatten(_whole(value), Packed, (dict, list))
        tensors, left_out = collect(budget, ((name, one.get(name, budget)) for name, one in arrays.items()))
    return Contents(tensors, "Flax", "Flax msgpack", left_out=left_out | other)


class Packed:
    """An array as the file has it: shape, dtype's name, pieces of bytes."""

    def __init__(self, shape: Any, dtype: Any, pieces: list[bytes]) -> None:
        self.shape, self.dtype, self.pieces = shape, dtype, pieces

    def get(self, name: str, budget: Budget) -> np.ndarray:
        """Return numpy's array; bfloat16 as float32, which holds the same numbers.

        Raises:
            ValueError: the parts do not make one.
        """
        import numpy as np

        data = b"".join(self.pieces)
        half = self.dtype == "bfloat16"
        dtype = np.dtype("<u2" if half else str(self.dtype))
        if not isinstance(self.shape, (list, tuple)) or any(not isinstance(size, int) for size in self.shape):
            raise ValueError(f"{name!r} has the shape {str(self.shape)[:40]}")
        if dtype.kind not in _KINDS or count(self.shape) * dtype.itemsize != len(data):
            raise ValueError(f"{name!r} has {len(data)} bytes for an array of shape {self.shape} of {self.dtype}")
        budget.take(name, len(data) * (2 if half else 1))
        array = np.frombuffer(data, dtype.newbyteorder("<")).reshape(self.shape)
        return (array.astype("<u4") << 16).view("<f4") if half else array


def _extension(code: int, data: bytes) -> Any:
    import msgpack

    if code not in (_ARRAY, _SCALAR):
        return None
    shape, dtype, content = msgpack.unpackb(data, max_array_len=1000, max_map_len=0)
    if not isinstance(content, bytes):
        raise ValueError("an array without bytes")
    return Packed(shape, dtype, [content])


def _whole(value: Any) -> Any:
    """Return a value in which arrays that lie in chunks are put together."""
    if not isinstance(value, dict):
        return value
    if _CHUNKED in value:
        chunks, shape = _tuple(value["chunks"]), _tuple(value["shape"])
        if not chunks or any(not isinstance(chunk, Packed) or chunk.dtype != chunks[0].dtype for chunk in chunks):
            raise ValueError("an array in chunks that are none of it")
        return Packed(shape, chunks[0].dtype, [piece for chunk in chunks for piece in chunk.pieces])
    return {key: _whole(below) for key, below in value.items()}


def _tuple(value: Any) -> list[Any]:
    return [value[str(number)] for number in range(len(value))]
