"""The equations of the LSTM (long short-term memory), in the textbook's letters.

Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as torch.nn.LSTM computes it:

    i = sigmoid(W_i x + U_i h + b_i)    f = sigmoid(W_f x + U_f h + b_f)
    g = tanh(W_g x + U_g h + b_g)       o = sigmoid(W_o x + U_o h + b_o)
    c' = f c + i g                      h' = o tanh(c')

With a projection (Sak et al. 2014), o tanh(c') is the unprojected hidden state and h' = P (o tanh(c')).

With peepholes (Gers & Schmidhuber 2000), i and f see the previous cell state and o the new one, each unit its own:
p_i c and p_f c are added to the pre-activations of i and f, and p_o c' to that of o, which then comes after c'.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .. import memory
from ..signals import Signal
from ..surroundings import autocast_type, transformed
from . import narrow
from .cell import HIDDEN, Cell, Formula, Moment, Weights, affine, difference
from .nonlinearities import STANDARD, Activation, Activations

#: torch's order of the gates in its matrices of 4 x unit rows: i f g o.
GATES = (Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE)
PREACTIVATIONS = (
    Signal.INPUT_GATE_PREACTIVATION,
    Signal.FORGET_GATE_PREACTIVATION,
    Signal.CELL_CANDIDATE_PREACTIVATION,
    Signal.OUTPUT_GATE_PREACTIVATION,
)
_i, _f, _g, _o = GATES
_a_i, _a_f, _a_g, _a_o = PREACTIVATIONS
_c, _u = Signal.CELL_STATE, Signal.UNPROJECTED_HIDDEN_STATE
_BEFORE: Mapping[Signal, Signal] = dict(zip(GATES, PREACTIVATIONS, strict=True))
_PLAIN = (*PREACTIVATIONS, *GATES, _c, HIDDEN)
#: Up to how many units the numbers of a unit lie beside each other.
_FEW_UNITS = 16
#: Up to how many numbers in all are copied to where they are scanned faster.
_FEW_NUMBERS = 50_000
#: From how many weights on oneDNN's product is taken: the least that it was measured on, 128 units.
_ONEDNN_FROM = 1 << 16


class LSTMCell(Cell):
    """torch's LSTM cell, with or without a projection; and that cell with peepholes or other functions."""

    states = (HIDDEN, _c)

    def __init__(self, weights: Weights, activations: Activations = STANDARD) -> None:
        self.weights = weights
        self.units = weights.W.shape[0] // 4
        self._peepholes = weights.p_i is not None
        #: Whether the kernels' own arithmetic, in place, gives what the formulas say.
        self.plain = weights.P is None and not self._peepholes and activations == STANDARD
        self._activations = activations

    @cached_property
    def steps(self) -> narrow.Steps:
        """Its weights as the loop for few units takes them."""
        return narrow.Steps.of(self)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Every signal, in the order in which a step computes it."""
        if not self.plain:
            return super().signals
        return _PLAIN

    @cached_property
    def formulas(self) -> tuple[Formula, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The signals in the order in which a step computes them."""
        P, activations = self.weights.P, self._activations
        gate, candidate, output = activations.gate, activations.candidate, activations.output
        of_i, of_f, of_g, of_o = (_given(a) for a in PREACTIVATIONS)
        i = Formula(_i, (_a_i,), lambda _, a: gate(a))
        f = Formula(_f, (_a_f,), lambda _, a: gate(a))
        g = Formula(_g, (_a_g,), lambda _, a: candidate(a))
        o = Formula(_o, (_a_o,), lambda _, a: gate(a))
        c = Formula(_c, (_f, _i, _g), lambda moment, f, i, g: f * moment.previous[_c] + i * g)
        h = Formula(HIDDEN if P is None else _u, (_o, _c), lambda _, o, c: o * output(c))
        every = (of_i, of_f, of_g, of_o, i, f, g, o, c, h)
        if self._peepholes:
            seen = _peeping(_a_i, self.weights.p_i), _peeping(_a_f, self.weights.p_f), of_g
            every = (*seen, i, f, g, c, _peeping_at_new(_a_o, self.weights.p_o), o, h)
        if P is None:
            return every
        return (*every, Formula(HIDDEN, (_u,), lambda _, u: torch.nn.functional.linear(u, P), mixes=True))

    def size(self, signal: Signal) -> int:
        """Return how many units a signal has: with a projection, the hidden state has fewer."""
        return self.weights.U.shape[1] if signal == HIDDEN else self.units

    def follows_at_once(self, signal: Signal) -> bool:
        """Return whether it is a gate's, which peepholes would let see the cell state."""
        return not self._peepholes and signal in (*PREACTIVATIONS, *GATES)

    def given(
        self, inputs: Float[Tensor, "*lead gates"], previous: Float[Tensor, "*lead state"]
    ) -> dict[Signal, Tensor]:
        """Return the pre-activations of the four gates, without what peepholes add to them."""
        # Two products and two biases, added in the kernel's order: one fused product would change the last bit.
        return dict(zip(PREACTIVATIONS, (inputs + self.recurrent(previous)).chunk(4, dim=-1), strict=True))

    def open(
        self,
        x: Float[Tensor, "time batch input"],
        h: Float[Tensor, "time batch state"],
        initial: Mapping[Signal, Tensor],
        keep: tuple[Signal, ...],
        *,
        compare: bool = True,
    ) -> tuple[dict[Signal, Tensor], Float[Tensor, "time batch"], dict[Signal, Tensor]]:
        """Compute signals at all steps from the hidden states that a module itself produced; see `Cell.open`."""
        if torch.is_grad_enabled() or self._peepholes:
            return super().open(x, h, initial, keep, compare=compare)
        gates = tuple(gate for gate in GATES if _needs(gate, {*keep}, compare=compare))
        if self._units_first(x):
            return self._open_units_first(x, h, initial, keep, gates, compare=compare)
        (time, batch), rows = x.shape[:2], min(self._chunk(x), len(x))
        weights = _rows_of(self.weights, gates)
        space = memory.empty((rows, batch, len(gates) * self.units), x)
        joined = torch.cat([weights.W, weights.U], dim=1) if self._is_onednns(x) else None
        found = {signal: memory.empty((time, batch, self.size(signal)), x) for signal in {*keep} - {HIDDEN}}
        errors, scans = x.new_zeros(time, batch), compare or not {_c, _u}.isdisjoint(keep)
        c, previous = initial[_c].detach(), initial[HIDDEN].to(h.dtype)
        gate, candidate, output = self._activations.gate, self._activations.candidate, self._activations.output
        for start in range(0, time, rows):
            # A stretch at a time, in the same memory, while that is in the cache.
            part = slice(start, min(start + rows, time))
            now = h[part]
            a = space[: part.stop - start]
            if joined is None or len(a) < rows:
                _write_preactivations(weights, x[part], previous, now, a)
            else:
                before = h[start - 1 : part.stop - 1] if start else torch.cat([previous.unsqueeze(0), now[:-1]])
                a = onednn_affine(torch.cat([x[part], before], dim=2), joined, _bias(weights))
            given = dict(zip(gates, a.chunk(len(gates), dim=-1), strict=True))
            for signal, value in given.items():
                if (early := _BEFORE[signal]) in found:
                    found[early][part].copy_(value)
            # Each gate alone: torch rounds the last numbers of a stretch of memory otherwise than those that fill a
            # vector, and no bit may depend on what is kept.
            opened = {
                signal: _apply(
                    candidate if signal == _g else gate, value, found[signal][part] if signal in found else value
                )
                for signal, value in given.items()
            }
            previous = now[-1]
            if not scans:
                continue
            cells = torch.mul(opened[_i], opened[_g], out=found[_c][part] if _c in found else given[_i])
            c = scan(cells, opened[_f], c)
            if compare or _u in keep:
                u = _apply(output, cells, given[_g]).mul_(opened[_o])
                if _u in keep:
                    found[_u][part].copy_(u)
                if compare:
                    errors[part].copy_(self._apart(u, now))
            c = c if _c in found else c.clone()
        kept = {signal: h if signal == HIDDEN else found[signal] for signal in keep}
        return kept, errors, {HIDDEN: previous, _c: c}

    def begun(self, x: Float[Tensor, "1 batch input"], initial: Mapping[Signal, Tensor]) -> Any:
        """Return the pre-activations of a call of one step, in memory as `open` lays them out."""
        weights, previous = self.weights, initial[HIDDEN]
        if self._units_first(x):  # as `_write_preactivations` does
            a = x.new_empty(4 * self.units, x.shape[1])
            torch.addmm(_bias(weights), x[0], weights.W.T, out=a.T).addmm_(previous, weights.U.T)
            return a
        if self._is_onednns(x):
            return onednn_affine(torch.cat([x[0], previous], 1), torch.cat([weights.W, weights.U], 1), _bias(weights))
        a = x.new_empty(1, x.shape[1], 4 * self.units)
        _write_preactivations(weights, x, previous, previous[None], a)
        return a[0]

    def open_begun(
        self, begun: Sequence[Any], h: Float[Tensor, "1 rows state"], initial: Mapping[Signal, Tensor]
    ) -> tuple[dict[Signal, Tensor], Float[Tensor, "1 rows"], dict[Signal, Tensor]]:
        """Compute what `open` does of many calls of one step, to the same bits; see `Cell.open_begun`."""
        return _open_begun(begun, h, initial, by_unit=self._units_first(h))

    def _is_onednns(self, x: Tensor) -> bool:
        """Return whether oneDNN computes whole stretches of steps: it keeps memory for each number of rows."""
        return len(x) >= self._chunk(x) and suits_onednn(x, self.weights.W.numel() + self.weights.U.numel())

    def _units_first(self, x: Tensor) -> bool:
        """Return whether the numbers of a unit at all steps and rows are to lie beside each other in memory.

        A dozen numbers fill no vector. Where those of a unit lie beside each other, recording 12 units over 1,024
        rows takes three quarters of the time (`python -m benchmarks.kernels --only units`). In float64 committed
        measurements depend on the bits of the other order.
        """
        return self.plain and self.units <= _FEW_UNITS and x.dtype == torch.float32 and x.device.type == "cpu"

    def _open_units_first(
        self,
        x: Tensor,
        h: Tensor,
        initial: Mapping[Signal, Tensor],
        keep: tuple[Signal, ...],
        gates: tuple[Signal, ...],
        *,
        compare: bool,
    ) -> tuple[dict[Signal, Tensor], Tensor, dict[Signal, Tensor]]:
        """Open a run with a row of memory for each unit; in numpy, whose operations cost a third of torch's."""
        time, batch = x.shape[:2]
        rows, weights, scans = min(self._chunk(x), time), _rows_of(self.weights, gates), compare or _c in keep
        space, cells, spare = (
            memory.empty((n * self.units, time * batch), x) for n in (len(gates), int(scans), int(compare))
        )
        early = {signal: memory.empty((time, batch, self.units), x) for signal in PREACTIVATIONS if signal in keep}
        c, previous, errors = initial[_c].detach().numpy().T, initial[HIDDEN], np.zeros(time * batch, np.float32)
        for start in range(0, time, rows):
            # A stretch at a time, while that is in the cache.
            part, columns = slice(start, start + rows), slice(start * batch, (start + rows) * batch)
            read, now, a = (x, h, space) if rows == time else (x[part], h[part], space[:, columns])
            _write_preactivations(weights, read, previous, now, a.T)
            given = dict(zip(gates, a.chunk(len(gates)), strict=True))
            for gate in gates:
                if (before := _BEFORE[gate]) in early:
                    early[before][part].flatten(0, 1).copy_(given[gate].T)
            previous, opened = now[-1], {}
            with np.errstate(all="ignore"):  # torch says nothing of infinite numbers either
                for gate, value in given.items():
                    # Each gate alone: torch rounds the last numbers of a stretch of memory otherwise than those that
                    # fill a vector, and no bit may depend on what is kept.
                    opened[gate] = value.numpy() if gate == _g else value.sigmoid_().numpy()
                    if gate == _g:
                        np.tanh(opened[gate], out=opened[gate])
                if not scans:
                    continue
                written, shape = cells.numpy()[:, columns], (self.units, now.shape[0], batch)
                np.multiply(opened[_i], opened[_g], out=written)
                by_step, f = (one.reshape(shape).swapaxes(0, 1) for one in (written, opened[_f]))
                c = scan_arrays(by_step, f, c)
                if compare:
                    u = spare.numpy()[:, columns]
                    np.multiply(np.tanh(written, out=u), opened[_o], out=u)
                    by_unit = u.reshape(shape)
                    np.subtract(by_unit, now.detach().numpy().transpose(2, 0, 1), out=by_unit)
                    np.maximum.reduce(np.abs(u, out=u), axis=0, out=errors[columns])
        values = zip((*gates, _c) if scans else gates, (*space.chunk(len(gates)), cells), strict=False)
        found = {signal: one.view(self.units, time, batch).permute(1, 2, 0) for signal, one in values} | early
        found[HIDDEN] = h
        state = {HIDDEN: previous, _c: torch.from_numpy(c.T)}
        return {signal: found[signal] for signal in keep}, torch.from_numpy(errors).view(time, batch), state

    def _apart(self, u: Tensor, h: Tensor) -> Tensor:
        """Return how far what follows from o tanh(c), which is used up, is from a module's hidden states."""
        if self.plain:  # which lie between -1 and 1
            return u.sub_(h).abs_().amax(-1)
        return difference(u if self.weights.P is None else torch.nn.functional.linear(u, self.weights.P), h)

    def run(
        self, x: Float[Tensor, "time batch input"], initial: Mapping[Signal, Tensor], keep: tuple[Signal, ...]
    ) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor]]:
        """Run free from an initial state, in Python; see `Cell.run`."""
        bare = not (torch.is_grad_enabled() or transformed((x, self.weights.W)) or autocast_type(self.weights.W))
        if not bare or not self.plain or keep != (HIDDEN,):
            return super().run(x, initial, keep)
        weights, recurrent = self.weights, self.weights.U.T.contiguous()
        bias = _bias(weights)
        states, c, h = x.new_empty(*x.shape[:2], self.units), initial[_c], initial[HIDDEN]
        for t in range(len(x)):
            i, f, g, o = torch.addmm(bias, x[t], weights.W.T).addmm_(h, recurrent).chunk(4, dim=-1)
            _ = i.sigmoid_(), f.sigmoid_(), o.sigmoid_(), _apply(torch.tanh, g, g)
            c = torch.mul(f, c).addcmul_(i, g)
            h = _apply(torch.tanh, c, states[t]).mul_(o)
        return {HIDDEN: states}, {HIDDEN: h, _c: c}

    def _open(self, x: Tensor, previous: Tensor, state: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
        if self._peepholes:
            return super()._open(x, previous, state)
        after = self.given(self.inputs(x), previous)
        moment = Moment(lambda: after, {})
        for formula in self.formulas[4:]:
            if formula.signal == _c:
                c, cells = state[_c], []
                for forgotten, written in zip(after[_f], after[_i] * after[_g], strict=True):
                    c = forgotten * c + written
                    cells.append(c)
                after[_c] = torch.stack(cells)
            else:
                after[formula.signal] = formula.compute(moment, *(after[source] for source in formula.sources))
        return after


def _open_begun(
    begun: Sequence[Tensor], h: Tensor, initial: Mapping[Signal, Tensor], *, by_unit: bool
) -> tuple[dict[Signal, Tensor], Tensor, dict[Signal, Tensor]]:
    a = torch.cat([*begun], 1 if by_unit else 0)
    given = a.chunk(4, 0 if by_unit else 1)
    found: dict[Signal, Tensor] = dict(zip(PREACTIVATIONS, given, strict=True))
    calls = torch.stack([*begun]).view(len(begun), 4, h.shape[2], -1) if by_unit else None
    for place, (signal, value) in enumerate(zip(GATES, given, strict=True)):
        if calls is not None and signal != _g:  # each call alone: see `_open_units_first`
            found[signal] = torch.cat([one.sigmoid() for one in calls[:, place].unbind()], 1)
        else:
            function = torch.tanh if signal == _g else torch.sigmoid
            found[signal] = _apply(function, value, torch.empty(value.shape, dtype=a.dtype))
    c, now = ((one.T.contiguous() if by_unit else one) for one in (initial[_c], h[0]))
    found[_c] = (found[_f] * c).add_(found[_i] * found[_g])
    apart = _apply(torch.tanh, found[_c], torch.empty_like(found[_c])).mul_(found[_o]).sub_(now).abs_()
    signals = {signal: (value.T if by_unit else value).unsqueeze(0) for signal, value in found.items()}
    return signals | {HIDDEN: h}, apart.amax(0 if by_unit else 1).unsqueeze(0), {HIDDEN: h[0], _c: signals[_c][0]}


def scan(
    written: Float[Tensor, "time batch unit"],
    f: Float[Tensor, "time batch unit"],
    c: Float[Tensor, "batch unit"],
) -> Float[Tensor, "batch unit"]:
    """Turn what each step writes into c' = f c + w at every step, in place, and return the last; without autograd.

    Args:
        written: i g of each step, and c in the end.
        f: the forget gate.
        c: the cell state before the first step.
    """
    if written.device.type != "cpu" or written.dtype not in (torch.float32, torch.float64):
        product = torch.empty_like(c)
        for t in range(len(f)):
            # Two operations, as in the kernel: addcmul would round once.
            c = written[t].add_(torch.mul(f[t], c, out=product))
        return c
    with np.errstate(all="ignore"):  # torch says nothing of infinite numbers either
        return torch.from_numpy(scan_arrays(written.numpy(), f.numpy(), c.numpy()))


def scan_arrays(written: np.ndarray, f: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Do the same with arrays; see `scan`."""
    if written.size > _FEW_NUMBERS:
        return _scan_steps(written, f, c)
    own = written.copy()  # where a step lies in one piece, numpy takes half the time for it
    c = _scan_steps(own, f.copy(), c)
    written[:] = own
    return c


def _scan_steps(written: np.ndarray, f: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Scan one step after the other; numpy takes a third of torch's time for a small step."""
    product = np.empty_like(written[0] if len(written) else c)  # in memory as a step is
    for forgotten, now in zip(f, written, strict=True):
        c = np.add(now, np.multiply(forgotten, c, product), now)
    return c


def _needs(gate: Signal, keep: set[Signal], *, compare: bool) -> bool:
    """Return whether a gate is among what is kept, or what is kept or compared follows from it."""
    if compare or gate in keep or _BEFORE[gate] in keep or _u in keep:
        return True
    return _c in keep and gate != _o


def _write_preactivations(weights: Weights, x: Tensor, previous: Tensor, h: Tensor, a: Tensor) -> None:
    """Write the pre-activations of a stretch of steps, whose hidden states are given, into an array."""
    if x.dtype != torch.float32:
        # In the kernel's order, as in `given`: committed measurements depend on the last bit.
        affine(x, weights.W, weights.b_ih, out=a)
        before = torch.cat([previous.unsqueeze(0), h[:-1]])
        a += affine(before, weights.U, weights.b_hh, out=memory.empty(a.shape, a))
        return
    U, batch = weights.U.T, x.shape[1]
    flat = a.view(-1, weights.U.shape[0])
    torch.addmm(_bias(weights), x.flatten(0, 1), weights.W.T, out=flat)
    flat[:batch].addmm_(previous, U)
    if x.shape[0] > 1:
        flat[batch:].addmm_(h[:-1].flatten(0, 1), U)


def _rows_of(weights: Weights, gates: tuple[Signal, ...]) -> Weights:
    """Return the weights of some gates."""
    if gates == GATES:
        return weights

    def chosen(parameter: Tensor) -> Tensor:
        return torch.cat([parameter.chunk(4)[GATES.index(gate)] for gate in gates])

    biases = (None if bias is None else chosen(bias) for bias in (weights.b_ih, weights.b_hh))
    return Weights(chosen(weights.W), chosen(weights.U), *biases)


def _bias(weights: Weights) -> Tensor:
    """Return the sum of the biases that there are."""
    given = [bias for bias in (weights.b_ih, weights.b_hh) if bias is not None]
    return sum(given[1:], given[0]) if given else weights.W.new_zeros(len(weights.W))


def _given(signal: Signal) -> Formula:
    return Formula(signal, (), lambda moment: moment.given[signal])


def _peeping(signal: Signal, p: Tensor | None) -> Formula:
    """Return the pre-activation of a gate that sees the previous cell state."""
    return Formula(signal, (), lambda moment: moment.given[signal] + p * moment.previous[_c])


def _peeping_at_new(signal: Signal, p: Tensor | None) -> Formula:
    """Return the pre-activation of a gate that sees the new cell state."""
    return Formula(signal, (_c,), lambda moment, c: moment.given[signal] + p * c)


def _apply(function: Activation, value: Tensor, out: Tensor) -> Tensor:
    """Write a function of values into an array, which may be their own."""
    if function is torch.tanh and value.dtype == torch.float32 and value.device.type == "cpu":
        np.tanh(value.numpy(), out=out.numpy())  # a fifth of torch's time, as exact
        return out
    if function in (torch.sigmoid, torch.tanh):
        return function(value, out=out)  # pyright: ignore[reportCallIssue]
    return out.copy_(function(value))


def suits_onednn(x: Tensor, weights: int) -> bool:
    """Return whether a product is oneDNN's: of many weights in float32 on the CPU, where torch still has it.

    It takes AVX-512 where it is; MKL's, torch's own, does so on Intel's processors. It gains on large layers, and on
    processors whose AVX-512 has its full width, such as AMD's Zen 5, on smaller ones too (`python -m
    benchmarks.kernels --only oneDNN`). For each number of rows, inputs and outputs it keeps 0.6 MB until the process
    ends, of the latest 1,024.
    """
    if weights < _ONEDNN_FROM or x.dtype != torch.float32 or not x.is_cpu or not torch.backends.mkldnn.enabled:
        return False
    return _onednn_has_more() and _onednn_works()


def onednn_affine(
    x: Float[Tensor, "*lead input"], weight: Float[Tensor, "output input"], bias: Float[Tensor, " output"]
) -> Float[Tensor, "*lead output"]:
    """Return weight x + bias, by oneDNN."""
    return _onednn_linear()(x, weight, bias, "none", [], "")


@cache
def _onednn_has_more() -> bool:
    """Return whether oneDNN may take instructions that MKL may not."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not limit.startswith(("SSE", "AVX2"))


def _onednn_linear() -> Any:
    return torch.ops.mkldnn._linear_pointwise  # private, but compiled models are made of it


@cache
def _onednn_works() -> bool:
    """Return whether the operation is there and does what it did."""
    x, weight, bias = torch.eye(3, 2), torch.arange(8.0).view(4, 2), torch.arange(4.0)
    try:
        return torch.equal(onednn_affine(x, weight, bias), torch.addmm(bias, x, weight.T))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
