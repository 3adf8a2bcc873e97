"""What does the answer lose without a unit? The unit takes another sequence's values after every step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from ...errors import several
from ...evidence.findings import DataFigure, Finding
from ...evidence.measurements import tabulate
from ...methods.causal.ablation import Resampling
from ...methods.readouts import Answers
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import BLUE, ORANGE, new_figure
from ..definition.prepared import LEAST_SEQUENCES, Prepared
from ..rows import listed, row, said
from ..sampling import tail
from ..sampling.activations import Activations
from ..sampling.probes import Target, detrended, follows, within_steps
from .answering import wrong_in
from .linear_probes import why_not as nothing_to_read

TITLE = "Which units does the answer need?"
#: If not all units are ablated: so many are those that follow the concept most; the others are random.
FOLLOWING = 16
#: A unit is called needed if its ablation costs more than this.
COSTLY = 0.05


@dataclass(frozen=True)
class Loss:
    """How wrong answers are: the share of wrong answers, or for a number without levels the error in deviations.

    With levels it is the mean over the values of the right answer, so a rare value has the same weight. Values with
    fewer than `LEAST_SEQUENCES` sequences are counted together.

    Attributes:
        right: the right answers, (sequence,).
        levels: whether answers take a few values, so that they can be right or wrong.
    """

    right: np.ndarray
    levels: bool

    @cached_property
    def weights(self) -> np.ndarray:
        """The weight of each sequence, (sequence,); they add up to 1."""
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
        """Return the weighted mean of numbers; those of one row stand one after the other."""
        return float(values.double().view(len(self.right), -1).mean(1) @ torch.as_tensor(self.weights))

    def of(self, answers: Answers) -> float:
        """Return the loss of answers; those of one row stand one after the other."""
        right = torch.as_tensor(np.repeat(self.right, len(answers.chosen) // len(self.right)))
        if self.levels:
            return self._mean(~torch.isclose(answers.chosen.double(), right))
        return self._mean((answers.expected - right).abs()) / (float(np.std(self.right)) or 1.0)

    def moved(self, answers: Answers, clean: Answers) -> float:
        """Return the share of answers that differ from the clean run's, or how far they moved, in deviations."""
        count = len(answers.chosen) // len(self.right)
        if self.levels:
            return self._mean(~torch.isclose(answers.chosen, clean.chosen.repeat_interleave(count)))
        moved = (answers.expected - clean.expected.repeat_interleave(count)).abs()
        return self._mean(moved) / (float(np.std(self.right)) or 1.0)


def ask(activations: Activations, question: str) -> Finding:
    """Return what each unit's ablation costs, and how the units that follow the concept compare with the others."""
    prepared = activations.prepared
    reason = tail.why_not(prepared)
    head = prepared.head
    if reason is not None or head is None or prepared.read is None:
        return Finding(question, TITLE, tabulate([]), notes={"answer": f"No unit was ablated. {reason}"})
    end = tail.build(prepared)
    machine, units, how = end.machine, end.machine.dynamics.units, following(activations, end)
    picked, drawn = _units(units, how, prepared)
    loss = Loss(end.values[:, -1], bool(len(head.values)))
    resampling = Resampling(machine, draws=tail.DRAWS, seed=prepared.seed)
    clean = machine.clean.answers
    own = loss.of(clean)

    def without(some: list[int]) -> tuple[float, float, float]:
        answers = resampling.answers([column for unit in some for column in machine.dynamics.unit(unit)])
        change = answers.expected - clean.expected.repeat_interleave(tail.DRAWS)
        return loss.of(answers), float(change.abs().mean()), loss.moved(answers, clean)

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
    wrong = wrong_in(clean.chosen.numpy(), loss.right) if loss.levels else ""
    answer = words(table, prepared.answered.name, loss.levels, bool(drawn), wrong)
    notes = {"answer": answer, "setup": _setup(end, units, picked, drawn, levels=loss.levels)}
    return Finding(question, TITLE, table, (), (_figure(question, table, loss.levels),), notes=notes)


def following(activations: Activations, end: tail.Tail) -> np.ndarray | None:
    """Return how closely each unit of the stack follows the concept, by the state that follows it more closely.

    Args:
        activations: the recordings.
        end: the ends of the sequences, with the stack.

    Returns:
        One number for each unit, 0 in layers that are not studied; None if the concept cannot be read.
    """
    prepared = activations.prepared
    concept = prepared.answered
    if nothing_to_read(concept, activations) is not None:
        return None
    sample = activations.sample
    target = Target.of(concept, sample, prepared)
    values = within_steps(target.values, target)
    everywhere, by_layer = np.ones(len(values), dtype=bool), []
    for layer in end.stack:
        by_state = [
            follows(detrended(states[sample.of[concept.name]], target), values, target, everywhere)
            for (name, _), states in activations.network.states.items()
            if name == layer.name
        ]
        by_layer.append(np.max(by_state, axis=0) if by_state else np.zeros(layer.units))
    return np.concatenate(by_layer)


def _units(units: int, how: np.ndarray | None, prepared: Prepared) -> tuple[list[int], set[int]]:
    """Return which units are ablated, and which of them are random ones."""
    if units <= tail.UNITS:
        return list(range(units)), set()
    first = [] if how is None else [int(unit) for unit in np.argsort(-how, kind="stable")[:FOLLOWING]]
    rest = np.setdiff1d(np.arange(units), first)
    rng = np.random.default_rng([prepared.seed, 7])
    drawn = sorted(int(unit) for unit in rng.choice(rest, tail.UNITS - len(first), replace=False))
    return [*first, *drawn], set(drawn)


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["metric"] == "unit_drop"]
    drops = pd.DataFrame({"unit": rows["units"], "drop": rows["value"], "drawn": rows["signal"] == "drawn"})
    return drops.sort_values("drop", ascending=False, kind="stable").reset_index(drop=True)


def words(table: pd.DataFrame, concept: str, levels: bool, drawn: bool, wrong: str = "") -> str:
    """Return the sentences on what the ablations show.

    Args:
        table: what was measured.
        concept: the name of the concept.
        levels: whether answers take a few values, so that they can be right or wrong.
        drawn: whether only some units were ablated.
        wrong: the warning that the answers are mostly wrong; empty if they are not.
    """
    values = table.set_index(["metric", "units"])["value"]
    own, every = float(values["own_loss", ""]), float(values["loss_without_all", ""])
    what = "the share of wrong answers" if levels else "the mean error, in standard deviations of the concept"
    if wrong:
        return f"{wrong} With such answers we cannot say which units they need."
    if every - own <= COSTLY:
        text = f"With all units replaced {what} is {said(every)}, without ablation {said(own)}. "
        moved = float(values["answers_moved_without_all", ""])
        if max(moved, own - every) > COSTLY:
            how = f"{moved:.0%} of the answers change" if levels else "The answers change"
            return f"{text}{how}, but they do not become more wrong, so the cost of a single unit means nothing."
        return f"{text}The answer does not depend on these states, so the cost of a single unit means nothing."
    return _costs(table, concept, what, drawn)


def _costs(table: pd.DataFrame, concept: str, what: str, drawn: bool) -> str:
    values, order = table.set_index(["metric", "units"])["value"], _sorted(table)
    own, every = float(values["own_loss", ""]), float(values["loss_without_all", ""])
    first = order.iloc[0]
    alone = float(values["loss_of_best_alone", str(first["unit"])])
    costly = int((order["drop"] > COSTLY).sum())
    among = f" of the {len(order)} that were ablated" if drawn else ""
    costs = (
        f"Unit {first['unit']} costs most: without it {what} {{}} from {said(own)} to "
        f"{said(own + float(first['drop']))} (without all units to {said(every)})"
    )
    if costly:
        text = (
            f"{costs.format('rises')}. {several(costly, 'unit')}{among} cost{'s' * (costly == 1)} more than "
            f"{COSTLY}. With unit {first['unit']} alone it is {said(alone)}"
        )
        text += "; that unit alone does not suffice." if alone - own > COSTLY else ": that unit alone is enough here."
    else:
        text = f"No single unit{among} is needed: none costs more than {COSTLY}. {costs.format('goes')}."
    following_rows, others = order[~order["drawn"]], order[order["drawn"]]
    if drawn and len(following_rows) and len(others):
        text += (
            f" The mean cost is {said(float(following_rows['drop'].mean()))} for the units that follow “{concept}” "
            f"most, and {said(float(others['drop'].mean()))} for random units."
        )
    if costly == 0:
        text += " Several units may still take part: if each of them holds the same, any one can be lost."
    return text


def _setup(end: tail.Tail, units: int, picked: list[int], drawn: set[int], *, levels: bool) -> str:
    which = "Every unit was ablated alone"
    if drawn:
        named = [end.name(unit) for unit in sorted(drawn)]
        which = (
            f"{len(picked)} of {units} units were ablated, each alone, because each costs a run: the "
            f"{len(picked) - len(drawn)} that follow the concept most, and random ones ({listed(named)})"
        )
    return (
        f"{which}, on {end.said}. After every step the unit's state is replaced by that of another sequence at the "
        f"same distance from the end ({tail.DRAWS} other sequences for each; resample ablation, Chan et al. 2022). "
        "The network computes everything else."
        + " Each value of the right answer has the same weight, however rare it is." * levels
        + " Exact shares of all units were not computed: they take 2 to the power of the number of units runs."
        * bool(drawn)
    )


def _figure(question: str, table: pd.DataFrame, levels: bool) -> DataFigure:
    order = _sorted(table)
    with drawing():
        figure, axes = new_figure(height=3.0)
        ax, places = axes[0, 0], np.arange(len(order))
        for flag, color, marker, label in (
            (False, BLUE, "o", "follow the concept most"),
            (True, ORANGE, "s", "random"),
        ):
            group = (order["drawn"] == flag).to_numpy()
            if group.any():
                name = label if order["drawn"].any() else None
                ax.plot(places[group], order["drop"][group], marker, color=color, markersize=5, label=name)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.axhline(COSTLY, color="black", linewidth=1, linestyle=":")
        ax.set_xticks(places, [shortened(unit, 24) for unit in order["unit"]], rotation=90 if len(order) > 14 else 0)
        ax.set_xlabel("unit, sorted by cost")
        ax.set_ylabel("wrong answers added" if levels else "error added (sd)")
        if order["drawn"].any():
            ax.legend(loc="upper right")
        alt = (
            f"The error that the ablation of each of {len(order)} units adds: unit {order['unit'].iloc[0]} adds "
            f"{said(float(order['drop'].iloc[0]))}, the median unit {said(float(order['drop'].median()))}."
        )
        return drawn(
            figure,
            name=f"{question}-drops",
            title="What one unit costs",
            alt=alt,
            caption=(
                f"The dotted line is {COSTLY}. One mark for each unit. There are no error bars, because all use the "
                "same sequences."
            ),
            data=order,
        )
