"""Cells that somebody writes: right ones are recorded and edited, and what would be silently wrong is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from custom_by_hand import KINDS
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal
from probe.recurrent.cells.cell import Cell, Formula
from probe.recurrent.cells.checking import check_cell
from probe.recurrent.custom import CustomModule
from probe.recurrent.finding import find_layers

A_Z, Z = Signal.UPDATE_GATE_PREACTIVATION, Signal.UPDATE_GATE
A_N, N, H = Signal.CANDIDATE_PREACTIVATION, Signal.CANDIDATE, Signal.HIDDEN_STATE
C = Signal.CELL_STATE
INPUTS, UNITS, BATCH, TIME = 2, 6, 8, 5


class OneGate(Cell):
    """The cell of docs/howto/recurrence.md: one gate decides how much of the old state is kept."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights
        self.units = len(weights.W) // 2
        self.formulas = (
            Formula(A_Z, (), lambda moment: moment.given[A_Z]),
            Formula(Z, (A_Z,), lambda _, a: a.sigmoid()),
            Formula(A_N, (), lambda moment: moment.given[A_N]),
            Formula(N, (A_N,), lambda _, a: a.tanh()),
            Formula(H, (Z, N), lambda moment, z, n: (1 - z) * n + z * moment.previous[H]),
        )

    def size(self, signal: Signal) -> int:
        """Return how many units a signal has."""
        return self.units

    def given(self, inputs: Tensor, previous: Tensor) -> dict[Signal, Tensor]:
        """Return the two pre-activations."""
        z, n = (inputs + self.recurrent(previous)).chunk(2, dim=-1)
        return {A_Z: z, A_N: n}

    def change(self, *formulas: Formula) -> OneGate:
        """Put other formulas in the places of those with the same signals."""
        named = {formula.signal: formula for formula in formulas}
        self.formulas = tuple(named.get(formula.signal, formula) for formula in self.formulas)
        return self


class Module(CustomModule):
    """A module whose cell a function makes of its weights."""

    rows, states = 2, 1

    def __init__(self, make: Callable[[Any], Cell], *, states: int = 1) -> None:
        super().__init__(INPUTS, UNITS, {}, learned_initial_state=False, bias=True, batch_first=True)
        self._make, self.states = make, states
        self.mix = nn.Parameter(torch.zeros(UNITS, UNITS))

    def make_cell(self) -> Cell:
        """Return its cell."""
        return self._make(self)


def _one_gate(module: Any) -> OneGate:
    return OneGate(module._weights())


def _two_states(module: Any) -> Cell:
    """Return a cell that hands on a second state, which its formulas read."""
    cell = _one_gate(module)
    cell.states = (H, C)
    formulas = list(cell.formulas[:-1])
    formulas.append(Formula(C, (Z, N), lambda moment, z, n: (1 - z) * n + z * moment.previous[C]))
    cell.formulas = (*formulas, Formula(H, (C,), lambda _, c: c.tanh()))
    return cell


def _normalised(module: Any, *, mixes: bool = True) -> Cell:
    """Return a cell that normalises its gate over the units."""
    return _one_gate(module).change(Formula(Z, (A_Z,), lambda _, a: a.softmax(-1), mixes=mixes))


def _turned(module: Any) -> Cell:
    """Return a cell that reads other units of the state before the step, which no edit of the step changes."""
    turned = Formula(H, (Z, N), lambda moment, z, n: (1 - z) * n + z * moment.previous[H].flip(-1))
    return _one_gate(module).change(turned)


@pytest.mark.parametrize("make", [_one_gate, _two_states, _turned, _normalised])
def test_edits_of_own_cells_equal_a_loop(make: Callable[[Any], Cell]) -> None:
    """A right cell passes, and an edit of one unit has the effect that stepping the formulas by hand has."""
    torch.manual_seed(0)
    model = Module(make, states=len(make(Module(make)).states)).double()
    x = torch.randn(BATCH, TIME, INPUTS, dtype=torch.float64)
    cell = make(model)
    edited = probe.record(model, x, edits=[probe.clamp("update_gate_preactivation", 2.0, units=1, steps=2)])
    state = {signal: torch.zeros(BATCH, UNITS, dtype=torch.float64) for signal in cell.states}
    found = []
    with torch.no_grad():
        for t in range(TIME):
            moment = cell.moment_at(x[:, t], state)
            after: dict[Signal, Tensor] = {}
            for formula in cell.formulas:
                value = formula.compute(moment, *(after[source] for source in formula.sources)).clone()
                if formula.signal == A_Z and t == 2:
                    value[:, 1] = 2.0
                after[formula.signal] = value
            state = {signal: after[signal] for signal in cell.states}
            found.append(after)
    for signal in (Z, N, H):
        expected = torch.stack([after[signal] for after in found], 1)
        torch.testing.assert_close(edited[signal], expected, rtol=0, atol=1e-12)
    assert edited.max_error is not None


_COUNT = itertools.count(1)


def _remembered(module: Any) -> Cell:
    """Return a cell whose last formula reads the gate behind the back of its sources."""
    kept: list[Tensor] = []
    return _one_gate(module).change(
        Formula(Z, (A_Z,), lambda _, a: kept.append(a.sigmoid()) or kept[-1]),
        Formula(N, (A_N, Z), lambda _, a, z: a.tanh() + 0 * z),
        Formula(H, (N,), lambda moment, n: (1 - kept[-1]) * n + kept[-1] * moment.previous[H]),
    )


def _with(module: Any, **attributes: Any) -> Cell:
    cell = _one_gate(module)
    for name, value in attributes.items():
        setattr(cell, name, value)
    return cell


def _sized(module: Any, **sizes: int) -> Cell:
    return _with(module, size=lambda signal: sizes.get(str(signal), UNITS))


def _of(signal: Signal, compute: Callable[..., Any], *sources: Signal) -> Callable[[Any], Cell]:
    return lambda module: _one_gate(module).change(Formula(signal, sources, compute))


def _with_run(module: Any) -> Cell:
    def run(*given: Any) -> Any:
        signals, state = _one_gate(module).run(*given)
        return {signal: value + (signal == N) * 0.1 for signal, value in signals.items()}, state

    return _with(module, run=run)


WRONG: dict[str, Callable[[Any], Any]] = {
    "normalises over the units": lambda module: _normalised(module, mixes=False),
    "reads a neighbour": _of(N, lambda _, a: a.tanh() + 0.1 * a.roll(1, -1), A_N),
    "reads one far unit": _of(N, lambda _, a: a.tanh() + a[..., -1:] * torch.eye(UNITS)[0], A_N),
    "mixes by weights that are zero now": lambda module: _of(N, lambda _, a: a.tanh() + a @ module.mix, A_N)(module),
    "mixes the second source": _of(H, lambda m, z, n: (1 - z) * n.flip(-1) + z * m.previous[H], Z, N),
    "normalises over the batch": _of(N, lambda _, a: (a - a.mean(0, keepdim=True)).tanh(), A_N),
    "draws random numbers": _of(N, lambda _, a: nn.functional.dropout(a.tanh()), A_N),
    "counts its calls": _of(N, lambda _, a: a.tanh() * (1 + 0.1 * next(_COUNT)), A_N),
    "remembers another signal": _remembered,
    "reads what is given for another": _of(
        H, lambda m, z, n: (1 - z) * m.given[A_N].tanh() + z * m.previous[H] + 0 * n, Z, N
    ),
    "names a source too few": _of(H, lambda m, z: (1 - z) * m.given[A_N].tanh() + z * m.previous[H], Z),
    "changes a source in place": _of(N, lambda _, a: a.tanh_(), A_N),
    "changes the previous state in place": _of(H, lambda m, z, n: m.previous[H].mul_(z).add_((1 - z) * n), Z, N),
    "counts axes from the front": _of(Z, lambda _, a: a.cumsum(1), A_Z),
    "reads a state that it does not hand on": _of(H, lambda m, z, n: (1 - z) * n + z * m.previous[C], Z, N),
    "is given nothing of that name": _of(A_N, lambda moment: moment.given[C]),
    "has the order backwards": lambda module: _with(module, formulas=_one_gate(module).formulas[::-1]),
    "says another size of a pre-activation": lambda module: _sized(
        module, update_gate_preactivation=3, update_gate=3, hidden_state=UNITS
    ),
    "says another size of its state": lambda module: _sized(module, hidden_state=3),
    "hands on nothing": lambda module: _with(module, states=()),
    "hands on what it does not compute": lambda module: _with(module, states=(H, C)),
    "has a state that is not the hidden one": lambda module: _with(module, states=(Z,)),
    "gives another type": _of(N, lambda _, a: a.double().tanh(), A_N),
    "gives no tensor": _of(N, lambda _, a: None, A_N),
    "takes other arguments": _of(N, lambda a: a.tanh(), A_N),
    "computes a signal twice": lambda module: _with(module, formulas=[*_one_gate(module).formulas] * 2),
    "has a run() of its own": _with_run,
    "has two states and says one": _two_states,
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_cell_that_does_not_say_what_it_reads_is_refused(kind: str) -> None:
    """What an edit would carry on wrongly, or not at all, is found before anything is recorded."""
    module, x = Module(WRONG[kind]), torch.randn(BATCH, TIME, INPUTS)
    with refused():
        _ = probe.record(module, x)
    if kind == "normalises over the units":
        for use in (lambda: probe.inspect(module), lambda: probe.sweep(module, x, edits=[probe.clamp(N, 0.0)])):
            with refused():
                _ = use()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_right_cell_passes_in_any_type_and_size(dtype: torch.dtype) -> None:
    """Rounding is no difference, and neither is one unit; global random numbers are left as they were."""
    for units in (1, 2, 3, 33):
        model = Module(_one_gate)
        CustomModule.__init__(model, INPUTS, units, {}, learned_initial_state=True, bias=False, batch_first=True)
        before = torch.get_rng_state()
        assert probe.inspect(model.to(dtype)).layers[0].units == units
        assert torch.equal(before, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
@pytest.mark.parametrize(
    "module",
    [
        *(kind.make() for kind in KINDS),
        nn.LSTM(3, 5, 2, bidirectional=True),
        nn.LSTM(3, 5, proj_size=2),
        nn.LSTM(3, 5, bias=False).double(),
        nn.GRU(3, 20),
        nn.RNN(3, 5, nonlinearity="relu"),
        nn.LSTMCell(1, 1),
        nn.GRUCell(3, 5).bfloat16(),
        nn.LSTM(3, 300),
    ],
    ids=str,
)
def test_the_cells_of_torch_and_of_this_library_pass(module: nn.Module) -> None:
    """They are not tried at run time, so they are tried here: with weights that reach every bend."""
    for layer in find_layers(module):
        check_cell(layer.cell, layer.name, layer.inputs, layer.learned)
