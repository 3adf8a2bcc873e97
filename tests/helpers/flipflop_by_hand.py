"""Flip-flops built by hand: each bit is a unit of its own with two stable states, so all fixed points are known."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.recurrent.finding import find_layers
from probe.subjects.concepts import NUMERIC, Known, resolve
from probe.subjects.networks.network_file import Opened
from probe.subjects.readouts import NUMBER, Readout, build_head
from probe.subjects.subject import Subject

BITS, TIME = 2, 12


class Latch(nn.Module):
    """A tanh RNN with a unit for each bit: h_k = tanh(hold h_k + 8 x_k), read off each by itself.

    Args:
        hold: above 1 a bit is held in one of two stable states, with a saddle at 0; at 0 it is forgotten at once.
        crossed: how much a unit hears of the unit before it.
    """

    def __init__(self, hold: float = 2.0, crossed: float = 0.0):
        super().__init__()
        self.rnn = nn.RNN(BITS, BITS, batch_first=True)
        self.head = nn.Linear(BITS, BITS)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0").copy_(
                hold * torch.eye(BITS) + crossed * torch.eye(BITS).roll(1, 0)
            )
            self.rnn.get_parameter("weight_ih_l0").copy_(8 * torch.eye(BITS))
            self.head.weight.copy_(torch.eye(BITS))

    def forward(self, x: Tensor) -> Tensor:
        """Return a number for each bit after every step."""
        return self.head(self.rnn(x)[0])


def pulses(count: int = 60, seed: int = 0) -> Tensor:
    """Return sequences in which a channel pulses in one of five steps, and both at step 0."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.rand(count, TIME, BITS, generator=generator) < 0.2
    there[:, 0] = True
    return (there * (2.0 * torch.randint(0, 2, there.shape, generator=generator) - 1)).double()


def held(channel: int, x: np.ndarray) -> np.ndarray:
    """Return the sign of a channel's last pulse after each step, one step after the other."""
    values, last = [], np.nan
    for pulse in x[:, channel]:
        last = pulse if pulse else last
        values.append(last)
    return np.array(values)


def subjects(
    model: Latch, name: str = "latch", lengths: np.ndarray | None = None, steps: object = "every"
) -> list[Subject]:
    """Return a network as two subjects, one for each bit, on random sequences."""
    x, copied = pulses(), copy.deepcopy(model).double()
    lengths = np.full(len(x), TIME) if lengths is None else lengths
    x = x * (torch.arange(TIME) < torch.as_tensor(lengths)[:, None])[:, :, None]
    known: dict[str, Known] = {}
    for channel in range(BITS):
        given = resolve(f"bit {channel}", partial(held, channel), x.numpy(), lengths)
        known[given.name] = Known(given.name, NUMERIC, given.values, function=given.function)
    network, layers, found = Network(name, "planted", copied), find_layers(copied), []
    for place, (concept, values) in enumerate(known.items()):
        weight = copied.head.weight.detach()[place : place + 1]
        readout = Readout(concept, weight=weight, kind=NUMBER, steps=steps)
        head = build_head(readout, values, Opened(copied, "latch"), BITS, len(x))
        found.append(Subject(network, x, lengths, known, layers, readout, layers[0], head))
    return found
