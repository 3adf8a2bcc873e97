"""Which sequence a call of a module belongs to, and at which of its steps it begins.

Calls of a cell in a loop, or of a layer, are joined by the states that they hand on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..recurrent.calls import Call, finals_of
from ..recurrent.layers import Layer
from ..recurrent.signals import States
from ..recurrent.steps import forms, trails
from ..recurrent.steps.forms import tensors
from ..recurrent.steps.loops import LoopStep
from ..recurrent.steps.methods import is_inside

if TYPE_CHECKING:
    from .sessions import Visit

#: The states of all layers of a module, by layer and signal.
_Every = dict[tuple[int, str], Tensor]
#: How often each of them had been changed in place, where torch keeps that.
_Versions = dict[tuple[int, str], int | None]
#: Of which states each of them was made.
_Marks = Mapping[tuple[int, str], Mapping[int, trails.Mark]]


#: How many sequences are remembered from one pass of the model to the next.
_REMEMBERED = 16


def goes_on(layer: Layer, call: Call) -> bool:
    """Return whether calls may go on where such a call ended: a module that reads forward, rows of one length."""
    alike = call.lengths is None or bool((call.lengths == call.lengths[:1]).all())
    return call.is_step or (alike and layer.directions == 1 and not layer.turned)


class Numbering:
    """Where the calls of modules stand.

    Attributes:
        has_cells: whether a module is a cell.

    Args:
        cells: the modules that are cells.
        by_pass: whether each pass of the model is counted anew; otherwise passes are counted on.
        strict: whether a call of a module must be told for sure.
        follow: begins to follow what is made of states.
    """

    def __init__(
        self,
        cells: Iterable[nn.Module],
        by_pass: bool,
        strict: WeakMethod[Callable[[nn.Module], bool]],
        follow: WeakMethod[Callable[[], None]],
    ) -> None:
        self._cells, self._by_pass = tuple(cells), by_pass
        self.has_cells = bool(self._cells)
        self._told, self._following, self._follows = strict, follow, False
        self._before: dict[nn.Module, Any] = {}
        #: The modules that the pass under way has called; None outside of one.
        self._seen: set[nn.Module] | None = None
        self._anew()

    def _strict(self, module: nn.Module) -> bool:
        told = self._told()
        return told is not None and told(module)

    def _follow(self) -> None:
        follow = self._following()
        if follow is not None:
            follow()
            self._follows = True

    def _anew(self) -> None:
        self._counts: dict[nn.Module, int] = {}
        self._sequences = {one: self._begun(one) for one in self._cells}

    def begin_pass(self) -> None:
        """Note that a pass of the model begins."""
        self._seen = set()
        if self._by_pass:
            self._anew()
        else:
            self._counts_before = dict(self._counts)
            self._before = {module: one.begin_pass() for module, one in self._sequences.items()}

    def end_pass(self) -> None:
        """Note that it has returned; raise where what it was called with does not tell whether it went on."""
        self._seen = None
        if self._by_pass:
            self._anew()
        else:
            for one in self._sequences.values():
                one.end_pass()

    def fail_pass(self) -> None:
        """Note that it has raised, so that its calls count for nothing."""
        self._seen = None
        if self._by_pass:
            self._anew()
            return
        self._counts = self._counts_before
        self._sequences = {module: one for module, one in self._sequences.items() if module in self._before}
        for module, one in self._sequences.items():
            one.restore(self._before[module])

    def locate(self, visit: Visit) -> tuple[int, int | None]:
        """Return the sequence of a call and the step at which it begins; None where it stands alone.

        Of several calls in one pass, those of several steps are calls of their own, whatever their state.
        """
        module = visit.layers[0].module
        joins = visit.call.is_step or len(visit.call.x) == 1 or self._seen is None or module not in self._seen
        if self._seen is not None:
            self._seen.add(module)
        if not goes_on(visit.layers[0], visit.call):
            return self._next(module), None
        if module not in self._sequences:
            self._sequences[module] = self._begun(module)
        if not self._follows and (visit.call.is_step or self._strict(module)):
            self._follow()
        return self._sequences[module].locate(visit.layers, visit.call, visit.output, joins=joins)

    def hand_on(self, visit: Visit) -> None:
        """Note what a module's caller gets, where that was changed: it is what is handed on."""
        if visit.replaced and goes_on(visit.layers[0], visit.call):
            self._sequences[visit.layers[0].module].replace(visit.layers, visit.call, visit.output)

    def _begun(self, module: nn.Module) -> Sequences:
        def is_inner() -> bool:  # a part of another cell, which may make something of its state
            others = (one for one, found in self._sequences.items() if found.begun and one is not module)
            return any(is_inside(module, one) for one in others)

        return Sequences(partial(self._next, module), strict=self._strict(module), inner=is_inner)

    def _next(self, module: nn.Module) -> int:
        """Return the number of a call, or sequence, that begins."""
        self._counts[module] = self._counts.get(module, -1) + 1
        return self._counts[module]


@dataclass
class _Sequence:
    """What is known of a sequence.

    Attributes:
        first: the states that its first call was given; none where it was given none.
        first_versions: how often each had been changed in place.
        last: the states that its last call returned.
        versions: how often each had been changed in place.
        items: what the last call of a cell of somebody's own returned beside each other.
        step: its last step.
    """

    first: _Every
    first_versions: _Versions
    last: _Every = field(default_factory=dict)
    versions: _Versions = field(default_factory=dict)
    items: list[list[Tensor]] = field(default_factory=list)
    step: int = -1


class Sequences:
    """Where the calls of one module stand within a forward pass, or within a context.

    A call continues the sequence whose last output is its incoming state: the same numbers in the same memory (a
    view or a detached one, too), or made of it alone by a mask, a norm or a copy, or else equal numbers that are not
    all zero. An absent state starts a new sequence, and so does a zero state, but for one that an earlier call may
    have returned. Where nothing of this holds, a call starts a sequence of its own; of a call of one step after
    another one a warning says so.

    Args:
        number: gives the number of a sequence that begins.
        strict: whether such a call of one step is an error, since steps or sequences are named by their numbers.
        inner: whether the cell is a part of another one, which may make something of its state.
    """

    def __init__(
        self, number: Callable[[], int], *, strict: bool = False, inner: Callable[[], bool] = lambda: False
    ) -> None:
        self._number, self._strict, self._inner = number, strict, inner
        self._owner = object()  # what it marks outlives it, and its own id may be given again
        self._known: dict[int, _Sequence] = {}
        self._current = -1
        self._warned = self._changed = self._mixed = self._in_steps = self._fresh = False
        self._unsure: tuple[int, Layer] | None = None

    @property
    def begun(self) -> bool:
        """Whether there was a call."""
        return bool(self._known)

    def begin_pass(self) -> dict[int, _Sequence]:
        """Note that a pass of the model begins, whose first state may come from anywhere; return what is known."""
        self._fresh, self._unsure = True, None
        for number in list(self._known)[:-_REMEMBERED]:
            del self._known[number]
        return {number: copy(one) for number, one in self._known.items()}

    def end_pass(self) -> None:
        """Raise where a pass of the model was one step of an unknown state: the caller's loop may have changed it."""
        unsure, self._fresh, self._unsure = self._unsure, False, None
        if unsure is not None and self._known[unsure[0]].step == 0:
            self._warn(unsure[1])

    def restore(self, known: dict[int, _Sequence]) -> None:
        """Forget a pass that failed."""
        self._known, self._fresh, self._unsure = known, False, None

    def locate(self, layers: Sequence[Layer], call: Call, output: Any, *, joins: bool = True) -> tuple[int, int]:
        """Return the sequence and the first step of a call of a module with some layers.

        Args:
            layers: the module's layers.
            call: the call.
            output: what it returned.
            joins: whether it may go on with an earlier call, where its state says so.

        Raises:
            ProbeError: the incoming state is zero, and so is what an earlier call returned; or, where that is strict,
                nothing tells which sequence the call continues.
        """
        number = self._continued(layers[0], call) if joins and call.has_state else None
        if number is None:
            number = self._number()
            first = {name: value.detach() for name, value in _every(call.initial).items()} if call.has_state else {}
            self._known[number] = _Sequence(first, _versions(first))
            if self._unsure is not None and self._unsure[0] < 0:
                self._unsure = number, layers[0]
        self._fresh = False
        self._in_steps = self._in_steps or call.is_step
        sequence = self._known[number]
        begins, self._current = sequence.step + 1, number
        sequence.step += call.x.shape[0]
        self.replace(layers, call, output)
        return number, begins

    def replace(self, layers: Sequence[Layer], call: Call, output: Any) -> None:
        """Note what the caller of the latest call gets."""
        sequence, last = self._known[self._current], _every(finals_of(layers, output, call))
        if call.adapter is None:
            states = output if layers[0].is_cell else output[1]
        else:
            states = call.adapter.handed_on(output) if isinstance(call.adapter, LoopStep) else list(last.values())
        trails.mark(tensors(states), self._owner, self._current, sequence.step)
        sequence.items = _items(output) if isinstance(call.adapter, LoopStep) else []
        # Without its graph, which an open context must not keep.
        sequence.last = {signal: value.detach() for signal, value in last.items()}
        sequence.versions = _versions(last)

    def _continued(self, layer: Layer, call: Call) -> int | None:
        state = _every(call.initial)
        for number in reversed(self._known):
            # What a call returned is kept here, so that no other tensor can have its memory.
            if all(self._is_handed_on(number, signal, value) for signal, value in state.items()):
                self._warn_of_changes(layer, number, state)
                return number
        latest_first = list(reversed(self._known))
        self._check_items(layer, call, state, latest_first)
        marks = {signal: trails.marks_of(value, self._owner) for signal, value in state.items()}
        made_of = {number for found in marks.values() for number in found}
        if len(made_of) == 1:
            (number,) = made_of
            # A part may begin again at zero; one of other numbers comes from elsewhere, and is no state. Of a whole
            # number, such as a count of steps, nothing is followed: it is handed on as it was returned.
            rest = {signal: state[signal] for signal, found in marks.items() if not found}
            if all(not value.any() or self._is_handed_on(number, signal, value) for signal, value in rest.items()):
                return self._made_of(layer, number, state, marks)
        if any(self._started(number, state, call) for number in latest_first):
            return None
        equal = [
            number
            for number in latest_first
            if all(_equal(value, self._known[number].last.get(signal)) for signal, value in state.items())
        ]
        zero = not any(bool(value.any()) for value in state.values())
        # Batches begin with zeros, whatever the one before ended with; a loop's step hardly does.
        loose = self._fresh or len(call.x) > 1
        if loose and zero:
            return None
        if equal and (zero or (len(equal) > 1 and (self._strict or not loose))):
            what = "zeros, and so is what an earlier call returned" if zero else "one that several calls returned"
            raise ProbeError(
                f"The state that cell {layer.name!r} was called with is {what}: whether the call goes on, or where, "
                "cannot be told. Start a sequence with no state, and hand on the very tensor that the cell returned."
            )
        if not equal and not zero and len(call.x) == 1:
            if self._fresh and self._strict and self._known:
                self._unsure = -1, layer  # how many steps the pass takes from there will tell
            elif not self._fresh:
                self._warn(layer)
        return equal[0] if equal else None

    def _made_of(self, layer: Layer, number: int, state: _Every, marks: _Marks) -> int | None:
        """Return the sequence whose states a call's was made of, where the call goes on with it."""
        sequence = self._known.get(number)
        if sequence is None:
            self._warn(layer, f"with a state of a sequence before the last {_REMEMBERED}")
        elif any(mark.step < sequence.step for found in marks.values() for mark in found.values()):
            self._warn(layer, "with a state that another call had gone on from already")
        else:
            self._warn_of_others(layer, number, state, marks)
            return number
        return None

    def _check_items(self, layer: Layer, call: Call, state: _Every, numbers: Iterable[int]) -> None:
        """Raise where a cell is called with what it returned in another place than its state's."""
        for number in numbers:
            places = [_place(value, self._known[number].items) for value in state.values()]
            found = [place for place in places if place is not None]
            if not found or len(found) < len(places) or not isinstance(call.adapter, LoopStep):
                continue
            if len(set(found)) == 1 and len(found) > 1:
                raise ProbeError(
                    f"Cell {layer.name!r} reads the parts of its state in another order than it returns them, so "
                    "that nothing tells which is which. Let it return them in the order in which it reads them."
                )
            raise ProbeError(
                f"Cell {layer.name!r} was called with item {' and '.join(map(str, found))} of what it had returned, "
                f"and its state was taken to stand elsewhere. Say where it stands: "
                f"{forms.advice(layer.module, forms.Form(call.adapter.form.given, tuple(found)))}."
            )

    def _warn_of_others(self, layer: Layer, number: int, state: _Every, marks: _Marks) -> None:
        """Warn once where what a step reads was made of a state and of other tensors than a mask."""
        if self._mixed or not any(mark.mixed for found in marks.values() for mark in found.values()) or self._inner():
            return
        first = self._known[number].first
        for signal, value in state.items():
            last = self._known[number].last[signal]
            if value.shape == last.shape:
                start = first.get(signal, last)
                kept = (value == last) | (value == 0) | (value == (start if start.shape == value.shape else last))
                self._mixed = self._mixed or not bool((kept | (value.isnan() & last.isnan())).all())
        if self._mixed:
            warnings.warn(
                f"What cell {layer.name!r} returned is not what its next step read: the model makes that of it and "
                "of other tensors, as an Euler step, a gate or noise between two steps does. The recording holds "
                "what the cell returned, and an edit changes that. To record and edit what the step reads, make this "
                "a part of the cell, or write a probe.Step of the loop.",
                stacklevel=2,
            )

    def _started(self, number: int, state: _Every, call: Call) -> bool:
        """Return whether a sequence started with a state that is as it was then: a learned one, for instance."""
        first, versions = self._known[number].first, self._known[number].first_versions
        if call.adapter is not None and not isinstance(call.adapter, LoopStep):  # which makes it anew for each call
            return bool(first) and all(_equal(value, first[signal]) for signal, value in state.items())
        return bool(first) and all(
            _same_memory(value, first[signal])
            and versions[signal] is not None
            and versions[signal] == _version(value)
            for signal, value in state.items()
        )

    def _is_handed_on(self, number: int, signal: tuple[int, str], value: Tensor) -> bool:
        """Return whether a state is what an earlier call returned, unless it was set to zero in place since."""
        last, known = self._known[number].last.get(signal), self._known[number].versions.get(signal)
        unchanged = known is not None and known == _version(value)
        return last is not None and _same_memory(value, last) and (unchanged or bool(value.any()))

    def _warn_of_changes(self, layer: Layer, number: int, state: _Every) -> None:
        """Warn once where what a call returned was changed in place before the next call read it."""
        versions = self._known[number].versions
        if not self._changed and any(
            versions[signal] is not None and versions[signal] != _version(value) for signal, value in state.items()
        ):
            self._changed = True
            warnings.warn(
                f"The state that cell {layer.name!r} returned was changed in place before the next step read it. A "
                "recording holds what the cell returned, not what the next step read.",
                stacklevel=2,
            )

    def _warn(self, layer: Layer, how: str = "") -> None:
        if not self._known or ((self._warned or not self._in_steps) and not self._strict):
            return
        what = how or "with a state that no earlier call returned and that is not zero"
        found = f"Cell {layer.name!r} was called {what}, so the call starts a sequence of its own. Hand on the "
        found += (
            "latest state to get one"
            if how
            else "state that the cell returned to get one (probe.register says where in its arguments a state stands)"
        )
        if self._strict:
            raise ProbeError(f"{found}, or name neither steps= nor call= in an edit.")
        self._warned = True
        warnings.warn(f"{found}.", stacklevel=2)


def _items(output: Any) -> list[list[Tensor]]:
    """Return the tensors in each item of what a cell returned."""
    items = output if isinstance(output, (tuple, list)) else [output]
    return [[one.detach() for one in tensors(item)] for item in items]


def _place(value: Tensor, items: Sequence[Sequence[Tensor]]) -> int | None:
    """Return which item a state is, or None."""
    return next((place for place, item in enumerate(items) if any(_same_memory(value, one) for one in item)), None)


def _same_memory(one: Tensor, two: Tensor) -> bool:
    """Return whether a state is another one, or its first rows: those of the sequences that go on."""
    fits = one.data_ptr() == two.data_ptr() and one.stride() == two.stride()
    return fits and one.shape[1:] == two.shape[1:] and one.shape[0] <= two.shape[0]


def _every(states: Sequence[States]) -> _Every:
    """Return the states of all layers by one name each."""
    return {(place, signal): value for place, own in enumerate(states) for signal, value in own.items()}


def _versions(states: _Every) -> _Versions:
    return {signal: _version(value) for signal, value in states.items()}


def _version(value: Tensor) -> int | None:
    """Return what changes when a tensor is changed in place, where torch keeps that."""
    return None if value.is_inference() else value._version


def _equal(one: Tensor, two: Tensor | None) -> bool:
    return two is not None and one.shape == two.shape and bool(torch.equal(one, two))
