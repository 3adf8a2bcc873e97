"""The equations of the GRU (gated recurrent unit), in the textbook's letters.

Cho et al. 2014, with the reset gate after the product, as torch.nn.GRU computes it:

    r = sigmoid(W_r x + U_r h + b_r)    z = sigmoid(W_z x + U_z h + b_z)
    n = tanh(W_n x + b_in + r (U_n h + b_hn))
    h' = (1 - z) n + z h

With the reset gate before the product, as in the paper, in Keras with `reset_after=False`, in TensorFlow 1's GRUCell
and in ONNX with `linear_before_reset=0`, what is reset is the hidden state itself, and one unit's gate reaches all:

    n = tanh(W_n x + b_in + U_n (r h) + b_hn)
"""

from __future__ import annotations

from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from ..signals import Signal
from .cell import HIDDEN, Cell, Formula, Moment, Weights, affine
from .nonlinearities import STANDARD, Activations

_a_r, _a_z = Signal.RESET_GATE_PREACTIVATION, Signal.UPDATE_GATE_PREACTIVATION
_r, _z = Signal.RESET_GATE, Signal.UPDATE_GATE
_v, _a_n, _n = Signal.CANDIDATE_RECURRENT, Signal.CANDIDATE_PREACTIVATION, Signal.CANDIDATE


class GRUCell(Cell):
    """torch's GRU cell, or one that resets before the product; its matrices hold the rows of r, z and n."""

    def __init__(self, weights: Weights, activations: Activations = STANDARD, *, reset_before: bool = False) -> None:
        self.weights = weights
        self.units = len(weights.W) // 3
        #: Whether its gates are sigmoids and its candidate a tanh.
        self.plain = activations == STANDARD
        self._activations, self._reset_before = activations, reset_before

    @cached_property
    def formulas(self) -> tuple[Formula, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The signals in the order in which a step computes them."""
        gate, candidate = self._activations.gate, self._activations.candidate
        if self._reset_before:
            v = Formula(_v, (_r,), self._recurrent_of_reset, mixes=True)
            a_n = Formula(_a_n, (_v,), lambda moment, v: moment.given[_a_n] + v)
        else:
            v = Formula(_v, (), lambda moment: moment.given[_v])
            a_n = Formula(_a_n, (_r, _v), lambda moment, r, v: moment.given[_a_n] + r * v)
        return (
            Formula(_a_r, (), lambda moment: moment.given[_a_r]),
            Formula(_a_z, (), lambda moment: moment.given[_a_z]),
            Formula(_r, (_a_r,), lambda _, a: gate(a)),
            Formula(_z, (_a_z,), lambda _, a: gate(a)),
            v,
            a_n,
            Formula(_n, (_a_n,), lambda _, a: candidate(a)),
            # The kernel's form of (1 - z) n + z h, which rounds otherwise.
            Formula(HIDDEN, (_z, _n), lambda moment, z, n: (moment.previous[HIDDEN] - n) * z + n),
        )

    def _recurrent_of_reset(self, moment: Moment, r: Tensor) -> Tensor:
        """Return U_n (r h) + b_hn."""
        return affine(r * moment.previous[HIDDEN], *self._rows(slice(2 * self.units, None)))

    def _rows(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Return some rows of U and b_hh."""
        U, b = self.weights.U, self.weights.b_hh
        return U[rows], None if b is None else b[rows]

    def size(self, signal: Signal) -> int:
        """Return how many units a signal has."""
        return self.units

    def given(
        self, inputs: Float[Tensor, "*lead gates"], previous: Float[Tensor, "*lead state"]
    ) -> dict[Signal, Tensor]:
        """Return the gates' pre-activations and the two parts of the candidate's: the recurrent and the input's."""
        x_r, x_z, x_n = inputs.chunk(3, dim=-1)
        if self._reset_before:  # the recurrent part follows from the reset gate
            h_r, h_z = affine(previous, *self._rows(slice(2 * self.units))).chunk(2, dim=-1)
            return {_a_r: x_r + h_r, _a_z: x_z + h_z, _a_n: x_n}
        h_r, h_z, h_n = self.recurrent(previous).chunk(3, dim=-1)
        return {_a_r: x_r + h_r, _a_z: x_z + h_z, _v: h_n, _a_n: x_n}
