"""Does one unit carry the concept, or do many? Shapley shares of a difference in the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ...evidence.words import between, largest, listed, said
from ...methods.decomposition.sampled_shares import SampledShares, sampled_shares
from ...methods.decomposition.shapley import MOST_PLAYERS, Shares, pooled_shares
from ...methods.decomposition.units import unit_table
from ...methods.probing.monotone import within_step_correlation
from ...methods.probing.prefixes import StepStates, pool
from ...subjects.ends import Ends, ends_of
from ...subjects.pairs import InputPairs, input_pairs, usual_steps
from ...subjects.stacks import cost
from ...subjects.subject import Subject, per_subject
from .. import needs
from ..headings import by_rule
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from ..told import controls_of, of_network
from .patching import Value, table_of
from .shares import add_up, draw_ranked, setup_of

#: Of more than 16 units: how many orders of joining are drawn (and run backwards too), by what they cost.
FEWEST_DRAWS, MOST_DRAWS = 32, 256
#: Of at most 16 units: at least so many pairs are run, and more as far as the budget goes.
FEWEST_PAIRS = 32
#: A network is not asked where the fewest orders take so many times the budget.
TOO_MUCH = 10


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept."""
    return Question(
        "unit-shares",
        "Does one unit carry the answer, or do many?",
        measure,
        (needs.scale, needs.differing_inputs, affordable, needs.used_state, add_up),
        ANSWERING,
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
        draw=draw,
        tell=tell,
        version=2,
        heading=by_rule(
            "One unit carries most of the answer",
            "The answer is spread over units; none carries half of it",
        ),
        caption="The share of each unit in the change of the answer, from the largest to the smallest.",
    )


def affordable(subject: Subject) -> str | None:
    """A network of which the fewest orders of joining can be run."""
    units = ends_of(subject).machine.dynamics.units
    if units <= MOST_PLAYERS or TOO_MUCH * _runs(subject, usual_steps(subject)[1]) / (2 * units) >= FEWEST_DRAWS:
        return None
    return f"it has {units:,} units, and {FEWEST_DRAWS} orders of them take more than the budget allows"


def _runs(subject: Subject, step: int) -> float:
    """Return about how many runs to the end from the state after a step the budget allows."""
    end = ends_of(subject)
    return subject.budget.ends / (cost(end.stack) * max(end.steps - 1 - step, 1))


def measure(subjects: Sequence[Subject], *, step: int | None = None, changed: int | None = None) -> pd.DataFrame:
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
    the hidden state) follows the concept best within steps (not where the concept is undefined at some step);
    `whole_difference`, the mean difference that is shared.

    Args:
        step: after which step the units are patched, counted in the subject's machine; None for the usual one, see
            `probe.subjects.pairs.usual_steps`.
        changed: at which step base and source differ; None for two before `step`.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), or there is no such pair, step or layer.

    Reference:
        Shapley 1953, A value for n-person games; Castro, Gomez & Tejada 2009, Polynomial calculation of the Shapley
        value based on sampling; docs/science.md, claims 1d and 5c.
    """
    return table_of("unit_shares", subjects, partial(_values, step=step, changed=changed))


def pairs_of(subject: Subject, changed: int, step: int) -> InputPairs:
    """Return the pairs whose difference is shared; fewer of them where all subsets of many units are run."""
    units, most = ends_of(subject).machine.dynamics.units, subject.budget.most_pairs
    if units <= MOST_PLAYERS:
        most = int(np.clip(_runs(subject, step) / 2**units, FEWEST_PAIRS, most))
    return input_pairs(subject, changed, step, most=most)


@per_subject
def exact_table(subject: Subject, changed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers with every subset of the units from the source, see `unit_table`; once a subject."""
    pairs = pairs_of(subject, changed, step)
    return unit_table(ends_of(subject).machine, pairs.pairs, step)


def shares_of(subject: Subject, changed: int, step: int) -> Shares | SampledShares:
    """Return the units' shares of a changed input: exact of at most 16 units, of more from random orders."""
    units = ends_of(subject).machine.dynamics.units
    if units <= MOST_PLAYERS:
        return pooled_shares(*exact_table(subject, changed, step))
    pairs = pairs_of(subject, changed, step)
    draws = int(np.clip(_runs(subject, step) / (2 * units), FEWEST_DRAWS, MOST_DRAWS))
    return sampled_shares(ends_of(subject).machine, pairs.pairs, step, draws=draws, seed=subject.seed)


def _values(subject: Subject, step: int | None, changed: int | None) -> Iterator[Value]:
    end, (before, at) = ends_of(subject), usual_steps(subject, step, changed)
    shares, place = shares_of(subject, before, at), {"step": at}

    def of(unit: int) -> tuple[float, dict[str, Any]]:
        where = {"units": end.name(unit), **place}
        if isinstance(shares, SampledShares):
            where |= {"low": shares.low[unit], "high": shares.high[unit], "n": shares.orders}
        return shares.values[unit], where

    for unit in range(end.machine.dynamics.units):
        yield "unit_share", *of(unit)
    yield "largest_unit_share", *of(int(np.argmax(shares.values)))
    yield "negative_unit_shares", shares.negative, place
    yield "unit_participation", shares.participation, place
    yield "whole_difference", shares.whole, place
    if (follows := _correlated_unit(end)) is not None:
        yield "correlated_unit_share", *of(follows)


def _correlated_unit(end: Ends) -> int | None:
    """Return the unit that follows the concept best within steps (claim 1a's); None where that is undefined."""
    dynamics, clean = end.machine.dynamics, end.machine.clean
    if not np.isfinite(end.values).all():
        return None
    signal = dynamics.signals[0]
    states = clean.states[:, :, dynamics.columns(signal)].numpy()
    steps = [
        StepStates(step, rows, end.values[rows, step], {signal: states[rows, step]})
        for step, rows in enumerate(prefixes.rows.numpy() for prefixes in clean.prefixes)
    ]
    pooled = pool(steps)
    return int(np.argmax(np.abs(within_step_correlation(pooled, pooled.states[signal]))))


draw = partial(draw_ranked, metric="unit_share", label="share of the change")


def tell(answered: Answered) -> Told:
    """Say how the difference is shared among the units of one network."""
    subject, shares = answered.subject, of_network(answered, "unit_share")
    best = of_network(answered, "largest_unit_share").iloc[0]
    against, spread = (
        float(of_network(answered, metric)["value"].iloc[0])
        for metric in ("negative_unit_shares", "unit_participation")
    )
    most = listed([f"unit {unit}" for unit in largest(dict(zip(shares["units"], shares["value"], strict=True)))])
    have, each = ("have", " each") if " and " in most else ("has", "")
    if not each and np.isfinite(best["low"]):
        each = f" ({between((best['low'], best['high']))})"
    answer = (
        f"U{most[1:]} {have} the largest share of the mean change, {said(best['value'])}{each}"
        f"{controls_of(answered, 'largest_unit_share')}."
    )
    if spread >= 1:
        answer += (
            f" The shares are spread as over {spread:.1f} equal units; the negative ones add up to {said(-against)}."
        )
    before, at = usual_steps(subject)
    how = "every subset of the units is taken from the source; the shares are exact"
    if ends_of(subject).machine.dynamics.units > MOST_PLAYERS:
        how = f"we drew {best['n']:,} orders in which units are taken from it, half of them another one backwards"
    how = (
        f"A base and a source differ in the input at step {before + 1} of these alone, and states are patched after "
        f"step {at + 1}: {how}."
    )
    return Told({"answer": answer, "setup": setup_of(subject, [pairs_of(subject, before, at)], how)})
