"""What edits promise, a change inside the recurrence and nothing else, and what they refuse.

tests/hooks/test_instrument_properties.py tries every kind of edit at sites at random against the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reference
import torch
from comparing import same
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal

C, H = Signal.CELL_STATE, Signal.HIDDEN_STATE
TIME = 7
pytestmark = pytest.mark.usefixtures("no_grad")


def both(source: probe.Recording, **options: Any) -> list[probe.Edit]:
    """Return patches of the whole state."""
    return [probe.patch(C, source, **options), probe.patch(H, source, **options)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "time", "units"), [(4, 7, 5), (300, 6, 5), (9, 1, 33), (9, 20, 33)])
def test_patching_with_a_runs_own_values_changes_no_bit(rows: int, time: int, units: int, dtype: torch.dtype) -> None:
    """Of h, h_n and c_n: opened units first or not, and in a wide layer, where the kernel sums in blocks."""
    lstm, x = nn.LSTM(3, units, batch_first=True, dtype=dtype), torch.randn(rows, time, 3, dtype=dtype)
    own, bare = probe.record(lstm, x, signals=[C, H, "forget_gate_preactivation"]), lstm(x)
    for signals in ([C], [H, C]):
        for steps in (None, [0], [-1], sorted({0, time // 2, time - 1}), range(time - 1, -1, -2)):
            with probe.intervene(lstm, *(probe.patch(signal, own, steps=steps) for signal in signals)):
                assert same(lstm(x), bare)


@pytest.mark.parametrize("step", [0, 3, TIME - 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_patching_the_whole_state_continues_the_other_prefix(
    make_tagger: Any, x: Tensor, other: Tensor, step: int, dtype: torch.dtype
) -> None:
    """The state is all an LSTM knows: after the patch the run equals source prefix + base suffix."""
    model = make_tagger(dtype)
    x, other = x.to(dtype), other.to(dtype)
    joined = torch.cat([other[:, : step + 1], x[:, step + 1 :]], dim=1)
    edited = probe.record(model, x, edits=both(probe.record(model, other), steps=step))
    states = probe.record(model, joined)
    for one, two in ((edited.output, states.output), (edited[H][:, step:], states[H][:, step:])):
        assert torch.equal(one, two) if dtype == torch.float64 else torch.allclose(one, two, rtol=1e-6, atol=1e-6)
    # The control arm: the patch matters, so the agreement above is no accident of two equal runs.
    assert not torch.allclose(edited.output, model(x), atol=1e-5)


def test_many_rows_are_edited_as_few_are(lstm: nn.LSTM) -> None:
    """In a large batch each row goes on from its own state, and a row that is not edited keeps the module's bits."""
    x = torch.randn(2100, 4, 3)
    state = (torch.randn(1, 2100, 5), torch.randn(1, 2100, 5))
    rows = [row for row in range(2100) if row not in (7, 2090)]
    run = probe.record(lstm, x, state, edits=[probe.clamp(C, 0.5, steps=1, rows=rows)])
    few = [2, 300, 2070]
    own = probe.record(lstm, x[few], tuple(part[:, few] for part in state), edits=[probe.clamp(C, 0.5, steps=1)])
    assert torch.allclose(run.output[0][few], own.output[0], atol=1e-6)
    for one, two in zip(run.output[1], own.output[1], strict=True):
        assert torch.allclose(one[:, few], two, atol=1e-6)
    assert torch.equal(run.output[0][[7, 2090]], lstm(x, state)[0][[7, 2090]])


def test_rows_that_stay_beside_many_that_move_keep_their_bits() -> None:
    """An edit of the last step that leaves the cell state alone leaves every bit of it, and of the clean run."""
    module, x = nn.LSTM(3, 20, batch_first=True), torch.randn(16, 9, 3)
    edit = probe.clamp("output_gate", 0.5, steps=-1, rows=range(15))
    changed, plain = probe.record(module, x, edits=[edit]), probe.record(module, x)
    assert torch.equal(changed[C], plain[C])
    moved = (changed[H] != plain[H]).any(-1)
    assert moved[:15, -1].all()
    assert not moved[15].any()


def test_inputs_without_a_batch_and_by_keyword_are_edited(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """They keep their shapes; `lstm(input=, hx=)` is the call that it seems to be."""
    states = (torch.randn(1, 5), torch.randn(1, 5))
    source = probe.record(lstm, other[0], states)
    with probe.intervene(lstm, *both(source, steps=3)):
        edited = lstm(input=x[0], hx=states)
    expected = lstm(torch.cat([other[0, :4], x[0, 4:]]), states)
    for one, two in zip((edited[0], *edited[1]), (expected[0], *expected[1]), strict=True):
        assert one.shape == two.shape
        assert torch.allclose(one[-3:], two[-3:], atol=1e-6)


def test_nested_contexts_act_in_one_run(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """As one context with both edits does, to the bit, whichever is outside; an inner one can take it all back."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    early, late = probe.patch(C, source, steps=1), probe.patch(C, source, steps=4)
    together = probe.record(lstm, x, edits=[early, late], signals=Signal)
    for outside, inside in ((early, late), (late, early)):
        with probe.intervene(lstm, outside), probe.intervene(lstm, inside):
            assert same(lstm(x), together.output)
            within = probe.record(lstm, x, signals=Signal)
        assert all(torch.equal(within[signal], together[signal]) for signal in together.parts[0].signals)
    with probe.intervene(lstm, early, late), probe.intervene(lstm, probe.patch(C, own, steps=[1, 4])):
        assert same(lstm(x), own.output)
    assert not same(together.output, own.output)


@pytest.mark.parametrize("rows", [[0, 1, 2], [1]])
@pytest.mark.parametrize("source_rows", [[0, 1, 2], [2, 0, 1]])
def test_gradients_run_through_an_edit_also_where_it_puts_in_what_was_there(
    source_rows: list[int], rows: list[int]
) -> None:
    """What a patch puts in is a constant, also where no value changed; rows that no edit reaches keep theirs."""
    lstm = nn.LSTM(2, 4, batch_first=True, dtype=torch.float64)
    x = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    source, taken = probe.record(lstm, x.detach()), [source_rows[row] for row in rows]
    put, edited = source[C][source_rows, 2], torch.isin(torch.arange(3), torch.tensor(rows))[:, None]

    def patched(_layer: str, signal: str, at: int, value: Tensor) -> Tensor:
        return torch.where(edited, put, value) if (signal, at) == ("cell_state", 2) else value

    with torch.enable_grad():
        with probe.intervene(lstm, probe.patch(C, source, steps=2, rows=rows, source_rows=taken)):
            found = lstm(x)
        by_hand = reference.run(lstm, x, edit=patched)
        assert torch.allclose(found[0], by_hand.output, rtol=0, atol=1e-14)
        for one, two in zip(
            *(
                torch.autograd.grad((h.sin() * h).sum() + c.sum(), [x, *lstm.parameters()])
                for h, (_, c) in (found, (by_hand.output, by_hand.final))
            ),
            strict=True,
        ):
            assert torch.allclose(one, two, rtol=0, atol=1e-12)
    with probe.intervene(lstm, probe.patch(C, source, steps=2)):
        assert not lstm(x)[0].requires_grad


# What edits refuse, and when: where they are made, before the model runs, or at the call that they do not fit.


def clamp(**options: Any) -> probe.Edit:
    """Return a clamp with options that the annotations do not know."""
    return probe.clamp(C, 0.0, **options)


def test_what_makes_no_edit_is_refused(lstm: nn.LSTM, x: Tensor) -> None:
    """A wrong value, signal, kind or place raises where the edit is made, before there is a model."""
    source = probe.record(lstm, x)
    wrong: list[Callable[[], probe.Edit]] = [
        lambda: probe.clamp(C, torch.ones(1, 1)),
        lambda: probe.clamp("cel_state", 1.0),
        lambda: probe.steer(C, torch.tensor(1.0)),
        *(partial(probe.ablate, C, kind=kind) for kind in ("zeros", "mean")),
        *(partial(clamp, **options) for options in ({"unit": 3}, {"call": -1}, {"call": True})),
        *(partial(probe.patch, C, source, units=units) for units in ([5], [1, 1], [])),
        lambda: probe.patch(C, source, steps=[7]),
        lambda: probe.patch(C, source, source_rows=[4]),
        lambda: probe.patch("reset_gate", source),
    ]
    for make in wrong:
        with refused():
            _ = make()


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
