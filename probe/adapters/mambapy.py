"""Adapter of the package mambapy (1.2): Mamba's block, written in PyTorch with a parallel scan."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.steps.step import State, Step


class MambaBlockStep(Step):
    """One step of `mambapy.mamba.MambaBlock`.

    Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752, equation 2
    with the step size, B and C of its algorithm 2. The state is the state space, (batch, channel, N), and the last
    inputs of the convolution, (batch, channel, d_conv - 1).
    """

    names: ClassVar = {"state.h": "ssm_state", "state.window": "convolution_window"}

    def inputs(self, x: Tensor) -> Tensor:
        """Return the sequences, (batch, time, feature).

        Raises:
            ProbeError: the block runs mamba_ssm's fused kernel.
        """
        if self.module.config.use_cuda:
            raise ProbeError(
                "This MambaBlock runs mamba_ssm's fused CUDA kernel. Set config.use_cuda = False: the block then "
                "runs its own scan on the same weights."
            )
        return x

    def initial(self, batch: int) -> State:
        """Return zeros."""
        config, weight = self.module.config, self.module.in_proj.weight
        # The block computes A in float32, whatever the weights are.
        exact = torch.promote_types(weight.dtype, torch.float32)
        state = {"h": weight.new_zeros(batch, config.d_inner, config.d_state, dtype=exact)}
        if config.d_conv < 2:
            return state
        return {**state, "window": weight.new_zeros(batch, config.d_inner, config.d_conv - 1)}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the block's output and the next state."""
        config = self.module.config
        window = state.get("window", x.new_zeros(len(x), config.d_inner, 0))
        y, (h, window) = self.module.step(x, (state["h"], window))
        return y, {"h": h, "window": window} if "window" in state else {"h": h}
