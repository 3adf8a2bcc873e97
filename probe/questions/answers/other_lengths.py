"""What does the network answer at lengths that it was never trained on?

Theorem (docs/science.md): at one length, "the count" and "the count plus any function of the length" are the
same numbers, so no answer, probe, class mean or interchange on strings of the trained length can tell a network
that counts ones from one that counts zeros backwards, or from anything between. Other lengths can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, role_name, tabulate
from ...methods.outputs import per_row
from ...methods.probing.linear import r_squared
from ...plots.style import MANY, ROLE_STYLE, axes_or_new, role_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "other_lengths"
#: Named programs: what a ones-counter, a balance and a zeros-counter drift by for each bit that is missing.
LANDMARKS = (0.0, 0.5, 1.0)


def measure(
    networks: Sequence[Network],
    inputs: Mapping[int, Tensor],
    concept: Mapping[int, Tensor],
    *,
    expected: Callable[[Tensor], Tensor],
    reference: int = 10,
    drift_over: Iterable[int] = range(6, 15),
    explained_at: Iterable[int] = (8, 9, 11, 12),
    law_from: Iterable[int] = (8, 9, 10),
    law_at: int = 12,
    near: float = 0.1,
) -> pd.DataFrame:
    """Return how the expected answer departs from the concept, length by length.

    With g(L) the mean excess (expected answer minus concept) over the sequences of length L, the drift is
    d = sum g(L) (R - L) / sum (R - L)^2 with R the reference length: what the answer gains for each step that
    is missing. A network whose answer never moves drifts too (by what the concept gains a step on average), so
    a drift is about a mechanism only where the answers are explained by the concept.

    Metrics, one value a network unless said otherwise: `drift`; `absolute_drift`; `near_0`, `near_0.5`,
    `near_1` and `near_none`, 1 or 0; `mean_excess` and `explained_by_concept` by length (`units` holds the
    length), the latter the share of the answer's variance between values of the concept; `least_explained`, its
    smallest over `explained_at`; `law_r_squared`, how well concept + d (R - L) with d from `law_from` predicts
    the answers at `law_at`, and `fixed_law_r_squared` with d = 0, 0.5 and 1 (`units` holds d).

    Args:
        networks: what is measured.
        inputs: length -> sequences of that length, (batch, time, input).
        concept: length -> the concept's final value of each, (batch).
        expected: from a model's output to expected answers on the concept's scale, (batch).
        reference: the length that the network was trained on.
        drift_over: lengths that the drift is fitted to.
        explained_at: lengths for `least_explained`.
        law_from: lengths from which the law is fitted.
        law_at: length that it is tested on.
        near: how near to a landmark a drift is called by its name.

    Raises:
        ProbeError: a length that is needed is missing, or a length's concept does not fit its sequences.
    """
    fitted, explained, law = tuple(drift_over), tuple(explained_at), tuple(law_from)
    _check(inputs, concept, {*fitted, *explained, *law, law_at})
    truth, rows = {length: values.cpu().numpy().astype(float) for length, values in concept.items()}, []
    for network in as_networks(networks):
        answers = {length: _answers(network.model, x, expected) for length, x in inputs.items()}
        excess = {length: float((answers[length] - truth[length]).mean()) for length in sorted(inputs)}
        shares = {length: explained_share(answers[length], truth[length]) for length in sorted(inputs)}
        drift = slope(excess, fitted, reference)
        found: list[tuple[str, float, str]] = [
            *_names(drift, near),
            *(("mean_excess", value, str(length)) for length, value in excess.items()),
            *(("explained_by_concept", value, str(length)) for length, value in shares.items()),
            ("least_explained", min(shares[length] for length in explained), ""),
        ]
        for place, d in (("", slope(excess, law, reference)), *((f"{d:g}", d) for d in LANDMARKS)):
            score = float(r_squared(answers[law_at], truth[law_at] + d * (reference - law_at)))
            found.append(("fixed_law_r_squared" if place else "law_r_squared", score, place))
        rows += [measurement(QUESTION, metric, network, value, units=units) for metric, value, units in found]
    return tabulate(rows)


def _names(drift: float, near: float) -> list[tuple[str, float, str]]:
    close = [abs(drift - landmark) <= near for landmark in LANDMARKS]
    named = [(f"near_{landmark:g}", float(hit), "") for landmark, hit in zip(LANDMARKS, close, strict=True)]
    return [
        ("drift", drift, ""),
        ("absolute_drift", abs(drift), ""),
        *named,
        ("near_none", float(not any(close)), ""),
    ]


def _check(inputs: Mapping[int, Tensor], concept: Mapping[int, Tensor], needed: set[int]) -> None:
    missing = sorted(needed - set(inputs))
    if missing:
        raise ProbeError(f"Lengths {missing} are needed and not among the inputs, which have {sorted(inputs)}.")
    for length, x in inputs.items():
        found = tuple(concept[length].shape) if length in concept else None
        if found != (len(x),) or x.shape[1] != length:
            raise ProbeError(
                f"inputs[{length}] has shape {tuple(x.shape)} and concept[{length}] {found}; they must be "
                f"(batch, {length}, ...) and (batch,), one final value for each sequence."
            )
        _ = per_row(f"concept[{length}]", concept[length], len(x))


@torch.no_grad()
def _answers(model: nn.Module, x: Tensor, expected: Callable[[Tensor], Tensor]) -> np.ndarray:
    return per_row("expected(...)", expected(model(x)), len(x)).cpu().numpy().astype(float)


def slope(excess: Mapping[int, float], lengths: Iterable[int], reference: int) -> float:
    """Return d of g(L) = d (R - L), by least squares through 0 at the reference length R.

    Args:
        excess: g by length.
        lengths: which of them are used; at least one other than the reference.
        reference: R.

    Raises:
        ProbeError: no length differs from the reference.
    """
    used = tuple(lengths)
    weight = sum((reference - length) ** 2 for length in used)
    if not weight:
        raise ProbeError(f"A drift needs a length other than {reference}; given {used}.")
    return sum(excess[length] * (reference - length) for length in used) / weight


def explained_share(answers: Float[np.ndarray, " batch"], concept: Float[np.ndarray, " batch"]) -> float:
    """Return the share of the answers' variance that lies between values of the concept.

    1 means that the order of the inputs does not matter. Answers that never vary hold no concept: 0.
    """
    values, group = np.unique(concept, return_inverse=True)
    sizes = np.bincount(group, minlength=len(values))
    means = np.bincount(group, weights=answers, minlength=len(values)) / sizes
    return float(r_squared(answers, means[group]))


def draw(
    frame: pd.DataFrame,
    *,
    reference: int = 10,
    names: Mapping[float, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean excess of each network by length, a line a network, between the landmarks.

    Networks of a subject that has no look of its own (`other`) are left out. Where a subject has many networks their
    lines are thin and the median is drawn over them.

    Args:
        frame: what `measure` returned.
        reference: the trained length.
        names: what a landmark's program is called, written at its line's end; None writes its drift.
        ax: axes to draw into, or None for new ones.
    """
    ax = axes_or_new(ax)
    rows = frame[(frame["metric"] == "mean_excess") & frame["subject"].isin(list(ROLE_STYLE))]
    for subject, of_subject in rows.groupby("subject", sort=False):
        look, lines = role_style(str(subject)), of_subject.assign(units=of_subject["units"].astype(int))
        table = lines.pivot_table(index="units", columns="network", values="value", sort=True)
        shown = table
        if table.shape[1] > MANY:
            # Pixels: a hundred lines of nine points weigh more than the rest of a page's figure.
            ax.plot(table.index, table, color=look.color, linewidth=0.6, alpha=0.3, rasterized=True)
            shown = table.median(axis=1).to_frame()
        drawn = ax.plot(shown.index, shown, **look.line(), markersize=3, linewidth=1)
        drawn[0].set_label(str(subject))
    lengths = sorted(rows["units"].astype(int).unique())
    for landmark in LANDMARKS:
        ends = [landmark * (reference - lengths[0]), landmark * (reference - lengths[-1])]
        ax.plot([lengths[0], lengths[-1]], ends, color="black", linewidth=0.8, zorder=0)
        ax.annotate(
            _name(landmark, names),
            (lengths[-1], ends[-1]),
            (6, 0),
            textcoords="offset points",
            va="center",
        )
    ax.set_xticks(lengths)
    ax.set_xlabel("length of the sequence")
    ax.set_ylabel("mean of answer minus concept")
    ax.legend(loc="lower left")
    return ax


def _name(landmark: float, names: Mapping[float, str] | None) -> str:
    return (names or {}).get(landmark, f"d = {landmark:g}")


def draw_drifts(frame: pd.DataFrame, *, names: Mapping[float, str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the drift of each trained and planted network, smallest at the bottom, between the landmarks.

    A network's own initialisation, with its random and with a fitted head, is marked in the network's row. One that
    answers about the same whatever it reads stands at the balance, which says nothing about what it counts.

    Args:
        frame: what `measure` returned.
        names: what a landmark's program is called, written above its line; None writes its drift.
        ax: axes to draw into, or None for new ones.
    """
    ax = axes_or_new(ax)
    drifts = frame[(frame["metric"] == "drift") & frame["subject"].isin(["trained", "planted"])]
    drifts = drifts.sort_values(["value", "network"])
    places, many = np.arange(len(drifts)), len(drifts) > MANY
    marks = {
        subject: (drifts["value"][own], places[own])
        for subject in ("trained", "planted")
        if (own := (drifts["subject"] == subject).to_numpy()).any()
    }
    for control in ("untrained", "readout"):
        values = frame[(frame["metric"] == "drift") & (frame["subject"] == control)].set_index("seed")["value"]
        paired = drifts["seed"].isin(values.index).to_numpy() & (drifts["subject"] == "trained").to_numpy()
        if paired.any():
            marks[control] = (values.loc[drifts["seed"][paired]], places[paired])
    for subject, (values, rows) in marks.items():
        look = role_style(subject)
        size = 3.5 if many else None
        ax.plot(values.to_numpy(), rows, look.marker, color=look.color, label=role_name(subject), markersize=size)
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.18), ncols=len(marks), columnspacing=1.0, handletextpad=0.2)
    for landmark in LANDMARKS:
        ax.axvline(landmark, color="black", linewidth=0.8, zorder=0)
        ax.annotate(
            _name(landmark, names),
            (landmark, 1),
            (0, 3),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            va="bottom",
        )
    if many:
        ax.set_yticks([])
        ax.set_ylabel("networks, by their drift")
    else:
        ax.set_yticks(places, list(drifts["network"]))
    ax.set_xlabel("drift: what the answer gains for each missing step")
    return ax
