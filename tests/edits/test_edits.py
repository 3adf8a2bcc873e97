"""What `probe.patch` and `probe.intervene` promise: a change inside the recurrence, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
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


def outputs(output: Any) -> list[Tensor]:
    """Return the three tensors that an LSTM returns."""
    h, (h_n, c_n) = output
    return [h, h_n, c_n]


@pytest.mark.parametrize("steps", [None, [0], [3], [6], [2, 3], [0, 4, 6], [5, 1], [-1], [-7, 3]])
@pytest.mark.parametrize("signals", [(C,), (H,), (C, H), (H, C)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_patching_with_the_runs_own_values_changes_no_bit(
    lstm: nn.LSTM, x: Tensor, steps: list[int] | None, signals: tuple[Signal, ...], dtype: torch.dtype
) -> None:
    """A run patched with its own recording returns the module's own h, h_n and c_n."""
    lstm.to(dtype)
    own = probe.record(lstm, x.to(dtype))
    edits = [probe.patch(signal, own, steps=steps) for signal in signals]
    with probe.intervene(lstm, *edits):
        edited = lstm(x.to(dtype))
    for one, two in zip(outputs(edited), outputs(lstm(x.to(dtype))), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("kept", [None, ["cell_state"], ["cell_state", "forget_gate_preactivation"]])
def test_no_bit_changes_in_few_units_over_many_rows(kept: list[str] | None) -> None:
    """Nor in a layer that is opened units first, whatever else the recording keeps."""
    module, x = nn.LSTM(2, 5, batch_first=True), torch.randn(300, 6, 2)
    with torch.no_grad():
        own = probe.record(module, x, signals=kept)
        with probe.intervene(module, probe.patch(C, own, steps=[0, 3])):
            edited = module(x)
        bare = module(x)
    for one, two in zip(outputs(edited), outputs(bare), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("length", [1, 2, 50])
def test_no_bit_changes_at_other_lengths(length: int) -> None:
    """The same for one step and for many, in a wider layer, where the kernel sums in blocks."""
    module = nn.LSTM(3, 33, batch_first=True)
    x = torch.randn(9, length, 3)
    own = probe.record(module, x)
    with probe.intervene(module, *both(own, steps=range(0, length, 3))):
        edited = module(x)
    for one, two in zip(outputs(edited), outputs(own.output), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("step", range(TIME))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_patching_the_whole_state_continues_the_other_prefix(
    make_tagger: Callable[..., Any], x: Tensor, other: Tensor, step: int, dtype: torch.dtype
) -> None:
    """The state is all an LSTM knows: after the patch the run equals source prefix + base suffix."""
    model = make_tagger(dtype)
    x, other = x.to(dtype), other.to(dtype)
    joined = torch.cat([other[:, : step + 1], x[:, step + 1 :]], dim=1)
    expected, bare = model(joined), model(x)
    edited = probe.record(model, x, edits=both(probe.record(model, other), steps=step))
    states = probe.record(model, joined)
    later = edited["hidden_state"][:, step:], states["hidden_state"][:, step:]
    if dtype == torch.float64:
        assert torch.equal(edited.output, expected)
        assert torch.equal(*later)
    else:
        assert torch.allclose(edited.output, expected, rtol=1e-6, atol=1e-6)
        assert torch.allclose(*later, rtol=1e-6, atol=1e-6)
    assert torch.equal(edited.output.argmax(-1), expected.argmax(-1))
    # The control arm: the patch matters, so the agreement above is no accident of two equal runs.
    assert not torch.allclose(edited.output, bare, atol=1e-5)


@pytest.mark.parametrize("step", range(TIME))
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
        state = (run[H][:, step][None].contiguous(), run[C][:, step][None].contiguous())
        rest, (_, c_n) = lstm(x[:, step + 1 :], state)
        assert torch.allclose(run[H][:, step + 1 :], rest, atol=1e-7)
        assert torch.allclose(run.output[1][1], c_n, atol=1e-7)
        assert not torch.allclose(run[H][:, step + 1], own[H][:, step + 1], atol=1e-5)
    assert torch.allclose(run.output[1][1][0], run[C][:, -1], atol=1e-6)
    assert torch.equal(run.output[1][0][0], run[H][:, -1])
    assert not torch.allclose(run.output[1][1], own.output[1][1], atol=1e-6)


def test_h_can_be_kept_stale(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """With h patched by the run's own recording, c is new and h of that step is the old one."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    edits = [probe.patch(C, source, steps=3), probe.patch(H, own, steps=3)]
    run = probe.record(lstm, x, edits=edits)
    assert torch.equal(run[H][:, 3], own[H][:, 3])
    assert torch.equal(run[C][:, 3], source[C][:, 3])
    assert not torch.allclose(run[H][:, 4], own[H][:, 4], atol=1e-5)


def test_a_patched_hidden_state_leaves_the_cell_state_of_its_step(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """h does not feed c at its own step; from the next step on, both change."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    run = probe.record(lstm, x, edits=[probe.patch("hidden_state", source, steps=3)])
    assert torch.equal(run[C][:, :4], own[C][:, :4])
    assert torch.equal(run[H][:, 3], source[H][:, 3])
    assert not torch.allclose(run[C][:, 4], own[C][:, 4], atol=1e-5)


def test_an_edit_at_the_last_step_reaches_the_last_state(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """h_n and c_n are those of the edited run, to the bit."""
    source = probe.record(lstm, other)
    with probe.intervene(lstm, *both(source, steps=-1)):
        h, (h_n, c_n) = lstm(x)
    assert torch.equal(h[:, -1], source[H][:, -1])
    assert torch.equal(h_n[0], source[H][:, -1])
    assert torch.equal(c_n[0], source[C][:, -1])
    assert torch.equal(h[:, :-1], lstm(x)[0][:, :-1])


def test_editing_a_fused_layers_output_reaches_no_later_step(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Other tools edit the output of the fused layer: later outputs change by exactly 0.0. Here they change."""
    source, bare = probe.record(lstm, other), lstm(x)[0]

    def edit_output(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        h = output[0].clone()
        h[:, 3] = source[H][:, 3]
        return h, output[1]

    handle = lstm.register_forward_hook(edit_output)
    naive = lstm(x)[0]
    handle.remove()
    assert (naive[:, 4:] - bare[:, 4:]).abs().max().item() == 0.0
    with probe.intervene(lstm, probe.patch("hidden_state", source, steps=3)):
        inside = lstm(x)[0]
    assert torch.equal(inside[:, 3], naive[:, 3])
    assert (inside[:, 4] - bare[:, 4]).abs().max().item() > 1e-4


def test_an_edit_at_one_step_changes_that_step_only(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Pyvene changes every timestep; here only the named one takes the source's value."""
    source = probe.record(lstm, other)
    run = probe.record(lstm, x, edits=both(source, steps=3))
    taken = [torch.equal(run[C][:, t], source[C][:, t]) for t in range(TIME)]
    assert taken == [t == 3 for t in range(TIME)]


def test_steps_none_patches_every_step(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Without steps= all of them take the source's values."""
    source = probe.record(lstm, other)
    run = probe.record(lstm, x, edits=both(source))
    for signal in (C, H):
        assert torch.equal(run[signal], source[signal])


def test_several_steps_each_take_their_own_values(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Steps in any order take the source's value of the same step; between them the network runs."""
    source = probe.record(lstm, other)
    run = probe.record(lstm, x, edits=[probe.patch(C, source, steps=[5, 1])])
    for step in (1, 5):
        assert torch.equal(run[C][:, step], source[C][:, step])
    state = (run[H][:, 1][None].contiguous(), run[C][:, 1][None].contiguous())
    assert torch.allclose(run[H][:, 2:5], lstm(x[:, 2:5], state)[0], atol=1e-7)
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


def test_units_chooses_the_units(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Other units of that step keep the module's own numbers, in c and in h."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    run = probe.record(lstm, x, edits=[probe.patch(C, source, steps=3, units=[4, 1])])
    for signal in (C, H):
        assert torch.equal(run[signal][:, 3, [0, 2, 3]], own[signal][:, 3, [0, 2, 3]])
    assert torch.equal(run[C][:, 3, [4, 1]], source[C][:, 3, [4, 1]])
    mixed = [1, 3, 2, 4]  # as far apart as a run of four, in another order
    run = probe.record(lstm, x, edits=[probe.patch(C, source, steps=3, units=mixed)])
    assert torch.equal(run[C][:, 3, mixed], source[C][:, 3, mixed])
    one = probe.record(lstm, x, edits=[probe.patch(C, source, steps=3, units=-1)])
    assert torch.equal(one[C][:, 3, 4], source[C][:, 3, 4])
    assert torch.equal(one[C][:, 3, :4], own[C][:, 3, :4])


def test_rows_chooses_the_rows(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Rows that are not edited keep the module's own numbers to the last bit, c_n included."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    run = probe.record(lstm, x, edits=both(source, steps=2, rows=[3, 0]))
    for one, two in zip(outputs(run.output), outputs(own.output), strict=True):
        axis = 0 if one.shape[0] == 4 else 1
        kept = torch.tensor([1, 2])
        assert torch.equal(one.index_select(axis, kept), two.index_select(axis, kept))
        assert not torch.equal(one.index_select(axis, torch.tensor([0])), two.index_select(axis, torch.tensor([0])))
    for signal in (C, H):
        assert torch.equal(run[signal][[3, 0], 2], source[signal][[3, 0], 2])
        assert torch.equal(run[signal][[1, 2]], own[signal][[1, 2]])


def test_many_rows_are_edited_as_few_are(lstm: nn.LSTM) -> None:
    """In a large batch each row goes on from its own state, and a row that is not edited keeps the module's bits."""
    x = torch.randn(2100, 4, 3)
    state = (torch.randn(1, 2100, 5), torch.randn(1, 2100, 5))
    rows = [row for row in range(2100) if row not in (7, 2090)]
    run = probe.record(lstm, x, state, edits=[probe.clamp(C, 0.5, steps=1, rows=rows)])
    few = [2, 300, 2070]
    own = probe.record(lstm, x[few], tuple(part[:, few] for part in state), edits=[probe.clamp(C, 0.5, steps=1)])
    for one, two in zip(outputs(run.output), outputs(own.output), strict=True):
        batch = 0 if one.shape[0] == 2100 else 1
        assert torch.allclose(one.index_select(batch, torch.tensor(few)), two, atol=1e-6)
    kept = torch.tensor([7, 2090])
    assert torch.equal(run.output[0][kept], lstm(x, state)[0][kept])


def test_source_rows_chooses_the_sources_rows(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Each edited row takes the row of the source that it was given, and one source row may serve all."""
    source = probe.record(lstm, other)
    run = probe.record(lstm, x, edits=both(source, steps=2, rows=[1, 3], source_rows=[2, 0]))
    assert torch.equal(run[C][1, 2], source[C][2, 2])
    assert torch.equal(run[C][3, 2], source[C][0, 2])
    crossed = probe.record(lstm, x, edits=both(source, steps=2, source_rows=[1, 0, 3, 2]))
    assert torch.equal(crossed[C][:, 2], source[C][[1, 0, 3, 2], 2])


@pytest.mark.parametrize("call", [0, 1, None])
def test_call_chooses_the_call(pair: nn.Module, x: Tensor, other: Tensor, call: int | None) -> None:
    """An edit of one call leaves the other's own step alone."""
    layers = ["high[0]"]
    source = probe.record(pair, other, layers=layers).call(0)
    edit = probe.patch(C, source, layer="high[0]", steps=3, call=call)
    run = probe.record(pair, x, layers=layers, edits=[edit])
    taken = [torch.equal(run.call(k)[C][:, 3], source[C][:, 3]) for k in (0, 1)]
    assert taken == [call in (0, None), call in (1, None)]


def test_edits_of_several_layers_act_in_one_run(pair: nn.Module, x: Tensor, other: Tensor) -> None:
    """Each layer takes its own edit, and the upper layer reads what the edited lower one gives."""
    source = probe.record(pair, other)
    low = [probe.patch(s, source, layer="low[0]", steps=2) for s in (C, H)]
    high = probe.patch(C, source.call(0), layer="high[0]", steps=4, call=0)
    own, run = probe.record(pair, x), probe.record(pair, x, edits=[*low, high])
    assert torch.equal(run["low[0]", C][:, 2], source["low[0]", C][:, 2])
    assert torch.equal(run.call(0)["high[0]", C][:, 4], source.call(0)["high[0]", C][:, 4])
    assert not torch.equal(run.call(0)["high[0]", C][:, 2], own.call(0)["high[0]", C][:, 2])


def test_initial_states_batch_axes_and_keywords_are_followed(x: Tensor, other: Tensor) -> None:
    """Time-first layers, given states and `lstm(input=x, hx=...)` are edited like any other."""
    module = nn.LSTM(3, 5, bias=False)
    x, other = x.transpose(0, 1), other.transpose(0, 1)
    state = (torch.randn(1, 4, 5), torch.randn(1, 4, 5))
    source = probe.record(module, other, state)
    with probe.intervene(module, *both(source, steps=0)):
        edited, _ = module(input=x, hx=state)
    expected, _ = module(torch.cat([other[:1], x[1:]]), state)
    assert torch.allclose(edited, expected, atol=1e-6)
    with probe.intervene(module, probe.patch(C, probe.record(module, x, state), steps=[0, 3])):
        assert torch.equal(module(x, hx=state)[1][1], module(input=x, hx=state)[1][1])
        kept = module(x, state)
    for one, two in zip(outputs(kept), outputs(module(x, state)), strict=True):
        assert torch.equal(one, two)


def test_unbatched_inputs_are_edited(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Inputs without a batch axis keep their shapes."""
    source = probe.record(lstm, other[0])
    with probe.intervene(lstm, *both(source, steps=3)):
        edited = lstm(x[0])
    expected = lstm(torch.cat([other[0, :4], x[0, 4:]]))
    for one, two in zip(outputs(edited), outputs(expected), strict=True):
        assert one.shape == two.shape
        assert torch.allclose(one[-3:], two[-3:], atol=1e-6)


def test_nested_contexts_act_in_one_run(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Two contexts give what one context with both edits gives, to the bit, whichever is outside."""
    source = probe.record(lstm, other)
    early, late = probe.patch(C, source, steps=1), probe.patch(C, source, steps=4)
    with probe.intervene(lstm, early, late):
        together = lstm(x)
    for outside, inside in ((early, late), (late, early)):
        with probe.intervene(lstm, outside), probe.intervene(lstm, inside):
            nested = lstm(x)
        for one, two in zip(outputs(nested), outputs(together), strict=True):
            assert torch.equal(one, two)
    with probe.intervene(lstm, early), probe.intervene(lstm):
        assert torch.equal(lstm(x)[0][:, 1], probe.record(lstm, x, edits=[])[H][:, 1])


def test_an_inner_edit_can_take_back_an_outer_one(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """The edits of all contexts start from the module's own run: put back, its values leave no bit changed."""
    source, own = probe.record(lstm, other), probe.record(lstm, x)
    with probe.intervene(lstm, probe.patch(C, source, steps=[2, 5])):
        assert not torch.equal(lstm(x)[0], own.output[0])
        with probe.intervene(lstm, probe.patch(C, own, steps=[2, 5])):
            put_back = lstm(x)
    for one, two in zip(outputs(put_back), outputs(own.output), strict=True):
        assert torch.equal(one, two)


def test_a_recording_inside_a_context_shows_the_edited_run(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """`record` under `intervene` and `record(edits=)` are the same run, every signal included."""
    source = probe.record(lstm, other)
    edits = both(source, steps=2, units=[0, 3])
    inside_edits = probe.record(lstm, x, edits=edits, signals=Signal)
    with probe.intervene(lstm, *edits):
        inside = probe.record(lstm, x, signals=Signal)
    assert len(inside.parts[0].signals) == 10
    for signal in inside.parts[0].signals:
        assert torch.equal(inside[signal], inside_edits[signal])
    assert torch.equal(inside.output[1][1], inside_edits.output[1][1])
    assert not torch.equal(inside[C], probe.record(lstm, x)[C])


def test_the_model_is_left_as_found(tagger: Any, x: Tensor, other: Tensor) -> None:
    """Mode, gradients, weights, random state and thread counts stay, and the bare output comes back."""
    bare = tagger(x).detach()
    weights = {name: value.clone() for name, value in tagger.state_dict().items()}
    edit = probe.patch(C, probe.record(tagger, other), steps=2)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    with probe.intervene(tagger, edit) as model:
        assert model is tagger
        assert not torch.allclose(tagger(x), bare, atol=1e-6)
    assert torch.equal(tagger(x), bare)
    assert tagger.training
    assert all(torch.equal(value, weights[name]) for name, value in tagger.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads


def test_gradients_flow_through_an_edited_run(tagger: Any, x: Tensor, other: Tensor) -> None:
    """`intervene` follows the caller's grad mode; the whole patched state lets none through from before."""
    edits = both(probe.record(tagger, other), steps=3)
    inputs = x.clone().requires_grad_(True)
    with torch.enable_grad(), probe.intervene(tagger, *edits):
        tagger(inputs).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad[:, :4].abs().max().item() == 0.0
    assert inputs.grad[:, 4:].abs().min().item() > 0.0
    with probe.intervene(tagger, *edits):
        assert not tagger(inputs).requires_grad


def test_an_edited_run_is_the_same_under_autograd(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """With gradients the second edit starts from the same state as without."""
    source = probe.record(lstm, other)
    edits = [probe.patch(C, source, steps=[1, 4], units=[0, 2]), probe.patch(H, source, steps=5, units=1)]
    with probe.intervene(lstm, *edits):
        without = lstm(x)
        with torch.enable_grad():
            within = lstm(x)
    for one, two in zip(outputs(within), outputs(without), strict=True):
        assert one.requires_grad
        assert torch.allclose(one, two, atol=1e-6)
