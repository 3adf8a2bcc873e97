"""Adapters of the state-space layers of transformers: Mamba, FalconMamba, Mamba-2, and hybrids that have them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import ProbeError
from .carried import CarriedSteps, State


class MixerSteps(CarriedSteps):
    """What these layers have in common: a convolution over the last inputs, then a recurrence, and a cache.

    The state is the convolution window (batch, channel, width - 1), the projected inputs that the convolution still
    reads, and what the recurrence keeps. A mask is read step by step, beside the input, and zeroes padding where the
    layer does it.
    """

    names: ClassVar[Mapping[str, str]] = {"state[0]": "convolution_window", "state[1]": "ssm_state"}
    _cache: Any = None
    _masked = _single = False

    def inputs(self, hidden_states: Tensor, cache: Any = None, attention_mask: Any = None, **others: Any) -> Tensor:
        """Return the hidden states, (batch, time, feature); with a mask, it is the last feature.

        Raises:
            ProbeError: the call has a cache of an unknown kind, or several sequences in one row.
        """
        name = type(self.module).__name__
        self._cache = cache if cache is not None else others.get("cache_params")
        if self._cache is not None and not hasattr(self._cache, "get_recurrent_state"):
            raise ProbeError(
                f"{name} was called with a cache of the class {type(self._cache).__name__}, whose states "
                f"{type(self).__name__} cannot read; it reads transformers' DynamicCache. Call the model with "
                "use_cache=False."
            )
        packed = [one for one in ("seq_idx", "cu_seq_lens_q", "cu_seqlens") if others.get(one) is not None]
        if packed:
            raise ProbeError(
                f"{name} was called with {', '.join(packed)}: several sequences in one row, between which its state "
                "starts anew. Give each sequence a row of its own."
            )
        self._masked = attention_mask is not None
        if self._masked:
            hidden_states = torch.cat([hidden_states, attention_mask[:, :, None].to(hidden_states.dtype)], dim=-1)
        self._single = hidden_states.shape[1] == 1
        self.begin(hidden_states, self._cache, self.module.layer_idx)
        return hidden_states

    def start(self, batch: int) -> State:
        """Return zeros: the window (batch, channel, width - 1), and what the recurrence keeps."""
        weight = self.module.conv1d.weight
        window = weight.new_zeros(batch, len(weight), weight.shape[-1] - 1)
        kept = torch.promote_types(weight.dtype, torch.float32) if self.keeps_wide else torch.float32
        return window, weight.new_zeros(batch, *self.shape, dtype=kept)

    def kept(self) -> State | None:
        """Return the two parts in the cache itself; its first column, which no step reads, is left out."""
        place, width = self.module.layer_idx, self.module.conv1d.weight.shape[-1] - 1
        window, ssm = (
            read(place, state_idx=0) for read in (self._cache.get_conv_state, self._cache.get_recurrent_state)
        )
        return None if window is None or ssm is None else (window[..., window.shape[-1] - width :], ssm)

    #: Whether the recurrence keeps double precision where the layer has it.
    keeps_wide: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of what the recurrence keeps, without the batch."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the input of one step with padding zeroed, (batch, feature), and the mask, (batch, 1), or None."""
        if not self._masked:
            return x, None
        x, mask = x[:, :-1], x[:, -1:]
        return x * mask, mask

    def convolve(self, x: Tensor, window: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the convolution's output at one step after its activation, (batch, channel), and the next window."""
        conv = self.module.conv1d
        window = torch.cat([window, x.unsqueeze(-1)], dim=-1)
        summed = (window * conv.weight.squeeze(1)).sum(-1)
        summed = summed if conv.bias is None else summed + conv.bias
        return self.activated(summed, mask), window[..., 1:]

    def activated(self, value: Tensor, mask: Tensor | None) -> Tensor:
        """Return the convolution's activation, with padding zeroed."""
        value = self.module.act(value)
        return value if mask is None else value * mask


class MambaSteps(MixerSteps):
    """transformers' MambaMixer: the selective state-space model S6 of Gu and Dao, "Mamba" (2023), equations 1 and 2.

    State: `convolution_window` (channel, width - 1), and `ssm_state` (channel, N): after each step
    exp(A dt) ssm_state + dt B x.
    """

    keeps_wide: ClassVar[bool] = True

    def initial(self, batch: int) -> State:
        """Return where the call starts: transformers reads of a cache the window alone where several steps follow."""
        window, ssm = super().initial(batch)
        return window, ssm if self._single else torch.zeros_like(ssm)

    @property
    def shape(self) -> tuple[int, ...]:
        """(channel, N)."""
        return self.module.intermediate_size, self.module.ssm_state_size

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output of one step, (batch, feature), and the next state."""
        mixer: Any = self.module
        x, mask = self.split(x)
        hidden, gate = mixer.in_proj(x).chunk(2, dim=-1)
        hidden, window = self.convolve(hidden, state[0], mask)
        sizes = [mixer.time_step_rank, mixer.ssm_state_size, mixer.ssm_state_size]
        dt, B, C = self.selected(*mixer.x_proj(hidden).split(sizes, dim=-1))
        dt = functional.softplus(functional.linear(dt, mixer.dt_proj.weight) + mixer.dt_proj.bias.float())
        decay = torch.exp(-torch.exp(mixer.A_log.float()) * dt.unsqueeze(-1))
        ssm = decay * state[1] + dt.unsqueeze(-1) * B.unsqueeze(1).float() * hidden.unsqueeze(-1).float()
        y = torch.matmul(ssm.to(hidden.dtype), C.unsqueeze(-1)).squeeze(-1) + hidden * mixer.D.float()
        return mixer.out_proj((y * functional.silu(gate)).to(hidden.dtype)), (window, ssm)

    def selected(self, dt: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the time step, the input's and the output's directions, as they are used."""
        return dt, B, C


class FalconMambaSteps(MambaSteps):
    """transformers' FalconMambaMixer and JambaMambaMixer: Mamba with RMS norms of dt, B and C.

    Lieber et al., "Jamba" (2024); Zuo et al., "Falcon Mamba" (2024).
    """

    def selected(self, dt: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return them normalised."""
        return self.module.dt_layernorm(dt), self.module.b_layernorm(B), self.module.c_layernorm(C)


class Mamba2Steps(MixerSteps):
    """transformers' Mamba2Mixer, and those of Bamba and Nemotron-H.

    State space duality: Dao and Gu, "Transformers are SSMs" (2024), section 7.

    State: `convolution_window` (channel, width - 1), and `ssm_state` (head, unit, N).
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(head, unit, N)."""
        return self.module.num_heads, self.module.head_dim, self.module.ssm_state_size

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output of one step, (batch, feature), and the next state."""
        mixer: Any = self.module
        x, mask = self.split(x)
        sizes = [mixer.intermediate_size, mixer.conv_dim, mixer.num_heads]
        gate, projected, dt = mixer.in_proj(x).split(sizes, dim=-1)
        convolved, window = self.convolve(projected, state[0], mask)
        width = mixer.n_groups * mixer.ssm_state_size
        hidden, B, C = convolved.float().split([mixer.intermediate_size, width, width], dim=-1)
        hidden = hidden.unflatten(-1, (mixer.num_heads, mixer.head_dim))
        B, C = self._by_head(B), self._by_head(C)
        dt = functional.softplus(dt + mixer.dt_bias).clamp(*mixer.time_step_limit).float()
        decay = torch.exp(-torch.exp(mixer.A_log.float()) * dt)
        added = (hidden * dt.unsqueeze(-1)).unsqueeze(-1) * B.unsqueeze(-2)
        ssm = decay[..., None, None] * state[1] + added
        y = (ssm * C.unsqueeze(-2)).sum(-1) + mixer.D.unsqueeze(-1) * hidden
        return mixer.out_proj(mixer.norm(y.flatten(1), gate).to(x.dtype)), (window, ssm)

    def _by_head(self, value: Tensor) -> Tensor:
        mixer: Any = self.module
        groups = value.unflatten(-1, (mixer.n_groups, mixer.ssm_state_size))
        return groups.repeat_interleave(mixer.num_heads // mixer.n_groups, dim=1)
