"""A recording says what its lowest layer read: by that probes know which states are one, and what needs no memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.recurrent.custom import CustomGRU

X = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([5, 2, 4, 5, 1, 3])


class Loop(nn.Module):
    """Two cells on top of each other, called in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.GRUCell(3, 4), nn.GRUCell(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the upper cell's last state."""
        h, top = x.new_zeros(len(x), 4), x.new_zeros(len(x), 2)
        for now in x.unbind(1):
            h = self.low(now, h)
            top = self.high(h, top)
        return top


MODELS = {
    "stacked both ways": nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True),
    "time first": nn.Sequential(nn.GRU(3, 4)),
    "cells": Loop(),
    "a cell of ours": CustomGRU(3, 4, batch_first=True),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_first_layer_of_a_module_says_what_the_module_read(name: str) -> None:
    """In the order (batch, time, feature), whatever the module's own; its other layers say nothing."""
    model = MODELS[name]
    x = X.transpose(0, 1) if name == "time first" else X
    recording = probe.record(model, x)
    assert recording.inputs is not None
    assert torch.equal(recording.inputs, X)
    assert [part.inputs is not None for part in recording.parts] == [True] + [name == "cells"] * (
        len(recording.parts) - 1
    )


def test_inputs_are_those_of_all_steps_and_the_recordings_own() -> None:
    """Also where few steps are kept; a change of the caller's tensor changes nothing."""
    x = X.clone()
    recording = probe.record(nn.LSTM(3, 4, 2, batch_first=True), x, steps=-1, layers=["[1]"])
    assert recording.inputs is not None
    assert torch.equal(recording.inputs, X)
    recording = probe.record(nn.GRU(3, 4, batch_first=True), x, steps=-1)
    x.zero_()
    assert recording.inputs is not None
    assert torch.equal(recording.inputs, X)


def test_padding_is_zero() -> None:
    """Of a packed input."""
    packed = pack_padded_sequence(X, LENGTHS, batch_first=True, enforce_sorted=False)
    recording = probe.record(nn.GRU(3, 4, batch_first=True, bidirectional=True), packed)
    real = torch.arange(5) < LENGTHS[:, None]
    assert recording.inputs is not None
    assert torch.equal(recording.inputs, X * real[:, :, None])


@pytest.mark.parametrize("streamed", [False, True])
def test_files_keep_them(tmp_path: Path, *, streamed: bool) -> None:
    """A saved recording, and one that was streamed into a folder."""
    model = nn.GRU(3, 4, batch_first=True)
    recording = probe.record(model, X, out=tmp_path / "run") if streamed else probe.record(model, X)
    if not streamed:
        recording.save(tmp_path / "run")
    read = probe.load_recording(tmp_path / "run")
    assert read.inputs is not None
    assert torch.equal(read.inputs, X)


def test_each_call_has_its_own() -> None:
    """A layer that is called twice read two inputs."""
    gru = nn.GRU(3, 3, batch_first=True)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = gru

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(2 * self.gru(x)[0])[0]

    recording = probe.record(Twice(), X)
    first, second = (recording.call(number) for number in (0, 1))
    assert first.inputs is not None
    assert second.inputs is not None
    assert torch.equal(first.inputs, X)
    assert torch.equal(second.inputs, 2 * first["hidden_state"])
