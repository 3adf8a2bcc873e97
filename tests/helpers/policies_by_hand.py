"""Recurrent policies, and environments that they play in, written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Walk:
    """An environment whose observations are drawn; it pays the action, and ends after a drawn number of steps."""

    def __init__(self, features: int = 3) -> None:
        self._features = features

    def reset(self, *, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        self._drawn = np.random.default_rng(seed)
        self._left = int(self._drawn.integers(5, 20))
        return self._drawn.normal(size=self._features), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        self._left -= 1
        return self._drawn.normal(size=self._features), float(action), self._left == 0, False, {}


class Policy(nn.Module):
    """An LSTM that chooses one of two actions."""

    def __init__(self, features: int = 3, levels: int = 1, *, batch_first: bool = False) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(features, 5, levels, batch_first=batch_first), nn.Linear(5, 2)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        """Return the scores of the actions at each step."""
        return self.out(self.rnn(x, state)[0])

    def act(self, seen: np.ndarray, state: Any, starts: np.ndarray, *, draws: bool = False) -> tuple[Tensor, Any]:
        """Return the actions and the next state; where an episode starts, the state is multiplied by zero."""
        x = torch.as_tensor(seen, dtype=torch.float32)
        state = (torch.zeros(self.rnn.num_layers, len(x), 5),) * 2 if state is None else state
        kept = (1 - torch.as_tensor(starts, dtype=torch.float32)).view(1, -1, 1)
        axis = 1 if self.rnn.batch_first else 0
        y, state = self.rnn(x.unsqueeze(axis), tuple(part * kept for part in state))
        answers = self.out(y.squeeze(axis))
        return torch.distributions.Categorical(logits=answers).sample() if draws else answers.argmax(1), state


class OwnCell(nn.Module):
    """An LSTM cell by its formulas, which nobody registered."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.gates = nn.Linear(features + units, 4 * units)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return h and the next state."""
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)


class Agent(nn.Module):
    """An actor and critic as CleanRL's ppo_atari_lstm.py has it, over an LSTM cell written by hand."""

    def __init__(self, kind: type[nn.Module] = OwnCell) -> None:
        super().__init__()
        self.network, self.lstm = nn.Linear(3, 4), kind(4, 5)
        self.actor, self.critic = nn.Linear(5, 2), nn.Linear(5, 1)

    def get_states(self, x: Tensor, lstm_state: Any, done: Tensor) -> tuple[Tensor, Any]:
        """Return the hidden states of all steps, and the last state; where an episode began, it is zero before."""
        rows, hidden = len(lstm_state[0]), []
        for one, ended in zip(self.network(x).tanh().reshape(-1, rows, 4), done.reshape(-1, rows), strict=True):
            kept = (1 - ended).view(-1, 1)
            h, lstm_state = self.lstm(one, (kept * lstm_state[0], kept * lstm_state[1]))
            hidden.append(h)
        return torch.cat(hidden), lstm_state

    def get_action_and_value(self, x: Tensor, lstm_state: Any, done: Tensor) -> tuple[Tensor, ...]:
        """Return a drawn action, its log-probability, the entropy, the value and the next state."""
        hidden, lstm_state = self.get_states(x, lstm_state, done)
        actions = torch.distributions.Categorical(logits=self.actor(hidden))
        action = actions.sample()
        return action, actions.log_prob(action), actions.entropy(), self.critic(hidden), lstm_state
