"""The modules of our own as plain loops, for the tests: every option's equations, step by step, with changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from probe import Signal
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN

INPUTS, UNITS, BATCH, TIME = 3, 5, 4, 7
BY_HAND: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda a: 1 / (1 + torch.exp(-a)),
    "tanh": lambda a: 1 - 2 / (torch.exp(2 * a) + 1),
    "relu": lambda a: torch.where(a > 0, a, 0 * a),
    "linear": lambda a: 1 * a,
    # Keras 2.2, keras/backend: 0 below -2.5, 1 above 2.5, 0.2 x + 0.5 between.
    "hard_sigmoid_keras2": lambda a: torch.where(a < -2.5, 0 * a, torch.where(a > 2.5, 0 * a + 1, 0.2 * a + 0.5)),
    # Keras 3: 0 below -3, 1 above 3, x / 6 + 0.5 between.
    "hard_sigmoid_keras3": lambda a: torch.where(a < -3, 0 * a, torch.where(a > 3, 0 * a + 1, a / 6 + 0.5)),
}
#: Given a signal, a step and a value (batch, unit), returns what stands there instead.
Change = Callable[[str, int, Tensor], Tensor]


@dataclass(frozen=True)
class Kind:
    """A module and its options."""

    module: type[Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **more: Any) -> Any:
        """Return a module in double precision whose weights are large enough to reach every bend of its functions."""
        module = self.module(INPUTS, UNITS, **self.options, **more).double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn_like(parameter))
        return module

    def __str__(self) -> str:
        return "-".join([self.module.__name__, *(f"{name}={value}" for name, value in self.options.items())])


LSTMS = [
    Kind(CustomLSTM),
    Kind(CustomLSTM, {"peepholes": True}),
    Kind(CustomLSTM, {"learned_initial_state": True, "bias": False}),
    Kind(CustomLSTM, {"gate_activation": "hard_sigmoid_keras2", "output_activation": "relu"}),
    Kind(CustomLSTM, {"gate_activation": "hard_sigmoid_keras3", "activation": "linear"}),
    Kind(
        CustomLSTM,
        {
            "peepholes": True,
            "gate_activation": "hard_sigmoid_keras2",
            "activation": "sigmoid",
            "output_activation": "linear",
            "learned_initial_state": True,
        },
    ),
]
GRUS = [
    Kind(CustomGRU, {"reset": "before"}),
    Kind(CustomGRU, {"reset": "after"}),
    Kind(CustomGRU, {"reset": "before", "gate_activation": "hard_sigmoid_keras3", "learned_initial_state": True}),
    Kind(CustomGRU, {"reset": "after", "gate_activation": "hard_sigmoid_keras2", "activation": "relu"}),
    Kind(CustomGRU, {"reset": "before", "activation": "linear", "bias": False}),
]
RNNS = [
    Kind(CustomRNN),
    Kind(CustomRNN, {"activation": "sigmoid", "learned_initial_state": True}),
    Kind(CustomRNN, {"activation": "hard_sigmoid_keras2", "bias": False}),
]
KINDS = LSTMS + GRUS + RNNS
#: One of each order of computation.
ORDERS = [LSTMS[0], LSTMS[5], GRUS[2], GRUS[3], RNNS[1]]


def by_hand(
    kind: Kind, module: nn.Module, x: Tensor, states: tuple[Tensor, ...] | None = None, change: Change | None = None
) -> dict[str, Tensor]:
    """Run a kind's equations step by step on x (batch, time, input), without the library.

    Returns every signal, (batch, time, unit).
    """
    given = dict(module.named_parameters())
    zero = x.new_zeros(len(x), UNITS)
    h, c = states if states and len(states) > 1 else (states[0] if states else None, None)
    h = given.get("h_0", zero).expand(len(x), -1) if h is None else h
    c = given.get("c_0", zero).expand(len(x), -1) if c is None else c
    signals: dict[str, list[Tensor]] = {}
    for t in range(x.shape[1]):
        change_now = None if change is None else lambda name, value, t=t: change(name, t, value)
        step = {CustomLSTM: lstm_step, CustomGRU: gru_step, CustomRNN: rnn_step}[kind.module]
        now = step(kind.options, given, x[:, t], h, c, change=change_now or (lambda _, value: value))
        h, c = now["hidden_state"], now.get("cell_state", c)
        for name, value in now.items():
            signals.setdefault(name, []).append(value)
    return {name: torch.stack(values, 1) for name, values in signals.items()}


def lstm_step(options: Any, given: Any, x: Tensor, h: Tensor, c: Tensor, *, change: Any) -> dict[str, Tensor]:
    """Return the signals of one step of an LSTM."""
    gate = BY_HAND[options.get("gate_activation", "sigmoid")]
    functions = {"g": BY_HAND[options.get("activation", "tanh")]}
    names = {"i": "input_gate", "f": "forget_gate", "g": "cell_candidate", "o": "output_gate"}
    now: dict[str, Tensor] = {}

    def compute(letter: str, cell: Tensor) -> Tensor:
        rows = slice("ifgo".index(letter) * UNITS, ("ifgo".index(letter) + 1) * UNITS)
        a = x @ given["weight_ih_l0"][rows].T + h @ given["weight_hh_l0"][rows].T
        for bias in ("bias_ih_l0", "bias_hh_l0"):
            a = a + given[bias][rows] if bias in given else a
        if f"weight_peephole_{letter}" in given:
            a = a + given[f"weight_peephole_{letter}"] * cell
        a = now[f"{names[letter]}_preactivation"] = change(f"{names[letter]}_preactivation", a)
        now[names[letter]] = change(names[letter], functions.get(letter, gate)(a))
        return now[names[letter]]

    i, f, g = compute("i", c), compute("f", c), compute("g", c)
    new = now["cell_state"] = change("cell_state", f * c + i * g)
    o = compute("o", new)
    now["hidden_state"] = change("hidden_state", o * BY_HAND[options.get("output_activation", "tanh")](new))
    return now


def gru_step(options: Any, given: Any, x: Tensor, h: Tensor, _: Tensor, *, change: Any) -> dict[str, Tensor]:
    """Return the signals of one step of a GRU."""
    gate, function = (BY_HAND[options.get(*at)] for at in (("gate_activation", "sigmoid"), ("activation", "tanh")))
    rows = {letter: slice(k * UNITS, (k + 1) * UNITS) for k, letter in enumerate("rzn")}

    def side(letter: str, end: str, read: Tensor) -> Tensor:
        bias = given[f"bias_{end}_l0"][rows[letter]] if f"bias_{end}_l0" in given else 0
        return read @ given[f"weight_{end}_l0"][rows[letter]].T + bias

    now = {}
    a = now["reset_gate_preactivation"] = change("reset_gate_preactivation", side("r", "ih", x) + side("r", "hh", h))
    r = now["reset_gate"] = change("reset_gate", gate(a))
    a = now["update_gate_preactivation"] = change(
        "update_gate_preactivation", side("z", "ih", x) + side("z", "hh", h)
    )
    z = now["update_gate"] = change("update_gate", gate(a))
    before = options["reset"] == "before"
    v = now["candidate_recurrent"] = change("candidate_recurrent", side("n", "hh", r * h if before else h))
    a = side("n", "ih", x) + (v if before else r * v)
    a = now["candidate_preactivation"] = change("candidate_preactivation", a)
    n = now["candidate"] = change("candidate", function(a))
    now["hidden_state"] = change("hidden_state", (1 - z) * n + z * h)
    return now


def rnn_step(options: Any, given: Any, x: Tensor, h: Tensor, _: Tensor, *, change: Any) -> dict[str, Tensor]:
    """Return the signals of one step of a plain RNN."""
    a = x @ given["weight_ih_l0"].T + h @ given["weight_hh_l0"].T
    a = a + given["bias_ih_l0"] + given["bias_hh_l0"] if "bias_ih_l0" in given else a
    a = change("hidden_state_preactivation", a)
    h = change("hidden_state", BY_HAND[options.get("activation", "tanh")](a))
    return {"hidden_state_preactivation": a, "hidden_state": h}


def inputs() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, INPUTS, dtype=torch.float64)


def some_states(kind: Kind) -> tuple[Tensor, ...]:
    """Return initial states, (batch, unit) each."""
    return tuple(torch.randn(BATCH, UNITS, dtype=torch.float64) for _ in range(kind.module.states))


def as_hx(states: tuple[Tensor, ...]) -> Any:
    """Return initial states as a module takes them."""
    parts = [state[None] for state in states]
    return tuple(parts) if len(parts) > 1 else parts[0]


def difference(found: Mapping[Any, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Return the largest difference over all signals, relative to max(1, |value|)."""
    assert {str(name) for name in found} == set(expected)
    return max(
        ((found[Signal(name)] - value).abs() / value.abs().clamp(min=1)).max().item()
        for name, value in expected.items()
    )


def listed(output: Any) -> list[Tensor]:
    """Return h and the last states of a module's output."""
    h, last = output
    return [h, *(last if isinstance(last, tuple) else [last])]
