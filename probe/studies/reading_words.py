"""What a page says of a concept: computed from the table, never more than its controls allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .probing import MEMORIES, Target
from .tables import NETWORK, NULL, TWIN, between, listed, one, only, place, said, several

SHUFFLED = "shuffled"
#: Below this, at the lower end of its interval, a score is nothing that can be read.
READABLE = 0.05


@dataclass(frozen=True)
class Beside:
    """The best place's score beside one control.

    Attributes:
        name: of the control.
        value: its score.
        low: lower end of how far the network's score lies above it.
        wanted: what that must exceed to be called more.
    """

    name: str
    value: float
    low: float
    wanted: float

    @property
    def beaten(self) -> bool:
        """Whether the network's score is clearly more."""
        return self.low > self.wanted


def notes(concept: object, target: Target, table: pd.DataFrame, distinct: int) -> dict[str, str]:
    """Return the sentences of a concept's finding.

    Args:
        concept: which.
        target: it, at its states.
        table: what was measured.
        distinct: how many distinct prefixes the recorded sequences have.
    """
    name, known = target.concept.name, target.concept
    own = only(table, subject=NETWORK, metric="score")
    best = own.sort_values("value", ascending=False, kind="stable").iloc[0]
    where = {"layer": str(best["layer"]), "signal": str(best["signal"])}
    ends = one(table, metric="score_low", **where), one(table, metric="score_high", **where)
    controls = _controls(table, where)
    twins = len(set(only(table, subject=TWIN)["network"]))
    measure = "share of states named right" if known.is_categorical else "R²"
    found = f"held-out {measure} {said(float(best['value']))} ({between(ends)})"
    at = place(where["layer"], where["signal"])
    beside = _beside(controls, twins)
    verdict = _verdict(controls, ends[0], known.is_categorical, twins)
    lead = f"“{name}”: {verdict} The best of {several(len(own), 'place')} is {at}, {found}; {beside}."
    taken = several(len(target.values), "state")
    sequences = several(len(np.unique(target.sequence)), "sequence")
    kind = f"categorical, {len(known.levels)} values, logistic probe" if known.is_categorical else "a number, ridge probe"
    described = f" ({known.description})" if known.description else ""
    setup = (
        f"“{name}”{described} was taken as {kind}. The probe is linear; it was fitted and scored on {taken} of {sequences} "
        f"(of {distinct:,} distinct prefixes in the recorded sequences), each state after another prefix, and no "
        "sequence on both sides. “More than a control” means here: the 95 % interval of the difference, over "
        "sequences, lies above 0.05, and above how far re-initialised networks lie apart."
    )
    return {
        "short": f"“{name}”: {verdict[:-1]} ({measure} {said(float(best['value']))}).",
        "lead": lead,
        "answer": lead,
        "selectivity": _selectivity(table, where, float(best["value"]), known.is_categorical),
        "unit": _unit(table, known.is_categorical),
        "setup": setup,
    }


def _controls(table: pd.DataFrame, where: dict[str, str]) -> dict[str, Beside]:
    rows = only(table, **where)
    return {
        name: Beside(name, *(one(rows, metric=metric, units=name) for metric in ("control", "above_low", "wanted")))
        for name in only(rows, metric="control")["units"]
    }


def _beside(controls: dict[str, Beside], twins: int) -> str:
    parts = []
    for name, beside in controls.items():
        if name == SHUFFLED:
            words = "the values of other sequences at the same step"
        elif name == TWIN:
            words = f"the best of {several(twins, 're-initialised network')}"
        else:
            words = name
        parts.append(f"{words} {said(beside.value)}")
    return "beside it, " + listed(parts)


def _verdict(controls: dict[str, Beside], low: float, categorical: bool, twins: int) -> str:
    """Return what the controls allow to be said, the strongest objection first."""
    baseline = [name for name in controls if name not in (SHUFFLED, TWIN)]
    recent = [name for name in baseline if name.startswith("the last")]
    lost = {name for name, beside in controls.items() if not beside.beaten}
    if (not categorical and low <= READABLE) or SHUFFLED in lost:
        return "it was not found: a linear probe reads it no better than it reads shuffled values."
    if lost.intersection(baseline) - set(recent):
        return "nothing shows that it is held: what is read is about what the step, or always naming one value, gives."
    if lost.intersection(recent):
        return f"it can be read, but {recent[0]} alone tell{'s' if recent[0].endswith('input') else ''} about as much: no memory beyond them is shown."
    if TWIN in lost:
        return (
            "it can be read, and about as well from re-initialised networks: that is no evidence that "
            "training put it there."
        )
    more = "than from any re-initialised network, and " if twins else ""
    return f"it can be read, better {more}than the step, the last inputs and shuffled values tell it."


def _selectivity(table: pd.DataFrame, where: dict[str, str], value: float, categorical: bool) -> str:
    memories = one(table, metric="memories", **where)
    text = (
        f"Selectivity: from the same states a probe reads {MEMORIES} other memories of the inputs (everything read so "
        f"far, summed with random signs, which nobody asked for) with mean R² {said(memories)}"
    )
    if categorical:
        return text + "; that is not on the scale of a share named right, and only says how much of all inputs is kept."
    gap = value - memories
    meaning = (
        "the concept is kept better than what it could be confused with"
        if gap > READABLE
        else "the states keep much of everything, and the concept is not singled out"
    )
    return f"{text}, and the concept with {said(value)}: {meaning}."


def _unit(table: pd.DataFrame, categorical: bool) -> str:
    rows = only(table, metric="best_unit")
    own = only(rows, subject=NETWORK).sort_values("value", ascending=False, kind="stable").iloc[0]
    twins, mixed = only(rows, subject=TWIN)["value"], only(rows, subject=NULL)["value"]
    measure = "correlation ratio" if categorical else "|r|"
    units = str(own["units"]).split()
    which = f"unit {units[0]}" if len(units) == 1 else f"units {listed(units)} (each half of the sequences chose its own)"
    parts = [f"of shuffled values {said(float(mixed.max()))}"]
    if len(twins):
        parts.insert(0, f"in the best re-initialised network {said(float(twins.max()))}")
    at = place(str(own["layer"]), str(own["signal"]))
    return (
        f"One unit: {which} of {at} follows it most; within steps, on sequences that did not choose it, {measure} is "
        f"{said(float(own['value']))}; {listed(parts)}. That a unit follows a concept does not say that anything uses it."
    )
