"""The sentences of a page about interchange: what follows from it, and what does not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.measurements import one, only
from ...evidence.words import listed, said
from ...methods.causal.support import FAR
from ...subjects.answers import gives_number, right_answer, takes_levels
from ...subjects.ends import Ends
from ...subjects.pairs import LEAST, SplicedPairs
from ...subjects.plans import Plan
from ...subjects.subject import Subject

#: A score is called more than a control's if it is larger by more than this.
MORE = 0.1
#: If the answer changes with the state in a smaller share of pairs, the page says how often it stays.
MOSTLY = 0.95
#: Kind of patch -> whether it is an end of the scale, a patch of the network or a control, in the order of a page.
SORTS = dict.fromkeys(("nothing", "whole", "read"), "end") | {
    "part": "patch",
    "units": "patch",
    "searched": "patch",
    "relabelled": "control",
    "fitted head": "control",
    "random": "control",
}
_CANNOT = "the readout cannot give the right answer"
_SCORES = ["followed", "shift", "off_support"]
#: The columns that tell patches apart.
KEYS = ("kind", "layer", "signal", "at", "units")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each patch; random directions are averaged.

    Args:
        table: what `interchange.measure` returned of one network and its controls.

    Returns:
        `patched`, its name; `kind`, one of `SORTS`; `units`; `followed`, `shift` and `off_support`.
    """
    rows = table[table["metric"].isin(_SCORES)]
    fitted = rows["role"] == "fitted head"
    rows = rows[~fitted | (rows["kind"] == "searched")]
    rows = rows.assign(kind=rows["kind"].mask(fitted, "fitted head"), at=rows["at"].fillna(0).astype(int))
    keys = list(KEYS)
    wide = rows.pivot_table(index=keys, columns="metric", values="value", sort=False).reset_index()
    wide = wide.reindex(columns=[*keys, *_SCORES])
    wide["patched"] = [name(*row) for row in wide[keys].itertuples(index=False)]
    order = {kind: place for place, kind in enumerate(SORTS)}
    wide = wide.assign(place=wide["kind"].map(order)).sort_values(["place", "at"], kind="stable")
    return wide[["patched", "kind", "units", *_SCORES]].reset_index(drop=True)


def name(kind: str, layer: str, signal: str, at: int, units: str = "") -> str:
    """Return what is patched, in words: kind, layer, signal, how many units or directions, and which units."""
    which, directions = f" ({units})" if units else "", several(at, "direction")
    names = {
        "nothing": "nothing",
        "whole": "the whole state",
        "read": "the spliced sequence, read as it is",
        "part": f"all of {layer}" if layer else f"all {signal.replace('_', ' ')}s",
        "units": f"{several(at, 'unit')} chosen by the concept{which}",
        "searched": f"{directions} found by a search",
        "relabelled": f"{directions} found for relabelled values",
        "fitted head": f"{directions} found, fitted head",
        "random": f"{at} random direction{'s' * (at > 1)} (mean)",
    }
    return names[kind]


def scored(table: pd.DataFrame) -> str:
    """Return which score the sentences are about: `followed` where answers are right or wrong, else `shift`."""
    return "followed" if (table["metric"] == "followed").any() else "shift"


def notes(table: pd.DataFrame, subject: Subject, end: Ends, plan: Plan, *, held_out: bool) -> dict[str, str]:
    """Return the sentences of the finding.

    Args:
        table: what was measured.
        subject: the study.
        end: the ends of the sequences.
        plan: where states are patched, and how long directions are searched.
        held_out: whether directions were scored on other sequences than they were searched on.
    """
    units = end.machine.dynamics.units
    found = answer(table, subject.answered.name, units)
    return {
        "verdict": _verdict(table),
        "short": _short(table, plan),
        "answer": found,
        "search": search(table, subject, plan, held_out=held_out),
        "setup": _setup(table, subject, end, plan),
    }


def _short(table: pd.DataFrame, plan: Plan) -> str:
    """Return in one sentence how far the answer follows the whole state, for a reader who has not met a patch."""
    column = scored(table)
    values = summary(table).set_index("kind")[column]
    if column == "followed":
        return (
            f"With the state of another sequence put in {plan.where}, the network answers what the two, spliced "
            f"there, would give in {values['whole']:.0%} of the pairs that count; with nothing put in, in "
            f"{values['nothing']:.0%}."
        )
    return (
        f"With the state of another sequence put in {plan.where}, the answer goes "
        f"{said(values['whole'])} of the way to what the two, spliced there, would give."
    )


def _verdict(table: pd.DataFrame) -> str:
    """Return in a few words whether the answer follows the state at all."""
    values = summary(table).set_index("kind")[scored(table)]
    follows = values["whole"] - values["nothing"] > MORE
    return f"The answer {'follows' if follows else 'does not follow'} the state that we patch."


def _setup(table: pd.DataFrame, subject: Subject, end: Ends, plan: Plan) -> str:
    setup = (
        f"We patch the state of one sequence (the source) into the run of another (the base) {plan.where}. The run "
        f"then goes on with the base's inputs. The right answer is {right_answer(subject)}. "
        f"{_counted(table, subject, end)} “Shift” says how far the expected answer moves from the base's answer (0) "
        "to the network's answer to the spliced sequence (1). “Off support” is the distance from the patched state "
        "to the nearest state that occurs. Its unit is the distance between the mean states of neighbouring values "
        "of the concept, after each number of a state was divided by its standard deviation. Beyond "
        f"{FAR} a patch may work for a reason that the network never uses (Makelov et al. 2023)."
    )
    usual = one(table, metric="apart")
    if np.isfinite(usual):
        setup += (
            " The median distance from the state after one prefix to the nearest one after another is "
            f"{said(usual)}. If it is beyond {FAR} itself, there are too few sequences, or the states hold too much "
            "else, to say what is far."
        )
    if not plan.left and subject.asked.interchange_step is None:
        setup += (
            " We patched last states only. Earlier ones need a rule how the value changes when more is read; here "
            "the concept was given as an array without combine, or it is not defined earlier. So this is about what "
            "the readout reads, and not about what is remembered."
        )
    return setup


def _counted(table: pd.DataFrame, subject: Subject, end: Ends) -> str:
    """Return the sentences on which pairs count, and why others were left out."""
    impossible, drawn, unanswerable, pairs = (
        round(one(table, metric=name)) for name in ("impossible", "drawn", "unanswerable", "pairs")
    )
    name, valid = subject.answered.name, subject.allowed is not None
    text = f"A pair counts if base and source differ in “{name}” there and the right answer differs from the base's"
    text += f". We took {drawn:,} such pairs, of {end.said}."
    if valid:
        text += f" {impossible:,} pairs were left out because their spliced sequence cannot occur, as valid says."
    if unanswerable:
        cannot = "no answer is rounded to the right one" if gives_number(subject) else _CANNOT
        text += f" {unanswerable:,} pairs were left out because {cannot}."
    wrong = drawn - unanswerable - pairs
    if not takes_levels(subject):
        text += " The scale ends at the network's own answers to the spliced sequences."
    elif wrong:
        text += (
            f" {wrong:,} pairs were left out because the network answers their spliced sequence wrong when it reads"
        )
        text += f" it. This leaves {several(pairs, 'pair')}."
    else:
        text += " The network answers all spliced sequences right when it reads them."
    if not valid:
        text += " The study does not say which sequences can occur (valid under [inputs])."
    return text


def too_few(own: SplicedPairs, concept: str, plan: Plan, *, levels: bool) -> str | None:
    """Return why nothing is patched if too few pairs count, or None.

    Args:
        own: the pairs.
        concept: the name of the concept.
        plan: where states are patched.
        levels: whether answers take a few values, so that they can be right or wrong.
    """
    where, rest = plan.where, own.drawn - own.unanswerable
    apart = "So hardly more of them are right for it, and no part of its state can be scored against that"
    reasons = (
        (
            not own.drawn and own.impossible,
            f"none of {several(own.impossible, 'pair')} gives a sequence that can occur, as the study's valid says, "
            f"when it is spliced {where}",
        ),
        (
            not own.drawn,
            f"“{concept}” is the same in all sequences {where}, or the right answer stays the base's in all pairs",
        ),
        (not rest, f"{_CANNOT} after any patch"),
        (
            levels and own.right - own.before <= MORE,
            f"the network answers {own.right:.0%} of the sequences that are spliced {where} right by “{concept}”, "
            f"and its answer to the base is already right for {own.before:.0%}. {apart}",
        ),
        (
            not own.way > MORE,
            f"the network's answers to sequences that are spliced {where} go {said(own.way)} of the way to the right "
            f"answers by “{concept}”. {apart}",
        ),
        (
            len(own.pairs) < LEAST,
            f"of {rest:,} pairs spliced {where}, the network answers {len(own.pairs):,} right; at least {LEAST} are "
            "needed",
        ),
    )
    return next((reason for holds, reason in reasons if holds), None)


def all_alike(end: Ends, plan: Plan) -> str:
    """Return that nothing is patched because all sequences have the same state."""
    where = f"{several(plan.left, 'step')} before their end" if plan.left else "at their last step"
    return f"{where} all sequences have the same state of {listed([layer.name for layer in end.stack])}"


def answer(table: pd.DataFrame, concept: str, every: int) -> str:
    """Return what follows from the patches.

    Args:
        table: what was measured.
        concept: the name of the concept.
        every: how many units there are; all of them are the whole state, which is said anyway.
    """
    rows, column = summary(table), scored(table)
    values = dict(zip(rows["kind"], rows[column], strict=True))
    nothing, whole = values["nothing"], values["whole"]
    unit = "of the answers follow" if column == "followed" else "of the way is gone"
    right = one(table, metric="right")
    among = f" (of the spliced sequences, the {right:.0%} that the network itself answers right)"
    text = f"With the whole state of another sequence {said(whole)} {unit}{among * (column == 'followed')}"
    text += f", with nothing patched {said(nothing)}"
    if whole - nothing <= MORE:
        more = "" if nothing - whole <= MORE else ", though it changes with it"
        return (
            f"{text}: the answer does not follow this state{more}. So parts of the state cannot explain “{concept}” "
            "either."
        )
    for name, value in only(rows, kind="part")[["patched", column]].itertuples(index=False):
        text += f"; with {name} {said(value)}"
    units = only(rows, kind="units").sort_values(column, ascending=False, kind="stable")
    units = units[[len(str(named).split()) < every for named in units["units"]]]
    if len(units):
        named, value = str(units["units"].iloc[0]).split(), float(units[column].iloc[0])
        text += f"; with unit{'s' * (len(named) > 1)} {listed(named)} alone {said(value)}, "
        text += _beside(table, column, value, nothing)
    return text + "."


def _beside(table: pd.DataFrame, column: str, value: float, nothing: float) -> str:
    """Return how a score compares with the controls in this network, and in the network with a fitted head.

    An answer that goes beyond all of the way follows no better than one that goes all of it.
    """
    rows = only(table, metric=column)
    here = max([nothing, *rows[rows["kind"].isin(["random", "relabelled"])]["value"]])
    every = max([here, *only(rows, role="fitted head", kind="searched")["value"]])
    own, most_here, most = (min(score, 1.0) for score in (value, here, every))
    if own - most > MORE:
        return f"more than any control (at most {said(every)})"
    if own - most_here > MORE:
        return (
            f"more than the controls in this network (at most {said(here)}), but not clearly more than directions in "
            f"a network that was not trained, with a fitted head ({said(every)})"
        )
    if most - own > MORE:
        return f"less than the best control ({said(every)})"
    return f"not clearly more than the controls (at most {said(every)})"


def search(table: pd.DataFrame, subject: Subject, plan: Plan, *, held_out: bool) -> str:
    """Return what the search for directions found, beside its controls; see `notes`."""
    if subject.head is not None and not subject.head.differentiable:
        return (
            "Directions were not searched for: the search follows the gradient of the readout, and the readout's "
            "function has none (it uses numpy, or a part of it passes no gradients on). Write it in torch, or give "
            "an nn.Module, to have directions searched for."
        )
    if not plan.iterations:
        return (
            "Directions were not searched for: for a network of this size the search would take too long, because "
            "each of its steps runs layers and readout forwards and backwards on every pair. "
            "probe.methods.causal.alignment does it on request."
        )
    rows, column = summary(table), scored(table)
    values = dict(zip(rows["kind"], rows[column], strict=True))
    if "searched" not in values:
        return "Directions were not searched for: the network answers too few of the pairs to search on right."
    if values["whole"] - values["nothing"] <= MORE:
        return "Directions were searched for too. Their scores mean nothing, because the whole state moves no answer."
    found = only(table, metric=column, role=subject.network.role, kind="searched")
    each = [f"{said(value)} with {rank:g}" for rank, value in zip(found["at"], found["value"], strict=True)]
    control, best = min(max(values["relabelled"], values["nothing"]), 1.0), min(float(found["value"].max()), 1.0)
    verdict = (
        "That is clearly more than this control"
        if best - control > MORE
        else "That is not clearly more than the control, which may have ended at the same directions: so the score "
        "does not show that these are the concept's"
    )
    text = (
        f"Alignment search (DAS; Geiger et al. 2024, {plan.iterations} steps): {listed(each)} of the state's "
        "directions. As a control we searched for the values of other sequences: "
        f"{said(values['relabelled'])}. {verdict}.{_far(table, rows)}"
    )
    if not held_out:
        text += (
            " There were too few sequences to hold some out: the directions were scored on the sequences of the fit."
        )
    return text + _fitted_head(table, column, best)


def _far(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Return the sentence that states patched along the directions lie off support; empty where they do not."""
    far, usual = only(rows, kind="searched")["off_support"].max(), one(table, metric="apart")
    if not far > FAR:
        return ""
    beside = ""
    if np.isfinite(usual):
        more = "farther" if far > usual else "not farther"
        beside = f", which is {more} than from the state after one prefix to the next ({said(usual)})"
    return (
        f" But the patched states lie up to {said(far)} off support: so many times the distance between the mean "
        f"states of neighbouring values of the concept{beside}. The score alone does not show that the network "
        "itself uses these directions."
    )


def _fitted_head(table: pd.DataFrame, column: str, best: float) -> str:
    rows = only(table, role="fitted head")
    if rows.empty:
        return (
            " Nothing shows that training made these directions: no network that was not trained could be given a "
            "head that answers spliced sequences right."
        )
    value, whole = one(rows, metric=column, kind="searched"), one(rows, metric=column, kind="whole")
    if best - min(value, 1.0) <= MORE:
        verdict = "That is about as much, so nothing here shows that training made these directions"
    elif whole - value <= MORE:
        training = "training made more answers right; it is" if column == "followed" else "it is"
        reached = "more than" if value - whole > MORE else "about as much as"
        verdict = (
            f"That is clearly less, and {reached} its whole state reaches. So {training} not shown that training put "
            "the answers into few directions"
        )
    else:
        verdict = "That is clearly less, in the one such network that was tried"
    # A number that is not one of a few is hardly ever right, and its errors are what is scored.
    right = (
        f"right on {one(rows, metric='accuracy'):.0%} of the sequences; "
        if column == "followed"
        else "on this network's scale "
    )
    return (
        f" In a network that was not trained, with a fitted head ({right}its whole state reaches {said(whole)}), the "
        f"same search reaches {said(value)}. {verdict}."
    )
