"""`inspect`: lists the recurrent layers of a model and their signals, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn

from ..arguments import NAMES, checked_arguments, whole
from ..errors import ProbeError, several, unknown
from ..showing import show
from .finding import find_layers
from .layers import Layer, OpenLayer
from .signals import UNKNOWN, Signal, shaped
from .steps.registry import chosen_signals

_STATE = Signal("state")


@dataclass(frozen=True)
class LayerDescription:
    """One recurrent layer.

    Attributes:
        name: the name that recordings and edits know it by.
        cell: its module's class.
        inputs: how many features it reads at a step; -1 where only a call tells.
        units: how many units it has; of a layer that torch does not have, how many numbers its state has, or -1.
        parameters: how many numbers its weights, biases and learned initial states hold.
        signals: what can be recorded and edited, in the order in which a step computes it.
        projected: how many units its hidden state has, where it is projected to fewer; None otherwise.
        shapes: of the states that are matrices, their shapes; a unit of them is an index tuple.
        bytes: how many bytes a signal has at one step of one row; a signal whose size only a call tells is missing.
    """

    name: str
    cell: str
    inputs: int
    units: int
    parameters: int
    signals: tuple[Signal, ...]
    projected: int | None = None
    shapes: Mapping[Signal, tuple[int, ...]] = field(default_factory=dict, hash=False, repr=False)
    bytes: Mapping[Signal, int] = field(default_factory=dict, hash=False, repr=False)

    @property
    def listed(self) -> str:
        """The signals, those that are matrices with their shapes: `ssm_state (32 x 8)`."""
        shapes = {signal: f" ({shaped(shape)})" for signal, shape in self.shapes.items()}
        return ", ".join(f"{signal}{shapes.get(signal, '')}" for signal in self.signals)

    def __str__(self) -> str:
        projected = "" if self.projected is None else f" projected to {self.projected}"
        inputs = "" if self.inputs == UNKNOWN else f"{several(self.inputs, 'input')}, "
        units = "" if self.units == UNKNOWN else f"{several(self.units, 'unit')}{projected}, "
        signals = f"signals {self.listed}" if self.signals else "called in a loop, if a call shows a state"
        return f"{self.name}: {self.cell}, {inputs}{units}{self.parameters} parameters; {signals}"


@dataclass(frozen=True)
class RecordingSize:
    """How many bytes a recording keeps: steps x rows x numbers x bytes of a number, added up over the layers.

    At its peak a recording takes besides what the model's own run takes, and once more what it keeps of one layer.

    Attributes:
        rows: of how many rows.
        steps: of how many steps.
        signals: the bytes of each signal, in all layers.
        untold: how many layers have a signal whose size only a call tells, such as the output of a layer that torch
            does not have.
    """

    rows: int
    steps: int
    signals: Mapping[Signal, int]
    untold: Mapping[Signal, int]

    @property
    def total(self) -> int:
        """The bytes of all signals whose size is known."""
        return sum(self.signals.values())

    def __str__(self) -> str:
        head = f"{several(self.rows, 'row')} of {several(self.steps, 'step')}: {_bytes(self.total)}"
        known = [f"  {signal}: {_bytes(size)}" for signal, size in self.signals.items()]
        untold = [f"  {signal}: only a call tells, in {several(n, 'layer')}" for signal, n in self.untold.items()]
        return "\n".join([head, *known, *untold])

    __repr__ = __str__


@dataclass(frozen=True)
class ModelDescription:
    """The recurrent layers of a model."""

    model: str
    layers: tuple[LayerDescription, ...]

    def __str__(self) -> str:
        return "\n".join([self.model, *(f"  {layer}" for layer in self.layers)])

    __repr__ = __str__

    @checked_arguments(layer=NAMES, rows=whole(0), steps=whole(0))
    def recording_size(
        self,
        rows: int,
        steps: int,
        *,
        signals: Iterable[str] | None = None,
        layer: str | Iterable[str] | None = None,
    ) -> RecordingSize:
        """Return how many bytes a recording will keep, before anything runs.

        Each layer is taken to be called once, over all steps.

        Args:
            rows: how many rows the batch has.
            steps: how many steps are kept.
            signals: as `probe.record` takes them; None for all but the pre-activations.
            layer: which layer, by name, or which, several names in brackets; None for all.

        Raises:
            ProbeError: there is no such layer or signal, or a number is no whole number from 0.
        """
        chosen = self._chosen(layer)
        available = tuple(dict.fromkeys(signal for one in chosen for signal in one.signals))
        wanted = chosen_signals(signals, available, untold=any(not one.signals for one in chosen))
        known: dict[Signal, int] = {}
        untold: dict[Signal, int] = {}
        for one in chosen:
            # A cell in a loop has a state at least.
            for signal in [name for name in one.signals or (_STATE,) if name in wanted or not one.signals]:
                if signal in one.bytes:
                    known[signal] = known.get(signal, 0) + rows * steps * one.bytes[signal]
                else:
                    untold[signal] = untold.get(signal, 0) + 1
        return RecordingSize(rows, steps, known, untold)

    def _chosen(self, names: Iterable[str] | None) -> list[LayerDescription]:
        by_name = {layer.name: layer for layer in self.layers}
        chosen = list(by_name if names is None else names)
        for name in chosen:
            if name not in by_name:
                raise ProbeError(unknown("layer", name, by_name))
        return [by_name[name] for name in dict.fromkeys(chosen)]

    def _repr_html_(self) -> str:
        """Show the layers in a notebook, in its own colours."""
        return show(self, "_repr_html_")


@checked_arguments()
def inspect(model: nn.Module) -> ModelDescription:
    """Return the recurrent layers of a model: names, cells, sizes, signals, parameters.

    Raises:
        ProbeError: the model has no recurrent layer, or nobody can look into it.
    """
    return ModelDescription(type(model).__name__, tuple(described(layer) for layer in find_layers(model)))


def described(layer: Layer) -> LayerDescription:
    """Return what one layer is."""
    if isinstance(layer, OpenLayer):
        weights, projected = list(layer.module.parameters()), layer.units
    else:
        weights = (*vars(layer.cell.weights).values(), *layer.learned.values())
        projected = layer.size(Signal.HIDDEN_STATE)
    return LayerDescription(
        layer.name,
        type(layer.module).__name__,
        layer.inputs,
        layer.units,
        sum(parameter.numel() for parameter in weights if parameter is not None),
        layer.signals,
        None if projected == layer.units else projected,
        layer.matrices,
        {signal: size for signal in layer.signals if (size := layer.bytes_of(signal)) is not None},
    )


def _bytes(size: int) -> str:
    """Return a number of bytes in words."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return several(size, "byte")
