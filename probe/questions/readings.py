"""What `probe.linear_probe` and `probe.single_units` read of a subject: the states, and those of its controls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ProbeError
from ..evidence.claims import RANDOM
from ..methods.probing.targets import FOLDS
from ..probes.compared import Compared, compare
from ..probes.linear_probe import read_linearly
from ..probes.points import GivenConcept, Points, numbers
from ..probes.reading import Reading
from ..recurrent.layers import OpenLayer
from ..recurrent.signals import Signal
from ..subjects.ends import Ends
from ..subjects.states import Place, Recordings, recorded, recorded_rows
from ..subjects.subject import Subject, per_subject
from .rules import INITIAL

#: The roles of networks that are read.
READ = ("trained", INITIAL, RANDOM, "template", "planted", "other")


@per_subject
def alone(subject: Subject, name: str) -> Compared:
    """Return what probes read of a concept off a subject without a control: its points, and the states there.

    Raises:
        ProbeError: as of `probe.linear_probe`.
    """
    known, rows, recording = subject.concepts[name], recorded_rows(subject), recorded(subject)
    time = next(iter(recording.parts[0].signals.values())).shape[1]
    values: Any = known.values[rows][:, :time]
    if known.is_categorical:
        texts = np.full(values.shape, "", dtype=object)
        texts[np.isfinite(values)] = [known.said(value) for value in values[np.isfinite(values)]]
        values = texts
    return Compared.alone(GivenConcept(values, name, FOLDS, subject.seed, subject.groups_of(rows)), recording)


def key_of(asks: str, subject: Subject, name: str) -> str:
    """Return the name of a question about one of the concepts: what it asks, and the letters of the concept's name.

    Where two concepts have the same letters the later one has a number.
    """
    letters = [re.sub(r"[^a-z0-9]+", "-", each.lower()).strip("-")[:40] or "concept" for each in subject.concepts]
    keys: dict[str, str] = {}
    for each, own in zip(subject.concepts, letters, strict=True):
        key, number = f"{asks}-{own}", 2
        while key in keys.values():
            key, number = f"{asks}-{own}-{number}", number + 1
        keys[each] = key
    return keys[name]


@per_subject
def compared(subject: Subject, *others: Subject) -> dict[str, Compared]:
    """Return what probes read of each concept that can be read, beside others of the study; each is recorded once."""
    names = readable(subject)
    found = compare([alone(subject, name) for name in names], Recordings(beside(others)))
    return dict(zip(names, found, strict=True))


def beside(others: Sequence[Subject]) -> dict[str, Subject]:
    """Return the networks that a reading is compared with among others, by what its table calls them."""
    found = (one for one in others if one.network.role in (INITIAL, RANDOM))
    return {called(one.network.role, one.network.name): one for one in found}


def called(role: str, network: str) -> str:
    """Return what a reading calls a control by its role and its name in tables."""
    return INITIAL if role == INITIAL else network.rpartition("/")[2]


@per_subject
def own_reading(subject: Subject, name: str) -> Reading:
    """Return what a linear probe reads of a concept off a subject alone."""
    return read_linearly(alone(subject, name))


def points_of(subject: Subject, name: str, layer: str) -> Points:
    """Return the states of a layer that probes of a concept read."""
    found = alone(subject, name)
    return next(here for (part, _), here in zip(found.parts, found.points, strict=True) if part.layer == layer)


@per_subject
def why_unread(subject: Subject, name: str) -> str | None:
    """Return the reason why a concept cannot be read, as the probe says it, or None."""
    try:
        _ = alone(subject, name)
    except ProbeError as error:
        return str(error).rstrip(".")
    return None


def told_by_step(subject: Subject, name: str) -> str | None:
    """Return why no unit can follow a concept within steps: it says nothing that the step does not say; or None."""
    if not all(points_of(subject, name, layer.name).follows_from_step for layer in subject.layers):
        return None
    return f"“{name}” follows from the step alone: no two states of a step differ in it"


def readable(subject: Subject) -> list[str]:
    """Return the concepts that a probe can read, the one that is answered first."""
    names = [name for name in subject.concepts if why_unread(subject, name) is None]
    return sorted(names, key=lambda name: name != subject.concept.name)


def best_place(subject: Subject, name: str) -> Place:
    """Return where a linear probe reads a concept best."""
    best = own_reading(subject, name).summary.nlargest(1, "score").iloc[0]
    return str(best["layer"]), Signal(best["signal"])


def states_at(subject: Subject, at: Place, points: Points) -> np.ndarray:
    """Return a signal of a subject at points, (state, unit); points are those of any subject of its study."""
    (part,) = (one for one in recorded(subject).parts if one.layer == at[0])
    return points.states(part, at[1])


def whole_states(subject: Subject, at: Place, row: int) -> np.ndarray:
    """Return a signal of one recorded sequence, (time, unit)."""
    (part,) = (one for one in recorded(subject).parts if one.layer == at[0])
    return numbers(part.signals[at[1]][row])


def values_at(subject: Subject, name: str, points: Points) -> np.ndarray:
    """Return the values of a concept at its points, of categories their places in the study's order, (state,)."""
    return subject.concepts[name].values[recorded_rows(subject)][points.sequence, points.place]


def followed(subject: Subject, name: str) -> Place:
    """Return where the unit is that follows a concept most within steps."""
    how = {
        (layer.name, signal): points.follows(states_at(subject, (layer.name, signal), points)).max()
        for layer in subject.layers
        if (points := points_of(subject, name, layer.name))
        for signal in layer.whole_state
    }
    return max(how, key=lambda at: how[at])


def following(subject: Subject, end: Ends) -> np.ndarray | None:
    """Return how closely each unit of the stack follows the concept, (unit,); None if it varies in no step."""
    name, studied = subject.answered.name, {layer.name for layer in subject.layers}
    if why_unread(subject, name) is not None:
        return None
    by_layer = []
    for layer in end.stack:
        if layer.name not in studied:
            by_layer.append(np.zeros(layer.units))
            continue
        points = points_of(subject, name, layer.name)
        if points.follows_from_step:
            return None
        signals = layer.states if isinstance(layer, OpenLayer) else layer.whole_state
        by_state = [points.follows(states_at(subject, (layer.name, signal), points)) for signal in signals]
        # Each number of the state of a layer that torch lacks is a unit.
        by_layer += by_state if isinstance(layer, OpenLayer) else [np.max(by_state, axis=0)]
    return np.concatenate(by_layer)


def by_following(subject: Subject, end: Ends) -> list[int] | None:
    """Return the units of the stack, those that follow the concept most first; None as of `following`."""
    how = following(subject, end)
    return None if how is None else np.argsort(-how, kind="stable").tolist()
