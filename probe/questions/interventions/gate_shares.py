"""Through which gate does an input act? Exact shares of every gate that reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.measurements import only
from ...methods.decomposition.gates import gate_table, gates_of, input_places, kept_to_the_end, with_constant_gates
from ...methods.decomposition.shapley import pooled_shares
from ...recurrent.signals import Signal
from ...subjects.ends import ends_of
from ...subjects.pairs import pairs_by_step
from ...subjects.subject import Subject
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from .patching import Value, draw_lines, table_of
from .shares import draw_columns, setup_of


def question(subject: Subject) -> Question:
    """Return the question; its rule is about what writes in the network's kind of cell."""
    return Question(
        "gate-shares",
        "Through which gate does an input act?",
        measure,
        (needs.gates, needs.scale, needs.inputs_to_change, needs.used_states),
        ANSWERING,
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
        draw=draw,
        tell=tell,
        version=2,
        caption="How much of what a step wrote is left at the end, in the most lasting unit; medians over networks.",
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure what each gate does with an input, as Shapley shares of what the input changes.

    Base and source differ in one input, at every step but the first, or 16 of them, where enough sequences differ in
    it (see `probe.subjects.pairs`). At that step every subset of what sees the input (i, f, g and o of an LSTM;
    r, z and n of a GRU; one place in a plain RNN) is given the source's, the others the base's, and the run goes on
    with the base's inputs to the end. Shares are the sum of the Shapley values over steps, pairs and continuations,
    over the sum of the whole differences.

    Metrics: `gate_share`, one for each that sees the input (`signal`); `gate_share_at_step`, the same of each step
    alone; `constant_gates_accuracy`, the share of right answers where the gates that write nothing themselves (i, f
    and o; r and z) are frozen at their mean by unit and step (only of answers that can be exactly right); `kept`, one
    a unit and step: how much of what the step left in the unit is still there at the end, the product of all later
    forget (update) gates, mean over the sequences. A plain RNN has the first two only.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), there is no pair that differs at a step, the layer
            does not exist, or the cell is of an unknown kind.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claims 15a, 15b, 15c.
    """
    return table_of("gate_shares", subjects, _values)


def _values(subject: Subject) -> Iterator[Value]:
    end, pairs = ends_of(subject), pairs_by_step(subject)
    tables = {step: gate_table(end.machine, of_step.pairs, step) for step, of_step in pairs.items()}
    together = (np.concatenate(parts) for parts in zip(*tables.values(), strict=True))
    signals = tuple(input_places(end.machine.cell))
    for signal, share in zip(signals, pooled_shares(*together).values, strict=True):
        yield "gate_share", share, {"signal": signal}
    for step, table in tables.items():
        for signal, share in zip(signals, pooled_shares(*table).values, strict=True):
            yield "gate_share_at_step", share, {"signal": signal, "step": step}
    gates = gates_of(end.machine.cell)
    if gates and needs.exact_answers(subject) is None:
        right = with_constant_gates(end.machine, gates).chosen.double().numpy() == end.values[:, -1]
        yield "constant_gates_accuracy", float(right.mean()), {}
    if {Signal.FORGET_GATE, Signal.UPDATE_GATE} & set(end.machine.cell.signals):
        for step, units in enumerate(kept_to_the_end(end.machine).mean(0).tolist()):
            for unit, value in enumerate(units):
                yield "kept", value, {"units": str(unit), "step": step}


def name(signal: str) -> str:
    """Return what a gate is called in a sentence."""
    return signal.replace("_", " ")


draw = partial(draw_columns, metric="gate_share", name=name)


def draw_kept(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much of what each step wrote is left at the end in the network's most lasting unit: medians."""
    x, y = "step at which it was written", "left of it at the end"
    ax = draw_lines(most_lasting(frame), at="step", x=x, y=y, ax=ax)
    ax.set_ylim(0, None)
    return ax


def most_lasting(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the `kept` rows of each network's unit that keeps most of what its first step left."""
    kept = only(frame, metric="kept")
    first = kept[kept["step"] == kept["step"].min()].sort_values(["network", "value"])
    best = first.groupby("network")["units"].last()
    return kept[kept["units"] == kept["network"].map(best)].reset_index(drop=True)


def tell(answered: Answered) -> Told:
    """Say how one network was measured."""
    pairs = pairs_by_step(answered.subject)
    how = f"At each of {several(len(pairs), 'step')} one input is changed and every subset of the gates sees it."
    return Told({"setup": setup_of(answered.subject, pairs.values(), how)})
