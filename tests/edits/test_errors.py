"""What edits refuse, and when: where they are made, before the model runs, or at the call that they do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal

C = Signal.CELL_STATE


def clamp(**options: Any) -> probe.Edit:
    """Return a clamp with options that the annotations do not know."""
    return probe.clamp(C, 0.0, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda _: probe.clamp(C, torch.ones(1, 1)),
        lambda _: probe.clamp("cel_state", 1.0),
        lambda _: probe.steer(C, torch.tensor(1.0)),
        lambda _: probe.ablate(C, kind="zeros"),
        lambda _: probe.ablate(C, kind="mean"),
        lambda _: clamp(unit=3),
        lambda _: clamp(call=-1),
        lambda _: clamp(call=True),
        lambda source: probe.patch(C, source, units=[5]),
        lambda source: probe.patch(C, source, units=[1, 1]),
        lambda source: probe.patch(C, source, units=[]),
        lambda source: probe.patch(C, source, steps=[7]),
        lambda source: probe.patch(C, source, source_rows=[4]),
        lambda source: probe.patch("reset_gate", source),
    ],
)
def test_what_makes_no_edit_is_refused(make: Any, lstm: nn.LSTM, x: Tensor) -> None:
    """A wrong value, signal, kind or place raises where the edit is made, before there is a model."""
    source = probe.record(lstm, x)
    with refused():
        _ = make(source)


def test_a_source_that_kept_some_steps_and_signals_serves_those(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """A source recorded at steps 2 and 5 gives these, by the input's own counting, and refuses others."""
    some, source = probe.record(lstm, other, steps=[5, 2], signals=[C]), probe.record(lstm, other)
    run = probe.record(lstm, x, edits=[probe.patch(C, some, steps=2)])
    assert torch.equal(run[C][:, 2], source[C][:, 2])
    for signal, steps in ((C, None), (C, 3), (Signal.HIDDEN_STATE, 2)):
        with refused():
            _ = probe.patch(signal, some, steps=steps)


def test_an_edit_of_another_model_raises_before_this_one_is_called(tagger: Any, pair: nn.Module, x: Tensor) -> None:
    """A wrong layer, signal, unit or number of values; no hook stays, of the right edits either."""
    wide, good = probe.record(nn.LSTM(3, 9, batch_first=True), x), probe.clamp(C, 0.0)
    wrong = [
        probe.patch(C, probe.record(pair, x), layer="low[0]", steps=1),
        probe.clamp(C, 0.0, layer="lstn[0]"),
        probe.clamp("update_gate", 1.0),
        probe.patch(C, wide, units=[7]),
        probe.patch(C, wide),
        probe.clamp(C, [1.0, 2.0]),
        probe.steer(C, [1.0, 2.0]),
    ]
    for edit in wrong:
        with refused(), probe.intervene(tagger, good, edit):
            tagger(x)
    with refused(), probe.intervene(pair, good):  # of several layers that have the signal
        pair(x)
    assert tagger.times_called == 0
    assert not tagger.lstm._forward_hooks


def test_a_step_or_row_beyond_the_input_raises(tagger: Any, x: Tensor) -> None:
    """At the layer's call where no later one can have it, or values are for other steps; else at the end."""
    source, heads = probe.record(tagger, x), list[int]()
    tagger.head.register_forward_hook(lambda *_: heads.append(1))
    cases = [
        (probe.patch(C, source), x[:, :5], 0),
        (probe.patch(C, source, steps=6), x[:, :5], 1),
        (probe.patch(C, source, steps=0, rows=[3]), x[:2], 1),
        (probe.patch(C, source, steps=0), x[:2], 1),
        (probe.patch(C, source, rows=[4]), x, 1),
        (probe.patch(C, source, rows=[0, -4]), x, 1),
    ]
    for edit, given, called in cases:
        with refused(), probe.intervene(tagger, edit):
            tagger(given)
        assert len(heads) == called
    assert not tagger.lstm._forward_hooks


def test_a_function_that_returns_something_else_is_refused(lstm: nn.LSTM, x: Tensor) -> None:
    """Another shape, a number or nothing at all raises with what was given and what came back."""
    wrong: list[Any] = [lambda value, _site: value[:1], lambda *_: None, lambda *_: 1.0]
    for function in wrong:
        with refused():
            _ = probe.record(lstm, x, edits=[probe.edit("hidden_state", function, steps=1)])
