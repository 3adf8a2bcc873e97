"""`load_recording`: reads a recording from disk, and refuses a damaged or changed one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.signals import Signal, is_continuous
from ..storage import digests, tensor_files
from ..storage.damaged import ERRORS, reason
from ..storage.files import as_path, check_regular, read_bytes
from ..storage.nested import unflatten
from .recording import DESCRIPTION, FORMAT, LayerRecording, Recording


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Return the recording that `Recording.save` wrote, or that `probe.record` streamed into a folder.

    All of it is read once, and compared with the digest of what was written. Of a folder, the arrays stay on disk and
    are memory-mapped; changing them changes no file.

    Args:
        path: the file, or the folder.

    Raises:
        ProbeError: the file is missing, damaged, changed since it was written, or no recording.
    """
    return opened(as_path(path), check=True)


def opened(path: Path, *, check: bool) -> Recording:
    """Return the recording of a file or folder; see `load_recording`.

    Args:
        path: which.
        check: whether the arrays of a folder are compared with their digests.
    """
    try:
        if path.is_dir():
            described = json.loads(read_bytes(path / DESCRIPTION))
            _check_format(described)
            digests.check_seal(described)
            tensors = {name: _mapped(path, name, digest, check=check) for name, digest in described["files"].items()}
        else:
            found = tensor_files.read(path)
            described: Any = (found.about or {}).get("recording")
            tensors = found.tensors
            _check_format(described)
        recording = _rebuilt(described, tensors)
        _check(recording)
        return recording
    except (*ERRORS, ProbeError) as error:
        raise ProbeError(
            f"{str(path)!r} cannot be read as a recording ({reason(error)}). Give a file that Recording.save wrote, "
            "or a folder that record(out=) wrote."
        ) from error


def _mapped(folder: Path, name: str, digest: str, *, check: bool) -> Tensor:
    import numpy as np

    file = folder / f"{name}.npy"
    if file.parent != folder:
        raise ValueError(f"{name[:60]!r} is no file of the folder")
    if check and digests.of_file(file) != digest:
        raise ValueError(f"{file.name!r} was damaged or changed after it was written: its digest differs")
    check_regular(file)
    # Copy-on-write: torch warns about arrays that cannot be written.
    array = np.load(file, mmap_mode="c")
    return torch.from_numpy(array) if array.size else torch.from_numpy(np.array(array))


def _rebuilt(description: dict[str, Any], tensors: Mapping[str, Tensor]) -> Recording:
    parts = tuple(
        LayerRecording(
            part["layer"],
            part["call"],
            {Signal(name): tensors[f"{number}.signals.{name}"] for name in part["signals"]},
            {Signal(name): tensors[f"{number}.initial.{name}"] for name in part["initial"]},
            None if part["lengths"] is None else tuple(part["lengths"]),
            {Signal(name): tensors[f"{number}.gradients.{name}"] for name in part["gradients"]},
            {Signal(name): tuple(shape) for name, shape in part.get("shapes", {}).items()},
            tensors.get(f"{number}.inputs"),
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
        bool(description.get("drawn")),  # files of earlier versions do not say it
    )


def _check_format(description: Any) -> None:
    """Raise ValueError where a file's description is not what `Recording.save` writes."""
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"it is not of the format {FORMAT!r}")
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
        shapes = part.get("shapes", {})
        if not isinstance(shapes, dict) or any(
            not isinstance(shape, list) or len(shape) < 2 or any(type(one) is not int or one < 0 for one in shape)
            for shape in shapes.values()
        ):
            raise ValueError(f"the shapes of its states are {shapes!r}")
    if any(type(step) is not int for step in description["steps"] or ()):
        raise ValueError(f"its steps are {description['steps']!r}")


def _check(recording: Recording) -> None:
    """Raise ValueError where a recording is none that `record` could have made."""
    error, names = recording.max_error, [(part.layer, part.call) for part in recording.parts]
    if error is not None and not (math.isfinite(error) and error >= 0):
        raise ValueError(f"its max_error is {error}")
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in recording.not_called):
        raise ValueError("it names one call of a layer twice, or as not called what is no name")
    for part in recording.parts:
        values = [*part.signals.values(), *part.gradients.values()]
        places = {tuple(value.shape[:2]) for value in values}
        # A state may count in whole numbers, which have no gradient.
        whole = all(value.dim() == 3 for value in values) and all(map(is_continuous, part.gradients.values()))
        if not part.signals or not whole or len(places) != 1 or part.call < 0:
            raise ValueError(f"the signals of layer {part.layer!r} do not fit together")
        ((batch, time),) = places
        if any(part.signals[name].shape != value.shape for name, value in part.gradients.items()):
            raise ValueError(f"the gradients of layer {part.layer!r} have other shapes than its signals")
        widths = {name: value.shape[-1] for values in (part.signals, part.initial) for name, value in values.items()}
        if any(widths.get(name) != math.prod(shape) for name, shape in part.shapes.items()):
            raise ValueError(f"the states of layer {part.layer!r} have other shapes than {dict(part.shapes)}")
        if any(state.dim() != 2 or len(state) != batch for state in part.initial.values()):
            raise ValueError(f"the initial states of layer {part.layer!r} are not of {batch} rows")
        inputs = part.inputs
        if inputs is not None and (inputs.dim() != 3 or len(inputs) != batch or not is_continuous(inputs)):
            raise ValueError(f"the inputs of layer {part.layer!r} are not of {batch} rows")
        if recording.steps is not None and len(recording.steps) != time:
            raise ValueError(f"layer {part.layer!r} has {time} steps, and {len(recording.steps)} were kept")
        longest = math.inf if recording.steps is not None else time
        lengths = part.lengths
        if lengths is not None and not (
            len(lengths) == batch and all(type(one) is int and 0 < one <= longest for one in lengths)
        ):
            raise ValueError(f"the lengths of layer {part.layer!r} are not those of {batch} rows of {time} steps")
