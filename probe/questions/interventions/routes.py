"""By which route does a difference in the state reach the next state? Exact shares of each route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...evidence.measurements import measurement, tabulate
from ...methods.decomposition.contexts import RowPairs
from ...methods.decomposition.routes import route_table, routes_of
from ...methods.decomposition.shapley import pooled_shares
from ...plots.networks import draw_dots
from ...recurrent.signals import Signal
from ...subjects.computed.changed_inputs import InputPairs, input_pairs, usual_steps
from ...subjects.computed.ends import ends_of, machine_of, step_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from ..told import AVERAGED, beside, figure_of, first_and_others, of_network

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "routes"


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept and the route that the cell keeps its state by.

    Args:
        subject: one of the networks.
    """
    own = _own_route(subject)
    through = "f c" if own == Signal.CELL_STATE else "z h"
    return Question(
        "routes",
        "By which route does a difference in the state reach the next state?",
        measure,
        (needs.gates, needs.scale, _goes_on, needs.differing_inputs, needs.used_state),
        ANSWERING,
        draw=draw,
        tell=tell,
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
        version=2,
    )


def _goes_on(subject: Subject) -> str | None:
    """A step after the one at which states are patched."""
    steps = 1 if needs.machine(subject) is not None else ends_of(subject).steps
    if steps == 1 or step_of(subject, None) < steps - 1:
        return None
    return "states are patched after the last step, which no route leads on from; interchange_step names another"


def _own_route(subject: Subject) -> Signal:
    """Return the route by which a state is kept as it is."""
    return Signal.CELL_STATE if Signal.CELL_STATE in subject.layers[-1].signals else Signal.HIDDEN_STATE


def measure(
    subjects: Sequence[Subject],
    *,
    step: int | None = None,
    changed: int | None = None,
    pairs: RowPairs | None = None,
) -> pd.DataFrame:
    """Measure by which route a difference in the state reaches the answer, as Shapley shares.

    Two sequences differ in one earlier input. In the step after `step` every subset of the routes out of the state
    carries the source's state, the others the base's; the step reads the base's input, and the run goes on to the
    end. For an LSTM the routes are c through f * c and h into i, f, g and o; for a GRU h through z * h and into r, z
    and n; a plain RNN has one. The shares are the sum of the Shapley values over all pairs and continuations, over
    the sum of the whole differences.

    Metrics: `route_share`, one a route (`signal` holds what the route leads into: `cell_state` for f * c,
    `hidden_state` for z * h); `whole_difference`, one value a network, the mean difference that is shared.

    Args:
        subjects: what is measured.
        step: after which step the states stand, counted in the subject's machine; another must follow. None for the
            usual one, see `probe.subjects.computed.changed_inputs.usual_steps`.
        changed: at which step base and source differ; None for two before `step`.
        pairs: rows of bases and of their sources; None takes those of
            `probe.subjects.computed.changed_inputs.input_pairs`.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), there is no such pair, step or layer, or the cell is
            of an unknown kind.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claim 7a.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        machine = machine_of(subject)
        before, at = usual_steps(subject, step, changed)
        given = None if pairs is None else InputPairs(machine, pairs, before, at, 0)
        differ = given or input_pairs(subject, before, at)
        shares = pooled_shares(*route_table(differ.machine, differ.pairs, at))
        place: Any = {"layer": subject.layer, "step": at}
        for signal, share in zip(routes_of(machine.cell), shares.values, strict=True):
            rows.append(measurement(QUESTION, "route_share", subject.network, share, signal=signal, **place))
        rows.append(measurement(QUESTION, "whole_difference", subject.network, shares.whole, **place))
    return tabulate(rows)


#: How a route is written under its column.
LABELS: Mapping[str, str] = {
    "cell_state": "c through\nf · c",
    "hidden_state": "h into\nitself",
    "input_gate": "h into the\ninput gate",
    "forget_gate": "h into the\nforget gate",
    "cell_candidate": "h into the\ncandidate",
    "output_gate": "h into the\noutput gate",
    "reset_gate": "h into the\nreset gate",
    "update_gate": "h into the\nupdate gate",
    "candidate": "h into the\ncandidate",
}


def name(signal: str) -> str:
    """Return what a route is called in a sentence."""
    return LABELS[str(signal)].replace("\n", " ")


def draw(frame: pd.DataFrame, *, thresholds: Mapping[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Draw each route's share, every network a dot, its controls beside it.

    Args:
        frame: what `measure` returned.
        thresholds: signal -> a bound for its route, drawn across its column.
        ax: where to draw, or None for new axes.
    """
    shares = frame[frame["metric"] == "route_share"]
    labels = {signal: LABELS[signal] for signal in shares["signal"].unique()}
    ax = draw_dots(shares.assign(metric=shares["signal"]), labels, thresholds=thresholds, ax=ax)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    ax.set_ylabel("share of the difference")
    return ax


def tell(answered: Answered) -> Told:
    """Say by which routes a difference goes on in one network, and show it."""
    subject, own = answered.subject, _own_route(answered.subject)
    most, others = first_and_others(of_network(answered, "route_share"), name)
    first = f"The largest share of the mean difference goes by this route: {most}."
    answer = first + others + beside(answered, "route_share", f"Controls, {name(own)}", signal=own)
    caption = (
        "By which route the mean difference that one earlier input made reaches the next state. Shares are exact and "
        "sum to 1. Each dot is a network."
    )
    title = "By which route a difference goes on"
    figure = figure_of(answered, draw, "route_share", title=title, alt=first, caption=caption)
    before, at = usual_steps(subject)
    setup = (
        f"A base and a source differ in the input at step {before + 1} alone. Their states after step {at + 1} go "
        f"into the next step by every subset of the routes; then the run goes on. We ran {ends_of(subject).said}, "
        f"and the first of these steps is step 1. We used {input_pairs(subject, before, at).said}. {AVERAGED}"
    )
    return Told({"answer": answer, "setup": setup}, figure)
