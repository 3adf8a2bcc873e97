"""`rollout`: episodes of a recurrent policy in its environments, recorded, with edits in the closed loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import NAMES, checked_arguments
from ..edits.kinds import Edit
from ..edits.resolve import EDITS
from ..errors import ProbeError
from ..recording.recording import LayerRecording, Recording, errors_together
from ..recurrent.finding import find_layers
from ..recurrent.global_state import grad_mode_kept
from ..recurrent.kept import put_back
from ..recurrent.layers import LoopLayer
from ..recurrent.signals import Signal
from ..recurrent.steps.forms import advice, is_told
from .episode_edits import acting, of_episodes
from .episodes import Episode, Game, Place, filled, own_draws, started
from .intervene import edited
from .record import options_for, watching

#: Takes observations (environment, ...), a state and which environments begin an episode; gives actions and a state.
Act = Callable[[np.ndarray, Any, np.ndarray], tuple[Any, Any]]
#: How far the state that a step reads may lie from the one that the last step returned.
_HANDED_ON = 1e-5


@dataclass(frozen=True, eq=False)
class Rollout:
    """Episodes of a policy; what an episode does not have any more is NaN, or False.

    Attributes:
        recording: the signals, (episode, time, unit), with how many steps each episode has.
        features: what each recurrent module read, by the name of its first layer, (episode, time, feature).
        observations: what the policy saw, (episode, time, ...).
        actions: what it did, (episode, time, ...).
        rewards: what it got, (episode, time).
        starts: where an episode begins, (episode, time).
        seeds: the seed of each episode: its environment was reset with it.
    """

    recording: Recording
    features: dict[str, Tensor] = field(repr=False)
    observations: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    rewards: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    seeds: tuple[int, ...]

    @property
    def lengths(self) -> np.ndarray:
        """How many steps each episode has, (episode,)."""
        return np.isfinite(self.rewards).sum(1)  # every reward is a finite number

    @property
    def returns(self) -> np.ndarray:
        """The sum of the rewards of each episode, (episode,)."""
        return np.nansum(self.rewards, 1)

    def change_of_return(self, edited: Rollout) -> tuple[float, tuple[float, float] | None]:
        """Return how an edit changes the return: the median over pairs of episodes of one seed, and its interval.

        Args:
            edited: the rollout with the edit.

        Returns:
            The median of `edited` minus this one, and its 95 % interval; None where there are too few pairs for one.

        Raises:
            ProbeError: the episodes have other seeds, so that none are pairs.
        """
        from ..intervals import median_interval

        if self.seeds != edited.seeds:
            raise ProbeError(
                f"The episodes have the seeds {self.seeds} and {edited.seeds}; roll out both with one seed=."
            )
        differences = edited.returns - self.returns
        return float(np.median(differences)), median_interval(differences)


@checked_arguments(layer=NAMES, edits=EDITS)
@grad_mode_kept
def rollout(
    policy: Any,
    make: Callable[[], Any],
    episodes: int,
    *,
    environments: int = 1,
    edits: Sequence[Edit] = (),
    act: Act | None = None,
    signals: Iterable[str] | None = None,
    layer: str | Iterable[str] | None = None,
    seed: int = 0,
    most: int = 10_000,
) -> Rollout:
    """Play episodes with a recurrent policy, and record every gate and state at every step.

    An edit acts on the states of the running policy, so that it changes what the policy does, and so what it sees.
    `steps` counts along an episode, and `rows` names episodes. An episode follows from its seed and the policy
    alone: afterwards the policy, and the generators of random numbers, are as they were.

    Args:
        policy: a torch.nn.Module that `act` runs; or an algorithm with `predict` and a `policy`, such as
            sb3-contrib's RecurrentPPO, which needs no `act`. It is called without gradients, as it is.
        make: makes an environment, as `lambda: gymnasium.make("CartPole-v1")` does, a new one each time. Episode n is
            reset with `seed + n`.
        episodes: how many.
        environments: how many are played side by side; 1 where the policy or the environment draws random numbers
            from torch's, numpy's or Python's own generator, which are then seeded as each episode begins.
        edits: what to change: clamps, steering, functions, ablations by zeros or means, and patches, whose steps and
            rows are those of episodes.
        act: what one step of the policy is: `act(observations, state, starts)` gets the observations as an array,
            (environment, ...); the state that it returned a step before, None at first; and where an episode begins,
            (environment,), whose state it must set back. It returns the actions, (environment, ...), and the state.
            None calls `policy.predict`, deterministic.
        signals: which signals to keep; see `record`.
        layer: which layer, or which; see `record`. Only those that a step calls are recorded.
        seed: of the first episode.
        most: the most steps of an episode.

    Returns:
        The episodes.

    Raises:
        ProbeError: an argument fits nothing, a step calls no recurrent layer, the same one twice, or for several
            steps; the policy does not hand its state on, or hands it on to the next episode; an edit never acted, or
            is by rows that are drawn; episodes side by side share random numbers.

    Reference:
        Gymnasium's Env (reset, step: terminated, truncated).
    """
    model, step = _parts(policy, act)
    played = [Episode(seed + number) for number in range(episodes)]
    run = _Run(model, step, of_episodes(edits, episodes), signals, layer)
    with torch.no_grad(), own_draws(), _modes_kept(model), put_back(model):
        game = Game(make, min(environments, episodes), played, most)
        while game.running:
            run.step(game)
    return run.rollout(played)


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    """Put each module back into training or evaluation mode, which `predict` may change."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _parts(policy: Any, act: Act | None) -> tuple[nn.Module, Act]:
    model = policy if isinstance(policy, nn.Module) else getattr(policy, "policy", None)
    if not isinstance(model, nn.Module):
        raise ProbeError(
            f"The policy is a {type(policy).__name__}; give a torch.nn.Module, or what has one as .policy."
        )
    if act is not None:
        return model, act
    method: Any = getattr(policy, "predict", None)
    if not callable(method):
        raise ProbeError(
            f"{type(policy).__name__} has no predict. Give act=, a function of (observations, state, starts) that "
            "returns (actions, state)."
        )

    def predict(observations: np.ndarray, state: Any, starts: np.ndarray) -> Any:
        return method(observations, state=state, episode_start=starts, deterministic=True)

    return model, predict


def _pair(returned: Any) -> tuple[Any, Any]:
    """Return the actions and the state that a step of the policy returned."""
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        told = f"{len(returned)} values" if isinstance(returned, (tuple, list)) else f"a {type(returned).__name__}"
        raise ProbeError(f"act= returned {told}; it must return two: the actions, (environment, ...), and the state.")
    return returned[0], returned[1]


class _Run:
    """A policy that is run step by step, recorded and edited."""

    def __init__(
        self,
        model: nn.Module,
        act: Act,
        edits: tuple[Edit, ...],
        signals: Iterable[str] | None,
        layer: str | Iterable[str] | None,
    ) -> None:
        self._model, self._act, self._edits = model, act, edits
        self._layer, self._signals = layer, signals
        chosen = find_layers(model, layer)
        self._first = {one.module: one.name for one in reversed(find_layers(model))}
        self._read = {layer.module: self._first[layer.module] for layer in chosen}
        self._unregistered = [one for one in chosen if isinstance(one, LoopLayer) and not is_told(one.module)]
        self._state: Any = None
        #: The edits that moved something, and those that so far moved a state alone that an episode ended with.
        self._acted, self._unread = set[int](), set[int]()
        self._errors: list[float | None] = []
        self._not_called: tuple[str, ...] = ()
        self._last: dict[Place, Tensor] = {}
        self._begun: dict[Place, Tensor] = {}
        self._shapes: dict[str, Mapping[Signal, tuple[int, ...]]] = {}

    def step(self, game: Game) -> None:
        """Play one step of every environment."""
        steps, read = game.steps, dict[str, Tensor]()

        def note(module: nn.Module, given: Any, named: Mapping[str, Any]) -> None:
            first = given[0] if given else named.get("input", next(iter(named.values()), None))
            if isinstance(first, Tensor):
                read[self._read[module]] = _of_one_step(first.detach()).clone()

        starts, left = np.array([step in (0, None) for step in steps]), list[Edit]()
        with ExitStack() as stack:
            for module in self._read:
                stack.callback(module.register_forward_pre_hook(note, with_kwargs=True).remove)
            now = {id(edit): acting(edit, game) for edit in self._edits}
            stack.enter_context(edited(self._model, [one for edits in now.values() for one in edits], left=left))
            states = stack.enter_context(watching(self._model, options_for(self._model, layer=self._layer)))
            seen = states
            if self._signals is not None:
                kept = options_for(self._model, signals=self._signals, layer=self._layer)
                seen = stack.enter_context(watching(self._model, kept))
            actions, self._state = _pair(self._act(np.stack(game.seen), self._state, starts))
        self._check_calls(states, steps)
        self._check_states(states, steps)
        self._keep(game, seen, read, steps)
        before = list(game.playing)
        game.step(actions.detach().cpu().numpy() if isinstance(actions, Tensor) else actions)
        go_on = {row for row, one in enumerate(before) if one is not None and game.playing[row] is one}
        self._note(now, {id(edit) for edit in left}, go_on)

    def _note(self, now: Mapping[int, list[Edit]], left: set[int], go_on: set[int]) -> None:
        """Note which edits have moved something.

        Args:
            now: what each edit did to environments, by its id.
            left: the ids of those that moved a state alone, which only a next step reads.
            go_on: the environments whose episode has a next step.
        """
        for number, edits in now.items():
            moved = [id(one) not in left or not go_on.isdisjoint(one.site.rows or ()) for one in edits]
            (self._acted if any(moved) else self._unread).update({number} if edits else ())

    def _check_calls(self, seen: list[Recording], steps: list[int | None]) -> None:
        """Raise where a step did not call each layer once, for one step of each environment."""
        parts = [part for recording in seen for part in recording.parts]
        called = [part.layer for part in parts]
        if not parts and self._unregistered:
            kinds = sorted({type(layer.module).__name__: layer.module for layer in self._unregistered}.items())
            raise ProbeError(
                "A step of the policy called no layer that is known to be recurrent. One call does not show what the "
                f"state of a cell written by hand is; of {', '.join(name for name, _ in kinds)} say where it stands: "
                f"{advice(kinds[0][1])}."
            )
        if not parts or len({*called}) < len(called) or (self._last and {*called} != {one for one, _ in self._last}):
            raise ProbeError(
                f"A step of the policy called {', '.join(called) or 'no recurrent layer'}; at every step it must "
                "call each layer that is recorded once. Choose others with layer=."
            )
        for part in parts:
            rows, time = next(iter(part.signals.values())).shape[:2]
            if (rows, time) != (len(steps), 1):
                raise ProbeError(
                    f"A step of the policy called layer {part.layer!r} with {rows} rows of {time} steps; it must "
                    f"call it with one step of each of the {len(steps)} environments. Let act= hand the state on, "
                    "or choose other layers with layer=."
                )
        called_not = (set(recording.not_called) for recording in seen)
        self._not_called = tuple(sorted(set.intersection(*called_not) - {*called}))

    def _check_states(self, seen: list[Recording], steps: list[int | None]) -> None:
        """Raise where an environment does not go on with its state, or does so into its next episode."""
        parts = [part for recording in seen for part in recording.parts]
        given = {(part.layer, signal): value for part in parts for signal, value in part.initial.items()}
        self._begun = self._begun or given
        for row, step in enumerate(steps):
            for place, value in given.items():
                if step is None or place not in self._last:
                    continue
                handed_on = _near(value[row], self._last[place][row])
                if step and not handed_on:
                    raise ProbeError(
                        f"Layer {place[0]!r} read another {str(place[1])!r} than it had returned a step before, "
                        "within an episode. Let act= return the state that the policy returned, and reset it where "
                        "starts says."
                    )
                if not step and handed_on and not _near(value[row], self._begun[place][row]):
                    raise ProbeError(
                        f"Layer {place[0]!r} began an episode with the {str(place[1])!r} that the one before had "
                        "ended with. Let act= set it back where starts is True. If the policy shall remember, let "
                        "one episode of the environment be all that it remembers."
                    )
        self._last = {(part.layer, name): value[:, 0] for part in parts for name, value in part.signals.items()}

    def _keep(self, game: Game, seen: list[Recording], read: dict[str, Tensor], steps: list[int | None]) -> None:
        parts = [part for recording in seen for part in recording.parts]
        self._errors += [recording.max_error for recording in seen]
        self._shapes = {part.layer: part.shapes for part in parts}
        for row, one in enumerate(game.playing):
            if one is None:
                continue
            if not steps[row]:
                one[1].initial = {
                    (part.layer, name): value[row].clone() for part in parts for name, value in part.initial.items()
                }
            one[1].states.append(
                {(part.layer, name): value[row, 0].clone() for part in parts for name, value in part.signals.items()}
            )
            one[1].features.append({name: value[row] for name, value in read.items() if len(value) == len(steps)})

    def rollout(self, played: list[Episode]) -> Rollout:
        """Return the episodes."""
        for edit in self._edits:
            if id(edit) not in self._acted | self._unread:
                raise ProbeError(f"{edit!r} changed nothing: no episode came to its steps. Choose some that happen.")
            if id(edit) not in self._acted:
                raise ProbeError(
                    f"{edit!r} changed nothing: every episode that came to its steps ended there, and the layer "
                    "forms its output before it hands that state on. Edit an earlier step, or what its output "
                    "follows from."
                )
        lengths = tuple(len(one.rewards) for one in played)
        signals: dict[str, dict[Signal, Tensor]] = {}
        for name, signal in played[0].states[0]:
            values = [torch.stack([state[name, signal] for state in one.states]) for one in played]
            signals.setdefault(name, {})[signal] = _padded(values)
        initial: dict[str, dict[Signal, Tensor]] = {}
        for name, signal in played[0].initial:
            initial.setdefault(name, {})[signal] = torch.stack([one.initial[name, signal] for one in played])
        ragged = None if len(set(lengths)) == 1 else lengths
        read = {
            name: _padded([torch.stack([now[name] for now in one.features]) for one in played])
            for name in played[0].features[0]
        }
        parts = tuple(
            LayerRecording(
                *(name, 0, own, initial[name], ragged),
                shapes=self._shapes[name],
                inputs=read[name].nan_to_num() if name in read else None,
            )
            for name, own in signals.items()
        )
        return Rollout(
            Recording(None, parts, None, self._not_called, errors_together(self._errors)),
            read,
            filled([one.observations for one in played]),
            filled([one.actions for one in played]),
            filled([one.rewards for one in played]),
            started(lengths),
            tuple(one.seed for one in played),
        )


def _of_one_step(x: Tensor) -> Tensor:
    """Return what one step read, (environment, feature), without an axis of time before or behind the first."""
    if x.dim() < 3:
        return torch.atleast_2d(x)
    return x[0] if len(x) == 1 else x[:, 0]


def _near(one: Tensor, two: Tensor) -> bool:
    return torch.allclose(one, two, atol=_HANDED_ON, rtol=_HANDED_ON)


def _padded(values: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=float("nan"))
