"""A study of a network that embeds token ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probe import Finding, ProbeError, Readout, Study

IDS = np.random.default_rng(0).integers(0, 4, (120, 7))


class Reader(nn.Module):
    """Embeds ids and reads them with an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.rnn = nn.Embedding(4, 3), nn.LSTM(3, 5, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        """Return hidden states, (batch, time, unit)."""
        return self.rnn(self.table(ids))[0]


def threes(x: np.ndarray) -> np.ndarray:
    """Return how often the id 3 came so far."""
    return np.cumsum(x[:, 0] == 3)


def test_token_ids_are_read_by_the_embedding(tmp_path: Path) -> None:
    """The study's answers are those of the model on the ids, and the model stays as it was."""
    model, weight = Reader(), torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    given = Study(model, IDS, {"threes": threes}, readout=Readout("threes", weight=weight))
    given.run(tmp_path)
    with torch.no_grad():
        own = (model(torch.as_tensor(IDS))[:, -1] @ weight.T).argmax(1).numpy()
    right = (IDS == 3).sum(1)
    table = Finding.read(tmp_path / "findings" / "answers").measurements
    assert table[(table["metric"] == "accuracy") & (table["role"] == "trained")]["value"].iloc[0] == pytest.approx(
        float((own == right).mean()), rel=1e-5
    )
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(
    ("model", "ids", "said"),
    [
        (nn.LSTM(1, 3, batch_first=True), IDS, "the network has no embedding"),
        (Reader(), IDS + 2, "The token ids go from 2 to 5, and the network's embedding 'table' has 4"),
    ],
)
def test_ids_that_no_embedding_reads_are_refused(
    model: nn.Module, ids: np.ndarray, said: str, tmp_path: Path
) -> None:
    """The message says what would do."""
    with pytest.raises(ProbeError, match=said):
        Study(model, ids, {"threes": threes}).run(tmp_path)
