"""Does the answer follow the state? Parts of one sequence's are put into another's run, and directions searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..causal.alignment import Alignment, Search, search
from ..causal.alignment_controls import halves, pairs_among, random_bases
from ..causal.class_means import classes_at
from ..causal.interchange import Interchange, Scores
from ..causal.pairs import Pairs, Put, along, columns
from ..causal.support import OffSupport, Support
from ..causal.task import Task
from ..errors import ProbeError
from ..figures import BLUE, GREY, new_figure
from ..findings import DataFigure, Finding
from ..machines import Machine
from ..measurements import tabulate
from ..signals import Signal
from . import exchanging_words, tail
from .ablating import following
from .answering import wrong_in
from .drawing import drawing, drawn, labels, spread
from .prepared import Prepared
from .refitted import refitted
from .sightings import Sightings
from .tables import row as table_row
from .tables import said
from .tasks import Relabelled, only_last, task_of

TITLE = "Does the answer follow the state?"
#: About how many operations the pairs and the searches may take.
BUDGET_OF_PAIRS, BUDGET_OF_SEARCH = 1.5e11, 6e11
MOST_PAIRS, FEWEST_PAIRS = 4_096, 256
#: Directions that are searched for; of how many pairs a step of the search is; how many steps at most and at least.
RANKS, SEARCHED, ITERATIONS, FEWEST_ITERATIONS = (1, 2), 48, 300, 60
RANDOM, LEAST_HELD_OUT, FEWEST_DEFINED = 5, 64, 64
#: Of more parts of the state (a layer each, in a stack) some are drawn.
MOST_PARTS = 12
_SHORT = {
    "directions searched for relabelled values": "the same for relabelled values",
    "directions in a re-initialised network with a fitted head": "the same in a re-initialised network",
}
#: A way back takes about twice what the way there does.
BACK = 3


@dataclass(frozen=True, eq=False)
class Plan:
    """Where states are exchanged, and how long is searched.

    Attributes:
        place: after which step of the machine's.
        left: how many steps follow.
        pairs: how many pairs are run.
        iterations: of the search; 0 where it would cost too much, or the readout has no gradient.
    """

    place: int
    left: int
    pairs: int
    iterations: int


def ask(sightings: Sightings, question: str) -> Finding:
    """Return how answers follow parts of the state, single units, and directions that were searched for."""
    prepared = sightings.prepared
    reason = tail.why_not(prepared)
    if reason is not None:
        return Finding(question, TITLE, tabulate([]), notes={"answer": f"Nothing was exchanged. {reason}"})
    end = tail.build(prepared)
    chosen = plan(prepared, end)
    if tail.alike(end, chosen.place):
        note = exchanging_words.all_alike(end, chosen)
        return Finding(question, TITLE, tabulate([]), notes={"answer": note})
    task, how = task_of(prepared, end)
    ways = halves(end.machine, chosen.place, least=LEAST_HELD_OUT, seed=prepared.seed)
    defined = torch.as_tensor(np.isfinite(end.values[:, chosen.place]))
    train, test = (rows[defined[rows]] for rows in (ways[0].train, ways[0].test))
    pairs = pairs_among(end.machine, chosen.place, test, most=chosen.pairs, seed=prepared.seed)
    pairs = _answerable(prepared, pairs, task)
    if not len(pairs):
        note = "Nothing was exchanged: after no exchange the right answer is one that the readout can give."
        return Finding(question, TITLE, tabulate([]), notes={"answer": note})
    experiment = Interchange(pairs, task)
    first = experiment.scores(columns(end.machine.columns(Signal.HIDDEN_STATE)))
    if not first.changed or (first.whole == first.unpatched and first.whole_shift != first.whole_shift):
        name = prepared.answered.name
        note = f"Nothing was exchanged: “{name}” is the same in all sequences {chosen.left} steps before their end."
        return Finding(question, TITLE, tabulate([]), notes={"answer": note})
    ordered = not prepared.answered.is_categorical and bool(defined.all())
    support = _support(pairs, task, prepared.seed) if ordered else None
    rows: list[dict[str, Any]] = []
    for name, units, put, kind in _puts(sightings, end, task, chosen, train):
        scores = experiment.scores(put)
        far = float("nan") if support is None else support.distance(put)
        rows += _rows(question, name, units, kind, scores=scores, far=far)
    rows = [*_ends(question, first), *rows, *_of_twin(question, prepared, chosen, train, pairs)]
    if support is not None:
        usual = apart(end.machine, task, chosen.place)
        rows.append(table_row(question, "apart", usual, network="states that occur", signal="support"))
    table = tabulate(rows)
    held_out = len(ways) > 1
    levels = prepared.head is not None and len(prepared.head.values) > 0
    wrong = wrong_in(end.machine.natural.chosen.numpy(), end.values[:, -1]) if levels else ""
    notes = exchanging_words.notes(
        table, prepared, end, chosen, how, levels=levels, held_out=held_out, pairs=len(pairs), wrong=wrong
    )
    return Finding(question, TITLE, table, (), (_figure(question, table, levels),), notes=notes)


def _answerable(prepared: Prepared, pairs: Pairs, task: Task) -> Pairs:
    """Return the pairs whose right answer the readout can give."""
    head = prepared.head
    if head is None or not len(head.values):
        return pairs
    target = task.target(pairs.base, pairs.source, pairs.step)
    kept = torch.isclose(target[:, None], head.values[None]).any(1)
    return Pairs(pairs.machine, pairs.step, pairs.base[kept], pairs.source[kept], exhaustive=False)


def _support(pairs: Pairs, task: Task, seed: int) -> OffSupport | None:
    """Return where states lie, or None where sequences that have read the same differ in the concept."""
    try:
        return OffSupport(pairs, task, most=256, seed=seed)
    except ProbeError:
        return None


def apart(machine: Machine, task: Task, place: int) -> float:
    """Return how far a state that occurs lies from the nearest other one, the median, in spacings of the concept.

    What is put in has to be held against this: of many units and few sequences, states lie far from each other.

    Args:
        machine: the model.
        task: the concept.
        place: after which step.
    """
    from scipy.spatial import KDTree

    support = Support.of(classes_at(machine, task, place))
    if len(support.natural) < 2:
        return float("nan")
    nearest = KDTree(support.natural).query(support.natural, k=2)[0][:, 1]
    return float(np.median(nearest)) / support.spacing


def plan(prepared: Prepared, end: tail.Tail) -> Plan:
    """Return where states are exchanged: in the middle of what is run, or later where that would cost too much."""
    one, read = tail.cost(end.stack), tail.cost_of_head(prepared)
    left = 0 if only_last(prepared) else (end.steps - 1) // 2
    searches = len(RANKS) + 1
    step_of_search = one * SEARCHED * searches * BACK
    if left:
        left = int(np.clip(BUDGET_OF_SEARCH / (step_of_search * FEWEST_ITERATIONS), 1, left))
        left = int(np.clip(BUDGET_OF_PAIRS / (one * FEWEST_PAIRS * 14), 1, left))
    # Where the concept is not defined so early in enough sequences, later.
    enough = min(FEWEST_DEFINED, len(end.rows))
    left = next(
        k for k in range(left, -1, -1) if not k or np.isfinite(end.values[:, end.steps - 1 - k]).sum() >= enough
    )
    whole = one * max(left, 1) + read
    iterations = int(min(ITERATIONS, BUDGET_OF_SEARCH / (whole * SEARCHED * searches * BACK)))
    pairs = int(np.clip(BUDGET_OF_PAIRS / (whole * 14), FEWEST_PAIRS, MOST_PAIRS))
    searched = iterations >= FEWEST_ITERATIONS and prepared.head is not None and prepared.head.differentiable
    return Plan(end.steps - 1 - left, left, pairs, iterations if searched else 0)


def _puts(
    sightings: Sightings, end: tail.Tail, task: Task, chosen: Plan, train: torch.Tensor
) -> Iterator[tuple[str, str, Put, str]]:
    """Yield what is put in: its name, which units or how many directions, how, and whether it is a control."""
    machine, prepared = end.machine, sightings.prepared
    for number, layer in enumerate(end.stack if len(end.stack) > 1 else ()):
        yield f"all of {layer.name}", "", columns(machine.layer_columns(number)), "part"
    if Signal.CELL_STATE in machine.signals:
        yield "all cell states", "", columns(machine.columns(Signal.CELL_STATE)), "part"
        yield "all hidden states", "", columns(machine.columns(Signal.HIDDEN_STATE)), "part"
    how = following(sightings, end)
    if how is not None:
        order = [int(unit) for unit in np.argsort(-how, kind="stable")]
        for count in sorted({1, min(4, machine.units)}):
            units = order[:count]
            named = " ".join(map(end.name, units))
            put = columns([column for unit in units for column in machine.unit(unit)])
            yield (
                f"the {count} units that follow it most" if count > 1 else "the unit that follows it most",
                named,
                put,
                "units",
            )
    for number, basis in enumerate(
        random_bases(machine.size, min(RANKS[-1], machine.size), RANDOM, seed=prepared.seed)
    ):
        yield f"random directions {number + 1}", str(basis.shape[1]), along(basis), "random"
    if chosen.iterations:
        yield from _searched(prepared, end, task, chosen, train)


def _searched(
    prepared: Prepared, end: tail.Tail, task: Task, chosen: Plan, train: torch.Tensor
) -> Iterator[tuple[str, str, Put, str]]:
    machine, head = end.machine, prepared.head
    if head is None:
        return
    order = torch.as_tensor(np.random.default_rng([prepared.seed, 8]).permutation(len(machine.inputs)))
    mixed = Relabelled(task.concept, task.combine, inner=task, order=order)
    ranks = [rank for rank in RANKS if rank <= machine.size]
    wanted = [Search(rank, task, train) for rank in ranks] + [Search(ranks[-1], mixed, train)]
    found: list[Alignment] = search(
        machine,
        chosen.place,
        wanted,
        loss=head.loss,
        iterations=chosen.iterations,
        pairs=SEARCHED,
        seed=prepared.seed,
    )
    for rank, one in zip(ranks, found, strict=False):
        yield "directions that were searched for", str(rank), one.put, "searched"
    yield "directions searched for relabelled values", str(ranks[-1]), found[-1].put, "relabelled"


def _of_twin(
    question: str, prepared: Prepared, chosen: Plan, train: torch.Tensor, pairs: Pairs
) -> Iterator[dict[str, Any]]:
    """Yield what the same search finds in a re-initialised network with a fitted head, and how right that is."""
    twin = refitted(prepared) if chosen.iterations else None
    if twin is None or twin.head is None:
        return
    end = tail.build(twin)
    task, _ = task_of(twin, end)
    rank = min(RANKS[-1], end.machine.size)
    (found,) = search(
        end.machine,
        chosen.place,
        [Search(rank, task, train)],
        loss=twin.head.loss,
        iterations=chosen.iterations,
        pairs=SEARCHED,
        seed=prepared.seed,
    )
    own = Pairs(end.machine, pairs.step, pairs.base, pairs.source, exhaustive=False)
    scores = Interchange(own, task).scores(found.put)
    name = "directions in a re-initialised network with a fitted head"
    yield from _rows(question, name, str(rank), "twin", scores=scores, far=float("nan"))
    right = float(np.isclose(end.machine.natural.chosen.numpy(), end.values[:, -1]).mean())
    yield table_row(question, "accuracy", right, network=name, units=str(rank), signal="twin")


def _rows(question: str, name: str, units: str, kind: str, *, scores: Scores, far: float) -> list[dict[str, Any]]:
    numbers = {"followed": scores.iia, "shift": scores.shift, "off_support": far}
    return [
        table_row(question, metric, value, network=name, units=units, signal=kind)
        for metric, value in numbers.items()
    ]


def _ends(question: str, scores: Scores) -> list[dict[str, Any]]:
    numbers = {"nothing": (scores.unpatched, 0.0), "the whole state": (scores.whole, scores.whole_shift)}
    found = []
    for name, (followed, shift) in numbers.items():
        for metric, value in (("followed", followed), ("shift", shift)):
            found.append(table_row(question, metric, value, network=name, signal="end"))
    return found


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


def _figure(question: str, table: pd.DataFrame, levels: bool) -> DataFigure:
    every = summary(table)
    parts = every.index[every["signal"] == "part"]
    found = every.drop(parts.difference(parts[spread(len(parts), MOST_PARTS)]))
    column = "followed" if levels else "shift"
    names = [
        f"{_SHORT.get(name, name)} ({units})" if kind in ("searched", "relabelled", "twin", "random") else name
        for name, units, kind in zip(found["network"], found["units"], found["signal"], strict=True)
    ]
    with drawing():
        figure, axes = new_figure(height=0.34 * len(found) + 1.0)
        ax, places = axes[0, 0], np.arange(len(found))[::-1]
        controls = found["signal"].isin(["random", "relabelled", "twin"]).to_numpy()
        ends = (found["signal"] == "end").to_numpy()
        for mask, color, marker in ((~controls & ~ends, BLUE, "o"), (controls, GREY, "X"), (ends, "black", "D")):
            ax.plot(found[column][mask], places[mask], marker, color=color, markersize=6)
        ax.set_yticks(places, labels(names, 40))
        ax.tick_params(axis="y", labelsize="small")
        ax.set_xlim(min(-0.03, float(found[column].min()) - 0.03), max(1.03, float(found[column].max()) + 0.03))
        ax.set_xlabel("share of answers that follow" if levels else "share of the way that the answer goes")
        ax.grid(axis="x", linewidth=0.4, alpha=0.5)
        best = every[every["signal"].isin(["part", "units", "searched"])].sort_values(
            column, ascending=False, kind="stable"
        )
        value = float(best[column].iloc[0]) if len(best) else float("nan")
        alt = (
            f"{len(found)} things put into the run: with nothing {said(float(found[column].iloc[0]))} of the "
            f"answers follow, with the whole state {said(float(found[column].iloc[1]))}, with the best part "
            f"{said(value)}."
        )
        caption = "Diamonds: nothing and the whole state, the two ends of the scale. Crosses: controls."
        if len(found) < len(every):
            caption += f" {MOST_PARTS} of {len(parts)} parts of the state are drawn; the table behind has all."
        return drawn(
            figure, name=f"{question}-parts", title="What the answer follows", alt=alt, caption=caption, data=every
        )


__all__ = ["Plan", "ask", "plan", "summary"]
