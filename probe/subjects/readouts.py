"""The readout of a study: what the network answers, and the head that turns its hidden states into scores."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..arguments import read_as
from ..errors import ProbeError, unknown
from .functions import calling

CLASSES, LOGIT, NUMBER = "classes", "logit", "number"
#: After which steps a readout answers.
LAST, EVERY = "last", "every"
KINDS = (CLASSES, LOGIT, NUMBER)
COMBINES = ("added", "replaced")
#: What a function of hidden states is called with, and what it must return.
WANTS = (
    "It is called with the last hidden states as a float64 tensor, (sequence, unit), and must return scores as a "
    "tensor, (sequence, class), or one number a sequence. Let it take any floating type, or give an nn.Module."
)


@dataclass(frozen=True, eq=False)
class Readout:
    """The head of a network: it gives the answer after a sequence's last step, or after every step.

    Without weight, function and output the model's own output is the answer: scores of classes or one number, of a
    sequence, (batch, score), or of every step, (batch, time, score). Where one module of the model makes that of the
    last hidden state alone, which is verified by a run, this module is the head.

    Attributes:
        concept: the name of the concept whose value at a step is the right answer there.
        weight: of a linear head, (score, unit): an array, or the name of one in the network's file.
        transposed: whether weight is (unit, score) instead; None takes an array as it is, and one of a file as the
            framework of the file writes it.
        bias: its bias, (score,), or None for none.
        function: instead of weight and bias: from hidden states, (sequence, unit), to scores; an `nn.Module` or any
            function that takes a float64 tensor.
        kind: `classes` (the largest score is the answer), `logit` (one score, above 0 for the second answer) or
            `number` (one score is the answer); None takes `classes` for several scores and `number` for one.
        answers: the answer that each score stands for, in their order; None takes 0, 1, ..., or a categorical
            concept's categories in order where there are as many.
        layer: the layer whose hidden state is read; None for the last one that is studied.
        combine: the right answer after another sequence's state (the source) was patched in, if the concept is an
            array: `added` (source + whole base - base so far), `replaced` (the source's), or a function of tensors
            (source so far, base so far, whole base), (row,) each. A concept that is a function needs none.
        interchange_step: the step after which states are patched, from each sequence's end: -1 is the last step, -4
            leaves three steps to read. None takes the middle of the steps that are run.
        output: instead of weight or function, where the answer stands in the model's own output: two functions of
            that output, to answers and to expected answers, (batch,) each, on the concept's scale.
        steps: after which steps a head answers: `last`, each sequence's last one, or `every`. An answer in the
            model's output is the last one.
    """

    concept: str
    weight: Any = None
    bias: Any = None
    transposed: bool | None = None
    function: Any = None
    kind: str | None = None
    answers: Sequence[Any] | None = None
    layer: str | None = None
    combine: Any = None
    interchange_step: Any = None
    output: tuple[Callable[[Any], Tensor], Callable[[Any], Tensor]] | None = None
    steps: Any = LAST

    def __post_init__(self) -> None:
        heads = [given for given in (self.weight, self.function, self.output) if given is not None]
        if len(heads) > 1:
            raise ProbeError(
                "A readout is linear (weight, bias), a function of hidden states, or read off the model's output "
                "(output); give one of the three, or none where the model's output is its answer."
            )
        if (self.bias is not None and self.weight is None) or (self.layer is not None and self.is_own_output):
            raise ProbeError("bias and layer speak of a head; give its weight, or its function and no bias.")
        if self.layer is not None:
            read_as("layer", self.layer)
        if self.function is not None and not callable(self.function):
            raise ProbeError(f"A readout's function must be callable, and is a {type(self.function).__name__}.")
        if self.transposed is not None and (self.weight is None or not isinstance(self.transposed, bool)):
            raise ProbeError(f"transposed={self.transposed!r} must be True or False, and speaks of weight.")
        if self.kind is not None and (not isinstance(self.kind, str) or self.kind not in KINDS):
            raise ProbeError(unknown("kind of readout", self.kind, KINDS))
        step = self.interchange_step
        if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step >= 0):
            raise ProbeError(
                f"interchange_step={step!r} must be a whole number below 0, counted from each sequence's end: -1 is "
                "its last step."
            )
        if isinstance(self.combine, str) and self.combine not in COMBINES:
            raise ProbeError(unknown("combine", self.combine, COMBINES) + " A function is allowed as well.")
        if not isinstance(self.steps, str) or self.steps not in (LAST, EVERY):
            raise ProbeError(f"steps={self.steps!r} must be {LAST!r} or {EVERY!r}.")
        if self.output is not None and self.steps != LAST:
            raise ProbeError(
                f"steps={self.steps!r} needs a head, which reads the hidden state after any step; an answer in the "
                "model's output is the last one. Give weight (and bias), or function, in place of output."
            )

    @property
    def is_own_output(self) -> bool:
        """Whether neither a head nor a place in the output is given: the model's output is its answer."""
        return self.weight is None and self.function is None and self.output is None

    def answered(self, lengths: np.ndarray, time: int) -> Bool[np.ndarray, "sequence step"]:
        """Return after which of `time` steps sequences of some lengths, (sequence,), are answered."""
        steps, ends = np.arange(time), lengths[:, None]
        return steps < ends if self.steps == EVERY else steps == ends - 1

    @property
    def when(self) -> str:
        """Return after which steps it answers, in words."""
        return f"after {'every step' if self.steps == EVERY else 'the last step'}"


class Head(nn.Module):
    """A readout's function from hidden states to scores, with what its answers mean.

    Args:
        scores: what makes scores of hidden states, (sequence, unit).
        kind: how they are read.
        values: the number that each class stands for, (class,); of a number the values that it is rounded to, in
            order, or empty for none. Of three or more that lie whole steps apart, such steps beyond them count too.
        differentiable: whether torch's gradients run through it, as they do not through numpy.
    """

    def __init__(
        self,
        scores: nn.Module | Callable[[Tensor], Tensor],
        kind: str,
        values: np.ndarray,
        *,
        differentiable: bool = True,
    ) -> None:
        super().__init__()
        self.inner, self.kind, self.values = scores, kind, torch.as_tensor(values, dtype=torch.float64)
        self.differentiable = differentiable

    def forward(self, h: Float[Tensor, "row unit"]) -> Tensor:
        """Return scores, (row, class), or one number a row."""
        h = h if self.differentiable else h.detach()
        with calling("The readout's function", WANTS):
            scores = self.inner(h)
        if self.kind == CLASSES:
            return scores
        scores = scores.reshape(len(h))
        return torch.stack([torch.zeros_like(scores), scores], 1) if self.kind == LOGIT else scores

    def answer(self, output: Tensor) -> Float[Tensor, " row"]:
        """Return the answer of each row, as the concept's number."""
        if self.kind != NUMBER:
            return self.values[output.argmax(1)]
        return self._rounded(output) if len(self.values) else output

    def gives(self, right: Tensor) -> Bool[Tensor, " row"]:
        """Return which numbers can be answers, (row,); of a number that is rounded, whole steps beyond its values."""
        return torch.isclose(self._rounded(right), right) if len(self.values) else torch.ones(len(right)).bool()

    def _rounded(self, number: Tensor) -> Tensor:
        """Return the nearest of the values, and of whole steps from them where a number has them; see `values`."""
        nearest = self.values[(number[:, None] - self.values).abs().argmin(1)]
        if self.kind != NUMBER or len(self.values) < 3:
            return nearest
        step = self.values.diff().min()
        places = (self.values - self.values[0]) / step
        return nearest + step * ((number - nearest) / step).round() * torch.allclose(places, places.round())

    def expected(self, output: Tensor) -> Float[Tensor, " row"]:
        """Return the mean answer by the probabilities of the classes, or the number itself."""
        return output if self.kind == NUMBER else output.softmax(1) @ self.values.to(output)

    def loss(self, output: Tensor, target: Tensor) -> Float[Tensor, " row"]:
        """Return the cross-entropy of the answers that should come, or the squared error."""
        if self.kind == NUMBER:
            return (output - target) ** 2
        classes = (self.values[None] - target[:, None]).abs().argmin(1)
        return nn.functional.cross_entropy(output, classes, reduction="none")


def copied(scores: Any) -> Any:
    """Return a module in float64 and in evaluation mode as a copy, and a plain function as it is."""
    return copy.deepcopy(scores).double().eval() if isinstance(scores, nn.Module) else scores
