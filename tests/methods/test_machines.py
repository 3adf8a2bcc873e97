"""A model as a machine: run from any state it gives what the model gives on the spliced sequence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from known_machines import READ, Reader, X, answer, expected
from refusing import refused
from torch import Tensor, nn

from probe import Signal
from probe.methods.abstraction.reduced import fit_affine
from probe.methods.decomposition.contexts import Contexts
from probe.methods.dynamics import StackDynamics
from probe.methods.machines import Machine

LENGTH = X.shape[1]


def machine(model: nn.Module, x: Tensor = X) -> Machine:
    """Return a model as a machine."""
    return Machine.of(model, x, **READ)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("step", [0, 2, LENGTH - 1])
def test_going_on_from_another_rows_state_is_the_spliced_sequence(kind: str, step: int) -> None:
    """The state is all that is handed on: expected answers equal those of the bare model to 1e-12."""
    model = Reader(kind).double()
    run = machine(model)
    base, source = torch.arange(32), torch.arange(32).flip(0)
    found = run.answers(run.clean.states[source, step], base, step)
    with torch.no_grad():
        output = model(torch.cat([X[source, : step + 1], X[base, step + 1 :]], 1).double())
    assert torch.equal(found.chosen, answer(output))
    assert torch.allclose(found.expected, expected(output), atol=1e-12, rtol=0)
    assert not torch.allclose(found.expected, run.clean.answers.expected, atol=1e-6)
    assert not run.clean.states.requires_grad


def test_the_model_is_left_as_it_was() -> None:
    """A machine is a copy, whose forward comes back too: the model keeps its type of numbers, mode and forward."""
    model, ran = Reader("gru").train(), list[Any]()
    with nn.modules.module.register_module_forward_hook(lambda module, *_: ran.append(module)):
        machine(model).readout.read(torch.zeros(2, 3, dtype=torch.float64))
    (copied,) = {id(module): module for module in ran if isinstance(module, Reader)}.values()
    assert copied is not model
    assert not any("forward" in vars(one.rnn) for one in (model, copied))
    assert model.training
    assert model.head.weight.dtype == torch.float32


class Mean(Reader):
    """A reader of the mean over steps."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return self.head(self.rnn(x)[0].mean(1))


class Started(Reader):
    """A reader that starts where the first step's third feature says."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return self.head(self.rnn(x[:, :, :2], x[:, 0, 2].expand(1, 3, -1).mT.contiguous())[0][:, -1])


def test_rows_that_start_in_other_states_share_no_prefix() -> None:
    """Two starts make twice the prefixes, and the states that follow are those of the clean run."""
    x = torch.cat([torch.cat([X, X.new_full((32, LENGTH, 1), start)], 2) for start in (0.0, 0.5)])
    run = machine(Started("gru"), x)
    clean = run.clean
    assert [len(prefixes.rows) for prefixes in clean.prefixes] == [4, 8, 16, 32, 64]
    states = run.follow(clean.states[clean.prefixes[0].rows, 0], 0)
    assert torch.allclose(states, clean.states[clean.prefixes[1].rows, 1], atol=1e-12, rtol=0)
    found = Contexts(run, (np.array([0, 32]), np.array([31, 63])), source_step=1, step=1)
    assert len(found) == 2
    with refused():
        fit_affine(run, [LENGTH])


STACK = nn.GRU(2, 3, 2, batch_first=True)


@pytest.mark.parametrize(
    "ask",
    [
        lambda _: machine(Mean("lstm")),  # what the last state does not decide
        lambda _: machine(nn.Sequential(STACK)),
        lambda _: machine(nn.Sequential(nn.Linear(2, 2))),
        lambda run: replace(run, dynamics=StackDynamics(STACK.double())).cell,
        lambda _: StackDynamics(STACK.double()).unit(6),
        lambda run: run.dynamics.unit(3),
        lambda run: run.dynamics.columns(Signal.CELL_STATE),
        lambda run: run.clean.recorded(Signal.FORGET_GATE),
        # A machine runs in float64, and says so where a reading of the output cannot.
        lambda _: Machine.of(Reader("gru"), X, answer=answer, expected=lambda scores: scores @ torch.ones(6)),
    ],
)
def test_what_is_no_machine_or_no_part_of_one_is_refused(ask: Any) -> None:
    """Errors say what was given and what there is."""
    with refused():
        ask(machine(Reader("gru")))
