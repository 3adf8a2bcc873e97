"""The networks of the flip-flop's study with their controls, as subjects: three answers a network, at every step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from models.data import generator
from models.flipflop import stored
from models.flipflop.fitted_head import fit_head
from models.flipflop.network import FlipFlop
from models.flipflop.task import BITS, held, pulses
from models.flipflop.training import RECIPES
from probe.evidence.measurements import Network
from probe.recurrent.finding import find_layers
from probe.subjects.concepts import NUMERIC, Known, resolve
from probe.subjects.heads import build
from probe.subjects.network_file import Opened
from probe.subjects.readouts import NUMBER, Readout
from probe.subjects.subject import Subject

#: The sequences on which networks are asked, which no training sees: how many, of how many steps.
SEQUENCES, LENGTH = 256, 24
#: Chances of a pulse in them. In training a bit is held for two steps on average, here for ten: who asks for the
#: memory must not ask for the last two inputs.
PROBABILITY = 0.1
CELLS = tuple(RECIPES)
#: Networks by cell and seed: the study's own, or others to explore with.
Networks = Sequence[stored.Trained]


def bit_of(channel: int) -> str:
    """Return what the concept of a channel is called, from 0."""
    return f"bit {channel + 1}"


def last_sign(channel: int, x: np.ndarray) -> np.ndarray:
    """Return the sign of a channel's last pulse after each step, (time,), NaN before its first.

    Args:
        channel: from 0.
        x: the inputs of one sequence, (time, channel).
    """
    found = held(torch.as_tensor(x)[None])[0, :, channel].numpy()
    return np.where(found == 0, np.nan, found)


def _asked() -> tuple[torch.Tensor, dict[str, Known]]:
    x = pulses(SEQUENCES, LENGTH, PROBABILITY, generator(0, "flip-flop study")).double()
    lengths = np.full(SEQUENCES, LENGTH)
    known = {}
    for channel in range(BITS):
        name = bit_of(channel)
        given = resolve(name, partial(last_sign, channel), x.numpy(), lengths)
        known[name] = Known(
            name, NUMERIC, given.values, description="the sign of its last pulse", function=given.function
        )
    return x, known


def subjects(networks: Networks, *, controls: bool = True) -> list[Subject]:
    """Return networks as subjects, three of each: one for each bit that it answers, at every step.

    Roles: `trained`; `own initialisation`, the network before its training; and `fitted head`, the same recurrent
    weights with a head that ridge regression fitted on other sequences of the kind that is asked.

    Args:
        networks: trained flip-flops.
        controls: whether the two controls stand beside each.
    """
    x, known = _asked()
    found: list[Subject] = []
    for one in networks:
        name = f"flipflop-{one.cell}/seed-{one.seed}"
        roles = {"trained": one.model}
        if controls:
            fitted = fit_head(one.untrained, one.seed, PROBABILITY)
            roles |= {"own initialisation": one.untrained, "fitted head": fitted}
        for role, model in roles.items():
            network = Network(name if role == "trained" else f"{name}/{role}", role, copy.deepcopy(model), one.seed)
            found += _of_network(network, model, x, known)
    return found


def _of_network(network: Network, model: FlipFlop, x: torch.Tensor, known: dict[str, Known]) -> Iterator[Subject]:
    network.model.double()
    layers, lengths = find_layers(network.model), np.full(len(x), x.shape[1])
    for channel, (name, concept) in enumerate(known.items()):
        weight, bias = (
            part[channel : channel + 1].detach().double() for part in (model.head.weight, model.head.bias)
        )
        readout = Readout(name, weight=weight, bias=bias, kind=NUMBER, steps="every")
        head = build(readout, concept, Opened(network.model, network.name), model.layer.hidden_size, len(x))
        yield Subject(network, x, lengths, known, layers, readout, layers[0], head)
