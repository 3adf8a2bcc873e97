"""What the arguments of public functions may be: one check for each name, the same in every function."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import EnumType
from functools import partial, wraps
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from .errors import ProbeError, unknown

#: What an error shows as it was given, where it has so many letters at most; of all else the class.
_SHORT, _LETTERS = (bool, int, float, complex, str, bytes, list, tuple, dict), 60
_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Kind:
    """What an argument may be.

    Attributes:
        wanted: what that is, in words.
        read: gives the value as it is used; raises ValueError where it is of another kind.
    """

    wanted: str
    read: Callable[[Any], Any]


def _whole(value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError
    return int(value)


def _number(value: Any, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) < math.inf:
        raise ValueError
    return value if isinstance(value, (int, float)) else float(value)


def _one_of(value: Any, *, kinds: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kinds):
        raise ValueError
    return value


def _function(value: Any, *, takes: int) -> Any:
    if not callable(value):
        raise ValueError
    try:
        asked = inspect.signature(getattr(value, "forward", value))  # a module's own call takes anything
    except (TypeError, ValueError):  # what is not written in Python may not say what it takes
        return value
    try:
        asked.bind(*range(takes))
    except TypeError:
        raise ValueError from None
    return value


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError
    return value


def _names(value: Any) -> Any:
    if isinstance(value, EnumType):  # `probe.Signal` stands for all of its names
        return value
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError
    return names


def _several(value: Any) -> list[Any]:
    if not isinstance(value, Iterable):
        raise ValueError
    return list(value)


def whole(least: int, wanted: str = "a whole number") -> Kind:
    """Return the kind of whole numbers, Python's or numpy's, that are so large at least."""
    return Kind(f"{wanted}, {least} or more", partial(_whole, least=least))


def function(takes: int, wanted: str) -> Kind:
    """Return the kind of functions of so many arguments, in the words that say what they take and give."""
    return Kind(f"a function {wanted}", partial(_function, takes=takes))


#: A number that says how large something may be.
NUMBER = Kind("a number, 0 or more", partial(_number, least=0))
SIGNED = Kind("a finite number", partial(_number, least=-sys.float_info.max))
FLAG = Kind("True or False", partial(_one_of, kinds=bool))
TEXT = Kind("a text", partial(_one_of, kinds=str))
NAMES = Kind("a name, or several in brackets", _names)
#: What an argument of a name may be, wherever it stands. A function says it where the name is another thing there.
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("seed", "random", "batch_axis"), whole(0)),
    **dict.fromkeys(("count", "episodes", "environments", "most", "every"), whole(1)),
    "call": whole(0, "the number of a call"),
    "folds": whole(3),
    "memory": whole(1, "a number of bytes"),
    **dict.fromkeys(("tolerance", "relative"), NUMBER),
    "share": SIGNED,
    **dict.fromkeys(("check", "detach", "one_map", "together"), FLAG),
    **dict.fromkeys(("name", "at", "put", "kind", "fit", "layer", "signal", "title", "noun"), TEXT),
    "signals": NAMES,
    "tokens": Kind("several tokens, one for each step", _several),
    "kwargs": Kind("the model's own keyword arguments: {'name': value}", _table),
    "controls": Kind("a table, {'name': ...}", _table),
    "output": function(1, "of what the model returns"),
    "answer": function(1, "of what the model returns, to answers (batch, step) or (batch, step, number)"),
    "gradient_of": function(1, "of what the model returns, to a scalar"),
    "function": function(2, "of a value and its site: function(value, site)"),
    "make": function(0, "that makes an environment, such as lambda: gymnasium.make('CartPole-v1')"),
    "act": function(3, "of (observations, state, starts) that returns (actions, state)"),
}


def read_as(name: str, value: Any, kind: Kind | None = None) -> Any:
    """Return the value of an argument as it is used.

    Args:
        name: the argument's name.
        value: what was given.
        kind: what it may be; None for what its name says.

    Raises:
        ProbeError: it is something else.
    """
    kind = kind or KINDS[name]
    try:
        return kind.read(value)
    except ValueError:
        short = value is None or (isinstance(value, _SHORT) and len(repr(value)) <= _LETTERS)
        given = f"{name}={value!r}" if short else f"{name} is a {type(value).__name__} and"
        raise ProbeError(f"{given} must be {kind.wanted}.") from None


def checked_arguments(**own: Kind) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let a function raise ProbeError where an argument is of another kind than its name says, or has no such name.

    None is taken where it is what the function takes when nothing is given.

    Args:
        **own: the kinds of arguments whose names are other things here.
    """

    def decorated(asked: Callable[_P, _R]) -> Callable[_P, _R]:
        parameters = inspect.signature(asked).parameters
        kinds = {name: own.get(name, KINDS.get(name)) for name in parameters}
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        rest = inspect.Parameter.VAR_KEYWORD in {one.kind for one in parameters.values()}
        places = [name for name, one in parameters.items() if one.kind not in (*several, one.KEYWORD_ONLY)]

        def read(name: str, value: Any) -> Any:
            kind = kinds.get(name)
            if kind is None or (value is None and parameters[name].default is None):
                return value
            return read_as(name, value, kind)

        @wraps(asked)
        def checked(*given: _P.args, **keywords: _P.kwargs) -> _R:
            others = [name for name in keywords if name not in parameters]
            if others and not rest:
                told = f"{asked.__name__} has no argument {', '.join(map(repr, others))}."
                if "kwargs" in parameters:
                    named = ", ".join(f"{name!r}: ..." for name in others)
                    told += f" Those of the model go into one: kwargs={{{named}}}."
                raise ProbeError(f"{told} {unknown('argument', others[0], parameters)}")
            first: Any = [read(name, value) for name, value in zip(places, given, strict=False)]
            named: Any = {name: read(name, value) for name, value in keywords.items()}
            return asked(*first, *given[len(first) :], **named)  # pyright: ignore[reportCallIssue]

        return checked

    return decorated
