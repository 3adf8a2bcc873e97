"""Puts edits in their places: which layer, and in a run which rows at which step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .calls import own_steps
from .edit_kinds import Edit, Place
from .engine import Changes
from .errors import ProbeError
from .layers import Layer, find_layers
from .signals import Signal, within


def place_in_model(model: nn.Module, edits: Sequence[Edit]) -> dict[Layer, tuple[Edit, ...]]:
    """Return the edits of each layer that is edited, or raise before anything runs.

    Raises:
        ProbeError: a layer, signal or unit does not exist, or an edit names no layer and several have its signal.
    """
    placed: dict[Layer, tuple[Edit, ...]] = {}
    for edit in edits:
        if not isinstance(edit, Edit):
            raise ProbeError(
                f"An edit is made by probe.clamp, ablate, patch, steer or edit; this is a {type(edit).__name__}."
            )
        layer = _layer_for(model, edit)
        size = layer.cell.size(edit.site.signal)
        units = within("units", edit.site.units, size, f"the {edit.site.signal} of layer {layer.name!r}")
        held = edit.units_held
        if held is not None and held != len(units):
            raise ProbeError(
                f"{edit!r} brings values of {held} units for {len(units)} units of layer {layer.name!r}; "
                "choose units= that both have."
            )
        placed[layer] = (*placed.get(layer, ()), edit)
    return placed


def _layer_for(model: nn.Module, edit: Edit) -> Layer:
    site = edit.site
    layers = find_layers(model, None if site.layer is None else [site.layer])
    having = [layer for layer in layers if site.signal in layer.signals]
    if not having:
        found = "; ".join(f"{layer.name!r} has {', '.join(layer.signals)}" for layer in layers)
        raise ProbeError(f"{edit!r}: no such layer computes {str(site.signal)!r}: {found}.")
    if len(having) > 1:
        raise ProbeError(
            f"{edit!r} names no layer, and the model has several: "
            f"{', '.join(repr(layer.name) for layer in having)}. Choose one with layer=."
        )
    return having[0]


@dataclass(frozen=True, eq=False)
class Placed:
    """An edit in a run.

    Attributes:
        edit: the edit.
        units: its units.
        places: where it acts, by the layer's own step.
        offset: the run's row at which the edit's first row stands.
        batch: how many rows the edit sees.
    """

    edit: Edit
    units: Tensor
    places: Mapping[int, Place]
    offset: int
    batch: int

    def apply(self, step: int, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return a signal's value (batch, unit) at a step with the edit in it, and where it acted."""
        place = self.places[step]
        rows = (place.rows + self.offset).unsqueeze(1)
        everywhere = len(rows) == len(value) and len(self.units) == value.shape[1]
        if everywhere:
            return self.edit.put(value, place), torch.ones_like(value, dtype=torch.bool)
        where = rows.to(value.device), self.units.to(value.device)
        changed, own = value.clone(), torch.zeros_like(value, dtype=torch.bool)
        changed[where] = self.edit.put(value[where], place)
        own[where] = True
        return changed, own


def place_in_run(
    edit: Edit, layer: Layer, time: int, batch: int, *, lengths: Tensor | None = None, offset: int = 0
) -> Placed:
    """Return where an edit acts in a run of a layer.

    Args:
        edit: the edit.
        layer: its layer.
        time: how many steps the input has.
        batch: how many rows the input has.
        lengths: how many steps each row has, or None where all have the same.
        offset: the row of a larger batch at which these rows stand.

    Raises:
        ProbeError: a step or a row lies beyond the input, or the edit does not fit the batch.
    """
    site = edit.site
    rows = within("rows", site.rows, batch, f"the batch of layer {layer.name!r}")
    edit.fit(batch, rows)
    held = edit.steps_held
    count = time if site.steps is None else len(site.steps)
    if held is not None and held != count:
        raise ProbeError(
            f"The {type(edit).__name__.lower()} holds {held} steps and the input of layer {layer.name!r} has "
            f"{count}. Name the steps to edit with steps=."
        )
    units = torch.tensor(within("units", site.units, layer.cell.size(site.signal), f"layer {layer.name!r}"))
    every, numbers = torch.tensor(rows), torch.arange(len(rows))
    if lengths is None:
        steps = within("steps", site.steps, time, f"the input of layer {layer.name!r}")
        places = {
            time - 1 - step if layer.reverse else step: Place(
                every, numbers, torch.full_like(every, position), torch.full_like(every, step)
            )
            for position, step in enumerate(steps)
        }
    else:
        places = _ragged(edit, layer, time, every, lengths)
    return Placed(edit, units, places, offset, batch)


def _ragged(edit: Edit, layer: Layer, time: int, rows: Tensor, lengths: Tensor) -> dict[int, Place]:
    """Return where an edit acts where rows end at different steps: a negative step counts from a row's own end."""
    given = torch.arange(time) if edit.site.steps is None else torch.tensor(edit.site.steps)
    steps = given.unsqueeze(1).expand(len(given), len(rows))
    steps = torch.where(steps < 0, steps + lengths[rows], steps)
    valid = (steps >= 0) & (steps < lengths[rows])
    if edit.site.steps is not None and not bool(valid.all()):
        position, row = (~valid).nonzero()[0].tolist()
        raise ProbeError(
            f"steps={edit.site.steps[position]} lies outside row {int(rows[row])} of the input of layer "
            f"{layer.name!r}, which has {int(lengths[rows[row]])} steps. Choose with rows= those that have it."
        )
    own = own_steps(time, layer, lengths)[steps.clamp(0, time - 1), rows]
    places = {}
    for step in own[valid].unique().tolist():
        positions, which = (valid & (own == step)).nonzero(as_tuple=True)
        if len(which.unique()) != len(which):
            raise ProbeError(f"steps={edit.site.steps!r} names one step of a row twice.")
        places[step] = Place(rows[which], which, positions, steps[positions, which])
    return places


def changes_of(placed: Sequence[Placed]) -> Changes:
    """Return what several edits, in their order, do to one run."""

    def change(signal: Signal, step: int, value: Tensor) -> tuple[Tensor, Tensor]:
        own = None
        for one in placed:
            if one.edit.site.signal == signal and step in one.places:
                value, here = one.apply(step, value)
                own = here if own is None else own | here
        return value, torch.zeros_like(value, dtype=torch.bool) if own is None else own

    return Changes(sorted({step for one in placed for step in one.places}), change)


def at_step(edit: Edit, layer: Layer, step: int, batch: int) -> Placed:
    """Return where an edit acts in one step of a cell that is called in a loop.

    Args:
        edit: an edit that acts at this step.
        layer: the cell.
        step: which step of its sequence this call is.
        batch: how many rows it has.
    """
    position = step if edit.site.steps is None else edit.site.steps.index(step)
    if edit.steps_held is not None and position >= edit.steps_held:
        raise ProbeError(f"{edit!r} holds {edit.steps_held} steps; cell {layer.name!r} was called for step {step}.")
    rows = within("rows", edit.site.rows, batch, f"the batch of cell {layer.name!r}")
    edit.fit(batch, rows)
    units = torch.tensor(within("units", edit.site.units, layer.cell.size(edit.site.signal), f"cell {layer.name!r}"))
    every, numbers = torch.tensor(rows), torch.arange(len(rows))
    place = Place(every, numbers, torch.full_like(every, position), torch.full_like(every, step))
    return Placed(edit, units, {0: place}, 0, batch)


def moved_to(placed: Placed, offset: int) -> Placed:
    """Return the edit at other rows of a larger batch."""
    return replace(placed, offset=offset)
