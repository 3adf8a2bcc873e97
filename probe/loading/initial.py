"""Refuses arrays that look like a learned initial state, since a loaded module would begin with zeros instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from .readers import listed

#: The last word of such an array's name: h0, c_0, init_hidden, initial_state, learned_h, state_init, ...
_NAMED = re.compile(
    r"(?:h|c|hx|cx|hidden|cell|state)_?(?:0|init|initial)(?:_?\d)?"
    r"|(?:init|initial|learned|start)_?(?:h|c|hidden|cell|state)(?:_?(?:states?|0))?",
    re.IGNORECASE,
)


def check_initial(recurrent: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Raise ProbeError where arrays that belong to no layer look like a state that a layer begins with.

    torch's modules begin with zeros unless they are given another state, and so do most files' networks.

    Args:
        recurrent: the modules of a file.
        tensors: its other arrays.
    """
    sizes = {size for module in recurrent.values() for size in _sizes(module)}
    named = [
        name
        for name, tensor in tensors.items()
        if looks_initial(name)
        and tensor.dim()
        and tensor.shape[-1] in sizes
        and tensor.is_floating_point()
        and bool(torch.count_nonzero(tensor))
    ]
    if named:
        left_out = ", ".join(f"{name!r}: None" for name in named)
        raise ProbeError(
            f"{listed(named)} look like a state that was learned and that a network begins with; the modules of this "
            f"file would begin with zeros. If the network does not use them, leave them out: names={{{left_out}}}. "
            "If it does, leave them out as well, and hand them to the module: module(x, state)."
        )


def looks_initial(name: str) -> bool:
    """Return whether an array's name is that of a state that a network begins with."""
    return _NAMED.fullmatch(re.split(r"[./]", name)[-1]) is not None


def _sizes(module: nn.Module) -> set[int]:
    found: set[int] = set()
    for part in module.modules():
        own: Any = part
        found |= {size for size in (getattr(own, "hidden_size", 0), getattr(own, "proj_size", 0)) if size}
    return found
