"""What the speed benchmarks time of rnn-probe: sweeps, recordings, and cells that a loop calls, by their names.

`benchmarks.speed` times each task beside its model's own call, and `benchmarks.versions` in two revisions of this
repository. A task uses the public functions of `probe` alone, so that older revisions can do it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
#: The strings and steps of small recordings, through an LSTM of 12 units.
SMALL = ((1, 10), (10, 10), (100, 10), (1, 1000), (16, 1000))
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


class Stepping(nn.Module):
    """An LSTM cell that a Python loop calls once a step."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(1, units)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden state, (batch, unit), for x of (batch, time, 1)."""
        states = None
        for step in x.unbind(1):
            states = self.cell(step, states)
        assert states is not None
        return states[0]


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


def case(number: int, **words: Any) -> Task:
    """Return the task of recording i f g o c h of one of the large LSTMs."""
    lstm, x = harness.case(number)
    return Task(lambda: signals_of(probe.record(lstm, x, **words)), lambda: lstm(x))


def cases() -> dict[str, Callable[[], Task]]:
    """Return the recordings of the large LSTMs, with the check and without, by name."""
    found: dict[str, Callable[[], Task]] = {}
    for number, (batch, length, features, units) in enumerate(harness.CASES):
        name = f"{batch:,} x {length:,}, {features} to {units}"
        found[name] = lambda number=number: case(number)
        found[f"{name}, check=False"] = lambda number=number: case(number, check=False)
    return found


def small(batch: int, length: int) -> Task:
    """Return the task of recording a few strings of bits through an LSTM of 12 units."""
    torch.manual_seed(0)
    return recorded(nn.LSTM(1, 12, batch_first=True), torch.randint(0, 2, (batch, length, 1)).float())


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


def in_a_loop() -> Task:
    """Return the task of recording a cell that a loop calls: 16 strings of 10 steps, 12 units."""
    torch.manual_seed(0)
    return recorded(Stepping(12), torch.randn(16, 10, 1))


def patched(lstm: nn.LSTM, x: Tensor) -> probe.Edit:
    """Return a patch of all units of c at step 5, with the values of another string of the batch."""
    return probe.patch("cell_state", probe.record(lstm, x.flip(0), signals=["cell_state"]), steps=5)


def edited() -> Task:
    """Return the task of recording a run with one patch."""
    lstm, x = harness.case(0)
    return recorded(lstm, x, edits=[patched(lstm, x)])


def gradient() -> Task:
    """Return the task of recording with the gradient of the last hidden states' sum."""
    lstm, x = harness.case(0)
    x = x[:256]

    def call() -> list[Tensor]:
        recording = probe.record(lstm, x, gradient_of=lambda output: output[0][:, -1].sum())
        return [*every_value(recording), *every_value(recording.gradient)]

    return Task(call, lambda: lstm(x))


def watched() -> Task:
    """Return the task of watching one call of an LSTM of one string of 200 steps, 12 units."""
    torch.manual_seed(0)
    lstm, x = nn.LSTM(1, 12, batch_first=True), torch.randn(1, 200, 1)

    def call() -> list[Tensor]:
        with probe.watch(lstm) as recordings:
            lstm(x)
        return every_value(recordings[0])

    return Task(call, lambda: lstm(x))


def intervened() -> Task:
    """Return the task of one call of an LSTM inside `probe.intervene` with one patch."""
    lstm, x = harness.case(0)
    edit = patched(lstm, x)

    def call() -> list[Tensor]:
        with probe.intervene(lstm, edit):
            return [lstm(x)[0]]

    return Task(call, lambda: lstm(x))


def of_sweep(make: Callable[[], Sweep]) -> Task:
    """Return a sweep as a task."""
    sweep = make()
    return Task(sweep, sweep.bare)


#: What makes each task, by its group and its name.
GROUPS: dict[str, dict[str, Callable[[], Task]]] = {
    "sweeps": {name: lambda make=make: of_sweep(make) for name, make in SWEEPS.items()},
    "record": cases(),
    "small": {f"{batch:,} x {length:,}": lambda b=batch, n=length: small(b, n) for batch, length in SMALL},
    "layers": LAYERS,
    "calls": {
        "cell in a loop": in_a_loop,
        "one patch": edited,
        "gradient": gradient,
        "watch": watched,
        "intervene": intervened,
    },
}


def chosen(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the group and name of every task that some words name, by its group or its own name; all without words.

    Raises:
        ValueError: a word names nothing; the message lists the names.
    """
    names = [(group, name) for group, tasks in GROUPS.items() for name in tasks]
    for word in words:
        if not any(word in pair for pair in names):
            listed = ", ".join(map(repr, [*GROUPS, *(name for _, name in names)]))
            raise ValueError(f"There is no task {word!r}; there are {listed}.")
    yield from (pair for pair in names if not words or any(word in pair for word in words))
