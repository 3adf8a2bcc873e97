"""The loss of an alignment search (DAS) after a patched state, and its gradient at that state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..machines import Machine
from ..readouts import per_row
from .alignment_lstm import Stretch, suits

#: (the model's output, what the answers should be (row,)) -> how wrong each row is, (row,); gradients go through it.
Loss = Callable[[Any, Tensor], Tensor]
#: What autograd calls the operations that a linear head and the way to it are made of.
_LINEAR = frozenset(
    f"{name}Backward0"
    for name in (
        *("Addmm", "Mm", "Add", "T", "Transpose", "Permute", "View", "UnsafeView", "ReshapeAlias", "Expand"),
        *("Slice", "Select", "Unsqueeze", "Squeeze", "Clone"),
    )
) | {"SqueezeBackward1"}
_ROUNDING = 1e-10


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


class LinearOutput:
    """An output that is a linear function of a machine's last state, and the gradient of its `answer_loss`.

    Torch would call the model in each step of a search, and go back through it. How much longer a search takes so:
    `python -m benchmarks.kernels --only alignment`.

    Args:
        weights: of each class's score, (class, size), or of the one number, (1, size).
        bias: of each, (class,) or (1,).
        scores: whether they are scores of classes.
    """

    def __init__(self, weights: Float[Tensor, "class size"], bias: Float[Tensor, " class"], *, scores: bool) -> None:
        self.weights, self.bias, self.scores = weights, bias.unsqueeze(1), scores
        self._back, self._minus_one = weights.T.contiguous(), weights.new_tensor(-1.0)

    @classmethod
    def of(cls, machine: Machine) -> LinearOutput | None:
        """Return a machine's, or None where its output is nothing that `answer_loss` knows or not seen to be linear.

        Args:
            machine: the model. Autograd's record of one reading says whether each operation between the state and
                the output is linear, and the output at all clean states must agree.
        """
        states = machine.clean.states[:, -1].detach().requires_grad_()
        with torch.enable_grad():
            output = machine.readout.read(states)
        if not isinstance(output, Tensor) or output.dim() not in (1, 2) or not _is_linear(output, states):
            return None
        with torch.no_grad():
            points = torch.cat([torch.zeros_like(states[:1]), torch.eye(states.shape[1]).to(states)])
            bias, *columns = machine.readout.read(points).view(len(points), -1)
            weights = torch.stack(columns, dim=1) - bias.unsqueeze(1)
            found = torch.addmm(bias, states, weights.T).view_as(output)
        agrees = torch.allclose(found, output, rtol=_ROUNDING, atol=_ROUNDING)
        return cls(weights, bias, scores=output.dim() == 2) if agrees else None

    def gradient(self, states: Float[Tensor, "size row"], target: Float[Tensor, " row"]) -> Float[Tensor, "size row"]:
        """Return the gradient of the sum of `answer_loss` at last states, the numbers of a state first.

        Raises:
            ProbeError: a target is no class, or a loss is not finite.
        """
        output = torch.addmm(self.bias, self.weights, states)
        wrong = self._at_scores(output, target) if self.scores else (output - target).mul_(2)
        if not wrong.sum().isfinite():
            shown = output.T if self.scores else output[0]
            _ = per_row("loss(...)", answer_loss(shown, target), len(target))
        return self._back @ wrong

    def _at_scores(self, scores: Float[Tensor, "class row"], target: Float[Tensor, " row"]) -> Tensor:
        """Return each class's probability, less one for the target: the gradient of the cross-entropy."""
        classes = target.long()
        low, high = classes.aminmax()
        if low < 0 or high >= len(scores) or not torch.equal(classes.to(target), target):
            _ = answer_loss(scores.T, target)
        less = self._minus_one.expand(1, len(target))
        return torch.softmax(scores, 0).scatter_add_(0, classes.unsqueeze(0), less)


def _is_linear(output: Tensor, states: Tensor) -> bool:
    """Return whether the way from states to output in autograd's record is one chain of linear operations."""
    node = output.grad_fn
    while node is not None and getattr(node, "variable", None) is not states:
        onward = [following for following, _ in node.next_functions if _leads(following, states)]
        if node.name() not in _LINEAR or len(onward) != 1:
            return False
        node = onward[0]
    return node is not None


def _leads(start: Any, states: Tensor) -> bool:
    """Return whether an operation in autograd's record has the states among what it was computed from."""
    seen, waiting = set(), [start]
    while waiting:
        node = waiting.pop()
        if getattr(node, "variable", None) is states:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return False


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
        self._stretch = Stretch(machine, steps, rows) if steps and suits(machine) else None
        self._advance = self._stretch or machine.dynamics.advance
        self._linear = LinearOutput.of(machine) if loss is answer_loss else None

    def gradient(
        self, states: Float[Tensor, "size row"], base: Int64[Tensor, " row"], target: Float[Tensor, " row"]
    ) -> Float[Tensor, "size row"]:
        """Return the gradient of the sum of losses at states, the numbers of a state first.

        Raises:
            ProbeError: the loss is not one finite number a row.
        """
        inputs = self._inputs.index_select(0, base)
        if self._linear is not None and self._stretch is not None:
            last = self._stretch.forward(states, inputs.permute(1, 2, 0))
            return self._stretch.backward(self._linear.gradient(last, target))
        rows_first = states.T.requires_grad_()
        with torch.enable_grad():
            last = self._advance(rows_first, inputs)
            if self._linear is None:
                losses = per_row("loss(...)", self._loss(self._read(last), target), len(target))
                (gradient,) = torch.autograd.grad(losses.sum(), rows_first)
            else:
                at_last = self._linear.gradient(last.detach().T, target)
                (gradient,) = torch.autograd.grad(last, rows_first, at_last.T)
        return gradient.T
