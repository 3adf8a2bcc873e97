"""Which sequences and states a study looks at: each distinct prefix once, drawn by seed where there are many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from ...errors import ProbeError
from ...recurrent.layers import find_layers, whole_module
from ...words import several
from ..definition.concepts import Known
from ..definition.prepared import LEAST_SEQUENCES, Prepared
from ..tables import listed

#: The most steps that are recorded, over all sequences, and the most sequences.
POINTS, SEQUENCES = 40_000, 2_000
#: The most states that a probe of a number, and of categories (as many of each), is fitted and scored on.
STATES, STATES_OF_CATEGORIES = 4_000, 2_000
#: Parts of the sequences: each is scored on a fit of the others.
FOLDS = 4
#: Beyond so many steps, neighbouring ones are one bin.
MOST_BINS = 64


@dataclass(frozen=True, eq=False)
class Sample:
    """States that are looked at, each after another prefix.

    Attributes:
        rows: which sequences are recorded, (sequence,), ascending.
        sequence: of each state, its place among them, (state,).
        step: after which step each stands, (state,).
        of: concept -> which states are those of its probes.
        fold: of each sequence, which part of them it is in, (sequence,).
        distinct: how many distinct prefixes the recorded sequences have in all.
    """

    rows: np.ndarray
    sequence: np.ndarray
    step: np.ndarray
    of: Mapping[str, np.ndarray]
    fold: np.ndarray
    distinct: int

    def bins(self, steps: int) -> np.ndarray:
        """Return each state's bin of steps, (state,): the step itself where there are few."""
        return self.step if steps <= MOST_BINS else self.step * MOST_BINS // steps


def draw(prepared: Prepared) -> Sample:
    """Return which states are looked at.

    A state depends on its prefix alone, so each distinct prefix stands once, in the first sequence that has it: a
    copy of it in another part of the sequences would be scored on its own training example. Where a layer reads from
    the end, so does each distinct rest.

    Raises:
        ProbeError: no concept has a value in what is looked at.
    """
    rows = chosen_rows(len(prepared.x), prepared.x.shape[1], prepared.seed)
    lengths = prepared.lengths[rows]
    first = first_of_prefix(prepared.x[rows].float().numpy(), lengths)
    if reads_back(prepared):
        first &= _turned(first_of_prefix(_turned(prepared.x[rows].float().numpy(), lengths), lengths), lengths)
    every = np.argwhere(first)
    of = {name: _of_concept(concept, rows, every, prepared.seed) for name, concept in prepared.concepts.items()}
    kept = np.unique(np.concatenate(list(of.values())))
    fold = np.random.default_rng([prepared.seed, 2]).permutation(len(rows)) % FOLDS
    places = {name: np.searchsorted(kept, picked) for name, picked in of.items()}
    if not len(kept):
        names = listed([repr(name) for name in prepared.concepts])
        raise ProbeError(
            f"No concept ({names}) has a value in the {several(len(rows), 'sequence')} that were drawn of "
            f"{len(prepared.x):,}; leave out the sequences in which none is defined, or give values at more steps."
        )
    return Sample(rows, every[kept, 0], every[kept, 1], places, fold, len(every))


def reads_back(prepared: Prepared) -> bool:
    """Return whether a layer that is looked at has seen later inputs."""
    ahead = reads_ahead(prepared)
    return any(layer.name in ahead for layer in prepared.layers)


def reads_ahead(prepared: Prepared) -> frozenset[str]:
    """Return the names of the layers that have seen later inputs: they read from the end, or read one that does.

    Args:
        prepared: the study; its layers stand from the inputs up, those of one level side by side.
    """
    found = set[str]()
    for layer in find_layers(prepared.opened.model):
        below = [one for one in whole_module(layer) if one.level < layer.level]
        if layer.reads_back or any(one.reads_back for one in below):
            found.add(layer.name)
    for wrapper in (one for one in prepared.opened.model.modules() if isinstance(one, nn.Sequential)):
        seen = False
        for part in wrapper:
            inside = [one for one in find_layers(prepared.opened.model) if one.module in set(part.modules())]
            found.update(one.name for one in inside if seen)
            seen = seen or any(one.name in found for one in inside)
    return frozenset(found)


def _turned(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return sequences from their end, (sequence, step, ...); padding stays where it is."""
    steps = np.arange(values.shape[1])
    places = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return values[np.arange(len(values))[:, None], places]


def chosen_rows(batch: int, time: int, seed: int) -> np.ndarray:
    """Return which sequences are recorded: all, or as many drawn ones as `POINTS` steps allow."""
    most = int(np.clip(POINTS // time, LEAST_SEQUENCES, SEQUENCES))
    if batch <= most:
        return np.arange(batch)
    return np.sort(np.random.default_rng([seed, 0]).choice(batch, most, replace=False))


def first_of_prefix(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return where a sequence is the first that has read what it has read, (sequence, step); False at padding.

    Args:
        x: the inputs, (sequence, step, feature).
        lengths: how many steps each sequence has.
    """
    group = np.zeros(len(x), dtype=np.int64)
    found = np.zeros(x.shape[:2], dtype=bool)
    for step in range(x.shape[1]):
        here = np.flatnonzero(lengths > step)
        if not len(here):
            break
        keyed = np.column_stack([group[here], x[here, step]])
        _, first, inverse = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
        group[here] = inverse.ravel()
        found[here[first], step] = True
        if len(first) == len(here):
            # All prefixes differ from here on.
            later = np.arange(x.shape[1]) > step
            return found | (later & (np.arange(x.shape[1]) < lengths[:, None]))
    return found


def _of_concept(concept: Known, rows: np.ndarray, every: np.ndarray, seed: int) -> np.ndarray:
    """Return which states are those of a concept's probes: the same ones, however its values are spelled."""
    rng = np.random.default_rng([seed, 1])
    values = concept.values[rows][every[:, 0], every[:, 1]]
    defined = np.flatnonzero(np.isfinite(values))
    if concept.is_named:
        often = defined[_often(values[defined], every[defined, 0])]
        defined = often if len(often) else defined
        return defined[_evenly(values[defined], STATES_OF_CATEGORIES, rng)]
    return defined if len(defined) <= STATES else np.sort(rng.choice(defined, STATES, replace=False))


def _often(codes: np.ndarray, sequence: np.ndarray) -> np.ndarray:
    """Return which states are of a category that stands in enough sequences for each fit to see and be scored on."""
    pairs = np.unique(np.column_stack([codes, sequence]), axis=0)
    found, counts = np.unique(pairs[:, 0], return_counts=True)
    return np.isin(codes, found[counts >= LEAST_SEQUENCES])


def _evenly(codes: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return which states are drawn: at most so many, of each category as many, and all of a rare one."""
    found, counts = np.unique(codes, return_counts=True)
    order, picked = np.argsort(counts, kind="stable"), list[np.ndarray]()
    for place, which in enumerate(order):
        share = (most - sum(map(len, picked))) // (len(order) - place)
        mine = np.flatnonzero(codes == found[which])
        picked.append(mine if len(mine) <= share else rng.choice(mine, share, replace=False))
    return np.sort(np.concatenate(picked)) if picked else np.empty(0, dtype=int)
