"""Loops over packed sequences, in which fewer and fewer rows are left."""

from __future__ import annotations

import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe

SIZES = (3, 3, 3, 2, 2, 1)


class Packed(nn.Module):
    """Runs a cell over rows that end one after the other, and masks its states between the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 5)

    def forward(self, x: Tensor, edit: int | None = None) -> Tensor:
        """Return the hidden states of all steps; a unit of the cell state is 3 after step `edit`."""
        h = c = x.new_zeros(len(x), 5)
        mask, outputs = torch.ones(len(x), 5), list[Tensor]()
        for t, rows in enumerate(SIZES):
            before = h[:rows]
            h, c = self.cell(x[:rows, t], (before, c[:rows]))
            if t == edit:
                c = torch.cat([c[:, :1], torch.full_like(c[:, 1:2], 3.0), c[:, 2:]], 1)
                gates = x[:rows, t] @ self.cell.weight_ih.T + self.cell.bias_ih + self.cell.bias_hh
                h = (gates + before @ self.cell.weight_hh.T).chunk(4, 1)[3].sigmoid() * c.tanh()
            outputs.append(h)
            h = h * mask[:rows]
        return torch.cat(outputs)


@pytest.fixture
def model() -> Packed:
    """Return the loop with random weights."""
    torch.manual_seed(0)
    return Packed()


def test_all_rows_of_a_loop_that_shrinks_are_edited(model: Packed) -> None:
    """A mask between the steps is seen through where rows have ended."""
    x = torch.randn(3, 6, 3)
    with torch.no_grad(), probe.intervene(model, probe.clamp("cell_state", 3.0, units=1, steps=3)):
        edited = model(x)
    with torch.no_grad():
        wanted = model(x, edit=3)
    assert torch.allclose(edited, wanted, atol=1e-6)


def test_rows_of_a_loop_that_shrinks_are_refused(model: Packed) -> None:
    """Who packed them sorted them: row 0 of the cell is not the caller's."""
    edit = probe.clamp("cell_state", 3.0, units=1, steps=1, rows=0)
    with refused(), probe.intervene(model, edit):
        model(torch.randn(3, 6, 3))
