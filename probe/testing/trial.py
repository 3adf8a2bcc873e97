"""An adapter, its module and the call that it is tried on; and what either must leave as it was."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..edits.kinds import Edit
from ..errors import ProbeError
from ..hooks.intervene import edited
from ..hooks.record import record
from ..recording.recording import Recording
from ..recurrent.cells.step_cell import StepCell
from ..recurrent.finding import find_layers
from ..recurrent.layers import StepLayer
from ..recurrent.signals import Signal
from ..recurrent.steps.step import Step, begin, settle

#: States are changed after this step, and so many steps follow at least.
AT, FOLLOWING = 4, 2
#: Of torch's random numbers in a run.
_SEED = 1_234_567


@dataclass(frozen=True, eq=False)
class Trial:
    """An adapter and the call that it is tried on.

    Attributes:
        step: the adapter.
        module: its module.
        inputs: what it is called with.
        keywords: and by name.
        tolerance: the largest difference allowed.
    """

    step: type[Step]
    module: nn.Module
    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any]
    tolerance: float

    @property
    def name(self) -> str:
        """The adapter's name."""
        return self.step.__name__

    @cached_property
    def x(self) -> Tensor:
        """What is read step by step, (batch, time, feature)."""
        return self.adapter.inputs(*self.inputs, **self.keywords)

    @cached_property
    def adapter(self) -> Step:
        """The adapter of the call."""
        return self.step(self.module)

    @cached_property
    def cell(self) -> StepCell:
        """Its cell."""
        settle(self.adapter, self.x)  # which may keep what the call brings
        return StepCell(self.adapter, begin(self.adapter, 1))

    @property
    def parts(self) -> list[Signal]:
        """The parts of its state that hold a number."""
        return [signal for signal in self.cell.states if self.cell.size(signal)]

    @property
    def last(self) -> int:
        """The last step."""
        return self.x.shape[1] - 1

    @cached_property
    def bare(self) -> Any:
        """What the module returns by itself."""
        return self._bare[0]

    @cached_property
    def _bare(self) -> tuple[Any, Tensor]:
        with torch.no_grad():
            self.module(*self.inputs, **self.keywords)  # some keep their last state: every run leaves the same
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _ = torch.manual_seed(_SEED)
            return self.module(*self.inputs, **self.keywords), torch.get_rng_state()

    @cached_property
    def _before(self) -> dict[str, Any]:
        return {**held(self.module), **_settings()}

    @cached_property
    def clean(self) -> Recording:
        """The run without edits."""
        _, wanted = self._bare
        with torch.random.fork_rng(devices=[]):
            _ = torch.manual_seed(_SEED)
            found = self.recorded()
            if not torch.equal(torch.get_rng_state(), wanted):
                raise ProbeError(
                    f"{self.name} draws or seeds torch's random numbers, so that whatever runs after it gets others "
                    "than after the module alone. Leave that out."
                )
        return found

    def recorded(self, *edits: Edit, **options: Any) -> Recording:
        """Return the run with edits; those of a last state may move no more than what is returned beside outputs."""
        options = {"tolerance": self.tolerance, **options}
        with edited(self.module, edits, self.tolerance, left=[]) if edits else nullcontext():
            return record(self.module, *self.inputs, kwargs=self.keywords, **options)

    def check_form(self) -> None:
        """Raise ProbeError where the call cannot be tried."""
        (layer,) = [one for one in find_layers(self.module) if one.module is self.module]
        if not isinstance(layer, StepLayer):
            raise ProbeError(f"{type(self.module).__name__} is a layer that {self.name} cannot take over.")
        given = pytree.tree_map_only(Tensor, Tensor.clone, (self.inputs, dict(self.keywords)))
        _ = self.bare, self._before
        if not isinstance(self.x, Tensor) or self.x.dim() != 3:
            raise ProbeError(f"{self.name}.inputs must return a tensor (batch, time, feature).")
        pairs = zip(*map(pytree.tree_leaves, (given, (self.inputs, dict(self.keywords)))), strict=True)
        if not all(alike(one, two) for one, two in pairs):
            raise ProbeError(f"{self.name}.inputs, or the module, changes its input in place; copy it first.")
        rows, time = self.x.shape[:2]
        if rows < 2 or time < AT + 1 + FOLLOWING or torch.equal(self.x[0], self.x[1]):
            raise ProbeError(
                f"{self.name} was tried on {rows} rows of {time} steps; give two or more that differ, of "
                f"{AT + 1 + FOLLOWING} steps or more."
            )

    def check_left(self) -> None:
        """Raise ProbeError where a run, or one that an error ended, left something else than it found."""
        self._check_same(f"{self.name} or the module itself changed it while it ran")

        def stop(*_: Any) -> None:
            raise _StoppedError

        hook = self.module.register_forward_hook(stop)
        try:
            with suppress(_StoppedError):
                _ = self.recorded()
        finally:
            hook.remove()
        self._check_same("a run that an error ended left it so")

    def _check_same(self, why: str) -> None:
        after = {**held(self.module), **_settings()}
        for name in sorted({*self._before, *after}):
            if not alike(self._before.get(name), after.get(name)):
                raise ProbeError(
                    f"{name.lstrip('.')!r} of the module is not as it was: {why}. A state is handed on, and not kept."
                )


class _StoppedError(Exception):
    """Ends a run on purpose."""


def _settings() -> dict[str, Any]:
    """Return what holds for all of torch."""
    return {
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's default type": torch.get_default_dtype(),
        "torch's threads": torch.get_num_threads(),
    }


def held(module: nn.Module) -> dict[str, Any]:
    """Return all that a module holds: its numbers, its attributes and its hooks, as they are now."""
    values: dict[str, Any] = {name: value.detach().clone() for name, value in module.state_dict().items()}
    values |= {f"{name}.requires_grad": one.requires_grad for name, one in module.named_parameters()}
    for path, one in module.named_modules():
        for name, value in vars(one).items():
            if name in ("_parameters", "_buffers", "_modules"):
                kept: Any = list(value)
            elif isinstance(value, Tensor):
                kept = value.detach().clone()
            else:
                kept = dict(value) if isinstance(value, dict) else value
            values[f"{path}.{name}"] = kept
    return values


def alike(one: Any, two: Any) -> bool:
    """Return whether two values are the same, tensors bit for bit."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        if one.dtype != two.dtype or one.shape != two.shape:
            return False
        return bool(((one == two) | ((one != one) & (two != two))).all())  # noqa: PLR0124 (NaN is NaN here)
    if isinstance(one, Tensor) or isinstance(two, Tensor):
        return False
    try:
        return one is two or (type(one) is type(two) and bool(one == two))
    except (RuntimeError, TypeError, ValueError):  # arrays and tensors inside: nobody says what == means there
        return True


def far(one: Tensor, two: Tensor) -> float:
    """Return the largest difference, relative to max(1, |value|); infinite where one is NaN and the other is not."""
    if not (one.is_floating_point() or one.is_complex()):
        one, two = one.double(), two.double()
    if not one.numel():
        return 0.0
    apart = ((one - two).abs() / two.abs().clamp(min=1)).masked_fill(one.isnan() & two.isnan(), 0)
    return float(apart.nan_to_num(nan=float("inf")).max())
