"""Nothing is silently wrong, however a layer is wrapped, called and asked: hypothesis draws cases that nobody wrote.

Each case is a model of wrapped.py, and what is true of it is what it gives where its layers run the loops of
loops.py. What `probe` gives equals that to 1e-6, or is a ProbeError. Others are drawn each time by
`PROBE_EXAMPLES=5000 pytest tests/hooks/test_nothing_silent.py -m exhaustive -s`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import drawn
import hypothesis.strategies as st
import pytest
import torch
from bodies import TOGETHER
from comparing import distance, scalar_of
from drawn import Plan
from hypothesis import HealthCheck, Phase, given, settings
from loops import Signals
from torch import Tensor
from wrapped import ALONE, CELLS, CUSTOM, TORCHS, ByHand, Case, Outer, hooked

import probe
from probe import ProbeError
from probe.hooks import streaming

GIVEN = os.environ.get("PROBE_EXAMPLES")
#: How far what is found may lie from the loop, relative to max(1, |value|).
ALLOWED = 1e-6
#: A part of each refusal, by what is refused.
REFUSALS = {
    "own forward": "has a forward of its own",
    "not compared": "pre-activations|was there first",
    "own computation": "does not compute what its weights say",
    "checkpoint": "in the backward pass",
    "autocast": "under torch.autocast",
    "never acts": "changed nothing|never came|would change nothing",
    "rows depend": "depends on them|mixes the rows|something else for a row|called none of|fixed number of rows",
    "sequence not told": "cannot be told|starts a sequence of its own",
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning"),
    # What a hook changes in place after a cell is said, and is what the loop does too.
    pytest.mark.filterwarnings("ignore:The state that cell .* was changed in place:UserWarning"),
    pytest.mark.filterwarnings("ignore:The run changed model:UserWarning"),
]
Found = Iterator[tuple[str, Tensor, Tensor]]


ASKED = ("record", "unchecked", "edited", "watch", "intervene", "sweep", "stream")
WITH_EDITS = ("edited", "intervene", "sweep")


@st.composite
def cases(draw: st.DrawFn, asked: str) -> Case:
    """Draw a case in which one thing is asked; most of what can stand around a layer is left out, to be answered."""

    def one(*values: Any, of: int = 1) -> Any:
        """Draw the first value, or in one of `of` cases one of all."""
        return draw(st.sampled_from(values)) if draw(st.integers(1, of)) == 1 else values[0]

    network = draw(drawn.networks(double=True, longest=5, scales=[1.0], packs=asked != "stream"))
    kind = one(network.kind, *CELLS, *CUSTOM) if draw(st.booleans()) else network.kind
    if kind not in TORCHS:
        plain: dict[str, Any] = {"inputs": 3, "layers": 1, "bidirectional": False, "projected": 0, "lengths": None}
        units, batch_first = (5, network.batch_first) if kind in CUSTOM else (network.units, True)
        network = replace(network, kind=kind, units=units, batch_first=batch_first, **plain)
    forward = one("", "passes", "clips", "scales", "replaced", "replaced by itself", of=4)
    weights = one("own", "norm", "old norm", "shared", "alias", of=2)
    if kind in CUSTOM and "norm" in weights:
        weights = "own"
    many = 3 if asked in ("sweep", "stream") else 6
    in_a_context = asked in ("watch", "intervene")
    stepwise = kind not in CELLS and one(False, True, of=5)
    if stepwise:
        network = replace(network, lengths=None, bidirectional=False)
    case = Case(
        **vars(network),
        state="" if network.given else one("", "fixed", "kept", of=many),
        before=one("nothing", *ALONE, *TOGETHER, of=many),
        behind=one("nothing", *ALONE, *TOGETHER, of=many),
        catches=one(False, True, of=8),
        stepwise=stepwise,
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
        grad=in_a_context and draw(st.booleans()),
        late=draw(st.booleans()),
        inner=in_a_context and draw(st.booleans()),
        asked=asked,
        every=draw(st.booleans()),
        plans=(),
    )
    if case.state == "kept" or {case.before, case.behind} != {"nothing"}:
        case = replace(case, way="call")
    if asked == "stream":
        case = replace(case, hook=case.hook.removesuffix(" in place"))  # it would change the caller's own rows
    if case.twice and not case.loops and case.weights != "shared":
        case = replace(case, outside=False)  # there the second call goes on where the first one ended
    if case.outside and case.hook_on == "model":
        case = replace(case, hook="")  # nothing calls it there
    least = int(asked in WITH_EDITS)
    most = 0 if asked in ("record", "unchecked", "stream") else 2
    return replace(case, plans=tuple(draw(st.lists(edits_of(case), min_size=least, max_size=most))))


@st.composite
def edits_of(draw: st.DrawFn, case: Case) -> tuple[Plan, int | None]:
    """Draw an edit of a case, and its call=."""
    plan = draw(drawn.plans(case, ["clamp", "zero", "steer", "edit"]))
    if plan.steps == (-1,) and case.loops:
        plan = replace(plan, steps=(0,))
    name = draw(st.sampled_from(["inner.rnn", "inner.other"])) if case.weights == "shared" else "inner.rnn"
    layer = name if case.is_cell else name + plan.layer
    value = draw(st.sampled_from([-1.0, -0.25, 0.5, 1.0]))
    call = draw(st.sampled_from([None, None, 0, *[1] * (case.twice and case.weights != "shared")]))
    return replace(plan, layer=layer, source_rows=None, value=value), call


class Asked:
    """A case with its model, and its edits in probe's words and in the loop's."""

    def __init__(self, case: Case) -> None:
        self.case, self.model = case, Outer(case).eval()
        self.edits = [self._made(plan, call) for plan, call in case.plans]

    def x(self) -> Tensor:
        """Return inputs, as a leaf where autograd is on."""
        return self.case.x().requires_grad_(self.case.grad)

    def _made(self, plan: Plan, call: int | None) -> probe.Edit:
        plan = replace(plan, layer=plan.layer.removeprefix("inner.") if self.case.inner else plan.layer)
        return drawn.made(plan, {(plan.layer, plan.signal): torch.zeros(1, 1, self.case.width(plan.signal))}, call)

    def by_hand(self, of: Sequence[int] | None = None) -> ByHand:
        """Return the loop with the edits, or with those of these numbers."""
        ends = torch.tensor(self.case.lengths or [self.case.steps] * self.case.batch)
        numbers = range(len(self.case.plans)) if of is None else of

        def edit(layer: str, call: int, signal: str, step: int, value: Tensor) -> Tensor:
            for plan, only in (self.case.plans[number] for number in numbers):
                if (plan.layer, plan.signal) == (layer, signal) and only in (None, call):
                    value = plan.apply(value, step, ends, value, [])
            return value

        return ByHand(self.case, edit)


def derivatives(case: Case, output: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return the derivatives of that number."""
    for leaf in leaves:
        leaf.grad = None
    with torch.enable_grad():
        scalar_of(case.seed)(output).backward()
    return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]


def outputs(found: Sequence[Tensor], expected: Sequence[Tensor], name: str = "output") -> Found:
    """Yield each tensor of an output."""
    for number, pair in enumerate(zip(found, expected, strict=True)):
        yield f"{name}[{number}]", *pair


def recorded(case: Case, recording: probe.Recording, every: Signals) -> Found:
    """Yield each signal of each call, or say which is missing."""
    found = {
        ("inner." * case.inner + part.layer, part.call, str(signal)): value
        for part in recording.parts
        for signal, value in part.signals.items()
    }
    expected = {at: value for at, value in every.items() if case.every or not at[2].endswith("_preactivation")}
    assert set(found) == set(expected), "other calls or signals than the model's"
    for place, value in found.items():
        yield str(place), value, expected[place]


def streamed(asked: Asked) -> Found:
    """Record two rows at a time, and then more."""
    with hooked(asked.case, asked.model), tempfile.TemporaryDirectory() as folder:
        with mock.patch.object(streaming, "_FIRST_ROWS", 2):
            recording = probe.record(
                asked.model, asked.x(), signals=probe.Signal if asked.case.every else None, out=Path(folder) / "run"
            )
        by_hand = asked.by_hand()
        yield from outputs([part.clone() for part in recording.output], by_hand.run(asked.x()))
        yield from recorded(asked.case, recording, by_hand.loops.signals)


def one_call(asked: Asked) -> Found:
    """Ask what calls the model itself."""
    case = asked.case
    options: dict[str, Any] = {"signals": probe.Signal if case.every else None, "check": case.asked != "unchecked"}
    with hooked(case, asked.model):
        recording = probe.record(asked.model, 1.0 * asked.x(), edits=asked.edits, **options)
    by_hand = asked.by_hand()
    yield from outputs(recording.output, by_hand.run(asked.x()))
    yield from recorded(case, recording, by_hand.loops.signals)


def swept(asked: Asked) -> Found:
    """Ask for many edits at once."""
    with hooked(asked.case, asked.model):
        found = probe.sweep(asked.model, asked.x(), edits=asked.edits)
    alone = [asked.by_hand([number]).run(asked.x()) for number in range(len(asked.edits))]
    yield from outputs(found, [torch.stack(parts) for parts in zip(*alone, strict=True)])


def in_a_context(asked: Asked) -> Found:
    """Call the model in a context."""
    case, model, x, by_hand = asked.case, asked.model, asked.x(), asked.by_hand()
    given = model.inner if case.inner else model
    expected = by_hand.run(x)
    wanted = derivatives(case, expected, [x, *by_hand.model.leaves()]) if case.grad else []
    with torch.set_grad_enabled(case.grad), ExitStack() as outside, ExitStack() as stack:
        if case.hook_at in ("before", "global"):
            outside.enter_context(hooked(case, model))
        stack.enter_context(probe.intervene(given, *asked.edits) if asked.edits else nullcontext())
        watched = probe.watch(given, signals=probe.Signal if case.every else None)
        recordings = stack.enter_context(watched) if case.asked == "watch" else []
        if case.hook_at not in ("before", "global"):
            stack.enter_context(hooked(case, model))
        _ = torch.manual_seed(0)
        output = model.predict(1.0 * x) if case.outside else model(1.0 * x)
        if case.late:
            stack.close()
        found = derivatives(case, output, [x, *model.leaves()]) if case.grad else []
    yield from outputs(output, expected)
    yield from outputs(found, wanted, "derivative")
    if case.asked == "watch":
        assert len(recordings) == 1, f"{len(recordings)} recordings of one call"
        yield from recorded(case, recordings[0], by_hand.loops.signals)
        if case.inner or not case.outside:
            # A hook for all of torch that was there before the context runs before it.
            first = case.hook_at == "global" and not case.inner
            yield from outputs(recordings[0].output, by_hand.run(x, hooks_of_the_model=first), "recorded output")


def outcome(case: Case) -> str:
    """Return "equal", or what was refused; fail at anything else."""
    asked = Asked(case)
    try:
        with torch.set_grad_enabled(case.grad), hooked(case, asked.model):
            _ = torch.manual_seed(0)
            bare = asked.model(1.0 * (x := asked.x()))
            if case.grad and any(part.requires_grad for part in bare):
                derivatives(case, bare, [x])
    except RuntimeError as error:
        if not re.search("modified inplace|in-place|an inplace operation", str(error)):
            raise
        return "torch refuses"
    for name, found, expected in outputs(bare, ByHand(case).run(asked.x())):
        if case.way != "autocast":
            assert distance(found, expected) <= ALLOWED, f"the loop is not the bare model: {name}"
    ways = {"sweep": swept, "stream": streamed, "watch": in_a_context, "intervene": in_a_context}
    ask, asked.model.inner.kept = ways.get(case.asked, one_call), None
    _ = torch.manual_seed(0)
    try:
        pairs = list(ask(asked))
    except ProbeError as error:
        found = [name for name, words in REFUSALS.items() if re.search(words, str(error))]
        return found[0] if found else str(error)
    except UserWarning as error:
        if "starts a sequence of its own" not in str(error):
            raise
        return "sequence not told"
    for name, found, expected in pairs:
        assert distance(found, expected) <= ALLOWED, f"{name}: {found} where the loop gives {expected}"
    return "equal"


def ordinary(case: Case) -> bool:
    """Return whether nothing stands around the layer that could hide what it computes: then all must be answered."""
    hooked = case.hook.startswith("output")
    changes = case.hook_on == "layer" and hooked
    return not (
        case.forward
        or ((changes or (hooked and case.asked == "unchecked")) and case.hook_at == "global")
        # A cell's caller hands on what a hook made of its state, or zeros: where a sequence goes on is not told.
        or (case.loops and (changes or case.family == "relu"))
        or (case.asked in ("sweep", "stream") and (case.state or not {case.before, case.behind} <= set(ALONE)))
        or case.way != "call"
    )


@pytest.mark.parametrize("examples", [64, pytest.param(int(GIVEN or 700), marks=pytest.mark.exhaustive)])
def test_an_outcome_is_the_loops_or_a_refusal(examples: int) -> None:
    """However a layer is wrapped, called and asked: the loop's numbers or a ProbeError; ordinary calls answer."""
    found: Counter[tuple[str, str]] = Counter()
    profile = settings(
        max_examples=examples // len(ASKED),
        derandomize=GIVEN is None,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow],
    )

    def try_one(case: Case) -> None:
        result = outcome(case)
        assert not ordinary(case) or result in ("equal", "torch refuses"), f"refused: {result}"
        found[case.asked, result] += 1

    for asked in ASKED:
        profile(given(cases(asked))(try_one))()
    results = Counter(result for _, result in found.elements())
    assert results["equal"] >= examples / 2
    assert results["torch refuses"] <= examples / 20
    assert all(found[asked, "equal"] >= examples / len(ASKED) / 4 for asked in ASKED)
    assert set(results) <= {"equal", "torch refuses", *REFUSALS}
