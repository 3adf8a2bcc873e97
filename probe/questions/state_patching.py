"""Does the answer follow the state? One sequence's state at a step is put into another's run.

Putting the whole state in is a tautology (the run goes on as if it had read the other prefix), which makes it a
check of the method: it must equal the bare model on the spliced sequence. The parts of the state are a
description without verdict: a cell state beside a hidden state that it did not make lies off the manifold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..causal.task import Combine, added
from ..edits import patch
from ..errors import ProbeError
from ..figures import BROWN, GREY, PURPLE, axes_or_new, new_figure
from ..interventions import intervene
from ..measurements import Network, as_networks, measurement, tabulate
from ..outputs import per_row
from ..recorder import record
from ..signals import Signal, within
from .lines import draw_median_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION = "state_patching"
#: What is put in -> how it is drawn.
PARTS: dict[str, tuple[Signal, ...]] = {
    "none": (),
    "cell_state": (Signal.CELL_STATE,),
    "hidden_state": (Signal.HIDDEN_STATE,),
    "whole_state": (Signal.CELL_STATE, Signal.HIDDEN_STATE),
}
# Not the colours of trained, untrained and planted, which the panels' titles already tell apart.
_LOOKS = {
    "whole_state": ("black", "-", "o"),
    "cell_state": (PURPLE, "--", "s"),
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
    seed: int = 0,
) -> pd.DataFrame:
    """Return how answers follow the state that is put in, for the cell state, the hidden state, both, and none.

    A patch of the cell state recomputes the hidden state of that step. Each sequence is once a base and once a
    source, by one seeded permutation. A pair counts where the source's concept differs from the base's at the
    step; the target follows from the two sequences, never from the network's own output.

    Metrics by step (`signal` holds what was put in): `interchange_accuracy`, the share of counted pairs whose
    answer is the target; `shift` = sum (y - y_base) (target - target_base) / sum (target - target_base)^2, how
    far the expected answer y moves of the way that it should, which an answer by argmax can hide. One value a
    network: `whole_state_equals_accuracy`, 1 where at every step and in every pair the answer after putting the
    whole state in equals the bare model's on the source's prefix followed by the base's suffix, else 0.

    Args:
        networks: what is measured.
        x: inputs.
        concept: what the state is thought to hold, (batch, time).
        answer: from a model's output to answers on the concept's scale, (batch).
        expected: from a model's output to expected answers, (batch).
        combine: (concept of source prefix, of base prefix, of whole base) -> the target, (batch).
        layer: the layer's name, or None for the only one.
        steps: at which steps, or None for all.
        seed: of the permutation that makes pairs.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), answers are not one a row, or a step or layer does
            not exist.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3.
    """
    if tuple(concept.shape) != tuple(x.shape[:2]):
        raise ProbeError(
            f"The concept has shape {tuple(concept.shape)}; it must be aligned to the input's (batch, time), "
            f"{tuple(x.shape[:2])}."
        )
    chosen = within("steps", None if steps is None else tuple(steps), x.shape[1], "the input's time axis")
    sources = torch.as_tensor(np.random.default_rng(seed).permutation(len(x)))
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        run = _Run(network.model, x, layer=layer, answer=answer, expected=expected)
        for metric, value, part, step in _scores(run, concept, sources, chosen, combine=combine):
            place = {"layer": layer or "", "signal": part, "step": step}
            rows.append(measurement(QUESTION, metric, network, value, **place))
    return tabulate(rows)


def _scores(
    run: _Run, concept: Tensor, sources: Tensor, steps: Iterable[int], *, combine: Combine
) -> Iterator[tuple[str, float, str, int | None]]:
    """Yield (metric, value, part of the state, step)."""
    same = True
    for step in steps:
        goal = _Goal.of(concept, sources, step, combine)
        results = run.patched(step, sources)
        same = same and torch.equal(results["whole_state"][0], run.spliced(step, sources))
        for part, (answers, shown) in results.items():
            for metric, score in goal.scores(answers, shown - run.expected).items():
                yield metric, score, part, step
    yield "whole_state_equals_accuracy", float(same), "", None


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


class _Run:
    """A model's bare run over a batch, from which states are taken and into which they are put."""

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        *,
        layer: str | None,
        answer: Callable[[Tensor], Tensor],
        expected: Callable[[Tensor], Tensor],
    ) -> None:
        self.model, self.x, self.layer = model, x, layer
        self.recording = record(model, x, layers=None if layer is None else [layer])
        self._read = {"answer(...)": answer, "expected(...)": expected}
        self.answers, self.expected = self._reads(self.recording.output)

    def _reads(self, output: Any) -> tuple[Tensor, Tensor]:
        """Return answers and expected answers, one a row each."""
        answers, expected = (per_row(name, read(output), len(self.x)) for name, read in self._read.items())
        return answers, expected

    @torch.no_grad()
    def patched(self, step: int, sources: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Return for each part answers and expected answers with it taken from each row's source at a step."""
        taken = sources.tolist()
        edits = {
            signal: patch(signal, self.recording, layer=self.layer, steps=step, source_rows=taken)
            for signal in PARTS["whole_state"]
        }
        results = {"none": (self.answers, self.expected)}
        for part, signals in PARTS.items():
            if signals:
                with intervene(self.model, *(edits[signal] for signal in signals)):
                    output = self.model(self.x)
                results[part] = self._reads(output)
        return results

    @torch.no_grad()
    def spliced(self, step: int, sources: Tensor) -> Tensor:
        """Return the bare model's answers on the source's prefix followed by the base's suffix."""
        return self._reads(self.model(splice(self.x[sources], self.x, step)))[0]


def splice(source: Tensor, base: Tensor, step: int) -> Tensor:
    """Return the source up to and including a step, then the base, (batch, time, input)."""
    return torch.cat([source[:, : step + 1], base[:, step + 1 :]], dim=1)


@dataclass(frozen=True)
class Example:
    """One patch that can be read: what was read, what was answered, before and after.

    Attributes:
        base: row of the sequence whose run is changed.
        source: row that the state is taken from.
        step: at which step.
        before: the base's answer.
        of_source: the source's answer.
        after_cell: the base's answer with the source's cell state put in at the step.
        after_whole: the base's answer with cell and hidden state put in.
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
    run = _Run(network.model, pair, layer=layer, answer=answer, expected=answer)
    swap = torch.tensor([1, 0])
    own = run.answers
    results = run.patched(step, swap)
    cell, whole = results["cell_state"][0], results["whole_state"][0]
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
        ax.set_title(subject)
        if ax is not axes[0, 0]:
            ax.set_ylabel("")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, columnspacing=1.0, handletextpad=0.4)
    return figure
