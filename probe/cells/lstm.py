"""One step of a long short-term memory cell, in the textbook's letters.

Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as torch.nn.LSTM computes it:

    i = sigmoid(W_i x + U_i h + b_i)    f = sigmoid(W_f x + U_f h + b_f)
    g = tanh(W_g x + U_g h + b_g)       o = sigmoid(W_o x + U_o h + b_o)
    c' = f c + i g                      h' = o tanh(c')
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..signals import Signal

#: torch's order of the gates in its matrices of 4 x unit rows: i f g o.
GATES = (Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE)
PREACTIVATIONS = (
    Signal.INPUT_GATE_PREACTIVATION,
    Signal.FORGET_GATE_PREACTIVATION,
    Signal.CELL_CANDIDATE_PREACTIVATION,
    Signal.OUTPUT_GATE_PREACTIVATION,
)
STATES = (Signal.CELL_STATE, Signal.HIDDEN_STATE)
#: Every signal in the order in which a step computes them, which is the order of edits too.
SIGNALS = PREACTIVATIONS + GATES + STATES

_i, _f, _g, _o = GATES
_c, _h = STATES


@dataclass(frozen=True)
class Weights:
    """The parameters of one layer: W reads the input, U the previous hidden state."""

    W: Float[Tensor, "gates input"]
    U: Float[Tensor, "gates unit"]
    b_ih: Float[Tensor, " gates"] | None
    b_hh: Float[Tensor, " gates"] | None


def preactivations(
    x: Float[Tensor, "*lead input"], h: Float[Tensor, "*lead unit"], weights: Weights
) -> dict[Signal, Tensor]:
    """Return what enters the four gates, (*lead, unit) each, for inputs x and previous hidden states h."""
    linear = torch.nn.functional.linear
    # Two products and two biases, added in the kernel's order: one fused product would change the last bit.
    a = linear(x, weights.W, weights.b_ih) + linear(h, weights.U, weights.b_hh)
    return dict(zip(PREACTIVATIONS, a.chunk(4, dim=-1), strict=True))


def gates(a: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
    """Return i, f, g and o, each of the shape of its pre-activation."""
    functions = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid)
    return {
        gate: function(a[preactivation])
        for gate, preactivation, function in zip(GATES, PREACTIVATIONS, functions, strict=True)
    }


def cell_states(signals: Mapping[Signal, Tensor], c: Float[Tensor, "batch unit"]) -> Float[Tensor, "time batch unit"]:
    """Return c at every step from the gates at every step (time, batch, unit) and the initial c."""
    i, f, g = signals[_i], signals[_f], signals[_g]
    written = i * g
    if torch.is_grad_enabled() and (written.requires_grad or c.requires_grad):
        states = []
        for t in range(len(f)):
            c = f[t] * c + written[t]
            states.append(c)
        return torch.stack(states)
    states = torch.empty_like(written)
    for t in range(len(f)):
        c = torch.mul(f[t], c, out=states[t]).add_(written[t])
    return states


#: How each signal after the pre-activations follows from others at the same step and the previous c ("c").
#: All of them act unit by unit, so an edit of one unit changes no other unit before the next step.
FORMULAS: dict[Signal, tuple[tuple[Signal, ...], Callable[..., Tensor]]] = {
    _i: ((PREACTIVATIONS[0],), torch.sigmoid),
    _f: ((PREACTIVATIONS[1],), torch.sigmoid),
    _g: ((PREACTIVATIONS[2],), torch.tanh),
    _o: ((PREACTIVATIONS[3],), torch.sigmoid),
    _c: ((_f, _i, _g), lambda c, f, i, g: f * c + i * g),
    _h: ((_o, _c), lambda o, c: o * torch.tanh(c)),
}
