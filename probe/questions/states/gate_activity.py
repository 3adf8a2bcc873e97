"""How far open are the gates, after which inputs, and how often are they saturated?

Descriptive, without a rule: that a gate correlates with the input says nothing on whether it carries the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.probing.prefixes import StepStates, states_by_step
from ...plots.networks import draw_median_line
from ...plots.style import axes_or_new, new_figure, role_style
from ...recurrent.signals import Signal, as_signal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION = "gate_activity"
GATES = (Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.OUTPUT_GATE)
#: Metric of the mean at a step -> whether it is over the steps where the split holds, does not, or over all.
MEANS = {"mean": None, "mean_where_true": True, "mean_where_false": False}


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    split: Bool[Tensor, "batch time"] | None = None,
    *,
    layer: str | None = None,
    signals: Iterable[str] = GATES,
    low: float = 0.1,
    high: float = 0.9,
) -> pd.DataFrame:
    """Return how far open gates are and how often they are saturated, each distinct prefix counted once.

    Metrics: `mean` at each step, over prefixes and units; with a split also `mean_where_true` and
    `mean_where_false`, over the prefixes at whose step it holds or does not, at each step over all units and
    for each unit over all steps; for each unit `share_low` and `share_high`, the shares of values below `low`
    and above `high`, every step weighing the same.

    Args:
        networks: what is measured.
        x: inputs.
        split: divides the steps in two, such as "this input is a one"; None leaves them together.
        layer: the layer's name, or None for the only one.
        signals: which gates; their values must lie between 0 and 1 for the shares to mean saturation.
        low: a gate below is closed.
        high: a gate above is open.

    Raises:
        ProbeError: the bounds do not ascend within 0 to 1, the split is not aligned to (batch, time), or the
            layer or a signal does not exist.

    Reference:
        Karpathy, Johnson & Li 2015, Visualizing and understanding recurrent networks, section 4.2.
    """
    if not 0 <= low < high <= 1:
        raise ProbeError(f"low={low} and high={high} must ascend within 0 to 1.")
    gates = tuple(as_signal(signal) for signal in signals)
    told = torch.zeros(x.shape[:2]) if split is None else split
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        steps = states_by_step(network.model, x, told, layer=layer, signals=gates)
        for gate in gates:
            for metric, value, step, unit in _of_gate(steps, gate, low, high, split is not None):
                rows.append(
                    measurement(
                        QUESTION, metric, network, value, layer=layer or "", signal=gate, units=unit, step=step
                    )
                )
    return tabulate(rows)


def _of_gate(
    steps: list[StepStates], gate: Signal, low: float, high: float, divided: bool
) -> list[tuple[str, float, int | None, str]]:
    found: list[tuple[str, float, int | None, str]] = []
    wanted = MEANS if divided else {"mean": None}
    by_unit: dict[str, list[np.ndarray]] = {metric: [] for metric in wanted}
    for item in steps:
        for metric, side in wanted.items():
            values = item.states[gate] if side is None else item.states[gate][item.concept.astype(bool) == side]
            if len(values):
                found.append((metric, float(values.mean()), item.step, ""))
                by_unit[metric].append(values.mean(0))
    for metric, means in by_unit.items():
        if means and metric != "mean":
            found += [(metric, float(mean), None, str(u)) for u, mean in enumerate(np.mean(means, 0))]
    for metric, hit in (("share_low", lambda v: v < low), ("share_high", lambda v: v > high)):
        shares = np.mean([hit(item.states[gate]).mean(0) for item in steps], 0)
        found += [(metric, float(share), None, str(unit)) for unit, share in enumerate(shares)]
    return found


def draw(
    frame: pd.DataFrame,
    *,
    signal: str = Signal.INPUT_GATE,
    labels: tuple[str, str] = ("true", "false"),
    ax: Axes | None = None,
) -> Axes:
    """Draw one gate's mean by step for each subject: filled marks where the split holds, hollow where not.

    A line is the median over networks of one subject; a band is its 95 % interval.

    Args:
        frame: what `measure` returned.
        signal: which gate.
        labels: what the two sides of the split are called.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the gate was not measured.
    """
    of_gate = frame[(frame["signal"] == str(signal)) & frame["step"].notna()]
    if of_gate.empty:
        raise ProbeError(f"The table has no {str(signal)!r} by step; measure that gate.")
    ax = axes_or_new(ax)
    divided = bool((of_gate["metric"] == "mean_where_true").any())
    sides = {"mean_where_true": labels[0], "mean_where_false": labels[1]} if divided else {"mean": ""}
    for subject, of_subject in of_gate.groupby("subject", sort=False):
        look = role_style(str(subject))
        for metric, name in sides.items():
            draw_median_line(
                of_subject[of_subject["metric"] == metric],
                ax=ax,
                color=look.color,
                linestyle=look.linestyle,
                marker=look.marker,
                markersize=4.5,
                markerfacecolor="none" if metric == "mean_where_false" else look.color,
                label=", ".join(filter(None, (role_name(subject), name))),
            )
    ax.set_ylim(0, 1)
    ax.set_xlabel("step")
    ax.set_ylabel(f"mean {str(signal).replace('_', ' ')}")
    return ax


def draw_grid(frame: pd.DataFrame, *, labels: tuple[str, str] = ("true", "false")) -> Figure:
    """Draw every measured gate's mean by step, side by side, with one legend.

    Args:
        frame: what `measure` returned.
        labels: what the two sides of the split are called.
    """
    gates = list(dict.fromkeys(frame.loc[frame["step"].notna(), "signal"]))
    figure, axes = new_figure(len(gates), height=3.4, sharey=True)
    for gate, ax in zip(gates, axes[0], strict=True):
        draw(frame, signal=gate, labels=labels, ax=ax)
        ax.set_title(gate.replace("_", " "))
        ax.set_ylabel("mean over units" if ax is axes[0, 0] else "")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


def draw_saturation(frame: pd.DataFrame, *, signal: str = Signal.FORGET_GATE, ax: Axes | None = None) -> Axes:
    """Draw how often each unit's gate is nearly closed and nearly open, a mark a unit of a network.

    Args:
        frame: what `measure` returned.
        signal: which gate.
        ax: axes to draw into, or None for new ones.
    """
    ax = axes_or_new(ax)
    for subject, own in frame[frame["signal"] == str(signal)].groupby("subject", sort=False):
        look = role_style(str(subject))
        points = own[own["metric"].isin(["share_low", "share_high"])].pivot(
            index=["network", "units"], columns="metric", values="value"
        )
        ax.plot(
            points["share_high"],
            points["share_low"],
            look.marker,
            color=look.color,
            markersize=4,
            alpha=0.6,
            label=role_name(subject),
        )
    ax.plot([0, 1], [1, 0], color="black", linewidth=0.8, zorder=0)
    ax.set_xlabel("share of values nearly open")
    ax.set_ylabel("share nearly closed")
    ax.set_xlim(-0.05, 1.05)
    ax.set_ylim(-0.05, 1.05)
    ax.set_aspect("equal")
    return ax


def draw_saturation_grid(frame: pd.DataFrame) -> Figure:
    """Draw `draw_saturation` for every measured gate, side by side, with one legend.

    Args:
        frame: what `measure` returned.
    """
    gates = list(dict.fromkeys(frame.loc[frame["metric"] == "share_high", "signal"]))
    figure, axes = new_figure(len(gates), height=2.7, sharey=True)
    for gate, ax in zip(gates, axes[0], strict=True):
        draw_saturation(frame, signal=gate, ax=ax)
        ax.set_title(gate.replace("_", " "))
        ax.set_xlabel("")
        ax.set_ylabel("")
    figure.supxlabel("share of values nearly open", fontsize="medium")
    figure.supylabel("share nearly closed", fontsize="medium")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure
