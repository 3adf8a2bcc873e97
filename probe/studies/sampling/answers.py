"""A network's answers to sequences, and which sequences a study asks about."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.signals import Signal
from ..definition.prepared import Prepared
from .network_states import run
from .sample import POINTS, SEQUENCES

#: At least so many sequences are looked at, however long they are.
FEWEST = 100


def answers(prepared: Prepared, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answers to sequences of a study; see `answers_to`."""
    return answers_to(prepared, prepared.x[rows], prepared.lengths[rows])


@torch.no_grad()
def answers_to(prepared: Prepared, x: Tensor, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answer to each sequence, as a value of the concept and as the number before rounding.

    Args:
        prepared: the study.
        x: the sequences, (sequence, time, feature).
        lengths: how many steps each has, (sequence,).

    Returns:
        The answers, (sequence,), and the raw numbers, (sequence,).

    Raises:
        ProbeError: the study has no readout.
    """
    read, head = prepared.read, prepared.head
    if read is None or head is None:
        raise ProbeError("The study has no readout, and so no answers.")
    recording = run(prepared.opened.model, x, lengths, read.name, [Signal.HIDDEN_STATE])
    last = recording[read.name, Signal.HIDDEN_STATE][torch.arange(len(x)), torch.as_tensor(lengths - 1)]
    output = copy.deepcopy(head).double()(last.double())
    return head.answer(output).numpy(), head.expected(output).numpy()


def answered_rows(prepared: Prepared) -> np.ndarray:
    """Return the sequences whose answers are looked at: those with a right answer, or a random part of them."""
    right = prepared.answered.values[np.arange(len(prepared.x)), prepared.lengths - 1]
    rows = np.flatnonzero(np.isfinite(right))
    most = int(np.clip(2 * POINTS // prepared.x.shape[1], FEWEST, SEQUENCES))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng([prepared.seed, 6]).choice(rows, most, replace=False))
    return rows
