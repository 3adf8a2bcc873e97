"""Reads the tensors of TorchScript archives without running or compiling their code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ..readers import Budget, Contents, check_archive, count, flatten, reading
from .pickled import Ordered, Reader, RefusedError, same
from .torch_files import QUANTIZED

ADVICE = "Give a file that torch.jit.save wrote, or save the module's state_dict."
_DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
_PICKLE = "/data.pkl"
#: What a list of TorchScript is built by; each returns its first argument.
_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


class Thing(dict[str, Any]):
    """Stands in for an object of TorchScript: its attributes, and none of its code."""

    def __setstate__(self, state: Any) -> None:
        self.update(state)


class Storage:
    """One record of the archive: a dtype and its bytes."""

    def __init__(self, dtype: torch.dtype, data: bytes) -> None:
        self.dtype, self.data = dtype, data


class _Names(dict[str, Any]):
    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).startswith("__torch__.")

    def __getitem__(self, name: str) -> Any:
        return Thing if name.startswith("__torch__.") else super().__getitem__(name)


class _Archive(Reader):
    """Reads the pickle of an archive; it builds tensors, lists, dicts and stand-ins, and calls nothing else."""

    def __init__(self, archive: zipfile.ZipFile, root: str, budget: Budget) -> None:
        names = _Names({f"torch.jit._pickle.{name}": same for name in _LISTS})
        names |= {"collections.OrderedDict": Ordered, "torch._utils._rebuild_tensor_v2": self._tensor}
        names |= dict(_DTYPES) | {
            "torch.jit._pickle.restore_type_tag": lambda value, _: value,
            "torch.device": lambda *_: "device",
        }
        super().__init__(archive.read(f"{root}data.pkl"), names)
        self._archive, self._root, self._budget = archive, root, budget
        self._storages: dict[str, Storage] = {}

    def persistent_load(self, pid: Any) -> Storage:
        """Return a record of the archive."""
        _, dtype, key, _, _ = pid
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"a storage of {str(dtype)[:40]}")
        if str(key) not in self._storages:
            self._storages[str(key)] = Storage(dtype, self._archive.read(f"{self._root}data/{key}"))
        return self._storages[str(key)]

    def _tensor(self, storage: Storage, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
        if not isinstance(storage, Storage):
            raise ValueError("a tensor without a storage")
        self._budget.take("a tensor", count(size) * storage.dtype.itemsize)
        flat = torch.frombuffer(bytearray(storage.data), dtype=storage.dtype) if storage.data else torch.empty(0)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if count(size) and (offset < 0 or min(stride, default=0) < 0 or last >= len(flat)):
            raise ValueError(f"a tensor of shape {tuple(size)} in a storage of {len(flat)} numbers")
        return torch.as_strided(flat, tuple(size), tuple(stride), offset).clone()


def read(path: Path, budget: Budget) -> Contents:
    """Return the tensors of a TorchScript archive by their names in its state_dict.

    What an archive computes is in its code, which is not read: a tensor that the code never uses, or uses in another
    way than its name says, looks like any other.
    """
    with reading(path, "a TorchScript archive", ADVICE), zipfile.ZipFile(path) as archive:
        check_archive(archive, budget)
        (root,) = (
            name.removesuffix(_PICKLE) + "/"
            for name in archive.namelist()
            if name.endswith(_PICKLE) and name.count("/") == 1
        )
        try:
            value = _Archive(archive, root, budget).load()
        except RefusedError as refused:
            if "qtensor" in str(refused) or "quantized" in str(refused):
                raise ProbeError(f"{str(path)!r} holds a {QUANTIZED}") from None
            raise ProbeError(
                f"{str(path)!r} is a TorchScript archive that asks for {str(refused)!r}, which is no array and no "
                f"module; what it is is not in the archive's data. {ADVICE}"
            ) from None
        # What lies in a list of a module is none of its parameters: nn.LSTM keeps its weights once more in one.
        tensors, _ = flatten(value, Tensor, (Thing,))
    return Contents(tensors, "PyTorch", "TorchScript archive")
