"""The one exception that the library raises, and the sentences that its messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata


class ProbeError(Exception):
    """Raised for every input that the library cannot use.

    The message names what was given, what is allowed and what to do next.
    """


class NoRecurrenceError(ProbeError):
    """Raised where a model holds no recurrent layer that is known."""


def check_has_numbers(value: object, what: str) -> None:
    """Raise where a tensor is on the device meta.

    Args:
        value: what may be one.
        what: what it was given as, such as `The inputs`.
    """
    if getattr(value, "is_meta", False):
        raise ProbeError(
            f"{what}: this tensor is on the device meta, where tensors have a shape and no numbers. Give it on the "
            "device cpu, or on another that holds numbers."
        )


def another_cell() -> str:
    """Return the end of each refusal of a recurrence that is none of torch's.

    It names the page on the site that the installed package names, or what to type where it names none.
    """
    try:
        links = metadata("rnn-probe").get_all("Project-URL") or []
    except PackageNotFoundError:  # a checkout that is not installed
        links = []
    site = dict(link.split(", ", 1) for link in links).get("Documentation", "OWNER")
    page = "help(probe.register)" if "OWNER" in site else f"{site}howto/recurrence.html"
    return (
        "For another recurrence say how it runs one step, with probe.register: "
        f"{page} shows that, and how to check it with probe.testing.check_step."
    )


def unknown(kind: str, given: object, allowed: Iterable[object]) -> str:
    """Return the sentence for a name that does not exist: what was given, what exists, the nearest name.

    Args:
        kind: what the name stands for, such as `signal`.
        given: the name that was asked for.
        allowed: the names that exist.
    """
    names = [str(name) for name in allowed]
    nearest = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    listed = ", ".join(repr(name) for name in names) if names else "none"
    return f"There is no {kind} {str(given)!r}; there is {listed}.{hint}"


def require(what: str, extra: str, library: str) -> None:
    """Import the library of a format, which an extra of this package brings.

    Args:
        what: needs it, as the beginning of a sentence.
        extra: brings it, such as `keras`.
        library: as code imports it.

    Raises:
        ProbeError: it cannot be imported.
    """
    try:
        import_module(library)
    except ImportError as error:
        raise ProbeError(
            f"{what} needs {library}, which is not installed: pip install 'rnn-probe[{extra}]'."
        ) from error


def several(count: int, one_of: str, many: str | None = None) -> str:
    """Return a count with its noun: `1 sequence`, `2,000 sequences`.

    Args:
        count: how many.
        one_of: the noun of one.
        many: that of several, where it does not end in one more s.
    """
    return f"{count:,} {one_of if count == 1 else many or one_of + 's'}"


@contextmanager
def about(what: str) -> Iterator[None]:
    """Begin what an error says with the network that it is about, of many."""
    try:
        yield
    except ProbeError as error:
        raise type(error)(f"{what}: {error}" if what else str(error)) from error.__cause__ or error
