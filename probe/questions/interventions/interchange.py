"""What does the answer follow? One sequence's state, or a part of it, is patched into another sequence's run.

Patched are parts of the state, the units that follow the concept most, random directions, and directions that an
alignment search (DAS) found; as controls the same search for relabelled values, and in a network with a fitted head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ...evidence.findings import DataFigure
from ...evidence.measurements import measurement, tabulate
from ...evidence.words import said
from ...methods.causal.alignment import Search, search
from ...methods.causal.alignment_controls import Relabelled, differing, halves, random_bases
from ...methods.causal.class_means import classes_at
from ...methods.causal.experiment import Experiment, Followed
from ...methods.causal.pairs import Pairs, Put, along, columns, whole
from ...methods.causal.task import Task
from ...plots.networks import draw_dots
from ...plots.study_figures import drawing, drawn, labels, spread
from ...plots.style import GREY, INK, SMALL, new_figure, role_style
from ...subjects.answers import loss_of, takes_levels, task_of
from ...subjects.ends import Ends, alike, ends_of
from ...subjects.pairs import LEAST, SplicedPairs, spliced_pairs
from ...subjects.plans import RANKS, SEARCHED, Plan, plan_of
from ...subjects.subject import Subject, as_subjects, per_subject
from .. import needs
from ..answers.wrong import wrong_in
from ..question import Answered, Question, Told
from ..rules import ANSWERING
from ..states.targets import by_following
from ..telling import interchange_words as words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

QUESTION = "interchange"
#: Random subspaces, and the fewest distinct prefixes of which half are held out.
RANDOM, LEAST_HELD_OUT = 5, 64
#: With more parts of the state than this (in a stack, a layer each) only some are drawn.
MOST_PARTS = 12
#: The attributes of `SplicedPairs` that become rows of the table.
COUNTED = ("impossible", "drawn", "unanswerable", "right", "before")
#: A name of what is patched, where that is (columns of the table), and the patch.
_Patch = tuple[str, dict[str, Any], Put]


@dataclass(frozen=True, eq=False)
class Ground:
    """The sequences whose states are patched.

    Attributes:
        end: the ends of all sequences.
        plan: where states are patched.
        task: what the states are thought to hold.
        train: the rows that directions are searched on, (row,).
        held_out: whether the pairs are among other rows.
        own: the pairs that count.
    """

    end: Ends
    plan: Plan
    task: Task
    train: Tensor
    held_out: bool
    own: SplicedPairs

    def pairs(self, end: Ends) -> Pairs:
        """Return the pairs that count, of the network or of a control."""
        return Pairs(end.machine, self.plan.place, self.own.pairs.base, self.own.pairs.source, exhaustive=False)


@per_subject
def ground_of(subject: Subject) -> Ground:
    """Return the sequences whose states are patched; pairs are held out where there are enough prefixes."""
    end, plan, task = ends_of(subject), plan_of(subject), task_of(subject)
    ways = halves(end.machine, plan.place, least=LEAST_HELD_OUT, seed=subject.seed)
    defined = torch.as_tensor(np.isfinite(end.values[:, plan.place]))
    train, test = (rows[defined[rows]] for rows in (ways[0].train, ways[0].test))
    own = spliced_pairs(subject, end, task, plan.place, test, most=plan.spliced)
    return Ground(end, plan, task, train, len(ways) > 1, own)


@per_subject
def _fit(subject: Subject) -> Pairs:
    """Return the pairs on which directions are searched, whatever they differ in: those for relabelled values too."""
    ground = ground_of(subject)
    end, place = ground.end, ground.plan.place
    most = ground.plan.spliced
    return spliced_pairs(subject, end, ground.task, place, ground.train, most=most, every=True).pairs


def why_not(subject: Subject) -> str | None:
    """Pairs of sequences whose spliced sequence the network answers, in other words than the base."""
    end, plan = ends_of(subject), plan_of(subject)
    if alike(end, plan.place):
        return words.all_alike(end, plan)
    wrong = wrong_in(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]) if takes_levels(subject) else ""
    if wrong:
        return f"{wrong} With such answers we cannot say what they follow"
    return words.too_few(ground_of(subject).own, subject.answered.name, plan, levels=takes_levels(subject))


def question(subject: Subject) -> Question:
    """Return the question.

    Args:
        subject: the network; any does.
    """
    title, asked = "Does the answer follow the state?", (needs.machine, why_not)
    return Question(QUESTION, title, measure, asked, ANSWERING, draw=draw, tell=tell, version=3, leads=True)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how the answers follow what is patched, on the pairs whose spliced sequence the network answers right.

    Metrics of each patch (`kind`, with `layer`, `signal` or `units`, and how many units or directions, `at`):
    `followed`, the share of pairs whose answer becomes the right one, where answers are right or wrong; `shift`, how
    far the expected answer moves from the base's answer (0) to the network's own answer to the spliced sequence (1);
    `off_support`, the median distance of patched states from the states that occur, in spacings of the concept.

    One value a network: `pairs`; how they were counted, see `SplicedPairs`; `apart`, the distance between
    neighbouring states that occur. A control is searched and scored on the same pairs; `accuracy` is the share
    of its answers that are right, as it need not answer these pairs.

    Args:
        subjects: the network, then its controls.

    Raises:
        ProbeError: the network cannot be run from its states, or a function of the study fails.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3; Geiger et al. 2024, Finding alignments
        between interpretable causal variables and distributed representations.
    """
    network, *controls = as_subjects(subjects)
    ground = ground_of(network)
    rows = list(_of_network(network, ground))
    for control in controls if ground.plan.iterations else ():
        rows += _of_control(control, network, ground)
    return tabulate(rows)


def _of_network(subject: Subject, ground: Ground) -> Iterator[dict[str, Any]]:
    network, own = subject.network, ground.own
    experiment = Experiment(own.pairs, ground.task, support=_ordered(subject, ground), seed=subject.seed)
    yield from _ends(subject, experiment.follow(whole), own.way)
    for kind, place, put in _patches(subject, ground):
        yield from _followed(subject, kind, place, experiment.follow(put), own.way)
    for metric in COUNTED:
        yield measurement(QUESTION, metric, network, float(getattr(own, metric)))
    yield measurement(QUESTION, "pairs", network, float(len(own.pairs)))
    if np.isfinite(experiment.apart):
        yield measurement(QUESTION, "apart", network, experiment.apart)


def _ordered(subject: Subject, ground: Ground) -> bool:
    """Return whether the concept is a number that follows from what was read, so that states can lie near or far."""
    place = ground.plan.place
    if subject.answered.is_categorical or not np.isfinite(ground.end.values[:, place]).all():
        return False
    with suppress(ProbeError):
        return len(classes_at(ground.end.machine, ground.task, place).values) > 0
    return False


def _ends(subject: Subject, found: Followed, way: float) -> Iterator[dict[str, Any]]:
    """Yield the ends of the scale: nothing, the whole state, and the network's answers to the spliced sequences."""
    scores = found.scores
    ends = {"nothing": (scores.unpatched, 0.0), "whole": (scores.whole, scores.whole_shift / way), "read": (1.0, 1.0)}
    for kind, (followed, shift) in ends.items():
        if takes_levels(subject):
            yield measurement(QUESTION, "followed", subject.network, followed, kind=kind, n=scores.pairs)
        yield measurement(QUESTION, "shift", subject.network, shift, kind=kind, n=scores.pairs)


def _followed(
    subject: Subject, kind: str, place: dict[str, Any], found: Followed, way: float
) -> Iterator[dict[str, Any]]:
    numbers = {"followed": found.scores.iia} if takes_levels(subject) else {}
    numbers |= {"shift": found.scores.shift / way, "off_support": found.off_support}
    for metric, value in numbers.items():
        if np.isfinite(value):
            yield measurement(QUESTION, metric, subject.network, value, kind=kind, n=found.scores.pairs, **place)


def _patches(subject: Subject, ground: Ground) -> Iterator[_Patch]:
    """Yield each patch of the network."""
    end, dynamics = ground.end, ground.end.machine.dynamics
    for number, layer in enumerate(end.stack if len(end.stack) > 1 else ()):
        yield "part", {"layer": layer.name}, columns(end.layer_columns(number))
    if len(dynamics.signals) > 1:
        for signal in dynamics.signals:
            yield "part", {"signal": signal}, columns(dynamics.columns(signal))
    order = by_following(subject, end)
    if order is not None:
        for count in sorted({1, min(4, dynamics.units)}):
            put = columns([column for unit in order[:count] for column in dynamics.unit(unit)])
            yield "units", {"units": " ".join(map(end.name, order[:count])), "at": count}, put
    rank = min(RANKS[-1], dynamics.size)
    for basis in random_bases(dynamics.size, rank, RANDOM, seed=subject.seed):
        yield "random", {"at": rank}, along(basis)
    if ground.plan.iterations:
        yield from _searched(subject, ground)


def _searched(subject: Subject, ground: Ground) -> Iterator[_Patch]:
    """Yield directions that were searched for, and those searched for the values of other rows."""
    machine, rows, pairs, task = ground.end.machine, ground.train, _fit(subject), ground.task
    # Values of other rows of the same half, so that the search sees no held-out row.
    order = torch.arange(len(machine.clean.inputs))
    order[rows] = rows[torch.as_tensor(np.random.default_rng([subject.seed, 8]).permutation(len(rows)))]
    mixed = Relabelled(task.concept, task.combine, inner=task, order=order)
    # The source whose relabelled value is the true source's, so that the right answers are those of the same splices.
    own, other = differing(pairs, task), differing(pairs, mixed, torch.argsort(order)[pairs.source])
    if min(len(own[0]), len(other[0])) < LEAST:
        return
    wanted = [Search(rank, task, rows, pairs=own) for rank in RANKS if rank <= machine.dynamics.size]
    wanted.append(Search(wanted[-1].rank, mixed, rows, pairs=other))
    for one, put in zip(wanted, _search(subject, ground, wanted), strict=True):
        yield "searched" if one.task is task else "relabelled", {"at": one.rank}, put


def _search(subject: Subject, ground: Ground, wanted: Sequence[Search]) -> list[Put]:
    machine, place, loss = ends_of(subject).machine, ground.plan.place, loss_of(subject)
    many, seed = ground.plan.iterations, subject.seed
    found = search(machine, place, wanted, loss=loss, iterations=many, pairs=SEARCHED, seed=seed)
    return [one.put for one in found]


def _of_control(control: Subject, network: Subject, ground: Ground) -> Iterator[dict[str, Any]]:
    """Yield the scores of the same search in a control, and of its whole state, as its answers may be wrong."""
    pairs = differing(_fit(network), ground.task)
    if len(pairs[0]) < LEAST:
        return
    end = ends_of(control)
    rank = min(RANKS[-1], end.machine.dynamics.size)
    (put,) = _search(control, ground, [Search(rank, ground.task, ground.train, pairs=pairs)])
    found = Experiment(ground.pairs(end), ground.task, support=False).follow(put)
    yield from _followed(control, "searched", {"at": rank}, found, ground.own.way)
    yield from (row for row in _ends(control, found, ground.own.way) if row["kind"] == "whole")
    right = np.isclose(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]).mean()
    yield measurement(QUESTION, "accuracy", control.network, float(right))


def draw(frame: pd.DataFrame) -> Figure:
    """Draw how far the answers follow each patch: of one network with its controls; of several a dot each.

    Args:
        frame: what `measure` returned.
    """
    if frame[frame["role"] == "trained"]["network"].nunique() > 1:
        return _draw_many(frame)
    every, column = words.summary(frame), words.scored(frame)
    parts = every.index[every["kind"] == "part"]
    shown = every.drop(parts.difference(parts[spread(len(parts), MOST_PARTS)]))
    figure, axes = new_figure(height=0.34 * len(shown) + 1.0)
    ax, places = axes[0, 0], np.arange(len(shown))[::-1]
    looks = {"control": (GREY, "X"), "end": (INK, "D"), "patch": (role_style("trained").color, "o")}
    sort = shown["kind"].map(words.SORTS)
    for name, (color, marker) in looks.items():
        own = (sort == name).to_numpy()
        ax.plot(shown[column][own], places[own], marker, color=color, markersize=6, clip_on=False, zorder=3)
    ax.set_yticks(places, labels(list(shown["patched"]), 40))
    ax.tick_params(axis="y", labelsize=SMALL)
    ax.set_xlim(min(-0.03, float(shown[column].min()) - 0.03), max(1.03, float(shown[column].max()) + 0.03))
    ax.set_xlabel("answers that follow" if column == "followed" else "share of the way that the answer goes")
    ax.grid(axis="x", linewidth=0.4, alpha=0.5)
    return figure


def _draw_many(frame: pd.DataFrame) -> Figure:
    """Draw the score of each patch, every network a dot; the units that are patched differ between networks."""
    rows = frame[frame["metric"] == words.scored(frame)]
    rows = rows.assign(at=rows["at"].fillna(0).astype(int))
    rows["metric"] = [words.name(*row) for row in rows[list(words.KEYS[:4])].itertuples(index=False)]
    rows = rows.groupby(["role", "network", "metric"], sort=False)["value"].mean().reset_index()
    names = list(dict.fromkeys(rows["metric"]))
    figure, axes = new_figure(height=4.2)
    ax = draw_dots(rows, dict(zip(names, labels(names, 34), strict=True)), ax=axes[0, 0])
    ax.tick_params(axis="x", labelrotation=90, labelsize=SMALL)
    ax.set_ylabel("answers that follow" if words.scored(frame) == "followed" else "share of the way")
    return figure


def tell(answered: Answered) -> Told:
    """Return the sentences and the picture of a page of one network."""
    subject, table = answered.subject, answered.table
    ground = ground_of(subject)
    notes = words.notes(table, subject, ground.end, ground.plan, held_out=ground.held_out)
    return Told(notes, lambda: (figure_of(table, answered.name),))


def figure_of(table: pd.DataFrame, name: str) -> DataFigure:
    """Return the picture of one network with its controls, in words too."""
    every, column = words.summary(table), words.scored(table)
    best = every[every["kind"].map(words.SORTS) == "patch"][column].max()
    nothing, whole_state = (float(every[every["kind"] == kind][column].iloc[0]) for kind in ("nothing", "whole"))
    what = "of the answers follow" if column == "followed" else "of the way is gone"
    caption = (
        "Diamonds: nothing patched, the whole state, and the network's answers to the spliced sequences themselves. "
        "Crosses: controls."
    )
    parts = int((every["kind"] == "part").sum())
    if parts > MOST_PARTS:
        caption += f" {MOST_PARTS} of {parts} parts of the state are drawn; the table has all."
    alt = (
        f"{len(every)} patches: with nothing patched {said(nothing)} {what}, with the whole state "
        f"{said(whole_state)}, with the best part {said(best)}."
    )
    with drawing():
        title = "What the answer follows"
        return drawn(draw(table), name=f"{name}-parts", title=title, alt=alt, caption=caption, data=every)
