"""What a model answers to sequences of several lengths, whatever runs it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from known_machines import READ, Reader
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from probe.methods.outputs import answers_by_length
from probe.recurrent.cells import narrow

GENERATOR = torch.Generator().manual_seed(3)
ASKED = {length: torch.randn(300, length, 2, generator=GENERATOR) for length in (4, 6)}


class Every(Reader):
    """Read off the mean over steps, and off the last cell state too; the layer starts from a state of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        start = x.new_full((1, len(x), 3), 0.5)
        h, (_, c) = self.rnn(x, (start, -start))
        return self.head(h.mean(1) + c[0])


class Packed(Reader):
    """Reads packed sequences, whose output has no loop of ours."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        lengths = torch.full((len(x),), x.shape[1])
        return self.head(self.rnn(pack_padded_sequence(x, lengths, batch_first=True))[1][0][0])


class Summed(nn.Module):
    """No recurrent layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return torch.cat([x.sum(1), x.prod(1), x.amax(1)], 1)


@pytest.mark.parametrize(
    ("model", "times"),
    [
        (Reader("lstm"), 2),
        (Every("lstm"), 2),
        (Reader("gru"), 0),
        (Packed("lstm"), 0),
        (Summed(), 0),
    ],
    ids=["LSTM", "every step and the cell state", "GRU", "packed", "no layer"],
)
def test_answers_are_those_of_the_model_as_it_is(
    model: nn.Module, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single LSTM of few units goes through the narrow loop once for each length: the same answers to 1e-12."""
    ran: list[Any] = []
    run = narrow.run
    monkeypatch.setattr(narrow, "run", lambda *args, **kwargs: ran.append(args) or run(*args, **kwargs))
    given, shown = answers_by_length(model, ASKED, READ["answer"], READ["expected"])
    assert len(ran) == times
    assert "forward" not in vars(getattr(model, "rnn", model))
    with torch.no_grad():
        outputs = {length: model.double()(x.double()) for length, x in ASKED.items()}
    for length, output in outputs.items():
        assert given[length].tolist() == READ["answer"](output).tolist()
        assert shown[length].tolist() == pytest.approx(READ["expected"](output).tolist(), abs=1e-12)
