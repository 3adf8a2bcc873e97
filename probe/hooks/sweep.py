"""`sweep`: runs many edits of one model in few passes, each edit a block of rows of one larger batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ..edits.kinds import Edit
from ..edits.resolve import Placed, at_step, by_place, changes_of, layers_for, place_in_run
from ..errors import ProbeError
from ..recurrent.batches import Batch, apart, batch_of, close, map_tensors
from ..recurrent.calls import Call, drops_out, read_call, write_output
from ..recurrent.cells import recycled
from ..recurrent.cells.cell import Cell
from ..recurrent.engine import Changes, Shared, run_again
from ..recurrent.layers import Layer
from ..recurrent.repeat import Blocks, Read, check_blocks, repeats, rows_of_block
from ..recurrent.runs import Run, check, reconstruct
from ..recurrent.signals import span
from .intervene import acts, counts, eager, missing_steps, refuse_from_end
from .sessions import Session, sessions
from .visits import Visit, refuse_own_forward

#: How many bytes of states and outputs one run may hold, unless the caller says otherwise. Measured: a run that stays
#: in the cache is faster than one that holds more edits.
MEMORY = 32_000_000
#: For how many edits it is asked what the model reads, which takes up to nine runs of one block.
_MANY = 16


def sweep(
    model: nn.Module,
    *inputs: Any,
    edits: Sequence[Edit],
    kwargs: Mapping[str, Any] | None = None,
    batch_axis: int | None = None,
    memory: int = MEMORY,
) -> Any:
    """Return the model's output under each of many edits, each alone, in as few runs as memory allows.

    Inside an edited layer, a run resumes from the state that the unedited run reached at the edit's first step; the
    layers of a stack above it run in full. Outside, the model sees its inputs repeated, edits x batch rows, so that
    residual paths and second inputs stay right, and runs in full. A module whose input an earlier edit changed, and a
    cell in a loop, run in full too. Works under no_grad.

    Args:
        model: any module that contains recurrent layers, whose rows do not depend on each other.
        *inputs: what the model is called with; tensors with a batch axis.
        edits: what to change, one after the other, each in a run of its own.
        kwargs: the model's own keyword arguments.
        batch_axis: the batch's axis of the first input, such as 1 where a model reads (time, batch, ...); None for
            axis 0, or for what a recurrent module says itself with `batch_first`.
        memory: about how many bytes one run may hold; more edits than fit are run in turns.

    Returns:
        What the model returns, each tensor with one axis more at the front: (edit, ...).

    Raises:
        ProbeError: an edit does not fit the model, the batch is another axis (found by what the edited layers read),
            a row of the output depends on other rows of the batch (found by comparing the first and the last edit
            with runs of their own), or a module draws random numbers.

    Reference:
        Interchange over all sites: Geiger et al. 2021, section 3; resuming from a cached state is exact, since the
        state is all that a recurrent layer hands on.
    """
    listed = _checked(edits, memory)
    placed = layers_for(model, listed)
    batch = batch_of(model, inputs, kwargs or {}, batch_axis)
    with torch.no_grad(), eager():
        clean = _clean_run(model, batch, placed)
        if len(listed) >= _MANY:
            clean.read = _read_of(model, batch, clean)
        _check_calls(listed, placed, clean)
        result: Any = None
        for turn in _turns(listed, placed, max(1, memory // max(1, clean.bytes))):
            piece = _turn(model, batch, clean, [(listed[number], placed[number]) for number in turn])
            if result is None:
                result = map_tensors(lambda one: recycled.empty((len(listed), *one.shape[1:]), one), piece)
            where = span(turn)
            map_tensors(lambda every, one, where=where: every.__setitem__(where, one), result, piece)
        for number in dict.fromkeys((0, len(listed) - 1)):
            alone = _turn(model, batch, clean, [(listed[number], placed[number])])
            together = map_tensors(lambda values, at=number: values[at : at + 1], result)
            map_tensors(lambda one, other, edit=listed[number]: _compare(edit, one, other), alone, together)
    return result


def _turns(edits: Sequence[Edit], layers: Sequence[Layer], most: int) -> list[list[int]]:
    """Return which edits run together: up to so many, and those that begin at one step of a layer if they can."""
    alike: dict[tuple[str, int], list[int]] = {}
    for number, (edit, layer) in enumerate(zip(edits, layers, strict=True)):
        alike.setdefault((layer.name, min(edit.site.steps or (0,))), []).append(number)
    turns: list[list[int]] = [[]]
    for numbers in alike.values():
        if len(turns[-1]) + len(numbers) > most and turns[-1]:
            turns.append([])
        for number in numbers:
            if len(turns[-1]) == most:
                turns.append([])
            turns[-1].append(number)
    return turns


def _checked(edits: Any, memory: int) -> list[Edit]:
    if isinstance(edits, Edit) or not isinstance(edits, Sequence):
        raise ProbeError(f"edits is a {type(edits).__name__} and must be several edits: edits=[probe.clamp(...)].")
    if not edits:
        raise ProbeError("edits=[] names no edit; give at least one.")
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
        raise ProbeError(f"memory={memory!r} must be a number of bytes, such as 1_000_000_000.")
    return list(edits)


@dataclass(eq=False)
class _CleanRun:
    """The run without edits.

    Attributes:
        output: what the model returned.
        runs: for each edited module, its calls in their order.
        batch: how many rows each of them had.
        bytes: about how much one more edit takes.
        doubled: gives what the model returns for all rows twice.
        read: which of the edited modules' results the model reads.
    """

    output: Any
    runs: dict[nn.Module, list[Run]]
    batch: int
    bytes: int
    doubled: Callable[[], Any]
    read: Read = field(default_factory=Read)

    def in_steps(self, module: nn.Module) -> bool:
        """Return whether a module was called for single steps."""
        return any(run.call.is_step for run in self.runs[module])


def _clean_run(model: nn.Module, batch: Batch, layers: Sequence[Layer]) -> _CleanRun:
    runs: dict[nn.Module, list[Run]] = {layer.module: [] for layer in layers}
    for layer in layers:
        if drops_out(layer.module):
            raise ProbeError(
                f"Layer {layer.name!r} drops out between its layers, other units for each edit. Call model.eval() "
                "first."
            )

    refuse_own_forward(layers)
    with _Reading(model, layers, runs):
        output = _repeated(model, batch, 1)
    taken = 0

    def add(tensor: Tensor) -> Tensor:
        nonlocal taken
        taken += tensor.numel() * tensor.element_size()
        return tensor

    for given in (batch.arguments, dict(batch.keywords), output):
        map_tensors(add, given)
    for trace in (trace for calls in runs.values() for run in calls for trace in run.traces):
        # The input, and the hidden states twice: the kernel's own, and put together.
        taken += (trace.x.numel() + 2 * trace.h.numel()) * trace.h.element_size()

    return _CleanRun(output, runs, batch.size, taken, cache(partial(_repeated, model, batch, 2)))


class _Reading(Session):
    """Keeps the calls of edited modules."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], runs: dict[nn.Module, list[Run]]) -> None:
        super().__init__(model, layers)
        self._runs = runs

    def read(self, visit: Visit, number: int, step: int | None) -> None:
        """Keep a call."""
        run, module = _copied(visit.clean), visit.layers[0].module
        for trace in (run.traces[layer.place] for layer in self.modules[module]):
            check(trace.layer, trace.opened, trace.h.dtype, None)
        self._runs[module].append(run)


def _copied(run: Run) -> Run:
    """Return a run of its own, since a model may overwrite in place what a layer read or returned."""

    def copied(states: Any) -> Any:
        return {signal: value.clone() for signal, value in states.items()}

    traces = tuple(
        replace(t, x=t.x.clone(), pieces=(t.h.clone(),), initial=copied(t.initial), final=copied(t.final))
        for t in run.traces
    )
    call = replace(run.call, x=run.call.x.clone(), initial=tuple(trace.initial for trace in traces))
    return replace(run, call=call, traces=traces)


def _check_calls(edits: Sequence[Edit], layers: Sequence[Layer], clean: _CleanRun) -> None:
    for edit, layer in zip(edits, layers, strict=True):
        calls = len(clean.runs[layer.module])
        if not calls or (not clean.in_steps(layer.module) and (edit.site.call or 0) >= calls):
            raise ProbeError(
                f"{edit!r} would change nothing: the model called layer {layer.name!r} {calls} times in its forward "
                "pass. Choose a layer and a call= that happen."
            )


def _read_of(model: nn.Module, batch: Batch, clean: _CleanRun) -> Read:
    """Return which of the edited modules' results a model reads; all of them where that cannot be told.

    It reads none of those for which it returns the same, to the bit, where they hold NaN, and where they hold large
    numbers of either sign: a comparison hides a NaN.
    """
    runs = [run for calls in clean.runs.values() for run in calls]
    if any(run.call.is_step or run.call.lengths is not None or run.call.adapter for run in runs):
        return Read()
    turned = any(layer.reads_back for run in runs for layer in run.layers)
    for read in (Read(steps=turned, finals=False), Read(steps=False), Read(finals=False)):
        if (read.steps and read.finals) or (turned and not read.steps) or _has_nan(clean.output):
            continue
        if all(_ignores(model, batch, clean, read, value) for value in (float("nan"), 1e4, -1e4)):
            return read
    return Read()


def _ignores(model: nn.Module, batch: Batch, clean: _CleanRun, read: Read, value: float) -> bool:
    """Return whether a model returns what it did where all that it does not read is one value."""

    def forward_of(module: nn.Module) -> Any:
        calls = iter(clean.runs[module])

        def forward(*arguments: Any, **keywords: Any) -> Any:
            run = next(calls)
            call = read_call(run.layers, arguments, keywords)
            if not repeats(run, call, 1):
                raise ProbeError("An edited module reads what another one returns.")
            out = Blocks(run, 1, read, value)
            return write_output(run.layers, out.hidden, out.finals, call)

        return forward

    session = Session(model, [calls[0].layers[0] for calls in clean.runs.values()])
    try:
        with session, session.replacing({module: forward_of(module) for module in clean.runs}):
            output = _repeated(model, batch, 1)
    except Exception:  # noqa: BLE001 (a model may check its numbers in any way)
        return False
    same: list[bool] = []
    map_tensors(lambda one, other: same.append(torch.equal(one, other)), clean.output, output)
    return all(same)


def _has_nan(output: Any) -> bool:
    """Return whether a NaN is in an output, or infinities of both signs, which are as rare."""
    found: list[bool] = []
    map_tensors(lambda one: found.append(one.is_floating_point() and bool(one.sum().isnan())), output)
    return any(found)


def _turn(model: nn.Module, batch: Batch, clean: _CleanRun, edits: Sequence[tuple[Edit, Layer]]) -> Any:
    """Run a model once with several edits, each on rows of its own."""
    with _edits_in_rows(model, edits, clean):
        output = _repeated(model, batch, len(edits))
    if clean.read != Read() and _has_nan(output):
        # With an edit the model reads what it did not read without.
        clean.read = Read()
        return _turn(model, batch, clean, edits)
    if len(edits) == 1:
        return map_tensors(lambda _, one: one.unsqueeze(0), clean.output, output)
    return apart(clean.output, output, len(edits), batch.size, clean.doubled)


def _repeated(model: nn.Module, batch: Batch, times: int) -> Any:
    """Return what a model returns for the batch, several times after itself."""
    arguments, keywords = batch.repeated(times)
    try:
        return model(*arguments, **keywords)
    except Exception as error:
        if times > 1:
            error.add_note(
                f"probe.sweep called the model on {times * batch.size} rows, its {batch.size} rows {times} times. "
                f"It repeats every input with {batch.size} entries on the batch's axis: if one of them is no batch, "
                "make it a part of the model, or sweep another number of rows."
            )
        raise


@contextmanager
def _edits_in_rows(model: nn.Module, edits: Sequence[tuple[Edit, Layer]], clean: _CleanRun) -> Iterator[None]:
    by_module: dict[nn.Module, list[tuple[int, Edit, Layer]]] = {}
    for number, (edit, layer) in enumerate(edits):
        by_module.setdefault(layer.module, []).append((number, edit, layer))
    forwards = {
        module: _resuming(module, own, clean, len(edits))
        for module, own in by_module.items()
        if not clean.in_steps(module)
    }
    for layer in (own[0][2] for module, own in by_module.items() if module in forwards):
        if any(layer.module in one.modules for one in sessions()):
            raise ProbeError(
                f"Layer {layer.name!r} is watched or edited by another context that is open here, which would take "
                "what a sweep puts in for the layer's own run. Close it first, or use probe.record(edits=[...])."
            )
    session = _Turn(model, by_module, clean, len(edits))
    with session, session.replacing(forwards):
        yield
        session.check()


class _Turn(Session):
    """Edits cells, each edit in its own rows, and notes when it did."""

    def __init__(self, model: nn.Module, edits: Mapping[nn.Module, Any], clean: _CleanRun, blocks: int) -> None:
        cells: dict[nn.Module, Any] = {module: own for module, own in edits.items() if clean.in_steps(module)}
        self._edits, self._blocks = cells, blocks
        super().__init__(model, [layer for own in cells.values() for _, _, layer in own])
        self._calls = {module: iter(clean.runs[module]) for module in cells}
        self._acted: set[tuple[int, int | None]] = set()

    def counts(self, module: nn.Module) -> bool:
        """Return whether an edit of a cell names steps or sequences, or brings values for them."""
        return any(counts(edit) for _, edit, _ in self._edits[module])

    def acting(self, visit: Visit, number: int, step: int | None) -> Sequence[tuple[Layer, Placed]]:
        """Return the edits that act in a call of a cell."""
        layer, call = visit.layers[0], visit.call
        edits, before = self._edits[layer.module], next(self._calls[layer.module], None)
        batch = rows_of_block(layer, call.x.shape[1], before, self._blocks)
        reached = {block for block, _ in self._acted}
        check_blocks(layer, before, call, [block for block, *_ in edits if block not in reached], self._blocks)
        for _, edit, _ in edits:
            refuse_from_end(edit, layer, number, step)
        active = [(block, edit, layer) for block, edit, layer in edits if acts(edit, number, step)]
        self._acted.update((block, step) for block, _, _ in active)
        if step is None:
            every = [(block, _placed(visit.clean, edit, layer, batch), layer) for block, edit, layer in active]
            return [(layer, one.at(block * batch)) for block, one, layer in every]
        return [
            (layer, at_step(edit, layer, step, visit.clean, blocks=self._blocks, block=block))
            for block, edit, layer in active
        ]

    def check(self) -> None:
        """Raise where an edit of a cell waited for a step that did not come."""
        for own in self._edits.values():
            _check_steps(own, self._acted)


def _check_steps(edits: Sequence[tuple[int, Edit, Layer]], acted: set[tuple[int, int | None]]) -> None:
    """Raise where an edit of a cell waited for a step that did not come."""
    for place, edit, layer in edits:
        steps = {step for one, step in acted if one == place}
        missing = missing_steps(edit, steps)
        if missing or not steps:
            raise ProbeError(
                f"{edit!r} waits for {f'steps {missing}' if missing else 'a call'} of cell {layer.name!r}, which "
                "never came. Choose a call= and steps= that happen, counted from the first one, 0."
            )


def _resuming(module: nn.Module, edits: Sequence[tuple[int, Edit, Layer]], clean: _CleanRun, blocks: int) -> Any:
    """Return a forward that computes what the edits change, from where they begin to change it."""
    layers = clean.runs[module][0].layers
    calls = iter(clean.runs[module])
    number = -1
    reached: set[int] = set()

    def forward(*arguments: Any, **keywords: Any) -> Any:
        nonlocal number
        number += 1
        call = read_call(layers, arguments, keywords)
        active = [(block, edit, layer) for block, edit, layer in edits if acts(edit, number, None)]
        run = next(calls, None)
        batch = rows_of_block(layers[0], call.x.shape[1], run, blocks)
        # What an adapter keeps of its call holds for all the rows of that call.
        if run is not None and call.adapter is None and repeats(run, call, blocks):
            reached.update(block for block, *_ in active)
            return _resumed(run, call, active, blocks, clean.read)
        check_blocks(layers[0], run, call, [block for block, *_ in edits if block not in reached], blocks)
        reached.update(block for block, *_ in active)
        run = reconstruct(layers, arguments, keywords, type(module).forward(module, *arguments, **keywords))
        placed = [(block, _placed(run, edit, layer, batch), layer) for block, edit, layer in active]
        return run_again(run, _changes(placed, batch)).output

    return forward


def _placed(run: Run, edit: Edit, layer: Layer, batch: int) -> Placed:
    return place_in_run(edit, layer, run, batch=batch)


def _changes(placed: Sequence[tuple[int, Placed, Layer]], batch: int) -> dict[int, Changes]:
    """Return what edits do to a run in which the edit of block n has rows n x batch to (n + 1) x batch.

    Args:
        placed: for each edit its block, where it acts in one block, and its layer.
        batch: how many rows a block has.
    """
    return by_place([(layer, one.at(block * batch)) for block, one, layer in placed])


def _resumed(run: Run, call: Call, edits: Sequence[tuple[int, Edit, Layer]], blocks: int, read: Read) -> Any:
    """Return a module's output for blocks of rows that all begin as the clean run does.

    Edits that begin at the same step of the same layer share one run, which starts there.
    """
    batch = run.call.x.shape[1]
    groups: dict[tuple[Layer, int], list[tuple[int, Placed]]] = {}
    for block, edit, layer in edits:
        placed = _placed(run, edit, layer, batch)
        if placed.places:
            groups.setdefault((layer, min(placed.places)), []).append((block, placed))
    out = Blocks(run, blocks, read)
    for (layer, first), members in groups.items():
        placed = [one for _, one in members]
        changes = _changes([(number, one, layer) for number, one in enumerate(placed)], batch)[layer.place]
        out.rerun(
            layer,
            [block for block, _ in members],
            changes,
            _shared(run.traces[layer.place].cell, placed, first, batch),
        )
    return write_output(run.layers, out.hidden, out.finals, call)


def _shared(cell: Cell, placed: Sequence[Placed], first: int, batch: int) -> Shared | None:
    """Return how edits share their first step: those of other units lie on one sheet; None where units are mixed."""
    if any(formula.mixes for formula in cell.formulas):
        return None
    full: dict[int, int] = {}
    there, pairs = list[Placed](), list[tuple[int, int, int]]()
    for block, one in enumerate(placed):
        units = range(one.units.start, one.units.stop) if isinstance(one.units, slice) else one.units.tolist()
        sheet = max(full.get(unit, 0) for unit in units)
        full |= dict.fromkeys(units, sheet + 1)
        there.append(one.at(sheet * batch))
        pairs += [(block, sheet, unit) for unit in units]
    return Shared(changes_of(there, [first]), max(full.values()), *torch.tensor(pairs).T)


def _compare(edit: Edit, alone: Tensor, together: Tensor) -> None:
    """Raise where an edit gives another output in a run of its own: then the rows of a batch are not independent."""
    if not close(alone, together):
        wide = torch.complex128 if alone.is_complex() else torch.float64
        difference = (alone.to(wide) - together.to(wide)).abs().nan_to_num(0.0).max()
        raise ProbeError(
            f"{edit!r} gives another output in a run of its own than beside other edits (largest difference "
            f"{float(difference):.3g}): the model mixes the rows of a batch, as batch "
            "normalisation in training mode does, or draws random numbers. Call model.eval(), or use "
            "probe.record(edits=[...]) for each edit."
        )
