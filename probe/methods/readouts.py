"""What a model answers, read off the last states of its recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..errors import ProbeError
from .outputs import per_row


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
