"""The numbers of a recording as a tidy table, with concepts beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ProbeError, unknown
from ..recurrent.signals import flat_units
from .aligned import aligned, check_finite
from .arrays import as_array

if TYPE_CHECKING:
    import pandas as pd

    from ..recurrent.signals import Signal
    from .recording import LayerRecording

#: The columns of every table; those of concepts stand behind them.
COLUMNS = ("layer", "call", "signal", "sequence", "step", "unit", "value")
#: The column of a concept that has no name.
CONCEPT = "concept"


def tidy(
    parts: Sequence[LayerRecording],
    steps: tuple[int, ...] | None,
    *,
    given: Any,
    layers: Iterable[str] | None,
    signals: Iterable[str] | None,
    units: tuple[Any, ...] | None,
) -> pd.DataFrame:
    """Return a row for each number of a recording; see `Recording.to_frame`.

    Args:
        parts: what each call of each layer computed, one at least.
        steps: the steps kept, or None for all.
        given: a concept, or several by name; None for none.
        layers: which layers, or None for all.
        signals: which signals, or None for all.
        units: which units, numbers or index tuples, or None for all.

    Raises:
        ProbeError: a name or a number does not exist, or a concept is not aligned to a layer.
    """
    import pandas as pd

    concepts, made = _concepts(given), list[pd.DataFrame]()
    chosen_parts = _wanted(parts, layers, signals)
    several = sum(len(own) for _, own in chosen_parts) > 1
    hint = " Choose the layer= and the signals= that have these units." if several else ""
    for part, wanted in chosen_parts:
        sequence, place = np.nonzero(_real(part, steps))
        step = np.asarray(times(part, steps))[place]
        beside = {name: _column(part, name, values, (sequence, place)) for name, values in concepts.items()}
        for signal in wanted:
            chosen = _units(part, signal, units, hint)
            # The units of a state stand together, so that all else is repeated for each of them.
            by_state = {"sequence": sequence, "step": step, **beside}
            table = {name: np.repeat(values, len(chosen)) for name, values in by_state.items()}
            table["unit"] = np.tile(chosen, len(sequence))
            table["value"] = _numbers(part, signal)[sequence, place][:, chosen].ravel()
            about = {"layer": part.layer, "call": part.call, "signal": str(signal)}
            made.append(pd.DataFrame(about | table, columns=[*COLUMNS, *concepts]))
    return pd.concat(made, ignore_index=True)


def times(part: LayerRecording, steps: tuple[int, ...] | None) -> list[int]:
    """Return the step of each place of a layer's time axis, of the steps kept, or None for all."""
    return list(steps or range(next(iter(part.signals.values())).shape[1]))


def _real(part: LayerRecording, steps: tuple[int, ...] | None) -> np.ndarray:
    """Return where a sequence has a step, (batch, time): not beyond its end."""
    batch, time = next(iter(part.signals.values())).shape[:2]
    if part.lengths is None:
        return np.ones((batch, time), dtype=bool)
    kept, lengths = np.asarray(times(part, steps)), np.asarray(part.lengths)[:, None]
    return (kept < lengths) & (kept >= -lengths)


def _wanted(
    parts: Sequence[LayerRecording], layers: Iterable[str] | None, signals: Iterable[str] | None
) -> list[tuple[LayerRecording, list[Signal]]]:
    """Return the calls of layers that were asked for, and the signals of each."""
    there = dict.fromkeys(part.layer for part in parts)
    for name in layers or ():
        if name not in there:
            raise ProbeError(unknown("recorded layer", name, there))
    chosen = [part for part in parts if layers is None or part.layer in layers]
    every = dict.fromkeys(signal for part in chosen for signal in part.signals)
    for name in signals or ():
        if name not in every:
            raise ProbeError(unknown("recorded signal", name, every))
    wanted = [(part, [one for one in part.signals if signals is None or one in signals]) for part in chosen]
    return [(part, own) for part, own in wanted if own]


def _units(part: LayerRecording, signal: Signal, units: tuple[Any, ...] | None, hint: str) -> list[int]:
    """Return the places of the units that were asked for on a signal's unit axis; an error ends with the hint."""
    shape = part.shapes.get(signal, part.signals[signal].shape[2:])
    if units is None:
        return list(range(part.signals[signal].shape[2]))
    try:
        return flat_units(units, tuple(shape), f"the {signal} of layer {part.layer!r}")
    except ProbeError as error:
        raise ProbeError(f"{error}{hint}") from None


def _numbers(part: LayerRecording, signal: Signal) -> np.ndarray:
    """Return a signal's values, (batch, time, unit); whole numbers become others, as those of all signals are."""
    values = as_array(part.signals[signal])
    return values if np.issubdtype(values.dtype, np.inexact) else values.astype(float)


def _concepts(given: Any) -> dict[str, Any]:
    """Return the values of concepts by the names of their columns."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        name = getattr(given, "name", None)  # as a Series has it
        given = {name if isinstance(name, str) and name else CONCEPT: given}
    for name in given:
        if not isinstance(name, str) or not name or name in COLUMNS:
            raise ProbeError(
                f"concept= names a column {name!r}. Give it as {{name: values}}, where the name is a text other than "
                f"{', '.join(map(repr, COLUMNS))}, which are columns of their own."
            )
    return dict(given)


def _column(part: LayerRecording, name: str, given: Any, states: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return a concept at states, sequences and places of the time axis: numbers, truths and texts as they are.

    What is not defined is NaN, among texts and truths too: None cannot be sorted beside them, as plots do.
    """
    batch, time = next(iter(part.signals.values())).shape[:2]
    called = "the concept" if name == CONCEPT else f"the concept {name!r}"
    found = aligned(given, batch, time, f"Beside layer {part.layer!r} {called}")
    check_finite(found, f"T{called[1:]}")
    values, known = found.values[states], found.known[states]
    if known.all():
        return values
    return np.where(known, values if found.numeric else values.astype(object), np.nan)
