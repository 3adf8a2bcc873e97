"""What a call is told by: options of the wrong kind are refused before the model runs, and named."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe
from probe import ProbeError

MODEL = nn.LSTM(2, 3, batch_first=True)
X = torch.randn(4, 5, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.int32}, "dtype=torch.int32 must be a floating type"),
        ({"dtype": torch.bool}, "must be a floating type"),
        ({"device": "nope"}, "device='nope' cannot hold the values"),
        ({"device": "meta"}, "keeps no numbers"),
        ({"tolerance": -1.0}, "tolerance=-1.0 must be a number"),
        ({"tolerance": float("nan")}, "tolerance=nan must be a number"),
        ({"layers": []}, r"layers=\[\] names no layer"),
    ],
)
def test_an_option_that_a_recording_cannot_follow_is_refused(options: dict[str, Any], message: str) -> None:
    """Whole numbers would hold the values of gates as 0; another kind of option fails later, in somebody's code."""
    with pytest.raises(ProbeError, match=message):
        probe.record(MODEL, X, **options)


class Shrinking(nn.Module):
    """A cell in a loop that drops the rows of sequences that have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run two steps on all rows and the others on half of them."""
        h, c = x.new_zeros(len(x), 3), x.new_zeros(len(x), 3)
        for step in range(x.shape[1]):
            rows = len(x) if step < 2 else len(x) // 2
            h, c = self.cell(x[:rows, step], (h[:rows], c[:rows]))
        return h


def test_a_sequence_whose_rows_end_is_refused_by_its_name() -> None:
    """A recording is one array for all steps; torch's words about sizes would say nothing of the cell."""
    with pytest.raises(ProbeError, match="Cell 'cell' was called with 2 rows at step 2, after 4 rows"):
        probe.record(Shrinking(), X)


class Scaled(nn.Module):
    """A cell in a loop whose state is changed between two steps."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.cell, self.in_place = nn.GRUCell(2, 3), in_place

    def forward(self, x: Tensor) -> Tensor:
        """Run the cell over all steps."""
        h = self.cell(x[:, 0])
        for step in range(1, x.shape[1]):
            if self.in_place:
                h.mul_(0.5)
            h = self.cell(x[:, step], h)
        return h


def test_a_state_that_is_changed_in_place_between_steps_is_said() -> None:
    """Step t did not read what the recording holds at t - 1; where nothing changes there is no warning."""
    with pytest.warns(UserWarning, match="changed in place before the next step read it"):
        recording = probe.record(Scaled(in_place=True), X)
    assert recording.calls == {"cell": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe.record(Scaled(in_place=False), X)


def test_initial_states_of_several_layers_are_told_apart() -> None:
    """By the layer's name, as signals are."""
    recording = probe.record(nn.LSTM(2, 3, num_layers=2, batch_first=True), X)
    assert torch.equal(recording.initial["[1]", "cell_state"], torch.zeros(4, 3))
    with pytest.raises(ProbeError, match=r"2 layers \('\[0\]', '\[1\]'\); name one"):
        recording.initial["cell_state"]
    with pytest.raises(ProbeError, match="name one"):
        _ = "cell_state" in recording.initial
    with pytest.raises(ProbeError, match="There is no initial state 'forget_gate'"):
        recording.initial["[1]", "forget_gate"]


class Weighted(nn.Module):
    """A layer whose output is weighted by a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 4, batch_first=True)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return one number a row."""
        return self.rnn(x)[0][:, -1] @ weights


def test_a_sweep_says_what_it_repeated_where_the_model_fails() -> None:
    """The weights look like a batch of four; the model's own error stays the cause."""
    edits = [probe.clamp("hidden_state", 0.0, steps=step) for step in (1, 2)]
    with pytest.raises(ProbeError, match="or have an input with 4 entries that is no batch") as error:
        probe.sweep(Weighted(), X, torch.ones(4), edits=edits)
    assert isinstance(error.value.__cause__, RuntimeError)
