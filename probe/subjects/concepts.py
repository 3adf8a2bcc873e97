"""Checks a concept, given as an array or a function, and turns it into numbers, NaN where undefined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import ProbeError, check_has_numbers, unknown
from ..recording.aligned import transposed
from .functions import calling

NUMERIC, CATEGORICAL = "numeric", "categorical"
KINDS = (NUMERIC, CATEGORICAL)
#: A categorical concept has at most so many values: beyond, a probe has too few states of each to learn from.
MOST_CATEGORIES = 50
#: So many values of a number are few.
FEW = 50
_SORTS = {bool: "a truth", str: "a text", int: "a number", float: "a number"}
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

    values: Any = field(repr=False)
    kind: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ProbeError(unknown("kind of concept", self.kind, KINDS))


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
        return _places(np.asarray([_plain(value) for value in given], dtype=object), self.categories)

    def of_sequence(self, x: np.ndarray) -> np.ndarray:
        """Return its values on another sequence, (time, feature), by its function, (time,)."""
        if self.function is None:
            raise ProbeError(
                f"The concept {self.name!r} was given as an array, and has no value on other sequences. To ask this, "
                "give it as a function of a sequence's inputs."
            )
        return self.codes_of(_called(self.name, self.function, x, "a spliced sequence"))


def resolve(name: str, given: Any, x: np.ndarray, lengths: np.ndarray) -> Known:
    """Return a concept (a `Concept`, an array, or a function) with its values on inputs (batch, time, feature)."""
    concept = given if isinstance(given, Concept) else Concept(given)
    raw: Any = concept.values
    function = raw if is_function(raw) else None
    valid = np.arange(x.shape[1]) < lengths[:, None]
    if function is not None:
        rows = [_called(name, function, x[row, :length], f"sequence {row}") for row, length in enumerate(lengths)]
        array = np.full(valid.shape, None, dtype=object)
        array[valid] = np.concatenate([row.astype(object) for row in rows])
    else:
        array = _as_given(raw)
        check_given(name, array, x.shape)
    is_number, defined = _checked(name, array[valid])
    values, categories, kind = np.full(valid.shape, np.nan), (), concept.kind or (NUMERIC, CATEGORICAL)[not is_number]
    if kind == NUMERIC:
        values[valid] = _numbers(name, defined)
    else:
        categories = _categories(name, defined)
        values[valid] = _places(defined, categories)
    if np.isinf(values).any():
        row, step = np.argwhere(np.isinf(values))[0]
        raise ProbeError(
            f"The concept {name!r} is {values[row, step]} at sequence {row}, step {step}; give finite numbers, and "
            "NaN where it is not defined."
        )
    if np.isnan(values).all():
        raise ProbeError(
            f"The concept {name!r} has no value at any step of any sequence (all are NaN, None or empty); give a "
            "value at the steps where it is defined, or leave it out of the study."
        )
    return Known(name, kind, values, categories, concept.description, function)


def try_on(name: str, given: Any, x: np.ndarray, lengths: np.ndarray) -> None:
    """Raise where a concept that is a function fails on a few inputs, (batch, time, feature)."""
    raw: Any = given.values if isinstance(given, Concept) else given
    if is_function(raw):
        for row, length in enumerate(lengths):
            _ = _called(name, raw, x[row, :length], f"sequence {row}")


def is_function(raw: Any) -> bool:
    """Return whether a concept's values are a function of a sequence, and no array."""
    return callable(raw) and not hasattr(raw, "shape")


def check_given(name: str, given: Any, shape: tuple[int, ...] | None) -> None:
    """Refuse what can be no concept: neither a function nor an array of (batch, time)."""
    raw: Any = given.values if isinstance(given, Concept) else given
    if is_function(raw):
        return
    raw = np.array(raw, dtype=object) if isinstance(raw, (list, tuple)) else raw
    check_has_numbers(raw, f"The concept {name!r}")
    shape_given = tuple(getattr(raw, "shape", ()))
    if len(shape_given) != 2:
        if len(shape_given) == 1 and any(isinstance(one, (list, tuple)) or getattr(one, "ndim", 0) for one in raw):
            raise ProbeError(
                f"The concept {name!r} is a list of {len(raw)} sequences that differ in length; {_ALLOWED}. Fill "
                "short sequences up with NaN, None or empty texts, and give the study lengths=."
            )
        raise ProbeError(f"The concept {name!r} is {brief(raw)}; {_ALLOWED}.")
    if shape is not None and shape_given != tuple(shape[:2]):
        raise ProbeError(
            f"The concept {name!r} has shape {shape_given}; it must be aligned to the inputs' (batch, time), "
            f"({shape[0]}, {shape[1]}): one value for each sequence and step. Put NaN where it is not defined."
            + transposed(shape_given, shape[0], shape[1])
        )


def brief(value: Any) -> str:
    """Return a value in a few letters: of an array its shape, of a function its name."""
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {tuple(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    text = getattr(value, "__qualname__", None) or repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def group_edges(values: np.ndarray, groups: int) -> np.ndarray:
    """Return where at most so many groups of neighbouring values begin, all but the first; none is empty."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, groups + 1)[1:-1]))
    # An edge may lie between two values, and the next one at the second of them.
    return edges[np.diff(np.searchsorted(np.sort(values), edges), prepend=0) > 0]


def _called(name: str, function: Callable[..., Any], x: np.ndarray, where: str) -> np.ndarray:
    with calling(f"The concept {name!r} on {where}", _WANTS):
        values = _as_given(function(x.copy()))
    if values.shape != (len(x),):
        raise ProbeError(
            f"The concept {name!r} returned shape {values.shape} on {where}, of {len(x)} steps. {_WANTS}"
        )
    return values


def _as_given(values: Any) -> np.ndarray:
    """Return values as an array; those of a list stay what they are, where numpy would turn all into texts."""
    if hasattr(values, "dtype"):
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return np.array(values, dtype=object)


def _plain(value: Any) -> Any:
    """Return a value as Python's own type, whole floats as whole numbers; None for a missing one (NaN, None, "")."""
    value = value.item() if isinstance(value, (np.generic, Tensor)) else value
    if value is None or (isinstance(value, str) and not value) or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _checked(name: str, values: np.ndarray) -> tuple[bool, np.ndarray]:
    """Return whether values are numbers, and the values: plain ones where they are not; refuse other sorts."""
    if values.dtype.kind in "iuf":
        return True, values
    plain, sorts = np.empty(len(values), dtype=object), dict[str, Any]()
    for place, value in enumerate(map(_plain, values)):
        plain[place] = value
        if value is not None:
            sorts.setdefault(_SORTS.get(type(value), type(value).__name__), value)
    if len(sorts) > 1 or not sorts.keys() <= {*_SORTS.values()}:
        listed = " and ".join(f"{sort} ({str(value)[:40]!r})" for sort, value in sorts.items())
        raise ProbeError(f"The concept {name!r} holds {listed}; give texts, numbers or truths, one sort of them.")
    return set(sorts) <= {"a number"}, plain


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    try:
        return values.astype(float)
    except (TypeError, ValueError) as error:
        raise ProbeError(
            f"The concept {name!r} is called numeric and holds other than numbers ({error}). Give numbers, or "
            'kind = "categorical".'
        ) from error


def _categories(name: str, values: np.ndarray) -> tuple[Any, ...]:
    different = {_plain(value) for value in values.tolist()} - {None}
    if len(different) > MOST_CATEGORIES:
        raise ProbeError(
            f"The concept {name!r} has {len(different)} different values; a categorical one has at most "
            f'{MOST_CATEGORIES}. Join rare ones, or give numbers and kind = "numeric".'
        )
    return tuple(sorted(different))


def _places(values: np.ndarray, categories: Sequence[Any]) -> np.ndarray:
    """Return the place of each value among categories, NaN where it is none."""
    places = {category: float(place) for place, category in enumerate(categories)}
    return np.array([places.get(_plain(value), np.nan) for value in values.tolist()])
