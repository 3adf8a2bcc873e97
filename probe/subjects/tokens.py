"""Lets a model that embeds token ids be given them as numbers, (batch, time, 1), like any other inputs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..errors import ProbeError


def reading_tokens(model: nn.Module, ids: np.ndarray) -> nn.Module:
    """Return a copy of a model that takes token ids as numbers and hands them on as whole ones.

    Args:
        model: a model that is called with whole numbers, (batch, time), and embeds them.
        ids: the ids of the study, (batch, time).

    Raises:
        ProbeError: the model has no embedding, or an id lies beyond the first one's table.
    """
    table = next((module for module in model.modules() if isinstance(module, nn.Embedding)), None)
    if table is None:
        raise ProbeError(
            f"The inputs are whole numbers of shape {ids.shape}, and the network has no embedding that could read "
            "them as token ids. Give numbers, (batch, time, feature); of one number a step x[:, :, None]."
        )
    if ids.min() < 0 or ids.max() >= table.num_embeddings:
        raise ProbeError(
            f"The token ids go from {ids.min()} to {ids.max()}, and the network's embedding has "
            f"{table.num_embeddings}."
        )
    found = copy.deepcopy(model)
    found.register_forward_pre_hook(_as_ids)
    return found


def _as_ids(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    first = arguments[0] if arguments else None
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.dim() != 3:
        return None
    return (first[:, :, 0].long(), *arguments[1:])
