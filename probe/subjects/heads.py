"""Builds a readout's head: from arrays, or from a function of hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from ..errors import ProbeError, unknown
from .concepts import Known
from .functions import calling
from .networks.network_file import Opened
from .readouts import CLASSES, LOGIT, NUMBER, WANTS, Head, Readout, copied

#: Who writes a dense layer's weight as (unit, score).
KERNELS = ("Keras", "TensorFlow")
#: A number is read as the nearest of the concept's values where these are so few, and as it is otherwise.
MOST_LEVELS = 50


def build(readout: Readout, concept: Known, opened: Opened, units: int, rows: int) -> Head:
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
