"""The answers at other lengths, and the drift of every network."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.pictures.shown import Three
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.style import ROLE_STYLE, STEPS, colours, new_figure
from probe.recurrent.global_state import in_float64
from probe.subjects.alphabet import at_lengths
from probe.subjects.answers import answers_to

#: Beside ten bits.
LENGTHS = (6, 8, 10, 12, 14)
#: Networks whose drifts are nearer than this stand on each other.
WIDTH = 0.03


def answers(three: Three) -> DataFigure:
    """Draw the trained network's mean answer against the ones in the string, a line for each length."""
    rows, model = [], in_float64(three.trained.model)
    for length, at in at_lengths(three.trained, LENGTHS, most=2**14).items():
        _, expected = answers_to(three.trained, at.x.double(), model=model)
        frame = pd.DataFrame({"bits": length, "ones": at.right, "answer": expected})
        rows.append(frame.groupby(["bits", "ones"], as_index=False)["answer"].mean())
    data = pd.concat(rows, ignore_index=True)
    five = data[data["ones"] == 5].set_index("bits")["answer"]
    listed = ", ".join(f"{answer:.1f} after {bits} bits" for bits, answer in five.items())
    return common.picture(
        lambda: _lines(data),
        name="lengths",
        title="One network, other lengths",
        alt=f"Lines, one a length, of the mean answer against the ones. To strings with 5 ones it answers {listed}.",
        caption="",
        data=data,
    )


def _lines(data: pd.DataFrame) -> Axes:
    ax = new_figure(width=3.6, height=3.4)[1][0, 0]
    ax.plot([0, 10], [0, 10], color="black", linestyle="--", linewidth=1)
    colors = colours(max(LENGTHS), STEPS)
    for bits, own in data.groupby("bits"):
        color = colors[int(str(bits)) - 1]
        ax.plot(own["ones"], own["answer"], "o-", color=color, markersize=3.5, linewidth=1.6)
        x, y = own["ones"].iloc[0], own["answer"].iloc[0]
        x, y, side = (x + 0.3, y - 0.45, "left") if x else (x - 0.35, y, "right")
        ax.text(x, y, f"{bits} bits", ha=side, va="center", fontsize=10)
    ax.set(xlabel="ones in the string", ylabel="answer", xlim=(-2.6, 10.4), ylim=(-0.6, 10.4))
    ax.set_xticks(range(0, 11, 2))
    ax.set_yticks(range(0, 11, 2))
    return ax


def drifts(tables: Mapping[str, pd.DataFrame]) -> DataFigure:
    """Draw the drift of every trained network between the programs that it could run."""
    rows = only(tables["other_lengths"], metric="drift", role="trained")
    data = rows[rows["network"].str.startswith("counter/")][["role", "network", "pair", "value"]]
    return common.picture(
        lambda: _dots(data),
        name="drifts",
        title="Added for each missing bit",
        alt=f"{len(data)} dots between 0 and 1: what a network adds for each bit that is missing from ten. Median "
        f"{data['value'].median():.2f}; from {data['value'].min():.2f} to {data['value'].max():.2f}.",
        caption="",
        data=data,
    )


def _dots(data: pd.DataFrame) -> Axes:
    ax = new_figure(width=3.6, height=3.4)[1][0, 0]
    look = ROLE_STYLE["trained"]
    values = data["value"].sort_values().to_numpy()
    bins = pd.Series((values / WIDTH).round())
    heights = bins.groupby(bins).cumcount() + 0.5
    ax.plot(bins * WIDTH, heights, look.marker, color=look.color, markersize=4, rasterized=True)
    top = heights.max()
    for x, name, side in ((0, "counts\nthe ones", "left"), (1, "counts down\non zeros", "right")):
        ax.axvline(x, color="black", linewidth=1, linestyle="--")
        ax.text(x + (0.02 if side == "left" else -0.02), top * 1.12, name, ha=side, va="bottom", fontsize=10)
    ax.set(
        xlabel="added for each missing bit",
        yticks=[],
        ylim=(0, top * 1.5),
        xlim=(-0.08, max(1.2, values.max() + 0.08)),
    )
    ax.spines["left"].set_visible(False)
    return ax
