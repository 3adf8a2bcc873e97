"""Folders of Orbax, which are known and not read."""

from __future__ import annotations

from pathlib import Path

from ...errors import ProbeError

#: What lies in such a folder, or in one below it.
_MARKS = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt")
_BELOW = (".", "default", "params")


def check_folder(path: Path) -> None:
    """Raise ProbeError where a folder is a checkpoint of Orbax."""
    if any((path / below / name).exists() for below in _BELOW for name in _MARKS):
        raise ProbeError(
            f"{str(path)!r} is a checkpoint of Orbax, which is not read here. Restore it with Orbax, and save the "
            "parameters with flax.serialization.to_bytes (.msgpack) or safetensors.flax.save_file."
        )
