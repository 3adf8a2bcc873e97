"""A study of a model that answers by itself: its output is the readout, and what makes it of states is its head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from studied import bits, ones
from torch import Tensor, nn

from probe import ProbeError, Readout, Study
from probe.studies.prepare import prepare
from probe.subjects.computed.answers import answers_to
from probe.subjects.computed.ends import ends_of, runs_of


@pytest.mark.parametrize("given", [nn.Linear(6, 9), lambda h: h])
def test_a_head_given_as_a_weight_is_refused_at_once(given: Any) -> None:
    """The message gives the right call; it is a function of hidden states."""
    with pytest.raises(ProbeError, match=rf"weight is a {type(given).__name__}.*Readout\('ones', function=\.\.\.\)"):
        Readout("ones", given)
    with pytest.raises(ProbeError, match="bias is a dict; it must be an array of numbers"):
        Readout("ones", [[1.0]], bias={})


class FromLearned(nn.Module):
    """Begins each sequence from a state that it learned, or that the sequence's first input gives."""

    def __init__(self, *, by_row: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.by_row = nn.GRU(1, 4, batch_first=True), by_row
        self.begin = nn.Parameter(3 * torch.randn(1, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Return the states after each step."""
        begin = self.begin.expand(1, len(x), 4)
        return self.rnn(x, (begin * (1 + x[:, :1].transpose(0, 1)) if self.by_row else begin).contiguous())[0]


@pytest.mark.parametrize("by_row", [False, True])
def test_ends_are_run_from_the_state_in_which_the_network_begins(by_row: bool) -> None:
    """A machine gives the network's own answers; rows that begin in different states share no prefix."""
    model = FromLearned(by_row=by_row)
    weight = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    readout = Readout("ones", weight=weight)
    (subject,) = prepare(Study(model, bits(60, 4), {"ones": ones}, readout=readout))
    for machine in (ends_of(subject).machine, runs_of(subject)):
        own = (model(subject.x)[:, -1] @ weight.T)[:, 0]
        assert np.allclose(answers_to(subject, subject.x)[1], own.detach().numpy(), atol=1e-5)
        assert torch.allclose(machine.clean.answers.expected.float(), own, atol=1e-5)
        assert bool((machine.clean.starts == 0).all()) != by_row
