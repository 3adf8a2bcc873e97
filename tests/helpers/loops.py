"""Puts the oracle's loop of reference.py into a layer or a cell of a model, in the place of its own computation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import reference
import torch
from drawn import packed
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

#: (layer, call, signal, step, value (batch, unit)) -> the value that is used from there on.
Edit = Callable[[str, int, str, int, Tensor], Tensor]
#: (layer, call, signal) -> (batch, time, unit), NaN at padding.
Signals = dict[tuple[str, int, str], Tensor]


class Loops:
    """The loops of a model's layers, with what they computed in a run; `edit` changes it."""

    def __init__(self, edit: Edit | None = None) -> None:
        self.edit = edit or (lambda _layer, _call, _signal, _step, value: value)
        self.restart()

    def restart(self) -> None:
        """Forget the runs before."""
        self._seen: dict[tuple[str, int, str], list[Tensor]] = {}
        self._calls, self._steps = Counter[str](), Counter[str]()

    @property
    def signals(self) -> Signals:
        """What the layers computed."""
        return {place: torch.cat(parts, 1) for place, parts in self._seen.items()}

    def class_of(self, base: Any, name: str, sequence: int | None = None) -> Any:
        """Return a class that runs the loop; of cells, a sequence of so many steps goes on over the calls."""
        loops, is_cell = self, issubclass(base, nn.RNNCellBase)

        class Loop(base):
            def forward(self, input: Any, hx: Any = None) -> Any:
                """Run a step, or all of them."""
                lengths: Any = None
                x = input[None] if is_cell else input
                if isinstance(x, PackedSequence):
                    x, ends = pad_packed_sequence(x, self.batch_first)
                    lengths = ends.tolist()
                if is_cell and hx is not None:
                    hx = tuple(part[None] for part in hx) if isinstance(hx, tuple) else hx[None]
                calls, steps = loops._calls[name], loops._steps[name]
                call, begin = (calls, 0) if sequence is None else divmod(steps, sequence)
                here: Callable[[str], str] = lambda layer: name if is_cell else name + layer  # noqa: E731
                found = reference.run(
                    self,
                    x,
                    hx,
                    lengths,
                    lambda layer, signal, t, v: loops.edit(here(layer), call, signal, begin + t, v),
                )
                loops._calls[name] += 1
                loops._steps[name] += x.shape[getattr(self, "batch_first", False)]
                for (layer, signal), value in found.signals.items():
                    loops._seen.setdefault((here(layer), call, signal), []).append(value)
                if not is_cell:
                    return packed(self, found.output, lengths), found.final
                return tuple(part[0] for part in found.final) if isinstance(found.final, tuple) else found.final[0]

        return Loop
