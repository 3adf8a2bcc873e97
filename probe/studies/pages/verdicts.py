"""What a page says of where a concept is: the word at each row, and the sentences of its title, by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ...evidence.words import said
from ...probes.reading import ABOVE, NO_NETWORK, ONE_MAP, WITHIN
from ...questions.judged import Judged
from ...questions.rules import INITIAL, TELLS
from ...recurrent.random_weights import FRESH, SHUFFLED, kind_of

#: What is asked of a concept, each with the question that measured it, and how that reads units.
ONE, ONE_AT_STEP = "one unit, one rule\nfor every step", "one unit, where the\nstep is known"
ALL = "all units together"
ROWS = {ONE: ("best-unit", ONE_MAP), ONE_AT_STEP: ("best-unit", WITHIN), ALL: ("reading", "")}
#: What the scores of categories are, and of numbers, by the way in which units are read.
OF_NAMES, OF_NUMBERS = "balanced accuracy", {ONE_MAP: "read exactly", WITHIN: "R²", "": "R²"}


@dataclass(frozen=True)
class Row:
    """One thing that was asked of a concept, in every trained network.

    Attributes:
        asked: what was asked.
        places: of each network the place that answers it best.
        score: what the scores are.
        layered: whether a unit is called by its layer too, as several were studied.
    """

    asked: str
    places: Mapping[str, Judged]
    score: str
    layered: bool = False

    @property
    def one(self) -> Judged:
        """The place of the first network, or of the only one."""
        return next(iter(self.places.values()))

    @property
    def made(self) -> int:
        """In how many networks it is told, and clearly better than in every control."""
        return sum(map(is_made, self.places.values()))

    @property
    def told(self) -> int:
        """In how many networks it is told."""
        return sum(place.score >= TELLS for place in self.places.values())

    @property
    def word(self) -> str:
        """The answer."""
        count = len(self.places)
        if count == 1:
            return _word(self.one)
        if self.told == 0:
            return f"In none of {count}"
        return f"In {self.made} of {count}" if self.made else f"In {self.told} of {count}, controls too"

    @property
    def numbers(self) -> str:
        """The score beside that of the best control, medians over networks."""
        places = self.places.values()
        own, best = median(place.score for place in places), median(place.its_score for place in places)
        return f"{self.score} {said(own)}; {_control(self.one) if len(places) == 1 else 'best control'} {said(best)}"

    @property
    def short(self) -> str:
        """The same without what the scores are."""
        return self.numbers.removeprefix(f"{self.score} ")


def flat(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


def told(place: Judged) -> str:
    """Return what one network answers, with the score beside that of the best control."""
    return f"{_word(place)}: {said(place.score)}; {_control(place)} {said(place.its_score)}"


def is_made(place: Judged) -> bool:
    """Return whether a place tells the concept, and clearly better than every control."""
    return place.score >= TELLS and place.verdict in (ABOVE, NO_NETWORK)


def _control(place: Judged) -> str:
    """Return what a sentence calls a place's best control."""
    return "random weights" if kind_of(place.control) in (FRESH, SHUFFLED) else place.control


def _untrained(place: Judged) -> bool:
    return _control(place) in ("random weights", INITIAL)


def _word(place: Judged) -> str:
    """Return the answer of one network."""
    if place.score < TELLS:
        return "In part, beyond any control" if place.verdict == ABOVE else "No"
    if place.verdict in (ABOVE, NO_NETWORK):
        return "Yes, beyond any control" if place.verdict == ABOVE else "Yes; no network compared"
    if place.its_score < TELLS:
        return "Yes, hardly beyond controls"
    return "Yes, untrained too" if _untrained(place) else f"Yes, so {_does(place)} the {place.control}"


def _does(place: Judged) -> str:
    """Return the verb of a place's best control, such as the last 4 inputs."""
    return "do" if place.control.endswith("s") else "does"


def title_of(name: str, rows: Sequence[Row], kind: str) -> str:
    """Return what a title says of a concept: whether one unit tells it, and if none does, whether all together do.

    Args:
        name: the concept.
        rows: what was asked of it.
        kind: what a network is called, such as LSTM.
    """
    by_asked = {row.asked: row for row in rows}
    unit, every = unit_row(rows), by_asked.get(ALL)
    if unit is None:
        return "" if every is None else _of_all(f"“{name}”", every)
    sentence = of_unit(name, unit, kind)
    return sentence if unit.made or every is None else f"{sentence} {_of_all('it', every)}"


def unit_row(rows: Sequence[Row]) -> Row | None:
    """Return the row on one unit that decides: by one rule where that was measured."""
    by_asked = {row.asked: row for row in rows}
    return by_asked.get(ONE) or by_asked.get(ONE_AT_STEP)


def of_unit(name: str, row: Row, kind: str) -> str:
    """Return the sentence on one unit."""
    verb = "follows" if row.asked == ONE_AT_STEP else "tells" if row.score == OF_NAMES else "keeps"
    return (_unit_of_many if len(row.places) > 1 else _unit_of_one)(f"{verb} “{name}”", row, kind)


def _unit_of_many(tells: str, row: Row, kind: str) -> str:
    networks = f"of {len(row.places)} {kind}s"
    if row.made:
        alone = all(place.its_score < TELLS for place in row.places.values() if is_made(place))
        beside = "; no control has such a unit" if alone else ", better than any control does"
        return f"In {row.made} {networks} one unit {tells}{beside}."
    if row.told:
        return f"In {row.told} {networks} one unit {tells}, but no more clearly than in a control."
    return f"No unit {tells} in any {networks}."


def _unit_of_one(tells: str, row: Row, kind: str) -> str:
    place = row.one
    if place.score < TELLS:
        return f"No unit of this {kind} {tells}."
    unit = f"Unit {' or '.join(place.units.split())}" if place.units else "One unit"
    unit += f" of {place.layer}" * row.layered
    if place.verdict == NO_NETWORK:
        return f"{unit} {tells}; no untrained network was compared."
    if place.verdict == ABOVE:
        alone = place.its_score < TELLS
        return f"{unit} {tells}{'; random weights have no such unit' if alone else ', better than any control does'}."
    if place.its_score < TELLS:
        return f"{unit} {tells}, but not clearly better than {_called(place)}."
    if _untrained(place):
        return f"{unit} {tells}, but {_called(place)} has such a unit too."
    return f"{unit} {tells}, but so {_does(place)} {_called(place)}."


def _called(place: Judged) -> str:
    """Return what a sentence calls the best control of a place."""
    called = {"random weights": "a network with random weights", INITIAL: "the network before training"}
    return called.get(_control(place), f"the {_control(place)}")


def _of_all(name: str, row: Row) -> str:
    """Return the sentence on all units together."""
    if not row.told:
        in_part = len(row.places) == 1 and row.one.verdict == ABOVE
        return f"All units together hold {name} in part." if in_part else f"Nor do all units together hold {name}."
    count, number = len(row.places), row.made or row.told
    holds = f"All units together hold {name}"
    if count > 1:
        holds += f", in {number} of {count}"
        return f"{holds}, better than any control." if row.made else f"{holds}, but no better than a control."
    if row.made:
        return f"{holds}, better than any control." if row.one.verdict == ABOVE else f"{holds}."
    if row.one.its_score < TELLS:
        return f"{holds}, but not clearly better than {_called(row.one)}."
    if _untrained(row.one):
        return f"{holds}, as they do with random weights."
    return f"{holds}, but so {_does(row.one)} {_called(row.one)}."
