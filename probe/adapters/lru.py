"""Adapter of the package LRU-pytorch (0.1): the linear recurrent unit, whose state is complex."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.steps.step import State, Step


class LRUStep(Step):
    """One step of `LRU_pytorch.LRU.LRU`: h = Lambda h + gamma B x, y = Re(C h) + D x.

    Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349, equations
    6 to 8. The state is complex, (batch, unit). The package gives the state of a call to its first row alone, and
    starts the other rows at zero.
    """

    names: ClassVar = {"state": "hidden_state"}
    _given: Tensor | None = None
    _batched = True

    def inputs(self, input: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the sequences, (batch, time, feature); one alone, (time, feature), is a batch of one.

        Raises:
            ProbeError: the input has another number of axes, for which the package returns memory as it finds it.
        """
        if input.dim() not in (2, 3):
            raise ProbeError(
                f"An LRU was called with {tuple(input.shape)}; give (batch, time, feature) or (time, feature)."
            )
        self._given, self._batched = state, input.dim() == 3
        return input if self._batched else input[None]

    def initial(self, batch: int) -> State:
        """Return zeros, and in the first row the state that the call brings, (batch, unit)."""
        zeros = self.module.B.new_zeros(batch, len(self.module.B))
        return zeros if self._given is None else torch.cat([self._given[None].to(zeros), zeros[1:]])

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output, (batch, unit), and the next state."""
        module = self.module
        kept = torch.polar(torch.exp(-torch.exp(module.nu_log)), torch.exp(module.theta_log))
        enters = torch.exp(module.gamma_log)[:, None] * module.B
        h = kept * state + x.to(enters.dtype) @ enters.T
        return (h @ module.C.T).real + x @ module.D.T, h

    def outputs(self, returned: Any) -> Tensor:
        """Return the outputs, (batch, time, unit)."""
        return returned if self._batched else returned[None]

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return the outputs in the form of the call."""
        return outputs if self._batched else outputs[0]
