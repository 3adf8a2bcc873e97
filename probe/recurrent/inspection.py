"""`inspect`: lists the recurrent layers of a model and their signals, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..errors import several
from .layers import Layer, find_layers
from .signals import Signal


@dataclass(frozen=True)
class LayerDescription:
    """One recurrent layer.

    Attributes:
        name: the name that recordings and edits know it by.
        cell: its module's class.
        inputs: how many features it reads at a step.
        units: how many units it has.
        parameters: how many numbers its weights, biases and learned initial states hold.
        signals: what can be recorded and edited, in the order in which a step computes it.
        projected: how many units its hidden state has, where it is projected to fewer; None otherwise.
    """

    name: str
    cell: str
    inputs: int
    units: int
    parameters: int
    signals: tuple[Signal, ...]
    projected: int | None = None

    def __str__(self) -> str:
        projected = "" if self.projected is None else f" projected to {self.projected}"
        return (
            f"{self.name}: {self.cell}, {several(self.inputs, 'input')}, {several(self.units, 'unit')}{projected}, "
            f"{self.parameters} parameters; signals {', '.join(self.signals)}"
        )


@dataclass(frozen=True)
class ModelDescription:
    """The recurrent layers of a model."""

    model: str
    layers: tuple[LayerDescription, ...]

    def __str__(self) -> str:
        return "\n".join([self.model, *(f"  {layer}" for layer in self.layers)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show the layers in a notebook, in its own colours."""
        from ..notebook.fragments import show_model

        return show_model(self)


def inspect(model: nn.Module) -> ModelDescription:
    """Return the recurrent layers of a model: names, cells, sizes, signals, parameters.

    Raises:
        ProbeError: the model has no recurrent layer, or nobody can look into it.
    """
    return ModelDescription(type(model).__name__, tuple(_described(layer) for layer in find_layers(model)))


def _described(layer: Layer) -> LayerDescription:
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
    )
