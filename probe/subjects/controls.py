"""Controls of a subject: random weights, and a head that is fitted to a network that was not trained."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import ProbeError
from ..evidence.measurements import Network
from ..methods.decomposition.noise import DOSE, noisy_runs
from ..methods.probing.linear import LinearProbe, fit_linear
from ..recurrent.layers import Layer
from ..recurrent.random_weights import TRIES, random_weights, same_states
from .answers import rows_at_steps
from .ends import ends_of, top_of
from .functions import calling
from .networks.seen import as_seen, seen_layers
from .readouts import CLASSES, NUMBER, Head, Readout, copied, linear
from .stacks import of_last
from .states import arguments, run
from .subject import Subject, per_subject

#: The bias of a class that no sequence has, so that it is never the answer.
_NEVER = -50.0
#: Networks are compared on so many sequences, and on so many more where they are the same there.
_FEW, _MORE = 8, 512
#: Heads are fitted under noise in so many runs of each sequence, on weights as they are and on doubled ones: with
#: those the counter's heads answer best under noise (`models.scale`).
RUNS = 4
UNDER_NOISE = {"fitted head under noise": 1.0, "fitted head under noise, weights doubled": 2.0}


def random_weights_controls(
    subject: Subject, count: int = 1, seed: int | None = None, beside: Sequence[Subject] = ()
) -> list[Subject]:
    """Return networks of the same sizes with random weights, read by the same head; see `random_weights`.

    One that is the network itself, another of them, or one of those beside them is left out and another drawn. There
    may be fewer than were asked for, and none where every weight is 0 and can only be shuffled. The seed is the
    subject's own if none is given.
    """
    cells, controls = [layer.name for layer in subject.layers], list[Subject]()
    seed = subject.seed if seed is None else seed
    for name, model in random_weights(subject.model, TRIES * count, seed=seed, cells=cells):
        drawn = with_model(subject, model, "random weights", subject.head, name)
        if not any(is_same(drawn, other) for other in (subject, *beside, *controls)):
            controls.append(drawn)
        if len(controls) == count:
            break
    return controls


def is_same(one: Subject, other: Subject) -> bool:
    """Return whether two networks have the same states on the inputs, up to the order and the signs of their units.

    Where the answer stands in a network's own output, or in a head of its own file, that must be the same too.
    """
    mine, its = (_computed(each, _FEW, recorded=False) for each in (one, other))
    # Most draws return something else already: their states need not be recorded.
    if mine and not same_states(mine, its):
        return False
    return all(same_states(_computed(one, most), _computed(other, most)) for most in (_FEW, _MORE))


def perhaps_same(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, Subject]]:
    """Yield of many networks the pairs that the mean size of what each returns does not tell apart, for `is_same`."""
    outputs = {key: _computed(each, _FEW, recorded=False) for key, each in {id(s.model): s for s in subjects}.items()}
    known = outputs.items() if all(outputs.values()) else ()
    of_model = {key: float(own[0].to(torch.complex128).abs().mean()) for key, own in known}
    sizes = np.array([of_model.get(id(each.model), 0.0) for each in subjects])
    for place, one in enumerate(subjects):
        near = np.isclose(sizes[:place], sizes[place], rtol=1e-4, atol=1e-5, equal_nan=True)
        yield from ((subjects[earlier], one) for earlier in np.flatnonzero(near).tolist())


@torch.no_grad()
def _run(subject: Subject, rows: np.ndarray, *, recorded: bool) -> tuple[Any, dict[str, Tensor]]:
    """Return a network's output, and what each layer returns by its name; in float64 where it can be run so.

    Layers that cannot be recorded are left out; of a network that cannot be run the output is None.
    """
    x, lengths = subject.x[rows], subject.lengths[rows]
    for model, read in ((copied(subject.model), x.double()), (subject.model, x)):
        with suppress(ProbeError), calling("The network", ""), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            output, states = model(*arguments(model, read, lengths)), dict[str, Tensor]()
            for layer in subject.layers if recorded else ():
                with suppress(ProbeError):
                    recording = run(model, read, lengths, [layer.name], [layer.output], tolerance=subject.tolerance)
                    states[layer.name] = recording[layer.name, layer.output]
            return output, states
    return None, {}


@per_subject
def _computed(subject: Subject, most: int, *, recorded: bool = True) -> list[Tensor]:
    """Return all that a network computes on some sequences: its output, its states, and its own head's scores.

    Without what is recorded it is the output alone.
    """
    rows = np.unique(np.linspace(0, len(subject.x) - 1, min(most, len(subject.x))).astype(int))
    output, states = _run(subject, rows, recorded=recorded)
    returned = [value for value in pytree.tree_leaves(output) if isinstance(value, Tensor)]
    all_states = [_upright(value) for value in states.values()]
    # The sign of what is answered counts; where a head reads a layer, the output may be that layer's states.
    computed = [*(returned if subject.read is None else map(_upright, returned)), *all_states]
    if not recorded or subject.read is None or subject.head is None or not isinstance(subject.asked.weight, str):
        return computed
    return [*computed, copied(subject.head)(states[subject.read.name].double().flatten(0, 1))]


def _upright(value: Tensor) -> Tensor:
    """Return states (..., unit) with each unit's sign turned so that its first large state is above 0."""
    if value.is_complex() or value.dim() < 2 or not value.numel():
        return value
    flat = value.double().flatten(0, -2)
    large = flat.abs() >= 0.618 * flat.abs().amax(0)
    first = flat.gather(0, large.int().argmax(0, keepdim=True))
    return value * torch.where(first < 0, -1, 1)[0]


def fitted_heads(subject: Subject, recurrence: Subject | None = None) -> list[Subject]:
    """Return a network that was not trained, with heads fitted to the right answers; none if no head can be fitted.

    The states of a random network are some function of its inputs, and a head that is fitted to them may answer well:
    what a search finds in such a network was not made by training. The first head is fitted at all steps after which
    the readout answers; where the answer stands in the network's output, to the hidden state of its last layer.
    Recurrent weights are those of `recurrence`, or random. Two more are fitted to states that were reached under
    noise, one of them on recurrent weights twice as large: under noise the first one is no opponent.

    Reference:
        docs/science.md, "Controls".
    """
    if subject.readout is None:
        return []
    rows, model = rows_at_steps(subject), (recurrence or random_weights_controls(subject)[0]).model
    lengths, concept = subject.lengths[rows], subject.answered
    there = subject.asked.answered(lengths, subject.x.shape[1]) & np.isfinite(concept.values[rows])
    right = concept.values[rows][there]
    read = subject.read or seen_layers(model, subject.x[:1], tolerance=subject.tolerance)[-1]
    if len(np.unique(right)) < 2 or (subject.read is None and read.reads_back):
        return []
    hidden = run(model, subject.x[rows], lengths, [read.name], [read.output], tolerance=subject.tolerance)
    hidden = hidden[read.name, read.output]
    states = hidden[torch.as_tensor(there[:, : hidden.shape[1]])].double().numpy()
    first = _with_head(subject, model, read, _fitted(subject, states, right))
    return [first, *_heads_under_noise(subject, first, read)]


def _heads_under_noise(subject: Subject, first: Subject, read: Layer) -> Iterator[Subject]:
    """Yield the same network with heads that are fitted under noise, and on larger weights; none if it cannot be run.

    The noise is that of the question about noise, with other draws.
    """
    for name, factor in UNDER_NOISE.items():
        network = first if factor == 1 else with_model(first, larger(first, factor), "fitted head", first.head)
        with suppress(ProbeError):
            end = ends_of(network)
            lengths = subject.lengths[end.rows]
            answered = of_last(subject.asked.answered(lengths, subject.x.shape[1])[:, :, None], lengths, end.steps)
            asked, top = answered[:, :, 0] & np.isfinite(end.values), top_of(end.machine.dynamics, read)
            found = [
                (states[:, top].numpy()[asked[:, step]], end.values[asked[:, step], step])
                for _, step, states in noisy_runs(end.machine, {DOSE: RUNS}, seed=subject.seed + 1)
                if asked[:, step].any()
            ]
            states, right = (np.concatenate(each) for each in zip(*found, strict=True))
            if len(np.unique(right)) < 2:  # the sequences that are run to their ends may have one answer
                return
            yield _with_head(subject, network.model, read, _fitted(subject, states, right), name)


def larger(subject: Subject, factor: float) -> nn.Module:
    """Return a copy of a network in which the weights of the recurrent layers are multiplied; biases stay."""
    model = copy.deepcopy(subject.model)
    modules = {layer.module for layer in as_seen(model, subject.layers)}
    with torch.no_grad():
        for parameter in {one for module in modules for one in module.parameters() if one.dim() > 1}:
            parameter.mul_(factor)
    return model


def _fitted(subject: Subject, states: np.ndarray, right: np.ndarray) -> Head:
    """Return a head like a subject's that is fitted to right answers, (row,), after states, (row, unit)."""
    concept, own = subject.answered, subject.head
    values = concept.levels if own is None else own.values.numpy()
    is_number = not concept.is_categorical if own is None else own.kind == NUMBER
    fitted = fit_linear(states, right[:, None]) if is_number else _logistic(states, right, values)
    scores = linear(torch.as_tensor(fitted.weight), torch.as_tensor(fitted.bias))
    return Head(scores, NUMBER if is_number else CLASSES, values)


def _with_head(subject: Subject, model: nn.Module, read: Layer, head: Head, name: str = "") -> Subject:
    """Return a subject with another module and a fitted head, which reads a layer also where the output answers."""
    control = with_model(subject, model, "fitted head", head, name)
    if subject.read is not None:
        return control
    readout = Readout(subject.asked.concept, function=head.inner, combine=subject.asked.combine)
    return dataclasses.replace(control, readout=readout, read=as_seen(model, [read])[0])


def with_model(subject: Subject, model: nn.Module, role: str, head: Head | None, name: str = "") -> Subject:
    """Return a subject with another module of the same form in place of its own, read by a head, in a role."""
    network = Network(f"{subject.network.name}/{name or role}", role, model, subject.network.pair)
    layers = as_seen(model, subject.layers)
    read = None if subject.read is None else as_seen(model, [subject.read])[0]
    return dataclasses.replace(subject, network=network, layers=layers, read=read, head=head)


def _logistic(states: np.ndarray, right: np.ndarray, values: np.ndarray) -> LinearProbe:
    """Return a head fitted by logistic regression, with one score for each answer of the readout."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    spread = states.std(0)
    scale = np.where(spread > 1e-12, spread, 1.0)
    places = np.abs(right[:, None] - values).argmin(1)
    with warnings.catch_warnings():
        # A fit that stops early, or on few sequences of each answer, gives a worse head, and its answers show that.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes")
        model = LogisticRegression(C=100.0, max_iter=1_000).fit((states - states.mean(0)) / scale, places)
    coefficients, intercept = (
        np.concatenate([-given, given]) / 2 if len(model.classes_) == 2 else given
        for given in (model.coef_, model.intercept_)
    )
    weight, bias = np.zeros((len(values), states.shape[1])), np.full(len(values), _NEVER)
    weight[model.classes_] = coefficients / scale
    bias[model.classes_] = intercept - weight[model.classes_] @ states.mean(0)
    return LinearProbe(weight, bias)
