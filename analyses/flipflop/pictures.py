"""The figures of the flip-flop's page: one network's states, and what was measured of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.counter.common import picture
from analyses.flipflop.shown import BIT, CELL, NAMES, SEED, STEP, Shown
from analyses.flipflop.subjects import CELLS
from probe.evidence import DataFigure
from probe.plots.legends import figure_legend, legend_above
from probe.plots.networks import draw_role_lines
from probe.plots.spaces import draw_cube, draw_fixed_points, draw_paths, seen
from probe.plots.style import GREY, new_figure, role_style

#: What each cell is called in words.
CALLED = {"lstm": "LSTM", "gru": "GRU", "rnn": "tanh RNN"}
ROLES = ("trained", "fitted head")
#: What is put in, and the score -> what a table calls it.
SCORED = {
    "followed_unpatched": "nothing",
    "followed": "the direction",
    "followed_whole": "the whole state",
    "followed_score": "score of F4",
}
#: The colour of the network that the pictures of one show.
OWN = role_style("trained").color
THIS_ONE = f"the {CALLED[CELL]} of seed {SEED}"


def signs(answer: str) -> str:
    """Return what is answered at a point, `-1,1,1`, as signs."""
    return "".join("\N{MINUS SIGN}" if part.startswith("-") else "+" for part in answer.split(","))


def flows(shown: Shown) -> DataFigure:
    """Draw where the network goes from each saddle with one unstable direction, without input."""
    points, every = shown.points, shown.flows
    saddles = points[points["unstable"] == 1].reset_index(drop=True)

    def draw() -> Figure:
        figure, axes = new_figure(height=5.0)
        ax = _cube(axes[0, 0], points[points["unstable"] <= 1])
        draw_paths([path for path, _ in every], ax=ax, color=OWN, label="without input, off a saddle", width=2.0)
        return _legend(figure, ax, 3)

    ends = pd.DataFrame([pair for _, pair in every], columns=pd.Index(["one side", "other side"]))
    single = single_bits(shown)
    return picture(
        draw,
        name="flows",
        title="What lies between two corners",
        alt=f"Lines from {len(every)} saddles of {THIS_ONE} along the edges of the cube; {single} of them join two "
        "corners that differ in one bit.",
        caption="We push the state off each saddle with one unstable direction, to either side, and let the network "
        "run without input. A line is where it goes. The signs at a corner are the three answers there.",
        data=pd.concat([saddles.drop(columns=["row", "answer"]), ends], axis=1),
    )


def single_bits(shown: Shown) -> int:
    """Return how many of the saddles with one unstable direction lead to two corners that differ in one bit."""
    pairs = [(one.split(","), other.split(",")) for _, (one, other) in shown.flows]
    return sum(sum(a != b for a, b in zip(one, other, strict=True)) == 1 for one, other in pairs)


def task(shown: Shown) -> DataFigure:
    """Draw the pulses of one sequence, and what one network answers after each step."""
    found = shown.interchange

    def draw() -> Figure:
        figure, axes = _rows(found.pulses)
        for row, ax in enumerate(axes):
            _answers(ax, found.base[:, row], color=OWN, label="answer")
        legend_above(axes[0])
        return figure

    pulses = int((found.pulses != 0).sum())
    return picture(
        draw,
        name="task",
        title="The task",
        alt=f"Three rows, one a bit, over {len(found.base)} steps: after each of {pulses} pulses the answer goes to "
        "the sign of the pulse and stays there until the next one.",
        caption=f"What {THIS_ONE} answers to one sequence, which no training saw. A bar is a pulse.",
        data=_table(found.pulses, answer=found.base),
    )


def interchange(shown: Shown) -> DataFigure:
    """Draw one interchange of one bit, with the answers before and after."""
    found = shown.interchange

    def draw() -> Figure:
        figure, axes = _rows(found.pulses)
        for row, ax in enumerate(axes):
            ax.axvline(STEP + 1, color="black", linewidth=1, linestyle=":")
            _answers(ax, found.base[:, row], color=GREY, linestyle="--", label="base as it is")
            _answers(ax, found.patched[:, row], color=OWN, label=f"{NAMES[BIT]} put in")
        legend_above(axes[0])
        return figure

    return picture(
        draw,
        name="interchange-of-one",
        title="One interchange",
        alt=f"After {STEP + 1} steps {NAMES[BIT]} of another sequence is put in: the answer to {NAMES[BIT]} changes "
        f"its sign for {found.changed} steps, until the next pulse; the other two change theirs in {found.others}.",
        caption=f"{THIS_ONE[:1].upper()}{THIS_ONE[1:]}. At the dotted line we put in the coordinate of "
        f"{NAMES[BIT]} of another sequence, whose three bits are all opposite.",
        data=_table(found.pulses, base=found.base, patched=found.patched),
    )


def after(tables: Mapping[str, pd.DataFrame]) -> DataFigure:
    """Draw by steps since the interchange how many answers follow the bit that was put in."""
    frame = following(tables)

    def draw() -> Figure:
        figure, axes = new_figure(1, len(CELLS), height=2.0, sharex=True, sharey=True)
        for ax, cell in zip(axes[:, 0], CELLS, strict=True):
            _ = draw_role_lines(frame[frame["cell"] == cell], ax=ax, at="at")
            ax.set_title(CALLED[cell])
            for line in ax.get_lines():
                line.set_markersize(3)
        axes[-1, 0].set_xlabel("steps since")
        figure.supylabel("share that follow the bit", fontsize="medium")
        axes[0, 0].set_ylim(0, 1.05)
        return _one_legend(figure, list(axes[:, 0]))

    ends = frame.groupby(["cell", "role", "at"], sort=False)["value"].median()
    last = max(frame["at"])
    said = [
        f"{CALLED[cell]}, {role}: {ends[cell, role, 1.0]:.2f} one step later, {ends[cell, role, last]:.2f} after "
        f"{last:.0f}"
        for cell in CELLS
        for role in ROLES
    ]
    medians = frame.groupby(["cell", "role", "at"], sort=False)["value"].median().reset_index()
    return picture(
        draw,
        name="after",
        title="How long a bit lasts",
        alt=f"Medians over networks. {'; '.join(said)}.",
        caption="How many answers follow the bit that we put in, over all three bits. We count answers until the "
        "bit's next pulse. Lines are medians over networks, with their 95 % intervals.",
        data=medians.rename(columns={"at": "steps since", "value": "median share"}),
    )


def following(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return for each network and number of steps since the interchange the share that follows, over its three bits.

    Args:
        tables: the measurements by cell.
    """
    rows = _joined(tables, ["followed_after"])
    weighted = rows.assign(hits=rows["value"] * rows["n"])
    sums = weighted.groupby(["cell", "role", "network", "at"], sort=False)[["hits", "n"]].sum().reset_index()
    return sums.assign(value=sums["hits"] / sums["n"])[["cell", "role", "network", "at", "value"]]


def _cube(ax: Axes, points: pd.DataFrame) -> Axes:
    """Draw the cube of the bits with fixed points in it, the stable ones with their answers."""
    _ = draw_cube(NAMES, ax=ax)
    draw_fixed_points(points, NAMES, ax=ax)
    for _, point in points[points["unstable"] == 0].iterrows():
        place = seen(point[list(NAMES)].to_numpy(float))
        # The two corners nearest to the middle of the picture have room above and below alone.
        inner = np.linalg.norm(place) < 1
        outward = np.array([0.0, 0.16 * np.sign(place[1])]) if inner else place / np.linalg.norm(place) * 0.2
        ax.text(
            place[0] + outward[0],
            place[1] + outward[1],
            signs(str(point["answer"])),
            ha="center",
            va="center",
            fontsize=10,
        )
    return ax


def _legend(figure: Figure, ax: Axes, columns: int) -> Figure:
    figure_legend(figure, *ax.get_legend_handles_labels(), most=columns, where="lower")
    return figure


def _one_legend(figure: Figure, axes: Sequence[Axes]) -> Figure:
    """Put one legend above axes that would show the same one each."""
    for ax in axes:
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
    figure_legend(figure, *axes[0].get_legend_handles_labels())
    return figure


def _rows(pulses: np.ndarray) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row for each bit, its pulses drawn as bars."""
    figure, axes = new_figure(1, pulses.shape[1], height=1.35, sharex=True, sharey=True)
    for row, ax in enumerate(axes[:, 0]):
        at = np.flatnonzero(pulses[:, row])
        ax.bar(at + 1, pulses[at, row], width=0.3, color="black", label="pulse")
        ax.set_ylabel(NAMES[row])
        ax.set_yticks([-1, 1])
        ax.set_ylim(-1.4, 1.4)
        ax.set_xlim(0.3, len(pulses) + 0.7)
    axes[-1, 0].set_xlabel("steps read")
    return figure, list(axes[:, 0])


def _answers(ax: Axes, values: np.ndarray, **look: Any) -> None:
    """Draw the answer after each step: it stands until the next one, and changes where that is read."""
    ends = np.append(np.arange(1, len(values) + 1), len(values) + 0.7)
    ax.step(ends, np.append(values, values[-1]), where="post", **look)


def _table(pulses: np.ndarray, **answers: np.ndarray) -> pd.DataFrame:
    """Return a row for each step and bit: the pulse, and each answer."""
    steps, bits = np.indices(pulses.shape)
    frame = pd.DataFrame({"steps read": steps.ravel() + 1, "bit": bits.ravel() + 1, "pulse": pulses.ravel() + 0.0})
    return frame.assign(**{name: values.ravel().round(4) for name, values in answers.items()})


def _joined(tables: Mapping[str, pd.DataFrame], metrics: Sequence[str]) -> pd.DataFrame:
    """Return some metrics of all cells as one table, with the cell in a column of its own."""
    columns = ["role", "network", "metric", "kind", "at", "value", "n"]
    found = []
    for cell, table in tables.items():
        rows = table[table["metric"].isin(metrics) & table["role"].isin(ROLES)]
        found.append(rows[columns].assign(cell=cell, n=rows["n"].astype(float)))
    return pd.concat(found, ignore_index=True).dropna(axis=1, how="all")
