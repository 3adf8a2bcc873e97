"""`record(out=...)`: records a batch larger than memory, a few rows at a time, straight to disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError
from ..recording.reading import opened
from ..recording.recording import Recording, describe, tensor_names, write_description
from ..recurrent.rows.batches import Batch, DependentRowsError, grown_axis, on_other_rows
from ..recurrent.rows.independence import check_independence, named
from ..storage.files import as_path, unfinished
from ..storage.nested import flatten

#: The first stretch has so many rows at most, and shows how much a row takes; the others take about so many bytes.
_FIRST_ROWS, _BYTES = 1024, 16_000_000


class _Hashed:
    """A file that is written once, and the digest of it."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._digest = hashlib.sha256()

    def write(self, data: Any) -> None:
        self._digest.update(data)
        self._file.write(data)

    def write_values(self, values: Tensor) -> None:
        self.write(values.contiguous().numpy().tobytes())

    def close(self) -> str:
        """Close the file, and return the digest of what was written."""
        self._file.close()
        return self._digest.hexdigest()


class _Array:
    """A .npy file of (batch, ...) that grows by rows, with plain writes: a memory-mapped one would stay resident."""

    def __init__(self, path: Path, first: Tensor, rows: int) -> None:
        self._shape = tuple(first.shape[1:])
        self._file = _Hashed(path)
        self._length, self._written = rows, 0
        _write_header(self._file, first, (rows, *self._shape))

    def append(self, values: Tensor) -> None:
        if tuple(values.shape[1:]) != self._shape:
            raise ProbeError(
                f"A stretch of rows gave values of shape {tuple(values.shape[1:])} and an earlier one {self._shape}: "
                "the rows of the batch depend on each other. Record them without out=."
            )
        self._written += len(values)
        self._file.write_values(values)

    def check_whole(self) -> None:
        """Raise where another number of rows was written than the file says."""
        if self._written != self._length:
            raise ProbeError(
                f"The stretches gave {self._written} rows where {self._length} were due: the model's output does not "
                "grow with the batch. Record without out=, or wrap the model so that its outputs have a batch axis."
            )

    def close(self) -> str:
        """Close the file, and return the digest of what was written."""
        return self._file.close()


def stream(
    out: str | os.PathLike[str], batch: Batch, record: Callable[..., Recording], *, by_step: int = 1
) -> Recording:
    """Record stretches of a batch one after the other into a new folder.

    Args:
        out: the folder; it must not exist.
        batch: the model's inputs.
        record: `record(arguments, keywords)` records one call.
        by_step: how many bytes one step of a row takes, as far as that is known before a call.

    Returns:
        The whole recording, read back memory-mapped.

    Raises:
        ProbeError: the folder exists or cannot be written, or the rows depend on each other.
    """
    folder = as_path(out, "out=")
    if folder.exists():
        raise ProbeError(f"out={os.fspath(out)!r} exists; give a new folder, or remove it first.")
    with unfinished(folder, folder=True) as partial:
        with _Stream(partial, batch.size) as written:
            for recording, rows in _stretches(batch, record, by_step):
                written.add(recording, rows)
                del recording  # the next one needs its room
            written.describe()
        os.chmod(partial, 0o755)
        os.rename(partial, folder)
    # What was just written is not read once more.
    return opened(folder, check=False)


def _stretches(batch: Batch, record: Callable[..., Recording], by_step: int) -> Any:
    # No input has more steps than its longest axis; two rows, since one has no other that it could depend on.
    row = by_step * max(batch.longest, 1)
    start, rows = 0, min(_FIRST_ROWS, batch.size, max(2, _BYTES // row))
    if 2 * rows == batch.size:
        rows += 1  # so that the second stretch has another number of rows, see below
    while start < batch.size or start == 0:
        stop = min(start + rows, batch.size)
        some = stop - start < batch.size
        with _told(), on_other_rows(batch, stop - start) if some else nullcontext():
            recording = record(*batch.rows(start, stop))
        yield recording, stop - start
        if start == 0 and stop < batch.size:
            _check_rows(recording, batch, stop, record)
        if start == 0:
            taken = sum(v.numel() * v.element_size() for part in recording.parts for v in part.signals.values())
            wanted = max(1, int(_BYTES * rows / max(1, taken)))
            # Another number of rows than at first, so that the batch can be told from the output's other axes.
            rows = wanted + (wanted == rows)
        del recording
        start = max(stop, 1)


def _check_rows(recording: Recording, batch: Batch, rows: int, record: Callable[..., Recording]) -> None:
    """Raise where some rows give other values among others: then the rows of a batch are not independent."""

    def values(recording: Recording) -> dict[str, Tensor]:
        found = {
            f"of {signal} in layer {part.layer!r}, call {part.call},": values
            for part in recording.parts
            for signal, values in part.signals.items()
        }
        return found | named(recording.output)

    def run(order: Sequence[int]) -> dict[str, Tensor]:
        with on_other_rows(batch, len(order)):
            return values(record(*batch.chosen(order)))

    with _told():
        check_independence(run, values(recording), rows, joined=True)


@contextmanager
def _told() -> Iterator[None]:
    """Say what works where the rows depend on each other."""
    try:
        yield
    except DependentRowsError as error:
        raise ProbeError(
            f"{error} Record them in one batch, without out=, or call model.eval() first, if it drops out or "
            "normalises over the batch. Outputs must have the batch's rows one after the other on an axis."
        ) from error.__cause__


class _Stream:
    """The arrays of one recording, while they are written."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._arrays: dict[str, _Array] = {}
        self._digests: dict[str, str] = {}
        self._description: dict[str, Any] | None = None
        self._rows = 0
        self._names: list[str] | None = None
        self._output: Any = None
        self._held: dict[str, list[Tensor]] = {}
        self._errors: list[float | None] = []

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        for array in self._arrays.values():
            array.close()

    def add(self, recording: Recording, rows: int) -> None:
        """Write the values of some more rows."""
        if any(part.lengths is not None for part in recording.parts):
            raise ProbeError("A model that packs its input cannot be streamed; record it without out=.")
        if rows and not recording.parts:
            raise ProbeError(
                f"The model called none of the layers on {rows} rows of its {self._size}. Record it without out=."
            )
        if self._description is None:
            self._description, self._rows = describe(recording), rows
        named, tensors = tensor_names(recording), {}
        described = flatten(recording.output, tensors)
        if self._output not in (None, described) or self._names not in (None, list(named)):
            raise ProbeError(
                "The model called other layers, or returned something else than tensors, for other rows of the "
                "batch. Record it without out=, or wrap it so that it returns tensors only."
            )
        self._names, self._output = list(named), described
        for name, values in named.items():
            if len(values) != rows:
                raise ProbeError(
                    f"A layer read {len(values)} rows when the batch of the model's inputs had {rows}. Name the axis "
                    "of the first input that is the batch with batch_axis= (0 unless you say so), or give no out=."
                )
            self._append(name, values)
        self._errors.append(recording.max_error)
        for name, values in tensors.items():
            self._add_output(name, _in_numpy(values), rows)

    def _add_output(self, name: str, values: Tensor, rows: int) -> None:
        """Write an output whose rows come first; hold on to one whose batch is another axis, or not known yet."""
        held = self._held.setdefault(name, [])
        if name in self._arrays:
            self._append(name, values)
        elif held and grown_axis(held[0], values, (self._rows, rows)) == 0:
            self._append(name, held[0], self._size * len(held[0]) // self._rows)
            self._append(name, values)
        else:
            held.append(values)

    def _append(self, name: str, values: Tensor, length: int | None = None) -> None:
        """Write values at the end of an array, which gets as long as the batch unless `length` says otherwise."""
        values = values.detach().cpu()
        if values.dtype == torch.bfloat16 and ".signals." in name:
            raise ProbeError("numpy's files have no bfloat16; stream it with dtype=torch.float32.")
        values = _in_numpy(values)
        if name not in self._arrays:
            self._arrays[name] = _Array(self._folder / f"{name}.npy", values, length or self._size)
        self._arrays[name].append(values)

    def describe(self) -> None:
        """Write the outputs and what the arrays are."""
        if self._description is None:
            return
        for name, held in self._held.items():
            if name not in self._arrays:
                joined = [values.detach().cpu() for values in held]
                self._digests[name] = _write_joined(self._folder / f"{name}.npy", joined)
        for array in self._arrays.values():
            array.check_whole()
        errors = [error for error in self._errors if error is not None]
        described = self._description | {"output": self._output, "max_error": max(errors) if errors else None}
        self._digests |= {name: array.close() for name, array in self._arrays.items()}
        write_description(self._folder, described, self._digests)


def _in_numpy(values: Tensor) -> Tensor:
    """Return what numpy can hold of states and outputs, which dtype= leaves as they are: a bfloat16 as float32."""
    return values.float() if values.dtype == torch.bfloat16 else values


def _write_joined(path: Path, held: list[Tensor]) -> str:
    """Write what grows along another axis than the first, piece by piece: joined, it would be there twice."""
    first = held[0]
    if len(held) == 1 or first.shape == held[1].shape:
        if any(not torch.equal(first, piece) for piece in held):
            raise ProbeError(
                f"An output of shape {tuple(first.shape)} does not grow with the batch and is another one for other "
                "rows, as a loss is. Record without out=, or wrap the model so that it returns one value a row."
            )
        held, axis, shape = [first], 0, tuple(first.shape)
    else:
        (axis,) = (axis for axis, size in enumerate(first.shape) if size != held[1].shape[axis])
        shape = (*first.shape[:axis], sum(piece.shape[axis] for piece in held), *first.shape[axis + 1 :])
    file = _Hashed(path)
    try:
        _write_header(file, first, shape)
        for place in np.ndindex(*first.shape[:axis]):
            for piece in held:
                file.write_values(piece[place])
    finally:
        digest = file.close()
    return digest


def _write_header(file: Any, like: Tensor, shape: tuple[int, ...]) -> None:
    described = np.lib.format.dtype_to_descr(like.new_empty(0).numpy().dtype)
    header = {"descr": described, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
