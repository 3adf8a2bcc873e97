"""The parts of planted networks: units that hold a value, idle units, and a head that reads levels."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from probe.errors import ProbeError

from ..counter import Counter

#: sigmoid(40) == 1.0 exactly in float32 and float64: the gate is open, not nearly open.
B = 40.0
#: Of what is random in a planted network: its idle units, and the direction of the rotated one.
SEED = 0
#: Rows of torch's matrices: gate order i f g o.
INPUT, FORGET, CANDIDATE, OUTPUT = range(4)


class Plan:
    """A counter with all weights 0, to be written into, in float64.

    Args:
        units: how many units.
        idle: those of them that are an untrained LSTM of their own, which neither hears the others nor is read.

    Attributes:
        x: weights from the bit, (gate, unit), a view into the model.
        h: recurrent weights, (gate, unit, from unit), a view.
        bias: (gate, unit), a view.

    Raises:
        ProbeError: the number of distractors is negative.

    Reference:
        Glorot & Bengio 2010, equation 16, over the one kernel of TensorFlow's cell.
    """

    def __init__(self, units: int, idle: range = range(0)) -> None:
        if idle.stop < idle.start:
            raise ProbeError(
                f"A planted counter with {idle.stop - idle.start} distractors was asked for; give 0 or more."
            )
        self.model = Counter(units).to(torch.float64)
        self.units = units
        for parameter in self.model.parameters():
            parameter.detach().zero_()
        weights = {name: parameter.detach() for name, parameter in self.model.lstm.named_parameters()}
        self.x: Float[Tensor, "gate unit"] = weights["weight_ih_l0"].view(4, units)
        self.h: Float[Tensor, "gate unit from_unit"] = weights["weight_hh_l0"].view(4, units, units)
        self.bias: Float[Tensor, "gate unit"] = weights["bias_ih_l0"].view(4, units)
        if idle:
            self._distract(torch.tensor(list(idle)))

    def hold(self, *units: int) -> None:
        """Open the input, forget and output gates of units whatever comes, so that c += g exactly."""
        for unit in units:
            self.bias[[INPUT, FORGET, OUTPUT], unit] = B

    def write(self, unit: int, *, one: float, zero: float) -> None:
        """Set a unit's candidate g to one value on a one and another on a zero."""
        self.bias[CANDIDATE, unit] = math.atanh(zero)
        self.x[CANDIDATE, unit] = math.atanh(one) - math.atanh(zero)

    def _distract(self, idle: Tensor) -> None:
        count = len(idle)
        limit = (6 / (1 + count + 4 * count)) ** 0.5
        kernel = torch.empty(4, count, 1 + count, dtype=torch.float64)
        kernel.uniform_(-limit, limit, generator=torch.Generator().manual_seed(SEED))
        self.x[:, idle] = kernel[:, :, 0]
        self.h[:, idle[:, None], idle] = kernel[:, :, 1:]
        self.bias[FORGET, idle] = 1.0

    def read(self, weights: Float[Tensor, " unit"], levels: Float[Tensor, " class"]) -> None:
        """Set a head that answers k where y = weights . h is nearest to the k-th of rising levels.

        logit_k - logit_(k-1) = beta (y - m_k) with m_k midway between two neighbouring levels, so the answer
        changes there; beta makes the smallest probability of a right answer .9999.
        """
        gaps = levels.diff()
        beta = 10 / (gaps.min() / 2)
        k = torch.arange(len(levels), dtype=torch.float64)
        head = self.model.head
        head.weight.detach().copy_(beta * k[:, None] * weights)
        head.bias.detach()[1:] = -beta * (levels[:-1] + gaps / 2).cumsum(0)

    def one_hot(self, *units: int) -> Float[Tensor, " unit"]:
        """Return weights of 1 at units and 0 elsewhere."""
        weights = torch.zeros(self.units, dtype=torch.float64)
        weights[list(units)] = 1.0
        return weights

    def built(self, dtype: torch.dtype) -> Counter:
        """Return the counter in evaluation mode."""
        return self.model.to(dtype).eval()


def counts() -> Float[Tensor, " class"]:
    """Return the possible counts, 0 to 10, in float64."""
    return torch.arange(11, dtype=torch.float64)
