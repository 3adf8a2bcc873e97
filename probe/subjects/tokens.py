"""Lets a model that embeds token ids be given them as numbers, (batch, time, 1), like any other inputs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ProbeError
from .functions import calling


@dataclass(frozen=True, eq=False)
class Tokens:
    """A model that takes token ids as numbers, and what reads them.

    Attributes:
        model: the model.
        embedding: the name in the model of the embedding that reads the ids.
        count: how many ids it has.
    """

    model: nn.Module
    embedding: str
    count: int


def reading_tokens(model: nn.Module, ids: np.ndarray) -> Tokens:
    """Return a copy of a model that takes token ids as numbers and hands them on as whole ones.

    Args:
        model: a model that is called with whole numbers, (batch, time), and embeds them.
        ids: the ids of the study, (batch, time).

    Raises:
        ProbeError: the model has no embedding, or an id lies beyond the table of the one that reads them.
    """
    if not any(isinstance(module, nn.Embedding) for module in model.modules()):
        raise ProbeError(
            f"The inputs are whole numbers of shape {ids.shape}, and the network has no embedding that could read "
            "them as token ids. Give numbers, (batch, time, feature); of one number a step x[:, :, None]."
        )
    found = copy.deepcopy(model)
    name, table = _reading(found, ids.shape[1])
    if ids.min() < 0 or ids.max() >= table.num_embeddings:
        raise ProbeError(
            f"The token ids go from {ids.min()} to {ids.max()}, and the network's embedding {name!r} has "
            f"{table.num_embeddings}."
        )
    found.register_forward_pre_hook(_as_ids)
    return Tokens(found, name, table.num_embeddings)


@torch.no_grad()
def _reading(model: nn.Module, steps: int) -> tuple[str, nn.Embedding]:
    """Return the first embedding that reads ids of a sequence as they are: not positions, and no type of token."""
    every = {module: name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    ids, met = torch.zeros((2, steps), dtype=torch.long), list[nn.Embedding]()

    def meet(module: Any, arguments: tuple[Any, ...]) -> None:
        # The very tensor, or a copy in another shape, as of a model that turns its axes.
        if arguments and isinstance(arguments[0], Tensor) and arguments[0].numel() == ids.numel():
            met.append(module)

    handles = [module.register_forward_pre_hook(meet) for module in every]
    try:
        with calling("Running the network on token ids", f"It is called with whole numbers, (batch, {steps})."):
            _ = model(ids)
    finally:
        for handle in handles:
            handle.remove()
    first = next(iter([*met, *every]))
    return every[first], first


def _as_ids(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    first = arguments[0] if arguments else None
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.dim() != 3:
        return None
    return (first[:, :, 0].long(), *arguments[1:])
