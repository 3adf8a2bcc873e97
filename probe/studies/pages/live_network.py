"""Puts a study's network into the page's explorer, or says why it is too large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import ProbeError
from ...evidence.words import listed
from ...explorer import Explorer, ExplorerNetwork
from ...explorer.networks import LOOKS
from ...recurrent.finding import find_layers
from ...recurrent.layers import Layer
from ...report import Block, Text
from ...subjects.functions import calling
from ...subjects.own_output import is_bare, own_output
from ...subjects.readouts import LOGIT, NUMBER
from ...subjects.states import drawn_rows
from ...subjects.subject import Subject, per_subject
from .first_sequence import First, first_of

#: A page of a study carries networks of so many parameters, so that it stays below 600 kB with its figures.
PARAMETERS = 25_000
#: So many steps are shown at first: of numbers, and of symbols as many as the page draws at once.
STEPS, SYMBOLS = 12, 32
#: So many different inputs get letters.
LETTERS = 10
#: Units are sorted by their states over so many sequences, and about so many steps.
SORTED, SORTED_STEPS = 1_024, 12_000
#: Inputs with more features than this are not written out beside their letters.
SAID_FEATURES = 12


def blocks(subject: Subject, controls: Sequence[Subject] = ()) -> list[Block] | str:
    """Return the explorer of a network below what it starts with and its letters, or why the page has none."""
    live = explorer(subject, controls)
    if isinstance(live, str):
        return live
    letters = "" if subject.symbols else said_letters(live.alphabet or {})
    said = " ".join(filter(None, [_first(subject).why, letters]))
    return [Text(said), live] if said else [live]


def said_letters(alphabet: Mapping[str, object]) -> str:
    """Return the sentence on the input of each letter; empty if digits stand for themselves, or inputs are long."""
    named = {letter: np.ravel(np.asarray(value, dtype=float)) for letter, value in alphabet.items()}
    if not named or all(letter.isdigit() for letter in named) or max(map(len, named.values())) > SAID_FEATURES:
        return ""
    inputs = [f"{letter} is ({', '.join(f'{number:g}' for number in value)})" for letter, value in named.items()]
    return f"Each letter stands for an input: {listed(inputs)}."


def explorer(subject: Subject, controls: Sequence[Subject] = ()) -> Explorer | str:
    """Return the explorer, or the sentence why the page has none."""
    try:
        with calling("The network", "The explorer runs it on one sequence at a time."):
            return _explorer(subject, controls)
    except ProbeError as error:
        return f"The page does not run the network: {error}"


def _explorer(subject: Subject, controls: Sequence[Subject]) -> Explorer:
    head, softmax = _head(subject)
    name, role = subject.network.name, subject.network.role
    look = role if role in LOOKS else "trained"
    about: dict[str, Any] = {"head": head, "softmax": softmax, "look": look, "sequences": _studied(subject)}
    network = ExplorerNetwork(name, subject.model, "the network of this study", **about)
    if head is None and not is_bare(subject.model) and _is_last(find_layers(subject.model)[-1]):
        raise ProbeError(
            f"no linear layer of {name} makes its output of the last hidden state alone, so the explorer could not "
            "show what it answers."
        )
    if reason := network.why_not:
        raise ProbeError(reason)
    if network.parameters > PARAMETERS:
        raise ProbeError(
            f"{name} has {network.parameters:,} parameters, and the page of a study carries networks of up to "
            f"{PARAMETERS:,} to stay small enough to be sent; probe.record and probe.intervene run it in Python."
        )
    example, alphabet = _example(subject)
    networks = [network, *_beside(controls, softmax, PARAMETERS - network.parameters)]
    return Explorer(networks, example, alphabet, _classes(subject, softmax))


def _beside(controls: Sequence[Subject], softmax: bool, room: int) -> list[ExplorerNetwork]:
    """Return the first network with random weights and a fitted head that the page has room for, or none."""
    for control in (one for one in controls if softmax and one.network.role == "fitted head"):
        head, classes = _head(control)
        if head is None or not classes:
            continue
        name = "random weights, fitted head"
        role, look = "not trained: only its head was fitted", control.network.role
        made = ExplorerNetwork(name, control.model, role, head=head, look=look, sequences=_studied(control))
        return [made] if made.why_not is None and made.parameters <= room else []
    return []


def _head(subject: Subject) -> tuple[nn.Linear | None, bool]:
    """Return the head that the page runs on the last hidden state, and whether its scores are those of classes.

    Where the study's readout is none, it is the one that makes the model's own output, whatever that means.
    """
    head, linear = subject.head, _read_by(subject)
    if head is None or linear is None:
        return _own_head(subject), False
    if head.kind == LOGIT:
        return _of_two(linear), True
    return linear, head.kind != NUMBER and linear.out_features > 1


def _read_by(subject: Subject) -> nn.Linear | None:
    """Return the linear layer by which the study's readout reads the last hidden state, or None."""
    linear = getattr(subject.head, "inner", None)
    return linear if isinstance(linear, nn.Linear) and _is_last(subject.read) else None


def _of_two(logit: nn.Linear) -> nn.Linear:
    """Return a logit as the scores of two classes, of which the first has always 0."""
    two = nn.Linear(logit.in_features, 2, dtype=logit.weight.dtype)
    given = {"weight": logit.weight, "bias": two.bias.new_zeros(1) if logit.bias is None else logit.bias}
    _ = two.load_state_dict({name: torch.cat([torch.zeros_like(one), one]) for name, one in given.items()})
    return two


def _own_head(subject: Subject) -> nn.Linear | None:
    if is_bare(subject.model):
        return None
    with suppress(ProbeError), calling("The network", ""):
        layers = find_layers(subject.model)
        own = own_output(subject.model, subject.x, subject.lengths, layers, tolerance=subject.tolerance)
        return own.head if isinstance(own.head, nn.Linear) and _is_last(own.layer) and not own.sigmoid else None
    return None


def _is_last(read: Layer | None) -> bool:
    """Return whether a layer is the last one of a stack of torch's in one direction."""
    module: Any = None if read is None else read.module
    return (
        read is not None
        and isinstance(module, nn.RNNBase)
        and read.level == module.num_layers - 1
        and not module.bidirectional
    )


def _classes(subject: Subject, softmax: bool) -> list[str]:
    if not softmax or subject.head is None:
        return []
    concept, values = subject.answered, subject.head.values.tolist()
    known = len(concept.categories) if concept.is_categorical else None
    return [
        concept.said(value) if known is None or value < known else f"answer {place}"
        for place, value in enumerate(values)
    ]


def _example(subject: Subject) -> tuple[Any, dict[str, list[float]] | None]:
    """Return the steps that are shown first, in the author's symbols, or letters of few inputs."""
    first, names = _first(subject), _names(subject)
    steps = subject.x[first.row, : first.steps].double().numpy()
    read = [names.get(tuple(step.tolist())) for step in steps]
    if None in read:
        return steps.tolist(), None
    return "".join(str(one) for one in read), {letter: list(value) for value, letter in names.items()}


@per_subject
def _first(subject: Subject) -> First:
    """Return the sequence that is shown first."""
    symbols, answered = bool(_names(subject)), _read_by(subject) is not None
    called = "string" if symbols else "sequence"
    return first_of(subject, SYMBOLS if symbols else STEPS, answered=answered, called=called)


@per_subject
def _names(subject: Subject) -> dict[tuple[float, ...], str]:
    """Return the symbol of each input: the author's, or a letter where they are few; none otherwise."""
    seen = np.unique(subject.x[torch.as_tensor(subject.data)].double().numpy()[:100_000], axis=0)
    named = dict(subject.symbols) or (dict(zip(_letters(seen), seen, strict=True)) if len(seen) <= LETTERS else {})
    return {tuple(value.tolist()): letter for letter, value in named.items()}


def _studied(subject: Subject) -> list[torch.Tensor]:
    """Return sequences of a study by which units are sorted: all, or a part drawn by the seed."""
    most = int(np.clip(SORTED_STEPS // subject.x.shape[1], 1, SORTED))
    rows = drawn_rows(subject, np.arange(len(subject.x)), most, 24)
    return [subject.x[row, : subject.lengths[row]] for row in rows.tolist()]


def _letters(values: np.ndarray) -> str:
    digits = values.shape[1] == 1 and bool(((values >= 0) & (values <= 9) & (values == values.round())).all())
    return "".join(str(round(value)) for value in values[:, 0]) if digits else "abcdefghij"[: len(values)]
