"""`gradient_of=`: in a context, without a trace, and refused; its numbers are drawn beside the oracle's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bodies import Model
from comparing import distance, flat, same, scalar_of
from drawn import packed
from refusing import refused
from torch import Tensor, nn

import probe

weighed = scalar_of(4)


def test_a_gradient_inside_a_context_is_that_of_the_edited_run(lstm: nn.LSTM, x: Tensor) -> None:
    """Edits of a context around it and its own give the same derivative, and the output stays the edited one."""
    module, x = lstm.double(), x.double()
    edit = probe.clamp("forget_gate", 0.5, steps=3)
    inside = probe.record(module, x, edits=[edit], gradient_of=weighed)
    with probe.intervene(module, edit), torch.no_grad():
        around = probe.record(module, x, gradient_of=weighed)
        again = module(x)
    for signal in ("cell_state", "forget_gate"):
        assert torch.equal(around.gradient[signal], inside.gradient[signal])
    assert same(around.output, again)
    bare = probe.record(module, x, gradient_of=weighed)
    assert distance(inside.gradient["cell_state"], bare.gradient["cell_state"]) > 1e-3


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
def test_the_model_keeps_no_trace_of_it(context: Any, tagger: Any, x: Tensor) -> None:
    """No gradient is added to parameters, frozen or not, the grad mode stays, and what is returned is on no graph."""
    tagger.lstm.requires_grad_(False)
    with context():
        recording = probe.record(tagger, x, gradient_of=lambda scores: scores[:, 0].sum())
        assert torch.is_grad_enabled() is (context is torch.enable_grad)
    (part,) = recording.parts
    values = [recording.output, *part.signals.values(), *part.gradients.values()]
    assert not any(value.requires_grad for value in values)
    assert all(parameter.grad is None for parameter in tagger.parameters())
    assert recording.gradient["cell_state"].abs().max() > 0


def test_what_the_scalar_does_not_see_is_zero(pair: Any, x: Tensor) -> None:
    """A value that leads nowhere has the derivative 0, and not none."""
    recording = probe.record(pair, x, gradient_of=lambda output: output[:, 2].sum())
    second = recording.call(1).gradient["high[0]", "hidden_state"]
    assert bool((second[:, 3:] == 0).all())
    assert bool((second[:, 2] == 1).all())
    assert recording.gradient["low[0]", "hidden_state"].abs().max() > 0


@pytest.mark.parametrize(
    "function", [lambda scores: scores, lambda scores: scores.detach().sum(), lambda scores: 1.0, None]
)
def test_what_is_no_scalar_of_the_output_is_refused(function: Callable[[Any], Any], tagger: Any, x: Tensor) -> None:
    """Several numbers, a number off the graph and a Python number; and none, where a gradient is asked for."""
    with refused():
        _ = probe.record(tagger, x, gradient_of=function).gradient
    assert not tagger.lstm._forward_hooks


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_state_that_is_changed_in_place_afterwards_is_no_error(kind: Any) -> None:
    """Torch's module allows it for packed sequences; the run that is made again has the same derivatives."""

    def body(m: Any, x: Tensor) -> Tensor:
        given = packed(m.rnn, x, (2, 5, 4))
        _, final = m.rnn(given)
        h, _ = m.rnn(given, final)
        parts = [part.mul_(2) if m.in_place else 2 * part for part in flat(final)]
        return h.data.sin().sum() + torch.stack([part.cos().sum() for part in parts]).sum()

    x, rnn = torch.randn(5, 3, 3).double(), kind(3, 4, bidirectional=True).double()
    Model(body, rnn=rnn, in_place=True)(x).backward()
    one, two = (
        probe.record(Model(body, rnn=rnn, in_place=each), x, gradient_of=lambda output: output)
        for each in (True, False)
    )
    for first, second in zip(one.parts, two.parts, strict=True):
        assert all(same(first.gradients[signal], second.gradients[signal]) for signal in second.gradients)
