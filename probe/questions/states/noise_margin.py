"""How much noise in its state do the answers survive?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.decomposition.noise import noisy_accuracy
from ...methods.machines import Machine
from ...methods.probing.prefixes import check_aligned
from ...plots.style import ROLE_STYLE, axes_or_new

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "noise_margin"
#: The doses of the curve, in units of each number's sd.
DOSES = (0.001, 0.003, 0.01, 0.03, 0.06, 0.2, 0.5)


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    dose: float = 0.1,
    draws: int = 32,
    doses: Iterable[float] = DOSES,
    curve_draws: int = 8,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure the share of right answers with noise in every number of the state after every step.

    The noise is Gaussian and independent; its sd is the dose times the number's own sd over the sequences at that
    step.

    Metrics: `noisy_accuracy`, one value a network, at `dose`; `accuracy_by_dose` (`units` holds the dose).

    Args:
        networks: what is measured.
        x: inputs of equal length.
        concept: (batch, time); the right answer is the last one.
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers, (batch).
        layer: the layer's name, or None for the only one.
        dose: the one that is judged, in units of the sd.
        draws: how often every sequence runs at it.
        doses: the curve's others.
        curve_draws: how often every sequence runs at each of them.
        seed: of the noise.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), a dose is negative, there is no draw, or the layer
            does not exist.

    Reference:
        docs/science.md, claim 5b.
    """
    check_aligned(x, concept)
    wanted = dict.fromkeys(doses, curve_draws) | {dose: draws}
    correct = concept[:, -1]
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        curve = noisy_accuracy(machine, correct, wanted, seed=seed)
        rows.append(measurement(QUESTION, "noisy_accuracy", network, curve[dose], layer=layer or ""))
        for amount in sorted(curve):
            place: Any = {"layer": layer or "", "units": f"{amount:g}"}
            rows.append(measurement(QUESTION, "accuracy_by_dose", network, curve[amount], **place))
    return tabulate(rows)


def draw(frame: pd.DataFrame, *, dose: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw accuracy by dose: a thin line a network, the median thick.

    Args:
        frame: what `measure` returned.
        dose: the one that is judged, marked, or None.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    curves = frame[frame["metric"] == "accuracy_by_dose"]
    curves = curves.assign(dose=curves["units"].astype(float))
    for subject, look in ROLE_STYLE.items():
        table = curves[curves["subject"] == subject].pivot(index="network", columns="dose", values="value")
        if table.empty:
            continue
        at = table.columns.to_numpy(float)
        if len(table) > 1:
            ax.plot(at, table.to_numpy(float).T, color=look.color, linewidth=0.7, alpha=0.5)
        ax.plot(at, np.median(table.to_numpy(float), axis=0), **look.line(), markersize=5, label=role_name(subject))
    if dose is not None:
        ax.axvline(dose, color="black", linewidth=1, zorder=0)
    ax.set_xscale("log")
    decades = [
        value for value in sorted(curves["dose"].unique()) if value > 0 and float(np.log10(value)).is_integer()
    ]
    ax.set_xticks(decades, [f"{value:g}" for value in decades])
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("noise, in units of each number's own sd")
    ax.set_ylabel("accuracy")
    ax.legend(loc="lower left")
    return ax
