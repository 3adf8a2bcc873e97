"""Many edits of one model in few runs: every edit is a stretch of rows of one larger batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .batches import Batch, batch_of, grown_axis, map_tensors
from .calls import Call, drops_out, read_call, write_output
from .edit_kinds import Edit
from .engine import Changes, run_again
from .errors import ProbeError
from .interventions import acts
from .layers import Layer, whole_module
from .placing import Placed, at_step, changes_of, layers_for, place_in_run, span
from .recorder import eager
from .sequences import following
from .tiling import tiled
from .traces import Run, check, join, open_call

#: How many bytes of states and outputs one run may hold, unless the caller says otherwise. Measured: a run that stays
#: in the cache is faster than one that holds more edits.
MEMORY = 16_000_000
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


def sweep(
    model: nn.Module,
    *inputs: Any,
    edits: Sequence[Edit],
    kwargs: Mapping[str, Any] | None = None,
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
        memory: about how many bytes one run may hold; more edits than fit are run in turns.

    Returns:
        What the model returns, each tensor with one axis more at the front: (edit, ...).

    Raises:
        ProbeError: an edit does not fit the model, a row of the output depends on other rows of the batch (found by
            comparing the first and the last edit with runs of their own), or a module draws random numbers.

    Reference:
        Interchange over all sites: Geiger et al. 2021, section 3; resuming from a cached state is exact, since the
        state is all that a recurrent layer hands on.
    """
    listed = _checked(edits, memory)
    placed = layers_for(model, listed)
    batch = batch_of(model, inputs, kwargs or {})
    with torch.no_grad(), eager():
        natural = _natural(model, batch, placed)
        _check_calls(listed, placed, natural)
        most = max(1, memory // max(1, natural.bytes))
        turns = [range(start, min(start + most, len(listed))) for start in range(0, len(listed), most)]
        pieces = [
            _turn(model, batch, natural, [(listed[number], placed[number]) for number in turn]) for turn in turns
        ]
        result = map_tensors(lambda *parts: torch.cat(parts), *pieces)
        for number in dict.fromkeys((0, len(listed) - 1)):
            alone = _turn(model, batch, natural, [(listed[number], placed[number])])
            together = map_tensors(lambda values, at=number: values[at : at + 1], result)
            map_tensors(lambda one, other, edit=listed[number]: _compare(edit, one, other), alone, together)
    return result


def _checked(edits: Any, memory: int) -> list[Edit]:
    if isinstance(edits, Edit) or not isinstance(edits, Sequence):
        raise ProbeError(f"edits is a {type(edits).__name__} and must be several edits: edits=[probe.clamp(...)].")
    if not edits:
        raise ProbeError("edits=[] names no edit; give at least one.")
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
        raise ProbeError(f"memory={memory!r} must be a number of bytes, such as 1_000_000_000.")
    return list(edits)


@dataclass(eq=False)
class _Natural:
    """The run without edits.

    Attributes:
        output: what the model returned.
        runs: for each edited module, its calls in their order.
        batch: how many rows each of them had.
        bytes: about how much one more edit takes.
    """

    output: Any
    runs: dict[nn.Module, list[Run]]
    batch: int
    bytes: int


def _natural(model: nn.Module, batch: Batch, layers: Sequence[Layer]) -> _Natural:
    runs: dict[nn.Module, list[Run]] = {layer.module: [] for layer in layers}
    for layer in layers:
        if drops_out(layer.module):
            raise ProbeError(
                f"Layer {layer.name!r} drops out between its layers, other units for each edit. Call model.eval() "
                "first."
            )

    def hook_for(whole: tuple[Layer, ...]) -> Any:
        def hook(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
            run = _copied(open_call(whole, arguments, keywords, output))
            for trace in (run.traces[layer.place] for layer in layers if layer.module is module):
                check(trace.layer, trace.opened, trace.h.dtype, None)
            runs[module].append(run)

        return hook

    with ExitStack() as stack:
        for layer in {layer.module: layer for layer in layers}.values():
            hook = hook_for(whole_module(layer))
            # Before the hooks that are there already: what they do to an output, they do in each turn again.
            handle = layer.module.register_forward_hook(hook, with_kwargs=True, prepend=True)
            stack.callback(handle.remove)
        arguments, keywords = batch.repeated(1)
        output = model(*arguments, **keywords)
    taken = 0

    def add(tensor: Tensor) -> Tensor:
        nonlocal taken
        taken += tensor.numel() * tensor.element_size()
        return tensor

    for given in (batch.arguments, dict(batch.keywords), output):
        map_tensors(add, given)
    for trace in (trace for calls in runs.values() for run in calls for trace in run.traces):
        # The input, the hidden states twice (before and after they are put together), and a step's working space.
        taken += (trace.x.numel() + 3 * trace.h.numel()) * trace.h.element_size()
    return _Natural(output, runs, batch.size, taken)


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


def _check_calls(edits: Sequence[Edit], layers: Sequence[Layer], natural: _Natural) -> None:
    for edit, layer in zip(edits, layers, strict=True):
        calls = len(natural.runs[layer.module])
        if not calls or (not layer.is_cell and (edit.site.call or 0) >= calls):
            raise ProbeError(
                f"{edit!r} would change nothing: the model called layer {layer.name!r} {calls} times in its forward "
                "pass. Choose a layer and a call= that happen."
            )


def _turn(model: nn.Module, batch: Batch, natural: _Natural, edits: Sequence[tuple[Edit, Layer]]) -> Any:
    """Run a model once with several edits, each on rows of its own."""
    arguments, keywords = batch.repeated(len(edits))
    with _edits_in_rows(edits, natural):
        output = model(*arguments, **keywords)

    def split(one: Tensor, many: Tensor) -> Tensor:
        axis = grown_axis(one, many, (batch.size, batch.size * len(edits))) if len(edits) > 1 else 0
        if axis is None:
            raise ProbeError(
                f"The model's output of shape {tuple(many.shape)} does not grow with the batch, so it mixes rows: "
                "edits cannot share a run. Use probe.record(edits=[...]) for each."
            )
        if len(edits) == 1:
            return many.unsqueeze(0)
        return many.unflatten(axis, (len(edits), batch.size)).movedim(axis, 0)

    return map_tensors(split, natural.output, output)


@contextmanager
def _edits_in_rows(edits: Sequence[tuple[Edit, Layer]], natural: _Natural) -> Iterator[None]:
    by_module: dict[nn.Module, list[tuple[int, Edit, Layer]]] = {}
    for number, (edit, layer) in enumerate(edits):
        by_module.setdefault(layer.module, []).append((number, edit, layer))
    cells = [module for module in by_module if isinstance(module, nn.RNNCellBase)]
    whole = [module for module in by_module if module not in cells]
    waiting: list[tuple[Any, set[tuple[int, int]]]] = []
    with ExitStack() as stack:
        followed = stack.enter_context(following(cells))
        for module in cells:
            sequences = followed[module]
            acted: set[tuple[int, int]] = set()
            hook = _cell_hook(by_module[module], natural, len(edits), sequences, acted)
            stack.callback(module.register_forward_hook(hook, with_kwargs=True, prepend=True).remove)
            waiting.append((by_module[module], acted))
        for module in whole:
            if "forward" in vars(module):
                raise ProbeError(
                    f"The forward of {type(module).__name__} was replaced, so a sweep cannot resume it. Use "
                    "probe.record(edits=[...]) for each edit."
                )
            vars(module)["forward"] = _resuming(module, by_module[module], natural, len(edits))
            stack.callback(vars(module).pop, "forward", None)
        yield
        for of_cell, acted in waiting:
            _check_steps(of_cell, acted)


def _check_steps(edits: Sequence[tuple[int, Edit, Layer]], acted: set[tuple[int, int]]) -> None:
    """Raise where an edit of a cell waited for a step that did not come."""
    for place, edit, layer in edits:
        steps = {step for one, step in acted if one == place}
        missing = [step for step in edit.site.steps or () if step not in steps]
        if missing or not steps:
            raise ProbeError(
                f"{edit!r} waits for {f'steps {missing}' if missing else 'a call'} of cell {layer.name!r}, which "
                "never came. Choose a call= and steps= that happen, counted from the first one, 0."
            )


def _rows_of_block(layer: Layer, rows: int, natural: Run | None, blocks: int) -> int:
    """Return how many rows of a call belong to one edit."""
    if natural is not None and rows != blocks * natural.call.x.shape[1]:
        raise ProbeError(
            f"Layer {layer.name!r} read {natural.call.x.shape[1]} rows, and {rows} when the first axis of the "
            f"model's inputs was repeated for {blocks} edits. A sweep needs the batch on axis 0 of the inputs; wrap "
            "the model so that it is there, or use probe.record(edits=[...]) for each edit."
        )
    return rows // blocks


def _cell_hook(
    edits: Sequence[tuple[int, Edit, Layer]],
    natural: _Natural,
    blocks: int,
    sequences: Any,
    acted: set[tuple[int, int]],
) -> Any:
    """Return the hook that edits one call of a cell, each edit in its own rows, and notes when it did."""
    layers = whole_module(edits[0][2])
    calls = iter(natural.runs[layers[0].module])

    def hook(_module: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
        run = open_call(layers, arguments, keywords, output)
        number, step = sequences.locate(layers[0], run.call, output)
        batch = _rows_of_block(layers[0], run.call.x.shape[1], next(calls, None), blocks)
        active = [(place, edit, layer) for place, edit, layer in edits if acts(edit, number, step)]
        acted.update((place, step) for place, _, _ in active)
        placed = [at_step(edit, layer, step, batch, offset=place * batch) for place, edit, layer in active]
        if not placed:
            return None
        result = run_again(run, {0: changes_of(placed)}).output
        sequences.replace(layers[0], run.call, result)
        return result

    return hook


def _resuming(module: nn.Module, edits: Sequence[tuple[int, Edit, Layer]], natural: _Natural, blocks: int) -> Any:
    """Return a forward that computes what the edits change, from where they begin to change it."""
    layers = whole_module(edits[0][2])
    calls = iter(natural.runs[module])
    number = -1

    def forward(*arguments: Any, **keywords: Any) -> Any:
        nonlocal number
        number += 1
        call = read_call(layers, arguments, keywords)
        active = [(block, edit, layer) for block, edit, layer in edits if acts(edit, number, None)]
        run = next(calls, None)
        batch = _rows_of_block(layers[0], call.x.shape[1], run, blocks)
        if run is not None and _repeats(run, call, blocks):
            return _resumed(run, call, active, blocks)
        run = open_call(layers, arguments, keywords, type(module).forward(module, *arguments, **keywords))
        placed = [(block, _placed(run, edit, layer, batch), layer) for block, edit, layer in active]
        return run_again(run, _changes(placed, batch)).output

    return forward


def _placed(run: Run, edit: Edit, layer: Layer, batch: int) -> Placed:
    lengths = None if run.call.lengths is None else run.call.lengths[:batch]
    return place_in_run(edit, layer, len(run.call.x), batch, lengths=lengths)


def _changes(placed: Sequence[tuple[int, Placed, Layer]], batch: int, cut: int = 0) -> dict[int, Changes]:
    """Return what edits do to a run in which the edit of block n has rows n x batch to (n + 1) x batch.

    Args:
        placed: for each edit its block, where it acts in one block, and its layer.
        batch: how many rows a block has.
        cut: how many steps were cut off the run's beginning.
    """
    by_layer: dict[int, list[Placed]] = {}
    for block, one, layer in placed:
        places = {step - cut: place for step, place in one.places.items()}
        by_layer.setdefault(layer.place, []).append(replace(one, places=places, offset=block * batch))
    return {place: changes_of(every) for place, every in by_layer.items()}


def _resumed(run: Run, call: Call, edits: Sequence[tuple[int, Edit, Layer]], blocks: int) -> Any:
    """Return a module's output for blocks of rows that all begin as the natural run does.

    Edits that begin at the same step of the same layer share one run, which starts there.
    """
    batch = run.call.x.shape[1]
    groups: dict[tuple[int, int], list[tuple[int, Placed, Layer]]] = {}
    for block, edit, layer in edits:
        placed = _placed(run, edit, layer, batch)
        groups.setdefault((layer.place, min(placed.places, default=0)), []).append((block, placed, layer))
    # Only a run of one direction, without padding, looks the same from the middle.
    whole = run.call.lengths is not None or any(layer.reads_back for layer in run.layers)
    natural = join(run.level(run.layers[-1].level)).unsqueeze(1)
    hidden = natural.new_empty(len(natural), blocks, *natural.shape[2:])
    finals = [
        {signal: value.new_empty(blocks, *value.shape) for signal, value in trace.final.items()}
        for trace in run.traces
    ]
    edited = {block for block, _, _ in edits}
    untouched = span(torch.tensor([block for block in range(blocks) if block not in edited], dtype=torch.long))
    hidden[:, untouched] = natural
    _fill(finals, untouched, [trace.final for trace in run.traces])
    for (_, first), members in groups.items():
        cut = 0 if whole else first
        together = [(place, placed, layer) for place, (_, placed, layer) in enumerate(members)]
        changed = run_again(tiled(run, len(members), cut), _changes(together, batch, cut))
        where = span(torch.tensor([block for block, _, _ in members]))
        hidden[:cut, where] = natural[:cut]
        top = changed.level(run.layers[-1].level)
        pieces = (join(top),) if whole else top[0].pieces
        every = [
            {signal: value.unflatten(0, (len(members), batch)) for signal, value in trace.final.items()}
            for trace in changed.traces
        ]
        start = cut
        for piece in pieces:
            hidden[start : start + len(piece), where] = piece.unflatten(1, (len(members), batch))
            start += len(piece)
        _fill(finals, where, every)
    flat = [{signal: value.flatten(0, 1) for signal, value in final.items()} for final in finals]
    return write_output(run.layers, hidden.flatten(1, 2), flat, call)


def _fill(finals: Sequence[Any], where: Any, lasts: Sequence[Any]) -> None:
    """Put last states into their blocks of rows."""
    for final, last in zip(finals, lasts, strict=True):
        for signal, value in last.items():
            final[signal][where] = value


def _repeats(run: Run, call: Call, blocks: int) -> bool:
    """Return whether a call was given what the natural run was given, once for each block of rows."""
    x = run.call.x
    if call.x.shape != (x.shape[0], blocks * x.shape[1], x.shape[2]):
        return False
    given = call.x.unflatten(1, (blocks, x.shape[1]))
    states = zip(run.call.initial, call.initial, strict=True)
    return bool((given == x.unsqueeze(1)).all()) and all(
        bool((two[signal].unflatten(0, (blocks, -1)) == value).all())
        for one, two in states
        for signal, value in one.items()
    )


def _compare(edit: Edit, alone: Tensor, together: Tensor) -> None:
    """Raise where an edit gives another output in a run of its own: then the rows of a batch are not independent."""
    finite = alone[alone.isfinite()] if alone.is_floating_point() else alone[:0]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    allowed = _TOLERANCE.get(alone.dtype, 5e-2) * max(1.0, scale)
    if not torch.allclose(alone, together, rtol=0, atol=allowed, equal_nan=True):
        wide = torch.complex128 if alone.is_complex() else torch.float64
        difference = (alone.to(wide) - together.to(wide)).abs().nan_to_num(0.0).max()
        raise ProbeError(
            f"{edit!r} gives another output in a run of its own than beside other edits (largest difference "
            f"{float(difference):.3g}): the model mixes the rows of a batch, as batch "
            "normalisation in training mode does, or draws random numbers. Call model.eval(), or use "
            "probe.record(edits=[...]) for each edit."
        )
