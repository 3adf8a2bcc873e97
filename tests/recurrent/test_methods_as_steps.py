"""A step that is a method which a loop inside forward calls: recorded and edited, against the loop itself."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe.recurrent.finding import find_layers
from probe.recurrent.steps import forms, registry
from probe.recurrent.steps.methods import cell_of, function_of
from probe.recurrent.stepwise import stepwise

FEATURES, UNITS, ROWS, TIME, AT = 3, 5, 4, 7, 2


class CTRNN(nn.Module):
    """A continuous-time network in Euler steps, as tutorials of neuroscience write it."""

    def __init__(self, dt: float = 20.0, tau: float = 100.0) -> None:
        super().__init__()
        self.alpha = dt / tau
        self.input2h, self.h2h = nn.Linear(FEATURES, UNITS), nn.Linear(UNITS, UNITS)

    def init_hidden(self, shape: torch.Size) -> Tensor:
        """Return the first state."""
        return torch.zeros(shape[1], UNITS)

    def recurrence(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return h * (1 - self.alpha) + self.alpha * torch.relu(self.input2h(x) + self.h2h(h))

    def forward(self, x: Tensor, hidden: Any = None) -> tuple[Tensor, Tensor]:
        """Return the states of all steps of (time, batch, feature), and the last one."""
        if hidden is None:
            hidden = self.init_hidden(x.shape).to(x)
        out = []
        for i in range(x.size(0)):
            hidden = self.recurrence(x[i], hidden)
            out.append(hidden)
        return torch.stack(out, 0), hidden


class RNNNet(nn.Module):
    """A network around one."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn, self.fc = rnn, nn.Linear(UNITS, 2)

    def forward(self, x: Tensor) -> Any:
        """Return answers and states, (time, batch, ...)."""
        states, _ = self.rnn(x)
        return self.fc(states), states


class BatchFirst(nn.Module):
    """The same for (batch, time, feature), with answers alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = RNNNet(CTRNN())

    def forward(self, x: Tensor) -> Tensor:
        """Return answers."""
        return self.net(x.transpose(0, 1))[0].transpose(0, 1)


class Pairs(nn.Module):
    """A hand-written LSTM whose step is a method, with the state as a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(FEATURES + UNITS, 4 * UNITS)

    def step(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output and the next state."""
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Return the outputs of (time, batch, feature), and the last state."""
        state, out = (x.new_zeros(x.shape[1], UNITS), x.new_zeros(x.shape[1], UNITS)), []
        for x_t in x:
            h, state = self.step(x_t, state)
            out.append(h)
        return torch.stack(out), state


class StateFirst(CTRNN):
    """The same with the state as the first argument."""

    def advance(self, h: Tensor, x: Tensor) -> Tensor:
        """Return the next state."""
        return super().recurrence(x, h)

    def forward(self, x: Tensor, hidden: Any = None) -> tuple[Tensor, Tensor]:
        """Return what CTRNN returns."""
        hidden, out = x.new_zeros(x.shape[1], UNITS), []
        for x_t in x:
            hidden = self.advance(hidden, x_t)
            out.append(hidden)
        return torch.stack(out), hidden


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (time, batch, feature)."""
    return torch.randn(TIME, ROWS, FEATURES)


@pytest.fixture
def net() -> RNNNet:
    """Return a network with a CTRNN in it."""
    return RNNNet(CTRNN())


@pytest.fixture
def told() -> Iterator[None]:
    """Forget afterwards what a test registers."""
    tables = forms.registered_cells, forms.registered_methods, registry._registered
    before = [dict(table) for table in tables]
    yield
    for table, was in zip(tables, before, strict=True):
        table.clear()
        table.update(was)  # pyright: ignore


@torch.no_grad()
def by_hand(rnn: CTRNN, x: Tensor, at: int = -1, value: float = 0.0) -> Tensor:
    """Return the states of a loop, (batch, time, unit), in which the state after one step is set to a number."""
    h, states = torch.zeros(x.shape[1], UNITS), list[Tensor]()
    for step in range(len(x)):
        h = h * (1 - rnn.alpha) + rnn.alpha * torch.relu(rnn.input2h(x[step]) + rnn.h2h(h))
        h = torch.full_like(h, value) if step == at else h
        states.append(h)
    return torch.stack(states, 1)


def test_the_states_are_those_of_the_loop(net: Any, x: Tensor) -> None:
    """Nobody registers anything; the layer has its module's name, and rows are the batch of what the method gets."""
    recording = probe.record(net, x)
    assert [part.layer for part in recording.parts] == ["rnn"]
    assert torch.equal(recording["state"], by_hand(net.rnn, x))
    assert torch.equal(recording["state"], net(x)[1].transpose(0, 1))
    assert [layer.name for layer in probe.inspect(net.rnn).layers] == ["[0]"]
    assert torch.equal(probe.record(net.rnn, x)["state"], recording["state"])


def test_an_edit_moves_what_follows_it(net: Any, x: Tensor) -> None:
    """And nothing before: as in a loop whose state is overwritten after that step."""
    clean, edited = (probe.record(net, x, edits=e) for e in ([], [probe.clamp("state", 0.5, steps=AT)]))
    wanted = by_hand(net.rnn, x, AT, 0.5)
    assert torch.equal(edited["state"], wanted)
    torch.testing.assert_close(edited.output[0], net.fc(wanted.transpose(0, 1)), rtol=0, atol=1e-6)
    moved = (edited.output[0] != clean.output[0]).flatten(1).any(1)
    assert moved.tolist() == [step >= AT for step in range(TIME)]


def test_a_patch_and_an_ablation_act(net: Any, x: Tensor) -> None:
    """A state is put where another run had it, and a unit is held at 0."""
    source = probe.record(net, x)
    with probe.intervene(net, probe.ablate("state", units=[1])):
        assert not net(x)[1][..., 1].any()
    patched = probe.record(net, x.flip(1), edits=[probe.patch("state", source=source, steps=AT)])
    assert torch.equal(patched["state"][:, AT], source["state"][:, AT])
    assert not torch.equal(patched["state"][:, AT - 1], source["state"][:, AT - 1])


def test_a_sweep_gives_what_each_edit_alone_gives(x: Tensor) -> None:
    """Of a model that reads (batch, time, feature)."""
    model, batch = BatchFirst(), x.transpose(0, 1)
    edits = [probe.clamp("state", 0.5, steps=step) for step in range(TIME)]
    swept = probe.sweep(model, batch, edits=edits)
    for edit, found in zip(edits, swept, strict=True):
        torch.testing.assert_close(found, probe.record(model, batch, edits=[edit]).output)


def test_a_model_stays_as_it_was(net: Any, x: Tensor) -> None:
    """Its weights, modules and text, its class's function, its own method, and what it computes."""
    function = CTRNN.recurrence
    before, keys, text = net(x)[0], list(net.state_dict()), repr(net)
    modules, attributes = list(net.named_modules()), set(vars(net.rnn))
    _ = probe.record(net, x)
    assert (list(net.state_dict()), repr(net), list(net.named_modules())) == (keys, text, modules)
    assert set(vars(net.rnn)) == attributes
    assert CTRNN.recurrence is function
    assert net.rnn.recurrence.__func__ is function
    assert net.rnn.recurrence.__self__ is net.rnn
    assert torch.equal(net(x)[0], before)


def test_what_makes_a_graph_of_a_model_sees_the_function(net: Any, x: Tensor) -> None:
    """While somebody holds the method's cell: torch.compile in one graph, and torch.export."""
    layers = find_layers(net)
    compiled: Any = torch.compile(net, backend="eager", fullgraph=True)
    for one in (compiled, torch.export.export(net, (x,)).module()):
        torch.testing.assert_close(one(x)[0], net(x)[0])
    assert torch.equal(probe.record(compiled, x)["state"], by_hand(net.rnn, x))
    assert len(layers) == 1


def test_copies_and_files_know_nothing_of_a_context(net: Any, x: Tensor) -> None:
    """A copy and a pickle compute the same and are layers of their own; an open context does not act on them."""
    _ = probe.record(net, x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        with probe.intervene(net, probe.clamp("state", 0.5)):
            assert net(x)[1].eq(0.5).all()
            assert torch.equal(other(x)[1], by_hand(net.rnn, x).transpose(0, 1))
        assert torch.equal(probe.record(other, x)["state"], by_hand(net.rnn, x))
    (layer,) = find_layers(net)
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert same.module.owner is not net.rnn
        assert type(same.module) is type(layer.module)
    assert not cloudpickle.loads(cloudpickle.dumps(vars(CTRNN)["recurrence"])).__closure__


def test_a_cell_lives_as_long_as_somebody_holds_it(net: Any) -> None:
    """It is the same one for everybody meanwhile, it trains as its module does, and it has its weights."""
    cell = cell_of(net.rnn, "recurrence")
    assert cell is find_layers(net)[0].module
    assert (cell.training, cell_of(net.eval().rnn, "recurrence").training) == (True, False)
    assert set(cell.parameters()) == set(net.rnn.parameters())
    assert function_of(CTRNN, "recurrence") is CTRNN.recurrence


def test_a_state_of_two_parts(x: Tensor) -> None:
    """Beside an output, as in `h, (h, c) = self.step(x, (h, c))`."""
    model = Pairs()
    recording = probe.record(model, x)
    assert [str(signal) for signal in recording.parts[0].signals] == ["state[0]", "state[1]", "output"]
    outputs, (_, c) = model(x)
    assert torch.equal(recording["output"], outputs.transpose(0, 1))
    assert torch.equal(recording["state[1]"][:, -1], c)
    edited = probe.record(model, x, edits=[probe.clamp("state[1]", 0.0, steps=AT)])
    moved = (edited.output[0] != outputs).flatten(1).any(1)
    assert moved.tolist() == [step > AT for step in range(TIME)]


def test_a_state_that_stands_first_is_registered(x: Tensor, told: None) -> None:
    """Unregistered its calls do not show it; registered it is recorded and edited, in subclasses too."""
    net = RNNNet(StateFirst())
    with refused():
        _ = probe.record(net, x)
    probe.register(StateFirst, step="advance", state="h")
    wanted = by_hand(net.rnn, x, AT, 0.5)  # pyright: ignore[reportArgumentType]
    assert torch.equal(probe.record(net, x, edits=[probe.clamp("state", 0.5, steps=AT)])["state"], wanted)

    class Special(StateFirst):
        def advance(self, h: Tensor, x: Tensor) -> Tensor:
            return -super().advance(h, x)

    own = RNNNet(Special())
    assert torch.equal(probe.record(own, x)["state"], own(x)[1].transpose(0, 1))


def test_a_registered_method_needs_no_state_where_its_calls_show_it(net: Any, x: Tensor, told: None) -> None:
    """What is said of a class goes to other processes with its model, and what is said last counts."""
    probe.register(CTRNN, state="hidden", returns=1)
    probe.register(CTRNN, step="recurrence")
    said = registry.said_of(net)
    assert said == {CTRNN: ("recurrence", None)}
    assert torch.equal(probe.record(net, x)["state"], by_hand(net.rnn, x))
    forms.registered_methods.clear()
    registry.say_again(said)
    assert find_layers(net)[0].registered  # pyright: ignore[reportAttributeAccessIssue]
    # A sequence of one step shows no recurrence, and is one as it was said.
    assert torch.equal(probe.record(net, x[:1])["state"], by_hand(net.rnn, x[:1]))


def test_what_is_no_step_is_not_registered(told: None) -> None:
    """There is no such method, it is torch's, or takes one argument; or its state is told wrongly."""
    unchecked: Any = getattr(probe.register, "__wrapped__", probe.register)
    for name, options in (
        ("recurence", {}),
        ("input2h", {}),
        ("forward", {"state": "hidden"}),
        ("init_hidden", {}),
        ("recurrence", {"state": "y"}),
        ("recurrence", {"returns": 1}),
        ("recurrence", {"state": "h", "returns": "h"}),
    ):
        with refused():
            unchecked(CTRNN, name, **options)


def test_a_method_that_no_loop_calls_is_no_step(x: Tensor) -> None:
    """The cell is, which a loop calls, and whose forward calls the method."""

    class Cell(CTRNN):
        def forward(self, x: Tensor, hidden: Any = None) -> Any:
            return self.recurrence(x, hidden)

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Cell()

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return self.cell(x, h)

        def forward(self, x: Tensor) -> Any:
            h, out = torch.zeros(x.shape[1], UNITS), []
            for x_t in x:
                h = self.step(x_t, h)
                out.append(h)
            return torch.stack(out)

    assert [layer.name for layer in find_layers(Loop())] == ["cell"]
    assert type(find_layers(Loop())[0].module) is Cell
    assert len(probe.record(Loop(), x).parts) == 1


def test_several_methods_of_one_module_have_names_of_their_own(x: Tensor) -> None:
    """Here two populations, one of which reads the other."""

    class Two(CTRNN):
        def inhibit(self, x: Tensor, h: Tensor) -> Tensor:
            return 0.5 * h + 0.1 * torch.tanh(self.h2h(x))

        def forward(self, x: Tensor, hidden: Any = None) -> Any:
            h = k = torch.zeros(x.shape[1], UNITS)
            out = []
            for t in range(len(x)):
                h = self.recurrence(x[t], h)
                k = self.inhibit(h, k)
                out.append(k)
            return torch.stack(out), h

    net = RNNNet(Two())
    recording = probe.record(net, x)
    assert [part.layer for part in recording.parts] == ["rnn.recurrence", "rnn.inhibit"]
    edit = probe.clamp("state", 0.5, steps=AT, layer="rnn.recurrence")
    edited = probe.record(net, x, edits=[edit])
    moved = (edited["rnn.inhibit", "state"] != recording["rnn.inhibit", "state"]).any(2).any(0)
    assert moved.tolist() == [step >= AT for step in range(TIME)]


def test_a_step_is_taken_from_any_state(net: Any, x: Tensor) -> None:
    """As a machine takes it: alone, it gives what the run gave."""
    (layer,) = find_layers(net)
    run = stepwise(net, layer, x)  # pyright: ignore[reportArgumentType]
    run.check()
    after = run.cell.stepped(run.x[:, AT], {signal: value[:, AT - 1] for signal, value in run.signals.items()})
    wanted = by_hand(net.rnn, x)[:, AT]
    torch.testing.assert_close(next(iter(after.values())).detach(), wanted, rtol=0, atol=1e-6)


def test_a_loop_over_something_else_is_seen_where_nothing_else_is(x: Tensor) -> None:
    """An input that stays while the network settles; and a cell that runs through its own layers stays a cell."""

    class Settling(CTRNN):
        def forward(self, x: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            h = torch.zeros(len(x), UNITS)
            for _ in range(TIME):
                h = self.recurrence(x, h)
            return h

    class Stacked(CTRNN):
        def forward(self, x: Tensor, hidden: Any = None) -> Any:
            for _ in range(3):
                hidden = self.recurrence(x, hidden)
            return hidden

    assert probe.record(Settling(), x[0])["state"].shape == (ROWS, TIME, UNITS)
    (layer,) = find_layers(nn.Sequential(Stacked()))
    assert type(layer.module) is Stacked


def test_a_while_loop_is_told_what_to_register(x: Tensor, told: None) -> None:
    """Its bytecode does not show that it runs over the input; the refusal names the method."""

    class While(CTRNN):
        def forward(self, x: Tensor, hidden: Any = None) -> Any:
            hidden, out = torch.zeros(x.shape[1], UNITS), []
            while len(out) < len(x):
                hidden = self.recurrence(x[len(out)], hidden)
                out.append(hidden)
            return torch.stack(out), hidden

    net = RNNNet(While())
    with refused():
        _ = probe.record(net, x)
    probe.register(While, step="recurrence")
    assert torch.equal(probe.record(net, x)["state"], by_hand(net.rnn, x))  # pyright: ignore[reportArgumentType]
