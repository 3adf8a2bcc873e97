"""A drawing of an LSTM that reads a string: ten steps in a row, and one of them opened."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from analyses.counter import common
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.style import GREY, new_figure

STRING = "0110101101"
WIDTH, HEIGHT = 3.9, 3.7
#: Where each value of the opened step is written, in the drawing's own units, and what its arrow goes to.
LETTERS = {"f": (2.6, 2.0), "i": (4.2, 2.0), "g": (5.8, 2.0), "o": (7.6, 2.0)}
NAMES = {"f": "forget\ngate", "i": "input\ngate", "g": "candidate", "o": "output\ngate"}
CELL, SHOWN = 4.6, 3.3
TIMES = "\N{MULTIPLICATION SIGN}"


def unrolled() -> DataFigure:
    """Draw the ten steps, each with its bit, and the parts of one step."""
    data = pd.DataFrame({"bit": range(1, len(STRING) + 1), "read": [int(bit) for bit in STRING]})
    data["ones so far"] = data["read"].cumsum()
    return common.picture(
        lambda: _draw(None),
        name="drawing",
        title="How the network reads a string",
        alt=f"Ten boxes in a row read the bits of {STRING}; the ones so far go up to {data['ones so far'].iloc[-1]}. "
        "One box is opened below: the forget gate scales the old cell, the input gate times the candidate is added, "
        "and the output gate decides what is shown as the hidden state.",
        caption="Above: ten steps of the same LSTM. Below: one of them.",
        data=data,
    )


def shares(tables: Mapping[str, pd.DataFrame]) -> DataFigure:
    """Draw one step again, its arrows as wide as the shares that a bit or the count takes along them."""
    data = _shares(tables)
    bit, count = (
        {str(letter): float(share) for letter, share in own[["letter", "share"]].to_numpy()}
        for own in (data[data["what"] == "bit"], data[data["what"] == "count"])
    )
    return common.picture(
        lambda: _draw(data),
        name="shares",
        title="Which way a bit gets in, and a count gets on",
        alt="One step of the LSTM with arrows as wide as shares. A bit gets in by "
        + ", ".join(f"{NAMES[letter].replace(chr(10), ' ')} {share:.0%}" for letter, share in bit.items())
        + f". The count gets on by the cell {count['c']:.0%} and by the hidden state {count['h']:.0%}.",
        caption="Exact shares of the change of the answer, medians over 100 networks. From below: a bit that turns "
        "from 0 to 1. From the left: a count that is one higher.",
        data=data,
    )


def said(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return the largest of the shares, in a sentence."""
    share = {what + letter: value for what, letter, value in _shares(tables).itertuples(index=False)}
    return {
        "shares": f"A 1 changes the answer; {share['bitg']:.0%} of that enters by the candidate, and of a count "
        f"{share['countc']:.0%} goes on by the cell (medians)."
    }


def _shares(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the shares of the gates of what a bit does, and of cell and hidden state of what a count does."""
    rows = []
    letters = {"input_gate": "i", "forget_gate": "f", "cell_candidate": "g", "output_gate": "o"}
    trained = only(tables["gate_shares"], metric="gate_share", role="trained")
    trained = trained[trained["network"].str.startswith("counter/")]
    for signal, letter in letters.items():
        rows.append({"what": "bit", "letter": letter, "share": only(trained, signal=signal)["value"].median()})
    routes = only(tables["routes"], metric="route_share", role="trained")
    routes = routes[routes["network"].str.startswith("counter/")]
    cell = only(routes, signal="cell_state")["value"].median()
    rows += [{"what": "count", "letter": "c", "share": cell}, {"what": "count", "letter": "h", "share": 1 - cell}]
    return pd.DataFrame(rows)


def _draw(data: pd.DataFrame | None) -> Axes:
    ax = new_figure(width=WIDTH, height=HEIGHT if data is None else 2.6)[1][0, 0]
    if data is None:
        _steps(ax)
    _opened(ax, {} if data is None else dict(zip(data["what"] + data["letter"], data["share"], strict=True)))
    ax.set(xlim=(0, 10), ylim=(0.1, 9.6 if data is None else 6.3), aspect="auto")
    ax.set_axis_off()
    return ax


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], share: float | None = None) -> None:
    width = 1.2 if share is None else 0.8 + 5 * max(share, 0)
    color = GREY if share is None else "black"
    arrow = FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=9, linewidth=width, color=color, shrinkA=0, shrinkB=0
    )
    ax.add_patch(arrow)


def _steps(ax: Axes) -> None:
    """Draw the ten steps; each group `at-N` appears after the ones before it when the drawing is played."""
    count = 0
    for place, bit in enumerate(STRING):
        x, count = 0.5 + place, count + int(bit)
        gid, look = f"at-{place + 1}", "round,pad=0.02"
        box = FancyBboxPatch((x - 0.28, 7.4), 0.56, 0.75, look, facecolor="none", edgecolor="black", gid=f"{gid}-box")
        ax.add_patch(box)
        weight = "bold" if bit == "1" else "normal"
        ax.text(x, 6.75, bit, ha="center", va="center", fontweight=weight, gid=f"{gid}-bit")
        ax.text(x, 8.65, str(count), ha="center", va="center", gid=f"{gid}-count", fontsize=10)
        if place < len(STRING) - 1:
            _arrow(ax, (x + 0.32, 7.78), (x + 0.68, 7.78))
    ax.text(0.2, 9.3, "ones so far", fontsize=10, va="center")
    for x in (0.25, 0.8):
        ax.plot([x, 1.0 if x < 0.5 else 9.5], [7.35, 6.0], color=GREY, linewidth=0.6, linestyle=":")


def _opened(ax: Axes, shares: dict[str, float]) -> None:
    """Draw one step: the cell's line above, the gates below it, the hidden state at the right."""
    frame = FancyBboxPatch((1.0, 1.0), 8.2, 4.8, boxstyle="round,pad=0.02", facecolor="none", edgecolor=GREY)
    ax.add_patch(frame)
    _arrow(ax, (0.1, CELL), (2.35, CELL), shares.get("countc"))
    _arrow(ax, (2.85, CELL), (4.75, CELL), shares.get("countc"))
    _arrow(ax, (5.25, CELL), (9.9, CELL))
    _arrow(ax, (0.1, 1.4), (2.0, 1.4), shares.get("counth"))
    for x, y, sign in ((2.6, CELL, TIMES), (5.0, CELL, "+"), (5.0, SHOWN, TIMES), (7.6, SHOWN, TIMES)):
        ax.add_patch(Circle((x, y), 0.25, facecolor="none", edgecolor="black"))
        ax.text(x, y, sign, ha="center", va="center")
    for letter, (x, y) in LETTERS.items():
        share = shares.get(f"bit{letter}")
        end = {"f": (2.6, CELL - 0.3), "i": (4.75, SHOWN - 0.15), "g": (5.25, SHOWN - 0.15), "o": (7.6, SHOWN - 0.3)}[
            letter
        ]
        _arrow(ax, (x, y + 0.3), end, share)
        said = letter if share is None else f"{letter} {share:.0%}"
        ax.text(x, y, said, ha="center", va="center", fontweight="bold")
        ax.text(x, y - 0.5, NAMES[letter], ha="center", va="center", fontsize=9)
    _arrow(ax, (5.0, SHOWN + 0.28), (5.0, CELL - 0.28))
    _arrow(ax, (7.6, CELL), (7.6, SHOWN + 0.28))
    _arrow(ax, (7.88, SHOWN), (9.9, SHOWN))
    old = ("c", "h") if not shares else (f"c {shares['countc']:.0%}", f"h {shares['counth']:.0%}")
    ax.text(0.1, CELL + 0.35, old[0], fontweight="bold", va="center")
    ax.text(0.1, 1.85, old[1], fontweight="bold", va="center")
    ax.text(9.45, CELL + 0.35, "c", fontweight="bold", va="center")
    ax.text(9.45, SHOWN + 0.35, "h", fontweight="bold", va="center")
    ax.text(5.0, 0.45, "the bit", ha="center", va="center", fontsize=10)
