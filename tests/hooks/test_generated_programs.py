"""Programs at random around recurrent layers: what an edit gives is what a loop by hand gives, or it is refused.

The oracle's loop stands in the layer's place and changes the states itself. Rows that depend on each other, a fixed
number of rows, random numbers, states that a module keeps, refusals that a program catches, and several calls are
among the programs. Wrong in silence is what differs by more than 1e-5, and nothing was said.
"""

from __future__ import annotations

import copy
import random
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import drawn
import pytest
import reference
import torch
from bodies import TOGETHER
from drawn import Plan
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.hooks import streaming

ALLOWED = 1e-5
INPUTS, UNITS = 3, 4
#: How many of the programs catch what is raised around the layer, and go on without it.
CATCHES = 0.1
#: An edit in words of its own, and its call=.
Planned = tuple[Plan, int | None]


class ByHand(nn.Module):
    """Takes the place of a layer or a cell: the oracle's loop with the same weights, and one edit.

    Args:
        own: the layer or cell.
        planned: the edit.
        goes_on: whether steps count over all calls.
    """

    def __init__(self, own: Any, planned: Planned | None, *, goes_on: bool) -> None:
        super().__init__()
        self.own, self.planned, self.goes_on, self.calls, self.steps = own, planned, goes_on, 0, 0
        self.layer = own
        if isinstance(own, nn.RNNCellBase):
            kind = {nn.LSTMCell: nn.LSTM, nn.GRUCell: nn.GRU, nn.RNNCell: nn.RNN}[type(own)]
            self.layer = kind(INPUTS, UNITS, batch_first=True).to(own.weight_ih.dtype)
            _ = self.layer.load_state_dict({f"{name}_l0": value for name, value in own.state_dict().items()})

    def edited(self, layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        """Return the numbers with the edit, where it acts."""
        if self.planned is None:
            return value
        plan, call = self.planned
        here = (plan.layer.removeprefix("rnn") or "[0]", plan.signal) == (layer, signal)
        if not here or call not in (None, 0 if self.goes_on else self.calls):
            return value
        step += self.steps if self.goes_on else 0
        return plan.apply(value, step, torch.full((len(value),), step + 1), value, [])

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Run a cell's step, or all steps of a layer."""
        cell = self.layer is not self.own
        x = x[:, None] if cell else x
        states = None if state is None else state if isinstance(state, tuple) else (state,)
        if states is not None:
            states = tuple(one[None] if cell else one for one in states)
            if any(one.shape[1] != x.shape[1 - self.layer.batch_first] for one in states):
                raise RuntimeError("a state of another number of rows")
        hx: Any = states if states is None or isinstance(self.layer, nn.LSTM) else states[0]
        found = reference.run(self.layer, x, hx, None, self.edited)
        self.calls, self.steps = self.calls + 1, self.steps + x.shape[self.layer.batch_first]
        if not cell:
            return found.output, found.final
        return tuple(one[0] for one in found.final) if isinstance(found.final, tuple) else found.final[0]


#: What is done to the rows before and behind the recurrence, each alone; or not, as TOGETHER does.
ALONE: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda h: h,
    "scaled": lambda h: 1.5 * h + 0.1,
    "reversed in time": lambda h: h.flip(1),
    "squared": lambda h: h * h,
    "summed over steps": lambda h: h.cumsum(1),
    "in place": lambda h: h.clone().mul_(0.5),
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


def drawn_edits(draw: random.Random, model: Program) -> list[Planned]:
    """Return edits of a program; some act at steps or calls that do not come."""
    own: Any = model.rnn
    plans: list[Planned] = []
    signals = ["hidden_state", "cell_state"] if isinstance(own, (nn.LSTM, nn.LSTMCell)) else ["hidden_state"]
    layers: Any = getattr(own, "num_layers", 1)
    for _ in range(draw.randint(1, 5)):
        step = draw.randrange(model.steps + (draw.random() < 0.05))
        plan = Plan(
            kind=draw.choice(["clamp", "zero", "steer", "edit"]),
            signal=draw.choice(signals),
            layer="rnn" if model.way == "loop" else f"rnn[{draw.randrange(layers)}]",
            value=round(draw.uniform(-1, 1) * draw.choice([1, 1, 3]), 2),
            # Of a layer that reads its sequence in parts the first step is another one in each part.
            steps=None if model.way == "in parts" else draw.choice([(step,), (step,), tuple({0, step}), None]),
            rows=draw.choice([None, None, (draw.randrange(model.rows),)]),
            units=draw.choice([None, None, (draw.randrange(UNITS),)]),
            source_rows=None,
            function=draw.choice(["turn", "shrink"]),
            seed=draw.randrange(100),
        )
        plans.append((plan, draw.choice([None, None, 0, 1]) if model.way in ("twice", "two lengths") else None))
    return plans


def by_hand(model: Program, x: Tensor, planned: Planned | None) -> Tensor:
    """Return what the program gives with an edit, from a loop that makes it itself."""
    own = copy.deepcopy(model)
    own.rnn = ByHand(own.rnn, planned, goes_on=model.way in ("loop", "step by step"))
    _ = torch.manual_seed(0)
    return own(x)


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
    plans, x = drawn_edits(draw, model), torch.randn(model.rows, model.steps, INPUTS, dtype=model.head.weight.dtype)
    widths = {(plan.layer, plan.signal): torch.zeros(1, 1, UNITS) for plan, _ in plans}
    edits = [drawn.made(plan, widths, call) for plan, call in plans]
    told = (
        f"program {number}: {model.way}, {model.before}, {model.behind}, state {model.state}, catches {model.catches}"
    )

    def ask(what: str, call: Callable[[Program], Sequence[Tensor]], expected: Sequence[Planned | None]) -> list[str]:
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
