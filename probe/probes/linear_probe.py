"""`linear_probe`: how well a linear map of a signal reads a concept, beside controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..arguments import NAMES, checked_arguments
from ..errors import ProbeError, unknown
from ..methods.probing.groups import LEAST_STATES
from ..methods.probing.linear import Fit, LeastSquares, Logistic, Ridge
from ..methods.probing.scores import Score
from ..methods.probing.targets import FOLDS
from ..recording.recording import Recording
from .compared import Compared, compare
from .points import GivenConcept, Points
from .reading import OWN, Reading, SignalRead

FITS: Mapping[str, Fit] = {fit.name: fit for fit in (Ridge(), Logistic(), LeastSquares())}


@checked_arguments(layer=NAMES)
def linear_probe(
    recording: Recording,
    concept: Any,
    *,
    controls: Mapping[str, Recording] | None = None,
    layer: str | Iterable[str] | None = None,
    signals: Iterable[str] | None = None,
    one_map: bool = True,
    fit: str | None = None,
    folds: int = FOLDS,
    groups: Any = None,
    name: str = "",
    seed: int = 0,
) -> Reading:
    """Read a concept off each signal with a linear probe, scored on sequences that it was not fitted on.

    The score of a number is R², that of categories balanced accuracy. A state that sequences share, since they begin
    alike, counts once. A probe of the step alone and one of the last inputs always stand beside: what they read as
    well needs no memory.

    Args:
        recording: what `probe.record` or `probe.load_recording` returned.
        concept: its value at each recorded step, (batch, time), or one for each sequence, (batch,): numbers, or
            categories as texts or booleans; NaN, None or "" where it is not defined. Two numbers are categories, as
            two texts are; of more give texts.
        controls: recordings of the same inputs by name: `probe.random_weights(model, x)`, and `{"own initialisation":
            ...}` recorded before training. A count can be read off networks that were never trained.
        layer: which layer, by name, or which, several names in brackets; None for all.
        signals: which signals, by name; None for all that were recorded.
        one_map: fit one map for all steps. False adds a map for each step that has 128 states or more.
        fit: `ridge` (penalty by cross-validation) or `least squares` of numbers, also two; `logistic` of categories.
        folds: into how many parts the sequences are cut; all states of a sequence are in one.
        groups: a value for each sequence, (batch,), such as its speaker: whole groups lie in one part, as of
            scikit-learn's `GroupKFold`, and intervals are over groups. None where each sequence stands for itself.
        name: what the concept is called.
        seed: of the parts, of the states (at most 4,000, of categories 2,000) and of the intervals.

    Returns:
        The scores, which show themselves: `[signal]`, `.table`, `.plot()`, `.direction(signal)` for `probe.steer`.

    Raises:
        ProbeError: concept, groups or control do not fit, or fewer than 8 sequences (or 2 a fold) have a value.

    Reference:
        Alain & Bengio 2016, Understanding intermediate layers; Hewitt & Liang 2019, Control tasks.
    """
    given = GivenConcept(concept, name, folds, seed, groups, fit)
    (compared,) = compare([Compared.alone(given, recording, layer, signals)], controls)
    compared.warn()
    return read_linearly(compared, one_map=one_map)


def read_linearly(compared: Compared, *, one_map: bool = True) -> Reading:
    """Return what linear probes read of what is compared; see `linear_probe`."""
    fit, found = compared.concept.fit, []
    for place, ((part, wanted), points) in enumerate(zip(compared.parts, compared.points, strict=True)):
        by = _fit_of(fit, points)
        beside = points.beside(by)
        for signal in wanted:
            states = compared.read(place, signal)
            scores = {network: points.score(each, by) for network, each in states.items()} | beside
            own, steps = points.probe(by, states[OWN]), {} if one_map else _by_step(points, by, states)
            found.append(SignalRead(part=part, signal=signal, points=points, scores=scores, probe=own, by_step=steps))
    if not one_map and not any(read.by_step for read in found):
        raise ProbeError(f"No step has {LEAST_STATES} states, so that none has a map of its own: take one_map=True.")
    how = f"{_fit_of(fit, compared.points[0]).name}, one map for all steps{'' if one_map else ', and one for each'}"
    return compared.reading(f"Linear probe of {compared.concept.called}: held-out {compared.score}, {how}", found)


def _fit_of(name: str | None, points: Points) -> Fit:
    if name is None:
        return points.fit
    if name not in FITS:
        raise ProbeError(unknown("way to fit a probe", name, FITS))
    if points.named != (name == Logistic.name):
        raise ProbeError(
            f"fit={name!r} is for {'numbers, and the concept holds categories: fit=None or ' if points.named else ''}"
            + ("'logistic'." if points.named else "categories, and the concept holds numbers: give them as texts.")
        )
    return FITS[name]


def _by_step(points: Points, fit: Fit, states: Mapping[str, np.ndarray]) -> dict[int, dict[str, Score]]:
    """Return the score of a map for each step that has enough states, of each network."""
    found = {}
    for step in np.unique(points.step):
        rows = np.flatnonzero(points.step == step)
        here = points.at(rows)
        if len(rows) >= LEAST_STATES and len(np.unique(here.values)) > 1:
            inputs = {} if points.inputs is None else {points.read: points.inputs}
            every = {**states, **inputs}
            found[int(step)] = {network: here.score(each[rows], fit) for network, each in every.items()}
    return found
