"""What `probe.record` promises: the module's own run, opened at every step; the drawn networks try its equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reference
import torch
from bodies import Model
from comparing import distance, flat, same, scalar_of
from drawn import packed
from refusing import refused, warned
from torch import Tensor, nn

import probe
from probe import Signal
from probe.recurrent.cells import cell

STATE = torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("way", ["plain", "unbatched", "keywords", "in stretches"])
def test_signals_are_the_oracles(way: str, lstm: nn.LSTM, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gate, pre-activation and state, whatever the call looks like, from the states that were given."""
    state: Any = (STATE[0], STATE[1])
    if way == "in stretches":
        monkeypatch.setattr(cell, "CHUNK", 3 * 4 * 20)  # steps, rows, rows of the matrices
    if way == "keywords":
        recording = probe.record(lstm, kwargs={"input": x, "hx": state}, signals=Signal)
    elif way == "unbatched":
        state, x = (STATE[0, :, :1], STATE[1, :, :1]), x[:1]
        recording = probe.record(lstm, x[0], (STATE[0, :, 0], STATE[1, :, 0]), signals=Signal)
    else:
        recording = probe.record(lstm, x, state, signals=None if way == "plain" else Signal)
    with torch.no_grad():
        expected = reference.run(lstm, x, state).signals
    assert len(recording.parts[0].signals) == (6 if way == "plain" else 10)
    for signal, value in recording.parts[0].signals.items():
        assert distance(value, expected["[0]", str(signal)]) < 1e-6
    assert torch.equal(recording.initial["hidden_state"], state[0][0])
    assert torch.equal(recording.initial["cell_state"], state[1][0])


def test_every_call_of_a_layer_is_kept(pair: nn.Module, x: Tensor) -> None:
    """A layer called twice has two calls, in their order; one that the model passed by is named."""
    recording = probe.record(pair, x)
    assert (recording.layers, recording.calls) == (("low[0]", "high[0]"), {"low[0]": 1, "high[0]": 2})
    assert recording.not_called == ("idle[0]",)
    first, second = recording.call(0), recording.call(1)
    assert second.layers == ("high[0]",)
    assert torch.equal(second["hidden_state"], recording.output)
    last = first["high[0]", "cell_state"][:, -1]
    assert torch.allclose(second.initial[Signal.CELL_STATE], last, atol=1e-6)
    assert not torch.equal(first["high[0]", "cell_state"], second["cell_state"])


def test_layers_signals_and_steps_choose_what_is_kept(lstm: nn.LSTM, pair: nn.Module, x: Tensor) -> None:
    """Those named, steps in their order, all of a run's own; no rows are no error."""
    for named in ("low[0]", ["low[0]"]):
        one = probe.record(pair, x, layer=named)
        assert (one.layers, one.not_called) == (("low[0]",), ())
    for named in ("forget_gate", ["forget_gate"]):
        assert list(probe.record(lstm, x, signals=named).parts[0].signals) == [Signal.FORGET_GATE]
    everything, some = probe.record(lstm, x), probe.record(lstm, x, steps=[4, 1])
    assert some.steps == (4, 1)
    for signal, value in everything.parts[0].signals.items():
        assert torch.equal(some[signal], value[:, [4, 1]])
    assert torch.equal(probe.record(lstm, x, steps=6)["cell_state"], everything["cell_state"][:, 6:])
    assert probe.record(lstm, torch.zeros(0, 7, 3))["cell_state"].shape == (0, 7, 5)


def test_an_option_that_a_recording_cannot_follow_is_refused(tagger: Any, x: Tensor) -> None:
    """Before the model is called, but for steps beyond the input, which are told at the call; no hook stays."""
    wrong: dict[str, list[Any]] = {
        "layer": [["lstn[0]"], "lstn[0]", []],
        "signals": [["forget_gat"], "forget_gat", []],
        "dtype": [torch.int32, torch.bool],
        "device": ["nope", "meta"],
        "tolerance": [-1.0, float("nan")],
        "steps": [[1, 1], [], [7], [-8]],
    }
    for name, values in wrong.items():
        for value in values:
            with refused():
                _ = probe.record(tagger, x, **{name: value})
            assert tagger.times_called == (value == [7]) + 2 * (value == [-8])
            assert not tagger.lstm._forward_hooks


def test_the_recording_asks_for_a_choice_where_it_must(lstm: nn.LSTM, pair: nn.Module, x: Tensor) -> None:
    """Several layers or calls, an unknown layer, signal or call, and what was not kept: each has its own message."""
    two, one = probe.record(pair, x), probe.record(lstm, x)
    with warned():
        none = probe.record(Model(lambda m, x: x, rnn=lstm), x)
    asked: list[Callable[[], Any]] = [
        lambda: two["cell_state"],
        lambda: two["high[0]", "cell_state"],
        lambda: two["lwo[0]", "cell_state"],
        lambda: two["low[0]", "cel_state"],
        lambda: two.call(2),
        lambda: two.initial["cell_state"],
        lambda: "cell_state" in two.initial,
        lambda: one["forget_gate_preactivation"],
        lambda: one.initial["input_gate"],
        lambda: one.initial["[0]", "input_gate"],
        none.to_frame,
        none.to_xarray,
        lambda: none["cell_state"],
    ]
    for ask in asked:
        with refused():
            _ = ask()


def forwarded(m: Any, x: Tensor) -> Tensor:
    """Run the layer by its `forward`, where torch calls no hook."""
    return m.rnn.forward(x)[0]


def test_a_recording_of_no_calls_is_told_where_it_is_made(lstm: nn.LSTM, pair: nn.Module, x: Tensor) -> None:
    """A layer run by .forward() is seen by nobody; one of several layers that is passed by says nothing."""
    model = Model(forwarded, rnn=lstm)
    with warned() as told:
        assert probe.record(model, x).not_called == ("rnn[0]",)
    assert [one.filename for one in told] == [__file__]
    with warned() as told, probe.watch(model) as seen:
        model(x)
        model(x)
    assert ([one.filename for one in told], len(seen)) == ([__file__], 2)
    assert probe.record(pair, x).not_called == ("idle[0]",)


def test_max_error_is_the_largest_of_all_layers(pair: nn.Module, x: Tensor) -> None:
    """It is measured, the tolerance decides by it, and a good layer does not hide a bad one."""
    alone = [probe.record(pair, x, layer=[name]).max_error or 0.0 for name in ("low[0]", "high[0]")]
    assert 0 < min(alone) < max(alone) < 1e-6
    assert probe.record(pair, x).max_error == max(alone)
    with refused():
        _ = probe.record(pair, x, tolerance=1e-12)
    assert (probe.record(pair.double(), x.double()).max_error or 0.0) < 1e-14


def scaled(output: Any) -> Any:
    """Change what a layer returned, from step 3 on where it returns several."""
    if isinstance(output, Tensor):
        return output * 1.01
    h, state = output
    return torch.cat([h[:3], 1.5 * h[3:]]) if h.dim() == 3 else 1.01 * h, state


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_replaced_forward_makes_max_error_raise(kind: Any, x: Tensor) -> None:
    """Values of a module that does not compute its weights are refused, in a recording and while it is watched."""
    module: nn.Module = kind(3, 5)
    x = x[:, 0] if isinstance(module, nn.RNNCellBase) else x.transpose(0, 1)
    assert (probe.record(module, x).max_error or 0) < 1e-6
    original = module.forward
    module.forward = lambda *inputs: scaled(original(*inputs))
    with refused():
        _ = probe.record(module, x)
    with probe.watch(module) as recordings, refused():
        _ = module(x)
    assert recordings == []
    assert (probe.record(module, x, tolerance=10.0).max_error or 0) > 1e-3


@pytest.mark.parametrize("kind", ["a last cell state", "a small error in float64", "nan"])
def test_a_false_state_a_small_error_and_a_nan_are_refused(kind: str, lstm: nn.LSTM, x: Tensor) -> None:
    """Hidden states vouch for no c_n; 1e-8 is rounding in float32 alone; NaN compares false with everything."""
    module: Any = lstm.double()
    original = module.forward

    def forward(*inputs: Any) -> Any:
        h, (h_n, c_n) = original(*inputs)
        return h + 1e-8 * (kind == "a small error in float64"), (h_n, c_n + 0.01 * (kind == "a last cell state"))

    module.forward = forward
    x = x.double()
    x[1, 2] = torch.nan if kind == "nan" else x[1, 2]
    with refused():
        _ = probe.record(lstm, x)


def test_what_is_no_input_of_a_layer_is_named() -> None:
    """A module that hands its layer something else is refused before torch's own words; one without a layer too."""

    class Odd(nn.LSTM):
        def forward(self, input: list[Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(input[0])[0]

    for model, x in ((Odd(3, 5), [torch.zeros(4, 7, 3)]), (nn.Linear(3, 5), torch.zeros(4, 3))):
        with refused():
            _ = probe.record(model, x)


def test_the_recording_is_a_value(lstm: nn.LSTM, x: Tensor) -> None:
    """Changing the output, the inputs or the weights afterwards does not reach into it."""
    recording = probe.record(lstm, x, (STATE[0].clone(), STATE[1].clone()), signals=Signal)
    (part,) = recording.parts
    before = [value.clone() for value in (*part.signals.values(), *part.initial.values())]
    with torch.no_grad():
        for tensor in (x, *lstm.parameters(), recording.output[0], *recording.output[1]):
            _ = tensor.add_(1)
    assert all(map(torch.equal, (*part.signals.values(), *part.initial.values()), before))
    with pytest.raises(AttributeError):
        recording.max_error = 0.0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.LSTM])
def test_a_recording_is_not_changed_by_whoever_gets_the_output(kind: Any, check: bool) -> None:
    """The model's own code changes what a layer returned in place; its signals stay."""

    def body(m: Any, x: Tensor) -> Any:
        output = m.rnn(x)
        _ = [part.mul_(0.5) for part in flat(output)]
        return output

    model = Model(body, rnn=kind(3, 5))
    x = torch.randn(4, 3) if isinstance(model.rnn, nn.RNNCellBase) else torch.randn(2, 4, 3)
    found = probe.record(model, x, check=check)
    for signal, value in probe.record(model.get_submodule("rnn"), x).parts[0].signals.items():
        torch.testing.assert_close(found[signal], value)


# Gradients; their numbers are drawn beside the oracle's.

weighed = scalar_of(4)


def test_a_gradient_inside_a_context_is_that_of_the_edited_run(lstm: nn.LSTM, x: Tensor) -> None:
    """Edits of a context around it and its own give the same derivative."""
    edit = probe.clamp("forget_gate", 0.5, steps=3)
    bare, inside = (probe.record(lstm, x, edits=edits, gradient_of=weighed).gradient for edits in ([], [edit]))
    with probe.intervene(lstm, edit), torch.no_grad():
        around = probe.record(lstm, x, gradient_of=weighed).gradient
    assert all(torch.equal(around[signal], inside[signal]) for signal in ("cell_state", "forget_gate"))
    assert distance(inside["cell_state"], bare["cell_state"]) > 1e-3


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


def test_what_is_no_scalar_of_the_output_is_refused(tagger: Any, x: Tensor) -> None:
    """Several numbers, a number off the graph and a Python number; and none, where a gradient is asked for."""
    wrong: list[Any] = [lambda scores: scores, lambda scores: scores.detach().sum(), lambda scores: 1.0, None]
    for function in wrong:
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
