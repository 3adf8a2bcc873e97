"""Collects what the layers of a model compute during one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import traces
from .calls import own_order, read_call
from .engine import Changes, run_again
from .errors import ProbeError
from .interventions import Applied, applied_to, changes_in, generators, latest
from .layers import Layer, whole_module
from .recording import LayerRecording, Recording, errors_together
from .sequences import Followed, following
from .signals import Signal, within
from .traces import Opened, Run, Trace

#: From how many bytes on the free memory is looked up.
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
    """

    keep: Mapping[Layer, tuple[Signal, ...]]
    steps: tuple[int, ...] | None
    check: bool
    tolerance: float | None
    device: torch.device | str | None
    dtype: torch.dtype | None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers recorded."""
        return tuple(self.keep)


@dataclass(eq=False)
class _Part:
    """One call of a layer, or the calls of a cell that make one sequence, while they come in."""

    layer: Layer
    number: int
    initial: Mapping[Signal, Tensor]
    lengths: Tensor | None
    signals: list[Mapping[Signal, Tensor]]
    taps: list[Mapping[Signal, Tensor]]


class Collector:
    """Hooks on the recurrent modules of a model, and what they saw since the forward pass began."""

    def __init__(self, options: Options, *, differentiate: bool) -> None:
        self._options = options
        self._differentiates = differentiate
        self._states: Mapping[nn.Module, Tensor] = {}
        self._sequences = Followed()
        self._clear()

    def start(self, model: nn.Module) -> None:
        """Forget what was seen: a forward pass of the model begins."""
        self._clear()
        self._sequences.begin(model)

    def end(self) -> None:
        """Note that the forward pass has ended, with or without an error."""
        self._sequences.end()

    def _clear(self) -> None:
        self._parts: dict[tuple[str, int], _Part] = {}
        self._errors: list[float | None] = []

    @contextmanager
    def attached(self) -> Iterator[Collector]:
        """Listen to the modules until the context ends."""
        by_module: dict[nn.Module, list[Layer]] = {}
        for layer in self._options.layers:
            by_module.setdefault(layer.module, []).append(layer)
        with ExitStack() as stack:
            self._states = stack.enter_context(generators(list(by_module)))
            self._sequences = stack.enter_context(following([m for m in by_module if isinstance(m, nn.RNNCellBase)]))
            for module, layers in by_module.items():
                whole = whole_module(layers[0])
                estimate = self._estimator(whole, layers)
                stack.callback(module.register_forward_pre_hook(estimate, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._hook(whole, layers), with_kwargs=True).remove)
                if self._differentiates:
                    stack.callback(latest.pop, module, None)
            yield self

    def _estimator(self, whole: tuple[Layer, ...], layers: list[Layer]) -> Any:
        """Return a hook that refuses a call whose values would not fit, before the module runs."""

        def estimate(_module: nn.Module, arguments: Any, keywords: Any) -> None:
            x = read_call(whole, arguments, keywords).x
            size = (self._options.dtype or x.dtype).itemsize
            chosen = None if layers[0].is_cell else self._options.steps
            steps = x.shape[0] if chosen is None else len(chosen)
            units = sum(layer.size(signal) for layer in layers for signal in self._options.keep[layer])
            # What earlier calls took is no longer free.
            expected = steps * x.shape[1] * units * size * (2 if self._differentiates else 1)
            # What is small is not worth asking the system about.
            free = _free_memory(self._options.device or x.device) if expected > ASK_FROM else None
            if free is not None and expected > free:
                raise ProbeError(
                    f"The recording would take {expected / 1e9:.1f} GB and {free / 1e9:.1f} GB are free. Keep "
                    "less with signals=, layers= or steps=, choose dtype= or device=, or stream it to disk with out=."
                )

        return estimate

    def _hook(self, layers: tuple[Layer, ...], wanted: list[Layer]) -> Any:
        def hook(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
            applied = applied_to(module, output)
            run = (
                applied.changed
                if applied
                else traces.open_call(layers, arguments, keywords, output, self._states.get(module))
            )
            number, step = sum(part.layer == wanted[0] for part in self._parts.values()), None
            if module in self._sequences:
                number, step = self._sequences[module].locate(layers[0], run.call, output)
            result, taps = None, {}
            if self._differentiates:
                natural, edits = (applied.natural, applied.edits) if applied else (run, ())
                run, taps = _tapped(natural, changes_in(natural, edits, step), wanted, self._options.keep)
                result = run.output
                latest[module] = Applied(result, natural, edits, run)
                if module in self._sequences:
                    self._sequences[module].replace(layers[0], run.call, result)
            for layer in wanted:
                self._take(layer, number, run, taps.get(layer, {}))
            return result

        return hook

    def _take(self, layer: Layer, number: int, run: Run, taps: Mapping[Signal, Tensor]) -> None:
        trace = run.traces[layer.place]
        opened = trace.open(self._options.keep[layer])
        if self._options.check:
            traces.check(layer, opened, trace.h.dtype, self._options.tolerance)
        self._errors.append(opened.error if self._options.check else None)
        part = self._parts.setdefault(
            (layer.name, number), _Part(layer, number, dict(trace.initial), trace.lengths, [], [])
        )
        part.signals.append(self._kept(trace, opened))
        part.taps.append(taps)

    def _kept(self, trace: Trace, opened: Opened) -> Mapping[Signal, Tensor]:
        values = {}
        for signal, value in opened.signals.items():
            found = value.detach() if self._differentiates else value
            values[signal] = self._arranged(trace.layer, found, trace.lengths)
            if values[signal].data_ptr() == trace.h.data_ptr():
                # The module's own output, which the caller may change in place.
                values[signal] = values[signal].clone()
        return values

    def _arranged(self, layer: Layer, value: Tensor, lengths: Tensor | None) -> Tensor:
        """Return values of the layer's own order (time, batch, unit) in the input's order, padding as NaN."""
        value = own_order(value, layer, lengths)
        time = len(value)
        if lengths is not None:
            valid = (torch.arange(time).unsqueeze(1) < lengths).to(value.device)
            value = value.masked_fill(~valid.unsqueeze(-1), float("nan"))
        steps = self._options.steps
        if steps is not None and not layer.is_cell:
            places = torch.tensor(within("steps", steps, time, f"the input of layer {layer.name!r}"))
            if lengths is None:
                value = value[places]
            else:
                ends = torch.tensor(steps).unsqueeze(1).expand(len(steps), len(lengths))
                rows = torch.where(ends < 0, ends + lengths, ends).to(value.device)
                chosen = value.gather(0, rows.clamp(min=0).unsqueeze(-1).expand(*rows.shape, value.shape[2]))
                value = chosen.masked_fill((rows < 0).unsqueeze(-1), float("nan"))
        return value.to(device=self._options.device, dtype=self._options.dtype)

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
                    signal: self._arranged(part.layer, _or_zeros(next(found), tap), part.lengths)
                    for signal, tap in taps.items()
                }
                for taps in part.taps
            ]

    def finish(self, output: Any) -> Recording:
        """Return what was seen."""
        parts = tuple(self._finished(part) for part in self._parts.values())
        called = {part.layer for part in parts}
        missing = tuple(layer.name for layer in self._options.layers if layer.name not in called)
        if self._differentiates:
            output = _detached(output)
        return Recording(output, parts, self._options.steps, missing, errors_together(self._errors))

    def _finished(self, part: _Part) -> LayerRecording:
        joined = [
            {signal: torch.cat([piece[signal] for piece in pieces]) for signal in pieces[0]}
            if len(pieces) > 1
            else pieces[0]
            for pieces in (part.signals, part.taps)
        ]
        if part.layer.is_cell and self._options.steps is not None:
            time = len(part.signals)
            places = within("steps", self._options.steps, time, f"the calls of cell {part.layer.name!r}")
            joined = [{signal: value[places] for signal, value in values.items()} for values in joined]
        signals, gradients = (
            {signal: value.transpose(0, 1) for signal, value in values.items()} for values in joined
        )
        initial = {signal: value.detach().clone() for signal, value in part.initial.items()}
        lengths = None if part.lengths is None else tuple(part.lengths.tolist())
        return LayerRecording(part.layer.name, part.number, signals, initial, lengths, gradients)


def _tapped(
    natural: Run, changes: Mapping[int, Changes], wanted: list[Layer], keep: Mapping[Layer, tuple[Signal, ...]]
) -> tuple[Run, dict[Layer, dict[Signal, Tensor]]]:
    """Run a call again with a zero added to every value, whose derivative is that of the value."""
    taps: dict[Layer, dict[Signal, Tensor]] = {}
    tapped = dict(changes)
    time, batch = natural.call.x.shape[:2]
    for layer in wanted:
        like = natural.traces[layer.place].h
        size = natural.traces[layer.place].cell.size
        taps[layer] = {signal: like.new_zeros(time, batch, size(signal)).requires_grad_() for signal in keep[layer]}
        tapped[layer.place] = _with_taps(changes.get(layer.place), taps[layer], time)
    return run_again(natural, tapped), taps


def _with_taps(changes: Changes | None, taps: Mapping[Signal, Tensor], time: int) -> Changes:
    edited = {} if changes is None else changes.signals

    def change(signal: Signal, step: int, value: Tensor) -> tuple[Tensor, Tensor]:
        own = torch.zeros_like(value, dtype=torch.bool)
        if changes is not None and signal in edited.get(step, ()):
            value, own = changes.change(signal, step, value)
        if signal in taps:
            value, own = value + taps[signal][step], torch.ones_like(own)
        return value, own

    return Changes({step: frozenset(taps) | edited.get(step, frozenset()) for step in range(time)}, change)


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def _detached(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, torch.nn.utils.rnn.PackedSequence):
        return output._replace(data=output.data.detach())
    if isinstance(output, (tuple, list)):
        items = [_detached(item) for item in output]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
    if isinstance(output, dict):
        return {key: _detached(item) for key, item in output.items()}
    return output


def _free_memory(device: torch.device | str) -> int | None:
    """Return how many bytes can be had on a device, or None where nobody says."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None
