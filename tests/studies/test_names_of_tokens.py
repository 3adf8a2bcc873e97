"""A study of token ids: which embedding reads them, exactly, and what each token is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

from probe import Study
from probe.studies.prepare import prepare

WORDS = ["the", "cat", "sat", "on", "a", "mat", ".", "dog"]


def ids(tokens: int = 8) -> np.ndarray:
    """Return random ids, (sequence, step), each of which occurs."""
    found = np.random.default_rng(0).integers(0, tokens, (60, 7))
    found[0] = np.arange(tokens - 7, tokens)
    return found


class Reader(nn.Module):
    """Adds what two embeddings say, of positions and of tokens, and reads it with a GRU."""

    def __init__(self, tokens: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.positions, self.words = nn.Embedding(7, 3), nn.Embedding(tokens, 3)
        self.rnn = nn.GRU(3, 5, batch_first=True)

    def forward(self, given: Tensor) -> Tensor:
        """Return hidden states, (batch, time, unit)."""
        return self.rnn(self.positions(torch.arange(given.shape[1])) + self.words(given))[0]


def late(x: np.ndarray) -> np.ndarray:
    """Return how often an id of 5 or more came so far."""
    return np.cumsum(x[:, 0] >= 5)


def study(given: np.ndarray, model: nn.Module | None = None, **more: Any) -> Study:
    """Return a study of ids."""
    return Study(model or Reader(), given, {"late": late}, **more)


def test_the_embedding_that_reads_the_ids_is_named() -> None:
    """Not the one of positions, which is called first and has fewer entries."""
    (subject,) = prepare(study(ids()))
    assert subject.card["token ids"] == "read by 'words', an embedding of 8 tokens"
    with refused():
        _ = prepare(study(ids() + 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_ids_stay_what_they_are_in_half_precision(dtype: torch.dtype) -> None:
    """A type that has not each whole number would make other tokens of them, in silence."""
    given = ids(3_000)
    (subject,) = prepare(study(given, Reader(3_000).to(dtype)))
    assert np.array_equal(subject.x[:, :, 0].numpy(), given)


@pytest.mark.parametrize(
    ("symbols", "names"),
    [
        (None, [str(number) for number in range(8)]),
        ("abcdefgh", list("abcdefgh")),
        (WORDS, WORDS),
        ({name: place for place, name in enumerate(WORDS)}, WORDS),
    ],
)
def test_a_token_is_called_by_its_number_or_as_the_study_says(symbols: Any, names: list[str]) -> None:
    """A text or a list names ids in order."""
    (subject,) = prepare(study(ids(), symbols=symbols))
    assert {name: value.tolist() for name, value in subject.symbols.items()} == {
        name: [place] for place, name in enumerate(names)
    }


@pytest.mark.parametrize(
    "symbols", [[*WORDS, "bird"], ["a"] * 8, WORDS[:3], ["x" * 31, *WORDS[1:]], {"the": 0, "cat": 0}, 3]
)
def test_names_that_are_none_are_refused(symbols: Any) -> None:
    """Each id that occurs has one."""
    with refused():
        _ = prepare(study(ids(), symbols=symbols))
