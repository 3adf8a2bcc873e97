"""What `probe.patch` and `probe.intervene` refuse, when, and that no hook stays in the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal

C = Signal.CELL_STATE


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call models as `probe.record` does."""
    with torch.no_grad():
        yield


@pytest.mark.parametrize(
    "options",
    [
        {"layer": "lstn[0]"},
        {"units": [5]},
        {"steps": [7]},
        {"rows": [4]},
        {"source_rows": [4]},
        {"units": [1, 1]},
        {"units": []},
        {"rows": [0, -4]},
    ],
)
def test_a_wrong_place_raises_and_leaves_no_hook(tagger: Any, x: Tensor, options: Any) -> None:
    """Each wrong option says what is allowed; the model is as it was."""
    source = probe.record(tagger, x)
    with refused(), probe.intervene(tagger, probe.patch(C, source, **options)):
        tagger(x)
    assert not tagger.lstm._forward_hooks


def test_a_wrong_layer_raises_before_the_model_is_called(tagger: Any, pair: nn.Module, x: Tensor) -> None:
    """An edit made for another model is refused before anything runs."""
    foreign = probe.patch(C, probe.record(pair, x), layer="low[0]", steps=1)
    with refused(), probe.intervene(tagger, foreign):
        tagger(x)
    with refused():
        _ = probe.record(tagger, x, edits=[foreign])
    assert tagger.times_called == 0
    assert not tagger.lstm._forward_hooks


def test_a_wrong_unit_raises_before_the_model_is_called(tagger: Any, x: Tensor) -> None:
    """A unit that only the wider source has is refused before anything runs."""
    wide = probe.record(nn.LSTM(3, 9, batch_first=True), x)
    cases: list[Any] = [{"units": [7]}, {}]
    for options in cases:
        with refused(), probe.intervene(tagger, probe.patch(C, wide, **options)):
            tagger(x)
    assert tagger.times_called == 0
    assert not tagger.lstm._forward_hooks


def test_a_step_beyond_the_input_raises_where_the_context_ends(tagger: Any, x: Tensor) -> None:
    """A later call may go on there; where an edit brings values for other steps, the layer's call raises."""
    edit, whole = probe.patch(C, probe.record(tagger, x), steps=6), probe.patch(C, probe.record(tagger, x))
    heads: list[int] = []
    tagger.head.register_forward_hook(lambda *_: heads.append(1))
    with refused(), probe.intervene(tagger, whole):
        tagger(x[:, :5])
    assert heads == []
    with refused(), probe.intervene(tagger, edit):
        tagger(x[:, :5])
    assert heads == [1]
    assert not tagger.lstm._forward_hooks


def test_a_row_beyond_the_batch_raises_when_the_layer_is_called(tagger: Any, x: Tensor) -> None:
    """A batch smaller than the edit asks for, or than the source, is refused."""
    source = probe.record(tagger, x)
    edit = probe.patch(C, source, rows=[3], steps=0)
    with refused(), probe.intervene(tagger, edit):
        tagger(x[:2])
    edit = probe.patch(C, source, steps=0)
    with refused(), probe.intervene(tagger, edit):
        tagger(x[:2])
    assert not tagger.lstm._forward_hooks


def test_no_hook_stays_when_the_body_raises(tagger: Any, x: Tensor) -> None:
    """The body's own error arrives, and the model is bit-identical afterwards."""
    before = tagger(x)
    edit = probe.patch(C, probe.record(tagger, x), steps=2)
    with pytest.raises(ZeroDivisionError), probe.intervene(tagger, edit):
        _ = tagger(x) / (1 // 0)
    assert not tagger.lstm._forward_hooks
    assert torch.equal(tagger(x), before)


def test_no_hook_stays_when_a_later_edit_is_wrong(pair: Any, tagger: Any, x: Tensor) -> None:
    """Edits are placed before the first hook is set, so a wrong second one leaves nothing of the first."""
    source = probe.record(pair, x)
    good = probe.patch(C, source, layer="low[0]", steps=1)
    bad = probe.patch(C, probe.record(tagger, x), steps=1)
    with refused(), probe.intervene(pair, good, bad):
        pass
    assert not pair.low._forward_hooks


def test_signals_that_cannot_be_edited_are_named(lstm: nn.LSTM, x: Tensor) -> None:
    """A signal that the source lacks, and one that the layer lacks, are refused by name."""
    source = probe.record(lstm, x)
    with refused():
        _ = probe.patch("reset_gate", source)
    clamp = probe.clamp("reset_gate", 1.0)
    with refused():
        _ = probe.record(lstm, x, edits=[clamp])
    with refused():
        _ = probe.patch("cell_state", probe.record(lstm, x, signals=["forget_gate"]))
