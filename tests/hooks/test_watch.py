"""`probe.watch`: a frozen recording for each call that something else makes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from comparing import distance, same
from refusing import refused
from torch import Tensor, nn

import probe


def test_each_call_gets_a_recording(tagger: Any, x: Tensor, other: Tensor) -> None:
    """Recordings come in the order of the calls, each the one that probe.record makes, and none after the end."""
    with torch.no_grad(), probe.watch(tagger) as recordings:
        assert recordings == []
        _ = tagger(x)
        assert len(recordings) == 1
        _ = tagger(other)
    _ = tagger(x)
    assert len(recordings) == 2
    for recording, inputs in zip(recordings, (x, other), strict=True):
        expected = probe.record(tagger, inputs)
        assert same(recording.output, expected.output)
        assert recording.max_error == expected.max_error
        for signal in ("forget_gate", "cell_state", "hidden_state"):
            assert torch.equal(recording[signal], expected[signal])
    assert not torch.equal(recordings[0]["cell_state"], recordings[1]["cell_state"])
    with pytest.raises(AttributeError):
        recordings[0].max_error = 0.0  # pyright: ignore[reportAttributeAccessIssue]


def test_a_call_that_failed_leaves_nothing(pair: Any, x: Tensor) -> None:
    """A call that ended with an error has no recording, and nothing of it is in the next one."""
    fails = [True, False]

    def fail(*_: Any) -> None:
        if fails.pop(0):
            raise RuntimeError("the caller's own")

    pair.high.register_forward_hook(fail)
    fails.append(False)
    with probe.watch(pair) as recordings:
        with pytest.raises(RuntimeError, match="the caller's own"):
            _ = pair(x)
        assert recordings == []
        _ = pair(x)
    assert [recording.calls for recording in recordings] == [{"low[0]": 1, "high[0]": 2}]


def test_a_training_loop_is_watched_and_not_disturbed(make_tagger: Any, x: Tensor) -> None:
    """Watched or not, three steps of training end at the same weights; each recording shows its own step."""
    weights = []
    for watched in (False, True):
        _ = torch.manual_seed(1)
        model = make_tagger()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

        def train(model: Any = model, optimizer: Any = optimizer) -> None:
            for _ in range(3):
                optimizer.zero_grad()
                model(x).square().sum().backward()
                optimizer.step()

        if watched:
            with probe.watch(model, signals=["cell_state"]) as recordings:
                train()
            assert len(recordings) == 3
            assert distance(recordings[0]["cell_state"], recordings[2]["cell_state"]) > 1e-3
        else:
            train()
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


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
    assert torch.equal(
        torch.autograd.grad(on_graph.output.sum(), scores, retain_graph=True)[0], torch.ones(4, 3).double()
    )
    assert not any(value.requires_grad for value in off_graph.parts[0].signals.values())
    assert all(value.requires_grad for value in on_graph.parts[0].signals.values())
    step, weight = 3, tagger.lstm.weight_hh_l0
    found = torch.autograd.grad(on_graph["cell_state"][:, step].sum(), [x, weight], retain_graph=True)
    expected = torch.autograd.grad(tagger.lstm(x[:, : step + 1])[1][1].sum(), [x, weight])
    assert all(distance(one, two) < 1e-12 for one, two in zip(found, expected, strict=True))
    assert expected[1].abs().max() > 1e-3
    gate = torch.autograd.grad(on_graph["forget_gate"][:, 0].sum(), tagger.lstm.bias_ih_l0, retain_graph=True)[0]
    f = on_graph["forget_gate"][:, 0].detach()
    assert distance(gate[5:10], (f * (1 - f)).sum(0)) < 1e-12
    scores.sum().backward()
    assert weight.grad is not None


def test_a_recorded_output_is_a_value(tagger: Any, x: Tensor) -> None:
    """A hook on the model, or the caller, changes the output in place: the recording keeps what forward returned."""
    with torch.no_grad():
        expected = tagger(x)
        tagger.register_forward_hook(lambda _model, _inputs, output: output.mul_(2))
        with probe.watch(tagger) as recordings:
            changed = tagger(x).add_(1)
    assert torch.equal(recordings[0].output, expected)
    assert torch.equal(changed, 2 * expected + 1)


def test_other_peoples_hooks_are_untouched(tagger: Any, x: Tensor) -> None:
    """Hooks that were there still run, in their order; those added inside stay, and only ours go."""
    ran: list[str] = []
    tagger.register_forward_hook(lambda *_: ran.append("model"))
    tagger.lstm.register_forward_pre_hook(lambda *_: ran.append("before"))
    tagger.lstm.register_forward_hook(lambda *_: ran.append("after"))
    with probe.watch(tagger):
        inside = tagger.lstm.register_forward_hook(lambda *_: ran.append("inside"))
        _ = tagger(x)
    _ = tagger(x)
    assert ran == ["before", "after", "inside", "model"] * 2
    inside.remove()
    assert len(tagger.lstm._forward_hooks) == 1
    assert len(tagger.lstm._forward_pre_hooks) == 1
    assert len(tagger._forward_hooks) == 1
    assert not tagger._forward_pre_hooks
    assert not tagger._forward_hooks_always_called


def test_the_bare_module_and_a_part_of_a_model_can_be_watched(lstm: nn.LSTM, pair: Any, x: Tensor) -> None:
    """Watching a module that is itself recurrent gives a recording a call, wherever the call comes from."""
    with torch.no_grad(), probe.watch(lstm, steps=[-1]) as recordings:
        last = [lstm(x)[0][:, -1], lstm(input=x)[0][:, -1]]
    assert [torch.equal(one["hidden_state"][:, 0], h) for one, h in zip(recordings, last, strict=True)] == [True] * 2
    with torch.no_grad(), probe.watch(pair.high) as recordings:
        output = pair(x)
    assert len(recordings) == 2
    assert torch.equal(recordings[1]["hidden_state"], output)


def test_an_edited_run_is_watched_from_inside_and_outside(lstm: nn.LSTM, x: Tensor) -> None:
    """What is recorded is what the caller got, whichever context was entered first."""
    edit = probe.clamp("forget_gate", 0.0, steps=2)
    with torch.no_grad(), probe.watch(lstm) as outside, probe.intervene(lstm, edit), probe.watch(lstm) as inside:
        h = lstm(x)[0]
    expected = probe.record(lstm, x, edits=[edit])
    for (recording,) in (outside, inside):
        assert torch.equal(recording["hidden_state"], h)
        assert same(recording.output, expected.output)
        assert bool((recording["forget_gate"][:, 2] == 0).all())
    assert not torch.equal(h, lstm(x)[0])


def test_a_wrong_name_raises_before_anything_is_watched(tagger: Any, x: Tensor) -> None:
    """A layer or signal that does not exist raises at the entry, and a step beyond the input in the call."""
    choices: list[dict[str, Any]] = [{"layers": ["lstm[1]"]}, {"signals": ["forget"]}]
    for options in choices:
        with refused(), probe.watch(tagger, **options):
            _ = tagger(x)
    assert tagger.times_called == 0
    with refused(), probe.watch(tagger, steps=9):
        _ = tagger(x)
    assert not tagger._forward_hooks
    assert not tagger.lstm._forward_hooks


def test_two_threads_watch_two_models(make_tagger: Any, x: Tensor) -> None:
    """Each list holds the calls of its own model only."""
    models, kept = [make_tagger() for _ in range(2)], [[], []]
    barrier = threading.Barrier(2, timeout=30)

    def work(number: int) -> None:
        with torch.no_grad(), probe.watch(models[number]) as recordings:
            _ = barrier.wait()
            for _ in range(5):
                _ = models[number](x)
        kept[number] = recordings

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model, recordings in zip(models, kept, strict=True):
        alone = probe.record(model, x)["cell_state"]
        assert len(recordings) == 5
        assert all(torch.equal(recording["cell_state"], alone) for recording in recordings)
