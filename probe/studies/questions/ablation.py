"""What does the answer lose without a unit? The unit takes another sequence's values after every step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from ...evidence.findings import DataFigure, Finding
from ...evidence.measurements import tabulate
from ...methods.causal.ablation import Resampling
from ...methods.readouts import Answers
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import BLUE, ORANGE, new_figure
from ...words import several
from ..definition.prepared import LEAST_SEQUENCES, Prepared
from ..sampling import tail
from ..sampling.activations import Sightings
from ..sampling.probes import Target, detrended, follows, within_steps
from ..tables import listed, row, said
from .answering import wrong_in
from .reading import why_not as nothing_to_read

TITLE = "Which units does the answer need?"
#: Among the units that are ablated where not all are, so many follow the concept most; the others are drawn.
FOLLOWING = 16
#: A unit whose ablation costs more than this is counted.
COSTLY = 0.05


@dataclass(frozen=True)
class Loss:
    """How wrong answers are: the share that is wrong, or of a number without levels the error over its spread.

    Of answers with levels it is the mean over the right answers' values, so that a rare one weighs as much; those of
    fewer than `LEAST_SEQUENCES` sequences are counted together.
    """

    right: np.ndarray
    levels: bool

    @cached_property
    def weights(self) -> np.ndarray:
        """What each sequence weighs, (sequence,); their sum is 1."""
        if not self.levels:
            return np.full(len(self.right), 1 / len(self.right))
        _, value, counts = np.unique(self.right, return_inverse=True, return_counts=True)
        _, group, sizes = np.unique(
            np.where(counts >= LEAST_SEQUENCES, np.arange(len(counts)), -1)[value],
            return_inverse=True,
            return_counts=True,
        )
        return 1 / (len(sizes) * sizes[group])

    def _mean(self, values: torch.Tensor) -> float:
        """Return the mean of numbers, those of a row one after the other."""
        return float(values.double().view(len(self.right), -1).mean(1) @ torch.as_tensor(self.weights))

    def of(self, found: Answers) -> float:
        """Return it for answers, those of a row one after the other."""
        count = len(found.chosen) // len(self.right)
        wanted = torch.as_tensor(np.repeat(self.right, count))
        if self.levels:
            return self._mean(~torch.isclose(found.chosen.double(), wanted))
        spread = float(np.std(self.right)) or 1.0
        return self._mean((found.expected - wanted).abs()) / spread

    def moved(self, found: Answers, own: Answers) -> float:
        """Return how many answers are others than the network's own, or how far they are from these, in spreads."""
        count = len(found.chosen) // len(self.right)
        if self.levels:
            return self._mean(~torch.isclose(found.chosen, own.chosen.repeat_interleave(count)))
        spread = float(np.std(self.right)) or 1.0
        return self._mean((found.expected - own.expected.repeat_interleave(count)).abs()) / spread


def ask(sightings: Sightings, question: str) -> Finding:
    """Return what each unit's ablation costs, and how the units that follow the concept compare with the others."""
    prepared = sightings.prepared
    reason = tail.why_not(prepared)
    head = prepared.head
    if reason is not None or head is None or prepared.read is None:
        return Finding(question, TITLE, tabulate([]), notes={"answer": f"Nothing was ablated. {reason}"})
    end = tail.build(prepared)
    machine, units, how = end.machine, end.machine.dynamics.units, following(sightings, end)
    picked, drawn = _units(units, how, prepared)
    loss = Loss(end.values[:, -1], bool(len(head.values)))
    resampling = Resampling(machine, draws=tail.DRAWS, seed=prepared.seed)
    own = loss.of(machine.clean.answers)

    def without(some: list[int]) -> tuple[float, float, float]:
        found = resampling.answers([column for unit in some for column in machine.dynamics.unit(unit)])
        change = found.expected - machine.clean.answers.expected.repeat_interleave(tail.DRAWS)
        return loss.of(found), float(change.abs().mean()), loss.moved(found, machine.clean.answers)

    every, _, moved = without(list(range(units)))
    rows = [row(question, "own_loss", own), row(question, "loss_without_all", every)]
    rows.append(row(question, "answers_moved_without_all", moved))
    for unit in picked:
        lost, change, _ = without([unit])
        rows.append(
            row(question, "unit_drop", lost - own, units=end.name(unit), signal="drawn" if unit in drawn else "")
        )
        rows.append(row(question, "unit_answer_change", change, units=end.name(unit)))
        if how is not None:
            rows.append(row(question, "follows", how[unit], units=end.name(unit)))
    table = tabulate(rows)
    best = str(_sorted(table)["unit"].iloc[0])
    alone, _, _ = without([unit for unit in range(units) if end.name(unit) != best])
    rows.append(row(question, "loss_of_best_alone", alone, units=best))
    table = tabulate(rows)
    wrong = wrong_in(machine.clean.answers.chosen.numpy(), loss.right) if loss.levels else ""
    answer = words(table, prepared.answered.name, loss.levels, bool(drawn), wrong)
    notes = {"answer": answer, "setup": _setup(end, units, picked, drawn, levels=loss.levels)}
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
    values = within_steps(target.values, target)
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


def words(table: pd.DataFrame, concept: str, levels: bool, drawn: bool, wrong: str = "") -> str:
    """Return what the ablations come to.

    Args:
        table: what was measured.
        concept: its name.
        levels: whether answers are one of a few values, so that they can be right.
        drawn: whether not all units were ablated.
        wrong: the sentence that the answers are mostly wrong; empty where they are not.
    """
    values = table.set_index(["metric", "units"])["value"]
    own, every = float(values["own_loss", ""]), float(values["loss_without_all", ""])
    what = "the share of wrong answers" if levels else "the mean error, in standard deviations of the concept"
    if wrong:
        return f"{wrong} With such answers nothing can be said on which units they need."
    if every - own <= COSTLY:
        text = f"With all units replaced {what} is {said(every)}, and {said(own)} as they are: "
        moved = float(values["answers_moved_without_all", ""])
        if max(moved, own - every) > COSTLY:
            how = f"{moved:.0%} of the answers change" if levels else "the answers change"
            return f"{text}{how} and are no more wrong for it: what a single unit costs says nothing."
        return f"{text}the answer does not depend on these states, so that what a single unit costs says nothing."
    return _costs(table, concept, what, drawn)


def _costs(table: pd.DataFrame, concept: str, what: str, drawn: bool) -> str:
    values, order = table.set_index(["metric", "units"])["value"], _sorted(table)
    own, every = float(values["own_loss", ""]), float(values["loss_without_all", ""])
    first = order.iloc[0]
    alone = float(values["loss_of_best_alone", str(first["unit"])])
    costly = int((order["drop"] > COSTLY).sum())
    among = f" of the {len(order)} that were ablated" if drawn else ""
    one = (
        f"nit {first['unit']} costs most: without it {what} {{}} from {said(own)} to "
        f"{said(own + float(first['drop']))} (without all units to {said(every)})"
    )
    if costly:
        text = (
            f"U{one.format('rises')}. {several(costly, 'unit')}{among} cost{'s' * (costly == 1)} more than {COSTLY}. "
            f"With unit {first['unit']} alone it is {said(alone)}"
        )
        text += "; that unit alone does not suffice." if alone - own > COSTLY else ": that unit alone is enough here."
    else:
        text = f"No single unit{among} is needed: none costs more than {COSTLY}. U{one.format('goes')}."
    own_rows, others = order[~order["drawn"]], order[order["drawn"]]
    if drawn and len(own_rows) and len(others):
        text += (
            f" The mean cost is {said(float(own_rows['drop'].mean()))} for the units that follow “{concept}” most, "
            f"and {said(float(others['drop'].mean()))} for drawn ones."
        )
    if costly == 0:
        text += " That no single unit is needed does not say that none takes part: what several hold, each can lose."
    return text


def _setup(end: tail.Tail, units: int, picked: list[int], drawn: set[int], *, levels: bool) -> str:
    which = "Every unit was ablated alone"
    if drawn:
        named = [end.name(unit) for unit in sorted(drawn)]
        which = (
            f"{len(picked)} of {units} units were ablated, each alone, because every one costs a run: the "
            f"{len(picked) - len(drawn)} that follow the concept most, and drawn ones ({listed(named)})"
        )
    return (
        f"{which}, on {end.said}: after every step its state is that of another sequence at the same distance from "
        f"the end, {tail.DRAWS} others for each (resample ablation; Chan et al. 2022). The rest is computed by the "
        "network itself."
        + " Each right answer's value counts alike, however rare it is." * levels
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
