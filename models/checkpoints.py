"""Writes and reads the folder of one trained network, a counter or a flip-flop.

model.safetensors      the trained weights
untrained.safetensors  its own initialisation: the network before the first step
config.json            recipe, seed, split, digests, versions, errors
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import nn

from probe.errors import ProbeError, unknown
from probe.storage.files import write_atomically

from .counter import Counter, freeze_second_bias
from .recipes import Recipe

Network = TypeVar("Network", bound=nn.Module)
CONFIG = "config.json"
WEIGHTS = {"model": "model.safetensors", "untrained": "untrained.safetensors"}
#: What every description has; that of a counter has its split too.
CONFIG_KINDS = {"recipe": dict, "seed": int, "errors": dict, "versions": dict, "sha256": dict}
OF_COUNTERS = {**CONFIG_KINDS, "split": dict}


def save(folder: str | Path, *, model: nn.Module, untrained: nn.Module | None, config: dict[str, Any]) -> Path:
    """Write a network, its own initialisation and their description, and return the folder.

    Args:
        folder: made if it is missing.
        model: the trained network.
        untrained: the network that it was before the first step; None where nobody kept it.
        config: the description without digests, see `models.describe`; they are added here.

    Raises:
        ProbeError: a file cannot be written.
    """
    folder = Path(folder)
    digests = {}
    for which, network in (("model", model), ("untrained", untrained)):
        if network is not None:
            write_atomically(folder / WEIGHTS[which], safetensors.torch.save(network.state_dict()))
            digests[which] = weights_digest(network)
    # config.json comes last: where it exists, the weights that it describes are there.
    write_atomically(folder / CONFIG, _to_json({**config, "sha256": digests}))
    return folder


def load_config(folder: str | Path, kinds: Mapping[str, type] = OF_COUNTERS) -> dict[str, Any]:
    """Return the description of a trained network.

    Args:
        folder: one that `save` wrote.
        kinds: what it must hold, with the type of each.

    Raises:
        ProbeError: the folder or its `config.json` is missing or damaged.
    """
    path = Path(folder) / CONFIG
    try:
        config = json.loads(read(path))
    except ValueError as error:
        raise ProbeError(f"{str(path)!r} is not valid JSON ({error}). Train the network again.") from error
    values = config if isinstance(config, dict) else {}
    lacking = [key for key, kind in kinds.items() if not isinstance(values.get(key), kind)]
    if lacking:
        raise ProbeError(
            f"{str(path)!r} lacks {', '.join(map(repr, lacking))} (or holds another type there); a description that "
            "models.train wrote was expected. Train the network again."
        )
    return values


def blank_of(config: dict[str, Any]) -> Counter:
    """Return a counter of a description's recipe, to be filled; as in training, its second bias is frozen."""
    recipe = Recipe.from_dict(config["recipe"])
    return freeze_second_bias(Counter(recipe.hidden_size, recipe.n_classes, recipe.cell))


def load(
    folder: str | Path, *, which: str = "model", blank: Callable[[dict[str, Any]], Network] = blank_of
) -> Network:
    """Return a trained network or its own initialisation, in evaluation mode.

    Everything is checked, the digest last: a damaged file that still loads would give wrong findings.

    Args:
        folder: one that `save` wrote.
        which: `"model"`, or `"untrained"` for its own initialisation.
        blank: makes the network of a description, whose weights are set here.

    Raises:
        ProbeError: a file is missing, truncated, of another shape or type, not finite, or not the one
            that `config.json` describes.
    """
    if which not in WEIGHTS:
        raise ProbeError(unknown("network of a checkpoint", which, WEIGHTS))
    config, path = load_config(folder, CONFIG_KINDS), Path(folder) / WEIGHTS[which]
    model = blank(config)
    fill(model, read_tensors(path, read(path)), path)
    refuse_changed(model, config["sha256"].get(which), f"The weights in {str(path)!r}", CONFIG)
    return model.eval()


def refuse_changed(model: nn.Module, expected: object, what: str, table: str) -> None:
    """Raise where a network's weights are not those that a file describes.

    Args:
        model: the network as it was read.
        expected: the digest of its weights in the file.
        what: these weights and where they lie, the beginning of the message.
        table: the file's name.

    Raises:
        ProbeError: the digest is another one.
    """
    if weights_digest(model) != expected:
        raise ProbeError(
            f"{what} are not those that {table} beside it describes: one of the two was changed. Restore both, or "
            "train the network again."
        )


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights: name, type, shape and numbers of each, in the order of names."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def read_tensors(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file that was read.

    Raises:
        ProbeError: the bytes are no complete safetensors file.
    """
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        found = "is empty" if not data else f"is no complete safetensors file ({len(data)} bytes: {error})"
        raise ProbeError(f"{str(path)!r} {found}. Restore it, or train the network again.") from error


@torch.no_grad()
def fill(model: nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Copy tensors into a network of the same names and shapes, which is changed in place.

    Raises:
        ProbeError: names, shapes or types differ, or a value is not finite; the model is then unchanged.
    """
    state = model.state_dict()
    missing, extra = sorted(state.keys() - tensors.keys()), sorted(tensors.keys() - state.keys())
    fault = f"other tensors than the network: missing {missing}, unknown {extra}" if missing or extra else ""
    for name, tensor in () if fault else tensors.items():
        wanted = state[name]
        if (tensor.shape, tensor.dtype) != (wanted.shape, wanted.dtype):
            fault = f"{name!r} as {tensor.dtype} {tuple(tensor.shape)}, not {wanted.dtype} {tuple(wanted.shape)}"
        elif bad := int((~torch.isfinite(tensor)).sum()):
            fault = f"{bad} values that are not finite (NaN or infinite) in {name!r}"
    if fault:
        raise ProbeError(f"{str(path)!r} holds {fault}. Restore it, or train the network again.")
    for name, tensor in tensors.items():
        # copy_, not load_state_dict(assign=True): tensors of a file lie at any address, and a kernel may
        # sum in another order on another alignment.
        state[name].copy_(tensor)


def read(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ProbeError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProbeError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. Restore it, or train the network again."
        ) from error


def _to_json(config: dict[str, Any]) -> str:
    # One line a key: the split has 1,024 numbers, and a line for each would bury the rest.
    lines = [f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in config.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
