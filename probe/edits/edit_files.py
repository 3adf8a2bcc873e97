"""Writes edits as JSON and reads them back."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ProbeError, unknown
from ..recurrent.signals import Site, as_indices, as_units, is_continuous
from ..recurrent.steps.registry import as_any_signal
from ..storage.files import write_atomically

if TYPE_CHECKING:
    from .kinds import Edit

_FORMAT = "rnn-probe edit 1"
#: The array that an edit brings, and how many axes it may have.
_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "clamp": ("value", (0, 1)),
    "ablate": ("values", (3,)),
    "patch": ("values", (3,)),
    "steer": ("direction", (1,)),
}
#: Arrays up to so many bytes stand in the JSON itself.
INLINE = 1_000_000


def to_json(edit: Edit, kinds: Mapping[str, type[Edit]], path: str | os.PathLike[str] | None = None) -> str:
    """Return an edit as JSON; see `Edit.to_json`.

    Args:
        edit: what is written.
        kinds: the kinds of edits that `from_json` reads, by their names.
        path: a file for its array, or None.
    """
    if (function := getattr(edit, "function", None)) is not None:
        name = getattr(function, "__qualname__", repr(function))
        raise ProbeError(
            f"{edit!r} is made by the function {name}, which JSON cannot hold. Keep the code that makes it, or use "
            "clamp, ablate, patch or steer."
        )
    name = next((name for name, kind in kinds.items() if kind is type(edit)), None)
    if name is None:
        raise ProbeError(
            f"{edit!r} is of a kind of your own, {type(edit).__qualname__}, which from_json could not read back. "
            "Keep the code that makes it, or use clamp, ablate, patch or steer."
        )
    written: dict[str, Any] = {"format": _FORMAT, "edit": name, "site": asdict(edit.site)}
    for field in fields(edit):
        value = getattr(edit, field.name)
        if field.name not in ("site", "digest"):
            written[field.name] = _array(value, edit, path) if isinstance(value, Tensor) else value
    return json.dumps(written)


def _array(values: Tensor, edit: Edit, path: str | os.PathLike[str] | None) -> dict[str, Any]:
    content = values.detach().cpu().contiguous()
    described = {"dtype": str(content.dtype).removeprefix("torch."), "shape": list(content.shape)}
    size = content.numel() * content.element_size()
    if path is None and size > INLINE:
        raise ProbeError(
            f"{edit!r} holds {size / 1e6:.1f} MB, and up to {INLINE / 1e6:.0f} MB go into JSON. Give "
            "to_json(path=...), a file for its array."
        )
    if path is None:
        data = content.reshape(-1).view(torch.uint8).numpy().tobytes() if content.numel() else b""
        return described | {"base64": base64.b64encode(data).decode()}
    from safetensors.torch import save

    write_atomically(path, save({"values": content}))
    return described | {"path": os.fspath(path), "sha256": digest_of(content)}


def from_json(text: str, kinds: Mapping[str, type[Edit]]) -> Edit:
    """Return the edit that `to_json` wrote; see `Edit.from_json`.

    Args:
        text: what was written.
        kinds: the kinds of edits, by their names.
    """
    try:
        written = json.loads(text)
        if not isinstance(written, dict) or written.get("format") != _FORMAT:
            raise ValueError(f"it is not of the format {_FORMAT!r}")
        if written["edit"] not in kinds:
            raise ProbeError(unknown("kind of edit", written["edit"], kinds))
        kind = kinds[written["edit"]]
        given = {
            field.name: _value(written[field.name]) for field in fields(kind) if field.name not in ("site", "digest")
        }
        _check(written["edit"], given)
        return kind(site=_site(written["site"]), **given)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ProbeError(
            f"This is no edit as to_json writes it ({error}). Give the text that it returned."
        ) from error


def _check(kind: str, given: dict[str, Any]) -> None:
    """Raise ValueError where the functions that make edits would not have made this one."""
    name, axes = _ARRAYS[kind]
    values: Any = given[name]
    of_zeros = values is None and given.get("kind") == "zero"
    fits = isinstance(values, Tensor) and values.dim() in axes and is_continuous(values)
    if not fits and not of_zeros:
        raise ValueError(f"its {name} is no array of floats with {' or '.join(map(str, axes))} axes")
    if kind == "steer" and not isinstance(given["scale"], float):
        raise ValueError(f"its scale is {given['scale']!r}")
    # Of one number, which has no axis, it is not asked.
    count, rows = [*values.shape, 0][0] if isinstance(values, Tensor) else 0, given.get("source_rows")
    if rows is not None and not all(type(row) is int and row in range(count) for row in rows):
        raise ValueError(f"its source_rows are {rows!r}")
    if kind == "ablate":
        held = "zero" if values is None else "mean" if given["seed"] is None and count == 1 else "resample"
        if given["kind"] != held or (type(given["seed"]) is int) != (held == "resample"):
            raise ValueError(f"its kind {given['kind']!r}, values and seed {given['seed']!r} do not go together")


def _site(written: dict[str, Any]) -> Site:
    layer, call = written["layer"], written["call"]
    if not isinstance(layer, str | None) or not (call is None or (type(call) is int and call >= 0)):
        raise ValueError(f"its layer is {layer!r} and its call {call!r}")
    steps, rows = (as_indices(name, written[name]) for name in ("steps", "rows"))
    return Site(as_any_signal(written["signal"]), layer, as_units(written["units"]), steps, rows, written["call"])


def _value(written: Any) -> Any:
    if isinstance(written, list):
        return tuple(written)
    if not isinstance(written, dict):
        return written
    dtype = getattr(torch, written["dtype"])
    if "base64" in written:
        data = bytearray(base64.b64decode(written["base64"], validate=True))
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return flat.reshape(written["shape"])
    return _from_file(Path(written["path"]), written["sha256"])


def _from_file(path: Path, digest: str) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        values = load_file(path)["values"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ProbeError(
            f"The array of the edit, {str(path)!r}, cannot be read ({error}). Put the file back."
        ) from error
    if digest_of(values) != digest:
        raise ProbeError(f"{str(path)!r} is not the array that the edit was saved with: its hash differs.")
    return values


def digest_of(values: Tensor) -> str:
    """Return the SHA-256 of an array's type, shape and numbers."""
    content = values.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{content.dtype}{tuple(content.shape)}".encode())
    if content.numel():
        digest.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
