"""One recurrent layer as a file describes it, and the torch module that computes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..recurrent.custom import CustomGRU, CustomLSTM, CustomRNN
from .modules import Backwards, BothWays

#: How many rows a unit has in the matrices.
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_STACKS: Mapping[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
_CUSTOM: Mapping[str, Any] = {"LSTM": CustomLSTM, "GRU": CustomGRU, "RNN": CustomRNN}
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class LayerSpec:
    """One layer of one direction, with torch's order of gates (i f g o, r z n) its matrices (gates x units, input).

    Attributes:
        name: of the layer in the file, for messages.
        kind: LSTM, GRU or RNN.
        W: (gates x units, input).
        U: (gates x units, state).
        b_ih: (gates x units), or None.
        b_hh: the same.
        P: (projected, units), or None.
        peepholes: p_i, p_f and p_o, (units) each, or nothing.
        initial: h_0 and, of an LSTM, c_0, (units) each, or nothing.
        gate: the function of gates by name.
        activation: of the candidate.
        output: of the cell state of an LSTM.
        reset: whether a GRU resets "before" or "after" the product.
    """

    name: str
    kind: str
    W: Tensor
    U: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    P: Tensor | None = None
    peepholes: tuple[Tensor, ...] = ()
    initial: tuple[Tensor, ...] = ()
    gate: str = "sigmoid"
    activation: str = "tanh"
    output: str = "tanh"
    reset: str = "after"

    @property
    def options(self) -> tuple[Any, ...]:
        """What two directions of one module of torch must share."""
        sizes = self.W.shape, self.U.shape, self.b_ih is None, self.b_hh is None, self.W.dtype
        return (self.kind, self.gate, self.activation, self.output, self.reset, sizes)

    @property
    def fits_torch(self) -> bool:
        """Whether torch's own module computes it."""
        if self.peepholes or self.initial:
            return False
        if self.kind == "RNN":
            return self.activation in ("tanh", "relu")
        standard = (self.gate, self.activation) == ("sigmoid", "tanh")
        return standard and (self.output == "tanh" if self.kind == "LSTM" else self.reset == "after")

    def tensors(self) -> dict[str, Tensor]:
        """Return its arrays by torch's names, without the level and direction."""
        named = {"weight_ih": self.W, "weight_hh": self.U, "bias_ih": self.b_ih, "bias_hh": self.b_hh}
        named["weight_hr"] = self.P
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Found:
    """One recurrent module of a file.

    Attributes:
        name: in the file.
        module: batch first, in evaluation mode.
        arrays: the names of the arrays that it is made of.
        layout: whose way of writing it is, such as `Keras LSTM`.
        gate_order: how the gates follow each other in the file.
    """

    name: str
    module: nn.Module
    arrays: tuple[str, ...]
    layout: str
    gate_order: str


def module_of(spec: LayerSpec) -> nn.Module:
    """Return the module of one layer in one direction.

    Raises:
        ProbeError: its arrays do not fit together, are not finite, or no cell computes what is asked for.
    """
    spec = _checked(spec)
    if spec.fits_torch:
        return _torch_module((spec,))
    if spec.P is not None:
        raise ProbeError(
            f"{spec.name!r} has a projection together with peepholes, another function or a learned initial state, "
            "and no cell here computes both. It cannot be loaded."
        )
    return _custom_module(spec)


def pair_of(forward: LayerSpec, backward: LayerSpec, *, merge: str = "concat") -> nn.Module:
    """Return the module of one layer in both directions.

    Args:
        forward: reads from the beginning.
        backward: reads from the end.
        merge: what becomes of the two outputs.

    Raises:
        ProbeError: as of `module_of`.
    """
    forward, backward = _checked(forward), _checked(backward)
    if merge == "concat" and forward.fits_torch and backward.fits_torch and forward.options == backward.options:
        return _torch_module((forward, backward))
    return BothWays(module_of(forward), module_of(backward), merge=merge).eval()


def reversed_module(spec: LayerSpec, *, restored: bool) -> nn.Module:
    """Return the module of one layer that reads from the end; see `Backwards`."""
    return Backwards(module_of(spec), restored=restored).eval()


def rows(matrix: Tensor, order: Sequence[int], gates: int) -> Tensor:
    """Return an array whose first axis holds the gates one after another, in torch's order.

    Args:
        matrix: (gates x units, ...).
        order: at which place each of torch's gates stands.
        gates: how many there are.
    """
    parts = matrix.chunk(gates, 0)
    return torch.cat([parts[place] for place in order], 0)


def _checked(spec: LayerSpec) -> LayerSpec:
    """Return the spec with missing halves of the biases as zeros, once everything fits together."""
    gates, recurrent, inputs = GATES[spec.kind], spec.U, spec.W
    if recurrent.dim() != 2 or inputs.dim() != 2 or 0 in (*recurrent.shape, *inputs.shape):
        _wrong(spec, "recurrent and input weights with two axes, none of them 0")
    units = recurrent.shape[0] // gates
    state = units if spec.P is None else spec.P.shape[0]
    if recurrent.shape != (gates * units, state) or inputs.shape[0] != gates * units or units == 0:
        _wrong(spec, f"({gates} x units, units) and ({gates} x units, input)")
    vectors = {"bias": (spec.b_ih, gates * units), "second bias": (spec.b_hh, gates * units)}
    vectors |= {f"peephole {number}": (p, units) for number, p in enumerate(spec.peepholes)}
    vectors |= {f"initial state {number}": (p, units) for number, p in enumerate(spec.initial)}
    for what, (vector, length) in vectors.items():
        if vector is not None and tuple(vector.shape) != (length,):
            raise ProbeError(f"{spec.name!r} has a {what} of shape {tuple(vector.shape)}; expected ({length},).")
    if spec.P is not None and not (spec.P.dim() == 2 and 0 < spec.P.shape[0] < spec.P.shape[1] == units):
        raise ProbeError(
            f"{spec.name!r} has a projection of shape {tuple(spec.P.shape)}; expected fewer than {units} rows, "
            f"{units} columns."
        )
    _check_numbers(spec)
    if (spec.b_ih is None) != (spec.b_hh is None):
        zeros = torch.zeros(gates * units, dtype=inputs.dtype)
        first, second = (zeros if bias is None else bias for bias in (spec.b_ih, spec.b_hh))
        return replace(spec, b_ih=first, b_hh=second)
    return spec


def _wrong(spec: LayerSpec, expected: str) -> None:
    raise ProbeError(
        f"{spec.name!r} has recurrent weights of shape {tuple(spec.U.shape)} and input weights of shape "
        f"{tuple(spec.W.shape)}; expected {expected} of this {spec.kind}. The file is damaged, or of another kind."
    )


def _check_numbers(spec: LayerSpec) -> None:
    values = [getattr(spec, field.name) for field in fields(spec)]
    arrays = [value for value in (*values, *spec.peepholes, *spec.initial) if isinstance(value, Tensor)]
    for array in arrays:
        if array.dtype not in DTYPES or array.dtype != spec.W.dtype:
            found = sorted({str(array.dtype).removeprefix("torch.") for array in arrays})
            raise ProbeError(
                f"The arrays of {spec.name!r} have the dtypes {', '.join(found)}; expected one of float16, bfloat16, "
                "float32, float64 for all. Convert them, or save the network before it is quantized."
            )
        if not torch.isfinite(array).all():
            bad = int((~torch.isfinite(array)).sum())
            raise ProbeError(
                f"{spec.name!r} holds {bad} values that are not finite (NaN or infinite) in an array of shape "
                f"{tuple(array.shape)}. The training broke, or the file is damaged."
            )


def _torch_module(specs: tuple[LayerSpec, ...]) -> nn.Module:
    first = specs[0]
    options: dict[str, Any] = {"bias": first.b_ih is not None, "bidirectional": len(specs) == 2}
    if first.kind == "RNN":
        options["nonlinearity"] = first.activation
    if first.P is not None:
        options["proj_size"] = first.P.shape[0]
    units = first.W.shape[0] // GATES[first.kind]
    # Made without memory first, so that no random numbers are drawn.
    made = _STACKS[first.kind](
        first.W.shape[1], units, batch_first=True, dtype=first.W.dtype, device="meta", **options
    ).to_empty(device="cpu")
    ends = ("_l0", "_l0_reverse")
    state = {
        name + end: value for spec, end in zip(specs, ends, strict=False) for name, value in spec.tensors().items()
    }
    made.load_state_dict(state, strict=True)
    return made.eval()


def _custom_module(spec: LayerSpec) -> nn.Module:
    options: dict[str, Any] = {"activation": spec.activation, "learned_initial_state": bool(spec.initial)}
    if spec.kind != "RNN":
        options["gate_activation"] = spec.gate
    if spec.kind == "LSTM":
        options |= {"output_activation": spec.output, "peepholes": bool(spec.peepholes)}
    if spec.kind == "GRU":
        options["reset"] = spec.reset
    units, bias = spec.W.shape[0] // GATES[spec.kind], spec.b_ih is not None
    with torch.random.fork_rng(devices=[]):  # it draws its parameters, which are replaced
        made = _CUSTOM[spec.kind](spec.W.shape[1], units, bias=bias, batch_first=True, **options)
    made = made.to(spec.W.dtype)
    state = {f"{name}_l0": value for name, value in spec.tensors().items()}
    state |= {f"weight_peephole_{gate}": value for gate, value in zip("ifo", spec.peepholes, strict=False)}
    state |= dict(zip(("h_0", "c_0"), spec.initial, strict=False))
    made.load_state_dict(state, strict=True)
    return made.eval()
