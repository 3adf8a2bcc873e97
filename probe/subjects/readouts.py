"""The readout of a study: a head that turns the last layer's hidden states into scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ProbeError, several, unknown
from ..evidence.words import listed
from ..recurrent.signals import as_indices
from .concepts import Known
from .functions import calling
from .network_file import Opened

CLASSES, LOGIT, NUMBER = "classes", "logit", "number"
#: After which steps a readout answers, beside whole numbers.
LAST, EVERY = "last", "every"
KINDS = (CLASSES, LOGIT, NUMBER)
#: Who writes a dense layer's weight as (unit, score).
KERNELS = ("Keras", "TensorFlow")
COMBINES = ("added", "replaced")
_WANTS = (
    "It is called with the last hidden states as a float64 tensor, (sequence, unit), and must return scores as a "
    "tensor, (sequence, class), or one number a sequence. Let it take any floating type, or give an nn.Module."
)
#: By how much what a readout reads is moved to see its gradient, and how near to torch's it must be.
_STEP, _CLOSE = 1e-4, 1e-2
#: A number is read as the nearest of the concept's values where these are so few, and as it is otherwise.
MOST_LEVELS = 50


@dataclass(frozen=True, eq=False)
class Readout:
    """The head of a network: it gives the answer after a sequence's last step, after every step, or after some.

    Attributes:
        concept: the name of the concept whose value at a step is the right answer there.
        weight: of a linear head, (score, unit): an array, or the name of one in the network's file.
        transposed: whether weight is (unit, score) instead; None takes an array as it is, and one of a file as the
            framework writes it that made the file.
        bias: its bias, (score,), or None for none.
        function: instead of weight and bias: from hidden states, a tensor (sequence, unit), to scores; an `nn.Module`
            or any function that takes float64.
        kind: `classes` (the largest score is the answer), `logit` (one score, above 0 for the second answer) or
            `number` (one score is the answer); None takes `classes` for several scores and `number` for one.
        answers: the answer that each score stands for, in their order; None takes 0, 1, ..., or a categorical
            concept's categories in order where there are as many.
        layer: the layer whose hidden state is read; None for the last one that is studied.
        combine: the right answer after the state of another sequence (the source) was patched in, if the concept is
            an array: `added` (source + whole base - base so far), `replaced` (the source's), or a function that takes
            the arrays (source so far, base so far, whole base) and returns the right answers. A concept that is a
            function needs none.
        interchange_step: the step after which states are patched, counted from each sequence's end: -1 is the last
            step, -4 leaves three steps to read. None takes the middle of the steps that are run.
        output: instead of weight or function, where the answer stands in the model's own output: two functions of
            that output, to answers and to expected answers, (batch,) each, on the concept's scale.
        steps: after which steps a head answers: `last`, each sequence's last one; `every`; or whole numbers, from 0,
            or negative from each sequence's end. An answer in the model's output is the last one.
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
        if sum(given is not None for given in (self.weight, self.function, self.output)) != 1:
            raise ProbeError(
                "A readout is linear (weight, bias), a function of hidden states, or read off the model's output "
                "(output); give one of the three."
            )
        if self.function is not None and (self.bias is not None or not callable(self.function)):
            raise ProbeError("A readout's function must be callable, and has no bias beside it.")
        if self.transposed is not None and (self.function is not None or not isinstance(self.transposed, bool)):
            raise ProbeError(f"transposed={self.transposed!r} must be True or False, and speaks of weight.")
        if self.kind is not None and self.kind not in KINDS:
            raise ProbeError(unknown("kind of readout", self.kind, KINDS))
        step = self.interchange_step
        if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step >= 0):
            raise ProbeError(
                f"interchange_step={step!r} must be a whole number below 0, counted from each sequence's end: -1 is "
                "its last step."
            )
        if isinstance(self.combine, str) and self.combine not in COMBINES:
            raise ProbeError(unknown("combine", self.combine, COMBINES) + " A function is allowed as well.")
        self._check_steps()

    def _check_steps(self) -> None:
        if isinstance(self.steps, str) and self.steps in (LAST, EVERY):
            chosen = self.steps
        else:
            allowed = f"steps={self.steps!r} must be {LAST!r}, {EVERY!r}, or whole numbers such as (0, 5, -1)."
            if self.steps is None or isinstance(self.steps, (str, bool)):
                raise ProbeError(allowed)
            try:
                chosen = as_indices("steps", self.steps)
            except ProbeError as error:
                raise ProbeError(f"{allowed} {error}") from error
        if self.output is not None and chosen != LAST:
            raise ProbeError(
                f"steps={self.steps!r} needs a head, which reads the hidden state after any step; an answer in the "
                "model's output is the last one. Give weight (and bias), or function, in place of output."
            )
        object.__setattr__(self, "steps", chosen)

    def answered(self, lengths: np.ndarray, time: int | None = None) -> Bool[np.ndarray, "sequence step"]:
        """Return after which steps of sequences there is an answer; False at padding.

        Args:
            lengths: how many steps each sequence has, (sequence,).
            time: how many steps the time axis has; None for those of the longest sequence.

        Raises:
            ProbeError: a step does not exist in one of the sequences, or two of them are one step of it.
        """
        lengths = np.asarray(lengths)
        steps = np.arange(max(lengths.max(initial=0), time or 0))
        if self.steps == EVERY:
            return steps < lengths[:, None]
        chosen = (-1,) if self.steps == LAST else tuple(self.steps)
        for step in chosen:
            short = np.flatnonzero((lengths <= step) | (lengths < -step))
            if len(short):
                raise ProbeError(
                    f"The readout's step {step} does not exist in sequence {short[0]}, which has "
                    f"{several(int(lengths[short[0]]), 'step')}; give steps that every sequence has. Negative ones "
                    "count from each sequence's end."
                )
        placed = np.array(chosen)[None] + np.where(np.array(chosen) < 0, lengths[:, None], 0)
        found = (placed[:, :, None] == steps).sum(1)
        twice = np.argwhere(found > 1)
        if len(twice):
            row, step = twice[0]
            raise ProbeError(f"steps={self.steps!r} names step {step} of sequence {row} twice; name each step once.")
        return found == 1

    def at_last(self, lengths: np.ndarray) -> Bool[np.ndarray, " sequence"]:
        """Return of which sequences there is an answer after the last step.

        A step that a sequence does not have is no error here, so that sequences of any length can be asked about.

        Args:
            lengths: how many steps each sequence has, (sequence,).
        """
        if self.steps in (LAST, EVERY):
            return np.ones(len(lengths), dtype=bool)
        return np.isin(np.asarray(lengths) - 1, self.steps) | (-1 in self.steps)

    @property
    def when(self) -> str:
        """Return after which steps it answers, in words."""
        if self.steps in (LAST, EVERY):
            return f"after {'every step' if self.steps == EVERY else 'the last step'}"
        return f"after step{'s' * (len(self.steps) > 1)} {listed([str(step) for step in self.steps])}"


class Head(nn.Module):
    """A readout's function from hidden states to scores, with what its answers mean.

    Args:
        scores: what makes scores of hidden states, (sequence, unit).
        kind: how they are read.
        values: the number that each class stands for, (class,); of a number the values that it is rounded to, or
            empty for none.
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
        if isinstance(scores, nn.Module):
            self.inner = scores
        self._scores, self.kind, self.values = scores, kind, torch.as_tensor(values, dtype=torch.float64)
        self.differentiable = differentiable

    def forward(self, h: Float[Tensor, "row unit"]) -> Tensor:
        """Return scores, (row, class), or one number a row."""
        h = h if self.differentiable else h.detach()
        with calling("The readout's function", _WANTS):
            found = self.inner(h) if hasattr(self, "inner") else self._scores(h)
        if self.kind == CLASSES:
            return found
        one = found.reshape(len(h))
        return torch.stack([torch.zeros_like(one), one], 1) if self.kind == LOGIT else one

    def answer(self, output: Tensor) -> Float[Tensor, " row"]:
        """Return the answer of each row, as the concept's number."""
        if self.kind != NUMBER:
            return self.values[output.argmax(1)]
        if not len(self.values):
            return output
        return self.values[(output[:, None] - self.values).abs().argmin(1)]

    def expected(self, output: Tensor) -> Float[Tensor, " row"]:
        """Return the mean answer by the probabilities of the classes, or the number itself."""
        return output if self.kind == NUMBER else output.softmax(1) @ self.values.to(output)

    def loss(self, output: Tensor, target: Tensor) -> Float[Tensor, " row"]:
        """Return the cross-entropy of the answers that should come, or the squared error."""
        if self.kind == NUMBER:
            return (output - target) ** 2
        classes = (self.values[None] - target[:, None]).abs().argmin(1)
        return nn.functional.cross_entropy(output, classes, reduction="none")

    def __deepcopy__(self, memo: dict[int, Any]) -> Head:
        """Return a copy whose module, if there is one, is its own; a plain function is shared."""
        import copy

        inner = copy.deepcopy(self.inner, memo) if hasattr(self, "inner") else self._scores
        return Head(inner, self.kind, self.values.numpy(), differentiable=self.differentiable)


def build(readout: Readout, concept: Known, opened: Opened, units: int, rows: int) -> Head:
    """Return a readout's head for a layer.

    Args:
        readout: what was given.
        concept: the concept that it answers.
        opened: the network, and the arrays of its file.
        units: how many hidden units the layer has.
        rows: how many sequences there are to try it on.

    Raises:
        ProbeError: an array does not exist or has another shape, the function fails, or the answers do not fit.
    """
    scores = readout.function if readout.function is not None else _linear(readout, opened, units)
    tried = torch.randn(min(rows, 8), units, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad(), calling("The readout's function", _WANTS):
        scored = copied(scores)(tried)
    if not isinstance(scored, Tensor) or len(scored.shape) not in (1, 2) or len(scored) != len(tried):
        shape = tuple(scored.shape) if isinstance(scored, Tensor) else f"a {type(scored).__name__}"
        raise ProbeError(f"The readout's function returned {shape} for {len(tried)} sequences. {_WANTS}")
    width = 1 if scored.dim() == 1 else scored.shape[1]
    kind = readout.kind or (CLASSES if width > 1 else NUMBER)
    _check_kind(readout, kind, width, concept)
    values = _values(readout, kind, width, concept)
    return Head(scores, kind, values, differentiable=_is_differentiable(copied(scores), tried))


def copied(scores: Any) -> Any:
    """Return a module in float64 and in evaluation mode as a copy, and a plain function as it is."""
    import copy

    return copy.deepcopy(scores).double().eval() if isinstance(scores, nn.Module) else scores


def _is_differentiable(scores: Any, tried: Tensor) -> bool:
    """Return whether the gradient that torch gives of a function is the one that small steps show.

    Through numpy there is none, and of a function that takes a part of its way without it, a wrong one.
    """
    generator = torch.Generator().manual_seed(1)
    along = torch.randn(tried.shape, generator=generator, dtype=torch.float64)
    weights: Tensor | None = None
    try:
        with torch.enable_grad():
            at = tried.clone().requires_grad_()
            output = scores(at)
            weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            (gradient,) = torch.autograd.grad((output * weights).sum(), at)
        with torch.no_grad():
            ahead, back = (scores(tried + side * _STEP * along) for side in (1, -1))
    except (RuntimeError, TypeError, ValueError):
        return False
    by_steps = float(((ahead - back) * weights).sum()) / (2 * _STEP)
    by_torch = float((gradient * along).sum())
    return abs(by_steps - by_torch) <= _CLOSE * (abs(by_steps) + abs(by_torch)) + _CLOSE**2


def _check_kind(readout: Readout, kind: str, width: int, concept: Known) -> None:
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
    head = nn.Linear(units, len(weight), bias=bias is not None, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(weight)
        if bias is not None:
            head.bias.copy_(bias)
    return head


def _is_transposed(readout: Readout, shape: tuple[int, ...], units: int, opened: Opened) -> bool:
    """Return whether a weight is (unit, score), where that can be known.

    Raises:
        ProbeError: it is square, and nobody says how it is written.
    """
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
    return torch.as_tensor(np.asarray(given) if not isinstance(given, Tensor) else given).double()


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
            "score stands for."
        )
    return values
