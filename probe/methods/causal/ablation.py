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
from ..machines import Machine
from ..readouts import Answers

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
        for prefixes in machine.clean.prefixes:
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
            columns: which numbers of a state, such as `machine.dynamics.unit(3)`.
            draws: how many of the draws are used, from the first on; None for all of them.

        Returns:
            Answers of shape (row x draw), the draws of a row one after the other.
        """
        count = self.draws if draws is None else draws
        width = max(1, _ROWS // len(self.machine.clean.prefixes[-1].rows))
        alone = self._computed_alone(columns)
        pieces = []
        for start in range(0, count, width):
            part = slice(start, min(start + width, count))
            states = self._run(columns, part) if alone is None else self._run_units(*alone, part)
            pieces.append(self.machine.answers_of_rows(states))
        rows = len(self.machine.clean.inputs)
        chosen, expected = (
            torch.cat([part.view(rows, -1) for part in parts], 1).flatten()
            for parts in zip(*((piece.chosen, piece.expected) for piece in pieces), strict=True)
        )
        return Answers(chosen, expected)

    def _computed_alone(self, columns: Sequence[int]) -> tuple[narrow.Steps, tuple[int, ...]] | None:
        """Return the units that are kept, their weights first; None where no loop computes them alone."""
        dynamics, taken = self.machine.dynamics, set(columns)
        kept = tuple(unit for unit in range(dynamics.units) if not taken.intersection(dynamics.unit(unit)))
        whole = dynamics.size - len(taken) == sum(len(dynamics.unit(unit)) for unit in kept)
        cell = dynamics.narrow_cell
        return (narrow.Steps.of(cell, kept), kept) if cell is not None and whole else None

    @cached_property
    def _drawn(self) -> list[Float[Tensor, "size prefix draw"]]:
        """The states of the drawn prefixes of each step, numbers first."""
        dynamics, clean = self.machine.dynamics, self.machine.clean
        drawn = (p.rows[others.flatten()] for p, others in zip(clean.prefixes, self.others, strict=True))
        states = (dynamics.repeated(clean.states[:, step], rows).T for step, rows in enumerate(drawn))
        return [numbers.view(dynamics.size, -1, self.draws) for numbers in states]

    @cached_property
    def _given(self) -> list[Float[Tensor, "unit prefix draw"]]:
        """What each step but the first is given of the hidden states before it, for its own prefixes."""
        hidden, clean = self.machine.dynamics.columns(Signal.HIDDEN_STATE), self.machine.clean
        return [
            drawn[hidden].index_select(1, clean.parents(step)) for step, drawn in enumerate(self._drawn[:-1], start=1)
        ]

    def _run_units(self, weights: narrow.Steps, kept: tuple[int, ...], draws: slice) -> Float[Tensor, "row size"]:
        """Return the last states where all units but some are ablated: nothing is computed of those.

        How much longer ablation takes where all units are computed: `python -m benchmarks.kernels --only ablation`.
        """
        dynamics, clean = self.machine.dynamics, self.machine.clean
        width, count = draws.stop - draws.start, len(kept)
        starts = [dynamics.columns(signal).start for signal in dynamics.signals]
        own = torch.tensor([start + unit for start in starts for unit in kept], dtype=torch.long)
        away = torch.tensor([unit for unit in range(dynamics.units) if unit not in kept], dtype=torch.long)
        last = self._drawn[-1][:, :, draws].flatten(1)
        if not kept:
            return last.T
        run = dynamics.repeated(clean.states[:, 0], clean.prefixes[0].rows, width).T.index_select(0, own)
        for step in range(1, len(clean.prefixes)):
            given = self._given[step - 1][:, :, draws].index_select(0, away).flatten(1)
            run = run.view(2 * count, -1, width).index_select(1, clean.parents(step)).flatten(1)
            x = clean.inputs[clean.prefixes[step].rows, step].repeat_interleave(width, 0).unsqueeze(0)
            run = narrow.last(weights, x, run[:count], run[count:], given)
        return last.index_copy(0, own, run).T

    def _run(self, columns: Sequence[int], draws: slice) -> Float[Tensor, "row size"]:
        clean, width = self.machine.clean, draws.stop - draws.start
        taken = torch.zeros(self.machine.dynamics.size, dtype=torch.bool)
        taken[list(columns)] = True
        states = clean.states[clean.prefixes[0].rows, 0].repeat_interleave(width, 0)
        for step, prefixes in enumerate(clean.prefixes):
            states = self.machine.follow(states, step - 1) if step else states
            other = prefixes.rows[self.others[step][:, draws].flatten()]
            states = torch.where(taken, clean.states[:, step].index_select(0, other), states)
        return states
