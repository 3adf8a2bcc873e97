"""Does the network do its task, on which inputs does it fail, and which of those could nobody have learned?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.abstraction.automata import automaton_of
from ...methods.outputs import per_row
from ...plots.style import MANY, axes_or_new, role_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Group name -> rows of the batch.
Groups = Mapping[str, Sequence[int]]


def measure(
    networks: Sequence[Network],
    x: Tensor,
    labels: Tensor,
    *,
    answer: Callable[[Tensor], Tensor],
    groups: Callable[[Network], Groups],
    trained_on: str = "train",
) -> pd.DataFrame:
    """Return errors by group of rows and by label.

    Metrics: `<group>_error`, the share of the group's rows whose answer is wrong; `<group>_floor`, the share of
    its rows whose label never occurred in the group `trained_on` (for networks that have that group): nobody
    could have learned those; `error_by_label` over all rows (`units` holds the label); `balanced_error`, its
    mean over labels, in which a label with one row weighs as much as one with 252; `automaton_states`, where the
    inputs are all sequences of their length over a finite alphabet: how many states the smallest layered automaton
    that gives the network's answers has, which is what the right answers need where the network makes no error.

    Args:
        networks: what is measured.
        x: inputs, (batch, ...).
        labels: the right classes, (batch).
        answer: from a model's output to the classes answered, (batch).
        groups: names the rows of each group of a network, such as its own test rows.
        trained_on: the group with the rows that the network was trained on.

    Raises:
        ProbeError: a group is empty or names a row beyond the batch, or labels or answers are not one a row.
    """
    truth = per_row("labels", labels, len(x)).cpu().numpy()
    rows = []
    for network in as_networks(networks):
        given = answers(network.model, x, answer=answer)
        wrong = given != truth
        own = groups(network)
        for name, chosen in own.items():
            picked = _rows(name, chosen, len(truth))
            rows.append(measurement("accuracy", f"{name}_error", network, float(wrong[picked].mean())))
            if trained_on in own:
                known = np.unique(truth[_rows(trained_on, own[trained_on], len(truth))])
                unseen = ~np.isin(truth[picked], known)
                rows.append(measurement("accuracy", f"{name}_floor", network, float(unseen.mean())))
        by_label = {int(label): float(wrong[truth == label].mean()) for label in np.unique(truth)}
        rows += [
            measurement("accuracy", "error_by_label", network, error, units=str(label))
            for label, error in by_label.items()
        ]
        rows.append(measurement("accuracy", "balanced_error", network, float(np.mean(list(by_label.values())))))
        automaton = automaton_of(x, given) if x.dim() > 1 else None
        if automaton is not None:
            rows.append(measurement("accuracy", "automaton_states", network, float(automaton.size)))
    return tabulate(rows)


def _rows(name: str, rows: Sequence[int], size: int) -> np.ndarray:
    picked = np.asarray(rows, dtype=np.int64)
    if not picked.size or picked.min() < 0 or picked.max() >= size:
        raise ProbeError(
            f"The group {name!r} must name at least one row from 0 to {size - 1}; it has {picked.size} rows"
            + (f" from {picked.min()} to {picked.max()}." if picked.size else ".")
        )
    return picked


@torch.no_grad()
def answers(model: nn.Module, x: Tensor, *, answer: Callable[[Tensor], Tensor]) -> Int[np.ndarray, " batch"]:
    """Return the classes that a model answers.

    Args:
        model: any module that takes x.
        x: inputs, (batch, ...).
        answer: from the model's output to classes, (batch).

    Raises:
        ProbeError: the answers are not one finite number a row.
    """
    return per_row("answer(...)", answer(model(x)), len(x)).cpu().numpy()


def draw(frame: pd.DataFrame, *, group: str = "test", bound: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw each network's error in one group, its floor, and the bound of a rule.

    The axis is linear up to 1 % and logarithmic above: a trained network and its own initialisation differ by two
    orders of magnitude, and an error of exactly 0 must have a place.

    Args:
        frame: what `measure` returned.
        group: whose error.
        bound: where a rule draws its line, or None.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the group was not measured.
    """
    errors = frame[(frame["metric"] == f"{group}_error") & frame["seed"].notna()]
    if errors.empty:
        raise ProbeError(f"The table has no {f'{group}_error'!r} of networks with a seed; measure that group.")
    ax = axes_or_new(ax)
    seeds = sorted(errors["seed"].astype(int).unique())
    many = len(seeds) > MANY
    ax.set_yscale("symlog", linthresh=0.01, linscale=1.0)
    for subject, rows in errors.groupby("subject", sort=False):
        look = role_style(str(subject))
        ax.plot(
            rows["seed"].astype(int),
            rows["value"],
            color=look.color,
            marker=look.marker,
            markersize=3.5 if many else None,
            linestyle="none",
            label=role_name(subject),
        )
    floors = frame[(frame["metric"] == f"{group}_floor") & (frame["subject"] == "trained")]
    if not floors.empty:
        places, size = floors["seed"].astype(int), 5 if many else 14
        ax.plot(places, floors["value"], linestyle="none", marker="_", markersize=size, color="black")
        ax.plot([], [], linestyle="none", marker="_", markersize=12, color="black", label="floor")
    if bound is not None:
        ax.axhline(bound, color="black", linewidth=1, linestyle=":", label=f"rule: {bound:.0%}", zorder=0)
    ticks = [0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.1, 1]
    ax.set_yticks(ticks, ["0", "0.2 %", "0.4 %", "0.6 %", "0.8 %", "1 %", "10 %", "100 %"])
    ax.set_yticks([], minor=True)
    ax.set_ylim(-0.0005, 1.3)
    if not many:
        ax.set_xticks(seeds)
    ax.set_xlabel("seed")
    ax.set_ylabel(f"share of {group} rows misread")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0, columnspacing=1.2)
    return ax
