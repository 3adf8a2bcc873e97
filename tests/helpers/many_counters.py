"""Planted counters by the dozen, and a study of them that is quick."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from studied import UNITS, head, ones, planted
from torch import nn

from probe import Finding, Readout, Study
from probe.evidence import Control, Range, Rule, measurement
from probe.subjects.subject import Subject

LENGTH = 6


def strings(length: int) -> np.ndarray:
    """Return all strings of bits of a length, (string, step, 1)."""
    return ((np.arange(2**length)[:, None] >> np.arange(length - 1, -1, -1)) & 1)[:, :, None].astype(np.float32)


#: Few questions that are quick on six bits.
QUICK = ["noise-margin", "class-means"]


@cache
def counters(count: int = 11) -> tuple[nn.LSTM, ...]:
    """Return planted counters that differ in their idle units."""
    found = []
    for seed in range(count):
        lstm = planted()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in lstm.parameters():
                blocks = parameter.view(4, UNITS, -1)
                blocks[:, 1:, 1:] += 0.1 * torch.randn(blocks[:, 1:, 1:].shape, generator=generator)
        found.append(lstm)
    return tuple(found)


def study(networks: Any, length: int = LENGTH, **more: Any) -> Study:
    """Return a study of a few bits with the planted networks' head."""
    weight, bias = head(length)
    readout = Readout("ones", weight=weight, bias=bias)
    given: dict[str, Any] = {"inputs": strings(length), "concepts": {"ones": ones}, "readout": readout}
    given["questions"] = QUICK
    return Study(networks, **(given | more))


def initials(count: int = 11) -> list[nn.LSTM]:
    """Return networks that learned nothing."""
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(nn.LSTM(1, UNITS, batch_first=True))
    return found


def findings(folder: Path) -> dict[str, Finding]:
    """Return the findings of a report by question."""
    return {path.name: Finding.read(path) for path in sorted((folder / "findings").iterdir())}


def distance(subjects: Iterable[Subject], scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """Yield how far each network's last hidden state is from zero: a question of one's own."""
    for subject in subjects:
        last = subject.model(subject.x)[0][:, -1]
        yield measurement("distance", "distance", subject.network, scale * last.norm(dim=1).mean().item())


def far(key: str, *controls: Control, check: bool = False, bound: float = 0.5) -> Rule:
    """Return a rule about the distance, which its controls may refuse."""
    within = Range.at_least(bound), Range.below(bound)
    return Rule(key, f"States lie {key} from zero.", "distance", "norm", "here", *within, controls, 5, check=check)
