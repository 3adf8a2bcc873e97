"""The gates in the arrays of one Keras layer and direction, as a spec: order, transposition, biases, CuDNN's layout.

Keras's matrices are (input, gates x units); LSTM's gates are i f c o, a GRU's z r h. Reference: Keras 3, layers/rnn;
tf_keras 2, saving/legacy/hdf5_format.py, `_convert_rnn_weights`, for CuDNN's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.cells.nonlinearities import ACTIVATIONS
from ..layer_spec import GATES, LayerSpec, rows

#: Where torch's gates stand in Keras's order.
ORDERS = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}
WRITTEN = {"LSTM": "i f c o", "GRU": "z r h", "RNN": ""}
#: Functions that Keras has and the cells here have under the same name.
_SAME = ("sigmoid", "tanh", "relu", "linear")


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of one layer and direction.

    Attributes:
        where: the layer's name.
        kind: LSTM, GRU or RNN.
        kernel: (input, gates x units).
        recurrent: (units, gates x units).
        bias: (gates x units), (2, gates x units) of a GRU that resets after, (2 x gates x units) of CuDNN; or None.
        names: what they are called in the file.
    """

    where: str
    kind: str
    kernel: Tensor
    recurrent: Tensor
    bias: Tensor | None
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Raise ProbeError where the shapes are those of no such layer."""
        recurrent = tuple(self.recurrent.shape)
        shapes = [(recurrent[1],), (2 * recurrent[1],)] + ([(2, recurrent[1])] if self.kind == "GRU" else [])
        if self.bias is not None and tuple(self.bias.shape) not in shapes:
            raise ProbeError(
                f"{self.where!r} has a bias of shape {tuple(self.bias.shape)}; expected one of "
                f"{', '.join(map(str, shapes))}. The file is damaged, or of another kind."
            )

    @property
    def units(self) -> int:
        """How many units it has."""
        return self.recurrent.shape[0]

    @property
    def of_cudnn(self) -> bool:
        """Whether the arrays are in CuDNN's layout, which the length of the bias says."""
        return self.bias is not None and tuple(self.bias.shape) == (2 * self.recurrent.shape[1],)

    @property
    def reset(self) -> str | None:
        """Where a GRU resets, which the bias says; None where it has none."""
        if self.bias is None:
            return None
        return "after" if self.of_cudnn or self.bias.dim() == 2 else "before"

    def spec(self, **functions: Any) -> LayerSpec:
        """Return the spec with some functions; the reset gate's place is among them."""
        gates = GATES[self.kind]
        order = ORDERS[self.kind]
        kernel, recurrent = self.kernel.T, self.recurrent.T
        first, second = self.bias, None
        if self.of_cudnn:
            kernel, recurrent = _from_cudnn(self.kernel, self.recurrent, gates)
        if self.bias is not None and (self.of_cudnn or self.bias.dim() == 2):
            first, second = self.bias.reshape(2, -1)
        return LayerSpec(
            self.where,
            self.kind,
            rows(kernel, order, gates).contiguous(),
            rows(recurrent, order, gates).contiguous(),
            None if first is None else rows(first, order, gates),
            None if second is None else rows(second, order, gates),
            **functions,
        )


def _from_cudnn(kernel: Tensor, recurrent: Tensor, gates: int) -> tuple[Tensor, Tensor]:
    """Return (gates x units, input) matrices: each block was written as (units, input), then reshaped."""
    blocks = [block.contiguous().reshape(-1, len(kernel)) for block in kernel.chunk(gates, 1)]
    return torch.cat(blocks, 0), torch.cat([*recurrent.chunk(gates, 1)], 0)


def kind_of(recurrent: Tensor) -> str | None:
    """Return which cell's recurrent kernel an array can be, (units, gates x units)."""
    if recurrent.dim() != 2 or 0 in recurrent.shape:
        return None
    return {(gates * recurrent.shape[0]): kind for kind, gates in GATES.items()}.get(recurrent.shape[1])


def function_of(value: Any, where: str, argument: str, version: str) -> str | None:
    """Return a function of a configuration by the name that it has here, or None where the version decides.

    Raises:
        ProbeError: there is no such function here.
    """
    # Keras 3 writes a function of its own module as a dict.
    name = value.get("config") if isinstance(value, dict) else value
    name = "linear" if name is None else name
    if name == "hard_sigmoid":
        return {"2": "hard_sigmoid_keras2", "3": "hard_sigmoid_keras3"}.get(version[:1])
    if name not in _SAME or (isinstance(value, dict) and value.get("registered_name")):
        known = ", ".join(ACTIVATIONS)
        raise ProbeError(
            f"{where!r} has {argument}={str(name)[:60]!r}, and the cells here have {known}. A network with another "
            "function cannot be loaded as one of them."
        )
    return str(name)


def split(names: Sequence[str], ways: int) -> list[Sequence[str]]:
    """Return the names of each direction, which Keras lists one after another."""
    size = len(names) // ways
    return [names[way * size : (way + 1) * size] for way in range(ways)]
