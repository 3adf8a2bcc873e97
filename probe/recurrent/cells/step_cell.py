"""`StepCell`: a `Step` as a cell, whose signals are the parts of its state and what it returns.

And what the module of a step returns in an edited run, read again as a caller reads it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ...errors import ProbeError
from ..memory import memory_of
from ..signals import OUTPUT, UNKNOWN, Signal, is_continuous
from ..steps import trails
from ..steps.step import State, Step, begin, leaves, rebuilt, same_form
from .cell import Cell, Formula, Moment, difference

#: How far what was put into a return may lie from what is read there, relative to max(1, |value|): a type's rounding.
_NEAR = {torch.float16: 1e-2, torch.bfloat16: 1e-2}
_USUAL = 1e-5


class StepCell(Cell):
    """A step as a cell.

    Attributes:
        adapter: the step.
        shapes: the shape of each part of the state, without the batch.
        returned_part: the part of the state that the step returns as its output, once a step was taken; or None.
        types: the type of its numbers.
    """

    output = OUTPUT

    def __init__(self, adapter: Step, example: State) -> None:
        self.adapter, self._example = adapter, example
        self._runs_nothing = adapter.of_one_call
        parts = leaves(example)
        names = {path: Signal(adapter.names.get(path, path)) for path in parts}
        if len(set(names.values())) != len(names):
            raise ProbeError(f"{self.name} gives one name to two parts of its state: {dict(adapter.names)}.")
        self.states = tuple(names.values())
        self.shapes = {names[path]: tuple(part.shape[1:]) for path, part in parts.items()}
        self.types = {names[path]: part.dtype for path, part in parts.items()}
        self._width: int | None = None
        self._called: dict[Signal, Tensor] | None = None
        self.returned_part: Signal | None = None

    @property
    def name(self) -> str:
        """The adapter's name, for messages."""
        return type(self.adapter).__name__

    @property
    def formulas(self) -> tuple[Formula, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A step computes the parts of the state, and then what it returns, from the input and the state before."""
        parts = [
            Formula(signal, (), lambda moment, signal=signal: moment.given[signal], mixes=True)
            for signal in self.states
        ]
        if self.returned_part is None:
            return (*parts, Formula(OUTPUT, (), lambda moment: moment.given[OUTPUT], mixes=True))
        return (*parts, Formula(OUTPUT, (self.returned_part,), lambda moment, state: state))

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The parts of the state, and the output."""
        return (*self.states, OUTPUT)

    def size(self, signal: Signal) -> int:
        """Return how many numbers a signal has; of the output it is known once a step was taken."""
        if signal == OUTPUT:
            return UNKNOWN if self._width is None else self._width
        return torch.Size(self.shapes[signal]).numel()

    def shape(self, signal: Signal) -> tuple[int, ...]:
        """Return the shape of a signal at one step of one row; the output's is its size."""
        return self.shapes[signal] if signal in self.shapes else (self.size(signal),)

    def given(self, inputs: Tensor, previous: Tensor) -> dict[Signal, Tensor]:
        """A step is one piece: nothing of it is computed for many steps at once."""
        raise NotImplementedError

    def moment_at(self, x: Tensor, previous: Mapping[Signal, Tensor]) -> Moment:
        """Return what one step starts from, given its input and the states before it."""

        def compute() -> dict[Signal, Tensor]:
            with self._at_rest(x):
                return self.stepped(x, previous)

        return Moment(compute, previous)

    def flat(self, state: State) -> dict[Signal, Tensor]:
        """Return a state by signal, (batch, number) each.

        Raises:
            ProbeError: its form, a shape or a type is another than that of the initial state.
        """
        if not same_form(state, self._example):
            found, wanted = pytree.tree_structure(state), pytree.tree_structure(self._example)
            raise ProbeError(
                f"{self.name} returned a state of another form than it began with: {found}, not {wanted}."
            )
        values = dict(zip(self.states, leaves(state).values(), strict=True))
        for signal, value in values.items():
            if tuple(value.shape[1:]) != self.shapes[signal] or value.dtype != self.types[signal]:
                raise ProbeError(
                    f"{self.name} returned {str(signal)!r} as {value.dtype} (batch, {_shape(value.shape[1:])}), and "
                    f"before the first step it was {self.types[signal]} (batch, {_shape(self.shapes[signal])})."
                )
        return {
            signal: value if value.dim() == 2 else trails.among(_in_rows, value) for signal, value in values.items()
        }

    def flat_final(self, state: State | None) -> dict[Signal, Tensor]:
        """Return the parts of the last state that a module returned, by signal; None stands for one that it did not.

        Raises:
            ProbeError: its form, a shape or a type is another than that of the initial state.
        """
        if state is None:
            return {}
        parts = [] if self._runs_nothing else pytree.tree_leaves(state)
        if all(part is not None for part in parts):
            return self.flat(state)
        told = [part is not None for part in parts]
        own = [
            like if part is None else part for part, like in zip(parts, leaves(self._example).values(), strict=True)
        ]
        values = self.flat(pytree.tree_unflatten(own, pytree.tree_structure(state)))
        return {signal: value for known, (signal, value) in zip(told, values.items(), strict=True) if known}

    def nest(self, values: Mapping[Signal, Tensor]) -> State:
        """Return the state that values by signal, (batch, number) each, stand for."""
        parts = [values[signal].reshape(len(values[signal]), *self.shapes[signal]) for signal in self.states]
        return rebuilt(self._example, parts)

    def stepped(self, x: Tensor, previous: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
        """Return every signal after one step, (batch, number) each.

        Raises:
            ProbeError: the step returns another thing than an output and a state, or another number of rows.
        """
        if self._called is not None:
            return self._called
        given = [] if self._runs_nothing else [one for one in (x, *previous.values()) if not one.is_inference()]
        before = [one._version for one in given]
        returned = self.adapter.step(x, self.nest(previous))
        if [one._version for one in given] != before:
            raise ProbeError(f"{self.name}.step changes in place what it is given, which others read; copy it first.")
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], Tensor)):
            raise ProbeError(f"{self.name}.step returned a {type(returned).__name__}; return (output, state).")
        y, state = returned
        after = self.flat(state)
        if y.dim() < 2 or any(len(value) != len(x) for value in (y, *after.values())):
            raise ProbeError(
                f"{self.name}.step returned an output of shape {tuple(y.shape)} and states of "
                f"{', '.join(str(len(value)) for value in after.values())} rows for {len(x)} rows of input; it must "
                "return an output (batch, unit), and every part of the state with the batch first."
            )
        if self._width is None:
            same = [signal for signal, part in zip(self.states, leaves(state).values(), strict=True) if part is y]
            self._width, self.returned_part = y[0].numel(), same[0] if same else None
        after |= {OUTPUT: y if y.dim() == 2 else y.flatten(1)}
        # A cell's own call holds these tensors; what is made of them here depends on who asks, with autograd or not.
        if self._runs_nothing and all(part.dim() == 2 for part in (y, *leaves(state).values())):
            self._called = after
        return after

    def _at_rest(self, x: Tensor) -> AbstractContextManager[None]:
        """Keep torch's random numbers as they are while steps are taken; a cell's own call takes none."""
        if self._runs_nothing:
            return nullcontext()
        return torch.random.fork_rng(devices=[x.device] if x.is_cuda else [])

    def try_step(self, x: Tensor, previous: Mapping[Signal, Tensor]) -> None:
        """Take a step that counts for nothing: it tells the width of the output, and whether that is in the state."""
        with torch.no_grad(), self._at_rest(x):
            _ = self.stepped(x, previous)

    def run(
        self, x: Tensor, initial: Mapping[Signal, Tensor], keep: tuple[Signal, ...]
    ) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor]]:
        """Run free from an initial state."""
        state, pieces = dict(initial), dict[Signal, list[Tensor]]()
        with self._at_rest(x):
            for now in x:
                after = self.stepped(now, state)
                state = {signal: after[signal] for signal in self.states}
                for signal in keep:
                    pieces.setdefault(signal, []).append(after[signal])
        return {signal: torch.stack(values) for signal, values in pieces.items()}, state

    def recompute(
        self, x: Tensor, h: Tensor, state: Mapping[Signal, Tensor]
    ) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor]]:
        """Return every signal of a stretch, and the states after it: nothing tells the module's own between steps."""
        return self.run(x, state, self.signals)

    def retyped(self, change: Callable[[torch.dtype], torch.dtype]) -> StepCell:
        """Return the cell for states of other types."""
        other = copy.copy(self)
        other.types = {signal: change(own) for signal, own in self.types.items()}
        return other

    def begun(self, x: Tensor, initial: Mapping[Signal, Tensor]) -> Any:
        """Return what a cell's own call returned, which its caller may change in place later."""
        return {signal: value.clone() for signal, value in self.stepped(x[0], initial).items()}

    def open_begun(
        self, begun: Sequence[Any], h: Tensor, initial: Mapping[Signal, Tensor]
    ) -> tuple[dict[Signal, Tensor], Tensor, dict[Signal, Tensor]]:
        """Return what `open` does of many calls of a cell of somebody's own."""
        after = {signal: torch.cat([one[signal] for one in begun]) for signal in begun[0]}
        state = {signal: after[signal] for signal in self.states}
        return (
            {signal: value.unsqueeze(0) for signal, value in after.items()},
            difference(after[OUTPUT][None], h),
            state,
        )

    def open(
        self,
        x: Tensor,
        h: Tensor,
        initial: Mapping[Signal, Tensor],
        keep: tuple[Signal, ...],
        *,
        compare: bool = True,
    ) -> tuple[dict[Signal, Tensor], Tensor, dict[Signal, Tensor]]:
        """Compute the state after every step, and compare what each step returns with what the module returned.

        Args:
            x: inputs, (time, batch, feature).
            h: what the module returned, (time, batch, unit).
            initial: the states before the first step.
            keep: which signals to return.
            compare: has no meaning here: what a step returns is compared in any case.
        """
        exact = h.real.dtype if is_continuous(h) else x.dtype
        state, errors = dict(initial), x.new_zeros(x.shape[:2], dtype=exact)
        kept: dict[Signal, list[Tensor]] = {signal: [] for signal in keep if signal != OUTPUT}
        with self._at_rest(x):
            for step, now in enumerate(x):
                after = self.stepped(now, state)
                if not self._runs_nothing:
                    self._check_output(after[OUTPUT], h[step])
                errors[step] = difference(after[OUTPUT].detach(), h[step].detach())
                state = {signal: after[signal] for signal in self.states}
                for signal, values in kept.items():
                    values.append(after[signal])
        signals = {signal: torch.stack(values) for signal, values in kept.items()}
        return signals | ({OUTPUT: h} if OUTPUT in keep else {}), errors, state

    def _check_output(self, own: Tensor, returned: Tensor) -> None:
        """Raise where what a step returns, (batch, unit), is not as what the module returned at that step."""
        if own.shape != returned.shape:
            raise ProbeError(
                f"{self.name}.step returned an output of shape {tuple(own.shape)}; the module returned "
                f"{tuple(returned.shape)} at each step."
            )
        if own.dtype != returned.dtype:
            raise ProbeError(
                f"{self.name}.step returned {own.dtype}, and the module {returned.dtype}. Return the module's type."
            )


def returned_by(adapter: Step, returned: Any, outputs: Tensor, states: Mapping[Signal, Tensor]) -> Any:
    """Return what a module would have returned with other outputs and another last state.

    Args:
        adapter: what runs it.
        returned: what it returned.
        outputs: (batch, time, unit).
        states: the last states by signal, (batch, number) each.

    Raises:
        ProbeError: the adapter reads something else there than was to be put in.
    """
    cell = StepCell(adapter, begin(adapter, 1))
    made = adapter.returned(returned, outputs, cell.nest(states))
    if not adapter.of_one_call:  # of a cell's own call there is nothing else to read
        with torch.no_grad():
            _check_outputs(adapter, returned, made, outputs)
            _check_states(cell, returned, made, outputs, states)
    return made


def _check_outputs(adapter: Step, returned: Any, made: Any, outputs: Tensor) -> None:
    read, rows = adapter.outputs(made), outputs.shape[:2]
    # Where the module returns no more than its last step, the adapter computes the others without edits.
    if returns_every_step(returned, rows) or not rows[1]:
        same = isinstance(read, Tensor) and _same(read, outputs)
    else:
        same = isinstance(read, Tensor) and read.shape == outputs.shape and _same(read[:, -1], outputs[:, -1])
    if not same:
        raise ProbeError(
            f"{type(adapter).__name__}.returned was given the outputs of an edited run, and its method outputs reads "
            "others in what it returned. Put them where the module has its own, in the same order and type."
        )


def _check_states(cell: StepCell, returned: Any, made: Any, outputs: Tensor, states: Mapping[Signal, Tensor]) -> None:
    adapter, known = cell.adapter, cell.adapter.final(returned)
    if known is not None:
        last = cell.flat_final(adapter.final(made))
        wrong = [one for one in cell.flat_final(known) if one not in last or not _same(last[one], states[one])]
        if wrong:
            raise ProbeError(
                f"{cell.name}.returned was given the last state of an edited run, and its method final reads another "
                f"{str(wrong[0])!r} in what it returned. Put every part where the module has its own, in the same "
                "order and type."
            )
        return
    own = {id(one) for one in pytree.tree_leaves(returned)}
    memory = {memory_of(outputs), memory_of(adapter.outputs(made))}
    new = [one for one in pytree.tree_leaves(made) if isinstance(one, Tensor) and id(one) not in own]
    if any(memory_of(one) not in memory for one in new):
        raise ProbeError(
            f"{cell.name}.returned makes more than outputs of an edited run, and nothing compares that with what the "
            "module returns. Write its method final too: the last state in what the module returned, with None for a "
            "part that is not there."
        )


def returns_every_step(returned: Any, rows: tuple[int, ...]) -> bool:
    """Return whether a return holds a tensor of all steps; rows are how many sequences, and of how many steps."""
    values = [one for one in pytree.tree_leaves(returned) if isinstance(one, Tensor)]
    return any(tuple(rows) in (tuple(one.shape[:2]), tuple(one.shape[1::-1])) for one in values)


def _same(one: Tensor, two: Tensor) -> bool:
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    if torch.equal(one, two):
        return True
    near = _NEAR.get(one.dtype, _USUAL)
    continuous = one.is_floating_point() or one.is_complex()
    return continuous and torch.allclose(one, two, rtol=near, atol=near, equal_nan=True)


def _in_rows(value: Tensor) -> Tensor:
    return value.flatten(1) if value.dim() > 1 else value[:, None]


def _shape(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
