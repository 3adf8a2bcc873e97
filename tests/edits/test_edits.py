"""What `probe.patch` and `probe.intervene` promise: a change inside the recurrence, and nothing else.

tests/hooks/test_instrument_properties.py tries every kind of edit at sites at random against the oracle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import reference
import torch
from comparing import same
from torch import Tensor, nn

import probe
from probe import Signal

C, H = Signal.CELL_STATE, Signal.HIDDEN_STATE
TIME = 7


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call models as `probe.record` does: torch's float32 kernel adds in another order under autograd."""
    with torch.no_grad():
        yield


def both(source: probe.Recording, **options: Any) -> list[probe.Edit]:
    """Return patches of the whole state."""
    return [probe.patch(C, source, **options), probe.patch(H, source, **options)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "time", "units"), [(4, 7, 5), (300, 6, 5), (9, 1, 33), (9, 20, 33)])
def test_patching_with_the_runs_own_values_changes_no_bit(
    rows: int, time: int, units: int, dtype: torch.dtype
) -> None:
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


@pytest.mark.parametrize("step", [0, 3, TIME - 1])
def test_a_patched_cell_state_enters_the_recurrence(lstm: nn.LSTM, x: Tensor, other: Tensor, step: int) -> None:
    """Steps before are untouched, h at the step is o tanh(c), and the next step sees both."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    run = probe.record(lstm, x, edits=[probe.patch("cell_state", source, steps=step)])
    for signal in (C, H):
        assert torch.equal(run[signal][:, :step], own[signal][:, :step])
    assert torch.equal(run[C][:, step], source[C][:, step])
    h = own["output_gate"][:, step] * torch.tanh(source[C][:, step])
    assert torch.allclose(run[H][:, step], h, atol=1e-7)
    if step + 1 < TIME:
        rest, (_, c_n) = lstm(x[:, step + 1 :], (run[H][None, :, step], run[C][None, :, step]))
        assert torch.allclose(run[H][:, step + 1 :], rest, atol=1e-7)
        assert torch.allclose(run.output[1][1], c_n, atol=1e-7)
    assert not torch.allclose(run.output[1][1], own.output[1][1], atol=1e-6)


def test_several_steps_each_take_their_own_values(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Steps in any order take the source's value of the same step; between them the network runs."""
    source = probe.record(lstm, other)
    run = probe.record(lstm, x, edits=[probe.patch(C, source, steps=[5, 1])])
    assert [torch.equal(run[C][:, t], source[C][:, t]) for t in range(TIME)] == [t in (1, 5) for t in range(TIME)]
    rest = lstm(x[:, 2:5], (run[H][None, :, 1], run[C][None, :, 1]))[0]
    assert torch.allclose(run[H][:, 2:5], rest, atol=1e-7)
    # The second edit starts from the first one's run: its h uses the gates that the edited prefix gives.
    assert torch.allclose(run[H][:, 5], run["output_gate"][:, 5] * torch.tanh(run[C][:, 5]), atol=1e-7)


def test_a_later_edit_starts_from_the_earlier_ones_run(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Where the later edit changes nothing, the run is the earlier edit's, at its step and after it."""
    source = probe.record(lstm, other)
    early = probe.patch(C, source, steps=1, rows=[0, 2])
    late = probe.patch(C, source, steps=4, units=[3], rows=[1, 2])
    alone, run = probe.record(lstm, x, edits=[early]), probe.record(lstm, x, edits=[early, late])
    others = [0, 1, 2, 4]
    for signal in (C, H):
        assert torch.allclose(run[signal][0], alone[signal][0], atol=1e-7)
        assert torch.allclose(run[signal][2, 4][others], alone[signal][2, 4][others], atol=1e-7)
    assert torch.allclose(run.output[1][1][0, 0], alone.output[1][1][0, 0], atol=1e-7)
    own = probe.record(lstm, x)
    assert not torch.allclose(alone[C][2, 4][others], own[C][2, 4][others], atol=1e-6)
    assert not torch.allclose(run[C][2, 5], alone[C][2, 5], atol=1e-6)


@pytest.mark.parametrize("units", [[4, 1], [1, 3, 2, 4], [-1]])
def test_units_rows_and_source_rows_are_chosen_by_number(
    lstm: nn.LSTM, x: Tensor, other: Tensor, units: list[int]
) -> None:
    """In any order and from the end, [1, 3, 2, 4] is as far apart as a run of four; all else keeps its bits."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    options: dict[str, Any] = {"units": units, "rows": [3, -4], "source_rows": [2, 2]}
    run = probe.record(lstm, x, edits=both(source, steps=2, **options))
    rest = sorted({0, 1, 2, 3, 4} - {unit % 5 for unit in units})
    for signal in (C, H):
        assert torch.equal(run[signal][[3, 0], 2][:, units], source[signal][[2, 2], 2][:, units])
        assert torch.equal(run[signal][:, 2, rest], own[signal][:, 2, rest])
        assert torch.equal(run[signal][[1, 2]], own[signal][[1, 2]])
    assert torch.equal(run.output[1][1][:, [1, 2]], own.output[1][1][:, [1, 2]])


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
@pytest.mark.parametrize("step", [0, 2, 4])
def test_gradients_run_through_an_edit_also_where_it_puts_in_what_was_there(
    step: int, source_rows: list[int], rows: list[int]
) -> None:
    """What a patch puts in is a constant, also where no value changed; rows that no edit reaches keep theirs."""
    lstm = nn.LSTM(2, 4, batch_first=True, dtype=torch.float64)
    x = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    source, weight = probe.record(lstm, x.detach()), torch.randn(3, 5, 4, dtype=torch.float64)
    put, edited = source[C][source_rows, step], torch.isin(torch.arange(3), torch.tensor(rows))[:, None]

    def patched(_layer: str, signal: str, at: int, value: Tensor) -> Tensor:
        return torch.where(edited, put, value) if (signal, at) == ("cell_state", step) else value

    taken = [source_rows[row] for row in rows]
    with torch.enable_grad():
        with probe.intervene(lstm, probe.patch(C, source, steps=step, rows=rows, source_rows=taken)):
            found = lstm(x)
        by_hand = reference.run(lstm, x, edit=patched)
        assert torch.allclose(found[0], by_hand.output, rtol=0, atol=1e-14)
        gradients = [
            torch.autograd.grad((h * weight).sum() + c.sum(), [x, *lstm.parameters()])
            for h, (_, c) in (found, (by_hand.output, by_hand.final))
        ]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    with probe.intervene(lstm, probe.patch(C, source, steps=step)):
        assert not lstm(x)[0].requires_grad
