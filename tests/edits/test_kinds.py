"""What each kind of edit puts at a site, in which order several act, and how an edit reads as a value."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import reference
import torch
from comparing import distance, farthest, same
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal

UNITS, TIME, BATCH = 4, 6, 3


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does."""
    with torch.no_grad():
        yield


@pytest.fixture
def gru() -> nn.GRU:
    """Return a module of two layers in both directions."""
    return nn.GRU(2, UNITS, 2, batch_first=True, bidirectional=True, dtype=torch.float64)


@pytest.fixture
def lstm() -> nn.LSTM:
    """Return a module of one layer."""
    return nn.LSTM(2, UNITS, batch_first=True, dtype=torch.float64)


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, 2, dtype=torch.float64)


@pytest.fixture
def y() -> Tensor:
    """Return other inputs, with more rows."""
    return torch.randn(5, TIME, 2, dtype=torch.float64)


def recorded(recording: probe.Recording) -> dict[tuple[str, str], Tensor]:
    """Return every signal of every layer."""
    return {(part.layer, str(name)): value for part in recording.parts for name, value in part.signals.items()}


def doubled(value: Tensor, _site: probe.Site) -> Tensor:
    """Return twice the value."""
    return 2 * value


def site_of(value: Tensor, units: list[int], steps: list[int], rows: list[int]) -> Tensor:
    """Return what stands at a site, (row, step, unit)."""
    return value[rows][:, steps][:, :, units]


SITE: dict[str, Any] = {"units": [3, 1], "steps": [4, 1], "rows": [2, 0]}


def test_every_kind_puts_its_value_at_its_site(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """Clamp, zero, mean, resample, patch, steer and edit set what they say at units, steps and rows, nothing else."""
    source, own = probe.record(lstm, y), probe.record(lstm, x)
    taken = source["cell_state"]
    there = site_of(taken, SITE["units"], SITE["steps"], [2, 0])
    expected = {
        probe.clamp("cell_state", [0.5, -0.5], **SITE): torch.tensor([0.5, -0.5], dtype=torch.float64).expand(
            2, 2, 2
        ),
        probe.ablate("cell_state", **SITE): torch.zeros(2, 2, 2, dtype=torch.float64),
        probe.ablate("cell_state", kind="mean", reference=source, **SITE): there * 0
        + taken[:, SITE["steps"]][:, :, SITE["units"]].mean(0),
        probe.patch("cell_state", source, source_rows=[4, 3], **SITE): site_of(taken, [3, 1], [4, 1], [4, 3]),
    }
    for edit, value in expected.items():
        run = probe.record(lstm, x, edits=[edit])
        assert torch.equal(site_of(run["cell_state"], **SITE), value)
        mask = torch.ones(BATCH, TIME, UNITS, dtype=torch.bool)
        mask[torch.tensor([2, 0])[:, None, None], torch.tensor([4, 1])[:, None], torch.tensor([3, 1])] = False
        first = mask & (torch.arange(TIME) <= 1).unsqueeze(1)
        assert torch.equal(run["cell_state"][first], own["cell_state"][first])
        assert torch.equal(run["cell_state"][1], own["cell_state"][1])
        assert distance(run["cell_state"][[0, 2], 2], own["cell_state"][[0, 2], 2]) > 1e-3
    # Those that start from what stands there: seen at the first step, where the run is still the own one.
    for edit, value in (
        (
            probe.steer("cell_state", [1.0, -2.0], scale=0.5, units=[3, 1], steps=1),
            lambda v: v + v.new_tensor([0.5, -1]),
        ),
        (probe.edit("cell_state", lambda value, _site: value.square(), units=[3, 1], steps=1), torch.square),
    ):
        run = probe.record(lstm, x, edits=[edit])
        assert distance(run["cell_state"][:, 1, [3, 1]], value(own["cell_state"][:, 1, [3, 1]])) < 1e-15
        assert torch.equal(run["cell_state"][:, 1, [0, 2]], own["cell_state"][:, 1, [0, 2]])


def test_a_resample_says_another_rows_values(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """Each row takes one row of the reference, the same at every step; the seed decides which, and nothing else."""
    source = probe.record(lstm, y)
    random = torch.get_rng_state()
    edits = [probe.ablate("hidden_state", kind="resample", reference=source, seed=seed) for seed in range(6)]
    choices = []
    for seed, edit in enumerate(edits):
        h = probe.record(lstm, x, edits=[edit])["hidden_state"]
        fits = (h.unsqueeze(1) == source["hidden_state"]).all(-1).all(-1)
        assert fits.sum(1).tolist() == [1] * BATCH
        choices.append(tuple(fits.int().argmax(1).tolist()))
        assert torch.equal(probe.record(lstm, x, edits=[edit])["hidden_state"], h)
        one = probe.ablate("hidden_state", kind="resample", reference=source, seed=seed, rows=[2])
        assert torch.equal(probe.record(lstm, x, edits=[one])["hidden_state"][2], h[2])
    assert len(set(choices)) > 1
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


@pytest.mark.parametrize("layer", ["[0]", "[0].reverse", "[1].reverse"])
def test_a_preactivation_decides_its_gate(gru: nn.GRU, x: Tensor, layer: str) -> None:
    """A clamped pre-activation gives its squashed value in the gate, at its step, and the oracle's run from there."""
    edits = [
        probe.clamp("update_gate_preactivation", -1.5, layer=layer, steps=[0, 3]),
        probe.steer("candidate_recurrent", [2.0] * UNITS, layer=layer, steps=3, rows=[1]),
    ]

    def change(name: str, signal: str, step: int, value: Tensor) -> Tensor:
        if (name, signal) == (layer, "update_gate_preactivation") and step in (0, 3):
            return torch.full_like(value, -1.5)
        if (name, signal, step) == (layer, "candidate_recurrent", 3):
            return value + torch.tensor([[0.0], [2.0], [0.0]], dtype=torch.float64)
        return value

    run = probe.record(gru, x, edits=edits, signals=Signal)
    assert farthest(recorded(run), reference.run(gru, x, edit=change).signals) < 1e-12
    expected = torch.sigmoid(torch.tensor(-1.5, dtype=torch.float64))
    assert distance(run[layer, "update_gate"][:, [0, 3]], expected.expand(BATCH, 2, UNITS)) < 1e-15
    assert farthest(recorded(run), recorded(probe.record(gru, x, signals=Signal))) > 1e-2


def test_a_reverse_layer_is_changed_in_its_own_order(gru: nn.GRU, x: Tensor) -> None:
    """Of a reverse layer earlier inputs see an edit, later ones do not; the layer above sees it at both sides."""
    own = probe.record(gru, x)
    run = probe.record(gru, x, edits=[probe.ablate("hidden_state", layer="[0].reverse", steps=3)])
    before, after = run["[0].reverse", "hidden_state"], own["[0].reverse", "hidden_state"]
    assert torch.equal(before[:, 4:], after[:, 4:])
    assert bool((before[:, 3] == 0).all())
    assert bool((before[:, 2] != after[:, 2]).any(1).all())
    assert torch.equal(run["[0]", "hidden_state"], own["[0]", "hidden_state"])
    # The forward layer above reads the change from step 0 on, where the reverse layer ended.
    assert bool((run["[1]", "hidden_state"][:, 0] != own["[1]", "hidden_state"][:, 0]).any(1).all())
    last = probe.record(gru, x, edits=[probe.ablate("hidden_state", layer="[0].reverse", steps=0)])
    assert torch.equal(last["[0].reverse", "hidden_state"][:, 1:], after[:, 1:])
    assert bool((last.output[1][1] == 0).all())


def test_a_function_may_change_its_value_in_place(lstm: nn.LSTM, x: Tensor) -> None:
    """`value[:, 0] = 1; return value` is the edit that it seems to be, and leaves the recording of others alone."""
    seen: list[tuple[int, ...] | None] = []

    def in_place(value: Tensor, site: probe.Site) -> Tensor:
        seen.append(site.steps)
        value[:, 0] = 1.0
        return value

    own = probe.record(lstm, x)
    kept = own["hidden_state"].clone()
    choices: list[dict[str, Any]] = [{}, {"rows": [2, 0]}]
    for options in choices:
        edit = probe.edit("hidden_state", in_place, steps=[1, 3], **options)
        rows = options.get("rows", [0, 1, 2])
        run = probe.record(lstm, x, edits=[edit])
        assert bool((run["hidden_state"][rows][:, [1, 3], 0] == 1).all())
        assert distance(run["hidden_state"][rows, 2], kept[rows, 2]) > 1e-3
        clamped = probe.record(lstm, x, edits=[probe.clamp("hidden_state", 1.0, units=[0], steps=[1, 3], **options)])
        assert same(run.output, clamped.output)
    assert seen == [(1,), (3,)] * 2
    assert torch.equal(own["hidden_state"], kept)


def test_a_function_that_returns_something_else_is_refused(lstm: nn.LSTM, x: Tensor) -> None:
    """Another shape, a number or nothing at all raises with what was given and what came back."""
    wrong: list[Any] = [lambda value, _site: value[:1], lambda *_: None, lambda *_: 1.0]
    for function in wrong:
        with refused():
            _ = probe.record(lstm, x, edits=[probe.edit("hidden_state", function, steps=1)])


@pytest.mark.parametrize(
    "text",
    [
        "clamp('forget_gate', 1.0)",
        "clamp('forget_gate', [0.5, 0.25], layer='rnn[0]', units=(1, 2), steps=(-1,), rows=(0,), call=2)",
        "ablate('cell_state', kind='zero', units=(3,), steps=(5,))",
        "steer('hidden_state', [1.0, -0.5], scale=2.0, layer='a[0].reverse', units=(0, 1))",
    ],
)
def test_an_edit_reads_as_the_call_that_makes_it(text: str) -> None:
    """What repr prints is Python, and makes an edit that is equal, prints the same and has the same hash."""
    made = eval(f"probe.{text}", {"probe": probe})
    assert repr(made) == text
    assert eval(f"probe.{made!r}", {"probe": probe}) == made
    assert hash(eval(f"probe.{made!r}", {"probe": probe})) == hash(made)


def test_edits_with_arrays_read_as_what_they_hold(lstm: nn.LSTM, x: Tensor) -> None:
    """Of a long array repr shows size and digest, of a function its name: nothing that cannot be told apart."""
    source = probe.record(lstm, x)
    patch = probe.patch("cell_state", source, steps=2, source_rows=[0, 0, 1])
    assert repr(patch).startswith("patch('cell_state', source=<3 rows x 1 steps x 4 units, sha256 ")
    assert repr(patch).endswith(">, source_rows=(0, 0, 1), steps=(2,))")
    mean = probe.ablate("cell_state", kind="mean", reference=source)
    assert repr(mean).startswith("ablate('cell_state', kind='mean', reference=<1 rows x 6 steps x 4 units, sha256 ")
    resample = probe.ablate("cell_state", kind="resample", reference=source, seed=7)
    assert repr(resample).endswith(">, seed=7)")
    assert repr(probe.edit("cell_state", doubled, steps=1)) == "edit('cell_state', doubled, steps=(1,))"
    assert repr(probe.clamp("cell_state", torch.arange(9.0))).startswith("clamp('cell_state', <9 units, sha256 ")


def test_edits_are_equal_if_they_do_the_same(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """Place, kind, values, scale and seed all count, for == and for hash; where the values came from does not."""
    one, two = probe.record(lstm, x), probe.record(lstm, y[:BATCH])

    def edits(source: probe.Recording, function: Any) -> list[probe.Edit]:
        return [
            probe.clamp("cell_state", 0.0),
            probe.clamp("cell_state", 1.0),
            probe.clamp("cell_state", 0.0, steps=1),
            probe.clamp("hidden_state", 0.0),
            probe.ablate("cell_state"),
            probe.ablate("cell_state", kind="mean", reference=source),
            probe.ablate("cell_state", kind="resample", reference=source),
            probe.ablate("cell_state", kind="resample", reference=source, seed=1),
            probe.patch("cell_state", source),
            probe.patch("cell_state", source, source_rows=[0, 1, 2]),
            probe.steer("cell_state", [1.0] * UNITS),
            probe.steer("cell_state", [1.0] * UNITS, scale=2.0),
            probe.edit("cell_state", function),
        ]

    first, again = edits(one, torch.neg), edits(probe.record(lstm, x), torch.neg)
    assert first == again
    assert [hash(edit) for edit in first] == [hash(edit) for edit in again]
    assert copy.deepcopy(first[:-1]) == first[:-1]
    assert len(set(first)) == len(first)
    with_other = edits(two, torch.abs)
    assert [a == b for a, b in zip(first, with_other, strict=True)] == [
        *(True,) * 5, *(False,) * 5, True, True, False
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: probe.clamp("cell_state", torch.ones(1, 1)),
        lambda: probe.clamp("cel_state", 1.0),
        lambda: probe.steer("cell_state", torch.tensor(1.0)),
        lambda: probe.ablate("cell_state", kind="zeros"),
        lambda: probe.ablate("cell_state", kind="mean"),
    ],
)
def test_what_makes_no_edit_is_refused(make: Any) -> None:
    """A wrong value, signal or kind raises where the edit is made, before there is a model."""
    with refused():
        _ = make()


def test_values_for_other_units_are_refused_before_the_run(lstm: nn.LSTM, x: Tensor) -> None:
    """Two numbers for four units raise and name both counts; so does a signal that the layer lacks, by name."""
    for edit in (probe.clamp("cell_state", [1.0, 2.0]), probe.steer("cell_state", [1.0, 2.0])):
        with refused():
            _ = probe.record(lstm, x, edits=[edit])
    with refused():
        _ = probe.record(lstm, x, edits=[probe.clamp("update_gate", 1.0)])


def test_a_batch_without_rows_can_be_edited(lstm: nn.LSTM, x: Tensor, y: Tensor) -> None:
    """No rows are no error, whatever the edit."""
    source = probe.record(lstm, y)
    edits = [
        probe.clamp("forget_gate", 1.0, steps=1),
        probe.ablate("cell_state", kind="resample", reference=source),
        probe.edit("hidden_state", lambda value, _site: value + 1),
    ]
    for edit in edits:
        assert probe.record(lstm, x[:0], edits=[edit])["cell_state"].shape == (0, TIME, UNITS)


def test_rows_that_stay_beside_many_that_move_keep_their_bits() -> None:
    """An edit of the last step that leaves the cell state alone leaves every bit of it, and of the clean run."""
    torch.manual_seed(0)
    module, x = torch.nn.LSTM(3, 20, batch_first=True), torch.randn(16, 9, 3)
    edit = probe.clamp("output_gate", 0.5, steps=-1, rows=range(15))
    changed, plain = probe.record(module, x, edits=[edit]), probe.record(module, x)
    assert torch.equal(changed["cell_state"], plain["cell_state"])
    moved = (changed["hidden_state"] != plain["hidden_state"]).any(-1)
    assert moved[:15, -1].all()
    assert not moved[15].any()
