"""Does one unit carry the concept, or do many? Exact shares of a difference in the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.decomposition.contexts import RowPairs, changed_at
from ...methods.decomposition.shapley import participation, pooled_shares
from ...methods.decomposition.units import unit_table
from ...methods.machines import Machine
from ...methods.probing.monotone import within_step_correlation
from ...methods.probing.prefixes import StepStates, check_aligned, pool
from ...plots.style import MANY, ROLE_STYLE, axes_or_new
from ...recurrent.signals import within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "unit_shares"


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    step: int = 6,
    changed: int | None = None,
    pairs: RowPairs | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> pd.DataFrame:
    """Measure what each unit's state contributes to a difference in the expected answer, as Shapley shares.

    Two sequences differ in one earlier input. At a step, every subset of the units (for an LSTM a unit is the pair
    (c_u, h_u)) is taken from the source and the rest from the base, and the run goes on with the base's inputs to
    the end. The shares are the sum of the Shapley values over all pairs and continuations, over the sum of the whole
    differences: they sum to 1, and are NaN only where the differences cancel.

    Metrics, one value a network unless said otherwise: `unit_share`, one a unit; `largest_unit_share`;
    `negative_unit_shares`, the negative ones' sum as a positive number; `unit_participation`, 1 / sum of squared
    shares; `correlated_unit_share`, the share of the unit whose cell state (of a GRU or plain RNN the hidden state)
    follows the concept best within steps (not with `groups`); `whole_difference`, the mean difference that is shared.

    Args:
        networks: what is measured.
        x: inputs of equal length.
        concept: (batch, time).
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers, (batch).
        layer: the layer's name, or None for the only one.
        step: after which step the units are patched.
        changed: at which step base and source differ; None for two before `step`.
        pairs: rows of bases and of their sources; None takes all that differ at `changed` alone, and whose source
            has more of the concept.
        groups: units that are taken together; None makes every unit one. At most 16.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), there is no such pair, step or layer, or the layer
            has more than 16 units and no groups are given.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claims 1d and 5c.
    """
    check_aligned(x, concept)
    (at,) = within("step", (step,), x.shape[1], "the input's time axis")
    if pairs is None:
        pairs = changed_at(x, concept, at - 2 if changed is None else changed, at)
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        table, weight = unit_table(machine, pairs, at, expected=expected, groups=groups)
        for metric, value, units in _found(machine, concept, table, weight, groups):
            rows.append(measurement(QUESTION, metric, network, value, layer=layer or "", units=units, step=at))
    return tabulate(rows)


def _found(
    machine: Machine,
    concept: Tensor,
    table: Float[np.ndarray, "context subset"],
    weight: Float[np.ndarray, " context"],
    groups: Sequence[Sequence[int]] | None,
) -> Iterator[tuple[str, float, str]]:
    """Yield (metric, value, units)."""
    shares = pooled_shares(table, weight)
    players = [[unit] for unit in range(machine.dynamics.units)] if groups is None else groups
    names = [" ".join(map(str, units)) for units in players]
    for name, share in zip(names, shares.values, strict=True):
        yield "unit_share", share, name
    largest = int(np.argmax(shares.values))
    yield "largest_unit_share", shares.values[largest], names[largest]
    yield "negative_unit_shares", shares.negative, ""
    yield "unit_participation", participation(shares.values), ""
    yield "whole_difference", shares.whole, ""
    if groups is None:
        unit = _correlated_unit(machine, concept)
        yield "correlated_unit_share", shares.values[unit], names[unit]


def _correlated_unit(machine: Machine, concept: Tensor) -> int:
    """Return the unit with the largest absolute correlation with the concept within steps (claim 1a's)."""
    signal = machine.dynamics.signals[0]
    amounts, states = concept.double().numpy(), machine.clean.states[:, :, machine.dynamics.columns(signal)].numpy()
    steps = [
        StepStates(step, rows, amounts[rows, step], {signal: states[rows, step]})
        for step, rows in enumerate(one.rows.numpy() for one in machine.clean.prefixes)
    ]
    pooled = pool(steps)
    return int(np.argmax(np.abs(within_step_correlation(pooled, pooled.states[signal]))))


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the units' shares from the largest to the smallest: a thin line a network, the median thick.

    Args:
        frame: what `measure` returned.
        threshold: a bound for the largest share, drawn across, or None.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    shares = frame[frame["metric"] == "unit_share"]
    most = 1
    for subject, look in ROLE_STYLE.items():
        of_networks = [
            one["value"].to_numpy(float) for _, one in shares[shares["subject"] == subject].groupby("network")
        ]
        if not of_networks:
            continue
        ranked = [np.sort(values)[::-1] for values in of_networks]
        most = max(most, *(len(values) for values in ranked))
        if len(ranked) > 1:
            for values in ranked:
                # Many lines weigh more as vectors than as pixels, and would hide their median.
                alpha, pixels = (0.15, True) if len(ranked) > MANY else (0.5, False)
                places = range(1, len(values) + 1)
                ax.plot(places, values, color=look.color, linewidth=0.7, alpha=alpha, rasterized=pixels)
        common = min(len(values) for values in ranked)
        median = np.median([values[:common] for values in ranked], axis=0)
        ax.plot(range(1, common + 1), median, **look.line(), markersize=5, label=role_name(subject))
    if threshold is not None:
        ax.axhline(threshold, color="black", linewidth=1, zorder=0)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    ax.set_xticks(range(1, most + 1))
    ax.set_xlabel("units, from the largest share to the smallest")
    ax.set_ylabel("share of the difference")
    ax.legend()
    return ax
