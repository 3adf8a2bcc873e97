"""Reads pickles of objects as records of their attributes, without importing or calling anything.

A pickle names classes and functions, and says with what to call them. Here every name but those of numpy's arrays is
a `Name`, and every object of a class a `Record` of its attributes. What a function would have made of its arguments
is not known, so that arrays among them are not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..formats.pickled import NUMPY, Array, Reader
from ..readers import DEEPEST, LIST, MOST_VALUES, SHOWN, Budget, Contents, collect, file_bytes, is_list, reading

ADVICE = "Give a pickle of numpy arrays in dicts and lists, or save them with numpy.savez."
#: By which objects of old protocols are made: of a class, its base, and the base's state.
_RECONSTRUCTORS = ("copy_reg._reconstructor", "copyreg._reconstructor")
#: By which numpy writes its own functions, such as tanh: the module and the name.
_UFUNCS = ("numpy.core._ufunc_reconstruct", "numpy._core._ufunc_reconstruct")
#: By which JAX writes its arrays: what rebuilds numpy's array, its arguments and state, and more that is no number.
_JAX = (
    "jax._src.array._reconstruct_array",
    "jaxlib.xla_extension._reconstruct_array",
    "jax.array._reconstruct_array",
)
#: By which PaddlePaddle writes an array, with its name before it.
_TUPLE = ("builtins.tuple", "__builtin__.tuple")
#: What PaddlePaddle calls its arrays elsewhere.
_PADDLE = "StructuredToParameterName@@."
#: Objects that hold nothing but what they are made from.
_WRAPPERS = ("haiku._src.data_structures.FlatMapping", "haiku._src.data_structures.FlatMap", "builtins.dict")


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle refers to, such as `madmom.ml.nn.activations.sigmoid`."""

    path: str


class Record(dict[Any, Any]):
    """An object of a pickle: its attributes and items, and none of its code.

    Attributes:
        of: the name of its class, or of the function that would have made it.
        unread: whether it has parts of which nobody knows what they become.
    """

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

    def __init__(self, of: str, *, unread: bool = False) -> None:
        super().__init__()
        self.of, self.unread = of, unread

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.update(part)
            elif part is not None:
                self.unread = True

    def append(self, _: Any) -> None:
        """Note that it is a list with more to it."""
        self.unread = True

    def extend(self, _: Any) -> None:
        """Note that it is a list with more to it."""
        self.unread = True


@dataclass
class Objects:
    """What a pickle of objects says, by the dotted name of each value.

    Attributes:
        arrays: numpy's arrays.
        functions: names of classes and functions.
        classes: of the objects.
        other: names of all else.
        lists: what lists of Python's numbers hold, in words, by name.
        seen: how many values were walked through.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)
    lists: dict[str, str] = field(default_factory=dict)
    seen: int = 0


class InertReader(Reader):
    """Reads a pickle of objects; what it asks for besides numpy's arrays is kept in `asked`."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content, NUMPY)
        self.asked: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name: of an unknown one, the name itself."""
        full = f"{module}.{name}"
        if full in NUMPY:
            return super().find_class(module, name)
        if full not in (*_RECONSTRUCTORS, *_UFUNCS, *_JAX, *_TUPLE, *_WRAPPERS) and len(self.asked) < SHOWN:
            self.asked.append(full)
        return Name(full)

    def called(self, function: Any, arguments: Any) -> Any:
        """Return what a call makes: an array, a record, or a named function."""
        if isinstance(function, Record):
            return Record("what another object returns", unread=True)
        if not isinstance(function, Name):
            return super().called(function, arguments)
        given = arguments if isinstance(arguments, tuple) else ()
        known = self._known(function.path, given)
        return Record(function.path, unread=bool(given)) if known is None else known

    def _known(self, path: str, given: tuple[Any, ...]) -> Any:
        """Return what a few functions of Python and other libraries make, which is data alone; or None."""
        made: Any = None
        if path in _RECONSTRUCTORS and given and isinstance(given[0], Name):
            # The base's own state is there only of lists, dicts and the like.
            made = Record(given[0].path, unread=len(given) > 2 and given[2] is not None)
        elif path in _UFUNCS and len(given) == 2 and all(isinstance(part, str) for part in given):
            made = Name(".".join(given))
        elif path in _JAX and len(given) > 2:
            array = self.called(given[0], given[1])
            if isinstance(array, Array):
                array.__setstate__(given[2])
                made = array
        elif path in _TUPLE and len(given) == 1 and isinstance(given[0], tuple):
            named = len(given[0]) == 2 and isinstance(given[0][0], str) and isinstance(given[0][1], Array)
            made = given[0][1] if named else given[0]
        elif path in _WRAPPERS and len(given) == 1 and isinstance(given[0], dict):
            made = Record(path)
            made[""] = given[0]
        return made

    def made(self, class_: Any, arguments: Any) -> Any:
        """Return a new object of a class."""
        if isinstance(class_, Name):
            return Record(class_.path, unread=bool(arguments))
        return super().made(class_, arguments)


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a pickle, by the keys, positions and attributes under which they lie."""
    content = file_bytes(path, budget)
    refusal, left_out = "", dict[str, str]()
    with reading(path, "a pickle of arrays", ADVICE):
        reader = InertReader(content)
        value = reader.load()
        found = objects_of({path.stem: value} if isinstance(value, Array) else value)
        other = list(found.other)
        if reader.asked:
            # Beside objects there may lie arrays of anything.
            left_out = {name: "what are no numbers" for name, array in found.arrays.items() if not array.of_numbers}
            found.arrays = {name: array for name, array in found.arrays.items() if array.of_numbers}
            refusal = (
                f"{str(path)!r} is a pickle that asks for {reader.asked[0]!r}, which is not opened because opening "
                f"it can run any code, and no recurrent network that is known lies among its arrays. {ADVICE}"
            )
        arrays = ((name, array.get(budget, name)) for name, array in found.arrays.items())
        tensors, more = collect(budget, arrays)
    what = "pickle of objects" if reader.asked else "pickle of arrays"
    framework, described = "unknown", found if found.classes else None
    if any(name.startswith(_PADDLE) for name in other):
        framework, what = "PaddlePaddle", "PaddlePaddle state"
        other = [name for name in other if not name.startswith(_PADDLE)]
    left_out = left_out | more | dict.fromkeys([*other, *found.functions], "") | found.lists
    return Contents(tensors, framework, what, described, left_out, refusal=refusal)


def objects_of(value: Any) -> Objects:
    """Return what lies in a value of a pickle, by dotted names.

    Raises:
        ValueError: there are too many values, or they lie too deep.
    """
    found = Objects()
    _visit(value, "", 0, found)
    return found


def _visit(value: Any, name: str, depth: int, found: Objects) -> None:
    found.seen += 1
    # Lists that hold one list many times, deep down, are small in a file and endless to walk through.
    if found.seen > MOST_VALUES or depth > DEEPEST:
        raise ValueError(f"more than {MOST_VALUES} values, or values more than {DEEPEST} deep")
    if isinstance(value, Array):
        if name in found.arrays:
            raise ValueError(f"two arrays of the name {name!r}")
        found.arrays[name] = value
    elif isinstance(value, Name):
        found.functions[name] = value.path
    elif not isinstance(value, (dict, list, tuple)):
        found.other.append(name)
    if isinstance(value, Record):
        found.classes[name] = value.of
        found.other += [f"{name} ({value.of})"] if value.unread else []
    if is_list(value):
        found.lists[name] = LIST
    inside = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    for key, below in inside:
        part = str(key) if isinstance(key, (str, int)) else f"<{type(key).__name__}>"
        _visit(below, f"{name}.{part}" if name and part else name or part, depth + 1, found)
