"""Reads what torch.save wrote: a state_dict, or a checkpoint that holds one, with `weights_only=True`."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ..readers import DEEPEST, ERRORS, LIST, MOST_VALUES, Budget, Contents, check_archive, is_list, listed, reading

ADVICE = "Give a file that torch.save(model.state_dict(), path) wrote."
#: What a checkpoint holds besides networks.
_NO_PART = ("optim", "opt_", "sched", "lr_", "ema_optim", "scaler")
#: Of a network whose products are of 8 bits, after "holds a".
QUANTIZED = (
    "quantized network, which rounds what it reads and its state to 8 bits at each step; no cell here does. Save the "
    "state_dict of the network before it is quantized."
)
#: What torch's message says of the first object that it does not open.
_ASKED = re.compile(r"GLOBAL (?:builtins\.)?([\w.]+)")  # torch 2.6 names the module of these too
_ARCHIVE = b"PK\x03\x04"
#: Where a training loop's checkpoint keeps the state_dict.
NESTED = ("state_dict", "model_state", "model", "model_state_dict", "net", "network", "weights")


def read(path: Path, budget: Budget) -> Contents:
    """Return the tensors of a state_dict.

    Raises:
        ProbeError: the file is damaged, holds Python objects besides tensors, or no state_dict or several.
    """
    with path.open("rb") as file:
        is_archive = file.read(4) == _ARCHIVE
    if is_archive:
        with reading(path, "a state_dict", ADVICE), zipfile.ZipFile(path) as archive:
            check_archive(archive, budget)
    # An archive says how large it is; of an older file it is known when it was read.
    budget.check(path.name, path.stat().st_size)
    arrays, format_ = _state_dict(path, _unpickled(path))
    tensors = {name: value for name, value in arrays.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        if tensor.is_quantized or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ProbeError(
                f"{name!r} is a tensor of another kind ({tensor.layout}, {tensor.device}); plain arrays of numbers "
                "were expected. Save the network before it is quantized, pruned or moved to the device 'meta'."
            )
        # A view of few numbers can claim to be of any shape.
        budget.take(name, tensor.numel() * tensor.element_size())
    return Contents(tensors, "PyTorch", format_, left_out={name: LIST for name in arrays if name not in tensors})


def _unpickled(path: Path) -> Any:
    try:
        # Opened here: of a name that ends in .safetensors torch would make another kind of file.
        with warnings.catch_warnings(), path.open("rb") as file:
            # A TorchScript archive is refused just after a warning that says that it is one.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Not in torch's words, which advise to load it without weights_only.
        asked = _ASKED.search(str(error))
        if asked and ("ScriptObject" in asked[1] or "quantized" in asked[1]):
            raise ProbeError(f"{str(path)!r} holds a {QUANTIZED}") from error
        named = f", {asked[1]!r} first" if asked else ""
        raise ProbeError(
            f"{str(path)!r} is no file of torch.save, or holds Python objects besides tensors{named}, which are not "
            "opened because opening them can run any code. Save model.state_dict() instead of the model."
        ) from error
    except ERRORS as error:
        reason = str(error).partition("\n")[0][:200] or "it ends too early"
        raise ProbeError(
            f"{str(path)!r} cannot be read as a state_dict ({type(error).__name__}: {reason}). It is damaged, was "
            f"cut, or is of another kind. {ADVICE}"
        ) from error


def _state_dict(path: Path, content: Any) -> tuple[Mapping[str, Any], str]:
    """Return the tensors of a loaded file with the lists of numbers beside them, and what the file is."""
    by_name = content if isinstance(content, Mapping) else {}
    nested = [key for key in NESTED if isinstance(by_name.get(key), Mapping) and _arrays(by_name[key])]
    if len(nested) == 1:
        return _arrays(by_name[nested[0]]), f"PyTorch checkpoint, state_dict under {nested[0]!r}"
    with reading(path, "a state_dict", ADVICE):
        parts = {} if nested else dict(_parts(content))
    if not parts and not isinstance(content, Mapping):
        raise ProbeError(
            f"{str(path)!r} holds a {type(content).__name__}; a state_dict is a dict of tensors by name."
        )
    if not parts:
        raise ProbeError(
            f"{str(path)!r} is a dict with {', '.join(map(repr, content)) or 'nothing in it'}, and "
            f"{'several' if nested else 'none'} of {', '.join(map(repr, NESTED))} is a state_dict. "
            "Save the state_dict alone."
        )
    named = {f"{place}.{name}" if place else name: value for place in parts for name, value in parts[place].items()}
    if set(parts) == {""}:
        return named, "PyTorch state_dict"
    return named, f"PyTorch checkpoint, state_dicts under {listed(place for place in parts if place)}"


def _parts(content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the dicts and lists that hold tensors, at any depth, by the dotted place where they lie."""
    below, seen = [("", content, 0)], 0
    while below:
        place, value, depth = below.pop(0)
        if not isinstance(value, Mapping | list | tuple):
            continue
        held = value if isinstance(value, Mapping) else dict(enumerate(value))
        seen += len(held)
        if seen > MOST_VALUES or depth > DEEPEST:
            raise ValueError(f"more than {MOST_VALUES} values, or values more than {DEEPEST} deep")
        if arrays := _arrays(held):
            yield place, arrays
        kept = ((str(key), one) for key, one in held.items() if not str(key).startswith(_NO_PART))
        below += [(f"{place}.{key}" if place else key, one, depth + 1) for key, one in kept]


def _arrays(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the tensors among some values, and the lists of numbers beside them; without a tensor nothing."""
    kept = {str(name): value for name, value in content.items() if isinstance(value, Tensor) or is_list(value)}
    return kept if any(isinstance(value, Tensor) for value in kept.values()) else {}
