"""Tries the formulas of a user's own cell before it is used, and refuses one that reads more than it declares.

An edit is carried on by the formulas alone: from the changed signal to the signals that name it as a source, unit by
unit or, where a formula `mixes`, in whole rows. A formula that reads more than it says gives a wrong effect without
any error, since the unedited run is right. So each formula is tried here, on states that the cell itself reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ..signals import Signal
from .cell import HIDDEN, Cell, Formula, Moment

_STEPS, _ROWS = 3, 8
#: How far a stretch may lie from the same steps one by one, relative to max(1, |value|): rounding, no more.
_ROUNDING = {torch.float64: 1e-9, torch.float16: 5e-2, torch.bfloat16: 5e-2}
#: What somebody's formula may raise.
_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
#: What to type.
_HELP = "help(probe.recurrent.cells.cell.Formula) says what a formula may read."
Values = Mapping[Signal, Tensor]


class _Watched(dict[Signal, Tensor]):
    """Values by signal that note which of them were read."""

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        self.read: set[Signal] = set()

    def __getitem__(self, signal: Signal) -> Tensor:
        self.read.add(signal)
        return super().__getitem__(signal)


@dataclass(frozen=True, eq=False)
class _Step:
    """One step as the formulas compute it: what it starts from, and every signal, (row, unit) each."""

    moment: Moment
    after: dict[Signal, Tensor]


def check_cell(cell: Cell, name: str, inputs: int, initial: Values) -> None:
    """Raise ProbeError where a cell's formulas do not say all that they read.

    Args:
        cell: the cell.
        name: of its layer, for the message.
        inputs: how many features it reads at a step.
        initial: the states before the first step, (unit,) each; a missing one is zero.
    """
    what = f"The cell {type(cell).__name__} of layer {name!r}"
    weight = cell.weights.W
    try:
        _check_form(cell, what)
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            torch.autocast(weight.device.type, enabled=False),
        ):
            _check_numbers(cell, what, weight, inputs, initial)
    except _ERRORS as error:
        reason = str(error).partition("\n")[0][:200]
        raise ProbeError(
            f"{what} cannot compute a step: {type(error).__name__}: {reason}. Formulas must take (batch, unit) and "
            f"(time, batch, unit) alike. {_HELP}"
        ) from error


def _check_form(cell: Cell, what: str) -> None:
    """Check what the formulas say of themselves."""
    computed: list[Signal] = []
    for formula in cell.formulas:
        signal = formula.signal
        unknown = [source for source in formula.sources if source not in computed]
        if unknown:
            raise ProbeError(
                f"{what} computes {str(signal)!r} from {str(unknown[0])!r}, which no earlier formula gives. Put the "
                "formulas into the order of computation; a state before the step is moment.previous."
            )
        if signal in computed:
            raise ProbeError(f"{what} has two formulas of {str(signal)!r}. Give each signal one.")
        narrow = [source for source in formula.sources if cell.size(source) != cell.size(signal)]
        if narrow and not formula.mixes:
            raise ProbeError(
                f"{what} computes {str(signal)!r}, of {cell.size(signal)} units, from {str(narrow[0])!r}, which has "
                f"{cell.size(narrow[0])}. Correct size(), or give its Formula mixes=True."
            )
        computed.append(signal)
    missing = [signal for signal in cell.states if signal not in computed]
    if missing or cell.states[:1] != (HIDDEN,) or len(set(cell.states)) < len(cell.states):
        raise ProbeError(
            f"{what} hands on {', '.join(map(str, cell.states)) or 'nothing'} and has formulas of "
            f"{', '.join(map(str, computed)) or 'nothing'}. States must be {str(HIDDEN)!r} first, then others that "
            "have formulas."
        )
    read = {*cell.states, *(source for formula in cell.formulas for source in formula.sources)}
    unread = [signal for signal in computed if signal not in read]
    if unread:
        raise ProbeError(
            f"{what} computes {str(unread[0])!r}, which is no state and which no formula names among its sources: an "
            f"edit of it would change nothing. Name it where it is read. {_HELP}"
        )


def _check_numbers(cell: Cell, what: str, like: Tensor, inputs: int, initial: Values) -> None:
    """Check what the formulas compute, on inputs that are drawn."""
    rows = _ROWS * _bits(max(cell.size(signal) for signal in cell.signals))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_STEPS, rows, inputs, generator=generator, dtype=torch.float64).to(like)
    zeros = {signal: like.new_zeros(rows, cell.size(signal)) for signal in cell.states}
    start = zeros | {signal: value.detach().expand(rows, -1) for signal, value in initial.items()}
    steps = _run(cell, what, x, start)
    allowed = _ROUNDING.get(like.dtype, 1e-4)
    for step, again in zip(steps, _run(cell, what, x, start), strict=True):
        _check_same(
            step.after, again.after, allowed, f"{what} gives another {{}} when the same step is computed again"
        )
    for step in steps[:-1]:
        for formula in reversed(cell.formulas):
            again = {formula.signal: _computed(formula, step)}
            _check_same(
                step.after, again, allowed, f"{what} reads more for {{}} than its Formula's sources and moment say"
            )
    half = rows // 2
    fewer = _run(cell, what, x[:, :half], {signal: value[:half] for signal, value in start.items()})
    for step, alone in zip(steps, fewer, strict=True):
        first = {signal: value[:half] for signal, value in step.after.items()}
        _check_same(first, alone.after, allowed, f"{what} gives another {{}} when other rows stand beside a row")
    stretch = {signal: torch.stack([step.after[signal] for step in steps]) for signal in cell.signals}
    _check_same(stretch, cell.run(x, start, cell.signals)[0], allowed, f"{what} gives another {{}} in its run()")
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            opened = cell.open(x, stretch[HIDDEN], start, cell.signals)[0]
        _check_same(stretch, opened, allowed, f"{what} gives another {{}} for a stretch of steps than step by step")
    for formula in cell.formulas:
        if not formula.mixes:
            _check_units(formula, steps[-1], what)


def _run(cell: Cell, what: str, x: Tensor, state: Values) -> list[_Step]:
    """Compute steps formula by formula; raise where one gives no signal of its size, or reads what it may not."""
    steps: list[_Step] = []
    products = cell.inputs(x)
    for t in range(len(x)):
        given = _Watched(cell.given(products[t], state[HIDDEN]))
        step = _Step(Moment(lambda given=given: given, dict(state)), {})
        for formula in cell.formulas:
            given.read.clear()
            step.after[formula.signal] = _computed(formula, step)
            _check_value(cell, what, formula, step.after[formula.signal], x[t])
            others = (given.read & set(cell.signals)) - {formula.signal}
            if others:
                raise ProbeError(
                    f"{what} reads what is given for {str(min(others))!r} in the formula of {str(formula.signal)!r}, "
                    "past the signal of that name: an edit of that signal would not reach it. Make the signal its "
                    f"source. {_HELP}"
                )
        state = {signal: step.after[signal] for signal in cell.states}
        steps.append(step)
    return steps


def _computed(formula: Formula, step: _Step) -> Any:
    """Return what a formula makes of a step; raise where it changes what it was given."""
    sources = [step.after[source] for source in formula.sources]
    read = [*sources, *step.moment.previous.values(), *step.moment.given.values()]
    before = [tensor._version for tensor in read]
    value = formula.compute(step.moment, *sources)
    if [tensor._version for tensor in read] != before:
        raise ProbeError(
            f"The formula of {str(formula.signal)!r} changes in place what it was given, which others read. Let it "
            "return a new tensor."
        )
    return value


def _check_value(cell: Cell, what: str, formula: Formula, value: Any, x: Tensor) -> None:
    wanted = (len(x), cell.size(formula.signal))
    if not isinstance(value, Tensor) or tuple(value.shape) != wanted or value.dtype != x.dtype:
        found = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise ProbeError(
            f"{what} gives {str(formula.signal)!r} as {found} where size() says {wanted} and its weights are "
            f"{x.dtype}. Return (batch, unit) of that size and type."
        )


def _check_same(expected: Values, found: Values, allowed: float, sentence: str) -> None:
    for signal, value in found.items():
        scale = expected[signal].abs().clamp(min=1)
        apart = ((value.detach() - expected[signal]) / scale).abs().nan_to_num(nan=float("inf"))
        alike = (value == expected[signal]) | (value.isnan() & expected[signal].isnan())
        worst = float(apart.masked_fill(alike, 0).max())
        if worst > allowed:
            raise ProbeError(
                f"{sentence.format(repr(str(signal)))} (by {worst:.2g}). A value must follow from the sources, the "
                f"previous states and the input of its own row and step alone. {_HELP}"
            )


def _check_units(formula: Formula, step: _Step, what: str) -> None:
    """Raise where units of a result move when other units of a source do."""
    rows, units = step.after[formula.signal].shape
    numbers, bits = torch.arange(units), torch.arange(_bits(units)).unsqueeze(1)
    patterns = (numbers >> bits & 1).bool()
    patterns = torch.cat([patterns, ~patterns])
    changed = patterns[torch.arange(rows) % len(patterns)].to(step.after[formula.signal].device)
    for source in formula.sources:
        own = step.after[source]
        plain = formula.compute(step.moment, *_with(step.after, formula.sources, source, own.contiguous().clone()))
        for rolled in range(1, _ROWS):
            mixed = torch.where(changed, own.roll(rolled, 0), own)
            moved = formula.compute(step.moment, *_with(step.after, formula.sources, source, mixed)) != plain
            if bool((moved & ~changed & ~plain.isnan()).any()):
                raise ProbeError(
                    f"{what} moves units of {str(formula.signal)!r} when other units of {str(source)!r} change, and "
                    "an edit would not carry that on. Give its Formula mixes=True."
                )


def _with(after: Values, sources: Sequence[Signal], source: Signal, value: Tensor) -> list[Tensor]:
    return [value if one == source else after[one] for one in sources]


def _bits(units: int) -> int:
    return max(1, (units - 1).bit_length())
