"""Planted studies, of which every sentence is known: a study, what its page says, and what it must not say."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from studied import without_pictures

from probe import Study

EXACT: dict[str, Any] = {"batch_first": True, "dtype": torch.float64}


@dataclass(frozen=True)
class Planted:
    """A study of a network whose truth is planted.

    Attributes:
        name: what is planted, in a few words.
        study: makes the study.
        says: patterns that its page has, each of a true sentence.
        never: patterns that its page has not, each of a sentence that would be false.
    """

    name: str
    study: Callable[[], Study]
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def check(self, folder: Path) -> None:
        """Run the study, and look for the sentences on its page."""
        said = words_of(self.study(), folder)
        missing = [pattern for pattern in self.says if not re.search(pattern, said)]
        false = [match[0] for pattern in self.never for match in re.finditer(pattern, said)]
        assert not missing, f"{self.name}: the page does not say {missing}:\n{said}"
        assert not false, f"{self.name}: the page says {false}:\n{said}"


def words_of(study: Study, folder: Path) -> str:
    """Return all words of a study's page, a line a block: sentences, captions, tables, verdicts; no scripts."""
    with without_pictures():
        study.run(folder)
    page = (folder / "index.html").read_text(encoding="utf-8")
    page = re.sub(r"<(script|style|head|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    page = re.sub(r"</(p|li|tr|h\d|figcaption|summary|div|section)>", "\n", page)
    lines = (" ".join(html.unescape(re.sub(r"<[^>]+>", " ", line)).split()) for line in page.splitlines())
    return re.sub(r"\s+([.,;:])", r"\1", "\n".join(line for line in lines if line))


def every(length: int) -> np.ndarray:
    """Return all sequences of bits of a length, (sequence, step, 1)."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=length)))[:, :, None]


def emptied(module: Any) -> Any:
    """Return a module with all weights 0."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module


def bits(features: int, count: int = 60, length: int = 7, share: float = 0.5, seed: int = 14) -> np.ndarray:
    """Return random sequences of bits, (sequence, step, feature)."""
    return (np.random.default_rng(seed).random((count, length, features)) < share).astype(float)


def first_feature(x: np.ndarray) -> np.ndarray:
    """Return the sum of the first feature so far."""
    return x[:, 0].cumsum()
