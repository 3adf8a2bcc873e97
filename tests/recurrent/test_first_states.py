"""What a cell is called with before it has a state: tensors of no elements, or what is left of another batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe

TIME, AT = 9, 4

#: A neuron keeps its membrane on the module, which every run puts back.
pytestmark = pytest.mark.filterwarnings("ignore:The run changed model")


class Recurrent(nn.Module):
    """A neuron as snntorch writes it: it keeps its membrane, begins with none, and with zeros of the last batch."""

    kept: Tensor
    states = ("spike", "membrane")

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(0), persistent=False)

    def first(self) -> list[Tensor]:
        """Return the state before the first step."""
        self.kept = torch.zeros_like(self.kept)
        return [self.kept] * len(self.states)

    def forward(self, x: Tensor, spike: Tensor | None = None, membrane: Tensor | None = None) -> Any:
        """Return the spikes and the membrane."""
        zeros = torch.zeros_like(x)
        before = zeros if membrane is None or membrane.shape != x.shape else membrane
        back = zeros if spike is None or spike.shape != x.shape else spike
        self.kept = 0.9 * before + x - 0.5 * back - (before > 1).float()
        return (self.kept > 1).float(), self.kept


class Plain(Recurrent):
    """The same, which reads no spikes."""

    states = ("membrane",)

    def forward(self, x: Tensor, membrane: Tensor | None = None) -> Any:  # pyright: ignore
        """Return the spikes and the membrane."""
        return super().forward(x, None, membrane)


class Net(nn.Module):
    """One such neuron in a loop."""

    def __init__(self, cell: Recurrent) -> None:
        super().__init__()
        self.enters, self.cell = nn.Linear(3, 5), cell

    def forward(self, x: Tensor, clamped: dict[str, float] | None = None) -> Tensor:
        """Return the membrane at every step; a part of the state after step `AT` is set to a number."""
        state, outputs, count = self.cell.first(), [], len(self.cell.states)
        names = ["state[0]", "state[1]"] if count > 1 else ["state"]
        for step, now in enumerate(x.unbind(1)):
            state = list(self.cell(self.enters(now), *state)[-count:])
            for place, name in enumerate(names):
                if clamped and step == AT and name in clamped:
                    state[place] = torch.full_like(state[place], clamped[name])
            outputs.append(state[-1])
        return torch.stack(outputs, 1)


@pytest.mark.parametrize("kind", [Plain, Recurrent])
@pytest.mark.parametrize("said", [False, True])
def test_a_tensor_without_elements_is_no_state(kind: type[Recurrent], said: bool) -> None:
    """Recorded, edited and swept as the loop itself, registered or not, also with another number of rows after it."""
    torch.manual_seed(0)

    class Own(kind):
        """A class of its own: what is registered of it stays with it."""

    model = Net(Own()).eval()
    if said:
        probe.register(Own, state=Own.states, returns=(0, 1) if kind is Recurrent else 1)
    for rows in (4, 7):
        x = 2 * torch.randn(rows, TIME, 3)
        recording = probe.record(model, x)
        with torch.no_grad():
            assert torch.equal(recording.output, model(x))
        states = [signal for signal in recording.parts[0].signals if signal != "output"]
        assert len(states) == len(kind.states)
        for signal in states:
            assert recording["cell", signal].shape == (rows, TIME, 5)
            assert not bool(recording.initial[signal].any())
            edit = probe.clamp(signal, 0.3, steps=AT)
            with torch.no_grad():
                wanted = model(x, {signal: 0.3})
            assert torch.equal(probe.record(model, x, edits=[edit]).output, wanted)
            assert torch.equal(probe.sweep(model, x, edits=[edit])[0], wanted)
