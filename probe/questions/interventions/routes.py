"""By which route does a difference in the state reach the next state? Exact shares of each route."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd

from ...methods.decomposition.routes import route_table, routes_of
from ...methods.decomposition.shapley import pooled_shares
from ...recurrent.signals import Signal
from ...subjects.ends import ends_of, machine_of, step_of
from ...subjects.pairs import input_pairs, usual_steps
from ...subjects.subject import Subject
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from .patching import Value, table_of
from .shares import add_up, draw_columns, setup_of

_GOES_ON = needs.Need(
    lambda s: ends_of(s).steps == step_of(s, None) + 1 > 1,
    "states are patched after the last step, which no route leads on from; interchange_step names another",
)


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept and the route that the cell keeps its state by."""
    own = Signal.CELL_STATE if Signal.CELL_STATE in subject.layers[-1].signals else Signal.HIDDEN_STATE
    through = "f c" if own == Signal.CELL_STATE else "z h"
    return Question(
        "routes",
        "By which route does a difference in the state reach the next state?",
        measure,
        (needs.gates, needs.scale, _GOES_ON, needs.differing_inputs, needs.used_state, add_up),
        ANSWERING,
        rules=(
            rule(
                "kept-route",
                f"The state's own route, {through}, carries most of the mean difference in “{subject.concept.name}”.",
                "route_share",
                signal=own,
                definition="Shapley share of the route in the mean change of the expected answer, of a difference "
                "that one earlier input made.",
                source="Shapley 1953",
                at_least=0.5,
            ),
        ),
        draw=draw,
        tell=tell,
        version=2,
        caption="The share of each route in the change of the answer, from the largest to the smallest.",
    )


def measure(subjects: Sequence[Subject], *, step: int | None = None, changed: int | None = None) -> pd.DataFrame:
    """Measure by which route a difference in the state reaches the answer, as Shapley shares.

    Two sequences differ in one earlier input. In the step after `step` every subset of the routes out of the state
    carries the source's state, the others the base's; the step reads the base's input, and the run goes on to the
    end. For an LSTM the routes are c through f * c and h into i, f, g and o; for a GRU h through z * h and into r, z
    and n; a plain RNN has one. The shares are the sum of the Shapley values over all pairs and continuations, over
    the sum of the whole differences.

    Metrics: `route_share`, one a route (`signal` holds what the route leads into: `cell_state` for f * c,
    `hidden_state` for z * h); `whole_difference`, one value a network, the mean difference that is shared.

    Args:
        step: after which step the states stand, counted in the subject's machine; another must follow. None for the
            usual one, see `probe.subjects.pairs.usual_steps`.
        changed: at which step base and source differ; None for two before `step`.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), there is no such pair, step or layer, or the cell is
            of an unknown kind.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claim 7a.
    """
    return table_of("routes", subjects, partial(_values, step=step, changed=changed))


def _values(subject: Subject, step: int | None, changed: int | None) -> Iterator[Value]:
    before, at = usual_steps(subject, step, changed)
    pairs = input_pairs(subject, before, at)
    machine = machine_of(subject)
    shares = pooled_shares(*route_table(machine, pairs.pairs, at))
    for signal, share in zip(routes_of(machine.cell), shares.values, strict=True):
        yield "route_share", share, {"signal": signal, "step": at}
    yield "whole_difference", shares.whole, {"step": at}


def name(signal: str) -> str:
    """Return what a route is called, by the signal that it leads into."""
    own = {"cell_state": "c through f · c", "hidden_state": "h into itself"}
    return own.get(signal) or f"h into the {signal.removeprefix('cell_').replace('_', ' ')}"


draw = partial(draw_columns, metric="route_share", name=name)


def tell(answered: Answered) -> Told:
    """Say how one network was measured."""
    before, at = usual_steps(answered.subject)
    how = (
        f"A base and a source differ in the input at step {before + 1} of these alone. Their states after step "
        f"{at + 1} go into the next step by every subset of the routes; then the run goes on."
    )
    return Told({"setup": setup_of(answered.subject, [input_pairs(answered.subject, before, at)], how)})
