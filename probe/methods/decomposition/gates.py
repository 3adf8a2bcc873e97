"""Exact shares of an input's effect among the gates that read it.

Averages and correlations do not say which gate an effect came through, since all gates read the input at once. Here
every subset of the gates gets another input, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.cells.cell import Cell, Moment
from ...recurrent.cells.gru import GRUCell
from ...recurrent.cells.lstm import LSTMCell
from ...recurrent.cells.rnn import RNNCell
from ...recurrent.signals import Signal
from ..machines import Machine
from ..readouts import Answers
from .contexts import Contexts, RowPairs
from .shapley import subsets

Value = TypeVar("Value")
#: What reads the input, by the signal that it makes -> the formula in which it does.
Places = Mapping[Signal, Signal]

_READ_INPUT: dict[type[Cell], Places] = {
    LSTMCell: {
        Signal.INPUT_GATE: Signal.INPUT_GATE_PREACTIVATION,
        Signal.FORGET_GATE: Signal.FORGET_GATE_PREACTIVATION,
        Signal.CELL_CANDIDATE: Signal.CELL_CANDIDATE_PREACTIVATION,
        Signal.OUTPUT_GATE: Signal.OUTPUT_GATE_PREACTIVATION,
    },
    GRUCell: {
        Signal.RESET_GATE: Signal.RESET_GATE_PREACTIVATION,
        Signal.UPDATE_GATE: Signal.UPDATE_GATE_PREACTIVATION,
        Signal.CANDIDATE: Signal.CANDIDATE_PREACTIVATION,
    },
    RNNCell: {Signal.HIDDEN_STATE: Signal.HIDDEN_STATE_PREACTIVATION},
}
#: The gates proper: what opens and shuts, and writes nothing itself.
_GATES: dict[type[Cell], tuple[Signal, ...]] = {
    LSTMCell: (Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.OUTPUT_GATE),
    GRUCell: (Signal.RESET_GATE, Signal.UPDATE_GATE),
    RNNCell: (),
}


def known(cell: Cell, table: Mapping[type[Cell], Value], what: str) -> Value:
    """Return what a table holds for a kind of cell.

    Raises:
        ProbeError: the kind of cell is unknown.
    """
    for kind, value in table.items():
        if isinstance(cell, kind):
            return value
    kinds = ", ".join(kind.__name__ for kind in table)
    raise ProbeError(f"A {type(cell).__name__} has no known {what}; they are known of {kinds}.")


def input_places(cell: Cell) -> Places:
    """Return what sees the input in a cell: for an LSTM i, f, g and o.

    Raises:
        ProbeError: the kind of cell is unknown.
    """
    return known(cell, _READ_INPUT, "gates that see the input")


def gates_of(cell: Cell) -> tuple[Signal, ...]:
    """Return a cell's gates, which write nothing themselves: for an LSTM i, f and o; a plain RNN has none.

    Raises:
        ProbeError: the kind of cell is unknown.
    """
    return known(cell, _GATES, "gates")


def delivered(
    contexts: Contexts, moments: tuple[Moment, Moment], places: Sequence[Signal]
) -> Float[np.ndarray, "context subset"]:
    """Return the expected answers after a step of which every subset of formulas sees the source's moment."""
    machine, (base, source), members = contexts.machine, moments, subsets(len(places))
    states = []
    for chosen in members:
        given = {place for place, member in zip(places, chosen, strict=True) if member}
        after: dict[Signal, Tensor] = {}
        for formula in machine.cell.formulas:
            moment = source if formula.signal in given else base
            after[formula.signal] = formula.compute(moment, *(after[needed] for needed in formula.sources))
        states.append(machine.dynamics.joined(after).T)
    joined = torch.stack(states, dim=2)
    return contexts.table(lambda part, chosen: joined[:, part, chosen], len(members))


@torch.no_grad()
def gate_table(
    machine: Machine, pairs: RowPairs, step: int
) -> tuple[Float[np.ndarray, "context subset"], Float[np.ndarray, " context"]]:
    """Return the expected answer with the source's input delivered to every subset of what sees it.

    Returns:
        The table, its players in the order of `input_places`, and the weight of each context.
    """
    contexts = Contexts(machine, pairs, source_step=step, step=step)
    before = machine.clean.states[contexts.base, step - 1] if step else machine.clean.initial[contexts.base]
    previous = machine.dynamics.parts(before)
    base, source = (machine.clean.inputs[rows, step] for rows in (contexts.base, contexts.source))
    moments = machine.cell.moment_at(base, previous), machine.cell.moment_at(source, previous)
    return delivered(contexts, moments, tuple(input_places(machine.cell).values())), contexts.weight


@torch.no_grad()
def with_constant_gates(machine: Machine, gates: Sequence[Signal]) -> Answers:
    """Return the answers where gates are frozen at their mean over the clean run, by unit and step.

    Raises:
        ProbeError: the layer does not have such a signal.
    """
    means = {gate: machine.clean.recorded(gate).mean(0) for gate in gates}
    state = machine.dynamics.parts(machine.clean.initial)
    for step in range(machine.clean.inputs.shape[1]):

        def freeze(signal: Signal, value: Tensor, step: int = step) -> Tensor:
            return means[signal][step].expand_as(value) if signal in means else value

        after = machine.cell.step(machine.cell.moment_at(machine.clean.inputs[:, step], state), freeze)
        state = {signal: after[signal] for signal in machine.dynamics.signals}
    return machine.answers(machine.dynamics.joined(state))


def kept_to_the_end(machine: Machine) -> Float[Tensor, "batch time unit"]:
    """Return how much of what each step leaves in a state is still there at the end of the clean run.

    An LSTM's cell state is linear in what is written, given its gates, c_T = c_0 prod_m f_m + sum_k i_k g_k
    prod_(m > k) f_m, and a GRU's hidden state is the same with f = z and i g = (1 - z) n: the product of the later
    gates is left of what a step wrote.

    Raises:
        ProbeError: the layer is a plain RNN, which keeps nothing as it is.

    Reference:
        Levy et al. 2018, Long short-term memory as a dynamically computed element-wise weighted sum, section 2.
    """
    signal = next((one for one in (Signal.FORGET_GATE, Signal.UPDATE_GATE) if one in machine.cell.signals), None)
    if signal is None:
        raise ProbeError(
            "A layer without forget_gate (LSTM) and update_gate (GRU) has no gate algebra; a plain RNN keeps nothing "
            "as it is."
        )
    gate = machine.clean.recorded(signal)
    later = torch.cat([gate[:, 1:], torch.ones_like(gate[:, :1])], dim=1)
    return later.flip(1).cumprod(1).flip(1)
