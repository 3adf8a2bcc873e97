"""A study hands its tolerance to every run that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bodies import Model
from refusing import refused
from studied import bits, ones
from torch import nn

from probe import Finding, Study


class Off(nn.GRU):
    """A GRU that returns its states a little larger than its weights make them."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return states, (batch, time, unit), and the last ones."""
        states, last = super().forward(input, hx)
        return states * (1 + 3e-4), last * (1 + 3e-4)


@pytest.mark.usefixtures("undrawn")
def test_a_network_that_is_a_little_off_is_asked_what_an_exact_one_is(tmp_path: Path) -> None:
    """Its own output, states in both types of number, answers and controls: no run is refused in the middle."""

    def asked(kind: type[nn.GRU], **more: Any) -> set[str]:
        torch.manual_seed(0)
        parts = {"layer": kind(1, 4, batch_first=True), "head": nn.Linear(4, 7)}
        model = Model(lambda m, x: m.head(m.layer(x)[0][:, -1]), **parts)
        page = Study(model, bits(24, 6), {"ones": ones}, **more).run(tmp_path / kind.__name__, overwrite=True)
        assert ("differ from the network" in page.render()) == (kind is Off)
        found = map(Finding.read, (tmp_path / kind.__name__ / "findings").iterdir())
        return {finding.question for finding in found if not finding.measurements.empty}

    with refused():
        asked(Off)
    wanted = asked(nn.GRU)
    assert wanted >= {"answers", "fixed-points", "gates", "network", "one-sequence", "reading-ones"}
    assert asked(Off, tolerance=1e-3) == wanted
