"""What `rnn-probe inspect`, `record` and `convert` do with a file of weights and a file of inputs."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from ..errors import ProbeError
from ..hooks.record import record
from ..loading.checkpoint import Checkpoint
from ..loading.choices import Open
from ..loading.load import load
from ..loading.modules import without_mask
from ..recording.arrays import as_array
from ..recurrent.inspection import inspect
from ..recurrent.named_network import named_network
from ..recurrent.signals import converted
from ..storage.files import write_atomically
from ..storage.input_files import check_axes, check_features, check_finite, check_lengths, read_array

if TYPE_CHECKING:
    import numpy as np

    from ..recording.recording import Recording

#: What a recording is written as, by the end of the file's name.
SUFFIXES = (".safetensors", ".npz", ".csv", ".npy")


def describe_networks(found: Checkpoint, left_open: Sequence[Open]) -> dict[str, Any]:
    """Return what `rnn-probe inspect --json` prints: source, choices, networks with their layers, other arrays."""
    described = []
    for name, module in found.recurrent.items():
        layers = [
            {**vars(layer), "signals": list(map(str, layer.signals))}
            for layer in inspect(named_network(name, module)).layers
        ]
        described.append(
            {
                "network": name,
                "class": type(module).__name__,
                "dtype": _dtype(module),
                "layout": found.source.layouts.get(name, ""),
                "gate_order": found.source.gate_orders.get(name, ""),
                "layers": layers,
                "arrays": list(found.arrays.get(name, ())),
            }
        )
    return {
        "source": found.source.facts(),
        "open": [{**vars(one), "option": one.option} for one in left_open],
        "networks": described,
        "other_arrays": {name: list(tensor.shape) for name, tensor in found.tensors.items()},
        "not_understood": list(found.not_understood),
    }


def networks_text(found: Checkpoint, left_open: Sequence[Open]) -> str:
    """Return what `rnn-probe inspect` prints; see `describe_networks`."""
    source = found.source
    lines = [f"source: {source.format}"]
    if source.version:
        lines[0] += f", {source.framework} {source.version}"
    for name, module in found.recurrent.items():
        layout, order = source.layouts.get(name, ""), source.gate_orders.get(name, "")
        told = (f", from {layout}" if layout else "") + (f", gates {order}" if layout and order else "")
        lines.append(f"{name + ': ' if name else ''}{type(module).__name__}, {_dtype(module)}{told}")
        lines += [f"  {layer}" for layer in inspect(named_network(name, module)).layers]
    lines += [f"chosen: {sentence}" for sentence in source.chosen]
    lines += [f"assumed: {sentence}" for sentence in source.assumed]
    lines += [f"open: {one} At the command line: {one.option}." for one in left_open]
    shapes = {name: " x ".join(map(str, tensor.shape)) for name, tensor in found.tensors.items()}
    others = [f"{name} {shape or 'a number'}" for name, shape in shapes.items()]
    lines.append("other arrays: " + (", ".join(others) or "none"))
    lines += ["not understood: " + ", ".join(found.not_understood)] if found.not_understood else []
    return "\n".join(lines)


def _dtype(module: nn.Module) -> str:
    (dtype,) = {str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters()}
    return dtype


def record_file(
    file: Path,
    inputs: Path,
    out: Path,
    *,
    given: Mapping[str, Any] = MappingProxyType({}),
    network: str | None = None,
    key: str | None = None,
    lengths: Path | None = None,
    signals: Iterable[str] | None = None,
    steps: Iterable[int] | None = None,
    overwrite: bool = False,
) -> Recording:
    """Run a network of a file on the inputs of another, write the recording to a third, and return it."""
    check_out(out, [path for path in (file, inputs, lengths) if path is not None], overwrite=overwrite)
    name, module = load(file, **given).choose(network)
    module = without_mask(module, lengths_said=lengths is not None or inputs.suffix.lower() == ".csv")
    model = named_network(name, module)
    x, ends = _inputs(inputs, key, lengths, inspect(model).layers[0].inputs)
    dtype = next(module.parameters()).dtype
    read: Any = converted(torch.from_numpy(x), f"The file {inputs}", "Give smaller numbers.", dtype=dtype)
    if ends is not None:
        read = _packed(read, ends, module)
    with warnings.catch_warnings():
        # Which of torch's kernels runs a projected LSTM is nothing that somebody at a shell can change.
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        recording = record(model, read, signals=signals, steps=steps)
    write_recording(recording, out)
    return recording


def check_out(out: Path, read: Iterable[Path], *, overwrite: bool) -> None:
    """Raise ProbeError where a recording may not be written to a path, or is made from the file there."""
    if out.suffix not in SUFFIXES:
        raise ProbeError(f"{str(out)!r} ends in {out.suffix!r}; a recording is written as {', '.join(SUFFIXES)}.")
    if not os.path.lexists(out):
        return
    if any(out.exists() and path.exists() and out.samefile(path) for path in read):
        raise ProbeError(f"{str(out)!r} is a file that the recording is made from. Give another path.")
    if not overwrite:
        raise ProbeError(f"{str(out)!r} exists. Give another path, or --overwrite to replace it.")


def _inputs(path: Path, key: str | None, lengths: Path | None, features: int) -> tuple[np.ndarray, Any]:
    """Return the inputs in a file, (batch, time, input), and the lengths where they differ, or None."""
    import numpy as np

    what, found = f"The inputs {str(path)!r}", read_array(path, key)
    x, ends = found.values, found.lengths
    check_axes(x, what, features)
    check_features(x, features, what)
    if lengths is not None and ends is not None:
        raise ProbeError(f"{str(path)!r} says itself how long its sequences are. Leave {str(lengths)!r} out.")
    if lengths is not None:
        ends = read_array(lengths, what="The lengths").values
        check_lengths(ends, *x.shape[:2])
    check_finite(x, np.full(len(x), x.shape[1]) if ends is None else ends, what)
    if ends is not None and (ends == x.shape[1]).all():
        ends = None
    # torch has neither the other byte order nor long doubles.
    return x if x.dtype in (np.float16, np.float32, np.float64) else x.astype(np.float64), ends


def _packed(x: Tensor, lengths: np.ndarray, module: nn.Module) -> PackedSequence:
    if not isinstance(module, nn.RNNBase):
        raise ProbeError(
            f"The sequences differ in length, and a {type(module).__name__} reads no packed ones. Record those of "
            "each length by themselves."
        )
    return pack_padded_sequence(x, torch.as_tensor(lengths), batch_first=True, enforce_sorted=False)


def write_recording(recording: Recording, out: Path) -> None:
    """Write a recording in the format of a path's ending: .safetensors, .npz, .csv or .npy.

    In an .npz there is an array for each `layer.signal`.
    Where a layer was called several times, its arrays are named `layer/call.signal`.
    """
    import numpy as np

    if out.suffix == ".safetensors":
        recording.save(out)
    elif out.suffix == ".csv":
        write_atomically(out, recording.to_frame().to_csv(index=False, lineterminator="\n"))
    else:
        content, arrays = io.BytesIO(), _arrays(recording)
        if out.suffix == ".npz":
            np.savez(content, **arrays)
        elif len(arrays) == 1:
            np.save(content, *arrays.values())
        else:
            raise ProbeError(
                f"{str(out)!r} can hold one array, and the recording has {len(arrays)}: {', '.join(arrays)}. Write "
                "an .npz file, or keep one signal of one layer (--signals)."
            )
        write_atomically(out, content.getvalue())


def _arrays(recording: Recording) -> Mapping[str, Any]:
    return {
        f"{part.layer if recording.calls[part.layer] == 1 else f'{part.layer}/{part.call}'}.{signal}": as_array(
            part.shaped(signal, value)
        )
        for part in recording.parts
        for signal, value in part.signals.items()
    }
