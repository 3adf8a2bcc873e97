"""Reads Keras's files: .keras archives, .h5 with or without a model configuration, .weights.h5."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..readers import Budget, Contents, check_archive, collect, reading
from . import hdf5

ADVICE = "Give a file that model.save or model.save_weights of Keras wrote."
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
_WHOLE = "model_weights"


@dataclass(frozen=True)
class KerasModel:
    """What a file of Keras says besides its arrays.

    Attributes:
        config: the model's configuration, as JSON; None for a file of weights alone.
        version: Keras's version, or "" where the file does not say it.
        weight_names: of .h5 files, the arrays of each layer in its order, by the layer's name.
    """

    config: Any
    version: str
    weight_names: dict[str, tuple[str, ...]]


def read_archive(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a .keras file, and its model's configuration."""
    with reading(path, "a .keras archive", ADVICE), zipfile.ZipFile(path) as archive:
        check_archive(archive, budget)
        config = hdf5.parsed(archive.read(CONFIG), CONFIG)
        metadata = hdf5.parsed(archive.read(METADATA), METADATA) if METADATA in archive.namelist() else {}
        weights = hdf5.read(archive.read(WEIGHTS), budget)
        tensors, left_out = collect(budget, weights.arrays.items())
    version = str(metadata.get("keras_version", ""))
    return Contents(
        tensors, "Keras", "Keras .keras archive", KerasModel(config, version, {}), left_out=left_out, version=version
    )


def read_hdf5(path: Path, budget: Budget) -> Contents:
    """Return the arrays of an .h5 file, and its model's configuration if it has one."""
    with reading(path, "an HDF5 file of Keras", ADVICE):
        found = hdf5.read(path, budget)
        top = found.attributes[""]
        whole = any(name.startswith(f"{_WHOLE}/") for name in found.arrays) or _WHOLE in found.attributes
        names = {
            group.removeprefix(_WHOLE).strip("/"): _texts(attributes["weight_names"])
            for group, attributes in found.attributes.items()
            if "weight_names" in attributes and (not whole or group.startswith(f"{_WHOLE}/"))
        }
        config = hdf5.parsed(top.get("model_config"), "model_config")
        version = str(top.get("keras_version") or found.attributes.get(_WHOLE, {}).get("keras_version", ""))
        tensors, left_out = collect(
            budget, ((name.removeprefix(f"{_WHOLE}/"), array) for name, array in found.arrays.items())
        )
    legacy = bool(names) or "layer_names" in top
    what = "Keras HDF5 model" if config else "Keras HDF5 weights" if legacy else "Keras .weights.h5"
    of_keras = legacy or config or any(re.search(r"(^|/)vars/\d+$", name) for name in tensors)
    framework, what = ("Keras", what) if of_keras else ("unknown", "HDF5 file")
    return Contents(tensors, framework, what, KerasModel(config, version, names), left_out=left_out, version=version)


def _texts(names: Any) -> tuple[str, ...]:
    return tuple(map(str, names if isinstance(names, list) else [names]))
