"""What `probe` promises of every recurrent layer, on networks at random, against the oracle of reference.py.

`PROBE_EXAMPLES=2000 pytest tests/hooks/test_instrument_properties.py` draws other networks each time; a failure
prints the seed and the example, and `--hypothesis-seed=N` repeats it. Without it the same few are drawn each time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import drawn
import pytest
import reference
import torch
from comparing import distance, farthest, final_states, flat, gates_swapped, padded, rounding, same, scalar_of, top
from drawn import Call, Network, Plan
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import probe

GIVEN = os.environ.get("PROBE_EXAMPLES")
EXAMPLES = int(GIVEN or 12)
PROFILE = settings(
    max_examples=EXAMPLES,
    derandomize=GIVEN is None,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    # A network of 300 steps is run step by step in Python: slow by nature, and drawn on purpose.
    suppress_health_check=[HealthCheck.too_slow],
)
# Torch's own, once a process, from the bare module too: its faster kernel of single precision knows no projection.
pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
    pytest.mark.usefixtures("no_grad"),
]


@st.composite
def edited(
    draw: st.DrawFn, most: int = 3, kinds: Sequence[str] = drawn.KINDS, **options: Any
) -> tuple[Network, list[Plan], int]:
    """Draw a network, edits of it, and how many rows more the source of the edits has."""
    network = draw(drawn.networks(**options))
    more_rows = draw(st.integers(0, 2))
    return network, draw(st.lists(drawn.plans(network, kinds, more_rows), min_size=1, max_size=most)), more_rows


def record(network: Network, module: nn.RNNBase, call: Call, **options: Any) -> probe.Recording:
    """Record every signal; ordinary weights pass the recording's own check, scaled ones are judged here."""
    tolerance = None if network.scale == 1.0 else 1e-2
    names = reference.signals_of(module)
    return probe.record(module, *call.arguments(module), signals=names, tolerance=tolerance, **options)


def all_signals(module: nn.RNNBase, recording: probe.Recording) -> dict[tuple[str, str], Tensor]:
    """Return everything that was recorded."""
    names = reference.signals_of(module)
    return {(layer, name): recording[layer, name] for layer in reference.layers_of(module) for name in names}


def drawn_rows(network: Network, plan: Plan, source: Tensor, run: Tensor) -> list[int]:
    """Return which row of the source each row took, read from a run with this edit alone; it must be one of them."""
    taken = list(range(network.batch))
    for row in taken if plan.rows is None else plan.rows:
        fits = torch.ones(len(source), dtype=torch.bool)
        for step in range(network.steps):
            units = plan.places(run[:, step], step, network.ends())[row]
            fits = fits & (source[:, step, units] == run[row, step, units]).all(1)
        assert fits.any(), f"row {row} took no row of the reference"
        taken[row] = int(fits.nonzero()[0])
    return taken


class Edited:
    """A network with its edits, in probe's words and in the oracle's."""

    def __init__(self, network: Network, plans: Sequence[Plan], more_rows: int) -> None:
        self.network, self.plans = network, plans
        self.module, self.call = network.module(), network.call()
        self.source = record(network, self.module, network.call(seed=1, more_rows=more_rows))
        self.edits = [drawn.made(plan, self.source) for plan in plans]
        self.taken = [self._taken(*pair) for pair in zip(plans, self.edits, strict=True)]

    def _taken(self, plan: Plan, edit: Any) -> list[int]:
        taken = list(range(self.network.batch))
        if plan.kind == "resample":
            run = record(self.network, self.module, self.call, edits=[edit])[plan.layer, plan.signal]
            return drawn_rows(self.network, plan, self.source[plan.layer, plan.signal], run)
        if plan.source_rows is not None:
            for row, place in zip(taken if plan.rows is None else plan.rows, plan.source_rows, strict=True):
                taken[row] = place
        return taken

    def edit(self, layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        """Do what the plans say, one after the other: the oracle's edit."""
        ends = self.network.ends()
        for plan, taken in zip(self.plans, self.taken, strict=True):
            if (plan.layer, plan.signal) == (layer, signal):
                value = plan.apply(value, step, ends, self.source[layer, signal], taken)
        return value

    def record(self) -> probe.Recording:
        """Return the edited run."""
        return record(self.network, self.module, self.call, edits=self.edits)

    def run(self, edit: reference.Edit | None = None, nudge: float = 0.0) -> reference.Reference:
        """Return the oracle's edited run, from inputs that are multiplied by 1 + nudge."""
        call = self.call
        return reference.run(self.module, call.x * (1 + nudge), call.hx, call.lengths, edit or self.edit)

    def steady(self, expected: reference.Reference) -> bool:
        """Return whether rounding stays small: where a nudge of 1e-12 grows, two correct runs may differ."""
        return farthest(self.run(nudge=1e-12).signals, expected.signals) < 1e-9


@PROFILE
@given(drawn.networks())
def test_recorded_values_satisfy_the_equations(network: Network) -> None:
    """One step of the oracle from each recorded state gives every signal; with two gates swapped it fails.

    The output is the bare module's to the bit, which is called once.
    """
    module, call, calls = network.module(), network.call(), list[int]()
    bare = module(*call.arguments(module))
    module.register_forward_hook(lambda *_: calls.append(1))
    recording = record(network, module, call)
    assert same(recording.output, bare)
    assert len(calls) == 1
    signals = all_signals(module, recording)
    allowed = rounding(network, signals)

    def error(recorded: Mapping[tuple[str, str], Tensor]) -> float:
        steps = reference.one_step_each(module, call.x, recorded, hx=call.hx, lengths=call.lengths)
        return farthest(steps, recorded)

    assert error(signals) <= allowed
    for swapped in gates_swapped(signals):
        if farthest(swapped, signals) > 2 * allowed:
            assert error(swapped) > allowed


@PROFILE
@given(edited(kinds=["patch"]))
def test_a_patch_with_the_runs_own_values_changes_no_bit(case: tuple[Network, list[Plan], int]) -> None:
    """Any signals, steps, units and rows of a run's own recording, put back, leave everything as it was."""
    network, plans, _ = case
    module, call = network.module(), network.call()
    own = record(network, module, call)
    edits = [
        probe.patch(plan.signal, own, layer=plan.layer, units=plan.units, steps=plan.steps, rows=plan.rows)
        for plan in plans
    ]
    run = record(network, module, call, edits=edits)
    assert same(run.output, own.output)
    assert same(list(all_signals(module, run).values()), list(all_signals(module, own).values()))
    with probe.intervene(module, *edits):
        assert same(module(*call.arguments(module)), own.output)


@PROFILE
@given(edited(most=1), st.integers(0, 299))
def test_an_edit_changes_what_comes_after_it_only(case: tuple[Network, list[Plan], int], at: int) -> None:
    """Earlier sites, other rows, the other direction and layers below keep every bit."""
    network, (plan,), more_rows = case
    at %= network.shortest(plan.rows)
    plan = replace(plan, steps=(at,))
    role = Edited(network, [plan], more_rows)
    module, layers = role.module, reference.layers_of(role.module)
    own, run = (all_signals(module, r) for r in (record(network, module, role.call), role.record()))
    hit = torch.isin(torch.arange(network.batch), torch.tensor(plan.rows or range(network.batch)))
    names = reference.signals_of(module)
    reverse = plan.layer.endswith(".reverse")
    before = slice(at + 1, None) if reverse else slice(at)
    for name in names:
        one, two = run[plan.layer, name], own[plan.layer, name]
        assert same(one[:, before], two[:, before])
        assert same(one[~hit], two[~hit])
        if names.index(name) < names.index(plan.signal):
            assert same(one[:, at], two[:, at])
    for layer in layers:
        if layer != plan.layer and layer[1] <= plan.layer[1]:
            assert all(same(run[layer, name], own[layer, name]) for name in names)


@PROFILE
@given(edited())
def test_an_edited_run_is_the_oracles(case: tuple[Network, list[Plan], int]) -> None:
    """Each step follows from the one before by the edited equations; so does the run, unless it is chaotic."""
    role = Edited(*case)
    network, module, call = role.network, role.module, role.call
    run = role.record()
    signals = all_signals(module, run)
    steps = reference.one_step_each(module, call.x, signals, hx=call.hx, lengths=call.lengths, edit=role.edit)
    allowed = rounding(network, signals)
    assert farthest(steps, signals) <= allowed
    # The control arm: without the edits the equations do not give this run, if the edits did anything.
    bare = reference.one_step_each(module, call.x, signals, hx=call.hx, lengths=call.lengths)
    if farthest(bare, steps) > 2 * allowed:
        assert farthest(bare, signals) > allowed
    assert same(padded(module, run.output), top(module, signals))
    final = run.output[1][0] if isinstance(module, nn.LSTM) else run.output[1]
    assert same(final, final_states(network, module, signals))
    with probe.intervene(module, *role.edits):
        assert same(module(*call.arguments(module)), run.output)
    expected = role.run()
    if network.double and role.steady(expected):
        assert farthest(signals, expected.signals) <= 1e-8
        found, wanted = flat((padded(module, run.output), run.output[1])), flat((expected.output, expected.final))
        wanted[0] = wanted[0] if module.batch_first else wanted[0].transpose(0, 1)
        assert max(map(distance, found, wanted)) <= 1e-8


def network_of(cell: str, **options: Any) -> Network:
    """Return a network of two layers in both directions, for tests of each kind of cell."""
    given: dict[str, Any] = {"inputs": 2, "layers": 2, "scale": 1.5, "seed": 3, "steps": len(drawn.KINDS) + 2}
    return Network.of(cell, **(given | options), bidirectional=True, given=True)


@pytest.mark.parametrize("cell", drawn.LAYERS)
def test_every_signal_takes_every_kind_of_edit(cell: str) -> None:
    """No chance here: each signal, edited at each step in another way, gives the oracle's run; every edit acts."""
    network = network_of(cell)
    module = network.module()
    layers = reference.layers_of(module)
    for number, signal in enumerate(reference.signals_of(module)):
        layer = layers[number % len(layers)]
        # All units and rows but out of order, and some of them.
        units, rows = (tuple(range(network.width(signal)))[::-1], (2, 0, 1)) if number % 2 else ((-1,), (-1, 1))
        site: dict[str, Any] = {"layer": layer, "signal": signal, "units": units, "rows": rows}
        site |= {"value": 0.5, "function": "turn", "seed": number}
        patched = (3, 0, 0)[-len(rows) :]
        plans = [
            Plan(
                kind=kind,
                steps=(step, len(drawn.KINDS) + 1)[: 1 + (kind == "patch")],
                source_rows=patched if kind == "patch" else None,
                **site,
            )
            for step, kind in enumerate(drawn.KINDS, 1)
        ]
        role = Edited(network, plans, 1)
        signals = all_signals(module, role.record())
        assert farthest(signals, role.run().signals) <= 1e-10
        bare = reference.one_step_each(module, role.call.x, signals, hx=role.call.hx)[layer, signal]
        assert all(distance(signals[layer, signal][:, plan.steps], bare[:, plan.steps]) > 1e-4 for plan in plans)


def differentiated(role: Edited) -> None:
    """Compare the gradients of a scalar of the output with those of the oracle's loop."""
    network, module, scalar = role.network, role.module, scalar_of(role.network.seed)
    recording = record(network, module, role.call, edits=role.edits, gradient_of=scalar)
    deltas: dict[tuple[str, str], list[Tensor]] = {}
    with torch.enable_grad():

        def edit(layer: str, signal: str, step: int, value: Tensor) -> Tensor:
            value = role.edit(layer, signal, step, value)
            here = deltas.setdefault((layer, signal), [torch.zeros(0)] * network.steps)
            here[step] = torch.zeros_like(value, requires_grad=True)
            return value + here[step]

        expected = role.run(edit)
        output = drawn.packed(module, expected.output, network.lengths)
        wanted = torch.autograd.grad(scalar((output, expected.final)), [x for d in deltas.values() for x in d])
    ended = (torch.arange(network.steps) >= network.ends()[:, None])[:, :, None]
    for number, place in enumerate(deltas):
        here = torch.stack(wanted[number * network.steps : (number + 1) * network.steps], dim=1)
        found = recording.gradient[place]
        assert torch.equal(found.isnan(), ended.expand_as(found))
        error = torch.where(ended, 0.0, found - here).abs().max().item()
        assert error <= 1e-6 * max(1.0, here.abs().max().item())
    # To rounding only: under autograd torch adds in another order.
    assert max(map(distance, flat(recording.output), flat(role.record().output))) <= 1e-8


@pytest.mark.parametrize("lengths", [None, (2, 9, 4)])
@pytest.mark.parametrize("cell", drawn.LAYERS)
def test_every_signals_gradient_is_the_oracles(cell: str, lengths: tuple[int, ...] | None) -> None:
    """No chance here either: every signal of every cell, packed too, with an edit that puts in a constant."""
    place: dict[str, Any] = {"layer": "[0].reverse", "signal": "hidden_state", "units": None, "source_rows": None}
    plan = Plan(kind="clamp", steps=(1,), rows=(1, 2), value=0.25, function="", seed=0, **place)
    differentiated(Edited(network_of(cell, lengths=lengths), [plan] if lengths else [], 0))
