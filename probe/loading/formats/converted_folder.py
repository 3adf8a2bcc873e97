"""A folder that `rnn-probe convert` wrote, or another one with model.safetensors in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ..reading import Budget, Contents, file_bytes, reading
from . import safetensors_file

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
#: Who wrote the folder, in the hub's words.
LIBRARY = "rnn-probe"
#: What config.json holds, each of its kind.
KINDS = {"networks": dict, "arrays": dict, "source": dict, "sha256": str, "library_name": str}
_ADVICE = "Give a folder that rnn-probe convert wrote, whole."


@dataclass(frozen=True, eq=False)
class Converted:
    """What config.json says.

    Attributes:
        networks: by name, what `described.describe` returned.
        arrays: names of the arrays that belong to none of them, by their keys in the weights.
        source: of the original file.
    """

    networks: Mapping[str, Any]
    arrays: Mapping[str, str]
    source: Mapping[str, Any]


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a folder's model.safetensors, with what config.json says where we wrote it."""
    config = read_config(path, budget)
    # Read once: what is looked at is what is loaded.
    content = file_bytes(path / WEIGHTS, budget)
    contents = safetensors_file.parsed(path / WEIGHTS, content)
    if config is None:
        return contents
    found = hashlib.sha256(content).hexdigest()
    if found != config["sha256"]:
        raise ProbeError(
            f"{str(path / WEIGHTS)!r} has the SHA-256 {found[:12]}..., and {CONFIG} was written for "
            f"{config['sha256'][:12]}... The weights were damaged or replaced; convert the original anew."
        )
    names = {described["key"]: name for name, described in config["arrays"].items()}
    source = config["source"]
    framework, version = str(source.get("framework", "unknown")), str(source.get("version", ""))
    described = f"{LIBRARY} folder, converted from {source.get('format', 'an unknown file')}"
    return replace(
        contents,
        framework=framework,
        format=described,
        version=version,
        description=Converted(config["networks"], names, source),
    )


def read_config(path: Path, budget: Budget) -> dict[str, Any] | None:
    """Return what a folder's config.json says, or None where it is none that we wrote.

    Raises:
        ProbeError: it is one that we wrote, and damaged.
    """
    file = path / CONFIG
    if not file.is_file():
        return None
    with reading(file, "the configuration of a converted network", _ADVICE):
        config = json.loads(file_bytes(file, budget))
        if not isinstance(config, dict) or config.get("library_name") != LIBRARY:
            return None
        for name, kind in KINDS.items():
            if not isinstance(config.get(name), kind):
                raise ValueError(f"{name!r} is missing, or no {kind.__name__}")
        described = [*config["networks"].values(), *config["arrays"].values()]
        if not all(isinstance(one, dict) and isinstance(one.get("key"), str) for one in described):
            raise ValueError("a network or an array has no key")
    return config
