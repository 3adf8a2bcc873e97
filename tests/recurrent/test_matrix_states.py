"""States that are matrices: recordings have their axes, and their units are index tuples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Step
from probe.recurrent.signals import Signal, as_units, flat_units
from probe.recurrent.steps import registry

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


class FastStep(Step):
    """Its step; beside the matrix, the number of steps."""

    names = {"state[0]": "memory", "state[1]": "count"}  # noqa: RUF012

    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return the input."""
        return arguments[0]

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


class Loop(nn.Module):
    """A loop over it."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        memory, outputs = x.new_zeros(len(x), *SHAPE), []
        for now in x.unbind(1):
            y, memory = self.cell(now, memory)
            outputs.append(y)
        return torch.stack(outputs, 1)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Register the layer for one test."""
    probe.register(Fast, FastStep)
    yield
    registry._registered.pop(Fast, None)


@pytest.fixture(params=["layer", "loop"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    """Return a network of each kind."""
    torch.manual_seed(0)
    return nn.Sequential(Fast()) if request.param == "layer" else Loop()


@pytest.fixture
def x() -> Tensor:
    """Return sequences."""
    return torch.randn(ROWS, TIME, 3, generator=torch.Generator().manual_seed(1))


def name_of(model: nn.Module) -> str:
    """Return the name of the matrix."""
    return "state" if isinstance(model, Loop) else "memory"


def by_hand(model: nn.Module, x: Tensor) -> Tensor:
    """Return the matrix after each step, (batch, time, key, value)."""
    weights: Any = model.get_submodule("cell" if isinstance(model, Loop) else "0")
    return weights.added(x).cumsum(1)


@torch.no_grad()
def test_a_recording_has_the_axes_of_the_state(model: nn.Module, x: Tensor) -> None:
    """(batch, time, key, value); so have initial states, and what is printed says it."""
    recording, name = probe.record(model, x), name_of(model)
    assert recording[name].shape == (ROWS, TIME, *SHAPE)
    assert torch.allclose(recording[name], by_hand(model, x), atol=1e-5)
    assert recording.initial[name].shape == (ROWS, *SHAPE)
    assert f"3 x 6 x (4 x 5) (batch, time, unit): {name}" in str(recording)
    assert "3 x 6 x (4 x 5)" in recording._repr_html_()


def test_inspect_says_the_shape() -> None:
    """Where it is known before a call: in words, in a notebook, and as numbers."""
    described = probe.inspect(nn.Sequential(Fast()))
    assert "signals memory (4 x 5), count, output" in str(described)
    assert "memory (4 x 5), count, output" in described._repr_html_()
    assert described.layers[0].shapes == {Signal("memory"): SHAPE}
    assert probe.inspect(nn.LSTM(3, 5)).layers[0].shapes == {}


@pytest.mark.parametrize("units", [[(1, 3)], (1, 3), [[1, -2]], np.array([[1, 3]]), torch.tensor([[-3, 3]])])
def test_an_index_tuple_is_one_unit(model: nn.Module, x: Tensor, units: Any) -> None:
    """In every spelling: the same number of the state is set, and no other."""
    clean, name = probe.record(model, x), name_of(model)
    edited = probe.record(model, x, edits=[probe.clamp(name, 7.0, units=units, steps=AT)])
    wanted = clean[name][:, AT].clone()
    wanted[:, 1, 3] = 7.0
    assert torch.equal(edited[name][:, AT], wanted)
    moved = (edited.output != clean.output).any(-1).any(0).tolist()
    assert moved == [step > AT for step in range(TIME)]


def test_every_edit_takes_index_tuples(model: nn.Module, x: Tensor) -> None:
    """Values stand in the order in which the units do."""
    clean, name = probe.record(model, x), name_of(model)
    units = [(0, 1), (3, 4), (2, 0)]
    given = {
        "clamp": probe.clamp(name, [1.0, 2.0, 3.0], units=units, steps=AT),
        "ablate": probe.ablate(name, units=units, steps=AT, kind="mean", reference=clean),
        "patch": probe.patch(name, clean, units=units, steps=AT, source_rows=[1, 2, 0]),
        "steer": probe.steer(name, [1.0, 2.0, 3.0], units=units, steps=AT),
        "edit": probe.edit(name, lambda value, site: value * torch.tensor([1.0, 2.0, 3.0]), units=units, steps=AT),
    }
    before, numbers = clean[name][:, AT], torch.tensor([1.0, 2.0, 3.0])
    picked = torch.stack([before[:, 0, 1], before[:, 3, 4], before[:, 2, 0]], 1)
    wanted = {
        "clamp": numbers.expand(ROWS, 3),
        "ablate": picked.mean(0).expand(ROWS, 3),
        "patch": picked[[1, 2, 0]],
        "steer": picked + numbers,
        "edit": picked * numbers,
    }
    for kind, edit in given.items():
        after = probe.record(model, x, edits=[edit])[name][:, AT]
        assert torch.allclose(torch.stack([after[:, 0, 1], after[:, 3, 4], after[:, 2, 0]], 1), wanted[kind])
        rest = torch.ones(SHAPE, dtype=torch.bool)
        rest[[0, 3, 2], [1, 4, 0]] = False
        assert torch.equal(after[:, rest], before[:, rest])
        if kind != "edit":
            assert probe.Edit.from_json(edit.to_json()) == edit
            assert probe.Edit.from_json(edit.to_json()).site.units == tuple(units)
    assert "units=((0, 1), (3, 4), (2, 0))" in repr(given["clamp"])


def test_a_sweep_over_units(model: nn.Module, x: Tensor) -> None:
    """Each as alone, and each another one."""
    name = name_of(model)
    edits = [probe.ablate(name, units=[(i, j)], steps=AT) for i in range(SHAPE[0]) for j in range(SHAPE[1])]
    swept = probe.sweep(model, x, edits=edits)
    for edit, output in zip(edits, swept, strict=True):
        assert torch.allclose(probe.record(model, x, edits=[edit]).output, output, atol=1e-6)
    assert len({round(float(output.sum()), 5) for output in swept}) == len(edits)


@pytest.mark.parametrize("units", [(2, 2), [2, 2], [(2, 2)], (-2, 2), np.array([2, 2])])
def test_a_unit_of_the_diagonal_is_an_index_tuple_as_any_other(model: nn.Module, x: Tensor, units: Any) -> None:
    """Two equal numbers name one place of a matrix, in JSON and in a plot too."""
    edit = probe.Edit.from_json(probe.clamp(name_of(model), 7.0, units=units, steps=AT).to_json())
    sevens = probe.record(model, x, edits=[edit])[name_of(model)][:, AT] == 7
    assert sevens[:, 2, 2].all()
    assert sevens.sum() == ROWS
    assert len(probe.record(model, x).plot.traces(signal=name_of(model), units=units).lines) == 1


def test_equal_numbers_are_an_index_tuple_where_there_are_as_many_axes() -> None:
    """Of a state of three axes too; of a vector they are one unit twice."""
    assert flat_units(as_units((2, 1, 1)), (3, 2, 2), "it") == [11]
    assert flat_units(as_units([0, 0, 0]), (3, 2, 2), "it") == [0]
    with refused():
        _ = flat_units(as_units([2, 2]), (5,), "it")


@pytest.mark.parametrize(
    "units", [[(4, 0)], [(0, -6)], [(1, 2, 3)], (1, 2, 3), 7, [(1, 2), (1, -3)], [(2, 2), (2, 2)], (2, 2, 2)]
)
def test_what_is_no_unit_of_it_is_refused(model: nn.Module, x: Tensor, units: Any) -> None:
    """The message names the shape."""
    with refused():
        _ = probe.record(model, x, edits=[probe.clamp(name_of(model), 0.0, units=units)])
    clean = probe.record(model, x)
    with refused():
        _ = probe.patch(name_of(model), clean, units=units)


def test_units_that_are_none_are_refused_where_the_edit_is_made(x: Tensor) -> None:
    """Empty tuples, a unit twice, and an index tuple of two numbers for a vector."""
    for units in ([()], []):
        with refused():
            _ = probe.clamp("memory", 0.0, units=units)
    with refused():
        _ = probe.clamp("memory", 0.0, units=[(1, 2), (1, 2)])
    lstm = nn.LSTM(3, 5, batch_first=True)
    with refused():
        _ = probe.record(lstm, x, edits=[probe.clamp("cell_state", 0.0, units=[(1, 2)])])
    one = probe.record(lstm, x, edits=[probe.clamp("cell_state", 0.0, units=(1, 2))])
    assert not one["cell_state"][..., 1:3].any()
    with refused():
        _ = probe.clamp("memory", torch.zeros(SHAPE))
    with refused():
        _ = probe.steer("memory", torch.zeros(SHAPE))


def test_files_and_tables_keep_the_shape(model: nn.Module, x: Tensor, tmp_path: Path) -> None:
    """Saved, streamed, as a table row by row, and as labelled arrays."""
    recording, name = probe.record(model, x), name_of(model)
    recording.save(tmp_path / "one.safetensors")
    for other in (probe.load_recording(tmp_path / "one.safetensors"), probe.record(model, x, out=tmp_path / "many")):
        assert torch.allclose(torch.as_tensor(other[name]), recording[name], atol=1e-6)
        assert str(other).splitlines()[1:] == str(recording).splitlines()[1:]
        patch = probe.patch(name, other, units=[(1, 3)], steps=AT)
        own = probe.record(model, x, edits=[patch])
        assert torch.allclose(own.output, recording.output, atol=1e-6)
    frame = recording.to_frame()
    for unit in (0, 8, 19):
        row = frame[(frame["batch"] == 1) & (frame["step"] == AT) & (frame["unit"] == unit)]
        assert float(row[name].iloc[0]) == float(recording[name][(1, AT, *np.unravel_index(unit, SHAPE))])
    tree = recording.to_xarray()
    layer = recording.layers[0]
    assert tree[layer][name].dims == ("batch", "time", f"{name}_0", f"{name}_1")
    assert np.array_equal(np.asarray(tree[layer][name]), recording[name].numpy())


def test_gradients_have_the_axes_too(model: nn.Module, x: Tensor) -> None:
    """Each entry is the derivative with respect to that entry."""
    name = name_of(model)
    recording = probe.record(model, x, gradient_of=lambda output: output[:, -1].sum())
    gradient = recording.gradient[name]
    assert gradient.shape == (ROWS, TIME, *SHAPE)
    value = float(recording[name][0, AT, 1, 3]) + 1
    edit = probe.clamp(name, value, units=(1, 3), steps=AT, rows=[0])
    moved = probe.record(model, x, edits=[edit]).output[0, -1].sum() - recording.output[0, -1].sum()
    assert abs(float(moved) - float(gradient[0, AT, 1, 3])) < 1e-4


def test_a_file_with_another_shape_is_refused(x: Tensor, tmp_path: Path) -> None:
    """Of a folder whose description was changed and sealed again."""
    import json

    from probe.storage import digests

    _ = probe.record(nn.Sequential(Fast()), x, out=tmp_path / "run")
    file = tmp_path / "run" / "recording.json"
    described = json.loads(file.read_text())
    for shape in ([4, 6], [20], [-4, -5], "4 x 5", [4.0, 5.0]):
        described["parts"][0]["shapes"]["memory"] = shape
        kept = {name: value for name, value in described.items() if name in digests.sealed(described)}
        file.write_text(json.dumps(digests.sealed(kept)))
        with refused():
            _ = probe.load_recording(tmp_path / "run")
