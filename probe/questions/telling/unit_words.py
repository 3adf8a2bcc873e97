"""Which unit follows a concept, if one does so more closely than its controls: one choice for all of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ...evidence.measurements import only
from ...evidence.words import listed, place, said
from ...subjects.subject import Subject
from ..question import Answered
from ..states.targets import best_units, best_units_of_shuffled, followed

RANDOM, NULL = "random weights", "null"
#: A unit follows the concept if it does so by more than this above shuffled values; units that differ by no more than
#: this follow it alike; so many of these are named.
FOLLOWS, ALIKE, NAMED = 0.05, 1e-9, 4


@dataclass(frozen=True)
class Followed:
    """The unit of a network that follows a concept most, beside its controls.

    Attributes:
        place: where it is: layer and signal.
        unit: which, on all states.
        selected: the units that halves of the sequences select.
        value: how closely the unit that one half selects follows on the other half, the mean of both ways.
        shuffled: the largest such value of the concept in another order.
        random: the largest in a network with random weights; None without one.
    """

    place: tuple[str, str]
    unit: int
    selected: tuple[str, ...]
    value: float
    shuffled: float
    random: float | None

    @property
    def named(self) -> bool:
        """Whether it follows the concept more closely than by chance, and no control follows it more closely yet."""
        return self.above_chance and (self.random is None or round(self.value, 2) >= round(self.random, 2))

    @property
    def above_chance(self) -> bool:
        """Whether it follows the concept more closely than one does for shuffled values."""
        return self.value - max(self.shuffled, 0.0) > FOLLOWS

    def none(self, concept: str) -> str:
        """Return what no unit does, where none is named, or where controls of another kind do better.

        Args:
            concept: what the concept is called in the sentence.
        """
        if self.above_chance:
            other = "a control" if self.named else "the best network with random weights"
            return f"follows {concept} as closely as a unit of {other} does"
        return f"is shown to follow {concept}"

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> Followed:
        """Return it from what `probe.questions.states.linear_readout_drawn` measured."""
        rows = only(table, metric="best_unit")
        own = rows[~rows["role"].isin([RANDOM, NULL])]
        best = own.sort_values("value", ascending=False, kind="stable").iloc[0]
        at = str(best["layer"]), str(best["signal"])
        every = only(table, metric="follows", layer=at[0], signal=at[1])
        unit = every.sort_values("value", ascending=False, kind="stable").iloc[0]["units"]
        shuffled, random = (only(rows, role=role)["value"] for role in (NULL, RANDOM))
        highest = float(random.max()) if len(random) else None
        selected = tuple(str(best["units"]).split())
        return cls(at, int(unit), selected, float(best["value"]), float(shuffled.max()), highest)

    @classmethod
    def of(cls, subjects: Sequence[Subject], name: str) -> Followed:
        """Return the same from a network and its controls.

        Args:
            subjects: the network, then its controls.
            name: a concept that a probe can be fitted to.
        """
        own, *others = subjects
        at, unit = followed(own, name)
        best = best_units(own)[name][at]
        chance = [one.value for several in best_units_of_shuffled(own, name).values() for one in several]
        drawn = [one for one in others if one.network.role == RANDOM]
        random = [one.value for control in drawn for one in best_units(control)[name].values()]
        selected = tuple(map(str, best.selected))
        return cls(at, unit, selected, best.value, max(chance), max(random) if random else None)


def unit(table: pd.DataFrame, *, categorical: bool) -> str:
    """Return the sentence on the unit that follows the concept most; it names none where a control has a better one.

    Args:
        table: what was measured.
        categorical: whether a unit is compared by its correlation ratio.
    """
    found = Followed.of_table(table)
    measure = "correlation ratio" if categorical else "|r|"
    parts = [] if found.random is None else [f"in the best network with random weights {said(found.random)}"]
    parts.append(f"for shuffled values {said(found.shuffled)}")
    ends = f"within steps, on sequences that did not select it, {measure} is {said(found.value)}; {listed(parts)}"
    if not found.named:
        return f"One unit: none {found.none('it')}. For the best of the network, {ends}."
    which = f"unit {found.unit} of {place(*found.place)}"
    rows = only(table, metric="follows", layer=found.place[0], signal=found.place[1])
    every = dict(zip(rows["units"].astype(str), rows["value"].astype(float), strict=True))
    halves = ""
    if found.selected != (str(found.unit),):
        halves = f" Halves of the sequences select {listed([f'unit {one}' for one in found.selected])}."
    return (
        f"One unit: {which} follows it most{_alike(every, str(found.unit))}; {ends}.{halves} A unit that follows a "
        "concept need not be used by anything."
    )


def _alike(by_unit: Mapping[str, float], unit: str) -> str:
    """Return which others follow the concept as closely as the unit that is named, but for rounding."""
    others = [name for name, value in by_unit.items() if name != unit and abs(value - by_unit[unit]) <= ALIKE]
    if len(others) > NAMED:
        return f" ({len(others)} other units as closely)"
    return f" (unit{'s' * (len(others) > 1)} {listed(others)} as closely)" if others else ""


def within_steps(
    answered: Answered, at: tuple[str, str], by_unit: Mapping[str, float], controls: Mapping[str, float]
) -> str:
    """Return the sentence on how closely the units of a place follow the concept within steps.

    Args:
        answered: of a question about the network and its controls.
        at: the place.
        by_unit: the |r| of each of its units.
        controls: the largest |r| of each kind of control.
    """
    concept, largest = answered.subject.concept.name, round(max(by_unit.values()), 2)
    found, where, called = Followed.of(answered.subjects, concept), place(*at), f"“{concept}”"
    others = listed([f"{role} {said(one)}" for role, one in controls.items()])
    beside = f" (the best unit of its controls: {others})" if controls else ""
    ends = f"within steps |r| is {said(largest)}"
    if found.random is not None and found.above_chance and not found.named:
        return (
            f"No unit of {where} {found.none(called)}: for the best of the network, within steps, on sequences that "
            f"did not select it, |r| is {said(found.value)}; in the best network with random weights "
            f"{said(found.random)}."
        )
    if not found.named or any(largest < round(one, 2) for one in controls.values()):
        return f"No unit of {where} {found.none(called)}: {ends} at most{beside}."
    if found.place[0] == at[0] and round(by_unit.get(str(found.unit), 0.0), 2) == largest:
        alike = _alike(by_unit, str(found.unit))
        return f"Unit {found.unit} of {where} follows {called} most{alike}: {ends}{beside}."
    return f"A unit of {where} follows {called}: {ends} at most{beside}."
