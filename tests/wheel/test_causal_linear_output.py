"""Which outputs an alignment search takes for linear functions of the last state."""

import torch
from test_causal_alignment import LENGTH, READ, Reader, X
from torch import Tensor

from probe.methods.causal.alignment_loss import LinearOutput
from probe.methods.machines import Machine


class Bent(Reader):
    """A reader whose scores bend where its hidden states' sum is low, which they are at few clean states."""

    def forward(self, x: Tensor):
        """Return scores (batch, class)."""
        out = self.rnn(x)[0][:, -1]
        return self.head(torch.relu(out + 1))


class Squared(Reader):
    """A reader whose scores are products of hidden states: an operation that is linear in each of its two sides."""

    def forward(self, x: Tensor):
        """Return scores (batch, class)."""
        out = self.rnn(x)[0][:, -1]
        return out.mm(out[: LENGTH + 1].T)


def test_only_a_linear_output_is_taken_for_one():
    """Weights and biases of a head are found; squares and a bend beyond all clean states are seen."""
    reader = Reader("lstm")
    linear = LinearOutput.of(Machine.of(reader, X, **READ))
    assert linear is not None
    assert torch.allclose(linear.weights[:, 3:], reader.head.weight.double(), atol=1e-12)
    assert not bool(linear.weights[:, :3].any())
    assert torch.allclose(linear.bias[:, 0], reader.head.bias.double(), atol=1e-12)
    bent = Machine.of(Bent("lstm"), X, **READ)
    assert float(bent.clean.states[:, -1, 3:].min()) > -1
    assert LinearOutput.of(bent) is None
    assert LinearOutput.of(Machine.of(Squared("lstm"), X, **READ)) is None
