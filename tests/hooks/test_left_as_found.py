"""Whatever is done to a model, it is left as it was found: mode, weights, hooks, random state, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from comparing import same
from refusing import refused
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe

TIME, BATCH = 5, 3


class Model(nn.Module):
    """A stack with dropout between its layers, dropout around it, and a decoder that is a cell in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(2, 4, 3, batch_first=True, dropout=0.4, bidirectional=True)
        self.drop = nn.Dropout(0.3)
        self.decoder = nn.GRUCell(8, 4)
        self.fail = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the decoder's states, (batch, time, unit)."""
        h, outputs = None, []
        for step in self.drop(self.encoder(self.drop(x))[0]).unbind(1):
            h = self.decoder(step, h)
            outputs.append(h)
        if self.fail:
            raise RuntimeError("the model's own")
        return torch.stack(outputs, dim=1)


@pytest.fixture
def model() -> Model:
    """Return the model, half of it in training mode, a part of it frozen, with other people's hooks."""
    model = Model()
    model.drop.eval()
    model.decoder.weight_hh.requires_grad_(False)
    model.encoder.register_forward_hook(lambda *_: None)
    model.decoder.register_forward_pre_hook(lambda *_: None)
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, 2)


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return all that must stay: of the model and of the process."""
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "grad": torch.is_grad_enabled()}
    found["numpy"] = np.random.get_state()[1].tolist()  # pyright: ignore[reportArgumentType, reportCallIssue]
    for path, module in model.named_modules():
        kept = {name: list(value.items()) for name, value in vars(module).items() if "_hooks" in name}
        found[path] = module.training, kept, sorted(vars(module))
    for name, parameter in model.named_parameters():
        found[f"{name}:"] = id(parameter), parameter.requires_grad, parameter.grad is None
    found["weights"] = {name: value.clone().tolist() for name, value in model.state_dict().items()}
    return found


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Check that a block leaves everything as it was, however it ends."""
    before = state_of(model)
    try:
        yield
    finally:
        assert state_of(model) == before


def edits() -> list[probe.Edit]:
    """Return edits of the stack and of the loop."""
    return [
        probe.clamp("forget_gate", 0.5, layer="encoder[0].reverse", steps=[1, -1]),
        probe.steer("cell_state", [1.0] * 4, layer="encoder[1]", steps=2),
        probe.ablate("update_gate", layer="decoder", steps=3),
    ]


def recorded(model: Model, x: Tensor) -> Tensor:
    """Return the output of a recorded call."""
    return probe.record(model, x).output


def edited(model: Model, x: Tensor) -> Tensor:
    """Return the output of an edited call."""
    return probe.record(model, x, edits=edits()).output


def differentiated(model: Model, x: Tensor) -> Tensor:
    """Return the output of a call whose gradients were asked for."""
    return probe.record(model, x, gradient_of=lambda output: output.sum()).output


def watched(model: Model, x: Tensor) -> Tensor:
    """Return the output of a watched call."""
    with torch.no_grad(), probe.watch(model):
        return model(x)


def nested(model: Model, x: Tensor) -> Tensor:
    """Return the output of a recording inside two contexts inside a watch."""
    first, *rest = edits()
    with torch.no_grad(), probe.watch(model), probe.intervene(model, first), probe.intervene(model.encoder, *[]):
        return probe.record(model, x, edits=rest).output


WAYS = [recorded, edited, differentiated, watched, nested]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_everything_is_left_as_found(
    way: Callable[[Model, Tensor], Tensor], training: bool, model: Model, x: Tensor
) -> None:
    """Model and process are as before, and torch's generator is where the bare call would have left it."""
    model.encoder.train(training)
    start = torch.get_rng_state()
    with torch.no_grad():
        bare, after = model(x), torch.get_rng_state()
    _ = torch.set_rng_state(start)
    with unchanged(model):
        output = way(model, x)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(after, start) is not training
    if way in (recorded, watched):
        assert torch.equal(output, bare)
    elif way in (edited, nested):
        assert not torch.allclose(output, bare, atol=1e-3)
    else:
        assert torch.allclose(output, bare, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_an_error_leaves_everything_too(way: Callable[[Model, Tensor], Tensor], model: Model, x: Tensor) -> None:
    """An error of the model, of torch or of the library passes through, and the next call works as ever."""
    model.eval()
    alone = way(model, x)
    with unchanged(model), pytest.raises(RuntimeError, match=r"must be equal to input_size|Expected 2"):
        _ = way(model, x[:, :, :1])
    model.fail = True
    with unchanged(model), pytest.raises(RuntimeError, match="the model's own"):
        _ = way(model, x)
    model.fail = False
    if way in (edited, nested):
        with unchanged(model), refused():
            _ = way(model, x[:, :2])
    assert torch.equal(way(model, x), alone)


@pytest.mark.parametrize("form", ["time first", "batch first", "packed"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_masks_that_the_run_drew_are_the_ones_that_are_recorded(kind: Any, form: str) -> None:
    """In training mode each layer reads what dropout left of the one below; an edited run has the same masks."""
    module = kind(2, 4, 3, dropout=0.5, batch_first=form == "batch first", bidirectional=True).double()
    shape = (BATCH, TIME, 2) if form == "batch first" else (TIME, BATCH, 2)
    x: Any = torch.randn(shape, dtype=torch.float64)
    if form == "packed":
        x = pack_padded_sequence(x, torch.tensor([2, 5, 4]), enforce_sorted=False)
    start = torch.get_rng_state()
    recording = probe.record(module, x, signals=probe.Signal)
    assert recording.max_error is not None
    assert recording.max_error < 1e-14
    after = torch.get_rng_state()
    assert not torch.equal(after, start)
    own = probe.patch("hidden_state", recording, layer="[0]")
    moved = probe.ablate("hidden_state", layer="[0]", steps=1)
    if form == "packed":
        own = probe.patch("hidden_state", recording, layer="[0]", steps=[0, -1])
    _ = torch.set_rng_state(start)
    assert same(probe.record(module, x, edits=[own]).output, recording.output)
    assert torch.equal(torch.get_rng_state(), after)
    _ = torch.set_rng_state(start)
    changed = probe.record(module, x, edits=[moved])
    assert not same(changed.output, recording.output)
    # What dropout hid from the layer above, an edit cannot show it: with units that were dropped nothing moves there.
    again = probe.record(module, x)
    assert not same(again.output, recording.output)  # other masks: they are drawn anew in each run
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


def test_two_threads_leave_two_models_alone(x: Tensor) -> None:
    """Two models that are recorded, edited and watched at the same time give what each gives alone."""
    models = [Model().eval() for _ in range(2)]
    ways = [recorded, edited, watched, nested]
    alone = [[way(model, x) for way in ways] for model in models]
    before = [state_of(model) for model in models]
    barrier, results = threading.Barrier(2, timeout=60), [[], []]

    def work(number: int) -> None:
        _ = barrier.wait()
        results[number].append([way(models[number], x) for way in ways])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        assert len(results[number]) == 1
        assert all(same(result, alone[number]) for result in results[number])
        assert state_of(models[number]) == before[number]
    assert not same(alone[0], alone[1])


def test_the_masks_of_a_run_do_not_touch_the_generator_of_other_threads() -> None:
    """While masks are drawn again the process's generator is not set back: another thread draws on undisturbed."""
    module = nn.LSTM(2, 4, 2, dropout=0.5)
    x, states = torch.randn(TIME, BATCH, 2), []
    original = torch.set_rng_state
    torch.set_rng_state = states.append  # pyright: ignore[reportAttributeAccessIssue]
    try:
        _ = probe.record(module, x, edits=[probe.clamp("forget_gate", 0.5, layer="[0]")])
    finally:
        torch.set_rng_state = original
    assert states == []
