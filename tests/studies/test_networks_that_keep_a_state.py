"""Networks that keep a state from call to call are studied as if each call began anew, or refused at once."""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe.evidence import Network
from probe.recurrent.double import in_float64
from probe.subjects.networks.starts import starting_alike
from probe.subjects.subject import Subject


class Counter(nn.Module):
    """A GRU with a head, which goes on from the state of its last call where it keeps one."""

    hidden: Tensor | None

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)
        self.keeps, self.hidden = keeps, None

    def forward(self, x: Tensor) -> Tensor:
        """Return how many ones there were, (batch, 1)."""
        output, hidden = self.rnn(x, self.hidden)
        self.hidden = hidden.detach() if self.keeps else None
        return self.head(output[:, -1])


@pytest.fixture
def bits() -> Tensor:
    """Return all strings of six bits."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))[:, :, None]


def network(*, keeps: bool) -> Counter:
    """Return a network of fixed weights."""
    torch.manual_seed(0)
    return Counter(keeps=keeps).eval()


def measured(model: nn.Module, bits: Tensor, folder: Path) -> pd.DataFrame:
    """Return what a study measures of a network."""
    study = probe.Study(
        model, bits, {"ones": bits[:, :, 0].cumsum(1)}, questions=["linear-readout", "routes", "answers"]
    )
    study.run(folder)
    tables = [pd.read_csv(path) for path in sorted(folder.rglob("measurements.csv"))]
    return pd.concat(tables, ignore_index=True)


def test_a_study_measures_what_it_measures_where_nothing_is_kept(bits: Tensor, tmp_path: Path) -> None:
    """Of controls too, in float32 and in the float64 copies that run from states; the network is left as it was."""
    model = network(keeps=True)
    kept = measured(model, bits, tmp_path / "kept")
    pd.testing.assert_frame_equal(kept, measured(network(keeps=False), bits, tmp_path / "not kept"))
    assert model.hidden is None
    assert not model._forward_hooks


@torch.no_grad()
def test_every_call_of_the_copy_starts_alike(bits: Tensor) -> None:
    """So does a copy of the copy, one in float64, one that was pickled, and one that failed before."""
    model, clean = network(keeps=True), network(keeps=False)
    alike = starting_alike(model, bits[:2])
    copied = pickle.loads(pickle.dumps(copy.deepcopy(alike)))
    for one in (alike, copied):
        with pytest.raises(RuntimeError):
            _ = one(bits[:, :, [0, 0]])
        for part in (bits, bits[:5], bits):
            assert torch.equal(one(part), clean(part))
    wide = in_float64(alike)
    for _ in range(2):
        assert torch.equal(wide(bits.double()), in_float64(clean)(bits.double()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(probe.record(alike, bits).output, clean(bits))
    assert starting_alike(clean, bits) is clean


def test_a_subject_of_such_a_network_starts_alike(bits: Tensor) -> None:
    """Where questions are asked without a study."""
    model = network(keeps=True)
    subject = Subject.of(Network("one", "trained", model), bits, bits[:, :, 0].cumsum(1))
    with torch.no_grad():
        assert torch.equal(subject.model(bits), subject.model(bits))
    assert model.hidden is None


@pytest.mark.parametrize("rows", [64, 5])
def test_what_an_earlier_call_left_is_refused_at_once(bits: Tensor, tmp_path: Path, rows: int) -> None:
    """With the attribute's name and what to set; that works."""
    model = network(keeps=True)
    _ = model(bits[:rows])
    with refused():
        _ = measured(model, bits, tmp_path / "refused")
    model.hidden = None
    assert len(measured(model, bits, tmp_path / "taken"))


def test_what_nobody_reads_is_no_reason_to_refuse(bits: Tensor) -> None:
    """The outputs of the last call, kept to look at."""
    model = network(keeps=False)
    _ = model.register_forward_hook(lambda module, _, output: setattr(module, "shown", output.detach()))
    first = model(bits)
    assert torch.equal(starting_alike(model, bits[:3])(bits), first)
