"""The oracle: recurrent layers and cells of torch and of this library as a plain, slow loop, edited anywhere.

It shares no code with `probe`. The formulas are those of torch's and Keras's documentation, one line each. Everything
is differentiable. Rows of a batch never meet, so sequences of different lengths are run side by side: a row that has
ended keeps its state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: (layer, signal, step, value (batch, unit)) -> the value that is used from there on.
Edit = Callable[[str, str, int, Tensor], Tensor]
#: The same inside one step: (signal, value) -> value.
See = Callable[[str, Tensor], Tensor]
State = dict[str, Tensor]
#: (layer, signal) -> (batch, time, unit), in input order, NaN at padding.
Signals = dict[tuple[str, str], Tensor]

SIGNALS = {
    "LSTM": (
        *(f"{name}_preactivation" for name in ("input_gate", "forget_gate", "cell_candidate")),
        *("input_gate", "forget_gate", "cell_candidate", "cell_state", "output_gate_preactivation", "output_gate"),
        "hidden_state",
    ),
    "GRU": (
        *("reset_gate_preactivation", "update_gate_preactivation", "reset_gate", "update_gate"),
        *("candidate_recurrent", "candidate_preactivation", "candidate", "hidden_state"),
    ),
    "RNN": ("hidden_state_preactivation", "hidden_state"),
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": lambda a: torch.where(a > 0, a, 0 * a),
    "linear": lambda a: 1 * a,
    # Keras 2.2, keras/backend: 0 below -2.5, 1 above 2.5, 0.2 x + 0.5 between.
    "hard_sigmoid_keras2": lambda a: torch.where(a < -2.5, 0 * a, torch.where(a > 2.5, 0 * a + 1, 0.2 * a + 0.5)),
    # Keras 3: 0 below -3, 1 above 3, x / 6 + 0.5 between.
    "hard_sigmoid_keras3": lambda a: torch.where(a < -3, 0 * a, torch.where(a > 3, 0 * a + 1, a / 6 + 0.5)),
}


@dataclass(frozen=True)
class Reference:
    """What a run gives: the output, 0 at padding; h_n, or (h_n, c_n) of an LSTM; every signal of every layer."""

    output: Tensor
    final: Tensor | tuple[Tensor, Tensor]
    signals: Signals


def kind_of(module: Any) -> str:
    """Return "LSTM", "GRU" or "RNN", whatever was made of the class."""
    names = {base.__name__.removeprefix("Custom").removesuffix("Cell") for base in type(module).__mro__}
    return next(kind for kind in SIGNALS if kind in names)


def signals_of(module: Any) -> tuple[str, ...]:
    """Return the signals of a module in the order in which a step computes them."""
    names = SIGNALS[kind_of(module)]
    return (*names[:-1], "unprojected_hidden_state", names[-1]) if getattr(module, "proj_size", 0) else names


def layers_of(module: Any) -> list[str]:
    """Return the layers' names in the order in which torch numbers them."""
    ends = ("", ".reverse") if getattr(module, "bidirectional", False) else ("",)
    return [f"[{number}]{end}" for number in range(getattr(module, "num_layers", 1)) for end in ends]


def _linear(module: Any, kind: str, layer: str, x: Tensor) -> Tensor:
    """Return W x + b for the layer's `ih` (input), `hh` (recurrent) or `hr` (projection, without b)."""
    number, _, end = layer[1:].partition("]")
    suffix = f"_{kind}_l{number}{end.replace('.', '_')}"
    suffix = f"_{kind}" if hasattr(module, f"weight_{kind}") else suffix  # of a cell
    y = x @ getattr(module, "weight" + suffix).T
    return y + getattr(module, "bias" + suffix) if module.bias and kind != "hr" else y


def _function(module: Any, name: str, usual: str) -> Callable[[Tensor], Tensor]:
    """Return one of the functions that a module was asked for."""
    asked = getattr(module, "options", {"activation": getattr(module, "nonlinearity", "tanh")})
    return FUNCTIONS[asked.get(name, usual)]


def lstm_step(module: Any, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step of an LSTM."""
    gate, h, c = _function(module, "gate_activation", "sigmoid"), state["hidden_state"], state["cell_state"]

    def peephole(letter: str, cell: Tensor) -> Tensor | int:
        weight = getattr(module, f"weight_peephole_{letter}", None)
        return 0 if weight is None else weight * cell

    i, f, g, o = (_linear(module, "ih", layer, x) + _linear(module, "hh", layer, h)).chunk(4, dim=1)
    i = see("input_gate_preactivation", i + peephole("i", c))
    f = see("forget_gate_preactivation", f + peephole("f", c))
    g = see("cell_candidate_preactivation", g)
    i = see("input_gate", gate(i))
    f = see("forget_gate", gate(f))
    g = see("cell_candidate", _function(module, "activation", "tanh")(g))
    c = see("cell_state", f * c + i * g)
    o = see("output_gate_preactivation", o + peephole("o", c))
    o = see("output_gate", gate(o))
    h = o * _function(module, "output_activation", "tanh")(c)
    if getattr(module, "proj_size", 0):
        h = _linear(module, "hr", layer, see("unprojected_hidden_state", h))
    return {"hidden_state": see("hidden_state", h), "cell_state": c}


def gru_step(module: Any, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step of a GRU."""
    gate, h = _function(module, "gate_activation", "sigmoid"), state["hidden_state"]
    before = getattr(module, "options", {}).get("reset") == "before"
    r_x, z_x, n_x = _linear(module, "ih", layer, x).chunk(3, dim=1)
    r_h, z_h, n_h = _linear(module, "hh", layer, h).chunk(3, dim=1)
    r = see("reset_gate_preactivation", r_x + r_h)
    z = see("update_gate_preactivation", z_x + z_h)
    r = see("reset_gate", gate(r))
    z = see("update_gate", gate(z))
    recurrent = _linear(module, "hh", layer, r * h).chunk(3, dim=1)[2] if before else n_h
    recurrent = see("candidate_recurrent", recurrent)
    n = see("candidate_preactivation", n_x + (recurrent if before else r * recurrent))
    n = see("candidate", _function(module, "activation", "tanh")(n))
    return {"hidden_state": see("hidden_state", (1 - z) * n + z * h)}


def rnn_step(module: Any, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step of a plain RNN."""
    a = _linear(module, "ih", layer, x) + _linear(module, "hh", layer, state["hidden_state"])
    a = see("hidden_state_preactivation", a)
    return {"hidden_state": see("hidden_state", _function(module, "activation", "tanh")(a))}


def step(module: Any, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step: x (batch, input), states (batch, unit)."""
    return {"LSTM": lstm_step, "GRU": gru_step, "RNN": rnn_step}[kind_of(module)](module, layer, x, state, see)


def initial(module: Any, layer: str, x: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None) -> State:
    """Return a layer's states before its first step, (batch, unit) each: given, learned, or zero."""
    units = {"hidden_state": getattr(module, "proj_size", 0) or module.hidden_size}
    if kind_of(module) == "LSTM":
        units["cell_state"] = module.hidden_size
    if hx is None:
        learned = {name: getattr(module, f"{name[0]}_0", None) for name in units}
        zeros = {name: x.new_zeros(size) for name, size in units.items()}
        return {name: (zeros[name] if one is None else one).expand(len(x), -1) for name, one in learned.items()}
    given = hx if isinstance(hx, tuple) else (hx,)
    number = layers_of(module).index(layer)
    return {name: value[number] for name, value in zip(units, given, strict=True)}


def valid_steps(x: Tensor, lengths: Sequence[int] | None, *, ahead: int = 0) -> Tensor:
    """Return whether each sequence holds the step (or the one `ahead` of it), (batch, time); x is batch first."""
    batch, time = x.shape[:2]
    ends = torch.tensor(list(lengths) if lengths is not None else [time] * batch)
    return torch.arange(time) + ahead < ends[:, None]


def _run_layer(
    module: Any, layer: str, x: Tensor, state: State, *, valid: Tensor, edit: Edit | None
) -> tuple[dict[str, Tensor], State]:
    """Return every signal of a layer, (batch, time, unit), and its last state."""
    time = x.shape[1]
    seen: dict[str, list[Tensor]] = {name: [x] * time for name in signals_of(module)}
    for number in reversed(range(time)) if layer.endswith(".reverse") else range(time):
        here = valid[:, number, None]

        def see(signal: str, value: Tensor, number: int = number, here: Tensor = here) -> Tensor:
            if edit is not None:
                value = torch.where(here, edit(layer, signal, number, value), value)
            seen[signal][number] = value
            return value

        new = step(module, layer, x[:, number], state, see)
        state = {name: torch.where(here, new[name], state[name]) for name in state}
    return {name: torch.stack(values, dim=1) for name, values in seen.items()}, state


def run(
    module: Any,
    x: Tensor,
    hx: Tensor | tuple[Tensor, Tensor] | None = None,
    lengths: Sequence[int] | None = None,
    edit: Edit | None = None,
) -> Reference:
    """Run a layer or a cell, of torch or of this library, in eval mode, step by step, called as the module is.

    Where there are lengths, x is padded, and a reverse layer starts at each sequence's own last input. `edit` gets
    every signal of every step in the order of computation; what it returns for rows that have ended is ignored.
    """
    batch_first = getattr(module, "batch_first", False)
    below = x if batch_first else x.transpose(0, 1)
    valid = valid_steps(below, lengths)
    padding = ~valid[:, :, None]
    signals: Signals = {}
    finals: list[State] = []
    for number in range(getattr(module, "num_layers", 1)):
        outputs = []
        for layer in (name for name in layers_of(module) if name.startswith(f"[{number}]")):
            seen, last = _run_layer(module, layer, below, initial(module, layer, below, hx), valid=valid, edit=edit)
            signals |= {(layer, name): value.masked_fill(padding, torch.nan) for name, value in seen.items()}
            outputs.append(seen["hidden_state"])
            finals.append(last)
        below = torch.cat(outputs, dim=2).masked_fill(padding, 0)
    final: Any = tuple(torch.stack([last[name] for last in finals]) for name in finals[0])
    return Reference(below if batch_first else below.transpose(0, 1), final if len(final) > 1 else final[0], signals)


def input_of(module: Any, layer: str, x: Tensor, signals: Mapping[tuple[str, str], Tensor]) -> Tensor:
    """Return what a layer reads, (batch, time, input): x, or the recorded hidden states of the layers below."""
    number = int(layer[1:].partition("]")[0])
    if number == 0:
        return x if module.batch_first else x.transpose(0, 1)
    below = [name for name in layers_of(module) if name.startswith(f"[{number - 1}]")]
    return torch.cat([signals[name, "hidden_state"] for name in below], dim=2)


def state_before(
    module: Any,
    layer: str,
    signals: Mapping[tuple[str, str], Tensor],
    hx: Tensor | tuple[Tensor, Tensor] | None,
    lengths: Sequence[int] | None,
) -> State:
    """Return the recorded states before each step, in the layer's own order, (batch, time, unit)."""
    first = initial(module, layer, signals[layer, "hidden_state"], hx)
    states = {}
    for name, start in first.items():
        value, outside = signals[layer, name], start[:, None]
        if layer.endswith(".reverse"):
            after = torch.cat([value[:, 1:], outside], dim=1)
            states[name] = torch.where(valid_steps(value, lengths, ahead=1)[:, :, None], after, outside)
        else:
            states[name] = torch.cat([outside, value[:, :-1]], dim=1)
    return states


def one_step_each(
    module: Any,
    x: Tensor,
    signals: Mapping[tuple[str, str], Tensor],
    *,
    hx: Tensor | tuple[Tensor, Tensor] | None = None,
    lengths: Sequence[int] | None = None,
    edit: Edit | None = None,
) -> Signals:
    """Return what single steps give, each begun from the recorded state before it and the recorded layer below.

    Unlike `run`, no error of one step reaches the next, so a recording of a chaotic network can be checked.
    """
    result: Signals = {}
    for layer in layers_of(module):
        inputs = input_of(module, layer, x, signals)
        batch, time = inputs.shape[:2]
        before = state_before(module, layer, signals, hx, lengths)

        def see(signal: str, value: Tensor, layer: str = layer, batch: int = batch, time: int = time) -> Tensor:
            value = value.unflatten(0, (batch, time))
            if edit is not None:
                value = torch.stack([edit(layer, signal, t, value[:, t]) for t in range(time)], dim=1)
            result[layer, signal] = value
            return value.flatten(0, 1)

        flat = {name: value.flatten(0, 1) for name, value in before.items()}
        _ = step(module, layer, inputs.flatten(0, 1), flat, see)
        padding = ~valid_steps(inputs, lengths)[:, :, None]
        for name in signals_of(module):
            result[layer, name] = result[layer, name].masked_fill(padding, torch.nan)
    return result
