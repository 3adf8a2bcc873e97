"""Gradients through an adapter's steps, against the module's own and autograd's through a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import ProbeError
from ..recurrent.cells.step_cell import returns_every_step
from ..recurrent.signals import is_continuous
from ..recurrent.steps.step import begin, leaves, rebuilt, settle
from .trial import AT, Trial, far


def largest(trial: Trial) -> float:
    """Return how far gradients through the steps are from the module's own, and from autograd's through a loop."""
    own, ours = _of_what_is_read(trial, _by_module), _of_what_is_read(trial, _by_steps)
    worst = 0.0
    if own is not None:
        for wanted, found in zip(own, ours or [torch.zeros_like(one) for one in own], strict=True):
            worst = max(worst, _apart(found, wanted))
        if not worst <= trial.tolerance:
            raise ProbeError(
                f"{trial.name}: gradients through its steps differ by {worst:.3g} from the module's own, with "
                "respect to what the module reads. Leave out what the module does not do: detach, no_grad, .data."
            )
    if ours is None or not any(is_continuous(trial.clean[signal]) for signal in trial.parts):
        return worst
    recorded = trial.recorded(gradient_of=lambda returned: _scalar(trial, returned)).gradient
    return max(worst, _from_loop(trial, recorded))


def _apart(found: Tensor, wanted: Tensor) -> float:
    """Return how far gradients are, which add up where large terms cancel: they round as the largest does."""
    scale = wanted.abs().max().clamp(min=1) if wanted.numel() else 1
    return far(found / scale, wanted / scale)


def _first(trial: Trial) -> int:
    """Return the first step whose output counts: the module's own, after the one where states are changed."""
    # What is returned of the last step alone says nothing of those before, which the adapter may compute itself.
    return AT + 1 if returns_every_step(trial.bare, trial.x.shape[:2]) else trial.last


def _scalar(trial: Trial, returned: Any) -> Tensor:
    return _of_outputs(trial.adapter.outputs(returned)[:, _first(trial) :])


def _of_outputs(outputs: Tensor) -> Tensor:
    return outputs.real.square().mean(1).sum()


def _by_module(trial: Trial, inputs: Any, keywords: Any) -> Tensor:
    adapter = trial.step(trial.module)
    _ = adapter.inputs(*inputs, **keywords)
    return adapter.outputs(trial.module(*inputs, **keywords))


def _by_steps(trial: Trial, inputs: Any, keywords: Any) -> Tensor:
    adapter, outputs = trial.step(trial.module), list[Tensor]()
    x = adapter.inputs(*inputs, **keywords)
    settle(adapter, x)
    state = begin(adapter, len(x))
    for now in x.unbind(1):
        y, state = adapter.step(now, state)
        outputs.append(y)
    return torch.stack(outputs, 1)


def _of_what_is_read(trial: Trial, run: Callable[[Trial, Any, Any], Tensor]) -> list[Tensor] | None:
    """Return the gradients with respect to what the module is given and to its parameters; None where it has none."""
    with torch.enable_grad():
        given = pytree.tree_map_only(
            Tensor,
            lambda one: one.detach().clone().requires_grad_() if is_continuous(one) else one,
            (trial.inputs, dict(trial.keywords)),
        )
        read = [one for one in pytree.tree_leaves(given) if isinstance(one, Tensor) and one.requires_grad]
        read += [one for one in trial.module.parameters() if one.requires_grad]
        try:
            scalar = _of_outputs(run(trial, *given)[:, _first(trial) :])
            if not scalar.requires_grad:
                return None
            found = torch.autograd.grad(scalar, read, allow_unused=True)
        except (NotImplementedError, RuntimeError):  # a kernel without a backward, or numbers changed in place
            return None
    pairs = zip(found, read, strict=True)
    return [torch.zeros_like(one) if gradient is None else gradient for gradient, one in pairs]


def _from_loop(trial: Trial, recorded: Any) -> float:
    """Return how far gradients through recorded states are from autograd's through a loop of steps."""
    first = _first(trial)
    with torch.enable_grad():
        state, outputs = begin(trial.adapter, len(trial.x)), list[Tensor]()
        for x in trial.x[:, : AT + 1].unbind(1):
            _, state = trial.adapter.step(x, state)
        # Of its own each: what one part of the state was made of is no way in which another acts.
        parts = {path: part.detach().clone() for path, part in leaves(state).items()}
        asked = {path: part.requires_grad_() for path, part in parts.items() if is_continuous(part)}
        state = rebuilt(state, list(parts.values()))
        for x in trial.x[:, AT + 1 :].unbind(1):
            y, state = trial.adapter.step(x, state)
            outputs.append(y)
        scalar = _of_outputs(torch.stack(outputs, 1)[:, first - AT - 1 :])
        found = torch.autograd.grad(scalar, list(asked.values()), allow_unused=True)
    worst = 0.0
    for path, gradient in zip(asked, found, strict=True):
        if not asked[path].numel():
            continue
        own = recorded[trial.step.names.get(path, path)][:, AT]
        worst = max(worst, _apart(own, torch.zeros_like(own) if gradient is None else gradient.reshape(own.shape)))
    if not worst <= trial.tolerance:
        raise ProbeError(f"{trial.name}: gradients through its states differ from autograd's by {worst:.3g}.")
    return worst
