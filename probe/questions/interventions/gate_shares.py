"""Through which gate does an input act? Exact shares of every gate that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.measurements import only
from ...methods.decomposition.gates import gate_table, gates_of, input_places, kept_to_the_end, with_constant_gates
from ...methods.decomposition.shapley import pooled_shares
from ...plots.networks import draw_role_lines
from ...plots.style import axes_or_new
from ...recurrent.signals import Signal, as_indices, within
from ...subjects.ends import ends_of
from ...subjects.pairs import pairs_by_step
from ...subjects.subject import Subject
from .. import needs
from ..answers.wrong import frequent_share
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from ..told import of_network
from .shares import AVERAGED, Value, draw_columns, largest_share, measured

QUESTION = "gate_shares"


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
    )


def measure(subjects: Sequence[Subject], *, steps: Iterable[int] | None = None) -> pd.DataFrame:
    """Measure what each gate does with an input, as Shapley shares of what the input changes.

    Base and source differ in one input. At that step every subset of what sees the input (i, f, g and o of an LSTM;
    r, z and n of a GRU; one place in a plain RNN) is given the source's, the others the base's, and the run goes on
    with the base's inputs to the end. Shares are the sum of the Shapley values over steps, pairs and continuations,
    over the sum of the whole differences.

    Metrics: `gate_share`, one for each that sees the input (`signal`); `gate_share_at_step`, the same of each step
    alone; `constant_gates_accuracy`, the share of right answers where the gates that write nothing themselves (i, f
    and o; r and z) are frozen at their mean by unit and step (only of answers that can be exactly right); `kept`, one
    a unit and step: how much of what the step left in the unit is still there at the end, the product of all later
    forget (update) gates, mean over the sequences. A plain RNN has the first two only.

    Args:
        steps: at which steps an input is changed, counted in the subject's machine; None for all but the first, or 16
            of them, where enough sequences differ in the input (see `probe.subjects.pairs`).

    Raises:
        ProbeError: the concept is not aligned to (batch, time), there is no pair that differs at a step, a step or
            layer does not exist, or the cell is of an unknown kind.

    Reference:
        Shapley 1953, A value for n-person games; docs/science.md, claims 15a, 15b, 15c.
    """
    asked = None if steps is None else as_indices("steps", steps)
    return measured(QUESTION, subjects, partial(_values, steps=asked))


def _values(subject: Subject, steps: tuple[int, ...] | None) -> Iterator[Value]:
    end = ends_of(subject)
    wanted = None if steps is None else within("steps", steps, end.steps, "the input's time axis")
    pairs = pairs_by_step(subject, wanted)
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
    ax = draw_role_lines(most_lasting(frame), ax=axes_or_new(ax), at="step")
    ax.set_ylim(0, None)
    ax.set_xlabel("step at which it was written")
    ax.set_ylabel("left of it at the end")
    return ax


def most_lasting(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the `kept` rows of each network's unit that keeps most of what its first step left."""
    kept = only(frame, metric="kept")
    first = kept[kept["step"] == kept["step"].min()].sort_values(["network", "value"])
    best = first.groupby("network")["units"].last()
    return kept[kept["units"] == kept["network"].map(best)].reset_index(drop=True)


def tell(answered: Answered) -> Told:
    """Say through which gates an input acts in one network."""
    answer = largest_share(answered, "gate_share", lambda signal: f"the {name(signal)}")
    end = ends_of(answered.subject)
    right, own = end.values[:, -1], end.machine.clean.answers.chosen.double().numpy()
    for accuracy in of_network(answered, "constant_gates_accuracy")["value"]:
        answer += (
            f" With its gates frozen at their means of each step, the network answers {accuracy:.0%} right (with its "
            f"own gates {(own == right).mean():.0%}; always giving the most frequent answer "
            f"{frequent_share(right):.0%})."
        )
    pairs = pairs_by_step(answered.subject).values()
    count = sum(len(each.pairs[0]) for each in pairs)
    setup = (
        f"We ran {end.said}. At each of {several(len(pairs), 'step')} one input is changed and every subset of the "
        f"gates sees it, in {several(count, 'pair')}. {AVERAGED}"
    )
    return Told({"answer": answer, "setup": setup})
