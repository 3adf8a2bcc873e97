"""Steps and calls of an edit are counted over its context: prompts that are continued, and loops of the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import torch
from bodies import Model
from layer_by_hand import FEATURES, Layer, LayerStep
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import probe
from probe.recurrent.steps import registry

pytestmark = pytest.mark.usefixtures("no_grad")
UNITS = 6


def called(m: Any, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Return the hidden states and the state, for one or more observations a row, (time, row, feature)."""
    if isinstance(m.rnn, nn.RNNBase):
        return m.rnn(x, state)
    h = m.rnn(x[0], state)
    return h[None], h


def packing(m: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Read a packed sequence of one step a row, as policies of pfrl do."""
    h, state = m.rnn(pack_sequence([*x.unbind(1)]), state)
    return h.data[None], state


def policy_of(kind: Any = nn.LSTM, body: Any = called) -> Model:
    """Return a model whose state the caller passes on."""
    return Model(body, rnn=kind(3, UNITS))


def played(
    policy: nn.Module,
    seen: Tensor,
    reset: int | None = None,
    hand_on: Callable[[Tensor], Tensor] = lambda part: part,
    sizes: Sequence[int] = (1,) * 9,
) -> Tensor:
    """Return the hidden states of the caller's loop, which reads so many steps a call, and begins anew at one."""
    state, found = None, []
    for number, x in enumerate(seen.split(list(sizes))):
        h, state = policy(x, None if number == reset else state)
        state = tuple(map(hand_on, state)) if isinstance(state, tuple) else hand_on(state)
        found.append(h)
    return torch.cat(found)


def ones(h: Tensor) -> list[int]:
    """Return at which steps all numbers are 1, as a clamp leaves them."""
    return (h == 1.0).all(-1).all(-1).nonzero().flatten().tolist()


@pytest.mark.parametrize("reset", [None, 4])
@pytest.mark.parametrize(
    ("body", "kind"), [(called, nn.LSTM), (called, nn.GRU), (called, nn.GRUCell), (packing, nn.LSTM)]
)
def test_a_loop_of_the_callers_is_counted(body: Any, kind: Any, reset: int | None) -> None:
    """Step 3, of the first episode or of each; where an episode begins, a state of zeros or none begins another."""
    policy, seen = policy_of(kind, body), torch.randn(9, 2, 3)
    plain = played(policy, seen, reset)
    edited: dict[tuple[int | None, int | None], list[int]] = {
        (3, None): [3, *([3 + reset] if reset else [])],
        (3, 0): [3],
        (0, 0): [0],
        (None, 1 if reset else 0): [*range(reset or 0, 9)],
    }
    for (step, call), expected in edited.items():
        with probe.intervene(policy, probe.clamp("hidden_state", 1.0, steps=step, call=call)):
            found = played(policy, seen, reset)
        assert ones(found) == expected
        assert torch.equal(found[: expected[0]], plain[: expected[0]])
        assert not torch.isclose(found[expected[0]], plain[expected[0]]).all()


@pytest.mark.parametrize("sizes", [(1,) * 9, (5, 1, 1, 1, 1), (2, 4, 3)])
@pytest.mark.parametrize(
    "hand_on", [torch.clone, torch.detach, lambda part: part * 1.0, lambda part: torch.tensor(part.numpy())]
)
def test_a_sequence_goes_on_in_pieces_and_by_copies(hand_on: Any, sizes: Sequence[int]) -> None:
    """As in one call, whatever way the state takes to the next; also in a loop that a recording and a sweep run."""
    policy, seen = policy_of(), torch.randn(9, 2, 3)
    edit = probe.edit("cell_state", lambda value, site: value + sum(site.steps or ()), steps=[1, 6, 8])
    whole = probe.record(policy, seen, edits=[edit])
    with probe.intervene(policy, edit):
        torch.testing.assert_close(played(policy, seen, None, hand_on, sizes), whole.output[0])
    if sizes[1] > 1:  # for a recording, a call of several steps is a call of its own
        return
    wrapper = Model(lambda m, x: played(m.policy, x, None, hand_on, sizes), policy=policy)
    recording = probe.record(wrapper, seen, edits=[edit], steps=[5, -1, 1])
    torch.testing.assert_close(recording.output, whole.output[0])
    assert recording.calls == {"policy.rnn[0]": 1}
    torch.testing.assert_close(recording["cell_state"], whole["cell_state"][:, [5, -1, 1]])
    torch.testing.assert_close(probe.sweep(wrapper, seen, edits=[edit], batch_axis=1)[0], whole.output[0])


def test_batches_begin_with_zeros_whatever_the_last_one_ended_with() -> None:
    """Also where an edit has left zeros; equal batches are no riddle where nothing is counted."""
    layer, x = nn.GRU(3, UNITS, batch_first=True), torch.randn(2, 4, 3)
    for edit in (probe.ablate("hidden_state", steps=3), probe.ablate("hidden_state")):
        for caller in (nn.ModuleList([layer]), layer):
            with probe.intervene(caller, edit):
                for _ in range(3):
                    assert not layer(x, torch.zeros(1, 2, UNITS))[0][:, 3].any()
    with probe.intervene(layer, probe.clamp("update_gate", 0.5)):
        state, _ = [layer(x)[1] for _ in range(2)]
        assert layer(x, torch.tensor(state.numpy()))[0].any()


def test_many_sequences_side_by_side_are_told_apart_or_refused() -> None:
    """A context remembers the last few from one call of the model to the next."""
    policy, seen = policy_of(), torch.randn(4, 1, 1, 3)

    def beside(count: int) -> Tensor:
        states, found = [None] * count, list[Tensor]()
        for x in seen:
            every = [policy(x, state) for state in states]
            states = [state for _, state in every]
            found.append(torch.stack([h for h, _ in every]))
        return torch.stack(found)

    edit = probe.clamp("hidden_state", 1.0, steps=2, call=3)
    with probe.intervene(policy, edit):
        where = (beside(8) == 1.0).flatten(2).all(-1)
    assert where.nonzero().tolist() == [[2, 3]]
    with refused(), probe.intervene(policy, edit):
        _ = beside(40)


def test_what_cannot_be_counted_is_refused_with_a_way_that_works() -> None:
    """Where a state left torch and was changed there, went on twice, or a patch holds the steps of one call."""
    policy, seen = policy_of(), torch.randn(9, 2, 3)

    elsewhere = partial(played, policy, seen, None, lambda part: torch.tensor(part.numpy() * 0.5))

    def branches() -> None:
        _, state = policy(seen[:5])
        _ = [policy(seen[5:6], state) for _ in range(2)]

    with refused(), probe.intervene(policy, probe.clamp("hidden_state", 1.0, steps=0)):
        _ = elsewhere()
    with probe.intervene(policy, probe.clamp("hidden_state", 1.0)):
        assert ones(elsewhere()) == [*range(9)]
    with refused(), probe.intervene(policy, probe.clamp("hidden_state", 1.0, steps=5)):
        branches()
    with refused(), probe.intervene(policy, probe.patch("cell_state", probe.record(policy, seen[:5]))):
        _ = played(policy, seen)


def test_a_pass_that_failed_counts_for_nothing() -> None:
    """The loop that tries again has each step once."""
    policy, seen, fails = policy_of(), torch.randn(5, 1, 2, 3), [2]

    def fail(*_: Any) -> None:
        if len(found) in fails:
            fails.clear()
            raise ZeroDivisionError

    found, state = list[Tensor](), None
    _ = policy.get_submodule("rnn").register_forward_hook(fail)
    with probe.intervene(policy, probe.clamp("hidden_state", 1.0, steps=3)):
        while len(found) < 5:
            with suppress(ZeroDivisionError):
                h, state = policy(seen[len(found)], state)
                found.append(h)
    assert ones(torch.cat(found)) == [3]


def test_a_place_that_never_comes_is_refused_where_the_context_ends() -> None:
    """The error says what there was; so does that of a recording and a sweep."""
    policy, seen = policy_of(), torch.randn(9, 2, 3)
    wrapper = Model(lambda m, x: played(m.policy, x), policy=policy)
    places: list[dict[str, Any]] = [{"call": 1}, {"steps": 10}, {"steps": [2, 10]}, {"steps": -1}]
    for where in places:
        edit = probe.clamp("hidden_state", 1.0, **where)
        with refused(), probe.intervene(policy, edit):
            _ = played(policy, seen)
        for ask in (probe.record, partial(probe.sweep, batch_axis=1)):
            with refused():
                ask(wrapper, seen, edits=[edit])


def test_a_layer_with_a_step_of_its_own_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a loop of calls, and anew in another batch."""
    monkeypatch.setitem(registry._registered, Layer, LayerStep)
    layer, x = Layer(), torch.randn(2, 6, FEATURES)
    edit = probe.clamp("cell", 2.0, steps=[1, 4])
    expected, _ = probe.record(layer, x, edits=[edit]).output
    with probe.intervene(layer, edit):
        for _ in range(2):
            state, pieces = None, []
            for part in x.split([3, 1, 1, 1], 1):
                h, state = layer(part, state)
                pieces.append(h)
            torch.testing.assert_close(torch.cat(pieces, 1), expected)


def shrinking(m: Any, x: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """Run a cell over rows that end one after the other, and mask its states between the steps."""
    h, c, outputs = x.new_zeros(len(x), UNITS), x.new_zeros(len(x), UNITS), []
    for t, rows in enumerate(sizes):
        h, c = m.cell(x[:rows, t], (h[:rows], c[:rows]))
        outputs.append(h)
        h = h * torch.ones(rows, UNITS)
    return outputs


def test_all_rows_of_a_loop_that_shrinks_are_edited() -> None:
    """As those of one that does not; single rows are refused: who packed them sorted them."""
    model, x = Model(shrinking, cell=nn.LSTMCell(3, UNITS)), torch.randn(3, 6, 3)
    found = []
    for sizes in ((3, 3, 3, 2, 2, 1), (3,) * 6):
        with probe.intervene(model, probe.clamp("cell_state", 3.0, units=1, steps=3)):
            found.append(model(x, sizes))
    assert all(torch.allclose(one, other[: len(one)], atol=1e-6) for one, other in zip(*found, strict=True))
    with refused(), probe.intervene(model, probe.clamp("cell_state", 3.0, units=1, steps=1, rows=0)):
        model(x, (3, 3, 3, 2, 2, 1))
    with refused():
        probe.record(model, x, (3, 3, 3, 2, 2, 1))
