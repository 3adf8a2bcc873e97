"""Rollouts of recurrent policies in environments: recorded, edited, compared by seed, and refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from policies_by_hand import Agent, OwnCell, Policy, Walk
from refusing import refused
from torch import Tensor, nn

import probe
from probe.recurrent.steps import forms


@pytest.fixture
def policy() -> Policy:
    """Return a policy."""
    torch.manual_seed(0)
    return Policy()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("features", "environments"), [(1, 1), (3, 7)])
def test_a_rollout_is_what_the_policy_computes_on_what_it_read(
    features: int, environments: int, batch_first: bool
) -> None:
    """Each episode's states follow from its features, from zeros on, whoever played beside it."""
    torch.manual_seed(0)
    policy, walks = Policy(features, 2, batch_first=batch_first), partial(Walk, features)
    options: dict[str, Any] = {"environments": environments, "act": policy.act, "seed": 3}
    found = probe.rollout(policy, walks, 6, layer=["rnn[1]"], **options)
    assert not any(bool(state.any()) for state in found.recording.parts[0].initial.values())
    assert (found.recording.layers, list(found.features)) == (("rnn[1]",), ["rnn[0]"])
    for episode, length in enumerate(found.lengths):
        assert found.seeds[episode] == 3 + episode
        walk, paid = walks(), 0.0
        seen = [walk.reset(seed=3 + episode)[0]]
        for step in range(length):
            after, reward, ended, _, _ = walk.step(found.actions[episode, step])
            paid += reward
            seen.append(after)
            assert ended == (step == length - 1)
        assert found.returns[episode] == paid
        assert np.array_equal(found.observations[episode, :length], np.array(seen[:length]))
        read = found.features["rnn[0]"][episode]
        assert np.array_equal(read[:length].numpy(), np.array(seen[:length], dtype=np.float32))
        assert bool(read[length:].isnan().all())
        with torch.no_grad():
            h = policy.rnn(read[None, :length] if batch_first else read[:length, None])[0].view(length, -1)
        torch.testing.assert_close(found.recording["hidden_state"][episode, :length], h, atol=1e-6, rtol=0)
    assert (found.recording.lengths(), found.starts.sum(1).tolist()) == (tuple(found.lengths.tolist()), [1] * 6)


def test_an_edit_acts_from_its_step_of_each_episode_on(policy: Policy) -> None:
    """Nothing before it moves; a patch with the episode's own states changes nothing; pairs are compared by seed."""
    clean = probe.rollout(policy, Walk, 6, environments=2, act=policy.act)
    edit = probe.ablate("cell_state", steps=10)
    edited = probe.rollout(policy, Walk, 6, environments=2, act=policy.act, edits=[edit])
    moved = (clean.recording["cell_state"] != edited.recording["cell_state"]).any(-1)
    there = torch.arange(moved.shape[1]) < torch.as_tensor(clean.lengths)[:, None]
    assert not (moved & there)[:, :10].any()
    assert bool(moved[there[:, 10], 10].all())
    assert not edited.recording["cell_state"][there[:, 10], 10].any()
    change, interval = clean.change_of_return(edited)
    assert (change, interval is None) == (np.median(edited.returns - clean.returns), False)
    same = probe.patch("cell_state", clean.recording, steps=[2])
    again = probe.rollout(policy, Walk, 6, environments=3, act=policy.act, edits=[same])
    assert np.array_equal(again.returns, clean.returns)
    with refused():
        _ = clean.change_of_return(probe.rollout(policy, Walk, 6, act=policy.act, seed=1))


class Own(Walk):
    """An environment that changes what it shows and pays, one after the other."""

    def __init__(self, *changes: Callable[[Any], Any]) -> None:
        super().__init__()
        self.shows, self.pays = changes

    def reset(self, *, seed: int) -> Any:
        """Begin."""
        seen, info = super().reset(seed=seed)
        return self.shows(seen), info

    def step(self, action: Any) -> Any:
        """Go on."""
        seen, paid, *rest = super().step(action)
        return self.shows(seen), self.pays(paid), *rest


def test_an_environment_that_is_not_what_it_should_be_is_refused(policy: Policy) -> None:
    """One for all, where they are made; observations that are no arrays; and a reward that is no number."""
    one, same = Walk(), lambda value: value
    no_arrays, no_number = (lambda seen: {"seen": seen}, same), (same, lambda _: float("nan"))
    for make in (lambda: one, partial(Own, *no_arrays), partial(Own, *no_number)):
        with refused():
            _ = probe.rollout(policy, make, 4, environments=2, act=policy.act)


def test_what_a_rollout_cannot_do_is_refused(policy: Policy) -> None:
    """Each with its reason; a layer that a step does not call is named."""
    policy.critic = nn.LSTM(3, 5)
    played = probe.rollout(policy, Walk, 3, act=policy.act)
    assert played.recording.not_called == ("critic[0]",)
    drawn = probe.ablate("cell_state", kind="resample", reference=played.recording, layer="rnn[0]")

    def forgets(seen: np.ndarray, _state: Any, starts: np.ndarray) -> Any:
        return policy.act(seen, None, starts)

    def window(seen: np.ndarray, state: Any, _starts: np.ndarray) -> Any:
        y, _ = policy.rnn(torch.as_tensor(seen, dtype=torch.float32).expand(4, -1, -1))
        return policy.out(y[-1]).argmax(1), state

    def draws(seen: np.ndarray, *rest: Any) -> Any:
        return np.random.randint(2, size=len(seen)), policy.act(seen, *rest)[1]

    clamp = partial(probe.clamp, "cell_state", 0.0, layer="rnn[0]")
    wrong: list[dict[str, Any]] = [
        {"edits": [clamp(steps=90)]},
        {"edits": [clamp(steps=-1)]},
        {"edits": [clamp(rows=[0, 4])]},
        {"edits": [drawn]},
        {"edits": [probe.patch("cell_state", played.recording, steps=2, layer="rnn[0]")]},
        {"act": forgets},
        {"act": forgets, "signals": ["forget_gate"]},
        {"act": lambda seen, state, starts: (np.zeros(len(seen)), None)},
        {"act": lambda seen, state, starts: policy.act(seen, state, np.zeros(len(seen)))},
        {"act": window, "environments": 2, "most": 1},
        {"act": draws, "environments": 2},
        {"act": partial(policy.act, draws=True), "environments": 2},
        {"act": None},
        {"episodes": 0},
    ]
    for given in wrong:
        with refused():
            _ = probe.rollout(policy, Walk, **({"episodes": 4, "act": policy.act} | given))


def test_what_is_written_into_the_same_memory_is_kept(policy: Policy) -> None:
    """An environment that returns one array again and again, and a policy that does."""
    written, actions = np.zeros(3), np.zeros(1, dtype=int)

    def into(place: np.ndarray, value: Any) -> np.ndarray:
        place[:] = np.asarray(value)
        return place

    def act(seen: np.ndarray, state: Any, starts: np.ndarray) -> tuple[np.ndarray, Any]:
        chosen, state = policy.act(seen, state, starts)
        return into(actions, chosen), state

    same = partial(Own, partial(into, written), lambda paid: paid)
    wanted, found = probe.rollout(policy, Walk, 6, act=policy.act), probe.rollout(policy, same, 6, act=act)
    assert np.array_equal(found.observations, wanted.observations, equal_nan=True)
    assert np.array_equal(found.actions, wanted.actions, equal_nan=True)


def test_a_function_is_told_the_step_and_the_row_of_an_episode(policy: Policy) -> None:
    """And not those of the environment that plays it; its values are those of one episode."""
    told = []

    def tenfold(value: Tensor, site: probe.Site) -> Tensor:
        told.append((site.steps, site.rows, tuple(value.shape)))
        return value * 10 ** -float(site.steps[0] if site.steps else 0)

    edit = probe.edit("cell_state", tenfold, steps=[1, 3], rows=[-1, 1])
    clean = probe.rollout(policy, Walk, 5, environments=3, act=policy.act)
    found = probe.rollout(policy, Walk, 5, environments=3, act=policy.act, edits=[edit])
    assert sorted(told) == [((step,), (row,), (1, 5)) for step in (1, 3) for row in (1, 4)]
    c = clean.recording["cell_state"]
    torch.testing.assert_close(found.recording["cell_state"][[1, 4], 1], c[[1, 4], 1] / 10)
    assert bool((found.recording["cell_state"][[0, 2, 3]] == c[[0, 2, 3]])[~c[[0, 2, 3]].isnan()].all())
    every = probe.edit("cell_state", lambda value, site: told.append(site.rows) or value, steps=0)
    told.clear()
    _ = probe.rollout(policy, Walk, 2, act=policy.act, edits=[every])
    assert told == [None, None]


def test_what_is_drawn_is_drawn_by_an_episode_alone(policy: Policy) -> None:
    """A policy that draws its actions: an episode follows from its seed, and an edit moves nothing before it."""
    draws = partial(policy.act, draws=True)
    play = partial(probe.rollout, policy, Walk, act=draws)
    clean = play(12)
    assert np.array_equal(play(2, seed=1).returns, clean.returns[1:3])
    assert not np.array_equal(clean.actions, probe.rollout(policy, Walk, 12, act=policy.act).actions, equal_nan=True)
    edited = play(12, edits=[probe.clamp("hidden_state", 9.0, steps=4)])
    moved = (edited.actions != clean.actions) & ~np.isnan(clean.actions)
    assert moved[:, 4:].any()
    assert not moved[:, :4].any()


@pytest.mark.parametrize("fails", [False, True])
def test_a_rollout_leaves_all_as_it_found_it(fails: bool, policy: Policy) -> None:
    """Modes, hooks, weights and the caller's random numbers, also where it ends with an error."""
    _ = policy.train()
    policy.register_buffer("count", torch.zeros(1))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    generators = torch.get_rng_state(), str(np.random.get_state())

    def act(seen: np.ndarray, state: Any, starts: np.ndarray) -> Any:
        _ = policy.eval(), random.random(), np.random.random()
        actions, state = policy.act(seen, state, starts, draws=True)
        return actions, None if fails else state

    with refused() if fails else nullcontext():
        _ = probe.rollout(policy, Walk, 3, act=act)
    assert all(module.training for module in policy.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in policy.modules())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert str(np.random.get_state()) == generators[1]


class Registered(OwnCell):
    """A cell that a test registers."""


def test_an_agent_with_an_lstm_written_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """As CleanRL has it: a sentence says what to register; then it is recorded, and edited, as the loop by hand."""
    monkeypatch.setattr(forms, "registered_cells", dict(forms.registered_cells))
    torch.manual_seed(0)
    agent = Agent(Registered)

    def act(seen: np.ndarray, state: Any, starts: np.ndarray) -> tuple[Tensor, Any]:
        x, done = torch.as_tensor(seen, dtype=torch.float32), torch.as_tensor(starts, dtype=torch.float32)
        action, _, _, _, state = agent.get_action_and_value(x, state or (torch.zeros(len(x), 5),) * 2, done)
        return action, state

    play = partial(probe.rollout, agent, Walk, 3, act=act)
    with refused():
        _ = play()
    probe.register(Registered, state="state", returns=1)
    clean, edited = play(), play(edits=[probe.clamp("state[1]", 0.0, steps=4)])
    for found, zeroed in ((clean, None), (edited, 4)):
        for episode, length in enumerate(found.lengths):
            state = (torch.zeros(1, 5), torch.zeros(1, 5))
            for step in range(length):
                with torch.no_grad():
                    _, (h, c) = agent.lstm(found.features["lstm"][episode, step][None], state)
                state = (h, 0 * c if step == zeroed else c)
                for place in (0, 1):
                    value = found.recording[f"state[{place}]"][episode, step]
                    torch.testing.assert_close(value, state[place][0], atol=1e-6, rtol=0)
