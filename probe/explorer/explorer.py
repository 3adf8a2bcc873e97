"""`Explorer`: a block of a page with networks that its reader can run and edit in the browser."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ProbeError, several, unknown
from ..report.page import Page, Section
from ..report.tables import Table
from .experiments import ExplorerExperiment, Typed, written
from .networks import (
    LOOKS,
    Alphabet,
    Array,
    ExplorerNetwork,
    Features,
    batch_of,
    check_output,
    check_weights,
    double_of,
    embed,
    find_head,
    has_classes,
    moving,
    named,
    spoken,
)
from .rival_programs import ExplorerProgram, described, merged

if TYPE_CHECKING:
    from torch import Tensor

#: The table before the script runs shows so many units and steps.
_UNITS, _STEPS = 12, 20
#: Of so many networks all are drawn beside each other, where nobody says which.
BESIDE = 3
#: The script runs sequences of so many steps.
MOST_STEPS = 2000
#: In JSON, the characters that turn the direction of the text behind them.
_TURNING = re.compile(r"\\u(202[a-e]|206[6-9])")
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


@functools.cache
def file_of(name: str) -> str:
    """Return the text of a file of this folder."""
    return resources.files("probe.explorer").joinpath(name).read_text(encoding="utf-8")


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
        classes: the names of the head's classes, or of the numbers that it gives, in order; empty numbers them.
        trained_lengths: how long the sequences of the training were; a note says where one lies outside. Empty
            says nothing.
        programs: rival programs, whose answers stand beside the network's; they need an alphabet and classes.
        experiments: what the reader is invited to try, a button each.
        truth: the name of the program that gives the right answer, which is drawn against the network's; empty
            draws none and calls no answer wrong.
        beside: the names of the networks that are drawn beside each other, the first of which gives way to the
            reader's choice; empty takes all where they are up to three, and the first alone otherwise.

    Raises:
        ProbeError: no network or no example is given, two networks share a name, a symbol is no single character
            or has another number of features than a network reads, the example has an unknown symbol, a network's
            output is not that of its head on its last hidden state, a program reads other symbols than a network or
            stands beside one without classes, an experiment cannot be run, or there is no program `truth=` or no
            network of `beside=`.
    """

    networks: Sequence[ExplorerNetwork]
    example: Typed
    alphabet: Alphabet | None = None
    classes: Sequence[str] = ()
    trained_lengths: Sequence[int] = ()
    programs: Sequence[ExplorerProgram] = ()
    experiments: Sequence[ExplorerExperiment] = ()
    truth: str = ""
    beside: Sequence[str] = ()
    #: What the script reads, as JSON; None where it can run none of the networks.
    data: str | None = field(init=False, repr=False)
    #: For each network that the page cannot run, why.
    refused: tuple[str, ...] = field(init=False, repr=False)
    #: What the first network does with the example.
    table: Table = field(init=False, repr=False)
    #: What it answers to the example, and what the program `truth` does, in words; empty where there is none.
    answer: str = field(init=False, repr=False)
    right: str = field(init=False, repr=False)
    kind: ClassVar[str] = "explorer"
    height: ClassVar[int] = 860
    template: ClassVar[str] = file_of("templates/explorer.html.j2")
    style: ClassVar[str] = file_of("templates/explorer.css")

    @property
    def script(self) -> str | None:
        """What runs it in a page, made of js/; None where the page can run none of the networks."""
        return None if self.data is None else file_of("explorer.js")

    def __post_init__(self) -> None:
        names = [network.name for network in self.networks]
        if not names or len(set(names)) != len(names):
            raise ProbeError(f"An explorer needs networks with different names; {names!r} were given.")
        length = len(self.example if isinstance(self.example, str) else _steps(self.example))
        if not 0 < length <= MOST_STEPS:
            raise ProbeError(
                f"An explorer needs an example, the sequence that is shown at first, of 1 to {MOST_STEPS:,} steps; "
                f"{length:,} were given."
            )
        reasons = [network.why_not for network in self.networks]
        live = [network for network, reason in zip(self.networks, reasons, strict=True) if reason is None]
        object.__setattr__(self, "refused", tuple(reason for reason in reasons if reason is not None))
        first = (live or list(self.networks))[0]
        recordings = {network.name: self._recorded(network) for network in live or [first]}
        recording, hidden = recordings[first.name]
        object.__setattr__(self, "table", self._table(first, recording, hidden))
        programs = [merged(self.programs, network.programs) for network in self.networks]
        beside = [listed for listed, reason in zip(programs, reasons, strict=True) if reason is None]
        content = {
            "networks": [
                {**embed(network), **_sorted(network, recordings[network.name][0]), **self._read_by(network, listed)}
                for network, listed in zip(live, beside, strict=True)
            ],
            "example": _typed(self.example),
            "classes": [str(name) for name in self.classes],
            "truth": _right(self.truth, [self, *self.networks]),
            "beside": _beside(self.beside, self.networks, live),
            "experiments": [self._tried(experiment, live) for experiment in self.experiments] if live else [],
        }
        _check_classes(content["classes"], live)
        right = next((one for one in merged(self.programs, first.programs) if one.name == self.truth), None)
        object.__setattr__(self, "answer", spoken(first, hidden[-1], content["classes"]) if live else "")
        known = right(self.example) if live and right is not None and isinstance(self.example, str) else None
        object.__setattr__(self, "right", "" if known is None else named(first, known, content["classes"]))
        # In a sentence, text that turns the direction of writing would turn the numbers beside it.
        text = _TURNING.sub(r"\\ufffd", json.dumps(content, allow_nan=False))
        object.__setattr__(self, "data", text if live else None)

    def _repr_html_(self) -> str:
        """Show the explorer in a notebook, as a page of its own in a frame."""
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
            readable = len(symbol) == 1 and (symbol == " " or symbol.isprintable())
            if not readable or len(row) != width or not all(map(math.isfinite, row)):
                raise ProbeError(
                    f"Symbol {symbol[:20]!r} is {row!r} to network {network.name!r}. A symbol is one character (one "
                    f"code point) that can be typed, and stands for the {width} finite features that the network "
                    "reads at a step."
                )
        return features

    def _read_by(self, network: ExplorerNetwork, programs: Sequence[ExplorerProgram]) -> dict[str, Any]:
        lengths = self.trained_lengths if network.trained_lengths is None else network.trained_lengths
        return {
            "alphabet": self._alphabet(network),
            "trained_lengths": sorted({int(length) for length in lengths}),
            "look": network.look,
            "legend": LOOKS[network.look],
            "programs": self._answering(network, programs),
        }

    def _answering(self, network: ExplorerNetwork, programs: Sequence[ExplorerProgram]) -> list[dict[str, Any]]:
        """Return the programs that stand beside a network, as the script reads them."""
        alphabet = self._alphabet(network)
        if programs and (alphabet is None or not has_classes(network)):
            lacks = "symbols to read" if alphabet is None else "classes to answer with"
            raise ProbeError(
                f"Programs {[program.name for program in programs]!r} cannot stand beside network {network.name!r}, "
                f"which has no {lacks}. A program reads symbols and says a class: leave programs= out, or give them "
                "to the networks that have both, by ExplorerNetwork(programs=)."
            )
        for program in programs:
            program.check(alphabet or (), network.name)
        return [described(program) for program in programs]

    def _tried(self, experiment: ExplorerExperiment, live: Sequence[ExplorerNetwork]) -> dict[str, Any]:
        """Return an experiment as the script reads it; it is run here, so that no button leads to an error."""
        from ..hooks.record import record
        from ..recurrent.signals import Signal

        names = [network.name for network in live]
        try:
            if experiment.network is not None and experiment.network not in names:
                raise ProbeError(unknown("network that the page runs", experiment.network, names))
            place = 0 if experiment.network is None else names.index(experiment.network)
            network = live[place]
            layers = {layer.name: layer for layer in network.layers}
            given = self.example if experiment.sequence is None else experiment.sequence
            second = [self._rows(network, sequence) for sequence in experiment.second]
            state = {"network": place, "x": _typed(given), "view": "after"}
            if second:
                state["y"] = self._joined(network, experiment.second)
            model = double_of(network)
            source = record(model, batch_of(network, second), signals=Signal) if second else None
            edits = []
            for edit in experiment.edits:
                name = next(iter(layers)) if edit.layer is None else edit.layer
                if name not in layers:
                    raise ProbeError(unknown("layer", name, layers))
                edits.append(edit.made(name, layers[name].units, source))
            rows = self._rows(network, given)
            _ = record(model, batch_of(network, [rows]), edits=edits)
        except ProbeError as error:
            raise ProbeError(f"The experiment {experiment.label!r} cannot be run. {error}") from None
        lengths = len(rows), len(second[0]) if second else 0
        return {"label": experiment.label, "state": {**state, **written(experiment.edits, network.layers, lengths)}}

    def _joined(self, network: ExplorerNetwork, sequences: Sequence[Typed]) -> str:
        """Return sequences as the reader types several of one length: with a space or a comma between them."""
        alphabet = self._alphabet(network)
        between = [mark for mark in " ," if alphabet is not None and mark not in alphabet]
        lengths = [len(one if isinstance(one, str) else _steps(one)) for one in sequences]
        if len(set(lengths)) > 1 or (len(sequences) > 1 and not between):
            raise ProbeError(
                f"Second sequences of {lengths} steps were given. Several must "
                "have one length, and an alphabet that leaves the space or the comma to stand between them."
            )
        return (between or [""])[0].join(map(_typed, sequences))

    def _rows(self, network: ExplorerNetwork, sequence: Typed, what: str = "sequence") -> list[list[float]]:
        """Return what a network reads of a sequence, (time, feature)."""
        alphabet = self._alphabet(network)
        if isinstance(sequence, str) != (alphabet is not None):
            raise ProbeError(
                f"The {what} must be a text where there is an alphabet, and rows of numbers where there is none; "
                f"it is a {type(sequence).__name__}."
            )
        if isinstance(sequence, str):
            known = alphabet or {}
            missing = sorted(set(sequence) - set(known))
            if missing:
                raise ProbeError(f"The {what} has {missing!r}, which the alphabet of {network.name!r} lacks.")
            rows = [known[symbol] for symbol in sequence]
        else:
            rows = _steps(sequence)
        width = network.layers[0].inputs
        if any(len(row) != width for row in rows):
            raise ProbeError(
                f"Network {network.name!r} reads {several(width, 'feature')} at a step; the {what} has other rows."
            )
        return rows

    def _recorded(self, network: ExplorerNetwork) -> tuple[Any, Tensor]:
        """Return a network's recording of the example in float64, and the hidden states of its last layer."""
        from ..hooks.record import record

        check_weights(network)
        x = batch_of(network, [self._rows(network, self.example, "example")])
        recording = record(double_of(network), x)
        hidden = recording[network.layers[-1].name, "hidden_state"][0]
        if network.why_not is None:
            # Where the head stands apart, or there is none and several things come out, what it reads is compared.
            whole = isinstance(network.head, str | None) and not isinstance(recording.output, tuple)
            check_output(network, recording.output if whole else hidden, x)
        return recording, hidden

    def _table(self, network: ExplorerNetwork, recording: Any, hidden: Tensor) -> Table:
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
        columns = ["unit", *(f"step {step + 1}" for step in range(steps))]
        return Table(columns, rows, caption, digits=3, max_rows=len(rows))


def _sorted(network: ExplorerNetwork, recording: Any) -> dict[str, Any]:
    """Return by what a network's units are sorted, and over how many sequences; 0 are the example alone."""
    hidden = {layer.name: recording[layer.name, "hidden_state"][0] for layer in network.layers}
    return {"moves": moving(network, hidden), "over": len(network.sequences)}


def _check_classes(names: Sequence[str], live: Sequence[ExplorerNetwork]) -> None:
    """Raise where classes are named of which no network's head has as many."""
    heads = [head for network in live if (head := find_head(network)) is not None]
    counts = sorted({head.out_features for head in heads})
    if names and (len(names) not in counts or not all(name.strip() for name in names)):
        raise ProbeError(
            f"classes={names[:12]!r} are {len(names)} names, and the heads of the networks that the page runs give "
            f"{counts} scores. Give each score of a head a name, or leave classes= out."
        )


def _right(truth: str, given: Sequence[Explorer | ExplorerNetwork]) -> str:
    """Return the name of the program that is right, which the explorer or a network must have."""
    known = {program.name for one in given for program in one.programs}
    if truth and truth not in known:
        raise ProbeError(unknown("program that could be the truth", truth, known))
    return truth


def _beside(named: Sequence[str], networks: Sequence[ExplorerNetwork], live: Sequence[ExplorerNetwork]) -> list[int]:
    """Return the places of the networks that are drawn beside each other, of those that the page runs."""
    missing = [name for name in named if name not in [network.name for network in networks]]
    if missing:
        raise ProbeError(unknown("network to draw beside others", missing[0], [one.name for one in networks]))
    names = [network.name for network in live]
    chosen = [names.index(name) for name in named if name in names]
    return chosen or list(range(len(names) if len(names) <= BESIDE else 1))


def _typed(sequence: Typed) -> str:
    """Return a sequence as the script reads it: symbols, or numbers with `;` between steps."""
    if isinstance(sequence, str):
        return sequence
    return ";".join(" ".join(repr(number) for number in row) for row in _steps(sequence))


def _steps(sequence: Sequence[Sequence[float]] | Array) -> list[list[float]]:
    """Return a sequence of numbers as lists, (time, feature)."""
    return [_features(row) for row in (sequence.tolist() if isinstance(sequence, Array) else sequence)]


def _features(value: Features) -> list[float]:
    """Return what stands for one step as a list of numbers."""
    listed = value.tolist() if isinstance(value, Array) else value
    given = list(listed) if isinstance(listed, Sequence) else [listed]
    return [float(number) for number in given]
