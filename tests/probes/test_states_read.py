"""Which states probes read: each once, in one fold, with the inputs that it follows from beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bodies import Model
from planted_states import BATCH, BITS, COUNT, NOISE, ONES, RNG, TIME, untrained, with_units
from recorded import recording_of
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.probes.reading import Reading


def _score(reading: Reading) -> float:
    return float(reading.summary["score"].iloc[-1])


def test_a_state_that_sequences_share_counts_once() -> None:
    """All strings of eight bits have 2 + 4 + ... + 256 states, from the end too, and both ways together 8 x 256."""
    reading = probe.linear_probe(probe.record(untrained(), BITS), ONES, signals=["hidden_state"])
    assert len(reading.states()) == 2**9 - 2
    both = nn.GRU(1, 3, 2, batch_first=True, bidirectional=True)
    reading = probe.linear_probe(probe.record(both, BITS), ONES, signals=["hidden_state"])
    counts = {layer: len(reading.states("hidden_state", layer=layer)) for layer in ("[0]", "[0].reverse", "[1]")}
    assert counts == {"[0]": 2**9 - 2, "[0].reverse": 2**9 - 2, "[1]": 8 * 256}


def test_a_concept_that_is_only_known_later_is_read_off_any_sequence_that_begins_so() -> None:
    """The final count, not the count so far: the first string of each beginning ends in zeros, and would be both."""
    recording = probe.record(untrained(), BITS)
    found = probe.linear_probe(recording, ONES[:, -1], signals=["hidden_state"]).states()
    so_far = ONES.numpy()[found["row"], found["place"]]
    left = 7 - found["place"].to_numpy()
    early = left > 3
    assert abs((found["value"] - so_far - left / 2)[early].mean()) < 0.5
    assert (found["value"] != so_far)[early].mean() > 0.5


def test_padding_and_undefined_values_are_left_out() -> None:
    """NaN, None and empty texts; steps after a row's end; and no sequence stands in two folds."""
    lengths = torch.randint(2, 9, (256,), generator=torch.Generator().manual_seed(0))
    packed = pack_padded_sequence(BITS, lengths, batch_first=True, enforce_sorted=False)
    recording = probe.record(untrained(), packed)
    found = probe.linear_probe(recording, ONES, signals=["hidden_state"]).states()
    assert (found["place"].to_numpy() < lengths.numpy()[found["row"]]).all()
    apart = probe.linear_probe(recording_of(NOISE, lengths=RNG.integers(2, TIME + 1, BATCH).tolist()), COUNT).states()
    assert (apart.groupby("row")["fold"].nunique() == 1).all()
    assert sorted(apart["fold"].unique()) == [0, 1, 2, 3]
    known = ONES.clone()
    known[:, :4] = torch.nan
    assert probe.linear_probe(recording, known, signals=["hidden_state"]).states()["place"].min() == 4
    texts = np.where(ONES.numpy() > 2, "many", "few").astype(object)
    texts[:, 5] = None
    texts[:, 6] = ""
    reading = probe.linear_probe(recording, texts, signals=["hidden_state"])
    assert (set(reading.states()["place"]), set(reading.states()["value"])) == ({0, 1, 2, 3, 4, 7}, {"few", "many"})


def test_steps_that_were_kept_are_read_as_those_steps() -> None:
    """After record(steps=[-1, 3]) the concept has two columns; the step alone tells them apart."""
    recording = probe.record(untrained(), BITS, steps=[-1, 3])
    reading = probe.linear_probe(recording, ONES[:, [-1, 3]], signals=["hidden_state"], one_map=False)
    assert (len(reading.states()), set(reading.table["step"].dropna())) == (256 + 16, {7})
    full = probe.linear_probe(probe.record(untrained(), BITS), ONES, signals=["hidden_state"], one_map=False)
    assert set(full.table["step"].dropna()) == {6, 7}


def test_sequences_of_several_lengths_that_end_alike_share_a_state_of_a_reverse_layer() -> None:
    """Each rest counts once, wherever it stands: a random number of each cannot be read on others."""
    torch.manual_seed(1)
    lengths = torch.randint(3, 8, (200,), generator=torch.Generator().manual_seed(3))
    bits = torch.randint(0, 2, (200, 7, 1), generator=torch.Generator().manual_seed(2)).double()
    rests = [[tuple(row[step:end, 0].tolist()) for step in range(7)] for row, end in zip(bits, lengths, strict=True)]
    known = {rest: RNG.normal() for row in rests for rest in row}
    values = np.array([[known[rest] for rest in row] for row in rests])
    gru = nn.GRU(1, 128, batch_first=True, bidirectional=True, dtype=torch.float64)
    packed = pack_padded_sequence(bits, lengths, batch_first=True, enforce_sorted=False)
    recording = probe.record(gru, packed, layer=["[0].reverse"])
    reading = probe.linear_probe(recording, values, signals=["hidden_state"])
    assert len(reading.states()) == len(reading.states()["value"].unique())
    assert _score(reading) < 0.1
    assert "next 4 inputs" in set(reading.table["network"])


def test_a_layer_that_knows_the_future_has_the_future_as_a_control() -> None:
    """The next input, read by the reverse layer and by both above, of sequences of which no two begin alike."""
    torch.manual_seed(0)
    x = torch.randn(150, 12, 1, dtype=torch.float64)
    both = probe.record(nn.GRU(1, 4, 2, batch_first=True, bidirectional=True, dtype=torch.float64), x)
    coming = np.full((150, 12), np.nan)
    coming[:, :-1] = x[:, 1:, 0].numpy()
    rows = probe.linear_probe(both, coming, signals=["hidden_state"]).summary.set_index("layer")
    assert rows.loc[["[0].reverse", "[1]", "[1].reverse"], "verdict"].tolist() == ["not above every control"] * 3
    assert rows.loc["[1]", "best control"] == "7 inputs around"


def two(one: nn.Module, two: nn.Module) -> Model:
    """Return two modules side by side where there are two inputs, or else one on the other."""
    return Model(lambda m, *x: m.two((m.one(x[0])[0], *x[1:])[-1])[0], one=one, two=two)


def test_a_module_has_its_own_inputs_as_a_control_and_one_on_top_those_below() -> None:
    """What a module beside it read says nothing."""
    u, v = torch.randn(2, 150, 8, 1)
    for inputs, units in (((u, v), 1), ((v,), 4)):
        model = two(nn.GRU(1, 4, batch_first=True), nn.GRU(units, 4, batch_first=True))
        summary = probe.linear_probe(probe.record(model, *inputs), v[:, :, 0], layer=["two[0]"]).summary
        assert (summary["its score"] > 0.999).all()
        assert set(summary["verdict"]) == {"not above every control"}


def test_initial_states_that_sequences_share_count_once() -> None:
    """Forty beginnings, each twice with the same state and other labels; after other states nothing is shared."""
    start = torch.randn(1, len(BITS), 7), torch.randn(1, len(BITS), 7)
    apart = probe.linear_probe(probe.record(untrained(), BITS, start), ONES, signals=["hidden_state"])
    assert len(apart.states()) == 8 * 256
    torch.manual_seed(0)
    x, h = torch.randn(40, 6, 2).repeat(2, 1, 1), torch.randn(1, 40, 32).repeat(1, 2, 1)
    labels = np.tile(RNG.normal(size=(40, 6)), (2, 1))
    recording = probe.record(nn.GRU(2, 32, batch_first=True), x, h)
    reading = probe.linear_probe(recording, labels, signals=["hidden_state"])
    assert len(reading.states()) == 240
    assert _score(reading) < 0.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.ma.masked_greater(COUNT, 12), "R²"),
        (pd.array(COUNT.ravel().tolist(), dtype="Float64")[:BATCH], "R²"),
        (torch.tensor(COUNT).bfloat16(), "R²"),
        (pd.Categorical(COUNT[:, -1].astype(int) > 9), "chance 0.50"),
        (pd.Series(COUNT[:, -1] > 9, dtype="boolean").astype("string"), "chance 0.50"),
        (["few" if one < 10 else np.nan if one > 12 else "many" for one in COUNT[:, -1]], "chance 0.50"),
    ],
)
def test_a_concept_may_be_given_in_many_forms(given: Any, said: str) -> None:
    """Numbers with gaps are numbers, categories are categories, and what is missing is no category."""
    reading = probe.linear_probe(recording_of(with_units({0: COUNT}, noise=1)), given)
    assert said in reading.title
    if said == "R²":
        assert reading.states()["value"].max() <= (20 if isinstance(given, Tensor) or np.ndim(given) < 2 else 12)


def test_categories_in_too_few_sequences_are_left_out_and_named() -> None:
    """Fewer than eight sequences cannot be fitted and scored in each fold."""
    names = np.where(COUNT > 4, "many", "few").astype(object)
    names[:5, 0] = "once"
    reading = probe.linear_probe(recording_of(with_units({0: COUNT}, noise=1)), names)
    assert reading.title.endswith("left out, in too few sequences: once")
    assert set(reading.states()["value"]) == {"few", "many"}


def test_modules_whose_inputs_and_states_are_alike_end_in_a_sentence() -> None:
    """All zero: either module could stand on the other, and only the one that was called first stands below."""
    both = two(*(nn.RNN(3, 3, batch_first=True, bias=False) for _ in range(2)))
    with refused():
        probe.linear_probe(probe.record(both, torch.zeros(20, 5, 3)), RNG.normal(size=(20, 5)))
