"""What a backward pass runs again, no session sees: it is refused where derivatives are wanted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from called import BATCH, EDIT, INPUTS, TIME, Reader, edited
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import probe
from probe import ProbeError


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
    message = "runs inside torch.utils.checkpoint"
    with pytest.raises(ProbeError, match=message):
        probe.record(model, x, gradient_of=lambda output: output.sum())
    with pytest.raises(ProbeError, match=message), probe.intervene(model, EDIT):
        model(x)
    plain = Reader()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(edited(model, x), edited(plain, x))
    with pytest.raises(ProbeError, match=f"{message}.*detach=True"), probe.watch(model):
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
    message = "runs inside a torch.autograd.Function, which runs it again"
    given = x.clone().requires_grad_()
    with pytest.raises(ProbeError, match=message):
        probe.record(model, given, gradient_of=lambda output: output.sum())
    with pytest.raises(ProbeError, match=message), probe.intervene(model, EDIT):
        model(given)
    with pytest.raises(ProbeError, match=message), probe.watch(model):
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
        with pytest.raises(ProbeError, match="runs inside"), probe.intervene(model.rnn, edit):
            checkpoint(lambda x: model.rnn(x)[0], x, use_reentrant=reentrant)
        off, refused = torch.no_grad(), pytest.raises(ProbeError, match="runs inside")
        with off, refused, probe.intervene(model, EDIT), torch.enable_grad():
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
