"""Does the answer follow the state? One sequence's state is patched into another sequence's run.

Putting the whole state in is a tautology (the run goes on as if it had read the other prefix), which makes it a
check of the method: it must equal the bare model on the spliced sequence. The parts of the state are a
description without verdict: a cell state beside a hidden state that it did not make lies off the manifold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods.causal.experiment import Experiment
from ...methods.causal.interchange import Goal
from ...methods.causal.pairs import MOST_PAIRS, Pairs, Put, all_pairs, cell_with_its_hidden, columns, whole
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...plots.legends import figure_legend
from ...plots.networks import draw_median_line
from ...plots.style import GREY, IN_INK, RoleStyle, axes_or_new, new_figure
from ...recurrent.signals import Signal, within
from ...subjects.computed.ends import machine_of
from ...subjects.computed.plans import affordable_pairs
from ...subjects.computed.right_answers import combine_of
from ...subjects.subject import Subject, as_subjects
from .patched_runs import PatchedRuns

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION = "state_patching"
_PUTS: dict[str, Callable[[Machine], Put]] = {
    "cell_state_alone": lambda machine: columns(machine.dynamics.columns(Signal.CELL_STATE)),
    "cell_state": lambda _: cell_with_its_hidden,
    "hidden_state": lambda machine: columns(machine.dynamics.columns(Signal.HIDDEN_STATE)),
}
# The panels' titles tell roles apart, and lines and markers the parts of a state.
_PARTS = ("whole_state", "cell_state", "hidden_state", "cell_state_alone")
_LOOKS = {**dict(zip(_PARTS, IN_INK, strict=False)), "none": RoleStyle(GREY, ":", "v")}


def measure(
    subjects: Sequence[Subject],
    *,
    steps: Iterable[int] | None = None,
    most: int = MOST_PAIRS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how answers follow the part of the state that is patched.

    Parts (`kind`) of an LSTM's state: `cell_state` with the hidden state that it makes, o tanh(c), o the base's;
    `cell_state_alone` beside the base's hidden state; `hidden_state`; `whole_state`; `none`. Another cell's state is
    its hidden state, `whole_state`. A pair counts where the source's concept differs from the base's at the step; the
    target follows from the two sequences, never from the network's own output.

    Metrics by step: `interchange_accuracy`, the share of counted pairs whose answer is the target; `shift` = sum (y -
    y_base) (target - target_base) / sum (target - target_base)^2, how far the expected answer y moves of the way
    that it should, which an answer by argmax can hide; `off_support_distance`, the median distance of what was put
    in from the states that occur, in spacings of the concept. One value a network: `whole_state_equals_accuracy`, 1
    where at every step and for each sequence, with a seeded permutation's as its source, the answer after putting the
    whole state in equals the bare model's on the source's prefix followed by the base's suffix, else 0.

    All pairs are run, as bases all sequences, as sources all distinct prefixes, where they are at most `most` and the
    model's answer depends on the layer's last state alone (`probe.methods.machines`). Of such a model more pairs are
    drawn; any other model is run whole on the pairs of the permutation, and has no off-support distance.

    Args:
        subjects: what is measured; their answers stand in the model's output.
        steps: at which steps, or None for all.
        most: the most pairs that are run at a step; fewer where a step of the network costs much.
        seed: of what is drawn.

    Raises:
        ProbeError: answers stand elsewhere than in the output or are not one a row, or there is no such step.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3.
    """
    asked = None if steps is None else tuple(steps)
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        x = subject.x
        chosen = within("steps", asked, x.shape[1], "the input's time axis")
        sources = torch.as_tensor(np.random.default_rng(seed).permutation(len(x)))
        task, run, machine = _task(subject, sources, (*chosen, 0)[0]), PatchedRuns(subject), _machine(subject)
        same = True
        for step in chosen:
            if machine is None:
                found = _by_permutation(run, task, sources, step)
            else:
                allowed = affordable_pairs(subject, step, len(run.parts), most=most)
                found = _by_pairs(all_pairs(machine, step, most=allowed, seed=seed), task, run.parts, seed)
            for metric, value, part in found:
                place: dict[str, Any] = {"layer": subject.layer, "kind": part, "step": step}
                rows.append(measurement(QUESTION, metric, subject.network, value, **place))
            patched = run.patched(step, sources, "whole_state")[0]
            same = same and torch.equal(patched, run.spliced(step, sources))
        check = "whole_state_equals_accuracy"
        rows.append(measurement(QUESTION, check, subject.network, float(same), layer=subject.layer))
    return tabulate(rows)


def _task(subject: Subject, sources: Tensor, step: int) -> Task:
    """Return the task, after refusing targets that are not one a row; a model need be no machine for it."""
    task = Task(subject.concept_values(), combine_of(subject))
    task.target(torch.arange(len(subject.x)), sources, step)
    return task


def _machine(subject: Subject) -> Machine | None:
    """Return the model as a machine, or None where it is none."""
    try:
        return machine_of(subject)
    except ProbeError:
        return None


_Value = tuple[str, float, str]


def _by_pairs(pairs: Pairs, task: Task, parts: Sequence[str], seed: int) -> Iterator[_Value]:
    """Yield (metric, value, part of the state), none where no pair counts."""
    puts = {part: _PUTS[part](pairs.machine) for part in parts if part in _PUTS} or {"whole_state": whole}
    experiment = Experiment(pairs, task, seed=seed)
    found = {part: experiment.follow(put) for part, put in puts.items()}
    scores = next(iter(found.values())).scores
    if not scores.changed:
        return
    numbers = {"none": (scores.unpatched, 0.0), "whole_state": (scores.whole, scores.whole_shift)}
    numbers |= {part: (one.scores.iia, one.scores.shift) for part, one in found.items()}
    for part in parts:
        accuracy, shift = numbers[part]
        yield "interchange_accuracy", accuracy, part
        # Where every target equals the base's own there is no way to go.
        yield "shift", 0.0 if math.isnan(shift) else shift, part
    for part, one in found.items():
        if not math.isnan(one.off_support):
            yield "off_support_distance", one.off_support, part


def _by_permutation(run: PatchedRuns, task: Task, sources: Tensor, step: int) -> Iterator[_Value]:
    """Yield (metric, value, part of the state) of a model that is run whole, none where no pair counts."""
    goal = Goal.of(task, torch.arange(len(sources)), sources, step)
    changed, way = int(goal.counted.sum()), float(goal.way @ goal.way)
    for part in run.parts if changed else ():
        answers, expected = run.patched(step, sources, part)
        yield "interchange_accuracy", goal.hits(answers)[1] / changed, part
        yield "shift", goal.moved(expected - run.expected) / way if way else 0.0, part


def draw(
    frame: pd.DataFrame,
    *,
    role: str = "trained",
    metric: str = "interchange_accuracy",
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric by step, a line for each part of the state: median over networks and its 95 % interval.

    Args:
        frame: what `measure` returned.
        role: which networks.
        metric: `interchange_accuracy` or `shift`.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: no such role or metric was measured.
    """
    own = frame[(frame["role"] == role) & (frame["metric"] == metric)]
    if own.empty:
        raise ProbeError(f"The table has no {metric!r} of role {role!r}.")
    ax = axes_or_new(ax)
    for part, look in _LOOKS.items():
        label = "no patch" if part == "none" else part.replace("_", " ")
        draw_median_line(own[own["kind"] == part], ax=ax, markersize=4.5, markevery=4, label=label, **look.line())
    ax.set_xlabel("steps read when the state is patched")
    ax.set_ylabel(metric.replace("_", " "))
    return ax


def draw_grid(frame: pd.DataFrame, *, metric: str = "interchange_accuracy") -> Figure:
    """Draw a metric by step for every role measured, side by side, with one legend.

    Args:
        frame: what `measure` returned.
        metric: `interchange_accuracy` or `shift`.
    """
    roles = list(dict.fromkeys(frame["role"]))
    figure, axes = new_figure(len(roles), height=3.2, sharey=True)
    for role, ax in zip(roles, axes[0], strict=True):
        draw(frame, role=role, metric=metric, ax=ax)
        ax.set_title(role)
        ax.set(xlabel="", ylabel=ax.get_ylabel() if ax is axes[0, 0] else "")
    figure.supxlabel("steps read when the state is patched", fontsize="medium")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure_legend(figure, handles, names)
    return figure
