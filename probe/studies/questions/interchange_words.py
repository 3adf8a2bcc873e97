"""The sentences of a study's page about interchange: what follows from it, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...words import several
from ..definition.prepared import Prepared
from ..sampling import tail
from ..sampling.splices import LEAST, Exchanged
from ..tables import listed, one, only, said

if TYPE_CHECKING:
    from .interchange import Plan

#: How far a score must lie above that of a control to be called more.
MORE = 0.1
#: Where the state decides the answer in fewer pairs, the page says that later inputs tell the concept anew.
MOSTLY = 0.95


def notes(
    table: pd.DataFrame,
    prepared: Prepared,
    end: tail.Tail,
    plan: Plan,
    how: str,
    *,
    levels: bool,
    held_out: bool,
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
    """
    setup = (
        f"The state of one sequence (the source) is put into another's run (the base) {_where(plan)}; the run then "
        f"goes on with the base's inputs. The right answer is {how}. {_counted(table, prepared, end, levels=levels)} "
        "“Shift” is how far the expected answer goes of the way to the network's own answer to the spliced sequence; "
        "“off support” how far what was put in lies "
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
    if not plan.left and prepared.readout.exchange_step is None:
        setup += (
            " Nothing says what becomes of a value when more is read (the concept was given as an array, without "
            "combine), or it is not defined earlier, so that only last states were exchanged: this is about what the "
            "readout reads, and not about what is remembered."
        )
    later = _later(table, prepared, plan)
    words = answer(table, prepared.answered.name, levels=levels)
    found = {"lead": words, "answer": f"{words} {later}".strip(), "setup": setup}
    found["search"] = _search(table, plan, levels=levels, held_out=held_out)
    if prepared.head is not None and not prepared.head.differentiable:
        found["search"] = (
            "Directions were not searched for: the search follows the gradient of the readout, and the readout's "
            "function has none (it goes through numpy, or a part of it does not hand gradients on). Write it in "
            "torch, or give an nn.Module, to have them searched for."
        )
    return found


def _where(plan: Plan) -> str:
    return f"{several(plan.left, 'step')} before the end" if plan.left else "after the last step"


def _counted(table: pd.DataFrame, prepared: Prepared, end: tail.Tail, *, levels: bool) -> str:
    """Return which pairs count, and what became of the others."""
    impossible, drawn, unanswerable, pairs = (
        round(one(table, metric=name)) for name in ("impossible", "drawn", "unanswerable", "pairs")
    )
    name, valid = prepared.answered.name, prepared.study.valid is not None
    can = f"splice to a sequence that can occur ({impossible:,} were left out that do not, as valid says), " * valid
    text = f"Pairs count that differ in “{name}” there, {can}and have another right answer than the base's"
    text += f": {drawn:,}, among {end.said}."
    if unanswerable:
        text += f" Of these {unanswerable:,} have a right answer that the readout cannot give, and were left out."
    if levels:
        wrong, right = (
            drawn - unanswerable - pairs,
            f"the scale ends at its own right answers, {several(pairs, 'pair')}",
        )
        text += (
            f" To {wrong:,} the network itself, when it reads the spliced sequence, answers wrong: they were left "
            f"out, so that {right}."
            if wrong
            else f" The network itself answers right when it reads the spliced sequences: {right}."
        )
    else:
        text += " The scale ends at the network's own answers, when it reads the spliced sequences."
    if not valid:
        text += " Nothing says which sequences can occur (valid under [inputs])."
    return text


def _later(table: pd.DataFrame, prepared: Prepared, plan: Plan) -> str:
    """Return in how many pairs inputs after the exchange tell the concept anew; empty where that is rare."""
    share = one(table, metric="depends", units=str(plan.left))
    if not plan.left or not share < MOSTLY:
        return ""
    name = prepared.answered.name
    which = "the right answer is the base's own" if prepared.answered.function is not None else "the answer stays"
    return (
        f"In {1 - share:.0%} of the pairs that differ in “{name}” {which} whatever the state: "
        f"what is read after the exchange tells “{name}” anew, and these pairs do not count. A later step can be "
        "chosen (exchange_step under [readout]); the table says how often it would be so then."
    )


def too_few(own: Exchanged, concept: str, plan: Plan, *, levels: bool) -> str | None:
    """Return why nothing is exchanged where too few pairs count, or None.

    Args:
        own: the pairs.
        concept: its name.
        plan: where states are exchanged.
        levels: whether answers are one of a few values, so that they can be right.
    """
    where, rest = _where(plan), own.drawn - own.unanswerable
    reason = None
    if not own.drawn and own.impossible:
        reason = (
            f"of {several(own.impossible, 'pair')} {where} none splices to a sequence that can occur, as the study's "
            "valid says"
        )
    elif not own.drawn:
        reason = (
            f"“{concept}” is the same in all sequences {where}, or what they read later decides the answer in all of "
            "them"
        )
    elif not rest:
        reason = "after no exchange the right answer is one that the readout can give"
    elif levels and own.right - own.before <= MORE:
        reason = (
            f"the right answer by “{concept}” to a sequence that is spliced {where} is the network's own in "
            f"{own.right:.0%}, and what it answered to the base in {own.before:.0%}. So its answers do not follow "
            "what it read before, and parts of its state say nothing about it either"
        )
    elif not levels and not own.way > MORE:
        reason = (
            f"the network's own answers to sequences that are spliced {where} go {said(own.way)} of the way to the "
            f"right ones by “{concept}”. So they do not follow what it read before, and parts of its state say "
            "nothing about it either"
        )
    elif len(own.pairs) < LEAST:
        reason = (
            f"{several(len(own.pairs), 'pair')} of {rest:,} splice {where} to a sequence that the network itself "
            f"answers right; at least {LEAST} are needed"
        )
    return None if reason is None else f"Nothing was exchanged: {reason}."


def all_alike(end: tail.Tail, plan: Plan) -> str:
    """Return that nothing was exchanged, as all states are the same: none can be told from another."""
    where = f"{several(plan.left, 'step')} before their end" if plan.left else "at their last step"
    names = listed([layer.name for layer in end.stack])
    return (
        f"Nothing was exchanged: {where} all sequences have the same state of {names}, so that none can be told from "
        "another and no distance from the states that occur can be given."
    )


def answer(table: pd.DataFrame, concept: str, *, levels: bool) -> str:
    """Return what follows from what was put in.

    Args:
        table: what was measured.
        concept: its name.
        levels: whether answers are one of a few values, so that they can be right.
    """
    found, column = summary(table), "followed" if levels else "shift"
    values = found.set_index("network")[column]
    nothing, whole = float(values["nothing"]), float(values["the whole state"])
    unit = "of the answers follow" if levels else "of the way is gone"
    right = one(table, metric="right")
    among = f" (of the spliced sequences, the {right:.0%} that the network itself answers right)" if levels else ""
    text = (
        f"With the whole state of another sequence {said(whole)} {unit}{among}, with nothing put in {said(nothing)}"
    )
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
    if not plan.iterations:
        return (
            "Directions were not searched for: a step of the search runs layers and readout there and back on every "
            "pair, and as many steps as it needs would take too long for networks of this size. "
            "probe.questions.interventions.alignment does it on request."
        )
    if only(table, signal="searched").empty:
        return (
            "Directions were not searched for: too few pairs to search on are answered right by the network itself."
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
        return (
            " Nothing says that training made these directions: no re-initialised network could be given a head that "
            "answers spliced sequences right."
        )
    value = float(rows[column].iloc[0])
    right = float(table[table["metric"] == "accuracy"]["value"].iloc[0])
    whole = one(table, metric=f"whole_{column}")
    if best - value <= MORE:
        verdict = "that is about as much, so that nothing here says that training made these directions"
    elif whole - value <= MORE:
        verdict = (
            "that is clearly less, and about all that its whole state does: what training made is that more answers "
            "are right, and not that few directions carry them"
        )
    else:
        verdict = "that is clearly less, in the one such network that was tried"
    return (
        f" In a re-initialised network whose head was fitted to the same answers (it is right on {right:.0%} of "
        f"the sequences, and its whole state reaches {said(whole)}) the same search reaches {said(value)}: {verdict}."
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return what was put in as a table, a row each: units or directions, what followed; random ones joined."""
    wide = table.pivot_table(
        index=["network", "units", "signal"], columns="metric", values="value", sort=False, dropna=False
    ).reset_index()
    wide = wide.dropna(subset=["followed", "shift"], how="all")
    for column in ("followed", "shift", "off_support"):
        wide[column] = wide.get(column, np.nan)
    mixed = wide["signal"] == "random"
    joined = wide[mixed].groupby(["units", "signal"], as_index=False)[["followed", "shift", "off_support"]].mean()
    joined["network"] = f"random directions, mean of {int(mixed.sum())}"
    found = pd.concat([wide[~mixed], joined], ignore_index=True)
    order = {
        kind: number
        for number, kind in enumerate(("end", "part", "units", "searched", "relabelled", "twin", "random"))
    }
    found = found.assign(place=found["signal"].map(order)).sort_values(["place", "units"], kind="stable")
    # Units by how many there are, and the two ends of the scale as they were.
    return found[["network", "units", "signal", "followed", "shift", "off_support"]].reset_index(drop=True)
