"""Does the answer follow the state? One sequence's state is patched into another sequence's run.

Putting the whole state in is a tautology (the run goes on as if it had read the other prefix), which makes it a
check of the method: it must equal the bare model on the spliced sequence. The parts of the state are a
description without verdict: a cell state beside a hidden state that it did not make lies off the manifold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.causal.interchange import Interchange
from ...methods.causal.pairs import MOST_PAIRS, Pairs, Put, all_pairs, cell_with_its_hidden, columns, whole
from ...methods.causal.support import OffSupport
from ...methods.causal.task import Combine, Task, added
from ...methods.machines import Machine
from ...methods.outputs import per_row
from ...plots.networks import draw_median_line
from ...plots.style import BROWN, GREY, ORANGE, PURPLE, axes_or_new, new_figure
from ...recurrent.signals import Signal, within
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
# Not those of trained and planted networks: the panels' titles already tell subjects apart.
_LOOKS = {
    "whole_state": ("black", "-", "o"),
    "cell_state": (PURPLE, "--", "s"),
    "cell_state_alone": (ORANGE, (0, (4.0, 1.5, 1.0, 1.5)), "D"),
    "hidden_state": (BROWN, "-.", "^"),
    "none": (GREY, ":", "v"),
}


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Tensor], Tensor],
    expected: Callable[[Tensor], Tensor],
    combine: Combine = added,
    layer: str | None = None,
    steps: Iterable[int] | None = None,
    most: int = MOST_PAIRS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how answers follow the part of the state that is patched.

    Parts (`signal`) of an LSTM's state: `cell_state` with the hidden state that it makes, o tanh(c), o the base's;
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
        networks: what is measured.
        x: inputs.
        concept: what the state is thought to hold, (batch, time).
        answer: from a model's output to answers on the concept's scale, (batch).
        expected: from a model's output to expected answers, (batch).
        combine: (concept of source prefix, of base prefix, of whole base) -> the target, (batch).
        layer: the layer's name, or None for the only one.
        steps: at which steps, or None for all.
        most: the most pairs that are run at a step.
        seed: of what is drawn.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), answers are not one a row, or there is no such step.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3.
    """
    chosen = within("steps", None if steps is None else tuple(steps), x.shape[1], "the input's time axis")
    sources = torch.as_tensor(np.random.default_rng(seed).permutation(len(x)))
    task = _task(x, concept, combine, sources, chosen[0] if chosen else 0)
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        run = PatchedRuns(network.model, x, layer=layer, answer=answer, expected=expected)
        machine = _machine(run, answer, expected)
        for metric, value, part, step in _values(run, machine, task, sources, chosen, most=most, seed=seed):
            place = {"layer": layer or "", "signal": part, "step": step}
            rows.append(measurement(QUESTION, metric, network, value, **place))
    return tabulate(rows)


def _values(
    run: PatchedRuns,
    machine: Machine | None,
    task: Task,
    sources: Tensor,
    steps: Iterable[int],
    *,
    most: int,
    seed: int,
) -> Iterator[tuple[str, float, str, int | None]]:
    """Yield (metric, value, part of the state, step)."""
    same = True
    for step in steps:
        if machine is None:
            found = _by_permutation(run, task.concept, sources, step, task.combine)
        else:
            found = _by_pairs(all_pairs(machine, step, most=most, seed=seed), task, run.parts, seed)
        for metric, value, part in found:
            yield metric, value, part, step
        patched = run.patched(step, sources, "whole_state")[0]
        same = same and torch.equal(patched, run.spliced(step, sources))
    yield "whole_state_equals_accuracy", float(same), "", None


def _task(x: Tensor, concept: Tensor, combine: Combine, sources: Tensor, step: int) -> Task:
    """Return the task, after refusing a concept that is not aligned and targets that are not one a row."""
    if tuple(concept.shape) != tuple(x.shape[:2]):
        raise ProbeError(
            f"The concept has shape {tuple(concept.shape)}; it must be aligned to the input's (batch, time), "
            f"{tuple(x.shape[:2])}."
        )
    task = Task(concept, combine)
    task.target(torch.arange(len(x)), sources, step)
    return task


def _machine(run: PatchedRuns, answer: Callable[[Any], Tensor], expected: Callable[[Any], Tensor]) -> Machine | None:
    """Return the model as a machine, or None where it is none."""
    try:
        return Machine.of(run.model, run.x, answer=answer, expected=expected, layer=run.layer)
    except ProbeError:
        return None


_Value = tuple[str, float, str]


def _by_pairs(pairs: Pairs, task: Task, parts: Sequence[str], seed: int) -> Iterator[_Value]:
    """Yield (metric, value, part of the state), none where no pair counts."""
    puts = {part: _PUTS[part](pairs.machine) for part in parts if part in _PUTS} or {"whole_state": whole}
    experiment, support = Interchange(pairs, task), OffSupport(pairs, task, seed=seed)
    scores = {part: experiment.scores(put) for part, put in puts.items()}
    one = next(iter(scores.values()))
    if not one.changed:
        return
    numbers = {"none": (one.unpatched, 0.0), "whole_state": (one.whole, one.whole_shift)}
    numbers |= {part: (found.iia, found.shift) for part, found in scores.items()}
    for part in parts:
        accuracy, shift = numbers[part]
        yield "interchange_accuracy", accuracy, part
        # Where every target equals the base's own there is no way to go.
        yield "shift", 0.0 if math.isnan(shift) else shift, part
    for part, put in puts.items():
        distance = support.distance(put)
        if not math.isnan(distance):
            yield "off_support_distance", distance, part


def _by_permutation(
    run: PatchedRuns, concept: Tensor, sources: Tensor, step: int, combine: Combine
) -> Iterator[_Value]:
    """Yield (metric, value, part of the state) of a model that is run whole."""
    goal = _Goal.of(concept, sources, step, combine)
    for part in run.parts:
        answers, shown = run.patched(step, sources, part)
        for metric, score in goal.scores(answers, shown - run.expected).items():
            yield metric, score, part


@dataclass(frozen=True, eq=False)
class _Goal:
    """What the answers at one step should be, and which pairs count.

    Attributes:
        target: (batch), what each answer should be after the patch.
        way: (batch), the target minus what the base's answer should be.
        counted: (batch), whether source and base differ in the concept.
    """

    target: Tensor
    way: Tensor
    counted: Tensor

    @classmethod
    def of(cls, concept: Tensor, sources: Tensor, step: int, combine: Combine) -> _Goal:
        source, base, final = concept[sources, step], concept[:, step], concept[:, -1]
        target = per_row("combine(...)", combine(source, base, final), len(base)).double()
        return cls(target, target - final.double(), source != base)

    def scores(self, answers: Tensor, moved: Tensor) -> dict[str, float]:
        """Return both metrics, none where no pair counts."""
        if not bool(self.counted.any()):
            return {}
        hits = (answers.double() == self.target)[self.counted].double().mean()
        way, moved = self.way[self.counted], moved[self.counted].double()
        total = float((way**2).sum())
        # Where every target equals the base's own there is no way to go.
        shift = float((moved * way).sum()) / total if total else 0.0
        return {"interchange_accuracy": float(hits), "shift": shift}


@dataclass(frozen=True)
class Example:
    """One patch that can be read: what was read, what was answered, before and after.

    Attributes:
        base: row of the sequence whose run is changed.
        source: row that the state is taken from.
        step: at which step.
        before: the base's answer.
        of_source: the source's answer.
        after_cell: the base's answer with the source's cell state patched at the step.
        after_whole: the base's answer with cell and hidden state patched.
        of_spliced: the bare answer to the source's prefix followed by the base's suffix.
        target: what it should be.
    """

    base: int
    source: int
    step: int
    before: float
    of_source: float
    after_cell: float
    after_whole: float
    of_spliced: float
    target: float


def example(
    network: Network,
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    base: int,
    source: int,
    step: int,
    answer: Callable[[Tensor], Tensor],
    combine: Combine = added,
    layer: str | None = None,
) -> Example:
    """Return one patch to read: the state of one row at a step put into the run of another.

    Args:
        network: whose run.
        x: inputs.
        concept: what the state is thought to hold, (batch, time).
        base: row that is changed.
        source: row that the state is taken from.
        step: at which step.
        answer: from a model's output to answers, (batch).
        combine: as in `measure`.
        layer: the layer's name, or None for the only one.

    Raises:
        ProbeError: a row or step lies beyond the input.
    """
    (base,), (source,) = (within("row", (row,), len(x), "the batch") for row in (base, source))
    (step,) = within("step", (step,), x.shape[1], "the input's time axis")
    pair = x[[base, source]]
    run = PatchedRuns(network.model, pair, layer=layer, answer=answer, expected=answer)
    swap = torch.tensor([1, 0])
    own = run.answers
    cell, whole = (run.patched(step, swap, part)[0] for part in ("cell_state", "whole_state"))
    target = combine(concept[[source], step], concept[[base], step], concept[[base], -1])
    spliced = run.spliced(step, swap)
    numbers = (own[0], own[1], cell[0], whole[0], spliced[0], target[0])
    return Example(base, source, step, *(float(number) for number in numbers))


def draw(
    frame: pd.DataFrame,
    *,
    subject: str = "trained",
    metric: str = "interchange_accuracy",
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric by step, a line for each part of the state: median over networks and its 95 % interval.

    Args:
        frame: what `measure` returned.
        subject: which networks.
        metric: `interchange_accuracy` or `shift`.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: no such subject or metric was measured.
    """
    own = frame[(frame["subject"] == subject) & (frame["metric"] == metric)]
    if own.empty:
        raise ProbeError(f"The table has no {metric!r} of subject {subject!r}.")
    ax = axes_or_new(ax)
    for part, (color, linestyle, marker) in _LOOKS.items():
        draw_median_line(
            own[own["signal"] == part],
            ax=ax,
            color=color,
            linestyle=linestyle,
            marker=marker,
            markersize=4.5,
            label="no patch" if part == "none" else part.replace("_", " "),
        )
    ax.set_xlabel("step of the patch")
    ax.set_ylabel(metric.replace("_", " "))
    return ax


def draw_grid(frame: pd.DataFrame, *, metric: str = "interchange_accuracy") -> Figure:
    """Draw a metric by step for every subject measured, side by side, with one legend.

    Args:
        frame: what `measure` returned.
        metric: `interchange_accuracy` or `shift`.
    """
    subjects = list(dict.fromkeys(frame["subject"]))
    figure, axes = new_figure(len(subjects), height=3.2, sharey=True)
    for subject, ax in zip(subjects, axes[0], strict=True):
        draw(frame, subject=subject, metric=metric, ax=ax)
        ax.set_title(role_name(subject))
        if ax is not axes[0, 0]:
            ax.set_ylabel("")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, columnspacing=1.0, handletextpad=0.4)
    return figure
