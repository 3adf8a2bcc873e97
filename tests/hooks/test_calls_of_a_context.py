"""Steps and calls of an edit are counted over its context: prompts that are continued, and loops of the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import probe
from probe import ProbeError

SYMBOLS, UNITS, PROMPT, MADE = 7, 6, 5, 6


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call models without a graph, with the same weights in each test."""
    torch.manual_seed(0)
    with torch.no_grad():
        yield


class Language(nn.Module):
    """A language model whose state the caller passes on."""

    def __init__(self, levels: int = 2) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(SYMBOLS, 4), nn.LSTM(4, UNITS, levels, batch_first=True)
        self.head = nn.Linear(UNITS, SYMBOLS)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return what comes next, (batch, time, symbol), and the state."""
        h, state = self.rnn(self.embed(ids), state)
        return self.head(h), state


def generate(model: nn.Module, ids: Tensor, hand_on: Callable[[Tensor], Tensor] = lambda part: part) -> Tensor:
    """Return the numbers of the tokens to come, where each is chosen and read in a call of its own."""
    scores, state = model(ids)
    made = [scores[:, -1]]
    for _ in range(MADE - 1):
        scores, state = model(made[-1].argmax(-1, keepdim=True), tuple(map(hand_on, state)))
        made.append(scores[:, -1])
    return torch.stack(made, 1)


class Generator(nn.Module):
    """The same loop in the forward of a module."""

    def __init__(self, model: Language) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Return the numbers of the tokens to come."""
        return generate(self.model, ids)


IDS = torch.tensor([[1, 2, 3, 4, 5], [3, 3, 0, 6, 2]])


def by_hand(model: Language, step: int, value: float) -> Tensor:
    """Generate a token at a time with the top layer's cell state set after one step, by layers of torch's cells."""
    cells = [nn.LSTMCell(4 if not level else UNITS, UNITS) for level in (0, 1)]
    for level, cell in enumerate(cells):
        for name, own in cell.named_parameters():
            own.copy_(model.rnn.get_parameter(f"{name}_l{level}"))
    states = [(torch.zeros(2, UNITS), torch.zeros(2, UNITS)) for _ in cells]
    made: list[Tensor] = []
    for now in range(PROMPT + MADE - 1):
        x = model.embed(IDS[:, now] if now < PROMPT else made[-1].argmax(-1))
        for level, cell in enumerate(cells):
            h, c = cell(x, states[level])
            if level == 1 and now == step:
                W, U, b, b_h = cell.parameters()
                o = torch.sigmoid((x @ W.T + b + states[level][0] @ U.T + b_h)[:, 3 * UNITS :])
                c = torch.full_like(c, value)
                h = o * c.tanh()
            states[level] = h, c
            x = h
        if now >= PROMPT - 1:
            made.append(model.head(x))
    return torch.stack(made, 1)


@pytest.mark.parametrize("where", [{}, {"call": 0}])
@pytest.mark.parametrize("step", [0, 3, PROMPT - 1, PROMPT, PROMPT + 2])
def test_one_step_of_a_prompt_is_edited_and_the_model_generates_from_there(step: int, where: dict[str, int]) -> None:
    """Around the caller's own loop and in a wrapper module, the edit is that of a loop by hand."""
    model = Language()
    edit = probe.clamp("cell_state", 1.5, layer="rnn[1]", steps=step, **where)
    expected = by_hand(model, step, 1.5)
    with probe.intervene(model, edit):
        found = generate(model, IDS)
    torch.testing.assert_close(found, expected)
    wrapper = Generator(model)
    inside = probe.clamp("cell_state", 1.5, layer="model.rnn[1]", steps=step, **where)
    recording = probe.record(wrapper, IDS, edits=[inside])
    torch.testing.assert_close(recording.output, expected)
    torch.testing.assert_close(probe.sweep(wrapper, IDS, edits=[inside])[0], expected)
    assert recording.calls == {"model.rnn[0]": 1, "model.rnn[1]": 1}
    cell = recording["model.rnn[1]", "cell_state"]
    assert (cell == 1.5).all(-1).tolist() == [[now == step for now in range(PROMPT + MADE - 1)]] * 2
    kept = probe.record(wrapper, IDS, edits=[inside], steps=[PROMPT, -1, 1])
    assert torch.equal(kept["model.rnn[1]", "cell_state"], cell[:, [PROMPT, -1, 1]])
    assert not torch.allclose(expected[:, -1], generate(model, IDS)[:, -1])


@pytest.mark.parametrize(
    "hand_on", [torch.clone, torch.detach, lambda part: part * 1.0, lambda part: torch.tensor(part.numpy())]
)
def test_a_state_goes_on_by_copies_and_products(hand_on: Callable[[Tensor], Tensor]) -> None:
    """An edit acts once, whatever way the state takes to the next call."""
    model = Language()
    expected = by_hand(model, PROMPT + 1, 0.5)
    with probe.intervene(model, probe.clamp("cell_state", 0.5, layer="rnn[1]", steps=PROMPT + 1)):
        torch.testing.assert_close(generate(model, IDS, hand_on), expected)


def test_independent_batches_begin_anew() -> None:
    """A step is edited in each of them; `call` is the number of one in the context."""
    model, batches = Language(1), [IDS, IDS.flip(0), IDS[:1]]
    plain = [generate(model, ids) for ids in batches]
    for call in (None, 0, 2):
        edit = probe.clamp("hidden_state", 1.0, steps=2, call=call)
        with probe.intervene(model, edit):
            found = [generate(model, ids) for ids in batches]
        moved = [not torch.allclose(one, two) for one, two in zip(found, plain, strict=True)]
        assert moved == [call in (None, number) for number in range(3)]


def test_batches_begin_with_zeros_whatever_the_last_one_ended_with() -> None:
    """Also where an edit has left zeros; equal batches are no riddle where nothing is counted."""
    layer, x = nn.GRU(3, UNITS, batch_first=True), torch.randn(2, 4, 3)
    model = nn.ModuleList([layer])
    for edit in (probe.ablate("hidden_state", steps=3), probe.ablate("hidden_state")):
        for caller in (model, layer):
            with probe.intervene(caller, edit):
                for _ in range(3):
                    assert not layer(x, torch.zeros(1, 2, UNITS))[0][:, 3].any()
    with probe.intervene(layer, probe.clamp("update_gate", 0.5)):
        state, _ = [layer(x)[1] for _ in range(2)]
        assert layer(x, torch.tensor(state.numpy()))[0].any()


def test_many_sequences_side_by_side_are_told_apart_or_refused() -> None:
    """A context remembers the last few from one call of the model to the next."""
    policy, seen = Policy(), torch.randn(4, 1, 3)

    def played(count: int) -> Tensor:
        states, found = [None] * count, list[Tensor]()
        for x in seen:
            every = [policy(x, state) for state in states]
            states = [state for _, state in every]
            found.append(torch.stack([h for h, _ in every]))
        return torch.stack(found)

    edit = probe.clamp("hidden_state", 1.0, steps=2, call=3)
    with probe.intervene(policy, edit):
        where = (played(8) == 1.0).all(-1).all(-1)
    assert where.nonzero().tolist() == [[2, 3]]
    with refused(), probe.intervene(policy, edit):
        _ = played(40)


def test_chunks_of_several_steps_go_on_in_the_callers_loop() -> None:
    """A long sequence that is read in pieces is one: the same outputs as in one call."""
    model, ids = Language(), torch.randint(SYMBOLS, (2, 12))
    edit = probe.edit(
        "cell_state", lambda value, site: value + sum(site.steps or ()), layer="rnn[0]", steps=[1, 6, 11]
    )
    expected, _ = probe.record(model, ids, edits=[edit]).output
    with probe.intervene(model, edit):
        state, pieces = None, []
        for begin in (0, 5, 8):
            scores, state = model(ids[:, begin : {0: 5, 5: 8, 8: 12}[begin]], state)
            pieces.append(scores)
    torch.testing.assert_close(torch.cat(pieces, 1), expected)
    whole = probe.patch("cell_state", probe.record(model, ids[:, :5]), layer="rnn[0]")
    with refused(), probe.intervene(model, whole):
        _ = generate(model, ids[:, :5])


class Policy(nn.Module):
    """A policy that the caller's loop calls once a step."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.rnn = kind(3, UNITS)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the hidden state and the state, for one observation a row."""
        if isinstance(self.rnn, nn.RNNBase):
            h, state = self.rnn(x[None], state)
            return h[0], state
        h = self.rnn(x, state)
        return h, h


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.GRUCell])
@pytest.mark.parametrize("reset", [None, 4])
def test_a_loop_of_the_callers_is_counted(kind: type[nn.Module], reset: int | None) -> None:
    """Step 3, of the first episode or of each; where an episode begins, a state of zeros or none begins another."""
    policy, seen = Policy(kind), torch.randn(9, 2, 3)

    def played() -> Tensor:
        state, found = None, []
        for now, x in enumerate(seen):
            if now == reset:
                state = None
            h, state = policy(x, state)
            found.append(h)
        return torch.stack(found)

    plain = played()
    places: list[dict[str, Any]] = [{"steps": 3}, {"steps": 3, "call": 0}, {"steps": 0, "call": 0}]
    for where in places:
        with probe.intervene(policy, probe.clamp("hidden_state", 1.0, **where)):
            ones = (played() == 1.0).all(-1).all(-1)
        first = where["steps"]
        expected = {first} | ({first + reset} if reset and "call" not in where else set())
        assert set(ones.nonzero().flatten().tolist()) == expected
    assert not (plain == 1.0).any()
    with probe.intervene(policy, probe.clamp("hidden_state", 1.0, call=1 if reset else 0)):
        assert (played() == 1.0).all(-1).all(-1).tolist() == [now >= (reset or 0) for now in range(9)]


def test_calls_of_packed_rows_of_one_length_are_counted_too() -> None:
    """Policies of pfrl pack one step a row."""

    class Packing(Policy):
        def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            """Read a packed sequence of one step a row."""
            h, state = self.rnn(pack_sequence([row[None] for row in x]), state)
            return h.data, state

    policy, state, found = Packing(), None, []
    with probe.intervene(policy, probe.clamp("hidden_state", 1.0, steps=3, call=0)):
        for x in torch.randn(6, 2, 3):
            h, state = policy(x, state)
            found.append(bool((h == 1.0).all()))
    assert found == [now == 3 for now in range(6)]


def test_what_cannot_be_counted_is_refused_with_a_way_that_works() -> None:
    """A state that left torch and was changed there: an edit of a step is refused, one of every step acts."""
    policy, seen = Policy(), torch.randn(4, 2, 3)

    def played() -> Tensor:
        state, h = None, seen[0, :, :1]
        for x in seen:
            h, state = policy(x, state)
            state = tuple(torch.tensor(part.numpy() * 0.5) for part in state)
        return h

    first, message = probe.clamp("hidden_state", 1.0, steps=0), "or name neither steps= nor call="
    with pytest.raises(ProbeError, match=message), probe.intervene(policy, first):
        _ = played()
    with probe.intervene(policy, probe.clamp("hidden_state", 1.0)):
        assert bool((played() == 1.0).all())


def test_two_ways_on_from_one_state_are_refused() -> None:
    """Which of them is the sequence nobody knows; a context for each is right."""
    model, edit = Language(1), probe.clamp("hidden_state", 1.0, steps=PROMPT)

    def branches() -> None:
        _, state = model(IDS)
        _ = [model(IDS[:, :1], state) for _ in range(2)]

    with refused(), probe.intervene(model, edit):
        branches()


def test_a_pass_that_failed_counts_for_nothing() -> None:
    """The loop that tries again has each step once."""
    policy, seen, fails = Policy(), torch.randn(5, 2, 3), [2]

    def fail(*_: Any) -> None:
        if len(found) in fails:
            fails.clear()
            raise ZeroDivisionError

    found: list[bool] = []
    _ = policy.rnn.register_forward_hook(fail)
    with probe.intervene(policy, probe.clamp("hidden_state", 1.0, steps=3)):
        state = None
        while len(found) < 5:
            try:
                h, state = policy(seen[len(found)], state)
            except ZeroDivisionError:
                continue
            found.append(bool((h == 1.0).all()))
    assert found == [now == 3 for now in range(5)]


@pytest.mark.parametrize("where", [{"call": 1}, {"steps": 10}, {"steps": [2, 10]}, {"steps": -1}])
def test_a_place_that_never_comes_is_refused_where_the_context_ends(where: dict[str, Any]) -> None:
    """The error says what there was; so does that of a recording and a sweep."""
    model = Language(1)
    with refused(), probe.intervene(model, probe.clamp("hidden_state", 1.0, **where)):
        _ = generate(model, IDS)
    edit = probe.clamp("hidden_state", 1.0, layer="model.rnn[0]", **where)
    for call in (
        lambda: probe.record(Generator(model), IDS, edits=[edit]),
        lambda: probe.sweep(Generator(model), IDS, edits=[edit]),
    ):
        with refused():
            call()


class Leaky(nn.Module):
    """A layer without a module of torch's, which takes a state and returns it."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(3, UNITS)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return states, (batch, time, unit), and the last one."""
        h, outputs = x.new_ones(len(x), UNITS) if state is None else state, []
        for now in x.unbind(1):
            h = 0.5 * h + self.read(now)
            outputs.append(h)
        return torch.stack(outputs, 1), h


class LeakyStep(probe.Step):
    """Its step."""

    def inputs(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Keep the state, and return what is read."""
        self.given = state
        return x

    def initial(self, batch: int) -> Tensor:
        """Return the state given, or ones."""
        given = getattr(self, "given", None)
        return torch.ones(batch, UNITS) if given is None else given

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state twice."""
        h = 0.5 * state + self.module.read(x)
        return h, h

    def final(self, returned: Any) -> Tensor:
        """Return the last state."""
        return returned[1]

    def returned(self, returned: Any, outputs: Tensor, state: Tensor) -> Any:
        """Return both."""
        return outputs, state


def test_a_layer_with_a_step_of_its_own_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a loop of calls, from a first state that is not zero, and anew in another batch."""
    from probe.recurrent.steps import registry

    monkeypatch.setitem(registry._registered, Leaky, LeakyStep)
    layer, x = Leaky(), torch.randn(2, 6, 3)
    edit = probe.clamp("state", 2.0, steps=[1, 4])
    expected, _ = probe.record(layer, x, edits=[edit]).output
    with probe.intervene(layer, edit):
        for _ in range(2):
            state, pieces = None, []
            for begin, end in ((0, 3), (3, 4), (4, 5), (5, 6)):
                h, state = layer(x[:, begin:end], state)
                pieces.append(h)
            torch.testing.assert_close(torch.cat(pieces, 1), expected)
