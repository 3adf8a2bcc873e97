"""The loss of an alignment search (DAS) after a patched state, and its gradient at that state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..machines import Machine
from ..outputs import per_row
from .alignment_lstm import Stretch, suits

#: (the model's output, what the answers should be (row,)) -> how wrong each row is, (row,); gradients go through it.
Loss = Callable[[Any, Tensor], Tensor]


def answer_loss(output: Any, target: Tensor) -> Tensor:
    """Return the cross-entropy of scores (row, class) for classes 0, 1, ...; of one number a row, the squared error.

    Args:
        output: the model's output.
        target: what the answers should be, (row,), on the scale of the classes or of the number.

    Raises:
        ProbeError: the output is neither, or a target is no class.
    """
    if isinstance(output, Tensor) and output.dim() == 1:
        return (output - target) ** 2
    if not isinstance(output, Tensor) or output.dim() != 2:
        shape = f" of shape {tuple(output.shape)}" if isinstance(output, Tensor) else ""
        raise ProbeError(
            f"The model's output is a {type(output).__name__}{shape}; the loss knows scores (row, class) and one "
            "number a row. Give loss=: a function of output and targets to one number a row."
        )
    wrong = (target != target.round()) | (target < 0) | (target >= output.shape[1])
    if bool(wrong.any()):
        raise ProbeError(
            f"An answer should be {target[wrong][0].item():g}, which is none of the classes 0 to "
            f"{output.shape[1] - 1}. Give loss=: a function of output and targets to one number a row."
        )
    return torch.nn.functional.cross_entropy(output, target.long(), reduction="none")


class Suffixes:
    """What follows a patched state: the base's further inputs, the output, its loss; and the way back.

    Args:
        machine: the model.
        step: after which step the states stand.
        rows: how many rows run together.
        loss: how wrong an output is.
    """

    def __init__(self, machine: Machine, step: int, rows: int, loss: Loss) -> None:
        self._inputs = machine.clean.inputs[:, step + 1 :].detach()
        self._loss, self._read = loss, machine.readout.read
        steps = self._inputs.shape[1]
        self._advance = Stretch(machine, steps, rows) if steps and suits(machine) else machine.dynamics.advance

    def gradient(
        self, states: Float[Tensor, "size row"], base: Int64[Tensor, " row"], target: Float[Tensor, " row"]
    ) -> Float[Tensor, "size row"]:
        """Return the gradient of the sum of losses at states, the numbers of a state first.

        Args:
            states: the states that are put in.
            base: with whose inputs each goes on.
            target: what the answers should be.

        Raises:
            ProbeError: the loss is not one finite number a row.
        """
        rows_first = states.T.requires_grad_()
        with torch.enable_grad():
            output = self._read(self._advance(rows_first, self._inputs.index_select(0, base)))
            losses = per_row("loss(...)", self._loss(output, target), len(target))
            (gradient,) = torch.autograd.grad(losses.sum(), rows_first)
        return gradient.T
