"""Resample ablation: units of the state take another sequence's values after every step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.cells import narrow
from ...recurrent.signals import Signal
from ..machines import Answers, Machine

#: How many rows run together.
_ROWS = 32_768


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
        width = max(1, _ROWS // len(self.machine.prefixes[-1].rows))
        units = self._kept_units(columns)
        pieces = []
        for start in range(0, count, width):
            part = slice(start, min(start + width, count))
            states = self._run(columns, part) if units is None else self._run_units(units, part)
            pieces.append(self.machine.answers_of_rows(states))
        rows = len(self.machine.inputs)
        chosen, expected = (
            torch.cat([part.view(rows, -1) for part in parts], 1).flatten()
            for parts in zip(*((piece.chosen, piece.expected) for piece in pieces), strict=True)
        )
        return Answers(chosen, expected)

    def _kept_units(self, columns: Sequence[int]) -> tuple[int, ...] | None:
        """Return the units that are kept, or None where one is kept in part, or no loop computes some units alone."""
        machine, taken = self.machine, set(columns)
        kept = tuple(unit for unit in range(machine.units) if not taken.intersection(machine.unit(unit)))
        whole = machine.size - len(taken) == sum(len(machine.unit(unit)) for unit in kept)
        return kept if machine.numbers_first and whole else None

    @cached_property
    def _drawn(self) -> list[Float[Tensor, "size prefix draw"]]:
        """The states of the drawn prefixes of each step, numbers first."""
        machine = self.machine
        drawn = (p.rows[others.flatten()] for p, others in zip(machine.prefixes, self.others, strict=True))
        states = (machine.repeated(machine.states[:, step], rows).T for step, rows in enumerate(drawn))
        return [numbers.view(machine.size, -1, self.draws) for numbers in states]

    @cached_property
    def _given(self) -> list[Float[Tensor, "unit prefix draw"]]:
        """What each step but the first is given of the hidden states before it, for its own prefixes."""
        hidden, machine = self.machine.columns(Signal.HIDDEN_STATE), self.machine
        return [
            drawn[hidden].index_select(1, machine.parents(step))
            for step, drawn in enumerate(self._drawn[:-1], start=1)
        ]

    def _run_units(self, kept: tuple[int, ...], draws: slice) -> Float[Tensor, "row size"]:
        """Return the last states where all units but some are ablated: nothing is computed of those."""
        machine, width, count = self.machine, draws.stop - draws.start, len(kept)
        starts = [machine.columns(signal).start for signal in machine.signals]
        own = torch.tensor([start + unit for start in starts for unit in kept], dtype=torch.long)
        away = torch.tensor([unit for unit in range(machine.units) if unit not in kept], dtype=torch.long)
        weights = machine.steps_of(kept)
        last = self._drawn[-1][:, :, draws].flatten(1)
        if not kept:
            return last.T
        run = machine.repeated(machine.states[:, 0], machine.prefixes[0].rows, width).T.index_select(0, own)
        for step in range(1, len(machine.prefixes)):
            given = self._given[step - 1][:, :, draws].index_select(0, away).flatten(1)
            run = run.view(2 * count, -1, width).index_select(1, machine.parents(step)).flatten(1)
            x = machine.inputs[machine.prefixes[step].rows, step].repeat_interleave(width, 0).unsqueeze(0)
            run = narrow.last(weights, x, run[:count], run[count:], given)
        return last.index_copy(0, own, run).T

    def _run(self, columns: Sequence[int], draws: slice) -> Float[Tensor, "row size"]:
        machine, width = self.machine, draws.stop - draws.start
        states = machine.states[machine.prefixes[0].rows, 0].repeat_interleave(width, 0)
        for step, prefixes in enumerate(machine.prefixes):
            states = machine.follow(states, step - 1) if step else states
            other = prefixes.rows[self.others[step][:, draws].flatten()]
            given = machine.states[:, step].index_select(0, other)
            for column in columns:
                states[:, column] = given[:, column]
        return states
