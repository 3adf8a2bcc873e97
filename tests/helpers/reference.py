"""The oracle: torch's recurrent layers as a plain, slow loop that can be edited anywhere.

It shares no code with `probe`. The formulas are those of torch's documentation, one line each. Everything is
differentiable. Rows of a batch never meet, so sequences of different lengths are run side by side: a row that has
ended keeps its state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: (layer, signal, step, value (batch, unit)) -> the value that is used from there on.
Edit = Callable[[str, str, int, Tensor], Tensor]
#: The same inside one step: (signal, value) -> value.
See = Callable[[str, Tensor], Tensor]
State = dict[str, Tensor]
#: (layer, signal) -> (batch, time, unit), in input order, NaN at padding.
Signals = dict[tuple[str, str], Tensor]

LSTM = (
    *(f"{name}_preactivation" for name in ("input_gate", "forget_gate", "cell_candidate", "output_gate")),
    *("input_gate", "forget_gate", "cell_candidate", "output_gate", "cell_state"),
)
GRU = (
    *("reset_gate_preactivation", "update_gate_preactivation", "reset_gate", "update_gate"),
    *("candidate_recurrent", "candidate_preactivation", "candidate", "hidden_state"),
)
RNN = ("hidden_state_preactivation", "hidden_state")


@dataclass(frozen=True)
class Reference:
    """What a run gives.

    Attributes:
        output: as the module returns it, batch first or not; 0 at padding.
        final: h_n, or (h_n, c_n) of an LSTM.
        signals: every signal of every layer.
    """

    output: Tensor
    final: Tensor | tuple[Tensor, Tensor]
    signals: Signals


def signals_of(module: nn.RNNBase) -> tuple[str, ...]:
    """Return the signals of a module in the order in which a step computes them."""
    if isinstance(module, nn.LSTM):
        return (*LSTM, "unprojected_hidden_state", "hidden_state") if module.proj_size else (*LSTM, "hidden_state")
    return GRU if isinstance(module, nn.GRU) else RNN


def layers_of(module: nn.RNNBase) -> list[str]:
    """Return the layers' names in the order in which torch numbers them."""
    ends = ("", ".reverse") if module.bidirectional else ("",)
    return [f"[{number}]{end}" for number in range(module.num_layers) for end in ends]


def _linear(module: nn.RNNBase, kind: str, layer: str, x: Tensor) -> Tensor:
    """Return W x + b for the layer's `ih` (input), `hh` (recurrent) or `hr` (projection, without b)."""
    number, _, end = layer[1:].partition("]")
    suffix = f"_{kind}_l{number}{end.replace('.', '_')}"
    y = x @ getattr(module, "weight" + suffix).T
    return y + getattr(module, "bias" + suffix) if module.bias and kind != "hr" else y


def lstm_step(module: nn.LSTM, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step of an LSTM."""
    h, c = state["hidden_state"], state["cell_state"]
    i, f, g, o = (_linear(module, "ih", layer, x) + _linear(module, "hh", layer, h)).chunk(4, dim=1)
    i = see("input_gate_preactivation", i)
    f = see("forget_gate_preactivation", f)
    g = see("cell_candidate_preactivation", g)
    o = see("output_gate_preactivation", o)
    i = see("input_gate", torch.sigmoid(i))
    f = see("forget_gate", torch.sigmoid(f))
    g = see("cell_candidate", torch.tanh(g))
    o = see("output_gate", torch.sigmoid(o))
    c = see("cell_state", f * c + i * g)
    h = o * torch.tanh(c)
    if module.proj_size:
        h = _linear(module, "hr", layer, see("unprojected_hidden_state", h))
    return {"hidden_state": see("hidden_state", h), "cell_state": c}


def gru_step(module: nn.GRU, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step of a GRU."""
    h = state["hidden_state"]
    r_x, z_x, n_x = _linear(module, "ih", layer, x).chunk(3, dim=1)
    r_h, z_h, n_h = _linear(module, "hh", layer, h).chunk(3, dim=1)
    r = see("reset_gate_preactivation", r_x + r_h)
    z = see("update_gate_preactivation", z_x + z_h)
    r = see("reset_gate", torch.sigmoid(r))
    z = see("update_gate", torch.sigmoid(z))
    recurrent = see("candidate_recurrent", n_h)
    n = see("candidate_preactivation", n_x + r * recurrent)
    n = see("candidate", torch.tanh(n))
    return {"hidden_state": see("hidden_state", (1 - z) * n + z * h)}


def rnn_step(module: nn.RNN, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step of a plain RNN."""
    a = _linear(module, "ih", layer, x) + _linear(module, "hh", layer, state["hidden_state"])
    a = see("hidden_state_preactivation", a)
    return {"hidden_state": see("hidden_state", torch.tanh(a) if module.nonlinearity == "tanh" else torch.relu(a))}


def step(module: nn.RNNBase, layer: str, x: Tensor, state: State, see: See) -> State:
    """Return the state after one step: x (batch, input), states (batch, unit)."""
    if isinstance(module, nn.LSTM):
        return lstm_step(module, layer, x, state, see)
    if isinstance(module, nn.GRU):
        return gru_step(module, layer, x, state, see)
    assert isinstance(module, nn.RNN)
    return rnn_step(module, layer, x, state, see)


def initial(module: nn.RNNBase, layer: str, x: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None) -> State:
    """Return a layer's states before its first step, (batch, unit) each; zero where none are given."""
    units = {"hidden_state": module.proj_size or module.hidden_size}
    if isinstance(module, nn.LSTM):
        units["cell_state"] = module.hidden_size
    if hx is None:
        return {name: x.new_zeros(len(x), size) for name, size in units.items()}
    given = hx if isinstance(hx, tuple) else (hx,)
    number = layers_of(module).index(layer)
    return {name: value[number] for name, value in zip(units, given, strict=True)}


def valid_steps(x: Tensor, lengths: Sequence[int] | None, *, ahead: int = 0) -> Tensor:
    """Return whether each sequence holds the step (or the one `ahead` of it), (batch, time); x is batch first."""
    batch, time = x.shape[:2]
    ends = torch.tensor(list(lengths) if lengths is not None else [time] * batch)
    return torch.arange(time) + ahead < ends[:, None]


def _run_layer(
    module: nn.RNNBase, layer: str, x: Tensor, state: State, *, valid: Tensor, edit: Edit | None
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
    module: nn.RNNBase,
    x: Tensor,
    hx: Tensor | tuple[Tensor, Tensor] | None = None,
    lengths: Sequence[int] | None = None,
    edit: Edit | None = None,
) -> Reference:
    """Run a module in eval mode, step by step.

    Args:
        module: an nn.LSTM, nn.GRU or nn.RNN.
        x: (batch, time, input) or (time, batch, input), as `batch_first` says; padded if lengths are given.
        hx: initial states, as the module takes them.
        lengths: of each sequence; a reverse layer starts at each sequence's own last input.
        edit: called with every signal of every step in the order of computation. What it returns for rows that
            have ended (or not begun, in a reverse layer) is ignored.
    """
    below = x if module.batch_first else x.transpose(0, 1)
    valid = valid_steps(below, lengths)
    padding = ~valid[:, :, None]
    signals: Signals = {}
    finals: list[State] = []
    for number in range(module.num_layers):
        outputs = []
        for layer in (name for name in layers_of(module) if name.startswith(f"[{number}]")):
            seen, last = _run_layer(module, layer, below, initial(module, layer, below, hx), valid=valid, edit=edit)
            signals |= {(layer, name): value.masked_fill(padding, torch.nan) for name, value in seen.items()}
            outputs.append(seen["hidden_state"])
            finals.append(last)
        below = torch.cat(outputs, dim=2).masked_fill(padding, 0)
    final = [torch.stack([last[name] for last in finals]) for name in finals[0]]
    return Reference(
        below if module.batch_first else below.transpose(0, 1),
        (final[0], final[1]) if isinstance(module, nn.LSTM) else final[0],
        signals,
    )


def input_of(module: nn.RNNBase, layer: str, x: Tensor, signals: Mapping[tuple[str, str], Tensor]) -> Tensor:
    """Return what a layer reads, (batch, time, input): x, or the recorded hidden states of the layers below."""
    number = int(layer[1:].partition("]")[0])
    if number == 0:
        return x if module.batch_first else x.transpose(0, 1)
    below = [name for name in layers_of(module) if name.startswith(f"[{number - 1}]")]
    return torch.cat([signals[name, "hidden_state"] for name in below], dim=2)


def state_before(
    module: nn.RNNBase,
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
    module: nn.RNNBase,
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
