"""What a researcher hands to a study by mistake is refused in a sentence that works when it is followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from studied import beside, bits, ones, without_pictures
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from probe import Finding, Study
from probe.studies.prepare import prepare
from probe.subjects.stacks import layer_inputs
from probe.subjects.states import run

SEQUENCES = [torch.ones(3, 1), torch.zeros(5, 1)]


class TimeFirst(nn.Module):
    """Turns its inputs for a layer that reads time first, or hands them on as they are."""

    def __init__(self, *, turns: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head, self.turns = nn.GRU(1, 4), nn.Linear(4, 9), turns

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, 9)."""
        return self.head(self.rnn(x.transpose(0, 1) if self.turns else x)[0][-1])


def gru() -> nn.GRU:
    """Return an untrained network."""
    torch.manual_seed(0)
    return nn.GRU(1, 4, batch_first=True)


@pytest.mark.parametrize(
    ("inputs", "model"), [(SEQUENCES, gru()), ([[1, 2], [3]], gru()), (bits(20), gru().bfloat16())]
)
def test_inputs_and_types_that_no_array_holds_are_refused(inputs: Any, model: nn.Module) -> None:
    """Sequences of several lengths, and a type of torch's alone."""
    with refused():
        _ = prepare(Study(model, inputs, {"ones": ones}))


def test_what_these_refusals_advise_is_taken() -> None:
    """Padded sequences with their lengths, and a network in float32; inputs in bfloat16 are no fault."""
    padded = pad_sequence(SEQUENCES, batch_first=True)
    (subject,) = prepare(Study(gru().bfloat16().float(), padded.bfloat16(), {"ones": ones}, lengths=[3, 5]))
    assert subject.concepts["ones"].values[0].tolist()[:3] == [1, 2, 3]
    assert np.isnan(subject.concepts["ones"].values[0, 3:]).all()


@pytest.mark.parametrize("sequences", [8, 20])
def test_a_layer_that_reads_time_first_in_its_model_is_studied(sequences: int, tmp_path: Path) -> None:
    """What it reads is told in the study's order, also where there are as many sequences as steps."""
    given = Study(TimeFirst(), bits(sequences), {"ones": ones}, questions=["other-lengths", "answers"])
    (subject,) = prepare(given)
    assert np.array_equal(layer_inputs(subject, np.arange(sequences), subject.layers[0]), bits(sequences))
    with without_pictures():
        _ = given.run(tmp_path)
    assert not Finding.read(tmp_path / "findings" / "answers").measurements.empty


@pytest.mark.parametrize("sequences", [8, 20])
@pytest.mark.parametrize("model", [TimeFirst(turns=False), nn.GRU(1, 4)])
def test_a_model_that_takes_time_first_is_refused(model: nn.Module, sequences: int) -> None:
    """Also where there are as many sequences as steps, so that no shape tells."""
    (subject,) = prepare(Study(model, bits(sequences), {"ones": ones}))
    (layer,) = subject.layers
    with refused():
        _ = run(subject.model, subject.x, subject.lengths, layer.name, layer.states)
    assert len(beside(prepare(Study(TimeFirst(), bits(20), {"ones": ones}))[0])) > 1


@pytest.mark.parametrize(
    ("part", "given"), [("readout", nn.Linear(4, 9)), ("readout", "ones"), ("programs", [sum]), ("rules", 3)]
)
def test_a_part_of_another_kind_is_refused(part: str, given: Any) -> None:
    """It is told what to give; the annotations, which tests check, would not let it in otherwise."""
    study = Study(gru(), bits(20), {"ones": ones})
    object.__setattr__(study, part, given)
    with refused():
        study.__post_init__()
