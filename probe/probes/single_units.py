"""`single_units`: which unit follows a concept best, beside controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..methods.probing.controls import relabelled
from ..methods.probing.fits import Fit, LeastSquares, Logistic
from ..methods.probing.monotone import monotone_score
from ..methods.probing.scores import Score, of_categories, of_numbers
from ..methods.probing.splits import by_sequence
from ..methods.probing.targets import FOLDS
from ..methods.probing.units import follows
from ..recording.recording import Recording
from .points import GivenConcept, Points
from .reading import OWN, Compared, Reading, SignalRead

#: A value is read exactly only among so many values at most.
MOST_VALUES = 50
SHUFFLED = "shuffled concept"


def single_units(
    recording: Recording,
    concept: Any,
    *,
    controls: Mapping[str, Recording] | None = None,
    layers: Iterable[str] | None = None,
    signals: Iterable[str] | None = None,
    name: str = "",
    seed: int = 0,
) -> Reading:
    """Find the unit of each signal that follows a concept best, selected and scored on different sequences.

    The score is within steps: what the step explains is taken off unit and concept, so that a unit that tells the
    time alone scores chance. Of a number it is R², of categories balanced accuracy. A running count must do more:
    `exact` is the share of held-out states whose value one monotone map of one unit, the same at all steps, gives
    exactly (numbers with at most 50 values).

    Args:
        recording: what `probe.record` or `probe.load_recording` returned.
        concept: its value at each recorded step; see `probe.linear_probe`.
        controls: recordings of the same inputs by name; see `probe.linear_probe`. The concept shuffled within steps
            always stands beside them: the best of many units follows it by chance.
        layers: which layers, by name; None for all.
        signals: which signals, by name; None for all that were recorded.
        name: what the concept is called.
        seed: of the parts, of the states (at most 4,000, of categories 2,000) and of the intervals.

    Returns:
        The scores, which show themselves; in `.table` also each unit's own |r| (of categories: correlation ratio).

    Raises:
        ProbeError: as of `probe.linear_probe`.

    Reference:
        Karpathy et al. 2015, Visualizing and understanding recurrent networks.
    """
    compared = Compared.of(GivenConcept(concept, name, FOLDS, seed), recording, controls, layers, signals)
    found = []
    for (part, wanted), points in zip(compared.parts, compared.points, strict=True):
        (order,) = relabelled(points.values, points.bin, 1, seed=seed)
        for signal in wanted:
            states = compared.read(part, signal, points)
            best = {network: _best_unit(points, each) for network, each in states.items()}
            best[SHUFFLED] = _best_unit(replace(points, values=order), states[OWN])
            own = points.detrended(states[OWN])
            found.append(
                SignalRead(
                    part,
                    signal,
                    points,
                    {network: score for network, (score, _) in best.items()},
                    unit={network: units for network, (_, units) in best.items()},
                    exact=_exact(points, states),
                    follows=follows(own, points.within_steps(points.values), named=points.named).tolist(),
                )
            )
    exact = "; exact: share of states that one monotone map of one unit reads" if found[0].exact else ""
    return compared.reading(
        f"Best unit for {compared.concept.called}: held-out {compared.score} within steps{exact}", found
    )


def _best_unit(points: Points, states: np.ndarray) -> tuple[Score, tuple[int, ...]]:
    """Return the score of the best unit, selected and fitted on half of the sequences, and the units selected."""
    units, goal = points.detrended(states), points.within_steps(points.values)
    fit: Fit = Logistic() if points.named else LeastSquares()
    halves = by_sequence(points.fold % 2)
    predicted, chosen = np.zeros(len(goal)), []
    for half, other in (halves, halves[::-1]):
        unit = int(np.argmax(follows(units[half], goal[half], named=points.named)))
        predicted[other] = fit.held_out(units[:, [unit]], goal[:, None], halves)[other, 0]
        chosen.append(unit)
    score = (of_categories if points.named else of_numbers)(goal, predicted, points.sequence, points.count)
    return score, tuple(dict.fromkeys(chosen))


def _exact(points: Points, states: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the share of states that one monotone map of one unit reads exactly, of each network."""
    levels, places = np.unique(points.values, return_inverse=True)
    if points.named or len(levels) > MOST_VALUES:
        return {}
    parts = by_sequence(points.fold)
    return {name: monotone_score(each, places.astype(float), parts).accuracy for name, each in states.items()}
