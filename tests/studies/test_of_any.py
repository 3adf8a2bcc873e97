"""Networks that are not layers of torch alone, studied.

- A CTRNN in a plain loop, or with its step in a method, gives what the same network gives as nn.RNN.
- One that keeps a state from call to call is studied as if each call began anew, or refused at once.
"""

from __future__ import annotations

import copy
import itertools
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bodies import Model
from refusing import refused
from studied import report_of
from torch import Tensor, nn

import probe
from probe.evidence import Network
from probe.methods.fixed_points import find_points, visited_states
from probe.methods.machines import Machine
from probe.recurrent.global_state import in_float64
from probe.recurrent.random_weights import random_weights
from probe.studies.prepare import prepare
from probe.subjects.networks.copies import starting_alike
from probe.subjects.subject import Subject

UNITS, TIME = 5, 5
BITS = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=TIME)))[:, :, None]
QUESTIONS = ("fixed-points", "interchange", "erasure", "ablation", "noise-margin", "single-units")


class Cell(nn.Module):
    """One Euler step of a continuous-time network: h' = (1 - alpha) h + alpha tanh(W x + U h)."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.alpha, self.x2h, self.h2h = alpha, nn.Linear(1, UNITS), nn.Linear(UNITS, UNITS, bias=False)

    def forward(self, x: Tensor, h: Tensor) -> Any:
        """Return the next state."""
        return (1 - self.alpha) * h + self.alpha * torch.tanh(self.x2h(x) + self.h2h(h))


class Unrolled(Cell):
    """Runs the whole sequence itself, its step in a method."""

    def recurrence(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return super().forward(x, h)

    def forward(self, x: Tensor, h: Any = None) -> Tensor:
        """Return the last state of (batch, time, feature)."""
        h = x.new_zeros(len(x), UNITS)
        for step in range(x.shape[1]):
            h = self.recurrence(x[:, step], h)
        return h


class Talkative(Cell):
    """Returns a gate and a sum beside its state."""

    def forward(self, x: Tensor, h: Tensor) -> Any:
        """Return a readable gate, and the next state."""
        return torch.sigmoid(self.x2h(x)), super().forward(x, h), h.sum()


def looped(cell: Any, masked: bool = False) -> Model:
    """Return a readout of the last state of a loop over a cell, which may set it to 0 at a step, or of a layer."""

    def body(m: Any, x: Tensor) -> Tensor:
        if isinstance(m.cell, nn.RNN):
            return m.out(m.cell(x)[0][:, -1])[:, 0]
        if isinstance(m.cell, Unrolled):
            return m.out(m.cell(x))[:, 0]
        h = x.new_zeros(len(x), UNITS)
        for step in range(x.shape[1]):
            found = m.cell(x[:, step], h * float(step != 3) if masked else h)
            h = found[1] if isinstance(found, tuple) else found
        return m.out(h)[:, 0]

    out = nn.Linear(UNITS, 1)
    _ = out.load_state_dict({"weight": 1.05 * torch.eye(UNITS)[:1], "bias": torch.zeros(1)})
    return Model(body, cell=cell, out=out)


def planted(kind: type[Cell] = Cell) -> Cell:
    """Return a flip-flop of one bit: unit 0 stays at the sign of the last pulse."""
    cell = kind()
    with torch.no_grad():
        cell.x2h.weight[0], cell.x2h.bias[0], cell.h2h.weight[0] = 4.0, 0.0, 2 * torch.eye(UNITS)[0]
    return cell


def as_rnn(cell: Cell) -> nn.RNN:
    """Return the same network as torch's own."""
    rnn = nn.RNN(1, UNITS, batch_first=True)
    weights = (cell.x2h.weight, cell.h2h.weight, cell.x2h.bias, torch.zeros(UNITS))
    _ = rnn.load_state_dict(dict(zip(rnn.state_dict(), weights, strict=True)))
    return rnn


def held(x: np.ndarray) -> np.ndarray:
    """Return the sign of the last pulse after each step, NaN before the first."""
    pulses = np.where(x[:, 0] == 0, np.nan, x[:, 0])
    return pd.Series(pulses).ffill().to_numpy()


def studied(model: Any, folder: Path, *, head: bool) -> dict[str, pd.DataFrame]:
    """Return what a study measures of a network alone, by question."""
    linear: dict[str, Any] = {"weight": model.out.weight.detach(), "bias": model.out.bias.detach(), "kind": "number"}
    output: dict[str, Any] = {"output": (torch.sign, lambda y: y)}
    readout = probe.Readout("held", **(linear if head else output))
    x = BITS[(BITS[:, 0] != 0)[:, 0]]
    _ = probe.Study(model, x, {"held": held}, readout=readout, questions=QUESTIONS, controls=()).run(folder)
    found = {name: probe.Finding.read(folder / "findings" / name).measurements for name in (*QUESTIONS, "network")}
    return {name: table[table["role"] == "trained"].reset_index(drop=True) for name, table in found.items()}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("kind", "head"), [(Cell, True), (Cell, False), (Unrolled, True)])
def test_a_network_is_studied_as_the_same_one_of_torch(kind: type[Cell], head: bool, tmp_path: Path) -> None:
    """All numbers that are asked of it agree, with its head and read off its output."""
    own, torchs = (
        studied(looped(one), tmp_path / type(one).__name__, head=head) for one in (planted(kind), as_rnn(planted()))
    )
    for name in QUESTIONS:
        assert len(torchs[name]), name
        one, other = (table.drop(columns=["network", "layer", "signal"]) for table in (own[name], torchs[name]))
        pd.testing.assert_frame_equal(one, other, rtol=1e-6, atol=1e-9, obj=name)


def machine(model: nn.Module) -> Machine:
    """Return a model as a machine."""
    return Machine.of(model, BITS[::17], answer=torch.sign, expected=lambda y: y)


def test_the_fixed_points_of_a_leaky_network_are_those_of_its_formula() -> None:
    """h = (1 - a) h + a tanh(W x + U h) holds, and the Jacobian is (1 - a) I + a diag(1 - tanh^2) U."""
    cell, still = Cell(alpha=0.3), torch.zeros(1, dtype=torch.float64)
    with torch.no_grad():
        cell.h2h.weight.add_(2 * torch.eye(UNITS))
        cell.x2h.bias.zero_()
    ran = machine(looped(cell))
    points = find_points(ran.dynamics, still, visited_states(ran.clean))
    U, b = (one.detach().double().numpy() for one in (cell.h2h.weight, cell.x2h.bias))
    assert len(points) > 1
    for state, jacobian in zip(points.states[points.fixed], points.jacobians[points.fixed], strict=True):
        rate = np.tanh(U @ state + b)
        np.testing.assert_allclose(rate, state, atol=1e-4)
        np.testing.assert_allclose(jacobian, 0.7 * np.eye(UNITS) + 0.3 * (1 - rate**2)[:, None] * U, atol=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_run_from_its_states_is_refused(tmp_path: Path) -> None:
    """The model acts on the state, or its cell returns more."""
    masked, talkative = looped(Cell(), masked=True), looped(Talkative())
    for model in (masked, talkative):
        with refused():
            _ = machine(model)
    assert "state" in probe.record(talkative, BITS[:4]).parts[0].signals
    # What its cell reads is told by a call alone, so that no number stands for it.
    layer = studied(masked, tmp_path, head=False)["network"].query("layer != ''").set_index("metric")["value"]
    assert "inputs" not in layer
    assert (layer["units"], layer["parameters"], layer["looked_at"]) == (UNITS, 2 * UNITS + UNITS**2, 1)


def test_controls_draw_what_says_how_it_is_drawn() -> None:
    """The cell's linear parts are drawn anew, the readout stays, and the same seed gives the same numbers."""
    model = looped(Cell())
    draw = partial(random_weights, model, 2, seed=3, cells=["cell"])
    (fresh, drawn), (shuffled, mixed) = draw()
    assert (fresh, shuffled) == ("fresh weights 1", "shuffled weights 1")
    again = dict(draw())[fresh].state_dict()
    for name, value in model.state_dict().items():
        recurrent = "2h" in name
        assert torch.equal(drawn.state_dict()[name], value) != recurrent, name
        assert torch.equal(drawn.state_dict()[name], again[name])
        assert torch.equal(mixed.state_dict()[name].flatten().sort()[0], value.flatten().sort()[0])


STRINGS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))[:, :, None]


def going_on(m: Any, x: Tensor) -> Tensor:
    """Go on from the state of the last call, where it is kept."""
    output, hidden = m.rnn(x, m.hidden)
    m.hidden = hidden.detach() if m.keeps else None
    return m.head(output[:, -1])


def keeping(*, keeps: bool) -> Any:
    """Return a GRU of fixed weights with a head."""
    torch.manual_seed(0)
    parts = {"rnn": nn.GRU(1, 8, batch_first=True), "head": nn.Linear(8, 1)}
    return Model(going_on, **parts, keeps=keeps, hidden=None).eval()


@pytest.mark.usefixtures("undrawn")
def test_a_study_measures_what_it_measures_where_nothing_is_kept(tmp_path: Path) -> None:
    """Of controls too, in float32 and in the float64 copies; what an earlier call left is refused at once."""
    asked = ["linear-readout", "routes", "answers"]
    model, clean = (
        probe.Study(keeping(keeps=keeps), STRINGS, {"ones": STRINGS[:, :, 0].cumsum(1)}, questions=asked)
        for keeps in (True, False)
    )
    kept, wanted = (report_of(one, tmp_path / str(one is model)).findings for one in (model, clean))
    for name, found in kept.items():
        pd.testing.assert_frame_equal(found.measurements, wanted[name].measurements)
    network: Any = model.networks
    assert network.hidden is None
    assert not network._forward_hooks
    for rows in (64, 2):
        _ = network(STRINGS[:rows])
        with refused():
            _ = prepare(model)
        network.hidden = None
    assert len(prepare(model)) == 1


@torch.no_grad()
def test_every_call_of_the_copy_starts_alike() -> None:
    """So does a copy of the copy, one in float64, one that was pickled or failed before, and a subject of its own."""
    model, clean = keeping(keeps=True), keeping(keeps=False)
    alike = starting_alike(model, STRINGS[:2])
    copied = pickle.loads(pickle.dumps(copy.deepcopy(alike)))
    subject = Subject.of(Network("one", "trained", model), STRINGS, STRINGS[:, :, 0].cumsum(1))
    for one in (alike, copied, subject.model):
        with pytest.raises(RuntimeError):
            _ = one(STRINGS[:, :, [0, 0]])
        for part in (STRINGS, STRINGS[:5], STRINGS):
            assert torch.equal(one(part), clean(part))
    wide = in_float64(alike)
    for _ in range(2):
        assert torch.equal(wide(STRINGS.double()), in_float64(clean)(STRINGS.double()))
    assert torch.equal(probe.record(alike, STRINGS).output, clean(STRINGS))  # and warns of nothing
    _ = clean.register_forward_hook(lambda module, _, output: setattr(module, "shown", output.detach()))
    _ = clean(STRINGS)  # what nobody reads is no reason to refuse
    assert starting_alike(clean, STRINGS) is clean
    assert model.hidden is None
