"""Files of kinds that are known and not read, by how they begin, and what to do instead."""

from __future__ import annotations

from pathlib import Path

from ...errors import ProbeError

#: At which byte, what stands there, what it is, and what to do.
_KINDS = (
    (0, b"GGUF", "a GGUF file", "It holds transformers, as a rule quantized; give the weights it was made from."),
    (
        4,
        b"TFL3",
        "a model of TensorFlow Lite",
        "Its layers are fused or quantized for a device; give the Keras model or SavedModel from which it was made.",
    ),
    (
        0,
        b"MATLAB 5.0 MAT-file",
        "a file of MATLAB",
        "Read it with scipy.io.loadmat; save its arrays with numpy.savez.",
    ),
    (0, b"\x1f\x8b", "packed with gzip", "Unpack it first: gunzip FILE."),
    (0, b"BZh", "packed with bzip2", "Unpack it first: bunzip2 FILE."),
    (0, b"\xfd7zXZ\x00", "packed with xz", "Unpack it first: unxz FILE."),
    (0, b"(\xb5/\xfd", "packed with zstandard", "Unpack it first: unzstd FILE."),
    (257, b"ustar", "an archive of tar", "Unpack it, and give one of the files in it."),
)
#: Enough of a file to tell.
BYTES = 300
#: What lies in a folder of Orbax.
_ORBAX = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt")


def check_file(path: Path, start: bytes) -> None:
    """Raise ProbeError where a file is of a kind that is not read.

    Args:
        path: the file, for the message.
        start: its first bytes.
    """
    for at, mark, what, advice in _KINDS:
        if start[at : at + len(mark)] == mark:
            raise ProbeError(f"{str(path)!r} is {what}, which is not read here. {advice}")


def check_folder(path: Path) -> None:
    """Raise ProbeError where a folder is a checkpoint of Orbax."""
    if any((path / below / name).exists() for below in (".", "default", "params") for name in _ORBAX):
        raise ProbeError(
            f"{str(path)!r} is a checkpoint of Orbax, which is not read here. Restore it with Orbax, and save the "
            "parameters with flax.serialization.to_bytes (.msgpack) or safetensors.flax.save_file."
        )
