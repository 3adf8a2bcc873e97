"""One string, and everything that the trained network does while it reads it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.pictures.shown import Three
from probe.evidence import DataFigure
from probe.plots.style import AMOUNTS, ROLE_STYLE, SIGNS, new_figure
from probe.recurrent.signals import Signal
from probe.subjects.computed.answers import answers_to
from probe.subjects.computed.ends import ends_of

#: The string of the drawing of an unrolled LSTM, too.
STRING = "0110101101"
#: The rows of the picture, with the letter that each has in formulas, and the values of the ends of its colours.
ROWS = (
    (Signal.INPUT_GATE, "input gate i", AMOUNTS, (0, 1)),
    (Signal.FORGET_GATE, "forget gate f", AMOUNTS, (0, 1)),
    (Signal.CELL_CANDIDATE, "candidate g", SIGNS, (-1, 1)),
    (Signal.CELL_STATE, "cell c", SIGNS, None),
    (Signal.OUTPUT_GATE, "output gate o", AMOUNTS, (0, 1)),
    (Signal.HIDDEN_STATE, "hidden h", SIGNS, (-1, 1)),
)


def one_string(three: Three) -> DataFigure:
    """Draw the count, the answer if asked now, and all gates and states of every unit, bit by bit."""
    bits = [int(letter) for letter in STRING]
    row = int(STRING, 2)
    machine = ends_of(three.trained).machine
    values = {signal: machine.clean.recorded(signal)[row].numpy() for signal, *_ in ROWS}
    asked = [
        float(answers_to(three.trained, torch.tensor(bits[: length + 1], dtype=torch.float32)[None, :, None])[1][0])
        for length in range(len(bits))
    ]
    count = np.cumsum(bits)
    order = np.argsort(values[Signal.CELL_STATE][-1])[::-1]
    data = pd.DataFrame(
        {"bit": bit + 1, "signal": signal.value, "unit": unit, "value": round(value, 2)}
        for signal, table in values.items()
        for bit, units in enumerate(table)
        for unit, value in enumerate(units.tolist())
    )
    return common.picture(
        lambda: _draw(bits, (count, np.array(asked)), {name: table[:, order] for name, table in values.items()}),
        name="one_string",
        title=f"One string, {STRING}, and all that the network computes",
        alt=f"The count rises to {count[-1]}. Asked after each bit the network answers "
        f"{', '.join(f'{answer:.1f}' for answer in asked)}. Below, six bands of {len(order)} units each.",
        caption="Top: the ones so far, and what the network would answer if it were asked now. Below: each row is a "
        "unit, ordered by its cell at the end. Gates: white is shut, black is open. Candidate, cell and hidden: "
        "teal is below zero, gold above it.",
        data=data,
    )


def _draw(bits: list[int], answers: tuple[np.ndarray, np.ndarray], values: dict[Signal, np.ndarray]) -> Axes:
    _, axes = new_figure(1, 1 + len(ROWS), width=3.9, height=0.98, sharex=True)
    top, places = axes[0, 0], np.arange(1, len(bits) + 1)
    for series, color, label in (
        (answers[0], "black", "ones so far"),
        (answers[1], ROLE_STYLE["trained"].color, "answer if asked now"),
    ):
        top.step(places, series, where="mid", color=color, linewidth=1.8)
        top.text(10.7, 9.6 if color != "black" else 1.1, label, ha="right", va="center", fontsize=9)
    top.set(ylim=(-0.8, 10.5), yticks=[0, 5, 10])
    top.tick_params(bottom=False, labelbottom=False)
    for place, bit in zip(places, bits, strict=True):
        top.text(place, 11.2, str(bit), ha="center", va="bottom", fontweight="bold")
    for (signal, label, colors, ends), ax in zip(ROWS, axes[1:, 0], strict=True):
        table = values[signal]
        low, high = ends or (-abs(table).max(), abs(table).max())
        ax.pcolormesh(
            np.arange(0.5, len(bits) + 1), np.arange(table.shape[1] + 1), table.T, cmap=colors, vmin=low, vmax=high
        )
        ax.text(0.3, table.shape[1] / 2, label, ha="right", va="center", fontsize=10)
        ax.set_axis_off()
    for place in places:
        axes[-1, 0].text(place, -1, str(place), ha="center", va="top", fontsize=10)
    axes[-1, 0].text(places.mean(), -4.5, "bits read", ha="center", va="top")
    return top
