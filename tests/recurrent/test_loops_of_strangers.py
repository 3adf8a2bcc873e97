"""Loops in which the state is not where its shapes say: read as they are, or refused with what to do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from bodies import Model
from cells_by_hand import FEATURES, UNITS, Leaky, LikeTorch, Loop
from refusing import refused, warned
from torch import Tensor, nn

import probe
from probe.recurrent.global_state import in_float64

ROWS, TIME, AT = 3, 8, 4


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, feature)."""
    return torch.randn(ROWS, TIME, FEATURES)


def zeros(x: Tensor) -> Tensor:
    """Return the state before the first step."""
    return x.new_zeros(len(x), UNITS)


def looped(way: Callable[..., Any], cell: nn.Module, begin: Callable[[Tensor], Any] = zeros) -> Loop:
    """Return a loop that calls its cell in a way of its own, which gives an output and the next state."""
    model = Loop(cell, begin)
    vars(model)["called"] = lambda x, state, step: way(cell, x, state, step)
    return model


@pytest.mark.parametrize(
    "follow", [lambda h, change, x: h + 0.2 * change, lambda h, z, x: z * h + (1 - z) * x.sum(1, keepdim=True)]
)
def test_what_is_no_state_is_said_to_be_none(follow: Any, x: Tensor) -> None:
    """What the cell returns is not what the next step reads: a sentence says so."""
    model = looped(lambda cell, x, h, _: (follow(h, cell(x, h), x),) * 2, Leaky())
    with warned():
        _ = probe.record(model, x)


def test_a_branch_is_no_step_of_the_sequence(x: Tensor) -> None:
    """The main sequence has its steps, branches stand alone with a sentence, and steps cannot be named."""

    def ahead(cell: Any, x: Tensor, state: Any, _: int) -> Any:
        new = cell(x, state)
        _ = cell(torch.zeros_like(x), state)
        return new, new

    for cell, signal in ((Leaky(), "state"), (nn.RNNCell(FEATURES, UNITS), "hidden_state")):
        model = looped(ahead, cell, lambda x: x.new_ones(len(x), UNITS))
        with warned():
            recording = probe.record(model, x)
        longest = max((part.signals[probe.Signal(signal)] for part in recording.parts), key=lambda one: one.shape[1])
        torch.testing.assert_close(longest, model(x))
        with refused():
            _ = probe.record(model, x, edits=[probe.clamp(signal, 0.0, steps=AT)])


class _Spiking(Leaky):
    """Reads (mem, spk) and returns (spk, mem)."""

    def forward(self, x: Tensor, mem: Tensor, spk: Tensor) -> Any:  # pyright: ignore
        mem = 0.9 * mem * (1 - spk) + 3 * self.enters(x)
        return (mem > 1).float(), mem


def test_swapped_parts_are_refused_and_can_be_said(x: Tensor) -> None:
    """The message is a line that works."""
    zeroed: set[int] = set()

    def way(cell: Any, x: Tensor, state: Any, step: int) -> Any:
        spk, mem = cell(x, *state)
        mem = mem * 0 if step in zeroed else mem
        return mem, (mem, spk)

    model = looped(way, _Spiking(), lambda x: (x.new_full((len(x), UNITS), 0.5), zeros(x)))
    with refused():
        _ = probe.record(model, x)
    probe.register(_Spiking, state=("mem", "spk"), returns=(1, 0))
    edited = probe.record(model, x, edits=[probe.clamp("state[0]", 0.0, steps=AT)])
    zeroed.add(AT)
    torch.testing.assert_close(edited.output, model(x))


class _Readable(Leaky):
    """Returns its state first, and an output of the same size."""

    def forward(self, x: Tensor, h: Any) -> Any:
        return super().forward(x, h), torch.tanh(self.enters(x))


class _Turned(Leaky):
    """Has its state first."""

    def forward(self, h: Tensor, x: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x, h)


class _Guided(Leaky):
    """Reads a context of its state's shape, and returns an output too."""

    def forward(self, x: Tensor, h: Tensor, context: Tensor) -> Any:  # pyright: ignore
        h = super().forward(x, h + 0.1 * context)
        return 2 * h, h


class _Maskable(Leaky):
    """May be called without a state and without a mask, and returns an output of its state's shape."""

    def forward(self, x: Tensor, h: Any = None, mask: Tensor | None = None) -> Any:
        h = zeros(x) if h is None else h
        h = super().forward(x, h if mask is None else h * mask)
        return 2 * h, h


def _intervened(model: nn.Module, x: Tensor, edits: Any) -> Tensor:
    with probe.intervene(model, *edits):
        return model(x)


@pytest.mark.filterwarnings("ignore:Cell 'cell' was called with a state:UserWarning")
@pytest.mark.parametrize(
    ("way", "cell", "said"),
    [
        (lambda cell, x, state, _: cell(x, state)[::-1], _Readable, {"returns": 0}),
        (lambda cell, x, state, _: (cell(state, x),) * 2, _Turned, {}),
        (lambda cell, x, state, _: (cell(x, state, torch.ones_like(state))[1],) * 2, _Guided, {"returns": 1}),
        (lambda cell, x, state, step: (cell(x, state if step else None)[1],) * 2, _Maskable, {"returns": 1}),
    ],
    ids=["an output of the same size", "a state that stands first", "a context of its shape", "a mask left out"],
)
@pytest.mark.parametrize("run", [probe.record, probe.sweep, _intervened])
def test_a_state_that_cannot_be_told_is_refused_until_it_is_said(
    way: Any, cell: Any, said: Any, run: Any, x: Tensor
) -> None:
    """An output beside it, a state that stands first, a context of its shape, and a mask that may be left out."""
    model = looped(way, cell())
    part = "state[1]" if cell in (_Guided, _Maskable) else "state"
    with refused():
        _ = run(model, x, edits=[probe.clamp(part, 0.5, steps=0)])
    probe.register(cell, state="h", **said)
    recording = probe.record(model, x)
    assert recording["state"].shape == (ROWS, TIME, UNITS)
    assert cell is _Readable or torch.equal(recording["state"], recording.output)


class _Keeping(Leaky):
    """Keeps its states on itself, too."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[Tensor] = []

    def forward(self, x: Tensor, h: Any) -> Any:
        h = super().forward(x, h)
        self.last, self.trace = h.detach(), [*self.trace, h]
        return h, h


@pytest.mark.filterwarnings("ignore:The run changed:UserWarning")
@pytest.mark.parametrize("run", [probe.record, probe.sweep, _intervened])
def test_a_state_that_is_read_where_the_cell_keeps_it_is_not_edited(run: Any, x: Tensor) -> None:
    """An edit changes what the cell returns, and a head that reads what it keeps would pass over that."""
    edit = probe.clamp("state", 0.5, steps=TIME - 1)
    for read, is_returned in (
        (lambda cell, h: h, True),
        (lambda cell, h: cell.last, False),
        (lambda cell, h: torch.stack(cell.trace, 1), False),
    ):

        def loop(model: Any, x: Tensor, read: Any = read) -> Tensor:
            h = zeros(x)
            for now in x.unbind(1):
                _, h = model.cell(now, h)
            return model.head(read(model.cell, h))

        with nullcontext() if is_returned else refused():
            _ = run(Model(loop, cell=_Keeping(), head=nn.Linear(UNITS, 2)), x, edits=[edit])


class _KeepingMemory(LikeTorch):
    """Keeps a part of its state on itself, too."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        h, (_, self.c) = super().forward(x, state)
        return h, (h, self.c)


@pytest.mark.filterwarnings("ignore:The run changed:UserWarning")
@pytest.mark.parametrize("run", [probe.record, probe.sweep, _intervened])
def test_a_part_that_an_edit_leaves_may_be_read_where_the_cell_keeps_it(run: Any, x: Tensor) -> None:
    """What stands there is what the step made: an edit of the other part moves it from the next step on."""

    def loop(model: Any, x: Tensor) -> Tensor:
        state, read = (x.new_zeros(ROWS, 4), x.new_zeros(ROWS, 4)), []
        for now in x.unbind(1):
            _, state = model.cell(now, state)
            read.append(model.cell.c)
        return torch.stack(read, 1)

    model = Model(loop, cell=_KeepingMemory())
    plain, found = model(x), run(model, x, edits=[probe.clamp("state[0]", 0.5, steps=AT)])
    output = found.output if run is probe.record else found
    moved = (output.reshape(plain.shape) != plain).any(-1).any(0)
    assert moved.tolist() == [step > AT for step in range(TIME)]
    with refused():
        _ = run(model, x, edits=[probe.clamp("state[1]", 0.5, steps=AT)])


class _Chunked(Leaky):
    """Loops over the steps that it is given itself."""

    def forward(self, x: Tensor, h: Any) -> Any:
        states = []
        for now in x.unbind(1):
            h = super().forward(now, h)
            states.append(h)
        return torch.stack(states, 1), h


def _in_chunks(m: Any, x: Tensor) -> Tensor:
    h = zeros(x)
    for chunk in x.split(2, 1):
        _, h = m.layer(chunk, h)
    return h


class _Counting(Leaky):
    """Counts its steps in its state."""

    def forward(self, x: Tensor, h: Any) -> Any:
        return super().forward(x, h[0]), h[1] + 1


class _BatchLast(Leaky):
    """Has the batch last in its state."""

    def forward(self, x: Tensor, h: Tensor) -> Any:
        return super().forward(x, h.T).T


def test_states_without_rows_chunks_and_transforms_are_refused(x: Tensor) -> None:
    """A step would be a chunk; a count, and a batch that stands last; tensors that carry more than numbers."""
    probe.register(_BatchLast, state="h")
    for model in (
        Model(_in_chunks, layer=_Chunked()),
        Loop(_Counting(), lambda x: (zeros(x), torch.tensor(0))),
        Loop(_BatchLast(), lambda x: zeros(x).T),
        looped(lambda cell, x, state, _: (torch.vmap(cell)(x, state),) * 2, Leaky()),
    ):
        with refused():
            _ = probe.record(model, x)


def test_a_copy_in_float64_begins_with_torch_zeros_of_its_type(x: Tensor) -> None:
    """The default type is float64 while it runs, which studies do, and what it was afterwards, after an error too."""
    copied = in_float64(Loop(Leaky()))
    assert probe.record(copied, x.double())["state"].dtype == torch.float64
    with pytest.raises(RuntimeError):
        copied(x[..., 1:].double())
    assert torch.get_default_dtype() == torch.float32


def test_a_cell_beside_layers_of_torch_is_named(x: Tensor) -> None:
    """The message says how it is opened."""
    gru = nn.GRU(FEATURES, FEATURES, batch_first=True)
    model = Model(lambda m, x: m.loop(m.gru(x)[0]), gru=gru, loop=Loop(Leaky()))
    with refused():
        _ = probe.record(model, x, layer=["loop.cell"])
    probe.register(Leaky, state="h")
    assert probe.record(model, x)["loop.cell", "state"].shape == (ROWS, TIME, UNITS)


class _Neuron(nn.Module):
    """A neuron as snntorch writes it: it keeps its membrane, begins with none, and with zeros of the last batch."""

    kept: Tensor

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


#: A neuron keeps its membrane on the module, which every run puts back.
@pytest.mark.filterwarnings("ignore:The run changed model")
@pytest.mark.parametrize("said", [False, True])
def test_a_tensor_without_elements_is_no_state(said: bool) -> None:
    """Recorded, edited and swept as the loop itself, registered or not, also with another number of rows after it."""
    changed: list[int] = []

    def emptied(_: Tensor) -> tuple[Tensor, ...]:
        neuron.kept = torch.zeros_like(neuron.kept)
        return neuron.kept, neuron.kept

    def way(cell: Any, x: Tensor, state: Any, step: int) -> Any:
        state = [*cell(x, *state)]
        for place in changed if step == AT else ():
            state[place] = torch.full_like(state[place], 0.3)
        return state[-1], tuple(state)

    neuron = _Neuron()
    model = looped(way, neuron, emptied).eval()
    if said:
        probe.register(_Neuron, state=("spike", "membrane"), returns=(0, 1))
    for rows in (4, 7):
        x = 2 * torch.randn(rows, TIME, FEATURES)
        recording = probe.record(model, x)
        with torch.no_grad():
            assert torch.equal(recording.output, model(x))
        states = [signal for signal in recording.parts[0].signals if signal != "output"]
        assert len(states) == 2
        for place, signal in enumerate(states):
            assert recording["cell", signal].shape == (rows, TIME, UNITS)
            assert not bool(recording.initial[signal].any())
            edit = probe.clamp(signal, 0.3, steps=AT)
            found = probe.record(model, x, edits=[edit]).output, probe.sweep(model, x, edits=[edit])[0]
            changed.append(place)
            with torch.no_grad():
                wanted = model(x)
            changed.clear()
            assert all(torch.equal(one, wanted) for one in found)


class _Learned(Leaky):
    """Begins with a state that it has learned, and keeps count of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.calls = nn.Parameter(torch.ones(UNITS)), 0

    def forward(self, x: Tensor, h: Any = None) -> Any:
        self.calls += 1
        return super().forward(x, self.first.expand(len(x), -1) if h is None else h)


def test_what_a_state_of_none_stands_for(x: Tensor) -> None:
    """Zeros where the cell computes what it computes from zeros, and NaN otherwise, with nothing left behind.

    Where the first call brings no state and cannot be tried, its step is not passed over in silence.
    """
    model = Loop(_Learned(), lambda x: None).eval()
    for learned in (False, True):
        nn.init.constant_(model.cell.get_parameter("first"), float(learned))
        vars(model.cell)["calls"], random = 0, torch.get_rng_state()
        initial = probe.record(model, x, layer=["cell"]).initial["state"]
        assert torch.equal(random, torch.get_rng_state())
        assert vars(model.cell)["calls"] == TIME
        assert bool(initial.isnan().all() if learned else (initial == 0).all())
    model = Loop(_Learned(), lambda x: None).eval()
    vars(model.cell)["busy"] = (step for step in range(TIME))  # nobody can copy a generator
    with refused():
        _ = probe.record(model, x, layer=["cell"])


class _Stack(nn.Module):
    """Cells of two layers in one loop, with their states in one tensor: torchrecurrent's layers are written so."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.narrow = nn.ModuleList([Leaky(), Leaky()]), nn.Linear(UNITS, FEATURES)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = x.new_zeros(2, len(x), UNITS) if state is None else state
        outputs = []
        for now in x.unbind(1):
            lower = self.cells[0](now, state[0])
            state = torch.stack([lower, self.cells[1](self.narrow(lower), state[1])])
            outputs.append(state[1])
        return torch.stack(outputs, 1), state


@pytest.mark.parametrize("given", [False, True])
def test_what_runs_cells_in_a_loop_is_no_cell(given: bool, x: Tensor) -> None:
    """A layer that takes and returns states, and loops over cells itself, leaves the recording to its cells."""
    model = Model(lambda m, x: m.rnn(x, torch.rand(2, len(x), UNITS) if given else None)[0], rnn=_Stack()).eval()
    recording = probe.record(model, x)
    assert recording.calls == {"rnn.cells.0": 1, "rnn.cells.1": 1}
    assert torch.allclose(recording["rnn.cells.1", "state"], recording.output, atol=1e-6)
