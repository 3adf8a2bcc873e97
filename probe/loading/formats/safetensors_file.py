"""Reads safetensors: tensors by name, and the networks that `rnn-probe convert` describes in the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...storage import tensor_files
from ...storage.tensor_files import OURS
from ..readers import Budget, Contents, reading

ADVICE = "Give a file that safetensors.torch.save_file wrote."
#: What the metadata of converted weights hold, each of its kind.
KINDS = {"networks": dict, "arrays": dict, "source": dict}


@dataclass(frozen=True, eq=False)
class Converted:
    """What converted weights say of themselves.

    Attributes:
        told: all of it, as plain values.
        networks: by name, what `described.describe` returned.
        arrays: names of the arrays that belong to none of them, by their keys in the weights.
        source: of the original file.
    """

    told: Mapping[str, Any]
    networks: Mapping[str, Any]
    arrays: Mapping[str, str]
    source: Mapping[str, Any]


def read(path: Path, budget: Budget) -> Contents:
    """Return the tensors of a safetensors file, and what one of ours says of its networks.

    Raises:
        ProbeError: it is damaged, of another kind, or of ours and holds no networks.
    """
    with reading(path, "safetensors", ADVICE):
        found = tensor_files.read(path, budget.take)
    left_out = {name: f"numbers of the kind {kind}" for name, kind in found.other.items()}
    contents = Contents(found.tensors, "PyTorch", "safetensors", left_out=left_out)
    if found.about is None:
        return contents
    if "recording" in found.about:
        raise ProbeError(f"{str(path)!r} is a recording, and holds no weights. Open it with probe.load_recording.")
    with reading(path, "the weights of a converted network", "Convert the original anew."):
        return converted(contents, found.about)


def converted(contents: Contents, about: Mapping[str, Any]) -> Contents:
    """Return arrays with what is said of them.

    Raises:
        ValueError: it is no description of networks.
    """
    if not all(isinstance(about.get(name), kind) for name, kind in KINDS.items()):
        raise ValueError(f"its metadata must hold {', '.join(KINDS)}")
    described = [*about["networks"].values(), *about["arrays"].values()]
    if not all(isinstance(one, dict) and isinstance(one.get("key"), str) for one in described):
        raise ValueError("a network or an array has no key")
    names = {one["key"]: name for name, one in about["arrays"].items()}
    source = about["source"]
    return replace(
        contents,
        framework=str(source.get("framework", "unknown")),
        format=f"{OURS} weights, converted from {source.get('format', 'an unknown file')}",
        version=str(source.get("version", "")),
        description=Converted(about, about["networks"], names, source),
    )
