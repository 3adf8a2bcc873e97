"""safetensors: tensors by name, and nothing else."""

from __future__ import annotations

from pathlib import Path

from ..reading import Budget, Contents, file_bytes, reading

ADVICE = "Give a file that safetensors.torch.save_file wrote."


def read(path: Path, budget: Budget) -> Contents:
    """Return the tensors of a safetensors file."""
    return parsed(path, file_bytes(path, budget))


def parsed(path: Path, content: bytes) -> Contents:
    """Return the tensors of a safetensors file's bytes; the path is for messages."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    with reading(path, "safetensors", ADVICE):
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    # The file has no order of its own, and the reader another one in each process.
    return Contents(dict(sorted(tensors.items())), "PyTorch", "safetensors")
