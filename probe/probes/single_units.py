"""`single_units`: which unit follows a concept best, beside controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..arguments import NAMES, checked_arguments
from ..methods.probing.groups import by_sequence
from ..methods.probing.monotone import monotone_held_out
from ..methods.probing.scores import Score, of_exact
from ..methods.probing.targets import FOLDS
from ..methods.probing.units import follows
from ..recording.recording import Recording
from .compared import Compared, compare
from .points import STEP, GivenConcept, Points
from .reading import ONE_MAP, OWN, SHUFFLED, WITHIN, Reading, SignalRead

#: A value is read exactly only among so many values at most.
MOST_VALUES = 50


@checked_arguments(layer=NAMES)
def single_units(
    recording: Recording,
    concept: Any,
    *,
    controls: Mapping[str, Recording] | None = None,
    layer: str | Iterable[str] | None = None,
    signals: Iterable[str] | None = None,
    groups: Any = None,
    name: str = "",
    seed: int = 0,
) -> Reading:
    """Find the unit of each signal that follows a concept best, selected and scored on different sequences.

    Two ways. *Within steps*: what the step explains is taken off unit and concept, so that a unit that tells the time
    alone scores chance (of a number R², of categories balanced accuracy). *One map*: the unit is read as it is, by
    one map that is the same at all steps. Of categories that is balanced accuracy too; of numbers, at most 50 values,
    the share of states whose value a monotone map gives exactly. A running count needs one map.

    Args:
        recording: what `probe.record` or `probe.load_recording` returned.
        concept: its value at each recorded step; see `probe.linear_probe`.
        controls: recordings of the same inputs by name; see `probe.linear_probe`. The step alone, the last inputs and
            the concept shuffled always stand beside them: the best of many follows it by chance. It is shuffled
            within steps; among whole sequences, or groups, where it has one value in each.
        layer: which layer, by name, or which, several names in brackets; None for all.
        signals: which signals, by name; None for all that were recorded.
        groups: a value for each sequence, (batch,), such as its speaker; see `probe.linear_probe`.
        name: what the concept is called.
        seed: of the parts, of the states (at most 4,000, of categories 2,000) and of the intervals.

    Returns:
        The scores, which show themselves; in `.table` also each unit's own |r| (of categories: correlation ratio).

    Raises:
        ProbeError: as of `probe.linear_probe`.

    Reference:
        Karpathy et al. 2015, Visualizing and understanding recurrent networks.
    """
    given = GivenConcept(concept, name, FOLDS, seed, groups)
    (compared,) = compare([Compared.alone(given, recording, layer, signals)], controls)
    compared.warn()
    return read_units(compared)


def read_units(compared: Compared) -> Reading:
    """Return which unit of each signal follows the concept best, of what is compared; see `single_units`."""
    found = []
    for place, ((part, wanted), points) in enumerate(zip(compared.parts, compared.points, strict=True)):
        (order,) = points.shuffled(1, seed=compared.concept.seed)
        shuffled = replace(points, values=order)
        beside = {**points.controls(), STEP: points.step[:, None].astype(float)}
        for signal in wanted:
            states = compared.read(place, signal)
            held = points.within_steps(points.values)
            shown = follows(points.detrended(states[OWN]), held, points.bin, named=points.named)
            for how, best in _ways(points).items():
                read = {network: best(points, each) for network, each in {**states, **beside}.items()}
                read[SHUFFLED] = best(shuffled, states[OWN])
                scores = {network: score for network, (score, _) in read.items()}
                unit = {network: units for network, (_, units) in read.items()}
                by_unit = shown.tolist() if how == WITHIN else ()
                where = {"part": part, "signal": signal, "points": points, "how": how}
                found.append(SignalRead(**where, scores=scores, unit=unit, follows=by_unit))
    one_map = _said_of_one_map(compared.points[0])
    what = f"Best unit for {compared.concept.called}: within steps: held-out {compared.score}{one_map}"
    return compared.reading(what, found)


def _said_of_one_map(points: Points) -> str:
    """Return what the title says of the second way."""
    if points.named:
        return "; with one map for all steps, the same"
    if ONE_MAP in _ways(points):
        return "; with one map for all steps, share of states read exactly"
    values = len(np.unique(points.values))
    return f"; {values} values, of which at most {MOST_VALUES} are read exactly by one map"


def _ways(points: Points) -> dict[str, Callable[[Points, np.ndarray], tuple[Score, tuple[int, ...]]]]:
    """Return the ways in which a unit may follow the concept, and what finds the best unit."""
    if points.named:
        return {WITHIN: Points.best_unit, ONE_MAP: partial(Points.best_unit, within=False)}
    exact = {ONE_MAP: _read_by_one_map} if len(np.unique(points.values)) <= MOST_VALUES else {}
    return {WITHIN: Points.best_unit, **exact}


def _read_by_one_map(points: Points, states: np.ndarray) -> tuple[Score, tuple[int, ...]]:
    """Return the share of states that a monotone map of the best unit reads exactly, and the units selected."""
    place = np.unique(points.values, return_inverse=True)[1].astype(float)
    predicted, units = monotone_held_out(states, place, by_sequence(points.fold), np.ones(len(place)), by_share=True)
    return of_exact(place, predicted, points.group, points.count), tuple(dict.fromkeys(units))
