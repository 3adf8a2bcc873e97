"""What a context reaches: the calls of its own thread and task while it is open, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from called import BATCH, EDIT, INPUTS, TIME, Reader, edited
from refusing import refused
from torch import Tensor, nn
from torch.nn.modules import module as torchs

import probe
from probe.hooks import sessions
from probe.hooks.sessions import Session
from probe.recurrent.finding import find_layers


@pytest.fixture
def model() -> Reader:
    """Return the model."""
    return Reader().eval()


@pytest.fixture
def x() -> Tensor:
    """Return its input."""
    return torch.randn(BATCH, TIME, INPUTS)


# Hooks of others.


def test_hooks_of_others_see_the_edited_output_and_change_what_is_handed_on(model: Reader, x: Tensor) -> None:
    """A hook on the layer, also one that is put first inside the context, acts on what the edited layer returned."""

    def double(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        return 2 * output[0], output[1]

    h = probe.record(model, x, edits=[EDIT])["rnn[0]", "hidden_state"]
    expected = model.head(2 * h[:, -1])
    with torch.no_grad(), probe.intervene(model, EDIT), probe.watch(model) as recordings:
        handle = model.rnn.register_forward_hook(double, prepend=True)
        found = model(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(recordings[0]["rnn[0]", "hidden_state"], h)
    handle.remove()
    handle = model.rnn.register_forward_hook(double)
    torch.testing.assert_close(edited(model, x), expected)
    handle.remove()


def test_a_hook_on_all_modules_that_changes_an_output_before_anybody_sees_it_is_refused(
    model: Reader, x: Tensor
) -> None:
    """What such a hook makes of the layer's output is not what the layer computed."""

    def changed(module: nn.Module, _arguments: Any, output: Any) -> Any:
        return (output[0] + 0.1, output[1]) if module is model.rnn else None

    handle = torchs.register_module_forward_hook(changed)
    try:
        with refused():
            edited(model, x)
        with refused():
            probe.sweep(model, x, edits=[EDIT])
    finally:
        handle.remove()


# An edit acts, or somebody hears of it.


def test_edits_act_in_methods_beside_the_forward(model: Reader, x: Tensor) -> None:
    """`model.predict(x)` is edited like `model(x)`, and calls are numbered within the context."""
    with torch.no_grad():
        with probe.intervene(model, EDIT):
            assert torch.equal(model.predict(x), edited(model, x))
        second = probe.clamp("hidden_state", 2.0, layer="rnn[0]", steps=1, call=1)
        with probe.intervene(model, second):
            found = model.predict(x, times=2)
        torch.testing.assert_close(found, (model(x) + edited(model, x)) / 2)


@pytest.mark.parametrize(
    ("edit", "run"),
    [
        (EDIT, lambda model, x: None),
        (EDIT, lambda model, x: model.rnn.forward(x)),
        (probe.ablate("hidden_state", layer="idle[0]"), lambda model, x: model.predict(x)),
        (probe.ablate("hidden_state", layer="rnn[0]", call=400), lambda model, x: model.predict(x, times=9)),
        (probe.ablate("hidden_state", layer="idle[0]"), lambda model, x: model(x)),
    ],
)
def test_an_edit_that_never_acts_raises(
    edit: probe.Edit, run: Callable[[Any, Tensor], Any], model: Reader, x: Tensor
) -> None:
    """The error comes when the context ends, and says which edit waited for what."""
    with refused() as error, probe.intervene(model, edit):
        run(model, x)
    assert repr(edit) in str(error.value)


def test_an_error_of_the_callers_own_is_not_hidden_by_one_about_edits(model: Reader) -> None:
    """Whoever stops the context with an error hears of that error."""
    with pytest.raises(ZeroDivisionError), probe.intervene(model, EDIT):
        raise ZeroDivisionError


def test_calls_beside_the_forward_are_recorded(model: Reader, x: Tensor) -> None:
    """Those up to the next call of the model make one recording, without an output."""
    with torch.no_grad(), probe.watch(model) as recordings:
        model.predict(x)
        model.predict(x)
        model(x)
        model.predict(2 * x)
    assert [recording.calls for recording in recordings] == [
        {"rnn[0]": 2},
        {"rnn[0]": 1},
        {"rnn[0]": 1},
    ]
    assert [recording.output is None for recording in recordings] == [True, False, True]
    wanted = probe.record(model, 2 * x)["rnn[0]", "hidden_state"]
    assert torch.equal(recordings[2]["rnn[0]", "hidden_state"], wanted)


# Copies, files, threads and tasks.


def test_a_copy_made_inside_a_context_is_a_plain_model(model: Reader, x: Tensor) -> None:
    """Neither inside the context nor afterwards is it edited."""
    plain = model(x)
    with probe.intervene(model, EDIT):
        other = copy.deepcopy(model)
        assert torch.equal(other(x), plain)
        assert not torch.equal(model(x), plain)
    assert torch.equal(other(x), plain)
    assert vars(other.rnn).keys() == vars(Reader().rnn).keys()


def test_a_whole_model_is_saved_inside_a_context(model: Reader, x: Tensor) -> None:
    """The file is the one that is written outside."""

    def saved() -> bytes:
        file = io.BytesIO()
        torch.save(model, file)
        return file.getvalue()

    with probe.watch(model), probe.intervene(model, EDIT):
        inside = saved()
        model(x)
    assert inside == saved()
    found = torch.load(io.BytesIO(inside), weights_only=False)
    assert torch.equal(found(x), model(x))


def test_calls_of_other_threads_are_left_alone(model: Reader, x: Tensor) -> None:
    """Another thread that calls the model while a context is open gets its plain output."""
    plain, found, stop = model(x), [], threading.Event()

    def call() -> None:
        while not stop.is_set():
            found.append(model(x))

    thread = threading.Thread(target=call)
    thread.start()
    for _ in range(30):
        with probe.intervene(model, EDIT):
            assert not torch.equal(model(x), plain)
    stop.set()
    thread.join()
    assert len(found) > 5
    assert all(torch.equal(output, plain) for output in found)


def test_tasks_are_edited_by_their_own_contexts_alone(model: Reader, x: Tensor) -> None:
    """A task beside the context is left alone; one that the context starts belongs to it."""
    plain, wanted = model(x), edited(model, x)

    async def call() -> Tensor:
        await asyncio.sleep(0)
        return model(x)

    async def edit(started: list[asyncio.Task[Tensor]]) -> Tensor:
        with probe.intervene(model, EDIT):
            started.append(asyncio.create_task(call()))
            await asyncio.sleep(0.01)
            return model(x)

    async def main() -> None:
        started: list[asyncio.Task[Tensor]] = []
        outputs = await asyncio.gather(*(edit(started) if n % 2 else call() for n in range(8)))
        assert all(torch.equal(output, wanted if n % 2 else plain) for n, output in enumerate(outputs))
        assert all([torch.equal(await task, wanted) for task in started])

    asyncio.run(main())


def test_threads_that_record_one_model_get_their_own_calls(model: Reader) -> None:
    """Each recording is that of its own input, from the first step to the last."""
    inputs = [torch.randn(BATCH, TIME, INPUTS) for _ in range(40)]

    with ThreadPoolExecutor(4) as pool:
        recordings = [*pool.map(lambda x: probe.record(model, x), inputs)]
    for recording, x in zip(recordings, inputs, strict=True):
        assert recording.calls["rnn[0]"] == 1
        assert torch.equal(recording["rnn[0]", "hidden_state"], model.rnn(x)[0].detach())


def test_a_context_around_calls_of_another_thread_says_so(model: Reader, x: Tensor) -> None:
    """Nothing is edited and nothing recorded there, and both are errors."""

    def elsewhere() -> None:
        thread = threading.Thread(target=lambda: model(x))
        thread.start()
        thread.join()

    with refused(), probe.intervene(model, EDIT):
        elsewhere()
    with refused(), probe.watch(model):
        elsewhere()


def test_two_threads_cannot_replace_one_forward(model: Reader, x: Tensor) -> None:
    """A sweep runs something in place of the module; a call from another thread meanwhile is plain."""
    plain, found = model(x), []

    def hook(_module: nn.Module, _arguments: Any) -> None:
        thread = threading.Thread(target=lambda: found.append(model(x)))
        if not found:
            found.append(None)
            thread.start()
            thread.join()

    handle = model.head.register_forward_pre_hook(hook)
    probe.sweep(model, x, edits=[EDIT])
    handle.remove()
    assert torch.equal(found[1], plain)


# Training under watch.


def test_every_and_detach_keep_less_in_training(model: Reader, x: Tensor) -> None:
    """One call in so many is recorded, the first one first; without its graph no tensor of it stays."""
    with probe.watch(model, every=3, detach=True) as recordings:
        for number in range(7):
            model(x * number).sum().backward()
    assert len(recordings) == 3
    for number, recording in enumerate(recordings):
        wanted = probe.record(model, x * (3 * number))["rnn[0]", "hidden_state"]
        torch.testing.assert_close(recording["rnn[0]", "hidden_state"], wanted)
        assert not any(value.requires_grad for part in recording.parts for value in part.signals.values())
        assert not recording.output.requires_grad
    wrong: list[Any] = [0, -1, True]
    for every in wrong:
        with refused(), probe.watch(model, every=every):
            pytest.fail("the context was entered")


def test_a_watched_call_keeps_its_graph_unless_told_otherwise(model: Reader, x: Tensor) -> None:
    """A recorded value is differentiable under autograd."""
    with probe.watch(model) as recordings:
        model(x)
    recordings[0]["rnn[0]", "update_gate"].sum().backward()
    assert model.rnn.weight_ih_l0.grad is not None


def test_a_branch_that_another_thread_runs_is_no_silent_gap(model: Reader, x: Tensor) -> None:
    """A recording that misses a layer since a thread of the model's own called it is refused."""

    class Threaded(Reader):
        def forward(self, x: Tensor) -> Tensor:
            """Run the layer in a thread."""
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(lambda: self.head(self.rnn(x)[0][:, -1])).result()

    with refused():
        probe.record(Threaded(), x)


def test_a_context_stays_in_its_thread_also_where_a_thread_copies_variables(model: Reader, x: Tensor) -> None:
    """asyncio.to_thread hands context variables on; its calls are another thread's all the same."""
    plain = model(x)

    async def main() -> None:
        with probe.intervene(model, EDIT):
            assert torch.equal(await asyncio.to_thread(model, x), plain)
            assert torch.equal(model(x), edited(model, x))

    asyncio.run(main())


def test_calls_are_numbered_anew_after_a_pass_that_failed(model: Reader, x: Tensor) -> None:
    """The first call after an error is call 0."""
    first = probe.clamp("hidden_state", 2.0, layer="rnn[0]", steps=1, call=0)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    wanted = edited(model, x)
    with torch.no_grad(), probe.intervene(model, first):
        handle = model.head.register_forward_hook(fail)
        with pytest.raises(ZeroDivisionError):
            model(x)
        handle.remove()
        assert torch.equal(model.predict(x), wanted)


def test_a_sweep_inside_another_context_on_its_layer_is_refused(model: Reader, x: Tensor) -> None:
    """The other context would take what the sweep puts in for the layer's own run."""
    with probe.watch(model), refused():
        probe.sweep(model, x, edits=[EDIT])


def test_a_context_that_another_thread_is_entering_keeps_its_hooks(model: Reader, x: Tensor) -> None:
    """What ends meanwhile in this thread takes none of them away."""
    entering = Session(model, find_layers(model))
    sessions._add(entering)  # as far as __enter__ has come in the other thread
    probe.record(model, x)
    assert sessions._installed()
    entering.__exit__(None, None, None)
    assert not torchs._has_any_global_hook()


def test_a_tolerance_holds_for_derivatives_too(x: Tensor) -> None:
    """A layer that was changed a little is differentiated where the caller allows that."""
    model = Reader()

    def changed(module: nn.Module, _arguments: Any, output: Any) -> Any:
        return (output[0] + 1e-4, output[1] + 1e-4) if module is model.rnn else None

    handle = torchs.register_module_forward_hook(changed)
    try:
        with refused():
            probe.record(model, x, gradient_of=lambda output: output.sum())
        assert probe.record(model, x, gradient_of=lambda output: output.sum(), tolerance=0.1).calls == {"rnn[0]": 1}
    finally:
        handle.remove()
