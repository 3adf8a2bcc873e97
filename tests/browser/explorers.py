"""The explorer that the tests in a browser use: the counters of the zoo, rival programs, and what to try."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

import probe
from models.zoo import networks
from probe.explorer import Explorer, ExplorerBits, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.report import Page, Section
from tests.repo.golden_runs import encoded

ATTACK = "<img src=x onerror=alert(1)>"
EXAMPLE, THIRTEEN = "0110101101", "0110101101101"
LOOKS = {"own initialisation": "own initialisation"}
ZEROS = ["0000000000"]
OTHERS = ["1111100000", "1111111111", "1011111010"]
PROGRAMS = (
    ExplorerProgram("ones", 0, {"0": 0, "1": 1}, "count the ones"),
    ExplorerProgram("zeros backwards", 10, {"0": -1, "1": 0}),
    ExplorerProgram(ATTACK, 5, {"0": -0.5, "1": 0.5}, ATTACK),
)
EXPERIMENTS = (
    ExplorerExperiment("13 bits", THIRTEEN),
    ExplorerExperiment("Hold the forget gate at 1", edits=[ExplorerEdit("clamp", "forget_gate", 1)]),
    ExplorerExperiment("Put zeros in", second=ZEROS, edits=[ExplorerEdit("patch", "cell_state", steps=[6])]),
    ExplorerExperiment(ATTACK, second=OTHERS, edits=[ExplorerEdit("mean", "cell_state", steps=[4, 6])]),
)


@cache
def counters() -> Explorer:
    """Return an explorer of a trained counter, its own initialisation and a trained GRU."""
    lstm, gru = networks(seeds=[0])[0], networks("gru", seeds=[0])[0]
    assert lstm.untrained is not None
    given = {"trained": lstm.model, "own initialisation": lstm.untrained, "GRU": gru.model}
    own = {"trained": [ExplorerProgram("with a drift", 3, {"0": -0.3, "1": 0.7})]}
    chosen = [
        ExplorerNetwork(name, model, f"The {name} one.", programs=own.get(name, ()), look=LOOKS.get(name, "trained"))
        for name, model in given.items()
    ]
    classes = [str(count) for count in range(11)]
    more = {"programs": PROGRAMS, "experiments": EXPERIMENTS, "truth": "ones"}
    return Explorer(chosen, EXAMPLE, {"0": 0.0, "1": 1.0}, classes, [10], **more)


def written(folder: Path) -> Path:
    """Write the page of these networks, with their bits above, and return its path."""
    bits = ExplorerBits(counters(), "#run", "There are {} ones.", "There is 1 one.")
    page = Page("Explore", "It runs here.", [Section("Run it", [counters()], "run")], hero=[bits])
    return page.write(folder / "index.html")


@cache
def counter() -> torch.nn.Module:
    """Return the trained counter in float64."""
    return networks(seeds=[0])[0].model.double()


def recorded(strings: list[str], *edits: probe.Edit) -> probe.Recording:
    """Return every signal of the trained counter on some strings."""
    return probe.record(counter(), encoded(strings, 1), edits=edits, signals=probe.Signal)


def answers(string: str, *edits: probe.Edit) -> list[int]:
    """Return what the trained counter would answer after each bit, by its head on PyTorch's hidden states."""
    with torch.no_grad():
        scores = counter().get_submodule("head")(recorded([string], *edits)["hidden_state"][0])
    return scores.argmax(1).tolist()


def answer(string: str, *edits: probe.Edit) -> int:
    """Return what the trained counter says to a string."""
    return int(recorded([string], *edits).output.argmax())


def says(string: str, *edits: probe.Edit) -> str:
    """Return how a page begins to tell that answer."""
    return f"{answer(string, *edits)} (probability"
