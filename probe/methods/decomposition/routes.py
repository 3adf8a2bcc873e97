"""Exact shares of a state difference among its routes to the next state: through the cell, or through the gates.

For one step the difference is let through every subset of the routes; then the run goes on from there.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from ...errors import ProbeError
from ...recurrent.cells.cell import Cell
from ...recurrent.cells.gru import GRUCell
from ...recurrent.cells.lstm import LSTMCell
from ...recurrent.cells.rnn import RNNCell
from ...recurrent.signals import Signal
from ..machines import Machine
from .contexts import Contexts, RowPairs
from .gates import Places, delivered, known

_READ_STATE: dict[type[Cell], Places] = {
    LSTMCell: {
        Signal.CELL_STATE: Signal.CELL_STATE,  # f * c
        Signal.INPUT_GATE: Signal.INPUT_GATE_PREACTIVATION,
        Signal.FORGET_GATE: Signal.FORGET_GATE_PREACTIVATION,
        Signal.CELL_CANDIDATE: Signal.CELL_CANDIDATE_PREACTIVATION,
        Signal.OUTPUT_GATE: Signal.OUTPUT_GATE_PREACTIVATION,
    },
    GRUCell: {
        Signal.HIDDEN_STATE: Signal.HIDDEN_STATE,  # z * h
        Signal.RESET_GATE: Signal.RESET_GATE_PREACTIVATION,
        Signal.UPDATE_GATE: Signal.UPDATE_GATE_PREACTIVATION,
        Signal.CANDIDATE: Signal.CANDIDATE_RECURRENT,
    },
    RNNCell: {Signal.HIDDEN_STATE: Signal.HIDDEN_STATE_PREACTIVATION},
}


def routes_of(cell: Cell) -> Places:
    """Return the routes out of a state, by the signal that each goes into.

    An LSTM has c through f * c (`cell_state`) and h into i, f, g and o; with peepholes, what c adds to a gate goes
    the gate's route. A GRU has h through z * h (`hidden_state`) and into r, z and n. A plain RNN has one route.

    Raises:
        ProbeError: the kind of cell is unknown.
    """
    return known(cell, _READ_STATE, "routes out of a state")


@torch.no_grad()
def route_table(
    machine: Machine, pairs: RowPairs, step: int
) -> tuple[Float[np.ndarray, "context subset"], Float[np.ndarray, " context"]]:
    """Return the expected answer where every subset of the routes carries the source's state for one step.

    The states stand after `step`; the next step reads the base's input, and so do all that follow.

    Returns:
        The table, its players in the order of `routes_of`, and the weight of each context.

    Raises:
        ProbeError: no step follows.
    """
    if not 0 <= step < machine.clean.inputs.shape[1] - 1:
        raise ProbeError("No route leads on from the state after the last step; choose an earlier step.")
    contexts = Contexts(machine, pairs, source_step=step, step=step + 1)
    states = machine.clean.states[:, step]
    base, source = (machine.dynamics.parts(states[rows]) for rows in (contexts.base, contexts.source))
    x = machine.clean.inputs[contexts.base, step + 1]
    moments = machine.cell.moment_at(x, base), machine.cell.moment_at(x, source)
    return delivered(contexts, moments, tuple(routes_of(machine.cell).values())), contexts.weight
