"""Layers that torch does not have, run by a `probe.Step`: the same promises as for `nn.LSTM`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Step
from probe.recurrent.steps import registry
from probe.studies.prepare import prepare
from probe.testing import check_step

AT, TIME = 4, 12


class Leaky(nn.Module):
    """A layer with a complex matrix of a state and a window of the last two inputs, all steps at once."""

    def __init__(self, inputs: int = 3, units: int = 4) -> None:
        super().__init__()
        self.z, self.v, self.o = nn.Linear(inputs, units), nn.Linear(inputs, 2 * units), nn.Linear(2 * units, inputs)
        self.turn = nn.Parameter(torch.rand(units))
        self.mixed, self.units, self.size = nn.Conv1d(inputs, inputs, 3), units, inputs

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the state is multiplied by, and what is added to it, (..., unit, 2)."""
        keep = self.z(x).sigmoid() * torch.polar(torch.ones_like(self.turn), self.turn)
        return keep[..., None], self.v(x).unflatten(-1, (self.units, 2)).to(torch.complex64)

    def read(self, state: Tensor) -> Tensor:
        """Return the output that a state gives."""
        return self.o(state.real.flatten(-2))

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        """Return the outputs, (batch, time, input), and a word."""
        x = self.mixed(nn.functional.pad(x.transpose(1, 2), (2, 0))).transpose(1, 2)
        keep, add = self.parts(x)
        later = keep.cumprod(1)
        return self.read(later * (add / later).cumsum(1)), "a word"


class LeakyStep(Step):
    """Its step."""

    names = {"state[0]": "memory", "state[1]": "window"}  # noqa: RUF012 (as people write it)

    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return the input."""
        (x,) = arguments
        return x

    def initial(self, batch: int) -> Any:
        """Return zeros."""
        module = self.module
        return torch.zeros(batch, module.units, 2, dtype=torch.complex64), torch.zeros(batch, module.size, 2)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        memory, window = state
        seen = torch.cat([window, x[:, :, None]], 2)
        keep, add = self.module.parts(self.module.mixed(seen)[:, :, 0])
        memory = keep * memory + add
        return self.module.read(memory), (memory, seen[:, :, 1:])


class Model(nn.Module):
    """Two such layers, with a layer of torch's between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rnn, self.last = Leaky(), nn.GRU(3, 3, batch_first=True), Leaky()

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the last one."""
        return self.last(self.rnn(self.first(x)[0])[0])[0]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Register the layer for one test."""
    probe.register(Leaky, LeakyStep)
    yield
    registry._registered.pop(Leaky, None)


@pytest.fixture
def model() -> Model:
    """Return a model."""
    torch.manual_seed(0)
    return Model().eval()


@pytest.fixture
def x() -> Tensor:
    """Return four sequences."""
    return torch.randn(4, TIME, 3, generator=torch.Generator().manual_seed(1))


def moved(one: Tensor, two: Tensor) -> list[bool]:
    """Return at which steps outputs differ."""
    return (one != two).any(-1).any(0).tolist()


def test_states_are_those_of_a_loop_and_the_output_is_the_modules(model: Model, x: Tensor) -> None:
    """Every part of the state at every step, and the module's own output, bit for bit."""
    recording = probe.record(model, x)
    with torch.no_grad():
        assert torch.equal(recording.output, model(x))
        adapter, state = LeakyStep(model.first), LeakyStep(model.first).initial(4)
        for t in range(TIME):
            _, state = adapter.step(x[:, t], state)
            assert torch.equal(recording["first", "memory"][:, t], state[0])
            assert torch.equal(recording["first", "window"][:, t], state[1])
    assert recording.max_error is not None
    assert 0 < recording.max_error < 1e-5
    assert recording.layers == ("first", "rnn[0]", "last")


def test_a_part_of_the_state_moves_what_follows_and_the_layers_above(model: Model, x: Tensor) -> None:
    """Outputs 5 to 11 and none before; with its own values nothing moves, not a bit."""
    clean = probe.record(model, x)
    for signal in ("memory", "window"):
        edited = probe.record(model, x, edits=[probe.clamp(signal, 0.0, layer="first", steps=AT)])
        own = [False] * (AT + 1) + [True] * (TIME - AT - 1)
        for layer, name in (("first", "output"), ("rnn[0]", "hidden_state"), ("last", "output")):
            found = moved(edited[layer, name], clean[layer, name])
            assert found[: AT + 3] == own[: AT + 3]
        same = probe.record(model, x, edits=[probe.patch(signal, clean, layer="first", steps=AT)])
        assert torch.equal(same.output, clean.output)


def test_another_rows_state_gives_the_spliced_inputs_run(model: Model, x: Tensor) -> None:
    """All layers' states of row 1 in row 0, and row 1's beginning before row 0's rest."""
    clean = probe.record(model, x)
    sites = [("first", "memory"), ("first", "window"), ("rnn[0]", "hidden_state"), ("last", "memory")]
    edits = [
        probe.patch(signal, clean, layer=layer, steps=AT, rows=[0], source_rows=[1])
        for layer, signal in [*sites, ("last", "window")]
    ]
    patched = probe.record(model, x, edits=edits)
    with torch.no_grad():
        spliced = model(torch.cat([x[1:2, : AT + 1], x[:1, AT + 1 :]], 1))
    assert torch.allclose(patched.output[0, AT + 1 :], spliced[0, AT + 1 :], atol=1e-5)
    assert torch.equal(patched.output[1:], clean.output[1:])


def test_a_sweep_a_watch_and_an_intervention_agree(model: Model, x: Tensor) -> None:
    """The same edit through each of them."""
    edits = [probe.steer("window", torch.ones(6), layer="first", steps=step) for step in range(3)]
    swept = probe.sweep(model, x, edits=edits)
    for edit, output in zip(edits, swept, strict=True):
        with torch.no_grad(), probe.intervene(model, edit), probe.watch(model) as seen:
            assert torch.equal(model(x), seen[0].output)
        assert torch.allclose(seen[0].output, output, atol=1e-6)
        assert torch.equal(seen[0].output, probe.record(model, x, edits=[edit]).output)


def test_an_adapters_own_modules_are_not_seen(x: Tensor) -> None:
    """A layer inside a layer with an adapter is a part of it, also where its step calls it."""

    class Holds(nn.Module):
        """A layer around torch's GRU."""

        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            """Return the hidden states."""
            return self.rnn(x)[0]

    class HoldsStep(LeakyStep):
        """Its step, by the GRU itself."""

        names = {}  # noqa: RUF012

        def initial(self, batch: int) -> Any:
            """Return zeros."""
            return torch.zeros(batch, 4)

        def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            """Return the hidden state."""
            h = self.module.rnn(x[:, None], state[None])[1][0]
            return h, h

    probe.register(Holds, HoldsStep)
    model = nn.Sequential(Holds())
    recording = probe.record(model, x)
    assert [part.layer for part in recording.parts] == ["0"]
    edited = probe.record(model, x, edits=[probe.clamp("state", 0.0, steps=AT)])
    assert moved(edited.output, recording.output) == [False] * AT + [True] * (TIME - AT)
    assert check_step(HoldsStep, Holds(), x).stepwise < 1e-6


def test_a_recording_of_it_is_saved_streamed_and_tabled(model: Model, x: Tensor, tmp_path: Path) -> None:
    """Under the names that the adapter gives."""
    recording = probe.record(model, x)
    recording.save(tmp_path / "one.safetensors")
    read = probe.load_recording(tmp_path / "one.safetensors")
    streamed = probe.record(model, x, out=tmp_path / "values")
    for other in (read, streamed):
        assert torch.equal(torch.as_tensor(other["first", "window"]), recording["first", "window"])
    frame = recording.to_frame()
    assert {"memory", "window", "output", "hidden_state"} <= set(frame.columns)
    edit = probe.patch("memory", recording, layer="first", steps=2)
    assert probe.Edit.from_json(edit.to_json()) == edit


def test_a_step_that_does_not_exist_is_named(model: Model, x: Tensor) -> None:
    """Signals, units, steps, and an engine that would not be compared with the module."""
    for edit in (
        probe.clamp("state[7]", 0.0, layer="first"),
        probe.clamp("memory", 0.0, layer="first", units=9),
        probe.clamp("output", 0.0, layer="first", units=9),
        probe.clamp("memory", 0.0, layer="first", steps=TIME),
        probe.steer("output", torch.ones(2), layer="first"),
    ):
        with refused():
            _ = probe.record(model, x, edits=[edit])
    with refused():
        _ = probe.clamp("memmory", 0.0)
    with refused():
        _ = probe.record(model, x, check=False)


def test_a_good_step_passes(x: Tensor) -> None:
    """Every difference is rounding, and the shapes of the state are told."""
    found = check_step(LeakyStep, Leaky(), x)
    assert found.states == {"memory": (4, 2), "window": (3, 2)}
    assert max(found.stepwise, found.spliced, found.gradient) < 1e-5


class Forgets(LeakyStep):
    """Hands on the old window."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        y, (memory, _) = super().step(x, state)
        return y, (memory, state[1])


class Old(LeakyStep):
    """Returns the state that it was given."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the old state."""
        return super().step(x, state)[0], state


class Doubles(LeakyStep):
    """Returns another type."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        y, (memory, window) = super().step(x, state)
        return y, (memory, window.double())


class Mixes(LeakyStep):
    """Takes the batch's mean away."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        y, (memory, window) = super().step(x, state)
        return y, (memory - 1e-3 * memory.mean(0), window)


class Keeps(LeakyStep):
    """Keeps its memory on the module."""

    def initial(self, batch: int) -> Any:
        """Return zeros."""
        state = super().initial(batch)
        self.module.kept = state[0]
        return state

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        y, (memory, window) = super().step(x, (self.module.kept[: len(x)], state[1]))
        self.module.kept = memory
        return y, (memory, window)


class Counts(LeakyStep):
    """Writes down on the module how often it was called, which moves no number."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        self.module.count = getattr(self.module, "count", 0) + 1
        return super().step(x, state)


class InPlace(LeakyStep):
    """Changes the window that it is given."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        y, (memory, window) = super().step(x, state)
        state[1].copy_(window)
        return y, (memory, window)


class Idle(LeakyStep):
    """Has a part that nothing reads."""

    names = {}  # noqa: RUF012

    def initial(self, batch: int) -> Any:
        """Return zeros."""
        return (*super().initial(batch), torch.ones(batch, 2))

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        y, after = super().step(x, state[:2])
        return y, (*after, state[2])


@pytest.mark.parametrize("step", [Forgets, Old, Doubles, Mixes, Keeps, Counts, InPlace, Idle])
def test_a_wrong_step_is_refused_with_its_reason(step: type[Step], x: Tensor) -> None:
    """Each fault by its own sentence."""
    with refused():
        _ = check_step(step, Leaky(), x)


def test_what_is_registered_must_be_an_adapter_of_a_module() -> None:
    """Other things are refused."""
    unchecked: Any = getattr(probe.register, "__wrapped__", probe.register)
    with refused():
        unchecked(LeakyStep, LeakyStep)
    for other in (Leaky, "LeakyStep"):
        with refused():
            unchecked(Leaky, other)
    with refused():
        probe.register(Leaky)
    with refused():
        probe.register(Leaky, state="h")


def test_a_complex_state_stays_complex_in_another_type() -> None:
    """`dtype` says how exact the numbers are."""
    model, x = nn.Sequential(Leaky()), torch.randn(3, 8, 3)
    wide, usual = probe.record(model, x, dtype=torch.float64), probe.record(model, x)
    assert wide["0", "memory"].dtype == torch.complex128
    assert wide["0", "output"].dtype == torch.float64
    assert usual["0", "memory"].imag.abs().max() > 0
    torch.testing.assert_close(wide["0", "memory"].to(torch.complex64), usual["0", "memory"])


def test_a_study_of_a_complex_state_is_refused_by_name() -> None:
    """Its questions are about real numbers."""
    bits = np.random.default_rng(0).integers(0, 2, (64, 8, 3)).astype(np.float32)
    study = probe.Study(nn.Sequential(Leaky()), bits, {"ones": lambda one: one[:, 0].cumsum()})
    with refused():
        _ = prepare(study)
