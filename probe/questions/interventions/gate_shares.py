"""Through which gate does an input act? Exact shares of every gate that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import several
from ...evidence.measurements import measurement, tabulate
from ...methods.decomposition.gates import gate_table, gates_of, input_places, kept_to_the_end, with_constant_gates
from ...methods.decomposition.shapley import pooled_shares
from ...methods.machines import Machine
from ...plots.legends import legend_above
from ...plots.networks import draw_dots
from ...plots.style import ROLE_STYLE, axes_or_new
from ...recurrent.signals import Signal, as_indices, within
from ...subjects.computed.changed_inputs import InputPairs, pairs_by_step
from ...subjects.computed.ends import Ends, ends_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..answers.wrong import frequent_share
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from ..told import AVERAGED, beside, figure_of, first_and_others, of_network

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "gate_shares"


def question(subject: Subject) -> Question:
    """Return the question; its rules are about what writes in the network's kind of cell.

    Args:
        subject: one of the networks.
    """
    return Question(
        "gate-shares",
        "Through which gate does an input act?",
        measure,
        (needs.gates, needs.scale, needs.inputs_to_change, needs.used_states),
        ANSWERING,
        draw=draw,
        tell=tell,
        rules=(
            rule(
                "candidate-writes",
                "On average inputs are written by the candidate.",
                "gate_share",
                signal="cell_candidate" if Signal.CELL_STATE in subject.layers[-1].signals else "candidate",
                definition="Shapley share of the mean change of the expected answer that one changed input makes: "
                "that of the candidate.",
                source="Shapley 1953; Karpathy et al. 2015",
                at_least=0.5,
            ),
        ),
        version=2,
    )


def measure(
    subjects: Sequence[Subject],
    *,
    steps: Iterable[int] | None = None,
) -> pd.DataFrame:
    """Measure what each gate does with an input, as Shapley shares of what the input changes.

    Base and source differ in one input. At that step every subset of what sees the input (i, f, g and o of an LSTM;
    r, z and n of a GRU; one place in a plain RNN) is given the source's, the others the base's, and the run goes on
    with the base's inputs to the end. Shares are the sum of the Shapley values over steps, pairs and continuations,
    over the sum of the whole differences.

    Metrics: `gate_share`, one for each that sees the input (`signal`); `gate_share_at_step`, the same of each step
    alone; `constant_gates_accuracy`, one value a network: the share of right answers where the gates that write
    nothing themselves (i, f and o; r and z) are frozen at their mean by unit and step (not of answers that are never
    exactly right, as numbers without levels); `kept`, one a unit and step: how much of what the step left in the unit
    is still there at the end, the product of all later forget (update) gates, mean over the sequences. A plain RNN
    has the first two only.

    Args:
        subjects: what is measured.
        steps: at which steps an input is changed, counted in the subject's machine; None for all but the first, or 16
            of them, where inputs can be changed (see `probe.subjects.computed.changed_inputs`).

    Raises:
        ProbeError: the concept is not aligned to (batch, time), there is no pair that differs at a step, a step or
            layer does not exist, or the cell is of an unknown kind.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claims 15a, 15b, 15c.
    """
    asked = None if steps is None else as_indices("steps", steps)
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        end = ends_of(subject)
        wanted = None if asked is None else within("steps", asked, end.steps, "the input's time axis")
        found = [*_shares(pairs_by_step(subject, wanted)), *_constant(subject, end), *_kept(end.machine)]
        for metric, value, place in found:
            rows.append(measurement(QUESTION, metric, subject.network, value, layer=subject.layer, **place))
    return tabulate(rows)


_Found = Iterator[tuple[str, float, dict[str, Any]]]


def _shares(pairs: Mapping[int, InputPairs]) -> _Found:
    tables = {step: gate_table(of_step.machine, of_step.pairs, step) for step, of_step in pairs.items()}
    together = (np.concatenate(parts) for parts in zip(*tables.values(), strict=True))
    signals = tuple(input_places(next(iter(pairs.values())).machine.cell))
    for signal, share in zip(signals, pooled_shares(*together).values, strict=True):
        yield "gate_share", share, {"signal": signal}
    for step, table in tables.items():
        for signal, share in zip(signals, pooled_shares(*table).values, strict=True):
            yield "gate_share_at_step", share, {"signal": signal, "step": step}


def _constant(subject: Subject, end: Ends) -> _Found:
    gates = gates_of(end.machine.cell)
    if gates and needs.exact_answers(subject) is None:
        right = with_constant_gates(end.machine, gates).chosen.double().numpy() == end.values[:, -1]
        yield "constant_gates_accuracy", float(right.mean()), {}


def _kept(machine: Machine) -> _Found:
    if Signal.FORGET_GATE in machine.cell.signals or Signal.UPDATE_GATE in machine.cell.signals:
        for step, units in enumerate(kept_to_the_end(machine).mean(0).tolist()):
            for unit, value in enumerate(units):
                yield "kept", value, {"units": str(unit), "step": step}


def name(signal: str) -> str:
    """Return what a gate is called in a sentence."""
    return str(signal).replace("_", " ")


def draw(frame: pd.DataFrame, *, thresholds: Mapping[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the share of each gate, every network a dot, its controls beside it.

    Args:
        frame: what `measure` returned.
        thresholds: signal -> a bound for its share, drawn across its column.
        ax: where to draw, or None for new axes.
    """
    shares = frame[frame["metric"] == "gate_share"]
    labels = {signal: str(signal).replace("_", "\n", 1) for signal in shares["signal"].unique()}
    ax = draw_dots(shares.assign(metric=shares["signal"]), labels, thresholds=thresholds, ax=ax)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    ax.set_ylabel("share of what the input changes")
    return ax


def draw_kept(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much of what each step wrote is left at the end in the network's most lasting unit.

    Args:
        frame: what `measure` returned, of a cell that has a forget or an update gate.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    lasting = most_lasting(frame)
    for role, look in ROLE_STYLE.items():
        table = lasting[lasting["role"] == role].pivot(index="network", columns="step", values="value")
        if table.empty:
            continue
        steps = [int(step) + 1 for step in table.columns]
        if len(table) > 1:
            ax.plot(steps, table.to_numpy(float).T, color=look.color, linewidth=0.7, alpha=0.5)
        ax.plot(steps, table.median().to_numpy(float), **look.line(), markersize=5, label=role)
    ax.set_ylim(0, None)
    ax.set_xlabel("step at which it was written")
    ax.set_ylabel("left of it at the end")
    legend_above(ax)
    return ax


def most_lasting(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the `kept` rows of each network's unit that keeps most of what its first step left.

    Args:
        frame: what `measure` returned.
    """
    kept = frame[frame["metric"] == "kept"]
    first = kept[kept["step"] == kept["step"].min()].sort_values(["network", "value"])
    best = first.groupby("network")["units"].last()
    return kept[kept["units"] == kept["network"].map(best)].reset_index(drop=True)


def tell(answered: Answered) -> Told:
    """Say through which gates an input acts in one network, and show it."""
    shares = of_network(answered, "gate_share")
    most, others = first_and_others(shares, name)
    first = f"An input acts most through this: {most} of the mean change that it makes."
    answer = first + others
    largest = str(shares["signal"].iloc[int(shares["value"].argmax())])
    answer += beside(answered, "gate_share", f"Controls, {name(largest)}", signal=largest)
    end = ends_of(answered.subject)
    right, own = end.values[:, -1], end.machine.clean.answers.chosen.double().numpy()
    for accuracy in of_network(answered, "constant_gates_accuracy")["value"]:
        answer += (
            f" With its gates frozen at their means of each step, the network answers {accuracy:.0%} right (with its "
            f"own gates {(own == right).mean():.0%}; always giving the most frequent answer "
            f"{frequent_share(right):.0%})."
        )
    caption = (
        "What each gate contributes to the mean change of the answer that one changed input makes. Shares are exact "
        "and sum to 1. Each dot is a network."
    )
    title = "Through which gate an input acts"
    figure = figure_of(answered, draw, "gate_share", title=title, alt=first, caption=caption)
    pairs = pairs_by_step(answered.subject)
    count, added = sum(len(one.pairs[0]) for one in pairs.values()), sum(one.added for one in pairs.values())
    made = f" We made {added:,} further sequences by giving one another's input." if added else ""
    setup = (
        f"At each of {several(len(pairs), 'step')} we changed one input, and every subset of the gates saw it; then "
        f"the run went on. We ran {end.said}, and used {several(count, 'pair')}.{made} {AVERAGED}"
    )
    return Told({"answer": answer, "setup": setup}, figure)
