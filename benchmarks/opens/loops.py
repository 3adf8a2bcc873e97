"""Tries a cell that a loop calls, which needs no adapter: what `probe.testing.check_step` measures of an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import probe
from probe.recurrent.steps.step import leaves, rebuilt
from probe.testing import StepCheck
from probe.testing.trial import far

Loop = Callable[[Tensor, Any], tuple[Tensor, Any]]
#: After this step a state is changed, and gradients are asked of it.
_AT = 4
_ALLOWED = 1e-5


def check_loop(module: nn.Module, step: Loop, x: Tensor) -> StepCheck:
    """Return how far recordings of a module are from its cell, called by hand.

    Args:
        module: it returns its outputs, (batch, time, unit), and what else it likes.
        step: one call of the cell: (x, state) -> (output, next state), the state None before the first.
        x: what the module reads, (batch, time, feature).

    Raises:
        ValueError: a difference is above 1e-5, or nothing was recorded of the cell.
    """
    clean = probe.record(module, x)
    (part,) = clean.parts
    outputs, states = _by_hand(step, x)
    recorded = [far(clean[part.layer, name], value) for name, value in states.items()]
    check = StepCheck(
        "none",
        type(module).__name__,
        {name: tuple(value.shape[2:]) for name, value in states.items()},
        max([far(clean.output[0], outputs), *recorded]),
        _spliced(module, x, clean, [*states]),
        _gradient(module, step, x, part.layer),
    )
    if not max(check.stepwise, check.spliced, check.gradient) <= _ALLOWED:
        raise ValueError(f"{check} differs by more than {_ALLOWED:g}.")
    return check


@torch.no_grad()
def _by_hand(step: Loop, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the outputs, (batch, time, unit), and the parts of the state after each step, (batch, time, ...)."""
    state, outputs, kept = None, list[Tensor](), dict[str, list[Tensor]]()
    for now in x.unbind(1):
        y, state = step(now, state)
        outputs.append(y)
        for name, value in leaves(state).items():
            kept.setdefault(name, []).append(value)
    return torch.stack(outputs, 1), {name: torch.stack(values, 1) for name, values in kept.items()}


@torch.no_grad()
def _spliced(module: nn.Module, x: Tensor, clean: probe.Recording, names: Sequence[str]) -> float:
    edits = [probe.patch(name, clean, steps=_AT, rows=[0], source_rows=[1]) for name in names]
    joined = torch.cat([x[1:2, : _AT + 1], x[:1, _AT + 1 :]], 1)
    found = probe.record(module, x, edits=edits).output[0]
    return far(found[:1, _AT + 1 :], module(joined)[0][:, _AT + 1 :])


def _gradient(module: nn.Module, step: Loop, x: Tensor, layer: str) -> float:
    def scalar(returned: Any) -> Tensor:
        return returned[0][:, _AT + 1 :].square().sum()

    recorded = probe.record(module, x, gradient_of=scalar).gradient
    state = None
    with torch.no_grad():
        for now in x[:, : _AT + 1].unbind(1):
            _, state = step(now, state)
    parts = {name: value.clone().requires_grad_() for name, value in leaves(state).items()}
    state, later = rebuilt(state, list(parts.values())), x.new_zeros(())
    for now in x[:, _AT + 1 :].unbind(1):
        y, state = step(now, state)
        later = later + y.square().sum()
    found = torch.autograd.grad(later, list(parts.values()))
    return max(far(recorded[layer, name][:, _AT], own) for name, own in zip(parts, found, strict=True))
