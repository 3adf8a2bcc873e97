"""Adapters of transformers' RWKV: its attention, and the feed-forward part, which looks one step back too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import ProbeError
from .carried import CarriedSteps, State
from .scaled import kept, memory, put_back


class _ShiftedSteps(CarriedSteps):
    """What both parts have in common: the input of the step before, and a state that the model hands through."""

    #: Where the parts of the layer's state are in the model's.
    places: ClassVar[tuple[int, ...]] = ()
    _state: Any = None

    def inputs(self, hidden: Tensor, state: Any = None, use_cache: bool = False, **_: Any) -> Tensor:
        """Return the hidden states, (batch, time, feature).

        Raises:
            ProbeError: one step of several rows is called with a state, where transformers mixes the rows.
        """
        self._state = state
        if state is not None and hidden.shape[1] == 1 and len(hidden) > 1:
            raise ProbeError(
                f"{type(self.module).__name__} was called with one step of {len(hidden)} rows and a state, where "
                "transformers mixes the rows. Call the model with one row, or on whole sequences."
            )
        self.begin(hidden, None if state is None else state[self.places[0]], self.module.layer_id)
        return hidden

    def kept(self) -> State:
        """Return the parts of the model's state that are this layer's."""
        return tuple(self._state[place][:, :, self.module.layer_id] for place in self.places)

    def _mixed(self, x: Tensor, before: Tensor, what: str) -> Tensor:
        """Return the input mixed with the one before, (batch, feature)."""
        share = getattr(self.module, f"time_mix_{what}")[0, 0]
        return x * share + before * (1 - share)


class RwkvSteps(_ShiftedSteps):
    """transformers' RwkvSelfAttention: RWKV-4, Peng et al., "RWKV" (2023), equations 16 and 22 to 28.

    State: `shifted_input` (feature), the input of the step before; `numerator` and `denominator` (unit), whose
    quotient is what the layer remembers. The layer keeps the two divided by exp(`maximum`), so that exponentials stay
    small; here they are multiplied by it, so patch the two. An edit of the maximum alone leaves them as they are.
    Where it passes 88 they are no numbers any more, and the run is refused.
    """

    names: ClassVar[Mapping[str, str]] = {
        "state[0]": "shifted_input",
        "state[1]": "numerator",
        "state[2]": "denominator",
        "state[3]": "maximum",
    }
    gauges: ClassVar[tuple[str, ...]] = ("state[3]",)
    places = (1, 2, 3, 4)

    def start(self, batch: int) -> State:
        """Return zeros, and a maximum of -1e38: (batch, feature), then three times (batch, unit)."""
        weight = self.module.key.weight
        kept = torch.promote_types(weight.dtype, torch.float32)
        zeros = torch.zeros(batch, weight.shape[0], dtype=kept, device=weight.device)
        return weight.new_zeros(batch, weight.shape[1]), zeros, zeros.clone(), zeros - 1e38

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output of one step, (batch, feature), and the next state."""
        layer: Any = self.module
        before, maximum = state[0], state[3]
        numerator, denominator = kept(state[1], maximum), kept(state[2], maximum)
        key = layer.key(self._mixed(x, before, "key")).float()
        value = layer.value(self._mixed(x, before, "value"))
        receptance = torch.sigmoid(layer.receptance(self._mixed(x, before, "receptance")))
        largest = torch.maximum(maximum, key + layer.time_first)
        old, new = torch.exp(maximum - largest), torch.exp(key + layer.time_first - largest)
        wkv = ((old * numerator + new * value) / (old * denominator + new)).to(value.dtype)
        decayed = maximum - torch.exp(layer.time_decay)
        largest = torch.maximum(decayed, key)
        old, new = torch.exp(decayed - largest), torch.exp(key - largest)
        numerator, denominator = old * numerator + new * value, old * denominator + new
        return layer.output(receptance * wkv), (x, memory(numerator, largest), memory(denominator, largest), largest)

    def kept(self) -> State:
        """Return the parts of the model's state that are this layer's, with its memory as it is."""
        x, numerator, denominator, maximum = super().kept()
        return x, memory(numerator, maximum), memory(denominator, maximum), maximum

    def leave(self, state: State) -> None:
        """Put a state where the module left its own."""
        own = super().kept()
        x, numerator, denominator, maximum = state
        back = [
            torch.where(maximum == own[3], put_back(one, new, own[3]), kept(new, maximum))
            for one, new in ((own[1], numerator), (own[2], denominator))
        ]
        for part, value in zip(own, (x, *back, maximum), strict=True):
            part.copy_(value)


class RwkvShiftSteps(_ShiftedSteps):
    """transformers' RwkvFeedForward (RWKV-4's channel mixing): its state is the input of the step before."""

    names: ClassVar[Mapping[str, str]] = {"state[0]": "shifted_input"}
    places = (0,)

    def start(self, batch: int) -> State:
        """Return zeros, (batch, feature)."""
        weight = self.module.key.weight
        return (weight.new_zeros(batch, weight.shape[1]),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output of one step, (batch, feature), and the input."""
        layer: Any = self.module
        key = torch.square(torch.relu(layer.key(self._mixed(x, state[0], "key"))))
        return torch.sigmoid(layer.receptance(self._mixed(x, state[0], "receptance"))) * layer.value(key), (x,)
