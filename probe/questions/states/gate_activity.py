"""How far open are the gates, after which inputs, and how often are they saturated?

This describes, and has no rule: a gate that goes with the input need not carry what the network remembers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ...evidence.claims import called
from ...evidence.measurements import FITTED_HEADS, ROLES, measurement, tabulate
from ...methods.probing.prefixes import StepStates, check_aligned
from ...number_of_controls import RANDOM_NETWORKS
from ...plots.legends import entries, figure_legend, spread
from ...plots.networks import draw_median_line
from ...plots.study_figures import shortened
from ...plots.style import ROLE_STYLE, new_figure
from ...recurrent.layers import Layer
from ...recurrent.signals import Signal
from ...subjects.states import rows_within_budget, step_states
from ...subjects.subject import Subject, as_subjects
from ..question import Answered, Question, Told
from ..told import figure_of

QUESTION = "gate_activity"
#: What the picture shows.
CAPTION = "A gate's mean over units and prefixes."
#: A gate below is nearly closed, above it is nearly open (Karpathy et al. 2015).
LOW, HIGH = 0.1, 0.9
#: With more layers than this only some are drawn, with the lowest and the highest; the height of a row of several.
LAYERS, ROW = 4, 1.8
#: Shares below are written as "hardly ever".
HARDLY = 0.005
#: Metric of the mean at a step -> whether it is over the steps where the split holds, does not, or over all.
MEANS = {"mean": None, "mean_where_true": True, "mean_where_false": False}
SHARES = {"share_high": "nearly open", "share_low": "nearly closed"}
#: A fitted head reads the gates of another network of the study.
ASKED = tuple(role for role in ROLES if role not in (*FITTED_HEADS, "null"))


def gates_of(layer: Layer) -> tuple[Signal, ...]:
    """Return the gates of a layer, in the order in which it computes them; a plain RNN has none."""
    return tuple(signal for signal in layer.signals if signal.endswith("_gate"))


def gated(subject: Subject) -> str | None:
    """Gates in one of its layers, whatever they do."""
    if any(gates_of(layer) for layer in subject.layers):
        return None
    return "A plain RNN has no gates, and its hidden state follows from its input and its last state"


def question(subject: Subject) -> Question:
    """Return the question what the gates of a network's layers do."""
    return Question(
        "gates",
        "What do the gates do?",
        measure,
        (gated,),
        ASKED,
        draw=draw,
        tell=tell,
        copies=RANDOM_NETWORKS,
        caption=CAPTION,
    )


def measure(subjects: Sequence[Subject], split: Bool[Tensor, "batch time"] | None = None) -> pd.DataFrame:
    """Return how far open gates are and how often they are saturated, each distinct prefix counted once.

    Of many sequences a part is drawn.

    Metrics of each gate: `mean` at each step, over prefixes and units; with a split also `mean_where_true` and
    `mean_where_false`, over the prefixes at whose step it holds or does not, at each step over all units and for each
    unit over all steps; for each unit `share_low` and `share_high`, the shares of values below 0.1 and above 0.9,
    every step weighing the same.

    Args:
        split: divides the steps in two, such as "this input is a one"; None leaves them together.

    Raises:
        ProbeError: the split is not aligned to (batch, time), or the layer does not exist.

    Reference:
        Karpathy, Johnson & Li 2015, Visualizing and understanding recurrent networks, section 4.2.
    """
    table = []
    for subject in as_subjects(subjects):
        if split is not None:
            check_aligned(subject.x, split)
        values = torch.zeros(subject.x.shape[:2]) if split is None else split
        for layer in subject.layers:
            gates = gates_of(layer)
            name = layer.name if len(subject.layers) > 1 else subject.layer
            rows = rows_within_budget(subject, len(gates) * layer.units)
            steps = step_states(subject, gates, layer=layer.name, values=values, rows=rows) if gates else []
            table += [
                measurement(QUESTION, metric, subject.network, value, layer=name, signal=gate, units=unit, step=step)
                for gate in gates
                for metric, value, step, unit in _of_gate(steps, gate, split is not None)
            ]
    return tabulate(table)


def _of_gate(steps: list[StepStates], gate: Signal, divided: bool) -> Iterator[tuple[str, float, int | None, str]]:
    """Yield each metric with its value, step and unit."""
    for metric, side in MEANS.items() if divided else [("mean", None)]:
        by_unit = []
        for item in steps:
            values = item.states[gate] if side is None else item.states[gate][item.concept.astype(bool) == side]
            if len(values):
                yield metric, float(values.mean()), item.step, ""
                by_unit.append(values.mean(0))
        if by_unit and side is not None:
            for unit, mean in enumerate(np.mean(by_unit, 0)):
                yield metric, float(mean), None, str(unit)
    for metric, hits in (
        ("share_low", [item.states[gate] < LOW for item in steps]),
        ("share_high", [item.states[gate] > HIGH for item in steps]),
    ):
        for unit, share in enumerate(np.mean([hit.mean(0) for hit in hits], 0)):
            yield metric, float(share), None, str(unit)


def draw(frame: pd.DataFrame, *, labels: tuple[str, str] = ("true", "false")) -> Figure:
    """Draw each gate's mean by step: gates side by side, layers below each other, with one legend.

    A line is the median over networks of one role; a band is its 95 % interval. Marks are filled where the split
    holds, and hollow where not.
    """
    divided = bool((frame["metric"] == "mean_where_true").any())
    rows = frame[frame["step"].notna() & ((frame["metric"] != "mean") | (not divided))]
    layers, gates = list(dict.fromkeys(rows["layer"])), list(dict.fromkeys(rows["signal"]))
    shown = [layers[place] for place in spread(len(layers), LAYERS)]
    height = 3.0 if len(shown) == 1 else ROW
    figure, axes = new_figure(len(gates), len(shown), height=height, sharex=True, sharey=True)
    for row, layer in zip(axes, shown, strict=True):
        for ax, gate in zip(row, gates, strict=True):
            _panel(ax, rows[(rows["layer"] == layer) & (rows["signal"] == gate)], labels)
        if len(shown) > 1:
            row[0].set_ylabel(shortened(layer, 16))
    for ax, gate in zip(axes[0], gates, strict=True):
        ax.set_title(_named("", gate))
    _ = figure_legend(figure, *entries(*axes.ravel()), most=2)
    figure.supxlabel(
        "steps read" + f" ({LAYERS} of {len(layers)} layers)" * (len(layers) > LAYERS), fontsize="medium"
    )
    figure.supylabel("mean over units", fontsize="medium")
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, labels: tuple[str, str]) -> None:
    sides = {"mean": "", "mean_where_true": labels[0], "mean_where_false": labels[1]}
    for role, look in ROLE_STYLE.items():
        for metric, name in sides.items():
            own = rows[(rows["role"] == role) & (rows["metric"] == metric)]
            filled = "none" if metric == "mean_where_false" else look.color
            label = ", ".join(filter(None, (role, name)))
            if len(own):
                draw_median_line(own, ax=ax, markersize=4.5, markerfacecolor=filled, label=label, **look.line())
    ax.set_ylim(0, 1)
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))


def tell(answered: Answered) -> Told:
    """Return which gate of a network is nearly open and nearly closed most often, and how often in its controls."""
    high, low = (_most(answered, metric, words) for metric, words in SHARES.items())
    setup = f"A gate is nearly open above {HIGH:g} and nearly closed below {LOW:g} (Karpathy et al. 2015)."
    title, caption = "How far open the gates are, by step", CAPTION
    figure = figure_of(answered, draw, "mean", title=title, alt=f"{high} {setup}", caption=caption)
    return Told({"answer": f"{high} {low}", "setup": setup}, figure)


def _most(answered: Answered, metric: str, words: str) -> str:
    """Return the sentence on the gate with the largest share of values, and on the same gate of the controls."""
    rows = answered.table[answered.table["metric"] == metric]
    shares = rows.groupby(["role", "network", "layer", "signal"], sort=False)["value"].mean()
    shares = shares.groupby(["role", "layer", "signal"], sort=False).max()
    own = shares[answered.subject.network.role]
    layer, gate = own.idxmax()
    if own.max() < HARDLY:
        return f"Its gates are hardly ever {words}."
    alike = " (others have as many)" if (own > own.max() - HARDLY).sum() > 1 else ""
    others = shares.drop(answered.subject.network.role).reset_index()
    others = others[(others["layer"] == layer) & (others["signal"] == gate)]
    beside = "".join(
        f"; {called(rows, role, 'highest')}: {share:.0%}" for role, share in others[["role", "value"]].to_numpy()
    )
    return f"The {_named(layer, gate)} has the most values that are {words}, {own.max():.0%}{alike}{beside}."


def _named(layer: str, gate: str) -> str:
    words = str(gate).replace("_", " ")
    return f"{words} of {layer}" if layer else words
