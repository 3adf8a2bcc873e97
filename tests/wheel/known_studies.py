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
    gate = dict(
        zip(("input", "forget", "candidate", "output"), range(0, 4 * QUOTING_UNITS, QUOTING_UNITS), strict=True)
    )
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
