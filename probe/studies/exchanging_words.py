"""What a page says of exchanged states, and what follows from them and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import tail
from .prepared import Prepared
from .tables import listed, one, only, said, several

if TYPE_CHECKING:
    from .exchanging import Plan

#: How far a score must lie above that of a control to be called more.
MORE = 0.1


def notes(
    table: pd.DataFrame,
    prepared: Prepared,
    end: tail.Tail,
    plan: Plan,
    how: str,
    *,
    levels: bool,
    held_out: bool,
    pairs: int,
    wrong: str = "",
) -> dict[str, str]:
    """Return the sentences of the finding.

    Args:
        table: what was measured.
        prepared: the study.
        end: the sequences.
        plan: where and how long.
        how: how the right answer after an exchange is known.
        levels: whether answers are one of a few values, so that they can be right.
        held_out: whether directions were scored on other sequences than they were searched on.
        pairs: how many pairs were run.
        wrong: the sentence that the answers are mostly wrong; empty where they are not.
    """
    place = f"{several(plan.left, 'step')} before the end" if plan.left else "after the last step"
    setup = (
        f"The state of one sequence (the source) is put into another's run (the base) {place}; the run then goes "
        f"on with the base's inputs. The right answer is {how}. Pairs that differ in “{prepared.answered.name}” "
        f"count: {pairs:,} pairs were run, among {end.said}, those whose right answer the readout can give. “Shift” "
        "is how far the expected answer goes of the way that it should; “off support” how far what was put in lies "
        "from the nearest state that occurs. Its unit is the distance between the mean states of neighbouring values "
        "of the concept, each number of a state taken in its own standard deviations; a state that occurs has 0. "
        "Beyond 0.5 what was put in may work for a reason that the network never uses (Makelov et al. 2023)."
    )
    usual = one(table, metric="apart")
    if np.isfinite(usual):
        setup += (
            f" The states that occur lie {said(usual)} from the nearest other one (the median): where this is "
            "beyond 0.5 itself, the sequences are too few, or hold too much else, to say what is far."
        )
    if not plan.left:
        setup += (
            " Nothing says what becomes of a value when more is read (the concept was given as an array, without "
            "combine), or it is not defined earlier, so that only last states were exchanged: this is about what the "
            "readout reads, and not about what is remembered."
        )
    words = answer(table, prepared.answered.name, levels=levels, wrong=wrong)
    found = {"lead": words, "answer": words, "setup": setup}
    if not wrong:
        found["search"] = _search(table, plan, levels=levels, held_out=held_out)
        if prepared.head is not None and not prepared.head.differentiable:
            found["search"] = (
                "Directions were not searched for: the search follows the gradient of the readout, and the readout's "
                "function has none (it goes through numpy, or a part of it does not hand gradients on). Write it in "
                "torch, or give an nn.Module, to have them searched for."
            )
    return found


def all_alike(end: tail.Tail, plan: Plan) -> str:
    """Return that nothing was exchanged, as all states are the same: none can be told from another."""
    where = f"{several(plan.left, 'step')} before their end" if plan.left else "at their last step"
    names = listed([layer.name for layer in end.stack])
    return (
        f"Nothing was exchanged: {where} all sequences have the same state of {names}, so that none can be told from "
        "another and no distance from the states that occur can be given."
    )


def answer(table: pd.DataFrame, concept: str, *, levels: bool, wrong: str = "") -> str:
    """Return what follows from what was put in.

    Args:
        table: what was measured.
        concept: its name.
        levels: whether answers are one of a few values, so that they can be right.
        wrong: the sentence that the answers are mostly wrong; empty where they are not.
    """
    if wrong:
        return f"{wrong} With such answers nothing can be said on what they follow."
    from .exchanging import summary

    found, column = summary(table), "followed" if levels else "shift"
    values = found.set_index("network")[column]
    nothing, whole = float(values["nothing"]), float(values["the whole state"])
    unit = "of the answers follow" if levels else "of the way is gone"
    text = f"With the whole state of another sequence {said(whole)} {unit}, with nothing put in {said(nothing)}"
    if whole - nothing <= MORE:
        more = "" if nothing - whole <= MORE else ", though it changes with it"
        return (
            f"{text}: the answer does not follow this state{more}, so that parts of it say nothing about “{concept}” "
            "either."
        )
    parts = found[found["signal"] == "part"]
    for name, value in zip(parts["network"], parts[column], strict=True):
        text += f"; with {name} {said(float(value))}"
    units = found[found["signal"] == "units"].sort_values(column, ascending=False, kind="stable")
    if len(units):
        best = units.iloc[0]
        named = listed(str(best["units"]).split())
        value = float(best[column])
        beside = _beside(table, column, value, nothing)
        text += f"; with unit{'s' * (' ' in str(best['units']))} {named} alone {said(value)}, {beside}"
    return text + "."


def _beside(table: pd.DataFrame, column: str, value: float, nothing: float) -> str:
    """Return how a score compares with every control that is shown: those in this network, and the other network."""
    rows = only(table, metric=column)
    own = max([nothing, *rows[rows["signal"].isin(["random", "relabelled"])]["value"]])
    every = max([own, *only(rows, signal="twin")["value"]])
    if value - every > MORE:
        return f"more than any control (at most {said(every)})"
    if value - own > MORE:
        return (
            f"more than the controls in this network (at most {said(own)}), but not clearly more than directions in "
            f"a re-initialised network with a fitted head ({said(every)})"
        )
    return f"not clearly more than the controls (at most {said(every)})"


def _search(table: pd.DataFrame, plan: Plan, *, levels: bool, held_out: bool) -> str:
    from .exchanging import summary

    if not plan.iterations:
        return (
            "Directions were not searched for: a step of the search runs layers and readout there and back on every "
            "pair, and as many steps as it needs would take too long for networks of this size. "
            "probe.questions.alignment does it on request."
        )
    found, column = summary(table), "followed" if levels else "shift"
    ends = found.set_index("network")[column]
    if float(ends["the whole state"]) - float(ends["nothing"]) <= MORE:
        return (
            "Directions were searched for as well; where the whole state moves no answer, what they score means "
            "nothing."
        )
    searched, mixed = (found[found["signal"] == kind] for kind in ("searched", "relabelled"))
    values = [
        f"{said(float(value))} with {rank}" for rank, value in zip(searched["units"], searched[column], strict=True)
    ]
    control = max(float(mixed[column].iloc[0]), float(ends["nothing"]))
    best = float(searched[column].max())
    far = found.loc[searched.index, "off_support"].max()
    verdict = (
        "that is clearly more than this control"
        if best - control > MORE
        else "that is not clearly more than the control: the search finds as much where there is nothing to find"
    )
    text = (
        f"Alignment search (DAS; Geiger et al. 2024, {plan.iterations} steps): {listed(values)} of the state's "
        f"directions, and {said(float(mixed[column].iloc[0]))} where it searched for the values of other sequences; "
        f"{verdict}."
    )
    if np.isfinite(far) and far > 0.5:
        text += (
            f" But what was put in lies up to {said(float(far))} off support: so many times as far from the nearest "
            "state that occurs as the mean states of neighbouring values of the concept lie apart"
            f"{_usual(table, far)}. The score alone does not show that the network itself uses these directions."
        )
    if not held_out:
        text += (
            " There are too few sequences to hold some out: scores of searched directions are those of their own fit."
        )
    return text + _twin(table, found, column, best)


def _usual(table: pd.DataFrame, far: float) -> str:
    """Return how far states that occur lie from each other, and which of the two is farther."""
    usual = one(table, metric="apart")
    if not np.isfinite(usual):
        return ""
    more = "farther" if far > usual else "not farther"
    return f"; that is {more} than from one state that occurs to the next, {said(usual)}"


def _twin(table: pd.DataFrame, found: pd.DataFrame, column: str, best: float) -> str:
    rows = found[found["signal"] == "twin"]
    if rows.empty:
        return " Nothing says that training made these directions: no re-initialised network could be given a head."
    value = float(rows[column].iloc[0])
    right = float(table[table["metric"] == "accuracy"]["value"].iloc[0])
    verdict = (
        "that is clearly less, in the one such network that was tried"
        if best - value > MORE
        else "that is about as much, so that nothing here says that training made these directions"
    )
    return (
        f" In a re-initialised network whose head was fitted to the same answers (it is right on {right:.0%} of "
        f"the sequences) the same search reaches {said(value)}: {verdict}."
    )
