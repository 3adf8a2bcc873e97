"""`check_step`: what an adapter of a recurrence of your own must hold, tried on a small network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .edits.constructors import clamp, patch
from .edits.kinds import Edit
from .errors import ProbeError
from .hooks.record import record
from .recording.recording import Recording
from .recurrent.cells.step_cell import StepCell
from .recurrent.finding import find_layers
from .recurrent.layers import StepLayer
from .recurrent.signals import OUTPUT
from .recurrent.steps import registry
from .recurrent.steps.step import Step, begin, leaves, rebuilt, settle

#: States are changed after this step, and so many steps follow at least.
_AT, _FOLLOWING = 4, 2
#: A value that no state of a small network has.
_LARGE = 100.0


@dataclass(frozen=True)
class StepCheck:
    """What `check_step` measured; the last three are the largest differences, relative to max(1, |value|).

    Attributes:
        step: the adapter's name.
        module: the module's class.
        states: the shapes of the parts of its state, without the batch.
        stepwise: between the steps and the module's own run.
        spliced: between one row's state in another's run, and the run on the spliced input.
        gradient: between gradients through recorded states, and autograd through a loop.
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
        return _Trial(step, module, inputs, keywords, tolerance).result()


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


@dataclass(frozen=True, eq=False)
class _Trial:
    """An adapter and the call that it is tried on."""

    step: type[Step]
    module: nn.Module
    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any]
    tolerance: float

    def result(self) -> StepCheck:
        """Return what was measured, or raise at the first thing that is wrong."""
        with torch.no_grad():
            self.module(*self.inputs, **self.keywords)  # some keep their last state: every run leaves the same
        before = _held(self.module)
        self._check_form()
        self._check_single_steps()
        stepwise = float(self.clean.max_error or 0)
        _check_same(before, _held(self.module), f"{self.name} or the module itself changed it while it ran")
        self._check_edits()
        self._check_after_an_error(before)
        return StepCheck(
            self.name,
            type(self.module).__name__,
            {str(signal): shape for signal, shape in self.cell.shapes.items()},
            stepwise,
            self._spliced(),
            self._gradient(),
        )

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

    @cached_property
    def clean(self) -> Recording:
        """The run without edits."""
        return self._recorded()

    def _recorded(self, *edits: Edit) -> Recording:
        return record(self.module, *self.inputs, kwargs=self.keywords, edits=edits, tolerance=self.tolerance)

    def _check_form(self) -> None:
        (layer,) = [one for one in find_layers(self.module) if one.module is self.module]
        if not isinstance(layer, StepLayer):
            raise ProbeError(f"{type(self.module).__name__} is a layer that {self.name} cannot take over.")
        if not isinstance(self.x, Tensor) or self.x.dim() != 3:
            raise ProbeError(f"{self.name}.inputs must return a tensor (batch, time, feature).")
        rows, time = self.x.shape[:2]
        if rows < 2 or time < _AT + 1 + _FOLLOWING or torch.equal(self.x[0], self.x[1]):
            raise ProbeError(
                f"{self.name} was tried on {rows} rows of {time} steps; give two or more that differ, of "
                f"{_AT + 1 + _FOLLOWING} steps or more."
            )

    @torch.no_grad()
    def _check_single_steps(self) -> None:
        """Check that a step depends on what it is given alone, leaves that as it is, and keeps rows apart."""
        x, values = self.x, self.cell.flat(begin(self.adapter, len(self.x)))
        for t in range(_AT):
            values = {one: value for one, value in self.cell.stepped(x[:, t], values).items() if one != OUTPUT}
        given = {signal: value.clone() for signal, value in values.items()}
        once, again = (self.cell.stepped(x[:, _AT], values) for _ in range(2))
        for signal, value in once.items():
            if not torch.equal(value, again[signal]):
                raise ProbeError(
                    f"{self.name}: the same step from the same state gives another {str(signal)!r} when it is run "
                    "again. It keeps a state on the module, changes in place the one that it is given, or draws "
                    "random numbers: hand a new state on, and leave out noise."
                )
        for signal, value in given.items():
            if not torch.equal(value, values[signal]):
                raise ProbeError(
                    f"{self.name}.step changes the state {str(signal)!r} that it is given; copy it first."
                )
        for row in range(2):
            one = slice(row, row + 1)
            alone = self.cell.stepped(x[one, _AT], {signal: value[one] for signal, value in values.items()})
            for signal, value in alone.items():
                far = _far(value[0], once[signal][row])
                if not far <= self.tolerance:
                    raise ProbeError(
                        f"{self.name} mixes the rows of the batch: row {row} alone gives another {str(signal)!r} "
                        f"than among {len(x)} rows, by {far:.3g}."
                    )

    def _check_edits(self) -> None:
        """Check that a part of the state moves later outputs alone, and that its own values move nothing."""
        for signal in self.cell.states:
            clean, later = self.clean[OUTPUT], list[float]()
            # A bound that is not reached hides a zero, so that a large value is tried as well.
            for value in (0.0, _LARGE):
                edited = self._recorded(clamp(signal, value, steps=_AT))[OUTPUT]
                if not torch.equal(clean[:, :_AT], edited[:, :_AT]):
                    raise ProbeError(f"{self.name}: {str(signal)!r}, set after step {_AT}, moves an earlier output.")
                later.append(_far(edited[:, _AT + 1 :], clean[:, _AT + 1 :]))
            if all(far <= self.tolerance for far in later):
                raise ProbeError(
                    f"{self.name}: {str(signal)!r}, set to 0 or {_LARGE:g} after step {_AT}, moves no later output. "
                    "Leave out what no step reads."
                )
        own = self._recorded(*(patch(signal, self.clean, steps=_AT) for signal in self.cell.states))
        if not torch.equal(own[OUTPUT], self.clean[OUTPUT]):
            raise ProbeError(f"{self.name}: a run that is patched with its own states is not the same, bit for bit.")

    def _check_after_an_error(self, before: Mapping[str, Any]) -> None:
        def stop(*_: Any) -> None:
            raise _StoppedError

        hook = self.module.register_forward_hook(stop)
        try:
            with suppress(_StoppedError):
                _ = self._recorded()
        finally:
            hook.remove()
        _check_same(before, _held(self.module), "a run that an error ended left it so")

    @torch.no_grad()
    def _spliced(self) -> float:
        """Return how far row 1's whole state in row 0's run is from the module's run on the spliced input."""
        edits = (patch(signal, self.clean, steps=_AT, rows=[0], source_rows=[1]) for signal in self.cell.states)
        patched = self._recorded(*edits)[OUTPUT][0, _AT + 1 :]
        inputs = [self._joined(one) if isinstance(one, Tensor) else one for one in self.inputs]
        wanted = torch.cat([self.x[1, : _AT + 1], self.x[0, _AT + 1 :]])
        again = self.step(self.module)
        if not torch.equal(again.inputs(*inputs, **self.keywords)[0], wanted):
            raise ProbeError(
                f"Give {self.name} the sequences as positional arguments, (batch, time, ...) or (time, batch, ...): "
                "they are spliced here."
            )
        whole = again.outputs(self.module(*inputs, **self.keywords))[0, _AT + 1 :]
        far = _far(patched, whole.flatten(1))
        if not far <= self.tolerance:
            raise ProbeError(
                f"{self.name}: row 1's state put into row 0 after step {_AT} gives outputs that differ by {far:.3g} "
                "from the module's on the spliced input. A part of what is handed on is missing from the state."
            )
        return far

    def _joined(self, value: Tensor) -> Tensor:
        """Return sequences of which row 0 begins as row 1 does; what is no sequence stays."""
        joined, rows = value.clone(), self.x.shape[:2]
        if value.shape[:2] == rows:
            joined[0, : _AT + 1] = value[1, : _AT + 1]
        elif value.shape[1::-1] == rows:
            joined[: _AT + 1, 0] = value[: _AT + 1, 1]
        return joined

    def _returns_every_step(self) -> bool:
        rows = self.x.shape[:2]
        values = [one for one in pytree.tree_leaves(self.clean.output) if isinstance(one, Tensor)]
        return any(rows in (value.shape[:2], value.shape[1::-1]) for value in values)

    def _gradient(self) -> float:
        """Return how far gradients through recorded states are from autograd's through a loop."""

        # What is returned of the last step alone says nothing of those before, which the adapter may compute itself.
        first = _AT + 1 if self._returns_every_step() else self.x.shape[1] - 1

        def scalar(returned: Any) -> Tensor:
            return self.adapter.outputs(returned)[:, first:].real.square().mean(1).sum()

        recorded = record(self.module, *self.inputs, kwargs=self.keywords, gradient_of=scalar).gradient
        with torch.enable_grad():
            state, later = begin(self.adapter, len(self.x)), self.x.new_zeros(())
            for x in self.x[:, : _AT + 1].unbind(1):
                _, state = self.adapter.step(x, state)
            # Of its own each: what one part of the state was made of is no way in which another acts.
            parts = {path: part.detach().clone().requires_grad_() for path, part in leaves(state).items()}
            state = rebuilt(state, list(parts.values()))
            for step, x in enumerate(self.x[:, _AT + 1 :].unbind(1), start=_AT + 1):
                y, state = self.adapter.step(x, state)
                later = later + (y.real.square().sum() if step >= first else 0)
            later = later / (self.x.shape[1] - first)
            found = torch.autograd.grad(later, list(parts.values()), allow_unused=True)
        worst = 0.0
        for path, gradient in zip(parts, found, strict=True):
            own = recorded[self.step.names.get(path, path)][:, _AT]
            worst = max(worst, _far(own, torch.zeros_like(own) if gradient is None else gradient.reshape(own.shape)))
        if not worst <= self.tolerance:
            raise ProbeError(f"{self.name}: gradients through its states differ from autograd's by {worst:.3g}.")
        return worst


class _StoppedError(Exception):
    """Ends a run on purpose."""


def _held(module: nn.Module) -> dict[str, Any]:
    """Return all that a module holds: its numbers, its attributes and its hooks, as they are now."""
    held: dict[str, Any] = {name: value.detach().clone() for name, value in module.state_dict().items()}
    for path, one in module.named_modules():
        for name, value in vars(one).items():
            if name in ("_parameters", "_buffers", "_modules"):
                kept: Any = list(value)
            elif isinstance(value, Tensor):
                kept = value.detach().clone()
            else:
                kept = dict(value) if isinstance(value, dict) else value
            held[f"{path}.{name}"] = kept
    return held


def _check_same(before: Mapping[str, Any], after: Mapping[str, Any], why: str) -> None:
    for name in sorted({*before, *after}):
        one, two = before.get(name), after.get(name)
        if isinstance(one, Tensor) and isinstance(two, Tensor):
            same = torch.equal(one, two)
        else:
            same = one is two or (type(one) is type(two) and not isinstance(one, Tensor) and one == two)
        if not same:
            raise ProbeError(
                f"{name.lstrip('.')!r} of the module is not as it was: {why}. A state is handed on, and not kept."
            )


def _far(one: Tensor, two: Tensor) -> float:
    return float(((one - two).abs() / two.abs().clamp(min=1)).max()) if one.numel() else 0.0
