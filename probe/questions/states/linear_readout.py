"""Can a linear probe read the concept, and better than from untrained networks and for other concepts?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from ...evidence.intervals import median_interval
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.probing.controls import clock_r_squared, online_codelength, signed_sums, variance_shares
from ...methods.probing.linear import fit_linear, held_out_score, r_squared
from ...methods.probing.prefixes import Pooled, StepStates, check_aligned, pool, states_by_step
from ...methods.probing.splits import LEAST_STATES, folds
from ...plots.networks import draw_dots
from ...plots.style import ROLE_STYLE, axes_or_new
from ...recurrent.signals import Signal

QUESTION = "linear_readout"


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    layer: str | None = None,
    signals: Sequence[Signal] = (Signal.CELL_STATE, Signal.HIDDEN_STATE),
    seed: int = 0,
) -> pd.DataFrame:
    """Measure linear probes with the controls that a probe needs.

    A signal each: `r_squared` and `rounding_accuracy` at each step, held out (half of the distinct states is
    scored on a fit of the other half, both ways), and `in_sample_r_squared` where a step has too few states to
    hold any out; `pooled_r_squared` over all steps (four folds), and `pooled_r_squared_minus_clock`;
    `selectivity`: r_squared at the last step minus its mean over 200 other memories of the input;
    `codelength` in bits a state at the last step; `variance_share` with units clock, linear, curved, other
    over all steps; `between_concept_share` at the last step.
    For the network: `last_step_r_squared`, the smaller of its signals' at the last step.

    Args:
        networks: the networks to compare.
        x: inputs of equal length.
        concept: whole numbers, (batch, time).
        layer: the layer's name, or None for the only one.
        signals: which signals to read from.
        seed: of splits, signs and orders.

    Returns:
        The tidy table.
    """
    rows: list[dict[str, Any]] = []
    check_aligned(x, concept)
    memories = signed_sums(x, seed=seed)
    for network in as_networks(networks):
        by_step = states_by_step(network.model, x, concept, layer=layer, signals=signals)
        last = []
        for signal in signals:
            own = _measure_signal(network, by_step, signal, layer=layer or "", memories=memories, seed=seed)
            rows += own
            last += [row["value"] for row in own if row["metric"] == "r_squared"][-1:]
        if last:
            rows.append(measurement(QUESTION, "last_step_r_squared", network, min(last), step=by_step[-1].step))
    return tabulate(rows)


def _measure_signal(
    network: Network,
    by_step: list[StepStates],
    signal: Signal,
    *,
    layer: str,
    memories: np.ndarray,
    seed: int,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def add(metric: str, value: float, step: int | None = None, units: str = "") -> None:
        rows.append(measurement(QUESTION, metric, network, value, layer=layer, signal=signal, step=step, units=units))

    for item in by_step:
        states, target = item.states[signal], item.concept[:, None]
        if len(states) >= LEAST_STATES:
            score = held_out_score(states, target, folds(len(states), 2, seed=seed))
            add("r_squared", score.r_squared[0], item.step)
            add("rounding_accuracy", score.rounding_accuracy[0], item.step)
        else:
            fitted = fit_linear(states, target).predict(states)
            add("in_sample_r_squared", float(r_squared(target, fitted)[0]), item.step)
    pooled = pool(by_step)
    parts = folds(len(pooled.concept), 4, seed=seed)
    score = held_out_score(pooled.states[signal], pooled.concept[:, None], parts, pooled.weight)
    clock = clock_r_squared(pooled.step, pooled.concept, pooled.weight)
    add("pooled_r_squared", score.r_squared[0])
    add("pooled_rounding_accuracy", score.rounding_accuracy[0])
    add("pooled_r_squared_minus_clock", score.r_squared[0] - clock)
    _add_last_step(add, by_step[-1], signal, memories, seed)
    _add_variance(add, pooled, by_step[-1], signal)
    return rows


def _add_last_step(add: Any, last: StepStates, signal: Signal, memories: np.ndarray, seed: int) -> None:
    states = last.states[signal]
    targets = np.column_stack([last.concept, memories[last.rows]])
    explained = held_out_score(states, targets, folds(len(states), 2, seed=seed)).r_squared
    add("selectivity", explained[0] - float(np.mean(explained[1:])), last.step)
    classes = int(last.concept.max()) + 1
    add("codelength", online_codelength(states, last.concept, classes=classes, seed=seed), last.step)


def _add_variance(add: Any, pooled: Pooled, last: StepStates, signal: Signal) -> None:
    shares = variance_shares(pooled.step, pooled.concept, pooled.states[signal], pooled.weight)
    for part, share in asdict(shares).items():
        add("variance_share", share, units=part)
    equal = np.full(len(last.concept), 1 / len(last.concept))
    at_last = variance_shares(np.zeros(len(equal)), last.concept, last.states[signal], equal)
    add("between_concept_share", at_last.linear + at_last.curved, last.step)


def draw(frame: pd.DataFrame, *, signal: str = Signal.CELL_STATE, ax: Axes | None = None) -> Axes:
    """Draw held-out R2 by step: the median over networks and its 95 % interval, each subject in its own line.

    Steps with too few states to hold any out are drawn in grey: they carry no verdict.

    Args:
        frame: what `measure` returned.
        signal: which signal.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    rows = frame[frame["signal"] == signal]
    for subject, look in ROLE_STYLE.items():
        own = rows[rows["subject"] == subject]
        held_out = own[own["metric"] == "r_squared"].groupby("step")["value"]
        if not held_out.ngroups:
            continue
        in_sample = own[own["metric"] == "in_sample_r_squared"].groupby("step")["value"].median()
        grey = {"color": "#7d828c", "linestyle": look.linestyle, "marker": look.marker}
        ax.plot(in_sample.index.to_numpy(int), in_sample.to_numpy(), alpha=0.6, **grey)
        steps = np.array([int(str(step)) for step, _ in held_out])
        ax.plot(steps, held_out.median().to_numpy(), label=role_name(subject), **look.line())
        intervals = [median_interval(list(values)) for _, values in held_out]
        if all(interval is not None for interval in intervals):
            low, high = np.array(intervals).T
            ax.fill_between(steps, low, high, color=look.color, alpha=0.25, linewidth=0)
    ax.set_xlabel("step (first input: 0)")
    # From 0 on, R² of .98 and of .9999 would lie on each other; where nothing is that good the axis keeps its 0.
    zoomed = ax.get_ylim()[0] > 0.5
    ax.set_ylabel("held-out R² (axis cut)" if zoomed else "held-out R²")
    if not zoomed:
        ax.set_ylim(min(0.0, ax.get_ylim()[0]), 1.03)
    ax.legend(loc="lower left")
    return ax


def draw_controls(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what tells a code from a side effect: selectivity and the share of variance the concept explains.

    Args:
        frame: what `measure` returned.
        ax: where to draw, or None for new axes.
    """
    hidden = frame[frame["signal"].isin(["", Signal.HIDDEN_STATE])]
    metrics = {
        "last_step_r_squared": "R² of the\nlast state",
        "selectivity": "R² minus that of\nother memories",
        "between_concept_share": "variance between\nconcept values",
    }
    ax = draw_dots(hidden, metrics, ax=ax)
    ax.set_ylabel("share of variance")
    ax.axhline(0, color="black", linewidth=0.8)
    return ax
