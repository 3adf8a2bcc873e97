"""What the modules of our own refuse, and with which words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import probe
from probe import ProbeError
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CustomLSTM(3, 5, gate_activation="hard_sigmoid"),
            r"There is no gate_activation 'hard_sigmoid'; there is 'sigmoid', 'hard_sigmoid_keras2', "
            r"'hard_sigmoid_keras3', 'tanh', 'relu', 'linear'\. Did you mean 'hard_sigmoid_keras",
        ),
        (lambda: CustomLSTM(3, 5, output_activation="identity"), "There is no output_activation 'identity'"),
        (lambda: CustomRNN(3, 5, activation="Tanh"), "There is no activation 'Tanh'.*Did you mean 'tanh'"),
        (
            lambda: CustomGRU(3, 5, reset="befor"),
            r"There is no reset 'befor'; there is 'before', 'after'\. Did you mean",
        ),
        (lambda: CustomGRU(0, 5), "input_size=0 must be a whole number, 1 or more"),
        (lambda: CustomLSTM(3, True), "hidden_size=True must be a whole number"),
    ],
)
def test_wrong_options_raise(make: Callable[[], Any], message: str) -> None:
    """The message says what was given and what exists."""
    with pytest.raises(ProbeError, match=message):
        _ = make()


@pytest.mark.parametrize("through", ["call", "record", "unchecked"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (pack_sequence([torch.zeros(2, 3)]),),
            "CustomLSTM reads no PackedSequence: pad it, or run the rows of each",
        ),
        ((torch.zeros(4, 7, 2),), r"input of shape \(4, 7, 2\); it reads \(batch, time, input\), or \(time, input\)"),
        ((torch.zeros(4, 0, 3),), r"at least 1 row and 1 step, and 3 features"),
        ((torch.zeros(3),), r"input of shape \(3,\)"),
        (
            (torch.zeros(4, 7, 3), torch.zeros(1, 4, 5)),
            r"hx of \(1, 4, 5\); with an input of shape \(4, 7, 3\) it takes a pair \(h_0, c_0\) of tensors of shape "
            r"\(1, 4, 5\)",
        ),
        (
            (torch.zeros(4, 7, 3), (torch.zeros(1, 4, 5), torch.zeros(1, 7, 5))),
            r"hx of \(1, 4, 5\), \(1, 7, 5\)",
        ),
        ((torch.zeros(7, 3), (torch.zeros(1, 1, 5),) * 2), r"of tensors of shape \(1, 5\)"),
    ],
)
def test_wrong_calls_raise(through: str, arguments: tuple[Any, ...], message: str) -> None:
    """The module itself refuses them, and a recording says the same."""
    module = CustomLSTM(3, 5, batch_first=True)
    checked, free = (partial(probe.record, module, check=check) for check in (True, False))
    call = {"call": module, "record": checked, "unchecked": free}[through]
    with pytest.raises(ProbeError, match=message):
        _ = call(*arguments)


def test_a_pair_of_states_for_a_gru_raises() -> None:
    """It takes one tensor."""
    states = torch.zeros(1, 4, 5)
    with pytest.raises(ProbeError, match=r"CustomGRU was called with hx of tuple; .* it takes a tensor of shape"):
        _ = CustomGRU(3, 5)(torch.zeros(7, 4, 3), (states, states))
