"""Reconstructs one call of a recurrent module: all signals of each layer, from the module's own states.

The hidden states of a trace are the module's own, at every step; everything else is recomputed from them. A
free-running copy would drift away from a chaotic network within a few steps; values computed from the module's own
previous hidden state stay within rounding of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_packed_sequence

from . import kernels
from .calls import Call, cell_of, dropout_masks, in_order, own_order, read_call, read_output, repack, write_output
from .cells.cell import HIDDEN, Cell
from .layers import Layer
from .signals import Signal, States


@dataclass(frozen=True, eq=False)
class Opened:
    """Signals of one layer, and how far recomputing them is from what the module did.

    Attributes:
        signals: (time, batch, unit) each, in the layer's own order.
        error: the largest difference, relative to max(1, |value|), over steps and last states.
        step: the step, in the layer's own order, at which it occurs.
    """

    signals: Mapping[Signal, Tensor]
    error: float
    step: int


class Lazy(Mapping[Signal, Tensor]):
    """Values of signals, each computed when it is first asked for.

    Args:
        signals: which signals there are.
        compute: gives one of them.
    """

    def __init__(self, signals: Sequence[Signal], compute: Callable[[Signal], Tensor]) -> None:
        self._signals, self._compute = signals, compute
        self._found: dict[Signal, Tensor] = {}

    def __getitem__(self, signal: Signal) -> Tensor:
        if signal not in self._found:
            self._found[signal] = self._compute(signal)
        return self._found[signal]

    def __iter__(self) -> Iterator[Signal]:
        return iter(self._signals)

    def __len__(self) -> int:
        return len(self._signals)


@dataclass(frozen=True, eq=False)
class Trace:
    """One call of one layer, in the layer's own order: a reverse layer's first step is the last input.

    Attributes:
        layer: which layer.
        cell: its cell, with the weights that it ran with.
        x: inputs, (time, batch, input).
        initial: the states before the first step.
        pieces: what it returns at each step (the hidden states of torch's layers), (time, batch, unit), in stretches
            of steps.
        final: the module's own last states, where it says them; an LSTM's cell state is an ulp away from the
            recomputed one.
        lengths: how many steps each row has, or None where all have the same.
        compute: gives the signals asked for, where they are not simply recomputed from h.
        clean: of a changed run, the module's own run that was changed.
        begun: of calls of one step, whose rows stand beside each other, what was computed at each; see `held`.
    """

    layer: Layer
    cell: Cell
    x: Tensor
    initial: States
    pieces: tuple[Tensor, ...]
    final: States
    lengths: Tensor | None
    compute: Callable[[Sequence[Signal]], Opened] | None = None
    clean: Trace | None = None
    begun: tuple[Any, ...] = ()

    @cached_property
    def h(self) -> Tensor:
        """What it returns at each step, (time, batch, unit)."""
        return self.pieces[0] if len(self.pieces) == 1 else torch.cat(self.pieces)

    @property
    def dtype(self) -> torch.dtype:
        """The type of its numbers; of what it reads and returns the less exact, which rounds both."""
        if self.h.dtype == self.x.dtype:
            return self.h.dtype
        types = [one.dtype for one in (self.h, self.x) if one.is_floating_point()] or [self.x.dtype]
        return max(types, key=lambda one: torch.finfo(one).eps if one.is_floating_point else 0.0)

    @cached_property
    def opened(self) -> Opened:
        """Every signal; pre-activations, which few ask for, are opened when one is asked for."""
        early = [signal for signal in self.cell.signals if not signal.endswith("_preactivation")]
        late = [signal for signal in self.cell.signals if signal not in early]
        again = replace(self)  # what `self` keeps does not refer to it: memory goes back with the last reference
        opened, opened_late = self.open(early), cache(lambda: again.open(late).signals)

        def one(signal: Signal) -> Tensor:
            return (opened.signals if signal in opened.signals else opened_late())[signal]

        return replace(opened, signals=Lazy(self.cell.signals, one))

    @property
    def signals(self) -> Mapping[Signal, Tensor]:
        """Every signal, (time, batch, unit) each."""
        return self.opened.signals

    def open(self, keep: Sequence[Signal], *, compare: bool = True, steps: Sequence[int] | None = None) -> Opened:
        """Return some signals, computed with no more memory than they need.

        Args:
            keep: which.
            compare: whether the run is compared with the module's; without it the error is 0.
            steps: which steps of the input are wanted, ascending; others may be left out where nothing is compared.
        """
        if self.compute is not None:
            return self.compute(keep)
        if not compare and self.cell.output == HIDDEN:
            if {*keep} <= {HIDDEN}:
                return Opened(dict.fromkeys(keep, self.h), 0.0, 0)
            if steps and len(steps) < len(self.x) and self.lengths is None:
                return Opened(self._at_some(keep, steps), 0.0, 0)
        # Where rows end at different steps, their last states are found among all of them.
        needed = tuple(keep) if self.lengths is None else (*keep, *(s for s in self.cell.states if s not in keep))
        if self.begun:
            signals, errors, state = self.cell.open_begun(self.begun, self.h, self.initial)
        else:
            signals, errors, state = self.cell.open(self.x, self.h, self.initial, needed, compare=compare)
        if not compare:
            return Opened({signal: signals[signal] for signal in keep}, 0.0, 0)
        if self.lengths is not None:
            state = {signal: last_valid(signals[signal], self.lengths) for signal in self.cell.states}
        worst = _worst(errors, state, self.final, self.lengths)
        return Opened({signal: signals[signal] for signal in keep}, *worst)

    def _at_some(self, keep: Sequence[Signal], steps: Sequence[int]) -> dict[Signal, Tensor]:
        """Return signals at some steps of the input alone, (step, batch, unit), in the layer's own order."""
        own = sorted(
            own_order(torch.arange(len(self.x)).view(-1, 1, 1), self.layer, None).flatten()[list(steps)].tolist()
        )
        found = {HIDDEN: self.h[own]}
        if own == [len(self.x) - 1]:
            found = {signal: value.unsqueeze(0) for signal, value in self.final.items()} | found
        local = [one for one in keep if one not in found and self.cell.follows_at_once(one)]
        if local:  # each step's rows follow from what the module returned before it
            before = torch.cat([self.h[step - 1] if step else self.initial[HIDDEN].to(self.dtype) for step in own])
            x, h = self.x[own].flatten(0, 1).unsqueeze(0), found[HIDDEN].flatten(0, 1).unsqueeze(0)
            state = {signal: value.repeat(len(own), 1) for signal, value in self.initial.items()} | {HIDDEN: before}
            opened = self.cell.open(x, h, state, tuple(local), compare=False)[0]
            found |= {signal: value.view(len(own), -1, value.shape[2]) for signal, value in opened.items()}
        others = tuple(one for one in keep if one not in found)
        if others:
            end = own[-1] + 1
            opened = self.cell.open(self.x[:end], self.h[:end], self.initial, others, compare=False)[0]
            found |= {signal: value[own] for signal, value in opened.items()}
        return {signal: found[signal] for signal in keep}

    @property
    def last(self) -> States:
        """The states after the last step: the module's own, or recomputed ones where it does not say them."""
        if len(self.final) == len(self.cell.states):
            return self.final
        return {**self.before(len(self.x)), **self.final}

    def at(self, step: int) -> Mapping[Signal, Tensor]:
        """Return every signal of one step, (batch, unit) each."""
        return Lazy(self.cell.signals, lambda signal: self.signals[signal][step])

    def before(self, step: int) -> States:
        """Return the states before a step."""
        if step == 0:
            return self.initial
        return {
            signal: self.h[step - 1] if signal == self.cell.output else self.signals[signal][step - 1]
            for signal in self.cell.states
        }


def held(layer: Layer, call: Call, output: Any) -> Trace:
    """Return a call of a cell, without autograd, as it is now, whatever becomes of its weights and tensors.

    Args:
        layer: the cell's layer.
        call: what it was given.
        output: what it returned.
    """
    h, finals = read_output((layer,), output, call)
    cell, given = cell_of(layer, call), call.initial[0]
    begun = (cell.begun(call.x, given),)
    initial = {signal: value.clone() for signal, value in given.items()}
    final = {signal: value.clone() for signal, value in finals[0].items()}
    h = final[cell.output].unsqueeze(0) if cell.output in final else h.clone()
    return Trace(layer, cell, call.x.clone(), initial, (h,), final, None, begun=begun)


def beside(traces: Sequence[Trace]) -> Trace:
    """Return calls of a cell, as `held` gives them, as one of all their rows, block by block."""

    def joined(states: Sequence[States]) -> States:
        return {signal: torch.cat([one[signal] for one in states]) for signal in states[0]}

    return replace(
        traces[0],
        x=torch.cat([one.x for one in traces], 1),
        initial=joined([one.initial for one in traces]),
        pieces=(torch.cat([one.h for one in traces], 1),),
        final=joined([one.final for one in traces]),
        begun=tuple(begun for one in traces for begun in one.begun),
    )


def last_valid(values: Tensor, lengths: Tensor) -> Tensor:
    """Return each row's value at its last step, (batch, unit), from values (time, batch, unit) in own order."""
    places = (lengths - 1).to(values.device).view(1, -1, 1).expand(1, -1, values.shape[2])
    return values.gather(0, places)[0]


def _worst(errors: Tensor, state: States, final: States, lengths: Tensor | None) -> tuple[float, int]:
    if not errors.numel():
        return 0.0, 0
    by_step = _array(errors)  # numpy's small operations take a third of torch's time
    if lengths is not None:
        by_step = np.where(np.arange(len(errors))[:, None] < lengths.numpy(), by_step, 0)
    by_step = np.maximum.reduce(by_step, axis=1)
    last = by_step[-1]
    with np.errstate(all="ignore"):
        for signal, value in final.items():
            found, own = (
                _array(one) + 0.0 for one in (state[signal], value)
            )  # numbers, also of whole ones and truths
            apart = abs(found - own)
            apart /= np.maximum(abs(own), 1)
            last = np.maximum(last, np.maximum.reduce(apart, axis=None, initial=0))
    by_step[-1] = last
    worst = int(by_step.argmax())  # NaN counts as the largest
    error = float(by_step[worst])
    return float("inf") if isnan(error) else error, worst


def _array(value: Tensor) -> np.ndarray:
    """Return a tensor as numpy, in a type that this has."""
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy(force=True)


@dataclass(frozen=True, eq=False)
class Run:
    """One call of one recurrent module, opened.

    Attributes:
        layers: the module's layers, in torch's order of h_n.
        call: what the module was given.
        traces: one for each layer.
        masks: what the output of each layer below the top was multiplied by (dropout), or None.
        returned: what the module returned, where its layer is none of torch's.
    """

    layers: tuple[Layer, ...]
    call: Call
    traces: tuple[Trace, ...]
    masks: Sequence[Tensor | None]
    returned: Any = None

    def level(self, number: int) -> tuple[Trace, ...]:
        """Return the traces of one level of the stack: one, or one for each direction."""
        return tuple(trace for trace in self.traces if trace.layer.level == number)

    @property
    def output(self) -> Any:
        """What the module would have returned for this run."""
        top = join(self.level(self.layers[0].levels - 1))
        return write_output(self.layers, top, [trace.last for trace in self.traces], self.call, self.returned)


def join(traces: Sequence[Trace]) -> Tensor:
    """Return the hidden states of one level in the input's order, (time, batch, direction x unit)."""
    sides = [own_order(trace.h, trace.layer, trace.lengths) for trace in traces]
    return sides[0] if len(sides) == 1 else torch.cat(sides, dim=-1)


def reconstruct(
    layers: tuple[Layer, ...],
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    output: Any,
    generator_state: Tensor | None = None,
    *,
    call: Call | None = None,
) -> Run:
    """Reconstruct every state of the call `module(*arguments, **keywords)` that returned `output`.

    Of a stack, each layer below the top is run again alone on the fused kernel, which gives the same bits.

    Args:
        layers: every layer of the module.
        arguments: its positional arguments.
        keywords: its keyword arguments.
        output: what it returned.
        generator_state: torch's generator before the call, where the module drops out between layers.
        call: what the arguments were read as, where somebody has done that.
    """
    call = read_call(layers, arguments, keywords) if call is None else call
    top, finals = read_output(layers, output, call)
    masks = dropout_masks(layers, call, generator_state, top)
    traces: list[Trace] = []
    x = call.x
    for level in range(layers[0].levels):
        sides = [layer for layer in layers if layer.level == level]
        h = top if level == layers[-1].level else _run_level(sides, x, call)
        for layer, own in zip(sides, h.chunk(len(sides), dim=-1) if len(sides) > 1 else (h,), strict=True):
            traces.append(
                Trace(
                    layer,
                    cell_of(layer, call),
                    own_order(x, layer, call.lengths),
                    _own(call.initial[layer.place]),
                    (own_order(own, layer, call.lengths),),
                    finals[layer.place],
                    call.lengths,
                )
            )
        if level < layers[-1].level:
            x = dropped(h, masks[level])
    return Run(layers, call, tuple(traces), masks, output if call.adapter is not None else None)


def _run_level(layers: Sequence[Layer], x: Tensor, call: Call) -> Tensor:
    """Run one level of a stack alone, in all its directions, which gives the bits that it had in the stack.

    Args:
        layers: the level's layers, one or two directions.
        x: what the level read, (time, batch, input).
        call: what the module was given.

    Returns:
        The level's hidden states, (time, batch, direction x unit).
    """
    module: Any = layers[0].module
    parameters = kernels.parameters_of([layer.cell for layer in layers])
    options = (module.bias, 1, 0.0, module.training, len(layers) > 1)
    x = in_order(x, layers[0], call.lengths)
    if call.packed is None:
        h = kernels.kernel_of(module)(x, _level_states(layers, call, None), parameters, *options, False)[0]
        return in_order(h, layers[0], None)
    packed = repack(x, call)
    states = _level_states(layers, call, packed.sorted_indices)
    data = kernels.kernel_of(module)(packed.data, packed.batch_sizes, states, parameters, *options)[0]
    return in_order(pad_packed_sequence(packed._replace(data=data))[0], layers[0], call.lengths)


def _level_states(layers: Sequence[Layer], call: Call, order: Tensor | None) -> Any:
    """Return what a level begins with, a view of all levels' states: torch's kernels round by memory's alignment."""
    batch, every = call.x.shape[1], len(call.initial)
    full = call.state or [call.x.new_zeros(every, batch, layers[0].size(signal)) for signal in layers[0].states]
    ordered = [part if order is None else part.index_select(1, order) for part in full]
    own = [part[layers[0].place : layers[-1].place + 1] for part in ordered]
    return own if len(own) > 1 else own[0]


def _own(states: States) -> States:
    """Return states of their own where autograd keeps them, since the caller may change its own in place later."""
    if not torch.is_grad_enabled():
        return states
    return {signal: value.clone() for signal, value in states.items()}


def dropped(h: Tensor, mask: Tensor | None) -> Tensor:
    """Return what the layer above reads of a layer's hidden states."""
    return h if mask is None else h * mask
