"""A recurrent policy of sb3-contrib, trained in CartPole without velocities and rolled out; test_opens.py runs this.

The policy is `RecurrentPPO` after its own `learn`: 8,000 steps in 8 environments, with an LSTM of 16 units that actor
and critic share, and a larger learning rate than the package's, bring it from 9 steps an episode to about 100 within
six seconds. (With the package's options it takes minutes to live for longer than the 10 steps after which a state is
ablated here.)
"""

from __future__ import annotations

import copy
from typing import Any

import gymnasium  # pyright: ignore[reportMissingImports]
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.vec_env import DummyVecEnv  # pyright: ignore[reportMissingImports]
from torch import Tensor

import probe
from probe.hooks import Rollout

EPISODES, AT, UNITS = 20, 10, 16
LAYER = "lstm_actor[0]"
STATES = ("hidden_state", "cell_state")
ABLATED = probe.ablate("cell_state", layer=LAYER, steps=AT)


class NoVelocities(gymnasium.ObservationWrapper):
    """CartPole that shows where the cart and the pole are, and not how fast they move."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return the position and the angle."""
        return observation[[0, 2]]


@pytest.fixture(scope="module")
def ppo() -> Any:
    """Return a trained algorithm; `learn` has left its policy in training mode."""
    torch.set_num_threads(1)
    network = {"lstm_hidden_size": UNITS, "enable_critic_lstm": False, "shared_lstm": True, "net_arch": []}
    options = {
        "n_steps": 64,
        "batch_size": 128,
        "n_epochs": 6,
        "learning_rate": 5e-3,
        "gamma": 0.98,
        "gae_lambda": 0.9,
    }
    environments = DummyVecEnv([NoVelocities] * 8)
    made = RecurrentPPO("MlpLstmPolicy", environments, seed=0, policy_kwargs=network, device="cpu", **options)
    return made.learn(8_000)


@pytest.fixture(scope="module")
def clean(ppo: Any) -> Rollout:
    """Return 20 episodes in 2 environments."""
    return probe.rollout(ppo, NoVelocities, EPISODES, environments=2)


@pytest.fixture(scope="module")
def ablated(ppo: Any) -> Rollout:
    """Return them with the cell state set to zero at step 10."""
    return probe.rollout(ppo, NoVelocities, EPISODES, environments=2, edits=[ABLATED])


@torch.no_grad()
def by_hand(ppo: Any, seed: int, zeroed: int | None) -> tuple[float, dict[str, Tensor]]:
    """Return the return and the states of one episode, played with the policy's own parts and no hook."""
    policy, environment = ppo.policy, NoVelocities()
    seen, _ = environment.reset(seed=seed)
    state, paid, ended = (torch.zeros(1, 1, UNITS), torch.zeros(1, 1, UNITS)), 0.0, False
    kept: dict[str, list[Tensor]] = {name: [] for name in STATES}
    while not ended:
        if len(kept["cell_state"]) == zeroed:
            _, (_, c) = policy.lstm_actor(torch.as_tensor(seen)[None, None], state)
            state = (torch.zeros_like(c), torch.zeros_like(c))  # o tanh(0) = 0
        else:
            _, state = policy.lstm_actor(torch.as_tensor(seen)[None, None], state)
        for name, part in zip(STATES, state, strict=True):
            kept[name].append(part[0, 0])
        action = policy.action_net(policy.mlp_extractor.forward_actor(state[0][0])).argmax(1)
        seen, reward, terminated, truncated, _ = environment.step(int(action))
        paid, ended = paid + float(reward), terminated or truncated
    return paid, {name: torch.stack(states) for name, states in kept.items()}


def test_one_recording_holds_all_episodes_with_their_lengths(clean: Rollout) -> None:
    """Twenty episodes that live for longer than the step that is edited, and for different times."""
    assert clean.recording.layers == (LAYER,)
    assert clean.recording.calls == {LAYER: 1}
    assert clean.seeds == tuple(range(EPISODES))
    assert clean.lengths.min() > 2 * AT
    assert len(set(clean.lengths.tolist())) > EPISODES / 2
    assert clean.recording.lengths() == tuple(clean.lengths.tolist())
    assert np.array_equal(clean.returns, clean.lengths)  # CartPole pays 1 a step
    longest = int(clean.lengths.max())
    for value in (*clean.recording.parts[0].signals.values(), clean.features[LAYER]):
        assert value.shape[:2] == (EPISODES, longest)
        ended = torch.arange(longest) >= torch.as_tensor(clean.lengths)[:, None]
        assert torch.equal(value.isnan().all(-1), ended)
        assert torch.equal(value.isnan().any(-1), ended)
    assert clean.recording.max_error is not None
    assert clean.recording.max_error < 1e-6


@pytest.mark.parametrize("zeroed", [None, AT])
def test_a_rollout_is_the_loop_by_hand(ppo: Any, clean: Rollout, ablated: Rollout, zeroed: int | None) -> None:
    """Every episode has the return and the states of a loop without hooks, with the ablation and without."""
    found = clean if zeroed is None else ablated
    for episode in range(EPISODES):
        paid, states = by_hand(ppo, episode, zeroed)
        assert found.returns[episode] == paid
        for name, value in states.items():
            torch.testing.assert_close(found.recording[name][episode, : len(value)], value, atol=1e-5, rtol=0)


def test_the_policy_is_left_as_it_was(ppo: Any) -> None:
    """Weights, buffers, hooks, modes, and random numbers; `predict` alone would leave it in evaluation mode."""
    policy = ppo.policy
    _ = policy.train()
    before, modes = copy.deepcopy(policy.state_dict()), [module.training for module in policy.modules()]
    generators = torch.get_rng_state(), str(np.random.get_state())
    _ = probe.rollout(ppo, NoVelocities, 3, environments=2, edits=[ABLATED], most=2 * AT)
    assert list(before) == list(policy.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert [module.training for module in policy.modules()] == modes
    assert not any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in policy.modules()
    )
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert str(np.random.get_state()) == generators[1]
