"""Rebuilds the networks that `rnn-probe convert` described in a file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..described import build
from ..formats.safetensors_file import Converted
from ..layer_spec import Found


def find(
    description: Converted, tensors: Mapping[str, Tensor], choices: Choices, skipped: frozenset[str]
) -> list[Found]:
    """Return the networks of converted weights.

    Args:
        description: what the weights say of themselves.
        tensors: all of its arrays.
        choices: the caller's, none of which decides anything here; what the original's loading chose is noted.
        skipped: names of networks that the caller leaves out.

    Raises:
        ProbeError: description and arrays do not belong together.
    """
    layouts, orders = (_texts(description.source.get(key)) for key in ("layouts", "gate_orders"))
    found: list[Found] = []
    for name, described in description.networks.items():
        if name in skipped:
            continue
        start = f"{described['key']}."
        own = {
            key.removeprefix(start): tensor
            for key, tensor in tensors.items()
            if key.startswith(start) and key not in description.arrays
        }
        try:
            module = build(described, own)
        except ProbeError as error:
            raise ProbeError(f"Network {name!r}: {error}") from error
        arrays = tuple(start + key for key in own)
        found.append(Found(name, module, arrays, layouts.get(name, ""), orders.get(name, "")))
    for noted, key in ((choices.chosen, "chosen"), (choices.assumed, "assumed")):
        told = description.source.get(key)
        noted.extend(map(str, told if isinstance(told, list) else ()))
    return found


def _texts(given: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in given.items()} if isinstance(given, Mapping) else {}
