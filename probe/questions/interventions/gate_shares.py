"""Through which gate does an input act? Exact shares of every gate that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.decomposition.algebra import kept_to_the_end
from ...methods.decomposition.contexts import RowPairs, changed_at
from ...methods.decomposition.gates import gate_table, gates_of, input_places, with_constant_gates
from ...methods.decomposition.shapley import pooled_shares
from ...methods.machines import Machine
from ...methods.probing.prefixes import check_aligned
from ...plots.networks import draw_dots
from ...plots.style import ROLE_STYLE, axes_or_new
from ...recurrent.signals import Signal, as_indices, within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "gate_shares"


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    steps: Iterable[int] | None = None,
) -> pd.DataFrame:
    """Measure what each gate does with an input, as Shapley shares of what the input changes.

    Base and source differ in one input. At that step every subset of what sees the input (i, f, g and o of an LSTM;
    r, z and n of a GRU; one place in a plain RNN) is given the source's, the others the base's, and the run goes on
    with the base's inputs to the end. Shares are the sum of the Shapley values over steps, pairs and continuations,
    over the sum of the whole differences.

    Metrics: `gate_share`, one for each that sees the input (`signal`); `gate_share_at_step`, the same of each step
    alone; `constant_gates_accuracy`, one value a network: the share of right answers where the gates that write
    nothing themselves (i, f and o; r and z) are frozen at their mean by unit and step; `kept`, one a unit and step:
    how much of what the step left in the unit is still there at the end, the product of all later forget (update)
    gates, mean over the sequences. A plain RNN has the first two only.

    Args:
        networks: what is measured.
        x: inputs of equal length.
        concept: (batch, time); the right answer is the last one.
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers, (batch).
        layer: the layer's name, or None for the only one.
        steps: at which steps an input is changed; None for all but the first.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), no two sequences differ at a step alone, a step or
            layer does not exist, or the cell is of an unknown kind.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claims 15a, 15b, 15c.
    """
    check_aligned(x, concept)
    chosen = as_indices("steps", range(1, x.shape[1]) if steps is None else steps)
    wanted = within("steps", chosen, x.shape[1], "the input's time axis")
    pairs = {step: changed_at(x, concept, step, step) for step in wanted}
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        found = [*_shares(machine, pairs, expected), *_constant(machine, concept), *_kept(machine)]
        for metric, value, place in found:
            rows.append(measurement(QUESTION, metric, network, value, layer=layer or "", **place))
    return tabulate(rows)


_Found = Iterator[tuple[str, float, dict[str, Any]]]


def _shares(machine: Machine, pairs: Mapping[int, RowPairs], expected: Callable[[Any], Tensor]) -> _Found:
    tables = {step: gate_table(machine, of_step, step, expected=expected) for step, of_step in pairs.items()}
    together = (np.concatenate(parts) for parts in zip(*tables.values(), strict=True))
    signals = tuple(input_places(machine.cell))
    for signal, share in zip(signals, pooled_shares(*together).values, strict=True):
        yield "gate_share", share, {"signal": signal}
    for step, table in tables.items():
        for signal, share in zip(signals, pooled_shares(*table).values, strict=True):
            yield "gate_share_at_step", share, {"signal": signal, "step": step}


def _constant(machine: Machine, concept: Tensor) -> _Found:
    gates = gates_of(machine.cell)
    if gates:
        right = with_constant_gates(machine, gates).chosen.double() == concept[:, -1].double()
        yield "constant_gates_accuracy", float(right.double().mean()), {}


def _kept(machine: Machine) -> _Found:
    if Signal.FORGET_GATE in machine.cell.signals or Signal.UPDATE_GATE in machine.cell.signals:
        for step, units in enumerate(kept_to_the_end(machine).mean(0).tolist()):
            for unit, value in enumerate(units):
                yield "kept", value, {"units": str(unit), "step": step}


def draw(frame: pd.DataFrame, *, thresholds: Mapping[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the share of each gate, every network a dot, its controls beside it.

    Args:
        frame: what `measure` returned.
        thresholds: signal -> a bound for its share, drawn across its column.
        ax: where to draw, or None for new axes.
    """
    shares = frame[frame["metric"] == "gate_share"]
    labels = {signal: str(signal).replace("_", "\n", 1) for signal in shares["signal"].unique()}
    ax = draw_dots(shares.assign(metric=shares["signal"]), labels, thresholds=thresholds, ax=ax)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    ax.set_ylabel("share of what the input changes")
    return ax


def draw_kept(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much of what each step wrote is left at the end in the network's most lasting unit.

    Args:
        frame: what `measure` returned, of a cell that has a forget or an update gate.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    lasting = most_lasting(frame)
    for subject, look in ROLE_STYLE.items():
        table = lasting[lasting["subject"] == subject].pivot(index="network", columns="step", values="value")
        if table.empty:
            continue
        steps = [int(step) for step in table.columns]
        if len(table) > 1:
            ax.plot(steps, table.to_numpy(float).T, color=look.color, linewidth=0.7, alpha=0.5)
        ax.plot(steps, table.median().to_numpy(float), **look.line(), markersize=5, label=role_name(subject))
    ax.set_ylim(0, None)
    ax.set_xlabel("step at which it was written")
    ax.set_ylabel("left of it at the end")
    ax.legend()
    return ax


def most_lasting(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the `kept` rows of each network's unit that keeps most of what its first step left.

    Args:
        frame: what `measure` returned.
    """
    kept = frame[frame["metric"] == "kept"]
    first = kept[kept["step"] == kept["step"].min()].sort_values(["network", "value"])
    best = first.groupby("network")["units"].last()
    return kept[kept["units"] == kept["network"].map(best)].reset_index(drop=True)
