"""Do a few directions of the state carry the concept? An alignment search (DAS), held out, beside its controls.

Of each rank (`at`) at each step, in the state's own coordinates (`kind` raw) and, for the headline's rank and
step, in units of each number's spread (`standardised`), the mean over both ways to hold half of the prefixes out,
with fewer than 128 prefixes in-sample: `alignment_score`, `alignment_accuracy` and `alignment_shift` as
`probe.methods.causal.interchange` defines them, and `alignment_off_support`, how far patched states lie from those of
clean runs in spacings of the concept.

One value a network: `few_directions_score`, the headline, which for a fitted head is that of its own direction in
closed form (`gradient_score`); `random_directions_score`, the mean over random subspaces of that rank. Where wrong
variables are searched for, `wrong_variable_accuracy` of each (`kind`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...errors import ProbeError
from ...evidence.claims import Control
from ...evidence.measurements import FITTED_HEADS, measurement, tabulate
from ...methods.causal.alignment import ITERATIONS, PAIRS, Alignment, Search, search
from ...methods.causal.alignment_controls import (
    Half,
    WrongVariable,
    halves,
    mean_gradient,
    pairs_among,
    random_bases,
    relabelled,
)
from ...methods.causal.experiment import Experiment
from ...methods.causal.interchange import interchange
from ...methods.causal.pairs import Pairs, along
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...plots.legends import legend_above
from ...plots.style import GREY, ROLE_STYLE, axes_or_new, role_style
from ...recurrent.signals import within
from ...subjects.answers import loss_of, task_of
from ...subjects.ends import machine_of, step_of
from ...subjects.plans import affordable_pairs, search_length, search_of
from ...subjects.subject import Subject, as_subjects
from .. import needs, told
from ..question import Question
from ..rules import ANSWERING, FITTED, ONE_STEP, rule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "alignment"
RAW, STANDARDISED = "raw", "standardised"
#: Held-out pairs; random subspaces, and on how many pairs each of these is scored.
HELD_OUT_PAIRS, RANDOM, RANDOM_PAIRS = 2**15, 20, 8192
#: (metric, value, which coordinates or variable, rank, step).
_Row = tuple[str, float, str, int | None, int]
_NAMES = {"score": "score", "iia": "accuracy", "shift": "shift", "off_support": "off_support"}


@dataclass(frozen=True)
class Wrong:
    """Variables of the prefix that a search must not find; a random relabelling of the concept is always among them.

    Attributes:
        variables: parts of the concept by name, (batch,) each.
        rank: of the searches.
    """

    variables: Mapping[str, Tensor]
    rank: int = 4


def question(subject: Subject) -> Question:
    """Return the question.

    Args:
        subject: one of the networks; the statement names its concept.
    """
    name = f"“{subject.concept.name}”"
    return Question(
        "alignment",
        f"Does a search find two directions that carry {name}?",
        measure,
        (needs.numbers, needs.exact, needs.search, needs.used_state),
        ANSWERING,
        draw=draw,
        setup=told.at_pairs,
        settings={"steps": (), "ranks": ()},
        usual=False,
        rules=(
            rule(
                "two-directions",
                f"The search finds two directions of the state that carry {name}.",
                "few_directions_score",
                definition="Alignment search (DAS) of rank 2, fitted on half of the prefixes and scored on pairs "
                f"of the others, both ways, {ONE_STEP}; for a fitted head its one direction in closed form.",
                source="Geiger et al. 2024",
                at_least=0.95,
                controls=(Control(FITTED, 0.05),),
            ),
        ),
        version=2,
    )


def measure(
    subjects: Sequence[Subject],
    *,
    step: int | None = None,
    steps: Iterable[int] | None = None,
    rank: int = 2,
    ranks: Iterable[int] = range(1, 7),
    wrong: Wrong | None = None,
    iterations: int = ITERATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how far a few directions carry a concept; the metrics stand at the head of this module.

    Args:
        subjects: what is measured.
        step: the headline step; None for that of `step_of`.
        steps: further steps; None takes all but the last.
        rank: of the headline.
        ranks: searched at every step.
        wrong: what a search must not find, or None to leave it out.
        iterations: of each search; fewer where they take long.
        seed: of halves, pairs, starts and random directions.

    Raises:
        ProbeError: a step, layer or rank does not exist, the concept is not aligned, or the model is no machine.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        plan = _Plan.of(subject, step, steps, rank=rank, ranks=tuple(ranks), iterations=iterations, seed=seed)
        found = [*_measured(plan), *(() if wrong is None else _wrong(wrong, plan))]
        for metric, value, kind, rank_of, at_step in found:
            place: dict[str, Any] = {"layer": subject.layer, "kind": kind, "at": rank_of, "step": at_step}
            rows.append(measurement(QUESTION, metric, subject.network, value, **place))
    return tabulate(rows)


@dataclass(frozen=True)
class _Plan:
    """What is searched for in one network."""

    subject: Subject
    machine: Machine
    task: Task
    step: int
    steps: tuple[int, ...]
    rank: int
    ranks: tuple[int, ...]
    iterations: int
    seed: int

    @classmethod
    def of(cls, subject: Subject, step: int | None, steps: Iterable[int] | None, **options: Any) -> _Plan:
        machine = machine_of(subject)
        length, headline = machine.clean.inputs.shape[1], step_of(subject, step)
        every = range(length - 1) if steps is None else steps
        chosen = within("steps", tuple(sorted({*every, headline})), length, "the input's time axis")
        task = task_of(subject)
        task.check_fits(machine.clean.inputs)
        return cls(subject, machine, task, step=headline, steps=tuple(chosen), **options)

    def search(self, step: int, rank: int, task: Task, half: Half, *, standardised: bool = False) -> Search:
        """Return a search on the prefixes of one half."""
        subject, seed = self.subject, self.seed
        return search_of(subject, step, rank, task, half.train, standardised=standardised, seed=seed)

    def find(self, step: int, searches: Sequence[Search]) -> list[Alignment]:
        """Return what searches find, in as many steps as the budget allows."""
        many = search_length(self.subject, step, searches=len(searches), pairs=PAIRS, most=self.iterations)
        if searches and not many:
            raise ProbeError(f"A search of {len(searches)} directions at step {step} would take too long here.")
        loss = loss_of(self.subject)
        return search(self.machine, step, searches, loss=loss, iterations=many, seed=self.seed)

    def held_out(self, step: int, half: Half, most: int = HELD_OUT_PAIRS) -> Pairs:
        """Return pairs of prefixes that a search did not see."""
        patches = 4 * (len(self.ranks) + 2) + RANDOM
        allowed = affordable_pairs(self.subject, step, patches, most=most)
        return pairs_among(self.machine, step, half.test, most=allowed, seed=self.seed)


def _measured(plan: _Plan) -> Iterator[_Row]:
    for step in plan.steps:
        ways, is_headline = halves(plan.machine, step, seed=plan.seed), step == plan.step
        experiments = [Experiment(plan.held_out(step, way), plan.task, seed=plan.seed) for way in ways]
        wanted = dict.fromkeys((rank, RAW) for rank in plan.ranks)
        if is_headline:
            wanted |= dict.fromkeys((plan.rank, kind) for kind in (RAW, STANDARDISED))
        searches = [
            plan.search(step, rank, plan.task, way, standardised=kind == STANDARDISED)
            for rank, kind in wanted
            for way in ways
        ]
        every = iter(plan.find(step, searches))
        headline = float("nan")
        for rank, kind in wanted:
            found = [experiment.follow(next(every).put).numbers() for experiment in experiments]
            numbers = {name: _mean(one[name] for one in found) for name in found[0]}
            for name, label in _NAMES.items():
                yield f"alignment_{label}", numbers[name], kind, rank, step
            if (rank, kind) == (plan.rank, RAW):
                headline = numbers["score"]
        if is_headline:
            yield "random_directions_score", _random(plan, ways[0]), "", plan.rank, step
            if plan.subject.network.role in FITTED_HEADS:
                put = along(mean_gradient(plan.machine, step))
                headline = _mean(experiment.follow(put).scores.score for experiment in experiments)
                yield "gradient_score", headline, "", 1, step
            yield "few_directions_score", headline, "", None, plan.step


def _random(plan: _Plan, half: Half) -> float:
    experiment = Experiment(plan.held_out(plan.step, half, RANDOM_PAIRS), plan.task, support=False)
    bases = random_bases(plan.machine.dynamics.size, plan.rank, RANDOM, seed=plan.seed)
    return _mean(experiment.follow(along(basis)).scores.score for basis in bases)


def _wrong(wrong: Wrong, plan: _Plan) -> Iterator[_Row]:
    """Yield the interchange accuracy that searches for wrong variables reach on held-out prefixes."""
    machine, task, step, rows = plan.machine, plan.task, plan.step, len(plan.machine.clean.inputs)
    tasks: dict[str, Task] = {"relabelled": relabelled(machine, task, step, seed=plan.seed)}
    for name, values in wrong.variables.items():
        if tuple(values.shape) != (rows,):
            raise ProbeError(f"The wrong variable {name!r} has shape {tuple(values.shape)}; it must be ({rows},).")
        tasks[name] = WrongVariable(task.concept, task.combine, values=values)
    ways = halves(machine, step, seed=plan.seed)
    found = iter(plan.find(step, [plan.search(step, wrong.rank, one, way) for one in tasks.values() for way in ways]))
    pairs = [plan.held_out(step, way) for way in ways]
    for name, one in tasks.items():
        value = _mean(interchange(held_out, one, next(found).put).iia for held_out in pairs)
        yield "wrong_variable_accuracy", value, name, wrong.rank, step


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the score by rank at the headline step, a line the median of a role, a dot a network.

    Args:
        frame: what `measure` returned.
        threshold: a bound to draw, or None.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    step = frame[frame["metric"] == "few_directions_score"]["step"].iloc[0]
    own = frame[(frame["metric"] == "alignment_score") & (frame["kind"] == RAW) & (frame["step"] == step)]
    own = own.assign(rank=own["at"].astype(int))
    roles = [role for role in ROLE_STYLE if (own["role"] == role).any()]
    for place, role in enumerate(roles):
        look, rows = role_style(role), own[own["role"] == role]
        shift = (place - (len(roles) - 1) / 2) * 0.12
        ax.plot(rows["rank"] + shift, rows["value"], look.marker, color=look.color, markersize=3.5, alpha=0.5)
        line = rows.groupby("rank")["value"].median()
        ax.plot(line.index.to_numpy() + shift, line, **look.line(), label=role)
    for place, (metric, label) in enumerate(
        {"random_directions_score": "random directions", "gradient_score": "fitted head, closed form"}.items()
    ):
        rows = frame[frame["metric"] == metric]
        if len(rows):
            ranks = rows["at"].astype(int)
            color = GREY if place == 0 else role_style("fitted head").color
            ax.plot(ranks, rows["value"], "Xv"[place], color=color, markersize=6, linestyle="none", label=label)
    if threshold is not None:
        ax.axhline(threshold, color="black", linewidth=1)
    ax.set_xticks(sorted(own["rank"].unique()))
    ax.set_xlabel("directions patched")
    ax.set_ylabel("share of the way to the whole state")
    legend_above(ax, most=2)
    return ax
