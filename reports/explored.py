"""Builds the explorer of the counter's page from the network files beside its findings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from probe import ProbeError
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram

#: Recurrent layers by their name in a network's file.
LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Read(nn.Module):
    """A recurrent layer whose last hidden state one linear head reads, from a file of weights.

    Args:
        weights: of the layer, by torch's names behind the layer's, and `head.weight`, `head.bias`.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        (self.name,) = {key.partition(".")[0] for key in weights} - {"head"}
        inputs = weights[f"{self.name}.weight_ih_l0"].shape[1]
        scores, units = weights["head.weight"].shape
        self.add_module(self.name, LAYERS[self.name](inputs, units, batch_first=True))
        self.head = nn.Linear(units, scores)
        self.load_state_dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (batch, class) of sequences (batch, time, input)."""
        hidden, _ = self.get_submodule(self.name)(x)
        return self.head(hidden[:, -1])


def read(folder: Path) -> tuple[Explorer, list[str]]:
    """Return the explorer of a folder that `python -m analyses counter` wrote, and what is said of it.

    Raises:
        ProbeError: the folder or a file of it is missing.
    """
    path = folder / "explorer.json"
    if not path.is_file():
        raise ProbeError(
            f"The explorer's networks are missing at {str(path)!r}; run `python -m analyses counter` again."
        )
    described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    networks = [
        ExplorerNetwork(
            one["name"],
            Read(load_file(folder / one["file"])),
            one["role"],
            alphabet=one.get("alphabet"),
            trained_lengths=one.get("trained_lengths"),
            programs=_programs(one.get("programs", [])),
            look=one["look"],
        )
        for one in described["networks"]
    ]
    explorer = Explorer(
        networks,
        described["example"],
        described["alphabet"],
        described["classes"],
        described["trained_lengths"],
        programs=_programs(described["programs"]),
        experiments=[_experiment(**one) for one in described["experiments"]],
        truth=described["truth"],
        beside=described["beside"],
    )
    return explorer, described["told"]


def _experiment(
    label: str, patch: str | None = None, steps: Sequence[int] = (), **setting: Any
) -> ExplorerExperiment:
    edits = [] if patch is None else [ExplorerEdit("patch", patch, steps=steps)]
    return ExplorerExperiment(label, edits=edits, **setting)


def _programs(described: list[dict[str, Any]]) -> list[ExplorerProgram]:
    return [ExplorerProgram(one["name"], one["start"], one["steps"], one["role"]) for one in described]
