"""Measures how much memory recordings take at their peak, each in a process of its own, beside what was expected.

`python memory_peaks.py NAME ...` prints a JSON object: for each mode the bytes measured and those expected.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.hooks import memory
from probe.recurrent import CustomLSTM
from probe.recurrent.calls import read_call
from probe.recurrent.finding import find_layers, whole_module

INPUTS, UNITS = 16, 128


class Loop(nn.Module):
    """A cell that is called once for each step of time-first inputs."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states, (time, batch, unit)."""
        state, states = None, []
        for step in x:
            state = self.cell(step, state)
            states.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(states)


@dataclass(frozen=True)
class Mode:
    """One way to record.

    Attributes:
        make: gives the model.
        options: of `probe.record`.
        edit: steps of an edit of the hidden state of the first layer, or of none.
        shape: steps and rows.
        packed: whether the input is packed, its rows of half to all steps.
        dtype: of the model and its input.
    """

    make: Callable[[], nn.Module]
    options: dict[str, Any] = field(default_factory=dict)
    edit: list[int] | None = None
    shape: tuple[int, int] = (100, 300)
    packed: bool = False
    dtype: torch.dtype = torch.float32


def _of(kind: Any, **more: Any) -> Callable[[], nn.Module]:
    return lambda: kind(INPUTS, UNITS, **more)


def _total(output: Any) -> Tensor:
    found = output[0] if isinstance(output, tuple) else output
    return (found if isinstance(found, Tensor) else found.data).sum()


_LSTM, _GRU, _RNN = _of(nn.LSTM), _of(nn.GRU), _of(nn.RNN)
_GRADIENT = {"gradient_of": _total}
_SMALL = (100, 60)
MODES: dict[str, Mode] = {
    "lstm": Mode(_LSTM),
    "gru": Mode(_GRU),
    "rnn": Mode(_RNN),
    "float64": Mode(_LSTM, dtype=torch.float64),
    "every signal": Mode(_LSTM, {"signals": probe.Signal}),
    "one signal": Mode(_LSTM, {"signals": ["hidden_state"]}, shape=(100, 1000)),
    "one step": Mode(_LSTM, {"steps": [3]}),
    "half of the steps": Mode(_GRU, {"steps": range(50)}),
    "half precision": Mode(_LSTM, {"dtype": torch.float16}),
    "double precision": Mode(_GRU, {"dtype": torch.float64}),
    "a step in half precision": Mode(_LSTM, {"dtype": torch.float16, "steps": [3]}),
    "three layers": Mode(_of(nn.LSTM, num_layers=3)),
    "one layer of two": Mode(_of(nn.GRU, num_layers=2), {"layers": ["[1]"]}),
    "two directions": Mode(_of(nn.LSTM, bidirectional=True)),
    "two layers, two directions": Mode(_of(nn.GRU, num_layers=2, bidirectional=True)),
    "projected": Mode(_of(nn.LSTM, proj_size=32)),
    "packed": Mode(_LSTM, packed=True),
    "packed, one step": Mode(_GRU, {"steps": [-1]}, packed=True),
    "peepholes": Mode(_of(CustomLSTM, peepholes=True)),
    "unchecked lstm": Mode(_LSTM, {"check": False}),
    "unchecked gru": Mode(_GRU, {"check": False}),
    "unchecked rnn": Mode(_RNN, {"check": False}),
    "unchecked, one step": Mode(_LSTM, {"check": False, "steps": [3]}),
    "unchecked, every signal": Mode(_LSTM, {"check": False, "signals": probe.Signal}),
    "unchecked, two layers": Mode(_of(nn.GRU, num_layers=2), {"check": False}),
    "edit of a step": Mode(_LSTM, edit=[5]),
    "edit of the last step": Mode(_LSTM, edit=[-1]),
    "edit of every step": Mode(_GRU, edit=[]),
    "edit of every step of an lstm": Mode(_LSTM, edit=[]),
    "edit of every step of an rnn": Mode(_RNN, edit=[]),
    "edit of six steps": Mode(_LSTM, edit=list(range(6))),
    "edit below a layer": Mode(_of(nn.LSTM, num_layers=2), edit=[5]),
    "edit, one signal": Mode(_GRU, {"signals": ["hidden_state"]}, edit=[5]),
    "edit, half precision": Mode(_LSTM, {"dtype": torch.float16}, edit=[5]),
    "edit, packed": Mode(_LSTM, edit=[5], packed=True),
    "gradient of lstm": Mode(_LSTM, _GRADIENT, shape=_SMALL),
    "gradient of gru": Mode(_GRU, _GRADIENT, shape=_SMALL),
    "gradient of rnn": Mode(_RNN, _GRADIENT, shape=(100, 300)),
    "gradient of float64": Mode(_LSTM, _GRADIENT, shape=_SMALL, dtype=torch.float64),
    "gradient of one signal": Mode(_LSTM, _GRADIENT | {"signals": ["cell_state"]}, shape=_SMALL),
    "gradient of one step": Mode(_LSTM, _GRADIENT | {"steps": [3]}, shape=_SMALL),
    "gradient of two layers": Mode(_of(nn.LSTM, num_layers=2), _GRADIENT, shape=_SMALL),
    "gradient of two directions": Mode(_of(nn.GRU, bidirectional=True), _GRADIENT, shape=_SMALL),
    "gradient of an edited run": Mode(_LSTM, _GRADIENT, edit=[5], shape=_SMALL),
    "gradient of a packed run": Mode(_LSTM, _GRADIENT, packed=True, shape=_SMALL),
    "lstm in a loop": Mode(lambda: Loop(nn.LSTMCell(INPUTS, UNITS))),
    "gru in a loop": Mode(lambda: Loop(nn.GRUCell(INPUTS, UNITS)), {"dtype": torch.float16}),
    "gradient of a loop": Mode(lambda: Loop(nn.LSTMCell(INPUTS, UNITS)), _GRADIENT, shape=_SMALL),
}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _expected(model: nn.Module, mode: Mode, given: Any) -> int:
    """Return the bytes expected; of a cell in a loop what its last call expects and what is held then."""
    options = mode.options
    layers = find_layers(model, options.get("layers"))
    wanted = options.get("signals")
    keep = {
        layer: tuple(
            signal
            for signal in layer.signals
            if (not signal.endswith("_preactivation") if wanted is None else signal in list(wanted))
        )
        for layer in layers
    }
    steps = options.get("steps")
    in_loop = layers[0].is_cell
    whole = whole_module(layers[0])
    call = read_call(whole, (given[0] if in_loop else given,), {})
    edit = None if mode.edit is None else probe.clamp("hidden_state", 0.1, steps=mode.edit or None)
    request = memory.Request(
        keep,
        None if steps is None else len(list(steps)),
        options.get("dtype"),
        None,
        "gradient_of" in options,
        {} if edit is None else memory.edited_steps({layers[0]: [edit]}, call),
    )
    if not in_loop:
        return sum(memory.peak(whole, call, request).values())
    last = sum(memory.peak(whole, call, request, earlier=mode.shape[0] - 1).values())
    one, two = (sum(memory.peak(whole, call, request, earlier=earlier).values()) for earlier in (0, 1))
    # What is held then: of each call what it keeps and the state that the model keeps; or its graph.
    return last + (mode.shape[0] - 1) * (one if "gradient_of" in options else two - one)


def measure(mode: Mode) -> tuple[int, int]:
    """Return how many bytes a recording took more than before, and how many were expected."""
    torch.manual_seed(0)
    model = mode.make().to(mode.dtype)
    time, batch = mode.shape
    x = torch.randn(time, batch, INPUTS, dtype=mode.dtype)
    given: Any = x
    if mode.packed:
        given = pack_padded_sequence(x, torch.randint(time // 2, time + 1, (batch,)), enforce_sorted=False)
    edits = []
    if mode.edit is not None:
        layer = probe.inspect(model).layers[0].name
        edits = [probe.clamp("hidden_state", 0.1, layer=layer, units=[1], steps=mode.edit or None)]
    expected = _expected(model, mode, given)
    # What torch loads when it first runs is no part of a recording.
    _ = probe.record(model, x[:6, :3], edits=edits, **{**mode.options, "steps": None})
    before = _status("VmRSS:")
    recording = probe.record(model, given, edits=edits, **mode.options)
    peak = _status("VmHWM:") - before
    assert recording.parts
    return peak, expected


def main(names: list[str]) -> None:
    """Measure some modes, each in a child of this process."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = {}
    for name in names or MODES:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, json.dumps(measure(MODES[name])).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            found[name] = json.loads(pipe.read() or "null")
        _ = os.waitpid(child, 0)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
