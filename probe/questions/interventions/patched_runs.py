"""Runs a whole model with one sequence's states patched into another's run, and on the spliced sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...edits.constructors import Edit, patch
from ...errors import ProbeError
from ...hooks.intervene import intervene
from ...hooks.record import record
from ...methods.outputs import per_row
from ...recurrent.signals import Signal
from ...subjects.subject import Subject

#: What is patched, in the order of drawing. A cell state has the hidden state that it makes beside it, or the base's.
PARTS = ("none", "cell_state_alone", "cell_state", "hidden_state", "whole_state")
#: The same for a cell whose state is the hidden state.
PARTS_OF_ONE = ("none", "whole_state")


class PatchedRuns:
    """A model's clean run over a batch, from which states are taken and into which they are patched.

    Args:
        subject: any model with recurrent layers, whose answers stand in its output.
        rows: which of its sequences; None for all.

    Raises:
        ProbeError: answers stand elsewhere, or are not one number a row.
    """

    def __init__(self, subject: Subject, rows: Sequence[int] | None = None) -> None:
        if subject.asked.output is None:
            raise ProbeError("The answers of this subject do not stand in its model's output; give output=.")
        answer, expected = subject.asked.output
        self.model, self.layer = subject.model, subject.layer or None
        self.x, layer = subject.x if rows is None else subject.x[list(rows)], self.layer
        layers, self.tolerance = None if layer is None else [layer], subject.tolerance
        self.recording = record(self.model, self.x, layers=layers, tolerance=self.tolerance)
        self._read = {"answer(...)": answer, "expected(...)": expected}
        self.answers, self.expected = self._reads(self.recording.output)
        #: What can be patched.
        self.parts = PARTS if Signal.CELL_STATE in self.recording.initial else PARTS_OF_ONE

    def _reads(self, output: Any) -> tuple[Tensor, Tensor]:
        answers, expected = (per_row(name, read(output), len(self.x)) for name, read in self._read.items())
        return answers, expected

    @torch.no_grad()
    def patched(self, step: int, sources: Tensor, part: str) -> tuple[Tensor, Tensor]:
        """Return answers and expected answers with a part of the state taken from each row's source at a step.

        Args:
            step: at which step.
            sources: the row that each row's is taken from, (batch,).
            part: one of `parts`.
        """
        edits = self._edits(step, sources, part)
        if not edits:
            return self.answers, self.expected
        with intervene(self.model, *edits, tolerance=self.tolerance):
            return self._reads(self.model(self.x))

    def _edits(self, step: int, sources: Tensor, part: str) -> list[Edit]:
        own = list(range(len(self.x)))
        taken: Mapping[str, Mapping[Signal, list[int]]] = {
            "none": {},
            "cell_state_alone": {Signal.CELL_STATE: sources.tolist(), Signal.HIDDEN_STATE: own},
            "cell_state": {Signal.CELL_STATE: sources.tolist()},
            "hidden_state": {Signal.HIDDEN_STATE: sources.tolist()},
            "whole_state": {signal: sources.tolist() for signal in self.recording.initial},
        }
        return [
            patch(signal, self.recording, layer=self.layer, steps=step, source_rows=rows)
            for signal, rows in taken[part].items()
        ]

    @torch.no_grad()
    def spliced(self, step: int, sources: Tensor) -> Tensor:
        """Return the answers of a clean run on the source's prefix followed by the base's suffix."""
        return self._reads(self.model(splice(self.x[sources], self.x, step)))[0]


def splice(source: Tensor, base: Tensor, step: int) -> Tensor:
    """Return the source up to and including a step, then the base, (batch, time, input)."""
    return torch.cat([source[:, : step + 1], base[:, step + 1 :]], dim=1)
