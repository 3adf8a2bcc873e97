"""Modules for what torch's layers cannot do: run backwards, merge two directions otherwise, skip masked steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from ..errors import ProbeError
from ..recurrent.layers import OwnModule, Turning
from ..recurrent.surroundings import contexts_here

AXES = "(batch, time, input)"


class Backwards(Turning):
    """A recurrent module that reads each sequence from its end, batch first.

    Args:
        module: called with the reversed sequence.
        restored: whether its outputs are put back into the input's order (ONNX's `reverse`); otherwise they stay in
            the order in which they were computed (Keras's `go_backwards`).
    """

    def __init__(self, module: nn.Module, *, restored: bool) -> None:
        super().__init__()
        self.module, self.restored = module, restored

    def turned(self) -> nn.Module:
        """Return the module."""
        return self.module

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Return the hidden states at every step and the last states, as the module does."""
        check_input(self, x)
        h, last = self.module(x.flip(1), hx)
        return (h.flip(1) if self.restored else h), last

    def extra_repr(self) -> str:
        """Return the option, for a model's repr."""
        return f"restored={self.restored}"


class BothWays(Turning):
    """Two recurrent modules, one of which reads each sequence from its end, batch first.

    Args:
        forward_module: reads from the beginning.
        backward_module: reads the reversed sequence; its outputs are put back into the input's order.
        merge: what becomes of the two outputs at a step: `concat`, `sum`, `mul` or `ave`.
    """

    def __init__(self, forward_module: nn.Module, backward_module: nn.Module, *, merge: str) -> None:
        super().__init__()
        self.forward_module, self.backward_module, self.merge = forward_module, backward_module, merge

    def turned(self) -> nn.Module:
        """Return the module that reads from the end."""
        return self.backward_module

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Return the merged hidden states at every step, and the last states of the two, a pair.

        Args:
            x: the sequences, (batch, time, input).
            hx: a pair of initial states, or None.
        """
        check_input(self, x)
        first, second = (None, None) if hx is None else hx
        h, last = self.forward_module(x, first)
        other, other_last = self.backward_module(x.flip(1), second)
        return merged(h, other.flip(1), self.merge), (last, other_last)

    def extra_repr(self) -> str:
        """Return the option, for a model's repr."""
        return f"merge={self.merge!r}"


class Masked(nn.Module):
    """A recurrent module of which some steps are hidden, as a layer of Keras below `Masking` or `mask_zero`.

    At a hidden step nothing is read: the states stay as they are, and the output is the one of the step before. An
    unmasked run of the module alone would read those steps, and end elsewhere.

    Args:
        module: batch first.
        by: what hides steps in the file, for messages.
        zeros: whether outputs at hidden steps are zero (Keras's `zero_output_for_mask`).
    """

    def __init__(self, module: nn.Module, *, by: str, zeros: bool = False) -> None:
        super().__init__()
        self.module, self.by, self.zeros = module, by, zeros

    def forward(
        self,
        x: Tensor | PackedSequence,
        hx: Any = None,
        *,
        mask: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Return the hidden states at every step and the last states.

        Args:
            x: the sequences, (batch, time, input); or packed ones, without the hidden steps.
            hx: initial states, or None.
            mask: True at the steps that are read, (batch, time).

        Raises:
            ProbeError: a tensor comes without a mask, or the mask has another shape.
        """
        if isinstance(x, PackedSequence):
            return self.module(x, hx)
        check_input(self, x)
        if mask is None:
            raise ProbeError(
                f"Steps of this layer are hidden by {self.by}. Call it with mask=, True at the steps that are read "
                "(torch.ones(x.shape[:2], dtype=bool) for all), or with a PackedSequence without the hidden steps."
            )
        if mask.shape != x.shape[:2] or mask.dtype != torch.bool:
            raise ProbeError(
                f"The mask has shape {tuple(mask.shape)} and dtype {mask.dtype}; expected {tuple(x.shape[:2])} of "
                "torch.bool, True at the steps that are read."
            )
        if hx is not None:
            raise ProbeError("With a mask the module starts from its own initial states. Leave hx out.")
        if not bool(mask.any()):
            raise ProbeError("Every step of every row is hidden. Give a mask that is True somewhere.")
        inner = self.module
        self._check_followed(mask)
        if isinstance(inner, BothWays):
            h, last = self._rows(inner.forward_module, x, mask)
            other, other_last = self._rows(inner.backward_module, x.flip(1), mask.flip(1))
            return merged(h, other.flip(1), inner.merge), (last, other_last)
        if isinstance(inner, Backwards):
            h, last = self._rows(inner.module, x.flip(1), mask.flip(1))
            return (h.flip(1) if inner.restored else h), last
        return self._rows(inner, x, mask)

    def _check_followed(self, mask: Tensor) -> None:
        """Raise where a module inside is recorded or edited, and its steps or rows would not be the input's."""
        here = contexts_here()
        followed = [
            one
            for one in self.module.modules()
            if "forward" in vars(one) or any(one in context.modules for context in here)
        ]
        if not followed:
            return
        lengths = mask.sum(1)
        read_first = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]
        if bool((mask != read_first).any()) or bool((lengths == 0).any()):
            raise ProbeError(
                f"Steps in between, before the others or all of a row are hidden by {self.by}. A recording or edit "
                "could not say which input a step is: leave the hidden steps out, so that they come last."
            )
        alone = [one for one in followed if isinstance(one, OwnModule)]
        if alone and len(set(lengths.tolist())) > 1:
            raise ProbeError(
                f"The rows read {int(lengths.min())} to {int(lengths.max())} steps, and a {type(alone[0]).__name__} "
                "reads no packed sequences. Record or edit the rows of each length by themselves."
            )

    def _rows(self, module: nn.Module, x: Tensor, mask: Tensor) -> tuple[Tensor, Any]:
        """Run rows without their hidden steps: packed, or, by modules of our own, those of each length together."""
        lengths = mask.sum(1)
        some = [(lengths > 0).nonzero()[:, 0]]
        if not isinstance(module, nn.RNNBase):
            some = [(lengths == length).nonzero()[:, 0] for length in lengths.unique().tolist() if length]
        out: Tensor | None = None
        last: list[Tensor] = []
        for rows in some:
            h, states = self._run(module, [x[row][mask[row]] for row in rows.tolist()])
            states = list(states) if isinstance(states, tuple) else [states]
            if out is None:
                out = x.new_zeros(*x.shape[:2], h.shape[2])
                last = [state.new_zeros(state.shape[0], len(x), state.shape[2]) for state in states]
            out[rows] = self._spread(h, mask[rows], both=getattr(module, "bidirectional", False))
            for whole, state in zip(last, states, strict=True):
                whole[:, rows] = state
        return out if out is not None else x, last[0] if len(last) == 1 else tuple(last)

    @staticmethod
    def _run(module: nn.Module, read: list[Tensor]) -> tuple[Tensor, Any]:
        """Return hidden states, padded to the longest row, and last states."""
        if len({len(one) for one in read}) == 1:
            return module(torch.stack(read))
        h, states = module(pack_sequence(read, enforce_sorted=False))
        return pad_packed_sequence(h, batch_first=True)[0], states

    def _spread(self, h: Tensor, mask: Tensor, *, both: bool) -> Tensor:
        """Put outputs at the steps that were read, and at hidden steps what stood there before."""
        parts = h.chunk(2, 2) if both else (h,)
        # One direction after the other: what came before lies after, in the reverse one.
        places = [(mask.cumsum(1) - 1), (mask.flip(1).cumsum(1) - 1)]
        pieces = []
        for way, part in enumerate(parts):
            place = places[way]
            read = mask.sum(1, keepdim=True) - 1 - place if way else place
            taken = part.gather(1, read.clamp(0, part.shape[1] - 1)[:, :, None].expand(-1, -1, part.shape[2]))
            hidden = place < 0 if not self.zeros else ~(mask.flip(1) if way else mask)
            taken = taken.masked_fill(hidden[:, :, None], 0)
            pieces.append(taken.flip(1) if way else taken)
        return torch.cat(pieces, 2)

    def extra_repr(self) -> str:
        """Return the options, for a model's repr."""
        return f"by={self.by!r}, zeros={self.zeros}"


def without_mask(module: nn.Module, *, lengths_said: bool) -> nn.Module:
    """Return what a module is where padding alone is hidden: of a `Masked` the module inside, any other itself.

    Args:
        module: of a checkpoint.
        lengths_said: whether it is known how many steps of each sequence are read.

    Raises:
        ProbeError: steps are hidden, and nobody says which.
    """
    if not isinstance(module, Masked):
        return module
    if not lengths_said:
        raise ProbeError(
            f"Steps of this network are hidden by {module.by}. Say with lengths= how many steps of each "
            "sequence are read: those after them are the hidden ones. Sequences with hidden steps in between cannot "
            "be run so."
        )
    return module.module


def merged(h: Tensor, other: Tensor, merge: str) -> Tensor:
    """Return what becomes of the outputs of two directions."""
    if merge == "concat":
        return torch.cat([h, other], dim=-1)
    if merge == "mul":
        return h * other
    return h + other if merge == "sum" else (h + other) / 2


def check_input(module: nn.Module, x: Any) -> None:
    """Raise ProbeError where an input is none that these modules read."""
    if not isinstance(x, Tensor) or x.dim() != 3:
        found = f"of shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"of type {type(x).__name__}"
        raise ProbeError(f"{type(module).__name__} was called with an input {found}; it reads a tensor {AXES}.")
