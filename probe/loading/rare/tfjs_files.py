"""Reads TensorFlow.js: model.json, which describes a Keras model, and the files of its weights.

Reference: tensorflowjs 4, converters/read_weights.py: the bytes of all paths of a group follow each other, and in
them the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from ..formats import hdf5
from ..formats.keras_files import KerasModel
from ..readers import MOST_VALUES, Budget, Contents, collect, count, file_bytes, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = (
    "Give the model.json of a model that tensorflowjs or model.save of TensorFlow.js wrote, with its files beside it."
)
NAME = "model.json"
_MANIFEST, _TOPOLOGY = "weightsManifest", "modelTopology"
_DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "?"}
#: Of which Keras the functions are that TensorFlow.js calls by a name.
_OWN, _AS_KERAS = "tfjs-layers", "2"


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a model of TensorFlow.js, by the layer's name and their own, and its configuration.

    Raises:
        ProbeError: it is damaged, quantized, or names files that do not lie beside it.
    """
    content = file_bytes(path, budget)
    with reading(path, "a model of TensorFlow.js", ADVICE):
        model = hdf5.parsed(content, NAME)
        if not isinstance(model, dict) or _MANIFEST not in model:
            raise ValueError(f"it has no {_MANIFEST}")
        topology = model.get(_TOPOLOGY)
        topology = topology if isinstance(topology, dict) else {}
        config = topology.get("model_config", topology if "class_name" in topology else None)
        version = str(topology.get("keras_version", ""))
        arrays = dict(_weights(path, model[_MANIFEST], budget))
        layers = {name: _layer(name, config) for name in arrays}
        named = {f"{layers[name]}/{name}" if layers[name] else name: array for name, array in arrays.items()}
        tensors, left_out = collect(budget, named.items())
    names: dict[str, tuple[str, ...]] = {}
    for name, layer in layers.items():
        names[layer] = (*names.get(layer, ()), name)
    refusal = ""
    if config is None:
        refusal = (
            f"{str(path)!r} is a graph model of TensorFlow.js, whose layers are taken apart into operations. Convert "
            "the Keras model itself (--output_format=tfjs_layers_model), or give that to probe.load."
        )
    of_keras = _AS_KERAS if version.startswith(_OWN) else version
    description = KerasModel(config, of_keras, names)
    return Contents(tensors, "Keras", "TensorFlow.js model", description, left_out, version, refusal)


def _layer(name: str, config: Any) -> str:
    """Return the outermost layer to which a weight belongs, whose name its own begins with."""
    inside = config.get("config") if isinstance(config, dict) else None
    layers = inside if isinstance(inside, list) else inside.get("layers", []) if isinstance(inside, dict) else []
    names = [str(layer.get("name") or layer.get("config", {}).get("name")) for layer in layers]
    fitting = [own for own in names if name.startswith(f"{own}/")]
    return max(fitting, key=len, default="")


def _weights(path: Path, manifest: Any, budget: Budget) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for group in manifest:
        data = b"".join(_beside(path, name, budget) for name in group["paths"])
        at = 0
        for weight in group["weights"]:
            name = str(weight["name"])
            if name in seen or len(seen) > MOST_VALUES:
                raise ValueError(f"two weights of the name {name!r}")
            seen.add(name)
            array, at = _array(name, weight, data, at, budget)
            yield name, array
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes behind the last weight")


def _beside(path: Path, name: Any, budget: Budget) -> bytes:
    """Return the bytes of a file in the same folder; of no other file."""
    beside = path.with_name(str(name)) if name and Path(str(name)).name == name else None
    if beside is None or beside.is_symlink() or not beside.is_file():
        raise ProbeError(
            f"{str(path)!r} keeps weights in {str(name)[:100]!r}, which is no file beside it. Put it into the "
            "same folder."
        )
    return file_bytes(beside, budget)


def _array(name: str, weight: Mapping[str, Any], data: bytes, at: int, budget: Budget) -> tuple[np.ndarray, int]:
    import numpy as np

    if "quantization" in weight:
        raise ProbeError(
            f"{str(budget.path)!r} holds {name!r} quantized. Convert the model without quantization: what was "
            "rounded away is not in the file."
        )
    if weight["dtype"] not in _DTYPES:
        raise ValueError(f"{name!r} has the dtype {str(weight['dtype'])[:20]!r}")
    dtype, shape = np.dtype(_DTYPES[weight["dtype"]]), weight["shape"]
    if not isinstance(shape, list) or any(isinstance(size, bool) or not isinstance(size, int) for size in shape):
        raise ValueError(f"{name!r} has the shape {str(shape)[:40]}")
    end = at + count(shape) * dtype.itemsize
    if end > len(data):
        raise ValueError(f"{name!r} ends behind its file")
    budget.take(name, end - at)
    return np.frombuffer(data[at:end], dtype).reshape(shape), end
