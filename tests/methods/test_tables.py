"""Tables of all subsets of units, gates and routes: each equal to running every pair and subset by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_machines import WINS, Reader, X, expected, machine_of
from refusing import refused
from torch import Tensor

import probe
from probe import Signal
from probe.methods.decomposition.contexts import RowPairs, changed_at
from probe.methods.decomposition.gates import gate_table, gates_of, input_places, with_constant_gates
from probe.methods.decomposition.routes import route_table, routes_of
from probe.methods.decomposition.shapley import subsets
from probe.methods.decomposition.units import unit_table
from probe.methods.machines import Machine
from probe.recurrent import CustomGRU, CustomLSTM

STEP = 2
#: Sequences that are not all there are, so that prefixes go on in unequal ways.
SOME = torch.tensor([row for row in range(32) if row not in (3, 9, 10, 27)])


def machine(kind: str, units: int = 3) -> Machine:
    """Return a reader over some sequences."""
    return machine_of(Reader(kind, units), X[SOME])


def pairs(changed: int, step: int = STEP) -> RowPairs:
    """Return the pairs of some sequences that differ at one step."""
    return changed_at(X[SOME], WINS[SOME], changed, step)


def mean(table: tuple[np.ndarray, np.ndarray]) -> list[float]:
    """Return the mean over contexts."""
    return np.average(table[0], axis=0, weights=table[1]).tolist()


def run_on(model: Machine, states: Tensor, rows: np.ndarray, step: int) -> float:
    """Return the mean expected answer where each row goes on by itself."""
    return float(model.answers(states, torch.as_tensor(rows), step).expected.mean())


def test_pairs_differ_at_one_step_and_in_the_concept() -> None:
    """All 32 sequences have 16 pairs at each step, the source with one more win; a missing row takes its pair."""
    base, source = changed_at(X, WINS, 1, 3)
    assert len(base) == 16
    assert torch.equal(X[source] != X[base], torch.tensor([0, 1, 0, 0, 0]).bool()[None, :, None].expand(16, 5, 2))
    assert torch.equal(WINS[source, 3] - WINS[base, 3], torch.ones(16, dtype=torch.long))
    assert len(pairs(1)[0]) == 12


@pytest.mark.parametrize("kind", ["lstm", "rnn"])
def test_units_are_put_in_as_if_each_subset_ran_by_itself(kind: str) -> None:
    """Of any pairs, each as often as it stands there: a unit with all its numbers, to 1e-12."""
    model = machine(kind)
    base, source = np.array([0, 0, 0, 1, 5, 5, 20]), np.array([16, 16, 8, 8, 20, 20, 3])
    states = [model.clean.states[rows, STEP] for rows in (base, source)]
    wanted = []
    for members in subsets(3):
        own = torch.as_tensor([bool(member) for member in members]).repeat(states[0].shape[1] // 3)
        wanted.append(run_on(model, torch.where(own, states[1], states[0]), base, STEP))
    table, weight = unit_table(model, (base, source), STEP)
    assert mean((table, weight)) == pytest.approx(wanted, abs=1e-12)
    assert weight.sum() == 7
    prefixes = [[tuple(X[SOME][row, :3, 0].tolist()) for row in rows] for rows in (base, source)]
    assert len(table) == len(set(zip(*prefixes, strict=True)))


def test_many_rows_in_pieces_give_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts and subsets are run in pieces; their size does not matter."""
    model = machine("lstm")
    whole, _ = unit_table(model, pairs(0), STEP)
    for limit, size in {"_ROWS": 5, "_SUBSETS": 3}.items():
        monkeypatch.setattr(f"probe.methods.decomposition.contexts.{limit}", size)
    np.testing.assert_allclose(unit_table(model, pairs(0), STEP)[0], whole, atol=1e-13)


def lstm_by_hand(layer: Any, x: dict[str, Tensor], h: dict[str, Tensor], c: Tensor) -> Tensor:
    """Return (c, h) after a step in which every gate reads its own input and hidden state."""
    W, U = layer.weight_ih_l0.chunk(4), layer.weight_hh_l0.chunk(4)
    b = (layer.bias_ih_l0 + layer.bias_hh_l0).chunk(4)
    i, f, g, o = (x[name] @ W[k].T + h[name] @ U[k].T + b[k] for k, name in enumerate("ifgo"))
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.cat([new, o.sigmoid() * new.tanh()], 1)


@torch.no_grad()
def test_lstm_gates_and_routes_are_those_of_the_formulas() -> None:
    """Written out by hand: i, f, g, o read the source's input; c by f * c and h into each gate, in each subset."""
    model, (base, source) = machine("lstm"), pairs(STEP)
    layer = Reader("lstm").double().rnn
    c, h = model.clean.states[base, STEP - 1].chunk(2, 1)
    x = model.clean.inputs[:, STEP]
    wanted = []
    for members in subsets(4):
        read = {name: x[source] if member else x[base] for name, member in zip("ifgo", members, strict=True)}
        wanted.append(run_on(model, lstm_by_hand(layer, read, dict.fromkeys("ifgo", h), c), base, STEP))
    gates = [Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE]
    assert [*input_places(model.cell)] == gates
    assert mean(gate_table(model, (base, source), STEP)) == pytest.approx(wanted, abs=1e-12)
    (c_b, h_b), (c_s, h_s) = (model.clean.states[rows, STEP].chunk(2, 1) for rows in (base, source))
    x = model.clean.inputs[base, STEP + 1]
    wanted = []
    for members in subsets(5):
        hidden = {name: h_s if member else h_b for name, member in zip("ifgo", members[1:], strict=True)}
        states = lstm_by_hand(layer, dict.fromkeys("ifgo", x), hidden, c_s if members[0] else c_b)
        wanted.append(run_on(model, states, base, STEP + 1))
    assert next(iter(routes_of(model.cell))) == Signal.CELL_STATE
    assert mean(route_table(model, (base, source), STEP)) == pytest.approx(wanted, abs=1e-12)


@torch.no_grad()
def test_gru_routes_are_those_of_the_formulas() -> None:
    """Written out by hand: h through z * h, and into r, z and n, in each of 16 subsets."""
    model, (base, source) = machine("gru"), pairs(STEP)
    layer, x = Reader("gru").double().rnn, model.clean.inputs[base, STEP + 1]
    W, U, b, d = (getattr(layer, f"{name}_l0").chunk(3) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    before, other = model.clean.states[base, STEP], model.clean.states[source, STEP]
    wanted = []
    for members in subsets(4):
        kept, into_r, into_z, into_n = (other if member else before for member in members)
        r, z = ((x @ W[k].T + b[k] + h @ U[k].T + d[k]).sigmoid() for k, h in enumerate((into_r, into_z)))
        n = (x @ W[2].T + b[2] + r * (into_n @ U[2].T + d[2])).tanh()
        wanted.append(run_on(model, (1 - z) * n + z * kept, base, STEP + 1))
    assert mean(route_table(model, (base, source), STEP)) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("step", [0, STEP])
def test_nothing_delivered_is_the_base_and_all_of_it_the_source(kind: str, step: int) -> None:
    """The first and last subset of gates, routes and units are clean runs; the first step starts from zero."""
    model, (base, source) = machine(kind), pairs(step, step)
    clean = float(model.clean.answers.expected[base].mean())
    delivered = run_on(model, model.clean.states[source, step], base, step)
    for table in (gate_table, route_table, unit_table):
        found = mean(table(model, (base, source), step))
        assert [found[0], found[-1]] == pytest.approx([clean, delivered], abs=1e-12)


@pytest.mark.parametrize("kind", ["peepholes", "reset before"])
def test_cells_that_torch_lacks_have_routes_and_gates_too(kind: str) -> None:
    """With peepholes and with the reset before the product, all routes together carry the whole state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        peeping = CustomLSTM(2, 3, peepholes=True, batch_first=True)
        reader = Reader("lstm")
        reader.rnn = peeping if kind == "peepholes" else CustomGRU(2, 3, reset="before", batch_first=True)
    model, (base, source) = machine_of(reader, X[SOME]), pairs(STEP)
    wanted = run_on(model, model.clean.states[source, STEP], base, STEP)
    for table in (gate_table, route_table):
        assert mean(table(model, (base, source), STEP))[-1] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_constant_gates_are_the_mean_ablation_of_all_of_them(kind: str) -> None:
    """The answers are those of the model run whole with edits, to 1e-12."""
    model = machine(kind)
    gates = gates_of(model.cell)
    found = with_constant_gates(model, gates)
    x, bare = X[SOME].double(), Reader(kind).double()
    recording = probe.record(bare, x)
    edits = [probe.ablate(gate, kind="mean", reference=recording) for gate in gates]
    with torch.no_grad(), probe.intervene(bare, *edits):
        wanted = bare(x)
    assert torch.allclose(found.expected, expected(wanted), atol=1e-12, rtol=0)
    assert not torch.allclose(found.expected, model.clean.answers.expected, atol=1e-3)


def test_what_has_no_route_gate_or_pair_is_refused() -> None:
    """No step follows the last one, and groups must not overlap."""
    x = torch.randn(8, 5, 2, generator=torch.Generator().manual_seed(0))
    cases: list[Any] = [
        lambda: route_table(machine("lstm"), pairs(2), 4),
        lambda: unit_table(machine("gru"), pairs(0), STEP, groups=[[0], [0]]),
        lambda: unit_table(machine("gru", 17), pairs(0), STEP),
        lambda: changed_at(x, WINS[:8], 1, 3),
    ]
    for ask in cases:
        with refused():
            ask()
    assert gates_of(machine("rnn").cell) == ()
