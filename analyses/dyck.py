"""Does an LSTM of one unit count brackets? After Suzgun et al. 2019, LSTM networks can perform dynamic counting."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import nn

import probe
from analyses import BUILD
from probe.evidence import Control, measurement
from probe.plots.networks import draw_dots
from probe.questions import Question
from probe.questions.rules import ANSWERING, FITTED, INITIAL, rule
from probe.questions.states import single_units
from probe.storage.files import write_atomically
from probe.subjects.subject import Subject

#: Training and rules were fixed on other seeds; nobody looked at these before. None is replaced, whatever it learns.
SEEDS = range(100, 110)
UPDATES, BATCH, RATE = 3000, 64, 0.05
#: Steps of a sequence in training, and where networks are asked; how many sequences there are of each.
SHORT, LONG, LEARNT, ASKED = 20, 40, 2000, 300
FOLDER = BUILD / "models" / "dyck"


def beginnings(count: int, steps: int, seed: int) -> np.ndarray:
    """Return beginnings of balanced sequences, (sequence, step, 2); each bracket is as likely, if some are open."""
    coins, depths = np.random.default_rng(seed).random((count, steps)) < 0.5, np.zeros(count)
    opens = np.empty((count, steps), dtype=bool)
    for step in range(steps):
        opens[:, step] = coins[:, step] | (depths == 0)
        depths += np.where(opens[:, step], 1, -1)
    return np.stack([opens, ~opens], axis=2).astype(np.float32)


def depth(x: np.ndarray) -> np.ndarray:
    """Return how many brackets are open after each step of sequences, (..., step)."""
    return (x[..., 0] - x[..., 1]).cumsum(-1)


def following(x: np.ndarray) -> np.ndarray:
    """Return which brackets may come next, after each step of a sequence."""
    return np.where(depth(x) > 0, "( or )", "(")


def train(seed: int) -> dict[str, Path]:
    """Train one network where it is not there yet, and return its files by role."""
    torch.manual_seed(seed)
    net = nn.ModuleDict({"lstm": nn.LSTM(2, 1, batch_first=True), "head": nn.Linear(1, 1)})
    place = FOLDER / f"{UPDATES}-updates-of-{BATCH}-by-{SHORT}-at-{RATE}"
    files = {role: place / role / f"seed-{seed}.safetensors" for role in (INITIAL, "trained")}
    if all(file.is_file() for file in files.values()):
        return files
    sys.stderr.write(f"training seed {seed}\n")
    write_atomically(files[INITIAL], safetensors.torch.save(net.state_dict()))
    x = beginnings(LEARNT, SHORT, seed)
    inputs, right = torch.tensor(x), torch.tensor(depth(x) > 0).float()
    adam = torch.optim.Adam(net.parameters(), RATE)
    for _ in range(UPDATES):
        rows = torch.randint(LEARNT, (BATCH,))
        scores = net["head"](net["lstm"](inputs[rows])[0])[..., 0]
        adam.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(scores, right[rows]).backward()
        adam.step()
    write_atomically(files["trained"], safetensors.torch.save(net.state_dict()))
    return files


def held(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how the cell follows the depth, which is not what a network answers, as `single_units` does."""
    of_depth = {"readout": None, "concepts": {"depth": subjects[0].concepts["depth"]}}
    return single_units.measure([replace(one, **of_depth) for one in subjects])


def pushed(subjects: Sequence[Subject]) -> Iterator[dict[str, Any]]:
    """Push the cell by what a bracket adds to it, up and down, and count how many “)” the network then takes."""
    for one in subjects:
        head: Any = one.head
        x, level = one.x[:, :SHORT], torch.as_tensor(one.concepts["depth"].values)[:, :SHORT]
        cell = probe.record(one.model, x)["cell_state"][:, :, 0]
        slope = float(np.polyfit(level.flatten(), cell.double().flatten(), 1)[0])
        rows, most = level[:, -1] > 0, int(level.max()) + 2
        closing = torch.tensor([0.0, 1.0]).to(x).expand(int(rows.sum()), most, 2)
        hits = []
        for by in (1, -1):
            push = probe.steer("cell_state", [by * slope], steps=SHORT - 1)
            run = probe.record(one.model, torch.cat([x[rows], closing], 1), edits=[push])
            states = run["hidden_state"][:, SHORT - 1 :].double()
            some_open = head.answer(head(states.flatten(0, 1))).view(states.shape[:2]) > 0
            hits.append(some_open.long().cumprod(1).sum(1) == level[rows, -1] + by)
        yield measurement("one-level", "moved_by_one", one.network, torch.cat(hits).double().mean().item())


fixed = partial(rule, source="Suzgun et al. 2019, LSTM networks can perform dynamic counting")
NEVER_WRONG = fixed(
    "never-wrong",
    f"Not one answer is wrong within {LONG} steps, after a training on {SHORT}.",
    "worst_step_error",
    definition="Share of wrong answers over all sequences and steps.",
    at_most=0.0,
    controls=(Control(FITTED, 0.05, lower=True),),
)
ONE_MAP = fixed(
    "one-map",
    "One monotone map of the cell tells the depth at all steps.",
    "lasting_monotone_accuracy",
    definition="Share of held-out beginnings of which a rounded isotonic fit gives the depth, four folds.",
    at_least=0.95,
    controls=(Control(INITIAL, 0.2),),
)
STRAIGHT = fixed(
    "straight",
    "The cell moves by the same amount with each bracket.",
    "largest_correlation",
    definition="Correlation of the cell with the depth, the mean of each step taken off both.",
    at_least=0.99,
    controls=(Control(INITIAL, 0.02),),
)
ONE_LEVEL = fixed(
    "one-level",
    "Pushed up or down by one level, the network takes one “)” more or one less.",
    "moved_by_one",
    definition=f"Share of pushes, after {SHORT} steps and where some are open, from which it takes one “)” more, or "
    "one less, than are open. A level is the slope of the cell on the depth.",
    at_least=0.9,
    controls=(Control(FITTED, 0.2),),
)
CELL = Question("cell", "Does the cell hold the depth?", held, draw=single_units.draw, rules=(ONE_MAP, STRAIGHT))
LEVEL = Question(
    "one-level",
    "Does a push of the cell by one level move the answers by one bracket?",
    pushed,
    roles=ANSWERING,
    rules=(ONE_LEVEL,),
    draw=partial(draw_dots, metrics={"moved_by_one": "pushes that move the answers by one bracket"}),
)


def study() -> probe.Study:
    """Return the study; networks that are not there yet are trained first."""
    files = [train(seed) for seed in SEEDS]
    return probe.Study(
        {role: [one[role] for one in files] for role in ("trained", INITIAL)},
        beginnings(ASKED, LONG, seed=0),
        {"next bracket": following, "depth": depth},
        readout=probe.Readout("next bracket", weight="head.weight", bias="head.bias", kind="logit", steps="every"),
        symbols="()",
        title="Does an LSTM of one unit count brackets?",
        questions=["answers", CELL, LEVEL],
        rules=[NEVER_WRONG],
    )
