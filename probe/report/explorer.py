"""The live explorer as a block of a page: networks that the page itself runs, and a table for who runs no script."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ProbeError
from .embedded import ExplorerNetwork, batch_of, check_output, double_of, embed
from .tables import Table

if TYPE_CHECKING:
    from torch import Tensor

#: The table before the script runs shows so many units and steps.
_UNITS, _STEPS = 12, 20
_LETTERS = {
    "input_gate": "i",
    "forget_gate": "f",
    "cell_candidate": "g",
    "output_gate": "o",
    "cell_state": "c",
    "reset_gate": "r",
    "update_gate": "z",
    "candidate_recurrent": "v",
    "candidate": "n",
    "hidden_state": "h",
    "unprojected_hidden_state": "u",
}


@dataclass(frozen=True)
class Explorer:
    """Networks that a reader runs in the page: types a sequence, edits any signal, sees what follows.

    The weights are read when the value is made; what becomes of the modules later changes no page. Everything is
    computed in float64. A network that a page cannot run is named in a sentence that says why; a page has one
    explorer at most.

    Args:
        networks: what the reader chooses between; the first one is shown.
        example: what is shown at first: symbols of the alphabet, or without one the numbers, (time, feature).
        alphabet: for each symbol, one character, the number or the features that the networks read for it; None
            lets the reader type numbers into a table.
        classes: the names of the head's classes, in order; empty numbers them.
        trained_lengths: how long the sequences of the training were; a note says where one lies outside. Empty
            says nothing.

    Raises:
        ProbeError: no network or no example is given, two networks share a name, a symbol is no single character
            or has another number of features than a network reads, the example has an unknown symbol, or a
            network's output is not that of its head on its last hidden state.
    """

    networks: Sequence[ExplorerNetwork]
    example: str | Sequence[Sequence[float]]
    alphabet: Mapping[str, float | Sequence[float]] | None = None
    classes: Sequence[str] = ()
    trained_lengths: Sequence[int] = ()
    #: What the script reads, as JSON; None where it can run none of the networks.
    data: str | None = field(init=False, repr=False)
    #: For each network that the page cannot run, why.
    refused: tuple[str, ...] = field(init=False, repr=False)
    #: What the first network does with the example.
    table: Table = field(init=False, repr=False)
    kind: ClassVar[str] = "explorer"

    def __post_init__(self) -> None:
        names = [network.name for network in self.networks]
        if not names or len(set(names)) != len(names):
            raise ProbeError(f"An explorer needs networks with different names; {names!r} were given.")
        if not len(self.example):
            raise ProbeError("An explorer needs an example: the sequence that is shown at first.")
        reasons = [network.why_not for network in self.networks]
        live = [network for network, reason in zip(self.networks, reasons, strict=True) if reason is None]
        object.__setattr__(self, "refused", tuple(reason for reason in reasons if reason is not None))
        object.__setattr__(self, "table", self._table((live or list(self.networks))[0]))
        for network in live[1:]:
            _ = self._recorded(network)
        embedded = [{**embed(network), **self._read_by(network)} for network in live]
        written = {"networks": embedded, "example": self._example(), "classes": [str(name) for name in self.classes]}
        object.__setattr__(self, "data", json.dumps(written) if live else None)

    def _repr_html_(self) -> str:
        """Show the explorer in a notebook, as a page of its own in a frame."""
        from .page import Page, Section

        names = ", ".join(network.name for network in self.networks)
        section = Section("Run it", [self], "run")
        return Page(
            "Live explorer", f"Type a sequence and edit what happens inside: {names}.", [section]
        )._repr_html_()

    def _alphabet(self, network: ExplorerNetwork) -> dict[str, list[float]] | None:
        """Return the features that a network reads for each symbol, or None where it reads a table of numbers."""
        given = self.alphabet if network.alphabet is None else network.alphabet
        if given is None:
            return None
        width = network.layers[0].inputs
        features = {symbol: _features(value) for symbol, value in given.items()}
        for symbol, row in features.items():
            if len(symbol) != 1 or len(row) != width:
                raise ProbeError(
                    f"Symbol {symbol[:20]!r} is {row!r} to network {network.name!r}. A symbol is one character, and "
                    f"stands for the {width} features that the network reads at a step."
                )
        return features

    def _read_by(self, network: ExplorerNetwork) -> dict[str, Any]:
        lengths = self.trained_lengths if network.trained_lengths is None else network.trained_lengths
        return {
            "alphabet": self._alphabet(network),
            "trained_lengths": sorted({int(length) for length in lengths}),
        }

    def _example(self) -> str:
        """Return the example as the script reads it: symbols, or numbers with `;` between steps."""
        if isinstance(self.example, str):
            return self.example
        return ";".join(" ".join(repr(number) for number in _features(row)) for row in self.example)

    def _rows(self, network: ExplorerNetwork) -> list[list[float]]:
        """Return what a network reads of the example, (time, feature)."""
        alphabet, example = self._alphabet(network), self.example
        if isinstance(example, str) != (alphabet is not None):
            raise ProbeError(
                "The example must be a text where there is an alphabet, and rows of numbers where there is none; "
                f"it is a {type(example).__name__}."
            )
        if isinstance(example, str):
            known = alphabet or {}
            unknown = sorted(set(example) - set(known))
            if unknown:
                raise ProbeError(f"The example has {unknown!r}, which the alphabet of {network.name!r} lacks.")
            rows = [known[symbol] for symbol in example]
        else:
            rows = [_features(row) for row in example]
        width = network.layers[0].inputs
        if any(len(row) != width for row in rows):
            raise ProbeError(
                f"Network {network.name!r} reads {width} features at a step; the example has other rows."
            )
        return rows

    def _recorded(self, network: ExplorerNetwork) -> tuple[Any, Tensor]:
        """Return a network's recording of the example in float64, and the hidden states of its last layer."""
        import torch

        from ..recorder import record

        model = double_of(network)
        x = batch_of(network, torch.tensor(self._rows(network), dtype=torch.float64))
        recording = record(model, x)
        hidden = recording[network.layers[-1].name, "hidden_state"][0]
        if network.why_not is None:
            check_output(network, recording.output, hidden)
        return recording, hidden

    def _table(self, network: ExplorerNetwork) -> Table:
        recording, hidden = self._recorded(network)
        layer = network.layers[-1]
        steps = min(len(hidden), _STEPS)
        rows: list[list[Any]] = []
        for signal in layer.signals:
            if signal in _LETTERS:
                values = recording[layer.name, signal][0, :steps, :_UNITS].T.tolist()
                rows += [
                    [f"{_LETTERS[signal]} {unit}", *(round(value, 2) for value in row)]
                    for unit, row in enumerate(values)
                ]
        read = f" {self.example[:80]}" if isinstance(self.example, str) else ""
        caption = (
            f"What {network.name} computes on the example{read}: layer {layer.name}, a row a unit, step by step."
        )
        if layer.units > _UNITS or len(hidden) > _STEPS:
            caption += (
                f" The first {min(layer.units, _UNITS)} of {layer.units} units, {steps} of {len(hidden)} steps."
            )
        columns = ["unit", *(f"step {step}" for step in range(steps))]
        return Table(columns, rows, caption, digits=3, max_rows=len(rows))


def _features(value: float | Sequence[float]) -> list[float]:
    """Return what stands for one step as a list of numbers."""
    given = list(value) if isinstance(value, Sequence) else [value]
    return [float(number) for number in given]


@functools.cache
def script() -> str:
    """Return the script that runs an explorer; js/ is its source."""
    return _file("explorer.js")


@functools.cache
def style() -> str:
    """Return what the explorer adds to a page's style sheet."""
    return _file("templates/explorer.css")


def _file(name: str) -> str:
    return resources.files("probe.report").joinpath(name).read_text(encoding="utf-8")
