"""`check_step` tries an adapter against its module: states, edits, what is returned, gradients, and what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..recurrent.steps import registry
from ..recurrent.steps.step import Step
from . import alone, gradients, returns
from .trial import Trial


@dataclass(frozen=True)
class StepCheck:
    """What `check_step` measured; the last three are the largest differences, relative to max(1, |value|).

    Attributes:
        step: the adapter's name.
        module: the module's class.
        states: the shapes of the parts of its state, without the batch.
        stepwise: between the steps and the module's own run.
        spliced: between other rows' states in a run, and the module's run on the spliced input: outputs, and whatever
            else it returns.
        gradient: between gradients through its steps, and the module's own by autograd; and between those through
            recorded states, and autograd through a loop.
    """

    step: str
    module: str
    states: Mapping[str, tuple[int, ...]]
    stepwise: float
    spliced: float
    gradient: float


def check_step(
    step: type[Step], module: nn.Module, *inputs: Any, tolerance: float = 1e-5, **keywords: Any
) -> StepCheck:
    """Check that an adapter runs a module as the module runs itself, and that edits of its state act as they must.

    The adapter counts while this runs; it needs no `register` before.

    Args:
        step: the adapter.
        module: a small module of the class that it is for, in evaluation mode.
        *inputs: what the module is called with: at least two rows that differ, of at least seven steps.
        tolerance: the largest difference allowed, relative to max(1, |value|).
        **keywords: the module's own keyword arguments.

    Returns:
        What was measured.

    Raises:
        ProbeError: the adapter is wrong; the message says in what.
    """
    with _registered(type(module), step):
        trial = Trial(step, module, inputs, keywords, tolerance)
        trial.check_form()
        alone.check_steps(trial)
        stepwise = float(trial.clean.max_error or 0)
        trial.check_left()
        returns.check_edits(trial)
        returns.check_own_states(trial)
        return StepCheck(
            trial.name,
            type(module).__name__,
            {str(signal): shape for signal, shape in trial.cell.shapes.items()},
            stepwise,
            returns.spliced(trial),
            gradients.largest(trial),
        )


@contextmanager
def _registered(kind: type[nn.Module], step: type[Step]) -> Iterator[None]:
    """Let a class have an adapter for a while."""
    had = registry._registered.get(kind)
    registry.register(kind, step)
    try:
        yield
    finally:
        if had is None:
            del registry._registered[kind]
        else:
            registry._registered[kind] = had
