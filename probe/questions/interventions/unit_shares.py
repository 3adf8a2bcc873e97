"""Does one unit carry the concept, or do many? Shapley shares of a difference in the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from ...errors import several
from ...evidence.measurements import measurement, tabulate
from ...evidence.words import between, largest, listed, said
from ...methods.decomposition.contexts import RowPairs
from ...methods.decomposition.sampled_shares import SampledShares, sampled_shares
from ...methods.decomposition.shapley import MOST_PLAYERS, Shares, pooled_shares
from ...methods.decomposition.units import players_of, unit_table
from ...methods.probing.monotone import within_step_correlation
from ...methods.probing.prefixes import StepStates, pool
from ...plots.legends import legend_above
from ...plots.style import MANY, ROLE_STYLE, axes_or_new
from ...subjects.computed.changed_inputs import MOST_PAIRS, InputPairs, input_pairs, usual_steps
from ...subjects.computed.ends import BUDGET, Ends, cost, ends_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from ..told import AVERAGED, beside, figure_of, of_network
from .pair_shares import pair_shares

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "unit_shares"
#: Of more than 16 units: how many orders of joining are drawn (and run backwards too), by what they cost.
FEWEST_DRAWS, MOST_DRAWS = 32, 256
#: Of at most 16 units: at least so many pairs are run, and more as far as the budget goes.
FEWEST_PAIRS = 32
#: A network is not asked where the fewest orders take so many times the budget.
TOO_MUCH = 10


def question(subject: Subject) -> Question:
    """Return the question; its rules name the concept.

    Args:
        subject: one of the networks.
    """
    return Question(
        "unit-shares",
        "Does one unit carry the answer, or do many?",
        measure,
        (needs.scale, needs.differing_inputs, affordable, needs.used_state),
        ANSWERING,
        draw=draw,
        tell=tell,
        rules=(
            rule(
                "one-unit-carries",
                f"One unit carries at least half of the mean difference in “{subject.concept.name}”.",
                "largest_unit_share",
                definition="Largest Shapley share of a unit in the change of the expected answer that one earlier "
                "input makes, both averaged over the pairs.",
                source="Shapley 1953",
                at_least=0.5,
            ),
        ),
        version=2,
    )


def affordable(subject: Subject) -> str | None:
    """A network of which the fewest orders of joining can be run."""
    units = ends_of(subject).machine.dynamics.units
    if (
        units <= MOST_PLAYERS
        or _cost(subject, usual_steps(subject)[1]) * 2 * units * FEWEST_DRAWS <= TOO_MUCH * BUDGET
    ):
        return None
    return f"it has {units:,} units, and {FEWEST_DRAWS} orders of them take more than the budget allows"


def _cost(subject: Subject, step: int) -> float:
    """Return about how many operations one run to the end takes from the state after a step."""
    end = ends_of(subject)
    return cost(end.stack) * max(end.steps - 1 - step, 1)


def measure(
    subjects: Sequence[Subject],
    *,
    step: int | None = None,
    changed: int | None = None,
    pairs: RowPairs | None = None,
    groups: Sequence[Sequence[int]] | None = None,
    draws: int | None = None,
) -> pd.DataFrame:
    """Measure what each unit's state contributes to a difference in the expected answer, as Shapley shares.

    Two sequences differ in one earlier input. At a step, a subset of the units (for an LSTM a unit is the pair
    (c_u, h_u); of a stack those of all layers) is taken from the source and the rest from the base, and the run
    goes on with the base's inputs to the end. The shares are the sum of the Shapley values over all pairs and
    continuations, over the sum of the whole differences: they sum to 1. They are NaN only where differences cancel.

    Of at most 16 units every subset is run, and the shares are exact. Of more we draw orders in which the units join,
    by the subject's seed and a budget: 1.2e11 operations, but 32 to 256 orders, each also backwards. A share then
    has its 95 % interval in `low` and `high`, and in `n` the number of orders.

    Metrics, one value a network unless said otherwise: `unit_share`, one a unit; `largest_unit_share`, with that
    unit's interval; `negative_unit_shares`, the negative ones' sum as a positive number; `unit_participation`,
    1 / sum of squared shares; `correlated_unit_share`, the share of the unit whose cell state (of a GRU or plain RNN
    the hidden state) follows the concept best within steps (not with `groups`, and not where the concept is undefined
    at some step); `whole_difference`, the mean difference that is shared.

    Args:
        subjects: what is measured.
        step: after which step the units are patched, counted in the subject's machine; None for the usual one, see
            `probe.subjects.computed.changed_inputs.usual_steps`.
        changed: at which step base and source differ; None for two before `step`.
        pairs: rows of bases and of their sources; None takes those of
            `probe.subjects.computed.changed_inputs.input_pairs`.
        groups: units that are taken together; None makes every unit one.
        draws: how many orders are drawn of more than 16 units or groups; None for as many as the budget allows.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), or there is no such pair, step, unit or layer.

    Reference:
        Shapley 1953, A value for n-person games; Castro, Gomez & Tejada 2009, Polynomial calculation of the Shapley
        value based on sampling; docs/science.md, claims 1d and 5c.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        end = ends_of(subject)
        before, at = usual_steps(subject, step, changed)
        players = players_of(end.machine, groups)
        if pairs is None:
            found = pairs_of(subject, before, at, len(players))
        else:
            found = InputPairs(end.machine, pairs, before, at, 0)
        shares = _shares(subject, found, groups, draws)
        names = [" ".join(map(end.name, units)) for units in players]
        follows = _correlated_unit(end) if groups is None else None
        for metric, value, place in _found(shares, names, follows):
            rows.append(measurement(QUESTION, metric, subject.network, value, layer=subject.layer, step=at, **place))
    return tabulate(rows)


def pairs_of(subject: Subject, changed: int, step: int, players: int) -> InputPairs:
    """Return the pairs whose difference is shared; fewer of them where all subsets of many players are run.

    Args:
        subject: the network under study.
        changed: at which step base and source differ.
        step: after which step units are patched.
        players: how many units or groups share the difference.

    Raises:
        ProbeError: there is no such pair.
    """
    one = _cost(subject, step) * 2**players
    most = MOST_PAIRS if players > MOST_PLAYERS else int(np.clip(BUDGET / one, FEWEST_PAIRS, MOST_PAIRS))
    return input_pairs(subject, changed, step, most=most)


def _shares(
    subject: Subject, pairs: InputPairs, groups: Sequence[Sequence[int]] | None, draws: int | None
) -> Shares | SampledShares:
    players = pairs.machine.dynamics.units if groups is None else len(groups)
    if players <= MOST_PLAYERS and groups is None:
        return pair_shares(subject, pairs).pooled
    if players <= MOST_PLAYERS:
        return pooled_shares(*unit_table(pairs.machine, pairs.pairs, pairs.step, groups=groups))
    if draws is None:
        one = _cost(subject, pairs.step) * 2 * players
        draws = int(np.clip(BUDGET / one, FEWEST_DRAWS, MOST_DRAWS))
    given: dict[str, Any] = {"groups": groups, "draws": draws, "seed": subject.seed}
    return sampled_shares(pairs.machine, pairs.pairs, pairs.step, **given)


def _found(
    shares: Shares | SampledShares, names: Sequence[str], follows: int | None
) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Yield metrics with their value, units and interval.

    Args:
        shares: of the players.
        names: what they are called.
        follows: the player that follows the concept best, or None.
    """

    def of(player: int) -> tuple[float, dict[str, Any]]:
        place: dict[str, Any] = {"units": names[player]}
        if isinstance(shares, SampledShares):
            place |= {"low": shares.low[player], "high": shares.high[player], "n": shares.orders}
        return shares.values[player], place

    for player in range(len(names)):
        yield "unit_share", *of(player)
    yield "largest_unit_share", *of(int(np.argmax(shares.values)))
    yield "negative_unit_shares", shares.negative, {}
    yield "unit_participation", shares.participation, {}
    yield "whole_difference", shares.whole, {}
    if follows is not None:
        yield "correlated_unit_share", *of(follows)


def _correlated_unit(end: Ends) -> int | None:
    """Return the unit with the largest absolute correlation with the concept within steps (claim 1a's).

    None where the concept is undefined somewhere.
    """
    dynamics, clean = end.machine.dynamics, end.machine.clean
    if not np.isfinite(end.values).all():
        return None
    signal = dynamics.signals[0]
    states = clean.states[:, :, dynamics.columns(signal)].numpy()
    steps = [
        StepStates(step, rows, end.values[rows, step], {signal: states[rows, step]})
        for step, rows in enumerate(one.rows.numpy() for one in clean.prefixes)
    ]
    pooled = pool(steps)
    return int(np.argmax(np.abs(within_step_correlation(pooled, pooled.states[signal]))))


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the units' shares from the largest to the smallest: a thin line a network, the median thick.

    Of a role with one network, bars are the 95 % intervals of shares that were estimated.

    Args:
        frame: what `measure` returned.
        threshold: a bound for the largest share, drawn across, or None.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    shares = frame[frame["metric"] == "unit_share"]
    most = 1
    for role, look in ROLE_STYLE.items():
        of_networks = [one["value"].to_numpy(float) for _, one in shares[shares["role"] == role].groupby("network")]
        if not of_networks:
            continue
        ranked = [np.sort(values)[::-1] for values in of_networks]
        most = max(most, *(len(values) for values in ranked))
        if len(ranked) > 1:
            for values in ranked:
                # Many lines weigh more as vectors than as pixels, and would hide their median.
                alpha, pixels = (0.15, True) if len(ranked) > MANY else (0.5, False)
                places = range(1, len(values) + 1)
                ax.plot(places, values, color=look.color, linewidth=0.7, alpha=alpha, rasterized=pixels)
        elif {"low", "high"} <= set(shares) and len(ranked) == 1:
            own = shares[shares["role"] == role].sort_values("value", ascending=False)
            ax.vlines(range(1, len(own) + 1), own["low"], own["high"], color=look.color, linewidth=1)
        common = min(len(values) for values in ranked)
        median = np.median([values[:common] for values in ranked], axis=0)
        ax.plot(range(1, common + 1), median, **look.line(), markersize=5, label=role)
    if threshold is not None:
        ax.axhline(threshold, color="black", linewidth=1, zorder=0)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    if most <= MOST_PLAYERS:
        ax.set_xticks(range(1, most + 1))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("units, from the largest share to the smallest")
    ax.set_ylabel("share of the difference")
    legend_above(ax)
    return ax


def tell(answered: Answered) -> Told:
    """Say how the difference is shared among the units of one network, and show it."""
    shares, highest = (of_network(answered, metric) for metric in ("unit_share", "largest_unit_share"))
    taking_part, against = (
        float(of_network(answered, metric)["value"].iloc[0])
        for metric in ("unit_participation", "negative_unit_shares")
    )
    best, most = highest.iloc[0], largest(dict(zip(shares["units"], shares["value"], strict=True)))
    interval = f" ({between((best['low'], best['high']))})" if np.isfinite(best["low"]) and len(most) == 1 else ""
    which = f"units {listed(most)} each have" if len(most) > 1 else f"unit {most[0]} has"
    first = (
        f"Of {several(len(shares), 'unit')}, {which} the largest share of the mean "
        f"difference: {said(best['value'])}{interval}."
    )
    answer = f"{first}{beside(answered, 'largest_unit_share')}"
    if taking_part >= 1:
        answer += f" The mean difference is spread as over {taking_part:.1f} equal units."
    if said(against) != said(0.0):
        answer += f" Some units work against it on average: their shares add up to {said(-against)}."
    caption = (
        "What each unit contributes to the mean change of the answer that one earlier input makes. Shares sum to 1. "
        "Lines are medians over networks of a role."
    )
    title = "How many units carry the difference"
    figure = figure_of(answered, draw, "unit_share", title=title, alt=first, caption=caption)
    return Told({"answer": answer, "setup": _setup(answered.subject, highest)}, figure)


def _setup(subject: Subject, highest: pd.DataFrame) -> str:
    """Say which states were patched, of which pairs, and whether shares are exact."""
    end, (before, at) = ends_of(subject), usual_steps(subject)
    orders = highest["n"].iloc[0]
    if np.isfinite(highest["low"].iloc[0]):
        how = (
            f"There are too many subsets of units to run them all. So we drew {orders:,} orders, half of them "
            "another one backwards, in which the units are taken from the source one after the other. The budget "
            "sets how many (Castro, Gomez & Tejada 2009)."
        )
    else:
        how = "We took every subset of the units from the source and the rest from the base; the shares are exact."
    pairs = pairs_of(subject, before, at, end.machine.dynamics.units)
    return (
        f"A base and a source differ in the input at step {before + 1} alone, and states are patched after "
        f"step {at + 1}; we ran {end.said}, and the first of these steps is step 1. We used {pairs.said}. {how} "
        f"{AVERAGED}"
    )
