"""What a careful user writes without any tool: the loop over the steps of an `nn.LSTM`, recording and patching.

Results are compared with it before anything is timed, and it is a row of the tables. The input product is done once
for all steps, and each step writes into time-major buffers in place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The six signals in the order in which they are returned: i f g o c h.
SIGNALS = ("input_gate", "forget_gate", "cell_candidate", "output_gate", "cell_state", "hidden_state")


class Counter(nn.Module):
    """The network of the sweep: an LSTM over bits, and a linear head on its last hidden state.

    Args:
        hidden_size: units of the LSTM.
        n_classes: outputs of the head.
    """

    def __init__(self, hidden_size: int = 12, n_classes: int = 11) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, class) for x of (batch, time, 1)."""
        hidden, _ = self.lstm(x)
        return self.head(hidden[:, -1])


def record(lstm: nn.LSTM, x: Tensor) -> list[Tensor]:
    """Return i f g o c h at every step, (batch, time, unit) each, for x of (batch, time, feature)."""
    n = lstm.hidden_size
    weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
    products = functional.linear(x.transpose(0, 1), weight_ih, bias_ih + bias_hh)
    gates = torch.empty_like(products)
    cells = products.new_empty(*products.shape[:2], n)
    hidden = torch.empty_like(cells)
    h = c = products.new_zeros(products.shape[1], n)
    for t in range(len(products)):
        a = torch.addmm(products[t], h, weight_hh.T, out=gates[t])
        i, f, g, o = a.chunk(4, dim=1)
        a[:, : 2 * n].sigmoid_()
        g.tanh_()
        o.sigmoid_()
        c = torch.addcmul(f * c, i, g, out=cells[t])
        h = torch.mul(o, c.tanh(), out=hidden[t])
    return [values.transpose(0, 1) for values in (*gates.chunk(4, dim=2), cells, hidden)]


def sweep(model: Counter, x: Tensor, source: Tensor) -> Tensor:
    """Patch c at every (step, unit) with its value on the source's strings; return the logits of each edit.

    A step's edits share a batch, and resume from the states that the run had reached before that step. The steps
    after it run in a loop, since on so few units the fused kernel is slower.

    Args:
        model: the network.
        x: the strings that are run, (batch, time, 1).
        source: the strings whose cell states are put in, (batch, time, 1).

    Returns:
        The logits, (step and unit, batch, class), units varying fastest.
    """
    lstm, n = model.lstm, model.lstm.hidden_size
    batch, length = x.shape[:2]
    every = torch.arange(n)
    values = record(lstm, source)[4]
    outputs, cells = record(lstm, x)[3:5]
    weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
    products = functional.linear(x.transpose(0, 1), weight_ih, bias_ih + bias_hh)
    logits = []
    for t in range(length):
        c = cells[:, t].repeat(n, 1, 1)
        c[every, :, every] = values[:, t].T
        c = c.flatten(0, 1)
        h = outputs[:, t].repeat(n, 1) * c.tanh()
        for later in range(t + 1, length):
            a = torch.addmm(products[later].repeat(n, 1), h, weight_hh.T)
            i, f, g, o = a.chunk(4, dim=1)
            a[:, : 2 * n].sigmoid_()
            c = torch.addcmul(f * c, i, g.tanh_())
            h = o.sigmoid_() * c.tanh()
        logits.append(model.head(h).view(n, batch, -1))
    return torch.cat(logits)
