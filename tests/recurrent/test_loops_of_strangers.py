"""Loops in which the state is not where its shapes say: read as they are, or refused with what to do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused, warned
from torch import Tensor, nn

import probe
from probe.recurrent.steps import forms

ROWS, TIME, INPUTS, UNITS, AT = 3, 8, 4, 5, 4
#: A first state that has another form than those that follow.
FIRST: dict[str, Callable[[Tensor], Any]] = {
    "one row": lambda x: x.new_zeros(1, UNITS),
    "no rows": lambda x: torch.linspace(-1, 1, UNITS),
    "a number": lambda x: 0.0,
    "all rows": lambda x: x.new_zeros(len(x), UNITS),
}


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "registered_cells", {})
    torch.manual_seed(0)


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, feature)."""
    return torch.randn(ROWS, TIME, INPUTS)


class Cell(nn.Module):
    """A plain cell."""

    def __init__(self, inputs: int = INPUTS) -> None:
        super().__init__()
        self.x2h, self.h2h = nn.Linear(inputs, UNITS), nn.Linear(UNITS, UNITS)

    def forward(self, x: Tensor, h: Any) -> Any:
        """Return the next state."""
        return torch.tanh(self.x2h(x) + (self.h2h(h) if isinstance(h, Tensor) else h))


class Looped(nn.Module):
    """A loop that returns the states that its next steps read.

    Args:
        cell: the cell.
        begin: makes the first state.
        follow: from a state, what the cell returned and the input to the next state.
    """

    def __init__(self, cell: nn.Module, begin: Callable[[Tensor], Any], follow: Callable[..., Any] | None = None):
        super().__init__()
        self.cell, self.begin, self.follow = cell, begin, follow

    def forward(self, x: Tensor, zero: int | None = None) -> Tensor:
        """Return all states; after step `zero` the state is set to zero, as an edit there would."""
        h, states = self.begin(x), []
        for step in range(x.shape[1]):
            returned = self.cell(x[:, step], h)
            returned = returned * 0 if step == zero else returned
            h = returned if self.follow is None else self.follow(h, returned, x[:, step])
            states.append(h)
        return torch.stack(states, 1)


@pytest.mark.parametrize("first", FIRST)
def test_a_first_state_of_another_form_is_step_0(first: str, x: Tensor) -> None:
    """All steps are there, and an edit at a step equals the loop that does the same, also when it is run again."""
    model = Looped(Cell(), FIRST[first])
    for _ in range(2):
        recording = probe.record(model, x)
        torch.testing.assert_close(recording["state"], model(x))
        assert recording.initial["state"].shape == (ROWS, UNITS)
        edited = probe.record(model, x, edits=[probe.clamp("state", 0.0, steps=AT)])
        torch.testing.assert_close(edited.output, model(x, AT))


class Pair(nn.Module):
    """Returns a tuple, and was given a list at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(INPUTS + UNITS, 4 * UNITS)

    def forward(self, x: Tensor, state: Any) -> Any:
        """Return h and c."""
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


def test_a_list_becomes_a_tuple(x: Tensor) -> None:
    """Its parts are those of the tuple that comes back."""
    model = Looped(Pair(), lambda x: [x.new_zeros(len(x), UNITS), x.new_zeros(len(x), UNITS)])
    cell = model.cell
    state, states = model.begin(x), []
    for step in range(TIME):
        state = cell(x[:, step], state)
        states.append(state[1])
    model.forward = lambda x: _last(cell, model.begin(x), x)  # pyright: ignore
    torch.testing.assert_close(probe.record(model, x)["state[1]"], torch.stack(states, 1))


def _last(cell: nn.Module, state: Any, x: Tensor) -> Tensor:
    for now in x.unbind(1):
        state = cell(now, state)
    return state[0]


def euler(h: Tensor, change: Tensor, _: Tensor) -> Tensor:
    """Return h + dt f(x, h)."""
    return h + 0.2 * change


def gated(h: Tensor, z: Tensor, x: Tensor) -> Tensor:
    """Return what a gate makes of a state and an input."""
    return z * h + (1 - z) * x.sum(1, keepdim=True)


@pytest.mark.parametrize("follow", [euler, gated])
def test_what_is_no_state_is_said_to_be_none(follow: Callable[..., Tensor], x: Tensor) -> None:
    """What the cell returns is not what the next step reads: a sentence says so."""
    model = Looped(Cell(), FIRST["all rows"], follow)
    with warned():
        _ = probe.record(model, x)


@pytest.mark.parametrize(
    "follow",
    [
        lambda h, new, x: new * (torch.arange(len(x)) > 0).float()[:, None],
        lambda h, new, x: torch.where(torch.arange(len(x))[:, None] > 1, torch.zeros_like(new), new),
        lambda h, new, x: nn.functional.layer_norm(new, (UNITS,)),
        lambda h, new, x: new.clamp(-0.5, 0.5),
        lambda h, new, x: new.detach().clone(),
    ],
)
def test_masks_norms_and_copies_are_said_nothing_of(follow: Callable[..., Tensor], x: Tensor) -> None:
    """pytest makes an error of every warning here."""
    (part,) = probe.record(Looped(Cell(), FIRST["all rows"], follow), x).parts
    assert part.signals[probe.Signal("state")].shape == (ROWS, TIME, UNITS)


class LookAhead(Looped):
    """Calls the cell a second time from each state, and throws that away."""

    def forward(self, x: Tensor, zero: int | None = None) -> Tensor:
        """Return all states."""
        h, states = self.begin(x), []
        for step in range(x.shape[1]):
            new = self.cell(x[:, step], h)
            _ = self.cell(torch.zeros_like(x[:, step]), h)
            h = new
            states.append(h)
        return torch.stack(states, 1)


@pytest.mark.parametrize("cell", [Cell(), nn.RNNCell(INPUTS, UNITS)])
def test_a_branch_is_no_step_of_the_sequence(cell: nn.Module, x: Tensor) -> None:
    """The main sequence has its steps, branches stand alone with a sentence, and steps cannot be named."""
    model = LookAhead(cell, lambda x: x.new_ones(len(x), UNITS))
    signal = "hidden_state" if isinstance(cell, nn.RNNCell) else "state"
    with warned():
        recording = probe.record(model, x)
    longest = max(recording.parts, key=lambda part: part.signals[probe.Signal(signal)].shape[1])
    torch.testing.assert_close(longest.signals[probe.Signal(signal)], model(x))
    with refused():
        _ = probe.record(model, x, edits=[probe.clamp(signal, 0.0, steps=AT)])


class Spiking(nn.Module):
    """Reads (mem, spk) and returns (spk, mem)."""

    def __init__(self) -> None:
        super().__init__()
        self.x2h = nn.Linear(INPUTS, UNITS)

    def forward(self, x: Tensor, mem: Tensor, spk: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and potentials."""
        mem = 0.9 * mem * (1 - spk) + 3 * self.x2h(x)
        return (mem > 1).float(), mem


class Spikes(nn.Module):
    """A loop over it."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Spiking()

    def forward(self, x: Tensor, zero: int | None = None) -> Tensor:
        """Return all potentials."""
        mem, spk, found = x.new_full((len(x), UNITS), 0.5), x.new_zeros(len(x), UNITS), []
        for step in range(x.shape[1]):
            spk, mem = self.cell(x[:, step], mem, spk)
            mem = mem * 0 if step == zero else mem
            found.append(mem)
        return torch.stack(found, 1)


def test_swapped_parts_are_refused_and_can_be_said(x: Tensor) -> None:
    """The message is a line that works."""
    model = Spikes()
    with refused():
        _ = probe.record(model, x)
    probe.register(Spiking, state=("mem", "spk"), returns=(1, 0))
    edited = probe.record(model, x, edits=[probe.clamp("state[0]", 0.0, steps=AT)])
    torch.testing.assert_close(edited.output, model(x, AT))


class Readable(Cell):
    """Returns its state first, and an output of the same size."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state and an output."""
        h = super().forward(x, h)
        return h, torch.tanh(self.x2h(x))


class OfReadable(Looped):
    """A loop over it."""

    def forward(self, x: Tensor, zero: int | None = None) -> Tensor:
        """Return all outputs."""
        h, found = self.begin(x), []
        for now in x.unbind(1):
            h, y = self.cell(now, h)
            found.append(y)
        return torch.stack(found, 1)


def test_an_output_taken_for_the_state_is_refused(x: Tensor) -> None:
    """The message is a line that works."""
    model = OfReadable(Readable(), FIRST["all rows"])
    with refused():
        _ = probe.record(model, x)
    probe.register(Readable, state="h", returns=0)
    assert probe.record(model, x)["state"].shape == (ROWS, TIME, UNITS)


class Chunked(nn.Module):
    """Loops over the steps that it is given itself."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(INPUTS + UNITS, UNITS)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return all states and the last one."""
        states = []
        for now in x.unbind(1):
            h = torch.tanh(self.cell(torch.cat([now, h], 1)))
            states.append(h)
        return torch.stack(states, 1), h


class InChunks(nn.Module):
    """Gives it two steps at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Chunked()

    def forward(self, x: Tensor) -> Tensor:
        """Return all states."""
        h, found = x.new_zeros(len(x), UNITS), []
        for chunk in x.split(2, 1):
            y, h = self.layer(chunk, h)
            found.append(y)
        return torch.cat(found, 1)


def test_a_layer_of_several_steps_a_call_is_refused(x: Tensor) -> None:
    """A step would be a chunk."""
    with refused():
        _ = probe.record(InChunks(), x)


class Counting(Cell):
    """Counts its steps in its state."""

    def forward(self, x: Tensor, h: Any) -> Any:
        """Return the state and the count."""
        return super().forward(x, h[0]), h[1] + 1


class Turned(nn.Module):
    """Has the batch last in its state."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(UNITS, UNITS + INPUTS))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return (unit, batch)."""
        return torch.tanh(self.w @ torch.cat([h, x.T]))


def test_states_without_rows_are_refused(x: Tensor) -> None:
    """A count, and a batch that stands last."""
    counting = Looped(Counting(), lambda x: (x.new_zeros(len(x), UNITS), torch.tensor(0)), lambda h, new, x: new)
    counting.forward = lambda x: _last(counting.cell, counting.begin(x), x)  # pyright: ignore
    with refused():
        _ = probe.record(counting, x)
    probe.register(Turned, state="h")
    with refused():
        _ = probe.record(Looped(Turned(), lambda x: x.new_zeros(UNITS, len(x))), x)


class Mapped(Looped):
    """Runs its cell by torch.vmap."""

    def forward(self, x: Tensor, zero: int | None = None) -> Tensor:
        """Return the last state."""
        h = self.begin(x)
        for now in x.unbind(1):
            h = torch.vmap(self.cell)(now, h)
        return h


def test_a_transform_is_refused_by_name(x: Tensor) -> None:
    """Tensors carry more than numbers there."""
    with refused():
        _ = probe.record(Mapped(Cell(), FIRST["all rows"]), x)


class Answering(nn.Module):
    """Begins with torch.zeros, as people write it, and answers a number."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = Cell(1), nn.Linear(UNITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a sequence."""
        h = torch.zeros(len(x), UNITS)
        for now in x.unbind(1):
            h = self.cell(now, h)
        return self.out(h)[:, 0]


def test_a_study_runs_in_float64_what_begins_with_torch_zeros(tmp_path: Any) -> None:
    """The default type is float64 while a copy runs, and what it was afterwards."""
    bits = np.array(list(itertools.product([0.0, 1.0], repeat=6)), dtype=np.float32)[:, :, None]
    readout = probe.Readout("ones", output=(torch.round, lambda y: y))
    questions = ["interchange", "fixed-points"]
    study = probe.Study(
        Answering(), bits, {"ones": lambda one: one[:, 0].cumsum()}, readout=readout, questions=questions
    )
    _ = study.run(tmp_path / "page")
    assert sorted(path.name for path in (tmp_path / "page" / "findings").iterdir()) >= ["fixed-points", "interchange"]
    assert torch.get_default_dtype() == torch.float32


class Beside(nn.Module):
    """A cell beside a layer of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.cell = nn.GRU(INPUTS, INPUTS, batch_first=True), Cell()

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state."""
        h = x.new_zeros(len(x), UNITS)
        for now in self.gru(x)[0].unbind(1):
            h = self.cell(now, h)
        return h


def test_a_cell_beside_layers_of_torch_is_named(x: Tensor) -> None:
    """The message says how it is opened."""
    with refused():
        _ = probe.record(Beside(), x, layers=["cell"])
    probe.register(Cell, state="h")
    assert probe.record(Beside(), x)["cell", "state"].shape == (ROWS, TIME, UNITS)
