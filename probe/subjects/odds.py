"""The odds of some of a readout's scores: what a network that predicts symbols says of a concept of two values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ProbeError, several
from ..evidence.words import listed


class Odds(nn.Module):
    """A head whose one score is the log odds of some symbols, above a threshold: log p - log (1 - p) - threshold.

    Args:
        scores: what makes the scores of all symbols of hidden states, (row, symbol).
        chosen: whose odds these are, as places among the scores.
    """

    def __init__(self, scores: nn.Module | Callable[[Tensor], Tensor], chosen: Sequence[int]) -> None:
        super().__init__()
        self.scores, self._chosen = scores, sorted(chosen)
        self.register_buffer("threshold", torch.zeros((), dtype=torch.float64))
        self.register_buffer("sign", torch.ones((), dtype=torch.float64))

    def log_odds(self, h: Float[Tensor, "row unit"]) -> Float[Tensor, " row"]:
        """Return the log odds of the symbols after each hidden state."""
        scores = self.scores(h)
        others = [place for place in range(scores.shape[1]) if place not in self._chosen]
        return scores[:, self._chosen].logsumexp(1) - scores[:, others].logsumexp(1)

    def forward(self, h: Float[Tensor, "row unit"]) -> Float[Tensor, " row"]:
        """Return the log odds above the threshold, or below it where the second value has the smaller odds."""
        return self.get_buffer("sign") * (self.log_odds(h) - self.get_buffer("threshold"))

    def fit(self, log_odds: Float[np.ndarray, " row"], second: Bool[np.ndarray, " row"]) -> None:
        """Set the threshold that most states answer right: a second value lies above it, or below it.

        Args:
            log_odds: after some states.
            second: whether the concept has its second value there.
        """
        order = np.argsort(log_odds, kind="stable")
        values, is_second = log_odds[order], second[order]
        # Right answers if all states from a place on are taken for the second value, and those before for the first.
        above = np.append(is_second[::-1].cumsum()[::-1], 0) + np.insert((~is_second).cumsum(), 0, 0)
        apart = np.insert(np.append(values[1:] > values[:-1], True), 0, True)
        edges = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
        best = {
            sign: int(np.where(apart, right, -1).argmax()) for sign, right in ((1, above), (-1, len(values) - above))
        }
        sign = 1 if above[best[1]] >= len(values) - above[best[-1]] else -1
        self.get_buffer("threshold").fill_(float(edges[best[sign]]))
        self.get_buffer("sign").fill_(sign)

    def said(self, symbols: Sequence[Any], second: str) -> str:
        """Return in words what is answered.

        Args:
            symbols: the symbols, as the study names them.
            second: the concept's second value.
        """
        share = float(torch.sigmoid(self.get_buffer("threshold")))
        side = "above" if float(self.get_buffer("sign")) > 0 else "below"
        return (
            f"the probability of {listed([repr(str(one)) for one in symbols])} as the next symbol: {second} where it "
            f"is {side} {share:.2g}. This bound is fitted: it gives most right answers after the study's steps"
        )


def places_of(symbols: Sequence[Any], answers: Sequence[Any] | None, width: int) -> list[int]:
    """Return where symbols stand among a readout's scores.

    Args:
        symbols: some of `answers`, or places among the scores where there are none.
        answers: what each score stands for, or None.
        width: how many scores there are.

    Raises:
        ProbeError: a symbol is none of them, or all are named.
    """
    names = list(range(width)) if answers is None else list(answers)
    if len(names) != width:
        raise ProbeError(
            f"The readout has {several(width, 'score')} and answers= names {len(names)}; name the symbol of each "
            "score, in their order."
        )
    unknown = [one for one in symbols if one not in names]
    if unknown or not 0 < len(set(symbols)) < width:
        what = f"names {unknown[0]!r}" if unknown else f"names {len(set(symbols))} of {several(width, 'score')}"
        raise ProbeError(
            f"probability_of={list(symbols)!r} {what}; name some of the symbols that the scores stand for, and not "
            f"all: {', '.join(map(repr, names[:12]))}{', ...' * (width > 12)}. answers= says in order what they are."
        )
    return [names.index(one) for one in dict.fromkeys(symbols)]
