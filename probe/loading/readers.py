"""What every reader of a file shares: a memory limit, one kind of error, arrays as tensors."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ProbeError
from ..storage.damaged import ERRORS
from ..storage.files import check_regular

if TYPE_CHECKING:
    import numpy as np

#: An archive that unpacks to more than this is refused if it also unpacks to more than so many times its size.
BOMB_BYTES, BOMB_RATIO = 50_000_000, 50
#: How often an array lies in memory at the same time at most: as it was read, in torch's order, and in its module.
COPIES = 3
#: So many values, one inside another or beside each other, a file may hold.
MOST_VALUES, DEEPEST = 200_000, 50
#: The record at the end of a zip archive, and the count in it that stands for more.
_END_BYTES, _MANY = 22, 0xFFFF
_MOST_AXES = 64
#: What a list of Python's numbers is called, which is an array only where its name says so.
LIST = "a list of Python's numbers"
#: So many names a message lists.
SHOWN = 8


@dataclass
class Budget:
    """How much memory reading a file may take at its peak.

    Attributes:
        path: the file, for messages.
        memory: the most bytes.
        taken: bytes of what was read, each as often as it may lie in memory at the same time.
        held: bytes of the arrays, each once.
        stored: bytes of the files that they were read from.
    """

    path: Path
    memory: int
    taken: int = 0
    held: int = 0
    stored: int = 0

    def __post_init__(self) -> None:
        if not self.stored and self.path.is_file():
            self.stored = self.path.stat().st_size

    def take(self, name: str, size: int, *, copies: int = COPIES) -> None:
        """Count what is read before it is.

        Args:
            name: of it, for the message.
            size: in bytes.
            copies: how often it may lie in memory at the same time.

        Raises:
            ProbeError: it is negative in size, too large together with what came before it, or much larger than the
                files that it comes from.
        """
        self.held += size
        self.taken += copies * size
        self.check(name, size)
        if self.held > BOMB_BYTES and self.held > BOMB_RATIO * self.stored:
            raise ProbeError(
                f"{str(self.path)!r} holds {self.stored:,} bytes and claims arrays of {self.held:,} (at {name!r}), "
                "more than a file of weights does. Write the arrays out, or leave them out of the file."
            )

    def check(self, name: str, size: int) -> None:
        """Raise ProbeError where there is no room for so many bytes, or none for what was taken."""
        if size < 0 or max(size, self.taken) > self.memory:
            raise ProbeError(
                f"{str(self.path)!r} needs more than {self.memory:,} bytes (at {name!r}, which takes {size:,}; read, "
                f"put into another order and into a module, numbers lie in memory {COPIES} times). If the file is "
                "meant to be that large, give memory=, the most bytes that loading it may take."
            )


@dataclass(frozen=True, eq=False)
class Contents:
    """What is in a file, whatever its format.

    Attributes:
        tensors: every array by its name in the file.
        framework: who wrote it, such as `PyTorch`; `unknown` for numpy's files.
        format: what the file is, such as `TensorFlow checkpoint`.
        description: what the file itself says about its layers, for the layouts that read it; or None.
        left_out: what was not read, by name: what it holds, where it is an array of what torch has no numbers for;
            "" of what is no array.
        version: the framework's version, where the file says it.
    """

    tensors: dict[str, Tensor]
    framework: str
    format: str
    description: Any = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


@contextmanager
def reading(path: Path, kind: str, advice: str) -> Iterator[None]:
    """Turn what a library raises on a damaged file into the library's own error.

    Args:
        path: the file.
        kind: what it is read as, such as `safetensors`.
        advice: what to do, a sentence.
    """
    try:
        yield
    except ERRORS as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ProbeError(f"{str(path)!r} cannot be read as {kind} ({reason}). {advice}") from error


def tensor_of(array: np.ndarray) -> Tensor | None:
    """Return a numpy array as a tensor with memory of its own, or None where torch has no such numbers."""
    import numpy as np

    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        return None
    flags = array.flags
    if flags.owndata and flags.writeable and flags.c_contiguous and array.dtype.isnative:
        return torch.from_numpy(array)
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(native)


def collect(budget: Budget, arrays: Iterable[tuple[str, Any]]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return named numpy arrays as tensors, and what the others hold, for which torch has no numbers.

    Args:
        budget: of the file, for messages.
        arrays: by name, each an array, or a text that says what it holds.

    Raises:
        ProbeError: two have one name.
    """
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for name, array in arrays:
        if name in tensors or name in left_out:
            raise ProbeError(f"{str(budget.path)!r} holds two arrays of the name {name!r}. The file is damaged.")
        tensor = None if isinstance(array, str) else tensor_of(array)
        if tensor is None:
            left_out[name] = array if isinstance(array, str) else no_numbers(array.dtype)
        else:
            tensors[name] = tensor
    return tensors, left_out


def is_list(value: Any) -> bool:
    """Return whether a value is a list of Python's numbers, or of such lists."""
    # Not deeper than any array: a list may hold itself.
    for _ in range(_MOST_AXES):
        if not isinstance(value, (list, tuple)) or not value:
            return False
        value = value[0]
        if isinstance(value, (bool, int, float)):
            return True
    return False


def no_numbers(dtype: np.dtype[Any]) -> str:
    """Return in words what an array holds whose dtype is none of torch's."""
    kinds = {"O": "Python's objects", "U": "text", "S": "text", "V": f"raw bytes ({dtype.str}, as of a bfloat16)"}
    return kinds.get(dtype.kind, f"numbers of the kind {dtype.name}")


@dataclass
class _Flattening:
    leaf: type
    inside: tuple[type, ...]
    found: dict[str, Any] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    seen: int = 0

    def visit(self, value: Any, name: str, depth: int) -> None:
        self.seen += 1
        # Lists that hold one list many times, deep down, are small in a file and endless to walk through.
        if self.seen > MOST_VALUES or depth > DEEPEST:
            raise ValueError(f"more than {MOST_VALUES} values, or values more than {DEEPEST} deep")
        if isinstance(value, self.leaf):
            self.found[name] = value
        elif not isinstance(value, self.inside) or is_list(value):
            self.other[name] = LIST if is_list(value) else ""
        elif isinstance(value, dict):
            for key, below in value.items():
                self.visit(below, f"{name}.{key}" if name else str(key), depth + 1)
        else:
            for number, below in enumerate(value):
                self.visit(below, f"{name}.{number}" if name else str(number), depth + 1)


def flatten(
    value: Any, leaf: type, inside: tuple[type, ...] = (dict, list, tuple)
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what of one type lies in dicts, lists and tuples, by dotted names; and of all else what it is, or "".

    Raises:
        ValueError: there are too many values, or they lie too deep.
    """
    walk = _Flattening(leaf, inside)
    walk.visit(value, "", 0)
    return walk.found, walk.other


def check_archive(archive: zipfile.ZipFile, budget: Budget) -> None:
    """Raise an error where a zip archive unpacks to too much, or where a checksum or a name of a file in it is wrong.

    Raises:
        ProbeError: it unpacks to too much; nothing was unpacked to find out.
        ValueError, zipfile.BadZipFile: it is damaged; `reading` turns them into a ProbeError.
    """
    files = archive.infolist()
    size, packed = sum(info.file_size for info in files), sum(info.compress_size for info in files)
    if size > budget.memory or (size > BOMB_BYTES and size > BOMB_RATIO * max(packed, 1)):
        raise ProbeError(
            f"{str(budget.path)!r} is an archive of {packed:,} bytes that unpacks to {size:,}, more than an archive "
            f"of weights does. Unpack it by hand if you trust it; memory= is {budget.memory:,} bytes."
        )
    counted = _counted(archive)
    if counted is not None and counted != len(files):
        raise ValueError(f"it lists {len(files)} of the {counted} files that it has")
    # torch does not look at checksums, and of a file that nobody asks for nobody sees that its name was changed: a
    # network without its biases would be left.
    damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum or the name of {damaged!r} is wrong")


def _counted(archive: zipfile.ZipFile) -> int | None:
    """Return how many files an archive says that it has, at its very end; None of one with 65,535 or more."""
    if archive.fp is None:
        return None
    _ = archive.fp.seek(-_END_BYTES - len(archive.comment), 2)
    counted = int.from_bytes(archive.fp.read(_END_BYTES)[10:12], "little")
    return None if counted == _MANY else counted


def file_bytes(path: Path, budget: Budget) -> bytes:
    """Return the bytes of a file that is not too large."""
    check_regular(path)
    size = path.stat().st_size
    budget.stored += size if path != budget.path else 0
    budget.take(path.name, size, copies=1)
    return path.read_bytes()


def count(shape: Iterable[int]) -> int:
    """Return how many numbers an array of a shape has.

    Raises:
        ValueError: a size is negative.
    """
    sizes = list(shape)
    if any(size < 0 for size in sizes):
        raise ValueError(f"a shape of {sizes}")
    return math.prod(sizes)


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """Return the first names in quotes, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return (", ".join(map(repr, every[:shown])) or "nothing") + more
