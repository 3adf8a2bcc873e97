"""The sentences of a study's page about interchange: what follows from it, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...errors import several
from ..definition.prepared import Prepared
from ..rows import listed, one, only, said
from ..sampling import tail
from ..sampling.splices import LEAST, SplicedPairs

if TYPE_CHECKING:
    from .interchange import Plan

#: A score is called more than a control's if it is larger by more than this.
MORE = 0.1
#: If the state decides the answer in a smaller share of pairs, the page says that later inputs decide it.
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
        end: the ends of the sequences.
        plan: where states are patched, and how long directions are searched.
        how: how the right answer after a patch is known.
        levels: whether answers take a few values, so that they can be right or wrong.
        held_out: whether directions were scored on other sequences than they were searched on.
    """
    setup = (
        f"We patch the state of one sequence (the source) into the run of another (the base) {_where(plan)}. The run "
        f"then goes on with the base's inputs. The right answer is {how}. "
        f"{_counted(table, prepared, end, levels=levels)} “Shift” says how far the expected answer moves from the "
        "base's answer (0) to the network's answer to the spliced sequence (1). “Off support” is the distance from "
        "the patched state to the nearest state that occurs. Its unit is the distance between the mean states of "
        "neighbouring values of the concept, after each number of a state was divided by its standard deviation. "
        "Beyond 0.5 a patch may work for a reason that the network never uses (Makelov et al. 2023)."
    )
    usual = one(table, metric="apart")
    if np.isfinite(usual):
        setup += (
            f" The median distance from one state that occurs to the nearest other one is {said(usual)}. If it is "
            "beyond 0.5 itself, there are too few sequences, or the states hold too much else, to say what is far."
        )
    if not plan.left and prepared.readout.interchange_step is None:
        setup += (
            " We patched last states only. Earlier ones need a rule how the value changes when more is read; here "
            "the concept was given as an array without combine, or it is not defined earlier. So this is about what "
            "the readout reads, and not about what is remembered."
        )
    later = _later(table, prepared, plan)
    words = answer(table, prepared.answered.name, levels=levels)
    sentences = {"lead": words, "answer": f"{words} {later}".strip(), "setup": setup}
    sentences["search"] = _search(table, plan, levels=levels, held_out=held_out)
    if prepared.head is not None and not prepared.head.differentiable:
        sentences["search"] = (
            "Directions were not searched for: the search follows the gradient of the readout, and the readout's "
            "function has none (it uses numpy, or a part of it passes no gradients on). Write it in torch, or give "
            "an nn.Module, to have directions searched for."
        )
    return sentences


def _where(plan: Plan) -> str:
    return f"{several(plan.left, 'step')} before the end" if plan.left else "after the last step"


def _counted(table: pd.DataFrame, prepared: Prepared, end: tail.Tail, *, levels: bool) -> str:
    """Return the sentences on which pairs count, and why others were left out."""
    impossible, drawn, unanswerable, pairs = (
        round(one(table, metric=name)) for name in ("impossible", "drawn", "unanswerable", "pairs")
    )
    name, valid = prepared.answered.name, prepared.study.valid is not None
    text = f"A pair counts if base and source differ in “{name}” there and the right answer differs from the base's"
    text += f": {drawn:,} pairs, among {end.said}."
    if valid:
        text += f" {impossible:,} pairs were left out because their spliced sequence cannot occur, as valid says."
    if unanswerable:
        text += f" {unanswerable:,} pairs were left out because the readout cannot give the right answer."
    if levels:
        wrong = drawn - unanswerable - pairs
        text += (
            f" {wrong:,} pairs were left out because the network answers their spliced sequence wrong when it reads "
            "it."
            if wrong
            else " The network answers all spliced sequences right when it reads them."
        )
        text += f" This leaves {several(pairs, 'pair')}."
    else:
        text += " The scale ends at the network's own answers to the spliced sequences."
    if not valid:
        text += " The study does not say which sequences can occur (valid under [inputs])."
    return text


def _later(table: pd.DataFrame, prepared: Prepared, plan: Plan) -> str:
    """Return in what share of pairs inputs after the patch decide the answer; empty if that is rare."""
    share = one(table, metric="depends", units=str(plan.left))
    if not plan.left or not share < MOSTLY:
        return ""
    name = prepared.answered.name
    which = (
        "the right answer is the base's" if prepared.answered.function is not None else "the answer stays the same"
    )
    return (
        f"In {1 - share:.0%} of the pairs that differ in “{name}” {which} whatever the state is: the inputs after "
        "the patch decide it, and these pairs do not count. You can choose a later step (interchange_step under "
        "[readout]); the table shows how often this happens at each step."
    )


def too_few(own: SplicedPairs, concept: str, plan: Plan, *, levels: bool) -> str | None:
    """Return why nothing is patched if too few pairs count, or None.

    Args:
        own: the pairs.
        concept: the name of the concept.
        plan: where states are patched.
        levels: whether answers take a few values, so that they can be right or wrong.
    """
    where, rest = _where(plan), own.drawn - own.unanswerable
    reason = None
    if not own.drawn and own.impossible:
        reason = (
            f"none of {several(own.impossible, 'pair')} gives a sequence that can occur, as the study's valid says, "
            f"when it is spliced {where}"
        )
    elif not own.drawn:
        reason = (
            f"“{concept}” is the same in all sequences {where}, or the inputs after that decide the answer in all"
        )
    elif not rest:
        reason = "the readout cannot give the right answer after any patch"
    elif levels and own.right - own.before <= MORE:
        reason = (
            f"the network answers {own.right:.0%} of the sequences that are spliced {where} right by “{concept}”, "
            f"and its answer to the base is already right for {own.before:.0%}. So its answers do not follow what it "
            "read before, and parts of its state cannot explain them"
        )
    elif not levels and not own.way > MORE:
        reason = (
            f"the network's answers to sequences that are spliced {where} go {said(own.way)} of the way to the right "
            f"answers by “{concept}”. So they do not follow what it read before, and parts of its state cannot "
            "explain them"
        )
    elif len(own.pairs) < LEAST:
        reason = (
            f"of {rest:,} pairs spliced {where}, the network answers {len(own.pairs):,} right; at least {LEAST} are "
            "needed"
        )
    return None if reason is None else f"No state was patched: {reason}."


def all_alike(end: tail.Tail, plan: Plan) -> str:
    """Return the sentence that nothing was patched because all sequences have the same state."""
    where = f"{several(plan.left, 'step')} before their end" if plan.left else "at their last step"
    names = listed([layer.name for layer in end.stack])
    return f"No state was patched: {where} all sequences have the same state of {names}."


def answer(table: pd.DataFrame, concept: str, *, levels: bool) -> str:
    """Return what follows from the patches.

    Args:
        table: what was measured.
        concept: the name of the concept.
        levels: whether answers take a few values, so that they can be right or wrong.
    """
    rows, column = summary(table), "followed" if levels else "shift"
    values = rows.set_index("network")[column]
    nothing, whole = float(values["nothing"]), float(values["the whole state"])
    unit = "of the answers follow" if levels else "of the way is gone"
    right = one(table, metric="right")
    among = f" (of the spliced sequences, the {right:.0%} that the network itself answers right)" if levels else ""
    text = (
        f"With the whole state of another sequence {said(whole)} {unit}{among}, with nothing patched {said(nothing)}"
    )
    if whole - nothing <= MORE:
        more = "" if nothing - whole <= MORE else ", though it changes with it"
        return (
            f"{text}: the answer does not follow this state{more}. So parts of the state cannot explain “{concept}” "
            "either."
        )
    parts = rows[rows["signal"] == "part"]
    for name, value in zip(parts["network"], parts[column], strict=True):
        text += f"; with {name} {said(float(value))}"
    units = rows[rows["signal"] == "units"].sort_values(column, ascending=False, kind="stable")
    if len(units):
        best = units.iloc[0]
        named = listed(str(best["units"]).split())
        value = float(best[column])
        beside = _beside(table, column, value, nothing)
        text += f"; with unit{'s' * (' ' in str(best['units']))} {named} alone {said(value)}, {beside}"
    return text + "."


def _beside(table: pd.DataFrame, column: str, value: float, nothing: float) -> str:
    """Return how a score compares with the controls in this network, and in the network with a fitted head."""
    rows = only(table, metric=column)
    here = max([nothing, *rows[rows["signal"].isin(["random", "relabelled"])]["value"]])
    every = max([here, *only(rows, signal="fitted head")["value"]])
    if value - every > MORE:
        return f"more than any control (at most {said(every)})"
    if value - here > MORE:
        return (
            f"more than the controls in this network (at most {said(here)}), but not clearly more than directions in "
            f"a network with random weights and a fitted head ({said(every)})"
        )
    return f"not clearly more than the controls (at most {said(every)})"


def _search(table: pd.DataFrame, plan: Plan, *, levels: bool, held_out: bool) -> str:
    if not plan.iterations:
        return (
            "Directions were not searched for: for a network of this size the search would take too long, because "
            "each of its steps runs layers and readout forwards and backwards on every pair. "
            "probe.questions.interventions.alignment does it on request."
        )
    if only(table, signal="searched").empty:
        return "Directions were not searched for: the network answers too few of the pairs to search on right."
    rows, column = summary(table), "followed" if levels else "shift"
    ends = rows.set_index("network")[column]
    if float(ends["the whole state"]) - float(ends["nothing"]) <= MORE:
        return "Directions were searched for too. Their scores mean nothing, because the whole state moves no answer."
    searched, mixed = (rows[rows["signal"] == kind] for kind in ("searched", "relabelled"))
    values = [
        f"{said(float(value))} with {rank}" for rank, value in zip(searched["units"], searched[column], strict=True)
    ]
    control = max(float(mixed[column].iloc[0]), float(ends["nothing"]))
    best = float(searched[column].max())
    far = rows.loc[searched.index, "off_support"].max()
    verdict = (
        "That is clearly more than this control"
        if best - control > MORE
        else "That is not clearly more than the control: the search finds as much where there is nothing to find"
    )
    text = (
        f"Alignment search (DAS; Geiger et al. 2024, {plan.iterations} steps): {listed(values)} of the state's "
        "directions. As a control we searched for the values of other sequences: "
        f"{said(float(mixed[column].iloc[0]))}. {verdict}."
    )
    if np.isfinite(far) and far > 0.5:
        text += (
            f" But the patched states lie up to {said(float(far))} off support: so many times the distance between "
            f"the mean states of neighbouring values of the concept{_usual(table, far)}. The score alone does not "
            "show that the network itself uses these directions."
        )
    if not held_out:
        text += (
            " There were too few sequences to hold some out: the directions were scored on the sequences of the fit."
        )
    return text + _fitted_head(table, rows, column, best)


def _usual(table: pd.DataFrame, far: float) -> str:
    """Return how far states that occur lie from each other, and which of the two distances is larger."""
    usual = one(table, metric="apart")
    if not np.isfinite(usual):
        return ""
    more = "farther" if far > usual else "not farther"
    return f", which is {more} than from one state that occurs to the next ({said(usual)})"


def _fitted_head(table: pd.DataFrame, summarised: pd.DataFrame, column: str, best: float) -> str:
    rows = summarised[summarised["signal"] == "fitted head"]
    if rows.empty:
        return (
            " Nothing shows that training made these directions: no network with random weights could be given a "
            "head that answers spliced sequences right."
        )
    value = float(rows[column].iloc[0])
    right = float(table[table["metric"] == "accuracy"]["value"].iloc[0])
    whole = one(table, metric=f"whole_{column}")
    if best - value <= MORE:
        verdict = "That is about as much, so nothing here shows that training made these directions"
    elif whole - value <= MORE:
        verdict = (
            "That is clearly less, and about as much as its whole state reaches. So training made more answers "
            "right; it is not shown that training put them into few directions"
        )
    else:
        verdict = "That is clearly less, in the one such network that was tried"
    return (
        f" In a network with random weights and a fitted head (right on {right:.0%} of the sequences; its whole "
        f"state reaches {said(whole)}) the same search reaches {said(value)}. {verdict}."
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each patch: its units or directions, and its scores; random directions are averaged."""
    wide = table.pivot_table(
        index=["network", "units", "signal"], columns="metric", values="value", sort=False, dropna=False
    ).reset_index()
    wide = wide.dropna(subset=["followed", "shift"], how="all")
    for column in ("followed", "shift", "off_support"):
        wide[column] = wide.get(column, np.nan)
    mixed = wide["signal"] == "random"
    joined = wide[mixed].groupby(["units", "signal"], as_index=False)[["followed", "shift", "off_support"]].mean()
    joined["network"] = f"random directions, mean of {int(mixed.sum())}"
    order = {
        kind: number
        for number, kind in enumerate(("end", "part", "units", "searched", "relabelled", "fitted head", "random"))
    }
    rows = pd.concat([wide[~mixed], joined], ignore_index=True)
    rows = rows.assign(place=rows["signal"].map(order)).sort_values(["place", "units"], kind="stable")
    return rows[["network", "units", "signal", "followed", "shift", "off_support"]].reset_index(drop=True)
