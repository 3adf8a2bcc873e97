"""How the answer moves from bit to bit: of three networks, and of the hundred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.counter import common
from analyses.counter.explored import EXAMPLE, PLACES
from analyses.counter.labels import ENDS
from analyses.counter.pictures.shown import CALLED, Three
from models.tasks import bit_strings
from probe.evidence import DataFigure
from probe.plots.style import SMALL, STEPS, colours, new_figure
from probe.subjects.answers import answers_by_length
from probe.subjects.ends import machine_of
from probe.subjects.subject import Subject

BITS = common.STRINGS.shape[1]
#: From this bit on it is counted what a bit does: before it most answers are near where they start.
FROM, CALLED_FROM = 6, "the sixth bit"
#: So many strings are drawn, thin, beside the means.
THIN = 66
#: The first bits, over which answers may rise at first.
EARLY = 3
#: What a bit moves is nothing, or one, to within so much.
NEAR = 0.05
#: The numbers at the ends of lines stand so far apart.
APART = 0.6
#: A panel for every network: so many in a row, and of so many inches.
IN_A_ROW, PANEL = 13, (0.54, 0.6)


@dataclass(frozen=True, eq=False)
class Paths:
    """What a network says after 0 to 10 bits of each of the 1,024 strings.

    Attributes:
        expected: the mean count under its probabilities, (string, 11).
        given: the answer, (string, 11); before the first bit the nearest count to the mean.
    """

    expected: np.ndarray
    given: np.ndarray

    @classmethod
    def of(cls, subject: Subject) -> Paths:
        """Return what a network says, asked after each prefix once."""
        prefixes = {length: bit_strings(length) for length in range(1, BITS + 1)}
        given, expected = answers_by_length(subject, prefixes)
        machine, rows = machine_of(subject), np.arange(2**BITS)
        nothing = machine.answers(torch.zeros(1, machine.dynamics.size, dtype=torch.float64)).expected
        start = np.full(2**BITS, float(nothing[0]))
        both = [
            np.column_stack([first, *(told[length][rows >> (BITS - length)] for length in prefixes)])
            for first, told in ((start, expected), (np.rint(start), given))
        ]
        return cls(*both)

    def moves(self) -> tuple[float, float]:
        """Return by how much a 0 and a 1 move the mean answer, from bit `FROM` on."""
        return moves(self.expected)

    def rise(self) -> float:
        """Return by how much the mean answer rises over the first `EARLY` bits."""
        return float((self.expected[:, EARLY] - self.expected[:, 0]).mean())


def moves(expected: np.ndarray) -> tuple[float, float]:
    """Return by how much a 0 and a 1 move answers (string, 0 to 10 bits), the mean from bit `FROM` on."""
    ones = common.STRINGS[:, FROM - 1 :, 0].numpy() == 1
    by = np.diff(expected, axis=1)[:, FROM - 1 :]
    return float(by[~ones].mean()), float(by[ones].mean())


def hero(three: Three) -> list[DataFigure]:
    """Draw for each of three networks the answer after every bit, a line for each final count, and one string."""
    found = []
    for subject in (three.planted, three.fitted, three.trained):
        role, paths = subject.network.role, Paths.of(subject)
        zero, one = paths.moves()
        does = "counts up" if _counts(zero, one) else "takes zeros off" if _takes(zero, one) else ""
        found.append(
            common.picture(
                lambda paths=paths, role=role: _draw(paths, PLACES[role]),
                name=f"hero_{role.replace(' ', '_')}",
                title=f"{CALLED[role]}: {does}" if does else CALLED[role],
                alt=f"{CALLED[role]}: the answer if asked after 0 to {BITS} bits, a line for the mean over all "
                f"strings of each final count. From bit {FROM} on a 0 moves it by {zero:.2f} and a 1 by {one:.2f}.",
                caption="",
                data=_means(paths),
                max_bytes=60_000,
            )
        )
    return found


def _means(paths: Paths) -> pd.DataFrame:
    """Return the mean answer by final count and bits read, and what is answered to the example."""
    total = common.COUNTS[:, -1].numpy()
    rows = [
        {"strings": f"{count} ones", "bits": bits, "answer": paths.expected[total == count, bits].mean()}
        for count in range(BITS + 1)
        for bits in range(BITS + 1)
    ]
    own = enumerate(paths.given[int(EXAMPLE, 2)])
    rows += [{"strings": EXAMPLE, "bits": bits, "answer": told} for bits, told in own if bits]
    return pd.DataFrame(rows)


def _draw(paths: Paths, place: int) -> Axes:
    ax = new_figure(width=3.4, height=2.8)[1][0, 0]
    total, shades = common.COUNTS[:, -1].numpy(), colours(BITS + 1, STEPS)
    beside = -np.inf
    thin = np.random.default_rng(0).choice(2**BITS, THIN, replace=False)
    for count, shade in enumerate(shades):
        own = paths.expected[thin[total[thin] == count]]
        if len(own):
            # A gap between strings makes them one line.
            x = np.tile([*range(BITS + 1), BITS], len(own))
            y = np.pad(own, ((0, 0), (0, 1)), constant_values=np.nan)
            ax.plot(x, y.ravel(), color=shade, linewidth=0.4, alpha=0.5, zorder=1)
        mean = paths.expected[total == count].mean(0)
        ax.plot(range(BITS + 1), mean, color=shade, linewidth=2, zorder=2)
        beside = max(beside + APART, mean[-1])
        ax.text(BITS + 0.25, beside, f"{count}", va="center", fontsize=SMALL)
    # A page's script draws the reader's string: the first line is how far one bit and one more are.
    ax.plot([1, 2], [0, 1], linewidth=0.5, alpha=0, gid=f"run-{place}-frame")
    own = paths.given[int(EXAMPLE, 2), 1:]
    ax.plot(range(1, BITS + 1), own, color="black", linewidth=2.4, zorder=4, gid=f"run-{place}-line")
    ax.set(xlabel="bits read", ylabel="answer, if asked now", xlim=(0, BITS + 0.9), ylim=(-0.4, BITS + 0.4))
    ax.set_xticks(range(0, BITS + 1, 2))
    ax.set_yticks(range(0, BITS + 1, 2))
    return ax


def hundred(planted: Subject, trained: Mapping[str, Paths]) -> DataFigure:
    """Draw the mean answers of every trained network behind those of a planted one, by what a 0 takes off.

    Args:
        planted: the network in the first panel.
        trained: by name, what each says after every bit.
    """
    zeros = {name: paths.moves()[0] for name, paths in trained.items()}
    order = sorted(zeros, key=lambda name: -zeros[name])
    panels = [("by hand", Paths.of(planted))] + [(_signed(f"{zeros[one]:+.2f}"), trained[one]) for one in order]
    lowering = sum(_takes(*one.moves()) for one in trained.values())
    return common.picture(
        lambda: _draw_all(panels),
        name="hundred",
        title=f"{len(trained)} networks, asked after every bit",
        alt=f"{len(panels)} small panels: the answer if asked after 0 to {BITS} bits, a line for the mean over all "
        f"strings of each even final count. In the first, written by hand, lines fan up. Of {len(trained)} trained "
        f"networks {lowering} take more off for a 0 than twice what a 1 moves.",
        caption="",
        data=pd.concat([_means(paths).assign(network=name) for name, paths in trained.items()]),
        max_bytes=300_000,
    )


def _draw_all(panels: Sequence[tuple[str, Paths]]) -> Figure:
    rows = -(-len(panels) // IN_A_ROW)
    width, height = PANEL
    figure, axes = new_figure(IN_A_ROW, rows, width=IN_A_ROW * width, height=height, sharex=True, sharey=True)
    total, shades = common.COUNTS[:, -1].numpy(), colours(BITS + 1, STEPS)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax, (name, paths) in zip(axes.flat, panels, strict=False):
        ax.axis("off")
        for count in range(0, BITS + 1, 2):
            ax.plot(paths.expected[total == count].mean(0), color=shades[count], linewidth=1)
        ax.set(ylim=(-0.5, BITS + 1.5))
        ax.text(0.5, 1, name, transform=ax.transAxes, ha="center", fontsize=SMALL)
    return figure


def ends(three: Three) -> str:
    """Return what the page's network answers to strings that are alone with their count, where that is wrong."""
    paths, train = Paths.of(three.trained), three.trained.network
    said = []
    for count, called in ENDS.items():
        row = 2**BITS - 1 if count else 0
        told = int(paths.given[row, -1])
        if told != count:
            seen = isinstance(train, common.Studied) and row in train.train
            said.append(f"Trained, it answers {told} to {called}, {'seen' if seen else 'unseen'} in training.")
    return " ".join(said)


def said(three: Three, trained: Iterable[Paths]) -> dict[str, str]:
    """Return what a bit does to the answers of trained networks, and which two strings the page's one misreads."""
    every = list(trained)
    zero, one = np.median([paths.moves() for paths in every], axis=0)
    notes = {"instead": "", "ends": ends(three)}
    if _takes(zero, one):
        rises = "rise at first, then " if np.median([paths.rise() for paths in every]) > 0 else ""
        notes["instead"] = _signed(
            f"They {rises}take zeros off: from {CALLED_FROM} on a 0 moves the answer by {zero:+.2f}, a "
            f"1 by {one:+.2f} (medians). At ten bits, ten minus the zeros is the number of ones."
        )
    return notes


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _counts(zero: float, one: float) -> bool:
    """Return whether a 1 moves the answer by one, and a 0 not at all."""
    return abs(zero) < NEAR and abs(one - 1) < NEAR


def _takes(zero: float, one: float) -> bool:
    """Return whether a 0 takes more off than twice what a 1 moves."""
    return -zero > 2 * abs(one)
