"""Programs at random around recurrent layers: what an edit gives is what a loop by hand gives, or it is refused.

The loop shares no code with `probe`: it stands in the layer's place and changes the states itself. Rows that depend
on each other, a fixed number of rows, random numbers, states that a module keeps, refusals that a program catches,
and several calls are among the programs. Wrong in silence is what differs by more than 1e-5, and nothing was said.
"""

from __future__ import annotations

import copy
import random
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.hooks import streaming

ALLOWED = 1e-5
INPUTS, UNITS = 3, 4
#: How many of the programs catch what is raised around the layer, and go on without it.
CATCHES = 0.1


@dataclass(frozen=True)
class Plan:
    """An edit, in words of its own."""

    kind: str
    signal: str
    layer: int
    value: float
    steps: tuple[int, ...] | None
    rows: tuple[int, ...] | None
    units: tuple[int, ...] | None
    call: int | None

    def change(self, value: Tensor) -> Tensor:
        """Return what the edit makes of some numbers."""
        if self.kind == "clamp":
            return torch.full_like(value, self.value)
        if self.kind == "zero":
            return torch.zeros_like(value)
        return value + self.value if self.kind == "add" else value * self.value

    def edit(self, name: str) -> probe.Edit:
        """Return it in probe's words."""
        where: dict[str, Any] = {"layer": name, "steps": self.steps, "rows": self.rows, "call": self.call}
        if self.kind == "clamp":
            return probe.clamp(self.signal, self.value, units=self.units, **where)
        if self.kind == "zero":
            return probe.ablate(self.signal, units=self.units, **where)
        return probe.edit(self.signal, lambda value, site: self.change(value), units=self.units, **where)


class ByHand(nn.Module):
    """Takes the place of a layer or a cell: the same weights, a step at a time, and one edit."""

    def __init__(self, own: nn.Module, plan: Plan | None) -> None:
        super().__init__()
        self.own, self.plan, self.calls, self.step = own, plan, 0, 0

    def edited(self, signal: str, layer: int, step: int, value: Tensor) -> Tensor:
        """Return the numbers with the edit, where it acts."""
        plan = self.plan
        if plan is None or (plan.signal, plan.layer) != (signal, layer) or plan.call not in (None, self.calls):
            return value
        if plan.steps is not None and step not in plan.steps:
            return value
        rows, units = list(plan.rows or range(len(value))), list(plan.units or range(value.shape[1]))
        value, places = value.clone(), (torch.tensor(rows)[:, None], torch.tensor(units)[None])
        value[places] = plan.change(value[places])
        return value

    def one(self, x: Tensor, state: tuple[Tensor, ...], layer: int, step: int, end: str) -> tuple[Tensor, ...]:
        """Run one step of one layer, by the formulas of torch's documentation."""
        own: Any = self.own
        a = x @ getattr(own, f"weight_ih{end}").T + getattr(own, f"bias_ih{end}")
        b = state[0] @ getattr(own, f"weight_hh{end}").T + getattr(own, f"bias_hh{end}")
        if isinstance(own, (nn.LSTM, nn.LSTMCell)):
            i, f, g, o = (a + b).chunk(4, 1)
            c = self.edited("cell_state", layer, step, f.sigmoid() * state[1] + i.sigmoid() * g.tanh())
            return self.edited("hidden_state", layer, step, o.sigmoid() * c.tanh()), c
        if isinstance(own, (nn.GRU, nn.GRUCell)):
            (r, z, n), (hr, hz, hn) = a.chunk(3, 1), b.chunk(3, 1)
            z = (z + hz).sigmoid()
            h = (1 - z) * (n + (r + hr).sigmoid() * hn).tanh() + z * state[0]
            return (self.edited("hidden_state", layer, step, h),)
        return (self.edited("hidden_state", layer, step, (a + b).tanh()),)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Run a cell's step, or all steps of a layer."""
        own: Any = self.own
        pair = isinstance(own, (nn.LSTM, nn.LSTMCell))
        if isinstance(own, nn.RNNCellBase):
            state = x.new_zeros(2, len(x), UNITS) if state is None else state if pair else (state,)
            after = self.one(x, tuple(state), 0, self.step, "")
            self.step += 1
            return after if pair else after[0]
        x = x.transpose(0, 1) if own.batch_first else x
        zeros = x.new_zeros(own.num_layers, x.shape[1], UNITS)
        given = (zeros,) * (1 + pair) if state is None else state if pair else (state,)
        if any(one.shape != zeros.shape for one in given):
            raise RuntimeError("a state of another number of rows")
        ends: list[tuple[Tensor, ...]] = []
        for layer in range(own.num_layers):
            now, outputs = tuple(one[layer] for one in given), []
            for step, here in enumerate(x):
                now = self.one(here, now, layer, step, f"_l{layer}")
                outputs.append(now[0])
            x = torch.stack(outputs)
            ends.append(now)
        self.calls += 1
        last = tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
        return x.transpose(0, 1) if own.batch_first else x, last if pair else last[0]


def noise(like: Tensor, seed: int | None = None) -> Tensor:
    """Return noise for each row."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    shape = len(like), *(1 for _ in like.shape[1:])
    return 0.1 * torch.randn(shape, generator=generator, dtype=like.dtype)


def seeded(h: Tensor) -> Tensor:
    """Add the same noise in each call."""
    _ = torch.manual_seed(3)
    return h + noise(h)


def negatives(h: Tensor) -> Tensor:
    """Attend over the rows of the batch."""
    flat = h.flatten(1)
    return (0.1 * flat @ flat.T).softmax(1) @ flat


#: What is done to the rows before and behind the recurrence: alone, or not.
ALONE: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda h: h,
    "scaled": lambda h: 1.5 * h + 0.1,
    "reversed in time": lambda h: h.flip(1),
    "squared": lambda h: h * h,
    "summed over steps": lambda h: h.cumsum(1),
    "in place": lambda h: h.clone().mul_(0.5),
}
TOGETHER: dict[str, Callable[[Tensor], Tensor]] = {
    "roll": lambda h: h + h.roll(1, 0),
    "little roll": lambda h: h + 1e-2 * h.roll(-1, 0),
    "centred": lambda h: h - h.mean(0),
    "largest": lambda h: h / h.abs().max(),
    "over 1": lambda h: h / h.abs().max().clamp(min=1.0),
    "first": lambda h: h - h[:1],
    "last row": lambda h: h * h[-1:],
    "cumulated": lambda h: h.cumsum(0),
    "rows": lambda h: h / len(h),
    "number": lambda h: h + 0.1 * torch.arange(len(h), dtype=h.dtype).view(-1, *(1 for _ in h.shape[1:])),
    "sorted": lambda h: h.sort(0)[0],
    "negatives": lambda h: negatives(h).view_as(h),
    "pairs": lambda h: h + h.view(len(h) // 2, 2, *h.shape[1:]).flip(1).view_as(h) if len(h) % 2 == 0 else h,
    "noise": lambda h: h + noise(h),
    "own noise": lambda h: h + noise(h, 0),
    "seeded": seeded,
    "dropout": lambda h: nn.functional.dropout(h, 0.2),
}


class Program(nn.Module):
    """A model at random: a layer or a cell, how it is called, and what stands before and behind it."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.rows, self.steps = draw.randint(1, 6), draw.randint(1, 6)
        self.way = draw.choice(["whole"] * 3 + ["loop"] * 3 + ["step by step", "in parts", "twice", "two lengths"])
        kind = draw.choice(["LSTM", "GRU", "RNN"])
        if self.way == "loop":
            self.rnn: Any = getattr(nn, f"{kind}Cell")(INPUTS, UNITS)
        else:
            self.rnn = getattr(nn, kind)(INPUTS, UNITS, draw.choice([1, 1, 2]), batch_first=draw.random() < 0.7)
        apart = draw.random() < 0.5
        self.before, self.behind = (
            draw.choice(list(ALONE if draw.random() < (0.6 if not apart else 1.0) else TOGETHER)) for _ in range(2)
        )
        self.state = draw.choice(["none"] * 4 + ["rows of x", "fixed rows", "kept"])
        self.catches = draw.random() < CATCHES
        self.only_last = draw.random() < 0.3
        self.head = nn.Linear(UNITS, 2)
        self.kept: Any = None
        _ = self.to(torch.float64 if draw.random() < 0.8 else torch.float32)

    def first(self, x: Tensor) -> Any:
        """Return the first state of the recurrence."""
        own: Any = self.rnn.own if isinstance(self.rnn, ByHand) else self.rnn
        pair = isinstance(own, (nn.LSTM, nn.LSTMCell))
        if self.state == "kept" and self.kept is not None:
            return self.kept
        if self.state in ("none", "kept"):
            return None
        rows = self.rows if self.state == "fixed rows" else len(x)
        shape = (rows, UNITS) if self.way == "loop" else (own.num_layers, rows, UNITS)
        return (x.new_zeros(shape) + 0.1,) * 2 if pair else x.new_zeros(shape) + 0.1

    def called(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Call the layer on (batch, time, input), or a cell at each step."""
        if self.way == "loop":
            outputs: list[Tensor] = []
            for step in x.unbind(1):
                state = self.rnn(step, state)
                outputs.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(outputs, 1), state
        own = self.rnn.own if isinstance(self.rnn, ByHand) else self.rnn
        y, state = self.rnn(x if own.batch_first else x.transpose(0, 1), state)
        return y if own.batch_first else y.transpose(0, 1), state

    def recur(self, x: Tensor) -> Tensor:
        """Run the recurrence over all steps."""
        state, ends = self.first(x), [x.shape[1]]
        if self.way in ("step by step", "in parts"):
            ends = list(range(1, x.shape[1] + 1)) if self.way == "step by step" else [x.shape[1] // 2, x.shape[1]]
        pieces: list[Tensor] = []
        for start, end in zip([0, *ends], ends, strict=False):
            if end > start:
                y, state = self.called(x[:, start:end], state)
                pieces.append(y)
        if self.way in ("twice", "two lengths"):
            again = x if self.way == "twice" else x[:, : max(1, x.shape[1] - 1)]
            pieces.append(self.called(again, self.first(x))[0])
        if self.state == "kept":
            self.kept = state
        return torch.cat(pieces, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the head makes of the states."""
        x = (ALONE | TOGETHER)[self.before](x)
        try:
            h = self.recur(x)
        except Exception:
            if not self.catches:
                raise
            h = x.new_zeros(*x.shape[:2], UNITS)
        h = (ALONE | TOGETHER)[self.behind](h)
        return self.head(h[:, -1] if self.only_last else h)


def drawn(draw: random.Random, model: Program) -> list[Plan]:
    """Return edits of a program; some act at steps or calls that do not come."""
    own = model.rnn
    signals = ["hidden_state", "cell_state"] if isinstance(own, (nn.LSTM, nn.LSTMCell)) else ["hidden_state"]
    plans: list[Plan] = []
    for _ in range(draw.randint(1, 5)):
        step = draw.randrange(model.steps + (draw.random() < 0.05))
        plans.append(
            Plan(
                kind=draw.choice(["clamp", "zero", "add", "scale"]),
                signal=draw.choice(signals),
                layer=draw.randrange(getattr(own, "num_layers", 1)),
                value=round(draw.uniform(-1, 1) * draw.choice([1, 1, 3]), 2),
                # Of a layer that reads its sequence in parts the first step is another one in each part.
                steps=None if model.way == "in parts" else draw.choice([(step,), (step,), tuple({0, step}), None]),
                rows=draw.choice([None, None, (draw.randrange(model.rows),)]),
                units=draw.choice([None, None, (draw.randrange(UNITS),)]),
                call=draw.choice([None, None, 0, 1]) if model.way in ("twice", "two lengths") else None,
            )
        )
    return plans


def by_hand(model: Program, x: Tensor, plan: Plan | None) -> Tensor:
    """Return what the program gives with an edit, from a loop that makes it itself."""
    own = copy.deepcopy(model)
    own.rnn = ByHand(own.rnn, plan)
    if model.way == "step by step":
        own.rnn = StepByStep(own.rnn.own, plan)
    _ = torch.manual_seed(0)
    return own(x)


class StepByStep(ByHand):
    """The same for a layer that is called on one step after the other: steps count over all calls."""

    def edited(self, signal: str, layer: int, step: int, value: Tensor) -> Tensor:
        """Return the numbers with the edit, counted from the sequence's first step."""
        calls, self.calls = self.calls, 0
        value = super().edited(signal, layer, step + self.step, value)
        self.calls = calls
        return value

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Run a step."""
        given = super().forward(x, state)
        self.step += x.shape[1 if self.own.batch_first else 0]  # pyright: ignore[reportGeneralTypeIssues]
        return given


def apart(one: Tensor, other: Tensor) -> float:
    """Return how far two outputs lie apart, relative to values above 1."""
    if one.shape != other.shape:
        return float("inf")
    return float(
        ((one - other).abs() / other.abs().clamp(min=1.0)).masked_fill(one.isnan() & other.isnan(), 0.0).max()
    )


def judged(number: int, found: Counter[str]) -> list[str]:
    """Return what a program gives wrong in silence: edits one by one, all of them in a sweep, and a stream."""
    draw = random.Random(number)
    _ = torch.manual_seed(number)
    model = Program(draw)
    plans, x = drawn(draw, model), torch.randn(model.rows, model.steps, INPUTS, dtype=model.head.weight.dtype)
    cell = model.way == "loop"
    edits = [plan.edit("rnn" if cell else f"rnn[{plan.layer}]") for plan in plans]
    told = (
        f"program {number}: {model.way}, {model.before}, {model.behind}, state {model.state}, catches {model.catches}"
    )

    def ask(what: str, call: Callable[[Program], Sequence[Tensor]], expected: Sequence[Plan | None]) -> list[str]:
        wanted = [by_hand(model, x, plan) for plan in expected]
        given = copy.deepcopy(model)
        _ = torch.manual_seed(0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                outputs = call(given)
            except ProbeError:
                found[f"{what}: refused"] += 1
                return []
        worst = max(apart(*pair) for pair in zip(outputs, wanted, strict=True))
        answer = "right" if worst <= ALLOWED else "wrong, and said" if said else "wrong"
        found[f"{what}: {answer}"] += 1
        return [f"{told}: {what} is off by {worst:.2g}: {expected}"] if answer == "wrong" else []

    wrong: list[str] = []
    for plan, edit in zip(plans[:2], edits, strict=False):
        wrong += ask("record", lambda given, edit=edit: [probe.record(given, x, edits=[edit]).output], [plan])
    wrong += ask("sweep", lambda given: list(probe.sweep(given, x, edits=edits)), plans)
    if number % 3 == 0:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(streaming, "_FIRST_ROWS", 2):
            out = Path(folder) / "run"
            wrong += ask("stream", lambda given: [probe.record(given, x, out=out).output.clone()], [None])
    return wrong


def judge(numbers: Sequence[int]) -> Counter[str]:
    """Assert that no program is wrong in silence, and return what came of all of them."""
    found: Counter[str] = Counter()
    with torch.no_grad():
        wrong = [line for number in numbers for line in judged(number, found)]
    assert not wrong, f"{len(wrong)} wrong in silence:\n" + "\n".join(wrong[:20])
    return found


def test_some_programs_are_right_or_refused() -> None:
    """A few of them, each time the same; enough that all kinds of answers come."""
    found = judge(range(60))
    assert found["record: right"] > 60
    assert found["sweep: right"] > 15
    assert found["sweep: refused"] > 15


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(10))
def test_three_thousand_programs_are_right_or_refused(part: int) -> None:
    """None of 3,000 is wrong in silence."""
    found = judge(range(1000 + 300 * part, 1300 + 300 * part))
    assert found["sweep: right"] > 75
