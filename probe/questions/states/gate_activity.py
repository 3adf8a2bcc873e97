"""How far open are the gates, after which inputs, and how often are they saturated?

This describes, and has no rule: a gate that goes with the input need not carry what the network remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import FITTED_HEADS, ROLES, measurement, tabulate
from ...evidence.words import largest, listed, said
from ...methods.probing.prefixes import StepStates, check_aligned
from ...plots.legends import figure_legend
from ...plots.networks import draw_median_line
from ...plots.study_figures import drawing, drawn, shortened, some, spread
from ...plots.style import ROLE_STYLE, axes_or_new, new_figure
from ...recurrent.layers import Layer
from ...recurrent.signals import Signal, as_signal
from ...subjects.computed.sample import rows_within_budget
from ...subjects.computed.step_states import step_states
from ...subjects.subject import Subject, as_subjects
from ..question import Answered, Question, Told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ...evidence.findings import DataFigure

QUESTION = "gate_activity"
#: A gate below is nearly closed, above it is nearly open (Karpathy et al. 2015).
LOW, HIGH = 0.1, 0.9
#: With more layers than this only some are drawn, always the lowest and the highest; the height of a row of several.
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
    _ = subject
    return Question("gates", "What do the gates do?", measure, (gated,), ASKED, draw=draw_saturation_grid, tell=tell)


def measure(
    subjects: Sequence[Subject],
    split: Bool[Tensor, "batch time"] | None = None,
    *,
    signals: Iterable[str] | None = None,
    low: float = LOW,
    high: float = HIGH,
) -> pd.DataFrame:
    """Return how far open gates are and how often they are saturated, each distinct prefix counted once.

    Of many sequences a part is drawn, see `probe.subjects.computed.sample`.

    Metrics of each layer that has gates: `mean` at each step, over prefixes and units; with a split also
    `mean_where_true` and `mean_where_false`, over the prefixes at whose step it holds or does not, at each step over
    all units and for each unit over all steps; for each unit `share_low` and `share_high`, the shares of values
    below `low` and above `high`, every step weighing the same.

    Args:
        subjects: what is measured.
        split: divides the steps in two, such as "this input is a one"; None leaves them together.
        signals: which gates; their values must lie between 0 and 1 for the shares to mean saturation. None takes all
            gates of each layer.
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
    wanted = None if signals is None else tuple(as_signal(signal) for signal in signals)
    table = []
    for subject in as_subjects(subjects):
        if split is not None:
            check_aligned(subject.x, split)
        for layer in subject.layers:
            gates = gates_of(layer) if wanted is None else wanted
            name = layer.name if len(subject.layers) > 1 else subject.layer
            values = torch.zeros(subject.x.shape[:2]) if split is None else split
            rows = rows_within_budget(subject, len(gates) * layer.units)
            steps = step_states(subject, gates, layer=layer.name, values=values, rows=rows) if gates else []
            table += [
                measurement(QUESTION, metric, subject.network, value, layer=name, signal=gate, units=unit, step=step)
                for gate in gates
                for metric, value, step, unit in _of_gate(steps, gate, low, high, split is not None)
            ]
    return tabulate(table)


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
    """Draw one gate's mean by step for each role: filled marks where the split holds, hollow where not.

    A line is the median over networks of one role; a band is its 95 % interval.

    Args:
        frame: what `measure` returned, of one layer.
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
    for role, look in ROLE_STYLE.items():
        for metric, name in sides.items():
            own = of_gate[(of_gate["role"] == role) & (of_gate["metric"] == metric)]
            filled = "none" if metric == "mean_where_false" else look.color
            label = ", ".join(filter(None, (role, name)))
            if len(own):
                draw_median_line(own, ax=ax, markersize=4.5, markerfacecolor=filled, label=label, **look.line())
    ax.set_ylim(0, 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("steps read")
    ax.set_ylabel(f"mean {_words(signal)}")
    return ax


def draw_saturation(frame: pd.DataFrame, *, signal: str = Signal.FORGET_GATE, ax: Axes | None = None) -> Axes:
    """Draw how often each unit's gate is nearly closed and nearly open, a mark a unit of a network.

    Args:
        frame: what `measure` returned, of one layer.
        signal: which gate.
        ax: axes to draw into, or None for new ones.
    """
    ax = axes_or_new(ax)
    shares = frame[(frame["signal"] == str(signal)) & frame["metric"].isin(list(SHARES))]
    points = shares.pivot(index=["role", "network", "units"], columns="metric", values="value")
    for role, look in ROLE_STYLE.items():
        if role in points.index:
            own, marks = points.loc[role], {"color": look.color, "markersize": 4, "alpha": 0.6}
            ax.plot(own["share_high"], own["share_low"], look.marker, linestyle="none", label=role, **marks)
    ax.plot([0, 1], [1, 0], color="black", linewidth=0.8, zorder=0)
    ax.set_xlabel("share of values nearly open")
    ax.set_ylabel("share nearly closed")
    ax.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal")
    return ax


def draw_grid(frame: pd.DataFrame, *, labels: tuple[str, str] = ("true", "false")) -> Figure:
    """Draw every measured gate's mean by step: gates side by side, layers below each other, with one legend.

    Args:
        frame: what `measure` returned.
        labels: what the two sides of the split are called.
    """
    by_step = frame[frame["step"].notna()]
    figure = _grid(by_step, 2.0, lambda own, gate, ax: draw(own, signal=gate, labels=labels, ax=ax))
    figure.supxlabel("steps read", fontsize="medium")
    figure.supylabel("mean over units", fontsize="medium")
    return figure


def draw_saturation_grid(frame: pd.DataFrame) -> Figure:
    """Draw `draw_saturation` for every measured gate: gates side by side, layers below each other, with one legend.

    Args:
        frame: what `measure` returned.
    """
    shares = frame[frame["metric"].isin(list(SHARES))]
    figure = _grid(shares, 2.3, lambda own, gate, ax: draw_saturation(own, signal=gate, ax=ax))
    figure.supxlabel("share of values nearly open", fontsize="medium")
    figure.supylabel("share nearly closed", fontsize="medium")
    return figure


def _grid(frame: pd.DataFrame, height: float, panel: Callable[[pd.DataFrame, str, Axes], Axes]) -> Figure:
    """Return a panel a layer and gate, the layers below each other; of many layers `LAYERS`."""
    layers, gates = list(dict.fromkeys(frame["layer"])), list(dict.fromkeys(frame["signal"]))
    shown = [layers[place] for place in spread(len(layers), LAYERS)]
    alone = len(shown) == 1
    # The gates of one layer stand two abreast: three titles are wider than a figure.
    columns = min(len(gates), 2) if alone else len(gates)
    rows = -(-len(gates) // columns) if alone else len(shown)
    figure, axes = new_figure(columns, rows, height=height if alone else ROW, sharex=True, sharey=True)
    titled = set[str]()
    for row, layer in zip([axes.ravel()] if alone else axes, shown, strict=True):
        for spare in row[len(gates) :]:
            spare.remove()
        for ax, gate in zip(row, gates, strict=False):
            own = frame[(frame["layer"] == layer) & (frame["signal"] == gate)]
            if own.empty:
                ax.set_axis_off()
                continue
            _ = panel(own, gate, ax)
            ax.set(xlabel="", ylabel=shortened(layer, 16) if ax is row[0] and not alone else "")
            if gate not in titled:
                titled.add(gate)
                ax.set_title(_words(gate))
    handles = {name: one for ax in axes.ravel() for one, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure_legend(figure, list(handles.values()), list(handles), most=2)
    return figure


def figures(frame: pd.DataFrame, *, labels: tuple[str, str] = ("true", "false")) -> tuple[DataFigure, DataFigure]:
    """Return the pictures of a page: how far open the gates are by step, and how often each unit's are saturated.

    Args:
        frame: what `measure` returned, of the networks that are shown.
        labels: what the two sides of the split are called, such as "after a 1".
    """
    divided = bool((frame["metric"] == "mean_where_true").any())
    by_step = frame[frame["step"].notna() & ((frame["metric"] != "mean") | (not divided))]
    shares = frame[frame["metric"].isin(list(SHARES))]
    keys = ["role", "layer", "signal", "metric"]
    medians = (
        by_step.groupby([*keys, "step"], sort=False)["value"].agg(median="median", networks="size").reset_index()
    )
    ends = medians.groupby(keys, sort=False)["median"].agg(["first", "last"]).reset_index()
    sides = {"mean": "", "mean_where_true": f" {labels[0]}", "mean_where_false": f" {labels[1]}"}
    moved = [
        f"{_named(layer, gate)} ({role}{sides[metric]}): {said(first)} to {said(last)}"
        for role, layer, gate, metric, first, last in ends.itertuples(index=False)
    ]
    low = _shares(frame, "share_low")
    saturated = [
        f"{_named(layer, gate)} ({role}): {high:.0%} nearly open, {low[role, layer, gate]:.0%} nearly closed"
        for (role, layer, gate), high in _shares(frame, "share_high").items()
    ]
    layers = frame["layer"].nunique()
    left_out = f" {LAYERS} of {layers} layers are drawn; the table has all." if layers > LAYERS else ""
    several = frame.groupby("role")["network"].nunique().max() > 1
    lines = " Lines are medians over networks, bands 95 % intervals." if several else ""
    filled = f" Filled marks: {labels[0]}; hollow: {labels[1]}." if divided else ""
    with drawing():
        return (
            drawn(
                draw_grid(by_step, labels=labels),
                name="gates-by-step",
                title="How far open the gates are, by step",
                alt=f"Means at the first and the last step: {some(moved)}.",
                caption=f"A gate's mean over units and prefixes.{lines}{filled}{left_out}",
                data=_filled(medians),
            ),
            drawn(
                draw_saturation_grid(shares),
                name="gate-saturation",
                title="How often each unit's gates are saturated",
                alt=f"Mean shares of saturated values: {some(saturated)}.",
                caption=f"Each mark is one unit of one network: how often its gate is above {HIGH:g} (nearly open) "
                f"and below {LOW:g} (nearly closed). On the diagonal it is always one of them.{left_out}",
                data=_filled(shares[["role", "network", "layer", "signal", "units", "metric", "value"]]),
            ),
        )


def tell(answered: Answered) -> Told:
    """Return which gate of a network is open and which is closed most often, beside its controls, with pictures."""
    role, sentences = answered.subject.network.role, []
    for metric, words in SHARES.items():
        by_role: dict[str, dict[str, float]] = {}
        for (of, *where), share in _shares(answered.table, metric).items():
            by_role.setdefault(of, {})[_named(*where)] = share
        own = by_role.pop(role)
        most, names = max(own.values()), largest(own, "{:.0%}".format)
        if most < HARDLY:
            sentences.append(f"Its gates are hardly ever {words}.")
            continue
        verb, each = ("are", "each ") if len(names) > 1 else ("is", "")
        sentence = f"The {listed(names)} {verb} {words} most often, {each}in {most:.0%} of its values"
        for of, shares in by_role.items():
            if set(names) <= set(shares):
                sentence += f"; {of}: {listed([f'{shares[name]:.0%}' for name in names])}"
        sentences.append(f"{sentence}.")
    meaning = (
        "A unit keeps what it held if its forget gate (in a GRU, its update gate) is nearly always open. If its "
        "gates stay near the middle, it mixes old and new at every step. This describes the gates and claims nothing."
    )
    return Told({"answer": " ".join([*sentences, meaning])}, partial(figures, answered.table))


def _shares(frame: pd.DataFrame, metric: str) -> dict[tuple[str, str, str], float]:
    """Return the mean over units and networks of a share of saturated values, by role, layer and gate."""
    means = frame[frame["metric"] == metric].groupby(["role", "layer", "signal"], sort=False)["value"].mean()
    return {(role, layer, gate): share for role, layer, gate, share in means.reset_index().itertuples(index=False)}


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.loc[:, (frame != "").any()]


def _named(layer: str, gate: str) -> str:
    return f"{_words(gate)} of {layer}" if layer else _words(gate)


def _words(gate: str) -> str:
    return str(gate).replace("_", " ")
