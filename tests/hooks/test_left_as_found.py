"""Whatever is done to a model, it is left as it was found: mode, weights, hooks, random state, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from bodies import Model, loop
from comparing import same
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe

TIME, BATCH = 5, 3


def decoded(m: Any, x: Tensor) -> Tensor:
    """Run a stack with dropout between its layers and around it, and a decoder that is a cell in a loop."""
    h = loop(m, m.drop(m.encoder(m.drop(x))[0]))
    if m.fail:
        raise m.fail
    return h


@pytest.fixture
def model() -> Any:
    """Return the model, half of it in training mode, a part of it frozen, with other people's hooks."""
    encoder = nn.LSTM(2, 4, 3, batch_first=True, dropout=0.4, bidirectional=True)
    model: Any = Model(decoded, encoder=encoder, drop=nn.Dropout(0.3).eval(), cell=nn.GRUCell(8, 4), fail=None)
    model.get_parameter("cell.weight_hh").requires_grad_(False)
    model.encoder.register_forward_hook(lambda *_: None)
    model.cell.register_forward_pre_hook(lambda *_: None)
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, 2)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Check that a block leaves all of the model and of the process as it was, however it ends."""

    def state() -> dict[str, Any]:
        found: dict[str, Any] = {"threads": torch.get_num_threads(), "grad": torch.is_grad_enabled()}
        found["numpy"] = np.random.get_state()[1].tolist()  # pyright: ignore[reportArgumentType, reportCallIssue]
        for path, module in model.named_modules():
            kept = {name: list(value.items()) for name, value in vars(module).items() if "_hooks" in name}
            found[path] = module.training, kept, sorted(vars(module))
        for name, parameter in model.named_parameters():
            found[f"{name}:"] = id(parameter), parameter.requires_grad, parameter.grad is None
        found["weights"] = {name: value.clone().tolist() for name, value in model.state_dict().items()}
        return found

    before = state()
    try:
        yield
    finally:
        assert state() == before


EDITS = [
    probe.clamp("forget_gate", 0.5, layer="encoder[0].reverse", steps=[1, -1]),
    probe.steer("cell_state", [1.0] * 4, layer="encoder[1]", steps=2),
    probe.ablate("update_gate", layer="cell", steps=3),
]


def watched(model: Any, x: Tensor) -> Tensor:
    """Return the output of a watched call."""
    with torch.no_grad(), probe.watch(model):
        return model(x)


def nested(model: Any, x: Tensor) -> Tensor:
    """Return the output of a recording inside two contexts inside a watch."""
    first, *rest = EDITS
    with torch.no_grad(), probe.watch(model), probe.intervene(model, first), probe.intervene(model.encoder, *[]):
        return probe.record(model, x, edits=rest).output


WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "recorded": lambda model, x: probe.record(model, x).output,
    "edited": lambda model, x: probe.record(model, x, edits=EDITS).output,
    "differentiated": lambda model, x: probe.record(model, x, gradient_of=lambda output: output.sum()).output,
    "watched": watched,
    "nested": nested,
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_everything_is_left_as_found(way: str, training: bool, model: Any, x: Tensor) -> None:
    """Model and process are as before, and torch's generator is where the bare call would have left it."""
    model.encoder.train(training)
    start = torch.get_rng_state()
    with torch.no_grad():
        bare, after = model(x), torch.get_rng_state()
    _ = torch.set_rng_state(start)
    with unchanged(model):
        output = WAYS[way](model, x)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(after, start) is not training
    if way in ("recorded", "watched"):
        assert torch.equal(output, bare)
    else:
        assert torch.allclose(output, bare, atol=1e-6) == (way == "differentiated")


@pytest.mark.parametrize("way", WAYS)
def test_an_error_leaves_everything_too(way: str, model: Any, x: Tensor) -> None:
    """An error of the model, of torch or of the library passes through, and the next call works as ever."""
    model.eval()
    run = WAYS[way]
    alone = run(model, x)
    with unchanged(model), pytest.raises(RuntimeError, match=r"must be equal to input_size|Expected 2"):
        _ = run(model, x[:, :, :1])
    for kind in (RuntimeError, KeyboardInterrupt, StopIteration):
        model.fail = kind("the model's own")
        with unchanged(model), pytest.raises(kind, match="the model's own") as caught:
            _ = run(model, x)
        assert caught.value is model.fail
    model.fail = None
    if way in ("edited", "nested"):
        with unchanged(model), refused():
            _ = run(model, x[:, :2])
    assert torch.equal(run(model, x), alone)


def test_a_compiled_caller_is_recorded_and_edited(tagger: Any) -> None:
    """A compiled graph calls no hooks, so the model is run as it was written, and compiled again afterwards."""
    compiled: Any = torch.compile(tagger, backend="eager")
    x = torch.randn(4, 7, 3)
    edit = probe.clamp("forget_gate", 0.0, steps=3)
    with torch.no_grad():
        bare = compiled(x)
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


@pytest.mark.parametrize("form", ["time first", "batch first", "packed"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_masks_that_the_run_drew_are_the_ones_that_are_recorded(kind: Any, form: str) -> None:
    """In training mode each layer reads what dropout left of the one below; an edited run has the same masks."""
    module = kind(2, 4, 3, dropout=0.5, batch_first=form == "batch first", bidirectional=True).double()
    x: Any = torch.randn((BATCH, TIME, 2) if form == "batch first" else (TIME, BATCH, 2), dtype=torch.float64)
    steps = None
    if form == "packed":
        x, steps = pack_padded_sequence(x, torch.tensor([2, 5, 4]), enforce_sorted=False), [0, -1]
    start = torch.get_rng_state()
    recording = probe.record(module, x, signals=probe.Signal)
    assert recording.max_error is not None
    assert recording.max_error < 1e-14
    after = torch.get_rng_state()
    assert not torch.equal(after, start)
    own = probe.patch("hidden_state", recording, layer="[0]", steps=steps)
    _ = torch.set_rng_state(start)
    assert same(probe.record(module, x, edits=[own]).output, recording.output)
    assert torch.equal(torch.get_rng_state(), after)
    _ = torch.set_rng_state(start)
    moved = probe.ablate("hidden_state", layer="[0]", steps=1)
    assert not same(probe.record(module, x, edits=[moved]).output, recording.output)
    assert not same(probe.record(module, x).output, recording.output)  # other masks: they are drawn anew in each run
    assert not same(module.eval()(x), recording.output)


def test_dropout_of_everything_is_recorded() -> None:
    """At dropout=1 torch draws nothing, and nothing reaches the layer above."""
    module = nn.LSTM(2, 4, 2, dropout=1.0)
    x, start = torch.randn(TIME, BATCH, 2), torch.get_rng_state()
    recording = probe.record(module, x)
    assert torch.equal(torch.get_rng_state(), start)
    bias = module.get_parameter("bias_ih_l1") + module.get_parameter("bias_hh_l1")
    expected = torch.sigmoid(bias[:4]).detach()
    assert torch.allclose(recording["[1]", "input_gate"][:, 0], expected.expand(BATCH, 4), atol=1e-6)


def test_the_masks_of_a_run_do_not_touch_the_generator_of_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """While masks are drawn again the process's generator is not set back: another thread draws on undisturbed."""
    states: list[Tensor] = []
    monkeypatch.setattr(torch, "set_rng_state", states.append)
    edit = probe.clamp("forget_gate", 0.5, layer="[0]")
    _ = probe.record(nn.LSTM(2, 4, 2, dropout=0.5), torch.randn(TIME, BATCH, 2), edits=[edit])
    assert states == []
