"""What the page runs itself: one network of each kind, as files, and the programs that it is held against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import safetensors.torch
from torch import nn

from models.counter import Coded
from probe import Finding
from probe.files import write_atomically
from probe.measurements import Network

from . import common

FOLDER, DESCRIBED = "explorer", "explorer.json"
LENGTH = common.STRINGS.shape[1]
#: Any string serves; this one has six ones.
EXAMPLE = "0110101101"
PROGRAMS = (
    {"name": "count ones", "role": "0, and 1 more for a 1", "start": 0.0, "steps": {"0": 0.0, "1": 1.0}},
    {"name": "ten less zeros", "role": "10, and 1 less for a 0", "start": 10.0, "steps": {"0": -1.0, "1": 0.0}},
    {"name": "balance", "role": "5, and a half more or less", "start": 5.0, "steps": {"0": -0.5, "1": 0.5}},
)
PLANTED = {
    "planted/ones": ("Planted ones-counter", "Written by hand: one cell counts the ones, however long the string."),
    "planted/zeros": ("Planted zeros-counter", "Written by hand: it starts at ten and takes one off for each zero."),
}
#: Recipes of which the network of median drift is shown.
RECIPES = {
    "every-step": ("Asked after every step", "Trained to say the count after every bit, one thing changed"),
    "truncated": ("Trained on lengths 1 to 10", "Trained on strings of all lengths up to ten, one thing changed"),
    "code-signed": (
        "Bits read as \N{MINUS SIGN}1 and +1",
        "Trained on other numbers for the bits, one thing changed",
    ),
    "gru": ("GRU", "The same recipe with another cell"),
}


def write(out: Path, networks: Sequence[Network], drifts: pd.Series, here: Path | None = None) -> Path:
    """Write the networks of the explorer into a folder: a file of weights each, and their description.

    Args:
        out: folder of the findings; they go into `explorer` inside.
        networks: the study's, with the planted ones.
        drifts: the drift of each network by its name, see `drifts_of`.
        here: folder of a counter that was trained on this machine.

    Raises:
        probe.ProbeError: a network is missing or damaged, or a file cannot be written.
    """
    folder, described = out / FOLDER, []
    for network, name, role, drift in _chosen(networks, drifts, here):
        file = f"{len(described)}.safetensors"
        model, alphabet = _uncoded(network.model)
        state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        write_atomically(folder / file, safetensors.torch.save(state))
        one: dict[str, object] = {"name": name, "role": role, "file": file, "source": network.name}
        one |= {} if alphabet is None else {"alphabet": alphabet}
        one |= {"trained_lengths": list(range(1, LENGTH + 1))} if network.name.startswith("truncated") else {}
        one |= {} if drift is None else {"programs": [_drifting(drift)]}
        described.append(one)
    together = {
        "example": EXAMPLE,
        "alphabet": {"0": 0.0, "1": 1.0},
        "classes": [str(count) for count in range(LENGTH + 1)],
        "trained_lengths": [LENGTH],
        "programs": PROGRAMS,
        "networks": described,
    }
    write_atomically(folder / DESCRIBED, json.dumps(together, indent=1) + "\n")
    return folder


def drifts_of(found: Mapping[str, Finding]) -> pd.Series:
    """Return the drift of each network by its name, as two of the questions measured it."""
    rows = pd.concat([found[name].measurements for name in ("training_signal", "other_lengths")])
    drifts = rows[rows["metric"] == "drift"].drop_duplicates("network")
    return drifts.set_index("network")["value"]


def _chosen(
    networks: Sequence[Network], drifts: pd.Series, here: Path | None
) -> list[tuple[Network, str, str, float | None]]:
    """Return the networks with name, role and drift, the one of median drift first."""
    named = {network.name: network for network in networks}
    detail = common.in_detail(networks)
    trained = sum(network.subject == "trained" for network in networks)
    drift = float(drifts[detail.name])
    said = f"Of {trained} trained networks the one of median drift: {_shifts(drift)}."
    rows: list[tuple[Network, str, str, float | None]] = [(detail, "Trained counter", said, drift)]
    if here is not None:
        (own, *_) = common.networks_of(here)
        rows.append(
            (own, "Trained on this machine", f"{own.name}, trained by the command that made this page.", None)
        )
    if (twin := named.get(f"{detail.name}/untrained")) is not None:
        rows.append((twin, "Its untrained twin", "The same network before its first step of training.", None))
    rows += [(named[key], name, role, None) for key, (name, role) in PLANTED.items() if key in named]
    for key, (name, role) in RECIPES.items():
        every = drifts[drifts.index.str.startswith(f"{key}/")].sort_values(kind="stable")
        middle = str(every.index[(len(every) - 1) // 2])
        (network,) = common.group(key, int(middle.rpartition("-")[2]))
        own_drift = float(every[middle])
        rows.append(
            (network, name, f"{role}; of {len(every)} the one of median drift: {_shifts(own_drift)}.", own_drift)
        )
    return rows


def _shifts(drift: float) -> str:
    return f"a missing bit shifts its answer by {drift:.2f}"


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
