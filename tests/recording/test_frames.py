"""The tidy table of a recording: a row for each number that a sequence has, and concepts beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe

LENGTHS = (4, 1, 3)
KEYS: list[Any] = ["signal", "sequence", "step", "unit"]


@pytest.fixture
def ragged() -> probe.Recording:
    """Return the recording of rows of several lengths, by an LSTM whose hidden state is narrower than its cells."""
    rows = nn.utils.rnn.pack_sequence([torch.randn(length, 3) for length in LENGTHS], enforce_sorted=False)
    return probe.record(nn.LSTM(3, 5, proj_size=2), rows, signals=["cell_state", "hidden_state"])


def test_a_number_of_a_signal_is_a_row(ragged: probe.Recording) -> None:
    """In the recording's order; what a signal or a shorter sequence has not has no row, and each value is found."""
    frame = ragged.to_frame()
    assert list(frame.columns) == ["layer", "call", *KEYS, "value"]
    assert frame["signal"].value_counts(sort=False).to_dict() == {"cell_state": 8 * 5, "hidden_state": 8 * 2}
    assert list(frame.index) == list(range(8 * 7))
    for signal, sequence, step, unit, value in frame[[*KEYS, "value"]].itertuples(index=False):
        assert value == ragged[signal][sequence, step, unit].item()
    assert (frame["value"].dtype, frame["unit"].dtype) == (np.float32, np.int64)


def test_signals_layers_and_units_are_chosen(ragged: probe.Recording, pair: nn.Module, x: Tensor) -> None:
    """Units in the order that was asked for, also from the end; one name needs no brackets."""
    one = ragged.to_frame(signals="cell_state", units=[3, -5])
    assert (set(one["signal"]), one["unit"].tolist()) == ({"cell_state"}, [3, 0] * sum(LENGTHS))
    whole = ragged.to_frame().set_index(KEYS)["value"]
    pd.testing.assert_series_equal(one.set_index(KEYS)["value"], whole.loc[list(one[KEYS].itertuples(index=False))])
    recording = probe.record(pair, x)
    two = recording.to_frame(layer=["high[0]"], signals=["hidden_state"], units=4)
    assert two.groupby(["layer", "call"]).size().to_dict() == {("high[0]", 0): 4 * 7, ("high[0]", 1): 4 * 7}
    assert len(probe.record(nn.LSTM(3, 5), torch.zeros(7, 0, 3)).to_frame(concept=np.zeros((0, 7)))) == 0


NUMBERS = np.arange(12).reshape(3, 4)
TEXTS = np.array(["even", "odd"])[NUMBERS % 2]
#: What is given as a concept, and what stands at the first sequence's four steps and the other's one and three.
CONCEPTS: dict[str, tuple[Any, list[Any]]] = {
    "whole numbers": (torch.tensor(NUMBERS), [0, 1, 2, 3, 4, 8, 9, 10]),
    "numbers of sequences": ([0.5, 1.5, 2.5], [0.5] * 4 + [1.5] + [2.5] * 3),
    "numbers with NaN": (np.where(NUMBERS > 8, np.nan, NUMBERS), [0.0, 1.0, 2.0, 3.0, 4.0, 8.0, np.nan, np.nan]),
    "texts": (TEXTS, ["even", "odd", "even", "odd", "even", "even", "odd", "even"]),
    "texts with gaps": (
        np.where(NUMBERS == 1, "", TEXTS),
        ["even", np.nan, "even", "odd", "even", "even", "odd", "even"],
    ),
    "truths": (NUMBERS > 2, [False, False, False, True, True, True, True, True]),
    "truths with gaps": ([[True, None, False, True]] * 3, [True, np.nan, False, True, True, True, np.nan, False]),
}


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_concept_is_a_column(ragged: probe.Recording, name: str) -> None:
    """Beside each unit of its state, as what it was given; padding has no row, and where it is undefined is NaN."""
    given, expected = CONCEPTS[name]
    frame = ragged.to_frame(concept={name: given, "other": NUMBERS})
    assert list(frame.columns) == ["layer", "call", *KEYS, "value", name, "other"]
    assert np.array_equal(frame["other"], NUMBERS[frame["sequence"], frame["step"]])
    for (signal, unit), own in frame.groupby(["signal", "unit"]):
        found = [np.nan if pd.isna(one) else one for one in own[name].tolist()]
        assert repr(found) == repr(expected), (signal, unit)
    assert ragged.to_frame().equals(frame.drop(columns=[name, "other"]))
    alone = ragged.to_frame(concept=given)
    assert alone.rename(columns={"concept": name}).equals(frame.drop(columns="other"))


def test_a_concept_stands_beside_the_steps_that_were_kept() -> None:
    """Its columns are the recorded steps, whatever their numbers; a Series brings its own name."""
    x = torch.randn(3, 4, 3)
    recording = probe.record(nn.GRU(3, 5, batch_first=True), x, steps=[3, -3])
    frame = recording.to_frame(concept=NUMBERS[:, :2], units=0, signals=["hidden_state"])
    assert frame["step"].tolist() == [3, -3] * 3
    assert frame["concept"].tolist() == [0, 1, 4, 5, 8, 9]
    words = recording.to_frame(concept=pd.Series(["a", "b", "c"], name="word"))
    assert words.groupby("sequence")["word"].unique().map(list).tolist() == [["a"], ["b"], ["c"]]


def test_what_no_table_has_is_refused(ragged: probe.Recording) -> None:
    """Names and numbers that are not there, concepts of another shape or kind, and columns that there are already."""
    asked: list[dict[str, Any]] = [
        {"signals": ["cel_state"]},
        {"layer": "[1]"},
        {"units": 2},
        {"units": [-6], "signals": ["cell_state"]},
        {"units": (0, 1, 0), "signals": ["cell_state"]},
        {"concept": NUMBERS[:, :3]},
        {"concept": {"count": NUMBERS.T}},
        {"concept": {"count": np.where(NUMBERS > 3, np.inf, 0)}},
        {"concept": {"value": NUMBERS}},
        {"concept": {"": NUMBERS}},
        {"concept": {3: NUMBERS}},
        {"concept": "count"},
        {"concept": NUMBERS * 1j},
    ]
    for one in asked:
        with refused():
            _ = ragged.to_frame(**one)
