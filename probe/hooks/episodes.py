"""Episodes that are played side by side in environments, each with its own seed; `rollout` runs the policy."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.signals import Signal

#: A layer's name and one of its signals.
Place = tuple[str, Signal]


@dataclass(eq=False)
class Episode:
    """One episode while it is played: of each step what is kept of it.

    Attributes:
        seed: its environment was reset with it.
        observations: what the policy saw.
        actions: what it did.
        rewards: what it got.
        states: the signals, (unit,) each.
        features: what each module read.
        initial: the states before the first step, (unit,) each.
    """

    seed: int
    observations: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    states: list[dict[Place, Tensor]] = field(default_factory=list)
    features: list[dict[str, Tensor]] = field(default_factory=list)
    initial: dict[Place, Tensor] = field(default_factory=dict)


class Game:
    """Environments, and which episode each plays; one that has none left stands still.

    An episode follows from its seed and the policy. One environment alone sets the generators of torch, numpy and
    Python to the seed of each episode; of several, which would share them, none may draw from torch's or numpy's.
    (Python's cannot be watched: what checks types at run time, such as beartype, draws from it too.)

    Args:
        make: makes an environment.
        environments: how many.
        episodes: what is played, in this order.
        most: the most steps of an episode.

    Attributes:
        playing: for each environment the number of its episode and the episode, or None.
        seen: for each environment its latest observation.

    Raises:
        ProbeError: `make` gives no environment, or one twice, or observations that are no arrays.
    """

    def __init__(self, make: Callable[[], Any], environments: int, episodes: Sequence[Episode], most: int) -> None:
        self._made = [make() for _ in range(environments)]
        if len({id(one) for one in self._made}) < environments:
            raise ProbeError("make() returned an environment that it had returned before; make a new one each time.")
        strange = next((one for one in self._made if not (hasattr(one, "reset") and hasattr(one, "step"))), None)
        if strange is not None or None in self._made:
            raise ProbeError(
                f"make() returned a {type(strange).__name__}, which has no reset and step: no environment."
            )
        self._left, self._most = list(enumerate(episodes)), most
        self._drawn = None if environments == 1 else generators()
        self.playing: list[tuple[int, Episode] | None] = [None] * environments
        self.seen: list[Any] = [None] * environments
        for number in range(environments):
            self._begin(number)

    @property
    def running(self) -> bool:
        """Whether an episode is being played."""
        return any(self.playing)

    @property
    def steps(self) -> list[int | None]:
        """At which step of its episode each environment is."""
        return [None if one is None else len(one[1].rewards) for one in self.playing]

    def step(self, actions: Any) -> None:
        """Play one step in each environment.

        Raises:
            ProbeError: a reward is no finite number, or the step drew random numbers that episodes share.
        """
        for number, one in enumerate(self.playing):
            if one is None:
                continue
            action, episode = actions[number], one[1]
            # Copies: an environment, or a policy, may write the next ones into the same memory.
            episode.observations.append(np.array(self.seen[number]))
            episode.actions.append(np.array(action))
            seen, reward, terminated, truncated, _ = self._made[number].step(action)
            if not math.isfinite(reward):
                raise ProbeError(
                    f"Step {len(episode.rewards)} of episode {one[0]} got the reward {reward}; a return is a sum of "
                    "finite rewards. Mend the environment, or wrap it in one that pays a number."
                )
            episode.rewards.append(float(reward))
            self.seen[number] = _array(seen)
            if terminated or truncated or len(episode.rewards) >= self._most:
                self._begin(number)
        if self._drawn is not None and self._drawn != generators():
            raise ProbeError(
                "The policy or an environment draws from a generator of random numbers that all episodes share, "
                "torch's or numpy's, so that an episode would depend on those beside it, and an edit of one would "
                "change the others. Play one at a time, environments=1, or choose actions without drawing."
            )

    def _begin(self, number: int) -> None:
        self.playing[number] = self._left.pop(0) if self._left else None
        one = self.playing[number]
        if one is not None:
            seed = one[1].seed
            if self._drawn is None:
                _ = torch.manual_seed(seed), np.random.seed(seed % 2**32), random.seed(seed)
            self.seen[number] = _array(self._made[number].reset(seed=seed)[0])


def _array(seen: Any) -> Any:
    if isinstance(seen, (dict, tuple)):
        raise ProbeError(
            f"An environment's observation is a {type(seen).__name__}, and must be an array: wrap the environment in "
            "one that makes an array of it, such as gymnasium.wrappers.FlattenObservation."
        )
    return seen


@contextmanager
def own_draws() -> Iterator[None]:
    """Leave the generators of torch, numpy and Python as they were."""
    cpu, gpus, numpys, pythons = torch.get_rng_state(), _gpus(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        for number, state in enumerate(gpus):
            torch.cuda.set_rng_state(state, number)
        np.random.set_state(numpys)
        random.setstate(pythons)


def generators() -> tuple[Any, ...]:
    """Return where torch's and numpy's generators stand."""
    torchs = [state.numpy().tobytes() for state in (torch.get_rng_state(), *_gpus())]
    kind, keys, *rest = np.random.get_state()
    return torchs, kind, np.asarray(keys).tobytes(), rest


def _gpus() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []


def filled(columns: Sequence[Sequence[Any]]) -> np.ndarray:
    """Return what episodes of several lengths have at each step, (episode, time, ...), padded with NaN."""
    values = [np.array(column, dtype=float) for column in columns]
    made = np.full((len(values), max(map(len, values)), *values[0].shape[1:]), np.nan)
    for row, value in enumerate(values):
        made[row, : len(value)] = value
    return made


def started(lengths: Sequence[int]) -> np.ndarray:
    """Return where episodes begin, (episode, time)."""
    starts = np.zeros((len(lengths), max(lengths)), dtype=bool)
    starts[:, 0] = True
    return starts
