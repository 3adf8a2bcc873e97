"""What is the network: its layers, its origin, its inputs, and the error of its recording?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.measurements import FITTED_HEADS, ROLES, measurement, tabulate
from ...recurrent.inspection import described, inspect
from ...recurrent.layers import OpenLayer
from ...recurrent.signals import UNKNOWN
from ...subjects.networks.called import blocks_of
from ...subjects.states import recorded, recorded_rows
from ...subjects.subject import Subject, as_subjects
from ..question import Answered, Question, Told

QUESTION = "network"
SIZES = ("inputs", "units", "parameters")
#: The controls have the same layers, and are not recorded for this.
ASKED = tuple(role for role in ROLES if role not in ("random weights", *FITTED_HEADS, "null"))


def question(subject: Subject) -> Question:
    """Return the question what the network is."""
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
        rows.append(measurement(QUESTION, "max_error", subject.network, recorded(subject).max_error or 0.0))
    return tabulate(rows)


def tell(answered: Answered) -> Told:
    """Return what was read, how exact the recording is, the layers, and where the network comes from."""
    subject = answered.subject
    (batch, time, features), count = subject.x.shape, len(recorded_rows(subject))
    shortest, longest, blocks = int(subject.lengths.min()), int(subject.lengths.max()), blocks_of(subject.model)
    if blocks is not None:
        shortest, longest, time = (blocks.inputs(states) for states in (shortest, longest, time))
        features = blocks.features
    steps = f"{shortest} to {longest} steps" if subject.ragged else f"{time} steps each"
    read = f"{several(batch, 'sequence')} of {steps}, {several(features, 'feature')} a step"
    if subject.groups is not None:
        read += f" in {several(len(np.unique(subject.groups)), 'group')}, each held out as a whole"
    if count < batch:
        read += f"; {count:,} of them, drawn with seed {subject.seed}, were recorded"
    stepwise = any(isinstance(layer, OpenLayer) for layer in subject.layers)
    exact = (
        "We ran its layers one step at a time. They return what the network's own run returned"
        if stepwise
        else "We recomputed each step from the recorded states. This reproduces the network's hidden states"
    )
    exact += f" with an error of at most {recorded(subject).max_error or 0.0:.2g}, relative to max(1, |value|)."
    return Told({"answer": f"It read {read}.", "setup": exact, **_layers(answered.table), **subject.card})


def _layers(table: pd.DataFrame) -> dict[str, str]:
    """Return what each layer is, in words; a size that was not measured is left out."""
    found = {}
    for (layer, cell), rows in table[table["layer"] != ""].groupby(["layer", "kind"], sort=False):
        sizes = dict(zip(rows["metric"], rows["value"].astype(int), strict=True))
        words = [several(sizes[name], name.removesuffix("s")) for name in SIZES if name in sizes]
        found[f"layer {layer}"] = ", ".join([str(cell), *words, *([] if sizes["looked_at"] else ["not studied"])])
    return found
