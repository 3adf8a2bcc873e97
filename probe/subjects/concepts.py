"""Checks a concept, given as an array or a function, and turns it into numbers, NaN where undefined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, unknown
from .functions import calling

NUMERIC, CATEGORICAL = "numeric", "categorical"
KINDS = (NUMERIC, CATEGORICAL)
#: A categorical concept has at most so many values: beyond, a probe has too few states of each to learn from.
MOST_CATEGORIES = 50
#: So many values of a number are few.
FEW = 50
_NO_REALS = (complex, np.complexfloating, np.void)
#: Types of numbers that stand in lists.
_NUMBERS = ("int", "float", *(name for name in np.sctypeDict if isinstance(name, str)))
_ALLOWED = (
    "give an array aligned to the inputs' (batch, time), a function of one sequence's inputs, (time, feature), that "
    "returns one value a step, or a probe.Concept of one of these"
)
_WANTS = (
    "It is called with the inputs of one sequence, a numpy array (time, feature) without padding, and must return "
    "one value a step."
)


@dataclass(frozen=True, eq=False)
class Concept:
    """A quantity or category that we look for in the states.

    Attributes:
        values: an array aligned to (batch, time), with NaN (or None, or an empty text) where it is not defined; or a
            function that takes the inputs of one sequence, (time, feature), and returns one value for each step.
        kind: `numeric` or `categorical`; None takes texts and booleans as categories, and numbers as numbers.
        description: a description in words, for the page.
    """

    values: Any
    kind: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ProbeError(unknown("kind of concept", self.kind, KINDS))

    def __repr__(self) -> str:
        more = [f"{name}={given!r}" for name in ("kind", "description") if (given := getattr(self, name))]
        return f"Concept({', '.join([brief(self.values), *more])})"


@dataclass(frozen=True, eq=False)
class Known:
    """A concept with its values.

    Attributes:
        name: what it is called.
        kind: `numeric` or `categorical`.
        values: (batch, time), float64: the number, or the place of the category; NaN at padding and where undefined.
        categories: of a categorical one, in order; empty for a numeric one.
        description: what it is, in words.
        function: what the values came from, or None where they were given as an array.
    """

    name: str
    kind: str
    values: np.ndarray
    categories: tuple[Any, ...] = ()
    description: str = ""
    function: Callable[[np.ndarray], Any] | None = None

    @property
    def is_categorical(self) -> bool:
        """Whether its values are places of categories."""
        return self.kind == CATEGORICAL

    @property
    def is_named(self) -> bool:
        """Whether probes treat it as categories: it is categorical, or it has only two values."""
        return self.is_categorical or len(self.levels) == 2

    @property
    def levels(self) -> np.ndarray:
        """The different values that are defined, ascending."""
        return np.unique(self.values[np.isfinite(self.values)])

    @property
    def near(self) -> float:
        """How far from a value still counts as it.

        Half of the way to the next one, where values are few or whole; else a tenth of their standard deviation.
        """
        levels = self.levels
        if len(levels) <= FEW or bool((levels == levels.round()).all()):
            return 0.5 * (float(np.diff(levels).min()) if len(levels) > 1 else 1.0)
        return float(f"{np.nanstd(self.values) / 10:.2g}")

    def said(self, value: float) -> str:
        """Return a value as it is written on the page."""
        return str(self.categories[round(value)]) if self.is_categorical else f"{value:g}"

    def codes_of(self, given: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Return values as numbers; values that are not a category become NaN."""
        if not self.is_categorical:
            return np.asarray(given, dtype=float)
        places = {category: float(place) for place, category in enumerate(self.categories)}
        return np.array([places.get(_plain(one), np.nan) for one in given])

    def of_sequence(self, x: np.ndarray) -> np.ndarray:
        """Return its values on another sequence, (time,), by its function.

        Args:
            x: the inputs, (time, feature).

        Raises:
            ProbeError: it was given as an array, or the function fails.
        """
        if self.function is None:
            raise ProbeError(f"The concept {self.name!r} was given as an array, and has no value on other sequences.")
        return self.codes_of(_called(self.name, self.function, x, "a spliced sequence"))


def resolve(name: str, given: Any, x: np.ndarray, lengths: np.ndarray) -> Known:
    """Return a concept with its values.

    Args:
        name: what it is called.
        given: a `Concept`, an array, or a function.
        x: the inputs, (batch, time, feature).
        lengths: how many steps each sequence has, (batch,).

    Raises:
        ProbeError: it is not aligned to (batch, time), infinite, of another type, or its function fails.
    """
    concept = given if isinstance(given, Concept) else Concept(given)
    raw: Any = concept.values
    function = raw if callable(raw) and not isinstance(raw, (Tensor, np.ndarray)) else None
    if function is not None:
        rows = [_called(name, function, x[row, :length], f"sequence {row}") for row, length in enumerate(lengths)]
        array = np.full(x.shape[:2], None, dtype=object)
        for row, values in enumerate(rows):
            array[row, : len(values)] = list(values)
    else:
        array = _aligned(name, raw, x.shape[:2])
    valid = np.arange(x.shape[1]) < lengths[:, None]
    if array.dtype.kind == "O":
        array = array.copy()
        array[~valid] = None
    _check_real(name, array[valid])
    _check_alike(name, array[valid])
    kind = concept.kind or _kind(array[valid])
    if kind == NUMERIC:
        values, categories = _numbers(name, array, valid), ()
    else:
        values, categories = _codes(name, array, valid)
    values = np.where(valid, values, np.nan)
    if not np.isfinite(values).any():
        raise ProbeError(
            f"The concept {name!r} has no value at any step of any sequence (all are NaN, None or empty); give a "
            "value at the steps where it is defined, or leave it out of the study."
        )
    return Known(name, kind, values, categories, concept.description, function)


def check_given(name: str, given: Any, shape: tuple[int, ...] | None) -> None:
    """Refuse what can be no concept: neither a function nor an array of (batch, time).

    Args:
        name: what the concept is called.
        given: as of `resolve`.
        shape: of the inputs, (batch, time, ...); None where they are in a file.

    Raises:
        ProbeError: it is none.
    """
    raw: Any = given.values if isinstance(given, Concept) else given
    if callable(raw) and not hasattr(raw, "shape"):
        return
    if not hasattr(raw, "shape") and not isinstance(raw, (list, tuple)):
        raise ProbeError(f"The concept {name!r} is {brief(raw)}, of type {type(raw).__name__}; {_ALLOWED}.")
    array: Any = raw if hasattr(raw, "shape") else _as_given(raw)
    if len(array.shape) != 2:
        raise ProbeError(f"The concept {name!r} has shape {tuple(array.shape)}; {_ALLOWED}.")
    if shape is not None:
        _check_aligned(name, tuple(array.shape), shape[:2])


def brief(value: Any) -> str:
    """Return a value in a few letters: of an array its shape, of a function its name."""
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {tuple(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    text = getattr(value, "__qualname__", None) or repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def group_edges(values: np.ndarray, groups: int) -> np.ndarray:
    """Return where groups of neighbouring values begin, all but the first; each group has at least one value.

    Args:
        values: (state,).
        groups: how many at most, each with about equally many states.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, groups + 1)[1:-1]))
    # An edge may lie between two values, and the next one at the second of them.
    return edges[np.diff(np.searchsorted(np.sort(values), edges), prepend=0) > 0]


def _called(name: str, function: Callable[..., Any], x: np.ndarray, where: str) -> np.ndarray:
    with calling(f"The concept {name!r} on {where}", _WANTS):
        returned = function(x.copy())
        returned = returned.detach().cpu().numpy() if isinstance(returned, Tensor) else returned
        values = _as_given(returned)
    if values.shape != (len(x),):
        raise ProbeError(
            f"The concept {name!r} returned shape {values.shape} on {where}, of {len(x)} steps. {_WANTS}"
        )
    return values


def _aligned(name: str, raw: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = raw.detach().cpu().numpy() if isinstance(raw, torch.Tensor) else _as_given(raw)
    _check_aligned(name, array.shape, shape)
    return array


def _check_aligned(name: str, found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if found == shape:
        return
    batch, time = shape
    differing = zip(("batch", "time"), found, shape, strict=False)
    which = [axis for axis, given, wanted in differing if given != wanted] if len(found) == 2 else []
    differs = f" They differ in {' and '.join(which)}." if which else ""
    raise ProbeError(
        f"The concept {name!r} has shape {found}; it must be aligned to the inputs' (batch, time), "
        f"({batch}, {time}): one value for each sequence and step.{differs} Put NaN where it is not defined."
    )


def _as_given(values: Any) -> np.ndarray:
    """Return values as an array; those of a list stay what they are, where numpy would turn all into texts."""
    if hasattr(values, "dtype"):
        return np.asarray(values)
    array = np.array(values, dtype=object)
    flat = array.reshape(-1)
    for place, one in enumerate(flat):
        flat[place] = one.item() if isinstance(one, (np.generic, Tensor)) else one
    return array


def _check_alike(name: str, values: np.ndarray) -> None:
    """Raise where values are of several sorts, of which none can be meant to be another."""
    if values.dtype.kind != "O":
        return
    sorts: dict[str, Any] = {}
    for one in values:
        if not _missing(one):
            sort = "a text" if isinstance(one, str) else "a truth" if _is_bool(one) else type(one).__name__
            sorts.setdefault("a number" if sort in _NUMBERS else sort, one)
    if len(sorts) > 1:
        listed = " and ".join(f"{sort} ({str(one)[:40]!r})" for sort, one in sorts.items())
        raise ProbeError(f"The concept {name!r} holds {listed}; give texts, numbers or truths, one sort of them.")


def _check_real(name: str, values: np.ndarray) -> None:
    """Raise where values are neither real numbers, truths nor texts: complex ones, and records."""
    wrong = str(values.dtype) if values.dtype.kind in "cV" else None
    if values.dtype.kind == "O":
        wrong = next((type(one).__name__ for one in values if isinstance(one, _NO_REALS)), None)
    if wrong is not None:
        raise ProbeError(
            f"The concept {name!r} holds {wrong}; a concept is real numbers, truths or texts. Give the part that is "
            "looked for (of complex numbers .real, .imag or np.abs, each a concept of its own)."
        )


def _kind(values: np.ndarray) -> str:
    if values.dtype.kind in "iuf":
        return NUMERIC
    if values.dtype.kind == "O":
        defined = [value for value in values if not _missing(value)]
        numbers = all(isinstance(value, (int, float, np.number)) and not _is_bool(value) for value in defined)
        return NUMERIC if numbers else CATEGORICAL
    return CATEGORICAL


def _numbers(name: str, array: np.ndarray, valid: np.ndarray) -> np.ndarray:
    try:
        values = (
            array.astype(float)
            if array.dtype.kind in "iufb"
            else np.array([[np.nan if _missing(one) else float(one) for one in row] for row in array.tolist()])
        )
    except (TypeError, ValueError) as error:
        raise ProbeError(
            f"The concept {name!r} is called numeric and holds other than numbers ({error}). Give numbers, or "
            'kind = "categorical".'
        ) from error
    wrong = np.argwhere(np.isinf(values) & valid)
    if len(wrong):
        row, step = wrong[0]
        raise ProbeError(
            f"The concept {name!r} is {values[row, step]} at sequence {row}, step {step}; give finite numbers, and "
            "NaN where it is not defined."
        )
    return values.reshape(array.shape)


def _codes(name: str, array: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
    plain = [[None if _missing(one) else _plain(one) for one in row] for row in array.tolist()]
    values = {
        one for row, inside in zip(plain, valid, strict=True) for one in np.array([*row, None], object)[:-1][inside]
    }
    values.discard(None)
    if len(values) > MOST_CATEGORIES:
        raise ProbeError(
            f"The concept {name!r} has {len(values)} different values; a categorical one has at most "
            f'{MOST_CATEGORIES}. Join rare ones, or give numbers and kind = "numeric".'
        )
    try:
        categories = tuple(sorted(values))
    except TypeError:
        categories = tuple(sorted(values, key=lambda one: (type(one).__name__, str(one))))
    places = {category: float(place) for place, category in enumerate(categories)}
    return np.array([[places.get(one, np.nan) for one in row] for row in plain]).reshape(array.shape), categories


def _plain(value: Any) -> Any:
    """Return a value as Python's own type, whole floats as whole numbers, so that equal ones are one category."""
    value = value.item() if isinstance(value, (np.generic, Tensor)) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value) or (isinstance(value, float) and math.isnan(value))


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))
