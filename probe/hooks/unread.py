"""Edits of the state that a sequence ends with, in layers that formed their output before: they move nothing.

Such an edit acts only if another call goes on from the state, or if the model computes something from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from ..edits.kinds import Ablate, Clamp, Edit, Patch
from ..edits.resolve import Placed
from ..errors import ProbeError
from ..recurrent.calls import Call, finals_of
from ..recurrent.cells.cell import Cell
from ..recurrent.cells.step_cell import StepCell
from ..recurrent.layers import Layer
from ..recurrent.memory import memory_of
from ..recurrent.signals import OUTPUT, Signal
from ..recurrent.steps import trails
from ..recurrent.steps.loops import LoopStep
from ..recurrent.steps.readers import Place, Watched
from .sessions import Visit

#: Of so many sequences that ended it is followed whether their last state is read.
_FOLLOWED = 16


def handed_on(visit: Visit, layer: Layer, signal: Signal) -> Tensor | None:
    """Return the tensor in which the caller of a layer gets a state; None where it is not in what it returned."""
    call, output = visit.call, visit.output
    if call.adapter is None:
        return finals_of(visit.layers, output, call)[layer.place].get(signal)
    nest = call.adapter.handed_on(output) if isinstance(call.adapter, LoopStep) else call.adapter.final(output)
    parts = [] if nest is None else pytree.tree_leaves(nest)
    found = dict(zip(call.steps.states, parts, strict=False)).get(signal)
    return found if isinstance(found, Tensor) else None


def follow(state: Watched, visit: Visit, layer: Layer, signal: Signal) -> None:
    """Follow what is computed from a state that the caller of a layer gets."""
    value = handed_on(visit, layer, signal)
    if value is not None:
        value = _apart(value, visit)
        state.numbers = value.numel()
        trails.watch(value, state)


def _apart(value: Tensor, visit: Visit) -> Tensor:
    """Return a state with memory of its own, which the caller gets in its place where an output is a view of it."""
    leaves, form = pytree.tree_flatten(visit.output)
    others = [one for one in leaves if isinstance(one, Tensor) and one is not value]
    if any(one is value for one in leaves) and memory_of(value) in map(memory_of, others):
        apart = value.clone()
        visit.output = pytree.tree_unflatten([apart if one is value else one for one in leaves], form)
        return apart
    return value


def instead(cell: Cell) -> Signal:
    """Return which signal of a step its output follows from, for an error that says what to edit."""
    return (cell.returned_part or OUTPUT) if isinstance(cell, StepCell) else cell.output


class Unread:
    """Where an edit changed nothing but the state that a sequence ended with, so far as it went.

    Args:
        edit: the edit.
        layer: its layer.
        place: where the program stands, from now on.
    """

    def __init__(self, edit: Edit, layer: Layer, place: Place) -> None:
        self._edit, self._layer, self._place = edit, layer, place
        self._moved, self._instead = False, OUTPUT
        #: By the number of a sequence: its last step, and the state after it.
        self._ends: dict[int, tuple[int, Watched]] = {}
        self._new: Watched | None = None

    def copied(self) -> Unread:
        """Return what is known now, for when a pass fails."""
        found = Unread(self._edit, self._layer, self._place)
        found._moved, found._instead, found._ends = self._moved, self._instead, dict(self._ends)
        return found

    def go_on(self, number: int, call: Call) -> None:
        """Note a call of a sequence; where it goes on with one, it reads the state that was its last.

        A state that an edit made zero begins a sequence; whether it was read only the adapter tells.
        """
        if number not in self._ends and call.adapter is not None and call.adapter.resumes and not call.has_state:
            number = max(self._ends, default=number)
        if number in self._ends:
            trails.forget(self._ends.pop(number)[1])
            self._moved = True

    def note(self, visit: Visit, number: int, first: int | None, placed: Sequence[Placed]) -> bool:
        """Note that the edit acts in a call, and return whether it moves the last state alone.

        Args:
            visit: the call.
            number: the number of its sequence.
            first: at which step of it the call begins; None where it is all of it.
            placed: every edit of the layer in this call.
        """
        own = next(one for one in placed if one.edit is self._edit)
        cell = visit.clean.traces[self._layer.place].cell
        if not own.places:
            return False
        last = max(own.places)
        beside = [one.edit for one in placed if last in one.places]
        if (
            cell.reaches_output(own.edit.site.signal)
            or not _at_end(own, visit.call)
            or _covered(own.edit, beside, cell)
        ):
            self._moved = True
            return False
        self._moved = self._moved or len(own.places) > 1
        if self._edit.site.steps is None and self._moved:
            return False
        self._new, self._instead = Watched(self._place), instead(cell)
        self._ends[number] = (first or 0) + len(visit.call.x) - 1, self._new
        for old in list(self._ends)[:-_FOLLOWED]:
            trails.forget(self._ends[old][1])
        return True

    def hand_on(self, visit: Visit) -> None:
        """Follow the state that the caller of a layer gets, where the edit moved it."""
        state, self._new = self._new, None
        if state is not None:
            follow(state, visit, self._layer, self._edit.site.signal)

    def returned(self, output: Any) -> None:
        """Note what the model returned."""
        for _, state in self._ends.values():
            state.read = state.read or trails.answers(output, state)

    @property
    def left(self) -> tuple[int, int] | None:
        """The number of a sequence whose last state nothing read, and its last step; None where all acted."""
        found = [(number, step) for number, (step, state) in self._ends.items() if not state.read]
        moved = self._moved or len(found) < len(self._ends)
        return None if not found or (self._edit.site.steps is None and moved) else found[0]

    def check(self) -> None:
        """Raise where nothing read what the edit did to the last state of a sequence."""
        if self.left is not None:
            raise ProbeError(told(self._edit, self._layer, *self.left, self._instead))


class Ends:
    """The states that the sequences of a run without edits end with, and which of them nothing reads.

    Args:
        edits: what is to be changed.
        layers: the layer of each.
    """

    def __init__(self, edits: Sequence[Edit], layers: Sequence[Layer]) -> None:
        self._signals: dict[Layer, set[Signal]] = {}
        for edit, layer in zip(edits, layers, strict=True):
            self._signals.setdefault(layer, set()).add(edit.site.signal)
        #: By layer, signal and number of a sequence.
        self._states: dict[tuple[Layer, Signal, int], Watched] = {}
        #: By layer and number of a sequence: how many steps it has, and the cell that ran it.
        self._sequences: dict[tuple[Layer, int], tuple[int, Cell]] = {}
        self.place = Place()

    @property
    def layers(self) -> list[Layer]:
        """The layers that are to be changed."""
        return list(self._signals)

    def note(self, visit: Visit, layer: Layer, number: int, first: int | None) -> bool:
        """Note a call of a layer, and return whether a state of it is to be followed; see `hand_on`.

        Args:
            visit: the call.
            layer: the layer.
            number: the number of its sequence.
            first: at which step of it the call begins; None where it is all of it.
        """
        cell = visit.clean.traces[layer.place].cell
        self._sequences[layer, number] = (first or 0) + len(visit.call.x), cell
        late = [one for one in self._signals[layer] if one in cell.signals and not cell.reaches_output(one)]
        for signal in late:
            if (old := self._states.get((layer, signal, number))) is not None:
                trails.forget(old)
            self._states[layer, signal, number] = Watched(self.place)
        return bool(late)

    def hand_on(self, visit: Visit, layer: Layer, number: int) -> None:
        """Follow what is computed from the states that the caller of a layer gets."""
        for (its, signal, which), state in self._states.items():
            if its is layer and which == number:
                follow(state, visit, layer, signal)

    def returned(self, output: Any) -> None:
        """Note what the model returned."""
        for state in self._states.values():
            state.read = state.read or trails.answers(output, state)

    def check(self, edits: Sequence[tuple[Edit, Layer]]) -> None:
        """Raise where one of the edits of a run moves a last state that nothing reads, see `Unread.check`."""
        for edit, layer in edits:
            beside, moved, left = [one for one, its in edits if its is layer], False, list[tuple[int, int, Cell]]()
            for (its, number), (time, cell) in self._sequences.items():
                if its is not layer or edit.site.call not in (None, number) or not _names(edit, time - 1, time):
                    continue
                others = [one for one in beside if _names(one, time - 1, time)]
                state = self._states.get((layer, edit.site.signal, number))
                if state is None or state.read or _covered(edit, others, cell):
                    moved = True
                else:
                    moved = moved or time > 1
                    left.append((number, time - 1, cell))
            if left and not (edit.site.steps is None and moved):
                number, step, cell = left[0]
                raise ProbeError(told(edit, layer, number, step, instead(cell)))


def told(edit: Edit, layer: Layer, number: int, step: int, other: Signal) -> str:
    """Return that nothing read a last state, and what to edit instead.

    Args:
        edit: the edit.
        layer: its layer.
        number: the number of the sequence.
        step: its last step.
        other: a signal that the layer's output follows from at once.
    """
    where = f" in call={number}" if number else ""
    earlier = f"it at step {step - 1} or an earlier one, or edit " if step else ""
    return (
        f"{edit!r}: at step {step}, the last one of layer {layer.name!r}{where}, it moves no answer. The layer forms "
        f"its output before it hands {str(edit.site.signal)!r} on, and nothing is computed from that after it. Edit "
        f"{earlier}{str(other)!r} at step {step}; or let another call go on from it inside the same context."
    )


def _at_end(placed: Placed, call: Call) -> bool:
    """Return whether an edit changes the last step of a call, or of one of its rows."""
    if call.lengths is None:
        return len(call.x) - 1 in placed.places
    return any(bool((call.lengths[place.rows] - 1 == step).any()) for step, place in placed.places.items())


def _names(edit: Edit, step: int, time: int) -> bool:
    """Return whether an edit changes a step of a sequence of so many."""
    return edit.site.steps is None or step in edit.site.steps or step - time in edit.site.steps


def _covered(own: Edit, beside: Sequence[Edit], cell: Cell) -> bool:
    """Return whether other edits of a step put all of its output, or what that is, in place.

    Then nothing of the state could move it: so a whole state may be replaced, part by part.
    """
    return any(
        isinstance(one, (Patch, Clamp, Ablate))
        and one.site.units is None
        and one.site.rows in (None, own.site.rows)
        and one.site.signal in (*cell.states, cell.output)
        and cell.reaches_output(one.site.signal)
        for one in beside
    )
