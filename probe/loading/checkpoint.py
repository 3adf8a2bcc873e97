"""`Checkpoint`, which `probe.load` returns: modules, the remaining arrays, and where each came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError, unknown
from ..recurrent.named_network import run
from .modules import BothWays


@dataclass(frozen=True)
class Source:
    """Where a network came from, and what its file did not say.

    Attributes:
        framework: such as `Keras`; `unknown` for numpy's files.
        format: of the file, such as `TensorFlow checkpoint`.
        layouts: by module, whose way of writing the arrays it is, such as `Keras LSTM`.
        gate_orders: by module, how the gates follow each other in the file, such as `i f c o`.
        chosen: what the caller decided, a sentence each.
        assumed: what was taken for granted, a sentence each.
        version: of the framework, or "".
        path: that was given, or None of one that was made in Python.
    """

    framework: str
    format: str
    layouts: Mapping[str, str] = field(default_factory=dict)
    gate_orders: Mapping[str, str] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    version: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        return self.format

    def facts(self) -> dict[str, Any]:
        """Return all but the path as plain values, for a file of JSON."""
        return {
            "framework": self.framework,
            "version": self.version,
            "format": self.format,
            "chosen": list(self.chosen),
            "assumed": list(self.assumed),
        }


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """The networks of a file.

    Attributes:
        recurrent: modules by name, batch first, in evaluation mode, with weights of their own: of torch, or our own
            cell where torch has none; the name is empty for a network that was saved alone.
        tensors: every array of numbers that belongs to none of them, by its name in the file.
        source: framework, format, layouts, and what was chosen or assumed.
        arrays: by module, the names of the arrays that it is made of.
        not_understood: names of what is in the file and is no array of numbers.
    """

    recurrent: Mapping[str, nn.Module]
    tensors: Mapping[str, Tensor]
    source: Source
    arrays: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_understood: tuple[str, ...] = ()

    def choose(self, name: str | None = None) -> tuple[str, nn.Module]:
        """Return one recurrent module with its name.

        Args:
            name: which one, or None for the only one.

        Raises:
            ProbeError: there is no such module, or several and none is named.
        """
        if name is None and len(self.recurrent) > 1:
            listed = ", ".join(map(repr, self.recurrent))
            raise ProbeError(
                f"The file holds {len(self.recurrent)} networks ({listed}); name one: --network NAME "
                "(name= in Python)."
            )
        chosen = next(iter(self.recurrent)) if name is None else name
        if chosen not in self.recurrent:
            raise ProbeError(unknown("network", chosen, self.recurrent))
        return chosen, self.recurrent[chosen]

    def check(self, inputs: Any, outputs: Any, *, name: str | None = None, mask: Any = None) -> float:
        """Return the largest difference between a module's run and one that another program made.

        Args:
            inputs: what the module is called with, (batch, time, input), as an array or tensor.
            outputs: what the other program computed: the hidden states, (batch, time, unit), or those of the last
                step, (batch, unit).
            name: which module, or None for the only one.
            mask: of a module that hides steps, True at those that are read, (batch, time).

        Returns:
            The largest absolute difference over all numbers.

        Raises:
            ProbeError: the shapes do not fit, or there is no such module.
        """
        called, module = self.choose(name)
        dtype = next(module.parameters()).dtype
        x, expected = (torch.as_tensor(array).to(dtype) for array in (inputs, outputs))
        if x.dim() != 3:
            raise ProbeError(f"The inputs have shape {tuple(x.shape)}; (batch, time, input) were expected.")
        with torch.no_grad():
            h = run(module, x) if mask is None else module(x, mask=torch.as_tensor(mask))[0]
        found = h if expected.dim() == 3 else h[:, -1]
        # The last output of the reverse direction is the one of the first step.
        both = any(isinstance(part, BothWays) or getattr(part, "bidirectional", False) for part in module.modules())
        if expected.shape != found.shape or (expected.dim() == 2 and both):
            raise ProbeError(
                f"The outputs have shape {tuple(expected.shape)}; {called or type(module).__name__!r} computes "
                f"hidden states of shape {tuple(h.shape)}. Give all of them, or the last, if it only reads forwards."
            )
        return float((found - expected).abs().max())

    def __repr__(self) -> str:
        """Return a table: what was found, of what it is made, what is left."""
        lines = [f"source: {self.source}"]
        for name, module in self.recurrent.items():
            layout, order = self.source.layouts.get(name, ""), self.source.gate_orders.get(name, "")
            described = " ".join(str(module).split())
            lines.append(f"{name or '(alone)'}: {described}, from {layout}{f' ({order})' if order else ''}")
            lines += [f"  {array}" for array in self.arrays.get(name, ())]
        lines += [f"chosen: {sentence}" for sentence in self.source.chosen]
        lines += [f"assumed: {sentence}" for sentence in self.source.assumed]
        lines += [f"other: {name} {tuple(tensor.shape)}" for name, tensor in self.tensors.items()]
        lines += [f"not understood: {name}" for name in self.not_understood]
        return "\n".join(lines)
