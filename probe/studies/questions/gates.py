"""How far open are the gates, and how often are they saturated?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.findings import DataFigure, Finding
from ...evidence.measurements import tabulate
from ...plots.study_figures import drawing, drawn, shortened, spread
from ...plots.style import BLUE, GREEN, ORANGE, new_figure
from ..rows import row, said
from ..sampling.activations import Activations
from ..sampling.network_states import HIGH, LOW, Gate

_LOOKS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, ":", "^"))
#: With more layers than this only some are drawn, always the lowest and the highest.
LAYERS = 6
TITLE = "What do the gates do?"


def ask(activations: Activations, question: str) -> Finding:
    """Return how far open the gates of each layer are; a plain RNN has none."""
    gates = activations.network.gates
    if not gates:
        note = "A plain RNN has no gates: its hidden state follows from its input and its last state."
        return Finding(question, TITLE, tabulate([]), notes={"answer": note})
    rows = []
    for gate in gates:
        where = {"layer": gate.layer, "signal": gate.signal}
        for metric, shares in (("share_low", gate.low), ("share_high", gate.high)):
            rows += [row(question, metric, share, units=str(unit), **where) for unit, share in enumerate(shares)]
        means = gate.by_step
        rows += [
            row(question, "mean", mean, step=step, **where) for step, mean in enumerate(means) if np.isfinite(mean)
        ]
    figures = (_saturation(question, gates), _by_step(question, gates))
    return Finding(question, TITLE, tabulate(rows), (), figures, notes={"answer": _answer(gates)})


def _answer(gates: list[Gate]) -> str:
    parts = [
        f"{_name(gate)}: {said(float(gate.low.mean()))} of its values below {LOW}, {said(float(gate.high.mean()))} "
        f"above {HIGH}"
        for gate in gates
    ]
    return (
        "; ".join(parts)
        + ". A unit keeps its value if its forget gate (in a GRU, its update gate) is nearly always open. If its "
        "gates stay near the middle, it mixes old and new at every step. This is a description without a control."
    )


def _name(gate: Gate) -> str:
    return f"{gate.layer} {gate.signal.replace('_', ' ')}"


def _layers(gates: list[Gate]) -> tuple[list[str], list[str], str]:
    """Return the layers, the layers that are drawn, and a sentence if some are not drawn."""
    layers = list(dict.fromkeys(gate.layer for gate in gates))
    shown = [layers[place] for place in spread(len(layers), LAYERS)]
    note = f" {len(shown)} of {len(layers)} layers are drawn; the table has all." if shown != layers else ""
    return layers, shown, note


def _saturation(question: str, gates: list[Gate]) -> DataFigure:
    layers, shown, left_out = _layers(gates)
    data = pd.DataFrame(
        [
            (gate.layer, str(gate.signal), unit, low, high)
            for gate in gates
            for unit, (low, high) in enumerate(zip(gate.low, gate.high, strict=True))
        ],
        columns=["layer", "gate", "unit", "share nearly closed", "share nearly open"],
    )
    with drawing():
        columns = min(3, len(shown))
        figure, axes = new_figure(columns, -(-len(shown) // columns), height=2.5, sharex=True, sharey=True)
        for ax, layer in zip(axes.ravel(), shown, strict=False):
            of_layer = [gate for gate in gates if gate.layer == layer]
            for (color, _, marker), gate in zip(_LOOKS, of_layer, strict=False):
                label = str(gate.signal).replace("_", " ")
                ax.plot(
                    gate.high, gate.low, marker, color=color, markersize=4, alpha=0.6, linestyle="none", label=label
                )
            ax.plot([0, 1], [1, 0], color="black", linewidth=0.8, zorder=0)
            ax.set_title(shortened(layer, 24 // columns + 4))
            ax.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal")
        for ax in axes.ravel()[len(shown) :]:
            ax.set_axis_off()
        figure.supxlabel(f"share of values above {HIGH}", fontsize="medium")
        figure.supylabel(f"share below {LOW}", fontsize="medium")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3)
        most = data.sort_values("share nearly open", ascending=False, kind="stable").iloc[0]
        alt = (
            f"{several(len(data), 'gate unit')} of {several(len(layers), 'layer')}; the one that is most often open "
            f"is unit {most['unit']} of the {most['gate'].replace('_', ' ')} of {most['layer']}, in "
            f"{said(float(most['share nearly open']))} of its values."
        )
        caption = (
            "One mark for each unit of a gate. At the right the gate is nearly always open, at the top nearly always "
            f"closed, at the lower left in between. After Karpathy, Johnson and Li 2015, section 4.2.{left_out}"
        )
        return drawn(figure, name=f"{question}-saturation", title="Saturation", alt=alt, caption=caption, data=data)


def _by_step(question: str, gates: list[Gate]) -> DataFigure:
    layers, shown, left_out = _layers(gates)
    data = pd.DataFrame(
        [(gate.layer, str(gate.signal), step, mean) for gate in gates for step, mean in enumerate(gate.by_step)],
        columns=["layer", "gate", "step", "mean"],
    ).dropna(subset="mean")
    with drawing():
        columns = min(3, len(shown))
        figure, axes = new_figure(columns, -(-len(shown) // columns), height=2.3, sharey=True)
        for ax, layer in zip(axes.ravel(), shown, strict=False):
            of_layer = [gate for gate in gates if gate.layer == layer]
            for (color, line, _), gate in zip(_LOOKS, of_layer, strict=False):
                label = str(gate.signal).replace("_", " ")
                ax.plot(np.arange(len(gate.by_step)), gate.by_step, color=color, linestyle=line, label=label)
            ax.set_title(shortened(layer, 24 // columns + 4))
            ax.set_ylim(0, 1)
        for ax in axes.ravel()[len(shown) :]:
            ax.set_axis_off()
        figure.supxlabel("step", fontsize="medium")
        figure.supylabel("mean over units", fontsize="medium")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3)
        first = gates[0]
        alt = (
            f"Mean of the gates of {several(len(layers), 'layer')} over {len(first.by_step)} steps; the "
            f"{first.signal.replace('_', ' ')} of {first.layer} begins at {said(float(first.by_step[0]))}."
        )
        caption = f"Mean over units and the sequences that have the step.{left_out}"
        return drawn(figure, name=f"{question}-steps", title="By step", alt=alt, caption=caption, data=data)
