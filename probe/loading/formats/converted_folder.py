"""Reads a folder that `rnn-probe convert` wrote, or another folder that holds model.safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...storage.tensor_files import OURS
from ..readers import Budget, Contents, file_bytes, reading
from . import safetensors_file
from .safetensors_file import KINDS, Converted

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_KIND = "the configuration of a converted network"
_ADVICE = "Give a folder that rnn-probe convert wrote, whole."


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a folder's model.safetensors, which says itself what networks it holds where we wrote it.

    Raises:
        ProbeError: a file is damaged, or config.json is ours and of other weights.
    """
    config = read_config(path, budget)
    contents = safetensors_file.read(path / WEIGHTS, budget)
    if config is None:
        return contents
    described = {name: config[name] for name in KINDS}
    if not isinstance(contents.description, Converted):
        # Written by the hub, which keeps no metadata.
        with reading(path / CONFIG, _KIND, _ADVICE):
            return safetensors_file.converted(contents, described)
    if described != contents.description.told:
        raise ProbeError(
            f"{str(path / CONFIG)!r} was written for other weights than {WEIGHTS!r} beside it. Convert the original "
            f"anew, or give {str(path / WEIGHTS)!r} alone."
        )
    return contents


def read_config(path: Path, budget: Budget) -> dict[str, Any] | None:
    """Return what a folder's config.json says, or None where it is none that we wrote.

    Raises:
        ProbeError: it is one that we wrote, and damaged.
    """
    file = path / CONFIG
    if not file.is_file():
        return None
    with reading(file, _KIND, _ADVICE):
        config = json.loads(file_bytes(file, budget))
        if not isinstance(config, dict) or config.get("library_name") != OURS:
            return None
        for name, kind in KINDS.items():
            if not isinstance(config.get(name), kind):
                raise ValueError(f"{name!r} is missing, or no {kind.__name__}")
    return config
