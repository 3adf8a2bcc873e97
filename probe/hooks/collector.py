"""Keeps the signals of each recurrent layer while a model runs, for `record` and `watch`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..edits.kinds import Edit
from ..errors import ProbeError, several
from ..recording.recording import LayerRecording, Recording, errors_together
from ..recurrent import memory
from ..recurrent.calls import Call, own_order
from ..recurrent.layers import Layer, LoopLayer, StepLayer, no_recurrence_in, own_forward, perhaps, refuse_own_forward
from ..recurrent.memory import memory_of
from ..recurrent.rounding import check, is_near
from ..recurrent.runs import Opened, Trace, beside, held
from ..recurrent.signals import UNKNOWN, Signal, converted, within
from ..recurrent.steps import trails
from .sessions import Session, Visit
from .taps import tapped

#: After how many numbers that cells in loops returned their calls are opened.
_MANY = 25_000
#: Below this many bytes the free memory is not looked up.
ASK_FROM = 50_000_000


@dataclass(frozen=True)
class Options:
    """What a recording keeps, and where.

    Attributes:
        keep: the signals of each layer.
        steps: the steps, or None for all.
        check: whether to compare with the module.
        tolerance: the largest difference allowed, or None for the type's own.
        device: where values are kept, or None.
        dtype: in which type, or None.
        named: the signals asked for, or None for all: of a cell of somebody's own only a call tells what it has.
    """

    keep: Mapping[Layer, tuple[Signal, ...]]
    steps: tuple[int, ...] | None
    check: bool
    tolerance: float | None
    device: torch.device | str | None
    dtype: torch.dtype | None
    named: frozenset[Signal] | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and not (isinstance(self.dtype, torch.dtype) and self.dtype.is_floating_point):
            raise ProbeError(f"dtype={self.dtype!r} must be a floating type, such as torch.float64.")
        try:
            kept_there = None if self.device is None else torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            told = f"device={self.device!r} cannot hold the values ({str(error).splitlines()[0]})."
            raise ProbeError(f"{told} Give one that is here.") from error
        if kept_there is not None and kept_there.is_meta:
            raise ProbeError("device='meta' keeps no numbers. Give a device that does.")

    def kept(self, layer: Layer, trace: Trace) -> tuple[Signal, ...]:
        """Return the signals to keep of a run of a layer."""
        if not isinstance(layer, LoopLayer):
            return self.keep[layer]
        return tuple(signal for signal in trace.cell.signals if self.named is None or signal in self.named)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers recorded."""
        return tuple(self.keep)


@dataclass(eq=False)
class Part:
    """The calls of a layer that make one sequence, while they come in.

    Attributes:
        ragged: whether rows end at different steps; such a call is alone.
        taps: for each call the zeros added, then their derivatives.
        chosen: for each call which of its steps are kept, or None for all.
        kept: those of all calls, as steps of the sequence.
        time: how many steps came so far.
    """

    layer: Layer
    number: int
    initial: Mapping[Signal, Tensor]
    lengths: Tensor | None
    shapes: Mapping[Signal, tuple[int, ...]]
    inputs: list[Tensor] | None
    ragged: bool
    signals: list[Mapping[Signal, Tensor]] = field(default_factory=list)
    taps: list[Mapping[Signal, Tensor]] = field(default_factory=list)
    chosen: list[list[int] | None] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    time: int = 0

    def choose(self, time: int, steps: tuple[int, ...] | None) -> list[int] | None:
        """Return which steps of the next call, which has so many, may be asked for; None for all."""
        if steps is None or self.ragged:
            return None
        tail = time + min(0, *steps)  # which steps will be the last is not known yet
        return [step for step in range(time) if step >= tail or self.time + step in steps]

    def add(self, time: int, chosen: list[int] | None) -> None:
        """Note that a call of so many steps came, and which of them were chosen."""
        self.kept += [self.time + step for step in chosen or ()]
        self.chosen.append(chosen)
        self.time += time

    def places(self, steps: tuple[int, ...]) -> list[int]:
        """Return where steps stand among those kept.

        Raises:
            ProbeError: a step did not come.
        """
        alone = len(self.chosen) == 1 and not self.layer.is_cell
        what = f"the input of layer {self.layer.name!r}" if alone else f"the calls of cell {self.layer.name!r}"
        return [self.kept.index(step) for step in within("steps", steps, self.time, what)]

    def arranged(self, signal: Signal, value: Tensor, chosen: list[int] | None, options: Options) -> Tensor:
        """Return values of the layer's own order (time, batch, unit) in the input's order, padding as NaN."""
        lengths = self.lengths if self.ragged else None
        value, time = own_order(value, self.layer, lengths), value.shape[0]
        steps, dtype, device = options.steps, options.dtype, options.device
        if chosen is not None and len(chosen) < time:
            value = value[torch.tensor(chosen, dtype=torch.long)]
        if lengths is not None:
            valid = (torch.arange(time).unsqueeze(1) < lengths).to(value.device)
            value = value.masked_fill(~valid.unsqueeze(-1), float("nan"))
        if lengths is not None and steps is not None:
            _ = within("steps", steps, time, f"the input of layer {self.layer.name!r}")
            ends = torch.tensor(steps).unsqueeze(1).expand(len(steps), len(lengths))
            rows = torch.where(ends < 0, ends + lengths, ends).to(value.device)
            found = value.gather(0, rows.clamp(min=0).unsqueeze(-1).expand(*rows.shape, value.shape[2]))
            value = found.masked_fill((rows < 0).unsqueeze(-1), float("nan"))
        if device is dtype is None:
            return value
        dtype = dtype.to_complex() if dtype is not None and value.is_complex() else dtype
        what = f"The {str(signal)!r} of layer {self.layer.name!r}"
        advice = "Keep it with dtype={}, or leave it out with signals=."
        return converted(value, what, advice, dtype=dtype, device=device)


class Collector(Session):
    """What the layers of a model compute, from one call to the next.

    Calls of cells on the CPU wait, as they were, and are opened many at a time: a step alone takes ten times as long.

    Args:
        model: the model.
        options: what to keep.
        differentiate: whether each value kept gets a derivative.
        detach: whether values are kept without what autograd needs.
    """

    def __init__(self, model: nn.Module, options: Options, *, differentiate: bool, detach: bool = False) -> None:
        super().__init__(model, options.layers)
        self._options = options
        self._differentiates = differentiate
        self._detaches = detach or differentiate
        self._asked = False
        self.clear()

    def clear(self) -> None:
        """Forget what was seen."""
        self._parts: dict[tuple[str, int], Part] = {}
        self._errors: list[float | None] = []
        self._waiting: dict[tuple[str, int], list[Trace]] = {}
        self._numbers, self._steps_so_far, self._needed = 0, dict[str, int](), dict[str, float]()

    @property
    def needs_graph(self) -> bool:
        """Whether values are kept on the graph, or differentiated."""
        return self._differentiates or not self._detaches

    @property
    def saw_something(self) -> bool:
        """Whether a layer was called since the last recording."""
        return bool(self._parts or self._waiting)

    def settle(self) -> None:
        """Open the calls that wait, and raise the first error of a call that somebody caught."""
        try:
            self._open_waiting()
        finally:
            super().settle()

    def read(self, visit: Visit, number: int, step: int | None) -> None:
        """Keep what a call of a module computed."""
        wanted = self.modules[visit.layers[0].module]
        taps = {}
        if self.needs_graph:
            self.refuse_checkpoint(wanted[0], "" if self._differentiates else ", or watch it with detach=True")
        if self._differentiates:
            refuse_own_forward(visit.layers[:1])
            if not torch.is_grad_enabled():
                raise ProbeError(
                    f"Layer {wanted[0].name!r} runs without autograd (torch.no_grad, or a checkpoint by hand), so "
                    "that gradient_of= has no derivative of its values. Take that out, or choose others with layer=."
                )
            visit.tolerances.add(self._options.tolerance)
            changes, taps = tapped(visit, wanted, self._options.kept)
            visit.change(changes)
        with torch.no_grad() if not self.needs_graph and torch.is_grad_enabled() else nullcontext():
            for layer in wanted:
                if layer.is_cell:
                    self._steps_so_far[layer.name] = max(self._steps_so_far.get(layer.name, 0), 1 + (step or 0))
                if layer.is_cell and not self.needs_graph and not visit.changes and visit.call.x.is_cpu:
                    self._wait(held(layer, visit.call, visit.output), number)
                else:
                    self._open_waiting()
                    self._take(layer, number, [visit.run.traces[layer.place]], visit.call.x, taps.get(layer, {}))

    def _wait(self, call: Trace, number: int) -> None:
        key, shape = (call.layer.name, number), call.h.shape
        if self._numbers > _MANY or (key in self._waiting and self._waiting[key][0].h.shape != shape):
            self._open_waiting()
        self._waiting.setdefault(key, []).append(call)
        self._numbers += shape.numel()

    @trails.aside
    def _open_waiting(self) -> None:
        waiting, self._waiting, self._numbers = self._waiting, {}, 0
        with torch.no_grad():
            for (_, number), traces in waiting.items():
                self._take(traces[0].layer, number, traces, torch.cat([one.x for one in traces]), {})

    def given(self, layers: tuple[Layer, ...], call: Call) -> None:
        """Raise ProbeError where the values of a call would not fit into memory, before the module runs."""
        self._asked = True
        options, wanted = self._options, self.modules[layers[0].module]
        if isinstance(layers[0], LoopLayer):
            return
        steps = len(call.x) if options.steps is None else len(options.steps)
        if wanted[0].is_cell:
            steps = 1 + self._steps_so_far.get(wanted[0].name, 0)
            if self._needed.get(wanted[0].name, ASK_FROM) * steps * call.x.shape[1] < ASK_FROM:
                return
        keep, later = ({layer: options.keep[layer] for layer in chosen} for chosen in (wanted, self._later(wanted)))
        request = Request(keep, steps, options.dtype, options.device, self._differentiates, later)
        self._needed[wanted[0].name] = check_fits(call, request) / max(1, steps * call.x.shape[1])

    def expect(self, visit: Visit, edits: Mapping[Layer, Sequence[Edit]]) -> None:
        """Raise ProbeError where the values of a call would not fit into memory, if that was not asked before."""
        if not self._asked:
            self.given(visit.layers, visit.call)
        self._asked = False

    def _later(self, wanted: Sequence[Layer]) -> list[StepLayer]:
        """Return the layers that torch does not have and that were not called yet, where this is a call of one."""
        if not isinstance(wanted[0], StepLayer):
            return []
        seen = {part.layer for part in self._parts.values()} | {*wanted}
        return [layer for layer in self._options.layers if isinstance(layer, StepLayer) and layer not in seen]

    def _take(
        self, layer: Layer, number: int, traces: Sequence[Trace], x: Tensor, taps: Mapping[Signal, Tensor]
    ) -> None:
        """Keep what a call computed, or several calls of one step of one sequence that wait.

        Args:
            layer: the layer.
            number: the number of the sequence.
            traces: the calls.
            x: what they read, (time, batch, feature), as the module was given it.
            taps: the zeros that were added to what is kept.
        """
        trace = beside(traces) if traces[0].begun else traces[0]
        key, lengths = (layer.name, number), trace.lengths
        part = self._parts.get(key)
        if part is None:
            inputs = [] if layer is self.modules[layer.module][0] else None
            ragged = lengths is not None and bool((lengths != lengths[:1]).any())
            part = Part(layer, number, _copied(traces[0].initial), None, trace.cell.matrices, inputs, ragged)
        chosen, keep = part.choose(len(x), self._options.steps), self._options.kept(layer, trace)
        opened = trace.open(keep, compare=self._options.check, steps=chosen)
        if self._options.check:
            # Where the usual bound does not hold, each call is judged for itself.
            for one in () if is_near(trace, opened, self._options.tolerance) else traces:
                check(one, one.open(keep), self._options.tolerance)
            _refuse_what_a_check_cannot_see(layer, self._options.keep[layer])
        if trace.begun:
            opened = replace(opened, signals={s: v[0].unflatten(0, x.shape[:2]) for s, v in opened.signals.items()})
        self._errors.append(opened.error if self._options.check else None)
        if part.signals and x.shape[1] != (before := next(iter(part.signals[0].values())).shape[1]):
            raise ProbeError(
                f"Cell {layer.name!r} was called with {x.shape[1]} rows at step {part.time}, after "
                f"{before} rows. A recording has one array for all steps of a sequence: call the cell with the same "
                "rows at every step, or record sequences of each length alone."
            )
        if lengths is not None:
            part.lengths = lengths + part.time
        self._parts[key] = part
        part.add(len(x), chosen)
        part.signals.append(self._kept(trace, opened, part, chosen))
        part.taps.append(taps)
        if part.inputs is not None:
            # The caller may change its own in place.
            x = x if trace.begun else memory.copied(x.detach())
            part.inputs.append(x if self._options.device is None else x.to(self._options.device))

    def _kept(self, trace: Trace, opened: Opened, part: Part, chosen: list[int] | None) -> Mapping[Signal, Tensor]:
        values = {}
        returned = {memory_of(value) for value in (trace.h, *trace.final.values())}
        for signal, value in opened.signals.items():
            found = value.detach() if self._detaches and value.requires_grad else value
            values[signal] = part.arranged(signal, found, chosen, self._options)
            if memory_of(values[signal]) in returned:
                # The module's own output, which the caller may change in place.
                values[signal] = memory.copied(values[signal])
        return values

    def differentiate(self, function: Callable[[Any], Tensor], output: Any) -> None:
        """Keep the derivative of a scalar of the output with respect to every signal kept."""
        scalar = function(output)
        if not isinstance(scalar, Tensor) or scalar.numel() != 1 or not scalar.requires_grad:
            found = f"{tuple(scalar.shape)} tensor" if isinstance(scalar, Tensor) else type(scalar).__name__
            raise ProbeError(
                f"gradient_of must return a scalar that depends on the model's output, such as output.sum(); it "
                f"returned a {found}."
            )
        parts = list(self._parts.values())
        taps = [tap for part in parts for taps in part.taps for tap in taps.values()]
        if not taps:
            return
        found = iter(torch.autograd.grad(scalar.sum(), taps, allow_unused=True))
        for part in parts:
            part.taps = [
                {
                    signal: part.arranged(signal, _or_zeros(next(found), tap), chosen, self._options)
                    for signal, tap in taps.items()
                }
                for taps, chosen in zip(part.taps, part.chosen, strict=True)
            ]

    def finish(self, output: Any) -> Recording:
        """Return what was seen."""
        self._open_waiting()
        parts = tuple(self._finished(part) for part in self._parts.values() if not _stood_alone(part))
        called = {part.layer for part in parts}
        missing = tuple(
            layer.name for layer in self._options.layers if layer.name not in called and not perhaps(layer)
        )
        if self._detaches and torch.is_grad_enabled():
            output = mapped(Tensor.detach, output)
        return Recording(output, parts, self._options.steps, missing, errors_together(self._errors))

    def refuse_calls_elsewhere(self) -> None:
        """Raise ProbeError where a layer was not seen, and another thread or task called it."""
        self.settle()
        seen = {part.layer for part in self._parts.values()}
        if all(map(perhaps, self._options.layers)) and all(map(_stood_alone, self._parts.values())):
            raise no_recurrence_in(self._options.layers)
        for layer in self._options.layers:
            if layer not in seen and self.elsewhere[layer.module]:
                raise ProbeError(
                    f"Layer {layer.name!r} was not seen: another thread or asyncio task called it "
                    f"{self.elsewhere[layer.module]} times. A recording sees the one that it was asked in; record "
                    "where the layers are called."
                )
        if not seen and all(isinstance(one, LoopLayer) for one in self._options.layers):
            raise ProbeError(
                f"None of {', '.join(repr(one.name) for one in self._options.layers)} was called with a state, as "
                "tensors, tuples, lists or dicts of tensors behind its first argument, that it returned in the same "
                "form. Of a cell whose state stands elsewhere, probe.register(kind, state=..., returns=...) says "
                "where; a layer that loops itself needs a step, probe.register(kind, step): a probe.Step, or the "
                "name of the method that its loop calls."
            )

    def _finished(self, part: Part) -> LayerRecording:
        joined = [
            {signal: torch.cat([piece[signal] for piece in pieces]) for signal in pieces[0]}
            if len(pieces) > 1
            else pieces[0]
            for pieces in (part.signals, part.taps)
        ]
        if self._options.steps is not None and not part.ragged:
            places = part.places(self._options.steps)
            if places != list(range(len(part.kept))):
                joined = [{signal: value[places] for signal, value in values.items()} for values in joined]
        signals, gradients = (
            {signal: value.transpose(0, 1) for signal, value in values.items()} for values in joined
        )
        lengths = None if part.lengths is None else tuple(part.lengths.tolist())
        shapes = {signal: shape for signal, shape in part.shapes.items() if signal in {**signals, **part.initial}}
        inputs = None
        if part.inputs:
            inputs = (part.inputs[0] if len(part.inputs) == 1 else torch.cat(part.inputs)).transpose(0, 1)
        return LayerRecording(part.layer.name, part.number, signals, part.initial, lengths, gradients, shapes, inputs)


@dataclass(frozen=True)
class Request:
    """What a recording is to keep, as far as it decides how much memory that takes.

    Attributes:
        keep: the signals kept of each layer that is called.
        steps: how many steps are kept of this call and of those before it, which are still there.
        dtype: in which type, or None for the run's.
        device: where, or None for where the run is.
        differentiate: whether a derivative is kept of each value.
        later: the signals of layers that torch does not have, whose calls are still to come; each is taken to be
            called once, with as many rows and steps as the first of them.
    """

    keep: Mapping[Layer, Sequence[Signal]]
    steps: int
    dtype: torch.dtype | None
    device: torch.device | str | None
    differentiate: bool
    later: Mapping[Layer, Sequence[Signal]]


def check_fits(call: Call, request: Request) -> int:
    """Raise where what is kept of a call does not fit into memory; return how many bytes that is.

    Args:
        call: what a layer was given.
        request: what is to be recorded.

    Raises:
        ProbeError: it does not fit; the message names both numbers and what takes less.
    """
    needed = bytes_kept(call, request)
    if needed < ASK_FROM:
        return needed
    device = torch.device(call.x.device if request.device is None else request.device)
    available = memory.free(device)
    if available is not None and needed > available and memory.let_go():
        available = memory.free(device)
    if available is not None and needed > available:
        later = f", the {several(len(request.later), 'layer')} still to be called included," if request.later else ""
        advice = "Keep less with signals=, layer= or steps=, record fewer rows at a time"
        raise ProbeError(
            f"The recording keeps {needed / 1e9:.1f} GB on {device}{later} and {available / 1e9:.1f} GB are free. "
            f"{advice}, or {'a shorter input' if request.differentiate else 'stream to disk with out='}."
        )
    return needed


def bytes_kept(call: Call, request: Request) -> int:
    """Return how many bytes are kept of a call, and of the layers still to be called."""
    numbers = sum(
        _bytes_of(layer, signal, call, request.dtype)
        for layers in (request.keep, request.later)
        for layer, signals in layers.items()
        for signal in signals
    )
    return numbers * request.steps * call.x.shape[1] * (1 + request.differentiate)


def _bytes_of(layer: Layer, signal: Signal, call: Call, dtype: torch.dtype | None) -> int:
    """Return the bytes of a signal at one step of one row; an output is taken to be as wide as the input."""
    if dtype is None and isinstance(layer, StepLayer) and (size := layer.bytes_of(signal)) is not None:
        return size
    units = call.x.shape[2] if layer.size(signal) == UNKNOWN else layer.size(signal)
    return units * (call.x.dtype if dtype is None else dtype).itemsize


def _stood_alone(part: Part) -> bool:
    """Return whether a module that could be a cell was called a single time, and so showed no recurrence."""
    return perhaps(part.layer) and part.time == 1


def _refuse_what_a_check_cannot_see(layer: Layer, keep: Sequence[Signal]) -> None:
    """Raise ProbeError for a pre-activation of a forward of its own: a function that is flat there hides another."""
    hidden = [signal for signal in keep if signal.endswith("_preactivation")]
    if hidden and own_forward(layer.module):
        raise ProbeError(
            f"Layer {layer.name!r} has a forward of its own ({own_forward(layer.module)}). Its states were compared, "
            f"which says nothing about {str(hidden[0])!r} where a gate is full or a unit is at 0. Record it without "
            "pre-activations, or put what you add around torch's module, in a module that holds it."
        )


def _copied(states: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
    """Return states that nobody else can change: a model may keep its state in place."""
    return {signal: value.detach().clone() for signal, value in states.items()}


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def mapped(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Return a model's output with a function of each tensor in its place, in containers of the same types."""
    if isinstance(output, Tensor):
        return function(output)
    if isinstance(output, torch.nn.utils.rnn.PackedSequence):
        return output._replace(data=function(output.data))
    if isinstance(output, (tuple, list)):
        items = [mapped(function, item) for item in output]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
    if isinstance(output, dict):
        same = copy.copy(output)
        for key, item in output.items():
            same[key] = mapped(function, item)
        return same
    return output
