"""Cells of torch that a model calls in a Python loop: their calls make sequences, edited step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from comparing import distance
from refusing import refused, warned
from torch import Tensor, nn

import probe
from probe import Signal

INPUTS, UNITS, BATCH, TIME = 3, 4, 2, 5
KINDS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
HandOn = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does."""
    with torch.no_grad():
        yield


@pytest.fixture
def steps() -> Tensor:
    """Return inputs, (time, batch, input)."""
    return torch.randn(TIME, BATCH, INPUTS, dtype=torch.float64)


class Loop(nn.Module):
    """A cell in a loop; `hand_on` is done to the state between two calls."""

    def __init__(self, kind: Any = nn.GRUCell, hand_on: HandOn = lambda state: state, **options: Any) -> None:
        super().__init__()
        self.cell = kind(INPUTS, UNITS, dtype=torch.float64, **options)
        self.hand_on = hand_on

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        """Return hidden states, (time, batch, unit)."""
        outputs = []
        for step in x:
            state = self.cell(step) if state is None else self.cell(step, state)
            if isinstance(state, tuple):
                state = (self.hand_on(state[0]), self.hand_on(state[1]))
            else:
                state = self.hand_on(state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs)


def from_nowhere(state: Tensor) -> Tensor:
    """Return half of a state, by way of numpy, where nobody sees it."""
    return torch.as_tensor(state.detach().numpy() * 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_known_by_its_value(kind: Any, steps: Tensor) -> None:
    """A scaled state goes on with its sequence; one from nowhere stands alone, with a warning."""
    model = Loop(kind, lambda state: state * 0.5)
    assert probe.record(model, steps).calls == {"cell": 1}
    model.hand_on = from_nowhere
    with warned():
        recording = probe.record(model, steps)
    assert recording.calls == {"cell": TIME}
    assert all(recording.call(number)["hidden_state"].shape == (BATCH, 1, UNITS) for number in range(TIME))


@pytest.mark.filterwarnings("ignore:Cell 'cell' was called with a state:UserWarning")
@pytest.mark.parametrize("where", [{"steps": 0}, {"call": 0}, {"steps": [0, 2], "units": 1}])
def test_an_edit_that_counts_steps_is_refused_where_nobody_can_count(where: dict[str, Any], steps: Tensor) -> None:
    """A loop whose state leaves torch hands on what no call returned: step 0 would be every step."""
    model, edit = Loop(hand_on=from_nowhere), probe.clamp("hidden_state", 1.0, **where)
    with refused(), probe.intervene(model, edit):
        model(steps)
    with refused():
        probe.record(model, steps, edits=[edit])
    with refused():
        probe.sweep(model, steps, edits=[edit, edit], batch_axis=1)
    h = steps.new_ones(BATCH, UNITS)  # which this gate keeps
    with warned(), probe.intervene(model, probe.clamp("update_gate", 1.0)):
        assert distance(model(steps, h)[-1], h * 0.5**TIME) < 1e-12


@pytest.mark.parametrize("hand_on", [lambda h: h, torch.detach, lambda h: h.view(-1).view(h.shape), torch.clone])
@pytest.mark.parametrize("batched", [True, False])
def test_zero_states_that_are_handed_on_make_one_sequence(hand_on: HandOn, batched: bool, steps: Tensor) -> None:
    """An edit of step 0 acts once, also where every state is zero; new zeros, or zeros in place, are refused."""
    model, x = Loop(nn.RNNCell, hand_on, nonlinearity="relu"), steps if batched else steps[:, 0]
    nn.init.constant_(model.cell.bias_ih, -50.0)
    recording = probe.record(model, x)
    assert recording.calls == {"cell": 1}
    assert not recording["hidden_state"].any()
    seen = []
    edit = probe.edit("hidden_state", lambda value, _: seen.append(1) or value + 1, steps=0)
    probe.record(model, x, edits=[edit])
    assert len(seen) == 1
    for model.hand_on in (torch.zeros_like, lambda h: h.add_(1).zero_()):
        with refused():
            probe.record(model, x)


class Interleaved(Loop):
    """Reads two sequences at once, a step of each in turn, from one state."""

    def forward(self, x: Tensor, y: Tensor, state: Any = None) -> Any:  # pyright: ignore
        """Return the last states of both."""
        one = two = state
        for a, b in zip(x, y, strict=True):
            one, two = self.hand_on(self.cell(a, one)), self.hand_on(self.cell(b, two))
        return one, two


def test_equal_states_of_two_sequences_are_told_apart_by_their_memory_alone(steps: Tensor) -> None:
    """The very tensors, or copies, make two sequences from one state; equal ones from nowhere are nobody's."""
    other, start = steps * torch.tensor([1, 1, -1, 1, -1.0])[:, None, None], steps.new_ones(BATCH, UNITS)
    for hand_on in (lambda h: h, torch.clone):
        recording = probe.record(Interleaved(hand_on=hand_on), steps, other, start)
        assert recording.calls == {"cell": 2}
        assert [recording.call(number)["hidden_state"].shape[1] for number in (0, 1)] == [TIME, TIME]
    with refused():
        probe.record(Interleaved(hand_on=lambda h: torch.as_tensor(h.numpy().copy())), steps, other, start)


class Translator(Loop):
    """Begins with the last state of an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(INPUTS, UNITS, dtype=torch.float64)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        """Return hidden states."""
        return super().forward(x, self.encoder(x)[1][0])


def test_a_state_from_elsewhere_begins_each_pass_without_a_warning(steps: Tensor) -> None:
    """A decoder that starts from its encoder's state is one sequence a forward pass, under edits and nesting too."""
    model = Translator()
    with probe.intervene(model, probe.clamp("update_gate", 0.5, layer="cell", steps=1)):
        runs = [probe.record(model, steps) for _ in range(2)]
        with probe.watch(model) as watched:
            _ = [model(steps) for _ in range(2)]
    assert [run.calls for run in (*runs, *watched)] == [{"encoder[0]": 1, "cell": 1}] * 4
    assert all(torch.equal(run.output, runs[0].output) for run in (*runs, *watched))
    assert not torch.equal(runs[0].output, model(steps))
    # An edit inside the encoder reaches the decoder through the state that is handed over.
    deeper = probe.record(model, steps, edits=[probe.ablate("hidden_state", layer="encoder[0]", steps=2)])
    assert distance(deeper.output[0], model(steps)[0]) > 1e-3


class Twice(nn.Module):
    """Runs a loop twice, the second time from a state."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Loop()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        """Return the hidden states of both."""
        return torch.cat([self.part(x), self.part(x.flip(0), state)])


def test_a_zero_or_absent_state_starts_a_new_sequence(steps: Tensor) -> None:
    """Two loops over one cell are two calls, also for an edit around the model while a part of it is watched."""
    model = Twice()
    for state in (None, torch.zeros(BATCH, UNITS, dtype=torch.float64)):
        recording = probe.record(model, steps, state)
        assert recording.calls == {"part.cell": 2}
        both = torch.cat([recording.call(number)["hidden_state"] for number in (0, 1)], 1)
        assert torch.equal(both.transpose(0, 1), recording.output)
    edit = probe.clamp("update_gate", 0.5, layer="part.cell", steps=1, call=1)
    expected = probe.record(model, steps, edits=[edit]).output
    with probe.intervene(model, edit), probe.watch(model.part) as parts:
        assert torch.equal(model(steps), expected)
    assert len(parts) == 2
    moved = (expected != model(steps)).flatten(1).any(1).tolist()
    assert moved == [False] * (TIME + 1) + [True] * (TIME - 1)


@pytest.mark.parametrize("at", [[TIME], [1, TIME + 2]])
def test_a_step_that_never_comes_raises(at: list[int], steps: Tensor) -> None:
    """An edit of a step beyond the loop is no silent nothing, in a model and in a bare loop."""
    model, loop, edit = Loop(), Loop(), probe.clamp("update_gate", 0.5, steps=at)
    loop.cell = model.cell  # so that its forward is the caller's own loop here: nobody follows a pass of it
    with refused(), probe.intervene(model.cell, edit):
        _ = loop(steps)
    assert not model.cell._forward_hooks
    with refused(), probe.intervene(model.cell, edit):
        pass
    own = probe.record(model, steps)
    longer = torch.cat([steps, steps])
    for x, edits in (
        (steps, [edit]),
        (steps, [probe.clamp("update_gate", 0.5, steps=-1)]),
        (longer, [probe.patch("hidden_state", own)]),
    ):
        with refused():
            _ = probe.record(model, x, edits=edits)
    with refused():
        _ = probe.record(model, steps, steps=[5])
    some = probe.record(model, steps, steps=[3, -1], check=False)
    assert torch.equal(some["hidden_state"], own["hidden_state"][:, [3, 4]])


def test_a_bare_cell_is_recorded_and_edited_in_the_callers_loop(steps: Tensor) -> None:
    """A loop in the caller's own code is a sequence for edits; watching keeps a recording a call, or every third."""
    model = Loop(nn.LSTMCell)
    cell, edit = model.cell, probe.ablate("cell_state", steps=2, units=[0])
    expected, state = probe.record(model, steps, edits=[edit]), None
    with probe.intervene(cell, edit), probe.watch(cell) as recordings, probe.watch(cell, every=3) as some:
        for step in steps:
            state = cell(step, state)
    assert (len(recordings), len(some)) == (TIME, 2)
    assert torch.equal(torch.cat([one["cell_state"] for one in recordings], dim=1), expected["cell_state"])
    assert state is not None
    assert torch.equal(state[0], expected.output[-1])
    one = probe.record(cell, steps[0])
    assert torch.equal(one["hidden_state"][:, 0], one.output[0])
    for _ in range(2):  # a context counts from 0, whatever an earlier one has seen
        with probe.intervene(cell, probe.ablate("cell_state", steps=2, units=[0], call=0)):
            assert torch.equal(model(steps), expected.output)


@pytest.mark.filterwarnings("ignore:The run changed model.h")
def test_an_initial_state_is_what_the_call_was_given(steps: Tensor) -> None:
    """A model that keeps its state in place changes no recording of it."""

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.h = nn.GRU(INPUTS, UNITS).double(), steps.new_ones(1, BATCH, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            output, h = self.rnn(x, self.h)
            self.h.copy_(h)
            return output

    assert bool((probe.record(Keeps(), steps).initial[Signal.HIDDEN_STATE] == 1).all())
