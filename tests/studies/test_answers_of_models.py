"""A study of a model that answers by itself: its output is the readout, and what makes it of states is its head."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from probe import ProbeError, Readout


@pytest.mark.parametrize("given", [nn.Linear(6, 9), lambda h: h])
def test_a_head_given_as_a_weight_is_refused_at_once(given: Any) -> None:
    """The message gives the right call; it is a function of hidden states."""
    with pytest.raises(ProbeError, match=rf"weight is a {type(given).__name__}.*Readout\('ones', function=\.\.\.\)"):
        Readout("ones", given)
    with pytest.raises(ProbeError, match="bias is a dict; it must be an array of numbers"):
        Readout("ones", [[1.0]], bias={})
