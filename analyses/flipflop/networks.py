"""The flip-flop's networks as subjects: on which sequences each is asked, and for which bits."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from models.checkpoints import weights_digest
from models.data import generator
from models.flipflop import stored
from models.flipflop.fitted_head import fit_head
from models.flipflop.network import FlipFlop
from models.flipflop.task import BITS, held, pulses
from models.flipflop.training import RECIPES
from probe.evidence.measurements import Network
from probe.recurrent.finding import find_layers
from probe.subjects.concepts import NUMERIC, Concept, Known, resolve
from probe.subjects.networks.network_file import Opened
from probe.subjects.readouts import NUMBER, Readout, build_head
from probe.subjects.subject import Subject

#: The cells, and what each is called in words.
CALLED = {"lstm": "LSTM", "gru": "GRU", "rnn": "tanh RNN"}
CELLS = tuple(RECIPES)
#: The concepts, one a channel.
NAMES = tuple(f"bit {channel + 1}" for channel in range(BITS))
#: The sequences on which networks are asked, which no training sees: how many, of how many steps.
SEQUENCES, LENGTH = 256, 24
#: Chances of a pulse in them. In training a bit is held for two steps on average, here for ten: who asks for the
#: memory must not ask for the last two inputs.
PROBABILITY = 0.1
#: How fixed points are searched: without pulses, from visited states and as many with noise (Golub & Sussillo 2018).
SEARCH = {"silent": torch.zeros(BITS, dtype=torch.float64), "starts": 400, "noise": 0.5}
#: Steps after which states are patched.
STEPS = (3, 7, 11)


def last_sign(channel: int, x: np.ndarray) -> np.ndarray:
    """Return the sign of a channel's last pulse after each step of (time, channel); NaN before its first."""
    found = held(torch.as_tensor(x)[None])[0, :, channel].numpy()
    return np.where(found == 0, np.nan, found)


def inputs() -> Tensor:
    """Return the pulses that every network of the study reads, (sequence, step, channel)."""
    return pulses(SEQUENCES, LENGTH, PROBABILITY, generator(0, "flip-flop study")).double()


def subjects(networks: Sequence[stored.Trained], *, judged: bool = True) -> list[Subject]:
    """Return trained flip-flops as subjects, three of each: one for each bit that it answers, at every step.

    Args:
        networks: the study's own, or others to explore with.
        judged: whether rules are about them, and each has its own initialisation and that with a fitted head beside
            it; if not, their role is `other`.
    """
    x = inputs()
    lengths, about = np.full(SEQUENCES, LENGTH), "the sign of its last pulse"
    known = {
        name: resolve(name, Concept(partial(last_sign, channel), NUMERIC, about), x.numpy(), lengths)
        for channel, name in enumerate(NAMES)
    }
    found: list[Subject] = []
    for one in networks:
        name = f"flipflop-{one.cell}/seed-{one.seed}"
        roles = {"trained" if judged else "other": (one.model, "")}
        if judged:
            # The last bits of what is computed here depend on the processor.
            told = hashlib.sha256(f"fitted head on {weights_digest(one.untrained)}".encode()).hexdigest()
            fitted = fit_head(one.untrained, one.seed, PROBABILITY)
            roles |= {"own initialisation": (one.untrained, ""), "fitted head": (fitted, told)}
        for role, (given, known_by) in roles.items():
            own, model = name if given is one.model else f"{name}/{role}", copy.deepcopy(given).double()
            found += _answering(Network(own, role, model, one.seed, known_by), model, x, known)
    return found


def _answering(network: Network, model: FlipFlop, x: torch.Tensor, known: dict[str, Known]) -> Iterator[Subject]:
    """Yield a network once for each bit that it answers."""
    layers, lengths = find_layers(model), np.full(len(x), x.shape[1])
    for channel, (name, concept) in enumerate(known.items()):
        weight, bias = (part[channel : channel + 1].detach() for part in (model.head.weight, model.head.bias))
        readout = Readout(name, weight=weight, bias=bias, kind=NUMBER, steps="every")
        head = build_head(readout, concept, Opened(model, network.name), model.layer.hidden_size, len(x))
        yield Subject(network, x, lengths, known, layers, readout, layers[0], head)
