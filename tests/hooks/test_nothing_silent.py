"""Nothing is silently wrong, however a layer is wrapped, called and asked: hypothesis draws cases that nobody wrote.

Each case is a model of wrapped.py, and what is true of it is a loop of wrapped_by_hand.py. What `probe` gives equals
the loop to 1e-6, or is a ProbeError. `PROBE_EXAMPLES=5000 pytest tests/hooks/test_nothing_silent.py -m exhaustive -s`
draws others each time.
"""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import drawn
import pytest
import torch
from comparing import distance, scalar_of
from drawn import Plan
from hypothesis import HealthCheck, Phase, given, settings
from torch import Tensor
from wrapped import Case, Outer, hooked
from wrapped_by_hand import ByHand, Signals, leaves
from wrapped_drawn import ASKED, cases

import probe
from probe import ProbeError

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
    "elsewhere": "another thread or asyncio task",
    "rows depend": "depends on them, or on its own place",
    "sequence not told": "cannot be told|starts a sequence of its own",
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning"),
    # What a hook changes in place after a cell is said, and is what the loop does too.
    pytest.mark.filterwarnings("ignore:The state that cell .* was changed in place:UserWarning"),
]
Found = Iterator[tuple[str, Tensor, Tensor]]


class Asked:
    """A case with its model, its loop, and its edits in probe's words and in the loop's."""

    def __init__(self, case: Case) -> None:
        self.case, self.model = case, Outer(case).eval()
        self.source: Any = None
        if any(plan.kind == "patch" for plan, _ in case.plans):
            plain = replace(case, lengths=None, weights="shared" if case.weights == "shared" else "own", forward="")
            plain = replace(plain, hook="", way="call", twice=case.weights == "shared")
            source = Outer(plain)
            self.source = probe.record(source.inner if case.inner else source, case.x(1), signals=probe.Signal)
        self.edits = [self._made(plan, call) for plan, call in case.plans]

    def x(self) -> Tensor:
        """Return inputs, as a leaf where autograd is on."""
        return self.case.x().requires_grad_(self.case.differentiates)

    def _made(self, plan: Plan, call: int | None) -> probe.Edit:
        plan, case = replace(plan, layer=self._name(plan.layer)), self.case
        width = case.projected if case.projected and plan.signal == "hidden_state" else case.units
        widths = {(plan.layer, plan.signal): torch.zeros(1, 1, width)}
        return drawn.made(plan, self.source if plan.kind == "patch" else widths, call)

    def _name(self, layer: str) -> str:
        return layer.removeprefix("inner.") if self.case.inner else layer

    def edit(self, of: Sequence[int] | None = None) -> Any:
        """Return what the edits, or those of these numbers, do in the loop."""
        ends = torch.tensor(self.case.lengths or [self.case.steps] * self.case.batch)
        numbers = range(len(self.case.plans)) if of is None else of

        def edit(layer: str, call: int, signal: str, step: int, value: Tensor) -> Tensor:
            for plan, only in (self.case.plans[number] for number in numbers):
                if (plan.layer, plan.signal) == (layer, signal) and only in (None, call):
                    source = self.source[self._name(layer), signal] if plan.kind == "patch" else value
                    value = plan.apply(value, step, ends, source, range(self.case.batch))
            return value

        return edit

    def by_hand(self, of: Sequence[int] | None = None) -> ByHand:
        """Return the loop with the edits."""
        return ByHand(self.case, self.edit(of))


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
    expected = {
        place: value for place, value in every.items() if case.every or not place[2].endswith("_preactivation")
    }
    assert set(found) == set(expected), "other calls or signals than the model's"
    for place, value in found.items():
        yield str(place), value, expected[place]


def one_call(asked: Asked) -> Found:
    """Ask what calls the model itself."""
    case, x = asked.case, asked.x()
    options: dict[str, Any] = {"signals": case.kept, "check": case.asked != "unchecked"}
    if case.asked == "gradient":
        options["gradient_of"] = scalar_of(case.seed)
    with hooked(case, asked.model):
        recording = probe.record(asked.model, 1.0 * x, edits=asked.edits, **options)
    by_hand = asked.by_hand()
    yield from outputs(recording.output, by_hand.run(x))
    yield from recorded(case, recording, by_hand.signals)
    if case.asked == "gradient":
        yield from gradients(asked, recording)


def gradients(asked: Asked, recording: probe.Recording) -> Found:
    """Yield the derivative by each signal of each call."""
    taps: dict[tuple[str, int, str], dict[int, Tensor]] = {}
    edit = asked.edit()

    def tapped(layer: str, call: int, signal: str, step: int, value: Tensor) -> Tensor:
        value = edit(layer, call, signal, step, value)
        tap = torch.zeros_like(value, requires_grad=True)
        taps.setdefault((layer, call, signal), {})[step] = tap
        return value + tap

    by_hand = ByHand(asked.case, tapped)
    number = scalar_of(asked.case.seed)(by_hand.run(asked.x()))
    for part in recording.parts:
        for signal, found in part.gradients.items():
            steps = taps[part.layer, part.call, str(signal)]
            wanted = torch.autograd.grad(number, [steps[t] for t in sorted(steps)], retain_graph=True)
            expected = torch.stack(wanted, 1)
            expected = expected.masked_fill(by_hand.signals[part.layer, part.call, str(signal)].isnan(), torch.nan)
            yield f"gradient of {part.layer} {part.call} {signal}", found, expected


def swept(asked: Asked) -> Found:
    """Ask for many edits at once."""
    with hooked(asked.case, asked.model):
        found = probe.sweep(asked.model, asked.x(), edits=asked.edits)
    alone = [asked.by_hand([number]).run(asked.x()) for number in range(len(asked.edits))]
    yield from outputs(found, [torch.stack(parts) for parts in zip(*alone, strict=True)])


def in_a_context(asked: Asked) -> Found:
    """Call the model in contexts."""
    case, model, x = asked.case, asked.model, asked.x()
    given = model.inner if case.inner else model
    run: Callable[[Outer], Any] = lambda model: model.predict(1.0 * x) if case.outside else model(1.0 * x)  # noqa: E731
    before = case.hook_at in ("before", "global")
    groups = [[edit] for edit in asked.edits] if case.around == "nested" else [asked.edits] if asked.edits else []
    recordings: list[probe.Recording] = []
    elsewhere: list[Any] = []
    output: Any = None
    found: list[Tensor] = []
    by_hand = asked.by_hand()
    expected = by_hand.run(x)
    wanted = derivatives(case, expected, [x, *by_hand.weights]) if case.grad else []
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(case.grad != case.turned))
        stack.enter_context(hooked(case, model) if before else nullcontext())
        with ExitStack() as contexts:
            for group in groups:
                contexts.enter_context(probe.intervene(given, *group))
            if case.asked == "watch":
                recordings = contexts.enter_context(probe.watch(given, signals=case.kept))
            contexts.enter_context(nullcontext() if before else hooked(case, model))
            contexts.enter_context(torch.set_grad_enabled(case.grad))
            if case.around == "copy":
                elsewhere.append(run(copy.deepcopy(model)))
            elif case.around.startswith("thread"):
                with ThreadPoolExecutor(1) as pool:
                    elsewhere.append(pool.submit(run, model).result())
            if case.around != "thread only":
                output = run(model)
            if case.grad and not case.late and output is not None:
                found = derivatives(case, output, [x, *leaves(case, model)])
        if case.grad and case.late and output is not None:
            found = derivatives(case, output, [x, *leaves(case, model)])
    for other in elsewhere:
        yield from outputs(other, ByHand(case).run(x), "output elsewhere")
    if output is None:
        assert not asked.edits, "an edit never acted, and nobody said so"
        return
    yield from outputs(output, expected)
    yield from outputs(found, wanted[: len(found)], "derivative")
    if case.asked == "watch":
        assert len(recordings) == 1, f"{len(recordings)} recordings of one call"
        yield from recorded(case, recordings[0], by_hand.signals)
        if case.inner or not case.outside:
            # A hook for all of torch that was there before the context runs before it.
            first = case.hook_at == "global" and not case.inner
            yield from outputs(recordings[0].output, by_hand.run(x, hooks_of_the_model=first), "recorded output")


def outcome(case: Case) -> str:
    """Return "equal", or what was refused; fail at anything else."""
    asked = Asked(case)
    try:
        with torch.set_grad_enabled(case.differentiates), hooked(case, asked.model):
            bare = asked.model(1.0 * (x := asked.x()))
            if case.differentiates and any(part.requires_grad for part in bare):
                derivatives(case, bare, [x])
    except RuntimeError as error:
        if not re.search("modified inplace|in-place|an inplace operation", str(error)):
            raise
        return "torch refuses"
    for name, found, expected in outputs(bare, ByHand(case).run(asked.x())):
        if case.way != "autocast":
            assert distance(found, expected) <= ALLOWED, f"the loop is not the bare model: {name}"
    ask = {"sweep": swept, "watch": in_a_context, "intervene": in_a_context}.get(case.asked, one_call)
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
    changes = case.hook_on == "layer" and case.hook.startswith("output")
    return not (
        case.forward
        or (changes and case.hook_at == "global")
        # A cell's caller hands on what a hook made of its state, or zeros: where a sequence goes on is not told.
        or (case.is_cell and (changes or case.family == "relu"))
        or case.way != "call"
        or case.around == "thread only"
    )


@pytest.mark.parametrize("examples", [63, pytest.param(int(GIVEN or 700), marks=pytest.mark.exhaustive)])
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
    for name, number in results.most_common():
        of_each = ", ".join(f"{asked} {found[asked, name]}" for asked in ASKED)
        print(f"{name}: {number} ({of_each})")  # noqa: T201 (the figures of this bar)
    assert results["equal"] >= examples / 2
    assert results["torch refuses"] <= examples / 20
    assert all(found[asked, "equal"] >= examples / len(ASKED) / 4 for asked in ASKED)
    assert set(results) <= {"equal", "torch refuses", *REFUSALS}
