"""Finds where an edit acts: which layer of a model, and which rows and steps of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import Kind
from ..errors import ProbeError, unknown
from ..recurrent.again.engine import BEGIN, Changes
from ..recurrent.calls import own_steps
from ..recurrent.finding import find_layers
from ..recurrent.layers import Layer, LoopLayer
from ..recurrent.runs import Run
from ..recurrent.signals import UNKNOWN, Signal, flat_units, span, within
from .kinds import Edit, Place


def layers_for(model: nn.Module, edits: Sequence[Edit]) -> list[Layer]:
    """Return the layer that each edit is for, or raise before anything runs.

    Raises:
        ProbeError: a layer, signal or unit does not exist, or an edit names no layer and several have its signal.
    """
    check_made(edits)
    found, known = find_layers(model), dict[tuple[str | None, str], Layer]()
    for edit in edits:
        site = edit.site
        layer = known.get((site.layer, site.signal))
        if layer is None:
            layer = known[site.layer, site.signal] = _layer_for(found, edit)
        _check_units(edit, layer)
    return [known[edit.site.layer, edit.site.signal] for edit in edits]


def check_made(edits: Iterable[Any]) -> None:
    """Raise ProbeError where something that stands among edits is none."""
    for edit in edits:
        if not isinstance(edit, Edit):
            raise ProbeError(
                f"An edit is made by probe.clamp, ablate, patch, steer or edit; this is a {type(edit).__name__}."
            )


def _several(value: Any) -> Sequence[Any]:
    if isinstance(value, Edit) or not isinstance(value, Sequence):
        raise ValueError
    return value


#: What `edits=` may be.
EDITS = Kind("several edits: edits=[probe.patch(...)]", _several)


def place_in_model(model: nn.Module, edits: Sequence[Edit]) -> dict[Layer, tuple[Edit, ...]]:
    """Return the edits of each layer that is edited; raises as `layers_for` does."""
    placed: dict[Layer, tuple[Edit, ...]] = {}
    for edit, layer in zip(edits, layers_for(model, edits), strict=True):
        placed[layer] = (*placed.get(layer, ()), edit)
    return placed


def _layer_for(found: Sequence[Layer], edit: Edit) -> Layer:
    site = edit.site
    layers = [layer for layer in found if site.layer in (None, layer.name)]
    if not layers:
        raise ProbeError(unknown("layer", site.layer, [layer.name for layer in found]))
    having = [layer for layer in layers if isinstance(layer, LoopLayer) or site.signal in layer.signals]
    if not having:
        listed = "; ".join(f"{layer.name!r} has {', '.join(layer.signals)}" for layer in layers)
        raise ProbeError(f"{edit!r}: no such layer computes {str(site.signal)!r}: {listed}.")
    if len(having) > 1:
        raise ProbeError(
            f"{edit!r} names no layer, and the model has several: "
            f"{', '.join(repr(layer.name) for layer in having)}. Choose one with layer=."
        )
    return having[0]


def _check_units(edit: Edit, layer: Layer) -> None:
    """Raise where a layer has not the units of an edit, or others than it brings values for."""
    site, shape = edit.site, layer.shape(edit.site.signal)
    if shape == (UNKNOWN,):
        return
    units = flat_units(site.units, shape, f"the {site.signal} of layer {layer.name!r}")
    held = edit.units_held
    if held is not None and held != len(units):
        raise ProbeError(
            f"{edit!r} brings values of {held} units for {len(units)} units of layer {layer.name!r}; "
            "choose units= that both have."
        )


@dataclass(frozen=True, eq=False)
class Placed:
    """An edit in a run.

    Attributes:
        edit: the edit.
        units: its units, as an index.
        places: where it acts, by the layer's own step.
        offset: the run's row at which the edit's first row stands.
    """

    edit: Edit
    units: Tensor | slice
    places: Mapping[int, Place]
    offset: int

    def at(self, offset: int) -> Placed:
        """Return the edit with its first row at another row of the run."""
        return Placed(self.edit, self.units, self.places, offset)

    def where(self, step: int) -> tuple[Any, Any]:
        """Return the index of the rows and units that are changed at a step."""
        rows = self.places[step].rows
        if isinstance(rows, slice):
            return slice(rows.start + self.offset, rows.stop + self.offset), self.units
        rows = span(rows + self.offset)
        return rows.unsqueeze(1) if isinstance(rows, Tensor) and isinstance(self.units, Tensor) else rows, self.units

    def put(self, value: Tensor, step: int) -> Tensor:
        """Return what stands at the edit's place instead of `value`, (row, unit)."""
        return self.edit.put(value, self.places[step])


def place_in_run(edit: Edit, layer: Layer, run: Run, *, batch: int | None = None, first: int | None = None) -> Placed:
    """Return where an edit acts in a run of a layer.

    Args:
        edit: the edit.
        layer: its layer.
        run: the run.
        batch: how many of its first rows, or None for all.
        first: at which step of its sequence the run begins; steps that lie outside of it may come in other calls.
            None where it is a sequence of its own, which has all of them.

    Raises:
        ProbeError: a step or a row lies beyond the input, or the edit does not fit the batch.
    """
    site, shape = edit.site, _shape(edit, layer, run)
    time, rows = run.call.x.shape[:2]
    batch = rows if batch is None else batch
    lengths = None if run.call.lengths is None else run.call.lengths[:batch]
    every = _rows(edit, layer, batch)
    _check_held(edit, layer, run, first or 0)
    units = flat_units(site.units, shape, f"layer {layer.name!r}")
    if edit.units_held not in (None, len(units)):
        raise ProbeError(
            f"{edit!r} brings values of {edit.units_held} units for {len(units)} of layer {layer.name!r}."
        )
    if first is not None:
        places = {step: _place(every, position, first + step) for position, step in steps_in(edit, first, time)}
    elif lengths is None or _is_alike(site.steps, layer, lengths[every]):
        steps = within("steps", site.steps, time, f"the input of layer {layer.name!r}")
        places = {
            time - 1 - step if layer.reads_back else step: _place(every, position, step)
            for position, step in enumerate(steps)
        }
    else:
        places = _ragged(edit, layer, time, torch.arange(batch)[every], lengths)
    return Placed(edit, span(units), places, 0)


def steps_in(edit: Edit, first: int, time: int) -> list[tuple[int, int]]:
    """Return which steps of an edit a call has: the place of each among the edit's steps, and the step of the call.

    Args:
        edit: the edit.
        first: at which step of its sequence the call begins.
        time: how many steps it has. Its last step is the sequence's, as far as that is known, where it begins one.
    """
    if edit.site.steps is None:
        return [(first + step, step) for step in range(time)]
    found = {}
    for position, step in enumerate(edit.site.steps):
        own = step + time if step < 0 and not first else step - first
        if 0 <= own < time:
            if own in found:
                raise ProbeError(f"{edit!r}: steps={edit.site.steps!r} names step {first + own} twice.")
            found[own] = position
    return [(position, own) for own, position in found.items()]


def _check_held(edit: Edit, layer: Layer, run: Run, first: int) -> None:
    """Raise where an edit brings values for another number of steps than a call has."""
    held, time, given = edit.steps_held, len(run.call.x), edit.site.steps
    joined = given is None and (first or run.call.is_step)
    if held is not None and joined and held < first + time:
        raise ProbeError(
            f"{edit!r} holds {held} steps; {'cell' if layer.is_cell else 'layer'} {layer.name!r} was called for step "
            f"{held}. Name the steps to edit with steps=."
        )
    count = time if given is None else len(given)
    if held is not None and not joined and held != count:
        raise ProbeError(
            f"The {type(edit).__name__.lower()} holds {held} steps and the input of layer {layer.name!r} has "
            f"{count}. Name the steps to edit with steps=."
        )


def _is_alike(steps: tuple[int, ...] | None, layer: Layer, lengths: Tensor) -> bool:
    """Return whether each of some steps is the same own step of all rows, which have it."""
    if steps is None or min(steps) < 0 or layer.reads_back:
        return False
    return len(lengths) > 0 and max(steps) < int(lengths.min())


def _place(rows: Tensor | slice, position: int, step: int) -> Place:
    """Return where an edit acts in a step that is the same of all rows."""
    count = rows.stop if isinstance(rows, slice) else len(rows)
    return Place(rows, slice(0, count), position, step)


def _shape(edit: Edit, layer: Layer, run: Run) -> tuple[int, ...]:
    """Return the shape that the signal of an edit has in a run, or raise where it has none such."""
    cell = run.traces[layer.place].cell
    if edit.site.signal not in cell.signals:
        raise ProbeError(f"{edit!r}: layer {layer.name!r} computes {', '.join(cell.signals)}.")
    return cell.shape(edit.site.signal)


def _rows(edit: Edit, layer: Layer, batch: int) -> Tensor | slice:
    """Return the rows that an edit changes, all of them as a slice, or raise where it does not fit the batch."""
    given = edit.site.rows
    rows = range(batch) if given is None else within("rows", given, batch, f"the batch of layer {layer.name!r}")
    edit.fit(batch, rows)
    return slice(0, batch) if given is None else torch.tensor(rows)


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


def changes_of(placed: Sequence[Placed], steps: Sequence[int] | None = None) -> Changes:
    """Return what several edits, in their order, do to one run: at all their steps, or at some."""
    return _changes([(step, one, step) for one in placed for step in (one.places if steps is None else steps)])


def beginnings(placed: Sequence[tuple[Placed, int]]) -> Changes:
    """Return what several edits, in their order, do at one step each, where rows stand for steps of their own."""
    return _changes([(BEGIN, one, step) for one, step in placed if step in one.places])


def _changes(listed: Sequence[tuple[int, Placed, int]]) -> Changes:
    """Return what edits do: for each the step under which it is asked for, the edit, and its step."""
    by_step: dict[int, dict[Signal, list[tuple[Placed, int]]]] = {}
    for at, one, step in listed:
        by_step.setdefault(at, {}).setdefault(one.edit.site.signal, []).append((one, step))

    def change(signal: Signal, at: int, value: Tensor) -> tuple[Tensor, Tensor]:
        changed, own = value.clone(), torch.zeros_like(value, dtype=torch.bool)
        for one, step in by_step[at][signal]:
            where = one.where(step)
            # Of the clone, so that an edit sees what an earlier one has put in.
            changed[where] = one.put(changed[where], step)
            own[where] = True
        return changed, own

    return Changes({step: frozenset(signals) for step, signals in by_step.items()}, change)


def by_place(placed: Iterable[tuple[Layer, Placed]]) -> dict[int, Changes]:
    """Return what edits do to each layer of a run, by the layer's place in its module."""
    found: dict[int, list[Placed]] = {}
    for layer, one in placed:
        found.setdefault(layer.place, []).append(one)
    return {number: changes_of(every) for number, every in found.items()}
