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

from collections.abc import Mapping
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ..refusals import autocast_type, transformed
from ..signals import Signal
from . import narrow
from .cell import HIDDEN, Cell, Formula, Moment, Weights, affine
from .nonlinearities import STANDARD, Activations

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
_PLAIN = (*GATES, _c, HIDDEN)
_FUNCTIONS = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid)


class LSTMCell(Cell):
    """torch's LSTM cell, with or without a projection; and that cell with peepholes or other functions."""

    states = (HIDDEN, _c)

    def __init__(self, weights: Weights, activations: Activations = STANDARD) -> None:
        self.weights = weights
        self.units = len(weights.W) // 4
        self._peepholes = weights.p_i is not None
        #: Whether the kernels' own arithmetic, in place, gives what the formulas say.
        self.plain = weights.P is None and not self._peepholes and activations == STANDARD
        self._activations = activations

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
    ) -> tuple[dict[Signal, Tensor], Float[Tensor, "time batch"], dict[Signal, Tensor]]:
        """Compute signals at all steps from the hidden states that a module itself produced; see `Cell.open`."""
        if narrow.fits(self, x) and len(x) <= self._chunk(x):
            # Whatever is kept: a patch with a recording of some signals must find the bits of a run with all of them.
            found, errors, state = narrow.opened(self, x, h, initial)
            missing = tuple(signal for signal in keep if signal in PREACTIVATIONS)
            found |= super().open(x, h, initial, missing)[0] if missing else {}
            return {signal: h if signal == HIDDEN else found[signal] for signal in keep}, errors, state
        usual = self.plain and set(GATES) < set(keep) and not set(PREACTIVATIONS) & set(keep)
        if torch.is_grad_enabled() or not usual:
            return super().open(x, h, initial, keep)
        # A stretch at a time, while it is in the cache. Each gate in an array of its own: rows of all four, which
        # lie a multiple of 4 kB apart, would fall on the same places of the cache.
        rows = self._chunk(x)
        a, b = (x.new_empty(min(rows, len(x)), x.shape[1], 4 * self.units) for _ in range(2))
        found = {gate: h.new_empty(*h.shape) for gate in (*GATES, _c)}
        c, previous = initial[_c], initial[HIDDEN].to(h.dtype).unsqueeze(0)
        errors = x.new_empty(x.shape[:2])
        for start in range(0, len(x), rows):
            part = slice(start, min(start + rows, len(x)))
            now, product = a[: part.stop - start], b[: part.stop - start]
            affine(x[part], self.weights.W, self.weights.b_ih, out=now)
            now += affine(torch.cat([previous, h[part][:-1]]), self.weights.U, self.weights.b_hh, out=product)
            i, f, g, o, cells = (found[signal][part] for signal in (*GATES, _c))
            # Each gate alone: torch rounds the last numbers of a row otherwise than those that fill a vector.
            for function, value, out in zip(_FUNCTIONS, now.chunk(4, dim=-1), (i, f, g, o), strict=True):
                function(value, out=out)
            torch.mul(i, g, out=cells)
            c = _scan(cells, f, c)[-1]
            recomputed = _quick_tanh(cells, product.view(-1)[: cells.numel()].view(cells.shape)).mul_(o)
            errors[part] = recomputed.sub_(h[part]).abs_().amax(-1)
            previous = h[part][-1:]
        found[HIDDEN] = h
        return {signal: found[signal] for signal in keep}, errors, {HIDDEN: h[-1], _c: c}

    def run(
        self, x: Float[Tensor, "time batch input"], initial: Mapping[Signal, Tensor], keep: tuple[Signal, ...]
    ) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor]]:
        """Run free from an initial state, in Python; see `Cell.run`."""
        bare = not (torch.is_grad_enabled() or transformed((x, self.weights.W)) or autocast_type(self.weights.W))
        if not bare or not self.plain or set(PREACTIVATIONS) & set(keep):
            return super().run(x, initial, keep)
        if narrow.fits(self, x):
            signals, last = narrow.run(self, x, initial, keep=set(keep) != {HIDDEN})
            return {signal: signals[signal] for signal in keep}, last
        like = x.new_empty(x.shape[1], self.units)
        kept = {signal: like.new_empty(len(x), *like.shape) for signal in _PLAIN if signal in keep}
        spare = {signal: like.new_empty(1, *like.shape) for signal in _PLAIN if signal not in keep}
        weights, recurrent = self.weights, self.weights.U.T.contiguous()
        bias = _or_zero(weights.b_ih, weights.U.T) + _or_zero(weights.b_hh, weights.U.T)
        c, h = initial[_c], initial[HIDDEN]
        for t in range(len(x)):
            i, f, g, o, now, out = (kept[s][t] if s in kept else spare[s][0] for s in _PLAIN)
            a = torch.addmm(bias, x[t], weights.W.T).addmm_(h, recurrent)
            a_i, a_f, a_g, a_o = a.chunk(4, dim=-1)
            torch.sigmoid(a_i, out=i)
            torch.sigmoid(a_f, out=f)
            _quick_tanh(a_g, g)
            torch.sigmoid(a_o, out=o)
            c = torch.mul(f, c, out=now).addcmul_(i, g)
            h = _quick_tanh(c, out).mul_(o)
        return kept, {HIDDEN: h, _c: c}

    def _open(self, x: Tensor, previous: Tensor, state: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
        if self._peepholes:
            return super()._open(x, previous, state)
        after = self.given(self.inputs(x), previous)
        moment = Moment(lambda: after, {})
        for formula in self.formulas[4:]:
            if formula.signal == _c:
                after[_c] = _scan(after[_i] * after[_g], after[_f], state[_c])
            else:
                after[formula.signal] = formula.compute(moment, *(after[source] for source in formula.sources))
        return after


def _quick_tanh(z: Tensor, out: Tensor) -> Tensor:
    """Write tanh(z), in float32 to 1.2e-7, as 2 sigmoid(2z) - 1: torch's own float32 tanh costs three sigmoids."""
    if z.dtype != torch.float32:
        return torch.tanh(z, out=out)
    return torch.mul(z, 2, out=out).sigmoid_().mul_(2).sub_(1)


def _or_zero(bias: Tensor | None, like: Tensor) -> Tensor:
    return like.new_zeros(like.shape[-1]) if bias is None else bias


def _given(signal: Signal) -> Formula:
    return Formula(signal, (), lambda moment: moment.given[signal])


def _peeping(signal: Signal, p: Tensor | None) -> Formula:
    """Return the pre-activation of a gate that sees the previous cell state."""
    return Formula(signal, (), lambda moment: moment.given[signal] + p * moment.previous[_c])


def _peeping_at_new(signal: Signal, p: Tensor | None) -> Formula:
    """Return the pre-activation of a gate that sees the new cell state."""
    return Formula(signal, (_c,), lambda moment, c: moment.given[signal] + p * c)


def _scan(written: Tensor, f: Tensor, c: Tensor) -> Tensor:
    """Turn what each step writes into c at every step, (time, batch, unit), given the c before the first one."""
    if torch.is_grad_enabled():
        states = []
        for t in range(len(f)):
            c = f[t] * c + written[t]
            states.append(c)
        return torch.stack(states)
    product = torch.empty_like(c)
    for t in range(len(f)):
        # Two operations, as in the kernel: addcmul would round once.
        c = written[t].add_(torch.mul(f[t], c, out=product))
    return written
