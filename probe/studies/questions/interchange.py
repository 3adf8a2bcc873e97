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
from ..sampling import splices, tail
from ..sampling.activations import Sightings
from ..sampling.fitted_head import refitted
from ..sampling.tasks import Relabelled, only_last, task_of
from ..tables import row as table_row
from ..tables import said
from . import interchange_words
from .ablation import following
from .answering import wrong_in

TITLE = "Does the answer follow the state?"
#: About how many operations the pairs and the searches may take.
BUDGET_OF_PAIRS, BUDGET_OF_SEARCH = 1.5e11, 6e11
MOST_PAIRS, FEWEST_PAIRS = 4_096, 256
#: Directions that are searched for; of how many pairs a step of the search is; how many steps at most and at least.
RANKS, SEARCHED, ITERATIONS, FEWEST_ITERATIONS = (1, 2), 48, 300, 60
RANDOM, LEAST_HELD_OUT, FEWEST_DEFINED = 5, 64, 64
#: Of more parts of the state (a layer each, in a stack) some are drawn.
MOST_PARTS = 12
#: What is known of the spliced sequences that the pairs make, by the names of `splices.Exchanged`.
COUNTED = ("impossible", "drawn", "unanswerable", "right", "before")
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
        asked: about how many of them the network itself is asked, on whole spliced sequences.
        iterations: of the search; 0 where it would cost too much, or the readout has no gradient.
    """

    place: int
    left: int
    pairs: int
    asked: int
    iterations: int


@dataclass(frozen=True, eq=False)
class Fit:
    """What directions are searched on.

    Attributes:
        rows: of the machine, (row,).
        pairs: among these, whatever they differ in, that the network itself answers right.
    """

    rows: torch.Tensor
    pairs: Pairs

    def differing(self, task: Task, source: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return bases and sources that differ in a concept.

        Args:
            task: the concept.
            source: other sources, a row of the machine for each pair.
        """
        base, source = self.pairs.base, self.pairs.source if source is None else source
        differ = task.so_far(base, self.pairs.step) != task.so_far(source, self.pairs.step)
        return base[differ], source[differ]


def ask(sightings: Sightings, question: str) -> Finding:
    """Return how answers follow parts of the state, single units, and directions that were searched for."""
    prepared = sightings.prepared
    reason = tail.why_not(prepared)
    if reason is not None:
        return _nothing(question, f"Nothing was exchanged. {reason}")
    end = tail.build(prepared)
    levels = prepared.head is not None and len(prepared.head.values) > 0
    wrong = wrong_in(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]) if levels else ""
    chosen = plan(prepared, end)
    if tail.alike(end, chosen.place):
        return _nothing(question, interchange_words.all_alike(end, chosen))
    if wrong:
        return _nothing(question, f"{wrong} With such answers nothing can be said on what they follow.")
    task, how = task_of(prepared, end)
    ways = halves(end.machine, chosen.place, least=LEAST_HELD_OUT, seed=prepared.seed)
    defined = torch.as_tensor(np.isfinite(end.values[:, chosen.place]))
    train, test = (rows[defined[rows]] for rows in (ways[0].train, ways[0].test))
    own = splices.exchanged(prepared, end, task, chosen.place, test, most=chosen.asked)
    told = splices.depends(prepared, end, task, chosen.left)
    reason = interchange_words.too_few(own, prepared.answered.name, chosen, levels=levels)
    if reason is not None:
        return _nothing(question, reason)
    # Whatever they differ in: relabelled values are searched for as well.
    most = chosen.asked if chosen.iterations else 0
    fit = Fit(train, splices.exchanged(prepared, end, task, chosen.place, train, most=most, every=True).pairs)
    experiment = Interchange(own.pairs, task)
    first = experiment.scores(columns(end.machine.dynamics.columns(Signal.HIDDEN_STATE)))
    ordered = not prepared.answered.is_categorical and bool(defined.all())
    support = _support(own.pairs, task, prepared.seed) if ordered else None
    rows: list[dict[str, Any]] = []
    for name, units, put, kind in _puts(sightings, end, task, chosen, fit):
        scores = experiment.scores(put)
        far = float("nan") if support is None else support.distance(put)
        rows += _rows(question, name, units, kind, scores=scores, way=own.way, far=far)
    rows = [*_ends(question, first, own.way), *rows, *_of_twin(question, prepared, chosen, fit, own)]
    rows += [table_row(question, name, getattr(own, name)) for name in COUNTED]
    rows.append(table_row(question, "pairs", len(own.pairs)))
    rows += [table_row(question, "depends", share, units=str(left)) for left, share in told]
    if support is not None:
        usual = apart(end.machine, task, chosen.place)
        rows.append(table_row(question, "apart", usual, network="states that occur", signal="support"))
    table = tabulate(rows)
    held_out = len(ways) > 1
    notes = interchange_words.notes(table, prepared, end, chosen, how, levels=levels, held_out=held_out)
    return Finding(question, TITLE, table, (), (_figure(question, table, levels),), notes=notes)


def _nothing(question: str, reason: str) -> Finding:
    return Finding(question, TITLE, tabulate([]), notes={"lead": reason, "answer": reason})


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
    if len(support.clean) < 2:
        return float("nan")
    nearest = KDTree(support.clean).query(support.clean, k=2)[0][:, 1]
    return float(np.median(nearest)) / support.spacing


def plan(prepared: Prepared, end: tail.Tail) -> Plan:
    """Return where states are exchanged: in the middle of what is run, or later where that would cost too much."""
    one, read = tail.cost(end.stack), tail.cost_of_head(prepared)
    wanted = prepared.readout.exchange_step
    left = 0 if only_last(prepared) else (end.steps - 1) // 2 if wanted is None else -1 - wanted
    searches = len(RANKS) + 1
    step_of_search = one * SEARCHED * searches * BACK
    if left and wanted is None:
        left = int(np.clip(BUDGET_OF_SEARCH / (step_of_search * FEWEST_ITERATIONS), 1, left))
        left = int(np.clip(BUDGET_OF_PAIRS / (one * FEWEST_PAIRS * 14), 1, left))
    # Where the concept is not defined so early in enough sequences, later.
    enough = min(FEWEST_DEFINED, len(end.rows)) * (wanted is None)
    left = next(
        k for k in range(left, -1, -1) if not k or np.isfinite(end.values[:, end.steps - 1 - k]).sum() >= enough
    )
    whole = one * max(left, 1) + read
    iterations = int(min(ITERATIONS, BUDGET_OF_SEARCH / (whole * SEARCHED * searches * BACK)))
    pairs = int(np.clip(BUDGET_OF_PAIRS / (whole * 14), FEWEST_PAIRS, MOST_PAIRS))
    asked = int(np.clip(splices.BUDGET / (one * prepared.x.shape[1] + read), splices.FEWEST, pairs))
    searched = iterations >= FEWEST_ITERATIONS and prepared.head is not None and prepared.head.differentiable
    return Plan(end.steps - 1 - left, left, pairs, asked, iterations if searched else 0)


def _puts(
    sightings: Sightings, end: tail.Tail, task: Task, chosen: Plan, fit: Fit
) -> Iterator[tuple[str, str, Put, str]]:
    """Yield what is put in: its name, which units or how many directions, how, and whether it is a control."""
    machine, prepared = end.machine, sightings.prepared
    for number, layer in enumerate(end.stack if len(end.stack) > 1 else ()):
        yield f"all of {layer.name}", "", columns(end.layer_columns(number)), "part"
    if Signal.CELL_STATE in machine.dynamics.signals:
        yield "all cell states", "", columns(machine.dynamics.columns(Signal.CELL_STATE)), "part"
        yield "all hidden states", "", columns(machine.dynamics.columns(Signal.HIDDEN_STATE)), "part"
    how = following(sightings, end)
    if how is not None:
        order = [int(unit) for unit in np.argsort(-how, kind="stable")]
        for count in sorted({1, min(4, machine.dynamics.units)}):
            units = order[:count]
            named = " ".join(map(end.name, units))
            put = columns([column for unit in units for column in machine.dynamics.unit(unit)])
            yield (
                f"the {count} units that follow it most" if count > 1 else "the unit that follows it most",
                named,
                put,
                "units",
            )
    for number, basis in enumerate(
        random_bases(machine.dynamics.size, min(RANKS[-1], machine.dynamics.size), RANDOM, seed=prepared.seed)
    ):
        yield f"random directions {number + 1}", str(basis.shape[1]), along(basis), "random"
    if chosen.iterations:
        yield from _searched(prepared, end, task, chosen, fit)


def _searched(
    prepared: Prepared, end: tail.Tail, task: Task, chosen: Plan, fit: Fit
) -> Iterator[tuple[str, str, Put, str]]:
    machine, head = end.machine, prepared.head
    # Values of other rows of the same part, so that nothing of the held-out ones is seen.
    order, rows = torch.arange(len(machine.clean.inputs)), fit.rows
    order[rows] = rows[torch.as_tensor(np.random.default_rng([prepared.seed, 8]).permutation(len(rows)))]
    mixed = Relabelled(task.concept, task.combine, inner=task, order=order)
    ranks = [rank for rank in RANKS if rank <= machine.dynamics.size]
    # The row that is given the source's value, so that the answers to be found are those of the same splices.
    own, other = fit.differing(task), fit.differing(mixed, torch.argsort(order)[fit.pairs.source])
    if head is None or min(len(own[0]), len(other[0])) < splices.LEAST:
        return
    wanted = [Search(rank, task, rows, pairs=own) for rank in ranks]
    wanted.append(Search(ranks[-1], mixed, rows, pairs=other))
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
    question: str, prepared: Prepared, chosen: Plan, fit: Fit, own: splices.Exchanged
) -> Iterator[dict[str, Any]]:
    """Yield what the same search finds in a re-initialised network with a fitted head, and how right that is.

    It is searched and scored on the pairs that the network answers right: what its whole state reaches stands beside.
    """
    twin = refitted(prepared) if chosen.iterations else None
    if twin is None or twin.head is None:
        return
    end = tail.build(twin)
    task, _ = task_of(twin, end)
    searched = fit.differing(task)
    if len(searched[0]) < splices.LEAST:
        return
    rank = min(RANKS[-1], end.machine.dynamics.size)
    (found,) = search(
        end.machine,
        chosen.place,
        [Search(rank, task, fit.rows, pairs=searched)],
        loss=twin.head.loss,
        iterations=chosen.iterations,
        pairs=SEARCHED,
        seed=prepared.seed,
    )
    pairs = Pairs(end.machine, chosen.place, own.pairs.base, own.pairs.source, exhaustive=False)
    scores = Interchange(pairs, task).scores(found.put)
    name = "directions in a re-initialised network with a fitted head"
    yield from _rows(question, name, str(rank), "twin", scores=scores, way=own.way, far=float("nan"))
    right = float(np.isclose(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]).mean())
    yield table_row(question, "accuracy", right, network=name, units=str(rank), signal="twin")
    for metric, value in (("whole_followed", scores.whole), ("whole_shift", scores.whole_shift / own.way)):
        yield table_row(question, metric, value, network=name, units=str(rank), signal="twin")


def _rows(
    question: str, name: str, units: str, kind: str, *, scores: Scores, way: float, far: float
) -> list[dict[str, Any]]:
    """Return the scores of what was put in; a shift ends, at 1, where the network's own answers do."""
    numbers = {"followed": scores.iia, "shift": scores.shift / way, "off_support": far}
    return [
        table_row(question, metric, value, network=name, units=units, signal=kind)
        for metric, value in numbers.items()
    ]


def _ends(question: str, scores: Scores, way: float) -> list[dict[str, Any]]:
    numbers = {"nothing": (scores.unpatched, 0.0), "the whole state": (scores.whole, scores.whole_shift / way)}
    numbers["the spliced sequence, read as it is"] = 1.0, 1.0
    found = []
    for name, (followed, shift) in numbers.items():
        for metric, value in (("followed", followed), ("shift", shift)):
            found.append(table_row(question, metric, value, network=name, signal="end"))
    return found


def _figure(question: str, table: pd.DataFrame, levels: bool) -> DataFigure:
    every = interchange_words.summary(table)
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
        caption = (
            "Diamonds: nothing, the whole state, and the spliced sequences read as they are, where the scale ends. "
            "Crosses: controls."
        )
        if len(found) < len(every):
            caption += f" {MOST_PARTS} of {len(parts)} parts of the state are drawn; the table behind has all."
        return drawn(
            figure, name=f"{question}-parts", title="What the answer follows", alt=alt, caption=caption, data=every
        )


__all__ = ["Plan", "ask", "plan"]
