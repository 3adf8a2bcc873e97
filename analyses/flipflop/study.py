"""The flip-flop's studies, one a cell: which networks, what each is asked, and where what was measured lies."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from analyses.flipflop.rules import RULES
from models.checkpoints import weights_digest
from models.data import generator
from models.flipflop import stored
from models.flipflop.fitted_head import fit_head
from models.flipflop.network import FlipFlop
from models.flipflop.task import BITS, held, pulses
from models.flipflop.training import RECIPES
from probe import Finding, Study
from probe.errors import ProbeError, unknown
from probe.evidence.measurements import Network
from probe.questions import Question
from probe.questions.answers import answers
from probe.questions.interventions import single_answers
from probe.questions.states import stable_answers
from probe.recurrent.finding import find_layers
from probe.storage.files import write_atomically
from probe.subjects.concepts import NUMERIC, Concept, Known, resolve
from probe.subjects.heads import build
from probe.subjects.networks.network_file import Opened
from probe.subjects.readouts import NUMBER, Readout
from probe.subjects.subject import Subject

FOLDER = Path(__file__).parent / "measured"
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
#: Raised by hand when the sequences, the bits or the answers are defined in another way.
VERSION = 1
#: How fixed points are searched: without pulses, from visited states and as many with noise (Golub & Sussillo 2018).
SEARCH = {"silent": torch.zeros(BITS, dtype=torch.float64), "starts": 400, "noise": 0.5}
#: Steps after which states are patched.
STEPS = (3, 7, 11)
#: An untrained network's own head is random, and is asked for its fixed points alone.
ANSWERING = ("trained", "fitted head")
QUESTIONS = (
    Question(
        "step_answers",
        "After every step, are all three answers right?",
        answers.measure_steps,
        roles=ANSWERING,
        rules=RULES[:1],
        text="Pulses of 1 or \N{MINUS SIGN}1 come now and then on three channels. After every step a network gives "
        "the sign of each channel's last pulse.",
    ),
    Question(
        "stable_answers",
        "Where does the state rest when no pulse comes?",
        stable_answers.measure,
        rules=RULES[1:3],
        settings=SEARCH,
        version=3,
        text="A fixed point is a state that does not change while no pulse comes. It is stable if the network "
        "returns to it from nearby, and a saddle if the state moves away along some directions. The axes of the "
        "picture are the directions along which the states hold the bits.",
    ),
    Question(
        "single_answers",
        "Does one direction of the state carry one bit?",
        single_answers.measure,
        roles=ANSWERING,
        rules=RULES[3:],
        settings={"steps": STEPS},
        text="After a step of one sequence we swap in another sequence's coordinate along one bit's direction, and "
        "go on. An answer unrelated to the bit would match half of the time.",
    ),
)


def last_sign(channel: int, x: np.ndarray) -> np.ndarray:
    """Return the sign of a channel's last pulse after each step of (time, channel); NaN before its first."""
    found = held(torch.as_tensor(x)[None])[0, :, channel].numpy()
    return np.where(found == 0, np.nan, found)


def subjects(networks: Sequence[stored.Trained], *, judged: bool = True) -> list[Subject]:
    """Return trained flip-flops as subjects, three of each: one for each bit that it answers, at every step.

    Args:
        networks: the study's own, or others to explore with.
        judged: whether rules are about them, and each has its own initialisation and that with a fitted head beside
            it; if not, their role is `other`.
    """
    x = pulses(SEQUENCES, LENGTH, PROBABILITY, generator(0, "flip-flop study")).double()
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
        head = build(readout, concept, Opened(model, network.name), model.layer.hidden_size, len(x))
        yield Subject(network, x, lengths, known, layers, readout, layers[0], head)


def of_cell(cell: str, names: Sequence[str] = ()) -> Study:
    """Return the study of a cell's committed networks, the judged ones with controls; of all questions, or some."""
    asked = [one for one in QUESTIONS if one.name in names or not names]
    judged, first = (stored.networks(cell, seeds) for seeds in (stored.SEEDS, stored.FIRST))
    made = [*subjects(judged), *subjects(first, judged=False)]
    return Study.of(made, questions=asked, family=len(RULES), version=VERSION)


#: By the name of the file of what was measured.
STUDIES: dict[str, Callable[[], Study]] = {cell: partial(of_cell, cell) for cell in CELLS}
#: What CI measures again each time.
PANEL = {cell: [f"flipflop-{cell}/seed-{stored.SEEDS[0]}"] for cell in CELLS}


def findings(names: Sequence[str] = ()) -> dict[str, Finding]:
    """Return what was found, by cell and question, such as `gru-step_answers`; errors are those of `each`."""
    return dict(each(names))


def names_of(names: Sequence[str]) -> list[str]:
    """Return the names of what `each` yields of some questions, or of all.

    Raises:
        ProbeError: there is no such question.
    """
    known = [one.name for one in QUESTIONS]
    for name in names:
        if name not in known:
            raise ProbeError(unknown("question", name, known))
    return [f"{cell}-{name}" for cell in CELLS for name in names or known]


def each(names: Sequence[str]) -> Iterator[tuple[str, Finding]]:
    """Yield what was found, with its name, as soon as its pictures are drawn.

    Raises:
        ProbeError: there is no such question, or something was not measured on the networks that are here.
    """
    from analyses.flipflop import pictures

    _ = names_of(names)
    found = {
        f"{cell}-{name}": replace(one, question=f"{cell}-{name}")
        for cell in CELLS
        for name, one in of_cell(cell, names).findings(FOLDER / f"{cell}.csv.xz").items()
    }
    yield from pictures.beside(found)


def write(folder: Path, out: Path) -> list[Path]:
    """Write the page of the findings in a folder, and return its path.

    Raises:
        ProbeError: a finding is missing or damaged, or the page cannot be written.
    """
    from analyses.flipflop import page

    found = {
        one.name: {CALLED[cell]: Finding.read(folder / f"{cell}-{one.name}") for cell in CELLS} for one in QUESTIONS
    }
    shown = folder / "gru-stable_answers" / "figures" / "flows.png"
    return [write_atomically(out / page.PICTURE, shown.read_bytes()), page.build(found).write(out / "index.html")]
