"""Nothing but torch: the loop that a careful user writes.

Rewrite: a function that takes the LSTM's weights and does its recurrence (`benchmarks/by_hand.py`). It holds for one
layer of one direction, and nothing tells the user when it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from .. import by_hand
from .harness import Tool, main


def loop(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record in a loop over steps."""
    return lambda x: by_hand.record(lstm, x)


def bare(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Call the module alone."""
    return lambda x: [lstm(x)[0]]


def resumed(model: by_hand.Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Patch a step's units in one batch, from the states before it."""
    return lambda x, source: by_hand.sweep(model, x, source)


TOOL = Tool({"a loop over steps": loop}, {"batched and resumed": resumed}, memory={"bare": bare})

if __name__ == "__main__":
    main(TOOL)
