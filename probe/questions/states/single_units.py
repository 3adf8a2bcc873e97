"""Is there one unit that holds the concept?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.probing.monotone import monotone_score, within_step_correlation
from ...methods.probing.prefixes import StepStates, check_aligned, pool, states_by_step
from ...methods.probing.splits import LEAST_STATES, folds
from ...plots.networks import draw_dots
from ...recurrent.signals import Signal, as_indices, as_signal, within

QUESTION = "single_units"


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    layer: str | None = None,
    signal: str = Signal.CELL_STATE,
    steps: Iterable[int] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how well single units follow a concept.

    Metrics, one value a network unless said otherwise:
    `within_step_correlation` (a unit each), its largest absolute value `largest_correlation`;
    `monotone_accuracy` at each of `steps` and their mean `mean_monotone_accuracy`: share of held-out states
    whose value is read exactly off one unit by a monotone map, unit and map chosen on the other half;
    `lasting_monotone_accuracy`: the same with one unit and one map for all steps together.

    Args:
        networks: the networks to compare.
        x: inputs of equal length.
        concept: whole numbers, (batch, time).
        layer: the layer's name, or None for the only one.
        signal: which signal's units.
        steps: steps with enough distinct states to hold half of them out; None takes those with at least 128.
        seed: of the splits.

    Returns:
        The tidy table.

    Raises:
        ProbeError: the concept is not aligned to (batch, time) or holds other than whole numbers, or a step, the
            layer or the signal does not exist.
    """
    chosen = as_signal(signal)
    check_aligned(x, concept)
    if not bool((concept == concept.round()).all() if concept.is_floating_point() else True):
        raise ProbeError(
            "The concept holds other than whole numbers, and a unit's reading is exact only at whole ones; "
            "scale or round it, or ask probe.questions.states.linear_readout."
        )
    wanted = as_indices("steps", steps)
    wanted = None if wanted is None else within("steps", wanted, x.shape[1], "the input's time axis")
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        by_step = states_by_step(network.model, x, concept, layer=layer, signals=[chosen])
        scored = [item for item in by_step if _is_scored(item, wanted)]
        rows += _measure_one(network, by_step, scored, chosen, layer=layer or "", seed=seed)
    return tabulate(rows)


def _is_scored(item: StepStates, steps: list[int] | None) -> bool:
    return len(item.rows) >= LEAST_STATES if steps is None else item.step in steps


def _measure_one(
    network: Network,
    by_step: list[StepStates],
    scored: list[StepStates],
    signal: Signal,
    *,
    layer: str,
    seed: int,
) -> list[dict[str, Any]]:
    def row(metric: str, value: float, *, units: str = "", step: int | None = None) -> dict[str, Any]:
        return measurement(QUESTION, metric, network, value, layer=layer, signal=signal, units=units, step=step)

    pooled = pool(by_step)
    states = pooled.states[signal]
    correlation = within_step_correlation(pooled, states)
    rows = [row("within_step_correlation", r, units=str(unit)) for unit, r in enumerate(correlation)]
    best = int(np.argmax(np.abs(correlation)))
    rows.append(row("largest_correlation", abs(correlation[best]), units=str(best)))
    accuracies = []
    for item in scored:
        parts = folds(len(item.rows), 2, seed=seed)
        score = monotone_score(item.states[signal], item.concept, parts)
        accuracies.append(score.accuracy)
        units = " ".join(map(str, score.units))
        rows.append(row("monotone_accuracy", score.accuracy, units=units, step=item.step))
    rows.append(row("mean_monotone_accuracy", float(np.mean(accuracies)) if accuracies else np.nan))
    parts = folds(len(states), 4, seed=seed)
    lasting = monotone_score(states, pooled.concept, parts, pooled.weight)
    units = " ".join(map(str, lasting.units))
    rows.append(row("lasting_monotone_accuracy", lasting.accuracy, units=units))
    return rows


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the three readings of "one unit holds it", every network a dot, its controls and planted networks beside.

    Args:
        frame: what `measure` returned.
        threshold: a bound to draw across all three, or None.
        ax: where to draw, or None for new axes.
    """
    metrics = {
        "largest_correlation": "correlation of\nthe best unit",
        "mean_monotone_accuracy": "read exactly off\none unit, step by step",
        "lasting_monotone_accuracy": "read exactly off one\nunit, all steps alike",
    }
    bounds = None if threshold is None else dict.fromkeys(metrics, threshold)
    ax = draw_dots(frame, metrics, thresholds=bounds, ax=ax)
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("|r|, or share of held-out states")
    return ax
