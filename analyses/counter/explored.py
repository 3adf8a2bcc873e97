"""The networks and programs that the counter's first page runs in the browser."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import nn

import probe
from analyses.counter import common
from models.counter import Coded, answer
from models.fitted_head import FittedHead
from models.populations import SECOND_JUDGED
from models.tasks import parse_bits
from probe.evidence.measurements import FITTED_HEADS, Network
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.explorer.networks import LOOKS

LENGTH = common.STRINGS.shape[1]
CLASSES = LENGTH + 1
PROGRAMS = (
    ExplorerProgram("count ones", 0.0, {"0": 0.0, "1": 1.0}, "0, and 1 more for a 1"),
    ExplorerProgram("zeros backwards", float(LENGTH), {"0": -1.0, "1": 0.0}, f"{LENGTH}, and 1 less for a 0"),
    ExplorerProgram("balance", LENGTH / 2, {"0": -0.5, "1": 0.5}, f"{LENGTH / 2:g}, and a half more or less"),
)
COUNTER, PLANTED_ONES, EVERY_STEP = "Trained counter", "Planted ones-counter", "Asked after every step"
FITTED = "Untrained, head fitted"
#: What is drawn beside each other: trained, before its training, written by hand.
BESIDE = (COUNTER, FITTED, PLANTED_ONES)
#: Networks beside the counter in detail: by the end of its name, or by their own.
CONTROLS = {
    "/own initialisation": (
        "Its own initialisation",
        "The same network before its first step of training: a random head.",
    ),
    "/fitted head": (
        FITTED,
        "The network before training, with a head fitted to the count, a number; its answer is the nearest count.",
    ),
}
PLANTED = {
    "planted/ones": (PLANTED_ONES, "Written by hand: one cell counts the ones, however long the string."),
    "planted/zeros": ("Planted zeros-counter", "Written by hand: it starts at ten and takes one off for each zero."),
}
#: Recipes of which the network of median drift is shown.
RECIPES = {
    "every-step": (EVERY_STEP, "Trained to say the count after every bit; we changed nothing else"),
    "truncated": (
        "Trained on lengths 1 to 10",
        "Trained on strings of all lengths up to ten; we changed nothing else",
    ),
    "code-signed": (
        "Bits read as \N{MINUS SIGN}1 and +1",
        "Trained on other numbers for the bits; we changed nothing else",
    ),
    "gru": ("GRU", "The same recipe with another cell"),
}
#: Read to every length up to ten; those written by hand and those not trained have none.
EVERY_LENGTH = ("every-step", "truncated")
#: Any strings serve: six ones in ten bits, three in six bits, and none.
EXAMPLE, SIX, NONE = "0110101101", "011010", "0000000000"
AFTER = 6
#: What a reader may try first: a label, what is patched in from a string of zeros, and what else is set.
EXPERIMENTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Six bits", "", {"sequence": SIX}),
    ("Six bits, planted counter", "", {"sequence": SIX, "network": PLANTED_ONES}),
    ("Six bits, asked after every step", "", {"sequence": SIX, "network": EVERY_STEP}),
    ("Put in the cell state of zeros", "cell_state", {"second": [NONE]}),
    ("Put in their hidden state alone", "hidden_state", {"second": [NONE]}),
)
#: A network with what is said of it: name, role, and its drift where programs are to have it.
Shown = tuple[Network, str, str, float | None]


class Classes(nn.Module):
    """A recurrent layer whose last hidden state one linear head turns into a score for each answer.

    Args:
        model: a counter, or one with a fitted head.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        state = as_classes(model)
        (self.name,) = {key.partition(".")[0] for key in state} - {"head"}
        self.add_module(self.name, copy.deepcopy(model.get_submodule(self.name)))
        self.head = nn.Linear(state["head.weight"].shape[1], CLASSES)
        self.load_state_dict(state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores (batch, class) of sequences (batch, time, input)."""
        hidden, _ = self.get_submodule(self.name)(x)
        return self.head(hidden[:, -1])


def explorer(drifts: pd.Series) -> tuple[Explorer, list[str]]:
    """Return the explorer of the first page, and what is said of its experiments.

    Args:
        drifts: the drift of each network by its name.

    Raises:
        probe.ProbeError: a network is missing or damaged.
    """
    shown, networks = _chosen(drifts), []
    for network, name, role, drift in shown:
        model, alphabet = _uncoded(network.model)
        # Those of other recipes are trained too.
        look = network.role if network.role in LOOKS else "trained"
        own = [] if drift is None else [_drifting(drift)]
        lengths = None if _lengths(network) == [LENGTH] else _lengths(network)
        networks.append(
            ExplorerNetwork(
                name, Classes(model), role, alphabet=alphabet, trained_lengths=lengths, programs=own, look=look
            )
        )
    experiments = [
        ExplorerExperiment(label, edits=[ExplorerEdit("patch", patch, steps=[AFTER])] if patch else [], **setting)
        for label, patch, setting in EXPERIMENTS
    ]
    made = Explorer(
        networks,
        EXAMPLE,
        {"0": 0.0, "1": 1.0},
        [str(count) for count in range(CLASSES)],
        [LENGTH],
        programs=PROGRAMS,
        experiments=experiments,
        truth=PROGRAMS[0].name,
        beside=BESIDE,
    )
    return made, _told({name: network.model for network, name, *_ in shown})


def as_classes(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a network's weights, with a head for each answer where it has one number y = v . h + b.

    Of the scores -(y - k)^2, without the y^2 that all share, the largest is that of the count k nearest to y.
    """
    state = dict(model.state_dict())
    if isinstance(model, FittedHead):
        counts = torch.arange(CLASSES, dtype=state["head.bias"].dtype)
        state["head.weight"] = 2 * counts[:, None] * state["head.weight"]
        state["head.bias"] = 2 * counts * state["head.bias"] - counts**2
    return state


def _chosen(drifts: pd.Series) -> list[Shown]:
    """Return the networks that are shown, the counter of median drift first."""
    counters = [f"{SECOND_JUDGED.recipe}/seed-{seed}" for seed in SECOND_JUDGED.seeds]
    trained = len(counters)
    seed = int(_median(drifts[counters]).rpartition("-")[2])
    networks = [*common.with_controls(SECOND_JUDGED.recipe, seed), *common.planted_networks(["ones", "zeros"])]
    named = {network.name: network for network in networks}
    detail = networks[0]
    drift = float(drifts[detail.name])
    wrong = float((answer(_output(detail.model, common.STRINGS)) != common.COUNTS[:, -1]).float().mean())
    said = f"Among {trained} trained networks it has the median drift: {_shifts(drift)}."
    said += f" Of the strings of ten bits it misreads {wrong:.1%}."
    rows: list[Shown] = [(detail, COUNTER, said, drift)]
    beside = {f"{detail.name}{end}": words for end, words in CONTROLS.items()} | PLANTED
    rows += [(named[key], name, role, None) for key, (name, role) in beside.items() if key in named]
    for key, (name, role) in RECIPES.items():
        every = drifts[drifts.index.str.startswith(f"{key}/")]
        middle = _median(every)
        (network,) = common.of_recipe(key, [int(middle.rpartition("-")[2])])
        own_drift = float(every[middle])
        rows.append(
            (
                network,
                name,
                f"{role}. Among {len(every)} such networks it has the median drift: {_shifts(own_drift)}.",
                own_drift,
            )
        )
    return rows


def _median(drifts: pd.Series) -> str:
    """Return the name of the network of median drift."""
    ordered = drifts.rename_axis("network").rename("value").reset_index().sort_values(["value", "network"])["network"]
    return str(ordered.iloc[(len(ordered) - 1) // 2])


def _told(models: Mapping[str, nn.Module]) -> list[str]:
    """Return what comes of the experiments, in words."""
    six, example = parse_bits(SIX), parse_bits(EXAMPLE)
    counted, planted, every = (_answered(models[name], six) for name in (COUNTER, PLANTED_ONES, EVERY_STEP))
    source = probe.record(models[COUNTER], parse_bits(NONE))
    patched = [
        _answered(models[COUNTER], example, probe.patch(patch, source, steps=[AFTER]))
        for _, patch, _ in EXPERIMENTS
        if patch
    ]
    rest = EXAMPLE[AFTER + 1 :]
    return [
        f"Six bits with {SIX.count('1')} ones: the trained counter answers {counted}, the planted one {planted}, the "
        f"one that was asked after every step {every}.",
        f"Ten bits, {EXAMPLE}. After seven of them we put in the cell state of a string of zeros: it answers "
        f"{patched[0]}, and the remaining bits, {rest}, alone have {rest.count('1')} ones. With the hidden state "
        f"alone it answers {patched[1]}.",
    ]


def _answered(model: nn.Module, x: torch.Tensor, *edits: probe.Edit) -> int:
    return int(answer(probe.record(model, x, edits=edits).output))


@torch.no_grad()
def _output(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model(x)


def _shifts(drift: float) -> str:
    return f"a missing bit shifts its answer by {drift:.2f} on average"


def _lengths(network: Network) -> list[int]:
    if network.role in ("planted", "own initialisation", *FITTED_HEADS):
        return []
    return list(range(1, CLASSES)) if network.name.startswith(EVERY_LENGTH) else [LENGTH]


def _drifting(drift: float) -> ExplorerProgram:
    """Return ones + d (10 - L) as steps: it starts at 10 d, and each bit takes d off."""
    drift = round(drift, 4)
    steps = {"0": -drift, "1": round(1 - drift, 4)}
    said = f"ones, and {drift:.2f} more for each missing bit"
    return ExplorerProgram(f"ones, drift {drift:.2f}", round(LENGTH * drift, 4), steps, said)


def _uncoded(model: nn.Module) -> tuple[nn.Module, dict[str, float] | None]:
    """Return the network itself, and the numbers that it reads for the bits where those are not 0 and 1."""
    if isinstance(model, Coded):
        return model.model, {"0": model.zero, "1": model.one}
    return model, None
