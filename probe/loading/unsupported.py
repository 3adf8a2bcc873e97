"""Recognises files that we do not read (TensorFlow Lite, Core ML, ...), and says what to give instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ProbeError

_TF = "Give what it was converted from: the Keras file, the SavedModel's folder, the checkpoint or the .onnx file."
_PAGE = "a page of HTML, as a download leaves that did not find the file"
_TORCH = "Load it in Python, and torch.save its state_dict()."


@dataclass(frozen=True)
class Unsupported:
    """One kind of file that is not read.

    Attributes:
        what: it is, after "is".
        advice: what to do, a sentence.
        endings: of its name.
        magic: what it begins with.
        at: where that stands.
    """

    what: str
    advice: str
    endings: tuple[str, ...] = ()
    magic: bytes = b""
    at: int = 0

    def fits(self, start: bytes, suffix: str, *, by_name: bool) -> bool:
        """Return whether a file is of this kind, by its first bytes, or by its name."""
        if by_name:
            return suffix in self.endings
        return bool(self.magic) and start[self.at :].startswith(self.magic)


KINDS = (
    Unsupported("a pointer of Git LFS, which stands for the file", "Get the file itself with `git lfs pull`.", (),
                b"version https://git-lfs"),
    Unsupported(_PAGE, "Get the file anew.", (), b"<!DOCTYPE"),
    Unsupported(_PAGE, "Get the file anew.", (), b"<!doctype"),
    Unsupported(_PAGE, "Get the file anew.", (), b"<html"),
    Unsupported("a model of TensorFlow Lite, whose layers are fused and often of 8 bits", _TF, (".tflite",),
                b"TFL3", 4),
    Unsupported("a Core ML model", "Give what it was converted from, such as the .pt, .h5 or .onnx file.",
                (".mlmodel", ".mlpackage")),
    Unsupported("a model of GGUF", "Give what it was converted from.", (".gguf",), b"GGUF"),
    Unsupported("a file of MATLAB", "Save its arrays with numpy.savez, for example after scipy.io.loadmat.",
                (".mat",), b"MATLAB 5.0 MAT-file"),
    Unsupported("a file of Lua Torch", "Save its arrays with numpy.savez.", (".t7",)),
    Unsupported("a model of Caffe", "Save its arrays with numpy.savez.", (".caffemodel", ".prototxt")),
    Unsupported("a program of ExecuTorch", "Give the state_dict that it was made from.", (".pte",), b"ET12", 4),
    Unsupported("a network of OpenVINO", "Give what it was converted from, such as the .onnx file.", (".xml",),
                b"<?xml"),
    Unsupported("an engine of TensorRT", "Give what it was built from, such as the .onnx file.",
                (".engine", ".plan")),
)  # fmt: skip


def unsupported(start: bytes, suffix: str, *, by_name: bool = False) -> Unsupported | None:
    """Return the kind of a file that is not read, or None of any other.

    Args:
        start: its first bytes.
        suffix: how its name ends.
        by_name: whether its name decides, which it does only where nothing in the file does.
    """
    return next((kind for kind in KINDS if kind.fits(start, suffix.lower(), by_name=by_name)), None)


def unsupported_archive(names: Iterable[str]) -> Unsupported | None:
    """Return the kind of a zip archive that is not read, or None of any other."""
    ends = {"/".join(name.split("/")[-2:]) for name in names}
    if ends & {".data/extern_modules", ".data/python_version"}:
        return Unsupported("a package of torch.package, whose tensors lie in pickles of its code", _TORCH)
    if {"weights/model_weights_config.json"} & ends or "serialized_state_dict.pt" in {
        end.rpartition("/")[2] for end in ends
    }:
        return Unsupported("a program of torch.export", _TORCH)
    return None


#: What lies in a folder of Orbax, or in one below it.
_ORBAX_MARKS = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt")
_ORBAX_BELOW = (".", "default", "params")


def check_orbax(path: Path) -> None:
    """Raise ProbeError where a folder is a checkpoint of Orbax."""
    if any((path / below / name).exists() for below in _ORBAX_BELOW for name in _ORBAX_MARKS):
        raise ProbeError(
            f"{str(path)!r} is a checkpoint of Orbax, which is not read here. Restore it with Orbax, and save the "
            "parameters with flax.serialization.to_bytes (.msgpack) or safetensors.flax.save_file."
        )
