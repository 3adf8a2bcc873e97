"""Does the answer follow one direction of the state, or one unit, when only that is patched?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.causal.class_means import classes_at
from ...methods.causal.directions import DIRECTIONS
from ...methods.causal.interchange import Interchange
from ...methods.causal.pairs import MOST_PAIRS, Pairs, Put, all_pairs, along, columns
from ...methods.causal.support import FAR, OffSupport
from ...methods.causal.task import Combine, Task, added
from ...methods.machines import Machine
from ...plots.style import ROLE_STYLE, axes_or_new
from ...recurrent.signals import within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "directions"
#: Units stand beside the directions and there are many of them: their pairs are drawn.
PAIRS_OF_UNIT = 2**14
_Value = tuple[str, float, dict[str, str]]
_LABELS = {
    "ols": "least\nsquares",
    "ridge_0.01": "ridge\n0.01",
    "ridge_0.1": "ridge\n0.1",
    "ridge_1": "ridge\n1",
    "logistic": "logistic",
    "slope": "encoding\nslope",
    "unit": "best\nunit",
}


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    combine: Combine = added,
    layer: str | None = None,
    step: int = -1,
    most: int = MOST_PAIRS,
    most_of_unit: int = PAIRS_OF_UNIT,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how far answers follow single directions of the state, and single units.

    A direction is found on the distinct states at the step and the source's part along it put into the base's state.
    Metrics, one value for each kind of direction (`signal`): `direction_score` = (IIA - IIA of no patch) / (IIA of
    the whole state - IIA of no patch), `direction_iia`, `direction_shift` of the expected answer, and
    `direction_off_support`, the median distance of patched states from the states that occur, in spacings of the
    concept. `unit_score`, `unit_iia`, `unit_shift`, `unit_off_support`: the same of each unit (`units`), all numbers
    of a state that are its own. `best_unit_score`: the largest score of a unit.

    A score is left out where the whole state answers as no patch does, and a direction where there is none.

    Args:
        networks: what is measured.
        x: inputs of equal length.
        concept: what the state is thought to hold, (batch, time).
        answer: from a model's output to answers on the concept's scale, (batch,).
        expected: from a model's output to expected answers, (batch,).
        combine: what the answer should be after a patch, see `probe.methods.causal.task`.
        layer: the layer's name, or None for the only one.
        step: after which step.
        most: the most pairs that are run along a direction; more are drawn.
        most_of_unit: the same for a unit.
        seed: of the drawing.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), the step or the layer does not exist, or a model's
            answer depends on more than one layer's last state.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3; Geiger et al. 2024, Finding alignments
        between interpretable causal variables and distributed representations.
    """
    (step,) = within("step", (step,), x.shape[1], "the input's time axis")
    task = Task(concept, combine)
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        along_directions, of_units = (all_pairs(machine, step, most=n, seed=seed) for n in (most, most_of_unit))
        found = _of_directions(along_directions, task, seed) + _of_units(of_units, task, seed)
        for metric, value, place in found:
            if not math.isnan(value):
                rows.append(measurement(QUESTION, metric, network, value, layer=layer or "", step=step, **place))
    return tabulate(rows)


def _of_directions(pairs: Pairs, task: Task, seed: int) -> list[_Value]:
    classes, scores_of = classes_at(pairs.machine, task, pairs.step), _scores_of(pairs, task, seed)
    found: list[_Value] = []
    for kind, find in DIRECTIONS.items():
        direction = find(classes)
        if np.linalg.norm(direction):
            scores = scores_of(along(direction))
            found += [(f"direction_{name}", value, {"signal": kind}) for name, value in scores.items()]
    return found


def _of_units(pairs: Pairs, task: Task, seed: int) -> list[_Value]:
    machine, scores_of = pairs.machine, _scores_of(pairs, task, seed)
    by_unit = [scores_of(columns(machine.dynamics.unit(unit))) for unit in range(machine.dynamics.units)]
    found: list[_Value] = []
    for unit, scores in enumerate(by_unit):
        found += [(f"unit_{name}", value, {"units": str(unit)}) for name, value in scores.items()]
    known = [unit for unit, scores in enumerate(by_unit) if not math.isnan(scores["score"])]
    if known:
        best = max(known, key=lambda unit: by_unit[unit]["score"])
        found.append(("best_unit_score", by_unit[best]["score"], {"units": str(best)}))
    return found


def _scores_of(pairs: Pairs, task: Task, seed: int) -> Callable[[Put], dict[str, float]]:
    """Return what gives the scores of a put."""
    experiment, support = Interchange(pairs, task), OffSupport(pairs, task, seed=seed)

    def scores_of(put: Put) -> dict[str, float]:
        scores, far = experiment.scores(put), support.distance(put)
        return {"score": scores.score, "iia": scores.iia, "shift": scores.shift, "off_support": far}

    return scores_of


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the score of each kind of direction and of the best unit, a marker a network; hollow: off the support.

    Args:
        frame: what `measure` returned.
        threshold: the bound of a rule for least squares, or None.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has no score.
    """
    table = scores_by_kind(frame)
    if table.empty:
        raise ProbeError("The table has no direction_score; measure the question first.")
    ax = axes_or_new(ax)
    subjects = [subject for subject in ROLE_STYLE if (table["subject"] == subject).any()]
    width = 0.8 / len(subjects)
    for place, subject in enumerate(subjects):
        look, own = ROLE_STYLE[subject], table[table["subject"] == subject]
        for column, kind in enumerate(_LABELS):
            rows = own[own["kind"] == kind].sort_values("network")
            spread = np.linspace(-width / 3, width / 3, len(rows)) if len(rows) > 1 else np.zeros(len(rows))
            at = column + (place - (len(subjects) - 1) / 2) * width + spread
            far = (rows["off_support"] > FAR).to_numpy()
            for hollow in (False, True):
                ax.plot(
                    at[far == hollow],
                    rows["score"].to_numpy(float)[far == hollow],
                    look.marker,
                    color=look.color,
                    markerfacecolor="none" if hollow else look.color,
                    markersize=4.5,
                )
        ax.plot([], [], look.marker, color=look.color, markersize=5, label=role_name(subject))
    if threshold is not None:
        ax.plot([-0.45, 0.45], [threshold] * 2, color="black", linewidth=1)
    ax.axhline(0, color="black", linewidth=0.8, linestyle=":", zorder=0)
    ax.set_xticks(range(len(_LABELS)), list(_LABELS.values()))
    ax.set_xlim(-0.5, len(_LABELS) - 0.5)
    ax.set_ylabel("interchange score")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(subjects), borderaxespad=0, columnspacing=1.2)
    return ax


def scores_by_kind(frame: pd.DataFrame) -> pd.DataFrame:
    """Return score, shift and off-support distance of every direction and of each network's best unit.

    Args:
        frame: what `measure` returned.

    Returns:
        A row for each network and kind: `network`, `subject`, `kind`, `score`, `shift`, `off_support`.
    """
    import pandas as pd

    best = frame[frame["metric"] == "best_unit_score"].set_index("network")["units"]
    names = ("score", "shift", "off_support")
    directions = frame[frame["metric"].isin([f"direction_{name}" for name in names])]
    units = frame[frame["metric"].isin([f"unit_{name}" for name in names])]
    units = units[units["units"] == units["network"].map(best)].assign(signal="unit")
    both = pd.concat([directions, units])
    both = both.assign(metric=both["metric"].str.replace(r"^[a-z]+_", "", n=1, regex=True), kind=both["signal"])
    order = {kind: place for place, kind in enumerate(_LABELS)}
    both = both.assign(place=both["kind"].map(order))
    wide = both.pivot(index=["network", "subject", "place", "kind"], columns="metric", values="value").reset_index()
    return wide.reindex(columns=["network", "subject", "kind", *names]).dropna(subset="score").reset_index(drop=True)
