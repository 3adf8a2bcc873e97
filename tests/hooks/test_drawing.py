"""A model that draws random numbers in train mode: it is recorded with a warning, and neither edited nor probed."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from bodies import Model, loop
from refusing import refused, warned
from torch import Tensor, nn

import probe

INPUTS, UNITS, BATCH, TIME = 3, 4, 5, 6
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def before(m: Any, x: Tensor) -> Tensor:
    """Drop out of what the layer reads."""
    return m.rnn(m.drop(x))[0]


def behind(m: Any, x: Tensor) -> Tensor:
    """Drop out of what the layer returns."""
    return m.drop(m.rnn(x)[0])


def looped(m: Any, x: Tensor) -> Tensor:
    """Drop out of what a cell in a loop reads."""
    return loop(m, m.drop(x))


def stepwise(m: Any, x: Tensor) -> Tensor:
    """Drop out of what a cell reads, anew at each step."""
    h, states = x.new_zeros(len(x), UNITS), []
    for step in x.unbind(1):
        h = m.cell(nn.functional.dropout(step, 0.2, training=m.training), h)
        states.append(h)
    return torch.stack(states, 1)


def noisy(m: Any, x: Tensor) -> Tensor:
    """Add noise to the inputs in train mode."""
    return m.rnn(x + 0.1 * torch.randn_like(x) if m.training else x)[0]


def functional(m: Any, x: Tensor) -> Tensor:
    """Drop out without a module for it."""
    return nn.functional.dropout(m.rnn(x)[0], 0.2, training=m.training)


def layers(**options: Any) -> list[nn.Module]:
    """Return a layer of each kind of torch."""
    return [kind(INPUTS, UNITS, batch_first=True, **options) for kind in CELLS.values()]


def models() -> list[Any]:
    """Return 20 models that drop out, or draw otherwise, in train mode."""
    drops = [nn.Dropout(0.1), nn.Dropout1d(0.3), nn.AlphaDropout(0.2)]
    found = [Model(before, rnn=rnn, drop=nn.Dropout(0.1)) for rnn in layers()]
    found += [Model(behind, rnn=rnn, drop=nn.Dropout(0.5)) for rnn in layers()]
    found += [Model(lambda m, x: m.rnn(x)[0], rnn=rnn) for rnn in layers(num_layers=2, dropout=0.3)]
    found += [Model(behind, rnn=nn.GRU(INPUTS, UNITS, batch_first=True), drop=one) for one in drops]
    found += [Model(looped, cell=nn.GRUCell(INPUTS, UNITS), drop=nn.Dropout(0.1))]
    found += [Model(body, rnn=rnn) for body in (noisy, functional) for rnn in layers()[:2]]
    found += [Model(stepwise, cell=nn.RNNCell(INPUTS, UNITS))]
    found += [Model(before, rnn=nn.LSTM(INPUTS, UNITS, bidirectional=True, batch_first=True), drop=nn.Dropout(0.1))]
    return [*found, nn.Sequential(nn.Dropout(0.2), nn.LSTM(INPUTS, UNITS, batch_first=True))]


def zero(model: Any) -> probe.Edit:
    """Return an edit that adds nothing to the hidden state of the model's first layer."""
    return probe.steer("hidden_state", [0.0] * UNITS, layer=probe.inspect(model).layers[0].name)


def first(output: Any) -> Tensor:
    """Return the hidden states among what a model returns."""
    return output[0] if isinstance(output, tuple) else output


def test_an_edit_of_what_draws_is_refused() -> None:
    """By `record` in one sentence for 20 models in train mode; in evaluation mode a zero edit changes nothing."""
    _ = torch.manual_seed(0)
    x, every = torch.randn(BATCH, TIME, INPUTS), models()
    assert len(every) == 20
    for model in every:
        assert model.training
        with refused():
            _ = probe.record(model, x, edits=[zero(model)])
        _ = model.eval()
        with torch.no_grad():
            assert torch.equal(first(probe.record(model, x, edits=[zero(model)]).output), first(model(x)))


def test_an_edit_in_a_context_warns_of_what_draws() -> None:
    """Once for the context: one may train in it; without edits, and in evaluation mode, it says nothing."""
    _ = torch.manual_seed(0)
    x = torch.randn(BATCH, TIME, INPUTS)
    for model in models():
        with warned() as told, probe.intervene(model, zero(model)):
            _ = model(x), model(x)
        assert (len(told), told[0].filename) == (1, __file__)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("error")
            with probe.intervene(model):
                _ = model(x)
            with probe.intervene(model.eval(), zero(model)):
                assert torch.equal(first(model(x)), first(model(x)))


def test_a_recording_of_a_model_that_draws_says_so_and_is_not_probed() -> None:
    """One warning for each recording, and for each watched context; a probe refuses it, also from a file."""
    _ = torch.manual_seed(0)
    x = torch.randn(40, TIME, INPUTS)
    for model in models():
        with pytest.warns(
            UserWarning, match=r"draws random numbers in its forward pass. Call model.eval\(\) first"
        ) as told:
            recording = probe.record(model, x)
        assert (len(told), told[0].filename, recording.drawn) == (1, __file__, True)
        with warned() as told, probe.watch(model) as watched:
            _ = model(x), model(x)
        assert (len(told), told[0].filename, [one.drawn for one in watched]) == (1, __file__, [True, True])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not probe.record(model.eval(), x).drawn


def test_what_was_drawn_is_neither_probed_nor_compared(tmp_path: Any) -> None:
    """By linear probes, single units and random weights; a file says it as well."""
    _ = torch.manual_seed(0)
    x, model = torch.randn(40, TIME, INPUTS), models()[0]
    concept = x[:, :, 0].cumsum(1)
    whole = probe.record(model.eval(), x)
    with warned():
        drawn = probe.record(model.train(), x)
    drawn.save(tmp_path / "run.safetensors")
    for given, controls in (
        (drawn, {}),
        (probe.load_recording(tmp_path / "run.safetensors"), {}),
        (whole, {"a": drawn}),
    ):
        for read in (probe.linear_probe, probe.single_units):
            with refused():
                _ = read(given, concept, controls=controls)
    with warned(), refused():
        _ = probe.random_weights(model, x)


def test_what_draws_nothing_in_train_mode_is_recorded_in_silence() -> None:
    """A dropout of 0 or of a part in evaluation mode, and a policy in evaluation mode that samples."""
    x = torch.randn(BATCH, TIME, INPUTS)
    sampling = Model(lambda m, x: m.rnn(x)[0].softmax(-1).mean(1).multinomial(1), rnn=layers()[0]).eval()
    quiet = [Model(before, rnn=layers()[0], drop=one) for one in (nn.Dropout(0.0), nn.Dropout(0.5).eval())]
    for model in (sampling, *quiet, *layers(dropout=0.0)):
        assert not probe.record(model, x).drawn
        _ = probe.record(model, x, edits=[zero(model)])
