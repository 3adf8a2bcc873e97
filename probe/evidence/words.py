"""How numbers, intervals and names are written in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


def said(value: float) -> str:
    """Return a number with two decimals, as it is written in a sentence."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    """Return a number with two decimals and its sign."""
    return f"{'+' if value >= 0 else ''}{said(value)}"


def said_score(value: float) -> str:
    """Return a score as it is written in a sentence; far below that of knowing nothing, its size is no measure."""
    return "below \N{MINUS SIGN}1" if value < -1 else said(value)


def between(ends: tuple[float, float]) -> str:
    """Return an interval as it is written in a sentence."""
    return f"95 % interval {said_score(ends[0])} to {said_score(ends[1])}"


def place(layer: str, signal: str) -> str:
    """Return the name of a layer's signal as it is written in a sentence."""
    return f"the {signal.replace('_', ' ')} of {layer}"


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else "none"


def alternatives(names: Sequence[str]) -> str:
    """Return names as a list of which any may be meant."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def largest(values: Mapping[str, float], written: Callable[[float], str] = said) -> list[str]:
    """Return the names of the largest value, of all that are written as it is.

    Args:
        values: name -> value.
        written: how the sentence writes a value.
    """
    most = written(max(values.values()))
    return [name for name, value in values.items() if written(value) == most]
