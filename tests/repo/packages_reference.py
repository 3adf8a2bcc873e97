"""A second opinion in numpy, float64: torch's cells as plain loops, one formula a line, each value open to a clamp.

It shares no code with `probe`, and reads a network's own file in that file's own layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
#: (layer, signal) -> (batch, time, unit), in input order, NaN at padding.
Signals = dict[tuple[str, str], Array]
State = dict[str, Array]

LSTM_GATES = ("input_gate", "forget_gate", "cell_candidate", "output_gate")
GRU_GATES = ("reset_gate", "update_gate", "candidate")
KERAS_GRU_GATES = ("update_gate", "reset_gate", "candidate")
#: Every signal of a cell, in the order in which a step computes them.
LSTM = (*(f"{gate}_preactivation" for gate in LSTM_GATES), *LSTM_GATES, "cell_state", "hidden_state")
GRU = (
    *("reset_gate_preactivation", "update_gate_preactivation", "reset_gate", "update_gate"),
    *("candidate_recurrent", "candidate_preactivation", "candidate", "hidden_state"),
)


@dataclass(frozen=True)
class Gate:
    """One gate's parameters: W x + b from the input, U h + c from the previous hidden state."""

    W: Array
    U: Array
    b: Array
    c: Array

    def rounding(self, x: Array, h: Array, r: Array | None = None) -> Array:
        """Return how far rounding may take W x + b + r (U h + c), in units of half an epsilon.

        Of a sum of n terms that is |W||x| + |b| + r (|U||h| + |c|), times n in the worst case, and times the root of
        n where the roundings are independent (Higham and Mary, 2019). A value says nothing about it: terms cancel.
        """
        own, kept = np.abs(x) @ np.abs(self.W).T + np.abs(self.b), np.abs(h) @ np.abs(self.U).T + np.abs(self.c)
        return np.sqrt(self.W.shape[1] + self.U.shape[1] + 2) * (own + (kept if r is None else r * kept))


@dataclass(frozen=True)
class Change:
    """One clamp: from there on, some units of a signal have a value at a step."""

    layer: str
    signal: str
    value: float
    units: tuple[int, ...]
    step: int


@dataclass(frozen=True)
class Plan:
    """How a loop by hand is run.

    Attributes:
        change: a clamp, or None.
        states: recorded states. Where they are given, each step starts from them and not from the loop's own, so
            that no rounding of one step reaches the next.
        rounding: where it is given, the loop puts into it how far rounding may take each sum over inputs and units.
    """

    change: Change | None = None
    states: Signals | None = field(default=None, repr=False)
    rounding: Signals | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Case:
    """A rebuilt network, what it reads, and its second opinion.

    Attributes:
        model: the network in torch, in evaluation mode.
        inputs: what it is called with.
        by_hand: returns its output and every signal.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    by_hand: Callable[[Plan], tuple[Array, Signals]] = field(repr=False)


def doubles(tensors: Mapping[str, Any]) -> dict[str, Array]:
    """Return arrays of any kind as numpy's doubles."""
    return {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}


def torch_gates(arrays: Mapping[str, Array], names: str, order: tuple[str, ...]) -> dict[str, Gate]:
    """Return the gates of a layer in torch's layout.

    Args:
        arrays: a file's arrays.
        names: how the four names are made, such as `lstm.{}_l0`; takes weight_ih, weight_hh, bias_ih, bias_hh.
        order: the order of the gates along the rows.
    """
    matrices = (arrays[names.format(name)] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    parts = (np.split(matrix, len(order)) for matrix in matrices)
    return {gate: Gate(*four) for gate, *four in zip(order, *parts, strict=True)}


def keras_gates(kernel: Array, recurrent: Array, bias: Array) -> dict[str, Gate]:
    """Return the gates of a Keras GRU with `reset_after`: matrices (in, 3 units), one row of biases a product."""
    W, U, (b, c) = np.split(kernel, 3, axis=1), np.split(recurrent, 3, axis=1), (np.split(row, 3) for row in bias)
    return {gate: Gate(W[number].T, U[number].T, b[number], c[number]) for number, gate in enumerate(KERAS_GRU_GATES)}


def sigmoid(a: Array) -> Array:
    """The logistic function."""
    return 1 / (1 + np.exp(-a))


class Loop:
    """One layer of one direction, a step at a time.

    Attributes:
        state: after the latest step, (batch, unit) each.
    """

    def __init__(self, layer: str, gates: dict[str, Gate], plan: Plan, state: State) -> None:
        self.layer = layer
        self.gates = gates
        self.plan = plan
        self.state = state
        self._seen: dict[int, dict[str, Array]] = {}
        self._rounding: dict[int, dict[str, Array]] = {}

    def step(self, t: int, x: Array, here: NDArray[np.bool_] | None = None) -> Array:
        """Return the hidden state after input number t, (batch, unit); rows that are not `here` keep theirs."""
        here = np.ones((len(x), 1), dtype=bool) if here is None else here
        before = self.state
        seen = (self._lstm if "forget_gate" in self.gates else self._gru)(t, x)
        after = seen
        if self.plan.states is not None:
            after = {name: self.plan.states[self.layer, name][:, t] for name in before}
        self.state = {name: np.where(here, after[name], before[name]) for name in before}
        self._seen[t] = {name: np.where(here, value, np.nan) for name, value in seen.items()}
        if self.plan.rounding is not None:
            self._rounding[t] = self._rounded(x, before["hidden_state"], seen)
            for name in self._rounding[t]:
                every = [self._rounding[step][name] for step in sorted(self._rounding)]
                self.plan.rounding[self.layer, name] = np.stack(every, axis=1)
        return self.state["hidden_state"]

    @property
    def signals(self) -> Signals:
        """Every signal at every step so far."""
        steps = sorted(self._seen)
        names = self._seen[steps[0]]
        return {(self.layer, name): np.stack([self._seen[t][name] for t in steps], axis=1) for name in names}

    def _clamp(self, t: int, signal: str, value: Array) -> Array:
        change = self.plan.change
        if change is not None and (change.layer, change.signal, change.step) == (self.layer, signal, t):
            value = value.copy()
            value[:, list(change.units)] = change.value
        return value

    def _rounded(self, x: Array, h: Array, seen: dict[str, Array]) -> dict[str, Array]:
        """Return how far rounding may take each sum of a step."""
        found = {f"{name}_preactivation": gate.rounding(x, h) for name, gate in self.gates.items()}
        if "candidate" in self.gates:
            gate, recurrent = self.gates["candidate"], np.abs(seen["candidate_recurrent"])
            found["candidate_recurrent"] = gate.rounding(np.zeros_like(x), h)
            # What it takes the reset gate by, at most a quarter of what it takes that one's sum by, is multiplied.
            reset = found["reset_gate_preactivation"] / 4
            found["candidate_preactivation"] = gate.rounding(x, h, seen["reset_gate"]) + recurrent * reset
        return found

    def _lstm(self, t: int, x: Array) -> dict[str, Array]:
        h, c = self.state["hidden_state"], self.state["cell_state"]
        seen: dict[str, Array] = {}
        for name, gate in self.gates.items():
            a = self._clamp(t, f"{name}_preactivation", x @ gate.W.T + gate.b + h @ gate.U.T + gate.c)
            seen[f"{name}_preactivation"] = a
            seen[name] = self._clamp(t, name, np.tanh(a) if name == "cell_candidate" else sigmoid(a))
        i, f, g, o = (seen[name] for name in LSTM_GATES)
        seen["cell_state"] = self._clamp(t, "cell_state", f * c + i * g)
        seen["hidden_state"] = self._clamp(t, "hidden_state", o * np.tanh(seen["cell_state"]))
        return seen

    def _gru(self, t: int, x: Array) -> dict[str, Array]:
        h = self.state["hidden_state"]
        seen: dict[str, Array] = {}
        for name in ("reset_gate", "update_gate"):
            gate = self.gates[name]
            a = self._clamp(t, f"{name}_preactivation", x @ gate.W.T + gate.b + h @ gate.U.T + gate.c)
            seen[f"{name}_preactivation"] = a
            seen[name] = self._clamp(t, name, sigmoid(a))
        r, z, gate = seen["reset_gate"], seen["update_gate"], self.gates["candidate"]
        recurrent = self._clamp(t, "candidate_recurrent", h @ gate.U.T + gate.c)
        a = self._clamp(t, "candidate_preactivation", x @ gate.W.T + gate.b + r * recurrent)
        n = self._clamp(t, "candidate", np.tanh(a))
        seen |= {"candidate_recurrent": recurrent, "candidate_preactivation": a, "candidate": n}
        seen["hidden_state"] = self._clamp(t, "hidden_state", (1 - z) * n + z * h)
        return seen


def zero_state(gates: dict[str, Gate], batch: int) -> State:
    """Return the states that a layer starts from when none are given."""
    names = ("hidden_state", "cell_state") if "forget_gate" in gates else ("hidden_state",)
    units = len(next(iter(gates.values())).b)
    return {name: np.zeros((batch, units)) for name in names}


def run_layer(
    layer: str,
    gates: dict[str, Gate],
    x: Array,
    plan: Plan,
    lengths: NDArray[np.int64] | None = None,
) -> tuple[Array, Signals]:
    """Run a layer from zero states; a reverse one starts at each sequence's own last input.

    Args:
        layer: its name; it runs backwards where that ends in `.reverse`.
        gates: its parameters.
        x: inputs, (batch, time, input).
        plan: how; its clamp may be of another layer.
        lengths: of each sequence; None where all are as long as x.

    Returns:
        The hidden states that were gone on with, (batch, time, unit), 0 at padding, and every signal.
    """
    batch, time, _ = x.shape
    lengths = np.full(batch, time) if lengths is None else lengths
    loop = Loop(layer, gates, plan, zero_state(gates, batch))
    hidden = np.zeros((batch, time, len(loop.state["hidden_state"][0])))
    for t in reversed(range(time)) if layer.endswith(".reverse") else range(time):
        here = (lengths > t)[:, None]
        hidden[:, t] = np.where(here, loop.step(t, x[:, t], here), 0)
    return hidden, loop.signals
