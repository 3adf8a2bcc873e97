"""What a model answers to sequences of several lengths, whatever runs it."""

from __future__ import annotations

import pytest
import torch
from known_machines import READ, Reader
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from probe.methods.outputs import answers_by_length

GENERATOR = torch.Generator().manual_seed(3)
#: The longer sequences are more than run together.
ASKED = {length: torch.randn(rows, length, 2, generator=GENERATOR) for length, rows in ((4, 300), (6, 1500))}


class Every(Reader):
    """Read off the mean over steps, and off the last cell state too; the layer starts from a state of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        start = x.new_full((1, len(x), 3), 0.5)
        h, (_, c) = self.rnn(x, (start, -start))
        return self.head(h.mean(1) + c[0])


class Packed(Reader):
    """Reads packed sequences."""

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
    "model",
    [Reader("lstm"), Every("lstm"), Reader("gru"), Packed("lstm"), Summed()],
    ids=["LSTM", "every step and the cell state", "GRU", "packed", "no layer"],
)
def test_answers_are_those_of_the_model_as_it_is(model: nn.Module) -> None:
    """In float64, for each length, to 1e-12; the model itself stays in float32."""
    given, shown = answers_by_length(model, ASKED, READ["answer"], READ["expected"])
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    with torch.no_grad():
        outputs = {length: model.double()(x.double()) for length, x in ASKED.items()}
    for length, output in outputs.items():
        assert given[length].tolist() == READ["answer"](output).tolist()
        assert shown[length].tolist() == pytest.approx(READ["expected"](output).tolist(), abs=1e-12)
