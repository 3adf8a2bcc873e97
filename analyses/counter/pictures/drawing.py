"""A drawing of one step of an LSTM with every wire, as wide as what a bit and the count send along it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch

from analyses.counter import common
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.style import GREY, SMALL, new_figure, role_style

WIDTH, HEIGHT = 7.0, 3.2
#: Where each gate stands, in the drawing's own units, and what it does.
GATES = {"f": 2.4, "i": 4.4, "g": 6.4, "o": 8.3}
NAMES = {
    "f": "forget gate\nwhat to keep",
    "i": "input gate\nwhat to let in",
    "g": "candidate\nwhat to write",
    "o": "output gate\nwhat to show",
}
SIGNALS = {"input_gate": "i", "forget_gate": "f", "cell_candidate": "g", "output_gate": "o"}
#: Heights: of the cell's line, of its tanh, of where values are multiplied, of the gates, and of what they read.
CELL, TANH, SCALED, GATE, BUS = 5.4, 4.65, 3.7, 2.2, 1.0
LEFT, RIGHT, ADDED, BIT = 1.5, 9.3, 5.4, 0.9
TIMES = "\N{MULTIPLICATION SIGN}"
#: How far an arrow ends from the middle of a sign and of a box.
SIGN, BOX = 0.27, 0.36
LOOK = role_style("trained").color


def step(tables: Mapping[str, pd.DataFrame]) -> DataFigure:
    """Draw one step, its arrows as wide as the shares that a bit or the count takes along them."""
    data = _shares(tables)
    share = dict(zip(data["what"] + data["letter"], data["share"], strict=True))
    bits = ", ".join(f"{NAMES[letter].partition(chr(10))[0]} {share[f'bit{letter}']:.0%}" for letter in GATES)
    return common.picture(
        lambda: _draw(share),
        name="shares",
        title="How a bit gets in, and how a count is passed on",
        alt=f"Bit and old hidden state go into three gates and the candidate. A bit acts by {bits}. The count gets "
        f"on by the cell {share['countc']:.0%} and by the hidden state {share['counth']:.0%}.",
        caption="Exact shares of the change in the answer (medians). Blue: a bit turns from 0 to 1. Black: a count "
        "is one higher.",
        data=data,
    )


def _shares(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the shares of the gates of what a bit does, and of cell and hidden state of what a count does."""
    rows = []
    trained = only(tables["gate_shares"], metric="gate_share", role="trained")
    trained = trained[trained["network"].str.startswith("counter/")]
    for signal, letter in SIGNALS.items():
        rows.append({"what": "bit", "letter": letter, "share": only(trained, signal=signal)["value"].median()})
    routes = only(tables["routes"], metric="route_share", role="trained")
    routes = routes[routes["network"].str.startswith("counter/")]
    cell = only(routes, signal="cell_state")["value"].median()
    rows += [{"what": "count", "letter": "c", "share": cell}, {"what": "count", "letter": "h", "share": 1 - cell}]
    return pd.DataFrame(rows)


def _draw(share: Mapping[str, float]) -> Axes:
    ax = new_figure(width=WIDTH, height=HEIGHT)[1][0, 0]
    look: dict[str, Any] = {"facecolor": "none", "edgecolor": GREY}
    ax.add_patch(FancyBboxPatch((LEFT, 0.55), RIGHT - LEFT, 5.5, "round,pad=0.02", **look))
    _wires(ax, share)
    for letter, x in GATES.items():
        _boxed(ax, x, GATE, letter)
        ax.text(x, 0.35, NAMES[letter], ha="center", va="top", fontsize=SMALL)
        away, side = (-0.3, "right") if letter == "i" else (0.3, "left")
        ax.text(x + away, GATE, f"{share[f'bit{letter}']:.0%}", ha=side, va="center", fontweight="bold")
    for x, y, sign in (
        (GATES["f"], CELL, TIMES),
        (ADDED, CELL, "+"),
        (ADDED, SCALED, TIMES),
        (GATES["o"], SCALED, TIMES),
    ):
        ax.add_patch(Ellipse((x, y), 0.34, 0.5, facecolor="none", edgecolor="black"))
        ax.text(x, y, sign, ha="center", va="center")
    _boxed(ax, GATES["o"], TANH, "tanh", weight="normal")
    for x, y, said, side in (
        (0.05, CELL, f"c  {share['countc']:.0%}", "left"),
        (0.05, BUS, f"h  {share['counth']:.0%}", "left"),
        (9.95, CELL, "c", "right"),
        (9.95, SCALED, "h", "right"),
    ):
        ax.text(x, y + 0.4, said, ha=side, va="center", fontweight="bold")
    ax.text(BIT, -0.75, "the bit", ha="center", va="center", fontweight="bold")
    ax.set(xlim=(0, 10), ylim=(-1.0, 6.3))
    ax.set_axis_off()
    return ax


def _wires(ax: Axes, share: Mapping[str, float]) -> None:
    """Draw the cell's line above, what the gates read below, and what each of them scales."""
    f, o = GATES["f"], GATES["o"]
    _arrow(ax, (0.05, CELL), (f - SIGN, CELL), share["countc"], "black")
    _arrow(ax, (f + SIGN, CELL), (ADDED - SIGN, CELL), share["countc"], "black")
    _arrow(ax, (ADDED + SIGN, CELL), (9.95, CELL))
    _arrow(ax, (0.05, BUS), (LEFT, BUS), share["counth"], "black")
    ax.plot([LEFT, o], [BUS, BUS], color=GREY, linewidth=1.2)
    ax.plot([BIT, BIT], [-0.45, BUS], color=LOOK, linewidth=1.2)
    for x in GATES.values():
        _arrow(ax, (x, BUS), (x, GATE - BOX))
    ends = {"f": (f, CELL - SIGN), "i": (ADDED - 0.2, SCALED - 0.2), "g": (ADDED + 0.2, SCALED - 0.2)}
    for letter, x in GATES.items():
        end = ends.get(letter, (o, SCALED - SIGN))
        _arrow(ax, (x, GATE + BOX), end, share[f"bit{letter}"], LOOK)
    _arrow(ax, (ADDED, SCALED + SIGN), (ADDED, CELL - SIGN))
    _arrow(ax, (o, CELL), (o, TANH + BOX))
    _arrow(ax, (o, TANH - BOX), (o, SCALED + SIGN))
    _arrow(ax, (o + SIGN, SCALED), (9.95, SCALED))


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], share: float | None = None, color: str = GREY
) -> None:
    width = 1.2 if share is None else 0.8 + 6 * max(share, 0)
    look = {"arrowstyle": "-|>", "mutation_scale": 9, "linewidth": width, "color": color, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, end, **look))


def _boxed(ax: Axes, x: float, y: float, said: str, weight: str = "bold") -> None:
    ax.text(x, y, said, ha="center", va="center", fontweight=weight, bbox={"boxstyle": "round", "fc": "none"})
