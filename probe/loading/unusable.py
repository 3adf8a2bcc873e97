"""Refuses a file in which an array of a recurrent layer cannot be used: without it, it is another network."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from ..errors import ProbeError
from .initial import looks_initial
from .readers import LIST

#: What stands in the names of recurrent layers' arrays, whoever wrote them.
_RECURRENT = re.compile(
    r"lstm|gru|rnn|recurrent|(?:^|[^a-z])(?:w|b|u|weights?|bias)_?(?:ih|hh|hr|xh)(?:[^a-z]|$)|i2h|h2h", re.IGNORECASE
)

#: The last word of an array's name, where lists of anything may lie beside the arrays, such as a training's losses.
_ARRAY = re.compile(r"(?:w|b|u|weights?|bias(?:es)?|kernel)(?:_.*)?|.*(?:weights?|bias(?:es)?|kernel)", re.IGNORECASE)


def check_usable(layers: Iterable[Collection[str]], left_out: Mapping[str, str], skipped: Collection[str]) -> None:
    """Raise ProbeError where an array that cannot be used belongs to a layer by its name.

    Args:
        layers: for each layer that was found, the names of its arrays in the file.
        left_out: what was not read, by name: what it holds, or "" of what is no array.
        skipped: names that the caller leaves out.

    Raises:
        ProbeError: its name is that of a recurrent layer's array, or it lies beside or below the arrays of a layer.
    """
    found = [names for names in layers if names]
    for name, what in left_out.items():
        if what and name not in skipped and _belongs(name, what, found):
            raise ProbeError(
                f"{name!r} holds {what}, which torch has no numbers for, and belongs to a layer by its name: without "
                "it the layer would be another network. Save it as float32 or float64, or leave it out with "
                f"names={{{name!r}: None}}."
            )


def _belongs(name: str, what: str, layers: Iterable[Collection[str]]) -> bool:
    if what == LIST and not _ARRAY.fullmatch(last_word(name)):
        return False
    if _RECURRENT.search(name) or looks_initial(name):
        return True
    beside = any(_place(name) in {_place(own) for own in names} for names in layers)
    return beside or any(name.startswith(_shared(list(names)) or "\0") for names in layers)


def last_word(name: str) -> str:
    """Return what stands behind the last dot or slash of a name."""
    return re.split(r"[./]", name)[-1]


def _place(name: str) -> str:
    """Return where a name lies: all of it up to its last word."""
    return name[: len(name) - len(last_word(name))]


def _shared(names: list[str]) -> str:
    """Return the whole words with which all names of a layer begin, or ""."""
    start = min(names)
    while not all(name.startswith(start) for name in names):
        start = start[:-1]
    ends = "./" if any(re.search(r"[./]", name) for name in names) else "./_"
    while start and start[-1] not in ends:
        start = start[:-1]
    return start
