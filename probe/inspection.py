"""Says what can be read inside a model before anything is run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .layers import find_layers
from .signals import Signal


@dataclass(frozen=True)
class LayerDescription:
    """One recurrent layer: its name, cell, sizes, signals and number of parameters."""

    name: str
    cell: str
    inputs: int
    units: int
    parameters: int
    signals: tuple[Signal, ...]

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.cell}, {self.inputs} inputs, {self.units} units, {self.parameters} "
            f"parameters; signals {', '.join(self.signals)}"
        )


@dataclass(frozen=True)
class ModelDescription:
    """The recurrent layers of a model."""

    model: str
    layers: tuple[LayerDescription, ...]

    def __str__(self) -> str:
        return "\n".join([self.model, *(f"  {layer}" for layer in self.layers)])

    __repr__ = __str__


def inspect(model: nn.Module) -> ModelDescription:
    """Return the recurrent layers of a model: names, cells, sizes, signals, parameters.

    Raises:
        ProbeError: the model has no recurrent layer, or one that cannot be opened.
    """
    layers = tuple(
        LayerDescription(
            layer.name,
            type(layer.module).__name__,
            layer.inputs,
            layer.units,
            sum(parameter.numel() for parameter in layer.module.parameters()),
            layer.signals,
        )
        for layer in find_layers(model)
    )
    return ModelDescription(type(model).__name__, layers)
