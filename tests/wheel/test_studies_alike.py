"""Studies in which nothing differs, or nothing is there to be looked at, are told so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from studied import bits, planted, study_of
from torch import nn

from probe import ProbeError
from probe.questions.interventions import interchange
from probe.studies.answer import answer
from probe.studies.prepare import prepare
from probe.subjects.computed.sample import draw, recorded_rows


def test_values_only_where_nothing_is_looked_at_are_refused() -> None:
    """Of many sequences some are drawn; with no value in these there is no state to look at."""
    values = np.full((2_600, 8), np.nan)
    drawn = set(recorded_rows(2_600, 8, 0).tolist())
    values[next(row for row in range(2_600) if row not in drawn)] = 1
    study = study_of(planted(), inputs=bits(2_600), concepts={"rare": values}, readout=None)
    with pytest.raises(ProbeError, match=r"\('rare'\) has a value in the 2,000 sequences that were drawn from 2,600"):
        _ = draw(prepare(study)[0])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_that_do_not_differ_are_not_patched(kind: Any) -> None:
    """Without recurrent weights, and with the same input in the middle, all states there are the same."""
    model = kind(1, 6, batch_first=True)
    x = bits(40)
    x[:, 4:] = 1
    with torch.no_grad():
        model.weight_hh_l0.zero_()
        if kind is not nn.RNN:
            # The LSTM forgets all and the GRU takes all that is new.
            model.weight_ih_l0[6:12] = 0
            model.bias_ih_l0[6:12] = -800
    for network, middle in ((model, x), (zeroed(kind), bits(40))):
        (subject,) = prepare(study_of(network, inputs=middle))
        found = answer(interchange.question(subject), [subject])
        assert "3 steps before their end all sequences have the same state of [0]." in found.notes["answer"]
        assert not len(found.measurements)


def zeroed(kind: Any) -> nn.Module:
    """Return a network all of whose weights are 0."""
    model = kind(1, 6, batch_first=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model
