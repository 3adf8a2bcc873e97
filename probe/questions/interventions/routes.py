"""By which route does a difference in the state reach the next state? Exact shares of each route."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.decomposition.contexts import RowPairs, changed_at
from ...methods.decomposition.routes import route_table, routes_of
from ...methods.decomposition.shapley import pooled_shares
from ...methods.machines import Machine
from ...methods.probing.prefixes import check_aligned
from ...plots.networks import draw_dots
from ...recurrent.signals import within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "routes"


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    step: int = 6,
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
        networks: what is measured.
        x: inputs of equal length.
        concept: (batch, time).
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers, (batch).
        layer: the layer's name, or None for the only one.
        step: after which step the states stand; another must follow.
        changed: at which step base and source differ; None for two before `step`.
        pairs: rows of bases and of their sources; None takes all that differ at `changed` alone, and whose source
            has more of the concept.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), there is no such pair, step or layer, or the cell is
            of an unknown kind.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claim 7a.
    """
    check_aligned(x, concept)
    (at,) = within("step", (step,), x.shape[1], "the input's time axis")
    if pairs is None:
        pairs = changed_at(x, concept, at - 2 if changed is None else changed, at)
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        shares = pooled_shares(*route_table(machine, pairs, at, expected=expected))
        place: Any = {"layer": layer or "", "step": at}
        for signal, share in zip(routes_of(machine.cell), shares.values, strict=True):
            rows.append(measurement(QUESTION, "route_share", network, share, signal=signal, **place))
        rows.append(measurement(QUESTION, "whole_difference", network, shares.whole, **place))
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
