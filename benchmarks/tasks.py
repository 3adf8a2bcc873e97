"""What the speed benchmark times of rnn-probe beside each model's own call: sweeps and recordings by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import probe

from .by_hand import SIGNALS, Counter
from .peers import harness

#: What other kinds of layers are recorded on: (batch, time, features, units).
LAYERS_SHAPE = (256, 100, 32, 128)
#: How many classes the heads of the models tell apart, as the counter's does.
CLASSES = 11


@dataclass(frozen=True)
class Task:
    """Something that is timed.

    Attributes:
        call: does the whole task, and returns all tensors that come out of it.
        bare: calls the same model without rnn-probe.
    """

    call: Callable[[], list[Tensor]]
    bare: Callable[[], Any]


@dataclass(frozen=True)
class Sweep:
    """Patches of one signal, each at one step and unit, every one in a run of its own.

    Attributes:
        model: the model that is run.
        inputs: what it is called with.
        sources: for each source, what the model is called with to record the values that are put in.
        signal: what is patched.
        steps: how many steps are patched, from the first one.
        units: how many units are patched, from the first one.
        layer: the name of the patched layer, where the model has several.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    sources: tuple[tuple[Tensor, ...], ...]
    signal: str
    steps: int
    units: int
    layer: str | None = None

    def edits(self) -> list[probe.Edit]:
        """Record the sources and return all patches, units varying fastest, then steps, then sources."""
        layers = None if self.layer is None else [self.layer]
        runs = [probe.record(self.model, *source, signals=[self.signal], layers=layers) for source in self.sources]
        return [
            probe.patch(self.signal, run, layer=self.layer, units=unit, steps=step)
            for run in runs
            for step in range(self.steps)
            for unit in range(self.units)
        ]

    def __call__(self) -> list[Tensor]:
        """Do the whole task: record the sources, make the patches, run them all. Return (edit, batch, class)."""
        return [probe.sweep(self.model, *self.inputs, edits=self.edits())]

    def bare(self) -> Any:
        """Call the model once, unedited."""
        return self.model(*self.inputs)


class Headed(nn.Module):
    """A recurrent layer over bits, and a linear head on its last hidden state."""

    def __init__(self, recurrent: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.head = nn.Linear(recurrent.hidden_size, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, class) for x of (batch, time, 1)."""
        return self.head(self.recurrent(x)[0][:, -1])


class Packing(nn.Module):
    """An LSTM over packed strings of bits, and a linear head on each string's last hidden state."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(1, units, batch_first=True)
        self.head = nn.Linear(units, CLASSES)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits (batch, class) for x of (batch, time, 1) and lengths of (batch,)."""
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.head(hidden[torch.arange(len(x)), lengths - 1])


def counter_sweep(signal: str) -> Sweep:
    """Return the 120 patches of a signal of the counter, on 1,024 pairs of strings."""
    model, x, source = harness.counter()
    return on_counter(model, x, source, signal)


def on_counter(model: Counter, x: Tensor, source: Tensor, signal: str = "cell_state") -> Sweep:
    """Return the patches of a signal at every step and unit of a counter."""
    return Sweep(model, (x,), ((source,),), signal, x.shape[1], model.lstm.hidden_size)


def headed_sweep(recurrent: Callable[[], nn.LSTM | nn.GRU], signal: str, layer: int | None = None) -> Sweep:
    """Return 120 patches, 10 steps x 12 units, in a model with a head; of one layer, by its number, of a stack."""
    _, x, source = harness.counter()
    torch.manual_seed(0)
    model = Headed(recurrent())
    name = None if layer is None else probe.inspect(model).layers[layer].name
    return Sweep(model, (x,), ((source,),), signal, 10, 12, name)


def packed_sweep() -> Sweep:
    """Return 120 patches, from two sources at the first 5 steps x 12 units, of strings of 5 to 10 steps."""
    _, x, source = harness.counter()
    torch.manual_seed(0)
    model = Packing(12)
    lengths = torch.randint(5, 11, (len(x),))
    return Sweep(model, (x, lengths), ((source, lengths), (source.flip(0), lengths)), "cell_state", 5, 12)


SWEEPS: dict[str, Callable[[], Sweep]] = {
    "c": lambda: counter_sweep("cell_state"),
    "h": lambda: counter_sweep("hidden_state"),
    "gate": lambda: counter_sweep("forget_gate"),
    "GRU 64": lambda: headed_sweep(lambda: nn.GRU(1, 64, batch_first=True), "hidden_state"),
    "lower of two layers": lambda: headed_sweep(
        lambda: nn.LSTM(1, 12, num_layers=2, batch_first=True), "cell_state", 0
    ),
    "packed": packed_sweep,
}


def signals_of(recording: probe.Recording) -> list[Tensor]:
    """Return i f g o c h of the recording of one LSTM layer."""
    return [recording[signal] for signal in SIGNALS]


def every_value(recording: probe.Recording) -> list[Tensor]:
    """Return all that a recording holds: for each call of each layer the signals, in the order of their names."""
    return [part.signals[signal] for part in recording.parts for signal in sorted(part.signals, key=str)]


def recorded(model: nn.Module, *inputs: Any, **words: Any) -> Task:
    """Return the task of recording one call of a model."""
    return Task(lambda: every_value(probe.record(model, *inputs, **words)), lambda: model(*inputs))


def other_layer(
    kind: type[nn.LSTM | nn.GRU | nn.RNN], *, packed: bool = False, every_signal: bool = False, **words: Any
) -> Task:
    """Return the task of recording a module of some kind, or a packed sequence, or its pre-activations too."""
    batch, length, features, units = LAYERS_SHAPE
    torch.manual_seed(0)
    x = torch.randn(batch, length, features)
    lengths = torch.randint(length // 2, length + 1, (batch,))
    module = kind(features, units, batch_first=True, **words)
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False) if packed else x
    signals = [str(signal) for signal in probe.inspect(module).layers[0].signals] if every_signal else None
    return recorded(module, given, signals=signals)


LAYERS: dict[str, Callable[[], Task]] = {
    "one LSTM layer": lambda: other_layer(nn.LSTM),
    "with pre-activations": lambda: other_layer(nn.LSTM, every_signal=True),
    "two layers": lambda: other_layer(nn.LSTM, num_layers=2),
    "both directions": lambda: other_layer(nn.LSTM, bidirectional=True),
    "packed sequence": lambda: other_layer(nn.LSTM, packed=True),
    "GRU": lambda: other_layer(nn.GRU),
    "RNN": lambda: other_layer(nn.RNN),
}


def of_sweep(make: Callable[[], Sweep]) -> Task:
    """Return a sweep as a task."""
    sweep = make()
    return Task(sweep, sweep.bare)


#: What makes each task, by its group and its name.
GROUPS: dict[str, dict[str, Callable[[], Task]]] = {
    "sweeps": {name: lambda make=make: of_sweep(make) for name, make in SWEEPS.items()},
    "layers": LAYERS,
}
