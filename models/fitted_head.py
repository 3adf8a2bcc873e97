"""The fitted head: an untrained network whose head alone is fitted to the task, a control for answers.

Three heads are a line, whose number is rounded to a count. Two have a score for each count, as the trained network
has; one of these reads a recurrence with larger weights, see `SCALE`.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from probe.errors import ProbeError, unknown

from .counter import Counter
from .data import Strings, generator

#: How a head is fitted, and what tables call the role of a network with such a head.
HEADS = {
    "least squares": "fitted head",
    "ridge": "ridge head",
    "noise": "noise head",
    "scores": "scores head",
    "scaled": "scaled head",
}
#: Penalties of the ridge head, the largest first, four a decade.
PENALTIES = np.logspace(4, -12, 65)
#: The ways to fit a head with a score for each count, and how many counts there are.
WITH_SCORES, COUNTS = ("scores", "scaled"), 11
#: Of the noise head: the noise in units of each number's sd, that of claim 5b, and how often every string runs.
DOSE, RUNS = 0.1, 32
#: Of the heads with scores: the inverse penalty on their weights, of states in units of their sd over the noisy runs.
PENALTY = 100.0
#: The score of a count that none of the training strings has; of the others the largest is above 0.
NEVER = -50.0
#: By what all weights of the recurrence are multiplied for the scaled head: see `models.scale`, which chose it.
SCALE = 2.0


class FittedHead(nn.Module):
    """A recurrent layer whose last hidden state one line turns into a number, y = v . h + b, or several into scores.

    `models.counter.answer` rounds a number to the nearest count, `expected_answer` takes it as it is; of scores they
    take what they take of a trained network's.

    Args:
        layer: the layer, copied; it keeps its name.
        cell: the layer's name.
        how: a key of `HEADS`, which says whether the head has scores, and whether the layer's weights are scaled.
        scale: by what the weights of a scaled one are multiplied.
    """

    def __init__(
        self, layer: nn.RNNBase, cell: str = "lstm", how: str = "least squares", scale: float = SCALE
    ) -> None:
        super().__init__()
        self.cell = cell
        self.add_module(cell, scaled(layer, scale if how == "scaled" else 1.0))
        with torch.random.fork_rng(devices=[]):
            self.head = nn.Linear(layer.hidden_size, COUNTS if how in WITH_SCORES else 1)
        for part in self.head.parameters():
            nn.init.constant_(part, torch.nan)  # until it is fitted: a run of it is no number

    @property
    def layer(self) -> nn.RNNBase:
        """The recurrent layer, whatever its cell."""
        return getattr(self, self.cell)

    def forward(self, x: Float[Tensor, "batch time 1"]) -> Float[Tensor, "batch *class"]:
        """Return a number a row, (batch,), or scores, (batch, class), read from the hidden state after the last step.

        Args:
            x: the bits in the code that the network reads, (batch, time, 1), any length.
        """
        read = self.head(self.layer(x)[0][:, -1])
        return read[:, 0] if read.shape[1] == 1 else read


def scaled(layer: nn.RNNBase, factor: float) -> nn.RNNBase:
    """Return a copy of a recurrent layer with its weights, W and U, times a factor; biases stay.

    Args:
        layer: the layer.
        factor: 1 for the weights as they are.
    """
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for name, weight in other.named_parameters():
            weight.mul_(factor if name.startswith("weight") else 1.0)
    return other


@torch.no_grad()
def fit_head(
    untrained: Counter, strings: Strings, how: str = "least squares", *, seed: int = 0, scale: float = SCALE
) -> FittedHead:
    """Return a network before training with a fitted head: recurrent weights untouched, a line fitted to its states.

    - `least squares`: without a penalty.
    - `ridge`: with the penalty that answers best in cross-validation; of several such penalties, the largest.
    - `noise`: least squares on states that were reached under the noise of claim 5b.
    - `scores`: multinomial logistic regression on the same states, a score for each count.
    - `scaled`: the same on a recurrence whose weights are `SCALE` times as large.

    Args:
        untrained: the network before training; its own random head is not used.
        strings: what it was trained on afterwards; the state is read after each string's own last step.
        how: a key of `HEADS`.
        seed: of the noise, 0 or more.
        scale: by what the weights of `scaled` are multiplied.

    Returns:
        The control in evaluation mode, with the weights' type; the head is fitted in float64.

    Raises:
        ProbeError: there is no such way to fit it, or the seed is negative.

    Reference:
        docs/science.md, "Definitions", controls: y = v . h_10 + b on the 500 training strings.
    """
    if how not in HEADS:
        raise ProbeError(unknown("way to fit a head", how, HEADS))
    control = FittedHead(untrained.layer, untrained.cell, how, scale)
    layer, counts = copy.deepcopy(control.layer).double(), strings.last_labels.numpy().astype(float)
    steps = strings.x.shape[1]
    ends = torch.full((len(strings.x),), steps) if strings.lengths is None else strings.lengths
    if how in ("noise", *WITH_SCORES):
        states, counts = noisy_states(layer, strings.x.double(), ends, seed), np.tile(counts, RUNS)
    else:
        states = layer(strings.x.double())[0][torch.arange(len(ends)), ends - 1].numpy()
    fit = {"ridge": _ridge} | dict.fromkeys(WITH_SCORES, _scores)
    lines = np.atleast_2d(fit.get(how, _least_squares)(states, counts))
    control.head.weight.copy_(torch.as_tensor(lines[:, :-1]))
    control.head.bias.copy_(torch.as_tensor(lines[:, -1]))
    return control.to(untrained.head.weight.dtype).eval()


def _least_squares(states: Float[np.ndarray, "row unit"], counts: Float[np.ndarray, " row"]) -> np.ndarray:
    """Return the weights of the least-squares line and its constant, (unit + 1,)."""
    # numpy, not torch.linalg: the latter differs between identical processes.
    columns = np.column_stack([states, np.ones(len(states))])
    return np.linalg.lstsq(columns, counts, rcond=None)[0]


def _ridge(states: Float[np.ndarray, "row unit"], counts: Float[np.ndarray, " row"]) -> np.ndarray:
    """Return the weights of a ridge line and its constant, (unit + 1,); the constant is not penalised.

    The penalty is chosen by the share of strings that are answered right when each is left out of the fit in turn. By
    the squared error hardly any penalty would be chosen: nothing in the states is random.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import make_scorer

    scorer = make_scorer(lambda correct, found: float((np.round(found) == correct).mean()))
    # A tie goes to the first penalty, the largest.
    fitted: Any = RidgeCV(alphas=PENALTIES, scoring=scorer).fit(states, counts)
    return np.append(fitted.coef_, fitted.intercept_)


def _scores(states: Float[np.ndarray, "row unit"], counts: Float[np.ndarray, " row"]) -> np.ndarray:
    """Return the weights of a score for each count, and its constant, (count, unit + 1), by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    mean, sd = states.mean(0), states.std(0)
    fitted: Any = LogisticRegression(C=PENALTY, solver="newton-cholesky").fit((states - mean) / sd, counts)
    lines = np.zeros((COUNTS, states.shape[1] + 1))
    lines[:, -1] = NEVER
    weights = fitted.coef_ / sd
    lines[fitted.classes_.astype(int)] = np.column_stack([weights, fitted.intercept_ - weights @ mean])
    return lines


def noisy_states(
    layer: nn.RNNBase, x: Float[Tensor, "string time 1"], ends: Int64[Tensor, " string"], seed: int
) -> Float[np.ndarray, "row unit"]:
    """Return the hidden states after the strings' last steps in runs with noise, all strings of a run together.

    After every step each number of the state gets Gaussian noise of its own, `DOSE` times the number's sd over the
    strings that were still read at that step, without noise.

    Args:
        layer: the recurrent layer, float64.
        x: the strings in the code that the layer reads.
        ends: how many bits each string has.
        seed: of the noise.

    Reference:
        `probe.methods.decomposition.noise`, whose noise this is.
    """
    draws = generator(seed, "noise head")
    rows, again = torch.arange(len(x)), x.repeat(RUNS, 1, 1)
    clean: tuple[Tensor, ...] | None = None
    noisy: tuple[Tensor, ...] | None = None
    found = torch.zeros(len(again), layer.hidden_size, dtype=torch.float64)
    for step in range(x.shape[1]):
        clean = _advanced(layer, x[:, [step]], clean)
        noisy = _advanced(layer, again[:, [step]], noisy)
        read = rows[ends > step]
        noisy = tuple(
            part + DOSE * own[read].std(0, correction=0) * torch.randn(part.shape, generator=draws, dtype=part.dtype)
            for part, own in zip(noisy, clean, strict=True)
        )
        last = (ends == step + 1).repeat(RUNS)
        found[last] = noisy[0][last]
    return found.numpy()


def _advanced(layer: nn.RNNBase, x: Float[Tensor, "row 1 1"], state: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
    """Return the state after one more bit: (h, c) of an LSTM, (h,) of a GRU, each (row, unit)."""
    given = None if state is None else tuple(part[None] for part in state)
    if isinstance(layer, nn.GRU):
        return (layer(x, None if given is None else given[0])[1][0],)
    h, c = layer(x, given)[1]
    return h[0], c[0]
