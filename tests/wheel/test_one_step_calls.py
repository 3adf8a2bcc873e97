"""Layers that are called a step at a time: decoders and policies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from policies_by_hand import Policy
from torch import Tensor, nn

import probe
from probe import ProbeError

TIME = 8


class Decoder(nn.Module):
    """Reads its own outputs through two levels of an LSTM, a step a call, after a first call of several steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 5, 2), nn.Linear(5, 3)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Return the outputs, (step, batch, feature)."""
        state, outputs = None, []
        if first:
            outputs.append(self.out(self.rnn(torch.stack([x] * first))[0]))
        for _ in range(TIME):
            y, state = self.rnn(x[None], state)
            x = self.out(y[0])
            outputs.append(x[None])
        return torch.cat(outputs)


@pytest.fixture
def decoder() -> Decoder:
    """Return a decoder."""
    torch.manual_seed(0)
    return Decoder().eval()


X = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))


def test_each_call_of_a_model_that_is_the_layer_itself_is_a_pass_of_its_own() -> None:
    """Whatever state it is given: the states that earlier passes returned are those of no sequence of this one."""
    torch.manual_seed(0)
    lstm, x, state = nn.LSTM(3, 5), torch.randn(TIME, 2, 3), None
    with torch.no_grad(), probe.watch(lstm) as passes:
        for step in range(TIME):
            _, state = lstm(x[step : step + 1], state)
    assert [recording.calls for recording in passes] == [{"[0]": 1}] * TIME


def test_calls_that_hand_on_their_state_are_one_sequence(decoder: Decoder) -> None:
    """Recorded as one, its states those of a loop; an edit of a step acts from there on."""
    recording = probe.record(decoder, X)
    assert recording.calls == {"rnn[0]": 1, "rnn[1]": 1}
    with torch.no_grad():
        x, state = X, None
        for step in range(TIME):
            y, state = decoder.rnn(x[None], state)
            x = decoder.out(y[0])
            for level in (0, 1):
                for place, signal in enumerate(("hidden_state", "cell_state")):
                    found = recording[f"rnn[{level}]", signal][:, step]
                    torch.testing.assert_close(found, state[place][level], atol=1e-6, rtol=0)
    edited = probe.record(decoder, X, edits=[probe.clamp("cell_state", 0.0, layer="rnn[0]", steps=4)])
    moved = (edited.output != recording.output).flatten(1).any(1)
    assert moved.tolist() == [False] * 4 + [True] * (TIME - 4)
    assert not edited["rnn[0]", "cell_state"][:, 4].any()


def test_a_call_of_several_steps_is_a_call_of_its_own(decoder: Decoder) -> None:
    """What begins anew does not go on with it, and numbers are counted through."""
    recording = probe.record(decoder, X, 5)
    assert recording.calls == {"rnn[0]": 2, "rnn[1]": 2}
    assert [recording.call(number)["rnn[0]", "hidden_state"].shape[1] for number in (0, 1)] == [5, TIME]


def test_a_step_that_does_not_come_is_refused(decoder: Decoder) -> None:
    """Too late a step, and one counted from an end that nobody knows."""
    for steps, message in ((TIME, "changed nothing"), (-1, "whose last step is not known")):
        with pytest.raises(ProbeError, match=message):
            _ = probe.record(decoder, X, edits=[probe.clamp("cell_state", 0.0, layer="rnn[0]", steps=steps)])


@pytest.fixture
def policy() -> Policy:
    """Return a policy."""
    torch.manual_seed(0)
    return Policy()


def test_resets_do_not_cut_what_watch_sees(policy: Policy) -> None:
    """Calls outside the model's forward are one recording, through a product with zeros in some rows."""
    state, starts = None, np.zeros((TIME, 2), dtype=bool)
    starts[3, 0] = starts[5, 1] = True
    with torch.no_grad(), probe.watch(policy) as seen:
        for now in starts:
            _, state = policy.act(np.ones((2, 3)), state, now)
    (recording,) = seen
    assert recording.calls == {"rnn[0]": 1}
    assert recording["hidden_state"].shape == (2, TIME, 5)
