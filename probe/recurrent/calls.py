"""Reads the inputs and outputs of one call of a recurrent module: batch first or not, unpacking packed sequences.

Whatever form the caller used (batch first or not, unbatched, packed), the library sees arrays of (time, batch, unit)
with the rows in the caller's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..errors import ProbeError
from .cells.cell import Cell
from .cells.step_cell import StepCell, returned_by
from .layers import Layer, OwnModule, StepLayer
from .signals import Signal, States
from .steps import forms, trails
from .steps.loops import LoopStep
from .steps.objects import Given, left_over
from .steps.step import Step, begin, settle
from .surroundings import check_call, check_plain, check_types

_h = Signal.HIDDEN_STATE


@dataclass(frozen=True, eq=False)
class Call:
    """What one call of a module was given.

    Attributes:
        x: inputs, (time, batch, input); zero at padding.
        initial: for each layer in torch's order of h_n, the states before the first step.
        lengths: how many steps each row has, (batch,), or None where all have the same.
        batched: whether the caller's input had a batch axis.
        packed: the caller's PackedSequence, or None.
        state: the states of all layers, (layer, batch, unit) each, as the caller gave them, or None where none were
            and of a cell.
        has_state: whether the caller gave states.
        adapter: what runs a layer that torch does not have, as this call brought it.
        is_step: whether it is a cell's call, or one of a layer of torch's of a single step.
        steps: the cell that the adapter is.
    """

    x: Tensor
    initial: tuple[States, ...]
    lengths: Tensor | None
    batched: bool
    packed: PackedSequence | None
    state: tuple[Tensor, ...] | None = None
    has_state: bool = False
    adapter: Step | None = None
    is_step: bool = False
    steps: Any = None


def read_call(layers: Sequence[Layer], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Call:
    """Return what a call `module(*arguments, **keywords)` gave the layers of a module; a missing state is zero, or
    what a module of this library has learned.

    Raises:
        ProbeError: the call holds no dense numbers of the weights' type, or is made to trace or transform the model.
    """
    if isinstance(layers[0], StepLayer):
        return _read_steps(layers[0], arguments, keywords)
    given = dict(zip(("input", "hx"), arguments, strict=False)) | dict(keywords)
    x, state = given["input"], given.get("hx")
    states = state if isinstance(state, (tuple, list)) else (state,)
    check_call(layers[0], (x.data if isinstance(x, PackedSequence) else x, *states))
    return as_called(layers, x, state)


def _read_steps(layer: StepLayer, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Call:
    """Return what a call gave a layer that torch does not have."""
    adapter = layer.step(layer.module)
    x = trails.among(partial(adapter.inputs, **keywords), *arguments)
    if not isinstance(x, Tensor) or x.dim() != 3:
        found = f"a tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise ProbeError(f"{layer.step.__name__}.inputs returned {found}; it must be (batch, time, feature).")
    check_call(layer, (x,))
    settle(adapter, x)
    return _stepwise(adapter, x, lambda initial: any(bool(value.any()) for value in initial.values()))


def read_loop(
    layer: Layer, arguments: tuple[Any, ...], keywords: Mapping[str, Any], output: Any, before: Given | None = None
) -> Call | None:
    """Return what a call gave a cell of somebody's own, or None where nothing tells what its state is.

    Args:
        layer: the cell's layer.
        arguments: its positional arguments.
        keywords: its keyword arguments.
        output: what it returned.
        before: the arguments behind the first as they were before the call, where somebody noted that.

    Raises:
        ProbeError: a part of what it hands on cannot be followed, or it changes its state in place.
    """
    given = forms.bound(layer.module, arguments, keywords)
    check_plain(layer, forms.tensors(list(given.values())))
    form = forms.form_of(layer.module, given, output)
    if form is None:
        return None
    _refuse_what_is_left(layer, form, given, output)
    if before is not None:
        _refuse_in_place(layer, form, given, output, before)
    adapter = LoopStep(layer.module, form, given, output)
    return _stepwise(adapter, adapter.inputs(), lambda _: adapter.given_state, is_step=True)


def _refuse_what_is_left(layer: Layer, form: forms.Form, given: Mapping[str, Any], returned: Any) -> None:
    """Raise ProbeError where a cell hands on something beside its state that seems to be a part of it."""
    if len(given) <= 2 + len(form.given) or form.returned is None:
        return
    others = {name: value for name, value in list(given.items())[2:] if name not in form.given}
    items = [item for place, item in enumerate(_items(returned)) if place not in form.returned]
    found = left_over(others, items) if items else None
    if found is not None:
        kind = type(layer.module).__name__
        raise ProbeError(
            f"Cell {layer.name!r} is called with {found!r}, a {type(given[found]).__name__}, and returns another "
            "one, which seems to be a part of its state and cannot be followed as one: numbers in it are no tensors, "
            f"change their shapes, or stand where no attribute shows them. Let {kind} hand on tensors of one shape "
            "in tuples, dicts or objects."
        )


def _refuse_in_place(layer: Layer, form: forms.Form, given: Mapping[str, Any], returned: Any, before: Given) -> None:
    """Raise ProbeError where a cell changed the state that it was called with, which nobody can read any more."""
    for place, argument in enumerate(list(given)[2:]):
        one, is_state = given[argument], argument in form.given
        if place >= len(before):  # given by its name, of which nothing was noted before the call
            wrong = (
                is_state and not isinstance(one, (Tensor, tuple)) and any(one is each for each in _items(returned))
            )
        else:
            wrong = (is_state or not isinstance(one, Tensor)) and before.changed(place, is_state=is_state)
        if wrong:
            raise ProbeError(
                f"Cell {layer.name!r} changes {argument!r}, which it is called with, in place: the state before a "
                f"step cannot be read after it. Let {type(layer.module).__name__} return a new one."
            )


def _items(returned: Any) -> list[Any]:
    return list(returned) if isinstance(returned, (tuple, list)) else [returned]


def _stepwise(adapter: Step, x: Tensor, given: Callable[[States], bool], *, is_step: bool = False) -> Call:
    """Return what a call gave a layer that an adapter runs; `given` tells by the states whether it gave them."""
    state = trails.among(begin, adapter, len(x))
    cell = StepCell(adapter, state)
    initial, told = cell.flat(state), {"adapter": adapter, "is_step": is_step, "steps": cell}
    return Call(x.transpose(0, 1), (initial,), None, batched=True, packed=None, has_state=given(initial), **told)


def cell_of(layer: Layer, call: Call) -> Cell:
    """Return the cell that a call ran."""
    if call.adapter is None:
        return layer.cell
    cell = call.steps
    if len(call.x):
        cell.try_step(call.x[0], call.initial[0])
    return cell


def as_called(layers: Sequence[Layer], x: Any, state: Any) -> Call:
    """Return what a call gave the layers of a module, whatever kind of tensors that were."""
    module: Any = layers[0].module
    lengths = packed = None
    if isinstance(module, OwnModule):
        module.check_call(x, state)
    if isinstance(x, PackedSequence):
        packed = x
        x, lengths = pad_packed_sequence(x)
        batched = True
    elif isinstance(x, Tensor):
        batched = x.dim() == (2 if layers[0].is_cell else 3)
        if layers[0].is_cell:
            x = x.unsqueeze(0) if batched else x[None, None]
        elif not batched:
            x = x.unsqueeze(1)
        elif module.batch_first:
            x = x.transpose(0, 1)
    else:
        raise ProbeError(
            f"Layer {layers[0].name!r} was called with a {type(x).__name__}; it reads a tensor or a PackedSequence."
        )
    x = in_order(x, layers[0], lengths)
    if layers[0].is_cell and batched:
        initial = (_initial(layers[0], x, state, batched),)
    else:
        initial = tuple(trails.among(_initial, layer, x, state, batched) for layer in layers)
    is_step = layers[0].is_cell or (x.shape[0] == 1 and packed is None and layers[0].directions == 1)
    if state is None or layers[0].is_cell:
        return Call(x, initial, lengths, batched, packed, has_state=state is not None, is_step=is_step)
    parts = state if len(layers[0].states) > 1 else (state,)
    given = tuple(part if batched else part.unsqueeze(1) for part in parts)
    return Call(x, initial, lengths, batched, packed, given, has_state=True, is_step=is_step)


def _initial(layer: Layer, x: Tensor, state: Any, batched: bool) -> dict[Signal, Tensor]:
    if state is None:
        zeros = {signal: x.new_zeros(1, layer.size(signal)).expand(x.shape[1], -1) for signal in layer.states}
        return zeros | {signal: value.expand(x.shape[1], -1) for signal, value in layer.learned.items()}
    parts = state if len(layer.states) > 1 else (state,)
    if not layer.is_cell:
        parts = [part[layer.place] for part in parts]
    return {signal: part if batched else part.unsqueeze(0) for signal, part in zip(layer.states, parts, strict=True)}


def read_output(layers: Sequence[Layer], output: Any, call: Call) -> tuple[Tensor, tuple[States, ...]]:
    """Return the hidden states of the top layer, (time, batch, direction x unit), and each layer's last states.

    Raises:
        ProbeError: they have another type than the layer's weights.
    """
    if call.adapter is not None:
        h = call.adapter.outputs(output)
        if not isinstance(h, Tensor) or h.shape[:2] != call.x.shape[1::-1] or h.dim() != 3:
            found = f"a tensor of shape {tuple(h.shape)}" if isinstance(h, Tensor) else f"a {type(h).__name__}"
            raise ProbeError(
                f"{type(call.adapter).__name__}.outputs returned {found}; it must be (batch, time, unit), of "
                f"{call.x.shape[1]} rows and {len(call.x)} steps."
            )
        return h.transpose(0, 1), finals_of(layers, output, call)
    finals = finals_of(layers, output, call)
    if layers[0].is_cell:
        if any(one.dtype != call.x.dtype for one in finals[0].values()):  # which is that of the weights
            check_types(layers[0], finals[0].values(), returned=True)
        return finals[0][_h].unsqueeze(0), finals
    h = output[0]
    if call.packed is not None:
        h, _ = pad_packed_sequence(h)
    elif not call.batched:
        h = h.unsqueeze(1)
    elif _batch_first(layers[0].module):
        h = h.transpose(0, 1)
    h = in_order(h, layers[0], call.lengths)
    check_types(layers[0], (h, *(one for final in finals for one in final.values())), returned=True)
    return h, finals


def finals_of(layers: Sequence[Layer], output: Any, call: Call) -> tuple[States, ...]:
    """Return each layer's last states, (batch, unit) each, where the module returned them."""
    if call.adapter is not None:
        return (call.steps.flat_final(call.adapter.final(output)),)
    signals = layers[0].states
    last = output if layers[0].is_cell else output[1]
    parts = last if len(signals) > 1 else (last,)
    if layers[0].is_cell:
        parts = [part if call.batched else part.unsqueeze(0) for part in parts]
        return (dict(zip(signals, parts, strict=True)),)
    return tuple(
        {
            signal: part[place] if call.batched else part[place].unsqueeze(0)
            for signal, part in zip(signals, parts, strict=True)
        }
        for place in range(len(layers))
    )


def write_output(
    layers: Sequence[Layer], h: Tensor, finals: Sequence[States], call: Call, returned: Any = None
) -> Any:
    """Return the hidden states of the top layer and the last states of all layers as the module would.

    Args:
        layers: every layer of the module.
        h: (time, batch, unit).
        finals: the last states of each layer.
        call: what the module was given.
        returned: what it returned, of a layer that torch does not have.
    """
    if call.adapter is not None:
        return returned_by(call.adapter, returned, h.transpose(0, 1), finals[0])
    signals = layers[0].states
    if layers[0].is_cell:
        parts = [finals[0][signal] if call.batched else finals[0][signal][0] for signal in signals]
        return tuple(parts) if len(parts) > 1 else parts[0]
    h = in_order(h, layers[0], call.lengths)
    each = [[final[signal] for final in finals] for signal in signals]
    lasts = [torch.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0) for parts in each]
    if not call.batched:
        h, lasts = h[:, 0], [last[:, 0] for last in lasts]
    state = tuple(lasts) if len(lasts) > 1 else lasts[0]
    if call.packed is not None:
        return repack(h, call), state
    return (h.transpose(0, 1) if call.batched and _batch_first(layers[0].module) else h), state


def repack(value: Tensor, call: Call) -> PackedSequence:
    """Return padded values (time, batch, unit) packed as the caller's input was."""
    packed, lengths = call.packed, call.lengths
    if packed is None or lengths is None:
        raise ProbeError("The call was given no PackedSequence.")
    if packed.sorted_indices is not None:
        value, lengths = value.index_select(1, packed.sorted_indices), lengths[packed.sorted_indices.cpu()]
    data = pack_padded_sequence(value, lengths, enforce_sorted=True).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


def own_order(value: Tensor, layer: Layer, lengths: Tensor | None) -> Tensor:
    """Turn values (time, batch, unit) from the input's order into the layer's own, or back.

    A reverse layer begins at each row's last valid step; padding stays at the end.
    """
    return _from_end(value, lengths) if layer.reads_back else value


def in_order(value: Tensor, layer: Layer, lengths: Tensor | None) -> Tensor:
    """Turn values (time, batch, unit) from the order in which a module is given them into the input's, or back."""
    return _from_end(value, lengths) if layer.turned else value


def _from_end(value: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return value.flip(0)
    steps = torch.arange(len(value)).unsqueeze(1).expand(len(value), len(lengths))
    places = torch.where(steps < lengths, lengths - 1 - steps, steps).to(value.device)
    return value.gather(0, places.unsqueeze(-1).expand_as(value))


def own_steps(time: int, layer: Layer, lengths: Tensor) -> Tensor:
    """Return for each step of the input and each row, (time, batch), where a layer reaches it in its own order."""
    steps = torch.arange(time).unsqueeze(1).expand(time, len(lengths))
    return torch.where(steps < lengths, lengths - 1 - steps, steps) if layer.reads_back else steps


def dropout_masks(
    layers: Sequence[Layer], call: Call, generator_state: Tensor | None, like: Tensor
) -> list[Tensor | None]:
    """Return what a run in training mode multiplied the output of each layer below the top by.

    torch draws the masks over time-major outputs, one layer after the other, from its global generator.

    Args:
        layers: the layers of the module.
        call: what it was given.
        generator_state: the state of torch's generator before the run, or None where it was not needed.
        like: the top layer's hidden states, for shape and dtype.

    Raises:
        ProbeError: the run was on a device whose masks cannot be drawn again.
    """
    module: Any = layers[0].module
    between = layers[0].levels - 1
    if generator_state is None:
        return [None] * between
    if like.device.type != "cpu":
        raise ProbeError(
            f"Layer {layers[0].name!r} drops out between its layers on {like.device}, where the masks cannot be "
            "drawn again. Call model.eval() first, or run it on the CPU."
        )
    # A generator of its own: torch's is shared with other threads. At 1 torch draws nothing.
    generator, keep = torch.Generator(), 1 - module.dropout
    _ = generator.set_state(generator_state)
    size = like.shape if call.packed is None else (len(call.packed.data), like.shape[-1])
    masks = [like.new_zeros(size) for _ in range(between)]
    if keep:
        masks = [mask.bernoulli_(keep, generator=generator).div_(keep) for mask in masks]
    if call.packed is not None:
        masks = [pad_packed_sequence(call.packed._replace(data=mask))[0] for mask in masks]
    return [in_order(mask, layers[0], call.lengths) for mask in masks]


def drops_out(module: Any) -> bool:
    """Return whether a module drops out between its layers."""
    return bool(isinstance(module, nn.RNNBase) and module.num_layers > 1 and module.dropout and module.training)


def draws_masks(module: Any) -> bool:
    """Return whether a module drops out by masks that it draws; where it drops all there is nothing to draw."""
    return drops_out(module) and module.dropout < 1


def _batch_first(module: Any) -> bool:
    return bool(getattr(module, "batch_first", False))


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a function run in place of the forward of a module; nothing else in the library replaces one."""
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        vars(module).pop("forward", None)
