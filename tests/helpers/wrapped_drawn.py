"""Cases of wrapped.py at random, with edits of their layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from drawn import Plan, networks
from drawn import plans as of_network
from wrapped import CELLS, CUSTOM, TORCHS, Case

ASKED = ("record", "unchecked", "edited", "watch", "intervene", "sweep", "gradient")
WITH_EDITS = ("edited", "intervene", "sweep")


@st.composite
def cases(draw: st.DrawFn, asked: str) -> Case:
    """Draw a case in which one thing is asked; most of what can stand around a layer is left out, to be answered."""

    def one(*values: Any, of: int = 1) -> Any:
        """Draw the first value, or in one of `of` cases one of all."""
        return draw(st.sampled_from(values)) if draw(st.integers(1, of)) == 1 else values[0]

    network = draw(networks(double=True, longest=5, scales=[1.0]))
    kind = one(network.kind, *CELLS, *CUSTOM) if draw(st.booleans()) else network.kind
    if kind not in TORCHS:
        plain: dict[str, Any] = {"inputs": 3, "layers": 1, "bidirectional": False, "projected": 0, "lengths": None}
        units, batch_first = (5, network.batch_first) if kind in CUSTOM else (network.units, True)
        network = replace(network, kind=kind, units=units, batch_first=batch_first, **plain)
    forward = one("", "passes", "clips", "scales", "replaced", "replaced by itself", "packs", "zoneout", of=4)
    if (forward == "packs" and kind not in TORCHS) or (forward == "zoneout" and kind not in CELLS):
        forward = "passes"
    if forward == "packs":
        network = replace(network, lengths=None)
    weights = one("own", "norm", "old norm", "shared", "alias", "functional", of=2)
    if kind in CUSTOM and "norm" in weights:
        weights = "own"
    in_a_context = asked in ("watch", "intervene")
    case = Case(
        **vars(network),
        # Two calls of one step each would be one sequence.
        twice=(draw(st.booleans()) and (network.steps > 1 or kind in CELLS)) or weights == "shared",
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
    plan = draw(of_network(case, ["clamp", "zero", "steer", "patch"]))
    if plan.steps == (-1,) and (case.is_cell or plan.kind == "patch"):
        plan = replace(plan, steps=(0,))
    name = draw(st.sampled_from(["inner.rnn", "inner.other"])) if case.weights == "shared" else "inner.rnn"
    layer = name if case.is_cell else name + plan.layer
    value = draw(st.sampled_from([-1.0, -0.25, 0.5, 1.0]))
    call = draw(st.sampled_from([None, None, 0, *range(1, case.calls_each)]))
    return replace(plan, layer=layer, source_rows=None, value=value), call
