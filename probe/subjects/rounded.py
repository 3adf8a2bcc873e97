"""How much of a subject's states is rounding: that of its weights, which a recurrence uses at every step."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from .controls import with_model
from .ends import machine_of
from .subject import Subject, per_subject


@per_subject
def rounding_of(subject: Subject, step: int) -> float:
    """Return how far rounding moves the distinct states after a step: the largest singular value of the difference.

    The same states are computed with weights whose last digit is another. Along a direction in which states vary by
    no more, they hold what the rounding of the weights made of them.

    Args:
        subject: the network.
        step: counted in the ends of the sequences, from 0.
    """
    clean = machine_of(subject).clean
    again = with_model(subject, _with_other_last_digits(subject.model), subject.network.role, subject.head)
    rows = clean.prefixes[step].rows
    moved = (machine_of(again).clean.states[rows, step] - clean.states[rows, step]).detach().numpy()
    return float(np.linalg.norm(moved - moved.mean(0), 2))


def _with_other_last_digits(model: nn.Module) -> nn.Module:
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
