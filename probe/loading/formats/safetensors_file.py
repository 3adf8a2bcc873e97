"""safetensors: tensors by name, and nothing else."""

from __future__ import annotations

from pathlib import Path

from ..reading import Budget, Contents, reading

ADVICE = "Give a file that safetensors.torch.save_file wrote."


def read(path: Path, budget: Budget) -> Contents:
    """Return the tensors of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    budget.take(path.name, path.stat().st_size)
    with reading(path, "safetensors", ADVICE):
        try:
            # Of bytes, so that nothing changes when the file does.
            tensors = load(path.read_bytes())
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    # The file has no order of its own, and the reader another one in each process.
    return Contents(dict(sorted(tensors.items())), "PyTorch", "safetensors")
