"""The adapter of transformers' RecurrentGemma: its recurrent block, which keeps its state on the module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from .carried import CarriedSteps, State


class RecurrentGemmaSteps(CarriedSteps):
    """transformers' RecurrentGemmaRecurrentBlock: De et al., "Griffin" (2024), equations 1 to 4.

    State: `convolution_window` (channel, width - 1), the projected inputs that the convolution still reads, and
    `rg_lru_state` (channel). At position 0 the RG-LRU forgets its state; which steps those are is read beside the
    input.

    The module keeps its last state as attributes.
    """

    names: ClassVar[Mapping[str, str]] = {"state[0]": "convolution_window", "state[1]": "rg_lru_state"}
    _goes_on = _single = False

    def inputs(
        self,
        input_states: Tensor,
        position_ids: Tensor,
        attention_mask: Any = None,
        use_cache: bool = True,
        **_: Any,
    ) -> Tensor:
        """Return the input, (batch, time, feature); the last feature is 1 at position 0."""
        starts = (position_ids == 0).expand(input_states.shape[:2]).unsqueeze(-1)
        x = torch.cat([input_states, starts.to(input_states.dtype)], dim=-1)
        self._goes_on, self._single = not bool(starts[:, :1].all()), x.shape[1] == 1
        self.begin(x, self.module if use_cache else None, None)
        return x

    def start(self, batch: int) -> State:
        """Return zeros: the window (batch, channel, width - 1), and the RG-LRU's state (batch, channel)."""
        weight = self.module.conv_1d.weight
        kept = torch.zeros(batch, len(weight), dtype=torch.float32, device=weight.device)
        return weight.new_zeros(batch, len(weight), weight.shape[-1] - 1), kept

    def initial(self, batch: int) -> State:
        """Return where the call starts: transformers reads the window again only where one step follows."""
        window, kept = super().initial(batch) if self._goes_on else self.start(batch)
        return window if self._single else torch.zeros_like(window), kept

    def outputs(self, returned: Any) -> Tensor:
        """Return what the module returned, (batch, time, feature).

        Raises:
            ProbeError: the call went on from a state that nobody has seen.
        """
        return super().outputs(returned) if self._goes_on else returned[0]

    def kept(self) -> State | None:
        """Return what the module keeps."""
        window, kept = self.module.conv1d_state, self.module.rg_lru.recurrent_states
        return None if window is None or kept is None else (window, kept)

    def leave(self, state: State) -> None:
        """Put a state on the module."""
        self.module.conv1d_state, self.module.rg_lru.recurrent_states = state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output of one step, (batch, feature), and the next state."""
        block: Any = self.module
        x, starts = x[:, :-1], x[:, -1:].bool()
        window = torch.cat([state[0], block.linear_x(x).unsqueeze(-1)], dim=-1)
        convolved = (window * block.conv_1d.weight.squeeze(1)).sum(-1) + block.conv_1d.bias
        lru = block.rg_lru
        input_gate = self._gate(convolved, lru.input_gate_weight, lru.input_gate_bias)
        recurrent_gate = self._gate(convolved, lru.recurrent_gate_weight, lru.recurrent_gate_bias)
        log_decay = -8.0 * recurrent_gate * functional.softplus(lru.recurrent_param)
        scale = torch.where(starts, 1.0, _root(1 - torch.exp(2 * log_decay)))
        decay = torch.where(starts, 0.0, torch.exp(log_decay))
        read = convolved * input_gate * scale.to(x.dtype)
        kept = decay.float() * state[1] + read.float()
        y = block.linear_out(kept.to(x.dtype) * block.act_fn(block.linear_y(x)))
        return y, (window[..., 1:], kept)

    @staticmethod
    def _gate(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return a gate, (batch, channel): each head reads its own channels."""
        heads = value.unflatten(-1, bias.shape).transpose(0, 1)
        return torch.sigmoid(torch.baddbmm(bias.unsqueeze(1), heads, weight).transpose(0, 1).flatten(1))


def _root(value: Tensor) -> Tensor:
    """Return the square root; its derivative is at most 1,000, as transformers bounds it."""
    slope = 1 / torch.sqrt((4 * value.detach()).clamp(min=1e-6))
    return torch.sqrt(value.detach()) + (value - value.detach()) * slope
