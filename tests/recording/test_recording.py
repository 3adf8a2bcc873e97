"""What `probe.record` promises: the module's own run, opened at every step, and nothing else changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from comparing import flat
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal
from probe.recurrent.cells import cell

SIGMOID = {"input_gate", "forget_gate", "output_gate"}
#: torch's documentation of nn.LSTM: rows of weight_ih_l0 are W_ii, W_if, W_ig, W_io.
ORDER = ("input_gate", "forget_gate", "cell_candidate", "output_gate")


def textbook(module: nn.LSTM, x: Tensor, h: Tensor, c: Tensor, order: tuple[str, ...] = ORDER) -> dict[str, Tensor]:
    """Run the LSTM equations in numpy's float64, step by step, independently of the library.

    The arguments are x (batch, time, input) and states (batch, unit); the result is (batch, time, unit).
    """
    values = {name: parameter.detach().double().numpy() for name, parameter in module.named_parameters()}
    units = module.hidden_size
    rows = {name: slice(units * k, units * (k + 1)) for k, name in enumerate(order)}
    bias = values.get("bias_ih_l0", 0.0) + values.get("bias_hh_l0", np.zeros(4 * units))
    h_t, c_t = h.double().numpy(), c.double().numpy()
    steps: dict[str, list[Any]] = {}
    for t in range(x.shape[1]):
        a = x[:, t].double().numpy() @ values["weight_ih_l0"].T + h_t @ values["weight_hh_l0"].T + bias
        now = {f"{name}_preactivation": a[:, rows[name]] for name in order}
        for name in order:
            z = a[:, rows[name]]
            now[name] = 1 / (1 + np.exp(-z)) if name in SIGMOID else np.tanh(z)
        c_t = now["forget_gate"] * c_t + now["input_gate"] * now["cell_candidate"]
        h_t = now["output_gate"] * np.tanh(c_t)
        now |= {"cell_state": c_t, "hidden_state": h_t}
        for name, value in now.items():
            steps.setdefault(name, []).append(value)
    return {name: torch.from_numpy(np.stack(value, axis=1)) for name, value in steps.items()}


def largest_difference(recording: probe.Recording, expected: dict[str, Tensor]) -> float:
    """Return the largest difference over all signals, relative to max(1, |value|)."""
    differences = [
        ((recording[name].double() - value).abs() / value.abs().clamp(min=1)).max().item()
        for name, value in expected.items()
    ]
    return max(differences)


def zeros(batch: int, units: int) -> Tensor:
    """Return an initial state of zeros."""
    return torch.zeros(batch, units)


def test_recorded_signals_satisfy_the_lstm_equations(lstm: nn.LSTM, x: Tensor) -> None:
    """Every gate, pre-activation and state agrees with equations written out in numpy."""
    recording = probe.record(lstm, x, signals=Signal)
    expected = textbook(lstm, x, zeros(4, 5), zeros(4, 5))
    assert set(expected) == {str(signal) for signal in recording.parts[0].signals}
    assert largest_difference(recording, expected) < 1e-6


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_exchanged_gates_would_be_noticed(lstm: nn.LSTM, x: Tensor, first: int, second: int) -> None:
    """The control arm: equations with two gates exchanged disagree, so agreement above means something."""
    order = list(ORDER)
    order[first], order[second] = order[second], order[first]
    expected = textbook(lstm, x, zeros(4, 5), zeros(4, 5), tuple(order))
    difference = largest_difference(probe.record(lstm, x, signals=Signal), expected)
    assert (difference < 1e-6) == (first == second)


def test_given_initial_states_enter_the_equations(lstm: nn.LSTM, x: Tensor) -> None:
    """The first step starts from the states that the caller gave, and the recording keeps them."""
    h, c = torch.randn(4, 5), torch.randn(4, 5)
    recording = probe.record(lstm, x, (h[None], c[None]), signals=Signal)
    assert largest_difference(recording, textbook(lstm, x, h, c)) < 1e-6
    assert torch.equal(recording.initial[Signal.HIDDEN_STATE], h)
    assert torch.equal(recording.initial[Signal.CELL_STATE], c)
    assert largest_difference(recording, textbook(lstm, x, zeros(4, 5), zeros(4, 5))) > 1e-3


def test_a_layer_without_bias_is_recorded(x: Tensor) -> None:
    """`bias=False` leaves the equations without b."""
    module = nn.LSTM(3, 5, batch_first=True, bias=False)
    recording = probe.record(module, x, signals=Signal)
    assert largest_difference(recording, textbook(module, x, zeros(4, 5), zeros(4, 5))) < 1e-6


def test_arrays_are_batch_time_unit_whatever_batch_first_says(lstm: nn.LSTM, x: Tensor) -> None:
    """The same weights and data give the same recording with the axes of the input exchanged."""
    time_first = nn.LSTM(3, 5)
    _ = time_first.load_state_dict(lstm.state_dict())
    one, two = probe.record(lstm, x), probe.record(time_first, x.transpose(0, 1))
    for signal in ("forget_gate", "cell_state", "hidden_state"):
        assert one[signal].shape == (4, 7, 5)
        assert torch.allclose(one[signal], two[signal], atol=1e-6)


def test_an_unbatched_input_is_a_batch_of_one(lstm: nn.LSTM, x: Tensor) -> None:
    """An input (time, input), with states (1, unit), is recorded as one row."""
    state = (torch.randn(1, 5), torch.randn(1, 5))
    recording = probe.record(lstm, x[0], state, signals=Signal)
    assert recording["cell_state"].shape == (1, 7, 5)
    assert largest_difference(recording, textbook(lstm, x[:1], *state)) < 1e-6
    with torch.no_grad():
        assert torch.equal(recording.output[0], lstm(x[0], state)[0])


def test_inputs_by_keyword_are_recorded(lstm: nn.LSTM, x: Tensor) -> None:
    """`kwargs=` goes to the model, and a layer called with keywords is read like any other."""
    state = (torch.randn(1, 4, 5), torch.randn(1, 4, 5))
    by_keyword = probe.record(lstm, kwargs={"input": x, "hx": state})
    assert torch.equal(by_keyword["cell_state"], probe.record(lstm, x, state)["cell_state"])


def test_the_output_is_the_bare_calls_bit_for_bit(lstm: nn.LSTM, x: Tensor) -> None:
    """Output and both last states are the very numbers of a bare call under no_grad.

    Under autograd torch's float32 kernel on the CPU adds in another order, with or without this library.
    """
    with torch.no_grad():
        h, (h_last, c_last) = lstm(x)
    output, (h_n, c_n) = probe.record(lstm, x).output
    assert torch.equal(output, h)
    assert torch.equal(h_n, h_last)
    assert torch.equal(c_n, c_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_hidden_states_are_the_modules_own(lstm: nn.LSTM, x: Tensor, dtype: torch.dtype) -> None:
    """Hidden states are not recomputed: they are the kernel's, bit for bit, in every dtype."""
    lstm.to(dtype)
    recording = probe.record(lstm, x.to(dtype))
    assert torch.equal(recording["hidden_state"], recording.output[0])
    assert recording["cell_state"].dtype == dtype


def test_a_chaotic_network_is_followed_and_not_predicted() -> None:
    """On weights where a free-running copy ends elsewhere, recorded states stay with the module's."""
    module = nn.LSTM(2, 40, batch_first=True)
    for parameter in module.parameters():
        _ = nn.init.normal_(parameter, std=3.0)
    x = torch.randn(2, 400, 2)
    recording = probe.record(module, x, signals=Signal)
    free = textbook(module, x, zeros(2, 40), zeros(2, 40))["hidden_state"]
    assert (free - recording["hidden_state"]).abs().max() > 0.1
    assert recording.max_error is not None
    assert recording.max_error < 1e-5


def test_every_step_is_kept_and_not_the_last_one_only(tagger: nn.Module, x: Tensor) -> None:
    """Baukit's Trace keeps the last step of a cell that is called in a loop; here all of them are there."""
    recording = probe.record(tagger, x)
    assert recording["hidden_state"].shape[1] == x.shape[1]
    assert len({tuple(step.tolist()) for step in recording["hidden_state"][0]}) == x.shape[1]


def test_every_call_of_a_layer_is_kept(pair: nn.Module, x: Tensor) -> None:
    """A layer called twice has two calls, numbered in their order; the second starts from the first's end."""
    recording = probe.record(pair, x, layers=["low[0]", "high[0]"])
    assert recording.layers == ("low[0]", "high[0]")
    assert recording.calls == {"low[0]": 1, "high[0]": 2}
    first, second = recording.call(0), recording.call(1)
    assert second.layers == ("high[0]",)
    assert torch.equal(second["hidden_state"], recording.output)
    last = first["high[0]", "cell_state"][:, -1]
    assert torch.allclose(second.initial[Signal.CELL_STATE], last, atol=1e-6)
    assert not torch.equal(first["high[0]", "cell_state"], second["cell_state"])


def test_the_recording_asks_for_a_choice_where_it_must(pair: nn.Module, x: Tensor) -> None:
    """Several layers, several calls, an unknown layer, signal or call: each has its own message."""
    recording = probe.record(pair, x)
    with refused():
        _ = recording["cell_state"]
    with refused():
        _ = recording["high[0]", "cell_state"]
    with refused():
        _ = recording["lwo[0]", "cell_state"]
    with refused():
        _ = recording["low[0]", "cel_state"]
    with refused():
        _ = recording.call(2)


def test_layers_that_were_not_called_are_named(pair: nn.Module, x: Tensor) -> None:
    """A layer that the model passed by is listed, so that nobody takes silence for zeros."""
    assert probe.record(pair, x).not_called == ("idle[0]",)
    assert probe.record(pair, x, layers=["low[0]"]).not_called == ()


def test_layers_chooses_what_is_recorded(pair: nn.Module, x: Tensor) -> None:
    """`layers=` keeps the named layers only."""
    assert probe.record(pair, x, layers=["high[0]"]).layers == ("high[0]",)


def test_signals_chooses_what_is_kept(lstm: nn.LSTM, x: Tensor) -> None:
    """`signals=` keeps the named signals; the default leaves out the pre-activations."""
    (part,) = probe.record(lstm, x, signals=["forget_gate"]).parts
    assert list(part.signals) == [Signal.FORGET_GATE]
    (part,) = probe.record(lstm, x).parts
    assert set(part.signals) == set(ORDER) | {"cell_state", "hidden_state"}


def test_steps_chooses_what_is_kept(lstm: nn.LSTM, x: Tensor) -> None:
    """`steps=` keeps those steps, in that order."""
    everything, some = probe.record(lstm, x), probe.record(lstm, x, steps=[4, 1])
    assert some.steps == (4, 1)
    for signal in ("input_gate", "cell_state", "hidden_state"):
        assert torch.equal(some[signal], everything[signal][:, [4, 1]])
    assert torch.equal(probe.record(lstm, x, steps=6)["cell_state"], everything["cell_state"][:, 6:])


def test_max_error_is_a_measurement(lstm: nn.LSTM, x: Tensor) -> None:
    """It is small in float32, smaller in float64, and the tolerance decides by it."""
    single = probe.record(lstm, x).max_error
    double = probe.record(lstm.double(), x.double()).max_error
    assert single is not None
    assert double is not None
    assert 0 < single < 1e-6
    assert double < 1e-14
    with refused():
        _ = probe.record(lstm.float(), x, tolerance=1e-12)


def test_max_error_is_the_largest_of_all_layers(pair: nn.Module, x: Tensor) -> None:
    """A good layer does not hide a bad one, whichever is called first."""
    alone = [probe.record(pair, x, layers=[name]).max_error for name in ("low[0]", "high[0]")]
    assert alone[0] != alone[1]
    assert probe.record(pair, x).max_error == max(error for error in alone if error is not None)


def test_the_recording_is_a_value(lstm: nn.LSTM, x: Tensor) -> None:
    """Changing the output, the inputs or the weights afterwards does not reach into it."""
    h, c = torch.randn(1, 4, 5), torch.randn(1, 4, 5)
    recording = probe.record(lstm, x, (h, c), signals=Signal)
    before = {signal: value.clone() for signal, value in recording.parts[0].signals.items()}
    initial = {signal: value.clone() for signal, value in recording.initial.items()}
    with torch.no_grad():
        for tensor in (x, h, c, *lstm.parameters(), recording.output[0], *recording.output[1]):
            _ = tensor.add_(1)
    assert all(torch.equal(recording[signal], value) for signal, value in before.items())
    assert all(torch.equal(recording.initial[signal], value) for signal, value in initial.items())
    with pytest.raises(AttributeError):
        recording.max_error = 0.0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_found(tagger: Any, x: Tensor, training: bool) -> None:
    """Mode, gradients, weights, other people's hooks, random state and thread counts stay."""
    tagger.train(training)
    tagger.lstm.weight_ih_l0.requires_grad_(False)
    seen: list[int] = []
    foreign = tagger.lstm.register_forward_hook(lambda *_: seen.append(1))
    weights = {name: value.clone() for name, value in tagger.state_dict().items()}
    wanted = {name: p.requires_grad for name, p in tagger.named_parameters()}
    random, threads, hooks = torch.get_rng_state(), torch.get_num_threads(), dict(tagger.lstm._forward_hooks)
    recording = probe.record(tagger, x)
    assert seen == [1]
    assert tagger.training is training
    assert {name: p.requires_grad for name, p in tagger.named_parameters()} == wanted
    assert all(p.grad is None for p in tagger.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in tagger.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert dict(tagger.lstm._forward_hooks) == hooks
    assert not recording.output.requires_grad
    assert torch.is_grad_enabled()
    foreign.remove()


def test_dropout_draws_what_the_bare_call_draws(x: Tensor) -> None:
    """The random state after recording is what the bare call would have left."""

    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 5, batch_first=True)
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.lstm(self.drop(x))[0])

    model = Dropping()
    _ = torch.manual_seed(3)
    with torch.no_grad():
        bare, after = model(x), torch.get_rng_state()
    _ = torch.manual_seed(3)
    assert torch.equal(probe.record(model, x).output, bare)
    assert torch.equal(torch.get_rng_state(), after)


def test_two_threads_record_two_models(make_tagger: Callable[[], nn.Module], x: Tensor) -> None:
    """Recordings made at the same time in one process do not mix."""
    models = [make_tagger() for _ in range(2)]
    alone = [probe.record(model, x)["cell_state"] for model in models]
    results: list[list[Tensor]] = [[], []]

    def work(number: int) -> None:
        for _ in range(20):
            results[number].append(probe.record(models[number], x)["cell_state"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        assert len(results[number]) == 20
        assert all(torch.equal(result, alone[number]) for result in results[number])


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
def test_wrapped_models_keep_their_names(tagger: nn.Module, x: Tensor) -> None:
    """What torch.compile and DataParallel put around a model is not part of its layers' names, in any order."""
    for wrapped in (
        nn.DataParallel(tagger),
        torch.compile(tagger),
        torch.compile(nn.DataParallel(tagger)),
        nn.DataParallel(cast("nn.Module", torch.compile(tagger))),
    ):
        assert isinstance(wrapped, nn.Module)
        assert [layer.name for layer in probe.inspect(wrapped).layers] == ["lstm[0]"]
    assert [layer.name for layer in probe.inspect(nn.DataParallel(nn.LSTM(3, 5))).layers] == ["[0]"]
    assert probe.record(tagger, x).layers == ("lstm[0]",)


@pytest.mark.parametrize("signals", [None, Signal])
def test_a_long_run_is_opened_in_stretches(
    lstm: nn.LSTM, x: Tensor, signals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps at a time, each stretch starts where the one before it ended."""
    state = (torch.randn(1, 4, 5), torch.randn(1, 4, 5))
    whole = probe.record(lstm, x, state, signals=signals)
    monkeypatch.setattr(cell, "CHUNK", 3 * 4 * 20)  # steps, rows, rows of the matrices
    opened = probe.record(lstm, x, state, signals=signals)
    for signal, value in whole.parts[0].signals.items():
        assert torch.allclose(opened[signal], value, atol=1e-7)


@pytest.mark.parametrize("signals", [None, Signal])
def test_an_unchecked_recording_starts_from_the_given_states(lstm: nn.LSTM, x: Tensor, signals: Any) -> None:
    """With check=False too, values follow from the states that the caller gave."""
    h, c = torch.randn(4, 5), torch.randn(4, 5)
    recording = probe.record(lstm, x, (h[None], c[None]), signals=signals, check=False)
    expected = {name: v for name, v in textbook(lstm, x, h, c).items() if name in recording.parts[0].signals}
    assert len(expected) == (10 if signals is Signal else 6)
    assert largest_difference(recording, expected) < 1e-6


def test_an_empty_batch_is_recorded(lstm: nn.LSTM) -> None:
    """No rows are no error."""
    assert probe.record(lstm, torch.zeros(0, 7, 3))["cell_state"].shape == (0, 7, 5)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.LSTM])
def test_an_unchecked_recording_is_not_changed_by_whoever_gets_the_output(kind: Any) -> None:
    """The model's own code changes what a layer returned in place; its signals stay."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(3, 5)

        def forward(self, x: Tensor) -> Any:
            output = self.rnn(x)
            for part in flat(output):
                part.mul_(0.5)
            return output

    model, x = Model(), torch.randn(4, 3)
    x = x if isinstance(model.rnn, nn.RNNCellBase) else x[:, None].repeat(2, 1, 1)
    expected = probe.record(model.rnn, x)
    found = probe.record(model, x, check=False)
    for signal, value in expected.parts[0].signals.items():
        torch.testing.assert_close(found[signal], value)
