"""Recordings on disk: one safetensors file, or a folder with one .npy file a site."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import ProbeError
from .files import write_atomically
from .nested import flatten, unflatten
from .recording import LayerRecording, Recording
from .signals import as_signal

_FORMAT = "rnn-probe recording 2"
#: What a folder of .npy files holds beside them.
DESCRIPTION = "recording.json"


def save(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a recording to one safetensors file; see `Recording.save`."""
    from safetensors.torch import save as as_bytes

    tensors = tensor_names(recording)
    description = describe(recording) | {"output": flatten(recording.output, tensors)}
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, as_bytes(contiguous, {"recording": json.dumps(description)}))


def tensor_names(recording: Recording) -> dict[str, Tensor]:
    """Return the tensors of a recording but its output, by the names that they have on disk."""
    return {
        f"{number}.{kind}.{signal}": value
        for number, part in enumerate(recording.parts)
        for kind, values in _kinds(part).items()
        for signal, value in values.items()
    }


def _kinds(part: LayerRecording) -> dict[str, Any]:
    return {"signals": part.signals, "initial": part.initial, "gradients": part.gradients}


def describe(recording: Recording) -> dict[str, Any]:
    """Return all of a recording but its tensors, as JSON."""
    return {
        "format": _FORMAT,
        "steps": recording.steps,
        "not_called": recording.not_called,
        "max_error": recording.max_error,
        "parts": [
            {"layer": part.layer, "call": part.call, "lengths": part.lengths}
            | {kind: list(values) for kind, values in _kinds(part).items()}
            for part in recording.parts
        ],
    }


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Return the recording that `Recording.save` wrote, or that `probe.record` streamed into a folder.

    Of a folder, the arrays stay on disk and are memory-mapped; changing them changes no file.

    Args:
        path: the file, or the folder.

    Raises:
        ProbeError: the file is missing, damaged, or no recording.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if Path(path).is_dir():
            description = json.loads((Path(path) / DESCRIPTION).read_text(encoding="utf-8"))
            tensors = {file.stem: _mapped(file) for file in Path(path).glob("*.npy")}
        else:
            with safe_open(os.fspath(path), "pt") as file:
                description = json.loads((file.metadata() or {}).get("recording", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        _check_description(description)
        return _rebuilt(description, tensors)
    except (OSError, EOFError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ProbeError(
            f"{os.fspath(path)!r} cannot be read as a recording ({error}). Give a file that Recording.save wrote, "
            "or a folder that record(out=) wrote."
        ) from error


def _mapped(file: Path) -> Tensor:
    import numpy as np

    # Copy-on-write: torch warns about arrays that cannot be written.
    array = np.load(file, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array) if array.size else torch.from_numpy(np.array(array))


def _rebuilt(description: dict[str, Any], tensors: dict[str, Tensor]) -> Recording:
    parts = tuple(
        LayerRecording(
            part["layer"],
            part["call"],
            {as_signal(name): tensors[f"{number}.signals.{name}"] for name in part["signals"]},
            {as_signal(name): tensors[f"{number}.initial.{name}"] for name in part["initial"]},
            None if part["lengths"] is None else tuple(part["lengths"]),
            {as_signal(name): tensors[f"{number}.gradients.{name}"] for name in part["gradients"]},
        )
        for number, part in enumerate(description["parts"])
    )
    steps = description["steps"]
    return Recording(
        unflatten(description["output"], tensors),
        parts,
        None if steps is None else tuple(steps),
        tuple(description["not_called"]),
        description["max_error"],
    )


def _check_description(description: Any) -> None:
    """Raise ValueError where a file's description is not what `Recording.save` writes."""
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise ValueError(f"it is not of the format {_FORMAT!r}")
    wanted: dict[str, tuple[type, ...]] = {
        "parts": (list,),
        "steps": (list, type(None)),
        "not_called": (list,),
        "max_error": (int, float, type(None)),
        "output": (dict,),
    }
    for name, kinds in wanted.items():
        if not isinstance(description.get(name), kinds) or isinstance(description[name], bool):
            raise ValueError(f"its {name} is a {type(description.get(name)).__name__}")
    of_part: dict[str, Any] = {"layer": str, "call": int, "signals": list, "initial": list, "gradients": list}
    of_part["lengths"] = (list, type(None))
    for part in description["parts"]:
        if not isinstance(part, dict) or any(not isinstance(part.get(name), kind) for name, kind in of_part.items()):
            raise ValueError(f"a part of it is {part!r}")
    if any(not isinstance(step, int) for step in description["steps"] or ()):
        raise ValueError(f"its steps are {description['steps']!r}")
