"""Copies of a network: one that starts every call alike, and one whose weights have another last digit each.

The first is of a network that keeps a state from call to call, as `self.hidden`; the second shows what the rounding
of the weights makes of the states.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ...errors import ProbeError
from ...recurrent.kept import Kept, reads_what_it_left

#: What stood on the modules of each copy that runs just now, the innermost last.
_RUNNING: list[Kept] = []


@torch.no_grad()
def starting_alike(model: nn.Module, *arguments: Any) -> nn.Module:
    """Return the model, or where a call leaves on its modules what the next one may start from, a copy.

    Hooks of the copy put that back after every call; copies of the copy do so, too. The arguments are for a trial.
    """
    kept = Kept(model)
    with torch.random.fork_rng(devices=[]):
        try:
            _ = model(*arguments)
        finally:
            changes = kept.put_back()
        if not changes:
            return model
        if any(change.of_rows() for change in changes) and reads_what_it_left(model, lambda: model(*arguments)):
            raise ProbeError(
                f"The network starts from {', '.join(map(str, changes))}, which every call changes, so that it "
                "answers otherwise each time. Set that to what a sequence starts from, such as None, and study it."
            )
    copied = copy.deepcopy(model)
    _ = copied.register_forward_pre_hook(_begin, prepend=True)
    _ = copied.register_forward_hook(_end, always_call=True)
    return copied


def _begin(module: nn.Module, _: Any) -> None:
    _RUNNING.append(Kept(module))


def _end(*_arguments: Any) -> None:
    _ = _RUNNING.pop().put_back()


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
