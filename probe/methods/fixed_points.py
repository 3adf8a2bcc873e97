"""Finds fixed and slow points of a recurrent layer under a constant input, and its Jacobian there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex128, Float, Float64
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.cells.gru import GRUCell
from ..recurrent.cells.lstm import LSTMCell
from ..recurrent.cells.rnn import RNNCell
from ..recurrent.signals import Signal
from .clean_run import CleanRun
from .dynamics import Dynamics

#: q below which a point is fixed, where |F(s) - s| is rounding, and slow; how near two points are one.
FIXED, SLOW, MERGED = 1e-24, 1e-6, 0.01
#: In at most so many rounds a search goes on from between the points that it found; one that finds none is the last.
#: By what share of itself, and of 1, a number may lie beyond its bound.
MIXES, ROUNDED = 8, 1e-6
#: From each start so many steps are taken at most.
ITERATIONS = 200
_EXACT, _SHORT, _LEAST, _MOST = 1e-30, 1e-14, 1e-10, 1e8
_FAR, _LITTLE = 1e-5, 1e-5
#: A modulus so near to 1 is 1: a point is neutral there.
NEAR = 1e-4
#: How many pushes, their size, and for how many steps they run on; how much is left of one that stays. One grows that
#: has left the point, or is larger by so much than halfway: at a corner it may grow at first, and then stay.
PUSHES, PUSH, PUSHED, STAYS, LEFT, GROWS = 16, 1e-6, 200, 0.1, 100.0, 1.4


@dataclass(frozen=True, eq=False)
class Points:
    """Where a layer stands still, or nearly so, under a fixed input; the slowest first.

    Attributes:
        states: the points, (point, size).
        q: |F(s) - s|^2 / 2 of each, (point,).
        jacobians: dF/ds of each, (point, size, size).
        fixed: which of them are fixed points, (point,); the others are slow points.
        reached: the share of starts that ended at a fixed or slow point; the others ended where q is smallest nearby
            and nothing stands still.
        later: runs states on for half of `PUSHED` steps, to see what becomes of a push; None to trust the Jacobians.
        bounded: whether the layer is known to map a ball of states into itself, so that `index` is 1 if no fixed
            point is missing.
    """

    states: Float64[np.ndarray, "point size"]
    q: Float64[np.ndarray, " point"]
    jacobians: Float64[np.ndarray, "point size size"]
    fixed: np.ndarray
    reached: float
    later: Callable[[Tensor], Tensor] | None = None
    bounded: bool = False

    @property
    def index(self) -> int | None:
        """The sum over fixed points of the sign of det(1 - dF/ds); None where an eigenvalue is 1 within `NEAR`.

        It is 1 for all fixed points of a map of a ball into itself. That it is 1 does not show that none is missing:
        two that are born together, a saddle and a node, add to 0.

        Reference:
            Milnor 1965, Topology from the differentiable viewpoint, section 6 (Poincaré-Hopf, for s - F(s)).
        """
        if not self.isolated[self.fixed].all():
            return None
        off = np.eye(self.states.shape[1]) - self.jacobians[self.fixed]
        return round(float(np.linalg.slogdet(off)[0].sum()))

    @property
    def incomplete(self) -> bool:
        """Whether fixed points are missing for certain: the layer is bounded, and `index` is not 1."""
        return self.bounded and self.index not in (None, 1)

    @property
    def isolated(self) -> np.ndarray:
        """Which points have no eigenvalue of 1 within `NEAR`, (point,): no other fixed point lies near to such."""
        return np.abs(self.eigenvalues - 1).min(axis=1, initial=np.inf) > NEAR

    @property
    def eigenvalues(self) -> Complex128[np.ndarray, "point size"]:
        """The eigenvalues of each Jacobian, the largest modulus first."""
        return eigenvalues(self.jacobians)

    @property
    def stable(self) -> np.ndarray:
        """Which points forget a small push, (point,): no modulus is 1 or more within `NEAR`, no push stays."""
        return (self.modulus < 1 - NEAR) & (self._left < STAYS)

    @property
    def neutral(self) -> np.ndarray:
        """Which points keep a small push as it is, (point,), as those on a line of fixed points do."""
        return ~self.stable & (self.unstable_directions == 0)

    @property
    def unstable_directions(self) -> np.ndarray:
        """How many eigenvalues of each point have a modulus above 1, (point,); at least 1 where a push grows.

        Reference:
            Sussillo & Barak 2013, Opening the black box, section 3.1 (saddles by their unstable dimensions).
        """
        grows = (self._left > LEFT) | ((self._left >= STAYS) & self._grown)
        return np.maximum((np.abs(self.eigenvalues) > 1 + NEAR).sum(axis=1), grows)

    @property
    def modulus(self) -> np.ndarray:
        """The largest modulus of each point's eigenvalues, (point,)."""
        return np.abs(self.eigenvalues).max(axis=1, initial=0)

    @property
    def _left(self) -> np.ndarray:
        """By how much more of a small push is left than the Jacobian says, in sizes of the push, (point,).

        At the corner of a relu a Jacobian sees one side alone. 0 at points that the Jacobian does not call stable.
        """
        return self._pushed[1]

    @property
    def _grown(self) -> np.ndarray:
        """Whether more is left than halfway, by `GROWS`, (point,)."""
        return self._pushed[1] > GROWS * self._pushed[0]

    @cached_property
    @torch.no_grad()
    def _pushed(self) -> np.ndarray:
        """Return what `_left` is halfway and at the end, (2, point)."""
        found, rows = np.zeros((2, len(self))), np.flatnonzero(self.fixed & (self.modulus < 1 - NEAR))
        if self.later is None or not len(rows):
            return found
        drawn, size = np.random.default_rng(0), self.states.shape[1]
        half = drawn.choice([-PUSH, PUSH], (PUSHES // 2, size)) * drawn.uniform(0.5, 1, (PUSHES // 2, size))
        pushes, at = np.concatenate([half, -half]), self.states[rows]
        runs = torch.as_tensor(np.concatenate([at[:, None], at[:, None] + pushes], axis=1).reshape(-1, size))
        for half in (0, 1):
            runs = self.later(runs)
            ends = runs.numpy().reshape(len(rows), -1, size)
            told = np.linalg.matrix_power(self.jacobians[rows], PUSHED // 2 * (half + 1)) @ pushes.T
            moved = ends[:, 1:] - ends[:, :1]
            found[half, rows] = (np.abs(moved).max((1, 2)) - np.abs(told).max((1, 2))) / PUSH
        return np.nan_to_num(found, nan=np.inf)

    def __len__(self) -> int:
        return len(self.q)


def step(
    dynamics: Dynamics, states: Float[Tensor, "row size"], fixed_input: Float[Tensor, " input"]
) -> Float[Tensor, "row size"]:
    """Return the states after reading one input, the same for all: F(s).

    Raises:
        ProbeError: the input has not as many numbers as the layer reads.
    """
    _check(dynamics, fixed_input)
    return dynamics.advance(states, fixed_input.double().expand(len(states), 1, -1))


def _check(dynamics: Dynamics, fixed_input: Tensor) -> None:
    wanted = dynamics.inputs
    if tuple(fixed_input.shape) != (wanted,):
        raise ProbeError(
            f"The fixed input has shape {tuple(fixed_input.shape)}; the layer reads {wanted} numbers a step, so it "
            f"must have shape ({wanted},)."
        )


def jacobians(
    dynamics: Dynamics, states: Float[Tensor, "row size"], fixed_input: Float[Tensor, " input"]
) -> Float64[np.ndarray, "row size size"]:
    """Return dF/ds at states: entry (j, k) says how much number j after the step follows number k before it.

    Reference:
        Sussillo & Barak 2013, Opening the black box, equation 5 (the linear part of F at a point).
    """
    rows, size = states.shape
    with torch.enable_grad():
        wide = states.detach().repeat_interleave(size, 0).requires_grad_()
        after = step(dynamics, wide, fixed_input)
        # Copy j of a row asks for the derivative of number j.
        (found,) = torch.autograd.grad(after, wide, torch.eye(size, dtype=after.dtype).repeat(rows, 1))
    return found.view(rows, size, size).numpy()


def eigenvalues(matrices: Float64[np.ndarray, "row size size"]) -> Complex128[np.ndarray, "row size"]:
    """Return the eigenvalues of each matrix, the largest modulus first."""
    values: np.ndarray = np.asarray(np.linalg.eigvals(matrices), dtype=complex)
    # Of a conjugate pair the modulus is the same up to rounding, which must not choose the order.
    order = np.lexsort((np.imag(values), np.real(values), -np.abs(values).round(12)), axis=-1)
    return np.take_along_axis(values, order, axis=-1)


def visited_states(clean: CleanRun, most: int = 100, *, seed: int = 0) -> Float[Tensor, "row size"]:
    """Return states of the clean run, one for each distinct prefix, or so many of them drawn without replacement."""
    steps = enumerate(clean.prefixes)
    kept = [(row, time) for time, one in steps for row in one.rows[clean.has(time)[one.rows]].tolist()]
    chosen = np.array(kept)
    if len(chosen) > most:
        chosen = chosen[np.sort(np.random.default_rng(seed).choice(len(chosen), most, replace=False))]
    return clean.states[torch.as_tensor(chosen[:, 0]), torch.as_tensor(chosen[:, 1])].detach()


def find_points(
    dynamics: Dynamics,
    fixed_input: Float[Tensor, " input"],
    starts: Float[Tensor, "row size"],
    *,
    bound: Float[np.ndarray, " size"] | None = None,
    between: int = 400,
) -> Points:
    """Return the fixed and slow points that are reached from given states under a fixed input.

    q(s) = |F(s) - s|^2 / 2 is made small from every start by Levenberg-Marquardt steps on F(s) - s. Then the search
    goes on from the middles of any two isolated points that it found, until a round finds no other: a saddle lies
    between what its two sides lead to, where no start may be. Points that no start leads to are missing; see
    `Points.incomplete`. Of points nearer than `MERGED` the one with the smallest q stays.

    Args:
        dynamics: the layer's.
        fixed_input: what is read at every step.
        starts: where to start, such as `visited_states(machine.clean)`.
        bound: how large each number of a point may be, (size,); a start that ends beyond it, or beyond
            `bound_at_rest`, found none. None for any.
        between: from how many middles a round starts at most; of more it draws so many.

    Reference:
        Sussillo & Barak 2013, Opening the black box, equation 3 and section 2; Golub & Sussillo 2018,
        FixedPointFinder (many starts at once, merging).
    """
    _check(dynamics, fixed_input)
    at_rest = bound_at_rest(dynamics, fixed_input)
    bounds = [np.full(dynamics.size, np.inf), *(each for each in (bound, at_rest) if each is not None)]
    within = np.min(bounds, axis=0) * (1 + ROUNDED) + ROUNDED

    def later(states: Tensor) -> Tensor:
        return dynamics.advance(states, fixed_input.double().expand(len(states), PUSHED // 2, -1))

    def reached(starts: Tensor) -> tuple[np.ndarray, np.ndarray]:
        states, q = _descend(dynamics, fixed_input, starts)
        rests = (q < SLOW) & (np.abs(states) <= within).all(axis=1)
        return states[rests], q[rests]

    def apart(states: np.ndarray, q: np.ndarray) -> Points:
        kept: list[int] = []
        for row in np.argsort(q, kind="stable").tolist():
            if not kept or np.linalg.norm(states[kept] - states[row], axis=1).min() > MERGED:
                kept.append(row)
        at = jacobians(dynamics, torch.as_tensor(states[kept]), fixed_input)
        return Points(states[kept], q[kept], at, q[kept] < FIXED, share, later, at_rest is not None)

    states, q = reached(starts.detach().double().clone())
    share, drawn = len(q) / max(len(starts), 1), np.random.default_rng(0)
    points = apart(states, q)
    for _ in range(MIXES):
        middles = _middles(points.states[points.fixed & points.isolated], between, drawn)
        if not len(middles):
            break
        states, q = reached(torch.as_tensor(middles))
        before, points = len(points), apart(np.concatenate([points.states, states]), np.concatenate([points.q, q]))
        if len(points) == before:
            break
    return points


def _middles(ends: np.ndarray, most: int, drawn: np.random.Generator) -> Float64[np.ndarray, "row size"]:
    """Return the middles between any two states, or so many of them that are drawn."""
    pairs = np.stack(np.triu_indices(len(ends), 1), axis=1)
    return ends[pairs[np.sort(drawn.permutation(len(pairs))[:most])]].mean(axis=1)


def bound_at_rest(dynamics: Dynamics, fixed_input: Float[Tensor, " input"]) -> Float64[np.ndarray, " size"] | None:
    """Return how large each number of a fixed point can be by the equations, (size,); None where they say nothing.

    A tanh is below 1, and so is h = (1 - z) n + z h, as h = n there. Of an LSTM c = i g / (1 - f) with f at most
    sigmoid(a), a = W x + b + |U| 1 over the forget gate's rows: |c| is at most 1 + e^a. States within these bounds
    stay within.
    """
    cell, sizes = dynamics.cell, np.ones(dynamics.size)
    if isinstance(cell, LSTMCell) and cell.plain:
        alone = cell.inputs(fixed_input.double()[None]) + cell.recurrent(torch.zeros(1, cell.units).double())
        forget = (alone[0] + cell.weights.U.abs().sum(1))[cell.units : 2 * cell.units]
        sizes[dynamics.columns(Signal.CELL_STATE)] = 1 + forget.detach().exp().numpy()
        return sizes
    plain_gru = isinstance(cell, GRUCell) and cell.plain
    return sizes if plain_gru or (isinstance(cell, RNNCell) and cell.activation is torch.tanh) else None


def _descend(
    dynamics: Dynamics, fixed_input: Tensor, states: Tensor
) -> tuple[Float64[np.ndarray, "row size"], Float64[np.ndarray, " row"]]:
    """Return where q is smallest on the way from each state, and q there."""
    s = states.numpy()
    r = _moved(dynamics, s, fixed_input)
    q = (r**2).sum(1) / 2
    damping = np.full(len(s), 1e-3)
    active = np.flatnonzero(q > _EXACT)
    identity = np.eye(s.shape[1])
    # Where a step was refused the state and its slope stay as they were.
    slopes, moved_on = np.empty((*s.shape, s.shape[1])), active
    for _ in range(ITERATIONS):
        if not len(active):
            break
        if len(moved_on):
            slopes[moved_on] = jacobians(dynamics, torch.as_tensor(s[moved_on]), fixed_input) - identity
        slope = slopes[active]
        across = slope.transpose(0, 2, 1)
        gradient = across @ r[active][:, :, None]
        step_taken = -np.linalg.solve(across @ slope + damping[active][:, None, None] * identity, gradient)[:, :, 0]
        there = s[active] + step_taken
        moved = _moved(dynamics, there, fixed_input)
        reached = (moved**2).sum(1) / 2
        better = reached < q[active]
        # At a smallest q that is far from 0 the way ends: nothing stands still there.
        ended = better & (reached > _FAR) & (q[active] - reached < _LITTLE * q[active])
        taken, refused = active[better], active[~better]
        s[taken], r[taken], q[taken] = there[better], moved[better], reached[better]
        damping[taken] = np.maximum(damping[taken] / 10, _LEAST)
        damping[refused] *= 10
        size = np.linalg.norm(step_taken, axis=1)
        goes_on = (q[active] > _EXACT) & (size > _SHORT) & (damping[active] < _MOST) & ~ended
        active, moved_on = active[goes_on], active[goes_on & better]
    return s, q


@torch.no_grad()
def _moved(dynamics: Dynamics, states: np.ndarray, fixed_input: Tensor) -> np.ndarray:
    """Return F(s) - s."""
    before = torch.as_tensor(states)
    return (step(dynamics, before, fixed_input) - before).numpy()
