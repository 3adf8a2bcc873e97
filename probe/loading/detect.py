"""Detects which format a file has: by its content first, by its name only where that says nothing."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path

from ..errors import ProbeError
from .formats import converted_folder, tensor_bundle
from .rare import dynet_text, mindspore_ckpt, mxnet_params, tfjs_files
from .readers import ERRORS, Budget, Contents, listed
from .unsupported import Unsupported, check_orbax, unsupported, unsupported_archive

#: What can be read, for messages.
FORMATS = (
    ".pt, .pth, .bin (torch.save, TorchScript), .safetensors, .npz, .npy, a folder of .npy files, .pkl (arrays, or "
    "objects with arrays), .keras, .h5, .weights.h5, model.json of TensorFlow.js, .index (a TensorFlow checkpoint), "
    "a SavedModel's folder, .pb (a frozen graph), .onnx, .msgpack of Flax, .pdparams of PaddlePaddle, .params of "
    "MXNet, .ckpt of MindSpore, text of DyNet, a folder with model.safetensors, or one of them in a .zip, .tar or .gz"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
#: How pickles begin, by their protocol.
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
_NPY = b"\x93NUMPY"
#: How files begin that gzip, bzip2 and xz compressed, and what a tar archive has where.
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_TAR, _TAR_AT = b"ustar", 257
#: What torch.save wrote before it wrote archives: a pickle of this number.
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Reader and function by the end of the name, where the contents do not decide.
BY_NAME = {
    ".onnx": ("formats.onnx_file", "read"),
    ".pb": ("formats.graph_def", "read"),
    ".pt": ("formats.torch_files", "read"),
    ".pth": ("formats.torch_files", "read"),
    ".bin": ("formats.torch_files", "read"),
    ".safetensors": ("formats.safetensors_file", "read"),
    ".npz": ("formats.numpy_files", "read_archive"),
    ".npy": ("formats.numpy_files", "read_array"),
    ".keras": ("formats.keras_files", "read_archive"),
    ".h5": ("formats.keras_files", "read_hdf5"),
    ".hdf5": ("formats.keras_files", "read_hdf5"),
    ".msgpack": ("formats.flax_msgpack", "read"),
    ".flax": ("formats.flax_msgpack", "read"),
    ".json": ("rare.tfjs_files", "read"),
    ".index": ("formats.tensor_bundle", "read"),
    ".pkl": ("rare.object_pickles", "read"),
    ".pickle": ("rare.object_pickles", "read"),
    ".pdparams": ("rare.object_pickles", "read"),
}


def open_path(path: Path, memory: int, *, archives: bool = True) -> Contents:
    """Return what is in a file or folder.

    Args:
        path: a file, the folder of a SavedModel or of .npy files, or a TensorFlow checkpoint without its `.index`.
        memory: the most bytes that its arrays may take.
        archives: whether a file of weights is looked for inside an archive or a compressed file.

    Raises:
        ProbeError: there is nothing, or nothing that can be read.
    """
    try:
        path = _resolved(path)
        module, function = _reader(path)
    except OSError as error:
        raise ProbeError(f"{str(path)!r} cannot be read ({error.strerror or error}). Give another path.") from error
    if module == "formats.packed" and not archives:
        raise ProbeError(f"{str(path)!r} is an archive in an archive. Unpack it, and give one of: {FORMATS}.")
    reader = importlib.import_module(f".{module}", __package__)
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
    if not indices and (path / tfjs_files.NAME).is_file():
        return path / tfjs_files.NAME
    if len(indices) > 1:
        raise ProbeError(f"{str(path)!r} holds several checkpoints, {listed(map(str, indices))}. Give one of them.")
    if path.suffix == ".mlpackage":
        _refuse(path, unsupported(b"", path.suffix, by_name=True))
    if not indices and not any(path.rglob("*.npy")):
        check_orbax(path)
        names = (file.name for file in sorted(path.iterdir()))
        raise ProbeError(
            f"{str(path)!r} is a folder without a checkpoint of TensorFlow and without .npy files; it holds "
            f"{listed(names)}. Give one file of weights: {FORMATS}."
        )
    return indices[0] if indices else path


def _reader(path: Path) -> tuple[str, str]:
    if path.is_dir():
        converted = (path / converted_folder.WEIGHTS).is_file()
        return ("formats.converted_folder", "read") if converted else ("formats.numpy_files", "read_folder")
    if not path.is_file():
        raise ProbeError(f"{str(path)!r} is no file. Give a file of weights: {FORMATS}.")
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(max(0, path.stat().st_size - 8))
        end = file.read()
    by_name = BY_NAME.get(path.suffix.lower())
    if start.startswith(b"PK"):
        return _of_archive(path, by_name)
    old_torch = start[2:].startswith(_OLD_TORCH) or path.suffix in (".pt", ".pth", ".bin")
    kinds = {
        ("formats.keras_files", "read_hdf5"): start.startswith(_HDF5),
        ("formats.numpy_files", "read_array"): start.startswith(_NPY),
        ("rare.mxnet_params", "read"): start.startswith(mxnet_params.START),
        ("rare.mindspore_ckpt", "read"): start.startswith(mindspore_ckpt.START) and path.suffix == ".ckpt",
        ("formats.tensor_bundle", "read"): end == tensor_bundle.MAGIC,
        ("rare.dynet_text", "read"): start.startswith(dynet_text.START),
        ("formats.torch_files" if old_torch else "rare.object_pickles", "read"): start[:2] in _PICKLES,
        ("formats.flax_msgpack", "read"): b"\x81" <= start[:1] <= b"\x8f" and start[2:6].isalnum(),
        ("formats.safetensors_file", "read"): start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32,
        ("formats.packed", "read"): start.startswith(COMPRESSED) or start[_TAR_AT:].startswith(_TAR),
    }
    chosen = next((kind for kind, fits in kinds.items() if fits), None)
    if chosen is None:
        _refuse(path, unsupported(start, path.suffix))
        chosen = by_name
    if chosen is None:
        _refuse(path, unsupported(start, path.suffix, by_name=True))
        raise ProbeError(
            f"{str(path)!r} ends in {path.suffix!r}, and its contents are of no kind that is known; these can be "
            f"read: {FORMATS}. Save the weights as one of them."
        )
    return chosen


def _refuse(path: Path, kind: Unsupported | None) -> None:
    if kind is not None:
        raise ProbeError(f"{str(path)!r} is {kind.what}, which is not read here. {kind.advice}")


def _of_archive(path: Path, by_name: tuple[str, str] | None) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ERRORS as error:
        if by_name is not None:
            return by_name
        raise ProbeError(f"{str(path)!r} is a damaged archive ({error}). Get the file anew.") from error
    _refuse(path, unsupported_archive(names))
    kinds = {
        ("formats.keras_files", "read_archive"): "config.json" in names and "model.weights.h5" in names,
        ("formats.torchscript", "read"): any(name.endswith("/constants.pkl") for name in names),
        ("formats.torch_files", "read"): any(name.endswith("/data.pkl") for name in names),
        ("formats.numpy_files", "read_archive"): any(name.endswith(".npy") for name in names),
    }
    return next((kind for kind, fits in kinds.items() if fits), by_name or ("formats.packed", "read"))
