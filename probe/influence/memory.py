"""`memory`: how long a state matters. It is replaced after a step, and the answers are compared from there on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..edits.kinds import Edit, Patch
from ..errors import ProbeError, unknown
from ..hooks.record import record
from ..hooks.sweeping.sweep import sweep
from ..recording.recording import LayerRecording
from ..recurrent.finding import find_layers
from ..recurrent.layers import LoopLayer
from ..recurrent.rows.batches import batch_of
from ..recurrent.signals import Signal, Site, as_indices, within
from ..subjects.networks.random_weights import random_weights
from .answering import GIVE, Answering, inside, plain
from .lags import Decide, Lags, compared

#: What may stand in a state's place.
PUTS = ("initial", "zero", "mean", "another row", "own")
_DECISIONS: dict[str, Decide] = {
    "sign": lambda answers: answers[:, :, 0] > 0,
    "half": lambda answers: answers[:, :, 0] > 0.5,
    "round": lambda answers: np.rint(answers[:, :, 0]),
}
_OF_ONE = tuple(_DECISIONS.values())
_DECISIONS["argmax"] = lambda answers: answers.argmax(2)
#: About how many bytes of states one run holds, and of answers are compared at a time.
_MEMORY = 100_000_000
#: How far answers before a replaced state may lie from the clean ones, relative to values above 1.
_ROUNDING = 1e-4
#: The gates that say how much of a state is kept, in an LSTM and in a GRU.
_GATES = (Signal.FORGET_GATE, Signal.UPDATE_GATE)
_MOST_STATES = 2_000  # of which distances are taken


@dataclass(frozen=True, eq=False)
class Memory:
    """What replacing a state did to the answers that follow.

    Attributes:
        groups: what it did, by the name of what was replaced: `state` for all of it.
        put: what stood in its place.
        replaced: by layer, the states that were replaced.
        own_error: the largest difference that a row's own state makes in its place, at three of the steps.
        distance: how far the states put in lie from the nearest that occurs, in distances between those (medians).
        schedules: of each number of steps after which the state is set back again and again, at the steps behind the
            first reset: the mean `difference`, the share of decisions `changed`, the interval of the latter (else the
            former) over rows, and the `accuracy` where labels were given. None where none was asked for.
        gates: of each unit, after how many steps its gates keep half, where the layer has such gates.
        controls: the same of other networks.
    """

    groups: Mapping[str, Lags] = field(repr=False)
    put: str
    replaced: Mapping[str, tuple[str, ...]]
    own_error: float
    distance: float
    schedules: pd.DataFrame | None
    gates: Mapping[str, float]
    controls: Mapping[str, Memory]

    @property
    def table(self) -> pd.DataFrame:
        """Each answer: `group`, `row`, `t`, `lag`, `difference` and, where decisions are asked for, `changed`."""
        return pd.concat([one.table.assign(group=name) for name, one in self.groups.items()], ignore_index=True)

    @property
    def horizons(self) -> pd.DataFrame:
        """Each replaced state: `group`, `row`, `t`, the last lag above each limit (-1: none), and if cut off."""
        return pd.concat([one.horizons.assign(group=name) for name, one in self.groups.items()], ignore_index=True)

    def shortest_reset(self, share: float = 0.01) -> tuple[int | None, int | None, int | None]:
        """Return the shortest schedule from which on at most a share of decisions changes, with its interval.

        None is a longer one than was tried. The interval is that of the shares, turned around.

        Raises:
            ProbeError: no decisions were compared under schedules.
        """
        found = self.schedules
        if found is None or "changed" not in found:
            raise ProbeError("No decisions were compared under schedules: give every= and decide=.")

        def shortest(column: str) -> int | None:
            over = found.loc[found[column] > share, "every"].max()
            return min((int(k) for k in found["every"] if not k <= over), default=None)

        low, high = (name if name in found else "changed" for name in ("low", "high"))
        return shortest("changed"), shortest(low), shortest(high)

    def __repr__(self) -> str:
        states = "; ".join(f"{', '.join(states)} of {layer}" for layer, states in self.replaced.items())
        lines = [f"Memory: replaced after a step, by put={self.put!r}: {states}"]
        for name, one in self.groups.items():
            median = one.quantile(0.5)
            anew = self.put == "initial" and name == "state" and 0 <= median < math.inf
            lines += [f"  {name}: {one.said}" + (f"; started anew it needs {median + 1:.0f} steps" if anew else "")]
            gates, half = self.gates.get(name, math.nan), one.quantile(0.5, "half") + 1
            if max(gates, half) > 2 * max(1, min(gates, half)):
                lines += [f"    By its gates it keeps half for {gates:.3g} steps: what replaces it says otherwise."]
        lines += [f"  {name}: {next(iter(one.groups.values())).said}" for name, one in self.controls.items()]
        lines += [f"  A row's own state in its place changes the answers by {self.own_error:.2g}."]
        far = f"  What is put in lies {self.distance:.2g} times as far from states that occur as these do."
        lines += [far] if math.isfinite(self.distance) else []
        return "\n".join(lines if self.schedules is None else [*lines, self.schedules.to_string(index=False)])


class Options(TypedDict, total=False):
    """What `memory` may be told besides; see there."""

    tolerance: float | None
    relative: float | None
    decide: str | Decide | None
    every: Iterable[int]
    truth: Any
    layer: str | None
    units: Any
    keep: str | Iterable[str]
    controls: Mapping[str, nn.Module]
    random: int
    kwargs: Mapping[str, Any] | None
    batch_axis: int | None
    seed: int


def memory(
    model: nn.Module,
    *inputs: Any,
    answer: Callable[[Any], Tensor] | None = None,
    put: str = "initial",
    times: int | Iterable[int] = 100,
    **options: Unpack[Options],
) -> Memory:
    """Replace a network's state after a step, let the run go on, and compare its answers with the clean run's.

    Lag 0 is the step whose state is replaced. The horizon is the last lag at which the difference, the largest over
    an answer's numbers, counts. One that the end of the run cuts off is censored: quantiles take that into account
    (Kaplan & Meier 1958), with 95 % intervals over rows. Runs go on from the changed step; a loop runs whole.

    Args:
        model: any module with recurrent layers whose answer at a step reads no later step.
        *inputs: what it is called with.
        answer: from what the model returns to answers, (batch, step) or (batch, step, number); None for the first
            tensor that it returns.
        put: what stands in the state's place: `initial` (a reset), `zero`, the `mean` of all states that occur,
            `another row`'s at that step, or the row's `own`, which should change nothing.
        times: after which steps, the first being 0; or how many are drawn, of fewer all.
        **options: the rest, none of which is needed:
            `tolerance`: above which a difference counts, in units of the answer; or `relative`: as a share of the
            difference at lag 0 (at lag 1 where no answer reads its own step's state), 0.01 if neither is given.
            `decide`: what is decided: `argmax`, `sign`, `half` (above .5), `round`, or a function of answers,
            (batch, step, number), to decisions, (batch, step).
            `every`: after how many steps the whole state is set back, again and again, for a schedule each; `truth`:
            the right decisions, (batch, step), for the accuracy.
            `layer`: replace its state alone; `units`: these alone, numbers, `each` for one after the other, or
            numbers by group; `keep`: leave states alone, such as `convolution_window`.
            `controls`: other networks that are called alike, by name, such as the own initialisation; `random`: how
            many copies with random weights beside them.
            `kwargs`, `batch_axis`: as of `probe.sweep`; `seed`: of what is drawn.

    Raises:
        ProbeError: an argument fits nothing, a layer reads backwards or is called for several sequences, an answer
            changes before the state does, or `probe.sweep` refuses the model.
    """
    asked = _checked(put, options)
    run = _Run(model, inputs, answer, put, asked)
    chosen = run.times(times)
    of_itself: Any = dict.fromkeys(("every", "truth", "units", "controls"), None) | {"random": 0}
    again = partial(memory, answer=answer, put=put, times=chosen, **options | of_itself)
    return run.measured(chosen, {name: again(other, *inputs) for name, other in run.others(model).items()})


def _checked(put: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, each with its value."""
    if wrong := {*options} - {*Options.__annotations__}:
        raise ProbeError(unknown("argument", min(wrong), ("answer", "put", "times", *Options.__annotations__)))
    asked: dict[str, Any] = dict.fromkeys(Options.__annotations__) | {"random": 0, "seed": 0} | dict(options)
    decide, keep, every = asked["decide"], asked["keep"], asked["every"]
    for name, given, allowed in (("state to put in", put, PUTS), ("decision", decide or "sign", _DECISIONS)):
        if not callable(given) and given not in allowed:
            raise ProbeError(unknown(name, given, allowed))
    if asked["tolerance"] is not None and asked["relative"] is not None:
        raise ProbeError(f"Give tolerance={asked['tolerance']} or relative={asked['relative']}, not both.")
    every = sorted(set(as_indices("every", every) or ())) if every else []
    if every and (every[0] < 1 or put not in PUTS[:3] or any(asked[name] for name in ("layer", "keep"))):
        raise ProbeError(f"every={every} sets the whole state back, after 1 step or more; put= is of {PUTS[:3]}.")
    keep = (keep,) if isinstance(keep, str) else tuple(keep or ())
    return asked | {"every": every, "keep": keep, "decide": _DECISIONS[decide] if isinstance(decide, str) else decide}


class _Run:
    """The clean run of a model, and the runs in which states are replaced."""

    def __init__(self, model: nn.Module, inputs: Any, answer: Any, put: str, asked: dict[str, Any]) -> None:
        batch = batch_of(model, inputs, asked["kwargs"] or {}, asked["batch_axis"])
        asked_model = Answering(model, answer, batch.axis)
        self._call: Any = partial(sweep, asked_model, *inputs, kwargs=asked["kwargs"], batch_axis=batch.axis)
        self._put, self._asked = put, asked
        layers = find_layers(asked_model, None if asked["layer"] is None else [inside(asked["layer"])])
        signals = {signal for one in layers for signal in one.signals if signal in (*one.states, *_GATES)}
        options: Any = {"layers": [one.name for one in layers], "kwargs": asked["kwargs"]}
        options |= {} if any(isinstance(one, LoopLayer) for one in layers) else {"signals": signals}
        found = record(asked_model, *inputs, **options)
        for name, calls in found.calls.items():
            if calls > 1:
                raise ProbeError(f"Layer {plain(name)!r} was called for {calls} sequences; a state belongs to one.")
        backwards = [plain(one.name) for one in layers if one.reads_back and one.name in found.layers]
        if backwards:
            raise ProbeError(f"Layer {backwards[0]!r} reads from the end: what its state leads to comes earlier.")
        named = {str(state) for part in found.parts for state in part.initial}
        if not {*asked["keep"]} < named:
            raise ProbeError(
                f"keep={asked['keep']!r} must name some of {', '.join(sorted(named))}, and leave others."
            )
        self.parts, self.clean = found.parts, found.output.numpy(force=True)
        rows, time, _ = next(iter(found.parts[0].signals.values())).shape
        if put == "another row" and rows == 1:
            raise ProbeError("put='another row' needs several rows, and the input has one. Choose another put=.")
        if self.clean.shape[:2] != (rows, time):
            raise ProbeError(
                f"The answers are {self.clean.shape}, and must be of {rows} rows and {time} steps: {GIVE}"
            )
        self.lengths = np.array(found.parts[0].lengths or [time] * rows)
        if asked["decide"] in _OF_ONE and self.clean.shape[2] > 1:
            raise ProbeError(f"This decision needs one number an answer, and these have {self.clean.shape[2]}.")

    def others(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the networks that the model is compared with."""
        drawn: Any = {"seed": self._asked["seed"], "cells": [plain(part.layer) for part in self.parts]}
        return dict(self._asked["controls"] or {}) | dict(random_weights(model, self._asked["random"], **drawn))

    def measured(self, times: list[int], controls: Mapping[str, Memory]) -> Memory:
        """Return what replacing the state does."""
        asked, seed = self._asked, self._asked["seed"]
        limit, share = asked["tolerance"], 0.01 if asked["relative"] is None else asked["relative"]
        found = {name: self.lags(times, own) for name, own in self.units(asked["units"]).items()}
        of = partial(Lags.of, times, clean=self.clean, limit=limit, share=share, seed=seed)
        return Memory(
            {name: of(lags) for name, (lags, _) in found.items()},
            self._put,
            {plain(part.layer): tuple(map(str, self.states(part))) for part in self.parts},
            max(error for _, error in found.values()),
            self.distance(times, seed) if asked["units"] is None else math.nan,
            self.schedules() if asked["every"] else None,
            {} if asked["units"] is None else self.gates(),
            controls,
        )

    def times(self, times: Any) -> list[int]:
        """Return after which steps the state is replaced: each leaves a step to be read."""
        most = int(self.lengths.max()) - 1
        count = isinstance(times, (int, np.integer))
        if most < 1 or (count and times < 1):
            raise ProbeError(f"times={times!r} must be 1 or more, or steps; the input has {most + 1}, and needs 2.")
        if count:
            return sorted(np.random.default_rng(self._asked["seed"]).permutation(most)[:times].tolist())
        return within("times", as_indices("times", times), most, "the steps that another one follows")

    def units(self, units: Any) -> dict[str, tuple[int, ...] | None]:
        """Return which units are replaced, by the group's name; None for all."""
        if units is None:
            return {"state": None}
        sizes = sorted({part.signals[state].shape[2] for part in self.parts for state in self.states(part)})
        if len(self.parts) != 1 or len(sizes) != 1:
            told = f"these are of {len(self.parts)} layers and of {', '.join(map(str, sizes))} numbers. Use layer=."
            raise ProbeError(f"units={units!r} needs states of one layer and of one size; {told}")
        if isinstance(units, str) and units != "each":
            raise ProbeError(unknown("choice of units", units, ("each",)))
        named = {f"unit {unit}": unit for unit in range(sizes[0])} if isinstance(units, str) else units
        named = named if isinstance(named, Mapping) else {"units": named}
        what = f"layer {plain(self.parts[0].layer)!r}"
        return {name: tuple(within("units", as_indices("units", own), sizes[0], what)) for name, own in named.items()}

    def states(self, part: LayerRecording) -> list[Signal]:
        """Return the states of a layer that are replaced."""
        return [state for state in part.initial if state not in self._asked["keep"]]

    def value(self, part: LayerRecording, state: Signal, steps: Sequence[int], put: str) -> Tensor:
        """Return what stands in a state's place, (batch, step, unit)."""
        values = part.signals[state]
        own = values[:, list(steps)]
        if put == "another row":
            # Neighbours may have begun alike: each row has the state of one that is drawn.
            there = np.flatnonzero(self.lengths > max(steps))
            order = np.random.default_rng([self._asked["seed"], *steps]).permutation(there)
            return own.clone().index_copy_(0, torch.as_tensor(order), own[np.roll(order, 1)])
        if put in ("own", "zero"):
            return own if put == "own" else torch.zeros_like(own)
        if put == "initial":
            return part.initial[state].unsqueeze(1).expand_as(own)
        there = torch.as_tensor(np.arange(values.shape[1]) < self.lengths[:, None]).to(values.device)
        return values[there].mean(0).expand_as(own)

    def edits(self, steps: Sequence[int], put: str, units: tuple[int, ...] | None = None) -> list[Edit]:
        """Return the edits that replace the state after some steps of one run, in the rows that go on from there."""
        if len(steps) > 1 and self.lengths.min() < self.lengths.max():
            return [one for step in steps for one in self.edits([step], put, units)]
        rows = tuple(np.flatnonzero(self.lengths > max(steps) + 1).tolist())
        named, made = None if len(rows) == len(self.lengths) else rows, list[Edit]()
        for part in self.parts:
            for state in self.states(part):
                values = self.value(part, state, steps, put)
                values = values if units is None else values[:, :, list(units)]
                made.append(Patch(Site(state, part.layer, units, tuple(steps), named), values.contiguous()))
        return made

    def answers(self, groups: Sequence[list[Edit]]) -> Iterator[np.ndarray]:
        """Yield the answers of each run, (batch, step, number), a few runs at a time."""
        turn = max(1, _MEMORY // max(1, self.clean.nbytes))
        for start in range(0, len(groups), turn):
            yield from self._call(edits=groups[start : start + turn], memory=_MEMORY).numpy(force=True)

    def lags(self, times: Sequence[int], units: tuple[int, ...] | None) -> tuple[tuple[np.ndarray, Any], float]:
        """Return differences to the clean answers, (row, time, lag), which decisions changed, and the own error."""
        rows, time = self.clean.shape[:2]
        found, decide = np.full((rows, len(times), time), np.nan, np.float32), self._asked["decide"]
        changed, error, there = np.zeros(found.shape, bool), 0.0, np.arange(time) < self.lengths[:, None]
        # A sweep runs the first and the last of its edits alone: those that change nothing, beside all that do.
        own = [times[0], times[len(times) // 2], times[-1]]
        asked = [(own[0], "own"), *((at, self._put) for at in times), *((at, "own") for at in own[1:])]
        runs = self.answers([self.edits([at], put, units) for at, put in asked])
        for number, ((at, _), answers) in enumerate(zip(asked, runs, strict=True), -1):
            apart = np.where(there & (self.lengths > at + 1)[:, None], np.abs(answers - self.clean).max(2), np.nan)
            if np.nanmax(apart[:, :at], initial=0) > _ROUNDING * max(1.0, float(np.abs(self.clean).max())):
                told = f"Answers before step {at} change where the state after it is replaced: they read later steps."
                raise ProbeError(f"{told} Choose others with answer=, a function of the model's output.")
            if not 0 <= number < len(times):
                error = max(error, float(np.nanmax(apart)))
                continue
            found[:, number, : time - at] = apart[:, at:]
            if decide is not None:
                changed[:, number, : time - at] = (decide(answers) != decide(self.clean))[:, at:]
        return (found, None if decide is None else changed & ~np.isnan(found)), error

    def distance(self, times: Sequence[int], seed: int) -> float:
        """Return how far the states put in lie from the nearest that occurs, in distances between those."""

        def joined(put: str) -> Tensor:
            found, last = list[Tensor](), torch.as_tensor(self.lengths)
            for part in self.parts:
                for state in self.states(part):
                    each = torch.cat([self.value(part, state, [at], put)[last > at + 1][:, 0] for at in times])
                    found.append(torch.view_as_real(each).flatten(1) if each.is_complex() else each)
            return torch.cat(found, 1).double().cpu()

        own, placed = joined("own"), joined(self._put)
        chosen = np.random.default_rng(seed).permutation(len(own))[:_MOST_STATES]
        scale = own[chosen].std(0, correction=0)
        own, placed = ((one[chosen][:, scale > 0] / scale[scale > 0]) for one in (own, placed))
        between = torch.cdist(own, own).fill_diagonal_(math.inf).min(1).values.median()
        return float(torch.cdist(placed, own).min(1).values.median() / between)

    def schedules(self) -> pd.DataFrame:
        """Return what setting the whole state back again and again does to the answers."""
        every, decide, truth = (self._asked[name] for name in ("every", "decide", "truth"))
        steps = np.arange(self.clean.shape[1])
        # An answer comes before its own step's state is set back. So one run has every second reset, another the
        # rest: the steps from one reset to the next, that one included, are read off the run that has the first.
        resets = {k: [list(range(first * k - 1, len(steps) - 1, 2 * k)) for first in (1, 2)] for k in every}
        found = self.answers([self.edits(one, self._put) for both in resets.values() for one in both if one])
        rows = []
        for k, both in resets.items():
            odd, even = (next(found) if one else self.clean for one in both)
            which = (steps // k)[None, :, None]
            answers = np.where(which == 0, self.clean, np.where(which % 2 == 1, odd, even))
            counted = (steps >= k) & (steps < self.lengths[:, None])
            rows.append({"every": k} | compared(answers, self.clean, counted, decide, self._asked["seed"]))
            if truth is not None and decide is not None:
                rows[-1]["accuracy"] = float((decide(answers) == np.asarray(truth))[counted].mean())
        return pd.DataFrame(rows)

    def gates(self) -> dict[str, float]:
        """Return after how many steps each unit's gates keep half: ln(1/2) / mean of ln(forget or update gate)."""
        signals = self.parts[0].signals
        gate = next((signals[one] for one in _GATES if one in signals), torch.zeros(1, 1, 0))
        kept = gate.double().log().nanmean((0, 1)).clamp(-1e9, -1e-9).tolist()
        return {f"unit {unit}": math.log(0.5) / value for unit, value in enumerate(kept)}
