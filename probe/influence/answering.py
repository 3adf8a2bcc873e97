"""A model whose output is its answers, as `memory` compares them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError

#: What answers are, and how they are chosen.
GIVE = "(batch, step) or (batch, step, number). Choose them with answer=, a function of the model's output."


class Answering(nn.Module):
    """A model whose output is its answers, (batch, step, number).

    Args:
        model: the model.
        answer: from what it returns to its answers; None for the first tensor that it returns.
        axis: the batch's axis of that tensor.
    """

    def __init__(self, model: nn.Module, answer: Any, axis: int) -> None:
        super().__init__()
        self.model, self._answer, self._axis = model, answer, axis

    def forward(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return the answers."""
        output = self.model(*arguments, **keywords)
        first = output[0] if isinstance(output, (tuple, list)) and output else output
        found = first if self._answer is None else self._answer(output)
        if not isinstance(found, Tensor) or found.dim() not in (2, 3) or not found.is_floating_point():
            told = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ProbeError(f"The answers are {told}, and must be floating-point numbers: {GIVE}")
        found = found.transpose(0, 1) if self._answer is None and self._axis == 1 else found
        found = found.to(torch.promote_types(found.dtype, torch.float32))
        return found if found.dim() == 3 else found.unsqueeze(2)


def inside(layer: str) -> str:
    """Return what a model's layer is called in the module around it."""
    return f"model{layer}" if layer.startswith("[") else f"model.{layer}"


def plain(layer: str) -> str:
    """Return what such a layer is called in the model."""
    return layer.removeprefix("model").removeprefix(".")
