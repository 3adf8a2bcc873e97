"""What a model answers by itself: its output, and the module of it that makes the output of the last hidden state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ProbeError, several
from ..evidence.words import listed
from ..recurrent.finding import find_layers
from ..recurrent.global_state import in_float64
from ..recurrent.layers import Layer
from ..recurrent.named_network import unwrapped
from .concepts import Known
from .functions import calling
from .networks.called import CALL, OneItem, inner, items_of
from .readouts import CLASSES, EVERY, LAST, LOGIT, NUMBER, Head, Readout, meaning
from .states import run

#: What a network's card calls the sentence on its output.
SAID_OF_OUTPUT = "its output"
#: A head is compared with the model's own output on so many sequences, as long as that has no more numbers; how near
#: it must be, in float64.
TRIED, NUMBERS, TOLERANCE = 64, 4_000_000, 1e-9
#: Scores are taken for classes of a numeric concept where at least this share of them occurs as its values.
OCCURRING = 0.75


@dataclass(frozen=True, eq=False)
class OwnOutput:
    """The output of a model as scores, of a sequence or of every step, and the module that makes them of a state."""

    #: In words, such as `(batch, 9)`.
    shape: str
    scores: int
    every: bool
    values: Float[Tensor, "sequence score"]
    layer: Layer | None = None
    module: str = ""
    head: nn.Module | None = None
    #: Whether the output is the module's score after a sigmoid. That a softmax follows changes no answer.
    sigmoid: bool = False


@dataclass(frozen=True, eq=False)
class Task:
    """What networks are asked: inputs (batch, time, feature), how many steps each has, (batch,), and the concepts."""

    x: Tensor
    lengths: np.ndarray
    concepts: Mapping[str, Known]


@dataclass(frozen=True, eq=False)
class OwnAnswer:
    """What a network answers by its output: the readout, the network as one that returns this, and that in words."""

    readout: Readout
    model: nn.Module
    said: str


@dataclass(frozen=True)
class ReadOff:
    """A function of a model's output, whose last scores a head reads: to its `answer` or `expected`, (batch,)."""

    head: Head
    what: str
    scores: int
    every: bool

    def __call__(self, output: Tensor) -> Float[Tensor, " batch"]:
        """Return them."""
        last = output.flatten(1)[:, -self.scores :] if self.every else output.reshape(-1, self.scores)
        scores = self.head(last.double())
        return self.head.answer(scores) if self.what == "answer" else self.head.expected(scores)


def is_bare(model: nn.Module) -> bool:
    """Return whether a model is a recurrent module alone, which returns its states and no answer."""
    return any(layer.module is unwrapped(model) for layer in find_layers(model))


@torch.no_grad()
def own_output(
    model: nn.Module, x: Tensor, lengths: np.ndarray, layers: Sequence[Layer], *, tolerance: float | None = None
) -> OwnOutput:
    """Return the output of a model, and the module that makes it of its layers' last hidden state, if there is one.

    That is no guess from a name: called with the hidden states of a run, in float64, on up to 64 sequences of the
    study, the module must give what the model returned.
    """
    longest = int(lengths.argmax())
    found = _scores(model, x[[longest, longest], : lengths[longest]])
    most = int(np.clip(NUMBERS // (found.scores * x.shape[1] ** found.every), 2, TRIED))
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).round().astype(int))
    parts = [x[rows[lengths[rows] == length], :length] for length in np.unique(lengths[rows])]
    for layer in reversed(layers):
        # What cannot be recorded, or run in float64, is not known to have a head.
        with suppress(ProbeError), calling("The model", ""):
            wide, states, returned = in_float64(model), list[Tensor](), list[Tensor]()
            for part in parts:
                ends = np.full(len(part), part.shape[1])
                recording = run(wide, part.double(), ends, [layer.name], [layer.output], tolerance=tolerance)
                read = recording[layer.name, layer.output].flatten(2)
                states.append((read if found.every else read[:, -1:]).flatten(0, 1))
                returned.append(recording.output.reshape(-1, found.scores))
            hidden, given = torch.cat(states), torch.cat(returned)
            found = replace(found, values=given)
            if _same(hidden, given):
                return replace(found, layer=layer)
            for name, module in _heads(wide):
                with suppress(Exception):  # which takes no states
                    scores = module(hidden).reshape(len(hidden), -1)
                    if any(_same(one, given) for one in _alike(scores)):
                        sigmoid = found.scores == 1 and not _same(scores, given)
                        head = inner(model).get_submodule(name)
                        return replace(found, layer=layer, module=name, head=head, sigmoid=sigmoid)
    return found


def own_answer(
    model: nn.Module, task: Task, layers: Sequence[Layer], readout: Readout | None, *, tolerance: float | None = None
) -> OwnAnswer:
    """Return what a model answers by what it returns: a tensor, or the one item of it that can be an answer.

    Args:
        model: the model.
        task: what it is asked.
        layers: its recurrent layers.
        readout: what the study says of the answer, or None.
        tolerance: as of `record`.

    Raises:
        ProbeError: nothing that it returns fits a concept, or several items do.
    """
    found, reasons = dict[str, OwnAnswer](), list[str]()
    for item, one in outputs_of(model, task, None if readout is None else readout.item).items():
        try:
            own = own_output(one, task.x, task.lengths, layers, tolerance=tolerance)
            chosen = answering(own, task.concepts, item) if readout is None else readout
            concept = task.concepts[chosen.concept]
            whole = taken(own, chosen, concept)
        except ProbeError as error:
            reasons.append(f"{item}: {error}" if item else str(error))
            continue
        before = f"item {item.removeprefix('output=')} of what it returns, " * bool(item)
        found[item] = OwnAnswer(whole, one, before + in_words(own, whole, concept))
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise ProbeError(" ".join(reasons))
    ways = [f"probe.Readout({one.readout.concept!r}, {item})" for item, one in found.items()]
    raise ProbeError(
        f"Several things that the model returns could be its answer, and we do not guess; say which: readout="
        f"{' or readout='.join(ways)}."
    )


@torch.no_grad()
def outputs_of(model: nn.Module, task: Task, item: int | str | None) -> dict[str, nn.Module]:
    """Return a model as one that returns a tensor, by what a readout writes of each tensor that it returns.

    Args:
        model: the model.
        task: what it is asked.
        item: which of the items it returns; None for every tensor among them.
    """
    longest = int(task.lengths.argmax())
    if item is not None:
        return {f"output={item!r}": OneItem(model, item)}
    returned = model(task.x[[longest, longest], : task.lengths[longest]])
    if isinstance(returned, Tensor):
        return {"": model}
    tensors = [name for name, one in items_of(returned).items() if isinstance(one, Tensor)]
    if not tensors:
        raise ProbeError(
            f"The model returns a {type(returned).__name__}, and none of its items is a tensor. Say what its answer "
            f"is with {CALL.format('model(x)...')}."
        )
    return {f"output={name!r}": OneItem(model, name) for name in tensors}


def answering(own: OwnOutput, concepts: Mapping[str, Known], item: str = "") -> Readout:
    """Return the readout of a study that gives none: the one concept that the model's output can answer.

    `item` says which item of what the model returns its output is, as a readout writes it.
    """
    shares = {name: _share(own, concept) for name, concept in concepts.items()}
    fitting = [name for name, share in shares.items() if share == 1]
    fitting = fitting or [name for name, share in shares.items() if share >= OCCURRING]
    if len(fitting) == 1:
        return Readout(fitting[0], steps=EVERY if own.every and own.head is not None else LAST)
    first = (fitting or list(concepts))[0]
    say = f"say which one it answers: readout=probe.Readout({first!r}{item and f', {item}'})"
    if fitting:
        names = listed([f"“{name}”" for name in fitting])
        raise ProbeError(f"The output has shape {own.shape}, which could answer {names}, and we do not guess; {say}.")
    values = listed([f"“{name}” has {several(len(one.levels), 'value')}" for name, one in concepts.items()])
    raise ProbeError(
        f"The output has shape {own.shape}, which fits no concept of the study: {values}. It must have a score for "
        "each value of a concept, or be one number for a numeric concept of more than two values. If it answers one "
        f"all the same, {say}, with answers= for what each score stands for, or kind= for what one number is."
    )


def taken(own: OwnOutput, readout: Readout, concept: Known) -> Readout:
    """Return a readout with the model's head, or where no module is one, with the output of the whole model.

    The readout that was given names neither weight, function nor output.
    """
    if own.layer is not None and own.head is None:
        raise ProbeError(f"The output is the hidden state of {own.layer.name}, and no answer.")
    kind, values = meaning(_of_kind(own, readout), own.scores, concept)
    if own.layer is not None and (kind == LOGIT or not own.sigmoid):
        return replace(_of_kind(own, readout), function=own.head, layer=own.layer.name, output=None)
    between = bool(((own.values >= 0) & (own.values <= 1)).all())
    if kind == LOGIT and between:
        raise ProbeError(
            "The output lies between 0 and 1, as a probability does, and a logit is above 0 for the second answer. "
            "Return the logit, without the sigmoid."
        )
    if kind == NUMBER and not len(values):
        raise ProbeError(
            f"The output is a number, “{concept.name}” has {len(concept.levels):,} values, and no module of the "
            "model makes the number of the last hidden state alone. Give the head: "
            f"probe.Readout({concept.name!r}, function=...)."
        )
    probabilities = kind == CLASSES and between and torch.allclose(own.values.sum(1), own.values.new_tensor(1.0))
    head = Head(torch.log if probabilities else nn.Identity(), kind, values)
    answer, expected = (ReadOff(head, what, own.scores, own.every) for what in ("answer", "expected"))
    return replace(readout, output=(answer, expected))


def in_words(own: OwnOutput, readout: Readout, concept: Known) -> str:
    """Return the sentences on what a model's output answers by a readout, and what makes it."""
    kind, values = meaning(_of_kind(own, readout), own.scores, concept)
    said = [concept.said(value) for value in values if not concept.is_categorical or value < len(concept.categories)]
    meant = {
        CLASSES: f"a score for each of {listed(said)}, in this order",
        LOGIT: f"{'the probability' if own.sigmoid else 'a logit'} of {said[-1] if said else 'the second value'}",
        NUMBER: "one number",
    }[kind]
    steps, made = " after every step" if own.every else "", "It is read off runs of the whole model."
    if own.layer is not None and readout.function is not None:
        made = f"Runs verified that its module {own.module!r} makes it of the hidden state of {own.layer.name} alone."
    return f"taken as its answer to “{concept.name}”. It has shape {own.shape}: {meant}{steps}. {made}"


def _of_kind(own: OwnOutput, readout: Readout) -> Readout:
    """Return the readout with its kind, where a sigmoid says it."""
    return replace(readout, kind=LOGIT) if own.sigmoid and readout.kind is None else readout


def _share(own: OwnOutput, concept: Known) -> float:
    """Return which share of the scores stands for values that the concept has; 0 where they cannot be its answer."""
    try:
        kind, _ = meaning(_of_kind(own, Readout(concept.name)), own.scores, concept)
    except ProbeError:
        return 0.0
    count = len(concept.levels)
    if kind != CLASSES or count == own.scores:
        return 1.0
    return 0.0 if concept.is_categorical else count / own.scores


def _scores(model: nn.Module, part: Tensor) -> OwnOutput:
    output, steps = model(part), part.shape[1]
    if not isinstance(output, Tensor):
        raise ProbeError(f"What the model returns is a {type(output).__name__}, and no tensor of scores.")
    shape, width = tuple(output.shape), output.shape[-1] if output.dim() > 1 else 1
    words = f"(batch, {', '.join(map(str, shape[1:]))})".replace(" )", ")")
    several_axes = 1 <= len(shape) <= 2 or (len(shape) == 3 and shape[1] in (1, steps))
    if not several_axes or shape[0] != len(part) or not width or output.is_complex():
        raise ProbeError(
            f"The model returns a tensor of shape {shape} for {len(part)} sequences of {steps} steps. An answer is "
            "one number or scores of classes, (batch, score) or (batch, time, score)."
        )
    if not bool(torch.isfinite(output).all()):
        raise ProbeError("The model returns numbers that are NaN or infinite.")
    every = len(shape) > 1 and shape[1] == steps and (len(shape) == 3 or _shortens(model, part))
    if every:
        words = words.replace(f"(batch, {steps}", "(batch, time")
    width = 1 if every and len(shape) == 2 else width
    return OwnOutput(words, width, every, output.reshape(-1, width).double())


def _shortens(model: nn.Module, part: Tensor) -> bool:
    """Return whether the second axis of the output is that of time: it is shorter for shorter sequences."""
    with suppress(ProbeError), calling("The model", ""):
        return part.shape[1] > 1 and model(part[:, :-1]).shape[1] == part.shape[1] - 1
    return False


def _heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that could make the output of a state, the outer ones first."""
    recurrent = {layer.module for layer in find_layers(model)}
    for name, module in inner(model).named_modules():
        if next(module.parameters(), None) is not None and recurrent.isdisjoint(module.modules()):
            yield name, module


def _alike(scores: Tensor) -> list[Tensor]:
    """Return scores, and what models make of scores so that their order stays."""
    one = scores.shape[1] == 1
    return [scores, *([scores.sigmoid()] if one else [scores.softmax(1), scores.log_softmax(1)])]


def _same(scores: Tensor, others: Tensor) -> bool:
    return scores.shape == others.shape and torch.allclose(scores, others, rtol=TOLERANCE, atol=TOLERANCE)
