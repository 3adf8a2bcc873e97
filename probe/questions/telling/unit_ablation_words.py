"""What the page of one network says and shows of the ablation of its units."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import one, only
from ...evidence.words import largest, listed, said
from ...plots.networks import LETTER
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import new_figure, role_style
from ...subjects.computed import ends
from ...subjects.computed.answers import takes_levels
from ..answers.wrong import wrong_in
from ..question import Answered, Told

#: A unit is called needed if its ablation costs more than this.
COSTLY = 0.05
#: The names of more units than this stand upright below the picture.
SIDE_BY_SIDE = 14
#: The kind of a drop whose unit is a random one.
DRAWN = "drawn"


def tell(answered: Answered) -> Told:
    """Return what the page of one network says and shows."""
    subject, table = answered.subject, only(answered.table, network=answered.subject.network.name)
    end, levels = ends.ends_of(subject), takes_levels(subject)
    wrong = wrong_in(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]) if levels else ""
    answer = words(table, subject.answered.name, levels, wrong)
    fitted = only(answered.table, role="fitted head", metric="unit_drop")["value"]
    if len(fitted) and not wrong:
        costs = said(float(fitted.max()))
        answer += f" In a network with random weights and a fitted head the costliest unit costs {costs}."
    notes = {"answer": answer, "setup": _setup(table, end, levels)}
    return Told(notes, lambda: (draw_units(table, answered.name, levels),))


def words(table: pd.DataFrame, concept: str, levels: bool, wrong: str = "") -> str:
    """Return the sentences on what the ablations show.

    Args:
        table: what was measured of the network.
        concept: the name of the concept.
        levels: whether answers take a few values, so that they can be right or wrong.
        wrong: the warning that the answers are mostly wrong; empty if they are not.
    """
    own, none = one(table, metric="own_accuracy"), one(table, metric="none_kept_accuracy")
    what = "the share of wrong answers" if levels else "the mean error, in standard deviations of the concept"
    if wrong:
        return f"{wrong} With such answers we cannot say which units they need."
    if own - none <= COSTLY:
        text = f"With all units replaced {what} is {said(1 - none)}, without ablation {said(1 - own)}. "
        moved = one(table, metric="answers_moved")
        if max(moved, none - own) > COSTLY:
            how = f"{moved:.0%} of the answers change" if levels else "The answers change"
            return (
                f"{text}{how}, but they do not become more wrong by more than {COSTLY}, so the cost of a single unit "
                "means nothing."
            )
        return (
            f"{text}The answer hardly changes if these states are replaced by those of other sequences, as far from "
            "the end, so the cost of a single unit means nothing."
        )
    return _costs(table, concept, what, own, none)


def _costs(table: pd.DataFrame, concept: str, what: str, own: float, none: float) -> str:
    order = _sorted(table)
    first, random = order.iloc[0], order["drawn"].any()
    alone = one(table, metric="kept_accuracy", units=str(first["unit"]))
    costly = int((order["drop"] > COSTLY).sum())
    among = f" of the {len(order)} that were ablated" if random else ""
    near = min(COSTLY, (own - none) / 2)
    most = largest(dict(zip(order["unit"], order["drop"], strict=True)))
    which = f"Unit {most[0]} costs most{among}: without it"
    if len(most) > 1:
        which = f"Units {listed(most)} cost most{among}: without one of them"
    costs = (
        f"{which} {what} {{}} from {said(1 - own)} to {said(1 - own + float(first['drop']))} (without all units to "
        f"{said(1 - none)})"
    )
    if costly:
        text = (
            f"{costs.format('rises')}. {several(costly, 'unit')}{among} cost{'s' * (costly == 1)} more than "
            f"{COSTLY}. With unit {first['unit']} alone it is {said(1 - alone)}"
        )
        text += "; that unit alone does not suffice." if own - alone > near else ": that unit alone is enough here."
    else:
        text = f"No single unit{among} is needed: none costs more than {COSTLY}."
        text += f" {costs.format('goes')}." if said(float(first["drop"])) != said(0.0) else ""
    text += _few(table, own - near)
    followers, others = order[~order["drawn"]], order[order["drawn"]]
    if len(followers) and len(others):
        text += (
            f" The mean cost is {said(float(followers['drop'].mean()))} for the units that follow “{concept}” most, "
            f"and {said(float(others['drop'].mean()))} for random units."
        )
    if costly == 0:
        text += " Several units may still take part: if each of them holds the same, any one can be lost."
    return text


def _few(table: pd.DataFrame, least: float) -> str:
    """Return the sentence on how few units suffice, where several do that one does not."""
    rows = only(table, metric="best_kept_accuracy")
    enough = np.flatnonzero(rows["value"].to_numpy() >= least)
    at = int(enough[0]) if len(enough) else len(rows) - 1
    if at < 1:
        return ""
    names = str(rows["units"].iloc[at]).split()
    if len(enough) and len(names) == len(only(table, metric="unit_drop")):
        return " The search, which adds one unit at a time, has enough only with all of them."
    if len(enough):
        return f" The search, which adds one unit at a time, first has enough with units {listed(names)}."
    return (
        f" Units {listed(names)} together, which a search found that adds one unit at a time, are not enough; "
        "others may be."
    )


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    rows = only(table, metric="unit_drop")
    drops = pd.DataFrame({"unit": rows["units"], "drop": rows["value"], "drawn": rows["kind"] == DRAWN})
    return drops.sort_values("drop", ascending=False, kind="stable").reset_index(drop=True)


def _setup(table: pd.DataFrame, end: ends.Ends, levels: bool) -> str:
    order, units = _sorted(table), end.machine.dynamics.units
    random = sorted(order["unit"][order["drawn"]])
    which = "Every unit was ablated alone"
    if random:
        which = (
            f"{len(order)} of {units} units were ablated, each alone, because each costs a run: the "
            f"{len(order) - len(random)} that follow the concept most, and random ones ({listed(random)})"
        )
    return (
        f"{which}, on {end.said}. After every step the unit's state is replaced by that after another beginning of a "
        "sequence, at the same distance from the end. Each distinct beginning but its own is as likely, however many "
        f"sequences have it ({ends.DRAWS} are drawn for each; resample ablation, Chan et al. 2022). The network "
        "computes everything else. To see how few units are enough, we replace all others instead, and add one unit "
        "at a time: each is the one that adds most to those before it. Units that help only together may be missed."
        + " Each value of the right answer has the same weight, however rare it is." * levels
        + " Exact shares of all units were not computed: they take 2 to the power of the number of units runs."
        * bool(random)
    )


def draw_units(table: pd.DataFrame, name: str, levels: bool) -> DataFigure:
    """Return the picture of what each unit's ablation costs one network.

    Args:
        table: what was measured of the network.
        name: what the files begin with.
        levels: whether answers take a few values, so that they can be right or wrong.
    """
    order = _sorted(table)
    with drawing():
        names = [shortened(unit, 24) for unit in order["unit"]]
        upright = len(names) > SIDE_BY_SIDE
        figure, axes = new_figure(height=3.0 + LETTER * max(map(len, names)) * upright)
        ax, places = axes[0, 0], np.arange(len(order))
        color = role_style("trained").color
        for flag, face, marker, label in (
            (False, color, "o", "follow the concept most"),
            (True, "none", "s", "random"),
        ):
            group = (order["drawn"] == flag).to_numpy()
            if group.any():
                shown = label if order["drawn"].any() else None
                ax.plot(places[group], order["drop"][group], marker, color=color, mfc=face, markersize=5, label=shown)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.axhline(COSTLY, color="black", linewidth=1, linestyle=":")
        ax.set_xticks(places, names, rotation=90 if upright else 0)
        ax.set_xlabel("unit, sorted by cost")
        ax.set_ylabel("wrong answers added" if levels else "error added (sd)")
        if order["drawn"].any():
            ax.legend(loc="upper right")
        return drawn(
            figure,
            name=f"{name}-drops",
            title="What one unit costs",
            alt=f"The error that the ablation of each of {len(order)} units adds: unit {order['unit'].iloc[0]} adds "
            f"{said(float(order['drop'].iloc[0]))}, the median unit {said(float(order['drop'].median()))}.",
            caption=f"The dotted line is {COSTLY}. One mark for each unit. There are no error bars, because all use "
            "the same sequences.",
            data=order,
        )
