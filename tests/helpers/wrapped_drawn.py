"""Cases of wrapped.py at random, with edits of their layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from drawn import Plan
from wrapped import CELLS, CUSTOM, TORCHS, Case
from wrapped_by_hand import ByHand

ASKED = ("record", "unchecked", "edited", "watch", "intervene", "sweep", "gradient")
WITH_EDITS = ("edited", "intervene", "sweep")


@st.composite
def cases(draw: st.DrawFn, asked: str) -> Case:
    """Draw a case in which one thing is asked; most of what can stand around a layer is left out, to be answered."""

    def one(*values: Any, of: int = 1) -> Any:
        """Draw the first value, or in one of `of` cases one of all."""
        return draw(st.sampled_from(values)) if draw(st.integers(1, of)) == 1 else values[0]

    kind = one(*TORCHS, *CELLS, *CUSTOM)
    units = 5 if kind in CUSTOM else draw(st.integers(1, 5))
    layers, bidirectional = (draw(st.integers(1, 2)), draw(st.booleans())) if kind in TORCHS else (1, False)
    batch, steps = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    forward = one("", "passes", "clips", "scales", "replaced", "replaced by itself", "packs", "zoneout", of=4)
    if (forward == "packs" and kind not in TORCHS) or (forward == "zoneout" and kind not in CELLS):
        forward = "passes"
    lengths = None
    if kind in TORCHS and forward != "packs" and draw(st.booleans()):
        lengths = tuple(draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch)))
        lengths = (steps, *lengths[1:])
    weights = one("own", "norm", "old norm", "shared", "alias", "functional", of=2)
    if kind in CUSTOM and "norm" in weights:
        weights = "own"
    in_a_context = asked in ("watch", "intervene")
    case = Case(
        kind=kind,
        units=units,
        layers=layers,
        bidirectional=bidirectional,
        projected=draw(st.integers(1, units - 1)) if kind == "lstm" and units > 1 and draw(st.booleans()) else 0,
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()) or kind in CELLS,
        batch=batch,
        steps=steps,
        lengths=lengths,
        given=draw(st.booleans()),
        twice=(draw(st.booleans()) and (steps > 1 or kind in CELLS)) or weights == "shared",  # one step: one sequence
        weights=weights,
        forward=forward,
        bound=draw(st.sampled_from([0.05, 10.0])),
        hook=one("", "output", "output in place", "input", "input in place", of=2),
        hook_at=one("before", *(("inside", "prepended", "global inside") if in_a_context else ()), "global"),
        hook_on=draw(st.sampled_from(["layer", "model"])),
        way=one("call", "checkpoint", "reentrant", "recomputed", "autocast", of=3),
        outside=in_a_context and draw(st.booleans()),
        around=one("", "copy", "thread", "thread only", "nested", of=2) if in_a_context else "",
        grad=in_a_context and draw(st.booleans()),
        late=draw(st.booleans()),
        inner=in_a_context and draw(st.booleans()),
        turned=in_a_context and draw(st.booleans()),
        asked=asked,
        every=draw(st.booleans()),
        plans=(),
        seed=draw(st.integers(0, 2**16)),
    )
    if case.outside and case.hook_on == "model":
        case = replace(case, hook="")  # nothing calls it there
    if case.around == "copy" and (case.hook_at.startswith("global") or case.weights == "old norm"):
        case = replace(case, around="")  # such a hook knows the model, and not its copy; torch refuses such a copy
    least = int(asked in WITH_EDITS)
    most = 0 if asked in ("record", "unchecked") else 2
    return replace(case, plans=tuple(draw(st.lists(plans(case), min_size=least, max_size=most))))


@st.composite
def plans(draw: st.DrawFn, case: Case) -> tuple[Plan, int | None]:
    """Draw an edit of a case, and its call=."""
    signals = ByHand(replace(case, forward="", hook="", way="call"))
    signals.run(case.x())
    layer, _, signal = draw(st.sampled_from(sorted(signals.signals)))
    width = signals.signals[layer, 0, signal].shape[2]

    def some(size: int) -> tuple[int, ...] | None:
        return tuple(draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=3, unique=True)))

    rows = some(case.batch) if draw(st.booleans()) else None
    kind = draw(st.sampled_from(["clamp", "zero", "steer", "patch"]))
    ends = case.lengths or (case.steps,) * case.batch
    steps = some(min(ends[row] for row in rows or range(case.batch)))
    choice = draw(st.integers(0, 3))
    if choice == 0:
        steps = None
    elif choice == 1 and not case.is_cell and kind != "patch":
        steps = (-1,)
    calls = [None, None, 0, *range(1, case.calls_each)]
    plan = Plan(
        kind=kind,
        layer=layer,
        signal=signal,
        units=some(width) if draw(st.booleans()) else None,
        steps=steps,
        rows=rows,
        source_rows=None,
        value=draw(st.sampled_from([-1.0, -0.25, 0.5, 1.0])),
        function="",
        seed=draw(st.integers(0, 2**16)),
    )
    return plan, draw(st.sampled_from(calls))
