"""Edits as JSON: what comes back is equal and does the same, and what is no edit is refused with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from safetensors.torch import save
from torch import Tensor, nn

import probe
from probe import Edit, ProbeError
from probe.edits.edit_files import INLINE
from probe.edits.kinds import Clamp, Patch
from probe.recurrent.signals import Signal, Site


def edits(source: probe.Recording) -> dict[str, Edit]:
    """Return an edit of every kind that JSON can hold."""
    return {
        "clamp one": probe.clamp("forget_gate", 0.1),
        "clamp each": probe.clamp("forget_gate", torch.tensor([0.1, float("nan")]), units=[1, 3], steps=-1),
        "zero": probe.ablate("cell_state", layer="[0]", rows=[2, 0], call=0),
        "mean": probe.ablate("cell_state", kind="mean", reference=source, steps=[1, 2]),
        "resample": probe.ablate("cell_state", kind="resample", reference=source, seed=7),
        "patch": probe.patch("hidden_state", source, steps=[2, -1], units=[4]),
        "patch rows": probe.patch("cell_state", source, rows=[0, 1, 3], source_rows=[1, 1, 0]),
        "steer": probe.steer("cell_state", [0.1, -2.0], scale=1 / 3, units=[0, 1]),
    }


@pytest.fixture
def source(lstm: nn.LSTM, other: Tensor) -> probe.Recording:
    """Return the recording that edits take their values from."""
    return probe.record(lstm, other)


def assert_same(back: Edit, edit: Edit) -> None:
    """Check that two edits are equal in everything that can be asked of them."""
    assert (back, hash(back)) == (edit, hash(edit))
    assert repr(back) == repr(edit)
    assert type(back) is type(edit)


def test_an_edit_comes_back_and_does_the_same(lstm: nn.LSTM, x: Tensor, source: probe.Recording) -> None:
    """Equal, of the same hash and printed alike; the edited run is the same, bit for bit, and no bare one."""
    for kind, edit in edits(source).items():
        back = Edit.from_json(edit.to_json())
        assert_same(back, edit)
        if kind != "clamp each":  # holds a NaN
            runs = [probe.record(lstm, x, edits=given).output[0] for given in ([edit], [back], [])]
            assert torch.equal(runs[0], runs[1])
            assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_dtype_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    """Type, shape and bits are kept, in the JSON and in a file, also of what does not lie in order in memory."""
    made: list[tuple[Edit, str]] = [
        (probe.clamp("forget_gate", torch.randn(shape).to(dtype)), "value") for shape in ((), (5,), (0,))
    ]
    made.append((Patch(Site(Signal.CELL_STATE), torch.randn(5, 2, 3).to(dtype).transpose(0, 2), (2, 0)), "values"))
    for edit, held in made:
        for path in (None, tmp_path / "array"):
            back = Edit.from_json(edit.to_json(path))
            assert_same(back, edit)
            assert getattr(back, held).dtype == dtype
            assert torch.equal(getattr(back, held), getattr(edit, held))


def test_up_to_a_megabyte_stands_in_the_json(tmp_path: Path) -> None:
    """One number more needs a file."""
    most = INLINE // 8
    edit = probe.steer("cell_state", torch.zeros(most, dtype=torch.float64))
    assert_same(Edit.from_json(edit.to_json()), edit)
    larger = probe.steer("cell_state", torch.zeros(most + 1, dtype=torch.float64))
    with refused():
        _ = larger.to_json()
    text = larger.to_json(tmp_path / "new" / "array.safetensors")
    assert len(text) < 1000
    assert_same(Edit.from_json(text), larger)


def test_a_changed_missing_or_damaged_file_is_refused(source: probe.Recording, tmp_path: Path) -> None:
    """One bit of another value, and the edit would be another one."""
    path = tmp_path / "array.safetensors"
    edit: Any = edits(source)["patch"]
    text = edit.to_json(path)
    changed = edit.values.clone()
    changed[0, 0, 0] = torch.nextafter(changed[0, 0, 0], torch.tensor(9.0))
    for content in (save({"values": changed}), save({"others": torch.zeros(2)}), b"", b"garbage" * 9, None):
        path.unlink() if content is None else path.write_bytes(content)
        with refused():
            _ = Edit.from_json(text)
    path.write_bytes(save({"values": edit.values}))
    assert_same(Edit.from_json(text), edit)


def test_what_cannot_be_written_is_an_error(source: probe.Recording, tmp_path: Path) -> None:
    """A folder in the place of the file is named, and so is a function, which JSON cannot hold."""
    function = probe.edit("cell_state", lambda value, _site: 2 * value)
    for edit, path in ((edits(source)["patch"], tmp_path), (function, None)):
        with refused():
            _ = edit.to_json(path)


@dataclass(frozen=True, repr=False)
class Doubled(Edit):
    """A kind of somebody's own."""

    def put(self, value: Tensor, place: Any) -> Tensor:
        """Return twice the value."""
        return 2 * value

    def _call(self) -> tuple[str, list[Any], dict[str, Any]]:
        return "doubled", [], {}


def test_a_kind_of_ones_own_acts_and_comes_back(lstm: nn.LSTM, other: Tensor) -> None:
    """It is one class; one that is called as ours is refused when it is made."""
    own = Doubled(Site(Signal.CELL_STATE))
    clean = probe.record(lstm, other)["cell_state"]
    assert torch.allclose(probe.record(lstm, other, edits=[own])["cell_state"][:, 0], 2 * clean[:, 0])
    assert_same(Edit.from_json(own.to_json()), own)
    again = type("Doubled", (Doubled,), {"__module__": __name__})
    assert type(Edit.from_json(own.to_json())) is again
    Edit.kinds["doubled"] = Doubled
    with refused():
        _ = type("Clamp", (Clamp,), {"__module__": __name__})


def test_what_is_no_edit_is_refused() -> None:
    """Broken JSON, other JSON and unknown kinds are refused by a sentence."""
    kinds = ['"clmp"', '"functionedit"', "[]"]
    others = [f'{{"format": "rnn-probe edit 1", "edit": {kind}}}' for kind in kinds]
    for text in ("", "[" * 100_000, "[1]", '{"format": "rnn-probe edit 2"}', *others):
        with refused():
            _ = Edit.from_json(text)


def changed(written: Any, place: str, value: Any) -> Any:
    """Return JSON with another value at a place, whose parts are separated by dots; an ellipsis takes it away."""
    first, _, rest = place.partition(".")
    if rest:
        return written | {first: changed(written[first], rest, value)}
    return {name: item for name, item in written.items() if name != first} | ({} if value is ... else {first: value})


#: What stands where in an edit of a kind, and makes it none.
DAMAGE: dict[str, list[tuple[str, Any]]] = {
    "clamp one": [
        *(("value", value) for value in (..., 3.0)),
        *(("value.shape", shape) for shape in ([2], "x")),
        *(("value.dtype", dtype) for dtype in ("float32", "int64", "floaty")),
        *(("value.base64", text) for text in ("AAA", "?AAAAAAAAAA=")),
    ],
    "clamp each": [("value.shape", [1, 2])],
    "patch rows": [("source_rows", rows) for rows in ([1, 1, 4], [1, 1, -1], [1, 1, 0.5])],
    "patch": [("values.shape", [8]), ("values", None), ("source_rows", 3)],
    "steer": [("direction.shape", [2, 1]), ("scale", "large"), ("scale", True)],
    "mean": [("values.shape", [10, 1, 1]), ("values", None), ("seed", 3)],
    "resample": [("kind", "zero"), ("seed", None)],
    "zero": [
        *(("kind", "median"), ("site.layer", 3), ("site.call", -1)),
        *(("site.steps", "a"), ("site.steps", [1, 1]), ("site.signal", "forget_gat")),
    ],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_edit_is_refused(kind: str, source: probe.Recording) -> None:
    """No text becomes an edit that the functions of the library would not have made."""
    written = json.loads(edits(source)[kind].to_json())
    for place, value in DAMAGE[kind]:
        with pytest.raises(
            ProbeError, match=r"no edit as to_json writes it|no signal|must name at least one|whole number"
        ):
            _ = Edit.from_json(json.dumps(changed(written, place, value)))
