"""Sequences of different lengths, packed: each row ends at its own step, in arrays, tables, edits and outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import distance, recorded, same
from refusing import refused
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

import probe

INPUTS, UNITS, TIME = 3, 4, 5
LENGTHS, OTHERS = [2, 5, 4], [4, 2, 5]


def made(kind: Any = nn.LSTM, *, stacked: bool = True) -> nn.RNNBase:
    """Return a module in double precision, two layers in both directions, or one."""
    return kind(INPUTS, UNITS, **({"num_layers": 2, "bidirectional": True} if stacked else {})).double()


def packed(lengths: list[int]) -> PackedSequence:
    """Return packed inputs."""
    generator = torch.Generator().manual_seed(lengths[0])
    rows = [torch.randn(length, INPUTS, dtype=torch.float64, generator=generator) for length in lengths]
    return pack_sequence(rows, enforce_sorted=False)


def test_padding_is_absent_from_tables() -> None:
    """A row of the table stands for a step that a sequence had; a reverse layer's steps are the input's."""
    recording = probe.record(made(), packed(LENGTHS))
    frame = recording.to_frame()
    assert not frame.isna().to_numpy().any()
    ends = frame.groupby(["layer", "sequence"])["step"].max()
    assert all(ends[layer].to_list() == [1, 4, 3] for layer in recording.layers)
    assert len(frame) == sum(len(part.signals) for part in recording.parts) * sum(LENGTHS) * UNITS
    some = probe.record(made(), packed(LENGTHS), steps=[3, -1]).to_frame()
    counts = some.groupby(["sequence", "step"]).size().to_dict()
    assert set(counts) == {(0, -1), (1, 3), (1, -1), (2, 3), (2, -1)}  # row 0 has no step 3
    assert list(recording.to_xarray()["[0]"]["length"].to_numpy()) == LENGTHS


def test_negative_steps_count_from_each_rows_own_end() -> None:
    """steps=-1 is a row's last valid step, for both directions; a step that a row lacks is NaN."""
    module, x = made(), packed(LENGTHS)
    everything, some = probe.record(module, x), probe.record(module, x, steps=[-1, -3, 3])
    assert some.steps == (-1, -3, 3)
    for place, value in recorded(some).items():
        for row, length in enumerate(LENGTHS):
            for column, step in enumerate((length - 1, length - 3, 3)):
                nothing = torch.full((UNITS,), torch.nan, dtype=torch.float64)
                expected = everything[place][row, step] if 0 <= step < length else nothing
                assert same(value[row, column], expected)
    assert torch.equal(some["[1]", "hidden_state"][:, 0], everything.output[1][0][2])


def test_a_patch_takes_each_rows_own_last_step() -> None:
    """A patch at -1 moves the last state of a source row to the last state of a row, whatever their lengths."""
    module, x = made(stacked=False), packed(LENGTHS)
    source, own = probe.record(module, packed(OTHERS)), probe.record(module, x)
    edits = [probe.patch(signal, source, steps=-1) for signal in ("cell_state", "hidden_state")]
    run = probe.record(module, x, edits=edits)
    for row, (here, there) in enumerate(zip(LENGTHS, OTHERS, strict=True)):
        for signal in ("cell_state", "hidden_state"):
            assert torch.equal(run[signal][row, here - 1], source[signal][row, there - 1])
            assert torch.equal(run[signal][row, : here - 1], own[signal][row, : here - 1])
    assert distance(run.output[1][1], source.output[1][1]) < 1e-15


def test_an_edit_of_a_step_that_a_row_lacks_is_refused() -> None:
    """With rows= those that have the step are edited; one of all steps ends where a row ends."""
    module, x = made(), packed(LENGTHS)
    for steps in (3, [1, -1]):
        with refused():
            _ = probe.record(module, x, edits=[probe.clamp("hidden_state", 0.0, layer="[0]", steps=steps)])
    edit = probe.clamp("hidden_state", 0.0, layer="[0]", steps=3, rows=[2, 1])
    assert bool((probe.record(module, x, edits=[edit])["[0]", "hidden_state"][1:, 3] == 0).all())
    gate = probe.record(module, x, edits=[probe.clamp("forget_gate", 1.0, layer="[1].reverse")])
    ended = torch.arange(TIME) >= torch.tensor(LENGTHS).unsqueeze(1)
    assert bool((gate["[1].reverse", "forget_gate"][~ended] == 1).all())
    assert bool(gate["[1].reverse", "forget_gate"][ended].isnan().all())


def test_a_source_that_has_ended_is_refused() -> None:
    """What a shorter source row does not have is not put into a run; a mean is over the rows that have the step."""
    module = made(stacked=False)
    source, x = probe.record(module, packed(LENGTHS)), pad_packed_sequence(packed([5, 5, 5]))[0]
    with refused():
        _ = probe.record(module, x, edits=[probe.patch("cell_state", source, steps=3)])
    fine = probe.patch("cell_state", source, steps=3, rows=[0, 2], source_rows=[1, 2])
    run = probe.record(module, x, edits=[fine])
    assert torch.equal(run["cell_state"][[0, 2], 3], source["cell_state"][[1, 2], 3])
    mean = probe.ablate("cell_state", kind="mean", reference=source, steps=3)
    expected = source["cell_state"][1:, 3].mean(0)
    assert distance(probe.record(module, x, edits=[mean])["cell_state"][0, 3], expected) < 1e-15


@pytest.mark.parametrize("check", [True, False])
def test_packed_recordings_are_saved_whole(check: bool, tmp_path: Path) -> None:
    """Lengths, gradients, NaN and the packed output come back as they were, unchecked rows their own ends."""
    module, x = made(nn.GRU), packed(LENGTHS)
    options: dict[str, Any] = {"gradient_of": lambda output: output[0].data.sum()} if check else {"check": False}
    recording = probe.record(module, x, **options)
    recording.save(tmp_path / "run.safetensors")
    back = probe.load_recording(tmp_path / "run.safetensors")
    assert back.lengths("[1].reverse") == tuple(LENGTHS)
    assert same(list(recorded(back).values()), list(recorded(recording).values()))
    assert isinstance(back.output[0], PackedSequence)
    assert same(back.output, recording.output)
    assert back.max_error == recording.max_error
    if check:
        assert same(list(recorded(back.gradient).values()), list(recorded(recording.gradient).values()))
        assert bool(back.gradient["[0]", "update_gate"][0, 2:].isnan().all())
    else:
        assert distance(recording.output[1], probe.record(module, x).output[1]) < 1e-12
        with refused():
            _ = back.gradient
