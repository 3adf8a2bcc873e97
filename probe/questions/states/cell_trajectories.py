"""How does each cell move with the concept? A picture of every unit, beside an untrained network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.probing.monotone import within_step_correlation
from ...methods.probing.prefixes import pool, states_by_step
from ...plots.style import COLUMN_WIDTH, SEQUENTIAL, axes_or_new
from ...recurrent.signals import Signal, as_signal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "cell_trajectories"
MEAN_AT = "mean_at_"
#: The end of the sequential map that is nearly yellow has no contrast on white paper.
LIGHTEST = 0.8
LINESTYLES = ("-", "--", "-.", ":")


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    layer: str | None = None,
    signal: str = Signal.CELL_STATE,
) -> pd.DataFrame:
    """Return each unit's mean at each step given the concept's value, each distinct prefix counted once.

    Metrics: `mean_at_<value>`, one a value of the concept, by unit and step; `within_step_correlation` by unit,
    after the mean of each step is taken off both, so that a unit that only tells the time scores 0.

    Args:
        networks: what is measured.
        x: inputs.
        concept: what to look for, (batch, time).
        layer: the layer's name, or None for the only one.
        signal: which signal's units.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), or the layer or signal does not exist.
    """
    wanted = as_signal(signal)
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        steps = states_by_step(network.model, x, concept, layer=layer, signals=(wanted,))

        def add(metric: str, value: float, unit: int, step: int | None = None, of: Network = network) -> None:
            place = {"layer": layer or "", "signal": str(wanted), "units": str(unit), "step": step}
            rows.append(measurement(QUESTION, metric, of, value, **place))

        pooled = pool(steps)
        for unit, r in enumerate(within_step_correlation(pooled, pooled.states[wanted])):
            add("within_step_correlation", r, unit)
        for item in steps:
            for value in np.unique(item.concept):
                means = item.states[wanted][item.concept == value].mean(0)
                for unit, mean in enumerate(means):
                    add(f"{MEAN_AT}{value:g}", mean, unit, item.step)
    return tabulate(rows)


def curves(frame: pd.DataFrame, network: str) -> pd.DataFrame:
    """Return one network's means as columns unit, step, concept, value, and each unit's correlation.

    Args:
        frame: what `measure` returned.
        network: the network's name.

    Raises:
        ProbeError: the network was not measured.
    """
    own = frame[frame["network"] == network]
    if own.empty:
        raise ProbeError(f"The table has no network {network!r}; it has {sorted(set(frame['network']))}.")
    correlation = own[own["metric"] == "within_step_correlation"].set_index("units")["value"]
    means = own[own["metric"].str.startswith(MEAN_AT)]
    found = means[["units", "step", "value"]].rename(columns={"units": "unit"})
    found.insert(2, "concept", means["metric"].str.removeprefix(MEAN_AT).astype(float))
    found["correlation"] = found["unit"].map(correlation)
    found["unit"] = found["unit"].astype(int)
    return found.sort_values(["unit", "step", "concept"], ignore_index=True)


def draw(
    frame: pd.DataFrame,
    *,
    network: str | None = None,
    unit: int = 0,
    steps: Iterable[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one unit's mean over the concept's value, a line a step, early steps dark and late ones light.

    Args:
        frame: what `measure` returned.
        network: whose unit, or None for the first network of the table.
        unit: which.
        steps: which steps, or None for all.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the network, the unit or a step was not measured.
    """
    ax = axes_or_new(ax)
    own = curves(frame, network or str(frame["network"].iloc[0]))
    picked = own[own["unit"] == unit]
    if picked.empty:
        raise ProbeError(f"The table has no unit {unit}; it has 0 to {own['unit'].max()}.")
    known = sorted(set(own["step"].astype(int)))
    chosen = known if steps is None else list(steps)
    if not set(chosen) <= set(known):
        raise ProbeError(f"steps={chosen} were not all measured; the table has {known}.")
    for number, step in enumerate(chosen):
        line = picked[picked["step"] == step]
        ax.plot(
            line["concept"],
            line["value"],
            color=matplotlib.colormaps[SEQUENTIAL](LIGHTEST * number / max(len(chosen) - 1, 1)),
            linestyle=LINESTYLES[number % len(LINESTYLES)],
            linewidth=1.4,
            # One point makes no line.
            marker="o" if len(line) == 1 else "none",
            markersize=3,
            clip_on=False,
            label=f"step {step}",
        )
    title = f"unit {unit}, r = {picked['correlation'].iloc[0]:.2f}".replace("-", "\N{MINUS SIGN}")
    ax.set_title(title, fontweight="normal", loc="center")
    return ax


def strongest_units(frame: pd.DataFrame, network: str) -> list[int]:
    """Return a network's units, the one that correlates most with the concept first."""
    own = frame[(frame["network"] == network) & (frame["metric"] == "within_step_correlation")]
    order = own.assign(size=own["value"].abs()).sort_values("size", ascending=False, kind="stable")
    return [int(unit) for unit in order["units"]]


def draw_grid(
    frame: pd.DataFrame,
    *,
    networks: Sequence[str],
    units: int = 12,
    columns: int = 3,
    steps: Iterable[int] | None = None,
    concept: str = "concept",
) -> Figure:
    """Draw units of networks as small multiples, a block a network, strongest correlation first.

    Panels of one network share their axes, so that a cell that hardly moves looks like one.

    Args:
        frame: what `measure` returned.
        networks: their names, written above their blocks.
        units: how many of each at most.
        columns: panels side by side.
        steps: which steps, or None for all; a dozen panels of every step are heavy and hard to read.
        concept: what the horizontal axis is called.
    """
    ordered = {network: strongest_units(frame, network)[:units] for network in networks}
    rows = [-(-len(chosen) // columns) for chosen in ordered.values()]
    figure = Figure(figsize=(COLUMN_WIDTH, sum(rows) * 1.35 + 0.8), layout="constrained")
    blocks = figure.subfigures(len(networks), 1, squeeze=False, height_ratios=rows)[:, 0]
    chosen_steps = None if steps is None else tuple(steps)
    panel = None
    for block, (network, chosen), count in zip(blocks, ordered.items(), rows, strict=True):
        block.suptitle(network, fontweight="bold", fontsize="medium", x=0.02, ha="left")
        axes = block.subplots(count, columns, squeeze=False, sharex=True, sharey=True)
        for ax in axes.ravel()[len(chosen) :]:
            ax.set_axis_off()
        for unit, panel in zip(chosen, axes.ravel(), strict=False):
            draw(frame, network=network, unit=unit, steps=chosen_steps, ax=panel)
            # Two dozen panels with ticks of their own would weigh more than their lines.
            panel.locator_params(nbins=3)
            panel.tick_params(labelsize="small")
            panel.label_outer(remove_inner_ticks=True)
            panel.patch.set_visible(False)
            panel.title.set_fontsize(8.5)
        block.supylabel(f"mean {frame['signal'].iloc[0].replace('_', ' ')}", fontsize="small")
    blocks[-1].supxlabel(concept, fontsize="small", x=0.1, ha="left")
    if panel is not None:
        handles, names = panel.get_legend_handles_labels()
        # Below, beside the axis: above, the name of a network may be in its way.
        blocks[-1].legend(handles, names, loc="outside lower right", ncols=5, fontsize="small")
    return figure
