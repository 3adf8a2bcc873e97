"""Recurrent networks out of files of weights alone: safetensors, and what `torch.save` wrote of a state_dict."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ProbeError, unknown

#: By the end of a file's name, what it is read as.
FORMATS = {".safetensors": "safetensors", ".pt": "PyTorch", ".pth": "PyTorch", ".bin": "PyTorch"}
#: Where a training loop's checkpoint keeps the state_dict.
NESTED = ("state_dict", "model_state", "model")
NONLINEARITIES = ("tanh", "relu")
_NAME = re.compile(
    r"(?:(?P<network>.*)\.)?(?P<kind>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(?P<level>\d+)(?:_reverse)?)?"
)
#: So many names a message lists.
_SHOWN = 8
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_STACKS: dict[int, Any] = {4: nn.LSTM, 3: nn.GRU, 1: nn.RNN}
_CELLS: dict[int, Any] = {4: nn.LSTMCell, 3: nn.GRUCell, 1: nn.RNNCell}


@dataclass(frozen=True, eq=False)
class Networks:
    """The recurrent networks of a file of weights.

    Attributes:
        modules: torch's modules by the name that their tensors begin with, empty for a network that was saved alone.
            Stacks are batch first; a file does not say whether they were.
        unused: the names of the tensors that belong to none of them.
        source: what the file is, such as `PyTorch state_dict`.
    """

    modules: dict[str, nn.Module]
    unused: tuple[str, ...]
    source: str

    def choose(self, name: str | None = None) -> tuple[str, nn.Module]:
        """Return one network with its name.

        Args:
            name: which one, or None for the only one.

        Raises:
            ProbeError: there is no such network, or several and none is named.
        """
        if name is None and len(self.modules) > 1:
            listed = ", ".join(map(repr, self.modules))
            raise ProbeError(f"The file holds {len(self.modules)} networks ({listed}); name one: --network NAME.")
        chosen = next(iter(self.modules)) if name is None else name
        if chosen not in self.modules:
            raise ProbeError(unknown("network", chosen, self.modules))
        return chosen, self.modules[chosen]


def read_networks(path: str | os.PathLike[str], *, nonlinearity: str | None = None) -> Networks:
    """Return the recurrent networks of a .safetensors file, or of a PyTorch state_dict (.pt, .pth, .bin).

    A PyTorch file may also be a checkpoint, a dict with the state_dict under `state_dict`, `model_state` or `model`.
    It is opened with `weights_only=True`: no code of the file is run.

    Args:
        path: the file.
        nonlinearity: of the plain RNNs in it, `tanh` or `relu`; the file does not say.

    Raises:
        ProbeError: the file is missing, damaged, of another kind, or holds more than weights; and what `networks_of`
            raises.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ProbeError(
            f"{str(path)!r} ends in {path.suffix!r}; files that end in {', '.join(FORMATS)} can be read. Rename it, "
            "or save its state_dict as one of them."
        )
    if FORMATS[path.suffix] == "safetensors":
        return networks_of(_safetensors(path), nonlinearity=nonlinearity, source="safetensors")
    tensors, source = _state_dict(path, _unpickled(path))
    return networks_of(tensors, nonlinearity=nonlinearity, source=source)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ProbeError(
            f"{str(path)!r} cannot be read as safetensors ({error}). Give a file that "
            "safetensors.torch.save_file wrote."
        ) from error


def _unpickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # A TorchScript archive is refused just after a warning that says that it is one.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Not in torch's words, which advise to load it without weights_only.
        raise ProbeError(
            f"{str(path)!r} is no file of torch.save, or holds Python objects besides tensors, which are not opened "
            "because opening them can run any code. Save model.state_dict() instead of the model."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise ProbeError(
            f"{str(path)!r} cannot be read as a state_dict ({reason}). Give a file that "
            "torch.save(model.state_dict(), path) wrote."
        ) from error


def _state_dict(path: Path, content: Any) -> tuple[Mapping[str, Tensor], str]:
    """Return the tensors of a loaded file, and what it is."""
    if not isinstance(content, Mapping):
        raise ProbeError(
            f"{str(path)!r} holds a {type(content).__name__}; a state_dict is a dict of tensors by name."
        )
    nested = [key for key in NESTED if isinstance(content.get(key), Mapping)]
    if _tensors(content) and not nested:
        return _tensors(content), "PyTorch state_dict"
    if len(nested) != 1:
        raise ProbeError(
            f"{str(path)!r} is a dict with {', '.join(map(repr, content)) or 'nothing in it'}, and "
            f"{'several' if nested else 'none'} of {', '.join(map(repr, NESTED))} is a state_dict. "
            "Save the state_dict alone."
        )
    return _tensors(content[nested[0]]), f"PyTorch checkpoint, state_dict under {nested[0]!r}"


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def networks_of(
    tensors: Mapping[str, Tensor], *, nonlinearity: str | None = None, source: str = "state_dict"
) -> Networks:
    """Return the recurrent networks whose weights a state_dict holds, with copies of these weights.

    They are found by torch's own names (`encoder.rnn.weight_hh_l0_reverse`), and what they are follows from their
    shapes: the recurrent weights of an LSTM are (4 x units, units), of a GRU (3 x units, units), of a plain RNN
    (units, units).

    Args:
        tensors: the weights by name.
        nonlinearity: of the plain RNNs among them, `tanh` or `relu`.
        source: what the tensors were read from, for `Networks.source`.

    Raises:
        ProbeError: there is no recurrent network, a tensor is missing, has the wrong shape or dtype or belongs to
            another kind of network, or there is a plain RNN and no nonlinearity is given.
    """
    if nonlinearity is not None and nonlinearity not in NONLINEARITIES:
        raise ProbeError(unknown("nonlinearity", nonlinearity, NONLINEARITIES))
    matches = {name: match for name in tensors if (match := _NAME.fullmatch(name))}
    networks = dict.fromkeys(
        match["network"] or "" for match in matches.values() if match["kind"] in ("weight_ih", "weight_hh")
    )
    if not networks:
        raise ProbeError(
            "There are no weights of a recurrent network, which torch names NETWORK.weight_ih_l0 and "
            f"NETWORK.weight_hh_l0; there is {_listed(tensors)}."
        )
    modules: dict[str, nn.Module] = {}
    used: set[str] = set()
    for network in networks:
        own = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] == network}
        modules[network] = _built(own, nonlinearity)
        used |= set(own)
    return Networks(modules, tuple(name for name in tensors if name not in used), source)


def _built(tensors: Mapping[str, Tensor], nonlinearity: str | None) -> nn.Module:
    """Return the module that has just these tensors; they are named in full, with the network's name."""
    matches = {name: _NAME.fullmatch(name) for name in tensors}
    for name, match in matches.items():
        if match is None:
            raise ProbeError(
                f"{name!r} stands beside {_listed(other for other in matches if matches[other])}, and torch's "
                "LSTM, GRU and RNN have no such parameter: this is another kind of network. Build it with its own "
                "class and give it to probe.record."
            )
    example = next(match for match in matches.values() if match)
    start = f"{example['network']}." if example["network"] else ""
    short = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
    dtype = _dtype(tensors)
    made = _made(start, short, {"dtype": dtype, "device": "meta"}, nonlinearity)
    for name, expected in made.state_dict().items():
        if name not in short:
            raise ProbeError(_missing(start + name, tensors))
        if short[name].shape != expected.shape:
            raise ProbeError(
                _wrong(start + name, short[name], f"{tuple(expected.shape)}, as the other weights have it")
            )
    extra = [start + name for name in short if name not in made.state_dict()]
    if extra:
        raise ProbeError(
            f"{extra[0]!r} is no parameter of the {type(made).__name__} that the other weights make, which has "
            f"{_listed(start + name for name in made.state_dict())}."
        )
    # Made without memory first, so that no random numbers are drawn.
    made = made.to_empty(device="cpu")
    made.load_state_dict(short, strict=True)
    return made.eval()


def _dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    first, dtype = next((name, tensor.dtype) for name, tensor in tensors.items())
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise ProbeError(
                f"{name!r} has dtype {_word(tensor.dtype)}; expected one of {', '.join(map(_word, _DTYPES))}. "
                "A quantized network must be saved before it is quantized."
            )
        if tensor.dtype != dtype:
            raise ProbeError(
                f"{name!r} has dtype {_word(tensor.dtype)}; expected {_word(dtype)}, as {first!r} has it. "
                "Convert them to one dtype."
            )
    return dtype


def _made(start: str, tensors: Mapping[str, Tensor], options: dict[str, Any], nonlinearity: str | None) -> Any:
    """Return the module without its numbers, as far as its first layer and the names of the others say it."""
    levels = {int(match["level"]) for name in tensors if (match := _NAME.fullmatch(name)) and match["level"]}
    full = {start + name: tensor for name, tensor in tensors.items()}
    for level in range(len(levels)):
        if level not in levels:
            raise ProbeError(_missing(f"{start}weight_ih_l{level}", full))
    end = "_l0" if levels else ""
    for name in (f"weight_ih{end}", f"weight_hh{end}"):
        if name not in tensors:
            raise ProbeError(_missing(start + name, full))
        if tensors[name].dim() != 2 or 0 in tensors[name].shape:
            raise ProbeError(_wrong(start + name, tensors[name], "two axes, (gates x units, inputs), none of them 0"))
    gates, units, projected = _sizes(start, tensors, end)
    options |= {"input_size": tensors[f"weight_ih{end}"].shape[1], "hidden_size": units}
    options |= {"bias": any(name.startswith("bias_") for name in tensors)}
    if gates == 1:
        if nonlinearity is None:
            raise ProbeError(
                f"{start + 'weight_hh' + end!r} is of a plain RNN, whose nonlinearity is not in the file. Say which "
                f"it is: --nonlinearity {'|'.join(NONLINEARITIES)} (nonlinearity= in Python)."
            )
        options |= {"nonlinearity": nonlinearity}
    if not levels:
        return _CELLS[gates](**options)
    options |= {"num_layers": len(levels), "bidirectional": any(name.endswith("_reverse") for name in tensors)}
    options |= {"proj_size": projected} if projected else {}
    return _STACKS[gates](**options, batch_first=True)


def _sizes(start: str, tensors: Mapping[str, Tensor], end: str) -> tuple[int, int, int]:
    """Return how many gates and units a network has, and to how many units it is projected, 0 for not at all."""
    recurrent = tensors[f"weight_hh{end}"]
    projection = tensors.get(f"weight_hr{end}") if end else None
    if projection is not None:
        if projection.dim() != 2 or not 0 < projection.shape[0] < projection.shape[1]:
            expected = "(projected units, units), with fewer projected units than units"
            raise ProbeError(_wrong(f"{start}weight_hr{end}", projection, expected))
        return 4, projection.shape[1], projection.shape[0]
    rows, units = recurrent.shape
    if rows % units or rows // units not in _STACKS:
        kinds = ", ".join(f"{(gates * units, units)} for {kind.__name__}" for gates, kind in _STACKS.items())
        raise ProbeError(_wrong(f"{start}weight_hh{end}", recurrent, kinds))
    return rows // units, units, 0


def _wrong(name: str, tensor: Tensor, expected: str) -> str:
    return f"{name!r} has shape {tuple(tensor.shape)}; expected {expected}. The file is damaged, or of another kind."


def _missing(name: str, tensors: Iterable[str]) -> str:
    return (
        f"{name!r} is missing beside {_listed(tensors)}. Save the whole state_dict; of a network with weight norm, "
        "after the norm is removed."
    )


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _listed(names: Iterable[str]) -> str:
    """Return the first names in quotes, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return (", ".join(map(repr, listed[:_SHOWN])) or "nothing") + more
