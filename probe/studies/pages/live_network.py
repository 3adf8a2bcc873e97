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
from ...subjects.subject import Subject

#: A page of a study carries networks of so many parameters, so that it stays below 600 kB with its figures.
PARAMETERS = 25_000
#: Of the first sequence so many steps are shown at first; so many different inputs get letters.
STEPS, LETTERS = 12, 10
#: Inputs with more features than this are not written out beside their letters.
SAID_FEATURES = 12


def blocks(subject: Subject, controls: Sequence[Subject] = ()) -> list[Block] | str:
    """Return the explorer of a network with what its letters stand for, or the sentence why the page has none."""
    live = explorer(subject, controls)
    if isinstance(live, str):
        return live
    letters = "" if subject.symbols else said_letters(live.alphabet or {})
    return [Text(letters), live] if letters else [live]


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
    network = ExplorerNetwork(name, subject.model, "the network of this study", head=head, softmax=softmax, look=look)
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
        made = ExplorerNetwork(name, control.model, role, head=head, softmax=True, look=look)
        return [made] if made.why_not is None and made.parameters <= room else []
    return []


def _head(subject: Subject) -> tuple[nn.Linear | None, bool]:
    """Return the head that the page runs on the last hidden state, and whether its scores are those of classes.

    Where the study's readout is none, it is the one that makes the model's own output, whatever that means.
    """
    head, read = subject.head, subject.read
    linear = getattr(head, "inner", None)
    if head is None or not isinstance(linear, nn.Linear) or not _is_last(read):
        return _own_head(subject), False
    if head.kind == LOGIT:
        return _of_two(linear), True
    return linear, head.kind != NUMBER and linear.out_features > 1


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
    """Return the first steps of the first sequence, in the author's symbols, or letters of few inputs."""
    first = subject.x[0, : min(STEPS, int(subject.lengths[0]))].double().numpy()
    named = dict(subject.symbols)
    if not named:
        seen = np.unique(subject.x[torch.as_tensor(subject.data)].double().numpy()[:100_000], axis=0)
        if len(seen) > LETTERS:
            return first.tolist(), None
        named = dict(zip(_letters(seen), seen, strict=True))
    names = {tuple(value.tolist()): letter for letter, value in named.items()}
    read = [names.get(tuple(step.tolist())) for step in first]
    if None in read:
        return first.tolist(), None
    return "".join(str(one) for one in read), {letter: list(value) for value, letter in names.items()}


def _letters(values: np.ndarray) -> str:
    digits = values.shape[1] == 1 and bool(((values >= 0) & (values <= 9) & (values == values.round())).all())
    return "".join(str(round(value)) for value in values[:, 0]) if digits else "abcdefghij"[: len(values)]
