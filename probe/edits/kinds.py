"""The class of each kind of edit, with the value that it gives a signal at a step."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import isnan
from typing import Any, ClassVar

import torch
from jaxtyping import Inexact, Shaped
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.signals import Site, converted, is_continuous, within
from . import edit_files
from .edit_files import digest_of

#: Arrays up to this length are printed in full.
_SHORT = 8


@dataclass(frozen=True, eq=False)
class Place:
    """Where in a run values are changed.

    Attributes:
        rows: the rows of the batch, one for each row of the values; a slice where they are all of it.
        numbers: for each row, which of the edit's rows it is; a slice where each is the next.
        positions: for each row, the place of its step among the edit's steps; one number where it is the same.
        steps: for each row, its step of the input; one number where it is the same.
    """

    rows: Tensor | slice
    numbers: Tensor | slice
    positions: Tensor | int
    steps: Tensor | int


@dataclass(frozen=True)
class Edit(ABC):
    """A change at a site: a value that can be printed, compared, hashed and saved as JSON.

    A kind is one dataclass: it says what it puts, and what its JSON must hold, which calls it by the class's name.

    Attributes:
        site: where.
        digest: the SHA-256 of the numbers that the edit brings; empty where it brings none.
        array: which of its fields is an array of floats; empty for none.
        axes: how many axes that may have.
        kinds: every kind by its name in JSON.
    """

    site: Site
    digest: str = field(init=False, default="")
    array: ClassVar[str] = ""
    axes: ClassVar[tuple[int, ...]] = ()
    kinds: ClassVar[dict[str, type[Edit]]] = {}

    def __init_subclass__(cls, *, written: bool = True) -> None:
        name = cls.__name__.lower()
        if written and Edit.kinds.get(name, cls).__module__ != cls.__module__:
            raise ProbeError(f"There is a kind of edit {cls.__name__!r} already. Give the class another name.")
        # A cell of a notebook that runs again defines the class anew.
        Edit.kinds |= {name: cls} if written else {}

    def __post_init__(self) -> None:
        if self._numbers is not None:
            object.__setattr__(self, "digest", digest_of(self._numbers))

    @property
    def _numbers(self) -> Tensor | None:
        """The array that the edit brings."""
        return getattr(self, self.array) if self.array else None

    @property
    def content(self) -> str:
        """The digest, by another name."""
        return self.digest

    @abstractmethod
    def put(self, value: Shaped[Tensor, "row unit"], place: Place) -> Tensor:
        """Return what stands at the site instead of `value`: the site's units, of the rows that are changed."""

    @property
    def steps_held(self) -> int | None:
        """For how many steps the edit brings values, or None where it brings none of its own."""
        return self._numbers.shape[1] if self._numbers is not None and self._numbers.dim() == 3 else None

    @property
    def units_held(self) -> int | None:
        """For how many units the edit brings values, or None where it fits any number."""
        return self._numbers.shape[-1] if self._numbers is not None and self._numbers.dim() else None

    @property
    def by_row(self) -> bool:
        """Whether the edit speaks of rows of the batch by their numbers."""
        return self.site.rows is not None

    def fit(self, batch: int, rows: Sequence[int]) -> None:  # noqa: B027 (most kinds fit any batch)
        """Raise ProbeError where the edit does not fit a batch."""

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the edit as JSON, with the array that it brings.

        Args:
            path: a file that the array is written to; the JSON then holds its path and its hash. None puts the array
                into the JSON, up to 1 MB.

        Raises:
            ProbeError: the edit holds what JSON cannot, such as a function, or its array is larger than 1 MB and no
                path is given.
        """
        held = {"edit": type(self).__name__.lower(), "site": asdict(self.site)}
        return edit_files.written(self, held | {one: getattr(self, one) for one in self._held()}, path)

    @staticmethod
    def from_json(text: str) -> Edit:
        """Return the edit that `to_json` wrote; it equals the first one. A kind of your own must be imported before.

        Raises:
            ProbeError: the text is none, or the file of its array is missing or was changed.
        """
        with edit_files.reading():
            given = edit_files.read(text)
            if given["edit"] not in Edit.kinds:
                name = given["edit"]
                raise ProbeError(f"There is no kind of edit {name!r}; import the module that defines it before.")
            kind = Edit.kinds[given["edit"]]
            held = {one: edit_files.value_of(given[one]) for one in kind._held()}
            kind.check(held)
            return kind(site=edit_files.site_of(given["site"]), **held)

    @classmethod
    def _held(cls) -> list[str]:
        """Return the fields that JSON holds beside the site."""
        return [one.name for one in fields(cls) if one.name not in ("site", "digest")]

    @classmethod
    def check(cls, held: Mapping[str, Any]) -> None:
        """Raise ValueError where no function that makes edits would have made one with these fields.

        Args:
            held: by name, what JSON held, but for the site.
        """
        if not cls.array:
            return
        values = held[cls.array]
        if not isinstance(values, Tensor) or values.dim() not in cls.axes or not is_continuous(values):
            raise ValueError(f"its {cls.array} is no array of floats with {' or '.join(map(str, cls.axes))} axes")

    def __repr__(self) -> str:
        function, given, options = self._call()
        options |= {name: getattr(self.site, name) for name in ("layer", "units", "steps", "rows", "call")}
        words = [repr(str(self.site.signal)), *map(_written, given)]
        words += [f"{name}={_written(value)}" for name, value in options.items() if value is not None]
        return f"{function}({', '.join(words)})"

    @abstractmethod
    def _call(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return the function that makes the edit, its positional arguments, and its options."""


@dataclass(frozen=True, repr=False)
class Clamp(Edit):
    """Puts a fixed value at a site."""

    array, axes = "value", (0, 1)
    value: Inexact[Tensor, "*unit"] = field(compare=False)

    def put(self, value: Shaped[Tensor, "row unit"], place: Place) -> Tensor:
        """Return the fixed value for every row."""
        return _as(self.value, value, self).expand_as(value)

    def _call(self) -> tuple[str, list[Any], dict[str, Any]]:
        return "clamp", [self.value], {}


@dataclass(frozen=True, repr=False)
class Ablate(Edit):
    """Takes away what a site says: by zeros, by a mean, or by another row's values."""

    array, axes = "values", (3,)
    kind: str
    values: Shaped[Tensor, "row step unit"] | None = field(compare=False)
    seed: int | None = None

    @property
    def by_row(self) -> bool:
        """Whether the edit speaks of rows of the batch by their numbers."""
        return self.site.rows is not None or self.kind == "resample"

    @classmethod
    def check(cls, held: Mapping[str, Any]) -> None:
        """Raise ValueError where kind, values and seed do not go together."""
        values, seed = held["values"], held["seed"]
        if held["kind"] != "zero" or values is not None:
            super().check(held)
        fits = "zero" if values is None else "mean" if seed is None and len(values) == 1 else "resample"
        if held["kind"] != fits or (type(seed) is int) != (fits == "resample"):
            raise ValueError(f"its kind {held['kind']!r}, values and seed {seed!r} do not go together")

    def put(self, value: Shaped[Tensor, "row unit"], place: Place) -> Tensor:
        """Return zeros, the reference's mean at the same step, or a drawn row of the reference."""
        if self.values is None:
            return torch.zeros_like(value)
        if self.kind == "mean":
            return _as(self.values[0, place.positions], value, self).expand_as(value)
        generator = torch.Generator().manual_seed(self.seed or 0)
        # Drawn for the whole batch at once, so that a row takes the same other row at every step.
        last = place.rows.stop if isinstance(place.rows, slice) else int(place.rows.max()) + 1
        drawn = torch.randint(len(self.values), (last,), generator=generator)
        return _as(_without_nan(self.values[drawn[place.rows], place.positions], self), value, self)

    def _call(self) -> tuple[str, list[Any], dict[str, Any]]:
        given: dict[str, Any] = {"kind": self.kind}
        if self.values is not None:
            given["reference"] = _Described(self.values, self.digest)
        return "ablate", [], given | {"seed": self.seed}


@dataclass(frozen=True, repr=False)
class Patch(Edit):
    """Puts another run's values at a site.

    Attributes:
        values: what is put there, (row, step, unit); a row of the batch takes the row that `source_rows` names.
        source_rows: for each changed row the row of `values`, or None for the same row.
    """

    array, axes = "values", (3,)
    values: Shaped[Tensor, "row step unit"] = field(compare=False)
    source_rows: tuple[int, ...] | None = None

    @property
    def by_row(self) -> bool:
        """Whether the edit speaks of rows of the batch by their numbers: it takes them from its source."""
        return True

    @classmethod
    def check(cls, held: Mapping[str, Any]) -> None:
        """Raise ValueError where it takes rows that its values have not."""
        super().check(held)
        rows, count = held["source_rows"], len(held["values"])
        if rows is not None and not all(type(row) is int and row in range(count) for row in rows):
            raise ValueError(f"its source_rows are {rows!r}")

    def fit(self, batch: int, rows: Sequence[int]) -> None:
        """Raise where a changed row has no row of the source."""
        if self.source_rows is not None:
            if len(self.source_rows) != len(rows):
                raise ProbeError(
                    f"source_rows names {len(self.source_rows)} rows for the {len(rows)} rows of the batch."
                )
        elif self.site.rows is None and len(self.values) != batch:
            raise ProbeError(
                f"The source has {len(self.values)} rows and the batch {batch}. Give a source of the same "
                "batch, or say with source_rows= which row each one takes."
            )
        elif self.site.rows is not None:
            within("rows", tuple(rows), len(self.values), "the source")

    def put(self, value: Shaped[Tensor, "row unit"], place: Place) -> Tensor:
        """Return the source's values."""
        rows = place.rows if self.source_rows is None else torch.tensor(self.source_rows)[place.numbers]
        return _as(_without_nan(self.values[rows, place.positions], self), value, self)

    def _call(self) -> tuple[str, list[Any], dict[str, Any]]:
        return "patch", [], {"source": _Described(self.values, self.digest), "source_rows": self.source_rows}


@dataclass(frozen=True, repr=False)
class Steer(Edit):
    """Adds a direction to what stands at a site."""

    array, axes = "direction", (1,)
    direction: Inexact[Tensor, " unit"] = field(compare=False)
    scale: float = 1.0

    @classmethod
    def check(cls, held: Mapping[str, Any]) -> None:
        """Raise ValueError where its scale is no number."""
        super().check(held)
        if not isinstance(held["scale"], float):
            raise ValueError(f"its scale is {held['scale']!r}")

    def put(self, value: Shaped[Tensor, "row unit"], place: Place) -> Tensor:
        """Return the value moved along the direction."""
        return value + self.scale * _as(self.direction, value, self)

    def _call(self) -> tuple[str, list[Any], dict[str, Any]]:
        return "steer", [self.direction], {"scale": self.scale}


@dataclass(frozen=True, repr=False)
class FunctionEdit(Edit, written=False):
    """Puts what a function makes of a value in its place."""

    function: Callable[[Tensor, Site], Tensor]

    def put(self, value: Shaped[Tensor, "row unit"], place: Place) -> Tensor:
        """Return what the function makes of the value, once for each step of the input."""
        if isinstance(place.steps, int):
            return _as(self._made(value.clone(), place.steps, place.rows), value, self)
        result, every = torch.zeros_like(value), torch.as_tensor(place.rows)
        for step in place.steps.unique().tolist():
            rows = (place.steps == step).nonzero().flatten()
            made = _as(self._made(value[rows], step, every[rows]), value, self)
            result = result.index_put((rows,), made)
        return result

    def _made(self, given: Tensor, step: int, rows: Any) -> Tensor:
        """Return what the function makes of a copy of the values of one step, which it may change in place."""
        site = replace(self.site, steps=(step,), rows=None if self.site.rows is None else tuple(rows.tolist()))
        made = self.function(given, site)
        if not isinstance(made, Tensor) or made.shape != given.shape:
            found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise ProbeError(
                f"{self!r}: the function was given a tensor of shape {tuple(given.shape)} and returned {found}. "
                "Return a tensor of the same shape: (row, unit) at one step."
            )
        return made

    def _call(self) -> tuple[str, list[Any], dict[str, Any]]:
        return "edit", [self.function], {}


class _Described:
    """An array in a repr: its shape and the beginning of its hash."""

    def __init__(self, values: Tensor, digest: str) -> None:
        rows, steps, units = values.shape
        self.text = f"<{rows} rows x {steps} steps x {units} units, sha256 {digest[:8]}>"


def _written(value: Any) -> str:
    if isinstance(value, _Described):
        return value.text
    if callable(value):
        return getattr(value, "__qualname__", repr(value))
    if not isinstance(value, Tensor):
        return repr(value)
    if value.numel() <= _SHORT:
        return repr(value.tolist())
    return f"<{value.numel()} units, sha256 {digest_of(value)[:8]}>"


def _as(values: Tensor, like: Tensor, edit: Edit) -> Tensor:
    """Return values in the type and place of a signal, or raise where that cannot hold them."""
    advice = "Give smaller numbers, or run the model in {}."
    return converted(values, edit, advice, dtype=like.dtype, device=like.device)


def _without_nan(values: Tensor, edit: Edit) -> Tensor:
    # Infinities of both signs make the sum one, too.
    if isnan(float(values.sum().abs())) and bool(values.isnan().any()):
        raise ProbeError(
            f"{edit!r}: its source holds no number at a place that is put into the run: padding after a short row or "
            "a NaN of its own run. Choose steps= and rows= that the source has."
        )
    return values
