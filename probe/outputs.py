"""What a question reads off a model's output: one finite number for each row of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ProbeError


def per_row(name: str, values: object, rows: int) -> Tensor:
    """Return values that are one finite number a row.

    A column (batch, 1) beside a row (batch,) broadcasts to (batch, batch) without a word, and every share and
    mean of it is a wrong number.

    Args:
        name: what gave the values, for the message, such as `answer(...)`.
        values: what it gave.
        rows: how many rows the batch has.

    Raises:
        ProbeError: the values are no tensor, not of shape (rows,), or not finite.
    """
    if not isinstance(values, Tensor):
        raise ProbeError(f"{name} is a {type(values).__name__}; it must be a tensor of shape ({rows},).")
    if tuple(values.shape) != (rows,):
        raise ProbeError(
            f"{name} has shape {tuple(values.shape)}; it must have shape ({rows},), one value for each row of the "
            "batch. Take the axis of length 1 off with .squeeze(-1), or choose one value a row."
        )
    wrong = (~torch.isfinite(values)).nonzero().flatten().tolist()
    if wrong:
        raise ProbeError(f"{name} is {values[wrong[0]].item()} at row {wrong[0]}; every row needs a finite number.")
    return values
