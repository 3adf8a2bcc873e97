"""What the command line does with files: networks described and run, inputs read, recordings written."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from .errors import ProbeError
from .files import write_atomically
from .input_files import read_array
from .inspection import LayerDescription, inspect
from .loading.choices import Open
from .loading.front import load, survey
from .loading.held import held
from .loading.modules import without_mask
from .recorder import record
from .recording import as_array
from .signals import Signal

if TYPE_CHECKING:
    import numpy as np

    from .recording import Recording

#: What a recording is written as, by the end of the file's name.
SUFFIXES = (".safetensors", ".npz", ".csv", ".npy")
#: What an open choice is described by.
OPEN = ("argument", "layer", "why", "usual")


def describe_networks(file: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `rnn-probe inspect --json` prints: source, choices, networks with their layers, other arrays.

    Args:
        file: of weights.
        given: arguments of `probe.load` by name; those that the file leaves open are listed under `open`.

    Raises:
        ProbeError: as of `probe.load`, but for a choice that is missing.
    """
    found, left_open = survey(file, given)
    described = []
    for name, module in found.recurrent.items():
        layers = [
            {**vars(layer), "signals": list(map(str, layer.signals))} for layer in inspect(held(name, module)).layers
        ]
        (dtype,) = {str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters()}
        described.append(
            {
                "network": name,
                "class": type(module).__name__,
                "dtype": dtype,
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


def networks_text(described: Mapping[str, Any]) -> str:
    """Return what `rnn-probe inspect` prints of a description."""
    source = described["source"]
    lines = [f"source: {source['format']}"]
    if source["version"]:
        lines[0] += f", {source['framework']} {source['version']}"
    for network in described["networks"]:
        order = f", gates {network['gate_order']}" if network["gate_order"] else ""
        layout = f", from {network['layout']}{order}" if network["layout"] else ""
        name = f"{network['network']}: " if network["network"] else ""
        lines.append(f"{name}{network['class']}, {network['dtype']}{layout}")
        for layer in network["layers"]:
            signals = tuple(map(Signal, layer["signals"]))
            lines.append(f"  {LayerDescription(**{**layer, 'signals': signals})}")
    for word in ("chosen", "assumed"):
        lines += [f"{word}: {sentence}" for sentence in source[word]]
    lines += [f"open: {Open(*(one[key] for key in OPEN))}" for one in described["open"]]
    shapes = {name: " x ".join(map(str, shape)) for name, shape in described["other_arrays"].items()}
    others = [f"{name} {shape or 'a number'}" for name, shape in shapes.items()]
    lines.append("other arrays: " + (", ".join(others) or "none"))
    lines += ["not understood: " + ", ".join(described["not_understood"])] if described["not_understood"] else []
    return "\n".join(lines)


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
    """Run a network of a file on the inputs of another, and write the recording to a third.

    Args:
        file: weights, as `probe.load` reads them.
        inputs: floats, (batch, time, input), in a .npy, .npz or .csv file, see `input_files.read_array`; they are
            converted to the network's dtype.
        out: .safetensors, .npz or .csv; or .npy, of one signal of one layer.
        given: arguments of `probe.load` by name, where the file leaves a choice open.
        network: which network, or None for the only one.
        key: which array of an .npz.
        lengths: a .npy file of how many steps each sequence has, (batch,); None where all have the whole time axis,
            or where the inputs are a .csv, which says it.
        signals: which signals to keep; None keeps all but the pre-activations.
        steps: which steps to keep; None keeps all.
        overwrite: replace `out` where it exists.

    Returns:
        What was written.

    Raises:
        ProbeError: what is asked for does not exist, `out` exists or cannot be written, the inputs do not fit, or
            what `record` raises.
    """
    check_out(out, [path for path in (file, inputs, lengths) if path is not None], overwrite=overwrite)
    name, module = load(file, **given).choose(network)
    module = without_mask(module, lengths_said=lengths is not None or inputs.suffix.lower() == ".csv")
    model = held(name, module)
    x, ends = _inputs(inputs, key, lengths, inspect(model).layers[0].inputs)
    read: Any = torch.from_numpy(x).to(next(module.parameters()).dtype)
    if ends is not None:
        read = _packed(read, ends, module)
    with warnings.catch_warnings():
        # Which of torch's kernels runs a projected LSTM is nothing that somebody at a shell can change.
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        recording = record(model, read, signals=signals, steps=steps)
    write_recording(recording, out)
    return recording


def check_out(out: Path, read: Iterable[Path], *, overwrite: bool) -> None:
    """Raise ProbeError where a recording may not be written to a path.

    Args:
        out: where it would go.
        read: the files that it is made from, which are never replaced.
        overwrite: whether another file may be replaced.

    Raises:
        ProbeError: the file's ending is none that is written, or it exists and may not be replaced.
    """
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

    found = read_array(path, key)
    x, ends = found.values, found.lengths
    if x.dtype.kind not in "fiub":
        raise ProbeError(f"The inputs {str(path)!r} are {x.dtype}; give numbers in every feature.")
    if x.ndim != 3 or x.shape[2] != features or 0 in x.shape:
        hint = " Tokens must be embedded first; of one number a step make x[:, :, None]." if x.ndim == 2 else ""
        raise ProbeError(
            f"The inputs {str(path)!r} have shape {x.shape}; expected (batch, time, {features}), neither of them 0."
            f"{hint}"
        )
    if lengths is not None:
        if ends is not None:
            raise ProbeError(f"{str(path)!r} says itself how long its sequences are. Leave {str(lengths)!r} out.")
        ends = _lengths(lengths, *x.shape[:2])
    _check_finite(path, x, ends)
    if ends is not None and (ends == x.shape[1]).all():
        ends = None
    if x.dtype.kind != "f":
        x = x.astype(np.float64)
    # torch has neither the other byte order nor long doubles.
    return x if x.dtype in (np.float16, np.float32, np.float64) else x.astype(np.float64), ends


def _lengths(path: Path, batch: int, time: int) -> np.ndarray:
    """Return how many steps each sequence has."""
    import numpy as np

    ends = read_array(path, what="The lengths").values
    if ends.shape != (batch,) or ends.dtype.kind not in "iu":
        raise ProbeError(
            f"The lengths {str(path)!r} are {ends.dtype} of shape {ends.shape}; expected whole numbers of shape "
            f"({batch},)."
        )
    wrong = np.flatnonzero((ends < 1) | (ends > time))
    if len(wrong):
        raise ProbeError(
            f"The lengths {str(path)!r} say {ends[wrong[0]]} of sequence {wrong[0]}; the inputs have {time} steps, "
            f"so it must be 1 to {time}."
        )
    return ends


def _check_finite(path: Path, x: np.ndarray, ends: np.ndarray | None) -> None:
    """Raise ProbeError where inputs that are no padding are no finite numbers."""
    import numpy as np

    steps = np.full(len(x), x.shape[1]) if ends is None else ends
    wrong = np.argwhere(~np.isfinite(x).all(2) & (np.arange(x.shape[1]) < steps[:, None]))
    if len(wrong):
        row, step = wrong[0]
        raise ProbeError(
            f"The inputs {str(path)!r} are not finite (NaN or infinite, or empty) at sequence {row}, step {step}, "
            f"and at {len(wrong)} steps in all. Give finite numbers; where shorter sequences are padded, give "
            "--lengths."
        )


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

    Raises:
        ProbeError: the file cannot be written, or is an .npy and there are several arrays.
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
        f"{part.layer if recording.calls[part.layer] == 1 else f'{part.layer}/{part.call}'}.{signal}": as_array(value)
        for part in recording.parts
        for signal, value in part.signals.items()
    }
