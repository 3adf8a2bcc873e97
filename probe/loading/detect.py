"""Detects which format a file has: by its content first, by its name only where that says nothing."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path

from ..errors import ProbeError
from .formats import converted_folder, tensor_bundle
from .readers import ERRORS, Budget, Contents, listed

#: What can be read, for messages.
FORMATS = (
    ".pt, .pth, .bin (torch.save, TorchScript), .safetensors, .npz, .npy, a folder of .npy files, .pkl (arrays), "
    ".keras, .h5, .weights.h5, .index (a TensorFlow checkpoint), a SavedModel's folder, .onnx, "
    ".msgpack of Flax, or a folder with model.safetensors"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
#: How pickles begin, by their protocol.
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
_NPY = b"\x93NUMPY"
#: What torch.save wrote before it wrote archives: a pickle of this number.
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Reader and function by the end of the name, where the contents do not decide.
BY_NAME = {
    ".onnx": ("onnx_file", "read"),
    ".pt": ("torch_files", "read"),
    ".pth": ("torch_files", "read"),
    ".bin": ("torch_files", "read"),
    ".safetensors": ("safetensors_file", "read"),
    ".npz": ("numpy_files", "read_archive"),
    ".npy": ("numpy_files", "read_array"),
    ".keras": ("keras_files", "read_archive"),
    ".h5": ("keras_files", "read_hdf5"),
    ".hdf5": ("keras_files", "read_hdf5"),
    ".msgpack": ("flax_msgpack", "read"),
    ".flax": ("flax_msgpack", "read"),
    ".index": ("tensor_bundle", "read"),
    ".pkl": ("pickled", "read"),
    ".pickle": ("pickled", "read"),
}
_PAGE = "a page of HTML, as a download leaves that did not find the file. Get the file anew."
_TORCH = "Load it in Python, and torch.save its state_dict()."
#: What files begin with that are often taken for another: where that stands, and what they are.
_OTHERS = {
    (0, b"version https://git-lfs"): (
        "a pointer of Git LFS, which stands for the file. Get the file itself with `git lfs pull`."
    ),
    (0, b"<!DOCTYPE"): _PAGE,
    (0, b"<!doctype"): _PAGE,
    (0, b"<html"): _PAGE,
    (4, b"TFL3"): "a model of TensorFlow Lite, whose layers are fused. Give what it was converted from.",
    (0, b"\x1f\x8b"): "compressed. Unpack it, and give the file of weights.",
}
#: What lies in a folder of Orbax, or in one below it.
_ORBAX_MARKS = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt")
_ORBAX_BELOW = (".", "default", "params")


def open_path(path: Path, memory: int) -> Contents:
    """Return what is in a file or folder.

    Args:
        path: a file, the folder of a SavedModel or of .npy files, or a TensorFlow checkpoint without its `.index`.
        memory: the most bytes that its arrays may take.

    Raises:
        ProbeError: there is nothing, or nothing that can be read.
    """
    try:
        path = _resolved(path)
        module, function = _reader(path)
    except OSError as error:
        raise ProbeError(f"{str(path)!r} cannot be read ({error.strerror or error}). Give another path.") from error
    reader = importlib.import_module(f".formats.{module}", __package__)
    return getattr(reader, function)(path, Budget(path, memory))


def _resolved(path: Path) -> Path:
    """Return the file that a path stands for."""
    index = Path(f"{path}{tensor_bundle.SUFFIX}")
    if not path.exists() and index.is_file():
        return index
    if not path.exists():
        raise ProbeError(f"{str(path)!r} does not exist. Give the path of a file of weights: {FORMATS}.")
    if not path.is_dir():
        # The arrays of a checkpoint, whose names are in the index.
        start, between, _ = path.name.rpartition(".data-")
        index = path.with_name(start + tensor_bundle.SUFFIX)
        return index if between and index.is_file() else path
    if (path / converted_folder.WEIGHTS).is_file():
        return path
    indices = sorted([*path.glob("*.index"), *path.glob("variables/variables.index")])
    if len(indices) > 1:
        raise ProbeError(f"{str(path)!r} holds several checkpoints, {listed(map(str, indices))}. Give one of them.")
    if any((path / below / name).exists() for below in _ORBAX_BELOW for name in _ORBAX_MARKS):
        raise ProbeError(
            f"{str(path)!r} is a checkpoint of Orbax, which is not read here. Restore it with Orbax, and save the "
            "parameters with flax.serialization.to_bytes (.msgpack) or safetensors.flax.save_file."
        )
    if not indices and not any(path.rglob("*.npy")):
        names = (file.name for file in sorted(path.iterdir()))
        raise ProbeError(
            f"{str(path)!r} is a folder without a checkpoint of TensorFlow and without .npy files; it holds "
            f"{listed(names)}. Give one file of weights: {FORMATS}."
        )
    return indices[0] if indices else path


def _reader(path: Path) -> tuple[str, str]:
    if path.is_dir():
        converted = (path / converted_folder.WEIGHTS).is_file()
        return ("converted_folder", "read") if converted else ("numpy_files", "read_folder")
    if not path.is_file():
        raise ProbeError(f"{str(path)!r} is no file. Give a file of weights: {FORMATS}.")
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(max(0, path.stat().st_size - 8))
        end = file.read()
    by_name = BY_NAME.get(path.suffix.lower())
    if start.startswith(b"PK"):
        return _of_archive(path, by_name)
    other = next((what for (at, magic), what in _OTHERS.items() if start[at:].startswith(magic)), None)
    if other is not None:
        raise ProbeError(f"{str(path)!r} is {other}")
    old_torch = start[2:].startswith(_OLD_TORCH) or path.suffix in (".pt", ".pth", ".bin")
    kinds = {
        ("keras_files", "read_hdf5"): start.startswith(_HDF5),
        ("numpy_files", "read_array"): start.startswith(_NPY),
        ("tensor_bundle", "read"): end == tensor_bundle.MAGIC,
        ("torch_files" if old_torch else "pickled", "read"): start[:2] in _PICKLES,
        ("flax_msgpack", "read"): b"\x81" <= start[:1] <= b"\x8f" and start[2:6].isalnum(),
        ("safetensors_file", "read"): start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32,
    }
    chosen = next((kind for kind, fits in kinds.items() if fits), by_name)
    if chosen is None and path.suffix == ".pb":
        raise ProbeError(
            f"{str(path)!r} is a graph of TensorFlow. Give the SavedModel's folder, or the checkpoint that it was "
            "made of; or save its constants by their names with numpy.savez."
        )
    if chosen is None:
        raise ProbeError(
            f"{str(path)!r} ends in {path.suffix!r}, and its contents are of no kind that is known; these can be "
            f"read: {FORMATS}. Save the weights as one of them."
        )
    return chosen


def _of_archive(path: Path, by_name: tuple[str, str] | None) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ERRORS as error:
        if by_name is not None:
            return by_name
        raise ProbeError(f"{str(path)!r} is a damaged archive ({error}). Get the file anew.") from error
    if any(name.endswith((".data/extern_modules", ".data/python_version")) for name in names):
        raise ProbeError(
            f"{str(path)!r} is a package of torch.package, with tensors in pickles of its code. {_TORCH}"
        )
    if any(name.endswith(("weights/model_weights_config.json", "serialized_state_dict.pt")) for name in names):
        raise ProbeError(f"{str(path)!r} is a program of torch.export, which is not read here. {_TORCH}")
    kinds = {
        ("keras_files", "read_archive"): "config.json" in names and "model.weights.h5" in names,
        ("torchscript", "read"): any(name.endswith("/constants.pkl") for name in names),
        ("torch_files", "read"): any(name.endswith("/data.pkl") for name in names),
        ("numpy_files", "read_archive"): any(name.endswith(".npy") for name in names),
    }
    chosen = next((kind for kind, fits in kinds.items() if fits), by_name)
    if chosen is None:
        raise ProbeError(f"{str(path)!r} is an archive of {listed(names)}. Unpack it, and give one of: {FORMATS}.")
    return chosen
