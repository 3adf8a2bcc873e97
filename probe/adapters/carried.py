"""Steps of layers that leave their last state in a cache, or on themselves, where their next call goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ..errors import ProbeError
from ..recurrent.steps.step import Step

State = tuple[Tensor, ...]
#: What calls have left: by what holds it, and its place there. It is forgotten with what holds it.
_left: MutableMapping[Any, dict[Any, State]] = WeakIdKeyDictionary()
#: The first outputs differ by more than this fraction of the largest one where a call began with another state.
_ANOTHER_START = 0.05


class CarriedSteps(Step):
    """A step whose module overwrites the state that it began with before anybody can read it.

    So a call begins with what the last call left that was opened, or anew. Where its first output shows that it began
    with something else, it is refused. An edited run leaves its own last state, from which the next call goes on.
    """

    _holder: Any = None
    _place: Any = None
    _before: State | None = None
    _first: Tensor

    @abstractmethod
    def start(self, batch: int) -> State:
        """Return the state of a new sequence."""

    @abstractmethod
    def kept(self) -> State | None:
        """Return the parts of the state where the module left them, the very tensors; None before its first call."""

    def begin(self, x: Tensor, holder: Any, place: Any) -> None:
        """Note what a call reads, and where it leaves its state; a holder of None where it leaves none.

        Args:
            x: (batch, time, feature).
            holder: what holds the state: a cache, a tensor or a module.
            place: where it is in there.
        """
        self._first, self._holder, self._place = x[:, :1], holder, place
        if holder is not None:
            self._before = _left.get(holder, {}).get(place)
            self.resumes = self._before is not None
            self._note(self.kept())

    def _note(self, state: State | None) -> None:
        # Copies: the next call changes the module's own in place. A sweep asks before the module has run, too.
        if state is not None:
            _left.setdefault(self._holder, {})[self._place] = tuple(part.detach().clone() for part in state)

    def initial(self, batch: int) -> State:
        """Return what the last call left, where this one goes on from it, or the state of a new sequence."""
        if self._before is not None and len(self._before[0]) == batch:
            return self._before
        return self.start(batch)

    def outputs(self, returned: Any) -> Tensor:
        """Return what the module returned, (batch, time, feature).

        Raises:
            ProbeError: the call began with a state that nobody has seen.
        """
        y = returned[0] if isinstance(returned, tuple) else returned
        if self._holder is not None and self._first.numel():  # what an edited run returns is read after this
            with torch.no_grad():
                first, _ = self.step(self._first[:, 0], self.initial(len(self._first)))
            apart = (first - y[:, 0]).abs().max() if first.shape == y[:, 0].shape else torch.tensor(torch.inf)
            if apart > _ANOTHER_START * y[:, 0].abs().max():
                raise ProbeError(
                    f"{type(self.module).__name__} went on from a state that {type(self).__name__} has not seen, and "
                    f"the call has overwritten it: its first output differs by {apart:.3g} from what the last call "
                    "that was opened leads to. Record from the first call of a sequence on, or call the model on "
                    "whole sequences with use_cache=False."
                )
            self._first = self._first[:, :0]
        return y

    def final(self, returned: Any) -> State | None:
        """Return what the module left; None where it left nothing."""
        kept = None if self._holder is None else self.kept()
        return kept and tuple(part.clone() for part in kept)

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return the outputs as the module would, and leave the last state where the next call goes on."""
        if self._holder is not None:
            self.leave(state)
            self._note(state)
        return (outputs, *returned[1:]) if isinstance(returned, tuple) else outputs

    def leave(self, state: State) -> None:
        """Put a state where the module left its own."""
        for part, value in zip(self.kept() or (), state, strict=True):
            part.copy_(value)
