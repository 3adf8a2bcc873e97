"""Adapters of the gated delta rule in transformers: Qwen3-Next, Qwen3.5, Qwen4-Exp and Lara-Mini."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import ProbeError
from .carried import State
from .transformers_mixers import MixerSteps


class GatedDeltaSteps(MixerSteps):
    """transformers' Qwen3NextGatedDeltaNet: Yang et al., "Gated Delta Networks" (2024), equation 10.

    State: `convolution_window` (channel, width - 1), and `delta_state` (head, key, value): a matrix that maps keys to
    values. After each step it is S + beta k (v - k S), where S is what the decay has left of it.
    """

    names: ClassVar[Mapping[str, str]] = {"state[0]": "convolution_window", "state[1]": "delta_state"}

    def inputs(self, hidden_states: Tensor, cache: Any = None, attention_mask: Any = None, **others: Any) -> Tensor:
        """Return the hidden states, (batch, time, feature); with a mask, it is the last feature.

        Raises:
            ProbeError: the call has a cache of an unknown kind, several sequences in one row, or another activation.
        """
        if self.module.activation not in ("silu", "swish"):
            raise ProbeError(
                f"{type(self.module).__name__} has the activation {self.module.activation!r} after its convolution; "
                f"{type(self).__name__} knows 'silu'."
            )
        return super().inputs(hidden_states, cache, attention_mask, **others)

    def activated(self, value: Tensor, mask: Tensor | None) -> Tensor:
        """Return the convolution's activation; the mask counts before the projection alone."""
        return functional.silu(value)

    @property
    def shape(self) -> tuple[int, ...]:
        """(head, key, value)."""
        return self.module.num_v_heads, self.module.head_k_dim, self.module.head_v_dim

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the convolution reads, the gate, and the inputs of beta and of the decay, of one step."""
        layer: Any = self.module
        both = layer.in_proj_qkvz(x).unsqueeze(1), layer.in_proj_ba(x).unsqueeze(1)
        *read, z, b, a = (part[:, 0] for part in layer.fix_query_key_value_ordering(*both))
        return torch.cat([part.flatten(1) for part in read], dim=-1), z, b, a

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output of one step, (batch, feature), and the next state."""
        layer: Any = self.module
        x, mask = self.split(x)
        read, z, b, a = self.projected(x)
        convolved, window = self.convolve(read, state[0], mask)
        query, key, value = convolved.float().split([layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
        query, key = (self._unit(part) for part in (query, key))
        value = value.unflatten(-1, (layer.num_v_heads, layer.head_v_dim))
        decay = -layer.A_log.float().exp() * functional.softplus(a.float() + layer.dt_bias)
        kept = state[1] * decay.float().exp()[..., None, None]
        written = (value - (kept * key.unsqueeze(-1)).sum(-2)) * b.sigmoid().float().unsqueeze(-1)
        kept = kept + key.unsqueeze(-1) * written.unsqueeze(-2)
        y = (kept * query.unsqueeze(-1)).sum(-2) * layer.head_k_dim**-0.5
        y = layer.norm(y.to(x.dtype).flatten(0, 1), z.reshape(-1, layer.head_v_dim))
        return layer.out_proj(y.unflatten(0, (len(x), -1)).flatten(1)), (window, kept)

    def _unit(self, value: Tensor) -> Tensor:
        """Return queries or keys of length 1, (batch, head, key): each serves several heads of values."""
        layer: Any = self.module
        value = value.unflatten(-1, (layer.num_k_heads, layer.head_k_dim))
        value = value * torch.rsqrt((value * value).sum(-1, keepdim=True) + 1e-6)
        return value.repeat_interleave(layer.num_v_heads // layer.num_k_heads, dim=1)


class SplitGatedDeltaSteps(GatedDeltaSteps):
    """transformers' Qwen3_5GatedDeltaNet and those made of it: the same, with a projection for each of the four."""

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the convolution reads, the gate, and the inputs of beta and of the decay, of one step."""
        layer: Any = self.module
        return layer.in_proj_qkv(x), layer.in_proj_z(x), layer.in_proj_b(x), layer.in_proj_a(x)
