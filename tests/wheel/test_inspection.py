"""What `probe.inspect` promises: the layers by name, with their sizes, before anything is run."""

from __future__ import annotations

import pytest
from torch import nn

import probe
from probe import ProbeError, Signal


def test_layers_are_listed_with_their_sizes(pair: nn.Module) -> None:
    """Names, inputs, units, signals and parameters as torch counts them; registration order."""
    described = probe.inspect(pair)
    assert described.model == "Pair"
    assert [layer.name for layer in described.layers] == ["low[0]", "high[0]", "idle[0]"]
    low, high, _ = described.layers
    assert (low.inputs, low.units, high.inputs, high.units) == (3, 5, 5, 5)
    assert low.cell == "LSTM"
    assert low.parameters == 4 * 5 * (3 + 5 + 2)
    assert low.signals == tuple(Signal)[:10]


def test_the_description_can_be_read() -> None:
    """Printed, it is one line a layer."""
    text = str(probe.inspect(nn.LSTM(3, 5)))
    assert text.splitlines()[0] == "LSTM"
    assert "[0]: LSTM, 3 inputs, 5 units, 200 parameters; signals input_gate_preactivation," in text
    assert repr(probe.inspect(nn.LSTM(3, 5))) == text


def test_the_model_is_not_called(tagger: nn.Module) -> None:
    """Inspecting reads weights only."""
    _ = probe.inspect(tagger)
    assert tagger.times_called == 0


def test_a_model_without_recurrent_layers_raises() -> None:
    """The message says what was looked for."""
    with pytest.raises(ProbeError, match=r"Sequential contains no recurrent layer \(torch.nn.LSTM, GRU, RNN"):
        _ = probe.inspect(nn.Sequential(nn.Linear(2, 2)))
