"""Finds recurrent layers by the names of Flax's cells.

A gate has `kernel` (input, units) and maybe `bias`, called `ii` for the input gate's input, `hf` for the forget
gate's state; fused cells have `dense_i` and `dense_h`, gates in torch's order. Reference: flax/linen/recurrent.py,
flax/nnx/nn/recurrent.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import GATES, Found, LayerSpec, module_of, pair_of
from ..readers import listed

#: An array of a Flax cell's gate, by its name.
FLAX = re.compile(
    r"(?:(?P<cell>.*)[/.])?(?P<gate>[ih][ifgorzn]_?|i|h|dense_i|dense_h)[/.](?P<part>kernel|bias)(?:[/.](?:raw_)?value)?"
)
#: What trained a network, moments of its weights by the same names among it.
TRAINING = re.compile(r"(?:.*[/.])?(?:opt_state|optimizer|opt|optimizer_state)[/.]")
_WAY = re.compile(r"(?P<start>.*?)[/.]?(?P<way>forward|backward)_rnn(?:[/.]cell)?")
#: The parts of each cell, in torch's order of gates; of a fused one the number of gates follows from the shapes.
_GATE_NAMES = {"LSTM": "ifgo", "GRU": "rzn", "RNN": ("",)}
_FUSED = {"dense_i", "dense_h"}
_WRITTEN = {"LSTM": "i f g o", "GRU": "r z n", "RNN": ""}


@dataclass(frozen=True, eq=False)
class _Cell:
    """One cell's arrays by gate and part, such as ("hf", "kernel")."""

    name: str
    parts: Mapping[tuple[str, str], str]
    tensors: Mapping[str, Tensor]

    @property
    def gates(self) -> set[str]:
        return {gate for gate, _ in self.parts}

    @property
    def kind(self) -> str | None:
        """Which cell the gates are those of."""
        kinds = {kind: {f"{side}{gate}" for side in "ih" for gate in gates} for kind, gates in _GATE_NAMES.items()}
        if self.gates == _FUSED and ("dense_h", "kernel") in self.parts:
            shape = self.get("dense_h", "kernel").shape
            sizes = {gates * shape[0]: kind for kind, gates in GATES.items()} if len(shape) == 2 else {}
            return sizes.get(shape[1]) if sizes else None
        return next((kind for kind, gates in kinds.items() if gates == self.gates), None)

    def get(self, gate: str, part: str) -> Tensor:
        return self.tensors[self.parts[gate, part]]

    def stacked(self, side: str, gates: Sequence[str], part: str) -> Tensor | None:
        """Return one side's arrays of all gates, by torch's axes; biases that some gates have, with zeros."""
        names = [f"dense_{side}"] if self.gates == _FUSED else [side + gate for gate in gates]
        found = [self.parts.get((name, part)) for name in names]
        if part == "bias" and not any(found):
            return None
        like = self.get(names[0], "kernel")
        arrays = [like.new_zeros(like.shape[1]) if name is None else self.tensors[name] for name in found]
        wanted = 2 if part == "kernel" else 1
        if any(array.dim() != wanted or array.shape != arrays[0].shape for array in arrays):
            shapes = listed(f"{name} {tuple(array.shape)}" for name, array in zip(names, arrays, strict=True))
            parts = "kernels" if part == "kernel" else "biases"
            raise ProbeError(
                f"{self.name!r} has the arrays {shapes} as its {parts}; expected (input, units) and (units) each. A "
                "convolution's cell cannot be loaded, and other files are damaged."
            )
        return torch.cat([array.T for array in arrays] if part == "kernel" else arrays, 0)


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose arrays are named as Flax's cells name them.

    Args:
        tensors: the arrays by name, with slashes or dots.
        choices: `activation`, and `gate_activation` where it is not the sigmoid.

    Raises:
        ProbeError: the arrays are of no cell that can be loaded, or a choice was not made.
    """
    specs: dict[str, LayerSpec] = {}
    cells: dict[str, _Cell] = {}
    for cell in _flax_cells(tensors):
        name = re.sub(r"^(?:params[/.])+|[/.]?cell$", "", cell.name) if cell.name != "params" else ""
        if name in cells:
            name = cell.name
        specs[name], cells[name] = _flax_spec(cell, name, choices), cell
    found: list[Found] = []
    for name, spec in specs.items():
        match = _WAY.fullmatch(name)
        other = name.replace("forward_rnn", "backward_rnn")
        if match and match["way"] == "backward" and name.replace("backward_rnn", "forward_rnn") in specs:
            continue
        own = [name, other] if match and match["way"] == "forward" and other in specs else [name]
        called = match["start"] if match and len(own) == 2 else name
        module = module_of(spec) if len(own) == 1 else pair_of(spec, specs[other])
        if len(own) == 2:
            choices.assume(f"{called}: the two directions are concatenated, in the input's order")
        arrays = tuple(array for one in own for array in cells[one].parts.values())
        found.append(Found(called, module, arrays, f"Flax {spec.kind}", _WRITTEN[spec.kind]))
    return found


def _flax_cells(tensors: Mapping[str, Tensor]) -> list[_Cell]:
    groups: dict[str, dict[tuple[str, str], str]] = {}
    for name in tensors:
        if not TRAINING.match(name) and (match := FLAX.fullmatch(name)):
            groups.setdefault(match["cell"] or "", {})[match["gate"].rstrip("_"), match["part"]] = name
    cells = [_Cell(name, parts, tensors) for name, parts in groups.items()]
    cells = [cell for cell in cells if all((gate, "kernel") in cell.parts for gate in cell.gates)]
    for cell in cells:
        sides = {gate[-1] if gate.startswith("dense") else gate[0] for gate in cell.gates}
        # An `i` or an `h` alone is the name of anything.
        if cell.kind is None and sides == {"i", "h"}:
            raise ProbeError(
                f"{cell.name!r} has {listed(cell.parts.values())}, as a cell of Flax does, but of none that can be "
                "loaded: an LSTM has ii, if, ig, io, hi, hf, hg and ho, a GRU ir, iz, in, hr, hz and hn, a "
                f"SimpleCell i and h, fused ones dense_i and dense_h. Leave it out with "
                f"names={{{cell.name + '*'!r}: None}}."
            )
    return [cell for cell in cells if cell.kind is not None]


def _flax_spec(cell: _Cell, name: str, choices: Choices) -> LayerSpec:
    kind = cell.kind or ""
    gates = _GATE_NAMES[kind]
    W, U = cell.stacked("i", gates, "kernel"), cell.stacked("h", gates, "kernel")
    if W is None or U is None:
        raise ProbeError(f"{cell.name!r} has no kernels.")
    biases = cell.stacked("i", gates, "bias"), cell.stacked("h", gates, "bias")
    where = name or "the cell"
    choices.assume(f"{where}: its layer reads from the beginning (reverse=False)")
    if kind == "RNN":
        why = "the arrays are those of a SimpleCell, whose function is in no file"
        activation = choices.need("activation", where, why, "'tanh' (Flax's default) and 'relu'")
        choices.assume(f"{where}: without a residual connection (residual=False), Flax's default")
        return LayerSpec(where, kind, W, U, *biases, activation=activation)
    return LayerSpec(where, kind, W, U, *biases, **_functions(kind, where, "Flax", choices))


def _functions(kind: str, where: str, library: str, choices: Choices) -> dict[str, Any]:
    """Return the functions of a gated cell: the library's own, which no file says, unless others were chosen."""
    functions = {}
    for argument, usual in (("gate_activation", "sigmoid"), ("activation", "tanh")):
        chosen = choices.get(argument, where)
        functions[argument] = chosen or usual
        if chosen is None:
            choices.assume(f"{where}: {argument}={usual!r}, {library}'s default")
    activation = functions["activation"]
    own = {"gate": functions["gate_activation"], "activation": activation}
    return own | ({"output": activation} if kind == "LSTM" else {})
