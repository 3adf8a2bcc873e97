"""The readout of a study: what the network answers, and the head that turns its hidden states into scores."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd import gradcheck

from ..arguments import read_as
from ..errors import ProbeError, unknown
from .concepts import Known
from .functions import calling
from .networks.network_file import Opened

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
#: Who writes a dense layer's weight as (unit, score).
KERNELS = ("Keras", "TensorFlow")
#: A number is read as the nearest of the concept's values where these are so few, and as it is otherwise.
MOST_LEVELS = 50


def _are_two_functions(given: Any) -> bool:
    return isinstance(given, (tuple, list)) and len(given) == 2 and all(map(callable, given))


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
        output: where the answer stands in the model's own output. Of a tuple the place of the item that is the
            answer, of a dict or an object its name; None takes the one item that can be it. Or, instead of weight or
            function, two functions of that output, to answers and to expected answers, (batch,) each, on the
            concept's scale.
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
    output: int | str | tuple[Callable[[Any], Tensor], Callable[[Any], Tensor]] | None = None
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
        named = isinstance(self.output, (int, str)) and not isinstance(self.output, bool)
        if self.output is not None and not named and not _are_two_functions(self.output):
            raise ProbeError(
                f"output={str(self.output)[:60]!r} must be the place or the name of an item of what the model "
                "returns, such as output=0, or two functions of that, to answers and to expected answers."
            )
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
        if self.functions is not None and self.steps != LAST:
            raise ProbeError(
                f"steps={self.steps!r} needs a head, which reads the hidden state after any step; an answer in the "
                "model's output is the last one. Give weight (and bias), or function, in place of output."
            )

    @property
    def is_own_output(self) -> bool:
        """Whether neither a head nor functions are given: the model's output, or an item of it, is its answer."""
        return self.weight is None and self.function is None and self.functions is None

    @property
    def item(self) -> int | str | None:
        """Which item of what the model returns is its output; None where that is not said."""
        return self.output if isinstance(self.output, (int, str)) else None

    @property
    def functions(self) -> tuple[Callable[[Any], Tensor], Callable[[Any], Tensor]] | None:
        """From the model's output to answers and to expected answers; None where these are not given."""
        return None if isinstance(self.output, (int, str)) else self.output

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


def build_head(readout: Readout, concept: Known, opened: Opened, units: int, rows: int) -> Head:
    """Return a readout's head for a layer of so many units, tried on as many rows as there are, at most 8."""
    scores = readout.function if readout.function is not None else _linear(readout, opened, units)
    tried = torch.randn(min(rows, 8), units, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad(), calling("The readout's function", WANTS):
        scored = copied(scores)(tried)
    if not isinstance(scored, Tensor) or len(scored.shape) not in (1, 2) or len(scored) != len(tried):
        shape = tuple(scored.shape) if isinstance(scored, Tensor) else f"a {type(scored).__name__}"
        raise ProbeError(f"The readout's function returned {shape} for {len(tried)} sequences. {WANTS}")
    width = 1 if scored.dim() == 1 else scored.shape[1]
    kind, values = meaning(readout, width, concept)
    return Head(scores, kind, values, differentiable=_is_differentiable(copied(scores), tried))


def meaning(readout: Readout, width: int, concept: Known) -> tuple[str, np.ndarray]:
    """Return how scores are read, and the number that each class stands for or that a number is rounded to."""
    kind = readout.kind or (CLASSES if width > 1 else NUMBER)
    if (kind == CLASSES) == (width == 1):
        raise ProbeError(
            f"The readout has {width} score{'s' * (width > 1)} and is of kind {kind!r}; several scores are "
            f"{CLASSES!r}, one is {LOGIT!r} or {NUMBER!r}."
        )
    if readout.kind is None and kind == NUMBER and len(concept.levels) == 2:
        raise ProbeError(
            f"The readout has one score and the concept {concept.name!r} two values: say whether the score is the "
            f'answer (kind = "{NUMBER}") or a logit, above 0 for the second answer (kind = "{LOGIT}").'
        )
    if kind == NUMBER and concept.is_categorical:
        raise ProbeError(
            f"The readout is one number and the concept {concept.name!r} is categorical. Give a numeric concept, or "
            f"a head of kind {CLASSES!r} or {LOGIT!r}."
        )
    return kind, _values(readout, kind, width, concept)


def _is_differentiable(scores: Any, tried: Tensor) -> bool:
    """Return whether torch's gradient of a function is the one that small steps show, which numpy in it breaks.

    A function may be defined for some states alone, as atanh is, so it is tried at small ones, also above 0.
    """
    bounds: dict[str, Any] = {"eps": 1e-4, "atol": 1e-4, "rtol": 2e-2, "raise_exception": False, "fast_mode": True}
    small = tried.tanh() / 2
    for states in (tried, small, small.abs()):
        with suppress(RuntimeError, TypeError, ValueError), torch.enable_grad():
            at = states.clone().requires_grad_()
            if scores(at).requires_grad and gradcheck(scores, at, check_undefined_grad=False, **bounds):
                return True
    return False


def _linear(readout: Readout, opened: Opened, units: int) -> nn.Linear:
    weight, bias = (
        _array(name, given, opened.tensors) for name, given in (("weight", readout.weight), ("bias", readout.bias))
    )
    if weight is not None and weight.dim() == 2 and _is_transposed(readout, tuple(weight.shape), units, opened):
        weight = weight.T
    if weight is None or weight.dim() != 2 or weight.shape[1] != units:
        shape = None if weight is None else tuple(weight.shape)
        raise ProbeError(
            f"The readout's weight has shape {shape}; it must be (score, {units}), for the {units} hidden units "
            "that it reads. Say that it is transposed (transposed = true), or with layer= which layer's hidden state "
            "it reads."
        )
    if bias is not None and tuple(bias.shape) != (len(weight),):
        raise ProbeError(
            f"The readout's bias has shape {tuple(bias.shape)}; it must be ({len(weight)},), as weight has rows."
        )
    return linear(weight, bias)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear module in float64 of these weights, (score, unit), and this bias, (score,)."""
    head = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, dtype=torch.float64)
    _ = head.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return head


def _is_transposed(readout: Readout, shape: tuple[int, ...], units: int, opened: Opened) -> bool:
    """Return whether a weight is (unit, score), where that can be known."""
    if readout.transposed is not None:
        return readout.transposed
    if not isinstance(readout.weight, str) or opened.framework == "PyTorch":
        return False
    if opened.framework in KERNELS:
        return True
    if shape == (units, units):
        raise ProbeError(
            f"The readout's weight {readout.weight!r} is square, {shape}, and a file of {opened.source} does not say "
            "whether it is (score, unit), transposed = false, or (unit, score), transposed = true. Say which."
        )
    return shape[0] == units


def _array(what: str, given: Any, tensors: Mapping[str, Tensor]) -> Tensor | None:
    if given is None:
        return None
    if isinstance(given, str):
        if given not in tensors:
            raise ProbeError(f"The readout's {what}: " + unknown("array", given, tensors))
        return tensors[given].double()
    try:
        return given.double() if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given, dtype=float))
    except (TypeError, ValueError) as error:
        raise ProbeError(
            f"The readout's {what} is a {type(given).__name__}; it must be an array of numbers, or the name of an "
            "array in the network's file. A module or a function is given as function=..."
        ) from error


def _values(readout: Readout, kind: str, width: int, concept: Known) -> np.ndarray:
    if kind == NUMBER:
        return concept.levels if len(concept.levels) <= MOST_LEVELS else np.empty(0)
    count = 2 if kind == LOGIT else width
    answers = readout.answers
    if answers is None:
        answers = concept.categories if len(concept.categories) == count else range(count)
    if len(answers) != count:
        raise ProbeError(
            f"The readout has {count} classes and answers= names {len(answers)}; name one for each score, in their "
            "order."
        )
    values = concept.codes_of(list(answers))
    # An answer that never is right is a class all the same: it gets a number of its own.
    unseen = np.flatnonzero(~np.isfinite(values))
    values[unseen] = len(concept.categories) + np.arange(len(unseen))
    missing = [concept.said(value) for value in concept.levels if not np.isclose(values, value).any()]
    if missing:
        raise ProbeError(
            f"The concept {concept.name!r} has the values {', '.join(missing[:8])}, which none of the readout's "
            f"{count} answers ({', '.join(map(str, list(answers)[:8]))}) stands for. Name with answers= what each "
            "score stands for; or, where they are no scores but an answer each, choose one with function=."
        )
    return values
