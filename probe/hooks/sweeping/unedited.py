"""The run without edits that a sweep starts from, and what of it the model reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ...edits.kinds import Edit
from ...errors import ProbeError
from ...recurrent.again.blocks import Blocks, Read, repeats
from ...recurrent.calls import drops_out, read_call, write_output
from ...recurrent.finding import check_forward
from ...recurrent.kept import Change, Kept, put_back, reads_what_it_left
from ...recurrent.layers import Layer, no_recurrence_in, not_shown, perhaps, refuse_own_forward
from ...recurrent.rounding import check
from ...recurrent.rows.batches import Batch, close, map_tensors, on_other_rows, without_totals
from ...recurrent.rows.independence import check_independence, named
from ...recurrent.runs import Run
from ...recurrent.signals import is_continuous
from ..episodes import generators
from ..intervene import counts
from ..sessions import Session, Visit
from ..unread import Ends

#: Of how many rows half may hold large numbers of the one sign, and half of the other.
_ENOUGH = 16


@dataclass(eq=False)
class CleanRun:
    """The run without edits.

    Attributes:
        output: what the model returned.
        runs: for each edited module, its calls in their order.
        places: for each edited module, the sequence of each call, and at which step of it the call begins.
        bytes: about how much one more edit takes.
        doubled: gives what the model returns for all rows twice.
        totals: whether numbers of all rows at once, such as a loss, are kept of what the model returns.
        ends: the states that the sequences of the edited layers end with.
        read: which of the edited modules' results the model reads.
    """

    output: Any
    runs: dict[nn.Module, list[Run]]
    places: dict[nn.Module, list[tuple[int, int | None]]]
    bytes: int
    doubled: Callable[[], Any]
    ends: Ends
    read: Read = field(default_factory=Read)
    totals: bool = True

    def kept(self, returned: Any) -> Any:
        """Return what is kept of what the model returned."""
        return returned if self.totals else without_totals(returned)

    def in_steps(self, module: nn.Module) -> bool:
        """Return whether a module was called for single steps."""
        return any(run.call.is_step for run in self.runs[module])


def clean_run(model: nn.Module, batch: Batch, edits: Sequence[Edit], layers: Sequence[Layer]) -> CleanRun:
    """Run a model without edits, and keep the calls of the layers that are to be edited.

    Args:
        model: the model.
        batch: its inputs.
        edits: the edits.
        layers: the layer of each.

    Raises:
        ProbeError: a layer drops out, has a forward of its own, or does not compute what its weights say.
    """
    runs: dict[nn.Module, list[Run]] = {layer.module: [] for layer in layers}
    places: dict[nn.Module, list[tuple[int, int | None]]] = {module: [] for module in runs}
    for layer in dict.fromkeys(layers):
        if drops_out(layer.module):
            raise ProbeError(
                f"Layer {layer.name!r} drops out between its layers, other units for each edit. Call model.eval() "
                "first."
            )

    check_forward(model, "probe.sweep")
    refuse_own_forward(dict.fromkeys(layers))
    counted = {layer.module for edit, layer in zip(edits, layers, strict=True) if counts(edit)}
    kept, changes, ends = Kept(model), list[Change](), Ends(edits, layers)
    try:
        with _Reading(model, (runs, places), counted, ends) as session:
            arguments, keywords = batch.repeated(1)
            output = model(*arguments, **keywords)
    finally:
        changes += kept.put_back()
    _refuse_state_of(changes, model, batch)
    for edit, layer in zip(edits, layers, strict=True):
        if layer.module in session.unread and not runs[layer.module]:
            raise ProbeError(f"{edit!r} changed nothing: {not_shown(layer)}")
        if perhaps(layer) and runs[layer.module] and not any(step for _, step in places[layer.module]):
            raise no_recurrence_in([layer])
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

    return CleanRun(output, runs, places, taken, cache(partial(repeated, model, batch, 2)), ends)


def _refuse_state_of(changes: Sequence[Change], model: nn.Module, batch: Batch) -> None:
    """Raise where a run starts from what the module kept of a batch of as many rows."""
    change = next((one for one in changes if one.of_rows(batch.size)), None)
    arguments, keywords = batch.repeated(1)
    if change is not None and reads_what_it_left(model, lambda: model(*arguments, **keywords)):
        raise ProbeError(
            f"A sweep runs its {batch.size} rows several times side by side, and each run starts from {change}, "
            "which it changes, and which has so many rows only. Set that to what a sequence starts from, such as "
            "None, or use probe.record(edits=[...]) for each edit."
        )


class _Reading(Session):
    """Keeps the calls of edited modules."""

    def __init__(self, model: nn.Module, kept: tuple[Any, Any], counted: Set[nn.Module], ends: Ends) -> None:
        (self._runs, self._places), self._counted, self._ends = kept, counted, ends
        super().__init__(model, ends.layers)

    def counts(self, module: nn.Module) -> bool:
        """Return whether an edit of a module names steps or sequences."""
        return module in self._counted

    def read(self, visit: Visit, number: int, step: int | None) -> None:
        """Keep a call."""
        run, module = copied_run(visit.clean), visit.layers[0].module
        for trace in (run.traces[layer.place] for layer in self.modules[module]):
            check(trace, trace.opened, None)
        self._runs[module].append(run)
        self._places[module].append((number, step))
        late = [layer for layer in self.modules[module] if self._ends.note(visit, layer, number, step)]
        if late:
            self._follow()
        for layer in late:
            self._ends.hand_on(visit, layer, number)

    def begin(self) -> None:
        """Note that the pass begins."""
        self._ends.place.in_a_pass = True

    def end(self, output: Any) -> None:
        """Note that it has returned."""
        self._ends.place.in_a_pass = False
        self._ends.returned(output)


def copied_run(run: Run) -> Run:
    """Return a run of its own, since a model may overwrite in place what a layer read or returned."""

    def copied(states: Any) -> Any:
        return {signal: value.clone() for signal, value in states.items()}

    traces = tuple(
        replace(t, x=t.x.clone(), pieces=(t.h.clone(),), initial=copied(t.initial), final=copied(t.final))
        for t in run.traces
    )
    call = replace(run.call, x=run.call.x.clone(), initial=tuple(trace.initial for trace in traces))
    return replace(run, call=call, traces=traces)


def read_of(model: nn.Module, batch: Batch, clean: CleanRun) -> Read:
    """Return which of the edited modules' results a model reads; all of them where that cannot be told.

    It reads none of those for which it returns the same, to the bit, where they hold NaN, and where they hold large
    numbers of either sign: a comparison hides a NaN. What it returns must be able to hold one, so that an edit that
    makes it read more is found.
    """
    runs = [run for calls in clean.runs.values() for run in calls]
    if not all(map(is_continuous, _tensors(clean.output))) or has_nan(clean.output):
        return Read()
    if any(run.call.is_step or run.call.lengths is not None or run.call.adapter for run in runs):
        return Read()
    values = (float("nan"), 1e4) if batch.size >= _ENOUGH else (float("nan"), 1e4, -1e4)
    turned = any(layer.reads_back for run in runs for layer in run.layers)
    for read in (Read(steps=turned, finals=False), Read(steps=False), Read(finals=False)):
        if (read.steps and read.finals) or (turned and not read.steps):
            continue
        if all(_ignores(model, batch, clean, read, value) for value in values):
            return read
    return Read()


def _ignores(model: nn.Module, batch: Batch, clean: CleanRun, read: Read, value: float) -> bool:
    """Return whether a model returns what it did where what it does not read is a value, of either sign by turns."""

    def forward_of(module: nn.Module) -> Any:
        calls = iter(clean.runs[module])

        def forward(*arguments: Any, **keywords: Any) -> Any:
            run = next(calls)
            call = read_call(run.layers, arguments, keywords)
            if not repeats(run, call, 1):
                raise ProbeError("An edited module reads what another one returns.")
            signs = 1 - torch.arange(call.x.shape[1], device=call.x.device) % 2 * 2
            out = Blocks(run, 1, read, value * signs.unsqueeze(1))
            return write_output(run.layers, out.hidden, out.finals, call)

        return forward

    session = Session(model, [calls[0].layers[0] for calls in clean.runs.values()])
    same: list[bool] = []
    try:
        with session, session.replacing({module: forward_of(module) for module in clean.runs}):
            output = repeated(model, batch, 1)
        map_tensors(lambda one, other: same.append(torch.equal(one, other)), clean.output, output)
    except Exception:  # noqa: BLE001 (a model may check its numbers in any way)
        return False
    return all(same)


def has_nan(output: Any) -> bool:
    """Return whether a NaN is in an output, or infinities of both signs, which are as rare."""
    return any(bool(one.sum().isnan()) for one in _tensors(output) if is_continuous(one))


def _tensors(output: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(found.append, output)
    return found


def check_output(model: nn.Module, batch: Batch, clean: CleanRun) -> None:
    """Raise where a row of what a model returns depends on other rows of the batch, or on its own place.

    Raises:
        DependentRowsError: it does, or the model fails on other rows.
    """

    def run(rows: Sequence[int]) -> dict[str, Tensor]:
        arguments, keywords = batch.chosen(rows)
        with put_back(model), on_other_rows(batch, len(rows)):
            return named(model(*arguments, **keywords))

    check_independence(run, named(clean.output), batch.size)


def draws(model: nn.Module, batch: Batch, clean: CleanRun) -> bool:
    """Return whether a model draws random numbers, or its output is another one when it is run again."""
    before, output = generators(), repeated(model, batch, 1)
    same = all(close(one, other) for one, other in zip(_tensors(clean.output), _tensors(output), strict=False))
    return before != generators() or not same


def repeated(model: nn.Module, batch: Batch, times: int) -> Any:
    """Return what a model returns for the batch, several times after itself.

    Raises:
        DependentRowsError: it fails on these, several times the rows of the batch.
    """
    arguments, keywords = batch.repeated(times)
    with put_back(model), on_other_rows(batch, times * batch.size) if times > 1 else nullcontext():
        return model(*arguments, **keywords)
