"""Mistakes that other tools make with recurrent layers, each by name: none of them is made here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from comparing import distance, same
from refusing import refused
from torch import Tensor, nn

import probe

TIME = 7


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does."""
    with torch.no_grad():
        yield


class Retaining:
    """What baukit's `Trace` does: a hook that keeps the output that it saw last."""

    def __init__(self, module: nn.Module) -> None:
        self.output: Any = None
        self.handle = module.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self.output = output


class Loop(nn.Module):
    """A cell in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states, (batch, time, unit)."""
        h, outputs = None, []
        for step in x.unbind(1):
            h = self.cell(step, h)
            outputs.append(h)
        return torch.stack(outputs, dim=1)


def test_baukit_keeps_the_last_step_only(x: Tensor) -> None:
    """Its Trace of a cell in a loop holds one step when the loop has ended; a recording holds all of them."""
    model = Loop()
    retaining = Retaining(model.cell)
    recording = probe.record(model, x)
    assert retaining.output.shape == (4, 5)
    assert torch.equal(retaining.output, recording.output[:, -1])
    assert torch.equal(recording["hidden_state"], recording.output)
    assert recording["hidden_state"].shape == (4, TIME, 5)


def test_baukit_leaks_a_hook_on_a_wrong_name(pair: Any, x: Tensor) -> None:
    """Its TraceDict hooks one layer before it finds that the next does not exist; here nothing is hooked."""
    edits = [probe.clamp("forget_gate", 1.0, layer=name) for name in ("low[0]", "hihg[0]")]

    def enter(context: Any) -> None:
        with context:
            _ = pair(x)

    for attempt in (
        lambda: probe.record(pair, x, layers=["low[0]", "hihg[0]"]),
        lambda: probe.record(pair, x, edits=edits),
        lambda: enter(probe.intervene(pair, *edits)),
        lambda: enter(probe.watch(pair, layers=["low[0]", "hihg[0]"])),
    ):
        with refused():
            attempt()
        for module in pair.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, StopIteration])
def test_baukit_hides_the_real_error(tagger: Any, x: Tensor, kind: type[BaseException]) -> None:
    """Leaving its context asks for the type of an error that may not exist; here the model's own error arrives."""
    error = kind("the model's own")

    def fail(*_: Any) -> None:
        raise error

    handle = tagger.head.register_forward_hook(fail)
    edit = probe.clamp("forget_gate", 1.0)

    def inside(context: Any) -> None:
        with context:
            _ = tagger(x)

    for attempt in (
        lambda: probe.record(tagger, x),
        lambda: probe.record(tagger, x, edits=[edit], gradient_of=lambda scores: scores.sum()),
        lambda: inside(probe.intervene(tagger, edit)),
        lambda: inside(probe.watch(tagger)),
    ):
        with pytest.raises(kind, match="the model's own") as caught:
            attempt()
        assert caught.value is error
    handle.remove()
    assert not tagger.lstm._forward_hooks
    assert not tagger._forward_hooks
    assert probe.record(tagger, x).layers == ("lstm[0]",)


def test_baukit_says_nothing_of_a_layer_that_was_not_reached(pair: Any, x: Tensor) -> None:
    """Its context ends in a TypeError, or holds nothing; here the layer is named, and an edit of it raises."""
    assert probe.record(pair, x).not_called == ("idle[0]",)
    edit = probe.clamp("forget_gate", 1.0, layer="idle[0]")
    with refused():
        _ = probe.record(pair, x, edits=[edit])


def test_baukit_keeps_what_the_model_then_changes_in_place(x: Tensor) -> None:
    """Its reference to an output (a clone of a tuple is none) changes with the model's; a recording does not."""

    class Masking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 5, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            h, (h_n, c_n) = self.lstm(x)
            for value in (h, h_n, c_n):
                _ = value.zero_()
            return h

    model = Masking()
    expected = model.lstm(x)
    retaining = Retaining(model.lstm)
    recording = probe.record(model, x)
    assert bool((retaining.output[0] == 0).all())
    assert torch.equal(recording["hidden_state"], expected[0])
    assert distance(recording["cell_state"][:, -1], expected[1][1][0]) < 1e-6
    edit = probe.clamp("cell_state", 0.5, steps=2)
    run = probe.record(model, x, edits=[edit])
    assert same(run["hidden_state"], probe.record(model.lstm, x, edits=[edit])["hidden_state"])


def test_pyvene_changes_every_timestep(x: Tensor) -> None:
    """Its intervention on its own GRU acts at each step; ours changes nothing before its step, and all after."""
    module = nn.GRU(3, 5, batch_first=True, dtype=torch.float64)
    x = x.double()
    own = probe.record(module, x)
    for step in range(TIME):
        run = probe.record(module, x, edits=[probe.clamp("hidden_state", 0.9, steps=step)])
        at = [(run["hidden_state"][:, t] == 0.9).all().item() for t in range(TIME)]
        assert at == [t == step for t in range(TIME)]
        changed = [not torch.equal(run["hidden_state"][:, t], own["hidden_state"][:, t]) for t in range(TIME)]
        assert changed == [t >= step for t in range(TIME)]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_an_output_edit_has_effect_zero(kind: Any, x: Tensor) -> None:
    """`output[:, t] = 0` in a hook on a fused layer moves later outputs by exactly 0.0; an edit moves them."""
    module = kind(3, 5, batch_first=True)
    bare = module(x)[0]

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        h = output[0].clone()
        h[:, 3] = 0
        return h, output[1]

    handle = module.register_forward_hook(hook)
    hooked = module(x)[0]
    handle.remove()
    assert (hooked[:, 4:] - bare[:, 4:]).abs().max().item() == 0.0
    with probe.intervene(module, probe.ablate("hidden_state", steps=3)):
        edited = module(x)[0]
    assert torch.equal(edited[:, :4], hooked[:, :4])
    assert bool(((edited[:, 4:] - bare[:, 4:]).abs() > 0).any(-1).all())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_replaced_forward_makes_max_error_raise(kind: Any, x: Tensor) -> None:
    """Values of a module that does not compute its weights are refused, in a recording and while it is watched."""
    module: nn.Module = kind(3, 5)
    arguments = x[:, 0] if isinstance(module, nn.RNNCellBase) else x
    original = module.forward
    assert (probe.record(module, arguments).max_error or 0) < 1e-6

    def forward(*inputs: Any) -> Any:
        output = original(*inputs)
        return output * 1.01 if isinstance(output, Tensor) else (output[0] * 1.01, output[1])

    module.forward = forward
    with refused():
        _ = probe.record(module, arguments)
    with probe.watch(module) as recordings, refused():
        _ = module(arguments)
    assert recordings == []


def test_a_function_that_works_in_place_is_no_silent_nothing(x: Tensor) -> None:
    """An edit that changes its argument, and returns it, enters the recurrence as any other does."""
    module = nn.GRU(3, 5, batch_first=True)
    edit = probe.edit("hidden_state", lambda value, _site: value.mul_(-1), steps=2)
    run, bare = probe.record(module, x, edits=[edit]), probe.record(module, x)
    assert torch.equal(run["hidden_state"][:, 2], -bare["hidden_state"][:, 2])
    assert bool((run["hidden_state"][:, 3] != bare["hidden_state"][:, 3]).any(-1).all())


def test_a_compiled_caller_is_recorded_and_edited(tagger: Any, x: Tensor) -> None:
    """A compiled graph calls no hooks, so the model is run as it was written, and compiled again afterwards."""
    compiled: Any = torch.compile(tagger, backend="eager")
    bare = compiled(x)
    edit = probe.clamp("forget_gate", 0.0, steps=3)
    expected = probe.record(tagger, x, edits=[edit])
    times = tagger.times_called
    assert probe.record(compiled, x).layers == ("lstm[0]",)
    assert same(probe.record(compiled, x, edits=[edit]).output, expected.output)
    with probe.intervene(compiled, edit):
        assert same(compiled(x), expected.output)
    with probe.intervene(tagger, edit), probe.watch(tagger) as recordings:
        assert same(compiled(x), expected.output)
    assert torch.equal(recordings[0]["cell_state"], expected["cell_state"])
    assert tagger.times_called == times + 4
    assert not same(expected.output, bare)
    assert same(compiled(x), bare)
