"""What the page shows of one network: its states and fixed points along three directions, and one interchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from analyses.flipflop.measuring import NOISE, STARTS, STEPS
from analyses.flipflop.subjects import bit_of, subjects
from models.flipflop import stored
from models.flipflop.task import BITS
from probe.methods import fixed_points
from probe.methods.causal.directions import joint_directions
from probe.methods.causal.later import later_states
from probe.methods.causal.pairs import Pairs, along_coordinate
from probe.questions.states import stable_answers
from probe.subjects.computed.ends import runs_of
from probe.subjects.subject import Subject

#: Which network: the first of the study with this cell.
CELL, SEED = "gru", stored.SEEDS[0]
#: The coordinates of the pictures, one a bit.
NAMES = tuple(bit_of(channel) for channel in range(BITS))
#: A saddle is left by a push of this length to either side, and followed for so many steps.
PUSH, FOLLOWED = 0.05, 40
#: The interchange that is shown: after which step, and of which bit, from 0. The base has no pulse of the bit for at
#: least so many steps, and one later.
STEP, BIT, WAIT = STEPS[1], 0, 7


@dataclass(frozen=True, eq=False)
class Interchange:
    """One interchange of one bit, in numbers that the head gives.

    Attributes:
        pulses: what the base reads, (step, bit).
        base: what the network gives on the base, (step, bit).
        patched: the same with the source's coordinate of the bit put in, (step, bit); NaN up to the patch.
    """

    pulses: Float[np.ndarray, "step bit"]
    base: Float[np.ndarray, "step bit"]
    patched: Float[np.ndarray, "step bit"]

    @property
    def changed(self) -> int:
        """After how many steps the patched answer to the bit is not the base's own."""
        return int(self._differ[:, BIT].sum())

    @property
    def others(self) -> int:
        """After how many steps the patched answer to another bit is not the base's own."""
        return int(np.delete(self._differ, BIT, axis=1).sum())

    @property
    def until(self) -> int:
        """After which step the base's next pulse of the bit comes, from 0."""
        return STEP + 1 + int(np.flatnonzero(self.pulses[STEP + 1 :, BIT])[0])

    @property
    def _differ(self) -> np.ndarray:
        return (np.sign(self.patched) != np.sign(self.base))[STEP + 1 :]


class Shown:
    """A network's states along the directions of its three bits.

    Args:
        group: the network as subjects, one a bit.
    """

    def __init__(self, group: Sequence[Subject]) -> None:
        self.group, self.machine = group, runs_of(group[0])
        self.states = self.machine.clean.states.numpy()
        concepts = np.stack([subject.answered.values for subject in group], axis=-1)
        self.values = concepts
        flat, held = self.states.reshape(-1, self.states.shape[-1]), concepts.reshape(-1, len(group))
        self.directions, self.readings = joint_directions(flat, held)
        self._middle = flat.mean(0) - held.mean(0) @ self.directions

    def coordinates(self, states: Float[np.ndarray, "*rows size"]) -> Float[np.ndarray, "*rows 3"]:
        """Return where states stand along the three directions: at 1 or -1 where they hold a bit of that sign."""
        return (states - self._middle) @ self.readings.T

    @cached_property
    def silent(self) -> torch.Tensor:
        """The input without a pulse."""
        return torch.zeros(BITS, dtype=torch.float64)

    @cached_property
    def _points(self) -> fixed_points.Points:
        return stable_answers.find(self.group[0], silent=self.silent, starts=STARTS, noise=NOISE)[0]

    @cached_property
    def points(self) -> pd.DataFrame:
        """The fixed points: their coordinates, in how many directions each is unstable, and what is answered there.

        `row` is the point's place among those that were found.
        """
        rows = np.flatnonzero(self._points.fixed)
        states = self._points.states[rows]
        frame = pd.DataFrame(self.coordinates(states).round(4), columns=pd.Index(NAMES))
        frame["unstable"] = self._points.unstable_directions[rows]
        frame["answer"] = stable_answers.answers_at(self.group, states)
        frame["row"] = rows
        # How small q is at a point is rounding, and must not choose the order.
        return frame.sort_values(["unstable", *NAMES]).reset_index(drop=True)

    @cached_property
    def flows(self) -> list[tuple[Float[np.ndarray, "_ 3"], tuple[str, str]]]:
        """The way from each saddle with one unstable direction to either side, and what is answered at both ends."""
        found = []
        for row in self.points.loc[self.points["unstable"] == 1, "row"]:
            values, vectors = np.linalg.eig(self._points.jacobians[row])
            along = np.real(vectors[:, np.abs(values).argmax()])
            along *= np.sign(self.readings @ along)[np.abs(self.readings @ along).argmax()] / np.linalg.norm(along)
            start = self._points.states[row] + PUSH * np.array([[-1.0], [1.0]]) * along
            way = [torch.as_tensor(start)]
            for _ in range(FOLLOWED):
                way.append(fixed_points.step(self.machine.dynamics, way[-1], self.silent).detach())
            first, last = stable_answers.answers_at(self.group, way[-1].numpy())
            back, ahead = np.moveaxis(self.coordinates(torch.stack(way).numpy()), 1, 0)
            found.append((np.concatenate([back[::-1], ahead]).round(4), (first, last)))
        return found

    @cached_property
    def interchange(self) -> Interchange:
        """The first base, and the first source, whose bits fit what is to be seen."""
        x, held = self.group[0].x.numpy(), self.values[:, STEP]
        later = x[:, STEP + 1 :] != 0
        waits = ~later[:, :WAIT, BIT].any(1) & later.any(1).all(1)
        # The next pulse gives back the base's own value, so that the picture shows both ends of the change.
        following = x[np.arange(len(x)), STEP + 1 + later[:, :, BIT].argmax(1), BIT]
        changes = (np.diff(self.values, axis=1) != 0).any(1).all(1)
        base = int(np.flatnonzero(waits & changes & (following == held[:, BIT]))[0])
        source = int(np.flatnonzero((held != held[base]).all(1))[0])
        others = np.delete(np.arange(len(x)), [base, source])
        encodings, readings = joint_directions(self.states[others, STEP], held[others])
        pairs = Pairs(self.machine, STEP, torch.tensor([base]), torch.tensor([source]), exhaustive=False)
        states = later_states(pairs, along_coordinate(encodings[BIT], readings[BIT]))
        clean = torch.as_tensor(self.states[base])
        own, patched = self._answers(clean), self._answers(states.states[0])
        before = np.full((STEP, len(self.group)), np.nan)
        return Interchange(x[base], own, np.concatenate([before, patched]))

    @torch.no_grad()
    def _answers(self, states: torch.Tensor) -> Float[np.ndarray, "step bit"]:
        """Return what the head makes of states, a number for each bit."""
        found = [runs_of(subject).readout.answers(states).expected.numpy() for subject in self.group]
        return np.stack(found, axis=-1)


def shown() -> Shown:
    """Return the first network of the study with the cell that is shown.

    Raises:
        ProbeError: it is missing or damaged.
    """
    return Shown(subjects(stored.networks(CELL, [SEED]), controls=False))
