"""Cells that a model calls in a Python loop: their calls make sequences, recorded and edited step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from comparing import distance, same
from refusing import refused, warned
from torch import Tensor, nn

import probe
from probe import Signal

INPUTS, UNITS, BATCH, TIME = 3, 4, 2, 5
KINDS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
FUSED = {nn.LSTMCell: nn.LSTM, nn.GRUCell: nn.GRU, nn.RNNCell: nn.RNN}


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

    def __init__(self, kind: Callable[..., nn.Module] = nn.LSTMCell, **options: Any) -> None:
        super().__init__()
        self.cell = kind(INPUTS, UNITS, dtype=torch.float64, **options)
        self.hand_on: Callable[[Tensor], Tensor] = lambda state: state

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


def fused(cell: Any) -> nn.RNNBase:
    """Return torch's fused module with a cell's weights."""
    kind = next(kind for kind in KINDS if isinstance(cell, kind))
    options = {"nonlinearity": cell.nonlinearity} if kind is nn.RNNCell else {}
    module = FUSED[kind](INPUTS, UNITS, bias=cell.bias, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, value in cell.named_parameters():
            _ = module.get_parameter(f"{name}_l0").copy_(value)
    return module


@pytest.mark.parametrize("options", [{}, {"bias": False}])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_is_one_sequence(kind: Any, given: bool, options: dict[str, Any], steps: Tensor) -> None:
    """Signals and edits of a cell in a loop are those of torch's fused module with its weights, at all steps."""
    model = Loop(kind, **options)
    module = fused(model.cell)
    h = torch.randn(BATCH, UNITS, dtype=torch.float64)
    state: Any = h if given else None
    wide: Any = h.unsqueeze(0) if given else None
    if given and kind is nn.LSTMCell:
        state, wide = (h, h.flip(0)), (h.unsqueeze(0), h.flip(0).unsqueeze(0))
    edit = probe.edit("hidden_state", lambda value, site: -value if site.steps == (2,) else value + 0.5, steps=[2, 3])
    for edits in ([], [edit]):
        found = probe.record(model, steps, state, signals=Signal, edits=edits)
        expected = probe.record(module, steps, wide, signals=Signal, edits=edits)
        assert found.calls == {"cell": 1}
        for signal, value in expected.parts[0].signals.items():
            assert distance(found[signal], value) < 1e-14
        assert distance(found.output, expected.output[0]) < 1e-14
        assert distance(found.initial[Signal.HIDDEN_STATE], expected.initial[Signal.HIDDEN_STATE]) == 0
        if not edits:
            assert same(found.output, model(steps, state))
    assert distance(found.output[2], model(steps, state)[2]) > 1e-3


def test_a_rectified_cell_is_recorded(steps: Tensor) -> None:
    """The cell's own nonlinearity is followed, through states that are zero too."""
    model = Loop(nn.RNNCell, nonlinearity="relu")
    recording = probe.record(model, steps, signals=Signal)
    assert recording.calls == {"cell": 1}
    expected = recording["hidden_state_preactivation"].clamp(min=0)
    assert distance(recording["hidden_state"], expected) < 1e-15
    assert bool((recording["hidden_state"] == 0).any())


def from_nowhere(state: Tensor) -> Tensor:
    """Return half of a state, by way of numpy, where nobody sees it."""
    return torch.as_tensor(state.detach().numpy() * 0.5)


@pytest.mark.parametrize("hand_on", [torch.clone, torch.detach, lambda state: state + 0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_known_by_its_value(kind: Any, hand_on: Any, steps: Tensor) -> None:
    """A copied, detached or scaled state goes on with its sequence; one from nowhere stands alone, with a warning."""
    model = Loop(kind)
    alone = probe.record(model, steps)["hidden_state"]
    model.hand_on = hand_on
    recording = probe.record(model, steps)
    assert recording.calls == {"cell": 1}
    assert torch.equal(recording["hidden_state"], alone)
    model.hand_on = lambda state: state * 0.5
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
    model = Loop(nn.GRUCell)
    model.hand_on = from_nowhere
    edit = probe.clamp("hidden_state", 1.0, **where)
    with refused(), probe.intervene(model, edit):
        model(steps)
    for call in (
        lambda: probe.record(model, steps, edits=[edit]),
        lambda: probe.sweep(model, steps, edits=[edit, edit], batch_axis=1),
    ):
        with refused():
            call()
    everywhere = probe.clamp("update_gate", 0.5)
    with warned(), probe.intervene(model, everywhere):
        found = model(steps)
    with torch.no_grad():
        h, expected = steps.new_zeros(BATCH, UNITS), []
        for x in steps:
            W, U, b_x, b_h = model.cell.parameters()
            i, r = x @ W.T + b_x, h @ U.T + b_h
            reset = torch.sigmoid(i[:, :UNITS] + r[:, :UNITS])
            h = 0.5 * (0.5 * torch.tanh(i[:, 2 * UNITS :] + reset * r[:, 2 * UNITS :]) + 0.5 * h)
            expected.append(h)
    assert distance(found, torch.stack(expected)) < 1e-12


def test_a_zero_or_absent_state_starts_a_new_sequence(steps: Tensor) -> None:
    """Two loops over one cell are two calls, whether the second begins with nothing or with zeros."""

    class Twice(Loop):
        def forward(self, x: Tensor, state: Any = None) -> Any:
            return super().forward(x), super().forward(x.flip(0), state)

    for state in (None, torch.zeros(BATCH, UNITS, dtype=torch.float64)):
        recording = probe.record(Twice(nn.GRUCell), steps, state)
        assert recording.calls == {"cell": 2}
        for number in (0, 1):
            assert torch.equal(recording.call(number)["hidden_state"].transpose(0, 1), recording.output[number])


class Interleaved(nn.Module):
    """One cell that reads two sequences at once, a step of each in turn."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.cell = kind(INPUTS, UNITS, dtype=torch.float64)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Any, Any]:
        """Return the last states of both."""
        one = two = None
        for a, b in zip(x, y, strict=True):
            one = self.cell(a, one)
            two = self.cell(b, two)
        return one, two


@pytest.mark.parametrize("kind", KINDS)
def test_two_interleaved_sequences_are_told_apart(kind: Any, steps: Tensor) -> None:
    """Each has the values that it has alone, also when both begin alike; an edit of one call leaves the other."""
    model, other = Interleaved(kind), steps.clone()
    other[2:] = steps.flip(0)[2:]
    loop = Loop(kind)
    loop.cell = model.cell
    recording = probe.record(model, steps, other)
    assert recording.calls == {"cell": 2}
    for number, x in enumerate((steps, other)):
        assert torch.equal(recording.call(number)["hidden_state"], probe.record(loop, x)["hidden_state"])
    edit = probe.ablate("hidden_state", steps=1, call=1)
    run = probe.record(model, steps, other, edits=[edit])
    assert torch.equal(run.call(0)["hidden_state"], recording.call(0)["hidden_state"])
    assert bool((run.call(1)["hidden_state"][:, 1] == 0).all())
    assert distance(run.call(1)["hidden_state"][:, 2], recording.call(1)["hidden_state"][:, 2]) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_nested_contexts_around_a_loop_act_in_one_run(kind: Any, steps: Tensor) -> None:
    """Edits of two contexts and a recording inside equal one context with both; passes do not run into each other."""
    model = Loop(kind)
    gate = {nn.LSTMCell: "forget_gate", nn.GRUCell: "update_gate", nn.RNNCell: "hidden_state_preactivation"}[kind]
    outer = probe.clamp(gate, 0.25, steps=[1, 3], units=[0, 2])
    inner = probe.steer("hidden_state", [1.0, -1.0], units=[1, 2], steps=[1, 2])
    expected = probe.record(model, steps, edits=[outer, inner], signals=Signal)
    with probe.intervene(model, outer), probe.intervene(model, inner):
        runs = [probe.record(model, steps, signals=Signal) for _ in range(2)]
        bare = model(steps)
    with probe.intervene(model, outer), probe.watch(model) as watched, probe.intervene(model, inner):
        _ = [model(steps) for _ in range(2)]
    for run in runs:
        assert run.calls == {"cell": 1}
        assert run.parts[0].call == 0
        for signal, value in expected.parts[0].signals.items():
            assert torch.equal(run[signal], value)
    assert torch.equal(bare, expected.output)
    assert [one.parts[0].call for one in watched] == [0, 0]
    assert not torch.equal(expected.output, model(steps))
    # A context that watches from between the two sees what the model saw.
    assert torch.equal(watched[1]["hidden_state"].transpose(0, 1), expected.output)


def test_a_state_from_elsewhere_begins_each_pass_without_a_warning(steps: Tensor) -> None:
    """A decoder that starts from its encoder's state is one sequence a forward pass, under edits and nesting too."""

    class Translator(Loop):
        def __init__(self) -> None:
            super().__init__(nn.GRUCell)
            self.encoder = nn.GRU(INPUTS, UNITS, dtype=torch.float64)

        def forward(self, x: Tensor, state: Any = None) -> Tensor:
            return super().forward(x, self.encoder(x)[1][0])

    model = Translator()
    edit = probe.clamp("update_gate", 0.5, layer="cell", steps=1)
    with probe.intervene(model, edit):
        runs = [probe.record(model, steps) for _ in range(2)]
        with probe.watch(model) as watched:
            _ = [model(steps) for _ in range(2)]
    assert [run.calls for run in (*runs, *watched)] == [{"encoder[0]": 1, "cell": 1}] * 4
    assert all(torch.equal(run.output, runs[0].output) for run in (*runs, *watched))
    assert not torch.equal(runs[0].output, model(steps))
    # An edit inside the encoder reaches the decoder through the state that is handed over.
    deeper = probe.record(model, steps, edits=[probe.ablate("hidden_state", layer="encoder[0]", steps=2)])
    assert (
        distance(deeper["cell", "hidden_state"][:, 0], probe.record(model, steps)["cell", "hidden_state"][:, 0])
        > 1e-3
    )


def test_a_context_around_a_part_counts_within_the_whole_pass(steps: Tensor) -> None:
    """Watching a part that a model calls twice leaves an edit of the second call its number."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Loop(nn.GRUCell)

        def forward(self, x: Tensor) -> Tensor:
            return self.part(x) + self.part(x.flip(0))

    model = Twice()
    edit = probe.clamp("update_gate", 0.5, layer="part.cell", steps=1, call=1)
    expected = probe.record(model, steps, edits=[edit]).output
    with torch.no_grad(), probe.intervene(model, edit), probe.watch(model.part) as parts:
        assert torch.equal(model(steps), expected)
    assert len(parts) == 2
    assert not torch.equal(expected, model(steps))


@pytest.mark.parametrize("at", [[TIME], [1, TIME + 2]])
def test_a_step_that_never_comes_raises(at: list[int], steps: Tensor) -> None:
    """An edit of a step beyond the loop is no silent nothing, in a model and in a bare loop."""
    model = Loop(nn.GRUCell)
    edit = probe.clamp("update_gate", 0.5, steps=at)
    with refused():
        _ = probe.record(model, steps, edits=[edit])
    loop = Loop()  # whose forward is the caller's own loop here: nobody follows a pass of it
    loop.cell = model.cell
    with refused(), probe.intervene(model.cell, edit):
        _ = loop(steps)
    assert not model.cell._forward_hooks
    with refused(), probe.intervene(model.cell, edit):
        pass
    with refused():
        _ = probe.record(model, steps, edits=[probe.clamp("update_gate", 0.5, steps=-1)])


def test_a_bare_cell_is_recorded_and_edited_in_the_callers_loop(steps: Tensor) -> None:
    """A loop in the caller's own code is a sequence for edits; watching keeps a recording a call."""
    cell = nn.LSTMCell(INPUTS, UNITS, dtype=torch.float64)
    model = Loop()
    model.cell = cell
    edit = probe.ablate("cell_state", steps=2, units=[0])
    expected = probe.record(model, steps, edits=[edit])
    with probe.intervene(cell, edit), probe.watch(cell) as recordings:
        state = None
        for step in steps:
            state = cell(step, state)
    assert len(recordings) == TIME
    cells = torch.cat([one["cell_state"] for one in recordings], dim=1)
    assert torch.equal(cells, expected["cell_state"])
    assert state is not None
    assert torch.equal(state[0], expected.output[-1])
    one = probe.record(cell, steps[0])
    assert torch.equal(one["hidden_state"][:, 0], one.output[0])
    for _ in range(2):  # a context counts from 0, whatever an earlier one has seen
        with probe.intervene(cell, probe.ablate("cell_state", steps=2, units=[0], call=0)), torch.no_grad():
            assert torch.equal(model(steps), expected.output)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unbatched_cell_is_a_batch_of_one(kind: Any, steps: Tensor) -> None:
    """A loop without a batch axis gives that row's numbers, and an edited state keeps its shape."""
    model = Loop(kind)
    edits = [probe.ablate("hidden_state", steps=1, units=[2])]
    choices: list[dict[str, Any]] = [{}, {"edits": edits}]
    for options in choices:
        one, all_rows = probe.record(model, steps[:, 0], **options), probe.record(model, steps, **options)
        assert one.calls == {"cell": 1}
        assert one["hidden_state"].shape == (1, TIME, UNITS)
        assert distance(one["hidden_state"], all_rows["hidden_state"][:1]) < 1e-15
        assert one.output.shape == (TIME, UNITS)
    edited = probe.record(model, steps[:, 0], edits=edits)
    assert bool((edited["hidden_state"][:, 1, 2] == 0).all())


def test_steps_of_a_loop_can_be_chosen(steps: Tensor) -> None:
    """steps= keeps those steps of a loop, counted from both ends; one beyond it raises."""
    model = Loop(nn.RNNCell)
    everything = probe.record(model, steps)["hidden_state"]
    assert torch.equal(probe.record(model, steps, steps=[3, -1])["hidden_state"], everything[:, [3, 4]])
    with refused():
        _ = probe.record(model, steps, steps=[5])
    free = probe.record(model, steps, check=False)
    assert distance(free["hidden_state"], everything) < 1e-15
    assert "forward" not in vars(model.cell)


def test_a_patch_moves_a_loops_state(steps: Tensor) -> None:
    """The whole state of another run at a step makes the rest of the loop that run's continuation."""
    model = Loop()
    source = probe.record(model, steps.flip(0))
    edits = [probe.patch(signal, source, steps=2) for signal in ("cell_state", "hidden_state")]
    joined = torch.cat([steps.flip(0)[:3], steps[3:]])
    assert distance(probe.record(model, steps, edits=edits).output[2:], model(joined)[2:]) < 1e-15
    several = probe.record(model, steps, edits=[probe.patch("cell_state", source, steps=[3, 1])])
    assert torch.equal(several["cell_state"][:, [3, 1]], source["cell_state"][:, [3, 1]])
    own = probe.record(model, steps)
    back = probe.record(model, steps, edits=[probe.patch("cell_state", own), probe.patch("input_gate", own, steps=1)])
    assert torch.equal(back.output, own.output)
    with refused():
        _ = probe.record(model, torch.cat([steps, steps]), edits=[probe.patch("cell_state", own)])
