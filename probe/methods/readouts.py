"""What a model answers, read off the last states of its recurrent layers, or off its output.

What is read off an output is checked: one finite number for each row of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ProbeError
from ..recurrent.global_state import in_float64

#: How many sequences are run together: few enough that what torch keeps of all their steps stays in a cache.
_TOGETHER = 1_024


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers.

    Attributes:
        chosen: the answer, (row,).
        expected: the expected answer on the same scale, (row,), float64; it shows what a choice can hide.
    """

    chosen: Tensor
    expected: Tensor


@dataclass(frozen=True, eq=False)
class StateReadout:
    """What a model makes of the last states of its recurrent layers.

    Attributes:
        read: from last states, (row, size), to the model's output.
        answer: from the model's output to answers, (row,).
        expected: from the model's output to expected answers, (row,).
    """

    read: Callable[[Tensor], Any]
    answer: Callable[[Any], Tensor]
    expected: Callable[[Any], Tensor]

    def answers(self, states: Float[Tensor, "row size"]) -> Answers:
        """Return the answers where these are the last states."""
        return self.of_output(self.read(states), len(states))

    def of_output(self, output: Any, rows: int) -> Answers:
        """Return the answers that stand in the model's output.

        Raises:
            ProbeError: `answer` or `expected` fails, or does not give one finite number a row.
        """
        chosen = per_row("answer(...)", _called("answer(...)", self.answer, output), rows)
        expected = per_row("expected(...)", _called("expected(...)", self.expected, output), rows)
        return Answers(chosen, expected.double())


def _called(name: str, function: Callable[[Any], Tensor], output: Any) -> Tensor:
    try:
        return function(output)
    except RuntimeError as error:
        raise ProbeError(
            f"{name} failed on the output of the float64 copy that runs: {error}. Let it take any floating type, "
            "such as by `.to(output)`."
        ) from error


def per_row(name: str, values: object, rows: int) -> Tensor:
    """Return values that are one finite number a row.

    A column (batch, 1) beside a row (batch,) broadcasts to (batch, batch) without a word, and every share and
    mean of it is a wrong number.

    Raises:
        ProbeError: the values are no tensor, not of shape (rows,), complex, or not finite.
    """
    if not isinstance(values, Tensor):
        raise ProbeError(f"{name} is a {type(values).__name__}; it must be a tensor of shape ({rows},).")
    if tuple(values.shape) != (rows,):
        raise ProbeError(
            f"{name} has shape {tuple(values.shape)}; it must have shape ({rows},), one value for each row of the "
            "batch. Take the axis of length 1 off with .squeeze(-1), or choose one value a row."
        )
    if values.is_complex():
        raise ProbeError(f"{name} holds complex numbers; choose a real one a row, such as its .abs() or its .real.")
    wrong = (~torch.isfinite(values)).nonzero().flatten().tolist()
    if wrong:
        raise ProbeError(f"{name} is {values[wrong[0]].item()} at row {wrong[0]}; every row needs a finite number.")
    return values


@torch.no_grad()
def answers_by_length(
    model: nn.Module,
    x: Mapping[int, Tensor],
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return a model's answers and expected answers to sequences of several lengths, run in float64.

    Args:
        model: the model; a copy of it runs.
        x: length -> sequences, (batch, time, ...).
        answer: from the model's output to answers, (batch,).
        expected: from the model's output to expected answers, (batch,).

    Returns:
        Both by length, (batch,) each.

    Raises:
        ProbeError: either does not give one finite number a row.
    """
    copied = in_float64(model)
    given, shown = {}, {}
    for length, batch in x.items():
        found = []
        for part in batch.split(_TOGETHER):
            output = copied(part.double())
            chosen = per_row("answer(...)", answer(output), len(part))
            found.append((chosen, per_row("expected(...)", expected(output), len(part))))
        both = (torch.cat(side).cpu().numpy().astype(float) for side in zip(*found, strict=True))
        given[length], shown[length] = both
    return given, shown
