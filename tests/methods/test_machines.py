"""A model as a machine: run from any state it gives what the model gives on the spliced sequence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

from probe import Signal
from probe.methods.abstraction.reduced import fit_affine
from probe.methods.decomposition.contexts import Contexts
from probe.methods.dynamics import StackDynamics
from probe.methods.machines import Machine
from probe.recurrent.cells import narrow

LENGTH, CLASSES = 5, 4


class Reader(nn.Module):
    """A recurrent layer over two features whose last hidden state is read by a linear head."""

    def __init__(self, kind: str, units: int = 3, **options: Any):
        super().__init__()
        torch.manual_seed(1)
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](2, units, batch_first=True, **options)
        self.head = nn.Linear(units, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return self.head(self.rnn(x)[0][:, -1])


class Mean(Reader):
    """The same, read off the mean over steps."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return self.head(self.rnn(x)[0].mean(1))


def every_sequence() -> Tensor:
    """Return all sequences of wins and losses, (32, 5, 2)."""
    bits = (torch.arange(2**LENGTH)[:, None] >> torch.arange(LENGTH - 1, -1, -1)) & 1
    return torch.stack([bits, 1 - bits], -1).float()


def answer(scores: Tensor) -> Tensor:
    """Return the class with the highest score."""
    return scores.argmax(1)


def expected(scores: Tensor) -> Tensor:
    """Return the mean class."""
    return torch.softmax(scores, 1) @ torch.arange(CLASSES).to(scores)


X = every_sequence()
READ: dict[str, Any] = {"answer": answer, "expected": expected}


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("step", [0, 2, LENGTH - 1])
def test_going_on_from_another_rows_state_is_the_spliced_sequence(kind: str, step: int) -> None:
    """The state is all that is handed on: expected answers equal those of the bare model to 1e-12."""
    model = Reader(kind).double()
    machine = Machine.of(model, X, **READ)
    base, source = torch.arange(32), torch.arange(32).flip(0)
    found = machine.answers(machine.clean.states[source, step], base, step)
    with torch.no_grad():
        output = model(torch.cat([X[source, : step + 1], X[base, step + 1 :]], 1).double())
    assert torch.equal(found.chosen, answer(output))
    assert torch.allclose(found.expected, expected(output), atol=1e-12, rtol=0)
    assert not torch.allclose(found.expected, machine.clean.answers.expected, atol=1e-6)


def test_a_state_is_cell_then_hidden_and_a_unit_is_the_pair() -> None:
    """The columns of a state are the recorded signals, and the parts go back together."""
    machine = Machine.of(Reader("lstm"), X, **READ)
    assert machine.dynamics.signals == (Signal.CELL_STATE, Signal.HIDDEN_STATE)
    assert machine.dynamics.size == 6
    assert machine.dynamics.unit(2) == [2, 5]
    assert torch.equal(
        machine.clean.states[:, :, machine.dynamics.columns(Signal.CELL_STATE)],
        machine.clean.recorded(Signal.CELL_STATE),
    )
    states = machine.clean.states[:, 1]
    assert torch.equal(machine.dynamics.joined(machine.dynamics.parts(states)), states)


def test_many_rows_go_through_the_narrow_loop_with_the_same_answers() -> None:
    """With enough rows the units-first loop runs; it agrees with the textbook loop to 1e-12."""
    machine = Machine.of(Reader("lstm"), X, **READ)
    rows = torch.arange(32).repeat(20)
    with torch.no_grad():
        many = machine.dynamics.advance(machine.clean.states[rows, 0], machine.clean.inputs[rows, 1:])
    assert many.T.is_contiguous()
    few = torch.cat(
        [machine.dynamics.advance(machine.clean.states[r, 0], machine.clean.inputs[r, 1:]) for r in rows.split(32)]
    )
    assert torch.allclose(many, few, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kept", [(0, 1, 2), (1,), (0, 2)], ids=str)
def test_some_units_are_computed_alone_where_the_others_are_given(kept: tuple[int, ...]) -> None:
    """Over several blocks of rows, a step of some units equals those units in the step of all, to 1e-14."""
    machine = Machine.of(Reader("lstm"), X, **READ)
    rows = torch.arange(32).repeat(320)
    cell = machine.dynamics.narrow_cell
    assert cell is not None
    before, x = machine.clean.states[rows, 1], machine.clean.inputs[rows, 2].unsqueeze(0)
    c, h = before.T.split(3)
    given = h[[unit for unit in range(3) if unit not in kept]]
    with torch.no_grad():
        found = narrow.last(narrow.Steps.of(cell, kept), x, c[[*kept]], h[[*kept]], given)
    wanted = machine.clean.states[rows, 2].T[[start + unit for start in (0, 3) for unit in kept]]
    assert torch.allclose(found, wanted, atol=1e-14, rtol=0)


def test_the_model_is_left_as_it_was() -> None:
    """A machine is a copy, whose forward comes back too: the model keeps its type of numbers, mode and forward."""
    model, ran = Reader("gru").train(), list[Any]()
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: ran.append(module))
    with hook:
        Machine.of(model, X, **READ).readout.read(torch.zeros(2, 3, dtype=torch.float64))
    (copied,) = {id(module): module for module in ran if isinstance(module, Reader)}.values()
    assert copied is not model
    assert "forward" not in vars(copied.rnn)
    assert model.training
    assert model.head.weight.dtype == torch.float32
    assert "forward" not in vars(model.rnn)


@pytest.mark.parametrize(
    "model",
    [Mean("lstm"), Reader("lstm", num_layers=2), nn.Sequential(nn.Linear(2, 2))],
    ids=["a mean over steps", "a stack", "no layer"],
)
def test_a_model_that_is_no_machine_is_refused(model: nn.Module) -> None:
    """What the last state of one layer does not decide cannot be run from it."""
    with refused():
        Machine.of(model, X, **READ)


class Started(Reader):
    """A reader that starts where the first step's third feature says."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return self.head(self.rnn(x[:, :, :2], x[:, 0, 2].expand(1, 3, -1).mT.contiguous())[0][:, -1])


def test_rows_that_start_in_other_states_share_no_prefix() -> None:
    """Two starts make twice the prefixes, and the states that follow are those of the clean run."""
    x = torch.cat([torch.cat([X, X.new_full((32, LENGTH, 1), start)], 2) for start in (0.0, 0.5)])
    machine = Machine.of(Started("gru"), x, **READ)
    clean = machine.clean
    assert [len(prefixes.rows) for prefixes in clean.prefixes] == [4, 8, 16, 32, 64]
    states = machine.follow(clean.states[clean.prefixes[0].rows, 0], 0)
    assert torch.allclose(states, clean.states[clean.prefixes[1].rows, 1], atol=1e-12, rtol=0)
    found = Contexts(machine, (np.array([0, 32]), np.array([31, 63])), source_step=1, step=1)
    assert len(found) == 2
    with refused():
        fit_affine(machine, [LENGTH])


def test_a_stack_has_no_cell_of_its_own() -> None:
    """What asks for one layer's formulas is told so."""
    machine = Machine.of(Reader("gru"), X, **READ)
    stack = StackDynamics(nn.GRU(2, 3, 2, batch_first=True).double())
    with refused():
        _ = replace(machine, dynamics=stack).cell
    with refused():
        stack.unit(6)


def test_a_unit_or_signal_that_is_not_there_is_named() -> None:
    """Errors say what was given and what there is."""
    machine = Machine.of(Reader("gru"), X, **READ)
    with refused():
        machine.dynamics.unit(3)
    with refused():
        machine.dynamics.columns(Signal.CELL_STATE)
    with refused():
        machine.clean.recorded(Signal.FORGET_GATE)


def test_an_answer_that_takes_float32_only_is_named() -> None:
    """A machine runs in float64, and says so where a reading of the output cannot."""
    with refused():
        Machine.of(Reader("gru"), X, answer=answer, expected=lambda scores: scores @ torch.ones(CLASSES))


def test_states_and_inputs_carry_no_gradient() -> None:
    """What is kept of the clean run are numbers, ready for numpy."""
    machine = Machine.of(Reader("gru"), X, **READ)
    assert not machine.clean.states.requires_grad
    assert not machine.clean.inputs.requires_grad
