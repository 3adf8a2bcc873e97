"""Two studies of which everything is known: a language model with a planted unit, and brackets that a GRU learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

#: What the language model reads, one symbol a feature: letters, a space, a full stop, and two quotation marks.
SYMBOLS = "abcd .«»"
OPENS, CLOSES = SYMBOLS.index("«"), SYMBOLS.index("»")
QUOTING_UNITS = 12


def one_hot(texts: list[str]) -> np.ndarray:
    """Return texts of one length as inputs, (text, letter, symbol)."""
    return np.array([[[float(one == symbol) for symbol in SYMBOLS] for one in text] for text in texts], np.float32)


def texts(count: int = 200, length: int = 32, seed: int = 0) -> list[str]:
    """Return random texts, an eighth of whose letters are quoted: 6 to 15 at a time, now and then."""
    rng, found = np.random.default_rng(seed), list[str]()
    for _ in range(count):
        text, left = "", 0
        while len(text) < length:
            if left:
                left -= 1
                text += str(rng.choice(list(SYMBOLS[:OPENS]))) if left else "»"
            elif rng.random() < 0.015:
                left, text = int(rng.integers(6, 16)), text + "«"
            else:
                text += str(rng.choice(list(SYMBOLS[:OPENS]), p=[0.3, 0.2, 0.2, 0.1, 0.15, 0.05]))
        found.append(text)
    return found


def quoted(x: np.ndarray) -> np.ndarray:
    """Return for each letter whether it is quoted, 0 or 1: from « on, until »."""
    now, found = 0, []
    for step in x:
        now = 1 if step[OPENS] else 0 if step[CLOSES] else now
        found.append(now)
    return np.array(found)


def language_model() -> nn.LSTM:
    """Return an LSTM whose unit 0 is positive within quotation marks, negative after them; the others are random."""
    torch.manual_seed(0)
    lstm: Any = nn.LSTM(len(SYMBOLS), QUOTING_UNITS, batch_first=True)
    names: tuple[str, ...] = ("input", "forget", "candidate", "output")
    gate = {name: place * QUOTING_UNITS for place, name in enumerate(names)}
    with torch.no_grad():
        for parameter in lstm.parameters():
            for row in gate.values():
                parameter[row] = 0
        lstm.weight_hh_l0[:, 0] = 0
        lstm.weight_ih_l0[gate["input"], [OPENS, CLOSES]] = 24
        lstm.weight_ih_l0[gate["forget"], [OPENS, CLOSES]] = -24
        lstm.weight_ih_l0[gate["candidate"], OPENS], lstm.weight_ih_l0[gate["candidate"], CLOSES] = 5, -5
        for name, value in (("input", -12), ("forget", 12), ("output", 12)):
            lstm.bias_ih_l0[gate[name]] = value
    return lstm


def head_of_unit_0() -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a logit that is above 0 where unit 0 of the language model says quoted."""
    return np.array([[20.0] + [0.0] * (QUOTING_UNITS - 1)]), np.array([-1.0])


def brackets(count: int = 300, seed: int = 0, time: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of 6 to 12 brackets, (sequence, step, 2), of depth 0 to 3, and their lengths."""
    rng = np.random.default_rng(seed)
    lengths, x = rng.integers(6, time + 1, count), np.zeros((count, time, 2), np.float32)
    for row, length in enumerate(lengths):
        now = 0
        for step in range(length):
            opens = now == 0 or (now < 3 and rng.random() < 0.5)
            now += 1 if opens else -1
            x[row, step, int(not opens)] = 1
    return x, lengths


def depth(x: np.ndarray) -> np.ndarray:
    """Return how many brackets are open."""
    return np.cumsum(x[:, 0] - x[:, 1])


def can_occur(x: np.ndarray) -> bool:
    """Return whether brackets never close what is not open, and never go below three."""
    open_ones = depth(x)
    return bool(((open_ones >= 0) & (open_ones <= 3)).all())


class Brackets(nn.Module):
    """A GRU and a head on its last hidden state, trained to say how many brackets are open."""

    def __init__(self, x: np.ndarray, lengths: np.ndarray) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = nn.GRU(2, 12, batch_first=True), nn.Linear(12, 4)
        right = torch.tensor([depth(one[:length])[-1] for one, length in zip(x, lengths, strict=True)]).long()
        adam = torch.optim.Adam(self.parameters(), 1e-2)
        for _ in range(200):
            h = self.encoder(torch.tensor(x))[0][torch.arange(len(x)), torch.as_tensor(lengths - 1)]
            loss = nn.functional.cross_entropy(self.head(h), right)
            adam.zero_grad()
            loss.backward()
            adam.step()
