"""Saves a recording as one safetensors file, or as a folder of .npy files, with a digest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..storage import digests, tensor_files
from ..storage.files import write_atomically
from ..storage.nested import flatten

if TYPE_CHECKING:
    from .recording import LayerRecording, Recording

FORMAT = "rnn-probe recording 3"
#: What a folder of .npy files holds beside them.
DESCRIPTION = "recording.json"


def save(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a recording to one safetensors file; see `Recording.save`."""
    tensors = tensor_names(recording)
    described = describe(recording) | {"output": flatten(recording.output, tensors)}
    write_atomically(path, tensor_files.as_bytes(tensors, {"recording": described}))


def tensor_names(recording: Recording) -> dict[str, Tensor]:
    """Return the tensors of a recording but its output, by the names that they have on disk."""
    return {
        f"{number}.{kind}.{signal}": value
        for number, part in enumerate(recording.parts)
        for kind, values in _kinds(part).items()
        for signal, value in values.items()
    } | {f"{number}.inputs": part.inputs for number, part in enumerate(recording.parts) if part.inputs is not None}


def _kinds(part: LayerRecording) -> dict[str, Any]:
    return {"signals": part.signals, "initial": part.initial, "gradients": part.gradients}


def describe(recording: Recording) -> dict[str, Any]:
    """Return all of a recording but its tensors, as JSON."""
    return {
        "format": FORMAT,
        "steps": recording.steps,
        "not_called": recording.not_called,
        "max_error": recording.max_error,
        "drawn": recording.drawn,
        "parts": [
            {"layer": part.layer, "call": part.call, "lengths": part.lengths}
            | {kind: list(values) for kind, values in _kinds(part).items()}
            | ({"shapes": {signal: list(shape) for signal, shape in part.shapes.items()}} if part.shapes else {})
            for part in recording.parts
        ],
    }


def write_description(folder: Path, described: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write what the arrays of a folder are.

    Args:
        folder: where they lie.
        described: the recording.
        files: their digests by their names without the ending.
    """
    text = json.dumps(digests.sealed({**described, "files": dict(files)}))
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
