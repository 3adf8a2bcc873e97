"""Does the answer follow the state? Interchange of states and parts of them, and alignment search (DAS)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from ...errors import ProbeError
from ...evidence.findings import DataFigure, Finding
from ...evidence.measurements import tabulate
from ...methods.causal.alignment import Alignment, Search, search
from ...methods.causal.alignment_controls import halves, random_bases
from ...methods.causal.class_means import classes_at
from ...methods.causal.interchange import Interchange, Scores
from ...methods.causal.pairs import Pairs, Put, along, columns
from ...methods.causal.support import OffSupport, Support
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...plots.study_figures import drawing, drawn, labels, spread
from ...plots.style import BLUE, GREY, new_figure
from ...recurrent.signals import Signal
from ..definition.prepared import Prepared
from ..rows import row as table_row
from ..rows import said
from ..sampling import splices, tail
from ..sampling.activations import Activations
from ..sampling.fitted_head import fitted_head
from ..sampling.right_answers import Relabelled, only_last, task_of
from . import interchange_words
from .ablation import following
from .answering import wrong_in

TITLE = "Does the answer follow the state?"
#: About how many operations the pairs and the searches may take.
BUDGET_OF_PAIRS, BUDGET_OF_SEARCH = 1.5e11, 6e11
MOST_PAIRS, FEWEST_PAIRS = 4_096, 256
#: How many directions are searched for; the pairs in one step of the search; the most and the fewest steps.
RANKS, SEARCHED, ITERATIONS, FEWEST_ITERATIONS = (1, 2), 48, 300, 60
RANDOM, LEAST_HELD_OUT, FEWEST_DEFINED = 5, 64, 64
#: With more parts of the state than this (in a stack, a layer each) only some are drawn.
MOST_PARTS = 12
#: The attributes of `splices.SplicedPairs` that become rows of the table.
COUNTED = ("impossible", "drawn", "unanswerable", "right", "before")
_SHORT = {
    "directions searched for relabelled values": "the same for relabelled values",
    "directions in a network with random weights and a fitted head": "the same with random weights and a fitted head",
}
#: A forward and a backward pass take about three times as long as a forward pass.
FORWARD_AND_BACKWARD = 3


@dataclass(frozen=True, eq=False)
class Plan:
    """Where states are patched, and how long directions are searched.

    Attributes:
        place: the step after which states are patched, counted in the ends of the sequences.
        left: how many steps follow.
        pairs: how many pairs are run.
        spliced: for how many of them the network reads the whole spliced sequence.
        iterations: the steps of the search; 0 if it would cost too much, or the readout has no gradient.
    """

    place: int
    left: int
    pairs: int
    spliced: int
    iterations: int


@dataclass(frozen=True, eq=False)
class Fit:
    """The sequences on which directions are searched.

    Attributes:
        rows: the rows of the machine, (row,).
        pairs: pairs among these rows whose spliced sequence the network answers right, whatever they differ in.
    """

    rows: torch.Tensor
    pairs: Pairs

    def differing(self, task: Task, source: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the bases and sources of the pairs that differ in a concept.

        Args:
            task: the concept.
            source: other sources, one row of the machine for each pair; None for those of the pairs.
        """
        base, source = self.pairs.base, self.pairs.source if source is None else source
        differ = task.so_far(base, self.pairs.step) != task.so_far(source, self.pairs.step)
        return base[differ], source[differ]


def ask(activations: Activations, question: str) -> Finding:
    """Return how the answers follow parts of the state, single units, and directions that were searched for."""
    prepared = activations.prepared
    reason = tail.why_not(prepared)
    if reason is not None:
        return _nothing(question, f"No state was patched. {reason}")
    end = tail.build(prepared)
    levels = prepared.head is not None and len(prepared.head.values) > 0
    wrong = wrong_in(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]) if levels else ""
    where = plan(prepared, end)
    if tail.alike(end, where.place):
        return _nothing(question, interchange_words.all_alike(end, where))
    if wrong:
        return _nothing(question, f"{wrong} With such answers we cannot say what they follow.")
    task, how = task_of(prepared, end)
    ways = halves(end.machine, where.place, least=LEAST_HELD_OUT, seed=prepared.seed)
    defined = torch.as_tensor(np.isfinite(end.values[:, where.place]))
    train, test = (rows[defined[rows]] for rows in (ways[0].train, ways[0].test))
    own = splices.spliced_pairs(prepared, end, task, where.place, test, most=where.spliced)
    shares = splices.depends(prepared, end, task, where.left)
    reason = interchange_words.too_few(own, prepared.answered.name, where, levels=levels)
    if reason is not None:
        return _nothing(question, reason)
    # Pairs that differ in anything: directions are searched for relabelled values too.
    most = where.spliced if where.iterations else 0
    fit = Fit(train, splices.spliced_pairs(prepared, end, task, where.place, train, most=most, every=True).pairs)
    experiment = Interchange(own.pairs, task)
    first = experiment.scores(columns(end.machine.dynamics.columns(Signal.HIDDEN_STATE)))
    ordered = not prepared.answered.is_categorical and bool(defined.all())
    support = _support(own.pairs, task, prepared.seed) if ordered else None
    rows: list[dict[str, Any]] = []
    for name, units, put, kind in _patches(activations, end, task, where, fit):
        scores = experiment.scores(put)
        far = float("nan") if support is None else support.distance(put)
        rows += _rows(question, name, units, kind, scores=scores, way=own.way, far=far)
    rows = [*_ends(question, first, own.way), *rows, *_of_fitted_head(question, prepared, where, fit, own)]
    rows += [table_row(question, name, getattr(own, name)) for name in COUNTED]
    rows.append(table_row(question, "pairs", len(own.pairs)))
    rows += [table_row(question, "depends", share, units=str(left)) for left, share in shares]
    if support is not None:
        usual = apart(end.machine, task, where.place)
        rows.append(table_row(question, "apart", usual, network="states that occur", signal="support"))
    table = tabulate(rows)
    held_out = len(ways) > 1
    notes = interchange_words.notes(table, prepared, end, where, how, levels=levels, held_out=held_out)
    return Finding(question, TITLE, table, (), (_figure(question, table, levels),), notes=notes)


def _nothing(question: str, reason: str) -> Finding:
    return Finding(question, TITLE, tabulate([]), notes={"lead": reason, "answer": reason})


def _support(pairs: Pairs, task: Task, seed: int) -> OffSupport | None:
    """Return the support of the states; None if sequences with the same inputs differ in the concept."""
    try:
        return OffSupport(pairs, task, most=256, seed=seed)
    except ProbeError:
        return None


def apart(machine: Machine, task: Task, place: int) -> float:
    """Return the median distance from a state that occurs to the nearest other one, in spacings of the concept.

    Distances of patched states are compared with this: with many units and few sequences all states lie far apart.

    Args:
        machine: the model.
        task: the concept.
        place: the step after which states are compared.
    """
    from scipy.spatial import KDTree

    support = Support.of(classes_at(machine, task, place))
    if len(support.clean) < 2:
        return float("nan")
    nearest = KDTree(support.clean).query(support.clean, k=2)[0][:, 1]
    return float(np.median(nearest)) / support.spacing


def plan(prepared: Prepared, end: tail.Tail) -> Plan:
    """Return where states are patched: in the middle of the steps that are run, or later if that costs too much."""
    step, read = tail.cost(end.stack), tail.cost_of_head(prepared)
    chosen = prepared.readout.interchange_step
    left = 0 if only_last(prepared) else (end.steps - 1) // 2 if chosen is None else -1 - chosen
    searches = len(RANKS) + 1
    step_of_search = step * SEARCHED * searches * FORWARD_AND_BACKWARD
    if left and chosen is None:
        left = int(np.clip(BUDGET_OF_SEARCH / (step_of_search * FEWEST_ITERATIONS), 1, left))
        left = int(np.clip(BUDGET_OF_PAIRS / (step * FEWEST_PAIRS * 14), 1, left))
    # Later, if the concept is not defined so early in enough sequences.
    enough = min(FEWEST_DEFINED, len(end.rows)) * (chosen is None)
    left = next(
        k for k in range(left, -1, -1) if not k or np.isfinite(end.values[:, end.steps - 1 - k]).sum() >= enough
    )
    whole = step * max(left, 1) + read
    iterations = int(min(ITERATIONS, BUDGET_OF_SEARCH / (whole * SEARCHED * searches * FORWARD_AND_BACKWARD)))
    pairs = int(np.clip(BUDGET_OF_PAIRS / (whole * 14), FEWEST_PAIRS, MOST_PAIRS))
    spliced = int(np.clip(splices.BUDGET / (step * prepared.x.shape[1] + read), splices.FEWEST, pairs))
    searched = iterations >= FEWEST_ITERATIONS and prepared.head is not None and prepared.head.differentiable
    return Plan(end.steps - 1 - left, left, pairs, spliced, iterations if searched else 0)


def _patches(
    activations: Activations, end: tail.Tail, task: Task, where: Plan, fit: Fit
) -> Iterator[tuple[str, str, Put, str]]:
    """Yield each patch: its name, its units or the number of directions, the patch, and what kind of patch it is."""
    machine, prepared = end.machine, activations.prepared
    for number, layer in enumerate(end.stack if len(end.stack) > 1 else ()):
        yield f"all of {layer.name}", "", columns(end.layer_columns(number)), "part"
    if Signal.CELL_STATE in machine.dynamics.signals:
        yield "all cell states", "", columns(machine.dynamics.columns(Signal.CELL_STATE)), "part"
        yield "all hidden states", "", columns(machine.dynamics.columns(Signal.HIDDEN_STATE)), "part"
    how = following(activations, end)
    if how is not None:
        order = [int(unit) for unit in np.argsort(-how, kind="stable")]
        for count in sorted({1, min(4, machine.dynamics.units)}):
            units = order[:count]
            name = f"the {count} units that follow it most" if count > 1 else "the unit that follows it most"
            patch = columns([column for unit in units for column in machine.dynamics.unit(unit)])
            yield name, " ".join(map(end.name, units)), patch, "units"
    for number, basis in enumerate(
        random_bases(machine.dynamics.size, min(RANKS[-1], machine.dynamics.size), RANDOM, seed=prepared.seed)
    ):
        yield f"random directions {number + 1}", str(basis.shape[1]), along(basis), "random"
    if where.iterations:
        yield from _searched(prepared, end, task, where, fit)


def _searched(
    prepared: Prepared, end: tail.Tail, task: Task, where: Plan, fit: Fit
) -> Iterator[tuple[str, str, Put, str]]:
    machine, head = end.machine, prepared.head
    # Values of other rows of the same half, so that the search sees no held-out row.
    order, rows = torch.arange(len(machine.clean.inputs)), fit.rows
    order[rows] = rows[torch.as_tensor(np.random.default_rng([prepared.seed, 8]).permutation(len(rows)))]
    mixed = Relabelled(task.concept, task.combine, inner=task, order=order)
    ranks = [rank for rank in RANKS if rank <= machine.dynamics.size]
    # The source whose relabelled value is the true source's, so that the right answers are those of the same splices.
    own, other = fit.differing(task), fit.differing(mixed, torch.argsort(order)[fit.pairs.source])
    if head is None or min(len(own[0]), len(other[0])) < splices.LEAST:
        return
    searches = [Search(rank, task, rows, pairs=own) for rank in ranks]
    searches.append(Search(ranks[-1], mixed, rows, pairs=other))
    alignments: list[Alignment] = search(
        machine,
        where.place,
        searches,
        loss=head.loss,
        iterations=where.iterations,
        pairs=SEARCHED,
        seed=prepared.seed,
    )
    for rank, alignment in zip(ranks, alignments, strict=False):
        yield "directions that were searched for", str(rank), alignment.put, "searched"
    yield "directions searched for relabelled values", str(ranks[-1]), alignments[-1].put, "relabelled"


def _of_fitted_head(
    question: str, prepared: Prepared, where: Plan, fit: Fit, own: splices.SplicedPairs
) -> Iterator[dict[str, Any]]:
    """Yield the scores of the same search in a network with random weights and a fitted head, and its accuracy.

    It is searched and scored on the same pairs, which the network under study answers right. The score of its whole
    state is yielded too, because its answers to these pairs may be wrong.
    """
    control = fitted_head(prepared) if where.iterations else None
    if control is None or control.head is None:
        return
    end = tail.build(control)
    task, _ = task_of(control, end)
    searched = fit.differing(task)
    if len(searched[0]) < splices.LEAST:
        return
    rank = min(RANKS[-1], end.machine.dynamics.size)
    (alignment,) = search(
        end.machine,
        where.place,
        [Search(rank, task, fit.rows, pairs=searched)],
        loss=control.head.loss,
        iterations=where.iterations,
        pairs=SEARCHED,
        seed=prepared.seed,
    )
    pairs = Pairs(end.machine, where.place, own.pairs.base, own.pairs.source, exhaustive=False)
    scores = Interchange(pairs, task).scores(alignment.put)
    name = "directions in a network with random weights and a fitted head"
    yield from _rows(question, name, str(rank), "fitted head", scores=scores, way=own.way, far=float("nan"))
    right = float(np.isclose(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]).mean())
    yield table_row(question, "accuracy", right, network=name, units=str(rank), signal="fitted head")
    for metric, value in (("whole_followed", scores.whole), ("whole_shift", scores.whole_shift / own.way)):
        yield table_row(question, metric, value, network=name, units=str(rank), signal="fitted head")


def _rows(
    question: str, name: str, units: str, kind: str, *, scores: Scores, way: float, far: float
) -> list[dict[str, Any]]:
    """Return the scores of one patch. A shift of 1 reaches the network's own answers to the spliced sequences."""
    numbers = {"followed": scores.iia, "shift": scores.shift / way, "off_support": far}
    return [
        table_row(question, metric, value, network=name, units=units, signal=kind)
        for metric, value in numbers.items()
    ]


def _ends(question: str, scores: Scores, way: float) -> list[dict[str, Any]]:
    numbers = {"nothing": (scores.unpatched, 0.0), "the whole state": (scores.whole, scores.whole_shift / way)}
    numbers["the spliced sequence, read as it is"] = 1.0, 1.0
    return [
        table_row(question, metric, value, network=name, signal="end")
        for name, pair in numbers.items()
        for metric, value in zip(("followed", "shift"), pair, strict=True)
    ]


def _figure(question: str, table: pd.DataFrame, levels: bool) -> DataFigure:
    every = interchange_words.summary(table)
    parts = every.index[every["signal"] == "part"]
    shown = every.drop(parts.difference(parts[spread(len(parts), MOST_PARTS)]))
    column = "followed" if levels else "shift"
    names = [
        f"{_SHORT.get(name, name)} ({units})" if kind in ("searched", "relabelled", "fitted head", "random") else name
        for name, units, kind in zip(shown["network"], shown["units"], shown["signal"], strict=True)
    ]
    with drawing():
        figure, axes = new_figure(height=0.34 * len(shown) + 1.0)
        ax, places = axes[0, 0], np.arange(len(shown))[::-1]
        controls = shown["signal"].isin(["random", "relabelled", "fitted head"]).to_numpy()
        ends = (shown["signal"] == "end").to_numpy()
        for mask, color, marker in ((~controls & ~ends, BLUE, "o"), (controls, GREY, "X"), (ends, "black", "D")):
            ax.plot(shown[column][mask], places[mask], marker, color=color, markersize=6)
        ax.set_yticks(places, labels(names, 40))
        ax.tick_params(axis="y", labelsize="small")
        ax.set_xlim(min(-0.03, float(shown[column].min()) - 0.03), max(1.03, float(shown[column].max()) + 0.03))
        ax.set_xlabel("share of answers that follow" if levels else "share of the way that the answer goes")
        ax.grid(axis="x", linewidth=0.4, alpha=0.5)
        best = every[every["signal"].isin(["part", "units", "searched"])].sort_values(
            column, ascending=False, kind="stable"
        )
        value = float(best[column].iloc[0]) if len(best) else float("nan")
        alt = (
            f"{len(shown)} patches: with nothing patched {said(float(shown[column].iloc[0]))} of the "
            f"answers follow, with the whole state {said(float(shown[column].iloc[1]))}, with the best part "
            f"{said(value)}."
        )
        caption = (
            "Diamonds: nothing patched, the whole state, and the network's answers to the spliced sequences "
            "themselves. Crosses: controls."
        )
        if len(shown) < len(every):
            caption += f" {MOST_PARTS} of {len(parts)} parts of the state are drawn; the table has all."
        return drawn(
            figure, name=f"{question}-parts", title="What the answer follows", alt=alt, caption=caption, data=every
        )
