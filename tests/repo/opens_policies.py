"""A recurrent policy of sb3-contrib in CartPole without velocities, rolled out; test_opens.py runs this."""

from __future__ import annotations

from typing import Any

import gymnasium  # pyright: ignore[reportMissingImports]
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.vec_env import DummyVecEnv  # pyright: ignore[reportMissingImports]
from torch import Tensor

import probe

EPISODES, AT, UNITS = 20, 4, 16
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


@torch.no_grad()
def by_hand(ppo: Any, seed: int, zeroed: int | None) -> tuple[float, dict[str, Tensor]]:
    """Return the return and the states of one episode, played with the policy's own parts and no hook."""
    policy, environment = ppo.policy, NoVelocities()
    seen, _ = environment.reset(seed=seed)
    state, paid, ended = (torch.zeros(1, 1, UNITS), torch.zeros(1, 1, UNITS)), 0.0, False
    kept: dict[str, list[Tensor]] = {name: [] for name in STATES}
    while not ended:
        _, state = policy.lstm_actor(torch.as_tensor(seen)[None, None], state)
        if len(kept["cell_state"]) == zeroed:
            state = (0 * state[0], 0 * state[1])  # o tanh(0) = 0
        for name, part in zip(STATES, state, strict=True):
            kept[name].append(part[0, 0])
        action = policy.action_net(policy.mlp_extractor.forward_actor(state[0][0])).argmax(1)
        seen, reward, terminated, truncated, _ = environment.step(int(action))
        paid, ended = paid + float(reward), terminated or truncated
    return paid, {name: torch.stack(states) for name, states in kept.items()}


@pytest.mark.parametrize("zeroed", [None, AT])
def test_a_rollout_is_the_loop_by_hand(zeroed: int | None) -> None:
    """Every episode has the return and the states of a loop without hooks, with an ablation and without."""
    torch.set_num_threads(1)
    network = {"lstm_hidden_size": UNITS, "enable_critic_lstm": False, "shared_lstm": True, "net_arch": []}
    environments = DummyVecEnv([NoVelocities] * 2)
    ppo = RecurrentPPO("MlpLstmPolicy", environments, seed=0, policy_kwargs=network, device="cpu")
    _ = ppo.policy.train()
    edits = [] if zeroed is None else [ABLATED]
    found = probe.rollout(ppo, NoVelocities, EPISODES, environments=2, edits=edits)
    assert all(module.training for module in ppo.policy.modules())  # `predict` alone would change that
    assert found.lengths.min() > AT
    assert len(set(found.lengths.tolist())) > 2
    assert found.recording.lengths() == tuple(found.lengths.tolist())
    for episode in range(EPISODES):
        paid, states = by_hand(ppo, episode, zeroed)
        assert found.returns[episode] == paid
        for name, value in states.items():
            torch.testing.assert_close(found.recording[name][episode, : len(value)], value, atol=1e-5, rtol=0)
