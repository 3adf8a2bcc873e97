"""Describes the network: layers, origin, inputs, and the error of its recording."""

from __future__ import annotations

import pandas as pd

from ...evidence.findings import DataFigure, Finding
from ...evidence.measurements import tabulate
from ...recurrent.inspection import inspect
from ...words import several
from ..definition.prepared import Prepared
from ..sampling.activations import Sightings
from ..tables import row


def ask(sightings: Sightings, question: str) -> Finding:
    """Return what the network is, with the error of its recording."""
    prepared, sample = sightings.prepared, sightings.sample
    described = {layer.name: layer for layer in inspect(prepared.opened.model).layers}
    looked = {layer.name for layer in prepared.layers}
    rows = []
    for name, layer in described.items():
        sizes = {"inputs": layer.inputs, "units": layer.units, "parameters": layer.parameters}
        rows += [row(question, metric, value, layer=name, signal=layer.cell) for metric, value in sizes.items()]
        rows.append(row(question, "looked_at", float(name in looked), layer=name, signal=layer.cell))
    rows.append(row(question, "max_error", sightings.own.max_error))
    return Finding(question, "The network", tabulate(rows), notes=_notes(prepared, sightings, len(sample.rows)))


def _notes(prepared: Prepared, sightings: Sightings, recorded: int) -> dict[str, str]:
    batch, time, features = prepared.x.shape
    lengths = prepared.lengths
    ragged = f"of {lengths.min()} to {lengths.max()} steps" if prepared.ragged else f"of {time} steps each"
    read = f"{several(batch, 'sequence')} {ragged}, {several(features, 'feature')} a step"
    if recorded < batch:
        read += f"; {recorded:,} of them, drawn with seed {prepared.seed}, were recorded"
    error = sightings.own.max_error
    exact = (
        "Recomputed from its own states, the network's gates give its hidden states with a largest error of "
        f"{error:.2g}, relative to max(1, |value|): what is shown here is this network, and no copy that runs apart."
    )
    return {
        "inputs": read,
        "recording": exact,
        **{f"card: {name}": text for name, text in prepared.opened.card.items()},
    }


def layers_table(finding: Finding) -> pd.DataFrame:
    """Return the layers of the card as a table: name, kind, sizes, whether they were looked at."""
    table = finding.measurements
    rows = table[table["layer"] != ""]
    wide = rows.pivot(index=["layer", "signal"], columns="metric", values="value").reset_index()
    order = {name: place for place, name in enumerate(dict.fromkeys(rows["layer"]))}
    wide = wide.sort_values("layer", key=lambda names: names.map(order))
    found = wide[["layer", "signal", "inputs", "units", "parameters"]].rename(columns={"signal": "cell"})
    found = found.astype({"inputs": int, "units": int, "parameters": int})
    found["looked at"] = ["yes" if flag else "no" for flag in wide["looked_at"]]
    return found


__all__ = ["DataFigure", "ask", "layers_table"]
