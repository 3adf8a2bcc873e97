"""Runs some steps of a recurrent module on torch's own fused kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .cells import narrow
from .cells.cell import Cell
from .cells.lstm import LSTMCell
from .cells.step_cell import StepCell
from .layers import Layer, OwnModule
from .signals import Signal, States

#: How many bytes of gates a step may compute at once on the CPU.
_IN_CACHE = 500_000


def kernel_of(module: nn.Module) -> Any:
    """Return torch's kernel of a module."""
    if isinstance(module, nn.LSTM):
        return torch.lstm
    if isinstance(module, nn.GRU):
        return torch.gru
    return torch.rnn_relu if getattr(module, "nonlinearity", "tanh") == "relu" else torch.rnn_tanh


def parameters_of(cells: Sequence[Cell]) -> list[Tensor]:
    """Return what a kernel is given of the weights of cells."""
    listed = []
    for cell in cells:
        weights = cell.weights
        every = (weights.W, weights.U, weights.b_ih, weights.b_hh, weights.P)
        listed += [parameter for parameter in every if parameter is not None]
    return listed


def _states(initial: Sequence[States], cell: Cell) -> Any:
    stacked = [torch.stack([states[signal] for states in initial]) for signal in cell.states]
    return stacked if len(stacked) > 1 else stacked[0]


def run_layer(
    layer: Layer, cell: Cell, x: Tensor, state: States, lengths: Tensor | None = None
) -> tuple[Tensor, dict[Signal, Tensor]]:
    """Run one direction of one layer, in its own order, from a given state; a cell of our own has no fused kernel.

    Args:
        layer: the layer.
        cell: its cell.
        x: what it reads, (time, batch, input).
        state: the states before the first step.
        lengths: how many steps each row has, (batch,), none perhaps; or None where every row has all of them.

    Returns:
        The hidden states, (time, batch, unit), and the states after each row's last step.
    """
    module: Any = layer.module
    if lengths is not None:
        return _run_ragged(module, cell, x, state, lengths)
    if isinstance(module, OwnModule) or isinstance(cell, StepCell):
        signals, final = cell.run(x, state, (cell.output,))
        return signals[cell.output], final
    h, *last = kernel_of(module)(x, _states([state], cell), parameters_of([cell]), *_options(module), False)
    return h, {signal: value[0] for signal, value in zip(cell.states, last, strict=True)}


def _options(module: Any) -> tuple[Any, ...]:
    return module.bias, 1, 0.0, module.training, False


def _run_ragged(
    module: Any, cell: Cell, x: Tensor, state: States, lengths: Tensor
) -> tuple[Tensor, dict[Signal, Tensor]]:
    """Run rows that end at different steps; one without a step keeps its state."""
    going = lengths.nonzero().flatten()
    h, final = x.new_zeros(*x.shape[:2], cell.size(cell.output)), dict(state)
    if len(going):
        packed = pack_padded_sequence(x[:, going.to(x.device)], lengths[going], enforce_sorted=False)
        rows = going.to(x.device)
        order = rows[packed.sorted_indices]
        own = _states([{signal: value[order] for signal, value in state.items()}], cell)
        data, *last = kernel_of(module)(
            packed.data, packed.batch_sizes, own, parameters_of([cell]), *_options(module)
        )
        padded, _ = pad_packed_sequence(packed._replace(data=data), total_length=len(x))
        h = h.index_copy(1, rows, padded)
        for signal, value in zip(cell.states, last, strict=True):
            final[signal] = final[signal].index_copy(0, order, value[0])
    return h, final


def likes_units_first(cell: Cell, x: Tensor, rows: int) -> bool:
    """Return whether a run of so many rows is quicker where the numbers of a unit lie side by side."""
    return isinstance(cell, LSTMCell) and narrow.fits(cell, x[:1, :1].expand(1, rows, -1))


def run_some(layer: Layer, cell: Cell, x: Tensor, state: States, *, to_end: bool) -> tuple[Tensor | None, States]:
    """Run many rows a few at a time, so that a step stays in the cache; without autograd.

    Args:
        layer: the layer.
        cell: its cell.
        x: what it reads, (time, batch, input).
        state: the states before the first step.
        to_end: whether the states after the last step are all that is wanted.

    Returns:
        The hidden states, (time, batch, unit), or None where they are not wanted; the states after the last step.
    """
    if to_end and isinstance(cell, LSTMCell) and narrow.fits(cell, x):
        last = narrow.last(cell.steps, x, *(state[signal].T for signal in cell.states[::-1]))
        return None, dict(zip(cell.states[::-1], (part.T for part in last.chunk(2)), strict=True))
    on_cpu = x.device.type == "cpu"
    rows = max(1, _IN_CACHE // (x.element_size() * len(cell.weights.W)) if on_cpu else x.shape[1])
    if x.shape[1] <= rows:
        return run_layer(layer, cell, x, state)
    h = None if to_end else x.new_empty(*x.shape[:2], cell.size(cell.output))
    final = {signal: torch.empty_like(value) for signal, value in state.items()}
    for start in range(0, x.shape[1], rows):
        turn = slice(start, start + rows)
        own, last = run_layer(layer, cell, x[:, turn], {signal: value[turn] for signal, value in state.items()})
        if h is not None:
            h[:, turn] = own
        for signal, value in last.items():
            final[signal][turn] = value
    return h, final
