"""Writes nested tuples and dicts of tensors as JSON and tensors, and reads them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ..errors import ProbeError


def flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Describe nested tensors in JSON, and collect them under the names that the description uses."""
    if isinstance(value, Tensor):
        name = f"output.{len(tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ProbeError(
                    f"The model's output holds a dict with the key {key!r}, a {type(key).__name__}; only str keys "
                    "can be saved. Wrap the model so that it returns a dict with names as keys."
                )
        return {"dict": [[key, flatten(item, tensors)] for key, item in value.items()]}
    if isinstance(value, PackedSequence):
        return {"packed": [flatten(item, tensors) for item in value]}
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [flatten(item, tensors) for item in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise ProbeError(
        f"The model's output holds a {type(value).__name__}, which cannot be saved. "
        "Save recording.to_xarray() instead, or wrap the model so that it returns tensors."
    )


def unflatten(description: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `flatten` described."""
    if not isinstance(description, dict) or len(description) != 1:
        raise ValueError("its output is not described")
    ((kind, content),) = description.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unflatten(item, tensors) for key, item in content}
    if kind == "packed":
        if len(content) != len(PackedSequence._fields):
            raise ValueError("a packed sequence has four parts")
        return PackedSequence(*(unflatten(item, tensors) for item in content))
    if kind in ("tuple", "list"):
        items = [unflatten(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    if kind != "value":
        raise ValueError(f"its output is described by {kind!r}")
    return content
