"""Do a few directions of the state carry the concept? An alignment search (DAS), held out, beside its controls.

Of each rank (`units`) at each step, in the state's own coordinates (`signal` raw) and, for the headline's rank and
step, in units of each number's spread (`standardised`), the mean over both ways to hold half of the prefixes out,
with fewer than 128 prefixes in-sample: `alignment_score`, `alignment_accuracy` and `alignment_shift` as
`probe.methods.causal.interchange` defines them, and `alignment_off_support`, how far patched states lie from those of
clean runs in spacings of the concept.

One value a network: `few_directions_score`, the headline, which for a fitted head is that of its own direction in
closed form (`gradient_score`); `random_directions_score`, the mean over random subspaces of that rank. Where wrong
variables are searched for, `wrong_variable_accuracy` of each (`signal`); `with_excess` adds how far it exceeds that
of a network which holds the concept and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.causal.alignment import Alignment, Loss, Search, answer_loss, search
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
from ...methods.causal.support import OffSupport
from ...methods.causal.task import Combine, Task, added
from ...methods.machines import Machine
from ...methods.probing.splits import LEAST_STATES
from ...plots.style import GREY, ROLE_STYLE, axes_or_new, new_figure, role_style
from ...recurrent.signals import within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION = "alignment"
RAW, STANDARDISED = "raw", "standardised"
#: Random subspaces, and on how many pairs each is scored.
RANDOM, RANDOM_PAIRS = 20, 8192
#: (metric, value, which coordinates or variable, rank, step).
_Row = tuple[str, float, str, str, int]


@dataclass(frozen=True)
class Wrong:
    """Variables of the prefix that a search must not find; a random relabelling of the concept is always among them.

    Attributes:
        variables: parts of the concept by name, (batch,) each.
        rank: of the searches.
    """

    variables: Mapping[str, Tensor]
    rank: int = 4


@dataclass(frozen=True)
class _Plan:
    """What is searched for, the same for every network."""

    task: Task
    step: int
    steps: tuple[int, ...]
    rank: int
    ranks: tuple[int, ...]
    find: Callable[..., list[Alignment]]
    seed: int


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    loss: Loss = answer_loss,
    combine: Combine = added,
    layer: str | None = None,
    step: int | None = None,
    steps: Iterable[int] | None = None,
    rank: int = 2,
    ranks: Iterable[int] = range(1, 7),
    wrong: Wrong | None = None,
    iterations: int = 400,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how far a few directions carry a concept; the metrics stand at the head of this module.

    Args:
        networks: the networks.
        x: inputs of equal length.
        concept: what the state is thought to hold, (batch, time).
        answer: from the model's output to answers, (batch,).
        expected: from the model's output to expected answers, (batch,).
        loss: what a search minimises; it knows scores of classes and one number a row.
        combine: what the answer should be after a patch, see `probe.methods.causal.task`.
        layer: the layer's name, or None for the only one.
        step: the headline step; None takes the first with at least 128 distinct prefixes, or the last but one.
        steps: further steps; None takes all but the last.
        rank: of the headline.
        ranks: searched at every step.
        wrong: what a search must not find, or None to leave it out.
        iterations: of each search.
        seed: of halves, pairs, starts and random directions.

    Raises:
        ProbeError: a step, layer or rank does not exist, the concept is not aligned, or the model is no machine.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations.
    """
    build = partial(Machine.of, x=x, answer=answer, expected=expected, layer=layer)
    find = partial(search, loss=loss, iterations=iterations, seed=seed)
    plan = _plan(
        x, Task(concept, combine), step=step, steps=steps, rank=rank, ranks=tuple(ranks), find=find, seed=seed
    )
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = build(network.model)
        found = [*_measured(machine, plan, closed_form=network.subject == "readout")]
        found += [] if wrong is None else _wrong(machine, wrong, plan)
        for metric, value, signal, units, at in found:
            place = {"layer": layer or "", "signal": signal, "units": units, "step": at}
            rows.append(measurement(QUESTION, metric, network, value, **place))
    return tabulate(rows)


def _plan(x: Tensor, task: Task, *, step: int | None, steps: Iterable[int] | None, **options: Any) -> _Plan:
    (step,) = within("step", (headline_step(x) if step is None else step,), x.shape[1], "the input's time axis")
    every = range(x.shape[1] - 1) if steps is None else steps
    chosen = within("steps", tuple(sorted({*every, step})), x.shape[1], "the input's time axis")
    return _Plan(task, step=step, steps=tuple(chosen), **options)


def headline_step(x: Float[Tensor, "batch time input"]) -> int:
    """Return the first step with at least 128 distinct prefixes, or the last but one where there is none.

    Args:
        x: inputs.
    """
    from ...methods.probing.prefixes import distinct_prefixes

    sizes = [len(rows) for rows in distinct_prefixes(x)[:-1]]
    return next((step for step, size in enumerate(sizes) if size >= LEAST_STATES), max(len(sizes) - 1, 0))


def _measured(machine: Machine, plan: _Plan, *, closed_form: bool) -> Iterator[_Row]:
    task = plan.task
    task.check_fits(machine.clean.inputs)
    headline = float("nan")
    for step in plan.steps:
        ways = halves(machine, step, seed=plan.seed)
        held_out = [pairs_among(machine, step, way.test, seed=plan.seed) for way in ways]
        experiments = [Interchange(pairs, task) for pairs in held_out]
        supports = [OffSupport(pairs, task) for pairs in held_out]
        wanted = [(rank, RAW) for rank in plan.ranks]
        if step == plan.step:
            wanted += [(plan.rank, kind) for kind in (RAW, STANDARDISED) if (plan.rank, kind) not in wanted]
        searches = [Search(rank, task, way.train, kind == STANDARDISED) for rank, kind in wanted for way in ways]
        every = iter(plan.find(machine, step, searches))
        for rank, kind in wanted:
            found = [next(every) for _ in ways]
            scores = [experiment.scores(one.put) for experiment, one in zip(experiments, found, strict=True)]
            score = _mean(one.score for one in scores)
            yield "alignment_score", score, kind, str(rank), step
            yield "alignment_accuracy", _mean(one.iia for one in scores), kind, str(rank), step
            yield "alignment_shift", _mean(one.shift for one in scores), kind, str(rank), step
            distances = [support.distance(one.put) for support, one in zip(supports, found, strict=True)]
            yield "alignment_off_support", _mean(distances), kind, str(rank), step
            if (step, rank, kind) == (plan.step, plan.rank, RAW):
                headline = score
        if step == plan.step:
            yield "random_directions_score", _random(machine, task, ways, plan), "", str(plan.rank), step
            if closed_form:
                put = along(mean_gradient(machine, step))
                headline = _mean(experiment.scores(put).score for experiment in experiments)
                yield "gradient_score", headline, "", "1", step
    yield "few_directions_score", headline, "", "", plan.step


def _random(machine: Machine, task: Task, ways: Sequence[Half], plan: _Plan) -> float:
    pairs: Pairs = pairs_among(machine, plan.step, ways[0].test, most=RANDOM_PAIRS, seed=plan.seed)
    bases = random_bases(machine.dynamics.size, plan.rank, RANDOM, seed=plan.seed)
    experiment = Interchange(pairs, task)
    return _mean(experiment.scores(along(basis)).score for basis in bases)


def _wrong(machine: Machine, wrong: Wrong, plan: _Plan) -> Iterator[_Row]:
    """Yield the interchange accuracy that searches for wrong variables reach on held-out prefixes."""
    task, step, rows = plan.task, plan.step, len(machine.clean.inputs)
    tasks: dict[str, Task] = {"relabelled": relabelled(machine, task, step, seed=plan.seed)}
    for name, values in wrong.variables.items():
        if tuple(values.shape) != (rows,):
            raise ProbeError(f"The wrong variable {name!r} has shape {tuple(values.shape)}; it must be ({rows},).")
        tasks[name] = WrongVariable(task.concept, task.combine, values=values)
    ways = halves(machine, step, seed=plan.seed)
    searches = [Search(wrong.rank, one, way.train) for one in tasks.values() for way in ways]
    found = iter(plan.find(machine, step, searches))
    pairs = [pairs_among(machine, step, way.test, seed=plan.seed) for way in ways]
    for name, one in tasks.items():
        value = _mean(interchange(held_out, one, next(found).put).iia for held_out in pairs)
        yield "wrong_variable_accuracy", value, name, str(wrong.rank), step


def with_excess(table: pd.DataFrame, ceiling: str) -> pd.DataFrame:
    """Return a table with `wrong_variable_excess` of each network: the largest difference to the ceiling's accuracy.

    A state that holds the concept and nothing else can score well on a variable that goes with it; only what is above
    that was found beside the concept.

    Args:
        table: what `measure` returned, with wrong variables.
        ceiling: the name of a network in it that holds the concept and nothing else that its answers read.

    Raises:
        ProbeError: no wrong variable was searched for in the ceiling.
    """
    import pandas as pd

    rows = table[table["metric"] == "wrong_variable_accuracy"]
    most = rows[rows["network"] == ceiling].set_index("signal")["value"]
    if most.empty:
        raise ProbeError(f"The table has no wrong_variable_accuracy of {ceiling!r}; measure it with `wrong=`.")
    excess = rows.assign(value=rows["value"] - rows["signal"].map(most), metric="wrong_variable_excess", signal="")
    largest = excess.loc[excess.groupby("network", sort=False)["value"].idxmax()]
    return pd.concat([table, largest], ignore_index=True)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the score by rank at the headline step, a line the median of a subject, a dot a network.

    Args:
        frame: what `measure` returned.
        threshold: a bound to draw, or None.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    step = frame[frame["metric"] == "few_directions_score"]["step"].iloc[0]
    own = frame[(frame["metric"] == "alignment_score") & (frame["signal"] == RAW) & (frame["step"] == step)]
    own = own.assign(rank=own["units"].astype(int))
    subjects = [subject for subject in ROLE_STYLE if (own["subject"] == subject).any()]
    for place, subject in enumerate(subjects):
        look, rows = role_style(subject), own[own["subject"] == subject]
        shift = (place - (len(subjects) - 1) / 2) * 0.12
        ax.plot(rows["rank"] + shift, rows["value"], look.marker, color=look.color, markersize=3.5, alpha=0.5)
        line = rows.groupby("rank")["value"].median()
        ax.plot(line.index.to_numpy() + shift, line, **look.line(), label=role_name(subject))
    for place, (metric, label) in enumerate(
        {"random_directions_score": "random directions", "gradient_score": "fitted head, closed form"}.items()
    ):
        rows = frame[frame["metric"] == metric]
        if len(rows):
            ranks = rows["units"].astype(int)
            color = GREY if place == 0 else role_style("readout").color
            ax.plot(ranks, rows["value"], "Xv"[place], color=color, markersize=6, linestyle="none", label=label)
    if threshold is not None:
        ax.axhline(threshold, color="black", linewidth=1)
    ax.set_xticks(sorted(own["rank"].unique()))
    ax.set_xlabel("directions patched")
    ax.set_ylabel("share of the way to the whole state")
    ax.legend(loc="lower right", fontsize="small")
    return ax


def draw_steps(frame: pd.DataFrame) -> Figure:
    """Draw the score by step, a panel a rank, a line the median of a subject; steps scored in-sample are grey.

    Args:
        frame: what `measure` returned, with several steps.
    """
    own = frame[(frame["metric"] == "alignment_score") & (frame["signal"] == RAW)]
    held_out = int(frame[frame["metric"] == "few_directions_score"]["step"].iloc[0])
    ranks = sorted(own["units"].astype(int).unique())
    columns = min(3, len(ranks))
    figure, axes = new_figure(columns, -(-len(ranks) // columns), height=2.2, sharex=True, sharey=True)
    for rank, ax in zip(ranks, axes.flat, strict=False):
        ax.axvspan(-0.5, held_out - 0.5, color=GREY, alpha=0.18, linewidth=0)
        panel = own[own["units"] == str(rank)]
        for subject in (subject for subject in ROLE_STYLE if (panel["subject"] == subject).any()):
            rows = panel[panel["subject"] == subject]
            line = rows.groupby("step")["value"].median()
            ax.plot(
                line.index.to_numpy(int),
                line,
                **role_style(subject).line() | {"markersize": 4},
                label=role_name(subject),
            )
        ax.set_title(f"rank {rank}")
        ax.set_xlim(-0.5, own["step"].max() + 0.5)
    for ax in axes.flat[len(ranks) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("step")
    axes[0, 0].set_ylabel("score")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure
