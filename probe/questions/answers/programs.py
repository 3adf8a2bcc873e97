"""Which program does the network run? Its answers are compared with those of rivals, at many lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.intervals import median_interval
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.abstraction import programs as rivals
from ...methods.abstraction.programs import Drifting, Program
from ...methods.outputs import answers_by_length
from ...plots.style import BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, axes_or_new

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "programs"
_LOOKS = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, ":", "^"),
    (PURPLE, "-.", "D"),
    (BROWN, "-", "v"),
    (GREY, "--", "X"),
)


def measure(
    networks: Sequence[Network],
    alphabet: Float[Tensor, "symbol input"],
    programs: Mapping[str, Program | Drifting],
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    lengths: Iterable[int],
    reference: int,
    allowed: Callable[[Tensor], Tensor] | None = None,
    most: int = rivals.MOST,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how often networks answer as programs do, length by length.

    At each length all sequences over the alphabet are asked, or `most` drawn ones where there are more. `signal`
    holds the program's name. Metrics by length (`units`): `agreement`, the share of answers that are a whole number
    nearest to the program's; where sequences were drawn, `agreement_low` and `agreement_high`, its interval at 95 %;
    `distance`, the root of the mean squared difference of the expected answer and the program's. One value a network
    and program: `unseen_agreement`, the mean of `agreement` over the lengths that are neither the reference nor
    fitted on, each of the same weight; `drift` of a fitted program.

    Args:
        networks: what is measured; any model that takes sequences of these lengths.
        alphabet: what a step may read, (symbol, input).
        programs: name -> a function from one sequence (a tuple) to its answer, or a `Drifting` one that is fitted.
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers, (batch).
        lengths: which lengths.
        reference: the length that the networks were trained on.
        allowed: from sequences to which of them are asked, such as those whose answer the network can give.
        most: how many sequences of a length at most.
        seed: of the drawing.

    Raises:
        ProbeError: there is no program or length, no sequence is allowed, or a program returns other than numbers.

    Reference:
        Meloux et al. 2025 (several programs may fit the same behaviour); docs/science.md, "Theorem".
    """
    asked = _asked(alphabet, tuple(lengths), programs, most=most, allowed=allowed, seed=seed)
    x = {length: found.x for length, found in asked.items()}
    read = {length: rivals.as_tuples(batch) for length, batch in x.items()}
    said = {name: _said(name, program, read) for name, program in programs.items()}
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        given, shown = answers_by_length(network.model, x, answer, expected)
        for name, program in programs.items():
            used, own, drift = {reference}, said[name], None
            if isinstance(program, Drifting):
                drift = program.drift(shown, own)
                used |= set(program.fitted_on)
                own = program.at(drift, own)
            found = _scores(asked, given, shown, own, used)
            found += [] if drift is None else [("drift", drift, "")]
            rows += [measurement(QUESTION, m, network, value, signal=name, units=units) for m, value, units in found]
    return tabulate(rows)


def _said(
    name: str, program: Program | Drifting, read: Mapping[int, list[tuple]]
) -> dict[int, Float[np.ndarray, " row"]]:
    """Return what a program answers by length, one that drifts as if it did not."""
    plain = program.program if isinstance(program, Drifting) else program
    return {length: rivals.run_program(name, plain, batch) for length, batch in read.items()}


def _asked(
    alphabet: Tensor, lengths: tuple[int, ...], programs: Mapping[str, object], **options: Any
) -> dict[int, rivals.Sequences]:
    if not lengths or not programs:
        raise ProbeError(f"lengths={lengths} and programs={list(programs)} must both name at least one.")
    asked = {length: rivals.sequences(alphabet, length, **options) for length in sorted(set(lengths))}
    empty = [length for length, found in asked.items() if not len(found)]
    if empty:
        raise ProbeError(
            f"No sequence of the lengths {empty} is allowed; leave these lengths out, or loosen allowed=."
        )
    return asked


def _scores(
    asked: Mapping[int, rivals.Sequences],
    given: Mapping[int, np.ndarray],
    shown: Mapping[int, np.ndarray],
    own: Mapping[int, np.ndarray],
    used: set[int],
) -> list[tuple[str, float, str]]:
    """Return (metric, value, length) of one program; `used` are the lengths that are no test of it."""
    found, unseen = [], []
    for length, sequences in asked.items():
        score = rivals.agreement(given[length], own[length], exhaustive=sequences.exhaustive)
        found.append(("agreement", score.share, str(length)))
        if not sequences.exhaustive:
            low, high = score.interval
            found += [("agreement_low", low, str(length)), ("agreement_high", high, str(length))]
        found.append(("distance", float(np.sqrt(((shown[length] - own[length]) ** 2).mean())), str(length)))
        if length not in used:
            unseen.append(score.share)
    return [*found, ("unseen_agreement", float(np.mean(unseen)), "")] if unseen else found


def draw(
    frame: pd.DataFrame,
    *,
    subject: str = "trained",
    reference: int | None = None,
    bands: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often networks answer as each program does, by length: median over networks, its 95 % interval a band.

    Args:
        frame: what `measure` returned.
        subject: which networks.
        reference: the trained length, marked by a line, or None.
        bands: whether to draw the intervals; those of many programs hide each other.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the subject was not measured.
    """
    rows = frame[(frame["metric"] == "agreement") & (frame["subject"] == subject)]
    if rows.empty:
        raise ProbeError(f"The table has no agreement of subject {subject!r}.")
    ax = axes_or_new(ax)
    for number, (name, own) in enumerate(rows.groupby("signal", sort=False)):
        color, linestyle, marker = _LOOKS[number % len(_LOOKS)]
        by_length = own.assign(length=own["units"].astype(int)).groupby("length")["value"]
        medians = by_length.median()
        lengths = medians.index.to_list()
        ax.plot(
            lengths,
            medians.to_numpy(),
            color=color,
            linestyle=linestyle,
            marker=marker,
            label=str(name),
            markersize=4.5,
        )
        bounds = [median_interval(values.to_numpy()) for _, values in by_length]
        known = [bound for bound in bounds if bound is not None]
        if bands and len(known) == len(lengths):
            low, high = zip(*known, strict=True)
            ax.fill_between(lengths, low, high, color=color, alpha=0.15, linewidth=0)
    if reference is not None:
        ax.axvline(reference, color="black", linewidth=0.8, zorder=0)
    ax.set_xticks(sorted(rows["units"].astype(int).unique()))
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("length of the sequence")
    ax.set_ylabel("share of equal answers")
    return ax
