"""What each kind of edit puts at a site, in which order several act, and how an edit reads as a value."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from comparing import distance, recorded, same
from torch import Tensor, nn

import probe
from probe import Signal

pytestmark = pytest.mark.usefixtures("double")
UNITS, TIME, BATCH = 5, 7, 4


@pytest.fixture
def y() -> Tensor:
    """Return other inputs, with more rows."""
    return torch.randn(5, TIME, 3)


def doubled(value: Tensor, _site: probe.Site) -> Tensor:
    """Return twice the value."""
    return 2 * value


def test_a_resample_says_another_rows_values(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """Each row takes one row of the reference, the same at every step; the seed decides which, and nothing else."""
    source, random = probe.record(lstm, y), torch.get_rng_state()
    choices = set[tuple[int, ...]]()
    for seed in range(4):
        resample = partial(probe.ablate, "hidden_state", kind="resample", reference=source, seed=seed)
        h, again, one = (
            probe.record(lstm, x, edits=[resample(rows=rows)])["hidden_state"] for rows in (None, None, [2])
        )
        fits = (h.unsqueeze(1) == source["hidden_state"]).all(-1).all(-1)
        assert fits.sum(1).tolist() == [1] * BATCH
        choices.add(tuple(fits.int().argmax(1).tolist()))
        assert torch.equal(again, h)
        assert torch.equal(one[2], h[2])
    assert len(choices) > 1
    assert torch.equal(torch.get_rng_state(), random)


def test_edits_act_in_the_order_of_computation(lstm: nn.LSTM, x: Tensor) -> None:
    """Edits of different signals commute, since a step has its own order; edits of one signal act as given."""
    gate, state = probe.clamp("forget_gate", 0.25, steps=2), probe.steer("cell_state", [1.0] * UNITS, steps=2)
    runs = [probe.record(lstm, x, edits=edits, signals=Signal) for edits in ([gate, state], [state, gate])]
    assert same(*(list(recorded(run).values()) for run in runs))
    written = runs[0]["input_gate"] * runs[0]["cell_candidate"]
    c = 0.25 * runs[0]["cell_state"][:, 1] + written[:, 2]
    assert distance(runs[0]["cell_state"][:, 2], c + 1) < 1e-15
    double = probe.edit("cell_state", doubled, steps=2)
    own = probe.record(lstm, x)["cell_state"][:, 2]
    for edits, expected in (([state, double], 2 * (own + 1)), ([double, state], 2 * own + 1)):
        assert distance(probe.record(lstm, x, edits=edits)["cell_state"][:, 2], expected) < 1e-15
    # A later signal of the same step wins over what follows from an earlier one.
    both = [probe.clamp("cell_state", 5.0, steps=2), probe.clamp("hidden_state", 0.125, steps=2)]
    run = probe.record(lstm, x, edits=both)
    assert bool((run["cell_state"][:, 2] == 5).all())
    assert bool((run["hidden_state"][:, 2] == 0.125).all())


def test_a_function_may_change_its_value_in_place(lstm: nn.LSTM, x: Tensor) -> None:
    """`value[:, 0] = 1; return value` is the edit that it seems to be, and leaves the recording of others alone."""
    seen: list[tuple[int, ...] | None] = []

    def in_place(value: Tensor, site: probe.Site) -> Tensor:
        seen.append(site.steps)
        value[:, 0] = 1.0
        return value

    own = probe.record(lstm, x)
    kept = own["hidden_state"].clone()
    for rows in (None, [2, 0]):
        edits = [
            probe.edit("hidden_state", in_place, steps=[1, 3], rows=rows),
            probe.clamp("hidden_state", 1.0, units=[0], steps=[1, 3], rows=rows),
        ]
        run, clamped = (probe.record(lstm, x, edits=[edit]).output for edit in edits)
        assert same(run, clamped)
        assert not same(run, own.output)
    assert seen == [(1,), (3,)] * 2
    assert torch.equal(own["hidden_state"], kept)


@pytest.mark.parametrize(
    "text",
    [
        "clamp('forget_gate', [0.5, 0.25], layer='rnn[0]', units=(1, 2), steps=(-1,), rows=(0,), call=2)",
        "ablate('cell_state', kind='zero', units=(3,), steps=(5,))",
        "steer('hidden_state', [1.0, -0.5], scale=2.0, layer='a[0].reverse', units=(0, 1))",
    ],
)
def test_an_edit_reads_as_the_call_that_makes_it(text: str) -> None:
    """What repr prints is Python, and makes an edit that is equal, prints the same and has the same hash."""
    made = eval(f"probe.{text}", {"probe": probe})
    assert (repr(made), eval(f"probe.{made!r}", {"probe": probe})) == (text, made)
    assert hash(eval(f"probe.{made!r}", {"probe": probe})) == hash(made)


def test_edits_with_arrays_read_as_what_they_hold(lstm: nn.LSTM, x: Tensor) -> None:
    """Of a long array repr shows size and digest, of a function its name: nothing that cannot be told apart."""
    source = probe.record(lstm, x)
    patch = probe.patch("cell_state", source, steps=2, source_rows=[0, 0, 1, 2])
    resample = probe.ablate("cell_state", kind="resample", reference=source, seed=7)
    long = probe.clamp("cell_state", torch.arange(9.0))
    digests = [edit.content[:8] for edit in (patch, resample, long)]
    assert [repr(edit) for edit in (patch, resample, long, probe.edit("cell_state", doubled, steps=1))] == [
        f"patch('cell_state', source=<4 rows x 1 steps x 5 units, sha256 {digests[0]}>,"
        " source_rows=(0, 0, 1, 2), steps=(2,))",
        f"ablate('cell_state', kind='resample', reference=<4 rows x 7 steps x 5 units, sha256 {digests[1]}>, seed=7)",
        f"clamp('cell_state', <9 units, sha256 {digests[2]}>)",
        "edit('cell_state', doubled, steps=(1,))",
    ]


def test_edits_are_equal_if_they_do_the_same(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """Place, kind, values, scale and seed all count, for == and for hash; where the values came from does not."""

    def edits(source: probe.Recording, function: Any) -> list[probe.Edit]:
        resample = partial(probe.ablate, "cell_state", kind="resample", reference=source)
        return [
            *(probe.clamp("cell_state", 0.0, steps=steps) for steps in (None, 1)),
            *(probe.clamp("cell_state", 1.0), probe.clamp("hidden_state", 0.0), probe.ablate("cell_state")),
            *(probe.steer("cell_state", [1.0] * UNITS, scale=scale) for scale in (1.0, 2.0)),
            *(probe.ablate("cell_state", kind="mean", reference=source), resample(), resample(seed=1)),
            *(probe.patch("cell_state", source, source_rows=rows) for rows in (None, range(BATCH))),
            probe.edit("cell_state", function),
        ]

    first, again = edits(probe.record(lstm, x), torch.neg), edits(probe.record(lstm, x), torch.neg)
    assert (first, [hash(edit) for edit in first]) == (again, [hash(edit) for edit in again])
    assert (copy.deepcopy(first[:-1]), len(set(first))) == (first[:-1], len(first))
    with_other = edits(probe.record(lstm, y[:BATCH]), torch.abs)
    assert [a == b for a, b in zip(first, with_other, strict=True)] == [True] * 7 + [False] * 6


def test_an_edit_keeps_the_numbers_that_it_was_given(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """A Python number is not rounded to float32, and a tensor or source may change after the edit was made."""
    value, source = torch.full((UNITS,), 0.1, dtype=torch.float64), probe.record(lstm, y[:BATCH])
    edits = [probe.clamp("cell_state", 0.1, steps=2), probe.clamp("cell_state", value, steps=2)]
    patch, kept = probe.patch("cell_state", source, steps=2), source["cell_state"][:, 2].clone()
    _ = value.zero_(), source["cell_state"].zero_()
    for edit in edits:
        assert bool((probe.record(lstm, x, edits=[edit])["cell_state"][:, 2] == 0.1).all())
    assert torch.equal(probe.record(lstm, x, edits=[patch])["cell_state"][:, 2], kept)


def test_a_batch_without_rows_can_be_edited(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """No rows are no error, whatever the edit."""
    edits = [
        probe.clamp("forget_gate", 1.0, steps=1),
        probe.ablate("cell_state", kind="resample", reference=probe.record(lstm, y)),
        probe.edit("hidden_state", lambda value, _site: value + 1),
    ]
    for edit in edits:
        assert probe.record(lstm, x[:0], edits=[edit])["cell_state"].shape == (0, TIME, UNITS)
