"""Puts a study's network into the page's explorer, or says why it is too large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import ProbeError
from ...explorer import Explorer, ExplorerNetwork
from ...loading.named_network import NamedNetwork
from ...subjects.readouts import LOGIT, NUMBER, Head
from ...subjects.subject import Subject
from .live_programs import programs

#: A page of a study carries networks of so many parameters, so that it stays below 600 kB with its figures.
PARAMETERS = 25_000
#: Of the first sequence so many steps are shown at first; so many different inputs get letters.
STEPS, LETTERS = 12, 10


def explorer(subject: Subject, controls: Sequence[Subject] = ()) -> Explorer | str:
    """Return the explorer, or the sentence why the page has none.

    Args:
        subject: the network.
        controls: one with a fitted head stands beside the network where both are small enough.
    """
    inner: Any = subject.model
    while isinstance(inner, NamedNetwork):
        (inner,) = inner.children()
    if not isinstance(inner, (nn.LSTM, nn.GRU, nn.RNN)):
        return (
            f"The page does not run the network: it is a {type(inner).__name__}, and the explorer runs torch's own "
            "LSTM, GRU and RNN."
        )
    head, softmax = _head(inner, subject)
    network = ExplorerNetwork(
        subject.network.name, subject.model, "the network of this study", head=head, softmax=softmax
    )
    reason = network.why_not
    if reason is None and network.parameters > PARAMETERS:
        reason = (
            f"{subject.network.name} has {network.parameters:,} parameters, and the page of a study carries "
            f"networks of up to {PARAMETERS:,} to stay small enough to be sent; probe.record and probe.intervene run "
            "it in Python."
        )
    if reason is not None:
        return f"The page does not run the network: {reason}"
    example, alphabet = _example(subject)
    letters = {tuple(value): letter for letter, value in (alphabet or {}).items()}
    runs = programs(subject, letters) if softmax and alphabet else []
    truth = subject.answered.name if runs and runs[0].name == subject.answered.name else ""
    networks = [network, *_beside(controls, softmax, PARAMETERS - network.parameters)]
    try:
        return Explorer(networks, example, alphabet, _classes(subject, softmax), programs=runs, truth=truth)
    except ProbeError as error:
        return f"The page does not run the network: {error}"


def _beside(controls: Sequence[Subject], softmax: bool, room: int) -> list[ExplorerNetwork]:
    """Return the first network with random weights and a fitted head that the page has room for, or none."""
    for control in (one for one in controls if softmax and one.network.role == "fitted head"):
        inner: Any = control.model
        while isinstance(inner, NamedNetwork):
            (inner,) = inner.children()
        head, classes = _head(inner, control)
        if head is None or not classes:
            continue
        name = "random weights, fitted head"
        made = ExplorerNetwork(name, control.model, "not trained: only its head was fitted", head=head, softmax=True)
        return [made] if made.why_not is None and made.parameters <= room else []
    return []


def _head(inner: nn.RNNBase, subject: Subject) -> tuple[nn.Linear | None, bool]:
    """Return the head that the page runs on the last hidden state, and whether its scores are those of classes."""
    head = subject.head
    linear = _linear(head)
    last = subject.read is not None and subject.read.module is inner and subject.read.level == inner.num_layers - 1
    if head is None or linear is None or not last or inner.bidirectional:
        return None, False
    if head.kind == LOGIT:
        return _of_two(linear), True
    return linear, head.kind != NUMBER and linear.out_features > 1


def _of_two(logit: nn.Linear) -> nn.Linear:
    """Return a logit as the scores of two classes, of which the first has always 0."""
    two = nn.Linear(logit.in_features, 2, dtype=logit.weight.dtype)
    with torch.no_grad():
        for parameter, given in ((two.weight, logit.weight), (two.bias, logit.bias)):
            _ = parameter.zero_()
            if given is not None:
                parameter[1] = given[0]
    return two


def _linear(head: Head | None) -> nn.Linear | None:
    inner = getattr(head, "inner", None)
    return inner if isinstance(inner, nn.Linear) else None


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
