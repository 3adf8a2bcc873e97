"""The layers up to the one that a readout reads, run alone: what they read, and their dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..evidence.words import listed
from ..methods.dynamics import CellDynamics, Dynamics, StackDynamics, StepDynamics
from ..recurrent.cells import narrow
from ..recurrent.cells.gru import GRUCell
from ..recurrent.cells.lstm import LSTMCell
from ..recurrent.cells.rnn import RNNCell
from ..recurrent.finding import find_layers, whole_module
from ..recurrent.global_state import in_float64
from ..recurrent.layers import Layer, OpenLayer
from ..recurrent.stepwise import Stepwise, stepwise
from .states import flops, run
from .subject import Subject, per_subject

#: On so many sequences a step that torch does not have is tried alone.
TRIED = 8
#: On so many it is compared what a layer reads at steps of the same input; so near is the same.
COMPARED, SAME = 64, 1e-5


def stack_of(read: Layer) -> list[Layer]:
    """Return a layer and those below it in its module, the lowest first."""
    return [layer for layer in whole_module(read) if layer.level <= read.level]


def cost(stack: Sequence[Layer]) -> float:
    """Return about how many operations layers take for one step of one sequence."""
    return sum(flops(layer) for layer in stack)


def not_from_states(subject: Subject, layer: Layer) -> str | None:
    """Return the sentence why a layer cannot be run from its states, or None."""
    module: Any = layer.module
    if isinstance(layer, OpenLayer):
        tried = _tried(subject, layer.name)
        return str(tried) if isinstance(tried, ProbeError) else _of_others(subject, layer)
    if not isinstance(module, (nn.LSTM, nn.GRU, nn.RNN, nn.RNNCellBase)):
        what = f"is a {type(module).__name__}, which is no layer of torch"
    elif getattr(module, "bidirectional", False) or layer.reads_back:
        what = "reads from the end, or both ways"
    elif getattr(module, "proj_size", 0):
        what = "has a projected hidden state"
    else:
        return _of_others(subject, layer)
    return f"The readout reads {layer.name}, which {what}; such layers are not run from their states here."


def _of_others(subject: Subject, layer: Layer) -> str | None:
    """Return the sentence that a layer hears what layers of other modules remember, or None."""
    inside = {one.name for one in whole_module(layer)}
    others = [one.name for one in subject.layers if one.name not in inside]
    if not others or _reads_steps(subject):
        return None
    return (
        f"{layer.name} reads what {listed(others)} may remember of earlier inputs, so its state is not all that the "
        "network keeps, and nothing that follows from it alone is asked."
    )


@per_subject
def _reads_steps(subject: Subject) -> bool:
    """Return whether what the read layer's module reads at a step follows from the input at that step."""
    if subject.read is None:
        return False
    rows = np.arange(min(COMPARED, len(subject.x)))
    steps = subject.data[rows]
    at, given = steps.nonzero()[1], subject.x[rows].double().numpy()[steps]
    read = layer_inputs(subject, rows, stack_of(subject.read)[0])[steps]
    _, first, alike = np.unique(np.column_stack([at, given]), axis=0, return_index=True, return_inverse=True)
    same = np.abs(read - read[first[alike]]).max(axis=1) <= SAME * max(1.0, np.abs(read).max())
    return len(first) < len(at) and bool(same.all())


def dynamics_of(subject: Subject, stack: Sequence[Layer]) -> Dynamics:
    """Return the dynamics of layers on top of each other, in float64.

    An LSTM of few units is run by its own cell, which is faster over many rows; other layers of torch by torch's
    module; a layer that torch does not have by its step.
    """
    first = stack[0]
    if isinstance(first, OpenLayer):
        tried = _tried(subject, first.name)
        if isinstance(tried, ProbeError):
            raise tried
        return StepDynamics(tried)
    module = _alone(stack)
    cell = find_layers(module)[0].cell
    if len(stack) == 1 and isinstance(cell, LSTMCell) and narrow.few_units(cell):
        return CellDynamics(f"layer {first.name!r}", cell)
    return StackDynamics(module)


def _alone(stack: Sequence[Layer]) -> nn.RNNBase:
    """Return layers of torch on top of each other as one module in float64."""
    first = stack[0]
    kind: Any = {LSTMCell: nn.LSTM, GRUCell: nn.GRU, RNNCell: nn.RNN}[type(first.cell)]
    more: dict[str, Any] = {"nonlinearity": getattr(first.module, "nonlinearity")} if kind is nn.RNN else {}  # noqa: B009 - torch's
    bias = first.cell.weights.b_ih is not None
    module = kind(first.inputs, first.units, len(stack), bias=bias, batch_first=True, dtype=torch.float64, **more)
    with torch.no_grad():
        for parameters, layer in zip(module.all_weights, stack, strict=True):
            every = layer.cell.weights
            weights = [value for value in (every.W, every.U, every.b_ih, every.b_hh) if value is not None]
            for parameter, value in zip(parameters, weights, strict=True):
                parameter.copy_(value)
    return module.eval()


def _opened(subject: Subject, name: str, rows: np.ndarray) -> Stepwise:
    """Return the run of a layer that torch does not have on some sequences, in float64."""
    model = in_float64(subject.model)
    (same,) = find_layers(model, [name])
    x = subject.x[rows].double() if subject.x.is_floating_point() else subject.x[rows]
    return stepwise(model, cast("OpenLayer", same), x, tolerance=subject.tolerance)


@per_subject
def _tried(subject: Subject, name: str) -> Stepwise | ProbeError:
    """Return a short run of a layer whose every step was taken alone, or what speaks against that."""
    try:
        ran = _opened(subject, name, np.arange(min(TRIED, len(subject.x))))
        ran.check()
    except ProbeError as error:
        return error
    return ran


def beginnings(
    subject: Subject, stack: Sequence[Layer], rows: np.ndarray, steps: int | None
) -> tuple[Tensor, Tensor]:
    """Return what the lowest layer reads in the last steps (None: in all) of sequences, (sequence, step, number).

    With it come the states before these, (sequence, size).
    """
    lengths = subject.lengths[rows]
    later = np.flatnonzero(lengths > steps) if steps is not None else np.empty(0, dtype=int)
    last, first = lengths[later] - (steps or 0) - 1, stack[0]
    if isinstance(first, OpenLayer):
        ran, dynamics = _opened(subject, first.name, rows), dynamics_of(subject, stack)
        values, begin = ran.x.numpy(), dynamics.joined(ran.begin)
        begin[later] = dynamics.joined(ran.signals)[later, last]
    else:
        values, begin = layer_inputs(subject, rows, first), _states_before(subject, stack, rows, later, last)
    return torch.as_tensor(values if steps is None else of_last(values, lengths, steps)), begin


def _states_before(
    subject: Subject, stack: Sequence[Layer], rows: np.ndarray, later: np.ndarray, last: np.ndarray
) -> Tensor:
    """Return the states of layers of torch after a step of some rows, (row, size); of the others those before any."""
    signals, x, lengths = tuple(reversed(stack[0].states)), subject.x[rows], subject.lengths[rows]
    places = np.zeros((len(rows), len(signals), len(stack), stack[0].units))
    for number, layer in enumerate(stack):
        recording = run(subject.model, x, lengths, [layer.name], signals, tolerance=subject.tolerance)
        for place, signal in enumerate(signals):
            places[:, place, number] = recording.initial[layer.name, signal].double().numpy()
            places[later, place, number] = recording[layer.name, signal].double().numpy()[later, last]
    return torch.as_tensor(places).flatten(1)


def layer_inputs(subject: Subject, rows: np.ndarray, layer: Layer) -> np.ndarray:
    """Return what the lowest layer of a module reads at each step of sequences, (sequence, time, number), float64."""
    if isinstance(layer, OpenLayer):
        return _opened(subject, layer.name, rows).x.numpy()
    dtype = next((one.dtype for one in subject.model.parameters()), subject.x.dtype)
    x = subject.x[rows].to(torch.promote_types(subject.x.dtype, dtype))
    recording = run(
        subject.model, x, subject.lengths[rows], [layer.name], [layer.output], tolerance=subject.tolerance
    )
    return cast("Tensor", recording.inputs).double().numpy()


def of_last(values: np.ndarray, lengths: np.ndarray, steps: int) -> np.ndarray:
    """Return the last steps of each row, (row, step, number)."""
    places = lengths[:, None] - steps + np.arange(steps)
    return values[np.arange(len(values))[:, None], places]
