"""Loops in which the state is not where its shapes say: read as they are, or refused with what to do."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cells_by_hand import FEATURES, UNITS, Leaky, Loop
from refusing import refused, warned
from torch import Tensor, nn

import probe

ROWS, TIME, AT = 3, 8, 4


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, feature)."""
    return torch.randn(ROWS, TIME, FEATURES)


def zeros(x: Tensor) -> Tensor:
    """Return the state before the first step."""
    return x.new_zeros(len(x), UNITS)


@pytest.mark.parametrize(
    "follow", [lambda h, change, x: h + 0.2 * change, lambda h, z, x: z * h + (1 - z) * x.sum(1, keepdim=True)]
)
def test_what_is_no_state_is_said_to_be_none(follow: Any, x: Tensor) -> None:
    """What the cell returns is not what the next step reads: a sentence says so."""
    model = Loop(Leaky())
    model.follow = follow
    with warned():
        _ = probe.record(model, x)


class _LookAhead(Loop):
    """Calls the cell a second time from each state, and throws that away."""

    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        new = self.cell(x, state)
        _ = self.cell(torch.zeros_like(x), state)
        return new, new


@pytest.mark.parametrize("cell", [Leaky(), nn.RNNCell(FEATURES, UNITS)])
def test_a_branch_is_no_step_of_the_sequence(cell: nn.Module, x: Tensor) -> None:
    """The main sequence has its steps, branches stand alone with a sentence, and steps cannot be named."""
    model = _LookAhead(cell, lambda x: x.new_ones(len(x), UNITS))
    signal = "hidden_state" if isinstance(cell, nn.RNNCell) else "state"
    with warned():
        recording = probe.record(model, x)
    longest = max(recording.parts, key=lambda part: part.signals[probe.Signal(signal)].shape[1])
    torch.testing.assert_close(longest.signals[probe.Signal(signal)], model(x))
    with refused():
        _ = probe.record(model, x, edits=[probe.clamp(signal, 0.0, steps=AT)])


class _Spiking(Leaky):
    """Reads (mem, spk) and returns (spk, mem)."""

    def forward(self, x: Tensor, mem: Tensor, spk: Tensor) -> Any:  # pyright: ignore
        mem = 0.9 * mem * (1 - spk) + 3 * self.enters(x)
        return (mem > 1).float(), mem


class _Spikes(Loop):
    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        spk, mem = self.cell(x, *state)
        mem = mem * 0 if step == self.changed(step, None) else mem
        return mem, (mem, spk)


class _Readable(Leaky):
    """Returns its state first, and an output of the same size."""

    def forward(self, x: Tensor, h: Any) -> Any:
        return super().forward(x, h), torch.tanh(self.enters(x))


class _OfReadable(Loop):
    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        return self.cell(x, state)[::-1]


class _Turned(Leaky):
    """Has its state first."""

    def forward(self, h: Tensor, x: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x, h)


class _OfTurned(Loop):
    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        state = self.cell(state, x)
        return state, state


class _Guided(Leaky):
    """Reads a context of its state's shape, and returns an output too."""

    def forward(self, x: Tensor, h: Tensor, context: Tensor) -> Any:  # pyright: ignore
        h = super().forward(x, h + 0.1 * context)
        return 2 * h, h


class _OfGuided(Loop):
    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        _, state = self.cell(x, state, x.new_ones(len(x), UNITS))
        return state, state


def test_swapped_parts_are_refused_and_can_be_said(x: Tensor) -> None:
    """The message is a line that works."""
    model = _Spikes(_Spiking(), lambda x: (x.new_full((len(x), UNITS), 0.5), zeros(x)))
    with refused():
        _ = probe.record(model, x)
    probe.register(_Spiking, state=("mem", "spk"), returns=(1, 0))
    edited = probe.record(model, x, edits=[probe.clamp("state[0]", 0.0, steps=AT)])
    model.changed = lambda step, state: AT
    torch.testing.assert_close(edited.output, model(x))


@pytest.mark.filterwarnings("ignore:Cell 'cell' was called with a state:UserWarning")
@pytest.mark.parametrize(
    ("loop", "cell", "said"),
    [(_OfReadable, _Readable, {"returns": 0}), (_OfTurned, _Turned, {}), (_OfGuided, _Guided, {"returns": 1})],
)
def test_a_state_that_cannot_be_told_is_refused_until_it_is_said(
    loop: type[Loop], cell: type[nn.Module], said: dict[str, Any], x: Tensor
) -> None:
    """An output beside it, a state that stands first, and a context of its shape."""
    model = loop(cell(), zeros)
    with refused():
        _ = probe.record(model, x, edits=[probe.clamp("state[1]", 0.0, steps=AT)] if cell is _Guided else ())
    probe.register(cell, state="h", **said)
    recording = probe.record(model, x)
    assert recording["state"].shape == (ROWS, TIME, UNITS)
    assert cell is _Readable or torch.equal(recording["state"], recording.output)


class _Chunked(Leaky):
    """Loops over the steps that it is given itself."""

    def forward(self, x: Tensor, h: Any) -> Any:
        states = []
        for now in x.unbind(1):
            h = super().forward(now, h)
            states.append(h)
        return torch.stack(states, 1), h


class _InChunks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = _Chunked()

    def forward(self, x: Tensor) -> Tensor:
        h, found = zeros(x), []
        for chunk in x.split(2, 1):
            y, h = self.layer(chunk, h)
            found.append(y)
        return torch.cat(found, 1)


class _Counting(Leaky):
    """Counts its steps in its state."""

    def forward(self, x: Tensor, h: Any) -> Any:
        return super().forward(x, h[0]), h[1] + 1


class _BatchLast(Leaky):
    """Has the batch last in its state."""

    def forward(self, x: Tensor, h: Tensor) -> Any:
        return super().forward(x, h.T).T


class _Mapped(Loop):
    """Runs its cell by torch.vmap."""

    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        state = torch.vmap(self.cell)(x, state)
        return state, state


def test_states_without_rows_chunks_and_transforms_are_refused(x: Tensor) -> None:
    """A step would be a chunk; a count, and a batch that stands last; tensors that carry more than numbers."""
    probe.register(_BatchLast, state="h")
    for model in (
        _InChunks(),
        Loop(_Counting(), lambda x: (zeros(x), torch.tensor(0))),
        Loop(_BatchLast(), lambda x: zeros(x).T),
        _Mapped(Leaky(), zeros),
    ):
        with refused():
            _ = probe.record(model, x)


class _Answering(nn.Module):
    """Begins with torch.zeros, as people write it, and answers a number."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = Leaky(1), nn.Linear(UNITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), UNITS)
        for now in x.unbind(1):
            h = self.cell(now, h)
        return self.out(h)[:, 0]


def test_a_study_runs_in_float64_what_begins_with_torch_zeros(tmp_path: Path) -> None:
    """The default type is float64 while a copy runs, and what it was afterwards."""
    bits = np.array(list(itertools.product([0.0, 1.0], repeat=6)), dtype=np.float32)[:, :, None]
    readout, concepts = probe.Readout("ones", output=(torch.round, lambda y: y)), {"ones": lambda one: one.cumsum()}
    _ = probe.Study(_Answering(), bits, concepts, readout=readout, questions=["fixed-points"]).run(tmp_path / "page")
    assert (tmp_path / "page" / "findings" / "fixed-points").exists()
    assert torch.get_default_dtype() == torch.float32


class _Beside(nn.Module):
    """A cell beside a layer of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.loop = nn.GRU(FEATURES, FEATURES, batch_first=True), Loop(Leaky())

    def forward(self, x: Tensor) -> Tensor:
        return self.loop(self.gru(x)[0])


def test_a_cell_beside_layers_of_torch_is_named(x: Tensor) -> None:
    """The message says how it is opened."""
    with refused():
        _ = probe.record(_Beside(), x, layers=["loop.cell"])
    probe.register(Leaky, state="h")
    assert probe.record(_Beside(), x)["loop.cell", "state"].shape == (ROWS, TIME, UNITS)


class _Neuron(nn.Module):
    """A neuron as snntorch writes it: it keeps its membrane, begins with none, and with zeros of the last batch."""

    kept: Tensor
    states: tuple[str, ...] = ("spike", "membrane")

    def __init__(self) -> None:
        super().__init__()
        self.enters = nn.Linear(FEATURES, UNITS)
        self.register_buffer("kept", torch.zeros(0), persistent=False)

    def forward(self, x: Tensor, spike: Tensor | None = None, membrane: Tensor | None = None) -> Any:
        x = self.enters(x)
        before, back = (
            torch.zeros_like(x) if one is None or one.shape != x.shape else one for one in (membrane, spike)
        )
        self.kept = 0.9 * before + x - 0.5 * back - (before > 1).float()
        return (self.kept > 1).float(), self.kept


class _Plain(_Neuron):
    """The same, which reads no spikes."""

    states = ("membrane",)

    def forward(self, x: Tensor, membrane: Tensor | None = None) -> Any:  # pyright: ignore
        return super().forward(x, None, membrane)


class _Neurons(Loop):
    """Begins with what the neuron keeps, emptied, for each of its states."""

    def __init__(self, cell: Any) -> None:
        def first(_: Tensor) -> tuple[Tensor, ...]:
            cell.kept = torch.zeros_like(cell.kept)
            return (cell.kept,) * len(cell.states)

        super().__init__(cell, first)

    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        state = self.changed(step, self.cell(x, *state)[-len(state) :])
        return state[-1], state


#: A neuron keeps its membrane on the module, which every run puts back.
@pytest.mark.filterwarnings("ignore:The run changed model")
@pytest.mark.parametrize("kind", [_Plain, _Neuron])
@pytest.mark.parametrize("said", [False, True])
def test_a_tensor_without_elements_is_no_state(kind: type[_Neuron], said: bool) -> None:
    """Recorded, edited and swept as the loop itself, registered or not, also with another number of rows after it."""
    model = _Neurons(kind()).eval()
    if said:
        probe.register(kind, state=kind.states, returns=(0, 1) if kind is _Neuron else 1)
    for rows in (4, 7):
        x = 2 * torch.randn(rows, TIME, FEATURES)
        recording = probe.record(model, x)
        with torch.no_grad():
            assert torch.equal(recording.output, model(x))
        states = [signal for signal in recording.parts[0].signals if signal != "output"]
        assert len(states) == len(kind.states)
        for place, signal in enumerate(states):
            assert recording["cell", signal].shape == (rows, TIME, UNITS)
            assert not bool(recording.initial[signal].any())
            edit = probe.clamp(signal, 0.3, steps=AT)
            found = probe.record(model, x, edits=[edit]).output, probe.sweep(model, x, edits=[edit])[0]
            model.changed = lambda step, state, place=place: (
                (*state[:place], torch.full_like(state[place], 0.3), *state[place + 1 :]) if step == AT else state
            )
            with torch.no_grad():
                wanted = model(x)
            model.changed = lambda step, state: state
            assert all(torch.equal(one, wanted) for one in found)
