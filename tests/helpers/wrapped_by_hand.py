"""What is true of a case of wrapped.py: its model as plain loops, with what is put around the layer, and edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import reference
import torch
from torch import Tensor, nn
from wrapped import (
    HOOKS_CELL,
    HOOKS_INPUT,
    HOOKS_LAYER,
    HOOKS_MODEL,
    SCALES,
    ZONEOUT,
    Case,
)

#: (layer, call, signal, step, value (batch, unit)) -> the value that is used from there on.
Edit = Callable[[str, int, str, int, Tensor], Tensor]
#: (layer, call, signal) -> (batch, time, unit), NaN at padding.
Signals = dict[tuple[str, int, str], Tensor]


class ByHand:
    """A case's model as loops; it shares no module with the model, and nothing with the library.

    Args:
        case: the case.
        edit: what is done with every signal at every step, or None.

    Attributes:
        signals: what the layers computed in the latest run.
    """

    def __init__(self, case: Case, edit: Edit | None = None) -> None:
        self.case, self.edit = case, edit or (lambda _layer, _call, _signal, _step, value: value)
        self.head = case.head()
        self.module = _with_weights(case)
        self.signals: Signals = {}

    @property
    def weights(self) -> list[Tensor]:
        """The layer's weights in torch's order."""
        return list(self.module.parameters())

    def run(self, x: Tensor, *, hooks_of_the_model: bool = True) -> list[Tensor]:
        """Return what the model returns."""
        case, self.signals = self.case, {}
        if self._hooked("model", "input"):
            x = HOOKS_INPUT * x
        h, final = self._call("inner.rnn", 0, x, case.start(x))
        found = [self.head(h), *final]
        if case.twice:
            name, number = ("inner.other", 0) if case.weights == "shared" else ("inner.rnn", 1)
            states = [part.transpose(0, 1) for part in final]
            state = None if case.is_cell else tuple(states) if len(states) > 1 else states[0]
            h, final = self._call(name, number, 0.5 * x.flip(1), state)
            found += [self.head(h), *final]
        if self._hooked("model", "output") and hooks_of_the_model:
            found = [HOOKS_MODEL * part for part in found]
        return found

    def _hooked(self, on: str, what: str) -> bool:
        return self.case.hook_on == on and self.case.hook.startswith(what)

    def _call(self, name: str, number: int, x: Tensor, state: Any) -> tuple[Tensor, list[Tensor]]:
        """Return hidden states, (batch, time, unit), and last states, (batch, layer, unit), of a call."""
        case, wrapped = self.case, name == "inner.rnn"
        if wrapped and self._hooked("layer", "input"):
            x = HOOKS_INPUT * x
        if wrapped and case.scales:
            x = SCALES * x
        if case.is_cell:
            return self._loop(name, number, x, state, wrapped=wrapped)
        h, final = self._run(name, number, x, state)
        if wrapped and case.forward == "clips":
            final[-1] = final[-1].clamp(-case.bound, case.bound)
        if wrapped and self._hooked("layer", "output"):
            h, final = HOOKS_LAYER * h, [HOOKS_LAYER * part for part in final]
        return h, [part.transpose(0, 1) for part in final]

    def _run(self, name: str, number: int, x: Tensor, state: Any) -> tuple[Tensor, list[Tensor]]:
        case = self.case
        packs = case.forward == "packs" and name == "inner.rnn"
        lengths = case.inner_lengths(len(x)) if packs else case.lengths
        given = x if case.batch_first else x.transpose(0, 1)

        def edit(layer: str, signal: str, step: int, value: Tensor) -> Tensor:
            return self.edit(name + layer, number, signal, step, value)

        found = reference.run(self.module, given, state, lengths, edit)
        self.signals |= {(name + layer, number, signal): v for (layer, signal), v in found.signals.items()}
        h = found.output if case.batch_first else found.output.transpose(0, 1)
        return h, list(found.final) if isinstance(found.final, tuple) else [found.final]

    def _loop(self, name: str, number: int, x: Tensor, state: Any, *, wrapped: bool) -> tuple[Tensor, list[Tensor]]:
        case, given = self.case, state is not None
        now = reference.initial(self.module, "[0]", x[:, 0], state)
        seen: dict[str, list[Tensor]] = {}
        found = []
        for step in range(x.shape[1]):

            def see(signal: str, value: Tensor, step: int = step) -> Tensor:
                value = self.edit(name, number, signal, step, value)
                seen.setdefault(signal, []).append(value)
                return value

            new = reference.step(self.module, "[0]", x[:, step], now, see)
            if wrapped and case.forward == "clips":
                last = "cell_state" if "cell_state" in new else "hidden_state"
                new[last] = new[last].clamp(-case.bound, case.bound)
            if wrapped and case.forward == "zoneout" and (given or step):
                new["hidden_state"] = (1 - ZONEOUT) * new["hidden_state"] + ZONEOUT * now["hidden_state"]
            if wrapped and self._hooked("layer", "output"):
                new = {signal: HOOKS_CELL * value for signal, value in new.items()}
            now = new
            found.append(now["hidden_state"])
        self.signals |= {(name, number, signal): torch.stack(values, 1) for signal, values in seen.items()}
        return torch.stack(found, 1), [part[:, None] for part in now.values()]


def _with_weights(case: Case) -> Any:
    """Return a layer with the weights that the model's has, all of them leaves."""
    layer = replace(case, seed=case.seed + (case.weights == "functional")).module()
    if "norm" in case.weights:
        # Each row keeps its direction; its length, which is a parameter of its own there, is multiplied.
        with torch.no_grad():
            layer.get_parameter("weight_hh" if case.is_cell else "weight_hh_l0").mul_(1.3)
    return layer


def leaves(case: Case, model: nn.Module) -> list[Tensor]:
    """Return the layer's weights of a model in torch's order, as far as they are leaves."""
    if "norm" in case.weights:
        return []
    inner: Any = model
    return list(inner.weights.values()) or list(inner.inner.rnn.parameters())
