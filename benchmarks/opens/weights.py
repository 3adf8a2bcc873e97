"""Random weights for networks that begin with zeros, or alike in all units."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def drawn(module: nn.Module, spread: float = 0.1) -> nn.Module:
    """Return a module in evaluation mode, after noise was added to each of its weights."""
    for weight in module.parameters():
        if weight.requires_grad:
            _ = weight.add_(torch.randn_like(weight) * spread)
    return module.eval()
