"""Do a few directions of the state carry the concept? An alignment search (DAS), held out, beside its controls.

Of each rank (`at`) at each step, in the state's own coordinates (`kind` raw) and, for the headline's rank and
step, in units of each number's spread (`standardised`), the mean over both ways to hold half of the prefixes out,
with fewer than 128 prefixes in-sample: `alignment_score`, `alignment_accuracy` and `alignment_shift` as
`probe.methods.causal.interchange` defines them, and `alignment_off_support`, how far patched states lie from those of
clean runs in spacings of the concept.

One value a network: `few_directions_score`, the headline, which for a head of one line is that of its own direction
in closed form (`gradient_score`); `random_directions_score`, the mean over random subspaces of that rank. Where wrong
variables are searched for, `wrong_variable_accuracy` of each (`kind`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import LINES, only
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
from ...plots.style import GREY
from ...recurrent.signals import within
from ...subjects.answers import task_of
from ...subjects.ends import ends_of, machine_of, step_of
from ...subjects.plans import affordable_pairs, search_of
from ...subjects.subject import Subject
from .patching import Value, draw_lines, find, table_of

RAW, STANDARDISED = "raw", "standardised"
#: Directions of the headline and of searches for what is wrong; held-out pairs; random subspaces, and their pairs.
RANK, WRONG_RANK, HELD_OUT_PAIRS, RANDOM, RANDOM_PAIRS = 2, 4, 2**15, 20, 8192


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
        headline, length = step_of(subject, step), machine_of(subject).clean.inputs.shape[1]
        every = range(length - 1) if further is None else further
        for one in within("steps", tuple(sorted({*every, headline})), length, "the input's time axis"):
            yield from _at_step(subject, one, wanted, iterations, is_headline=one == headline)
        yield from () if wrong is None else _wrong(subject, headline, wrong, wanted, iterations)

    return table_of("alignment", subjects, values).dropna(subset="value", ignore_index=True)


def _find(subject: Subject, step: int, searches: Sequence[Search], most: int) -> Iterator[Alignment]:
    """Return what searches find, in as many steps as the budget allows."""
    found = find(subject, step, searches, most=most)
    if len(found) < len(searches):
        raise ProbeError(f"A search of {len(searches)} directions at step {step} would take too long here.")
    return iter(found)


def _held_out(subject: Subject, step: int, half: Half, ranks: Sequence[int], most: int = HELD_OUT_PAIRS) -> Pairs:
    """Return pairs of prefixes that a search did not see."""
    allowed = affordable_pairs(subject, step, 4 * (len(ranks) + 2) + RANDOM, most=most)
    return pairs_among(machine_of(subject), step, half.test, most=allowed)


def _at_step(
    subject: Subject, step: int, ranks: Sequence[int], iterations: int, *, is_headline: bool
) -> Iterator[Value]:
    machine, task = machine_of(subject), task_of(subject)
    ways = halves(machine, step, groups=subject.groups_of(ends_of(subject).rows))
    patched = [Interchange(_held_out(subject, step, way, ranks), task, support=True) for way in ways]
    wanted = dict.fromkeys((rank, RAW) for rank in ranks)
    if is_headline:
        wanted |= dict.fromkeys((RANK, kind) for kind in (RAW, STANDARDISED))
    searches = [
        search_of(subject, step, rank, task, way.train, standardised=kind == STANDARDISED)
        for rank, kind in wanted
        for way in ways
    ]
    found, headline = _find(subject, step, searches, iterations), float("nan")
    for rank, kind in wanted:
        both = [each.scores(next(found).put).numbers for each in patched]
        for name in both[0]:
            value = fmean(numbers[name] for numbers in both)
            yield (
                f"alignment_{'accuracy' if name == 'iia' else name}",
                value,
                {"kind": kind, "at": rank, "step": step},
            )
            headline = value if (name, rank, kind) == ("score", RANK, RAW) else headline
    if is_headline:
        at_random = Interchange(_held_out(subject, step, ways[0], ranks, RANDOM_PAIRS), task)
        score = fmean(
            at_random.scores(along(basis)).score for basis in random_bases(machine.dynamics.size, RANK, RANDOM)
        )
        yield "random_directions_score", score, {"at": RANK, "step": step}
        if subject.network.role in LINES:
            put = along(mean_gradient(machine, step))
            headline = fmean(each.scores(put).score for each in patched)
            yield "gradient_score", headline, {"at": 1, "step": step}
        yield "few_directions_score", headline, {"step": step}


def _wrong(
    subject: Subject, step: int, wrong: Mapping[str, Tensor], ranks: Sequence[int], iterations: int
) -> Iterator[Value]:
    """Yield the interchange accuracy that searches for wrong variables reach on held-out prefixes."""
    machine, task = machine_of(subject), task_of(subject)
    tasks: dict[str, Task] = {"relabelled": relabelled(machine, task, step)}
    tasks |= {name: WrongVariable(task.concept, task.combine, values=values) for name, values in wrong.items()}
    ways = halves(machine, step, groups=subject.groups_of(ends_of(subject).rows))
    searches = [search_of(subject, step, WRONG_RANK, one, way.train) for one in tasks.values() for way in ways]
    found = _find(subject, step, searches, iterations)
    pairs = [_held_out(subject, step, way, ranks) for way in ways]
    for name, one in tasks.items():
        value = fmean(interchange(held_out, one, next(found).put).iia for held_out in pairs)
        yield "wrong_variable_accuracy", value, {"kind": name, "at": WRONG_RANK, "step": step}


def draw(frame: pd.DataFrame) -> Axes:
    """Draw the score by rank at the headline step, and the median of random directions."""
    step = only(frame, metric="few_directions_score")["step"].iloc[0]
    x, y = "directions patched", "share of the way to the whole state"
    rows = only(frame[frame["step"] == step], metric="alignment_score", kind=RAW)
    ax = draw_lines(rows, at="at", x=x, y=y)
    random = float(only(frame, metric="random_directions_score")["value"].median())
    ax.axhline(random, color=GREY, linewidth=1)
    ax.annotate("random directions", (1, random), va="bottom")
    return ax
