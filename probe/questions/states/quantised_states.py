"""Is the network an automaton of the concept's values? After each step its state becomes a class mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.abstraction.quantised import class_means, quantised_run, share_equal
from ...methods.machines import Machine
from ...methods.probing.prefixes import check_aligned
from ...plots.networks import draw_dots

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "quantised_states"
#: Which states a run may use -> what they are called in a figure.
CODEBOOKS = {"by_step": "one a step and value", "over_steps": "one a value, all steps"}


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    concept: Tensor,
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
) -> pd.DataFrame:
    """Measure what is left of a network's answers when it runs on one state for each value of the concept.

    After every step the state is replaced by the nearest class mean, in units of each number's standard deviation,
    and the run goes on from there. `signal` says which means: `by_step`, those of the step; `over_steps`, the same
    few at every step, for which a state may not tell how much has been read.

    Metrics: `own_accuracy`; `states`, how many states the run may use, the one before the first input among those by
    step; `quantised_accuracy`; `answers_kept`, the share of answers that are the network's own; `right_class` by
    step, the share of runs on the state of the concept's value; one value a network, and none for one that is never
    right: `accuracy_kept_by_step` and `accuracy_kept_over_steps`, quantised accuracy over own.

    Args:
        networks: what is measured.
        x: inputs of equal length.
        concept: its value after each step, (batch, time); the answer should be the last one.
        answer: from a model's output to answers on the concept's scale, (batch).
        expected: from a model's output to expected answers, (batch).
        layer: the layer's name, or None for the only one.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), or a model is no `probe.methods.machines.Machine`.

    Reference:
        Omlin & Giles 1996, Extraction of rules from discrete-time recurrent neural networks, section 3.
    """
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        rows += _measure_one(network, machine, concept, layer or "")
    return tabulate(rows)


def _measure_one(network: Network, machine: Machine, concept: Tensor, layer: str) -> list[dict[str, Any]]:
    def row(metric: str, value: float, signal: str = "", step: int | None = None) -> dict[str, Any]:
        return measurement(QUESTION, metric, network, value, layer=layer, signal=signal, step=step)

    check_aligned(machine.clean.inputs, concept)
    own = share_equal(machine.clean.answers.chosen, concept[:, -1])
    rows = [row("own_accuracy", own)]
    for name in CODEBOOKS:
        codebook = class_means(machine, concept, by_step=name == "by_step")
        run = quantised_run(machine, codebook)
        found = share_equal(run.answers.chosen, concept[:, -1])
        rows.append(row("states", float(codebook.size), name))
        rows.append(row("quantised_accuracy", found, name))
        rows.append(row("answers_kept", share_equal(run.answers.chosen, machine.clean.answers.chosen), name))
        for step in range(concept.shape[1]):
            rows.append(row("right_class", share_equal(run.values[:, step], concept[:, step]), name, step))
        if own:
            rows.append(row(f"accuracy_kept_{name}", found / own))
    return rows


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the share of its own accuracy that each network keeps, every network a dot.

    Args:
        frame: what `measure` returned.
        threshold: a rule's bound for the means by step, or None.
        ax: where to draw, or None for new axes.

    Raises:
        ProbeError: nothing was measured.
    """
    metrics = {}
    for name, words in CODEBOOKS.items():
        sizes = frame[(frame["metric"] == "states") & (frame["signal"] == name)]["value"]
        if sizes.empty:
            raise ProbeError("The table holds no quantised run; give what measure returned.")
        metrics[f"accuracy_kept_{name}"] = f"{sizes.median():.0f} states:\n{words}"
    bounds = None if threshold is None else {"accuracy_kept_by_step": threshold}
    ax = draw_dots(frame, metrics, thresholds=bounds, ax=ax)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("share of own accuracy that is kept")
    return ax
