"""Put the memory of another count into a run: does the answer follow it, and does it follow one cell of it?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.pictures.shown import CALLED, Three
from probe.evidence import DataFigure
from probe.plots.style import ROLE_STYLE, new_figure
from probe.subjects.ends import ends_of
from probe.subjects.subject import Subject

#: After how many bits the memory is put in, and the count of the run that it is put into.
BITS, BASE = 7, 3
WHOLE = "whole memory"
#: A cell that leads the answer nearer than this to the count put in does what the whole memory does.
HALF = 0.5
#: A slope nearer to 1 than this is one for one.
NEAR = 0.05
#: With a slope below this a cell hardly moves the answer.
LITTLE = 0.2


@torch.no_grad()
def answered(subject: Subject) -> pd.DataFrame:
    """Return the count that the answer implies for each count put in: by whole memory, and by each unit alone.

    States after `BITS` bits are put into the runs of every prefix with `BASE` ones, and every suffix follows. The
    implied count is the mean answer minus the mean answer of the base, plus its count.
    """
    machine = ends_of(subject).machine
    prefixes = machine.clean.prefixes[BITS - 1].rows
    ones = common.COUNTS[prefixes, BITS - 1].numpy()
    states = machine.clean.states[prefixes, BITS - 1]
    base = prefixes[torch.as_tensor(ones == BASE)]
    rows = torch.cat([base + offset for offset in range(2 ** (common.STRINGS.shape[1] - BITS))])
    onto = machine.clean.states[rows, BITS - 1]
    clean = float(machine.answers(onto, rows, BITS - 1).expected.mean())
    found = []
    for count in range(BITS + 1):
        given = states[torch.as_tensor(ones == count)]
        put = given[torch.arange(len(rows)) % len(given)]
        cases = {WHOLE: put}
        for unit in range(machine.dynamics.units):
            columns = machine.dynamics.unit(unit)
            cases[f"unit {unit}"] = onto.clone()
            cases[f"unit {unit}"][:, columns] = put[:, columns]
        for name, state in cases.items():
            mean = float(machine.answers(state, rows, BITS - 1).expected.mean())
            found.append({"put in": name, "count": count, "answered": BASE + mean - clean})
    return pd.DataFrame(found)


def curves(three: Three) -> list[DataFigure]:
    """Draw the count put in against the count answered, for the planted and for the trained network."""
    found = []
    for subject in (three.planted, three.trained):
        role, data = subject.network.role, answered(subject)
        best = _steepest(data)
        found.append(
            common.picture(
                lambda data=data, best=best, role=role: _curve(data, best, role),
                name=f"put_in_{role}",
                title=CALLED[role],
                alt=f"{CALLED[role]}: the count put in against the count answered. The whole memory goes from "
                f"{_ends(data, WHOLE)}; the cell that moves the answer most, {best}, from {_ends(data, best)}.",
                caption="",
                data=data.round(3),
            )
        )
    return found


def _steepest(data: pd.DataFrame) -> str:
    """Return the unit whose curve goes furthest."""
    units = data[data["put in"] != WHOLE].groupby("put in", sort=False)["answered"]
    return str((units.max() - units.min()).idxmax())


def _ends(data: pd.DataFrame, name: str) -> str:
    own = data[data["put in"] == name]["answered"]
    return f"{own.iloc[0]:.1f} to {own.iloc[-1]:.1f}"


def _curve(data: pd.DataFrame, best: str, role: str) -> Axes:
    ax = new_figure(width=3.6, height=3.4)[1][0, 0]
    color = ROLE_STYLE[role].color
    for name, own in data.groupby("put in", sort=False):
        if name not in (WHOLE, best):
            ax.plot(own["count"], own["answered"], color=color, linewidth=0.9)
    for name, look, ink in ((WHOLE, "o-", "black"), (best, "s-", color)):
        own = data[data["put in"] == name]
        ax.plot(own["count"], own["answered"], look, color=ink, markersize=5, markerfacecolor="none", clip_on=False)
        label = name if name == WHOLE else f"{name.replace('unit', 'cell')} alone"
        same = name != WHOLE and abs(own["answered"].iloc[-1] - BITS) < HALF
        place = (4.6, 2.2) if same else (7.3, own["answered"].iloc[-1])
        ax.text(*place, f"{label}: the same" if same else label, va="center", fontsize=10)
    ax.set(
        xlabel="ones in the memory that is put in",
        ylabel="ones that the answer counts",
        xlim=(-0.3, 11.4),
        ylim=(-0.5, 7.6),
    )
    ax.set_xticks(range(8))
    return ax


def said(three: Three) -> dict[str, str]:
    """Return what the curves show, in a sentence."""
    data = answered(three.trained)
    best = _steepest(data)
    slopes = {name: np.polyfit(own["count"], own["answered"], 1)[0] for name, own in data.groupby("put in")}
    whole = "one for one" if abs(slopes[WHOLE] - 1) < NEAR else f"with a slope of {slopes[WHOLE]:.2f}"
    alone = "hardly moves it" if slopes[best] < LITTLE else f"moves it with a slope of {slopes[best]:.2f}"
    return {
        "put_in": f"In this network, swap in another string's whole memory, and the answer follows it "
        f"{whole}; the best cell alone {alone}."
    }
