"""What is the network: its layers, its origin, its inputs, and the error of its recording?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import several
from ...evidence.measurements import FITTED_HEADS, ROLES, measurement, tabulate
from ...recurrent.inspection import described, inspect
from ...recurrent.layers import OpenLayer
from ...recurrent.signals import UNKNOWN
from ...subjects.computed.sampled import sample_of, states_of
from ...subjects.subject import Subject, as_subjects
from ..question import Answered, Question, Told

if TYPE_CHECKING:
    import pandas as pd

QUESTION, NOT_KNOWN = "network", "not known"
SIZES = ("inputs", "units", "parameters")
#: The controls have the same layers, and are not recorded for this.
ASKED = tuple(role for role in ROLES if role not in ("random weights", *FITTED_HEADS, "null"))


def question(subject: Subject) -> Question:
    """Return the question what the network is."""
    _ = subject
    return Question("network", "The network", measure, roles=ASKED, tell=tell)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Return the layers of networks, and the error of their recordings.

    Metrics of each layer (`kind` is its cell): `inputs`, `units`, `parameters`, and `looked_at`, 1 if it is studied.
    A size that only a call of the layer would tell is left out.
    Of each network `max_error`, the largest difference between recomputed hidden states and the network's own,
    relative to max(1, |value|).
    """
    rows = []
    for subject in as_subjects(subjects):
        looked = {layer.name: described(layer) for layer in subject.layers}
        for own in inspect(subject.model).layers:
            if own.units == UNKNOWN and own.name not in looked:
                continue  # it could be a cell, and the run showed that it is none
            layer = looked.get(own.name, own)
            sizes = {"inputs": layer.inputs, "units": layer.units, "parameters": layer.parameters}
            known = {metric: size for metric, size in sizes.items() if size != UNKNOWN}
            rows += [
                measurement(QUESTION, metric, subject.network, float(value), layer=layer.name, kind=layer.cell)
                for metric, value in (known | {"looked_at": layer.name in looked}).items()
            ]
        rows.append(measurement(QUESTION, "max_error", subject.network, states_of(subject).max_error))
    return tabulate(rows)


def tell(answered: Answered) -> Told:
    """Return what was read, how exact the recording is, and where the network comes from (`card: NAME`)."""
    subject = answered.subject
    (batch, time, features), recorded = subject.x.shape, len(sample_of(subject).rows)
    steps = f"{subject.lengths.min()} to {subject.lengths.max()} steps" if subject.ragged else f"{time} steps each"
    read = f"{several(batch, 'sequence')} of {steps}, {several(features, 'feature')} a step"
    if recorded < batch:
        read += f"; {recorded:,} of them, drawn with seed {subject.seed}, were recorded"
    stepwise = any(isinstance(layer, OpenLayer) for layer in subject.layers)
    exact = (
        "We ran its layers one step at a time. They return what the network's own run returned"
        if stepwise
        else "We recomputed each step from the recorded states. This reproduces the network's hidden states"
    )
    exact += f" with an error of at most {states_of(subject).max_error:.2g}, relative to max(1, |value|)."
    card = {f"card: {name}": text for name, text in subject.card.items()}
    return Told({"inputs": read, "recording": exact, **card})


def layers_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the layers of a measured network as a table: name, kind, sizes, and whether they were studied.

    A size that was not measured is said to be not known.
    """
    rows = table[table["layer"] != ""]
    wide = rows.pivot(index=["layer", "kind"], columns="metric", values="value").reset_index()
    order = {name: place for place, name in enumerate(dict.fromkeys(rows["layer"]))}
    wide = wide.sort_values("layer", key=lambda names: names.map(order))
    layers = wide.reindex(columns=["layer", "kind", *SIZES, "looked_at"])
    for size in SIZES:
        known = layers[size].notna()
        layers[size] = [int(value) if there else NOT_KNOWN for value, there in zip(layers[size], known, strict=True)]
    layers["looked_at"] = ["yes" if flag else "no" for flag in layers["looked_at"]]
    return layers.rename(columns={"kind": "cell", "looked_at": "looked at"})
