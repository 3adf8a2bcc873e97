"""Which units does the answer need, and how few are enough? The others take another sequence's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.causal.ablation import Resampling
from ...methods.causal.task import Task
from ...methods.machines import Machine
from ...plots.networks import draw_role_lines
from ...plots.style import axes_or_new

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "unit_ablation"
#: A unit whose ablation costs more of the accuracy than this is counted.
COSTLY = 0.05
#: How many of the draws the search for units that suffice uses; what it finds is then measured with all of them.
SEARCH_DRAWS = 4


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    draws: int = 32,
    search_draws: int = SEARCH_DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure what is lost without a unit, and what is kept with a few alone.

    After every step the states of the ablated units (for an LSTM the pairs c_u, h_u) are those of another sequence
    that has read as much, drawn anew for each step; of several units, of the same sequence.
    Metrics: `unit_drop`, own accuracy minus that without the unit (`units`); `unit_answer_change`, the mean absolute
    change of the expected answer; `costly_units`, how many drops exceed .05; `kept_accuracy` of each unit alone;
    `best_kept_accuracy` of the best k units (`units` names them): exact for k = 1, and for each further one the unit
    that adds most; `best_single_unit_score` = (accuracy of the best unit alone - that of none) / (own accuracy - that
    of none), left out where none does as well as all; `own_accuracy`, `none_kept_accuracy`.

    Args:
        networks: what is measured.
        x: inputs of equal length.
        concept: the answer should be its last value, (batch, time).
        answer: from a model's output to answers on the concept's scale, (batch,).
        expected: from a model's output to expected answers, (batch,).
        layer: the layer's name, or None for the only one.
        draws: how many other sequences each prefix is given.
        search_draws: how many of them the search for the next unit uses.
        seed: of the drawing.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), the layer does not exist, no draw is asked for, or
            a model's answer depends on more than one layer's last state.

    Reference:
        Chan et al. 2022, Causal scrubbing; Lakretz et al. 2019, The emergence of number and syntax units, section 3
        (ablation of every unit); docs/science.md, claim 14.
    """
    if not 1 <= search_draws <= draws:
        raise ProbeError(f"search_draws={search_draws} must be from 1 to draws={draws}.")
    task = Task(concept)
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        task.check_fits(machine.clean.inputs)
        ablation = _Ablation(Resampling(machine, draws=draws, seed=seed), task.concept[:, -1])
        for name, value, units in _of_network(ablation, search_draws):
            chosen = " ".join(map(str, units))
            rows.append(measurement(QUESTION, name, network, value, layer=layer or "", units=chosen))
    return tabulate(rows)


@dataclass(frozen=True, eq=False)
class _Ablation:
    """Ablations of units, and the right answers."""

    resampling: Resampling
    wanted: Tensor

    @property
    def units(self) -> range:
        return range(self.resampling.machine.dynamics.units)

    def without(self, units: Sequence[int], draws: int | None = None) -> tuple[float, float]:
        """Return accuracy and mean absolute change of the expected answer without some units."""
        machine = self.resampling.machine
        columns = [column for unit in units for column in machine.dynamics.unit(unit)]
        found = self.resampling.answers(columns, draws)
        count = len(found.chosen) // len(self.wanted)
        hits = found.chosen.double() == self.wanted.repeat_interleave(count)
        change = found.expected - machine.clean.answers.expected.repeat_interleave(count)
        return float(hits.double().mean()), float(change.abs().mean())

    def only(self, units: Sequence[int], draws: int | None = None) -> float:
        """Return the accuracy with some units alone."""
        return self.without([unit for unit in self.units if unit not in units], draws)[0]


def _of_network(ablation: _Ablation, search_draws: int) -> list[tuple[str, float, Sequence[int]]]:
    clean = ablation.resampling.machine.clean.answers
    own = float((clean.chosen.double() == ablation.wanted).double().mean())
    none = ablation.only([])
    found: list[tuple[str, float, Sequence[int]]] = [("own_accuracy", own, []), ("none_kept_accuracy", none, [])]
    drops = []
    for unit in ablation.units:
        accuracy, change = ablation.without([unit])
        drops.append(own - accuracy)
        found += [("unit_drop", drops[-1], [unit]), ("unit_answer_change", change, [unit])]
    found.append(("costly_units", float(np.sum(np.array(drops) > COSTLY)), []))
    alone = [ablation.only([unit]) for unit in ablation.units]
    found += [("kept_accuracy", accuracy, [unit]) for unit, accuracy in enumerate(alone)]
    best = int(np.argmax(alone))
    found.append(("best_kept_accuracy", alone[best], [best]))
    if own != none:
        found.append(("best_single_unit_score", (alone[best] - none) / (own - none), [best]))
    kept = [best]
    while len(kept) < len(ablation.units):
        rest = [unit for unit in ablation.units if unit not in kept]
        added = [ablation.only([*kept, unit], search_draws) for unit in rest] if len(rest) > 1 else [0.0]
        kept = [*kept, rest[int(np.argmax(added))]]
        found.append(("best_kept_accuracy", ablation.only(kept) if len(rest) > 1 else own, kept))
    return found


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the accuracy with the best k units alone: medians over networks; each planted network a line.

    Args:
        frame: what `measure` returned.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has no kept accuracy.
    """
    rows = kept_by_number(frame)
    if rows.empty:
        raise ProbeError("The table has no best_kept_accuracy; measure the question first.")
    ax = draw_role_lines(rows, ax=axes_or_new(ax), at="kept")
    ax.set_ylim(0, 1.05)
    ax.set_xlabel("units kept")
    ax.set_ylabel("accuracy")
    return ax


def draw_drops(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what the ablation of one unit costs, units sorted by it: medians over networks.

    Args:
        frame: what `measure` returned.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has no drop.
    """
    rows = sorted_drops(frame)
    if rows.empty:
        raise ProbeError("The table has no unit_drop; measure the question first.")
    ax = draw_role_lines(rows, ax=axes_or_new(ax), at="rank")
    ax.axhline(COSTLY, color="black", linewidth=1, linestyle=":", zorder=0)
    ax.set_xlabel("units of a network, the costliest first")
    ax.set_ylabel("accuracy lost without it")
    return ax


def kept_by_number(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `best_kept_accuracy` with the number of units kept as the column `kept`, 0 for none.

    Args:
        frame: what `measure` returned.
    """
    rows = frame[frame["metric"].isin(["best_kept_accuracy", "none_kept_accuracy"])]
    return rows.assign(kept=[len(units.split()) for units in rows["units"]]).sort_values(
        ["network", "kept"], kind="stable"
    )


def sorted_drops(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `unit_drop` with each unit's place in its network as the column `rank`, 1 for the largest drop.

    Args:
        frame: what `measure` returned.
    """
    rows = frame[frame["metric"] == "unit_drop"]
    rank = rows.groupby("network")["value"].rank(ascending=False, method="first").astype(int)
    return rows.assign(rank=rank).sort_values(["network", "rank"], kind="stable")
