"""The runs in which states are replaced, and what they do to the answers that follow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..edits.kinds import Edit, Patch
from ..errors import ProbeError, unknown
from ..hooks.record import record
from ..hooks.sweeping.sweep import run_edits
from ..recording.recording import LayerRecording
from ..recurrent.finding import find_layers
from ..recurrent.layers import LoopLayer
from ..recurrent.random_weights import random_weights
from ..recurrent.rows.batches import batch_of
from ..recurrent.signals import Signal, Site, as_indices, within
from .lags import Decide, apart, compared

#: What is decided, by name.
DECISIONS: dict[str, Decide] = {
    "sign": lambda answers: answers[:, :, 0] > 0,
    "half": lambda answers: answers[:, :, 0] > 0.5,
    "round": lambda answers: np.rint(answers[:, :, 0]),
}
_OF_ONE = tuple(DECISIONS.values())
DECISIONS["argmax"] = lambda answers: answers.argmax(2)
#: About how many bytes of states one run holds, and of answers are compared at a time.
_MEMORY = 100_000_000
#: How far answers before a replaced state may lie from the clean ones, relative to values above 1.
_ROUNDING = 1e-4
#: The gates that say how much of a state is kept, in an LSTM and in a GRU.
_GATES = (Signal.FORGET_GATE, Signal.UPDATE_GATE)
#: Of how many states distances are taken.
_MOST_STATES = 2_000


class Resets:
    """The clean run of a model, and the runs in which states are replaced."""

    def __init__(self, model: nn.Module, inputs: Any, answer: Any, put: str, asked: dict[str, Any]) -> None:
        batch = batch_of(model, inputs, asked["kwargs"] or {}, asked["batch_axis"])
        self.put, self._asked = put, asked
        layers = find_layers(model, None if asked["layer"] is None else [asked["layer"]])
        signals = {signal for one in layers for signal in one.signals if signal in (*one.states, *_GATES)}
        options: Any = {"layer": [one.name for one in layers], "kwargs": asked["kwargs"]}
        options |= {} if any(isinstance(one, LoopLayer) for one in layers) else {"signals": signals}
        found = record(model, *inputs, **options)
        for name, calls in found.calls.items():
            if calls > 1:
                raise ProbeError(f"Layer {name!r} was called for {calls} sequences, and a state belongs to one.")
        backwards = [one.name for one in layers if one.reads_back and one.name in found.layers]
        if backwards:
            raise ProbeError(f"Layer {backwards[0]!r} reads from the end: what its state leads to comes earlier.")
        named = {str(state) for part in found.parts for state in part.initial}
        if not {*asked["keep"]} < named:
            raise ProbeError(
                f"keep={asked['keep']!r} must name some of {', '.join(sorted(named))}, and leave others."
            )
        self.parts, shape = found.parts, next(iter(found.parts[0].signals.values())).shape[:2]
        if put == "another row" and shape[0] == 1:
            raise ProbeError("put='another row' needs several rows, and the input has one. Choose another put=.")
        read = partial(_answers, answer, batch.axis)
        # Of the last step a row's own state is put back too: that is to change nothing, whoever reads it.
        asked_of: Any = {"kwargs": asked["kwargs"], "batch_axis": asked["batch_axis"], "refuse_unread": False}
        self._call: Any = partial(run_edits, model, *inputs, output=read, memory=_MEMORY, **asked_of)
        self.clean, self.lengths = read(found.output).numpy(force=True), np.array(found.parts[0].lengths or shape[1:])
        self.lengths = np.broadcast_to(self.lengths, shape[:1]).copy()
        self.there = np.arange(shape[1]) < self.lengths[:, None]
        if self.clean.shape[:2] != shape or np.isnan(self.clean[self.there]).any():
            told = f"{self.clean.shape}, or NaN, and must be of {shape[0]} rows and {shape[1]} steps"
            raise ProbeError(f"The answers are {told}. Choose others with answer=, a function of the model's output.")
        self._check_decisions()

    def _check_decisions(self) -> None:
        """Raise where decisions or labels are not one for each row and step."""
        decide, truth, shape = self._asked["decide"], self._asked["truth"], self.clean.shape
        if decide is not None and (shape[2] > 1) == (decide in _OF_ONE) and decide in DECISIONS.values():
            raise ProbeError(f"The answers have {shape[2]} numbers; 'argmax' needs several, and the others one.")
        decided = None if decide is None else decide(self.clean)
        if decide is not None and not isinstance(decided, np.ndarray):
            raise ProbeError(
                f"decide= returned a {type(decided).__name__}; it must return an array of (batch, step)."
            )
        found = {"decide": decided, "truth": truth}
        for name, given in found.items():
            if given is not None and np.shape(given) != shape[:2]:
                raise ProbeError(
                    f"{name}= gives the shape {np.shape(given)}, and must give (batch, step), {shape[:2]}."
                )
        if truth is not None and (decide is None or not self._asked["every"]):
            raise ProbeError("truth= is for the accuracy of schedules: give decide= and every= too.")
        if truth is not None and found["decide"].dtype == bool and not np.isin(truth, (0, 1)).all():
            raise ProbeError("truth= must hold decisions, here True and False.")

    def others(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the networks that the model is compared with."""
        drawn: Any = {"seed": self._asked["seed"], "cells": [part.layer for part in self.parts]}
        return dict(self._asked["controls"] or {}) | dict(random_weights(model, self._asked["random"], **drawn))

    def times(self, times: Any) -> list[int]:
        """Return after which steps the state is replaced: each leaves a step to be read."""
        most = int(self.lengths.max()) - 1
        count = isinstance(times, Integral)
        if most < 1 or isinstance(times, bool) or (count and times < 1):
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
        what = f"layer {self.parts[0].layer!r}"
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

    def edits(
        self, steps: Sequence[int], put: str, units: tuple[int, ...] | None = None, left: int = 1
    ) -> list[Edit]:
        """Return the edits that replace the state after some steps of one run, where a row has steps left."""
        if len(steps) > 1 and self.lengths.min() < self.lengths.max():
            return [one for step in steps for one in self.edits([step], put, units)]
        rows = tuple(np.flatnonzero(self.lengths > max(steps) + left).tolist())
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
            yield from self._call(edits=groups[start : start + turn]).numpy(force=True)

    def lags(
        self, times: Sequence[int], units: tuple[int, ...] | None
    ) -> tuple[tuple[np.ndarray, Any], float, float]:
        """Return differences, (row, time, lag), decisions that changed, and what own states and others pass on."""
        rows, time = self.clean.shape[:2]
        found, decide = np.full((rows, len(times), time), np.nan, np.float32), self._asked["decide"]
        changed, most = np.zeros(found.shape, bool), {"itself": 0.0, "back": 0.0}
        some = sorted({times[0], times[len(times) // 2], int(self.lengths.max()) - 2})
        # A sweep runs the first and the last of its edits alone: those that change nothing, beside all that do.
        asked = [(some[0], "itself"), *((at, self.put) for at in times), *((at, "back") for at in some)]
        asked += [(at, "itself") for at in some[1:] or some]
        runs = self.answers([self.group(at, put, units) for at, put in asked])
        for number, ((at, put), answers) in enumerate(zip(asked, runs, strict=True), -1):
            there = self.there & (self.lengths > at + 1)[:, None]
            moved, relative = (np.where(there, one, np.nan) for one in apart(answers, self.clean))
            if np.nanmax(relative[:, :at], initial=0) > _ROUNDING:
                told = f"Answers before step {at} change where the state after it is replaced: they read later steps."
                raise ProbeError(f"{told} Choose others with answer=, a function of the model's output.")
            if put in most:
                # A layer that forms its output before it hands its state on reads a replaced state a step later.
                first = at + 1 if np.nanmax(found[:, :, 0], initial=0) > 0 else at + 2
                left = moved if put == "itself" else np.where(relative > _ROUNDING, moved, 0)[:, first:]
                most[put] = max(most[put], float(np.nanmax(left, initial=0)))
                continue
            found[:, number, : time - at] = moved[:, at:]
            if decide is not None:
                changed[:, number, : time - at] = (decide(answers) != decide(self.clean))[:, at:]
        return (found, None if decide is None else changed & ~np.isnan(found)), most["itself"], most["back"]

    def group(self, at: int, put: str, units: tuple[int, ...] | None) -> list[Edit]:
        """Return the edits of a run: `itself` puts in the row's own state, `back` puts it in a step after another."""
        if put != "back":
            return self.edits([at], "own" if put == "itself" else put, units)
        return [*self.edits([at], self.put, units), *self.edits([at + 1], "own", left=0)]

    def distance(self, times: Sequence[int], seed: int) -> float:
        """Return how far the states put in lie from the nearest that occurs, in distances between those."""

        def joined(put: str) -> Tensor:
            found, last = list[Tensor](), torch.as_tensor(self.lengths)
            for part in self.parts:
                for state in self.states(part):
                    each = torch.cat([self.value(part, state, [at], put)[last > at + 1][:, 0] for at in times])
                    found.append(torch.view_as_real(each).flatten(1) if each.is_complex() else each)
            return torch.cat(found, 1).double().cpu()

        own, placed = joined("own"), joined(self.put)
        chosen = np.random.default_rng(seed).permutation(len(own))[:_MOST_STATES]
        scale = own[chosen].std(0, correction=0)
        own, placed = ((one[chosen][:, scale > 0] / scale[scale > 0]) for one in (own, placed))
        between = torch.cdist(own, own).fill_diagonal_(math.inf).min(1).values.median()
        if not 0 < between < math.inf:  # one state, or states that repeat
            return math.nan
        return float(torch.cdist(placed, own).min(1).values.median() / between)

    def schedules(self) -> pd.DataFrame:
        """Return what setting the whole state back again and again does to the answers."""
        every, decide, truth = (self._asked[name] for name in ("every", "decide", "truth"))
        steps = np.arange(self.clean.shape[1])
        # An answer comes before its own step's state is set back. So one run has every second reset, another the
        # rest: the steps from one reset to the next, that one included, are read off the run that has the first.
        resets = {k: [list(range(first * k - 1, len(steps) - 1, 2 * k)) for first in (1, 2)] for k in every}
        found = self.answers([self.edits(one, self.put) for both in resets.values() for one in both if one])
        rows = []
        for k, both in resets.items():
            odd, even = (next(found) if one else self.clean for one in both)
            which = (steps // k)[None, :, None]
            answers = np.where(which == 0, self.clean, np.where(which % 2 == 1, odd, even))
            counted = (steps >= k) & self.there
            rows.append({"every": k} | compared(answers, self.clean, counted, decide, self._asked["seed"]))
            if truth is not None and counted.any():
                rows[-1]["accuracy"] = float((decide(answers) == np.asarray(truth))[counted].mean())
        return pd.DataFrame(rows)

    def gates(self) -> dict[str, float]:
        """Return after how many steps each unit's gates keep half: ln(1/2) / mean of ln(forget or update gate)."""
        signals = self.parts[0].signals
        gate = next((signals[one] for one in _GATES if one in signals), torch.zeros(1, 1, 0))
        kept = gate.double().log().nanmean((0, 1)).clamp(-1e9, -1e-9).tolist()
        return {f"unit {unit}": math.log(0.5) / value for unit, value in enumerate(kept)}


def _answers(answer: Any, axis: int, output: Any) -> Tensor:
    """Return the answers that a model's output holds, (batch, step, number)."""
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    found = first if answer is None else answer(output)
    if not isinstance(found, Tensor) or found.dim() not in (2, 3) or not found.is_floating_point():
        told = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ProbeError(
            f"The answers are {told}, and must be floating-point numbers, (batch, step) or (batch, step, number). "
            "Choose them with answer=, a function of the model's output."
        )
    found = found.transpose(0, 1) if answer is None and axis == 1 else found
    found = found.to(torch.promote_types(found.dtype, torch.float32))
    return found if found.dim() == 3 else found.unsqueeze(2)
