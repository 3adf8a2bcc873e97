"""Planted studies, of which every sentence is known: a network, what is asked, what a page says and must not say."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from studied import without_pictures
from torch import nn

from probe import Readout, Study


@dataclass(frozen=True)
class Planted:
    """A study of a network whose truth is planted.

    Attributes:
        name: what is planted, in a few words.
        network: the network, or those of each role.
        x: its inputs.
        asks: the questions.
        says: patterns that its page has, each of a true sentence.
        never: patterns that its page has not, each of a sentence that would be false.
        reads: how answers are read off the hidden state; or all that the readout is given.
        concepts: what it is asked about, which is the sum of the first feature; the readout answers the first one.
        more: whatever else the study is given.
    """

    name: str
    network: Any
    x: np.ndarray
    asks: Sequence[Any]
    says: Sequence[str] = ()
    never: Sequence[str] = ()
    reads: Callable[[torch.Tensor], torch.Tensor] | Mapping[str, Any] | None = None
    concepts: Mapping[str, Any] = field(default_factory=lambda: {"ones": first_feature})
    more: Mapping[str, Any] = field(default_factory=dict)

    def check(self, folder: Path) -> None:
        """Run the study without pictures, and look for the sentences on its page."""
        given = self.reads if isinstance(self.reads, Mapping) else {"function": self.reads}
        readout = None if self.reads is None else Readout(next(iter(self.concepts)), **given)
        study = Study(self.network, self.x, self.concepts, readout=readout, questions=self.asks, **self.more)
        with without_pictures():
            study.run(folder)
        said = words_of(folder)
        missing = [pattern for pattern in self.says if not re.search(pattern, said)]
        false = [match[0] for pattern in self.never for match in re.finditer(pattern, said)]
        assert not missing, f"the page does not say {missing}:\n{said}"
        assert not false, f"the page says {false}:\n{said}"


def words_of(folder: Path) -> str:
    """Return all words of a study's page, a line a block: sentences, captions, tables, verdicts; no scripts."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    page = re.sub(r"<(script|style|head|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    page = re.sub(r"</(p|li|tr|h\d|figcaption|summary|div|section)>", "\n", page)
    lines = (" ".join(html.unescape(re.sub(r"<[^>]+>", " ", line)).split()) for line in page.splitlines())
    return re.sub(r"\s+([.,;:])", r"\1", "\n".join(line for line in lines if line))


def by_hand(
    kind: Any, features: int, units: int, *, ih: Any = None, hh: Any = None, bias: Any = None, **more: Any
) -> Any:
    """Return a layer of torch whose weights are 0 but for those that are given, each by its place."""
    layer = kind(features, units, batch_first=True, dtype=torch.float64, **more)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for name, given in (("weight_ih_l0", ih), ("weight_hh_l0", hh), ("bias_ih_l0", bias)):
            for place, value in (given or {}).items():
                layer.get_parameter(name)[place] = torch.as_tensor(value, dtype=torch.float64)
    return layer


def relu(features: int, units: int, **given: Any) -> Any:
    """Return a plain network that can count without end."""
    return by_hand(nn.RNN, features, units, nonlinearity="relu", **given)


def every(length: int) -> np.ndarray:
    """Return all sequences of bits of a length, (sequence, step, 1)."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=length)))[:, :, None]


def bits(features: int, count: int = 60, length: int = 7, share: Any = 0.5, seed: int = 14) -> np.ndarray:
    """Return random sequences of bits, (sequence, step, feature)."""
    return (np.random.default_rng(seed).random((count, length, features)) < share).astype(float)


def first_feature(x: np.ndarray) -> np.ndarray:
    """Return the sum of the first feature so far."""
    return x[:, 0].cumsum()
