"""`Cell` and `Formula`: which signals a cell computes at a step, in which order, from which others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .. import memory
from ..signals import Signal, is_continuous

HIDDEN = Signal.HIDDEN_STATE
#: How many numbers of pre-activations are computed at once: small enough for a cache, large enough for a product.
CHUNK = 500_000


@dataclass(frozen=True, eq=False)
class Weights:
    """The parameters of one layer of one direction.

    Attributes:
        W: reads the input.
        U: reads the previous hidden state.
        b_ih: added to the input's product, or None.
        b_hh: added to the hidden state's product, or None.
        P: projects the hidden state of an LSTM with `proj_size`, or None.
        p_i: through which the input gate of an LSTM with peepholes sees the previous cell state, or None.
        p_f: the same for the forget gate.
        p_o: through which its output gate sees the new cell state.
    """

    W: Float[Tensor, "gates input"]
    U: Float[Tensor, "gates state"]
    b_ih: Float[Tensor, " gates"] | None
    b_hh: Float[Tensor, " gates"] | None
    P: Float[Tensor, "projected unit"] | None = None
    p_i: Float[Tensor, " unit"] | None = None
    p_f: Float[Tensor, " unit"] | None = None
    p_o: Float[Tensor, " unit"] | None = None


@dataclass(frozen=True, eq=False)
class Moment:
    """What a step starts from.

    Attributes:
        compute: gives `given`, if anybody asks for it.
        previous: the states before the step.
    """

    compute: Callable[[], Mapping[Signal, Tensor]]
    previous: Mapping[Signal, Tensor]

    @cached_property
    def given(self) -> Mapping[Signal, Tensor]:
        """For a signal, what the input and the previous hidden state contribute to it linearly."""
        return self.compute()


@dataclass(frozen=True)
class Formula:
    """How one signal follows from others.

    A formula may read the signals that it names, what `given` returns for its own signal, and `moment.previous`, the
    states before the step.

    Attributes:
        signal: what is computed.
        sources: the signals of the same step that it is computed from.
        compute: takes the moment and the sources' values.
        mixes: whether one unit of the result depends on other units of the sources.
    """

    signal: Signal
    sources: tuple[Signal, ...]
    compute: Callable[..., Tensor]
    mixes: bool = False


#: Given a signal and its value (batch, unit) at one step, returns the value to go on with.
StepChange = Callable[[Signal, Tensor], Tensor]


class Cell(ABC):
    """One layer's cell with its weights.

    Attributes:
        weights: its parameters.
        formulas: its signals in the order in which a step computes them, which is the order of edits too.
        states: what is handed from step to step, in torch's order: the hidden state first.
        output: what the layer returns at each step.
    """

    weights: Weights
    formulas: tuple[Formula, ...]
    states: tuple[Signal, ...] = (HIDDEN,)
    output: Signal = HIDDEN

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Every signal, in the order in which a step computes it."""
        return tuple(formula.signal for formula in self.formulas)

    @abstractmethod
    def size(self, signal: Signal) -> int:
        """Return how many units a signal has."""

    def follows_at_once(self, signal: Signal) -> bool:
        """Return whether a signal follows from a step's input and the hidden state before it alone."""
        return self.states == (HIDDEN,)

    def reaches_output(self, signal: Signal) -> bool:
        """Return whether what the layer returns at a step follows from a signal of that step."""
        reached = {signal}
        for formula in self.formulas:
            if not reached.isdisjoint(formula.sources):
                reached.add(formula.signal)
        return self.output in reached

    def shape(self, signal: Signal) -> tuple[int, ...]:
        """Return the shape of a signal at one step of one row."""
        return (self.size(signal),)

    @property
    def matrices(self) -> dict[Signal, tuple[int, ...]]:
        """The shapes of the signals that have several axes; everywhere else they are flat."""
        if type(self).shape is Cell.shape:
            return {}
        return {signal: shape for signal in self.signals if len(shape := self.shape(signal)) > 1}

    @abstractmethod
    def given(
        self, inputs: Float[Tensor, "*lead gates"], previous: Float[Tensor, "*lead state"]
    ) -> dict[Signal, Tensor]:
        """Return what the input's product and the previous hidden state contribute to each signal."""

    def inputs(self, x: Float[Tensor, "*lead input"]) -> Float[Tensor, "*lead gates"]:
        """Return the input's product, W x + b_ih."""
        return affine(x, self.weights.W, self.weights.b_ih)

    def recurrent(self, h: Float[Tensor, "*lead state"]) -> Float[Tensor, "*lead gates"]:
        """Return the hidden state's product, U h + b_hh."""
        return affine(h, self.weights.U, self.weights.b_hh)

    def moment(self, inputs: Float[Tensor, "batch gates"], previous: Mapping[Signal, Tensor]) -> Moment:
        """Return what one step starts from, given the input's product and the states before it."""
        return Moment(lambda: self.given(inputs, previous[HIDDEN]), previous)

    def moment_at(self, x: Float[Tensor, "batch input"], previous: Mapping[Signal, Tensor]) -> Moment:
        """Return what one step starts from, given its input and the states before it."""
        return Moment(lambda: self.given(self.inputs(x), previous[HIDDEN]), previous)

    def step(self, moment: Moment, change: StepChange | None = None) -> dict[Signal, Tensor]:
        """Return every signal of one step, (batch, unit) each; `change` is asked in the order of computation."""
        after: dict[Signal, Tensor] = {}
        for formula in self.formulas:
            value = formula.compute(moment, *(after[source] for source in formula.sources))
            after[formula.signal] = value if change is None else change(formula.signal, value)
        return after

    def run(
        self, x: Float[Tensor, "time batch input"], initial: Mapping[Signal, Tensor], keep: tuple[Signal, ...]
    ) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor]]:
        """Run free from an initial state, in Python.

        Returns:
            The signals kept, (time, batch, unit) each, and the states after the last step.
        """
        inputs, state = self.inputs(x), dict(initial)
        pieces: dict[Signal, list[Tensor]] = {signal: [] for signal in keep}
        for t in range(len(x)):
            after = self.step(self.moment(inputs[t], state))
            state = {signal: after[signal] for signal in self.states}
            for signal in keep:
                pieces[signal].append(after[signal])
        return {signal: torch.stack(values) for signal, values in pieces.items()}, state

    def open(
        self,
        x: Float[Tensor, "time batch input"],
        h: Float[Tensor, "time batch state"],
        initial: Mapping[Signal, Tensor],
        keep: tuple[Signal, ...],
        *,
        compare: bool = True,
    ) -> tuple[dict[Signal, Tensor], Float[Tensor, " time batch"], dict[Signal, Tensor]]:
        """Compute signals at all steps from the hidden states that a module itself produced.

        Nothing runs free: each step starts from the module's own previous hidden state.

        Args:
            x: inputs.
            h: the module's hidden states.
            initial: the states before the first step.
            keep: which signals to return.
            compare: whether the differences are wanted.

        Returns:
            The signals kept, (time, batch, unit) each; for each step and row the largest difference between the
            module's hidden state and the recomputed one, relative to max(1, |value|), or zeros where
            they are not wanted; the states after the last step, the cell state among them recomputed.
        """
        if torch.is_grad_enabled():
            signals, errors, state = self._open_part(x, h, dict(initial), compare=compare)
            return {signal: signals[signal] for signal in keep}, errors, state
        kept = {signal: memory.empty((*x.shape[:2], self.size(signal)), x) for signal in keep if signal != HIDDEN}
        errors = x.new_empty(x.shape[:2])
        state = dict(initial)
        rows = self._chunk(x)
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            signals, errors[part], state = self._open_part(x[part], h[part], state, compare=compare)
            for signal, values in kept.items():
                values[part] = signals[signal]
        return kept | ({HIDDEN: h} if HIDDEN in keep else {}), errors, state

    def begun(self, x: Float[Tensor, "1 batch input"], initial: Mapping[Signal, Tensor]) -> Any:
        """Return what of a call of one step follows from weights, which may be others later; see `open_begun`."""
        return self.given(self.inputs(x[0]), initial[HIDDEN].contiguous())

    def open_begun(
        self, begun: Sequence[Any], h: Float[Tensor, "1 rows state"], initial: Mapping[Signal, Tensor]
    ) -> tuple[dict[Signal, Tensor], Float[Tensor, "1 rows"], dict[Signal, Tensor]]:
        """Compute what `open` does of many calls of one step, without autograd, to the bits that each alone has.

        Args:
            begun: what `begun` gave of each call, all of the same number of rows.
            h: the module's hidden states, the rows of one call after those of another.
            initial: the states before each call.

        Returns:
            What `open` returns, of every signal.
        """
        before = initial[HIDDEN].chunk(len(begun))
        steps = [self.step(Moment(lambda a=a: a, {HIDDEN: one})) for a, one in zip(begun, before, strict=True)]
        signals = {signal: torch.cat([step[signal] for step in steps])[None] for signal in self.signals}
        return signals | {HIDDEN: h}, difference(signals[HIDDEN], h), {HIDDEN: h[0]}

    def _open_part(
        self, x: Tensor, h: Tensor, state: Mapping[Signal, Tensor], *, compare: bool
    ) -> tuple[dict[Signal, Tensor], Tensor, dict[Signal, Tensor]]:
        signals, after = self.recompute(x, h, state)
        errors = difference(signals[HIDDEN].detach(), h.detach()) if compare else x.new_zeros(x.shape[:2])
        signals[HIDDEN] = h
        return signals, errors, after

    def recompute(
        self, x: Tensor, h: Tensor, state: Mapping[Signal, Tensor]
    ) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor]]:
        """Return every signal of a stretch, with the output as it follows from the others, and the states after it.

        Args:
            x: inputs, (time, batch, input).
            h: what the module returned at each step, (time, batch, unit).
            state: the states before the stretch.
        """
        previous = torch.cat([state[HIDDEN].to(h.dtype).unsqueeze(0), h[:-1]])
        signals = self._open(x, previous, state)
        return signals, {signal: (h if signal == HIDDEN else signals[signal])[-1] for signal in self.states}

    def _chunk(self, x: Tensor) -> int:
        return max(1, CHUNK // max(1, x.shape[1] * self.weights.W.shape[0]))

    def _open(self, x: Tensor, previous: Tensor, state: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
        """Return every signal of a stretch, the hidden state recomputed, given the previous hidden states."""
        given = self.given(self.inputs(x), previous)
        if self.states == (HIDDEN,):
            return self.step(Moment(lambda: given, {HIDDEN: previous}))
        # Other states are known only when the step before is computed.
        steps: list[dict[Signal, Tensor]] = []
        others = {signal: state[signal] for signal in self.states if signal != HIDDEN}
        for t in range(len(x)):
            now = {signal: value[t] for signal, value in given.items()}
            steps.append(self.step(Moment(lambda now=now: now, {HIDDEN: previous[t], **others})))
            others = {signal: steps[-1][signal] for signal in others}
        return {signal: torch.stack([after[signal] for after in steps]) for signal in self.signals}


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    """Return weight x + bias over the last axis.

    Always as one product of two matrices: torch.nn.functional.linear chooses by the strides of x, and rounds
    otherwise for a batch-first input than for a time-first one.
    """
    flat = x.flatten(0, -2) if x.dim() > 2 else x
    added = flat.new_zeros(len(weight)) if bias is None else bias
    product = torch.addmm(added, flat, weight.T, out=None if out is None else out.view(-1, len(weight)))
    return product if flat is x else product.view(*x.shape[:-1], len(weight))


def difference(recomputed: Tensor, h: Tensor) -> Tensor:
    """Return the largest difference of each row, relative to max(1, |value|)."""
    if not is_continuous(h):
        recomputed, h = recomputed.double(), h.double()
    apart = (recomputed - h).abs_()
    return apart.div_(h.abs().clamp_(min=1)).amax(-1)
