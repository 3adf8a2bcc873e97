"""Describes the network: layers, origin, inputs, and the error of its recording."""

from __future__ import annotations

import pandas as pd

from ...errors import several
from ...evidence.findings import Finding
from ...evidence.measurements import tabulate
from ...recurrent.inspection import inspect
from ..definition.prepared import Prepared
from ..rows import row
from ..sampling.activations import Activations


def ask(activations: Activations, question: str) -> Finding:
    """Return the network's layers, its source and inputs, and the error of its recording."""
    prepared, sample = activations.prepared, activations.sample
    described = {layer.name: layer for layer in inspect(prepared.opened.model).layers}
    looked = {layer.name for layer in prepared.layers}
    rows = []
    for name, layer in described.items():
        sizes = {"inputs": layer.inputs, "units": layer.units, "parameters": layer.parameters}
        rows += [row(question, metric, value, layer=name, signal=layer.cell) for metric, value in sizes.items()]
        rows.append(row(question, "looked_at", float(name in looked), layer=name, signal=layer.cell))
    rows.append(row(question, "max_error", activations.network.max_error))
    return Finding(question, "The network", tabulate(rows), notes=_notes(prepared, activations, len(sample.rows)))


def _notes(prepared: Prepared, activations: Activations, recorded: int) -> dict[str, str]:
    batch, time, features = prepared.x.shape
    lengths = prepared.lengths
    ragged = f"of {lengths.min()} to {lengths.max()} steps" if prepared.ragged else f"of {time} steps each"
    read = f"{several(batch, 'sequence')} {ragged}, {several(features, 'feature')} a step"
    if recorded < batch:
        read += f"; {recorded:,} of them, drawn with seed {prepared.seed}, were recorded"
    error = activations.network.max_error
    exact = (
        "We recomputed the gates from the recorded states. They reproduce the network's hidden states with an error "
        f"of at most {error:.2g}, relative to max(1, |value|)."
    )
    return {
        "inputs": read,
        "recording": exact,
        **{f"card: {name}": text for name, text in prepared.opened.card.items()},
    }


def layers_table(finding: Finding) -> pd.DataFrame:
    """Return the layers as a table: name, kind, sizes, and whether they were studied."""
    table = finding.measurements
    rows = table[table["layer"] != ""]
    wide = rows.pivot(index=["layer", "signal"], columns="metric", values="value").reset_index()
    order = {name: place for place, name in enumerate(dict.fromkeys(rows["layer"]))}
    wide = wide.sort_values("layer", key=lambda names: names.map(order))
    layers = wide[["layer", "signal", "inputs", "units", "parameters"]].rename(columns={"signal": "cell"})
    layers = layers.astype({"inputs": int, "units": int, "parameters": int})
    layers["looked at"] = ["yes" if flag else "no" for flag in wide["looked_at"]]
    return layers
