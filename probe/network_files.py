"""What the command line does with files: networks described and run, inputs read, recordings written."""

from __future__ import annotations

import io
import os
import re
import tokenize
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .errors import ProbeError
from .files import write_atomically
from .inspection import inspect
from .loading.checkpoint import Checkpoint
from .loading.front import load
from .recorder import record
from .recording import as_array

if TYPE_CHECKING:
    import numpy as np

    from .recording import Recording

#: What a recording is written as, by the end of the file's name.
SUFFIXES = (".safetensors", ".npz", ".csv")


class Held(nn.Module):
    """A network under the name that it has in its file, so that its layers get the names that they have in its model.

    Called with (batch, time, input), or, a stack, with packed sequences. A cell is called once for each step, from a
    zero state; its layer is `[0]` where it was saved alone.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        first, _, rest = name.partition(".")
        # Not as an attribute: a name such as `train` is a method of this class.
        self._modules[first or "[0]"] = Held(rest, module) if rest else module

    def forward(self, x: Tensor | PackedSequence) -> Any:
        """Return what the network returns; of a cell, its hidden states, (batch, time, unit)."""
        (inner,) = self.children()
        if not isinstance(inner, nn.RNNCellBase) or isinstance(x, PackedSequence):
            return inner(x)
        states: list[Any] = []
        for step in x.unbind(1):
            states.append(inner(step, states[-1] if states else None))
        return torch.stack([state[0] if isinstance(state, tuple) else state for state in states], dim=1)


def held(name: str, module: nn.Module) -> nn.Module:
    """Return a model whose only network is the one given, with its layers named as in the file."""
    return Held(name, module) if name or isinstance(module, nn.RNNCellBase) else module


def load_as_said(file: Path, nonlinearity: str | None = None, said: Mapping[str, Any] | None = None) -> Checkpoint:
    """Return the networks of a file by the choices of a command line.

    Args:
        file: as of `probe.load`.
        nonlinearity: of a plain RNN.
        said: the other choices by their names in `probe.load`, `names` as texts ARRAY=NAME.

    Raises:
        ProbeError: what `probe.load` raises, with the option that decides a choice.
    """
    choices = dict(said or {})
    names = dict(text.rpartition("=")[::2] for text in choices.pop("names", ()))
    if "" in names:
        raise ProbeError(f"--names takes ARRAY=NAME, or ARRAY= to leave one out, and {names['']!r} is neither.")
    if nonlinearity is not None and choices.get("activation") is not None:
        raise ProbeError("--nonlinearity and --activation are one choice. Give one of them.")
    choices["activation"] = choices.get("activation") or nonlinearity
    try:
        return load(file, names={array: name or None for array, name in names.items()}, **choices)
    except ProbeError as error:
        told = (name for name in (*choices, "names") if re.search(rf"\bwith {name}=", str(error)))
        option = next((f" At the command line that is --{name.replace('_', '-')}." for name in told), "")
        raise ProbeError(f"{error}{option}") from error


def describe_networks(networks: Checkpoint) -> dict[str, Any]:
    """Return what `rnn-probe inspect --json` prints: source, networks with their layers, unused tensors."""
    described = []
    for name, module in networks.recurrent.items():
        layers = [
            {**vars(layer), "signals": list(map(str, layer.signals))} for layer in inspect(held(name, module)).layers
        ]
        (dtype,) = {str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters()}
        described.append({"network": name, "class": type(module).__name__, "dtype": dtype, "layers": layers})
    return {
        "source": str(networks.source),
        "networks": described,
        "unused": list(networks.tensors),
        "assumed": list(networks.source.assumed),
        "not_understood": list(networks.not_understood),
    }


def networks_text(networks: Checkpoint) -> str:
    """Return what `rnn-probe inspect` prints."""
    lines = [f"source: {networks.source}"]
    for described in describe_networks(networks)["networks"]:
        name = described["network"]
        lines.append(f"{name + ': ' if name else ''}{described['class']}, {described['dtype']}")
        lines += [f"  {layer}" for layer in inspect(held(name, networks.recurrent[name])).layers]
    lines += [f"assumed: {sentence}" for sentence in networks.source.assumed]
    if networks.not_understood:
        lines.append(f"not understood: {', '.join(networks.not_understood)}")
    return "\n".join([*lines, "not used: " + (", ".join(networks.tensors) or "nothing")])


def record_file(
    file: Path,
    inputs: Path,
    out: Path,
    *,
    network: str | None = None,
    signals: Iterable[str] | None = None,
    steps: Iterable[int] | None = None,
    nonlinearity: str | None = None,
    said: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Recording:
    """Run a network of a file on the inputs of another, and write the recording to a third.

    Args:
        file: weights, as `probe.load` reads them.
        inputs: a .npy file of floats, (batch, time, input); they are converted to the network's dtype.
        out: .safetensors, .npz or .csv.
        network: which network, or None for the only one.
        signals: which signals to keep; None keeps all but the pre-activations.
        steps: which steps to keep; None keeps all.
        nonlinearity: of a plain RNN.
        said: what else the file leaves open, as of `load_as_said`.
        overwrite: replace `out` where it exists.

    Returns:
        What was written.

    Raises:
        ProbeError: what is asked for does not exist, `out` exists or cannot be written, the inputs do not fit, or
            what `record` raises.
    """
    check_out(out, (file, inputs), overwrite=overwrite)
    name, module = load_as_said(file, nonlinearity, said).choose(network)
    # What runs a layer backwards, both ways or masked holds it.
    sizes: Any = next(inner for inner in module.modules() if hasattr(inner, "input_size"))
    dtype = next(module.parameters()).dtype
    x = torch.from_numpy(_inputs(inputs, sizes.input_size)).to(dtype)
    with warnings.catch_warnings():
        # Which of torch's kernels runs a projected LSTM is nothing that somebody at a shell can change.
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        recording = record(held(name, module), x, signals=signals, steps=steps)
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


def _inputs(path: Path, features: int) -> np.ndarray:
    """Return the inputs in a file, (batch, time, input)."""
    import numpy as np

    try:
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise ProbeError(
            f"The inputs {str(path)!r} cannot be read ({error}). Give a .npy file that numpy.save wrote of floats."
        ) from error
    if not isinstance(x, np.ndarray):
        x.close()
        raise ProbeError(f"The inputs {str(path)!r} are an archive of arrays; give one array, a .npy file.")
    if x.dtype.kind != "f":
        raise ProbeError(
            f"The inputs {str(path)!r} are {x.dtype}; give floats: numpy.save(path, x.astype('float32'))."
        )
    if x.ndim != 3 or x.shape[2] != features or 0 in x.shape:
        raise ProbeError(
            f"The inputs {str(path)!r} have shape {x.shape}; expected (batch, time, {features}), neither of them 0."
        )
    # torch has neither the other byte order nor long doubles.
    return x if x.dtype in (np.float16, np.float32, np.float64) else x.astype(np.float64)


def write_recording(recording: Recording, out: Path) -> None:
    """Write a recording in the format of a path's ending: .safetensors, .npz (an array a `layer.signal`) or .csv.

    Where a layer was called several times, its arrays are named `layer/call.signal`.

    Raises:
        ProbeError: the file cannot be written.
    """
    import numpy as np

    if out.suffix == ".safetensors":
        recording.save(out)
    elif out.suffix == ".csv":
        write_atomically(out, recording.to_frame().to_csv(index=False, lineterminator="\n"))
    else:
        content = io.BytesIO()
        np.savez(content, **_arrays(recording))
        write_atomically(out, content.getvalue())


def _arrays(recording: Recording) -> Mapping[str, Any]:
    return {
        f"{part.layer if recording.calls[part.layer] == 1 else f'{part.layer}/{part.call}'}.{signal}": as_array(value)
        for part in recording.parts
        for signal, value in part.signals.items()
    }
