"""Cells as people write them, in a loop: recorded and edited without being registered, against the loop itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from cells_by_hand import (
    CTRNN,
    FEATURES,
    UNITS,
    BothWays,
    CTRNNStep,
    Leaky,
    LikeTorch,
    Loop,
    LowRank,
    LowRankStep,
    NormGRU,
    OwnLSTM,
    Stack,
    Twice,
    TwoArguments,
    WithMemory,
    WithOutput,
    Zoneout,
    parts,
)
from refusing import refused
from torch import Tensor, nn

import probe
from probe import ProbeError
from probe.testing import check_step

ROWS, TIME, AT = 3, 5, 2
KINDS = (Leaky, OwnLSTM, TwoArguments, WithOutput, LikeTorch, NormGRU, Zoneout, WithMemory)
#: What a loop may do to a state between two steps.
BETWEEN: dict[str, Callable[[Tensor, int], Tensor]] = {
    "nothing": lambda part, step: part,
    "reset": lambda part, step: (
        part * (1 - (torch.arange(ROWS) == step - 1).float()).view(-1, *[1] * (part.dim() - 1))
    ),
    "detach": lambda part, step: part.detach(),
    "clone": lambda part, step: part.clone(),
    "norm": lambda part, step: nn.functional.layer_norm(part, part.shape[-1:]),
    "where": lambda part, step: torch.where(part > 0.4, torch.zeros_like(part), part),
    "clip": lambda part, step: part.clamp(-0.5, 0.5),
}


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, feature)."""
    return torch.randn(ROWS, TIME, FEATURES)


def made(kind: type[nn.Module], between: str = "nothing", **options: Any) -> Loop:
    """Return a loop in evaluation mode."""
    model = Loop(kind, **options).eval()
    model.between = BETWEEN[between]
    return model


@torch.no_grad()
def by_hand(model: Loop, x: Tensor, name: str = "", value: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the outputs and states of a loop in which a part of the state after step `AT` is set to a number."""
    kept: dict[str, list[Tensor]] = {}

    def change(step: int, state: Any) -> Any:
        if name and step == AT:
            state = _set(state, name, value)
        for path, part in parts(state).items():
            kept.setdefault(path, []).append(part.clone())
        return state

    plain, model.changed = model.changed, change
    try:
        output = model(x)
    finally:
        model.changed = plain
    return output, {path: torch.stack(each, 1) for path, each in kept.items()}


def _set(state: Any, name: str, value: float) -> Any:
    changed = {path: torch.full_like(part, value) if path == name else part for path, part in parts(state).items()}
    if isinstance(state, dict):
        return {path.removeprefix("state."): part for path, part in changed.items()}
    return type(state)(changed.values()) if isinstance(state, (tuple, list)) else changed["state"]


def far(one: Tensor, two: Tensor) -> float:
    """Return the largest difference."""
    return float((one - two).abs().max())


def check(model: Loop, x: Tensor) -> None:
    """Check recorded states and edits of a loop against the loop itself."""
    plain, states = by_hand(model, x)
    recording = probe.record(model, x)
    assert set(recording.calls.values()) == {1}
    assert torch.equal(recording.output, plain)
    for name, value in states.items():
        assert far(recording["cell", name], value) < 1e-6
        edited = probe.record(model, x, edits=[probe.clamp(name, 0.3, layer="cell", steps=AT)])
        wanted, wanted_states = by_hand(model, x, name, 0.3)
        assert far(edited.output, wanted) < 1e-6
        assert all(far(edited["cell", one], wanted_states[one]) < 1e-6 for one in states)
        moved = (edited.output != plain).any(-1).any(0)
        assert not bool(moved[:AT].any())
        assert bool(moved[AT + 1 :].all())
        own = probe.record(
            model, x, edits=[probe.patch(name, recording, layer="cell", steps=step) for step in (0, AT, TIME - 1)]
        )
        assert torch.equal(own.output, plain)
        with pytest.raises(ProbeError, match=f"{TIME}"):
            _ = probe.record(model, x, edits=[probe.clamp(name, 0.0, layer="cell", steps=TIME)])


@pytest.fixture(autouse=True)
def _no_warning(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not [str(one.message) for one in recwarn]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_in_a_loop(kind: type[nn.Module], x: Tensor) -> None:
    """Every part of the state is recorded as the loop has it, and an edit gives the loop with that part changed."""
    check(made(kind), x)


@pytest.mark.parametrize(
    ("kind", "between"),
    [(Leaky, name) for name in BETWEEN if name != "nothing"]
    + [(kind, "reset") for kind in (OwnLSTM, TwoArguments, NormGRU, WithMemory)],
)
def test_what_a_loop_does_between_two_steps(kind: type[nn.Module], between: str, x: Tensor) -> None:
    """Resets, detach, copies, norms and masks between two calls do not cut the sequence."""
    check(made(kind, between), x)


@pytest.mark.parametrize("kind", [OwnLSTM, LikeTorch])
def test_a_loop_that_begins_with_no_state(kind: type[nn.Module], x: Tensor) -> None:
    """The first step, whose state is None, is recorded and edited as the others."""
    check(made(kind, begin_with_none=True), x)
    model = made(kind, begin_with_none=True)
    edited = probe.record(model, x, edits=[probe.clamp("state[0]", 0.3, steps=0)])
    assert bool((edited["state[0]"][:, 0] == torch.tensor(0.3)).all())
    assert edited["state[0]"].shape == (ROWS, TIME, UNITS)


def test_a_cell_under_no_grad(x: Tensor) -> None:
    """A loop that runs its cell under torch.no_grad() is followed as any other."""
    model = made(OwnLSTM)
    model.no_grad = True
    check(model, x)


def test_zoneout_in_training(x: Tensor) -> None:
    """Random masks stay those of the run: the cell itself runs, and nothing is drawn again."""
    model = Loop(Zoneout).train()
    runs = []
    for run in (
        lambda: by_hand(model, x, "state", 0.3)[0],
        lambda: probe.record(model, x, edits=[probe.clamp("state", 0.3, layer="cell", steps=AT)]).output,
    ):
        torch.manual_seed(1)
        runs.append(run())
    assert far(*runs) < 1e-6


@pytest.mark.parametrize("stacked", [False, True])
def test_one_cell_for_two_sequences(stacked: bool, x: Tensor) -> None:
    """Two directions, or two layers, of one cell are two calls, recorded and edited each on its own."""
    model = BothWays(stacked=stacked)
    recording = probe.record(model, x)
    assert recording.calls == {"cell": 2}
    for number, states in enumerate(recording.output):
        assert far(recording.call(number)["state"], states) < 1e-6
        edited = probe.record(model, x, edits=[probe.clamp("state", 1.0, call=number, steps=AT)])
        with torch.no_grad():
            wanted = model(x, (number, AT))
        assert all(far(one, two) < 1e-6 for one, two in zip(edited.output, wanted, strict=True))


def test_a_tensor_that_stands_twice_in_a_state(x: Tensor) -> None:
    """Each place is edited on its own."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Twice()

        def forward(self, x: Tensor, edited: int | None = None) -> Tensor:
            state = (torch.zeros(len(x), UNITS), torch.zeros(len(x), UNITS))
            outputs = []
            for step, now in enumerate(x.unbind(1)):
                state = self.cell(now, state)
                if edited is not None and step == AT:
                    state = (state[0], state[1] * 0) if edited else (state[0] * 0, state[1])
                outputs.append(state[0] + 2 * state[1])
            return torch.stack(outputs, 1)

    model = Model()
    for place in (0, 1):
        edited = probe.record(model, x, edits=[probe.clamp(f"state[{place}]", 0.0, steps=AT)])
        with torch.no_grad():
            assert far(edited.output, model(x, place)) < 1e-6


def test_an_output_that_is_the_state(x: Tensor) -> None:
    """An edit of what is the state itself is refused, and its gradient is the state's."""
    model = made(Leaky)
    with refused():
        _ = probe.record(model, x, edits=[probe.clamp("output", 0.0, steps=AT)])
    gradient = probe.record(model, x, gradient_of=lambda output: output[:, -1].square().sum()).gradient
    assert far(gradient["output"], gradient["state"]) == 0
    kept: list[Tensor] = []
    model.changed = lambda step, state: (
        kept.append(state.detach().requires_grad_()) or kept[-1] if step == AT else state
    )
    model(x)[:, -1].square().sum().backward()
    assert far(gradient["state"][:, AT], kept[0].grad if kept[0].grad is not None else x) < 1e-6


def test_an_output_beside_the_state(x: Tensor) -> None:
    """An edit of an output that is not the state moves that step's output alone."""
    model = made(WithOutput)
    plain = probe.record(model, x)
    edited = probe.record(model, x, edits=[probe.clamp("output", 0.0, steps=AT)])
    moved = (edited.output != plain.output).any(-1).any(0)
    assert moved.tolist() == [step == AT for step in range(TIME)]
    assert torch.equal(edited["state[1]"], plain["state[1]"])


def test_a_sequence_without_a_batch(x: Tensor) -> None:
    """Vectors go in and come out: a batch of one."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Leaky()

        def forward(self, x: Tensor, at: int | None = None) -> Tensor:
            h, states = torch.zeros(UNITS), []
            for step, now in enumerate(x):
                h = self.cell(now, h)
                h = torch.ones_like(h) if step == at else h
                states.append(h)
            return torch.stack(states)

    model = Model()
    recording = probe.record(model, x[0])
    assert recording["state"].shape == (1, TIME, UNITS)
    assert far(recording["state"][0], recording.output) < 1e-6
    edited = probe.record(model, x[0], edits=[probe.clamp("state", 1.0, steps=AT)])
    with torch.no_grad():
        assert far(edited.output, model(x[0], AT)) < 1e-6


def test_methods_in_a_loop() -> None:
    """A CTRNN and a low-rank network need a step of about ten lines; with noise that is not off, they are refused."""
    x = torch.randn(ROWS, 12, FEATURES)
    for step, module, given in (
        (CTRNNStep, CTRNN(), (x.transpose(0, 1),)),
        (CTRNNStep, CTRNN(), (x.transpose(0, 1), torch.rand(1, UNITS).expand(ROWS, -1))),
        (LowRankStep, LowRank(), (x,)),
    ):
        found = check_step(step, module.eval(), *given)
        assert max(found.stepwise, found.spliced, found.gradient) < 1e-6
    with refused():
        _ = check_step(LowRankStep, LowRank(noise=0.1).eval(), x)


class Learned(nn.Module):
    """A cell that begins with a state that it has learned, and keeps count of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.begin, self.calls = Leaky(), nn.Parameter(torch.ones(UNITS)), 0

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Return the next state."""
        self.calls += 1
        return self.inner(x, self.begin.expand(len(x), -1) if h is None else h)


@pytest.mark.parametrize("learned", [False, True])
def test_what_a_state_of_none_stands_for(learned: bool, x: Tensor) -> None:
    """It is zeros where the cell computes what it computes from zeros, and NaN otherwise; nothing is left behind."""
    model = Loop(Learned, begin_with_none=True).eval()
    if not learned:
        _ = nn.init.zeros_(model.cell.get_parameter("begin"))
    random = torch.get_rng_state()
    initial = probe.record(model, x, layers=["cell"]).initial["state"]
    assert torch.equal(random, torch.get_rng_state())
    assert vars(model.cell)["calls"] == TIME
    assert bool(initial.isnan().all() if learned else (initial == 0).all())


def test_a_cell_that_does_not_tell_its_state(x: Tensor) -> None:
    """Where the first call brings no state and cannot be tried, its step is not passed over in silence."""
    model = Loop(Learned, begin_with_none=True).eval()
    vars(model.cell)["busy"] = (step for step in range(TIME))  # nobody can copy a generator
    with refused():
        _ = probe.record(model, x, layers=["cell"])


@pytest.mark.parametrize("given", [False, True])
def test_what_runs_cells_in_a_loop_is_no_cell(given: bool, x: Tensor) -> None:
    """A layer that takes and returns states, and loops over cells itself, leaves the recording to its cells."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = Stack()

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x, torch.rand(2, len(x), UNITS) if given else None)[0]

    torch.manual_seed(0)
    recording = probe.record(Model(), x)
    assert recording.calls == {"rnn.cells.0": 1, "rnn.cells.1": 1}
    assert far(recording["rnn.cells.1", "state"], recording.output) < 1e-6


class Turned(Leaky):
    """A cell whose state comes first."""

    def forward(self, h: Tensor, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the next state."""
        return super().forward(x, h)


def test_a_state_that_stands_first(x: Tensor) -> None:
    """It is found where somebody says so, and nothing is recorded in silence where nobody does."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Turned()

        def forward(self, x: Tensor) -> Tensor:
            h, states = torch.zeros(len(x), UNITS), []
            for now in x.unbind(1):
                h = self.cell(h, now)
                states.append(h)
            return torch.stack(states, 1)

    model = Model()
    with refused():
        _ = probe.record(model, x)
    probe.register(Turned, state="h")
    recording = probe.record(model, x)
    assert torch.equal(recording["state"], recording.output)


@pytest.mark.filterwarnings("ignore:Cell 'cell' was called with a state:UserWarning")
def test_an_argument_that_is_no_state(x: Tensor) -> None:
    """A context of the state's shape is not taken for a second state; whoever says so gets one sequence."""

    class Guided(Leaky):
        def forward(self, x: Tensor, h: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
            h = super().forward(x, h + 0.1 * context)
            return 2 * h, h

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.context = Guided(), nn.Parameter(torch.randn(UNITS))

        def forward(self, x: Tensor) -> Tensor:
            h, states = torch.zeros(len(x), UNITS), []
            for now in x.unbind(1):
                _, h = self.cell(now, h, self.context.expand(len(x), -1))
                states.append(h)
            return torch.stack(states, 1)

    model = Model()
    edit = probe.clamp("state[1]", 0.0, steps=AT)
    with refused():
        _ = probe.record(model, x, edits=[edit])
    probe.register(Guided, state="h", returns=1)
    recording = probe.record(model, x)
    assert torch.equal(recording["state"], recording.output)
