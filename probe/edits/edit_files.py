"""Writes edits as JSON and reads them back."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.signals import Site, as_indices, as_units
from ..recurrent.steps.registry import as_any_signal
from ..storage.files import write_atomically

_FORMAT = "rnn-probe edit 1"
#: Arrays up to so many bytes stand in the JSON itself.
INLINE = 1_000_000


def written(edit: object, held: Mapping[str, Any], path: str | os.PathLike[str] | None) -> str:
    """Return an edit as JSON; see `Edit.to_json`.

    Args:
        edit: the edit, for messages.
        held: its kind, its site, and its fields by name.
        path: a file for its array, or None.
    """
    try:
        plain = {name: _array(one, edit, path) if isinstance(one, Tensor) else one for name, one in held.items()}
        return json.dumps({"format": _FORMAT} | plain)
    except TypeError as error:
        names = [getattr(one, "__qualname__", repr(one)) for one in held.values() if callable(one)]
        what = f"is made by the function {names[0]}, which" if names else f"holds what ({error})"
        raise ProbeError(
            f"{edit!r} {what} JSON cannot hold. Keep the code that makes it, or use clamp, ablate, patch or steer."
        ) from error


def _array(values: Tensor, edit: object, path: str | os.PathLike[str] | None) -> dict[str, Any]:
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


@contextmanager
def reading() -> Iterator[None]:
    """Say what is wrong with a text that is no edit."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ProbeError(
            f"This is no edit as to_json writes it ({error}). Give the text that it returned."
        ) from error


def read(text: str) -> dict[str, Any]:
    """Return what `written` wrote: the kind, the site and the fields of an edit; see `Edit.from_json`."""
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError(f"it is not of the format {_FORMAT!r}")
    return found


def site_of(written: dict[str, Any]) -> Site:
    """Return the site that JSON holds."""
    layer, call = written["layer"], written["call"]
    if not isinstance(layer, str | None) or not (call is None or (type(call) is int and call >= 0)):
        raise ValueError(f"its layer is {layer!r} and its call {call!r}")
    steps, rows = (as_indices(name, written[name]) for name in ("steps", "rows"))
    return Site(as_any_signal(written["signal"]), layer, as_units(written["units"]), steps, rows, written["call"])


def value_of(written: Any) -> Any:
    """Return the value of a field that JSON holds: an array, a tuple, or as it is."""
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
