"""Networks, inputs and edits at random, for the property tests; each prints as what it takes to build it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import reference
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import probe

#: What `probe.edit` is given, (value, step) -> value: elementwise and bounded, so that no state runs away.
FUNCTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "turn": lambda value, step: torch.cos(value + step),
    "negate": lambda value, _step: -value,
    "shrink": lambda value, _step: 0.5 * value,
}
#: Torch's layers.
LAYERS = ("lstm", "projected", "gru", "tanh", "relu")
KINDS = ("clamp", "zero", "mean", "resample", "patch", "steer", "edit")
#: Kinds whose values come from another run; its steps are counted from 0, as its rows have ends of their own.
FROM_SOURCE = ("mean", "resample", "patch")


@dataclass(frozen=True)
class Network:
    """A module and a call of it; `lengths` of a packed call, else every sequence has `steps` inputs."""

    kind: str
    inputs: int = 3
    units: int = 4
    layers: int = 1
    bidirectional: bool = False
    projected: int = 0
    bias: bool = True
    batch_first: bool = False
    double: bool = True
    scale: float = 1.0
    batch: int = 3
    steps: int = 5
    lengths: tuple[int, ...] | None = None
    given: bool = False
    seed: int = 0

    @classmethod
    def of(cls, kind: str, **options: Any) -> Network:
        """Return a network of one of `LAYERS`."""
        return cls("lstm" if kind == "projected" else kind, projected=2 * (kind == "projected"), **options)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of weights and inputs."""
        return torch.float64 if self.double else torch.float32

    def module(self) -> Any:
        """Return the module, in eval mode, its weights scaled."""
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}
        options: dict[str, Any] = {"nonlinearity": self.kind} if self.kind in ("tanh", "relu") else {}
        if self.projected:
            options["proj_size"] = self.projected
        options |= {"bidirectional": self.bidirectional, "bias": self.bias, "batch_first": self.batch_first}
        _ = torch.manual_seed(self.seed)
        module = kinds[self.kind](self.inputs, self.units, self.layers, **options)
        with torch.no_grad():
            for weight in module.parameters():
                _ = weight.mul_(self.scale)
        return module.to(self.dtype).eval()

    def call(self, *, seed: int = 0, more_rows: int = 0) -> Call:
        """Return inputs and states; another seed gives others, `more_rows` a larger batch."""
        generator = torch.Generator().manual_seed(self.seed + seed + 1)
        rows = self.batch + more_rows
        x = torch.randn(rows, self.steps, self.inputs, dtype=self.dtype, generator=generator)
        hx: Tensor | tuple[Tensor, Tensor] | None = None
        if self.given:
            number = self.layers * (1 + self.bidirectional)
            h, c = (
                torch.randn(number, rows, size, dtype=self.dtype, generator=generator)
                for size in (self.projected or self.units, self.units)
            )
            hx = (h, c) if self.kind == "lstm" else h
        return Call(x if self.batch_first else x.transpose(0, 1), hx, None if more_rows or seed else self.lengths)

    def width(self, signal: str) -> int:
        """Return how many units a signal has."""
        return self.projected if self.projected and signal == "hidden_state" else self.units

    def ends(self) -> Tensor:
        """Return the number of inputs of each sequence."""
        return torch.tensor(self.lengths or [self.steps] * self.batch)

    def shortest(self, rows: Sequence[int] | None) -> int:
        """Return how many steps each of these rows has."""
        ends = self.ends()
        return int(ends.min() if rows is None else ends[list(rows)].min())


@dataclass(frozen=True, eq=False)
class Call:
    """What a module is called with: x as the module takes it, padded; states; lengths if it is to be packed."""

    x: Tensor
    hx: Tensor | tuple[Tensor, Tensor] | None
    lengths: tuple[int, ...] | None

    def arguments(self, module: nn.RNNBase) -> tuple[Any, ...]:
        """Return the positional arguments of the call."""
        x = packed(module, self.x, self.lengths)
        return (x,) if self.hx is None else (x, self.hx)


def packed(module: nn.RNNBase, value: Tensor, lengths: Sequence[int] | None) -> Tensor | PackedSequence:
    """Return padded inputs or outputs as a PackedSequence, if there are lengths."""
    if lengths is None:
        return value
    return pack_padded_sequence(value, torch.tensor(lengths), batch_first=module.batch_first, enforce_sorted=False)


@dataclass(frozen=True)
class Plan:
    """An edit in words of its own: the property tests make probe's edit of it, `apply` the oracle's."""

    kind: str
    layer: str
    signal: str
    units: tuple[int, ...] | None
    steps: tuple[int, ...] | None
    rows: tuple[int, ...] | None
    source_rows: tuple[int, ...] | None
    value: float
    function: str
    seed: int

    def direction(self, width: int) -> Tensor:
        """Return the direction of a steer, a number for each of its units; the signal has `width` of them."""
        generator = torch.Generator().manual_seed(self.seed)
        size = width if self.units is None else len(self.units)
        return torch.rand(size, dtype=torch.float64, generator=generator) * 2 - 1

    def shift(self, value: Tensor) -> Tensor:
        """Return what a steer adds to each unit of a value."""
        shift = torch.zeros(value.shape[1], dtype=value.dtype)
        shift[list(self.units) if self.units is not None else slice(None)] = self.direction(value.shape[1]).to(value)
        return self.value * shift

    def places(self, value: Tensor, step: int, ends: Tensor) -> Tensor:
        """Return where a value (batch, unit) of a step is changed, as booleans of its shape."""
        rows, units = (torch.zeros(size, dtype=torch.bool) for size in value.shape)
        rows[list(self.rows) if self.rows is not None else slice(None)] = True
        units[list(self.units) if self.units is not None else slice(None)] = True
        if self.steps is not None:
            wanted = [torch.where(torch.tensor(at < 0), ends + at, at) for at in self.steps]
            rows = rows & (torch.stack(wanted) == step).any(0)
        return rows[:, None] & units & (step < ends)[:, None]

    def apply(self, value: Tensor, step: int, ends: Tensor, source: Tensor, taken: Sequence[int]) -> Tensor:
        """Return the changed value (batch, unit) of a step, of a signal (row, time, unit) of the source.

        `ends` are the numbers of inputs of the sequences, `taken` the row of the source that each row of them takes.
        """
        new = {
            "clamp": lambda: torch.full_like(value, self.value),
            "zero": lambda: torch.zeros_like(value),
            "mean": lambda: source[:, step].mean(0).expand_as(value),
            "resample": lambda: source[list(taken), step],
            "patch": lambda: source[list(taken), step],
            "steer": lambda: value + self.shift(value),
            "edit": lambda: FUNCTIONS[self.function](value, step),
        }[self.kind]()
        return torch.where(self.places(value, step, ends), new, value)


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    double: bool | None = None,
    longest: int = 300,
    scales: Sequence[float] = (1.0, 3.0, 12.0),
    packs: bool = True,
) -> Network:
    """Draw a network: short sequences more often than long ones."""
    kind = draw(st.sampled_from(["lstm", "gru", "tanh", "relu"]))
    units = draw(st.integers(1, 9))
    batch = draw(st.integers(1, 5))
    ranges = [st.integers(1, 6), st.integers(2, 12), st.integers(7, 40), st.integers(41, 300)]
    steps = min(longest, draw(st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 3]).flatmap(lambda number: ranges[number])))
    lengths: tuple[int, ...] | None = None
    if packs and draw(st.booleans()):
        drawn = draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
        drawn[draw(st.integers(0, batch - 1))] = steps
        lengths = tuple(drawn)
    scale = draw(st.sampled_from(list(scales)))
    return Network(
        kind=kind,
        inputs=draw(st.integers(1, 5)),
        units=units,
        layers=draw(st.integers(1, 3)),
        bidirectional=draw(st.booleans()),
        projected=draw(st.integers(1, units - 1)) if kind == "lstm" and units > 1 and draw(st.booleans()) else 0,
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        double=draw(st.booleans()) if double is None else double,
        # Nothing bounds a rectified state: with larger weights a long run ends in infinities.
        scale=min(scale, 1.5) if kind == "relu" and steps > 8 else scale,
        batch=batch,
        steps=steps,
        lengths=lengths,
        given=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def plans(draw: st.DrawFn, network: Network, kinds: Sequence[str] = KINDS, more_rows: int = 0) -> Plan:
    """Draw an edit of a network whose source has `more_rows` more rows than its batch."""
    kind = draw(st.sampled_from(list(kinds)))
    module = network.module()
    signal = draw(st.sampled_from(reference.signals_of(module)))

    def some(size: int, most: int = 5) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=most, unique=True)))

    rows = some(network.batch) if draw(st.booleans()) else None
    steps: tuple[int, ...] | None = some(network.shortest(rows))
    choice = draw(st.integers(0, 4))
    # A steered gate lies outside (0, 1), and a state that is multiplied by it at every step runs away.
    if choice == 0 and (kind != "steer" or network.steps <= 12):
        steps = None
    elif choice == 1 and (network.lengths is None or kind not in FROM_SOURCE):
        steps = (-1,)
    source_rows: tuple[int, ...] | None = None
    if kind == "patch" and ((more_rows and rows is None) or draw(st.booleans())):
        number = network.batch if rows is None else len(rows)
        row = st.integers(0, network.batch + more_rows - 1)
        source_rows = tuple(draw(st.lists(row, min_size=number, max_size=number)))
    return Plan(
        kind=kind,
        layer=draw(st.sampled_from(reference.layers_of(module))),
        signal=signal,
        units=None if draw(st.booleans()) else some(network.width(signal)),
        steps=steps,
        rows=rows,
        source_rows=source_rows,
        # A gate beyond 1 at every step would let the state run away.
        value=draw(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0])),
        function=draw(st.sampled_from(list(FUNCTIONS))),
        seed=draw(st.integers(0, 2**16)),
    )


def made(plan: Plan, source: Any, call: int | None = None) -> Any:
    """Return probe's edit of a plan; of its source, a recording, a steer asks for the width of its signal."""
    site: dict[str, Any] = {"layer": plan.layer, "units": plan.units, "steps": plan.steps, "rows": plan.rows}
    site["call"] = call
    if plan.kind in ("zero", "mean", "resample"):
        if plan.kind == "zero":
            return probe.ablate(plan.signal, kind="zero", **site)
        return probe.ablate(plan.signal, kind=plan.kind, reference=source, seed=plan.seed, **site)
    if plan.kind == "patch":
        return probe.patch(plan.signal, source=source, source_rows=plan.source_rows, **site)
    if plan.kind == "steer":
        direction = plan.direction(source[plan.layer, plan.signal].shape[2])
        return probe.steer(plan.signal, direction, scale=plan.value, **site)
    if plan.kind == "edit":
        function = FUNCTIONS[plan.function]

        def change(value: Tensor, where: Any) -> Tensor:
            return function(value, where.steps[0])

        return probe.edit(plan.signal, change, **site)
    return probe.clamp(plan.signal, plan.value, **site)
