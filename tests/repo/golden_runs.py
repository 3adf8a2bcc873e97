"""Golden files for the page's engine: what `probe.intervene` makes of strings, edits and networks, as numbers.

`runs.json` names networks, strings and cases; `runs.f64` holds the numbers that Python found, 8 bytes each: for each
run its scores after the last step and one sum over every signal x step x unit, weighted so that no two values can be
exchanged.

`python -m tests.repo.golden_runs` writes the committed sample anew.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import probe
from models.zoo import networks
from probe.explorer.networks import ExplorerNetwork, double_of, embed

COMMITTED = Path(__file__).resolve().parents[1] / "data" / "explorer"
LENGTH = 10
UNITS = 5
FEATURES = 2


class Stack(nn.Module):
    """Recurrent layers with a head of three scores."""

    def __init__(self, family: Any, **options: Any) -> None:
        super().__init__()
        self.rnn = family(FEATURES, UNITS, batch_first=True, **options)
        self.head = nn.Linear(UNITS, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, (batch, 3)."""
        return self.head(self.rnn(x)[0][:, -1])


def drawn(family: Any, seed: int, *, scale: float = 1.5, **options: Any) -> Stack:
    """Return a network with weights large enough that its gates open and close; a relu has no bounds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Stack(family, **options)
        with torch.no_grad():
            for parameter in model.parameters():
                _ = parameter.mul_(scale)
    return model.eval()


def golden_networks() -> list[ExplorerNetwork]:
    """Return the trained counter, and a GRU, an RNN and stacks that were drawn."""
    return [
        ExplorerNetwork("counter", networks(seeds=[0])[0].model),
        ExplorerNetwork("gru", drawn(nn.GRU, 1)),
        ExplorerNetwork("rnn", drawn(nn.RNN, 2, bias=False)),
        ExplorerNetwork("stacked lstm", drawn(nn.LSTM, 3, num_layers=2)),
        ExplorerNetwork("stacked gru", drawn(nn.GRU, 4, num_layers=2).double()),
        ExplorerNetwork("stacked relu rnn", drawn(nn.RNN, 5, scale=1, num_layers=3, nonlinearity="relu")),
    ]


def every_string() -> list[str]:
    """Return all strings of zeros and ones."""
    return ["".join(bits) for bits in itertools.product("01", repeat=LENGTH)]


def encoded(strings: Sequence[str], features: int) -> Tensor:
    """Return strings as inputs (batch, time, feature): the bit, and for a second feature what is half of its rest."""
    bits = torch.tensor([[float(bit) for bit in string] for string in strings], dtype=torch.float64)
    return torch.stack([bits, (1 - bits) / 2][:features], dim=-1)


def some(rng: np.random.Generator, size: int) -> list[int] | None:
    """Return up to four of so many places, each counted from one of both ends, or None for all."""
    if rng.random() < 0.25:
        return None
    chosen = rng.choice(size, size=int(rng.integers(1, min(size, 4) + 1)), replace=False)
    return [int(index) - (size if rng.random() < 0.3 else 0) for index in chosen]


KINDS = ("clamp", "steer", "patch", "zero", "mean", "resample")


def cases(
    rng: np.random.Generator, layers: Sequence[Any], source: probe.Recording, batch: int, count: int
) -> Iterator[tuple[probe.Edit, ...]]:
    """Yield at least `count` cases: none, each kind at each signal of each layer, and several edits together."""

    def edit(kind: str, layer: Any, signal: str) -> probe.Edit:
        units, name = some(rng, layer.units), layer.name if len(layers) > 1 or rng.random() < 0.5 else None
        steps, rows = some(rng, LENGTH), some(rng, batch) if rng.random() < 0.2 else None
        site: dict[str, Any] = {"layer": name, "units": units, "steps": steps, "rows": rows}
        size = layer.units if units is None else len(units)
        if kind == "clamp":
            return probe.clamp(signal, rng.normal(size=size).tolist() if rng.random() < 0.5 else rng.normal(), **site)
        if kind == "steer":
            return probe.steer(signal, rng.normal(size=size).tolist(), scale=-1.5, **site)
        if kind == "patch":
            chosen = rng.integers(len(source.output), size=batch if rows is None else len(rows)).tolist()
            return probe.patch(signal, source, source_rows=chosen, **site)
        seed = {"seed": int(rng.integers(2**40))} if kind == "resample" else {}
        return probe.ablate(signal, kind=kind, reference=None if kind == "zero" else source, **seed, **site)

    yield ()
    sites = [(layer, str(signal)) for layer in layers for signal in layer.signals]
    done = 1
    while done < count:
        yield from ((edit(kind, layer, signal),) for layer, signal in sites for kind in KINDS)
        for _ in range(len(sites)):
            chosen = [sites[int(place)] for place in rng.integers(len(sites), size=3)]
            yield tuple(edit(str(rng.choice(KINDS)), *site) for site in [*chosen, chosen[0]])
        done += len(sites) * (len(KINDS) + 1)


def summed(run: probe.Recording, layers: Sequence[Any]) -> np.ndarray:
    """Return what a golden file holds of each row of a run: its scores after the last step, and the weighted sum."""
    found = [torch.stack([run[layer.name, signal] for signal in layer.signals], dim=2).flatten(1) for layer in layers]
    every = torch.cat(found, dim=1).numpy()
    # The same weights as in the script's tests.
    sums = every @ ((np.arange(every.shape[1]) * 7919 % 1009) / 1009 - 0.5)
    output = run.output if run.output.ndim == 2 else run.output[:, -1]
    return np.column_stack([output.numpy(), sums]).astype("<f8")


def write(
    folder: Path, chosen: Sequence[ExplorerNetwork], strings: list[str], sources: list[str], *, edits: int, seed: int
) -> int:
    """Write runs.json and runs.f64 into a folder, and return how many runs they hold.

    The strings are the rows of every batch, values come from the sources, each network has at least so many edits.
    """
    listed = []
    with (folder / "runs.f64").open("wb") as file:
        for place, network in enumerate(chosen):
            model, layers = double_of(network), network.layers
            x, given = (encoded(rows, layers[0].inputs) for rows in (strings, sources))
            # Half of the networks take values that were kept in float32.
            kept = torch.float32 if place % 2 else torch.float64
            source = probe.record(model, given, signals=probe.Signal, dtype=kept)
            for made in cases(np.random.default_rng([seed, place]), layers, source, len(strings), edits):
                run = probe.record(model, x, edits=made, signals=probe.Signal)
                _ = file.write(summed(run, layers).tobytes())
                listed.append({"network": place, "edits": [edit.to_json() for edit in made]})
    described = [embed(network) for network in chosen]
    text = {"networks": described, "strings": list(strings), "cases": listed}
    _ = (folder / "runs.json").write_text(json.dumps(text, indent=0) + "\n")
    return len(listed) * len(strings)


if __name__ == "__main__":
    COMMITTED.mkdir(parents=True, exist_ok=True)
    every = every_string()
    _ = write(COMMITTED, golden_networks(), every[77::211], every[100::401], edits=2, seed=1)
