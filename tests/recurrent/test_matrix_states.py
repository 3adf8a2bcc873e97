"""States that are matrices: recordings have their axes, and their units are index tuples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from bodies import Model
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal
from probe.storage import digests

ROWS, TIME, AT = 3, 6, 2
SHAPE = (4, 5)


class Weights(nn.Module):
    """Fast weights: a matrix of a state, to which each step adds an outer product."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value = nn.Linear(3, SHAPE[0]), nn.Linear(3, SHAPE[1])
        self.out = nn.Linear(SHAPE[0] * SHAPE[1], 3)

    def added(self, x: Tensor) -> Tensor:
        """Return what an input adds, (..., key, value)."""
        return self.key(x)[..., :, None] * self.value(x)[..., None, :]


class Fast(Weights):
    """A layer of them, all steps at once."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, time, 3)."""
        return self.out(self.added(x).cumsum(1).flatten(2))


class FastStep(probe.Step):
    """Its step; beside the matrix, the number of steps."""

    names: ClassVar = {"state[0]": "memory", "state[1]": "count"}

    def inputs(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the sequences."""
        return x

    def initial(self, batch: int) -> Any:
        """Return zeros."""
        return torch.zeros(batch, *SHAPE), torch.zeros(batch)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        memory = state[0] + self.module.added(x)
        return self.module.out(memory.flatten(1)), (memory, state[1] + 1)


class Cell(Weights):
    """The same as a cell that a loop calls."""

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the next state."""
        memory = memory + self.added(x)
        return self.out(memory.flatten(1)), memory


def looped(m: Any, x: Tensor) -> Tensor:
    """Return the outputs of a loop over it."""
    memory, outputs = x.new_zeros(len(x), *SHAPE), []
    for now in x.unbind(1):
        y, memory = m.cell(now, memory)
        outputs.append(y)
    return torch.stack(outputs, 1)


@pytest.fixture(autouse=True)
def _registered() -> None:
    probe.register(Fast, FastStep)


@pytest.fixture(params=["memory", "state"])
def of(request: pytest.FixtureRequest) -> tuple[nn.Module, str]:
    """Return a layer, or a loop of a cell, and the name of its matrix."""
    return nn.Sequential(Fast()) if request.param == "memory" else Model(looped, cell=Cell()), request.param


@pytest.fixture
def x() -> Tensor:
    """Return sequences."""
    return torch.randn(ROWS, TIME, 3)


def test_a_recording_has_the_axes_of_the_state(of: tuple[Any, str], x: Tensor, tmp_path: Path) -> None:
    """(batch, time, key, value): in memory, files and tables, of gradients, and in what is printed."""
    model, name = of
    recording = probe.record(model, x, gradient_of=lambda output: output[:, -1].sum())
    assert recording[name].shape == recording.gradient[name].shape == (ROWS, TIME, *SHAPE)
    added = model.get_submodule("cell" if name == "state" else "0").added(x).cumsum(1)
    assert torch.allclose(recording[name], added, atol=1e-5)
    assert recording.initial[name].shape == (ROWS, *SHAPE)
    assert "3 x 6 x (4 x 5)" in str(recording)
    assert "3 x 6 x (4 x 5)" in recording._repr_html_()
    edit = probe.clamp(name, float(recording[name][0, AT, 1, 3]) + 1, units=(1, 3), steps=AT, rows=[0])
    moved = probe.record(model, x, edits=[edit]).output[0, -1].sum() - recording.output[0, -1].sum()
    assert abs(float(moved) - float(recording.gradient[name][0, AT, 1, 3])) < 1e-4
    recording = probe.record(model, x)
    recording.save(tmp_path / "one.safetensors")
    for other in (probe.load_recording(tmp_path / "one.safetensors"), probe.record(model, x, out=tmp_path / "many")):
        assert torch.allclose(torch.as_tensor(other[name]), recording[name], atol=1e-6)
        own = probe.record(model, x, edits=[probe.patch(name, other, units=[(1, 3)], steps=AT)])
        assert torch.allclose(own.output, recording.output, atol=1e-6)
    described = probe.inspect(nn.Sequential(Fast()))  # where it is known before a call
    assert "signals memory (4 x 5), count, output" in str(described)
    assert described.layers[0].shapes == {Signal("memory"): SHAPE}
    frame = recording.to_frame(signals=[name])
    assert len(frame) == ROWS * TIME * 20
    for unit in (0, 8, 19):
        row = frame[(frame["sequence"] == 1) & (frame["step"] == AT) & (frame["unit"] == unit)]
        assert float(row["value"].iloc[0]) == float(recording[name][(1, AT, *np.unravel_index(unit, SHAPE))])
    assert recording.to_frame(signals=[name], units=(1, 3))["unit"].unique().tolist() == [8]
    assert recording.to_frame(signals=[name], units=[(1, 3), (-1, -1)])["unit"].unique().tolist() == [8, 19]
    with refused():
        _ = recording.to_frame(signals=[name], units=8)
    array = recording.to_xarray()[recording.layers[0]][name]
    assert array.dims == ("batch", "time", f"{name}_0", f"{name}_1")
    assert np.array_equal(np.asarray(array), recording[name].numpy())


UNITS: list[Any] = [[(1, 3)], (1, 3), [[1, -2]], np.array([[1, 3]]), torch.tensor([[-3, 3]])]
DIAGONAL: list[Any] = [(2, 2), [2, 2], [(2, 2)], (-2, 2), np.array([2, 2])]


def test_an_index_tuple_is_one_unit(of: tuple[Any, str], x: Tensor) -> None:
    """In every spelling, two equal numbers too: the same number of the state is set, in JSON and a plot as well."""
    model, name = of
    clean = probe.record(model, x)
    for units, place in [*((one, (1, 3)) for one in UNITS), *((one, (2, 2)) for one in DIAGONAL)]:
        edit = probe.clamp(name, 7.0, units=units, steps=AT)
        edited = probe.record(model, x, edits=[probe.Edit.from_json(edit.to_json())])
        wanted = clean[name][:, AT].clone()
        wanted[(slice(None), *place)] = 7.0
        assert torch.equal(edited[name][:, AT], wanted)
        assert (edited.output != clean.output).any(-1).any(0).tolist() == [step > AT for step in range(TIME)]
        assert len(edited.plot.traces(signal=name, units=units).lines) == 1


def test_every_edit_takes_index_tuples(of: tuple[Any, str], x: Tensor) -> None:
    """Values stand in the order in which the units do; each edit of a sweep is that alone."""
    model, name = of
    clean, units, numbers = probe.record(model, x), [(0, 1), (3, 4), (2, 0)], torch.tensor([1.0, 2.0, 3.0])
    before = clean[name][:, AT]
    picked = torch.stack([before[:, i, j] for i, j in units], 1)
    site: dict[str, Any] = {"units": units, "steps": AT}
    rest = torch.ones(SHAPE, dtype=torch.bool)
    rest[[0, 3, 2], [1, 4, 0]] = False
    kinds: dict[probe.Edit, Tensor] = {
        probe.clamp(name, [1.0, 2.0, 3.0], **site): numbers.expand(ROWS, 3),
        probe.ablate(name, kind="mean", reference=clean, **site): picked.mean(0).expand(ROWS, 3),
        probe.patch(name, clean, source_rows=[1, 2, 0], **site): picked[[1, 2, 0]],
        probe.steer(name, [1.0, 2.0, 3.0], **site): picked + numbers,
        probe.edit(name, lambda value, site: value * numbers, **site): picked * numbers,
    }
    swept = probe.sweep(model, x, edits=list(kinds))
    for number, (edit, wanted) in enumerate(kinds.items()):
        run = probe.record(model, x, edits=[edit])
        after = run[name][:, AT]
        assert torch.allclose(torch.stack([after[:, i, j] for i, j in units], 1), wanted)
        assert torch.equal(after[:, rest], before[:, rest])
        assert torch.allclose(swept[number], run.output, atol=1e-6)
        if number < 4:  # a function has no JSON
            assert (probe.Edit.from_json(edit.to_json()), edit.site.units) == (edit, tuple(units))


def test_what_is_no_unit_of_it_is_refused(of: tuple[Any, str], x: Tensor) -> None:
    """The message names the shape."""
    model, name = of
    wrong: list[Any] = [[(4, 0)], [(0, -6)], [(1, 2, 3)], (1, 2, 3), 7, [(1, 2), (1, -3)], [(2, 2), (2, 2)]]
    recording = probe.record(model, x)
    for units in [*wrong, (2, 2, 2)]:
        with refused():
            _ = probe.record(model, x, edits=[probe.clamp(name, 0.0, units=units)])
        with refused():
            _ = probe.patch(name, recording, units=units)


def test_units_that_are_none_are_refused_where_the_edit_is_made(x: Tensor) -> None:
    """Empty tuples, a unit twice, matrices of values, an index tuple for a vector, and a unit of it twice."""
    for value, units in ((0.0, [()]), (0.0, []), (0.0, [(1, 2), (1, 2)]), (torch.zeros(SHAPE), None)):
        with refused():
            _ = probe.clamp("memory", value, units=units)
    with refused():
        _ = probe.steer("memory", torch.zeros(SHAPE))
    lstm = nn.LSTM(3, 5, batch_first=True)
    for units in ([(1, 2)], (2, 2)):
        with refused():
            _ = probe.record(lstm, x, edits=[probe.clamp("cell_state", 0.0, units=units)])
    one = probe.record(lstm, x, edits=[probe.clamp("cell_state", 0.0, units=(1, 2))])
    assert not one["cell_state"][..., 1:3].any()


def test_a_file_with_another_shape_is_refused(x: Tensor, tmp_path: Path) -> None:
    """Of a folder whose description was changed and sealed again."""
    _ = probe.record(nn.Sequential(Fast()), x, out=tmp_path / "run")
    file = tmp_path / "run" / "recording.json"
    described = json.loads(file.read_text())
    for shape in ([4, 6], [20], [-4, -5], "4 x 5", [4.0, 5.0]):
        described["parts"][0]["shapes"]["memory"] = shape
        kept = {name: value for name, value in described.items() if name in digests.sealed(described)}
        file.write_text(json.dumps(digests.sealed(kept)))
        with refused():
            _ = probe.load_recording(tmp_path / "run")
