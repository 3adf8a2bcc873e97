"""What is refused: options of the wrong kind, and what a backward pass runs again.

- What a call is told by: options of the wrong kind are refused before the model runs, and named.
- What a backward pass runs again, no session sees: it is refused where derivatives are wanted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from called import BATCH, EDIT, INPUTS, TIME, Reader, edited
from refusing import refused, warned
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import probe

MODEL = nn.LSTM(2, 3, batch_first=True)
X = torch.randn(4, 5, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": torch.int32},
        {"dtype": torch.bool},
        {"device": "nope"},
        {"device": "meta"},
        {"tolerance": -1.0},
        {"tolerance": float("nan")},
        {"layers": []},
    ],
)
def test_an_option_that_a_recording_cannot_follow_is_refused(options: dict[str, Any]) -> None:
    """Whole numbers would hold the values of gates as 0; another kind of option fails later, in somebody's code."""
    with refused():
        probe.record(MODEL, X, **options)


class Shrinking(nn.Module):
    """A cell in a loop that drops the rows of sequences that have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run two steps on all rows and the others on half of them."""
        h, c = x.new_zeros(len(x), 3), x.new_zeros(len(x), 3)
        for step in range(x.shape[1]):
            rows = len(x) if step < 2 else len(x) // 2
            h, c = self.cell(x[:rows, step], (h[:rows], c[:rows]))
        return h


def test_a_sequence_whose_rows_end_is_refused_by_its_name() -> None:
    """A recording is one array for all steps; torch's words about sizes would say nothing of the cell."""
    with refused():
        probe.record(Shrinking(), X)


class Scaled(nn.Module):
    """A cell in a loop whose state is changed between two steps."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.cell, self.in_place = nn.GRUCell(2, 3), in_place

    def forward(self, x: Tensor) -> Tensor:
        """Run the cell over all steps."""
        h = self.cell(x[:, 0])
        for step in range(1, x.shape[1]):
            if self.in_place:
                h.mul_(0.5)
            h = self.cell(x[:, step], h)
        return h


def test_a_state_that_is_changed_in_place_between_steps_is_said() -> None:
    """Step t did not read what the recording holds at t - 1; where nothing changes there is no warning."""
    with warned():
        recording = probe.record(Scaled(in_place=True), X)
    assert recording.calls == {"cell": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe.record(Scaled(in_place=False), X)


def test_initial_states_of_several_layers_are_told_apart() -> None:
    """By the layer's name, as signals are."""
    recording = probe.record(nn.LSTM(2, 3, num_layers=2, batch_first=True), X)
    assert torch.equal(recording.initial["[1]", "cell_state"], torch.zeros(4, 3))
    with refused():
        recording.initial["cell_state"]
    with refused():
        _ = "cell_state" in recording.initial
    with refused():
        recording.initial["[1]", "forget_gate"]


class Weighted(nn.Module):
    """A layer whose output is weighted by a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 4, batch_first=True)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return one number a row."""
        return self.rnn(x)[0][:, -1] @ weights


def test_a_sweep_says_what_it_repeated_where_the_model_fails() -> None:
    """The weights look like a batch of four; the model's own error stays the cause."""
    edits = [probe.clamp("hidden_state", 0.0, steps=step) for step in (1, 2)]
    with refused() as error:
        probe.sweep(Weighted(), X, torch.ones(4), edits=edits)
    assert isinstance(error.value.__cause__, RuntimeError)


@pytest.fixture
def model() -> Reader:
    """Return the model."""
    return Reader().eval()


@pytest.fixture
def x() -> Tensor:
    """Return its input."""
    return torch.randn(BATCH, TIME, INPUTS)


class Checkpointed(Reader):
    """Runs its recurrent layer inside a checkpoint."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        """Return two numbers a row."""
        h = checkpoint(lambda x: self.rnn(x)[0], x, use_reentrant=self.reentrant)
        assert isinstance(h, Tensor)
        return self.head(h[:, -1])


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_backward_pass_runs_again_is_refused(reentrant: bool, x: Tensor) -> None:
    """There no edit would act, so derivatives would be another run's; without derivatives nothing is run again."""
    model = Checkpointed(reentrant=reentrant)
    x = x.requires_grad_()
    with refused():
        probe.record(model, x, gradient_of=lambda output: output.sum())
    with refused(), probe.intervene(model, EDIT):
        model(x)
    plain = Reader()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(edited(model, x), edited(plain, x))
    with refused(), probe.watch(model):
        model(x)
    with probe.watch(model, detach=True) as recordings:
        model(x).sum().backward()
    assert [recording.calls["rnn[0]"] for recording in recordings] == [1]
    gradient = model.rnn.weight_hh_l0.grad
    plain(x).sum().backward()
    torch.testing.assert_close(gradient, plain.rnn.weight_hh_l0.grad)


class Recomputed(torch.autograd.Function):
    """A checkpoint that somebody wrote."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Run without autograd."""
        ctx.run = run
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Run again, with it."""
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            ctx.run(x).backward(*gradients)
        return None, x.grad


class ByFunction(Reader):
    """Runs its recurrent layer inside a function of autograd's."""

    def forward(self, x: Tensor) -> Tensor:
        """Return two numbers a row."""
        return self.head(Recomputed.apply(lambda x: self.rnn(x)[0], x)[:, -1])


def test_a_function_that_runs_again_in_its_backward_pass_is_refused(x: Tensor) -> None:
    """Somebody's own checkpoint is one too: gradient_of= gave zeros there, and edits another run's derivatives."""
    model = ByFunction()
    given = x.clone().requires_grad_()
    with refused():
        probe.record(model, given, gradient_of=lambda output: output.sum())
    with refused(), probe.intervene(model, EDIT):
        model(given)
    with refused(), probe.watch(model):
        model(given)
    plain = Reader()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(edited(model, given), edited(plain, x))
    with probe.intervene(model, EDIT):
        assert torch.allclose(model(x), edited(plain, x))  # no number before it has a derivative: nothing runs again


def test_a_checkpoint_is_refused_whatever_the_context_knows_of_autograd(model: Reader, x: Tensor) -> None:
    """A context that is entered under no_grad, and one of the layer alone, see the checkpoint around their calls."""
    x = x.requires_grad_()
    edit = probe.clamp("hidden_state", 2.0, steps=1)
    for reentrant in (True, False):
        with refused(), probe.intervene(model.rnn, edit):
            checkpoint(lambda x: model.rnn(x)[0], x, use_reentrant=reentrant)
        off, heard = torch.no_grad(), refused()
        with off, heard, probe.intervene(model, EDIT), torch.enable_grad():
            checkpoint(model.predict, x, use_reentrant=reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_backward_pass_inside_a_context_is_that_of_the_run_before_it(reentrant: bool, x: Tensor) -> None:
    """A context that is entered between a forward and its backward pass changes no gradient."""
    model = Checkpointed(reentrant=reentrant)
    gradients = []
    for inside in (False, True):
        model.zero_grad()
        output = model(x.requires_grad_()).sum()
        with ExitStack() as stack:
            if inside:
                stack.enter_context(probe.intervene(model, EDIT))
                with torch.no_grad():
                    model(x)  # so that the edit acts
            output.backward()
        gradients.append({name: each.grad for name, each in model.named_parameters() if each.grad is not None})
    assert all(torch.equal(value, gradients[1][name]) for name, value in gradients[0].items())
