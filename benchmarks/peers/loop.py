"""An `nn.LSTM` rewritten as a Python loop, which is what nnsight needs: it cannot see inside the fused kernel.

Every step has one sub-module for each of i f g o c h. It returns its input, so that a tool can read or replace the
value there. The weights are the LSTM's own. The input product is done once for all steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..by_hand import Counter

POINTS = ("i", "f", "g", "o", "c", "h")


class Step(nn.Module):
    """One step of the recurrence."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.f, self.g, self.o, self.c, self.h = (nn.Identity() for _ in POINTS)

    def forward(self, a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return h and c after the step, from the pre-activations (batch, 4 units) and the c before it."""
        i, f, g, o = a.chunk(4, dim=1)
        a[:, : 2 * i.shape[1]].sigmoid_()
        i, f, g, o = self.i(i), self.f(f), self.g(g.tanh_()), self.o(o.sigmoid_())
        c = self.c(torch.addcmul(f * c, i, g))
        return self.h(o * c.tanh()), c


class Loop(nn.Module):
    """The rewritten model: an LSTM's last hidden state, or a counter's logits.

    Args:
        model: the LSTM, or a network that has one and a head.
        steps: how many step modules there are; one that every step shares, or one for each.
    """

    def __init__(self, model: nn.LSTM | Counter, steps: int = 1) -> None:
        super().__init__()
        lstm = model if isinstance(model, nn.LSTM) else model.lstm
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = lstm.all_weights[0]
        self.head = nn.Identity() if isinstance(model, nn.LSTM) else model.head
        self.steps = nn.ModuleList(Step() for _ in range(steps))

    def forward(self, x: Tensor, h: Tensor | None = None, c: Tensor | None = None, start: int = 0) -> Tensor:
        """Return what the head says of the last h.

        Args:
            x: inputs, (batch, time, feature).
            h: hidden state before the first step, zero if None.
            c: cell state before it.
            start: the first step to run; h and c are the states before it.
        """
        recurrent = self.weight_hh.T
        products = functional.linear(x[:, start:].transpose(0, 1), self.weight_ih, self.bias_ih + self.bias_hh)
        zeros = products.new_zeros(products.shape[1], self.weight_hh.shape[1])
        state: tuple[Tensor, Tensor] = zeros if h is None else h, zeros if c is None else c
        for t, product in enumerate(products, start):
            state = self.steps[t % len(self.steps)](torch.addmm(product, state[0], recurrent), state[1])
        return self.head(state[0])
