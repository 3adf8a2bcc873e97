"""Sequences of different lengths, packed: each row ends at its own step, in arrays, tables, edits and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
from comparing import distance, farthest, flat, same
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

import probe
from probe import Signal

INPUTS, UNITS, TIME = 3, 4, 5
SORTED, UNSORTED = [5, 4, 2], [2, 5, 4]
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does."""
    with torch.no_grad():
        yield


def made(kind: str = "LSTM", **options: Any) -> nn.RNNBase:
    """Return a module in double precision, two layers in both directions."""
    options = {"num_layers": 2, "bidirectional": True} | options
    if kind == "projected":
        return nn.LSTM(INPUTS, UNITS, proj_size=2, **options).double()
    return {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}[kind](INPUTS, UNITS, **options).double()


def padded(lengths: list[int], seed: int = 1) -> Tensor:
    """Return inputs (time, batch, input), zero at padding."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(length, INPUTS, dtype=torch.float64, generator=generator) for length in lengths]
    return pad_sequence(rows)


def packed(lengths: list[int], seed: int = 1, *, enforce_sorted: bool = False) -> PackedSequence:
    """Return the same inputs packed."""
    return pack_padded_sequence(padded(lengths, seed), torch.tensor(lengths), enforce_sorted=enforce_sorted)


def recorded(recording: probe.Recording) -> dict[tuple[str, str], Tensor]:
    """Return every signal of every layer."""
    return {(part.layer, str(name)): value for part in recording.parts for name, value in part.signals.items()}


@pytest.mark.parametrize(("lengths", "enforce_sorted"), [(SORTED, True), (SORTED, False), (UNSORTED, False)])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", ["LSTM", "projected", "GRU", "RNN"])
def test_each_row_ends_at_its_own_step(
    kind: str, batch_first: bool, lengths: list[int], enforce_sorted: bool
) -> None:
    """Values are the oracle's in the caller's order of rows, NaN after a row's end, where a reverse layer begins."""
    module = made(kind, batch_first=batch_first)
    x = packed(lengths, enforce_sorted=enforce_sorted)
    number = 4
    h = torch.randn(number, len(lengths), module.proj_size or UNITS, dtype=torch.float64)
    hx: Any = (
        (h, torch.randn(number, len(lengths), UNITS, dtype=torch.float64)) if kind in ("LSTM", "projected") else h
    )
    recording = probe.record(module, x, hx, signals=Signal)
    whole = padded(lengths)
    expected = reference.run(module, whole.transpose(0, 1) if batch_first else whole, hx, lengths).signals
    assert farthest(recorded(recording), expected) < 1e-12
    assert same(recording.output, module(x, hx))
    assert recording.lengths("[0]") == tuple(lengths)
    ended = torch.arange(TIME) >= torch.tensor(lengths).unsqueeze(1)
    assert all(torch.equal(value.isnan().all(2), ended) for value in recorded(recording).values())
    # The control arm: without lengths, a reverse layer would begin in the padding.
    unaware = reference.run(module, whole.transpose(0, 1) if batch_first else whole, hx).signals
    short = lengths.index(2)
    assert (
        distance(
            unaware["[0].reverse", "hidden_state"][short, :2], expected["[0].reverse", "hidden_state"][short, :2]
        )
        > 1e-3
    )


def test_padding_is_absent_from_tables() -> None:
    """A row of the table stands for a step that a sequence had; a reverse layer's steps are the input's."""
    recording = probe.record(made(), packed(UNSORTED))
    frame = recording.to_frame()
    assert not frame.isna().to_numpy().any()
    ends = frame.groupby(["layer", "batch"])["step"].max()
    assert all(ends[layer].to_list() == [1, 4, 3] for layer in recording.layers)
    assert len(frame) == 4 * sum(UNSORTED) * UNITS
    some = probe.record(made(), packed(UNSORTED), steps=[3, -1]).to_frame()
    counts = some.groupby(["batch", "step"]).size().to_dict()
    assert set(counts) == {(0, -1), (1, 3), (1, -1), (2, 3), (2, -1)}  # row 0 has no step 3
    tree = recording.to_xarray()
    assert list(tree["[0]"]["length"].to_numpy()) == UNSORTED


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_negative_steps_count_from_each_rows_own_end(enforce_sorted: bool) -> None:
    """steps=-1 is a row's last valid step, for both directions; a step that a row lacks is NaN."""
    lengths = SORTED if enforce_sorted else UNSORTED
    module, x = made(), packed(lengths, enforce_sorted=enforce_sorted)
    everything = recorded(probe.record(module, x))
    some = probe.record(module, x, steps=[-1, -3, 3])
    assert some.steps == (-1, -3, 3)
    for place, value in recorded(some).items():
        for row, length in enumerate(lengths):
            for column, step in enumerate((length - 1, length - 3, 3)):
                expected = (
                    everything[place][row, step]
                    if 0 <= step < length
                    else torch.full((UNITS,), torch.nan, dtype=torch.float64)
                )
                assert same(value[row, column], expected)
    h_n = module(x)[1][0]
    assert torch.equal(some["[1]", "hidden_state"][:, 0], h_n[2])


@pytest.mark.parametrize("layer", ["[0]", "[0].reverse", "[1]", "[1].reverse"])
@pytest.mark.parametrize("step", [0, 1, -1])
def test_an_edit_finds_each_rows_own_step(layer: str, step: int) -> None:
    """An edit at a step or at each row's last one gives the oracle's run, whose output is packed as the input was."""
    module, x = made("GRU"), packed(UNSORTED)
    ends = torch.tensor(UNSORTED) - 1

    def edit(name: str, signal: str, t: int, value: Tensor) -> Tensor:
        if (name, signal) != (layer, "update_gate"):
            return value
        here = (ends if step < 0 else torch.full_like(ends, step)) == t
        return torch.where(here.unsqueeze(1), 0.25, value)

    run = probe.record(module, x, edits=[probe.clamp("update_gate", 0.25, layer=layer, steps=step)], signals=Signal)
    expected = reference.run(module, padded(UNSORTED), None, UNSORTED, edit)
    assert farthest(recorded(run), expected.signals) < 1e-12
    output, lengths = pad_packed_sequence(run.output[0])
    assert lengths.tolist() == UNSORTED
    assert distance(output, expected.output) < 1e-12
    assert isinstance(expected.final, Tensor)
    assert distance(run.output[1], expected.final) < 1e-12
    bare = module(x)
    assert [part.shape for part in flat(run.output)] == [part.shape for part in flat(bare)]
    assert not same(run.output, bare)


def test_a_patch_takes_each_rows_own_last_step() -> None:
    """A patch at -1 moves the last state of a source row to the last state of a row, whatever their lengths."""
    module, x = made(num_layers=1, bidirectional=False), packed(UNSORTED)
    source = probe.record(module, packed([4, 2, 5], seed=2))
    own = probe.record(module, x)
    edits = [probe.patch(signal, source, steps=-1) for signal in ("cell_state", "hidden_state")]
    run = probe.record(module, x, edits=edits)
    for row, (here, there) in enumerate(zip(UNSORTED, [4, 2, 5], strict=True)):
        for signal in ("cell_state", "hidden_state"):
            assert torch.equal(run[signal][row, here - 1], source[signal][row, there - 1])
            assert torch.equal(run[signal][row, : here - 1], own[signal][row, : here - 1])
    assert distance(run.output[1][1], source.output[1][1]) < 1e-15
    same_run = probe.record(module, x, edits=[probe.patch("cell_state", own, steps=[-1, -2])])
    assert same(same_run.output, own.output)


def test_an_edit_of_a_step_that_a_row_lacks_is_refused() -> None:
    """The message names the row and how many steps it has; with rows= those that have the step are edited."""
    module, x = made("RNN"), packed(UNSORTED)
    with refused():
        _ = probe.record(module, x, edits=[probe.clamp("hidden_state", 0.0, layer="[0]", steps=3)])
    edit = probe.clamp("hidden_state", 0.0, layer="[0]", steps=3, rows=[2, 1])
    assert bool((probe.record(module, x, edits=[edit])["[0]", "hidden_state"][1:, 3] == 0).all())
    with refused():
        _ = probe.record(module, x, edits=[probe.clamp("hidden_state", 0.0, layer="[0]", steps=[1, -1])])


def test_without_steps_an_edit_acts_at_every_valid_step() -> None:
    """An edit of all steps ends where a row ends: nothing of it reaches another row or the padding."""
    module, x = made("LSTM"), packed(UNSORTED)
    run = probe.record(module, x, edits=[probe.clamp("forget_gate", 1.0, layer="[1].reverse")])
    gate = run["[1].reverse", "forget_gate"]
    ended = torch.arange(TIME) >= torch.tensor(UNSORTED).unsqueeze(1)
    assert bool((gate[~ended] == 1).all())
    assert bool(gate[ended].isnan().all())


def test_a_source_that_has_ended_is_refused() -> None:
    """What a shorter source row does not have is no number, and is not put into a run."""
    module = made(num_layers=1, bidirectional=False)
    source = probe.record(module, packed(UNSORTED))
    edit = probe.patch("cell_state", source, steps=3)
    with refused():
        _ = probe.record(module, padded([5, 5, 5]), edits=[edit])
    fine = probe.patch("cell_state", source, steps=3, rows=[0, 2], source_rows=[1, 2])
    run = probe.record(module, padded([5, 5, 5]), edits=[fine])
    assert torch.equal(run["cell_state"][[0, 2], 3], source["cell_state"][[1, 2], 3])
    # A mean is taken over the rows that have the step.
    mean = probe.ablate("cell_state", kind="mean", reference=source, steps=3)
    expected = source["cell_state"][1:, 3].mean(0)
    assert distance(probe.record(module, x := padded([5, 5]), edits=[mean])["cell_state"][0, 3], expected) < 1e-15
    assert x.shape[1] == 2


@pytest.mark.parametrize("check", [True, False])
def test_packed_recordings_are_saved_whole(check: bool, tmp_path: Path) -> None:
    """Lengths, gradients, NaN and the packed output come back as they were, unchecked rows their own ends."""
    module, x = made("GRU"), packed(UNSORTED)
    options: dict[str, Any] = {"gradient_of": lambda output: output[0].data.sum()} if check else {"check": False}
    recording = probe.record(module, x, **options)
    recording.save(tmp_path / "run.safetensors")
    back = probe.load_recording(tmp_path / "run.safetensors")
    assert back.lengths("[1].reverse") == tuple(UNSORTED)
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
