"""Adapters of the package minGRU-pytorch (0.2): minGRU and minLSTM, which run a parallel scan.

Feng et al. 2024, "Were RNNs All We Needed?", arXiv 2410.01201, sections 3.1 and 3.2, appendix B. The package scans in
logarithms, whose sums grow with the length: after a thousand steps in float32 its own numbers are some 1e-4 off, and
`tolerance=` must allow that.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..recurrent.steps.step import State, Step


class _Minimal(Step):
    """A hidden state, (batch, unit), mixed with a candidate by gates that the input alone gives."""

    names: ClassVar = {"state": "hidden_state"}
    _given: Tensor | None = None

    def inputs(self, x: Tensor, prev_hidden: Tensor | None = None, return_next_prev_hidden: bool = False) -> Tensor:
        """Return the sequences, (batch, time, feature)."""
        if prev_hidden is not None:
            self._given = self._before(prev_hidden[:, 0], x.shape[1])
        return x

    def _before(self, given: Tensor, steps: int) -> Tensor:
        return given

    def _zeros(self, weight: Tensor, parts: int, batch: int) -> Tensor:
        return weight.new_zeros(batch, len(weight) // parts) if self._given is None else self._given

    def final(self, returned: Any) -> State | None:
        """Return the last hidden state, where the module was asked for it."""
        return returned[1][:, 0] if isinstance(returned, tuple) else None

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return the outputs, and the last hidden state where the module was asked for it."""
        return (outputs, state[:, None]) if isinstance(returned, tuple) else outputs


class MinGRUStep(_Minimal):
    """One step of `minGRU_pytorch.minGRU.minGRU`: h = (1 - z) h + z g(x)."""

    def initial(self, batch: int) -> State:
        """Return the hidden state that the call brings, or zeros, (batch, unit)."""
        return self._zeros(self.module.to_hidden_and_gate.weight, 2, batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the module's output and the next hidden state."""
        candidate, gate = self.module.to_hidden_and_gate(x).chunk(2, -1)
        h = torch.lerp(state, _positive(candidate), gate.sigmoid())
        return self.module.to_out(h), h


class MinLSTMStep(_Minimal):
    """One step of `minGRU_pytorch.minLSTM.minLSTM`: h = f h + i g(x), with f and i divided by their sum.

    In minGRU-pytorch 0.2.1 a call of several steps takes g(h) for the hidden state that it is given, and a call of
    one step takes h; the adapter starts where the module starts.
    """

    def _before(self, given: Tensor, steps: int) -> Tensor:
        return _positive(given) if steps > 1 else given

    def initial(self, batch: int) -> State:
        """Return the hidden state that the call begins with, or zeros, (batch, unit)."""
        return self._zeros(self.module.to_hidden_and_f_i_gate.weight, 3, batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the module's output and the next hidden state."""
        candidate, forget, enter = self.module.to_hidden_and_f_i_gate(x).chunk(3, -1)
        forget, enter = forget.sigmoid(), enter.sigmoid()
        h = (forget * state + enter * _positive(candidate)) / (forget + enter)
        return self.module.to_out(h), h


def _positive(x: Tensor) -> Tensor:
    """Return g of appendix B.3: x + 1/2 where x is not negative, its sigmoid elsewhere."""
    return torch.where(x >= 0, x + 0.5, x.sigmoid())
