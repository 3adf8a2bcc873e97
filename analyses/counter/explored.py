"""Writes the networks and programs that the counter's page runs in the browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
from torch import nn

import probe
from analyses.counter import common
from models.counter import Coded, answer
from models.fitted_head import FittedHead
from models.tasks import parse_bits
from probe import Finding
from probe.evidence.measurements import FITTED_HEADS, Network
from probe.explorer.networks import LOOKS
from probe.storage.files import write_atomically

FOLDER, DESCRIBED = "explorer", "explorer.json"
LENGTH = common.STRINGS.shape[1]
CLASSES = LENGTH + 1
PROGRAMS = (
    {"name": "count ones", "role": "0, and 1 more for a 1", "start": 0.0, "steps": {"0": 0.0, "1": 1.0}},
    {
        "name": "zeros backwards",
        "role": f"{LENGTH}, and 1 less for a 0",
        "start": float(LENGTH),
        "steps": {"0": -1.0, "1": 0.0},
    },
    {
        "name": "balance",
        "role": f"{LENGTH / 2:g}, and a half more or less",
        "start": LENGTH / 2,
        "steps": {"0": -0.5, "1": 0.5},
    },
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
#: What a reader may try first.
EXPERIMENTS: tuple[dict[str, Any], ...] = (
    {"label": "Six bits", "sequence": SIX},
    {"label": "Six bits, planted counter", "sequence": SIX, "network": PLANTED_ONES},
    {"label": "Six bits, asked after every step", "sequence": SIX, "network": EVERY_STEP},
    {"label": "Put in the cell state of zeros", "second": [NONE], "patch": "cell_state", "steps": [AFTER]},
    {"label": "Put in their hidden state alone", "second": [NONE], "patch": "hidden_state", "steps": [AFTER]},
)
#: A network with what is said of it: name, role, and its drift where programs are to have it.
Shown = tuple[Network, str, str, float | None]


def write(out: Path, networks: Sequence[Network], drifts: pd.Series) -> Path:
    """Write the networks of the explorer into a folder: a file of weights each, and their description.

    Args:
        out: folder of the findings; they go into `explorer` inside.
        networks: the study's, with the planted ones.
        drifts: the drift of each network by its name, see `drifts_of`.

    Raises:
        probe.ProbeError: a network is missing or damaged, or a file cannot be written.
    """
    folder, described = out / FOLDER, []
    shown = _chosen(networks, drifts)
    for network, name, role, drift in shown:
        file = f"{len(described)}.safetensors"
        model, alphabet = _uncoded(network.model)
        state = {key: tensor.contiguous() for key, tensor in as_classes(model).items()}
        write_atomically(folder / file, safetensors.torch.save(state))
        one: dict[str, Any] = {"name": name, "role": role, "file": file, "source": network.name}
        # Those of other recipes are trained too.
        one["look"] = network.role if network.role in LOOKS else "trained"
        one |= {} if alphabet is None else {"alphabet": alphabet}
        one |= {"trained_lengths": _lengths(network)} if _lengths(network) != [LENGTH] else {}
        one |= {} if drift is None else {"programs": [_drifting(drift)]}
        described.append(one)
    together = {
        "example": EXAMPLE,
        "alphabet": {"0": 0.0, "1": 1.0},
        "classes": [str(count) for count in range(CLASSES)],
        "trained_lengths": [LENGTH],
        "programs": PROGRAMS,
        "experiments": EXPERIMENTS,
        "truth": PROGRAMS[0]["name"],
        "beside": BESIDE,
        "told": _told({name: network.model for network, name, *_ in shown}),
        "networks": described,
    }
    write_atomically(folder / DESCRIBED, json.dumps(together, indent=1) + "\n")
    return folder


def drifts_of(findings: Mapping[str, Finding]) -> pd.Series:
    """Return the drift of each network by its name, as two of the questions measured it."""
    rows = pd.concat([findings[name].measurements for name in ("training_signal", "other_lengths")])
    drifts = rows[rows["metric"] == "drift"].drop_duplicates("network")
    return drifts.set_index("network")["value"]


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


def _chosen(networks: Sequence[Network], drifts: pd.Series) -> list[Shown]:
    """Return the networks that are shown, the counter of median drift first."""
    named = {network.name: network for network in networks}
    detail = common.in_detail(networks)
    trained = sum(network.role == "trained" for network in networks)
    drift = float(drifts[detail.name])
    wrong = float((answer(_output(detail.model, common.STRINGS)) != common.COUNTS[:, -1]).float().mean())
    said = f"Among {trained} trained networks it has the median drift: {_shifts(drift)}."
    said += f" Of the strings of ten bits it misreads {wrong:.1%}."
    rows: list[Shown] = [(detail, COUNTER, said, drift)]
    beside = {f"{detail.name}{end}": words for end, words in CONTROLS.items()} | PLANTED
    rows += [(named[key], name, role, None) for key, (name, role) in beside.items() if key in named]
    for key, (name, role) in RECIPES.items():
        every = drifts[drifts.index.str.startswith(f"{key}/")].sort_values(kind="stable")
        middle = str(every.index[(len(every) - 1) // 2])
        (network,) = common.group(key, int(middle.rpartition("-")[2]))
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


def _told(models: Mapping[str, nn.Module]) -> list[str]:
    """Return what comes of the experiments, in words."""
    six, example = parse_bits(SIX), parse_bits(EXAMPLE)
    counted, planted, every = (_answered(models[name], six) for name in (COUNTER, PLANTED_ONES, EVERY_STEP))
    source = probe.record(models[COUNTER], parse_bits(NONE))
    patched = [
        _answered(models[COUNTER], example, probe.patch(one["patch"], source, steps=one["steps"]))
        for one in EXPERIMENTS
        if "patch" in one
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


def _drifting(drift: float) -> dict[str, object]:
    """Return ones + d (10 - L) as steps: it starts at 10 d, and each bit takes d off."""
    drift = round(drift, 4)
    steps = {"0": -drift, "1": round(1 - drift, 4)}
    said = {"name": f"ones, drift {drift:.2f}", "role": f"ones, and {drift:.2f} more for each missing bit"}
    return {**said, "start": round(LENGTH * drift, 4), "steps": steps}


def _uncoded(model: nn.Module) -> tuple[nn.Module, dict[str, float] | None]:
    """Return the network itself, and the numbers that it reads for the bits where those are not 0 and 1."""
    if isinstance(model, Coded):
        return model.model, {"0": model.zero, "1": model.one}
    return model, None
