"""A network that embeds token ids: its study reads ids, whole numbers, and what runs it hands them on as such."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ..errors import ProbeError
from .functions import calling


def reading_tokens(model: nn.Module, ids: np.ndarray) -> tuple[nn.Module, str, int]:
    """Return a copy of a model that takes token ids as numbers, (batch, time, 1), and hands them on as whole ones.

    With it come the name in it of the embedding that reads the ids, and how many ids that has. `ids`, (batch, time),
    are those of the study.
    """
    if not any(isinstance(module, nn.Embedding) for module in model.modules()):
        raise ProbeError(
            f"The inputs are whole numbers of shape {ids.shape}, and the network has no embedding that could read "
            "them as token ids. Give numbers, (batch, time, feature); of one number a step x[:, :, None]."
        )
    model = copy.deepcopy(model)
    name, table = _reading(model, ids.shape[1])
    if ids.min() < 0 or ids.max() >= table.num_embeddings:
        raise ProbeError(
            f"The token ids go from {ids.min()} to {ids.max()}, and the network's embedding {name!r} has "
            f"{table.num_embeddings}."
        )
    model.register_forward_pre_hook(_as_ids)
    return model, name, table.num_embeddings


@torch.no_grad()
def _reading(model: nn.Module, steps: int) -> tuple[str, nn.Embedding]:
    """Return the first embedding that reads ids of a sequence as they are: not positions, and no type of token."""
    every = {module: name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    ids, met = torch.zeros((2, steps), dtype=torch.long), list[nn.Embedding]()

    def meet(module: Any, arguments: tuple[Any, ...]) -> None:
        # The very tensor, or a copy in another shape, as of a model that turns its axes.
        if module in every and isinstance(arguments[0], Tensor) and arguments[0].numel() == ids.numel():
            met.append(module)

    wants = f"It is called with whole numbers, (batch, {steps})."
    with register_module_forward_pre_hook(meet), calling("Running the network on token ids", wants):
        _ = model(ids)
    first = next(iter([*met, *every]))
    return every[first], first


def _as_ids(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    first = arguments[0] if arguments else None
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.dim() != 3:
        return None
    return (first[:, :, 0].long(), *arguments[1:])
