"""A network whose weights have another last digit each: it shows what their rounding makes of the states."""

from __future__ import annotations

import copy

import torch
from torch import nn


def with_other_last_digits(model: nn.Module) -> nn.Module:
    """Return a copy, each weight of which is larger or smaller by its precision, at random.

    Numbers of float64 that are all numbers of float32 were rounded to these.
    """
    changed, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in filter(torch.is_floating_point, changed.parameters()):
            rounded = torch.equal(weight, weight.float().to(weight.dtype))
            precision = max(torch.finfo(weight.dtype).eps, torch.finfo(torch.float32).eps if rounded else 0.0)
            signs = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
            weight.mul_(1 + precision * signs.to(weight.device))
    return changed
