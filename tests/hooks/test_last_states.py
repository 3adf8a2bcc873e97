"""A state edited after the last step, in a layer that formed its output before: an error unless it is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from cells_by_hand import Leaky, LikeTorch, Loop
from layer_by_hand import FEATURES, TIME, UNITS, Layer, LayerStep
from policies_by_hand import Agent, OwnCell, Walk
from refusing import refused
from torch import Tensor, nn

import probe
from probe.recurrent.steps import forms, registry

LAST = TIME - 1


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the layer have its step, and nothing stay registered."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(forms, "registered_cells", dict(forms.registered_cells))
    probe.register(Layer, LayerStep)
    torch.manual_seed(0)


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, feature)."""
    return torch.randn(3, TIME, FEATURES)


class Scanned(nn.Module):
    """A layer that reads the whole sequence, and a head that reads its outputs, or its last cell state."""

    def __init__(self, *, reads_state: bool = False) -> None:
        super().__init__()
        self.layer, self.head, self.reads_state = Layer(), nn.Linear(UNITS, 2), reads_state

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Return the answers and the last state."""
        y, state = self.layer(x, state)
        return self.head(state[1] if self.reads_state else y), state


class Decoding(nn.Module):
    """A cell in a loop that reads a sequence, and another one that goes on from its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.writes, self.head = LikeTorch(), LikeTorch(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return three answers."""
        state, answers = None, []
        for now in x.unbind(1):
            _, state = self.reads(now, state or (torch.zeros(len(x), 4), torch.zeros(len(x), 4)))
        for _ in range(3):
            h, state = self.writes(x[:, 0], state)
            answers.append(self.head(h))
        return torch.stack(answers, 1)


class Viewing(LikeTorch):
    """Returns a view of its state beside it, which holds the same numbers in the same memory."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Return a view of c and the next state."""
        _, (h, c) = super().forward(x, state)
        return c[:, :], (h, c)


MODELS = {
    "a layer": (Scanned, "cell"),
    "the layer alone": (Layer, "cell"),
    "a cell in a loop": (lambda: Loop(LikeTorch()), "state[1]"),
    "a view in a loop": (lambda: Loop(Viewing()), "state[1]"),
}
WAYS: dict[str, Callable[..., Any]] = {
    "record": lambda model, x, edit: probe.record(model, x, edits=[edit]),
    "with a gradient": lambda model, x, edit: probe.record(
        model, x, edits=[edit], gradient_of=lambda found: (found if isinstance(found, Tensor) else found[0]).sum()
    ),
    "sweep": lambda model, x, edit: probe.sweep(model, x, edits=[edit, edit]),
}


def intervened(model: nn.Module, x: Tensor, edit: probe.Edit) -> None:
    """Call a model once in a context."""
    with torch.no_grad(), probe.intervene(model, edit):
        _ = model(x)


WAYS["intervene"] = intervened


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_an_edit_after_the_last_step_is_refused(name: str, way: str, x: Tensor) -> None:
    """By its number, from the end (but of a loop), and as the end of a range; the step before acts, and so do all."""
    kind, signal = MODELS[name]
    model, edit = kind(), partial(probe.clamp, signal, 0.5)
    refusals: list[Any] = [LAST, range(3, TIME)] + ([] if "loop" in name else [-1])
    for steps in refusals:
        with refused():
            WAYS[way](model, x, edit(steps=steps))
    for steps in (LAST - 1, [2, LAST - 1], None):
        WAYS[way](model, x, edit(steps=steps))


def test_the_step_alone_of_a_sequence_of_one_step_is_refused(x: Tensor) -> None:
    """Without steps= too: nothing else acts."""
    for way in WAYS.values():
        with refused():
            way(Scanned(), x[:, :1], probe.clamp("cell", 0.5))


def test_a_state_that_is_the_output_is_edited_at_every_step(x: Tensor) -> None:
    """It moves the output of its own step, as the output itself does; a whole state may be replaced at the end."""
    for model, signal in ((Loop(Leaky()), "state"), (Loop(LikeTorch()), "state[0]"), (Scanned(), "output")):
        plain, moved = model(x), probe.record(model, x, edits=[probe.clamp(signal, 0.5, steps=LAST)]).output
        one, two = (found if isinstance(found, Tensor) else found[0] for found in (plain, moved))
        assert torch.equal(one[:, :LAST], two[:, :LAST])
        assert not torch.equal(one[:, LAST], two[:, LAST])
    model = Loop(LikeTorch())
    whole = [probe.clamp(f"state[{place}]", 0.5, steps=LAST) for place in (0, 1)]
    assert bool((probe.record(model, x, edits=whole).output[:, LAST] == 0.5).all())
    part = probe.clamp("state[0]", 0.5, units=[0], steps=LAST)
    with refused():
        _ = probe.record(model, x, edits=[part, whole[1]])


@pytest.mark.parametrize("model", [Scanned(reads_state=True), Decoding()], ids=["a head", "another cell"])
def test_a_last_state_that_the_model_reads_is_edited(model: nn.Module, x: Tensor) -> None:
    """A head, or a cell that goes on from it: the edit moves the answers, in a run, a context and a sweep."""
    signal, layer = ("cell", "layer") if isinstance(model, Scanned) else ("state[1]", "reads")
    edit = probe.clamp(signal, 0.5, layer=layer, steps=LAST)
    plain, found = model(x), probe.record(model, x, edits=[edit]).output
    intervened(model, x, edit)
    one, two = (each if isinstance(each, Tensor) else each[0] for each in (plain, found))
    assert bool((one != two).any())
    swept = probe.sweep(model, x, edits=[edit, probe.clamp(signal, 0.1, layer=layer, steps=2)])
    torch.testing.assert_close(swept[0] if isinstance(swept, Tensor) else swept[0][0], two)


def test_the_last_state_of_a_loop_behind_another_one_is_refused(x: Tensor) -> None:
    """That the first loop's last state is read says nothing of the second's."""
    with refused():
        _ = probe.record(Decoding(), x, edits=[probe.clamp("state[1]", 0.5, layer="writes", steps=2)])


def test_a_sweep_follows_a_state_whose_view_is_the_output(x: Tensor) -> None:
    """A mask between two steps is followed too, and each edit is what a recording makes of it."""
    model = Loop(Viewing())
    model.between = lambda part, _: 0.9 * part
    edits = [probe.clamp("state[1]", 0.5, steps=step) for step in (0, 2, LAST - 1)]
    for edit, swept in zip(edits, probe.sweep(model, x, edits=edits), strict=True):
        torch.testing.assert_close(swept, probe.record(model, x, edits=[edit]).output)


@pytest.mark.parametrize("between", [lambda part, _: part, lambda part, _: 0.9 * part.detach()], ids=["none", "mask"])
def test_a_mask_of_a_last_state_reads_nothing(between: Any, x: Tensor) -> None:
    """What a loop does to its state between two steps, and after the last one, leads nowhere."""
    model = Loop(LikeTorch())
    model.between, model.changed = between, lambda step, state: tuple(between(part, step) for part in state)
    with refused():
        _ = probe.record(model, x, edits=[probe.clamp("state[1]", 0.5, steps=LAST)])


@pytest.mark.parametrize("steps", [4, 5, [4, 6], [4, LAST]])
def test_a_next_call_reads_the_last_state_of_this_one(steps: Any, x: Tensor) -> None:
    """In one context, calls that go on are one sequence: its very last step alone is refused, as the context ends."""
    model = Scanned()
    edit = probe.clamp("cell", 0.5, steps=steps)

    def called() -> Tensor:
        answers, state = [], None
        for piece in (x[:, :5], x[:, 5:6], x[:, 6:]):
            answer, state = model(piece, state)
            answers.append(answer)
        return torch.cat(answers, 1)

    if steps == [4, LAST]:
        with refused(), torch.no_grad(), probe.intervene(model, edit):
            _ = called()
        return
    with torch.no_grad(), probe.intervene(model, edit):
        found = called()
    torch.testing.assert_close(found, probe.record(model, x, edits=[edit]).output[0])


def test_each_sequence_of_a_context_counts(x: Tensor) -> None:
    """A named step that is the last of one of them is refused, unless call= names another one."""
    model = Scanned()
    for call in (None, 1, 0):
        edit = probe.clamp("cell", 0.5, steps=3, call=call)
        with nullcontext() if call == 0 else refused(), torch.no_grad(), probe.intervene(model, edit):
            for time in (6, 4):
                _ = model(x[:, :time])


def test_a_bare_cell_in_the_users_loop(x: Tensor) -> None:
    """The context sees the next call, and what weights read; a last state that nothing reads is refused."""
    cell, head = LikeTorch(), nn.Linear(4, 2)

    def called(*, reads: bool) -> None:
        state: Any = (torch.zeros(3, 4), torch.zeros(3, 4))
        for now in x.unbind(1):
            _, state = cell(now, state)
        _ = head(state[1] if reads else state[0])

    edit = probe.clamp("state[1]", 0.5, steps=LAST)
    with torch.no_grad():
        with probe.intervene(cell, edit):
            called(reads=True)
        with refused(), probe.intervene(cell, edit):
            called(reads=False)


def test_a_pass_that_failed_counts_for_nothing(x: Tensor) -> None:
    """A model that raises after its loop has left no state that waits to be read."""
    model = Scanned()
    with torch.no_grad(), probe.intervene(model, probe.clamp("cell", 0.5, steps=3)):
        broken, model.head = model.head, nn.Linear(UNITS + 1, 2)
        with pytest.raises(RuntimeError):
            _ = model(x[:, :4])
        model.head = broken
        _ = model(x)


def test_an_episode_that_ends_reads_its_last_state_no_more() -> None:
    """The next step of an episode reads it: an edit is refused where each episode that came to it ended there."""

    class Registered(OwnCell):
        pass

    probe.register(Registered, state="state", returns=1)
    agent = Agent(Registered)

    def act(seen: Any, state: Any, starts: Any) -> Any:
        x, done = torch.as_tensor(seen, dtype=torch.float32), torch.as_tensor(starts, dtype=torch.float32)
        action, _, _, _, state = agent.get_action_and_value(x, state or (torch.zeros(len(x), 5),) * 2, done)
        return action, state

    play = partial(probe.rollout, agent, Walk, 3, act=act)
    lengths = play().lengths
    shortest = int(lengths.argmin())
    edit = partial(probe.clamp, "state[1]", 0.5, steps=int(lengths.min()) - 1)
    _ = play(edits=[probe.clamp("state[1]", 0.5, steps=0)])
    with refused():
        _ = play(most=1, edits=[probe.clamp("state[1]", 0.5)])
    with refused():
        _ = play(edits=[edit(rows=[shortest])])
    _ = play(edits=[probe.clamp("state[0]", 0.5, steps=int(lengths.min()) - 1, rows=[shortest])])


def test_memory_of_a_layer_that_forms_its_output_first(x: Tensor) -> None:
    """The answer of the next step reads the replaced state itself: no sign that something else remembers it."""
    found = probe.memory(Scanned(), x, times=[2, LAST - 1], put="zero", answer=lambda found: found[0])
    assert (found.passed_on, found.own_error) == (0, 0)
    assert "remembers" not in repr(found)
