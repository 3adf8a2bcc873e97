"""What does the answer lose without a unit? Its state is another sequence's, after every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ..causal.ablation import Resampling
from ..figures import BLUE, ORANGE, new_figure
from ..findings import DataFigure, Finding
from ..machines import Answers
from ..measurements import tabulate
from . import tail
from .drawing import drawing, drawn, shortened
from .prepared import Prepared
from .probing import Target, detrended, follows
from .reading import why_not as nothing_to_read
from .sightings import Sightings
from .tables import listed, row, said, several

TITLE = "Which units does the answer need?"
#: Among the units that are ablated where not all are, so many follow the concept most; the others are drawn.
FOLLOWING = 16
#: A unit whose ablation costs more than this is counted.
COSTLY = 0.05


@dataclass(frozen=True)
class Loss:
    """How wrong answers are: the share that is wrong, or of a number without levels the error over its spread."""

    right: np.ndarray
    levels: bool

    def of(self, found: Answers) -> float:
        """Return it for answers, those of a row one after the other."""
        count = len(found.chosen) // len(self.right)
        wanted = torch.as_tensor(np.repeat(self.right, count))
        if self.levels:
            return float((~torch.isclose(found.chosen.double(), wanted)).double().mean())
        spread = float(np.std(self.right)) or 1.0
        return float((found.expected - wanted).abs().mean()) / spread


def ask(sightings: Sightings, question: str) -> Finding:
    """Return what each unit's ablation costs, and how the units that follow the concept compare with the others."""
    prepared = sightings.prepared
    reason = tail.why_not(prepared)
    head = prepared.head
    if reason is not None or head is None or prepared.read is None:
        return Finding(question, TITLE, tabulate([]), notes={"answer": f"Nothing was ablated. {reason}"})
    end = tail.build(prepared)
    machine, units, how = end.machine, end.machine.units, following(sightings, end)
    picked, drawn = _units(units, how, prepared)
    loss = Loss(end.values[:, -1], bool(len(head.values)))
    resampling = Resampling(machine, draws=tail.DRAWS, seed=prepared.seed)
    own = loss.of(machine.natural)

    def without(some: list[int]) -> tuple[float, float]:
        found = resampling.answers([column for unit in some for column in machine.unit(unit)])
        change = found.expected - machine.natural.expected.repeat_interleave(tail.DRAWS)
        return loss.of(found), float(change.abs().mean())

    every, _ = without(list(range(units)))
    rows = [row(question, "own_loss", own), row(question, "loss_without_all", every)]
    for unit in picked:
        lost, change = without([unit])
        rows.append(
            row(question, "unit_drop", lost - own, units=end.name(unit), signal="drawn" if unit in drawn else "")
        )
        rows.append(row(question, "unit_answer_change", change, units=end.name(unit)))
        if how is not None:
            rows.append(row(question, "follows", how[unit], units=end.name(unit)))
    table = tabulate(rows)
    best = str(_sorted(table)["unit"].iloc[0])
    alone, _ = without([unit for unit in range(units) if end.name(unit) != best])
    rows.append(row(question, "loss_of_best_alone", alone, units=best))
    table = tabulate(rows)
    notes = {"answer": _words(table, prepared, loss.levels, drawn), "setup": _setup(end, units, picked, drawn)}
    return Finding(question, TITLE, table, (), (_figure(question, table, loss.levels),), notes=notes)


def following(sightings: Sightings, end: tail.Tail) -> np.ndarray | None:
    """Return how closely each unit of the stack follows the concept, the larger of its states; None where unknown.

    Args:
        sightings: the recordings.
        end: whose stack; units of a layer that is not looked at follow it with 0.
    """
    prepared = sightings.prepared
    concept = prepared.answered
    if nothing_to_read(concept, sightings) is not None:
        return None
    sample = sightings.sample
    target = Target.of(concept, sample, prepared)
    values = target.values if concept.is_categorical else detrended(target.values[:, None], target)[:, 0]
    everywhere, found = np.ones(len(values), dtype=bool), []
    for layer in end.stack:
        own = [states for (name, _), states in sightings.own.states.items() if name == layer.name]
        by_state = [
            follows(detrended(one[sample.of[concept.name]], target), values, target, everywhere) for one in own
        ]
        found.append(np.max(by_state, axis=0) if by_state else np.zeros(layer.units))
    return np.concatenate(found)


def _units(units: int, how: np.ndarray | None, prepared: Prepared) -> tuple[list[int], set[int]]:
    """Return which units are ablated, and which of them were drawn at random."""
    if units <= tail.UNITS:
        return list(range(units)), set()
    first = [] if how is None else [int(unit) for unit in np.argsort(-how, kind="stable")[:FOLLOWING]]
    rest = np.setdiff1d(np.arange(units), first)
    rng = np.random.default_rng([prepared.seed, 7])
    drawn = sorted(int(unit) for unit in rng.choice(rest, tail.UNITS - len(first), replace=False))
    return [*first, *drawn], set(drawn)


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["metric"] == "unit_drop"]
    found = pd.DataFrame({"unit": rows["units"], "drop": rows["value"], "drawn": rows["signal"] == "drawn"})
    return found.sort_values("drop", ascending=False, kind="stable").reset_index(drop=True)


def _words(table: pd.DataFrame, prepared: Prepared, levels: bool, drawn: set[int]) -> str:
    values = table.set_index(["metric", "units"])["value"]
    own, every = float(values["own_loss", ""]), float(values["loss_without_all", ""])
    order = _sorted(table)
    first = order.iloc[0]
    alone = float(values["loss_of_best_alone", str(first["unit"])])
    what = "the share of wrong answers" if levels else "the mean error, in standard deviations of the concept"
    if every - own <= COSTLY:
        return (
            f"With all units replaced {what} is {said(every)}, and {said(own)} as they are: the answer does not "
            "depend on "
            "these states, so that what a single unit costs says nothing."
        )
    costly = int((order["drop"] > COSTLY).sum())
    among = f" of the {len(order)} that were ablated" if drawn else "" if costly else " of them"
    text = (
        f"Unit {first['unit']} costs most: without it {what} rises from {said(own)} to "
        f"{said(own + float(first['drop']))} "
        f"(without all units to {said(every)}). {several(costly, 'unit') if costly else 'None'}{among} "
        f"cost{'s' if costly < 2 else ''} "
        "more than "
        f"{COSTLY}. With unit {first['unit']} alone it is {said(alone)}"
    )
    text += "; that unit alone does not suffice." if alone - own > COSTLY else ": that unit alone is enough here."
    if drawn:
        own_rows, others = order[~order["drawn"]], order[order["drawn"]]
        if len(own_rows) and len(others):
            text += (
                f" The mean cost is {said(float(own_rows['drop'].mean()))} for the units that follow "
                f"“{prepared.answered.name}” "
                f"most, and {said(float(others['drop'].mean()))} for drawn ones."
            )
    if costly == 0:
        text += " That no single unit is needed does not say that none takes part: what several hold, each can lose."
    return text


def _setup(end: tail.Tail, units: int, picked: list[int], drawn: set[int]) -> str:
    which = "Every unit was ablated alone"
    if drawn:
        named = [end.name(unit) for unit in sorted(drawn)]
        which = (
            f"{len(picked)} of {units} units were ablated, each alone, because every one costs a run: the "
            f"{len(picked) - len(drawn)} that follow the concept most, and drawn ones ({listed(named)})"
        )
    return (
        f"{which}, on {end.said}: after every step its state is that of another sequence at the same distance from "
        "the end, "
        f"{tail.DRAWS} others for each (resample ablation; Chan et al. 2022). The rest is computed by the network "
        "itself."
        + " Exact shares of all units would take 2 to the power of their number runs, and were not computed."
        * bool(drawn)
    )


def _figure(question: str, table: pd.DataFrame, levels: bool) -> DataFigure:
    order = _sorted(table)
    with drawing():
        figure, axes = new_figure(height=3.0)
        ax, places = axes[0, 0], np.arange(len(order))
        for flag, color, marker, label in (
            (False, BLUE, "o", "follow the concept most"),
            (True, ORANGE, "s", "drawn"),
        ):
            mine = (order["drawn"] == flag).to_numpy()
            if mine.any():
                name = label if order["drawn"].any() else None
                ax.plot(places[mine], order["drop"][mine], marker, color=color, markersize=5, label=name)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.axhline(COSTLY, color="black", linewidth=1, linestyle=":")
        ax.set_xticks(places, [shortened(unit, 24) for unit in order["unit"]], rotation=90 if len(order) > 14 else 0)
        ax.set_xlabel("unit, the costliest first")
        ax.set_ylabel("wrong answers added" if levels else "error added (sd)")
        if order["drawn"].any():
            ax.legend(loc="upper right")
        alt = (
            f"What the ablation of each of {len(order)} units adds to the error: unit {order['unit'].iloc[0]} adds "
            f"{said(float(order['drop'].iloc[0]))}, the median unit {said(float(order['drop'].median()))}."
        )
        return drawn(
            figure,
            name=f"{question}-drops",
            title="What one unit costs",
            alt=alt,
            caption=(
                f"The dotted line is {COSTLY}. One mark a unit; no error bars: the same sequences are used for all."
            ),
            data=order,
        )
