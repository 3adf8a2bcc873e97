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
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError
from ...evidence.claims import Control
from ...evidence.measurements import FITTED_HEADS, only
from ...methods.causal.alignment import ITERATIONS, Alignment, Search
from ...methods.causal.alignment_controls import (
    Half,
    WrongVariable,
    halves,
    mean_gradient,
    pairs_among,
    random_bases,
    relabelled,
)
from ...methods.causal.interchange import Interchange, interchange
from ...methods.causal.pairs import Pairs, along
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...plots.style import GREY
from ...recurrent.signals import within
from ...subjects.answers import task_of
from ...subjects.ends import machine_of, step_of
from ...subjects.plans import affordable_pairs, search_of
from ...subjects.subject import Subject
from .. import needs
from ..question import Question
from ..rules import ANSWERING, FITTED, ONE_STEP, rule
from .patching import Value, draw_lines, find, table_of

QUESTION = "alignment"
RAW, STANDARDISED = "raw", "standardised"
#: Directions of the headline and of searches for what is wrong; held-out pairs; random subspaces, and their pairs.
RANK, WRONG_RANK, HELD_OUT_PAIRS, RANDOM, RANDOM_PAIRS = 2, 4, 2**15, 20, 8192
_NAMES = {"score": "score", "iia": "accuracy", "shift": "shift", "off_support": "off_support"}


def question(subject: Subject) -> Question:
    """Return the question."""
    name = f"“{subject.concept.name}”"
    return Question(
        "alignment",
        f"Does a search find two directions that carry {name}?",
        measure,
        (needs.numbers, needs.exact, needs.search, needs.used_state),
        ANSWERING,
        draw=draw,
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
    ranks: Iterable[int] = range(1, 7),
    wrong: Mapping[str, Tensor] | None = None,
    iterations: int = ITERATIONS,
) -> pd.DataFrame:
    """Measure how far a few directions carry a concept; the metrics stand at the head of this module.

    Args:
        step: the headline step; None for that of `step_of`.
        steps: further steps; None takes all but the last.
        ranks: searched at every step.
        wrong: parts of the concept that a search must not find, by name, (batch,) each; a random relabelling of it
            is always among them. None leaves this out.
        iterations: of each search; fewer where they take long.

    Raises:
        ProbeError: a step, layer or rank does not exist, the concept is not aligned, or the model is no machine.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations.
    """
    further, wanted = None if steps is None else tuple(steps), tuple(ranks)

    def values(subject: Subject) -> Iterator[Value]:
        machine, headline = machine_of(subject), step_of(subject, step)
        length = machine.clean.inputs.shape[1]
        task_of(subject).check_fits(machine.clean.inputs)
        every = range(length - 1) if further is None else further
        plan = _Plan(subject, machine, task_of(subject), headline, wanted, iterations)
        for one in within("steps", tuple(sorted({*every, headline})), length, "the input's time axis"):
            yield from _at_step(plan, one)
        yield from () if wrong is None else _wrong(wrong, plan)

    return table_of(QUESTION, subjects, values)


@dataclass(frozen=True)
class _Plan:
    """What is searched for in one network."""

    subject: Subject
    machine: Machine
    task: Task
    headline: int
    ranks: tuple[int, ...]
    iterations: int

    def find(self, step: int, searches: Sequence[Search]) -> Iterator[Alignment]:
        """Return what searches find, in as many steps as the budget allows."""
        found = find(self.subject, step, searches, most=self.iterations)
        if len(found) < len(searches):
            raise ProbeError(f"A search of {len(searches)} directions at step {step} would take too long here.")
        return iter(found)

    def held_out(self, step: int, half: Half, most: int = HELD_OUT_PAIRS) -> Pairs:
        """Return pairs of prefixes that a search did not see."""
        allowed = affordable_pairs(self.subject, step, 4 * (len(self.ranks) + 2) + RANDOM, most=most)
        return pairs_among(self.machine, step, half.test, most=allowed)


def _at_step(plan: _Plan, step: int) -> Iterator[Value]:
    ways, is_headline = halves(plan.machine, step), step == plan.headline
    patched = [Interchange(plan.held_out(step, way), plan.task, support=True) for way in ways]
    wanted = dict.fromkeys((rank, RAW) for rank in plan.ranks)
    if is_headline:
        wanted |= dict.fromkeys((RANK, kind) for kind in (RAW, STANDARDISED))
    searches = [
        search_of(plan.subject, step, rank, plan.task, way.train, standardised=kind == STANDARDISED)
        for rank, kind in wanted
        for way in ways
    ]
    found, headline = plan.find(step, searches), float("nan")
    for rank, kind in wanted:
        both = [each.scores(next(found).put).numbers for each in patched]
        for name, label in _NAMES.items():
            value = fmean(numbers[name] for numbers in both)
            yield f"alignment_{label}", value, {"kind": kind, "at": rank, "step": step}
            headline = value if (name, rank, kind) == ("score", RANK, RAW) else headline
    if is_headline:
        at_random = Interchange(plan.held_out(step, ways[0], RANDOM_PAIRS), plan.task)
        bases = random_bases(plan.machine.dynamics.size, RANK, RANDOM)
        score = fmean(at_random.scores(along(basis)).score for basis in bases)
        yield "random_directions_score", score, {"at": RANK, "step": step}
        if plan.subject.network.role in FITTED_HEADS:
            put = along(mean_gradient(plan.machine, step))
            headline = fmean(each.scores(put).score for each in patched)
            yield "gradient_score", headline, {"at": 1, "step": step}
        yield "few_directions_score", headline, {"step": step}


def _wrong(wrong: Mapping[str, Tensor], plan: _Plan) -> Iterator[Value]:
    """Yield the interchange accuracy that searches for wrong variables reach on held-out prefixes."""
    machine, task, step, rows = plan.machine, plan.task, plan.headline, len(plan.machine.clean.inputs)
    tasks: dict[str, Task] = {"relabelled": relabelled(machine, task, step)}
    for name, values in wrong.items():
        if tuple(values.shape) != (rows,):
            raise ProbeError(f"The wrong variable {name!r} has shape {tuple(values.shape)}; it must be ({rows},).")
        tasks[name] = WrongVariable(task.concept, task.combine, values=values)
    ways = halves(machine, step)
    searches = [search_of(plan.subject, step, WRONG_RANK, one, way.train) for one in tasks.values() for way in ways]
    found = plan.find(step, searches)
    pairs = [plan.held_out(step, way) for way in ways]
    for name, one in tasks.items():
        value = fmean(interchange(held_out, one, next(found).put).iia for held_out in pairs)
        yield "wrong_variable_accuracy", value, {"kind": name, "at": WRONG_RANK, "step": step}


def draw(frame: pd.DataFrame) -> Axes:
    """Draw the score by rank at the headline step, and the median of random directions."""
    step = only(frame, metric="few_directions_score")["step"].iloc[0]
    x, y = "directions patched", "share of the way to the whole state"
    ax = draw_lines(frame[frame["step"] == step], "alignment_score", kind=RAW, at="at", x=x, y=y)
    random = float(only(frame, metric="random_directions_score")["value"].median())
    ax.axhline(random, color=GREY, linewidth=1)
    ax.annotate("random directions", (1, random), va="bottom")
    return ax
