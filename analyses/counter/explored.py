"""The networks and programs that the counter's first page runs in the browser."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd
import torch
from torch import nn

from analyses.counter import common
from models.counter import answer
from models.fitted_head import FittedHead
from models.populations import SECOND_JUDGED
from probe.evidence.measurements import Network
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram

LENGTH = common.STRINGS.shape[1]
CLASSES = LENGTH + 1
PROGRAMS = (
    ExplorerProgram("count ones", 0.0, {"0": 0.0, "1": 1.0}, "0, and 1 more for a 1"),
    ExplorerProgram("zeros backwards", float(LENGTH), {"0": -1.0, "1": 0.0}, f"{LENGTH}, and 1 less for a 0"),
    ExplorerProgram("balance", LENGTH / 2, {"0": -0.5, "1": 0.5}, f"{LENGTH / 2:g}, and a half more or less"),
)
COUNTER, FITTED, PLANTED_ONES = "Trained counter", "Untrained, head fitted", "Planted ones-counter"
BOTH_ENDS = "Trained on both ends"
EVERY_STEP, RECIPE = "Asked after every step", "every-step"
#: What is drawn beside each other: trained, before its training, written by hand; and where each stands, by role.
BESIDE = (COUNTER, FITTED, PLANTED_ONES)
PLACES = {"trained": 0, "fitted head": 1, "planted": 2}
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
#: A network with its name, what is said of it, its drift where programs are to have it, and its trained lengths.
Shown = tuple[Network, str, str, float | None, list[int] | None]


class Classes(nn.Module):
    """A recurrent layer whose last hidden state one linear head turns into a score for each answer.

    Of one number y = v . h + b the scores are -(y - k)^2, without the y^2 that all share: the largest is that of the
    count k nearest to y.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        state = dict(model.state_dict())
        if isinstance(model, FittedHead):
            counts = torch.arange(CLASSES, dtype=state["head.bias"].dtype)
            state["head.weight"] = 2 * counts[:, None] * state["head.weight"]
            state["head.bias"] = 2 * counts * state["head.bias"] - counts**2
        (self.name,) = {key.partition(".")[0] for key in state} - {"head"}
        self.add_module(self.name, copy.deepcopy(model.get_submodule(self.name)))
        self.head = nn.Linear(state["head.weight"].shape[1], CLASSES)
        self.load_state_dict(state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores (batch, class) of sequences (batch, time, input)."""
        hidden, _ = self.get_submodule(self.name)(x)
        return self.head(hidden[:, -1])


def explorer(drifts: pd.Series) -> Explorer:
    """Return the explorer of the first page.

    Raises:
        probe.ProbeError: a network is missing or damaged.
    """
    networks = [
        ExplorerNetwork(
            name,
            Classes(network.model),
            role,
            trained_lengths=lengths,
            programs=[] if drift is None else [_drifting(drift)],
            # A network of another recipe is trained, too.
            look="trained" if network.role == "other" else network.role,
            sequences=common.STRINGS,
        )
        for network, name, role, drift, lengths in _chosen(drifts)
    ]
    experiments = [
        ExplorerExperiment(label, edits=[ExplorerEdit("patch", patch, steps=[AFTER])] if patch else [], **setting)
        for label, patch, setting in EXPERIMENTS
    ]
    return Explorer(
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


def _chosen(drifts: pd.Series) -> list[Shown]:
    """Return the networks that are shown: of the trained ones those of median drift."""
    counters = drifts[[f"{SECOND_JUDGED.recipe}/seed-{seed}" for seed in SECOND_JUDGED.seeds]]
    others = drifts[drifts.index.str.startswith(f"{RECIPE}/")]
    seeds = [int(common.middle(each).rpartition("-")[2]) for each in (counters, others)]
    trained, *_ = common.with_controls(SECOND_JUDGED.recipe, seeds[0], fit=False)
    fitted = common.fitted_head(trained.name)
    (planted,), (every,) = common.planted_networks(["ones"]), common.of_recipe(RECIPE, [seeds[1]])
    ends = both_ends(counters)
    said = "Of {} such networks it has the median drift: a missing bit shifts its answer by {:.2f} on average."
    own, drift = (float(drifts[one.name]) for one in (trained, every))
    head = "The network before training, with a head fitted to the count, a number; its answer is the nearest count."
    own_ends = float(drifts[ends.name])
    saw = f"It saw ten zeros and ten ones in training, and reads both right. Drift {own_ends:.2f}."
    asked = f"Trained to say the count after every bit. {said.format(len(others), drift)}"
    return [
        (trained, COUNTER, said.format(len(counters), own), own, None),
        (fitted, FITTED, head, None, []),
        (planted, PLANTED_ONES, "Written by hand: one cell counts the ones, however long the string.", None, []),
        (every, EVERY_STEP, asked, drift, [*range(1, CLASSES)]),
        (ends, BOTH_ENDS, saw, own_ends, None),
    ]


def both_ends(drifts: pd.Series) -> Network:
    """Return the network of median drift among those that saw ten zeros and ten ones and read both right.

    Args:
        drifts: by the name of each counter, RECIPE/seed-N.
    """
    ends, right = common.STRINGS[[0, -1]], [0, LENGTH]
    rows = {0, len(common.STRINGS) - 1}
    recipe, seeds = SECOND_JUDGED.recipe, [int(name.rpartition("-")[2]) for name in drifts.index]
    with torch.no_grad():
        able = {
            one.name: one
            for one in common.of_recipe(recipe, seeds)
            if rows <= set(one.train) and answer(one.model(ends)).tolist() == right
        }
    return able[common.middle(drifts[[*able]])]


def _drifting(drift: float) -> ExplorerProgram:
    """Return ones + d (10 - L) as steps: it starts at 10 d, and each bit takes d off."""
    drift = round(drift, 4)
    steps = {"0": -drift, "1": round(1 - drift, 4)}
    said = f"ones, and {drift:.2f} more for each missing bit"
    return ExplorerProgram(f"ones, drift {drift:.2f}", round(LENGTH * drift, 4), steps, said)
