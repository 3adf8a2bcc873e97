"""What a context reaches, and what `probe.watch` keeps: the calls of its own thread and task, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from called import BATCH, EDIT, INPUTS, TIME, Reader, edited, in_a_thread
from comparing import distance, same
from refusing import refused
from torch import Tensor, nn
from torch.nn.modules import module as torchs

import probe


@pytest.fixture
def model() -> Reader:
    """Return the model."""
    return Reader().eval()


@pytest.fixture
def x() -> Tensor:
    """Return its input."""
    return torch.randn(BATCH, TIME, INPUTS)


def test_a_tolerance_holds_for_edits_and_derivatives_too(model: Reader, x: Tensor) -> None:
    """What a hook on all modules makes of a layer's output is refused, unless the caller allows so much."""

    def changed(module: nn.Module, _arguments: Any, output: Any) -> Any:
        return (output[0] + 1e-4, output[1] + 1e-4) if module is model.rnn else None

    handle = torchs.register_module_forward_hook(changed)
    options: list[dict[str, Any]] = [{"edits": [EDIT]}, {"gradient_of": lambda output: output.sum()}]
    try:
        for each in options:
            with refused():
                probe.record(model, x, **each)
            assert probe.record(model, x, **each, tolerance=0.1).calls == {"rnn[0]": 1}
        with refused():
            probe.sweep(model, x, edits=[EDIT])
    finally:
        handle.remove()


def test_an_edit_that_never_acts_raises(model: Reader, x: Tensor) -> None:
    """The error comes when the context ends, and says which edit waited for what; the caller's own error wins."""
    idle = probe.ablate("hidden_state", layer="idle[0]")
    late = probe.ablate("hidden_state", layer="rnn[0]", call=400)
    runs: list[tuple[probe.Edit, Callable[[], Any]]] = [
        (EDIT, lambda: None),
        (EDIT, lambda: model.rnn.forward(x)),
        (EDIT, lambda: in_a_thread(lambda: model(x))),
        (idle, lambda: model.predict(x)),
        (late, lambda: model.predict(x, times=9)),
        (idle, lambda: model(x)),
    ]
    for edit, run in runs:
        with refused(), probe.intervene(model, edit):
            run()
        with pytest.raises(ZeroDivisionError), probe.intervene(model, edit):
            raise ZeroDivisionError


def test_calls_beside_the_forward_are_edited_and_recorded(model: Reader, x: Tensor) -> None:
    """Those up to the next call of the model make one recording, without an output; they are numbered."""
    with torch.no_grad(), probe.watch(model) as recordings:
        model.predict(x)
        model.predict(x)
        model(x)
        model.predict(2 * x)
    assert [recording.calls["rnn[0]"] for recording in recordings] == [2, 1, 1]
    assert [recording.output is None for recording in recordings] == [True, False, True]
    wanted = probe.record(model, 2 * x)["rnn[0]", "hidden_state"]
    assert torch.equal(recordings[2]["rnn[0]", "hidden_state"], wanted)
    with torch.no_grad(), probe.intervene(model, probe.clamp("hidden_state", 2.0, layer="rnn[0]", steps=1, call=1)):
        found = model.predict(x, times=2)
    torch.testing.assert_close(found, ((model(x) + edited(model, x)) / 2).detach())


def test_a_whole_model_is_saved_inside_a_context(model: Reader, x: Tensor) -> None:
    """The file is the one that is written outside, and a copy is a plain model."""

    def saved() -> bytes:
        file = io.BytesIO()
        torch.save(model, file)
        return file.getvalue()

    with probe.watch(model), probe.intervene(model, EDIT):
        inside = saved()
        assert not torch.equal(copy.deepcopy(model)(x), model(x))
        model(x)
    assert inside == saved()
    assert torch.equal(torch.load(io.BytesIO(inside), weights_only=False)(x), model(x))


def test_threads_that_use_one_model_get_their_own_calls(model: Reader) -> None:
    """Recordings, edited runs and bare calls beside each other: each is that of its own input and edits."""
    inputs = [torch.randn(BATCH, TIME, INPUTS) for _ in range(24)]
    asked = [lambda x: probe.record(model, x).output, lambda x: edited(model, x), lambda x: model(x).detach()] * 8
    with ThreadPoolExecutor(4) as pool:
        outputs = [*pool.map(lambda ask, x: ask(x), asked, inputs)]
    for number, (output, x) in enumerate(zip(outputs, inputs, strict=True)):
        assert torch.equal(output, edited(model, x) if number % 3 == 1 else model(x))
        assert not torch.equal(edited(model, x), model(x))


def test_a_call_of_another_thread_inside_a_sweep_is_plain(model: Reader, x: Tensor) -> None:
    """A sweep runs something in place of the module; where a context is open on the layer, it is refused."""
    plain, found = model(x), []

    def hook(_module: nn.Module, _arguments: Any) -> None:
        if not found:
            found.append(None)
            in_a_thread(lambda: found.append(model(x)))

    handle = model.head.register_forward_pre_hook(hook)
    probe.sweep(model, x, edits=[EDIT])
    handle.remove()
    assert torch.equal(found[1], plain)
    with probe.watch(model), refused():
        probe.sweep(model, x, edits=[EDIT])


def test_tasks_are_edited_by_their_own_contexts_alone(model: Reader, x: Tensor) -> None:
    """A task beside the context is left alone; one that the context starts belongs to it, and a thread does not."""
    plain, wanted = model(x), edited(model, x)

    async def call() -> Tensor:
        await asyncio.sleep(0)
        return model(x)

    async def edit(started: list[asyncio.Task[Tensor]]) -> Tensor:
        with probe.intervene(model, EDIT):
            started.append(asyncio.create_task(call()))
            await asyncio.sleep(0.01)
            assert torch.equal(await asyncio.to_thread(model, x), plain)
            return model(x)

    async def main() -> None:
        started: list[asyncio.Task[Tensor]] = []
        outputs = await asyncio.gather(*(edit(started) if n % 2 else call() for n in range(8)))
        assert all(torch.equal(output, wanted if n % 2 else plain) for n, output in enumerate(outputs))
        assert all([torch.equal(await task, wanted) for task in started])

    asyncio.run(main())


# What is watched.


def test_each_call_gets_a_recording(tagger: Any, x: Tensor) -> None:
    """In the order of the calls, each the one that probe.record makes, and none of one that failed or came after."""
    inputs, fails = [x, 2 * x], list[bool]()

    def fail(*_: Any) -> None:
        if fails:
            raise RuntimeError("the caller's own")

    with torch.no_grad():
        outputs = [tagger(given).clone() for given in inputs]
    tagger.head.register_forward_pre_hook(fail)
    tagger.register_forward_hook(lambda *given: given[-1].mul_(2))  # in place: kept is what forward returned
    with torch.no_grad(), probe.watch(tagger) as recordings:
        _ = [tagger(given).add_(1) for given in inputs]
        fails.append(True)
        with pytest.raises(RuntimeError, match="the caller's own"):
            tagger(x)
    fails.clear()
    _ = tagger(x)
    for recording, given, output in zip(recordings, inputs, outputs, strict=True):
        expected = probe.record(tagger, given)
        assert torch.equal(recording.output, output)
        assert recording.max_error == expected.max_error
        assert all(torch.equal(value, recording[name]) for name, value in expected.parts[0].signals.items())
    with refused(), probe.watch(tagger):
        in_a_thread(lambda: tagger(x))


def test_every_and_detach_keep_less_in_training(model: Reader, x: Tensor) -> None:
    """One call in so many is recorded, the first one first; without its graph no tensor of it stays."""
    with probe.watch(model, every=3, detach=True) as recordings:
        for number in range(7):
            model(x * number).sum().backward()
    assert len(recordings) == 3
    for number, recording in enumerate(recordings):
        wanted = probe.record(model, x * (3 * number))["rnn[0]", "hidden_state"]
        torch.testing.assert_close(recording["rnn[0]", "hidden_state"], wanted)
        values = [recording.output, *recording.parts[0].signals.values()]
        assert not any(value.requires_grad for value in values)
    for every in (0, -1, True):
        with refused(), probe.watch(model, every=every):
            pytest.fail("the context was entered")


def test_values_are_on_the_graph_of_the_caller(tagger: Any, x: Tensor) -> None:
    """Under autograd a loss on any recorded signal reaches weights and inputs; under no_grad there is no graph."""
    with probe.watch(tagger.lstm) as single:
        h = tagger.lstm(x)[0]
    assert torch.equal(single[0]["hidden_state"], h)  # in float32, where a recomputed one is rounded otherwise
    tagger.double()
    x = x.double().requires_grad_()
    with probe.watch(tagger, signals=probe.Signal) as recordings:
        scores = tagger(x)
        with torch.no_grad():
            _ = tagger(x)
    on_graph, off_graph = recordings
    assert not any(value.requires_grad for value in off_graph.parts[0].signals.values())
    leaves = [x, tagger.lstm.weight_hh_l0]
    found = torch.autograd.grad(on_graph["cell_state"][:, 3].sum(), leaves, retain_graph=True)
    expected = torch.autograd.grad(tagger.lstm(x[:, :4])[1][1].sum(), leaves)
    assert all(distance(one, two) < 1e-12 for one, two in zip(found, expected, strict=True))
    assert expected[1].abs().max() > 1e-3
    gate = torch.autograd.grad(on_graph["forget_gate"][:, 0].sum(), tagger.lstm.bias_ih_l0, retain_graph=True)[0]
    f = on_graph["forget_gate"][:, 0].detach()
    assert distance(gate[5:10], (f * (1 - f)).sum(0)) < 1e-12
    assert torch.equal(torch.autograd.grad(on_graph.output.sum(), scores)[0], torch.ones_like(scores))


def test_an_edited_run_is_watched_from_inside_and_outside(lstm: nn.LSTM, pair: Any, x: Tensor) -> None:
    """What is recorded is what the caller got, whichever context was entered first; a part of a model too."""
    edit = probe.clamp("forget_gate", 0.0, steps=2)
    with torch.no_grad(), probe.watch(lstm) as outside, probe.intervene(lstm, edit), probe.watch(lstm) as inside:
        h = lstm(input=x)[0]
    expected = probe.record(lstm, x, edits=[edit])
    for (recording,) in (outside, inside):
        assert torch.equal(recording["hidden_state"], h)
        assert same(recording.output, expected.output)
        assert bool((recording["forget_gate"][:, 2] == 0).all())
    with torch.no_grad(), probe.watch(pair.high, steps=[-1]) as recordings:
        output = pair(x)
    assert len(recordings) == 2
    assert torch.equal(recordings[1]["hidden_state"], output[:, -1:])
