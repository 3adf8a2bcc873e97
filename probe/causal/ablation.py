"""Resample ablation: some numbers of the state come from another sequence, after every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ..errors import ProbeError
from ..machines import CHUNK, Answers, Machine


class Resampling:
    """For each distinct prefix of each step, other prefixes of that step, drawn once for all ablations.

    Args:
        machine: the model.
        draws: how many times each prefix is given another.
        seed: of the drawing.

    Raises:
        ProbeError: no draw is asked for.

    Reference:
        Chan et al. 2022, Causal scrubbing (resampling ablation); docs/science.md, claim 14.
    """

    def __init__(self, machine: Machine, *, draws: int = 32, seed: int = 0) -> None:
        if draws < 1:
            raise ProbeError(f"draws={draws}; at least 1 is needed.")
        self.machine, self.draws = machine, draws
        generator = np.random.default_rng(seed)
        #: For each step which prefix each one is given, (prefix, draw).
        self.others: list[Int64[Tensor, "prefix draw"]] = []
        for prefixes in machine.prefixes:
            size = len(prefixes.rows)
            # One of the others, each as likely; a prefix that is alone can only be given itself.
            away = generator.integers(1, size, (size, draws)) if size > 1 else np.zeros((1, draws), np.int64)
            self.others.append(torch.as_tensor((np.arange(size)[:, None] + away) % size))

    @torch.no_grad()
    def answers(self, columns: Sequence[int], draws: int | None = None) -> Answers:
        """Return the answers where numbers of the state are those of the drawn prefixes, after every step.

        All of them come from the same prefix. What is not among them is computed by the network itself, from the
        state that it has been given.

        Args:
            columns: which numbers of a state, such as `machine.unit(3)`.
            draws: how many of the draws are used, from the first on; None for all of them.

        Returns:
            Answers of shape (row x draw), the draws of a row one after the other.
        """
        count = self.draws if draws is None else draws
        width = max(1, CHUNK // len(self.machine.prefixes[-1].rows))
        pieces = [self._run(columns, slice(start, min(start + width, count))) for start in range(0, count, width)]
        rows = len(self.machine.inputs)
        chosen, expected = (
            torch.cat([part.view(rows, -1) for part in parts], 1).flatten()
            for parts in zip(*((piece.chosen, piece.expected) for piece in pieces), strict=True)
        )
        return Answers(chosen, expected)

    def _run(self, columns: Sequence[int], draws: slice) -> Answers:
        machine, width = self.machine, draws.stop - draws.start
        states = machine.states[machine.prefixes[0].rows, 0].repeat_interleave(width, 0)
        for step, prefixes in enumerate(machine.prefixes):
            states = machine.follow(states, step - 1) if step else states
            other = prefixes.rows[self.others[step][:, draws].flatten()]
            given = machine.states[:, step].index_select(0, other)
            for column in columns:
                states[:, column] = given[:, column]
        return machine.answers_of_rows(states)
