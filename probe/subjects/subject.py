"""`Subject`: a network under study, with what it reads, what its states may hold, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..evidence.measurements import Network
from ..methods.causal.task import Combine, added
from ..methods.probing.prefixes import check_aligned
from ..recurrent.layers import Layer
from ..recurrent.steps.registry import said_of, say_again
from .budget import Budget
from .concepts import NUMERIC, Concept, Known, resolve
from .functions import calling
from .networks.copies import starting_alike
from .networks.seen import seen_layers
from .readouts import Head, Readout

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Subject:
    """A network under study, with everything that a question needs.

    Attributes:
        network: the network, with its name, role and pair.
        x: the inputs, (batch, time, feature); zero at padding.
        lengths: how many steps each sequence has, (batch,).
        concepts: what the states may hold, by name.
        layers: the layers that are studied.
        readout: what the network answers; None if that is not known.
        read: the layer whose last hidden state the readout's head reads; None if the answer stands in the model's
            output, or there is no readout.
        head: that head, or None.
        layer: what rows of a table call the layer; empty where the network has only one.
        allowed: whether a sequence can occur, by its inputs, (time, feature); None if any can.
        groups: the number of each sequence's group, (batch,), which is held out as a whole; None where each stands
            for itself.
        symbols: symbol -> the input that it stands for, (feature,); may be empty.
        programs: rival programs by name.
        fixed_inputs: the inputs under which fixed points are searched, or None.
        card: what a page says of the network, name -> value.
        seed: of all random numbers.
        tolerance: as of `record`, for every run that is checked; None for the type's own.
        budget: how much work its questions may do.
    """

    network: Network
    x: Tensor
    lengths: np.ndarray
    concepts: Mapping[str, Known]
    layers: tuple[Layer, ...]
    readout: Readout | None = None
    read: Layer | None = None
    head: Head | None = None
    layer: str = ""
    allowed: Callable[[np.ndarray], bool] | None = None
    groups: np.ndarray | None = None
    symbols: Mapping[str, np.ndarray] = field(default_factory=dict)
    programs: Mapping[str, Any] = field(default_factory=dict)
    fixed_inputs: Any = None
    card: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    tolerance: float | None = None
    budget: Budget = field(default_factory=Budget)
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        network: Network,
        x: Tensor,
        concept: Tensor | Callable[[np.ndarray], Any] | Known,
        *,
        answer: Callable[[Any], Tensor] | None = None,
        expected: Callable[[Any], Tensor] | None = None,
        combine: Combine = added,
        layer: str | None = None,
        allowed: Callable[[np.ndarray], bool] | None = None,
        programs: Mapping[str, Any] | None = None,
        name: str = "concept",
        seed: int = 0,
    ) -> Subject:
        """Return a network whose answers stand in its output, with sequences of one length and one concept.

        Args:
            network: the network.
            x: its inputs, (batch, time, feature).
            concept: what its states may hold, numbers (batch, time), the last of them the right answer; or a function
                of one sequence's inputs, (time, feature), to its values; or a `Known` of these inputs.
            answer: from the model's output to answers, (batch,); None if they are not asked for.
            expected: from the model's output to expected answers, (batch,).
            combine: what the answer should be after a patch, see `probe.methods.causal.task`.
            layer: the layer that is studied; None for the only one. A question of answers alone needs none.
            allowed: as of a subject, as are programs and seed.
            programs: see there.
            name: what the concept is called.
            seed: see there.

        Raises:
            ProbeError: the concept is not aligned to (batch, time), or the layer does not exist.
        """
        lengths, known = np.full(len(x), x.shape[1]), cast("Known", concept)
        if isinstance(concept, Tensor) or (not callable(concept) and not isinstance(concept, Known)):
            check_aligned(x, concept)
            known = Known(name, NUMERIC, concept.detach().cpu().double().numpy())
        elif not isinstance(concept, Known):
            known = resolve(name, Concept(concept, NUMERIC), x.detach().cpu().double().numpy(), lengths)
        readout, model = None, network.model
        if answer is not None and expected is not None:
            readout = Readout(name, output=(answer, expected), combine=combine, layer=layer)
        # Of a model that cannot be called, questions say why not; one without layers has answers all the same.
        with suppress(ProbeError), calling("The model", ""):
            model = starting_alike(model, x[:1])
        layers = () if layer is None else seen_layers(model, x[:1], [layer])
        with suppress(ProbeError):
            layers = layers or seen_layers(model, x[:1])
        subject = cls(replace(network, model=model), x, lengths, {name: known}, layers, readout, seed=seed)
        return replace(subject, layer=layer or "", allowed=allowed, programs=programs or {})

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was computed, which another process computes anew; say what `probe.register` was told."""
        return self.__dict__ | {"_made": {}, "_said": said_of(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Register here what was registered where the subject comes from."""
        say_again(state.pop("_said"))
        self.__dict__.update(state)

    @property
    def model(self) -> nn.Module:
        """The network's module."""
        return self.network.model

    @property
    def asked(self) -> Readout:
        """The readout; `ProbeError` if there is none."""
        if self.readout is None:
            raise ProbeError("The study has no readout; give one to study what its answers follow.")
        return self.readout

    @property
    def answered(self) -> Known:
        """The concept that the readout answers."""
        return self.concepts[self.asked.concept]

    @property
    def reading(self) -> tuple[Layer, Head]:
        """The layer whose hidden state is read, and the head that reads it; `ProbeError` if there is none."""
        if self.asked.functions is not None or self.read is None or self.head is None:
            raise ProbeError(
                "Answers at steps are read by a head from the hidden state; give a readout with weight (and bias), "
                "or function."
            )
        return self.read, self.head

    @property
    def last_values(self) -> np.ndarray:
        """The right answer after each sequence's last step, (batch,); NaN where undefined."""
        return self.answered.values[np.arange(len(self.x)), self.lengths - 1]

    @property
    def concept(self) -> Known:
        """The concept that the readout answers, or the first one where there is no readout."""
        return self.answered if self.readout is not None else next(iter(self.concepts.values()))

    @cached_property
    def data(self) -> np.ndarray:
        """Which steps are data and no padding, (batch, time)."""
        return np.arange(self.x.shape[1]) < self.lengths[:, None]

    @property
    def ragged(self) -> bool:
        """Whether sequences differ in length."""
        return bool((self.lengths != self.x.shape[1]).any())

    def groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the groups of some sequences, (row,); None where none were given."""
        return None if self.groups is None else self.groups[rows]

    def allows(self, x: np.ndarray, where: str = "a spliced sequence") -> bool:
        """Return whether a sequence, (time, feature), can occur by the function `allowed`; True if there is none."""
        if self.allowed is None:
            return True
        wants = "It is called with one sequence, a numpy array (time, feature), and must return True or False."
        with calling(f"The function valid on {where}", wants):
            possible: Any = self.allowed(x.copy())
        if not isinstance(possible, (bool, np.bool_)):
            raise ProbeError(f"The function valid returned {str(possible)[:60]} on {where}. {wants}")
        return bool(possible)


def per_subject(make: Callable[Concatenate[Subject, P], T]) -> Callable[Concatenate[Subject, P], T]:
    """Return a function that computes its result the first time it is called with a subject and other arguments."""

    @wraps(make)
    def cached(subject: Subject, *more: P.args, **named: P.kwargs) -> T:
        key = (make, more, tuple(sorted(named.items())))
        if key not in subject._made:
            subject._made[key] = make(subject, *more, **named)
        return subject._made[key]

    return cached


def by_network(subjects: Any) -> list[tuple[Subject, ...]]:
    """Return subjects in groups of one network, in their order: those of one network are its several answers.

    Raises:
        ProbeError: subjects of one network differ in more than their readout, or answer the same concept.
    """
    groups = dict[str, list[Subject]]()
    for subject in as_subjects(subjects):
        groups.setdefault(subject.network.name, []).append(subject)
    for name, (first, *others) in groups.items():
        for other in others:
            layers = [None if each.read is None else each.read.name for each in (first, other)]
            same = other.model is first.model and layers[0] == layers[1] and torch.equal(other.x, first.x)
            if not same or not np.array_equal(other.lengths, first.lengths):
                raise ProbeError(
                    f"Two subjects of the network {name!r} differ in more than their readout. Give other networks "
                    "another name."
                )
        names = [subject.asked.concept for subject in (first, *others) if others]
        if len(set(names)) < len(names):
            raise ProbeError(f"Subjects of the network {name!r} answer {', '.join(names)}; give each concept once.")
    return [tuple(group) for group in groups.values()]


def as_subjects(subjects: Any) -> tuple[Subject, ...]:
    """Return one subject or several as a tuple; `ProbeError` where something else is given."""
    listed = tuple(subjects) if isinstance(subjects, Iterable) else (subjects,)
    for wrong in (one for one in listed if not isinstance(one, Subject)):
        raise ProbeError(
            f"This is a {type(wrong).__name__}, and no Subject. Make one of a module: "
            "Subject.of(Network(name, role, module), x, concept)."
        )
    return listed
